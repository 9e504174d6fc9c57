"""The Gibbs sampler against quadrature, and EM's statistics against finite differences of dense sums over states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from arviz_stats.base import array_stats
from scipy.linalg import expm

from dynplat.arrays import Observations
from dynplat.marks import ENTERED, MOVED, OBSERVED, STAYED
from dynplat.process import GaussianEmission
from dynplat_jumps.em import expected_statistics
from dynplat_jumps.emission import StateEmission
from dynplat_jumps.gibbs import sample_rates
from dynplat_jumps.process import MarkovJump
from dynplat_jumps.tests.conftest import random_generator


def check_mean(draws, wanted):
    """Compare the mean of a chain with its value; a figure fails by chance with probability 1e-5."""
    error = draws.std() / np.sqrt(array_stats.ess(draws[None], method="mean"))
    assert abs(draws.mean() - wanted) < 4.5 * error
    return error


def test_rates_have_the_moments_of_the_exact_posterior():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.exponential(0.7, 12))
    states = np.array([0, 1, 1, 0, 0, 1, 0, 0, 0, 1, 1, 0])
    grid = np.exp(np.linspace(np.log(1e-4), np.log(60.0), 400))
    up, down = np.meshgrid(grid, grid, indexing="ij")
    # Gamma(2, 1.5) priors, on the logarithms of the rates.
    logs = 2.0 * np.log(up) - 1.5 * up + 2.0 * np.log(down) - 1.5 * down
    total = up + down
    for k in range(1, len(times)):
        moved = -np.expm1(-total * (times[k] - times[k - 1])) / total
        rate = up if states[k - 1] == 0 else down
        logs = logs + np.log(rate * moved if states[k] != states[k - 1] else 1.0 - rate * moved)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()

    def build(generator):
        return MarkovJump(generator, torch.zeros(1, 2).double() - np.log(2), StateEmission.of_states(2, generator))

    seen = Observations(times[None], states[None, :, None].astype(float), np.ones((1, 12, 1), bool))
    start = np.array([[-1.0, 1.0], [1.0, -1.0]])
    draws = sample_rates(build, start, seen, shape=2.0, rate=1.5, num_draws=12_000, warmup=200, seed=3)
    for exact, drawn in ((up, draws[:, 0, 1]), (down, draws[:, 1, 0])):
        mean = (weights * exact).sum()
        assert check_mean(drawn, mean) < 0.05 * mean
        check_mean((drawn - mean) ** 2, (weights * (exact - mean) ** 2).sum())


def dense_log_likelihood(Q, initial, density, times, marks):
    """Log-likelihood of one series by dense exponentials, for any matrix Q."""
    off = Q - np.diag(np.diag(Q))
    law = initial * density[0]
    for t in range(1, len(times)):
        gap = times[t] - times[t - 1]
        free = np.diag(np.exp(np.diag(Q) * gap)) if marks[t] in (MOVED, STAYED) else expm(Q * gap)
        law = law @ (free @ off if marks[t] in (MOVED, ENTERED) else free) * density[t]
    return np.log(law.sum())


def test_statistics_of_hidden_paths_equal_finite_differences():
    rng = np.random.default_rng(1)
    K, T = 3, 8
    Q = random_generator(rng, K)
    initial, centres = np.array([0.5, 0.2, 0.3]), np.array([-1.0, 0.0, 1.5])
    times, values = np.cumsum(rng.exponential(0.6, T)), rng.normal(0.0, 1.0, T)
    marks = np.array([OBSERVED, MOVED, STAYED, OBSERVED, ENTERED, OBSERVED, OBSERVED, STAYED])
    density = np.exp(-((values[:, None] - centres) ** 2) / (2 * 0.8**2)) / (0.8 * np.sqrt(2 * np.pi))

    def build(generator):
        centre, scale = torch.tensor(centres)[None, :, None], torch.full((1, K, 1), 0.8, dtype=torch.float64)
        return MarkovJump(generator, torch.log(torch.tensor(initial))[None], GaussianEmission(centre, scale))

    seen = Observations(times[None], values[None, :, None], np.ones((1, T, 1), bool), marks=marks[None])
    found = expected_statistics(build, Q, seen)
    assert found.log_prob == pytest.approx(dense_log_likelihood(Q, initial, density, times, marks), abs=1e-10)
    step = 1e-5
    for i in range(K):
        for j in range(K):
            E = np.zeros((K, K))
            E[i, j] = step
            ends = [dense_log_likelihood(Q + sign * E, initial, density, times, marks) for sign in (1, -1)]
            slope = (ends[0] - ends[1]) / (2 * step)
            assert (found.stays[i] if i == j else found.jumps[i, j] / Q[i, j]) == pytest.approx(slope, abs=1e-7)
