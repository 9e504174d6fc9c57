"""Log-matrices form a semigroup, and logarithms of 0 harm neither products nor gradients."""

import numpy as np
import pytest

from dynplat.arrays import framework, to_numpy
from dynplat.semigroup.log_matrix import (
    LogStep,
    act_log,
    act_max,
    log_element,
    log_identity,
    log_matmul,
    log_sum_exp,
    max_matmul,
    update_log,
)

FRAMEWORKS = ("numpy", "torch", "jax")
PRODUCTS = {"sum": log_matmul, "max": max_matmul}


def matrices(count, size, lead=(3,), zeros=0.3):
    rng = np.random.default_rng(size)
    found = 5.0 * rng.standard_normal((count, *lead, size, size))
    return np.where(rng.random(found.shape) < zeros, -np.inf, found)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_products_are_associative_and_the_identity_is_neutral(name, product, size):
    multiply = PRODUCTS[product]
    with framework(name) as make:
        a, b, c = (make(m) for m in matrices(3, size))
        left, right = multiply(multiply(a, b), c), multiply(a, multiply(b, c))
        np.testing.assert_allclose(to_numpy(left), to_numpy(right), rtol=1e-13)
        one = log_identity(size, a)
        np.testing.assert_allclose(to_numpy(multiply(one, a)), to_numpy(a), rtol=1e-15)
        np.testing.assert_allclose(to_numpy(multiply(a, one)), to_numpy(a), rtol=1e-15)


def test_log_matmul_keeps_terms_that_a_product_of_scaled_matrices_loses():
    # The large entries of row and column never meet.
    first, second = np.array([[0.0, -2000.0]] * 2), np.array([[-2000.0] * 2, [0.0] * 2])
    np.testing.assert_allclose(log_matmul(first, second), -2000.0 + np.log(2.0), rtol=1e-15)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_an_element_acts_as_its_step(name):
    with framework(name) as make:
        (move,) = matrices(1, 4)
        rng = np.random.default_rng(0)
        step = LogStep(make(move), make(rng.standard_normal((3, 4))))
        state = make(np.log(rng.dirichlet(np.ones(4), size=3)))
        moved, log_prob = act_log(state, step)
        joint = log_matmul(state[..., None, :], log_element(step))[..., 0, :]
        np.testing.assert_allclose(to_numpy(moved + log_prob[..., None]), to_numpy(joint), rtol=1e-13)
        best, (kept, came_from) = act_max(state, step)
        np.testing.assert_allclose(
            to_numpy(best), to_numpy(max_matmul(state[..., None, :], log_element(step))[..., 0, :]), rtol=1e-15
        )
        np.testing.assert_array_equal(to_numpy(best), to_numpy(kept))
        arrivals = to_numpy(state)[:, :, None] + move
        np.testing.assert_array_equal(to_numpy(came_from), arrivals.argmax(axis=-2))


def test_an_impossible_observation_gives_minus_infinity_not_nan():
    state, log_prob = update_log(np.array([0.0, -np.inf]), np.array([-np.inf, 3.0]))
    assert log_prob == -np.inf
    np.testing.assert_array_equal(state, [-np.inf, -np.inf])


def gradient(name, function, values):
    if name == "torch":
        import torch

        x = torch.tensor(values, requires_grad=True)
        (found,) = torch.autograd.grad(function(x), x)
        return found.numpy()
    import jax

    with framework("jax") as make:
        return np.asarray(jax.grad(function)(make(values)))


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_gradients_at_zeros_are_exact(name):
    values = np.array([[0.3, -np.inf, -1.0], [-np.inf, -np.inf, -np.inf], [2.0, 0.0, -np.inf]])

    def total(x):
        sums = log_sum_exp(x, axis=-1)
        return sums[0] + 2.0 * sums[2] + 0.0 * x[0, 0]

    with np.errstate(invalid="ignore"):
        wanted = np.exp(values - np.logaddexp.reduce(values, axis=-1, keepdims=True))
    wanted = np.array([wanted[0], np.zeros(3), 2.0 * wanted[2]])
    np.testing.assert_allclose(gradient(name, total, values), wanted, rtol=1e-14, atol=1e-300)

    def finite_part_of_product(x):
        product = log_matmul(x, x)
        return product[0, 0] + product[2, 2]

    # By hand: product_00 sums x_00 + x_00 and x_02 + x_20, product_22 is x_20 + x_02; every other term is -inf.
    terms = np.exp([2 * 0.3, -1.0 + 2.0])
    share = terms / terms.sum()
    wanted = np.array([[2 * share[0], 0.0, share[1] + 1.0], [0.0] * 3, [share[1] + 1.0, 0.0, 0.0]])
    np.testing.assert_allclose(gradient(name, finite_part_of_product, values), wanted, rtol=1e-14, atol=1e-300)
