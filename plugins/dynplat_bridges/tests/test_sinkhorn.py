"""Sinkhorn's iterations: closed forms on grids, other solvers, small noise, weights, frameworks and refusals."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from dynplat.errors import ArgumentError, InferenceError
from dynplat_bridges.sinkhorn import log_sum_exp, sinkhorn


def _points(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 2)), 0.5 * rng.normal(size=(count + 10, 2)) + 2.0


def _squares(x, y):
    return ((x[:, None] - y) ** 2).sum(axis=-1)


def _plain(log_kernel, mu, nu, iterations):
    """The textbook's iterations, with sums of logarithms only."""
    g = np.zeros(len(nu))
    f = np.zeros(len(mu))
    for _ in range(iterations):
        f = -log_sum_exp(log_kernel + g + np.log(nu), axis=1)
        g = -log_sum_exp(log_kernel + (f + np.log(mu))[:, None], axis=0)
    return np.exp(log_kernel + (f + np.log(mu))[:, None] + g + np.log(nu))


@pytest.mark.parametrize(("epsilon", "cov"), [(0.1, 0.452494), (0.5, 0.309017), (1.0, 0.207107), (2.0, 0.118034)])
def test_closed_form_on_grid_weights(epsilon, cov):
    x, y = np.linspace(-8.0, 8.0, 321), np.linspace(-2.0, 6.0, 321)
    mu, nu = np.exp(-(x**2) / 2), np.exp(-((y - 2.0) ** 2) / 0.5)
    mu, nu = mu / mu.sum(), nu / nu.sum()
    found = sinkhorn(-((x[:, None] - y) ** 2) / (2 * epsilon), mu, nu, tolerance=1e-10)
    plan = np.exp(found.log_plan)
    assert float(x @ plan @ (y - 2.0)) == pytest.approx(cov, abs=5e-7)
    np.testing.assert_allclose(plan.sum(axis=1), mu, atol=1e-10)
    np.testing.assert_allclose(plan.sum(axis=0), nu, atol=1e-14)


def test_textbook_and_pot():
    (x, y), rng = _points(40), np.random.default_rng(1)
    mu, nu = rng.dirichlet(np.full(40, 3.0)), rng.dirichlet(np.full(50, 3.0))
    log_kernel = -_squares(x, y) / 0.6
    found = sinkhorn(log_kernel, mu, nu, tolerance=1e-11)
    np.testing.assert_allclose(np.exp(found.log_plan), _plain(log_kernel, mu, nu, 2000), rtol=1e-8, atol=1e-14)
    other = ot.sinkhorn(mu, nu, _squares(x, y), 0.6, method="sinkhorn_log", stopThr=1e-13, numItermax=20_000)
    np.testing.assert_allclose(np.exp(found.log_plan), np.asarray(other), rtol=1e-7, atol=1e-14)


@pytest.mark.parametrize("size", [1e-2, 1e-4])
def test_small_noise_comes_near_optimal_transport(size):
    x, y = _points(60)
    y = y[:60]
    found = sinkhorn(-_squares(x, y) / size, tolerance=1e-8)
    assert found.error <= 1e-8
    cost = float((np.exp(found.log_plan) * _squares(x, y)).sum())
    least = _squares(x, y)[linear_sum_assignment(_squares(x, y))].mean()
    # Entropy is worth at most log N.
    assert least - 1e-7 <= cost <= least + size * np.log(60)


def test_no_noise_to_speak_of_is_refused_with_the_error_reached():
    x, y = _points(60)
    with pytest.raises(InferenceError, match=r"after 10 of them the marginal error is 0\.\d+, and `tol"):
        sinkhorn(-_squares(x, y) / 1e-3, max_iterations=10)
    with pytest.raises(InferenceError, match="Take a larger `diffusion`, or more `max_iterations`"):
        sinkhorn(-_squares(x, y) / 1e-3, max_iterations=10)
    assert sinkhorn(-_squares(x, y) / 1e-3, max_iterations=10, check=False).error > 1e-3


def test_factors_of_rows_and_columns_make_no_difference():
    (x, y), rng = _points(20), np.random.default_rng(2)
    log_kernel = -_squares(x, y)
    moved = log_kernel + 100.0 * rng.normal(size=(20, 1)) + 100.0 * rng.normal(size=30)
    found, other = (np.exp(sinkhorn(k, tolerance=1e-12).log_plan) for k in (log_kernel, moved))
    np.testing.assert_allclose(found, other, rtol=1e-9, atol=1e-15)


def test_start_from_known_potentials():
    x, y = _points(40)
    found = sinkhorn(-_squares(x, y), tolerance=1e-9)
    assert sinkhorn(-_squares(x, y), tolerance=1e-8, start=found.g).iterations == 1


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_frameworks_and_leading_axes(name):
    x, y = _points(15)
    kernels = np.stack([-_squares(x, y) / size for size in (0.5, 1.0)])[:, None]
    alone = [np.exp(sinkhorn(kernel[0], tolerance=1e-10).log_plan) for kernel in kernels]
    with jax.enable_x64(True):
        make = torch.tensor if name == "torch" else jnp.asarray
        found = sinkhorn(make(kernels), tolerance=1e-10)
        plans = np.exp(np.asarray(found.log_plan))
    assert plans.shape == (2, 1, 15, 25)
    for i in range(2):
        np.testing.assert_allclose(plans[i, 0], alone[i], atol=1e-10)


def test_single_particles():
    found = sinkhorn(np.array([[-700.0, -1.0]]))
    np.testing.assert_allclose(np.exp(found.log_plan), [[0.5, 0.5]], rtol=1e-12)


def test_bad_weights_and_kernels_are_refused():
    with pytest.raises(ArgumentError, match=r"`first` must be 2 positive weights with sum 1.*Leave points"):
        sinkhorn(np.zeros((2, 3)), first=[1.0, 0.0])
    with pytest.raises(ArgumentError, match="`second` must be 3 positive weights"):
        sinkhorn(np.zeros((2, 3)), second=[0.5, 0.5])
    with pytest.raises(ArgumentError, match="`log_kernel` must be finite"):
        sinkhorn(np.array([[0.0, -np.inf]]))
