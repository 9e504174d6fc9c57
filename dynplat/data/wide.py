"""Tables of one channel with one row per time and one column per series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.data.assemble import Origin
from dynplat.data.long import read_time_column, shown_labels
from dynplat.data.numbers import number_column
from dynplat.data.roles import as_names, check_columns, check_there
from dynplat.errors import ArgumentError, DataError

if TYPE_CHECKING:
    import pandas as pd

    from dynplat.data.trajectories import Trajectories


def from_wide(
    frame: pd.DataFrame,
    *,
    time: str | None,
    columns: str | Sequence[str] | None,
    channel: str,
    unit: str,
    source: object,
    time_unit: str,
    time_origin: Any,
    date_format: str | None,
) -> Trajectories:
    """Build trajectories from a wide table; `Trajectories.from_wide` says what the arguments are."""
    from dynplat.data.trajectories import Trajectories

    origin = Origin(source)
    check_columns(frame, source)
    check_there(as_names(time), "time", frame, source)
    check_there(as_names(columns), "columns", frame, source)
    names = [name for name in (frame.columns if columns is None else as_names(columns)) if name != time]
    if not names:
        raise DataError("no column is left that could be a series.", hint="Name them with `columns`.", source=source)
    column = frame.index.to_series() if time is None else frame[time]
    time_name = str(time if time is not None else frame.index.name or "time")
    moments = read_time_column(column, time_name, origin, date_format)
    values = np.concatenate([number_column(frame[name], name, origin) for name in names])
    num_rows = len(frame)
    data, _ = Trajectories._from_rows(
        np.repeat(np.arange(len(names)), num_rows),
        moments._replace(array=np.tile(moments.array, len(names))),
        values[:, None],
        series=[str(name) for name in names],
        channels=[channel],
        units={channel: unit} if unit else None,
        time_unit=time_unit,
        time_origin=time_origin,
        time_name=time_name,
        series_name=str(frame.columns.name or "series"),
        origin=origin._replace(number=lambda row: row % num_rows, time=time_name, id="columns"),
    )
    return data


def to_wide(data: Trajectories, channel: str | None) -> pd.DataFrame:
    """Write one channel as a wide table; `Trajectories.to_wide` says how."""
    import pandas as pd

    if channel is None and len(data.channels) != 1:
        raise ArgumentError(f"`channel` must be one of {data.channels}: a wide table holds one channel.")
    data = data.select(channels=channel)
    times, first, place = np.unique(data.times[data.rows], return_index=True, return_inverse=True)
    labels = data.labels[data.rows][first]
    table = np.full((len(times), data.num_series), np.nan)
    codes = np.repeat(np.arange(data.num_series), data.lengths)
    values, seen = data.values[data.rows][:, 0], data.mask[data.rows][:, 0]
    table[place[seen], codes[seen]] = values[seen]
    index = pd.Index(shown_labels(labels, data.time_zone), name=data.time_name)
    names = pd.Index(data.series, name=data.series_name or "series")
    return pd.DataFrame(table, index=index, columns=names)
