"""Vectors of sixteen numbers in single or double precision: scratch rows for them, and powers of two."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from dynplat.scan.kernels.compiling import compiled, intrinsic
from dynplat.scan.kernels.vector import SIXTEEN

#: Bytes of a line of the cache.
_LINE = 64
#: Bits of the fraction of a number, bias of its exponent, and degree of Taylor's polynomial of 2^r, |r| <= 1/2, whose
#: error is 5e-9 and 4e-18.
_SINGLE, _DOUBLE = (23, 127, 7), (52, 1023, 13)
#: What must be rounded before it goes on keeps its place; operations without flags would be given those of `compiling`.
_IN_ORDER = ("contract",)


@compiled
def room(rows, like):
    """Make an array of zeros (rows, 16), of the type of `like`, whose rows begin lines of the cache."""
    numbers = np.zeros((rows + 1) * SIXTEEN, like.dtype)
    start = (-numbers.ctypes.data % _LINE) // numbers.itemsize
    return numbers[start : start + rows * SIXTEEN].reshape(rows, SIXTEEN)


@intrinsic
def nothing(_typing: Any, like: Any) -> Any:
    """Zeros, as many as `like` holds."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(arguments[0].type, [0.0] * arguments[0].type.count)

    return like(like), codegen


@intrinsic
def exp2(_typing: Any, x: Any) -> Any:
    """Powers 2^x, to about one rounding; 0 below the least normal number, infinity above the largest, NaN for NaN."""
    single = x.real == types.float32
    fraction, bias, degree = _SINGLE if single else _DOUBLE

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (x,) = arguments
        words = ir.VectorType(ir.IntType(32 if single else 64), x.type.count)

        def number(value: float) -> Any:
            return ir.Constant(x.type, [value] * x.type.count)

        def word(value: int) -> Any:
            return ir.Constant(words, [value] * x.type.count)

        # NaN is neither.
        below, above = builder.fcmp_ordered("<", x, number(1.0 - bias)), builder.fcmp_ordered(">", x, number(bias + 1))
        inside = builder.select(above, number(bias + 1), builder.select(below, number(1.0 - bias), x))
        # The nearest whole number, left in the last bits of a sum with a large one.
        whole = number(1.5 * 2.0**fraction)
        moved = builder.fadd(inside, whole, flags=_IN_ORDER)
        r = builder.fsub(inside, builder.fsub(moved, whole, flags=_IN_ORDER), flags=_IN_ORDER)
        total = number(math.log(2.0) ** degree / math.factorial(degree))
        for k in range(degree - 1, -1, -1):
            total = builder.fadd(
                builder.fmul(total, r, flags=_IN_ORDER), number(math.log(2.0) ** k / math.factorial(k)), flags=_IN_ORDER
            )
        bits = builder.shl(builder.add(builder.bitcast(moved, words), word(bias)), word(fraction))
        power = builder.fmul(total, builder.bitcast(bits, x.type), flags=_IN_ORDER)
        return builder.select(below, number(0.0), power)

    return x(x), codegen
