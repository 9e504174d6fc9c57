"""From rows in any order to padded arrays, one block per series: the one place where rows get their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dynplat.data.clock import show_label
from dynplat.errors import DataError


class Rows(NamedTuple):
    """Observations as rows, in any order.

    Attributes:
        codes: Index of the series of each row, (row,).
        times: Time of each row as a float, (row,).
        labels: Time of each row as datetime64, (row,), or None.
        values: Values, (row, channel); NaN = missing.
        inputs: Known inputs, (row, input), or None.
        marks: Integer code of each row, (row,), or None.
    """

    codes: np.ndarray
    times: np.ndarray
    labels: np.ndarray | None
    values: np.ndarray
    inputs: np.ndarray | None = None
    marks: np.ndarray | None = None


class Padded(NamedTuple):
    """Rows sorted by time inside each series and padded to the longest; shapes (series, time, ...).

    Attributes:
        times: The last time of a series is repeated in its padding.
        labels: Likewise, or None.
        values: NaN in the padding.
        inputs: The last inputs repeated, or None.
        marks: 0 in the padding, or None.
        lengths: Number of rows of each series.
        placement: (series index, time index) of each original row, (row, 2).
    """

    times: np.ndarray
    labels: np.ndarray | None
    values: np.ndarray
    inputs: np.ndarray | None
    marks: np.ndarray | None
    lengths: np.ndarray
    placement: np.ndarray


class Origin(NamedTuple):
    """Where rows came from, for messages.

    Attributes:
        source: File or table.
        number: Function of a row's index: how the reader of the source counts it.
        time: Name of the time column.
        id: Name of the column that tells series apart, or empty.
        hint: Function that says what to do when one channel is observed twice at one time, or None.
    """

    source: object
    number: Callable[[int], int] = int
    time: str = "time"
    id: str = ""
    hint: Callable[[], str] | None = None


def assemble(rows: Rows, series: Sequence[str], channels: Sequence[str], origin: Origin) -> Padded:
    """Sort rows by time inside each series (stable), refuse conflicting cells and pad.

    Raises:
        DataError: A value is infinite, or one channel is observed twice at one time of one series.
    """
    infinite = np.argwhere(np.isinf(rows.values))
    if infinite.size:
        row, channel = (int(index) for index in infinite[0])
        raise DataError(
            f"an infinite value ({rows.values[row, channel]}) was found{_of_series(rows, row, series)} where a finite "
            "number or a hole is expected.",
            hint="Correct it, or leave the cell empty (NaN) if the value is not known.",
            source=origin.source,
            row=origin.number(row),
            column=channels[channel],
        )
    num_series, num_rows = len(series), len(rows.times)
    # Labels order rows more finely than floats, but never against them.
    order = np.lexsort((rows.times if rows.labels is None else rows.labels, rows.codes))
    codes = rows.codes[order]
    lengths = np.bincount(codes, minlength=num_series).astype(np.int64)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64)[:num_series]
    position = np.arange(num_rows) - starts[codes]
    _check_conflicts(rows, order, codes, series, channels, origin)

    longest = int(lengths.max()) if num_series else 0
    # Padding repeats the last row of its series; an empty series has none and gets zeros.
    take = starts[:, None] + np.minimum(np.arange(longest), np.maximum(lengths - 1, 0)[:, None])
    take = order[np.minimum(take, num_rows - 1)] if num_rows else take
    real = np.arange(longest) < lengths[:, None]
    filled = np.broadcast_to((lengths > 0)[:, None], take.shape)

    def spread(column: np.ndarray, keep: np.ndarray, blank: Any) -> np.ndarray:
        if not num_rows:
            return np.full((*take.shape, *column.shape[1:]), blank, dtype=column.dtype)
        return np.where(keep.reshape(*keep.shape, *(1,) * (column.ndim - 1)), column[take], blank).astype(column.dtype)

    earliest = None if rows.labels is None else (rows.labels.min() if num_rows else np.zeros(1, rows.labels.dtype)[0])
    placement = np.empty((num_rows, 2), dtype=np.int64)
    placement[order, 0], placement[order, 1] = codes, position
    return Padded(
        times=spread(rows.times, filled, 0.0),
        labels=None if rows.labels is None else spread(rows.labels, filled, earliest),
        values=spread(rows.values, real, np.nan),
        inputs=None if rows.inputs is None else spread(rows.inputs, filled, 0.0),
        marks=None if rows.marks is None else spread(rows.marks, real, 0),
        lengths=lengths,
        placement=placement,
    )


def _of_series(rows: Rows, row: int, series: Sequence[str]) -> str:
    return f" in series {series[int(rows.codes[row])]!r}" if len(series) > 1 else ""


def _check_conflicts(
    rows: Rows, order: np.ndarray, codes: np.ndarray, series: Sequence[str], channels: Sequence[str], origin: Origin
) -> None:
    times = rows.times[order]
    if len(times) < 2:
        return
    first = np.concatenate(([True], (codes[1:] != codes[:-1]) | (times[1:] != times[:-1])))
    if first.all():
        return
    groups = np.flatnonzero(first)
    seen = np.add.reduceat(~np.isnan(rows.values[order]), groups, axis=0, dtype=np.int64)
    twice = np.argwhere(seen > 1)
    if not twice.size:
        return
    group, channel = (int(index) for index in twice[0])
    end = groups[group + 1] if group + 1 < len(groups) else len(times)
    members = order[groups[group] : end]
    members = sorted(int(row) for row in members if not np.isnan(rows.values[row, channel]))
    numbers = ", ".join(str(origin.number(row)) for row in members[:5]) + (", ..." if len(members) > 5 else "")
    label = times[groups[group]] if rows.labels is None else rows.labels[members[0]]
    values = ", ".join(f"{rows.values[row, channel]:g}" for row in members[:5])
    of_series = _of_series(rows, members[0], series)
    if rows.labels is not None and len({rows.labels[row] for row in members}) > 1:
        first, second = (show_label(rows.labels[row]) for row in members[:2])
        raise DataError(
            f"the times {first} and {second} (rows {numbers}) are too close together to be told apart as floats.",
            hint="Give a `time_origin` near them, or join them into one observation.",
            source=origin.source,
            row=origin.number(members[1]),
            column=channels[channel],
        )
    advice = origin.hint() if origin.hint is not None else ""
    raise DataError(
        f"observed more than once at {origin.time} {show_label(label)}{of_series}: rows {numbers} hold {values}.",
        hint=advice or "Keep one of these values, or their mean; rows at one time must fill different channels.",
        source=origin.source,
        row=origin.number(members[1]),
        column=channels[channel],
    )
