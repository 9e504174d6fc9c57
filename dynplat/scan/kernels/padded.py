"""Products of small matrices in compiled code, with sums that stay in registers.

Matrices are padded with zeros: rows to an even number; columns to a multiple of four, or of sixteen where they stand
for the members of a group, of which there may be many.

Most functions here write LLVM's code themselves. A call of numba's passes ten numbers for each array, and slices of
arrays count references: both cost more than what a small matrix is multiplied in; what numba writes out at each call
(`inlined`) takes it seconds to compile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from dynplat.scan.kernels.compiling import compiled, intrinsic, leaf
from dynplat.scan.kernels.vector import EIGHT, FLAGS, FOUR, SIXTEEN, everywhere, plus_times, read_eight, sum_of, times


@compiled
def padded(size, multiple):
    """Smallest multiple of `multiple` that is not less than `size`."""
    return (size + multiple - 1) // multiple * multiple


@intrinsic
def combine(_typing: Any, base: Any, factor: Any, A: Any, X: Any, rows: Any, inner: Any, out: Any) -> Any:
    """Put base + factor A X into `out`; `rows` and `inner` are the sizes of A without padding."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _combine(context, builder, signature, arguments, transposed=False)

    return types.void(base, out.dtype, A, X, types.intp, types.intp, out), codegen


@intrinsic
def combine_transposed(_typing: Any, base: Any, factor: Any, A: Any, X: Any, rows: Any, inner: Any, out: Any) -> Any:
    """Put base + factor A^T X into `out`; `rows` and `inner` are the sizes of A^T without padding."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _combine(context, builder, signature, arguments, transposed=True)

    return types.void(base, out.dtype, A, X, types.intp, types.intp, out), codegen


def _combine(context: Any, builder: Any, signature: Any, arguments: Any, *, transposed: bool) -> Any:
    base, factor, A, X, rows, inner, out = arguments
    kinds = signature.args
    base, A, X, out = (_Matrix(context, builder, kinds[i], arguments[i]) for i in (0, 2, 3, 6))
    word = rows.type
    columns = out.size(1)
    wide = builder.and_(columns, word(-SIXTEEN))

    def tile(i: Any, j: Any, width: int) -> None:
        """Two rows of so many columns."""
        lines = (i, builder.add(i, word(1)))
        vector = ir.VectorType(factor.type, width)
        sums = [cgutils.alloca_once(builder, vector) for _ in lines]
        for total, line in zip(sums, lines, strict=True):
            builder.store(base.read((line, j), width), total)
        with cgutils.for_range(builder, inner) as loop:
            x = X.read((loop.index, j), width)
            for total, line in zip(sums, lines, strict=True):
                entry = A.read((loop.index, line) if transposed else (line, loop.index))
                number = builder.fmul(factor, entry, flags=FLAGS)
                term = builder.fmul(everywhere(builder, vector, number), x, flags=FLAGS)
                builder.store(builder.fadd(builder.load(total), term, flags=FLAGS), total)
        for total, line in zip(sums, lines, strict=True):
            out.write((line, j), builder.load(total))

    def lines() -> Any:
        return cgutils.for_range_slice(builder, word(0), rows, word(2), inc=True)

    with builder.if_else(builder.icmp_signed("==", columns, word(FOUR))) as (narrow, broad):
        with narrow, lines() as (i, _):
            tile(i, word(0), FOUR)
        with broad, lines() as (i, _):
            # The more columns a pass takes, the less often it reads A.
            with cgutils.for_range_slice(builder, word(0), wide, word(SIXTEEN), inc=True) as (j, _):
                tile(i, j, SIXTEEN)
            eight, four = (builder.and_(columns, word(width)) for width in (EIGHT, FOUR))
            with builder.if_then(builder.icmp_signed("!=", eight, word(0))):
                tile(i, wide, EIGHT)
            with builder.if_then(builder.icmp_signed("!=", four, word(0))):
                tile(i, builder.add(wide, eight), FOUR)
    return context.get_dummy_value()


@leaf
def add_products(factor, left, right, rows, columns, out):
    """Add factor left right^T, a sum over members, to `out`; `rows` and `columns` are its sizes without padding."""
    members = left.shape[1]
    for i in range(0, rows, 2):
        for j in range(0, columns, 2):
            a, b = read_eight(left, i, 0), read_eight(left, i + 1, 0)
            x, y = read_eight(right, j, 0), read_eight(right, j + 1, 0)
            ax, ay, bx, by = times(a, x), times(a, y), times(b, x), times(b, y)
            for s in range(EIGHT, members, EIGHT):
                a, b = read_eight(left, i, s), read_eight(left, i + 1, s)
                x, y = read_eight(right, j, s), read_eight(right, j + 1, s)
                ax, ay = plus_times(ax, a, x), plus_times(ay, a, y)
                bx, by = plus_times(bx, b, x), plus_times(by, b, y)
            out[i, j] += factor * sum_of(ax)
            out[i, j + 1] += factor * sum_of(ay)
            out[i + 1, j] += factor * sum_of(bx)
            out[i + 1, j + 1] += factor * sum_of(by)


@intrinsic
def fill(_typing: Any, source: Any, g: Any, t: Any, out: Any) -> Any:
    """Copy matrix (g, t) of an array (G, T, rows, columns) into a padded one."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, out = (_Matrix(context, builder, signature.args[i], arguments[i]) for i in (0, 3))
        with _entries(builder, source.size(2), source.size(3)) as (i, j):
            out.write((i, j), source.read((arguments[1], arguments[2], i, j)))
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, out), codegen


@intrinsic
def add_to(_typing: Any, source: Any, out: Any, g: Any, t: Any) -> Any:
    """Add a padded matrix to matrix (g, t) of an array (G, T, rows, columns)."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, out = (_Matrix(context, builder, signature.args[i], arguments[i]) for i in (0, 1))
        with _entries(builder, out.size(2), out.size(3)) as (i, j):
            place = (arguments[2], arguments[3], i, j)
            out.write(place, builder.fadd(out.read(place), source.read((i, j)), flags=FLAGS))
        return context.get_dummy_value()

    return types.void(source, out, types.intp, types.intp), codegen


@contextmanager
def _entries(builder: Any, rows: Any, columns: Any) -> Iterator[tuple[Any, Any]]:
    with cgutils.for_range(builder, rows) as row, cgutils.for_range(builder, columns) as column:
        yield row.index, column.index


class _Matrix:
    """A contiguous array whose last two axes are those of matrices."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        array = context.make_array(kind)(context, builder, value)
        self._builder, self._data, self._shape = builder, array.data, array.shape
        self._align = kind.dtype.bitwidth // 8  # arrays are aligned to their numbers only

    def size(self, axis: int) -> Any:
        return self._builder.extract_value(self._shape, axis)

    def read(self, place: tuple[Any, ...], width: int = 1) -> Any:
        pointer = self._pointer(place)
        if width > 1:
            pointer = self._builder.bitcast(pointer, ir.VectorType(self._data.type.pointee, width).as_pointer())
        return self._builder.load(pointer, align=self._align)

    def write(self, place: tuple[Any, ...], value: Any) -> None:
        pointer = self._builder.bitcast(self._pointer(place), value.type.as_pointer())
        self._builder.store(value, pointer, align=self._align)

    def _pointer(self, place: tuple[Any, ...]) -> Any:
        offset = place[0]
        for axis, index in enumerate(place[1:], start=1):
            offset = self._builder.add(self._builder.mul(offset, self.size(axis)), index)
        return self._builder.gep(self._data, [offset])
