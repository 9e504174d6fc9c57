"""Exponential and logarithm in compiled code, in a form that runs on several numbers at once."""

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


@intrinsic
def _as_bits(_typing: Any, number: Any) -> Any:
    """Read a floating-point number as 64 bits."""
    signature = types.int64(types.float64)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.int64))

    return signature, codegen


@njit(nogil=True, error_model="numpy", fastmath={"contract"})
def log(x: Any) -> Any:
    """Logarithm of a number, to about one rounding of float64; NaN for what is no positive normal number.

    With x = 2^n m, sqrt(1/2) <= m < sqrt(2), and f = (m - 1) / (m + 1): n log 2 + 2 artanh f, by the series of artanh
    to degree 23, whose error is 1e-19.
    """
    bits = _as_bits(x)  # pyright: ignore[reportCallIssue]
    # 0x3fe6a09e667f3bcd are the bits of sqrt(1/2).
    above = bits - np.int64(0x3FE6A09E667F3BCD)
    n = above >> np.int64(52)
    m = _as_float(bits - (n << np.int64(52)))  # pyright: ignore[reportCallIssue]
    f = (m - 1.0) / (m + 1.0)
    s = f * f
    r = 1.0 / 23.0
    r = r * s + 1.0 / 21.0
    r = r * s + 1.0 / 19.0
    r = r * s + 1.0 / 17.0
    r = r * s + 1.0 / 15.0
    r = r * s + 1.0 / 13.0
    r = r * s + 1.0 / 11.0
    r = r * s + 1.0 / 9.0
    r = r * s + 1.0 / 7.0
    r = r * s + 1.0 / 5.0
    r = r * s + 1.0 / 3.0
    r = r * s
    n = np.float64(np.int32(n))
    result = n * _LOG_2_HIGH + (2.0 * f + (2.0 * f * r + n * _LOG_2_LOW))
    if not (x >= 2.2250738585072014e-308 and x < np.inf):
        result = np.nan
    return result
