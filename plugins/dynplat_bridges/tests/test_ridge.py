"""Kernel ridge regression of drifts: the exact Gaussian process as its dense twin, and known functions."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat.errors import ArgumentError
from dynplat_bridges.drifts import KernelRidge, NeuralRegression
from dynplat_bridges.drifts.base import Coordinates


def _paths(particles=30, times=5, seed=0):
    rng = np.random.default_rng(seed)
    spread = np.array([[0.5, 0.2], [0.0, 0.1]])
    states = rng.standard_normal((particles, times, 2)) @ spread + np.linspace(0, 3, times)[None, :, None]
    return states, np.linspace(0.0, 2.0, times), rng


def _exact_gaussian_process(states, targets, grid, noise, where, *, lengthscale, variance):
    """Posterior mean with all points, by the dense (N S) x (N S) system; `where` (point, channel + 1)."""
    coordinates = Coordinates.of(states)
    z = coordinates.all(states)
    s = (grid - grid[0]) / np.ptp(grid)
    points = np.concatenate([z, np.broadcast_to(s[None, :, None], (*z.shape[:2], 1))], axis=-1).reshape(-1, 3)

    def kernel(a, b):
        return variance * np.exp(-np.sqrt(((a[:, None] - b) ** 2).sum(axis=-1)) / lengthscale)

    left = targets.reshape(len(points), -1)
    out = np.empty((len(where), left.shape[1]))
    for c in range(left.shape[1]):
        system = kernel(points, points) + np.diag(np.tile(noise[:, c], len(states)))
        out[:, c] = kernel(where, points) @ np.linalg.solve(system, left[:, c])
    return out


@pytest.mark.parametrize("shared", [True, False], ids=["one noise", "noise per channel"])
def test_with_all_points_it_is_the_exact_gaussian_process(shared):
    states, grid, rng = _paths()
    targets = np.sin(states) + 0.3 * rng.standard_normal(states.shape)
    noise = np.full((len(grid), 2), 0.09) * (np.ones(2) if shared else np.array([1.0, 4.0]))
    noise *= np.linspace(1.0, 2.0, len(grid))[:, None]
    ridge = KernelRidge(num_inducing=10_000, lengthscale=1.5, variance=0.7, linear=False)
    fitted = ridge.fit(states, targets, grid, noise, seed=0)
    coordinates = Coordinates.of(states)
    for place in (0, 3):
        x = states[:7, place] + 0.1
        where = np.column_stack([coordinates(place, x), np.full(7, grid[place] / 2.0)])
        expected = _exact_gaussian_process(states, targets, grid, noise, where, lengthscale=1.5, variance=0.7)
        np.testing.assert_allclose(fitted.drift(place, x), expected, rtol=1e-7, atol=1e-7)


def test_a_linear_drift_is_found_whatever_the_noise():
    states, grid, rng = _paths(particles=4000)
    slopes = np.array([[1.0, -2.0], [0.5, 3.0]])
    noise = np.full((len(grid), 2), 4.0)
    targets = states @ slopes + grid[:, None] + 2.0 * rng.standard_normal(states.shape)
    fitted = KernelRidge(num_inducing=40).fit(states, targets, grid, noise, seed=0)
    for place in range(len(grid)):
        x = states[:50, place]
        away = fitted.drift(place, x) - (x @ slopes + grid[place])
        assert np.sqrt(np.mean(away**2)) < 0.25
        np.testing.assert_allclose(fitted.spread[place] @ fitted.spread[place].T, 4.0 * np.eye(2), atol=0.5)


def test_the_kernel_finds_what_is_not_linear():
    states, grid, rng = _paths(particles=2000)
    coordinates = Coordinates.of(states)
    bend = np.abs(coordinates.all(states))
    noise = np.full((len(grid), 2), 1.0)
    targets = bend + rng.standard_normal(states.shape)

    def error(**options):
        fitted = KernelRidge(**options).fit(states, targets, grid, noise, seed=0)
        found = np.stack([fitted.drift(k, states[:, k]) for k in range(len(grid))], axis=1)
        return np.sqrt(np.mean((found - bend) ** 2))

    assert error(num_inducing=0) > 0.5
    assert error(num_inducing=150) < 0.15


def test_a_network_finds_what_is_not_linear_too():
    states, grid, rng = _paths(particles=2000)
    bend = np.abs(Coordinates.of(states).all(states))
    noise = np.full((len(grid), 2), 1.0)
    targets = bend + rng.standard_normal(states.shape)
    network = NeuralRegression(hidden=(32,), num_steps=100, batch=512, learning_rate=3e-2)
    fitted = network.fit(states, targets, grid, noise, seed=0)
    found = np.stack([fitted.drift(k, states[:, k]) for k in range(len(grid))], axis=1)
    assert np.sqrt(np.mean((found - bend) ** 2)) < 0.2
    np.testing.assert_allclose(fitted.spread[0] @ fitted.spread[0].T, np.eye(2), atol=0.15)
    brief = NeuralRegression(hidden=(8,), num_steps=3)
    first, again = (brief.fit(states, targets, grid, noise, seed=0).drift(1, states[:, 1]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    with pytest.raises(ArgumentError, match="`hidden` must be one or more widths"):
        NeuralRegression(hidden=())


def test_populations_without_spread_and_seeds():
    states, grid, rng = _paths()
    states[:, 0] = states[0, 0]  # one point at the first time
    states[..., 1] = states[..., :1].sum(axis=-1)  # and a line at all others
    targets = rng.standard_normal(states.shape)
    noise = np.ones((len(grid), 2))
    first, again, other = (
        KernelRidge(num_inducing=20).fit(states, targets, grid, noise, seed=seed).drift(2, states[:, 2])
        for seed in (0, 0, 1)
    )
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_what_is_refused():
    with pytest.raises(ArgumentError, match="`num_inducing` must be at least 0, and positive without"):
        KernelRidge(num_inducing=0, linear=False)
    with pytest.raises(ArgumentError, match="`lengthscale` must be positive; got 0"):
        KernelRidge(lengthscale=0.0)
    states, grid, _ = _paths()
    with pytest.raises(ArgumentError, match="one time of `grid` for each row"):
        KernelRidge().fit(states, states[:, :2], grid, np.ones((5, 2)), seed=0)
    with pytest.raises(ArgumentError, match="`noise` must be"):
        KernelRidge().fit(states, states, grid, np.ones(2), seed=0)
