"""The end of every series: finding it, cutting it off, and asking about it on the rows of the whole data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dynplat.data import layout
from dynplat.data.moments import Moments
from dynplat.errors import ArgumentError
from dynplat.posterior import Prediction, predict

if TYPE_CHECKING:
    from dynplat.data import Trajectories
    from dynplat.posterior import Posterior


def late_cells(data: Trajectories, horizon: int | None, fraction: float | None) -> np.ndarray:
    """Mark the rows, (series, time), from the first of the last observed time points of each series on.

    Args:
        data: The data.
        horizon: Number of time points at which something was observed.
        fraction: Share of them, where `horizon` is None.

    Raises:
        ArgumentError: A number is out of range, or in no series anything would be hidden and something stay.
    """
    if horizon is not None and (isinstance(horizon, bool) or not isinstance(horizon, int | np.integer) or horizon < 1):
        raise ArgumentError(f"`horizon` must be a whole number of time points, at least 1; got {horizon!r}.")
    if horizon is None and not (isinstance(fraction, int | float | np.number) and 0 < fraction < 1):
        raise ArgumentError(f"`fraction` must be a number between 0 and 1; got {fraction!r}.")
    seen = np.asarray(data.mask.any(axis=2))
    late = np.zeros(seen.shape, dtype=bool)
    longest = 0
    for index in range(data.num_series):
        points = np.unique(data.times[index][seen[index]])
        longest = max(longest, len(points))
        size = horizon if horizon is not None else round(float(fraction or 0.0) * len(points))
        if 0 < size < len(points):
            late[index] = (data.times[index] >= points[-size]) & data.rows[index]
    if not late.any():
        asked = f"`horizon` {horizon}" if horizon is not None else f"`fraction` {fraction}"
        raise ArgumentError(
            f"{asked} leaves nothing to train on or nothing to ask about: "
            f"the longest series has {longest} observed time points."
        )
    return late


def without_rows(data: Trajectories, dropped: np.ndarray) -> Trajectories:
    """Return the data without the marked rows, (series, time)."""
    rows = layout.flatten(data.dataset)
    kept = ~dropped[data.rows]
    moments = rows.times if rows.labels is None else rows.labels
    return layout.rebuild(
        data,
        codes=rows.codes[kept],
        moments=Moments(moments[kept]),
        values=rows.values[kept],
        inputs=None if rows.inputs is None else rows.inputs[kept],
        marks=None if rows.marks is None else rows.marks[kept],
    )


def predict_rows(
    posterior: Posterior,
    data: Trajectories,
    rows: np.ndarray,
    train: Trajectories,
    values: np.ndarray,
    *,
    num_draws: int,
    seed: int,
) -> Prediction:
    """Ask about some rows of the data, given others, and lay the answer on the rows of the data.

    Args:
        posterior: The fitted model.
        data: The data whose rows are meant.
        rows: Which of them are asked about, (series, time).
        train: The data to condition on.
        values: Values whose density is wanted, (series, time, channel), NaN = not asked.
        num_draws: Joint draws.
        seed: Seed of the draws.
    """
    counts = rows.sum(axis=1)
    asked = np.arange(int(counts.max(initial=0))) < counts[:, None]

    def packed(array: np.ndarray, filler: float) -> np.ndarray:
        result = np.full((*asked.shape, *array.shape[2:]), filler)
        result[asked] = array[rows]
        return result

    answer = predict(
        posterior,
        [data.times[index][rows[index]] for index in range(data.num_series)],
        inputs=None if data.inputs is None else packed(data.inputs, 0.0),
        num_draws=num_draws,
        seed=seed,
        values=packed(values, np.nan),
        data=train,
    )

    def spread(name: str) -> np.ndarray | None:
        if name not in answer.dataset:
            return None
        array = answer.dataset[name].values
        result = np.full((*array.shape[:-3], *rows.shape, array.shape[-1]), np.nan)
        result[..., rows, :] = array[..., asked, :]
        return result

    names = ("mean", "sd", "draws", "component_mean", "component_sd", "log_density", "log_density_values")
    return Prediction.from_arrays(
        data.times,
        rows,
        coords={"series": list(data.series), "channel": list(data.channels)},
        attrs=dict(answer.dataset.attrs),
        **{name: spread(name) for name in names},
    )
