"""Eight numbers as one in compiled code: a vector of LLVM, which lives in registers.

Loops over eight series written with arrays reach memory at every step, because the compiler can't prove that arrays do
not overlap, and it joins no scalars to vectors by itself. All numbers are float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

from dynplat.scan.kernels.compiling import compiled

#: Numbers side by side.
EIGHT = 8

#: Bytes of a vector register: what crosses a line of the cache is read and written in two parts.
_LINE = 64

_NUMBERS = ir.VectorType(ir.DoubleType(), EIGHT)
#: As in `compiling`: sums may be reordered and fused; NaN and infinity keep their meaning.
_FLAGS = ("contract", "reassoc", "nsz")
#: Arrays are aligned to their numbers only.
_ALIGN = 8


class _Eight(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Eight")


_eight = _Eight()


@register_model(_Eight)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _NUMBERS)


@compiled
def lines(rows):
    """Make an array of zeros (rows, 8) whose rows are lines of the cache."""
    numbers = np.zeros((rows + 1) * EIGHT)
    start = (-numbers.ctypes.data % _LINE) // 8
    return numbers[start : start + rows * EIGHT].reshape(rows, EIGHT)


def _row(context: Any, builder: Any, array_type: Any, array: Any, row: Any) -> Any:
    """Pointer to a row of a contiguous array (..., 8)."""
    start = context.make_array(array_type)(context, builder, array).data
    offset = builder.mul(row, ir.Constant(row.type, EIGHT))
    return builder.bitcast(builder.gep(start, [offset]), ir.PointerType(_NUMBERS))


@intrinsic
def load(_typing: Any, array: Any, row: Any) -> Any:
    """Read eight numbers: row `row` of a contiguous float64 array (rows, 8)."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_row(context, builder, signature.args[0], *arguments), align=_ALIGN)

    return _eight(array, types.intp), codegen


@intrinsic
def store(_typing: Any, array: Any, row: Any, x: Any) -> Any:
    """Write eight numbers into row `row` of a contiguous float64 array (rows, 8)."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, row, x = arguments
        builder.store(x, _row(context, builder, signature.args[0], array, row), align=_ALIGN)
        return context.get_dummy_value()

    return types.void(array, types.intp, x), codegen


@intrinsic
def same(_typing: Any, number: Any) -> Any:
    """Eight times one number."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        single = builder.insert_element(
            ir.Constant(_NUMBERS, ir.Undefined), arguments[0], ir.Constant(ir.IntType(32), 0)
        )
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), EIGHT), [0] * EIGHT)
        return builder.shuffle_vector(single, single, everywhere)

    return _eight(types.float64), codegen


@intrinsic
def add(_typing: Any, x: Any, y: Any) -> Any:
    """Sum."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments, flags=_FLAGS)

    return _eight(_eight, _eight), codegen


@intrinsic
def times(_typing: Any, x: Any, y: Any) -> Any:
    """Product."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fmul(*arguments, flags=_FLAGS)

    return _eight(_eight, _eight), codegen


@intrinsic
def plus_times(_typing: Any, s: Any, x: Any, y: Any) -> Any:
    """Sum and product, s + x y."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        s, x, y = arguments
        return builder.fadd(s, builder.fmul(x, y, flags=_FLAGS), flags=_FLAGS)

    return _eight(_eight, _eight, _eight), codegen


@intrinsic
def inverse(_typing: Any, x: Any) -> Any:
    """One over x."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fdiv(ir.Constant(_NUMBERS, [1.0] * EIGHT), arguments[0], flags=_FLAGS)

    return _eight(_eight), codegen


@intrinsic
def least(_typing: Any, x: Any, y: Any) -> Any:
    """The smaller of each two; x where one is NaN."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, y = arguments
        return builder.select(builder.fcmp_ordered("<", y, x), y, x)

    return _eight(_eight, _eight), codegen


@intrinsic
def greatest(_typing: Any, x: Any, y: Any) -> Any:
    """The larger of each two; x where one is NaN."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, y = arguments
        return builder.select(builder.fcmp_ordered(">", y, x), y, x)

    return _eight(_eight, _eight), codegen


@intrinsic
def where_greater(_typing: Any, a: Any, b: Any, x: Any, y: Any) -> Any:
    """Choose x where a is above b, and y elsewhere."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b, x, y = arguments
        return builder.select(builder.fcmp_ordered(">", a, b), x, y)

    return _eight(_eight, _eight, _eight, _eight), codegen


def _halved(builder: Any, x: Any, join: Any) -> Any:
    """Join the halves of a vector until one number is left."""
    size = EIGHT
    while size > 1:
        size //= 2
        halves = [
            builder.shuffle_vector(
                x, x, ir.Constant(ir.VectorType(ir.IntType(32), size), list(range(first, first + size)))
            )
            for first in (0, size)
        ]
        x = join(*halves)
    return builder.extract_element(x, ir.Constant(ir.IntType(32), 0))


@intrinsic
def sum_of(_typing: Any, x: Any) -> Any:
    """Sum of eight numbers."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _halved(builder, arguments[0], lambda a, b: builder.fadd(a, b, flags=_FLAGS))

    return types.float64(_eight), codegen


@intrinsic
def least_of(_typing: Any, x: Any) -> Any:
    """Smallest of eight numbers."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _halved(builder, arguments[0], lambda a, b: builder.select(builder.fcmp_ordered("<", b, a), b, a))

    return types.float64(_eight), codegen
