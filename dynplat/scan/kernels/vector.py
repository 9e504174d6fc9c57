"""Several numbers as one in compiled code: vectors of LLVM, which live in registers of the machine it compiles for.

numba leaves loops over a handful of numbers to scalar instructions: the compiler can't prove that arrays do not
overlap, and it joins no scalars to vectors by itself. Vectors of four run along rows of small matrices (see `padded`),
vectors of eight over eight series (see `hidden_markov_eight`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import models, register_model

from dynplat.scan.kernels.compiling import compiled, intrinsic

FOUR, EIGHT, SIXTEEN = 4, 8, 16

#: Bytes of a vector register: what crosses a line of the cache is read and written in two parts.
_LINE = 64
#: As in `compiling`: sums may be reordered and fused; NaN and infinity keep their meaning.
FLAGS = ("contract", "reassoc", "nsz")


class Vector(types.Type):
    """`width` real numbers of one type."""

    def __init__(self, real: Any, width: int) -> None:
        self.real, self.width = real, width
        super().__init__(name=f"vector({real}, {width})")


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        real = ir.FloatType() if kind.real == types.float32 else ir.DoubleType()
        super().__init__(manager, kind, ir.VectorType(real, kind.width))


# Memory.


@compiled
def lines(rows):
    """Make an array of zeros (rows, 8) whose rows are lines of the cache."""
    numbers = np.zeros((rows + 1) * EIGHT)
    start = (-numbers.ctypes.data % _LINE) // 8
    return numbers[start : start + rows * EIGHT].reshape(rows, EIGHT)


def _read(context: Any, builder: Any, signature: Any, array: Any, offset: Any) -> Any:
    """Read a vector, of the type that an intrinsic returns, from an offset in a contiguous array."""
    kind = signature.args[0]
    start = context.make_array(kind)(context, builder, array).data
    vector = context.get_value_type(signature.return_type)
    pointer = builder.bitcast(builder.gep(start, [offset]), vector.as_pointer())
    return builder.load(pointer, align=kind.dtype.bitwidth // 8)  # arrays are aligned to their numbers only


def _write(context: Any, builder: Any, signature: Any, array: Any, offset: Any, vector: Any) -> Any:
    """Write a vector at an offset in a contiguous array."""
    kind = signature.args[0]
    start = context.make_array(kind)(context, builder, array).data
    pointer = builder.bitcast(builder.gep(start, [offset]), vector.type.as_pointer())
    builder.store(vector, pointer, align=kind.dtype.bitwidth // 8)
    return context.get_dummy_value()


def _of_row(builder: Any, row: Any) -> Any:
    return builder.mul(row, ir.Constant(row.type, EIGHT))


def _of_entry(context: Any, builder: Any, signature: Any, array: Any, row: Any, column: Any) -> Any:
    matrix = context.make_array(signature.args[0])(context, builder, array)
    return builder.add(builder.mul(row, builder.extract_value(matrix.shape, 1)), column)


@intrinsic
def load(_typing: Any, array: Any, row: Any) -> Any:
    """Read eight numbers: row `row` of a contiguous array (rows, 8)."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, row = arguments
        return _read(context, builder, signature, array, _of_row(builder, row))

    return Vector(array.dtype, EIGHT)(array, types.intp), codegen


@intrinsic
def store(_typing: Any, array: Any, row: Any, x: Any) -> Any:
    """Write eight numbers into row `row` of a contiguous array (rows, 8)."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, row, x = arguments
        return _write(context, builder, signature, array, _of_row(builder, row), x)

    return types.void(array, types.intp, x), codegen


def _reader(width: int) -> Any:
    @intrinsic
    def read(_typing: Any, array: Any, row: Any, column: Any) -> Any:
        """Read some numbers of a row of a contiguous matrix, from a column on."""

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return _read(context, builder, signature, arguments[0], _of_entry(context, builder, signature, *arguments))

        return Vector(array.dtype, width)(array, types.intp, types.intp), codegen

    return read


read_four, read_eight, read_sixteen = _reader(FOUR), _reader(EIGHT), _reader(SIXTEEN)


@intrinsic
def write(_typing: Any, array: Any, row: Any, column: Any, x: Any) -> Any:
    """Write a vector into a row of a contiguous matrix, from a column on."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _of_entry(context, builder, signature, *arguments[:3])
        return _write(context, builder, signature, arguments[0], place, arguments[3])

    return types.void(array, types.intp, types.intp, x), codegen


# Arithmetic, on vectors of any width.


def everywhere(builder: Any, vector: Any, number: Any) -> Any:
    """A vector of a type of LLVM with one number everywhere."""
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(single, single, places)


@intrinsic
def same(_typing: Any, number: Any) -> Any:
    """Eight times one number."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return everywhere(builder, context.get_value_type(signature.return_type), arguments[0])

    return Vector(types.float64, EIGHT)(types.float64), codegen


@intrinsic
def add(_typing: Any, x: Any, y: Any) -> Any:
    """Sum."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments, flags=FLAGS)

    return x(x, x), codegen


@intrinsic
def minus(_typing: Any, x: Any, y: Any) -> Any:
    """Difference."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fsub(*arguments, flags=FLAGS)

    return x(x, x), codegen


@intrinsic
def times(_typing: Any, x: Any, y: Any) -> Any:
    """Product."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fmul(*arguments, flags=FLAGS)

    return x(x, x), codegen


@intrinsic
def plus_times(_typing: Any, s: Any, x: Any, y: Any) -> Any:
    """Sum and product, s + x y."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        s, x, y = arguments
        return builder.fadd(s, builder.fmul(x, y, flags=FLAGS), flags=FLAGS)

    return x(x, x, x), codegen


@intrinsic
def multiple(_typing: Any, number: Any, x: Any) -> Any:
    """Product of a number and a vector."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number, x = arguments
        return builder.fmul(everywhere(builder, x.type, number), x, flags=FLAGS)

    return x(x.real, x), codegen


@intrinsic
def plus_multiple(_typing: Any, s: Any, number: Any, x: Any) -> Any:
    """Sum of a vector and the product of a number and a vector."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        s, number, x = arguments
        return builder.fadd(s, builder.fmul(everywhere(builder, x.type, number), x, flags=FLAGS), flags=FLAGS)

    return x(x, x.real, x), codegen


@intrinsic
def inverse(_typing: Any, x: Any) -> Any:
    """One over x."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (x,) = arguments
        return builder.fdiv(ir.Constant(x.type, [1.0] * x.type.count), x, flags=FLAGS)

    return x(x), codegen


@intrinsic
def least(_typing: Any, x: Any, y: Any) -> Any:
    """The smaller of each two; x where one is NaN."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, y = arguments
        return builder.select(builder.fcmp_ordered("<", y, x), y, x)

    return x(x, x), codegen


@intrinsic
def greatest(_typing: Any, x: Any, y: Any) -> Any:
    """The larger of each two; x where one is NaN."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, y = arguments
        return builder.select(builder.fcmp_ordered(">", y, x), y, x)

    return x(x, x), codegen


@intrinsic
def where_greater(_typing: Any, a: Any, b: Any, x: Any, y: Any) -> Any:
    """Choose x where a is above b, and y elsewhere."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b, x, y = arguments
        return builder.select(builder.fcmp_ordered(">", a, b), x, y)

    return x(x, x, x, x), codegen


def _halved(builder: Any, x: Any, join: Any) -> Any:
    """Join the halves of a vector until one number is left."""
    size = x.type.count
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
    """Sum of the numbers of a vector."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _halved(builder, arguments[0], lambda a, b: builder.fadd(a, b, flags=FLAGS))

    return x.real(x), codegen


@intrinsic
def least_of(_typing: Any, x: Any) -> Any:
    """Smallest number of a vector."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _halved(builder, arguments[0], lambda a, b: builder.select(builder.fcmp_ordered("<", b, a), b, a))

    return x.real(x), codegen
