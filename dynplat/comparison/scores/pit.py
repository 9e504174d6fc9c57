r"""The probability integral transform :math:`F(y)`: uniform on [0, 1] when the predictive law is calibrated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.comparison.scores.cells import Contributions, asked, at_cells, held_out

if TYPE_CHECKING:
    from dynplat.posterior import Prediction


def pit(prediction: Prediction, truth: Any, hidden: Any) -> Contributions:
    r"""Values :math:`F(y)` of the predictive distribution function, one per held-out cell.

    A histogram that is U-shaped says that the intervals are too narrow, a hump that they are too wide, a slope that the
    predictions are biased (Dawid 1984; Gneiting, Balabdaoui and Raftery 2007, doi:10.1111/j.1467-9868.2007.00587.x).

    Args:
        prediction: Prediction about the rows of the data.
        truth: `Trajectories`, or an array (series, time, channel).
        hidden: True = held out, (series, time, channel).
    """
    truth, hidden = held_out(prediction, truth, hidden)
    return Contributions(np.asarray(at_cells(prediction.cdf(asked(truth, hidden)), hidden)))
