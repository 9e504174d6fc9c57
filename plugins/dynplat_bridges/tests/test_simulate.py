"""Simulation of references: grids, moments of a linear SDE, seeds and frameworks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynplat.arrays import random_source
from dynplat.errors import ArgumentError
from dynplat_bridges.references import OrnsteinUhlenbeck
from dynplat_bridges.simulate import fine_grid, simulate


def test_the_grid_holds_all_times():
    grid, places = fine_grid(np.array([0.0, 0.1, 0.1, 1.0]), 0.3)
    np.testing.assert_allclose(grid[places], [0.0, 0.1, 0.1, 1.0])
    np.testing.assert_allclose(grid, [0.0, 0.1, 0.4, 0.7, 1.0])
    assert len(fine_grid(np.array([0.0, 0.3]), 0.1)[0]) == 4  # 0.3 / 0.1 is a hair above 3


def test_moments_are_those_of_the_process():
    reference, start = OrnsteinUhlenbeck(), np.full((20_000, 1), 2.0)
    parameters = {"rate": np.array([1.0]), "centre": np.array([-1.0])}
    times = np.array([0.0, 0.5, 2.0])
    paths = simulate(
        lambda x, t: reference.drift(x, t, parameters), start, times, 0.8, step=0.01, random=random_source(0, start)
    )
    assert paths.shape == (20_000, 3, 1)
    decay = np.exp(-times)
    np.testing.assert_allclose(paths.mean(axis=0)[:, 0], -1.0 + 3.0 * decay, atol=0.03)
    np.testing.assert_allclose(paths.var(axis=0)[:, 0], 0.32 * (1 - decay**2), atol=0.01)
    # Increments after different pieces of the grid are independent given the state in between.
    left = paths[:, 2, 0] - np.exp(-1.5) * paths[:, 1, 0]
    assert abs(np.corrcoef(left, paths[:, 1, 0])[0, 1]) < 0.03


def test_seeds_and_leading_axes_in_torch():
    start = torch.zeros(3, 5, 2, dtype=torch.float64)

    def run(seed):
        return simulate(lambda x, t: -x, start, np.array([0.0, 1.0]), 1.0, step=0.1, random=random_source(seed, start))

    assert run(0).shape == (3, 5, 2, 2)
    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))


def test_what_is_refused():
    with pytest.raises(ArgumentError, match="`times` must be a non-decreasing array"):
        fine_grid(np.array([1.0, 0.0]), 0.1)
    with pytest.raises(ArgumentError, match="`step` must be positive; got 0"):
        fine_grid(np.array([0.0, 1.0]), 0.0)
