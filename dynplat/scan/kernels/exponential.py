"""The exponential function in compiled code, in a form that runs on several numbers at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

_LOG2_E = 1.4426950408889634
# log 2 in two parts: multiples of the first are exact.
_LOG_2_HIGH, _LOG_2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
#: Below its logarithm exp gives 0 rather than a number with fewer digits.
_SMALLEST, _LARGEST = -708.0, 709.0


@intrinsic
def _as_float(_typing: Any, bits: Any) -> Any:
    """Read 64 bits as a floating-point number."""
    signature = types.float64(types.int64)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float64))

    return signature, codegen


# No `reassoc` here: the argument is reduced in an order that must stay.
@njit(nogil=True, error_model="numpy", fastmath={"contract"})
def exp(x: Any) -> Any:
    """Exponentiate a number, to about one rounding of float64; 0 below 1e-307, infinity above 709, NaN for NaN.

    2^n times the exponential of r, |r| <= log(2) / 2, by Taylor's polynomial of degree 13, whose error is 4e-18.
    """
    x = np.float64(x)
    inside = min(max(x, _SMALLEST), _LARGEST)
    n = np.floor(inside * _LOG2_E + 0.5)
    r = (inside - n * _LOG_2_HIGH) - n * _LOG_2_LOW
    s = 1.0 / 6227020800.0
    s = s * r + 1.0 / 479001600.0
    s = s * r + 1.0 / 39916800.0
    s = s * r + 1.0 / 3628800.0
    s = s * r + 1.0 / 362880.0
    s = s * r + 1.0 / 40320.0
    s = s * r + 1.0 / 5040.0
    s = s * r + 1.0 / 720.0
    s = s * r + 1.0 / 120.0
    s = s * r + 1.0 / 24.0
    s = s * r + 1.0 / 6.0
    s = s * r + 0.5
    s = s * r + 1.0
    s = s * r + 1.0
    scaled = s * _as_float((np.int64(np.int32(n)) + np.int64(1023)) << np.int64(52))  # pyright: ignore[reportCallIssue]
    if x < _SMALLEST:
        scaled = 0.0
    if x > _LARGEST:
        scaled = np.inf
    if x != x:
        scaled = x
    return scaled
