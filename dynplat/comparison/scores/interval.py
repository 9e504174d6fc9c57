r"""Central prediction intervals: the proper interval score, coverage and width.

For the central interval :math:`[l, u]` of level :math:`1-\alpha` the interval score is (Gneiting and Raftery 2007,
eq. 43, doi:10.1198/016214506000001437)

.. math:: S_\alpha(l, u; y) = (u - l) + \tfrac{2}{\alpha}(l - y)_+ + \tfrac{2}{\alpha}(y - u)_+ .

Coverage and width are its two halves seen apart; neither is proper alone (an interval that is everywhere covers all).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.comparison.scores.cells import Contributions, cell_law, held_out
from dynplat.errors import ArgumentError

if TYPE_CHECKING:
    from dynplat.posterior import Prediction


def interval_score(prediction: Prediction, truth: Any, hidden: Any, *, level: float = 0.9) -> Contributions:
    """Interval scores of the central intervals of a level, one per held-out cell, in the unit of the data.

    Args:
        prediction: Prediction about the rows of the data.
        truth: `Trajectories`, or an array (series, time, channel).
        hidden: True = held out, (series, time, channel).
        level: Level of the central interval, strictly between 0 and 1.

    Raises:
        ArgumentError: The level or a shape is wrong.
    """
    lower, upper, values, method = _bounds(prediction, truth, hidden, level)
    outside = np.maximum(lower - values, 0.0) + np.maximum(values - upper, 0.0)
    return Contributions((upper - lower) + 2.0 / (1.0 - level) * outside, method=method)


def coverage(prediction: Prediction, truth: Any, hidden: Any, *, level: float = 0.9) -> Contributions:
    """1 where the value lies in its closed central interval, 0 elsewhere; arguments as in `interval_score`."""
    lower, upper, values, method = _bounds(prediction, truth, hidden, level)
    inside = ((lower <= values) & (values <= upper)).astype(np.float64)
    # An end that is NaN would read as a miss; it is a prediction that wasn't made.
    return Contributions(np.where(np.isnan(lower) | np.isnan(upper), np.nan, inside), method=method)


def width(prediction: Prediction, truth: Any, hidden: Any, *, level: float = 0.9) -> Contributions:
    """Widths of the central intervals, in the unit of the data; arguments as in `interval_score`."""
    lower, upper, _, method = _bounds(prediction, truth, hidden, level)
    return Contributions(upper - lower, method=method)


def check_level(level: float) -> None:
    """Refuse a level outside (0, 1)."""
    if not 0.0 < level < 1.0:
        raise ArgumentError(f"`level` must lie strictly between 0 and 1, such as 0.9; got {level!r}.")


def _bounds(
    prediction: Prediction, truth: Any, hidden: Any, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    check_level(level)
    truth, hidden = held_out(prediction, truth, hidden)
    law = cell_law(prediction, hidden)
    return law.quantile(0.5 * (1.0 - level)), law.quantile(0.5 * (1.0 + level)), truth[hidden], law.method
