"""Reading and writing data by a path's suffix."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.data.clock import shortest_unit
from dynplat.data.delimited import Dialect, format_column, write_text_table
from dynplat.data.long import Long, from_long
from dynplat.data.sources import OpenTable, check_options, check_readable, format_of, open_table
from dynplat.errors import ArgumentError, DataError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from dynplat.data.snapshots import Snapshots
    from dynplat.data.trajectories import Trajectories


def read(
    path: str | os.PathLike[str],
    *,
    time: str | None = None,
    id: str | None = None,
    columns: Sequence[str] | None = None,
    inputs: Sequence[str] = (),
    static: Sequence[str] = (),
    marks: str | None = None,
    units: Mapping[str, str] | None = None,
    time_unit: str = "",
    time_origin: Any = None,
    date_format: str | None = None,
    delimiter: str | None = None,
    decimal: str | None = None,
    encoding: str = "utf-8",
    missing: Sequence[float] = (),
    kind: str | None = None,
) -> Trajectories | Snapshots:
    """Read a file: CSV (`.csv`, `.tsv`, `.csv.gz`), Parquet, NetCDF (`.nc`) or Zarr (`.zarr`).

    A file that `write` made comes back as it was; of CSV this holds for what a table of text can say (see `write`),
    when the parts of its columns are named again. Any other table has one row per series and time.

    Missing are empty cells and, in any case of letters, NA, NaN, null, None, N/A, `-` and `?`. Any other text in a
    column of numbers is an error. Without `columns`, a column whose cells are mostly numbers is a channel.

    Dates are read if they have one meaning: ISO 8601, or with the month's name. `10/03/2004` is read only where some
    row shows which of day and month stands first (and the other order cannot read every row); otherwise `date_format`
    is asked for. An offset from UTC is kept as the time zone.

    Args:
        path: The file.
        time: Column of times (dimension, in NetCDF and Zarr); found by its name or by being the only dates.
        id: Column that tells series apart; without it all rows are one series.
        columns: Columns that become channels; by default all numbers that have no other part.
        inputs: Columns of known inputs.
        static: Columns that are constant within each series.
        marks: Column of integer codes.
        units: Channel -> unit.
        time_unit: Unit of times; for dates one of W, D, h, min, s, ms, us, ns (default D).
        time_origin: Date of time 0; by default, for dates, the midnight before the first.
        date_format: A `strptime` format for dates that can be read in more than one way; `number` for times such as
            20040310 that are numbers.
        delimiter: Character between the cells of a text table; found among comma, semicolon, tab and bar.
        decimal: Decimal mark, `.` or `,`; found.
        encoding: Encoding of a text table.
        missing: Numbers that stand for a missing value in a channel, such as `(-999,)`.
        kind: `snapshots` to read a table of particles (one row per particle); by default trajectories.

    Raises:
        DataError: With file, row (as an editor counts lines, the header being line 1; from 0 in Parquet) and column.
    """
    if kind not in (None, "trajectories", "snapshots"):
        raise ArgumentError(f"`kind` must be 'trajectories' or 'snapshots'; got {kind!r}.")
    form = format_of(path)
    found: Trajectories | Snapshots
    if form in ("netcdf", "zarr"):
        options = {"date_format": date_format, "delimiter": delimiter, "decimal": decimal}
        check_options(path, form, encoding=encoding, missing=missing or None, **options)
        found = from_store(path, form, time=time, id=id, columns=columns)
    else:
        opened = open_table(path, delimiter=delimiter, decimal=decimal, encoding=encoding)
        given = (time, id, columns, marks, units, time_origin, date_format)
        options = {"units": units, "time_unit": time_unit, "time_origin": time_origin, "date_format": date_format}
        if (
            opened.meta is not None
            and all(arg is None for arg in given)
            and not (inputs or static or time_unit or missing)
        ):
            from dynplat.data.parquet import from_parquet

            found = from_parquet(opened)
        elif kind == "snapshots":
            from dynplat.data.snapshots import snapshots_from_long

            if missing:
                raise ArgumentError("`missing` is for trajectories: a particle has all its values. Leave its rows out.")
            found = snapshots_from_long(
                opened.frame,
                time=time,
                columns=columns,
                decimal=opened.decimal,
                unnamed=opened.unnamed,
                origin=opened.origin,
                **options,
            )
        else:
            found = table_to_long(
                opened,
                time=time,
                id=id,
                columns=columns,
                inputs=inputs,
                static=static,
                marks=marks,
                missing=missing,
                **options,
            ).data
    came = "snapshots" if hasattr(found, "populations") else "trajectories"
    if kind is not None and kind != came:
        raise DataError(f"the file holds {came}, and `kind` asks for {kind}.", source=path)
    check_observed(found, path)
    return found


def table_to_long(opened: OpenTable, *, skip_unplaced: bool = False, **parts: Any) -> Long:
    """Turn an open table into trajectories; `parts` are those of `dynplat.data.long.from_long`."""
    return from_long(
        opened.frame,
        decimal=opened.decimal,
        unnamed=opened.unnamed,
        origin=opened.origin,
        skip_unplaced=skip_unplaced,
        strip=opened.dialect is not None,
        **parts,
    )


def from_store(
    path: str | os.PathLike[str], form: str, *, time: str | None, id: str | None, columns: Sequence[str] | None
) -> Trajectories | Snapshots:
    """Read a NetCDF file or a Zarr store."""
    from dynplat.data.snapshots import Snapshots
    from dynplat.data.stores import read_netcdf, read_zarr
    from dynplat.data.trajectories import Trajectories

    found = check_readable(path, form)
    dataset: xr.Dataset = read_zarr(found) if form == "zarr" else read_netcdf(found)
    if dataset.attrs.get("dynplat_kind") == "snapshots":
        return Snapshots.from_xarray(dataset, source=path)
    return Trajectories.from_xarray(dataset, time=time or "time", id=id, columns=columns, source=path)


def check_observed(data: Trajectories | Snapshots, source: object) -> None:
    """Refuse data in which nothing was observed."""
    from dynplat.data.trajectories import Trajectories

    if isinstance(data, Trajectories):
        if not data.mask.any():
            named = ", ".join(repr(name) for name in data.channels[:10])
            raise DataError(
                f"nothing is observed: every cell of {named} is empty in all {int(data.lengths.sum())} rows.",
                hint="Check the columns, or fill in some values.",
                source=source,
                column=data.channels[0] if len(data.channels) == 1 else None,
            )
    elif data.counts.sum() == 0:
        raise DataError("nothing is observed: there is no particle.", source=source)


def write(data: Trajectories | Snapshots, path: str | os.PathLike[str]) -> None:
    """Write data to CSV (`.csv`, `.tsv`, `.csv.gz`), Parquet, NetCDF (`.nc`) or Zarr (`.zarr`).

    An existing target is replaced whole or left as it was. NetCDF, Zarr and Parquet keep everything. CSV is the long
    table: it cannot say units, the time's unit and origin, the name of the time zone (the offset stays), which column
    is an input, a mark or static and of which type (name them again when reading), or series and populations without a
    row; blanks around names are not part of them.

    Args:
        data: What to write.
        path: Where; the suffix says how.

    Raises:
        DataError: The suffix is not known.
        StorageError: The file could not be written; nothing partial is left.
    """
    form = format_of(path)
    if form == "parquet":
        from dynplat.data.parquet import write_parquet

        write_parquet(data, path)
    elif form == "netcdf":
        from dynplat.data.stores import write_netcdf

        write_netcdf(data, path)
    elif form == "zarr":
        from dynplat.data.stores import write_zarr

        write_zarr(data, path)
    else:
        dialect = Dialect(delimiter="\t" if ".tsv" in os.path.basename(path).lower() else ",")
        frame = data.to_long()
        write_text_table(path, {str(name): as_cells(frame[name]) for name in frame.columns}, dialect)


def as_cells(column: pd.Series | Any, decimal: str = ".") -> list[str]:
    """Write a typed column as cells of text; dates in ISO 8601, as short as they all allow."""
    if hasattr(column.dtype, "tz"):
        return ["" if moment is None or moment != moment else moment.isoformat() for moment in column]
    array = column.to_numpy()
    if array.dtype.kind == "M":
        return ["" if text == "NaT" else text for text in np.datetime_as_string(array, unit=shortest_unit(array))]
    return format_column(array, decimal)
