"""Four numbers at a time in compiled code: products of small matrices with sums that stay in registers.

numba leaves loops over a handful of columns to scalar instructions. Here a vector of four is a value of its own, which
LLVM keeps in a register of whatever machine it compiles for. Matrices are padded: columns to a multiple of four, rows
to an even number, with zeros.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.datamodel import models, register_default
from numba.extending import intrinsic

from dynplat.scan.kernels.compiling import compiled, inlined

WIDTH = 4


class _Vector(types.Type):
    """Four real numbers of one type."""

    def __init__(self, real: Any) -> None:
        self.real = real
        super().__init__(name=f"vector({real})")


@register_default(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: _Vector) -> None:
        element = ir.FloatType() if kind.real == types.float32 else ir.DoubleType()
        super().__init__(manager, kind, ir.VectorType(element, WIDTH))


def _place(context: Any, builder: Any, kind: Any, array: Any, row: Any, column: Any) -> Any:
    """Address of four entries of a matrix whose rows are contiguous."""
    matrix = context.make_array(kind)(context, builder, array)
    offset = builder.add(builder.mul(row, builder.extract_value(matrix.shape, 1)), column)
    vector = context.get_value_type(_Vector(kind.dtype))
    return builder.bitcast(builder.gep(matrix.data, [offset]), vector.as_pointer())


def _load(_typing: Any, array: Any, row: Any, column: Any) -> Any:
    """Four entries of a row of a contiguous matrix."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        loaded = builder.load(_place(context, builder, signature.args[0], *arguments))
        loaded.align = signature.args[0].dtype.bitwidth // 8
        return loaded

    return _Vector(array.dtype)(array, types.intp, types.intp), codegen


def _store(_typing: Any, array: Any, row: Any, column: Any, vector: Any) -> Any:
    """Put a vector into four entries of a row of a contiguous matrix."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        stored = builder.store(arguments[3], _place(context, builder, signature.args[0], *arguments[:3]))
        stored.align = signature.args[0].dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, vector), codegen


def _add_multiple(_typing: Any, total: Any, factor: Any, vector: Any) -> Any:
    """Return total + factor * vector, for a number `factor`."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total, factor, vector = arguments
        factors = _everywhere(context.get_value_type(signature.args[0]), builder, factor)
        return builder.fadd(total, builder.fmul(factors, vector, flags=("contract",)), flags=("contract",))

    return total(total, total.real, vector), codegen


def _scaled(_typing: Any, factor: Any, vector: Any) -> Any:
    """Return factor * vector, for a number `factor`."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        factors = _everywhere(context.get_value_type(signature.args[1]), builder, arguments[0])
        return builder.fmul(factors, arguments[1], flags=("contract",))

    return vector(vector.real, vector), codegen


def _everywhere(kind: Any, builder: Any, number: Any) -> Any:
    """A vector with one number everywhere."""
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH))


# To a type checker an intrinsic still takes the typing context first.
load: Any = intrinsic(_load)
store: Any = intrinsic(_store)
scaled: Any = intrinsic(_scaled)
add_multiple: Any = intrinsic(_add_multiple)


@compiled
def padded(size, multiple):
    """Smallest multiple of `multiple` that is not less than `size`."""
    return (size + multiple - 1) // multiple * multiple


@inlined
def combine(base, factor, A, X, rows, inner, out):
    """Put base + factor A X into `out`; `rows` and `inner` are the sizes of A without padding."""
    for i in range(0, rows, 2):
        for j in range(0, out.shape[1], WIDTH):
            first, second = load(base, i, j), load(base, i + 1, j)
            for k in range(inner):
                x = load(X, k, j)
                first = add_multiple(first, factor * A[i, k], x)
                second = add_multiple(second, factor * A[i + 1, k], x)
            store(out, i, j, first)
            store(out, i + 1, j, second)


@inlined
def combine_transposed(base, factor, A, X, rows, inner, out):
    """Put base + factor A^T X into `out`; `rows` and `inner` are the sizes of A^T without padding."""
    for i in range(0, rows, 2):
        for j in range(0, out.shape[1], WIDTH):
            first, second = load(base, i, j), load(base, i + 1, j)
            for k in range(inner):
                x = load(X, k, j)
                first = add_multiple(first, factor * A[k, i], x)
                second = add_multiple(second, factor * A[k, i + 1], x)
            store(out, i, j, first)
            store(out, i + 1, j, second)


# Slices of an array would count references, which costs more than a small matrix: both take the places of its leading
# axes.


@inlined
def fill(source, g, t, out):
    """Copy matrix (g, t) of an array into a padded one."""
    for i in range(source.shape[2]):
        for j in range(source.shape[3]):
            out[i, j] = source[g, t, i, j]


@inlined
def add_to(source, out, g, t):
    """Add a padded matrix to matrix (g, t) of an array."""
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            out[g, t, i, j] += source[i, j]
