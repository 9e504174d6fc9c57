"""Products of small matrices in compiled code, with sums that stay in registers.

Matrices are padded: columns to a multiple of four, rows to an even number, with zeros.
"""

# pyright does not know that the first argument of numba's intrinsics is left out.
# pyright: reportCallIssue=false

from __future__ import annotations

from dynplat.scan.kernels.compiling import compiled, inlined
from dynplat.scan.kernels.vector import FOUR, load_four, plus_multiple, store_four


@compiled
def padded(size, multiple):
    """Smallest multiple of `multiple` that is not less than `size`."""
    return (size + multiple - 1) // multiple * multiple


@inlined
def combine(base, factor, A, X, rows, inner, out):
    """Put base + factor A X into `out`; `rows` and `inner` are the sizes of A without padding."""
    for i in range(0, rows, 2):
        for j in range(0, out.shape[1], FOUR):
            first, second = load_four(base, i, j), load_four(base, i + 1, j)
            for k in range(inner):
                x = load_four(X, k, j)
                first = plus_multiple(first, factor * A[i, k], x)
                second = plus_multiple(second, factor * A[i + 1, k], x)
            store_four(out, i, j, first)
            store_four(out, i + 1, j, second)


@inlined
def combine_transposed(base, factor, A, X, rows, inner, out):
    """Put base + factor A^T X into `out`; `rows` and `inner` are the sizes of A^T without padding."""
    for i in range(0, rows, 2):
        for j in range(0, out.shape[1], FOUR):
            first, second = load_four(base, i, j), load_four(base, i + 1, j)
            for k in range(inner):
                x = load_four(X, k, j)
                first = plus_multiple(first, factor * A[k, i], x)
                second = plus_multiple(second, factor * A[k, i + 1], x)
            store_four(out, i, j, first)
            store_four(out, i + 1, j, second)


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
