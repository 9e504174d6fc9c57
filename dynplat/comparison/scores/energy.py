r"""The energy score: the CRPS of several values together.

.. math:: \operatorname{ES}(F, y) = \operatorname{E}\lVert X - y \rVert - \tfrac12 \operatorname{E}\lVert X - X' \rVert
,

with the Euclidean norm and independent :math:`X, X' \sim F` (Gneiting and Raftery 2007, sec. 4.2,
doi:10.1198/016214506000001437). What is scored together:

- `energy_score`: the hidden channels of one row; a row with one hidden channel gives its CRPS;
- `energy_score_series`: everything that is hidden in one series, over all rows and channels, so that a law whose
  marginals are right and whose dependence over time is wrong pays for it.

Both take joint draws and use the fair estimator (Ferro 2014, doi:10.1002/qj.2270), in which a draw is never compared
with itself. The norm adds channels as they are: with different units the largest scale decides, so a comparison brings
several channels to one scale first (`dynplat.comparison.scale`).

All pairs of M draws cost M²; beyond a budget the pairs :math:`(x_i, x_{i+l})` are taken, indices modulo M, for lags l
spread evenly over 1..M/2. Their mean has the same expectation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.comparison.scores.cells import Contributions, at_cells, held_out
from dynplat.errors import ArgumentError, CapabilityError

if TYPE_CHECKING:
    from dynplat.posterior import Prediction

#: Pairs of draws compared per row (all of them up to some 120 draws) and per series (up to 1000 draws).
_ROW_PAIRS = 8_000
_SERIES_PAIRS = 500_000
#: Numbers that one block of rows may hold at once: a few arrays of this size stay in a processor's cache.
_BLOCK = 200_000


def energy_score(prediction: Prediction, truth: Any, hidden: Any) -> Contributions:
    r"""Energy score of the hidden channels of each row, one per row with a hidden cell; smaller is better.

    Args:
        prediction: Prediction about the rows of the data, with joint draws.
        truth: `Trajectories`, or an array (series, time, channel).
        hidden: True = held out, (series, time, channel).

    Raises:
        CapabilityError: The prediction holds fewer than two draws, or those of each cell by itself.
        ArgumentError: A shape is wrong.
    """
    truth, hidden = held_out(prediction, truth, hidden)
    draws = _joint_draws(prediction, int(hidden.sum(axis=2).max(initial=0)))
    rows = hidden.any(axis=2)
    members, values = hidden[rows], truth[rows]
    scores = np.empty(len(values))
    width = max(1, _BLOCK // (draws.shape[0] * hidden.shape[2]))
    drawn = draws[:, rows]
    for start in range(0, len(values), width):
        block = slice(start, start + width)
        scores[block] = energy_draws(drawn[:, block], values[block], members[block], max_pairs=_ROW_PAIRS)
    return Contributions(scores, "row", _method(draws.shape[0], _ROW_PAIRS))


def energy_score_series(prediction: Prediction, truth: Any, hidden: Any) -> Contributions:
    """Energy score of everything hidden in each series, one per series with a hidden cell; as `energy_score`."""
    truth, hidden = held_out(prediction, truth, hidden)
    draws = _joint_draws(prediction, int(hidden.sum(axis=(1, 2)).max(initial=0)))
    scores = []
    for index in np.flatnonzero(hidden.any(axis=(1, 2))):
        cells = hidden[index]
        drawn = at_cells(draws[:, index], cells)[:, None]
        values = truth[index][cells][None]
        scores.append(energy_draws(drawn, values, np.ones_like(values, dtype=bool), max_pairs=_SERIES_PAIRS)[0])
    return Contributions(np.array(scores), "series", _method(draws.shape[0], _SERIES_PAIRS))


def energy_draws(draws: np.ndarray, values: np.ndarray, members: np.ndarray, *, max_pairs: int) -> np.ndarray:
    """Fair estimates of the energy score.

    Args:
        draws: Joint draws, (sample, n, d).
        values: What was observed, (n, d).
        members: Which of the d coordinates are scored, (n, d), boolean.
        max_pairs: Budget of pairs of draws; with fewer than M (M - 1) / 2 the pairs are taken at evenly spread lags.

    Returns:
        The scores, (n,).

    Raises:
        ArgumentError: There are fewer than two draws.
    """
    num_draws = draws.shape[0]
    if num_draws < 2:
        raise ArgumentError(f"`draws` must hold at least two draws for a fair estimate; got {num_draws}.")
    # Coordinates that are not scored become 0 everywhere, truth included, and so leave every norm. Coordinates first:
    # squares are then added along long, contiguous rows.
    places = np.moveaxis(np.where(members, draws, 0.0), -1, 0)
    centre = np.moveaxis(np.where(members, values, 0.0), -1, 0)
    distance = _length(places, centre[:, None]).mean(axis=0)
    around = np.concatenate([places, places], axis=1)
    lags = _lags(num_draws, max_pairs)
    # At lag M/2 every pair is met twice, so that it counts half.
    weights = np.where(2 * lags == num_draws, 0.5, 1.0)
    spread = np.zeros_like(distance)
    for lag, weight in zip(lags, weights, strict=True):
        spread += weight * _length(places, around[:, lag : lag + num_draws]).mean(axis=0)
    return distance - 0.5 * spread / weights.sum()


def _length(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Euclidean distance over the first axis."""
    if len(first) == 1:
        return np.abs(first[0] - second[0])
    total = np.square(first[0] - second[0])
    for one, other in zip(first[1:], second[1:], strict=True):
        gap = one - other
        total += np.square(gap, out=gap)
    return np.sqrt(total, out=total)


def _lags(num_draws: int, max_pairs: int) -> np.ndarray:
    """Lags 1..M/2, or as many of them, evenly spread, as the budget allows."""
    longest = num_draws // 2
    wanted = max(1, min(longest, max_pairs // num_draws + 1))
    return np.unique(np.linspace(1, longest, wanted).round().astype(int))


def _joint_draws(prediction: Prediction, together: int) -> np.ndarray:
    """Draws of a prediction of which up to so many cells are scored together."""
    if together > 1 and not prediction.dataset.attrs.get("joint", 1):
        model = prediction.dataset.attrs.get("model", "the model")
        raise CapabilityError(
            f"the energy score compares joint draws, and {model} gives the law of each cell by itself. Take 'crps', or "
            "a model that claims `joint`."
        )
    if prediction.dataset.sizes.get("sample", 0) < 2:
        raise CapabilityError(
            "the energy score needs at least two joint draws; the prediction holds "
            f"{prediction.dataset.sizes.get('sample', 0)}. Predict with `num_draws` of a few hundred."
        )
    return np.asarray(prediction.dataset["draws"].values, dtype=np.float64)


def _method(num_draws: int, max_pairs: int) -> str:
    everything = len(_lags(num_draws, max_pairs)) == num_draws // 2
    pairs = "" if everything else f" and {num_draws * len(_lags(num_draws, max_pairs))} of their pairs"
    return f"fair estimator from {num_draws} draws{pairs}"
