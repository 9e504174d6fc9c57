"""The linear algebra that the array API lacks, under NumPy, torch and JAX."""

import numpy as np
import pytest

from dynplat import arrays
from dynplat.errors import ArgumentError

FRAMEWORKS = ("numpy", "torch", "jax")
rng = np.random.default_rng(0)


@pytest.fixture(params=FRAMEWORKS)
def make(request):
    with arrays.framework(request.param) as convert:
        yield convert


def definite(size, lead=()):
    factor = rng.standard_normal((*lead, size, size))
    return factor @ np.swapaxes(factor, -1, -2) + 0.1 * np.eye(size)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("lead", [(), (5,), (2, 4)], ids=str)
def test_cholesky_equals_numpy(make, size, lead):
    matrix = definite(size, lead)
    np.testing.assert_allclose(
        arrays.to_numpy(arrays.cholesky(make(matrix))), np.linalg.cholesky(matrix), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("size", [1, 2])
def test_cholesky_of_an_indefinite_matrix_is_nan_and_spares_the_batch(make, size):
    good = definite(size)
    batch = np.stack([good, -np.eye(size), good])
    factor = arrays.to_numpy(arrays.cholesky(make(batch)))
    assert np.isnan(np.diagonal(factor[1])).any()
    np.testing.assert_allclose(factor[[0, 2]], np.linalg.cholesky(batch[[0, 2]]), rtol=1e-12)


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("transpose", [False, True])
def test_solve_triangular_broadcasts(make, size, transpose):
    factor = np.linalg.cholesky(definite(size, (3, 1)))
    right = rng.standard_normal((5, size, 2))
    solved = arrays.to_numpy(arrays.solve_triangular(make(factor), make(right), transpose=transpose))
    back = (np.swapaxes(factor, -1, -2) if transpose else factor) @ solved
    np.testing.assert_allclose(back, np.broadcast_to(right, back.shape), rtol=1e-9, atol=1e-10)


def test_solve_cholesky_and_solve_agree(make):
    matrix, right = definite(3, (4,)), rng.standard_normal((4, 3, 2))
    one = arrays.solve_cholesky(arrays.cholesky(make(matrix)), make(right))
    two = arrays.solve(make(matrix), make(right))
    np.testing.assert_allclose(arrays.to_numpy(one), arrays.to_numpy(two), rtol=1e-8)


def test_solve_with_a_singular_matrix_does_not_raise_and_spares_the_batch(make):
    matrix = np.stack([np.eye(2), np.zeros((2, 2))])
    solved = arrays.to_numpy(arrays.solve(make(matrix), make(np.ones((2, 2, 1)))))
    np.testing.assert_array_equal(solved[0], 1.0)
    assert not np.isfinite(solved[1]).all()


@pytest.mark.parametrize("rank", [0, 1, 2, 4])
def test_cholesky_semidefinite_factors_any_rank(make, rank):
    root = rng.standard_normal((6, 4, rank))
    matrix = root @ np.swapaxes(root, -1, -2)
    floor = 1e-12 * np.diagonal(matrix, axis1=-2, axis2=-1)
    factor = arrays.to_numpy(arrays.cholesky_semidefinite(make(matrix), make(floor)))
    np.testing.assert_allclose(factor @ np.swapaxes(factor, -1, -2), matrix, rtol=1e-9, atol=1e-9)
    assert ((np.abs(factor) > 0).any(axis=-2).sum(axis=-1) == rank).all()


@pytest.mark.parametrize("num_core", [0, 1, 2])
def test_take_rows_picks_rows_of_each_series(make, num_core):
    core = (3, 2)[:num_core]
    values = rng.standard_normal((4, 1, 6, *core))
    rows = rng.integers(0, 6, (5, 7))
    taken = arrays.to_numpy(arrays.take_rows(make(values), make(rows), num_core=num_core))
    assert taken.shape == (4, 5, 7, *core)
    for i in range(5):
        np.testing.assert_array_equal(taken[:, i], values[:, 0][:, rows[i]])


def test_log_gamma_is_the_logarithm_of_factorials(make):
    found = arrays.to_numpy(arrays.log_gamma(make(np.array([1.0, 2.0, 5.0, 0.5]))))
    np.testing.assert_allclose(found, [0.0, 0.0, np.log(24.0), 0.5 * np.log(np.pi)], rtol=1e-6, atol=1e-7)


def test_poisson_numbers_have_their_means_and_repeat_with_the_seed(make):
    rates = make(np.broadcast_to([0.0, 0.7, 30.0], (20_000, 3)).copy())
    one, two = (arrays.random_source(3, rates).poisson(rates) for _ in range(2))
    np.testing.assert_array_equal(arrays.to_numpy(one), arrays.to_numpy(two))
    assert one.dtype == rates.dtype
    means = arrays.to_numpy(one).astype(float).mean(axis=0)
    assert (np.abs(means - [0.0, 0.7, 30.0]) <= 5 * np.sqrt(np.array([0.0, 0.7, 30.0]) / 20_000)).all()


def test_symmetrise_and_eye_follow_dtype(make):
    matrix = make(np.array([[1.0, 2.0], [0.0, 1.0]]))
    np.testing.assert_array_equal(arrays.to_numpy(arrays.symmetrise(matrix)), [[1.0, 1.0], [1.0, 1.0]])
    assert arrays.eye_like(2, matrix).dtype == matrix.dtype
    assert arrays.epsilon(matrix) == np.finfo(float).eps


def test_common_type_brings_numpy_to_the_framework(make):
    array = make(np.ones(2))
    first, second, third = arrays.common_type(np.ones(3, dtype=np.float32), array, None)
    assert type(first) is type(array)
    assert first.dtype == array.dtype == second.dtype
    assert third is None


def test_common_type_refuses_two_frameworks():
    import jax.numpy as jnp
    import torch

    with pytest.raises(ArgumentError, match="two frameworks"):
        arrays.common_type(torch.ones(2), jnp.ones(2))


def test_stop_gradient_stops():
    import jax
    import torch

    x = torch.tensor(2.0, requires_grad=True)
    assert not arrays.stop_gradient(x).requires_grad
    assert jax.grad(lambda z: z * arrays.stop_gradient(z))(3.0) == 3.0
