"""Couplings of particles and linearised bridges: exact twins, closed forms, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat.errors import ArgumentError, InferenceError
from dynplat_bridges.linearised import linearise, linearised_bridge
from dynplat_bridges.references import LinearSDE, LotkaVolterra


def test_partners_follow_the_plan_and_the_divergence_is_that_of_its_definition():
    rng = np.random.default_rng(0)
    first, last = rng.standard_normal((30, 1)), 1.0 + 0.5 * rng.standard_normal((20, 1))
    bridge = linearised_bridge(lambda x, t: 0.0 * x, first, last, np.linspace(0.0, 1.0, 3), np.ones(1))
    np.testing.assert_allclose(bridge.plan.sum(axis=1), 1 / 30, atol=1e-6)
    np.testing.assert_allclose(bridge.plan.sum(axis=0), 1 / 20, atol=1e-6)
    expected = np.sum(bridge.plan * (np.log(30 * bridge.plan) - bridge.paths.log_kernel(last)))
    assert bridge.divergence == pytest.approx(expected, rel=1e-6)
    columns = bridge.partners_of_first(np.repeat(np.arange(30), 2000), rng).reshape(30, 2000)
    shares = np.stack([np.bincount(row, minlength=20) / 2000 for row in columns])
    np.testing.assert_allclose(shares, 30 * bridge.plan, atol=0.06)
    rows = bridge.partners_of_last(np.zeros(2000, dtype=int), rng)
    np.testing.assert_allclose(np.bincount(rows, minlength=30) / 2000, 20 * bridge.plan[:, 0], atol=0.06)


def test_a_linear_reference_has_its_exact_transitions_and_joint_law():
    reference = LinearSDE()
    parameters = {"A": np.array([[-0.5, 1.0], [-1.0, -0.2]]), "b": np.array([0.3, -0.1])}
    sigma, start = np.array([0.4, 0.7]), np.array([[1.0, -1.0], [0.0, 2.0]])
    grid = np.linspace(0.0, 1.0, 2001)
    law = linearise(lambda x, t: reference.drift(x, t, parameters), start, grid, sigma)
    F, c, Q = reference.transition(np.array([1.0]), parameters, sigma)
    np.testing.assert_allclose(law.means[:, -1], start @ F[0].T + c[0], atol=1e-3)
    np.testing.assert_allclose(law.covariances[:, -1], np.broadcast_to(Q[0], (2, 2, 2)), atol=1e-3)
    # Pinned paths: at the end where they should be, in the middle with the moments of the conditional law.
    coarse = linearise(lambda x, t: reference.drift(x, t, parameters), start, np.linspace(0.0, 1.0, 41), sigma)
    end = np.array([0.5, 0.5])
    paths = coarse.draw(np.zeros(20_000, dtype=int), np.tile(end, (20_000, 1)), np.random.default_rng(0))
    np.testing.assert_allclose(paths[:, -1], np.tile(end, (20_000, 1)), atol=1e-10)
    F, c, Q = reference.transition(np.array([0.5]), parameters, sigma)
    m, total = F[0] @ start[0] + c[0], F[0] @ Q[0] @ F[0].T + Q[0]
    gain = Q[0] @ F[0].T @ np.linalg.inv(total)
    np.testing.assert_allclose(paths[:, 20].mean(axis=0), m + gain @ (end - F[0] @ m - c[0]), atol=0.02)
    np.testing.assert_allclose(np.cov(paths[:, 20].T), Q[0] - gain @ F[0] @ Q[0], atol=0.01)


def test_a_gaussian_pair_has_its_closed_form_up_to_sampling_error():
    # N(0, 1) to N(2, 1/4), sigma^2 = 1, T = 1, from quantiles in place of random particles.
    from scipy.stats import norm

    quantiles = norm.ppf((np.arange(300) + 0.5) / 300)[:, None]
    quantiles /= quantiles.std()
    first, last = quantiles, 2.0 + 0.5 * quantiles
    bridge = linearised_bridge(lambda x, t: 0.0 * x, first, last, np.linspace(0.0, 1.0, 11), np.ones(1))
    covariance = first[:, 0] @ bridge.plan @ (last[:, 0] - 2.0)
    assert covariance == pytest.approx(0.207107, abs=2e-3)
    rows = np.tile(np.arange(300), 60)
    rng = np.random.default_rng(0)
    paths = bridge.draw(rows, bridge.partners_of_first(rows, rng), rng)
    assert paths[:, 5].var() == pytest.approx(0.666053, abs=0.02)
    assert paths[:, 5].mean() == pytest.approx(1.0, abs=0.02)


def test_the_linearised_law_is_that_of_a_curved_reference_to_first_order_in_the_noise():
    reference = LotkaVolterra()
    parameters = {"prey_growth": 1.0, "predation": 0.4, "predator_death": 0.4, "predator_growth": 0.1}
    start, grid = np.array([[5.0, 4.0]]), np.linspace(0.0, 1.0, 51)

    def drift(x, t):
        return reference.drift(x, t, {name: np.asarray(value) for name, value in parameters.items()})

    law = linearise(drift, start, grid, np.full(2, 0.05))
    rng = np.random.default_rng(0)
    x = np.tile(start, (20_000, 1))
    for gap in np.diff(grid):
        x = x + gap * drift(x, 0.0) + np.sqrt(gap) * 0.05 * rng.standard_normal(x.shape)
    np.testing.assert_allclose(law.means[0, -1], x.mean(axis=0), atol=3e-3)
    np.testing.assert_allclose(law.covariances[0, -1], np.cov(x.T), rtol=0.05, atol=2e-5)


def test_a_diffusion_that_is_not_positive_is_refused():
    with pytest.raises(ArgumentError, match="`diffusion` must be positive"):
        linearise(lambda x, t: x, np.zeros((3, 1)), np.linspace(0, 1, 3), np.zeros(1))


def test_a_drift_that_leaves_all_bounds_is_refused():
    x = np.ones((3, 1))
    with pytest.raises(InferenceError, match="not finite between two snapshots"), np.errstate(all="ignore"):
        linearised_bridge(lambda x, t: np.exp(1e3 * x), x, x, np.linspace(0, 1, 3), np.ones(1))
