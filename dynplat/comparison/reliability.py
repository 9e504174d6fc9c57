r"""Whether intervals hold what they promise: coverage on held-out cells, and what chance alone would give.

If intervals of level p are right and held-out cells were independent, the number inside is binomial (n, p). Cells of
one series are not independent, so n is replaced by the effective number :math:`n_e = n / d`, where the design effect
:math:`d \ge 1` is the ratio of the dependence-aware variance of the observed coverage
(`dynplat.comparison.dependence`) to the binomial one. The range is the central 95 % of binomial :math:`(n_e, p)` over
:math:`n_e`: a calibrated model falls outside it once in twenty checks, or less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binom

from dynplat.comparison.estimates import estimate
from dynplat.comparison.scores.cells import held_out
from dynplat.comparison.scores.interval import coverage
from dynplat.errors import ArgumentError

if TYPE_CHECKING:
    from dynplat.posterior import Prediction

#: Probability that a calibrated model's coverage lies in the range.
_CONFIDENCE = 0.95
#: With fewer independent cells than this the range is too wide to say anything.
_ENOUGH = 20


@dataclass(frozen=True)
class Calibration:
    """Coverage of central intervals on held-out cells.

    Args:
        level: Level of the intervals.
        n: Number of held-out cells.
        inside: How many of them fell inside their intervals.
        effective: Number of independent cells that would know as much.
        lower: Lower end of the range of coverage that chance explains.
        upper: Upper end.
    """

    level: float
    n: int
    inside: int
    effective: float
    lower: float
    upper: float

    @property
    def coverage(self) -> float:
        """Share of held-out cells inside their intervals."""
        return self.inside / self.n if self.n else float("nan")

    @property
    def verdict(self) -> str:
        """`as expected`, `too narrow`, `too wide`, or `too few` cells to say."""
        if self.effective < _ENOUGH:
            return "too few"
        if self.coverage < self.lower:
            return "too narrow"
        return "too wide" if self.coverage > self.upper else "as expected"

    @property
    def sentence(self) -> str:
        """One sentence for a reader who is no statistician."""
        percent = f"{100 * self.level:g} %"
        if self.n == 0:
            return "No observed value could be hidden for a check, so the intervals were not checked."
        values = "value" if self.n == 1 else "values"
        if self.verdict == "too few":
            worth = "" if self.n < _ENOUGH else f", worth about {self.effective:.0f} independent ones"
            return (
                f"Only {self.n} observed {values} could be hidden for a check{worth} ({self.inside} fell inside their "
                f"{percent} intervals): too few to judge the intervals by."
            )
        sentence = (
            f"Of {self.n} observed values hidden for a check, {100 * self.coverage:.1f} % fell inside their {percent} "
            f"intervals (expected {100 * self.lower:.1f}-{100 * self.upper:.1f} % by chance)"
        )
        if self.verdict == "as expected":
            return sentence + "."
        # Intervals that miss on one side of the promise: say what a reader should do with them.
        advice = (
            "the truth lies outside more often than they say" if self.verdict == "too narrow" else "they are cautious"
        )
        return f"{sentence}: the intervals are {self.verdict} here, {advice}."


def calibration(prediction: Prediction | None, truth: Any, hidden: Any, level: float = 0.9) -> str:
    """Say in one sentence how many held-out cells fell inside their intervals; see `measure_calibration`."""
    return measure_calibration(prediction, truth, hidden, level).sentence


def measure_calibration(prediction: Prediction | None, truth: Any, hidden: Any, level: float = 0.9) -> Calibration:
    """Check the central intervals of a prediction on held-out cells.

    Args:
        prediction: Prediction about the rows of the data; None only where nothing is hidden.
        truth: `Trajectories`, or an array (series, time, channel).
        hidden: True = held out, (series, time, channel). Nothing hidden gives a result that says so.
        level: Level of the central intervals.

    Raises:
        ArgumentError: A shape or the level is wrong, or a held-out cell has no prediction.
    """
    if not np.asarray(hidden).any():
        return Calibration(level, 0, 0, 0.0, 0.0, 1.0)
    if prediction is None:
        raise ArgumentError("`prediction` must be given where `hidden` marks cells.")
    truth, hidden = held_out(prediction, truth, hidden)
    found = coverage(prediction, truth, hidden, level=level)
    if np.isnan(found.values).any():
        raise ArgumentError(
            f"`prediction` has no interval (NaN) at {int(np.isnan(found.values).sum())} of {found.values.size} "
            "held-out cells."
        )
    inside, count = int(found.values.sum()), found.values.size
    stderr = estimate(found, hidden, "mean").stderr
    share = inside / count
    binomial = share * (1.0 - share) / count
    design = stderr**2 / binomial if binomial > 0 and np.isfinite(stderr) else 1.0
    effective = count / max(design, 1.0)
    trials = max(int(effective), 1)
    ends = binom.ppf([0.5 * (1.0 - _CONFIDENCE), 0.5 * (1.0 + _CONFIDENCE)], trials, level) / trials
    return Calibration(level, count, inside, effective, float(ends[0]), float(ends[1]))
