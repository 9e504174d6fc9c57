"""Tables with one row per series and time."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dynplat.data.assemble import Origin
from dynplat.data.dates import COMPACT_DATE
from dynplat.data.moments import Moments, read_moments
from dynplat.data.numbers import is_missing, number_column, parse_numbers
from dynplat.data.roles import TIME_NAMES, Roles, find_roles
from dynplat.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from dynplat.data.trajectories import Trajectories

_INTEGER = re.compile(r"\s*[+-]?(0|[1-9]\d*)\s*$", re.ASCII)
MARKS_NAME = "marks"


class Long(NamedTuple):
    """A table as trajectories.

    Attributes:
        data: The trajectories.
        placement: (series index, time index) of each row of the table; -1 where the row has no place.
        notes: (row as the source counts it, why it has no place).
        roles: The part that each column plays.
    """

    data: Trajectories
    placement: np.ndarray
    notes: list[tuple[int, str]]
    roles: Roles


def from_long(
    frame: pd.DataFrame,
    *,
    time: str | None,
    id: str | None = None,
    columns: str | Sequence[str] | None = None,
    inputs: str | Sequence[str] = (),
    static: str | Sequence[str] = (),
    units: Mapping[str, str] | None = None,
    source: object = None,
    marks: str | None = None,
    time_unit: str = "",
    time_origin: Any = None,
    time_zone: str = "",
    date_format: str | None = None,
    decimal: str = ".",
    missing: Collection[float] = (),
    unnamed: Collection[str] = (),
    origin: Origin | None = None,
    skip_unplaced: bool = False,
    series: Sequence[str] | None = None,
    strip: bool = False,
) -> Long:
    """Build trajectories from a table; `Trajectories.from_long` says what the arguments are.

    Args beyond those:
        time_zone: Zone in which tables show the dates, where the column itself carries none.
        decimal: Decimal mark of numbers written as text.
        missing: Numbers that stand for a missing value in a channel.
        unnamed: Columns that carry no name in the source, never channels unless asked for.
        origin: How to name the source and count its rows in messages.
        skip_unplaced: Note rows without a time or an id instead of refusing them.
        series: Names of all series in their order, where it is known; by default as they come.
        strip: Whether blanks around an id are not part of it (in text tables).
    """
    from dynplat.data.trajectories import Trajectories

    origin = origin or Origin(source)
    roles = find_roles(frame, origin, time=time, id=id, columns=columns, inputs=inputs, static=static, marks=marks,
                       decimal=decimal, unnamed=unnamed)  # fmt: skip
    origin = origin._replace(time=roles.time, id=roles.id or "", hint=lambda: _conflict_hint(frame, roles))
    values = np.column_stack([number_column(frame[name], name, origin, decimal) for name in roles.columns])
    values[np.isin(values, list(missing))] = np.nan
    moments = read_time_column(frame[roles.time], roles.time, origin, date_format, decimal)
    keep, notes = _placed_rows(frame, roles, moments, values, origin, skip_unplaced, strip)
    names, codes = _series_of(frame, roles, keep, series, strip)
    kept = np.flatnonzero(keep)
    inner = origin._replace(number=lambda row: origin.number(int(kept[row])))
    data, places = Trajectories._from_rows(
        codes,
        moments._replace(array=moments.array[keep]),
        values[keep],
        series=names,
        inputs=_block(frame, roles.inputs, keep, origin, decimal),
        marks=_read_marks(frame, roles.marks, keep, origin, decimal),
        static={name: _static_column(frame, name, codes, names, kept, inner, decimal) for name in roles.static},
        channels=[str(name) for name in roles.columns],
        input_names=[str(name) for name in roles.inputs],
        units=units,
        time_unit=time_unit,
        time_origin=time_origin,
        time_zone=time_zone,
        time_name=str(roles.time),
        series_name="" if roles.id is None else str(roles.id),
        origin=inner,
    )
    placement = np.full((len(frame), 2), -1, dtype=np.int64)
    placement[kept] = places
    return Long(data, placement, notes, roles)


def read_time_column(
    column: Any, name: str, origin: Origin, date_format: str | None = None, decimal: str = "."
) -> Moments:
    """Read the column of times: numbers, dates, or texts of either; missing cells are NaN or NaT.

    Raises:
        DataError: A text is no date, or can be read in more than one way.
    """
    kind = getattr(column.dtype, "kind", "O")
    try:
        if kind in "OUT" and not hasattr(column.dtype, "tz") and not hasattr(column.dtype, "freq"):
            cells = ["" if is_missing(cell) else cell for cell in column.to_numpy()]
            if all(isinstance(cell, str) for cell in cells):
                return _read_time_texts(cells, date_format, decimal)
            column = np.array([None if cell == "" else cell for cell in cells], dtype=object)
        return read_moments(column, date_format=date_format)
    except DataError as error:
        raise DataError(
            error.problem,
            hint=error.hint,
            source=origin.source,
            row=None if error.row is None else origin.number(error.row),
            column=name,
        ) from None


def _read_time_texts(cells: list[str], date_format: str | None, decimal: str) -> Moments:
    if date_format in (None, "number"):
        numbers = parse_numbers(cells, decimal)
        known = [cell.strip() for cell in cells if cell]
        if not numbers.bad and date_format is None and known and all(COMPACT_DATE.match(cell) for cell in known):
            raise DataError(
                f"{known[0]!r} can be read as a date or as a number.",
                hint="Say which: date_format='%Y%m%d', or date_format='number'.",
                row=next(index for index, cell in enumerate(cells) if cell),
            )
        if not numbers.bad:
            return Moments(numbers.values)
        if date_format == "number":
            raise DataError(f"{cells[numbers.bad[0]]!r} is not a number.", row=numbers.bad[0])
        if 2 * len(numbers.bad) < len(known):
            raise DataError(
                f"{cells[numbers.bad[0]]!r} is not a number, as most times of this column are.",
                hint="Correct it, or leave the cell empty.",
                row=numbers.bad[0],
            )
    return read_moments(np.array(cells, dtype=object), date_format=date_format)


def _placed_rows(
    frame: pd.DataFrame, roles: Roles, moments: Moments, values: np.ndarray, origin: Origin, skip: bool, strip: bool
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    timeless = np.isnat(moments.array) if moments.is_datetime else np.isnan(moments.array)
    nameless = np.zeros(len(frame), dtype=bool)
    if roles.id is not None:
        # NA is a country; only an empty cell is no id.
        cells = frame[roles.id].to_numpy()
        nameless = np.array(
            [_is_blank(cell, strip) if isinstance(cell, str) else is_missing(cell) for cell in cells], bool
        )
    notes: list[tuple[int, str]] = []
    for row in np.flatnonzero(timeless | nameless):
        name = roles.time if timeless[row] else roles.id
        # A row without a time and without a value says nothing (spreadsheets leave such rows at the end).
        if not skip and not np.isnan(values[row]).all():
            raise DataError(
                "the cell is empty, and the row holds values that therefore have no place.",
                hint="Fill the cell, or delete the row.",
                source=origin.source,
                row=origin.number(int(row)),
                column=name,
            )
        notes.append((origin.number(int(row)), f"its {'time' if timeless[row] else 'id'} ({name!r}) is empty"))
    return ~(timeless | nameless), notes


def _is_blank(cell: str, strip: bool) -> bool:
    return not (cell.strip() if strip else cell)


def _series_of(
    frame: pd.DataFrame, roles: Roles, keep: np.ndarray, series: Sequence[str] | None, strip: bool
) -> tuple[list[str], np.ndarray]:
    if roles.id is None:
        names = list(series) if series else ["0"]
        return names, np.zeros(int(keep.sum()), dtype=np.int64)
    cells = frame[roles.id].to_numpy()[keep]
    ids = [(cell.strip() if strip else cell) if isinstance(cell, str) else _id_text(cell) for cell in cells]
    index = {name: place for place, name in enumerate(dict.fromkeys([*(series or ()), *ids]))}
    return list(index), np.array([index[name] for name in ids], dtype=np.int64)


def _id_text(cell: Any) -> str:
    # Numbers of a column that once had a hole are floats: 7.0 is the id 7.
    return str(int(cell)) if isinstance(cell, float | np.floating) and cell == int(cell) else str(cell)


def _block(
    frame: pd.DataFrame, names: Sequence[str], keep: np.ndarray, origin: Origin, decimal: str
) -> np.ndarray | None:
    if not names:
        return None
    return np.column_stack([number_column(frame[name], name, origin, decimal)[keep] for name in names])


def _read_marks(
    frame: pd.DataFrame, name: str | None, keep: np.ndarray, origin: Origin, decimal: str
) -> np.ndarray | None:
    if name is None:
        return None
    codes = number_column(frame[name], name, origin, decimal)
    bad = np.flatnonzero(keep & ~(np.isfinite(codes) & (codes == np.round(codes))))
    if bad.size:
        raise DataError(
            f"a mark must be a whole number at every row; got {codes[bad[0]]}.",
            hint="Correct the cell.",
            source=origin.source,
            row=origin.number(int(bad[0])),
            column=name,
        )
    return codes[keep].astype(np.int64)


def _static_column(
    frame: pd.DataFrame,
    name: str,
    codes: np.ndarray,
    names: Sequence[str],
    kept: np.ndarray,
    origin: Origin,
    decimal: str,
) -> np.ndarray:
    cells = frame[name].to_numpy()[kept]
    missing = np.array([is_missing(cell) for cell in cells], dtype=bool)
    found: list[Any] = [None] * len(names)
    first: dict[int, int] = {}
    for row in np.flatnonzero(~missing):
        code = int(codes[row])
        if code not in first:
            first[code], found[code] = int(row), cells[row]
        elif cells[row] != found[code]:
            raise DataError(
                f"a static covariate must be constant within a series; series {names[code]!r} has {found[code]!r} in "
                f"row {origin.number(first[code])} and {cells[row]!r} here.",
                hint="Make it a channel or an input, or correct the cell.",
                source=origin.source,
                row=origin.number(int(row)),
                column=name,
            )
    return _static_array(found, decimal)


def _static_array(found: list[Any], decimal: str) -> np.ndarray:
    known = [cell for cell in found if cell is not None]
    if known and all(isinstance(cell, str) for cell in known):
        # Codes such as 007 are names; whole numbers stay whole.
        numbers = parse_numbers([cell or "" for cell in found], decimal)
        if numbers.bad or any(re.match(r"\s*[+-]?0\d", cell) for cell in known):
            return np.array(["" if cell is None else cell for cell in found], dtype=str)
        whole = len(known) == len(found) and all(_INTEGER.match(cell) for cell in known)
        return numbers.values.astype(np.int64) if whole else numbers.values
    if len(known) == len(found):
        return np.array(found)
    return np.array([np.nan if cell is None else float(cell) for cell in found])


def _conflict_hint(frame: pd.DataFrame, roles: Roles) -> str:
    others = [repr(str(name)) for name in frame.columns if str(name).lower() in TIME_NAMES and name != roles.time]
    if others:
        return f"If the time of day stands in {others[0]}, join it with {roles.time!r} into one column first."
    if roles.id is not None:
        return ""
    telling = []
    for name in frame.columns:
        is_code = getattr(frame[name].dtype, "kind", "O") in "iuOUT"
        num_codes = len(set(frame[name].to_numpy()))
        if name == roles.time or not is_code or not 2 <= num_codes <= len(frame) / 2:
            continue
        if not bool(frame.duplicated([roles.time, name]).to_numpy().any()):
            telling.append(name)
    if not telling:
        return ""
    named = " or ".join(f"id={str(name)!r}" for name in telling[:3])
    return f"If the rows belong to several series, name the column that tells them apart: {named}."


def to_long(data: Trajectories, *, time: str | None = None, id: str | None = None) -> pd.DataFrame:
    """Write trajectories as a table; `Trajectories.to_long` says how."""
    import pandas as pd

    rows = data.rows
    time = data.time_name if time is None else time
    columns: list[tuple[str, Any]] = []
    id = id or data.series_name or ("series" if data.num_series != 1 else "")
    if id:
        columns.append((id, np.repeat(np.array(data.series, dtype=object), data.lengths)))
    columns.append((time, shown_labels(data.labels[rows], data.time_zone)))
    values = np.where(data.mask, data.values, np.nan)[rows]
    columns += [(name, values[:, index]) for index, name in enumerate(data.channels)]
    if data.inputs is not None:
        columns += [(name, data.inputs[rows][:, index]) for index, name in enumerate(data.input_names)]
    if data.marks is not None:
        columns.append((MARKS_NAME, data.marks[rows]))
    columns += [(name, np.repeat(array, data.lengths)) for name, array in data.static.items()]
    names = [name for name, _ in columns]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(
            "two columns of the table would carry this name.",
            hint="Give the time or the ids another name with to_long(time=..., id=...), or rename the channel, input "
            "or static covariate.",
            column=twice[0],
        )
    return pd.DataFrame(dict(columns))


def shown_labels(labels: np.ndarray, zone: str) -> Any:
    """Return labels as a table shows them: in their time zone, where they have one."""
    if not zone:
        return labels
    import pandas as pd

    return pd.DatetimeIndex(labels).tz_localize("UTC").tz_convert(zone)
