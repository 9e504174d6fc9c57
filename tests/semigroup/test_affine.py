"""Affine maps form a semigroup, and a product acts as its maps do one after the other."""

import numpy as np
import pytest

from dynplat.arrays import framework, to_numpy
from dynplat.semigroup.affine import (
    DenseMap,
    DiagonalMap,
    act_dense,
    act_diagonal,
    combine_dense,
    combine_diagonal,
    dense_identity,
    diagonal_identity,
)

FRAMEWORKS = ("numpy", "torch", "jax")
DTYPES = ("float64", "complex128")
FORMS = {
    "diagonal": (DiagonalMap, combine_diagonal, act_diagonal, diagonal_identity),
    "dense": (DenseMap, combine_dense, act_dense, dense_identity),
}


def arrays_of(make, shapes, dtype):
    """Arrays of a framework; `make` would take the imaginary part away."""
    rng = np.random.default_rng(len(shapes))
    found = []
    for shape in shapes:
        values = rng.standard_normal(shape)
        if dtype == "complex128":
            found.append(make(values) + 1j * make(rng.standard_normal(shape)))
        else:
            found.append(make(values))
    return found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_maps_form_a_semigroup(name, dtype, form, n):
    record, combine, act, identity = FORMS[form]
    core = (n, n) if form == "dense" else (n,)
    with framework(name) as make:
        arrays = arrays_of(make, [(3, *core), (3, n)] * 3 + [(3, n)], dtype)
        a, b, c = (record(*arrays[i : i + 2]) for i in (0, 2, 4))
        state = arrays[6]
        left, right = combine(combine(a, b), c), combine(a, combine(b, c))
        for x, y in zip(left, right, strict=True):
            np.testing.assert_allclose(to_numpy(x), to_numpy(y), rtol=1e-12, atol=1e-13)
        for product in (combine(identity(a), a), combine(a, identity(a))):
            for x, y in zip(product, a, strict=True):
                np.testing.assert_array_equal(to_numpy(x), to_numpy(y))
                assert x.dtype == y.dtype
        one_by_one = act(act(act(state, a), b), c)
        np.testing.assert_allclose(to_numpy(act(state, left)), to_numpy(one_by_one), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_shared_multipliers_stay_shared(form):
    record, combine, _, _ = FORMS[form]
    core = (2, 2) if form == "dense" else (2,)
    rng = np.random.default_rng(0)
    first, second = (record(rng.standard_normal((1, *core)), rng.standard_normal((7, 2))) for _ in range(2))
    product = combine(first, second)
    assert product.multiplier.shape == (1, *core)
    assert product.offset.shape == (7, 2)


def test_order_of_dense_maps_matters():
    turn = DenseMap(np.array([[0.0, -1.0], [1.0, 0.0]]), np.zeros(2))
    move = DenseMap(np.eye(2), np.array([1.0, 0.0]))
    np.testing.assert_array_equal(combine_dense(turn, move).offset, [1.0, 0.0])
    np.testing.assert_array_equal(combine_dense(move, turn).offset, [0.0, 1.0])
