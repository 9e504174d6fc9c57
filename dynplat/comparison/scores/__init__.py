"""Scores: functions `(prediction, truth, hidden) -> contributions`, one number per held-out cell, row or series.

A plugin adds a score with a `ScoreEntry` whose `location` names such a function. It may return `Contributions`, or a
plain array with one number per held-out cell in the order of `numpy.nonzero(hidden)`. With `kind="snapshots"` in its
record it scores populations, one number per held-out snapshot (`dynplat.comparison.scores.populations`).
"""

from dynplat.comparison.scores.cells import Contributions
from dynplat.comparison.scores.crps import crps, crps_draws, crps_gaussian, crps_mixture
from dynplat.comparison.scores.energy import energy_draws, energy_score, energy_score_series
from dynplat.comparison.scores.interval import coverage, interval_score, width
from dynplat.comparison.scores.log_score import log_score
from dynplat.comparison.scores.pit import pit
from dynplat.comparison.scores.point import absolute_error, error, squared_error
from dynplat.comparison.scores.populations import energy_distance, mmd, sliced_w2, w1, w2

__all__ = [
    "Contributions",
    "absolute_error",
    "coverage",
    "crps",
    "crps_draws",
    "crps_gaussian",
    "crps_mixture",
    "energy_distance",
    "energy_draws",
    "energy_score",
    "energy_score_series",
    "error",
    "interval_score",
    "log_score",
    "mmd",
    "pit",
    "sliced_w2",
    "squared_error",
    "w1",
    "w2",
    "width",
]
