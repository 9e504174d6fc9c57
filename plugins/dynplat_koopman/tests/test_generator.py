"""Generators against closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.linalg import expm

from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, CapabilityError, DataError
from dynplat_koopman.dictionaries import FromFunctions, Hermite, Monomials, RadialBasis, Scaled
from dynplat_koopman.generator import (
    Rates,
    fit_generator,
    gather_rate_moments,
    increments_from,
    rates_from,
    rates_of,
)
from dynplat_koopman.quadrature import gauss_hermite
from dynplat_koopman.tests.test_edmd import squared_residuals

DRIFT = np.array([[-0.5, 2.0], [-2.0, -0.3]])


def test_ornstein_uhlenbeck_with_hermite_functions():
    theta, sigma = 0.7, 1.3
    sd = sigma / np.sqrt(2 * theta)
    x, weights = gauss_hermite(20, [0.4], [sd])
    rates = Rates(x, -theta * (x - 0.4), np.array([[sigma**2]]), weights)
    generator = fit_generator(rates, Scaled(Hermite(1, 8), np.array([0.4]), np.array([sd])))
    values, vectors = np.linalg.eig(generator.matrix)
    np.testing.assert_allclose(np.sort(np.real(values))[::-1], -theta * np.arange(9), atol=1e-11)
    np.testing.assert_allclose(np.imag(values), 0, atol=1e-12)
    np.testing.assert_allclose(squared_residuals(generator.moments, values, vectors), 0, atol=1e-11)
    np.testing.assert_allclose(generator.matrix, np.diag(-theta * np.arange(9)), atol=1e-11)
    # Over a gap: the mean decays, the variance grows towards the stationary one.
    np.testing.assert_allclose(generator.predict(np.array([[2.0]]), 1.7), [[0.4 + 1.6 * np.exp(-theta * 1.7)]])
    square = Hermite(1, 8)(np.array([1.6 / sd])) @ generator.over(1.7)
    second = square @ np.eye(9)[2] * np.sqrt(2) + 1
    expected = ((1.6 * np.exp(-theta * 1.7)) ** 2 + sd**2 * (1 - np.exp(-2 * theta * 1.7))) / sd**2
    assert second == pytest.approx(expected, rel=1e-10)


def test_linear_flow_with_monomials():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (500, 2))
    generator = fit_generator(Rates(x, x @ DRIFT.T), Monomials(2, 3))
    own = np.linalg.eigvals(DRIFT)
    expected = np.array([own @ k for k in itertools.product(range(4), repeat=2) if sum(k) <= 3])
    values, vectors = np.linalg.eig(generator.matrix)
    assert np.abs(values[:, None] - expected).min(axis=1).max() < 1e-10
    assert np.abs(values[:, None] - expected).min(axis=0).max() < 1e-10
    np.testing.assert_allclose(squared_residuals(generator.moments, values, vectors), 0, atol=1e-12)
    for gap in (0.0, 0.3, 2.7):
        np.testing.assert_allclose(generator.predict(x[:5], gap), x[:5] @ expm(gap * DRIFT).T, atol=1e-11)
    np.testing.assert_allclose(generator.over(0.3) @ generator.over(0.4), generator.over(0.7), atol=1e-11)


def test_truncation_keeps_what_the_data_determine():
    angle = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    rates = Rates(x, x @ np.array([[0.0, 2.0], [-2.0, 0.0]]))
    with pytest.raises(DataError, match=r"singular: 6 functions have rank 5.*'x0\^2'"):
        fit_generator(rates, Monomials(2, 2))
    generator = fit_generator(rates, Monomials(2, 2), tolerance=1e-10)
    turned = np.stack([np.cos(angle + 1.0), np.sin(angle + 1.0)], axis=1)
    np.testing.assert_allclose(generator.predict(x, 0.5), turned, atol=1e-12)
    values = np.linalg.eigvals(generator.compressed)
    assert np.abs(values[:, None] - 2j * np.arange(-2, 3)).min(axis=1).max() < 1e-12


def test_rates_of_functions():
    rng = np.random.default_rng(1)
    x, drift = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
    root = rng.normal(size=(6, 2, 2))
    diffusion = root @ np.swapaxes(root, 1, 2)
    dictionary = RadialBasis(rng.normal(size=(3, 2)), 1.2)
    # Mean of psi over a small step of Euler and Maruyama, by quadrature.
    nodes, weights = gauss_hermite(4, [0.0, 0.0], [1.0, 1.0])

    def rate(h):
        ends = x[:, None] + h * drift[:, None] + np.sqrt(h) * np.einsum("mij,kj->mki", root, nodes)
        return (np.einsum("k,mkn->mn", weights, dictionary(ends)) - dictionary(x)) / h

    expected = 2 * rate(0.5e-4) - rate(1e-4)  # free of the error of first order in the step
    np.testing.assert_allclose(rates_of(dictionary, x, drift, diffusion), expected, atol=1e-5)
    h = 1e-4
    ahead = (dictionary(x + h * drift) - dictionary(x - h * drift)) / (2 * h)
    np.testing.assert_allclose(rates_of(dictionary, x, drift), ahead, atol=1e-7)


def test_blocks_and_weights():
    rng = np.random.default_rng(2)
    x, drift, weights = rng.normal(size=(50, 2)), rng.normal(size=(50, 2)), rng.uniform(0, 1, 50)
    weights[:10] = 0.0
    diffusion = np.broadcast_to(np.array([[0.5, 0.1], [0.1, 0.3]]), (50, 2, 2))
    dictionary = Monomials(2, 2)
    X, W = dictionary(x), np.diag(weights / weights.sum())
    L = rates_of(dictionary, x, drift, diffusion)
    for block_rows in (None, 7, 10):
        for noise in (diffusion, diffusion[0]):
            found = gather_rate_moments(Rates(x, drift, noise, weights), dictionary, block_rows=block_rows)
            np.testing.assert_allclose(found.gram, X.T @ W @ X, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(found.cross, X.T @ W @ L, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(found.target, L.T @ W @ L, rtol=1e-12, atol=1e-14)
            assert found.state is not None
            assert found.state_gram is not None
            np.testing.assert_allclose(found.state, X.T @ W @ x, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(found.state_gram, x.T @ W @ x, rtol=1e-12, atol=1e-14)


def flow(times):
    return np.stack([expm(t * DRIFT) @ [1.0, 0.5] for t in times])


def test_derivatives_from_irregular_trajectories():
    rng = np.random.default_rng(3)
    times = np.cumsum(0.01 * rng.uniform(0.5, 1.5, 300))
    rates = rates_from(Trajectories.from_arrays(times, flow(times)))
    np.testing.assert_array_equal(rates.states, flow(times)[1:-1])
    gaps = np.diff(times)[:, None]
    third = rates.states @ np.linalg.matrix_power(DRIFT, 3).T
    error = rates.drift - rates.states @ DRIFT.T
    np.testing.assert_allclose(error, gaps[:-1] * gaps[1:] / 6 * third, atol=0.02 * np.abs(error).max())
    generator = fit_generator(rates, Monomials(2, 1))
    np.testing.assert_allclose(generator.matrix[1:, 1:], DRIFT.T, atol=2e-3)
    # A parabola is differentiated exactly; holes and far neighbours are left out.
    values = np.c_[times**2, 3 * times]
    values[100] = np.nan
    holed = rates_from(Trajectories.from_arrays(times, values), max_gap=0.0151)
    np.testing.assert_allclose(holed.drift, np.c_[2 * holed.states[:, 1] / 3, np.full(len(holed.states), 3)], rtol=1e-8)
    assert len(holed.states) < 298


def test_generator_of_a_diffusion_from_its_path():
    rng = np.random.default_rng(4)
    theta, h, count = 1.0, 0.02, 400_000
    decay = np.exp(-theta * h)
    noise = np.sqrt((1 - decay**2) / (2 * theta)) * rng.normal(size=count)
    x = np.empty(count)
    x[0] = 0.0
    for m in range(1, count):
        x[m] = decay * x[m - 1] + noise[m]
    data = Trajectories.from_arrays(h * np.arange(count), x)
    rates = increments_from(data)
    assert rates.diffusion is not None
    assert np.average(rates.diffusion[:, 0, 0], weights=rates.weights) == pytest.approx(1.0, rel=0.02)
    generator = fit_generator(rates, Scaled(Hermite(1, 3), np.zeros(1), np.array([np.sqrt(0.5)])))
    values = np.sort(np.real(np.linalg.eigvals(generator.matrix)))[::-1]
    # The bias of finite differences is of the order theta h / 2 of each rate, 1 per cent, the rest is sampling.
    np.testing.assert_allclose(values, -np.arange(4.0), atol=0.12)
    short = increments_from(Trajectories.from_arrays(np.array([0.0, 1, 1.5, 4]), np.arange(4.0)), max_gap=1.0)
    np.testing.assert_array_equal(short.weights, [1.0, 0.5])
    np.testing.assert_array_equal(short.drift[:, 0], [1.0, 2.0])


def test_refusals():
    x = np.random.default_rng(5).normal(size=(20, 2))
    monomials = Monomials(2, 1)
    with pytest.raises(ArgumentError, match="`dictionary` must be given with rates"):
        fit_generator(Rates(x, x))
    with pytest.raises(ArgumentError, match=r"`states` must be \(M, 2\), for the variables of `dictionary`; got"):
        fit_generator(Rates(x[:, :1], x), monomials)
    with pytest.raises(ArgumentError, match=r"`drift` must have the shape of `states`, \(20, 2\); got \(19, 2\)"):
        fit_generator(Rates(x, x[1:]), monomials)
    with pytest.raises(ArgumentError, match=r"`diffusion` must be \(2, 2\) or \(20, 2, 2\); got \(3, 3\)"):
        fit_generator(Rates(x, x, np.eye(3)), monomials)
    with pytest.raises(ArgumentError, match="`weights` must be 20 numbers that are not negative"):
        fit_generator(Rates(x, x, None, -np.ones(20)), monomials)
    with pytest.raises(ArgumentError, match="`weights` must not be all zero"):
        fit_generator(Rates(x, x, None, np.zeros(20)), monomials)
    with pytest.raises(DataError, match="`drift` has a number that is not finite"):
        fit_generator(Rates(x, np.where(x == x[0], np.nan, x)), monomials)
    with pytest.raises(DataError, match="the dictionary is larger than the data: 3 functions for 2 snapshot pairs"):
        fit_generator(Rates(x[:2], x[:2]), monomials)
    with pytest.raises(CapabilityError, match="NumPy cannot differentiate these functions"):
        fit_generator(Rates(x, x), FromFunctions((lambda x: x[..., 0],), 2))
    with pytest.raises(CapabilityError, match="the kernel 'exponential' has no second derivatives"):
        fit_generator(Rates(x, x), RadialBasis(x[:3], 1.0, "exponential"))
    with pytest.raises(ArgumentError, match="`gap` must be at least 0; got -1"):
        fit_generator(Rates(x, x), monomials).over(-1.0)
    two = Trajectories.from_arrays(np.arange(2.0), np.arange(2.0))
    with pytest.raises(DataError, match="no series has three complete rows that follow one another closely enough"):
        rates_from(two)
    with pytest.raises(DataError, match=r"no series has two complete rows .*Raise `max_gap`"):
        increments_from(two, max_gap=0.5)
