r"""The linear forecast of windows: one matrix for all channels, from the last `lookback` values to the next `horizon`.

.. math:: y = \ell + (x - \ell) W , \qquad W = (X^\top X + \lambda I)^{-1} X^\top Y ,

with the level :math:`\ell`, the mean of what is seen of the window, taken off both sides; a value that is not seen
counts as the level. The penalty is chosen by the squared error on the last quarter of each series. This is the control
that deep forecasters are to beat, and where ours start.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

#: Share of the targets, the last ones, on which the penalty is chosen.
_KEPT = 0.25
#: Rows of windows that are held at once.
_PIECE = 20_000
#: Penalties that are tried, in units of the mean eigenvalue of X'X.
_PENALTIES = 10.0 ** np.arange(-6.0, 3.0)

#: Values and mask (place, channel) of each series.
Series = list[tuple[np.ndarray, np.ndarray]]


class LinearForecast(NamedTuple):
    """A linear forecast and its errors.

    Attributes:
        weight: W, (lookback, horizon).
        sd: Root mean square error of each step and channel over the windows that W is of, (channel, horizon).
        penalty: The penalty; infinity where there was no window to learn from, and W is 0.
        count: Number of those windows.
    """

    weight: np.ndarray
    sd: np.ndarray
    penalty: float
    count: int


def center(x: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Windows (..., lookback) minus their levels, 0 where not seen, and the levels (..., 1)."""
    count = np.maximum(seen.sum(axis=-1, keepdims=True), 1)
    level = np.where(seen, x, 0.0).sum(axis=-1, keepdims=True) / count
    return np.where(seen, x - level, 0.0), level


def fit_linear(series: Series, lookback: int, horizon: int) -> LinearForecast:
    """Fit the linear forecast.

    Args:
        series: Values and mask (place, channel) of each series, on equal steps.
        lookback: Rows that are read.
        horizon: Rows that are forecast.
    """
    num_channels = series[0][0].shape[1]
    starts = [_starts(seen, lookback, horizon) for _, seen in series]
    cuts = [int(np.ceil((1 - _KEPT) * len(found))) for found in starts]
    # Windows whose targets reach into the part kept for the choice would make it too kind.
    early = [found[:cut][found[:cut] + horizon <= _at(found, cut)] for found, cut in zip(starts, cuts, strict=True)]
    late = [found[cut:] for found, cut in zip(starts, cuts, strict=True)]
    gram, cross, count = np.zeros((lookback, lookback)), np.zeros((lookback, horizon)), 0
    for x, y in _pieces(series, early, lookback, horizon):
        rows = x.reshape(-1, lookback)
        gram += rows.T @ rows
        cross += rows.T @ y.reshape(-1, horizon)
        count += len(rows)
    none = LinearForecast(np.zeros((lookback, horizon)), np.ones((num_channels, horizon)), np.inf, 0)
    candidates = [none]
    unit = np.trace(gram) / lookback if count else 0.0
    if unit > 0:
        values, vectors = np.linalg.eigh(gram)
        turned = vectors.T @ cross
        for penalty in _PENALTIES:
            shrunk = turned / (np.maximum(values, 0.0) + penalty * unit)[:, None]
            candidates.append(none._replace(weight=vectors @ shrunk, penalty=float(penalty * unit), count=count))
    kept = late if any(len(found) for found in late) else early
    errors = np.stack([_errors(series, kept, found.weight, lookback, horizon)[0] for found in candidates])
    best = candidates[int(np.argmin(errors.mean(axis=(1, 2))))]
    square, total = _errors(series, early if count else kept, best.weight, lookback, horizon)
    return best._replace(sd=np.sqrt(square)) if total else best


def _at(found: np.ndarray, cut: int) -> float:
    return float(found[cut]) if cut < len(found) else np.inf


def _starts(seen: np.ndarray, lookback: int, horizon: int) -> np.ndarray:
    """Places at which `horizon` complete rows begin, with `lookback` rows before them of which some is seen."""
    complete = seen.all(axis=1).astype(int)
    any_seen = seen.any(axis=1).astype(int)
    total, filled = (np.concatenate([[0], np.cumsum(rows)]) for rows in (complete, any_seen))
    t = np.arange(lookback, len(seen) - horizon + 1)
    return t[(total[t + horizon] - total[t] == horizon) & (filled[t] > filled[t - lookback])] if t.size else t


def _pieces(
    series: Series, starts: list[np.ndarray], lookback: int, horizon: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Windows minus levels (window, channel, lookback), targets minus levels (window, channel, horizon)."""
    for (values, seen), found in zip(series, starts, strict=True):
        if not len(found):
            continue
        size = max(1, _PIECE // values.shape[1])
        for some in np.array_split(found, -(-len(found) // size)):
            past = some[:, None] + np.arange(-lookback, 0)
            x, level = center(values[past].transpose(0, 2, 1), seen[past].transpose(0, 2, 1))
            y = values[some[:, None] + np.arange(horizon)].transpose(0, 2, 1) - level
            yield x, y


def _errors(
    series: Series, starts: list[np.ndarray], weight: np.ndarray, lookback: int, horizon: int
) -> tuple[np.ndarray, int]:
    """Mean squared error of each channel and step, (channel, horizon), and the number of windows."""
    total, count = np.zeros((series[0][0].shape[1], horizon)), 0
    for x, y in _pieces(series, starts, lookback, horizon):
        total += ((x @ weight - y) ** 2).sum(axis=0)
        count += len(x)
    return total / max(count, 1), count
