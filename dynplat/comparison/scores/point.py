r"""Errors of point predictions, each with the functional for which it is consistent.

Squared error asks for the predictive mean, absolute error for the predictive median: with another functional a model
that knows the true law would not be the best (Gneiting 2011, doi:10.1198/jasa.2011.r10138). All are in the unit of the
data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.comparison.scores.cells import Contributions, at_cells, cell_law, held_out

if TYPE_CHECKING:
    from dynplat.posterior import Prediction


def squared_error(prediction: Prediction, truth: Any, hidden: Any) -> Contributions:
    r"""Squared errors :math:`(\operatorname{E}X - y)^2` of the predictive mean, one per held-out cell.

    The root of their mean is the RMSE.
    """
    signed = error(prediction, truth, hidden)
    return signed._replace(values=signed.values**2)


def absolute_error(prediction: Prediction, truth: Any, hidden: Any) -> Contributions:
    r"""Absolute errors :math:`|\operatorname{med}X - y|` of the predictive median, one per held-out cell."""
    truth, hidden = held_out(prediction, truth, hidden)
    law = cell_law(prediction, hidden)
    return Contributions(np.abs(law.quantile(0.5) - truth[hidden]), method=law.method)


def error(prediction: Prediction, truth: Any, hidden: Any) -> Contributions:
    r"""Errors :math:`\operatorname{E}X - y` of the predictive mean; positive where the prediction is too high."""
    truth, hidden = held_out(prediction, truth, hidden)
    return Contributions(at_cells(prediction.dataset["mean"], hidden) - truth[hidden], method="predictive mean")
