"""The default context: robust summaries of the training cells from which weakly informative priors take their scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dynplat.model.context import Context

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories


def summarise(data: Trajectories | Snapshots) -> Context:
    """Summarise the observed cells.

    The constants are `location` and `scale` (channel,), the mean and standard deviation of the observed values;
    `step_scale` (channel,), the standard deviation of differences between neighbouring observed values of one series;
    `start` and `span` of the times; `gap`, the median positive gap between rows; `num_rows`, the longest series.
    A channel with fewer than two distinct values has scale 1 (or its absolute value, where that is not zero), so that
    priors stay proper and fitting goes on with the others.
    """
    from dynplat.data import Snapshots

    if isinstance(data, Snapshots):
        return _summarise_snapshots(data)
    num_channels = len(data.channels)
    location, scale = np.zeros(num_channels), np.ones(num_channels)
    step_scale = np.ones(num_channels)
    for channel in range(num_channels):
        observed = data.mask[:, :, channel]
        location[channel], scale[channel] = _location_and_scale(data.values[:, :, channel][observed])
        steps = [
            np.diff(values[seen])
            for values, seen in zip(data.values[:, :, channel], observed, strict=True)
            if seen.any()
        ]
        jumps = np.concatenate(steps) if steps else np.empty(0)
        spread = float(np.sqrt(np.mean(jumps**2))) if jumps.size else 0.0
        step_scale[channel] = spread if spread > 0 else scale[channel]
    rows = np.arange(data.times.shape[1]) < np.asarray(data.lengths)[:, None]
    times = data.times[rows]
    gaps = np.diff(data.times, axis=1)
    gaps = gaps[(gaps > 0) & rows[:, 1:]]
    return Context(
        num_series=data.num_series,
        channels=tuple(data.channels),
        inputs=tuple(data.input_names or ()),
        time_unit=data.time_unit,
        values={
            "location": location,
            "scale": scale,
            "step_scale": step_scale,
            "start": float(times.min()) if times.size else 0.0,
            "span": float(np.ptp(times)) if times.size and np.ptp(times) > 0 else 1.0,
            "gap": float(np.median(gaps)) if gaps.size else 1.0,
            "num_rows": int(np.max(data.lengths)) if len(data.lengths) else 0,
        },
        static={name: np.asarray(values) for name, values in data.static.items()},
    )


def _location_and_scale(values: np.ndarray) -> tuple[float, float]:
    if values.size == 0:
        return 0.0, 1.0
    location, scale = float(values.mean()), float(values.std())
    # A constant channel: rounding in the mean leaves a spread of a few units in the last place, which is no scale.
    if scale <= 8 * np.finfo(float).eps * max(abs(location), np.finfo(float).tiny):
        scale = abs(location) or 1.0
    return location, scale


def _summarise_snapshots(data: Snapshots) -> Context:
    populations = [np.asarray(population) for population in data.populations]
    pooled = np.concatenate(populations) if populations else np.zeros((0, len(data.channels)))
    summaries = [_location_and_scale(column) for column in pooled.T]
    times = np.asarray(data.times, dtype=float)
    gaps = np.diff(times)
    return Context(
        num_series=1,
        channels=tuple(data.channels),
        time_unit=data.time_unit,
        values={
            "location": np.array([location for location, _ in summaries]),
            "scale": np.array([scale for _, scale in summaries]),
            "start": float(times.min()) if times.size else 0.0,
            "span": float(np.ptp(times)) if times.size > 1 else 1.0,
            "gap": float(np.median(gaps)) if gaps.size else 1.0,
            "num_rows": len(times),
        },
    )
