"""Propriety by simulation: the expected score is smallest where the prediction is the law that the truth comes from.

Each rival law is scored on the same truths, so that the gap has a small standard error. The gap of every rival here is
at least ten standard errors in expectation; the tests ask for four: false alarm below 1e-8 for each.
"""

import numpy as np
import pytest

from dynplat.comparison.entries import ENTRIES, MORE_ENTRIES
from dynplat.comparison.scores import coverage, width

NUM_CELLS = 4000
PROPER = [entry for entry in (*ENTRIES, *MORE_ENTRIES) if entry.proper]
#: Shift of the mean and factor of the standard deviation of rival laws.
RIVALS = {"too high": (0.5, 1.0), "too low": (-0.5, 1.0), "too narrow": (0.0, 0.6), "too wide": (0.0, 1.6)}
#: A point score is proper for its functional, which a wrong spread leaves right.
OF_THE_CENTRE = ("rmse", "mae")


def law(prediction_from, rng_seed, shift, factor):
    """Two channels with correlation 0.8; the draws are joint, the components the marginals."""
    rng = np.random.default_rng(rng_seed)
    first, second = rng.normal(size=(2, 100, 40, NUM_CELLS // 40, 1))
    draws = shift + factor * np.concatenate([first, 0.8 * first + 0.6 * second], axis=3)
    shape = (1, 40, NUM_CELLS // 40, 2)
    return prediction_from(draws, np.full(shape, shift), np.full(shape, factor))


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(99)
    first, second = rng.normal(size=(2, 40, NUM_CELLS // 40, 1))
    return np.concatenate([first, 0.8 * first + 0.6 * second], axis=2)


@pytest.mark.parametrize(
    ("entry", "rival"),
    [
        pytest.param(entry, rival, id=f"{entry.id}-{rival}")
        for entry in PROPER
        for rival, (shift, _) in RIVALS.items()
        if shift or entry.id not in OF_THE_CENTRE
    ],
)
def test_proper_score_is_best_at_the_true_law(prediction_from, truth, entry, rival):
    shift, factor = RIVALS[rival]
    hidden = np.ones(truth.shape, dtype=bool)
    function = entry.load()
    right = function(law(prediction_from, 1, 0.0, 1.0), truth, hidden).values
    wrong = function(law(prediction_from, 1, shift, factor), truth, hidden).values
    gap = wrong - right
    # Cells of one row are correlated; 2 bounds the design effect of two channels.
    assert gap.mean() > 4 * np.sqrt(2) * gap.std() / np.sqrt(gap.size)


def test_energy_score_is_best_at_the_true_dependence_between_channels(prediction_from, truth):
    hidden = np.ones(truth.shape, dtype=bool)
    function = {entry.id: entry for entry in ENTRIES}["energy-score"].load()
    rng = np.random.default_rng(5)
    opposite = law(prediction_from, 1, 0.0, 1.0).dataset["draws"].values.copy()
    opposite[..., 1] = -0.8 * opposite[..., 0] + 0.6 * rng.normal(size=opposite.shape[:-1])
    gap = function(prediction_from(opposite), truth, hidden).values
    gap = gap - function(law(prediction_from, 1, 0.0, 1.0), truth, hidden).values
    assert gap.mean() > 4 * gap.std() / np.sqrt(gap.size)


def test_coverage_and_width_are_what_the_level_says_at_the_true_law(prediction_from, truth):
    hidden = np.ones(truth.shape, dtype=bool)
    prediction = law(prediction_from, 1, 0.0, 1.0)
    inside = coverage(prediction, truth, hidden).values
    # 2 bounds the design effect of two channels; five standard errors: false alarm below 1e-6.
    assert abs(inside.mean() - 0.9) < 5 * np.sqrt(2 * 0.9 * 0.1 / inside.size)
    np.testing.assert_allclose(width(prediction, truth, hidden).values, 2 * 1.6448536269514722, rtol=1e-10)
