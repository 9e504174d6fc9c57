"""A user's own table: read as trajectories, filled, and given back row by row as it came."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.data.assemble import Origin
from dynplat.data.date_style import write_dates_like
from dynplat.data.delimited import Dialect, format_column, format_number, write_text_table
from dynplat.data.files import as_cells, check_observed, from_store, table_to_long
from dynplat.data.numbers import number_column
from dynplat.data.sources import OpenTable, check_options, format_of, open_table
from dynplat.errors import ArgumentError, DataError

if TYPE_CHECKING:
    import pandas as pd

    from dynplat.data.trajectories import Trajectories


@dataclass(frozen=True, eq=False)
class Table:
    """A table and the trajectories in it.

    Args:
        frame: The rows and columns in their order; the cells of a text table are the text as written.
        trajectories: What was observed.
        row: (series index, time index) of each row of the table, (row, 2); -1 where a row has no place.
        notes: (row as the source counts it, why the row has no place and cannot be filled).
        columns: Columns of `frame` that are the channels, in the channels' order.
        time: Column of times.
        id: Column that tells series apart, or None.
        source: Where the table came from.
    """

    frame: pd.DataFrame
    trajectories: Trajectories
    row: np.ndarray
    notes: list[tuple[int, str]]
    columns: tuple[str, ...]
    time: str
    id: str | None
    source: object
    _dialect: Dialect | None = field(default=None, repr=False)
    _arrow: Any = field(default=None, repr=False)

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.frame)

    def dialect_for(self, path: str | os.PathLike[str]) -> Dialect:
        """How a text table at `path` is written so that it looks like this one: delimiter, decimal mark, encoding."""
        return _for_suffix(self._dialect or Dialect(), os.path.basename(path).lower())

    def further_times(self, labels: np.ndarray, *, as_text: bool) -> Any:
        """Return labels of times that are no rows as a column that continues the table's own.

        Args:
            labels: Numbers, or datetime64, in UTC where the data have a time zone.
            as_text: Whether dates are to be texts: in the style of the table's where its cells are text in one style,
                otherwise in ISO 8601. Numbers stay numbers, with no more decimals than they need.
        """
        import pandas as pd

        data = self.trajectories
        if not data.is_datetime:
            return _shortest_numbers(data.times[data.rows], np.asarray(labels, dtype=np.float64))
        if as_text and self._dialect is not None:
            placed = self.row[:, 0] >= 0
            own = data.labels[self.row[placed, 0], self.row[placed, 1]]
            written = write_dates_like([str(cell) for cell in self.frame[self.time][placed]], own, np.asarray(labels))
            if written is not None:
                return written
        dates = pd.DatetimeIndex(labels)
        dates = dates.tz_localize("UTC").tz_convert(data.time_zone) if data.time_zone else dates
        return as_cells(pd.Series(dates)) if as_text else dates

    def further_ids(self, series: np.ndarray) -> np.ndarray:
        """Return names of series as the column `id` holds them: of its own type where the cells are no text."""
        if self._dialect is not None or self.id is None:
            return series
        placed = np.flatnonzero(self.row[:, 0] >= 0)
        index, first = np.unique(self.row[placed, 0], return_index=True)
        cells = self.frame[self.id].iloc[placed[first]]
        own = {self.trajectories.series[i]: cell for i, cell in zip(index, cells, strict=True)}
        return np.array([own[str(name)] for name in series], dtype=object)

    @property
    def holes(self) -> np.ndarray:
        """True for cells of the channels that are empty and whose row has a place, (row, channel)."""
        return (self.row[:, :1] >= 0) & ~self.spread(self.trajectories.mask, blank=True)

    def spread(self, array: Any, blank: Any = np.nan) -> np.ndarray:
        """Bring an array over (series, time, ...) to the rows of the table, (row, ...).

        Args:
            array: One entry per series and time of `trajectories`.
            blank: What rows without a place get.
        """
        array = np.asarray(array)
        expected = self.trajectories.times.shape
        if array.shape[:2] != expected:
            raise ArgumentError(f"`array` must begin with the dimensions {expected} (series, time); got {array.shape}.")
        placed = self.row[:, 0] >= 0
        found = np.full((self.num_rows, *array.shape[2:]), blank, dtype=np.result_type(array.dtype, type(blank)))
        found[placed] = array[self.row[placed, 0], self.row[placed, 1]]
        return found

    def filled(self, values: Any, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the table with its holes filled; every other cell is as it was, the text of a text table included.

        Args:
            values: Numbers over (series, time, channel) of `trajectories`; where they are NaN a hole stays.
            columns: Columns to fill; by default all channels.

        Raises:
            ArgumentError: The shape does not fit, or a column is no channel.
        """
        frame = self.frame.copy()
        for name, (take, numbers) in self._fills(values, columns).items():
            fill = self._text_cells if self._dialect is not None else self._typed_cells
            frame[name] = fill(name, take, numbers)
        return frame

    def _fills(self, values: Any, columns: Sequence[str] | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """For each column with something to fill: which rows, and the numbers of these rows."""
        values = np.asarray(values, dtype=np.float64)
        expected = self.trajectories.values.shape
        if values.shape != expected:
            raise ArgumentError(f"`values` must have the shape {expected} of the trajectories; got {values.shape}.")
        numbers, holes = self.spread(values), self.holes
        fills = {}
        for name in self.columns if columns is None else columns:
            if name not in self.columns:
                raise ArgumentError(f"`columns` names {name!r}; the channels are {', '.join(self.columns)}.")
            index = self.columns.index(name)
            take = holes[:, index] & ~np.isnan(numbers[:, index])
            if take.any():
                fills[name] = (take, numbers[take, index])
        return fills

    def _text_cells(self, name: str, take: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        assert self._dialect is not None
        cells = self.frame[name].to_numpy(dtype=object, copy=True)
        cells[take] = [format_number(number, self._dialect.decimal) for number in numbers]
        return cells

    def _typed_cells(self, name: str, take: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        decimal = self._dialect.decimal if self._dialect is not None else "."
        cells = np.array(number_column(self.frame[name], name, Origin(self.source), decimal))
        cells[take] = numbers
        return cells

    def write(
        self,
        path: str | os.PathLike[str],
        extra_columns: Mapping[str, Any] | None = None,
        *,
        values: Any = None,
        columns: Sequence[str] | None = None,
    ) -> None:
        """Write the table with all its rows and columns in their order, its holes filled and columns added at the end.

        A text table goes back to text with the delimiter, line ends, encoding and decimal mark that it came with.
        An existing target is replaced whole or left as it was.

        Args:
            path: `.csv`, `.tsv`, `.csv.gz` or `.parquet`.
            extra_columns: Name -> one entry per row of the table, or per (series, time) of the trajectories.
            values: Numbers with which holes are filled, as in `filled`; without them holes stay.
            columns: Columns to fill; by default all channels.

        Raises:
            ArgumentError: An array does not fit, or a column of this name is there already.
            DataError: The suffix is not one of a table.
            StorageError: The file could not be written; nothing partial is left.
        """
        form = format_of(path)
        if form not in ("text", "parquet"):
            raise DataError("a table is written as text or Parquet.", hint="Use .csv or .parquet.", source=path)
        extra = {name: self._extra(name, array) for name, array in (extra_columns or {}).items()}
        fills = {} if values is None else self._fills(values, columns)
        if form == "text":
            self._write_text(path, fills, extra)
        else:
            self._write_parquet(path, fills, extra)

    def _extra(self, name: str, array: Any) -> np.ndarray:
        if name in self.frame.columns:
            raise ArgumentError(
                f"the table has a column {name!r} already, and it would be added. Rename it in {self.source}, or leave "
                "it out."
            )
        array = np.asarray(array)
        if array.shape == self.trajectories.times.shape and array.ndim == 2:
            return self.spread(array, blank=False if array.dtype == bool else np.nan)
        if array.shape != (self.num_rows,):
            raise ArgumentError(
                f"`extra_columns[{name!r}]` must have one entry per row ({self.num_rows}) or the shape "
                f"{self.trajectories.times.shape} (series, time); got {array.shape}."
            )
        return array

    def _write_text(self, path: Any, fills: dict[str, Any], extra: dict[str, np.ndarray]) -> None:
        dialect = self.dialect_for(path)
        cells: dict[str, Sequence[str]] = {}
        for name in self.frame.columns:
            if self._dialect is not None:
                cells[name] = list(self._text_cells(name, *fills[name]) if name in fills else self.frame[name])
            elif name in fills:
                cells[str(name)] = format_column(self._typed_cells(name, *fills[name]))
            else:
                cells[str(name)] = as_cells(self.frame[name])
        cells |= {name: format_column(array, dialect.decimal) for name, array in extra.items()}
        write_text_table(path, cells, dialect)

    def _write_parquet(self, path: Any, fills: dict[str, Any], extra: dict[str, np.ndarray]) -> None:
        import pyarrow as pa

        from dynplat.data.parquet import write_arrow

        columns: dict[str, Any] = {}
        for name in self.frame.columns:
            if name in fills:
                columns[str(name)] = pa.array(self._typed_cells(name, *fills[name]), from_pandas=True)
            elif self._arrow is not None:
                columns[name] = self._arrow.column(name)
            elif self._dialect is None:
                columns[str(name)] = pa.array(self.frame[name], from_pandas=True)
            elif name in self.columns:
                nothing = np.zeros(self.num_rows, dtype=bool)
                columns[name] = pa.array(self._typed_cells(name, nothing, np.zeros(0)), from_pandas=True)
            else:
                columns[name] = pa.array(list(self.frame[name]), type=pa.string())
        columns |= {name: pa.array(array, from_pandas=True) for name, array in extra.items()}
        # The notes of the source about its columns (dynplat's, pandas') are left behind: they may no longer hold.
        write_arrow(pa.table(columns), path)


def _shortest_numbers(own: np.ndarray, further: np.ndarray) -> np.ndarray:
    """Whole numbers as integers where all are whole; otherwise without the digits that only adding up steps made."""
    both = np.concatenate([own, further])
    if (both == np.round(both)).all() and (np.abs(both) < 2**53).all():
        return further.astype(np.int64)
    for decimals in range(16):
        rounded = np.round(further, decimals)
        if np.allclose(rounded, further, rtol=1e-12, atol=0.0):
            return rounded
    return further


def _for_suffix(dialect: Dialect, name: str) -> Dialect:
    """The suffix says how cells are separated where it says so; decimal commas need another separator than commas."""
    delimiter = dialect.delimiter
    if ".tsv" in name:
        delimiter = "\t"
    elif delimiter == "\t":
        delimiter = "," if dialect.decimal == "." else ";"
    return replace(dialect, delimiter=delimiter)


def read_table(
    source: str | os.PathLike[str] | pd.DataFrame | Trajectories,
    *,
    time: str | None = None,
    id: str | None = None,
    columns: Sequence[str] | None = None,
    inputs: Sequence[str] = (),
    static: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
    date_format: str | None = None,
    delimiter: str | None = None,
    decimal: str | None = None,
    encoding: str = "utf-8",
    missing: Sequence[float] = (),
) -> Table:
    """Read a table so that it can be filled and given back.

    What is read, and how, is as in `dynplat.read`, with one difference: a row whose time or id is empty is noted, and
    given back unfilled, where `read` refuses it.

    Args:
        source: A file; a DataFrame; or trajectories, whose long table is then the table.
        time: Column of times; found by its name or by being the only dates.
        id: Column that tells series apart; without it all rows are one series.
        columns: Columns that become channels; by default all numbers that have no other part.
        inputs: Columns of known inputs.
        static: Columns that are constant within each series.
        units: Channel -> unit.
        date_format: A `strptime` format for dates that can be read in more than one way; `number` for numbers.
        delimiter: Character between the cells of a text table; found.
        decimal: Decimal mark, `.` or `,`; found.
        encoding: Encoding of a text table.
        missing: Numbers that stand for a missing value in a channel, such as `(-999,)`.

    Raises:
        DataError: The table cannot be understood, or nothing in it is observed.
    """
    from dynplat.data.trajectories import Trajectories

    if isinstance(source, Trajectories):
        return _from_trajectories(source, columns, "trajectories")
    if isinstance(source, str | os.PathLike):
        form = format_of(source)
        if form in ("netcdf", "zarr"):
            options = {"date_format": date_format, "delimiter": delimiter, "decimal": decimal}
            check_options(source, form, encoding=encoding, missing=missing or None, **options)
            found = from_store(source, form, time=time, id=id, columns=columns)
            if not isinstance(found, Trajectories):
                raise DataError("the file holds snapshots, which have no rows to fill.", source=source)
            check_observed(found, source)
            return _from_trajectories(found, None, source)
        opened = open_table(source, delimiter=delimiter, decimal=decimal, encoding=encoding)
    else:
        opened = OpenTable(source, Origin("table"))
    parts: dict[str, Any] = {"units": units, "date_format": date_format, "missing": missing}
    if opened.meta is not None and opened.meta["kind"] == "trajectories":
        parts |= _parts_of(opened.meta, time, id, columns, inputs, static)
    parts = {"time": time, "id": id, "columns": columns, "inputs": inputs, "static": static} | parts
    long = table_to_long(opened, skip_unplaced=True, **parts)
    check_observed(long.data, source if isinstance(source, str | os.PathLike) else "table")
    return Table(
        opened.frame,
        long.data,
        long.placement,
        long.notes,
        long.roles.columns,
        long.roles.time,
        long.roles.id,
        source if isinstance(source, str | os.PathLike) else "table",
        opened.dialect,
        opened.arrow,
    )


def _parts_of(
    meta: dict[str, Any],
    time: str | None,
    id: str | None,
    columns: Sequence[str] | None,
    inputs: Sequence[str],
    static: Sequence[str],
) -> dict[str, Any]:
    """What a Parquet file says of its columns, where the caller does not."""
    chosen = meta["columns"] if columns is None else list(columns)
    return {
        "time": time or meta["time"],
        "id": id or meta["id"],
        "columns": chosen,
        "inputs": inputs or meta["inputs"],
        "static": static or tuple(meta["static"]),
        "units": {name: unit for name, unit in meta["units"].items() if name in chosen},
        "time_unit": meta["time_unit"],
        "time_origin": meta["time_origin"] or None,
        "time_zone": meta["time_zone"],
    }


def _from_trajectories(data: Trajectories, columns: Sequence[str] | None, source: object) -> Table:
    frame = data.to_long()
    chosen = data if columns is None else data.select(channels=columns)
    series, time = np.nonzero(data.rows)
    return Table(
        frame=frame,
        trajectories=chosen,
        row=np.stack([series, time], axis=1),
        notes=[],
        columns=chosen.channels,
        time=data.time_name,
        id=data.series_name or ("series" if data.num_series != 1 else None),
        source=source,
    )
