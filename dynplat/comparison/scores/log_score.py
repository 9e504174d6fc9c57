r"""The logarithmic score: minus the log of the predictive density at what was observed.

.. math:: \operatorname{LogS}(p, y) = -\log p(y)

in nats; smaller is better (the negative orientation, so that it reads beside the other scores; Gneiting and Raftery
2007, sec. 4.1, use the opposite sign). The density is the marginal one of each held-out cell. It depends on the unit of
the data: in another unit all models move by the same constant. With parameter uncertainty it is the exact density of
the mixture over the posterior's draws; a density that is zero gives infinity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dynplat.comparison.scores.cells import Contributions, asked, at_cells, held_out

if TYPE_CHECKING:
    from dynplat.posterior import Prediction


def log_score(prediction: Prediction, truth: Any, hidden: Any) -> Contributions:
    r"""Minus log densities :math:`-\log p(y)`, one per held-out cell, in nats; smaller is better.

    Args:
        prediction: Prediction about the rows of the data, with marginal densities.
        truth: `Trajectories`, or an array (series, time, channel).
        hidden: True = held out, (series, time, channel).

    Raises:
        CapabilityError: The prediction has no density (it consists of draws only).
    """
    truth, hidden = held_out(prediction, truth, hidden)
    return Contributions(-at_cells(prediction.log_density(asked(truth, hidden)), hidden), method="exact density")
