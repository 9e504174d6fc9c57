"""Products of padded matrices in compiled code, compared with NumPy's."""

import numpy as np
import pytest

from dynplat.scan.kernels.compiling import compiled
from dynplat.scan.kernels.padded import add_products, combine, combine_transposed

SHAPES = [(1, 1, 4), (2, 3, 4), (3, 5, 8), (4, 2, 12), (5, 16, 16), (16, 17, 20), (7, 4, 32), (8, 9, 44)]


@compiled
def product(base, factor, A, X, rows, inner, out):
    combine(base, factor, A, X, rows, inner, out)


@compiled
def transposed_product(base, factor, A, X, rows, inner, out):
    combine_transposed(base, factor, A, X, rows, inner, out)


def even(rows):
    return rows + rows % 2


@pytest.mark.parametrize(("rows", "inner", "columns"), SHAPES)
@pytest.mark.parametrize("in_place", [False, True])
def test_products_equal_those_of_numpy(rows, inner, columns, in_place):
    rng = np.random.default_rng(rows)
    A = np.zeros((even(rows), even(inner)))
    A[:rows, :inner] = rng.standard_normal((rows, inner))
    X = rng.standard_normal((even(inner), columns))
    base = rng.standard_normal((even(rows), columns))
    wanted = base.copy()
    wanted[:rows] -= 0.5 * A[:rows, :inner] @ X[:inner]
    for run, factor in ((product, A), (transposed_product, np.ascontiguousarray(A.T))):
        source = base.copy()
        out = source if in_place else np.full_like(base, np.nan)
        run(source, -0.5, factor, X, rows, inner, out)
        np.testing.assert_allclose(out[:rows], wanted[:rows], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("rows", "columns", "members"), [(1, 1, 16), (2, 3, 16), (5, 4, 32), (16, 16, 48)])
def test_sums_over_members_equal_those_of_numpy(rows, columns, members):
    rng = np.random.default_rng(rows)
    left, right = np.zeros((even(rows), members)), np.zeros((even(columns), members))
    left[:rows], right[:columns] = rng.standard_normal((rows, members)), rng.standard_normal((columns, members))
    start = rng.standard_normal((even(rows), columns + 4 - columns % 4))
    out = start.copy()
    add_products(2.0, left, right, rows, columns, out)
    start[:rows, :columns] += 2.0 * left[:rows] @ right[:columns].T
    np.testing.assert_allclose(out, start, rtol=1e-13, atol=1e-13)
