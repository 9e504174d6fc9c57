"""Hold-outs: observed cells taken out of the data, so that a model can be asked about what is known.

Every function chooses among observed cells only, from an explicit seed, and returns the same rows twice: `train` with
the chosen cells hidden (masked, and their numbers erased) and `truth` with these cells alone.

A share of `n` cells is `fraction * n` rounded to the nearest whole number, halves down: `ceil(fraction * n - 1/2)`.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.data.clock import show_label
from dynplat.errors import ArgumentError

if TYPE_CHECKING:
    from dynplat.data.trajectories import Trajectories


@dataclass(frozen=True, eq=False)
class Holdout:
    """What is shown and what is asked about; both have the rows of the original data.

    Args:
        train: The data without the hidden cells.
        truth: The hidden cells, and nothing else.
        hidden: True for hidden cells, (series, time, channel).
    """

    train: Trajectories
    truth: Trajectories
    hidden: np.ndarray


def hide_values(data: Trajectories, fraction: float, seed: int) -> Holdout:
    """Hide observed cells one by one.

    With `n` observed cells in the order (series, time, channel), last fastest, those hidden are
    `np.random.default_rng(seed).choice(observed, size=ceil(fraction * n - 1/2), replace=False)`.

    Args:
        data: The data.
        fraction: Share of the observed cells, between 0 and 1.
        seed: Seed.

    Raises:
        ArgumentError: The fraction is not between 0 and 1, or it comes to no cell or to all of them.
    """
    observed = np.flatnonzero(data.mask)
    chosen = _choose(observed, fraction, seed, "observed cell")
    hidden = np.zeros(data.mask.size, dtype=bool)
    hidden[chosen] = True
    return _hold_out(data, hidden.reshape(data.mask.shape))


def hide_blocks(data: Trajectories, fraction: float, length: int, seed: int) -> Holdout:
    """Hide stretches of `length` consecutive rows of one series and channel.

    Blocks are drawn in a random order over all series, channels and first rows; a block is taken if it holds an
    observed cell and neither overlaps nor touches one taken before. They are taken until the share of the
    observed cells is hidden; the last block ends where that number is reached.

    Args:
        data: The data.
        fraction: Share of the observed cells, between 0 and 1.
        length: Rows of a block, at least 1.
        seed: Seed.

    Raises:
        ArgumentError: The fraction or the length is out of range, or the blocks do not fit.
    """
    if isinstance(length, bool) or not isinstance(length, int | np.integer) or length < 1:
        raise ArgumentError(f"`length` must be a whole number of rows, at least 1; got {length!r}.")
    goal = _size(int(data.mask.sum()), fraction, "observed cell")
    starts = np.maximum(data.lengths - length + 1, 0)
    series = np.repeat(np.arange(data.num_series), starts)
    first = np.concatenate([np.arange(count) for count in starts] or [np.zeros(0, dtype=np.int64)])
    num_channels = len(data.channels)
    hidden = np.zeros(data.mask.shape, dtype=bool)
    taken = np.zeros(data.mask.shape, dtype=bool)
    for candidate in np.random.default_rng(seed).permutation(len(first) * num_channels):
        if goal == 0:
            break
        place, channel = divmod(int(candidate), num_channels)
        line, begin = int(series[place]), int(first[place])
        if taken[line, max(begin - 1, 0) : begin + length + 1, channel].any():
            continue
        seen = begin + np.flatnonzero(data.mask[line, begin : begin + length, channel])[:goal]
        if seen.size:
            taken[line, begin : begin + length, channel] = True
            hidden[line, seen, channel] = True
            goal -= seen.size
    if goal:
        raise ArgumentError(
            f"blocks of {length} rows that do not touch cannot hide the share {fraction} of the observed cells: "
            f"{goal} cells are left over. Use a smaller `fraction` or another `length`."
        )
    return _hold_out(data, hidden)


def hide_rows(data: Trajectories, fraction: float, seed: int) -> Holdout:
    """Hide whole time points: all channels of a series at one time (rows with equal times go together).

    Args:
        data: The data.
        fraction: Share of the time points at which something is observed, between 0 and 1.
        seed: Seed.

    Raises:
        ArgumentError: The fraction is not between 0 and 1, or it comes to no time point or to all of them.
    """
    points = _time_points(data)
    seen = np.unique(points[data.mask.any(axis=-1)])
    chosen = np.isin(points, _choose(seen, fraction, seed, "observed time point")) & data.rows
    return _hold_out(data, chosen[:, :, None] & data.mask)


def hide_future(
    data: Trajectories, *, horizon: Any = None, fraction: float | None = None, since: Any = None
) -> Holdout:
    """Hide the end of every series. Exactly one of the three says where it begins.

    With `horizon` or `fraction`, a series that would be hidden whole is left as it is: there would be nothing to
    forecast it from.

    Args:
        data: The data.
        horizon: Number of last time points of each series at which something is observed; or, for dates, a stretch of
            time (`timedelta`): what is later than the last observation's time minus it.
        fraction: Share of the time points of each series at which something is observed: the last ones are hidden.
        since: A time (a number, or a date): cells at this time and later are hidden, in all series.

    Raises:
        ArgumentError: Not exactly one is given, it is out of range, or no cell or every cell would be hidden.
    """
    choices = {"horizon": horizon, "fraction": fraction, "since": since}
    given = [name for name, value in choices.items() if value is not None]
    if len(given) != 1:
        raise ArgumentError(
            f"exactly one of `horizon`, `fraction` and `since` must be given; got {' and '.join(given) or 'none'}."
        )
    seen = np.asarray(data.mask.any(axis=-1))
    if since is not None:
        late = data.times >= float(np.ravel(data.from_labels(np.asarray([since])))[0])
    else:
        late = _end_of_series(data, seen, horizon, fraction)
        late &= (seen & ~late).any(axis=1, keepdims=True)
    hidden = late[:, :, None] & data.mask
    if not hidden.any() or (hidden == data.mask).all():
        raise ArgumentError(
            f"`{given[0]}` {choices[given[0]]} would hide "
            f"{'every observed cell' if hidden.any() else 'no cell, or leave nothing to forecast from'}; "
            f"times run from {_span(data)}, and the longest series has {int(seen.sum(axis=1).max(initial=0))} rows "
            "with an observation."
        )
    return _hold_out(data, hidden)


def hide_series(data: Trajectories, fraction: float, seed: int) -> Holdout:
    """Hide whole series.

    Args:
        data: The data.
        fraction: Share of the series in which something is observed, between 0 and 1.
        seed: Seed.

    Raises:
        ArgumentError: The fraction is not between 0 and 1, or it comes to no series or to all of them.
    """
    seen = np.flatnonzero(data.mask.any(axis=(1, 2)))
    chosen = _choose(seen, fraction, seed, "observed series")
    return _hold_out(data, np.isin(np.arange(data.num_series), chosen)[:, None, None] & data.mask)


def _hold_out(data: Trajectories, hidden: np.ndarray) -> Holdout:
    hidden.setflags(write=False)
    return Holdout(train=data.hide(hidden), truth=data.hide(~hidden), hidden=hidden)


def _choose(candidates: np.ndarray, fraction: float, seed: int, what: str) -> np.ndarray:
    size = _size(len(candidates), fraction, what)
    return np.random.default_rng(seed).choice(candidates, size=size, replace=False)


def _size(count: int, fraction: Any, what: str) -> int:
    if not isinstance(fraction, int | float | np.number) or not 0 < fraction < 1:
        raise ArgumentError(f"`fraction` must be a number between 0 and 1; got {fraction!r}.")
    size = _share(float(fraction), count)
    if size == 0 or size == count:
        raise ArgumentError(
            f"`fraction` {fraction} of {count} {what}s comes to {size}; at least one must be hidden and one stay."
        )
    return size


def _share(fraction: float, count: int) -> int:
    return math.ceil(fraction * count - 0.5)


def _time_points(data: Trajectories) -> np.ndarray:
    """Number the distinct times of each series, (series, time), all different between series."""
    if data.times.size == 0:
        return np.zeros(data.times.shape, dtype=np.int64)
    new = np.concatenate([np.ones((data.num_series, 1), dtype=bool), np.diff(data.times, axis=1) > 0], axis=1)
    return np.cumsum(new.ravel()).reshape(new.shape)


def _end_of_series(data: Trajectories, seen: np.ndarray, horizon: Any, fraction: Any) -> np.ndarray:
    # NumPy's durations call themselves whole numbers, so they are asked for first.
    if isinstance(horizon, datetime.timedelta | np.timedelta64) and data.time_origin is not None:
        length = float(data.clock.numbers(data.time_origin + np.timedelta64(horizon).astype("timedelta64[ns]")))
        if not length > 0:
            raise ArgumentError(f"`horizon` must be a positive stretch of time; got {horizon!r}.")
        last = np.where(seen, data.times, -np.inf).max(axis=1, initial=-np.inf)
        return data.times > (last - length)[:, None]
    if horizon is not None:
        if isinstance(horizon, bool | datetime.timedelta | np.timedelta64) or not _is_count(horizon):
            durations = ", or a stretch of time" if data.is_datetime else " (for a stretch of time, give `since`)"
            raise ArgumentError(
                f"`horizon` must be a whole number of time points, at least 1{durations}; got {horizon!r}."
            )
    elif not isinstance(fraction, int | float | np.number) or not 0 < fraction < 1:
        raise ArgumentError(f"`fraction` must be a number between 0 and 1; got {fraction!r}.")
    late = np.zeros(seen.shape, dtype=bool)
    for index, points in enumerate(_time_points(data)):
        known = np.unique(points[seen[index]])
        size = int(horizon) if horizon is not None else _share(float(fraction), len(known))
        if size and known.size:
            late[index] = points >= known[-min(size, known.size)]
    return late


def _is_count(number: Any) -> bool:
    return isinstance(number, int | np.integer) and int(number) >= 1


def _span(data: Trajectories) -> str:
    labels = data.labels[data.rows]
    unit = f" ({data.time_unit})" if data.time_unit and not data.is_datetime else ""
    return f"{show_label(labels.min())} to {show_label(labels.max())}{unit}" if labels.size else "nothing"
