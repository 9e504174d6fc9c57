"""Times at the door of a question: dates and numbers, shared or per series, and back to coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dynplat.data import Trajectories
from dynplat.errors import ArgumentError

if TYPE_CHECKING:
    from dynplat.data.clock import Clock


class Query(NamedTuple):
    """Times that are asked about, one row per series, in the order asked.

    Attributes:
        times: Floats on the clock of the data, (series, query); finite everywhere.
        valid: False where a series is asked about fewer times than the longest, (series, query); its latest time is
            repeated there.
    """

    times: np.ndarray
    valid: np.ndarray


def query_from(data: Trajectories, times: Any) -> Query:
    """Read times that somebody asks about.

    Args:
        data: The data whose series and clock are meant.
        times: Floats or dates: (query,) for all series, (series, query), or a list with one array per series.

    Raises:
        ArgumentError: The shape does not fit the number of series, or a time is not finite.
        DataError: Dates for data whose times are plain numbers, or texts that are no dates.
    """
    if _is_per_series(times):
        parts = [np.atleast_1d(data.from_labels(part)) for part in times]
        if len(parts) != data.num_series or any(part.ndim != 1 for part in parts):
            raise ArgumentError(f"`times` must hold one array per series ({data.num_series}); got {len(parts)}.")
        longest = max(map(len, parts), default=0)
        valid = np.arange(longest) < np.array([len(part) for part in parts])[:, None]
        padded = np.zeros(valid.shape)
        padded[valid] = np.concatenate(parts) if parts else []
    else:
        numbers = np.atleast_1d(np.asarray(data.from_labels(times), dtype=np.float64))
        if numbers.ndim > 2 or (numbers.ndim == 2 and numbers.shape[0] != data.num_series):
            raise ArgumentError(
                f"`times` must be (query,), (series, query) with {data.num_series} series, or a list with one array "
                f"per series; got shape {numbers.shape}."
            )
        padded = np.broadcast_to(numbers, (data.num_series, numbers.shape[-1])).copy()
        valid = np.ones(padded.shape, dtype=bool)
    if not np.isfinite(padded).all():
        raise ArgumentError("`times` must be finite. For a different number of times per series give a list of arrays.")
    return Query(_fill(padded, valid, data), valid)


def query_rows(data: Trajectories) -> Query:
    """Ask about the rows of the data."""
    return Query(np.array(data.times, dtype=np.float64), np.array(data.rows))


def query_future(data: Trajectories, horizon: int) -> Query:
    """Ask about `horizon` rows after the last one of each series.

    A series whose dates follow a calendar (month ends, quarters, business days, ...) is continued along it. Any other
    series, irregular ones among them, goes on in steps of the median of its own positive gaps between rows; a series
    without such a gap takes the median of all series.

    Raises:
        ArgumentError: The horizon is not a positive integer, a series has no row, or there is no gap at all.
    """
    if isinstance(horizon, bool) or not isinstance(horizon, int | np.integer) or horizon < 1:
        raise ArgumentError(f"`horizon` must be a positive number of rows; got {horizon!r}.")
    # Dates are counted in whole ticks, so that steps of two hours stay steps of two hours.
    counts = data.labels.astype(np.int64) if data.is_datetime else data.times
    pooled = _positive_gaps(counts[data.rows], np.nonzero(data.rows)[0])
    times = np.empty((data.num_series, horizon))
    for index, length in enumerate(data.lengths):
        if length == 0:
            raise ArgumentError(
                f"series {data.series[index]!r} has no row after which a forecast could begin. "
                "Give `times`, or leave the series out."
            )
        ahead = _calendar(data, index, int(length), int(horizon)) if data.is_datetime else None
        if ahead is None:
            own = np.diff(counts[index, :length])
            gaps = own[own > 0] if (own > 0).any() else pooled
            if gaps.size == 0:
                raise ArgumentError(
                    "`horizon` counts steps, and no series has two rows that show a step. Give `times`."
                )
            step = np.median(gaps)
            if data.is_datetime:
                steps = np.rint(step).astype(np.int64) * np.arange(1, horizon + 1)
                ahead = data.clock.numbers((counts[index, length - 1] + steps).astype(data.labels.dtype))
            else:
                ahead = counts[index, length - 1] + step * np.arange(1, horizon + 1)
        times[index] = ahead
    return Query(times, np.ones(times.shape, dtype=bool))


def coordinates(
    data: Trajectories, query: Query | None = None, channels: Sequence[str] | None = None
) -> dict[str, Any]:
    """Coordinates of the dimensions series, time and channel.

    Where all series share their times, `time` is an ordinary index (dates when the data have dates). Where they do not,
    `time` only counts rows, and for data with dates the coordinate `date` (series, time) holds those of each series,
    its padding the last one repeated. Dates are in UTC where the data have a time zone.

    Args:
        data: The data whose names and clock are meant.
        query: Times; by default the rows of the data.
        channels: Names along `channel`; by default those of the data.
    """
    times, valid = query or query_rows(data)
    names = list(data.channels) if channels is None else list(channels)
    coords: dict[str, Any] = {"series": list(data.series), "channel": names}
    shared = data.num_series > 0 and bool(valid.all()) and bool((times == times[:1]).all())
    labels = data.to_labels(times)
    if shared:
        coords["time"] = labels[0]
    elif data.is_datetime:
        coords["date"] = (("series", "time"), labels)
    return coords


def on_clock(data: Trajectories, clock: Clock) -> Trajectories:
    """Return other data with their times counted on the clock of the data that a model was fitted to.

    Raises:
        ArgumentError: One of the two has dates and the other plain numbers, or numbers in another unit.
    """
    # NumPy raises where it compares dates of two resolutions that cannot hold each other.
    if data.clock.resolution == clock.resolution and data.clock == clock:
        return data
    if data.is_datetime != (clock.origin is not None):
        had = "dates" if clock.origin is not None else "plain numbers"
        raise ArgumentError(f"the model was fitted to times that were {had}; those of `data` are not.")
    if clock.origin is None:
        raise ArgumentError(
            f"the model was fitted to times in {clock.unit or 'no unit'!r}; those of `data` are in "
            f"{data.time_unit or 'no unit'!r}. Convert them, and say so with `time_unit`."
        )
    # Dates outside 1677-2262, on either side, fit into microseconds only.
    resolution = "us" if "us" in (clock.resolution, data.clock.resolution) else "ns"
    labels = data.labels.astype(f"datetime64[{resolution}]")
    origin = clock.origin.astype(labels.dtype)
    numbers = replace(clock, origin=origin).numbers(labels)
    for array in (labels, numbers):
        array.setflags(write=False)
    rebased = data.dataset.assign_coords(times=(("series", "time"), numbers), labels=(("series", "time"), labels))
    return Trajectories(rebased.assign_attrs(time_unit=clock.unit, time_origin=str(origin)))


def ascending(query: Query) -> np.ndarray | None:
    """The order in which each series' queries do not decrease, or None where they already do not."""
    if (np.diff(query.times, axis=1) >= 0).all():
        return None
    return np.lexsort((query.times, ~query.valid), axis=1)


def inverse(order: np.ndarray | None) -> np.ndarray | None:
    """The order that undoes an order."""
    return None if order is None else np.argsort(order, axis=1)


def along(values: Any, order: np.ndarray | None) -> Any:
    """Reorder the query axis of (series, query), or (..., series, query, channel)."""
    if values is None or order is None:
        return values
    if values.ndim == 2:
        return np.take_along_axis(values, order, axis=1)
    index = order.reshape((1,) * (values.ndim - 3) + (*order.shape, 1))
    return np.take_along_axis(values, index, axis=-2)


def _is_per_series(times: Any) -> bool:
    return (
        isinstance(times, list | tuple)
        and len(times) > 0
        and all(not isinstance(part, str) and np.ndim(part) > 0 for part in times)
    )


def _fill(times: np.ndarray, valid: np.ndarray, data: Trajectories) -> np.ndarray:
    """Repeat the latest time of a series in its padding; a series without any is asked about its own last row."""
    if valid.all() or not times.size:
        return times
    latest = np.where(valid, times, -np.inf).max(axis=1)
    latest = np.where(valid.any(axis=1), latest, _last_times(data))
    return np.where(valid, times, latest[:, None])


def _last_times(data: Trajectories) -> np.ndarray:
    if data.times.shape[1] == 0:
        return np.zeros(data.num_series)
    return data.times[np.arange(data.num_series), np.maximum(data.lengths - 1, 0)]


def _positive_gaps(times: np.ndarray, codes: np.ndarray) -> np.ndarray:
    gaps = np.diff(times)[np.diff(codes) == 0]
    return gaps[gaps > 0]


def _calendar(data: Trajectories, index: int, length: int, horizon: int) -> np.ndarray | None:
    """Continue the dates of one series along their calendar, or return None where they follow none."""
    import pandas as pd

    # Several rows of one date (particles of a population, channels seen apart) are one step of the calendar.
    labels = pd.DatetimeIndex(data.labels[index, :length]).unique()
    if len(labels) < 3:
        return None
    local = labels.tz_localize("UTC").tz_convert(data.time_zone) if data.time_zone else labels
    step = pd.DatetimeIndex(local, freq="infer").freq
    if step is None:
        return None
    ahead = pd.date_range(local[-1], periods=horizon + 1, freq=step)[1:]
    if data.time_zone:
        ahead = ahead.tz_convert("UTC").tz_localize(None)
    return data.clock.numbers(ahead.to_numpy())
