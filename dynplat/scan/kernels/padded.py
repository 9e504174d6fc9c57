"""Products of small matrices in compiled code, with sums that stay in registers.

Matrices are padded with zeros: rows to an even number; columns to a multiple of four, or of sixteen where they stand
for the members of a group, of which there may be many.
"""

# pyright does not know that the first argument of numba's intrinsics is left out.
# pyright: reportCallIssue=false

from __future__ import annotations

from dynplat.scan.kernels.compiling import compiled, inlined, leaf
from dynplat.scan.kernels.vector import (
    EIGHT,
    FOUR,
    SIXTEEN,
    plus_multiple,
    plus_times,
    read_eight,
    read_four,
    read_sixteen,
    sum_of,
    times,
    write,
)


@compiled
def padded(size, multiple_of):
    """Smallest multiple of a number that is not less than `size`."""
    return (size + multiple_of - 1) // multiple_of * multiple_of


@inlined
def combine(base, factor, A, X, rows, inner, out):
    """Put base + factor A X into `out`; `rows` and `inner` are the sizes of A without padding."""
    wide = out.shape[1] // SIXTEEN * SIXTEEN
    for i in range(0, rows, 2):
        for j in range(0, wide, SIXTEEN):
            first, second = read_sixteen(base, i, j), read_sixteen(base, i + 1, j)
            for k in range(inner):
                x = read_sixteen(X, k, j)
                first = plus_multiple(first, factor * A[i, k], x)
                second = plus_multiple(second, factor * A[i + 1, k], x)
            write(out, i, j, first)
            write(out, i + 1, j, second)
        for j in range(wide, out.shape[1], FOUR):
            third, fourth = read_four(base, i, j), read_four(base, i + 1, j)
            for k in range(inner):
                y = read_four(X, k, j)
                third = plus_multiple(third, factor * A[i, k], y)
                fourth = plus_multiple(fourth, factor * A[i + 1, k], y)
            write(out, i, j, third)
            write(out, i + 1, j, fourth)


@inlined
def combine_transposed(base, factor, A, X, rows, inner, out):
    """Put base + factor A^T X into `out`; `rows` and `inner` are the sizes of A^T without padding."""
    wide = out.shape[1] // SIXTEEN * SIXTEEN
    for i in range(0, rows, 2):
        for j in range(0, wide, SIXTEEN):
            first, second = read_sixteen(base, i, j), read_sixteen(base, i + 1, j)
            for k in range(inner):
                x = read_sixteen(X, k, j)
                first = plus_multiple(first, factor * A[k, i], x)
                second = plus_multiple(second, factor * A[k, i + 1], x)
            write(out, i, j, first)
            write(out, i + 1, j, second)
        for j in range(wide, out.shape[1], FOUR):
            third, fourth = read_four(base, i, j), read_four(base, i + 1, j)
            for k in range(inner):
                y = read_four(X, k, j)
                third = plus_multiple(third, factor * A[k, i], y)
                fourth = plus_multiple(fourth, factor * A[k, i + 1], y)
            write(out, i, j, third)
            write(out, i + 1, j, fourth)


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
