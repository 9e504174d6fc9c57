"""Data sets and chains of known numbers."""

from __future__ import annotations

import os

import numpy as np
import pytest
from arviz_stats.base import array_stats

#: The published model of misread angiograms: options of `jumps/hidden`.
MISREAD = {
    "emission": "misclassification",
    "structure": "progressive:absorbing",
    "initial": "first",
    "errors": "1-2,2-1,2-3,3-2",
    "first_known": True,
}


@pytest.fixture(scope="session")
def mirror():
    """Skip where the real files are not at hand."""
    if not os.environ.get("DYNPLAT_DATA"):
        pytest.skip("DYNPLAT_DATA is not set: it names the directory with the catalogue's real files")


@pytest.fixture
def ratchet():
    """The flashing ratchet's generator at V = 1: on 0-2, off 3-5."""
    return make_ratchet(1.0)


def make_ratchet(V):
    Q = np.zeros((6, 6))
    for i in range(3):
        for j in range(3):
            if i != j:
                Q[i, j] = np.exp(-V * (j - i) / 2.0)
                Q[3 + i, 3 + j] = 1.0
        Q[i, 3 + i] = Q[3 + i, i] = 1.0
    return Q - np.diag(Q.sum(1))


def random_generator(rng, K, lead=()):
    Q = rng.gamma(1.0, size=(*lead, K, K)) * (1.0 - np.eye(K))
    return Q - np.eye(K) * Q.sum(-1)[..., None]


def check_mean(draws, wanted):
    """Compare the mean of a chain with its value; a figure fails by chance with probability 1e-5."""
    error = draws.std() / np.sqrt(array_stats.ess(draws[None], method="mean"))
    assert abs(draws.mean() - wanted) < 4.5 * error, (draws.mean(), wanted, error)
    return error


class Grid:
    """A posterior by the trapezoidal rule on unconstrained coordinates, with errors far below those of draws.

    Args:
        axes: Points of each coordinate, evenly spaced.
        log_density: Function of all coordinates, arrays that broadcast, that gives the log density of them.
    """

    def __init__(self, axes, log_density):
        self.values = np.meshgrid(*axes, indexing="ij", sparse=True)
        logs = log_density(*self.values)
        weights = np.exp(logs - logs.max())
        # Nothing may be lost beyond the ends.
        for axis in range(weights.ndim):
            ends = np.take(weights, [0, -1], axis=axis).sum()
            assert ends < 1e-3 * weights.sum(), axis
        self.weights = weights / weights.sum()

    def mean(self, values):
        return float((self.weights * values).sum())

    def check(self, draws, values):
        """Compare mean and mean square of draws with those of values on the grid, and say that they tell something."""
        mean = self.mean(values)
        spread = self.mean((values - mean) ** 2)
        assert check_mean(draws, mean) < 0.1 * np.sqrt(spread)
        check_mean((draws - mean) ** 2, spread)
