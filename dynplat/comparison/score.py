"""A score as a comparison uses it: its record and its function."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from dynplat.comparison.entries import ENTRIES, POPULATION_ENTRIES
from dynplat.comparison.scores.cells import Contributions, unit_positions
from dynplat.comparison.scores.interval import check_level, coverage, interval_score, width
from dynplat.errors import PluginError
from dynplat.records import ScoreEntry

#: A function `(prediction, truth, hidden)` that returns `Contributions`, or an array with one number per held-out cell.
ScoreFunction = Callable[[Any, Any, Any], Any]


class Score(NamedTuple):
    """A score's record and its function.

    Attributes:
        entry: The record: id, orientation, aggregate.
        function: `(prediction, truth, hidden) -> contributions`.
    """

    entry: ScoreEntry
    function: ScoreFunction

    @classmethod
    def from_entry(cls, entry: ScoreEntry) -> Score:
        """Import the function behind a record."""
        return cls(entry, entry.load())

    def contributions(self, prediction: Any, truth: Any, hidden: np.ndarray) -> Contributions:
        """Evaluate the function and check what it gives.

        Raises:
            PluginError: The function gives another number of contributions than there are cells, rows or series.
        """
        given = self.function(prediction, truth, hidden)
        if not isinstance(given, Contributions):
            given = Contributions(np.asarray(given), method="")
        values = np.asarray(given.values, dtype=np.float64)
        series, _ = unit_positions(hidden, given.per)
        if values.shape != series.shape:
            raise PluginError(
                f"score {self.entry.id!r} must give one contribution per held-out {given.per}, an array of shape "
                f"{series.shape}; got {values.shape}."
            )
        return given._replace(values=values)


def default_scores(level: float = 0.9, kind: str = "trajectories") -> tuple[Score, ...]:
    """Scores of the default table, with interval scores at a level other than 0.9 if asked for.

    Args:
        level: Level of the central intervals.
        kind: What is scored: `trajectories` or `snapshots`; populations have no intervals.
    """
    check_level(level)
    if kind == "snapshots":
        return tuple(Score.from_entry(entry) for entry in POPULATION_ENTRIES)
    if level == 0.9:
        return tuple(Score.from_entry(entry) for entry in ENTRIES)
    others = tuple(Score.from_entry(entry) for entry in ENTRIES if not entry.id.endswith("-90"))
    return others + interval_scores(level)


def interval_scores(level: float) -> tuple[Score, Score, Score]:
    """Interval score, coverage and width of the central intervals of a level, named after it (`coverage-80`)."""
    check_level(level)
    percent = f"{100 * level:g}"
    return (
        Score(
            ScoreEntry(
                f"interval-score-{percent}",
                f"Interval score of the central {percent} % interval: its width and what falls outside",
                needs=("quantile",),
            ),
            partial(interval_score, level=level),
        ),
        Score(
            ScoreEntry(
                f"coverage-{percent}",
                f"Share of values inside the central {percent} % interval",
                orientation="target",
                target=level,
                proper=False,
                needs=("quantile",),
            ),
            partial(coverage, level=level),
        ),
        Score(
            ScoreEntry(
                f"width-{percent}",
                f"Width of the central {percent} % interval",
                orientation="none",
                proper=False,
                needs=("quantile",),
            ),
            partial(width, level=level),
        ),
    )
