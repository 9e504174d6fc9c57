"""Paths given all observations where rates change at breaks and with inputs: smoother, expected statistics, marks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from dynplat.arrays import Observations
from dynplat.marks import ENTERED, MOVED
from dynplat_jumps.em import expected_statistics
from dynplat_jumps.paths import draw_paths
from dynplat_jumps.process import MarkovJump
from dynplat_jumps.tests.test_drive import K, Made, emission

COUNT = 1500


def agree(found, expected):
    """Whether means are as expected within 4.5 standard errors; what is rare may not have been drawn at all."""
    error = np.sqrt(np.maximum(found.var(axis=0), expected) / COUNT)
    return (np.abs(found.mean(axis=0) - expected) <= 4.5 * error + 3.0 / COUNT).all()


@pytest.mark.parametrize("case", ["breaks", "inputs", "both"])
def test_paths_have_the_smoother_s_law_and_the_expected_statistics(case):
    """Times in states and numbers of jumps of each stretch on which rates are constant, and the law at any time.

    What is expected comes from the gradient with rates of each stretch of their own.
    """
    made = Made(2, () if case == "inputs" else (-1.0, 0.9, 2.0, 4.5, 99.0))
    process, u = made.process, made.u
    if case == "breaks":
        process = MarkovJump(process.generator, process.log_initial, emission(), breaks=made.breaks)
        u = 0.0 * u + np.array([0.3, -0.2])  # at the centre inputs do nothing
    # Rows that show nothing would not count where all entries of a generator are free.
    observations = made.observations._replace(mask=np.ones_like(made.observations.mask))
    pieces = made.in_pieces(made.times, u)
    drawn = [paths[0] for paths in draw_paths(process, observations, COUNT, seed=0)]
    found = expected_statistics(
        lambda Q: MarkovJump(Q, pieces.log_initial, emission(), breaks=pieces.breaks),
        pieces.generator[0].numpy(),
        observations._replace(inputs=None),
    )
    edges = np.r_[-np.inf, pieces.breaks, np.inf]
    stays, jumps = np.zeros((COUNT, len(edges) - 1, K)), np.zeros((COUNT, len(edges) - 1, K, K))
    for index, path in enumerate(drawn):
        ends = np.r_[path.times[1:], path.end]
        for piece, (low, high) in enumerate(pairwise(edges)):
            inside = np.clip(ends, low, high) - np.clip(path.times, low, high)
            stays[index, piece] = np.bincount(path.states, inside, minlength=K)
        # A jump at exactly the end of a stretch belongs to it.
        place = np.searchsorted(pieces.breaks, path.times[1:], side="left")
        np.add.at(jumps[index], (place, path.states[:-1], path.states[1:]), 1.0)
    assert agree(stays, found.stays)
    assert agree(jumps, found.jumps)
    query = np.linspace(made.times[0], made.times[-1], 15)
    drawn = [paths[0] for paths in draw_paths(process, made.observations, COUNT, seed=1)]
    law = process.condition(made.observations).at(query[None]).mean("state")[0].numpy()
    assert agree(np.stack([np.eye(K)[path.at(query)] for path in drawn]), law)


def test_paths_obey_the_seed_and_the_rows_of_each_series():
    made = Made(4, (2.0,))
    times = np.stack([made.times, made.times + 1.0])
    copied = (None if leaf is None else np.repeat(leaf, 2, axis=0) for leaf in made.observations)
    two = Observations(*copied)._replace(times=times)
    first, again, other = (draw_paths(made.process, two, 3, seed=seed) for seed in (1, 1, 2))
    entered = made.seen & np.isin(made.marks, (ENTERED, MOVED)) & (np.arange(9) > 0)
    for one, same, another in zip(first, again, other, strict=True):
        for series in range(2):
            np.testing.assert_array_equal(one[series].times, same[series].times)
            assert not np.array_equal(one[series].times, another[series].times)
            assert (one[series].times[0], one[series].end) == (times[series, 0], times[series, -1])
            assert np.isin(times[series][entered], one[series].times).all()
