"""Which column of a table plays which part: time, id, channels, inputs, static covariates, marks."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dynplat.data.assemble import Origin
from dynplat.data.dates import looks_like_date
from dynplat.data.numbers import is_missing, parse_numbers
from dynplat.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

#: Names that say a column is the time, compared in lower case (`t` only as it stands: `T` is a temperature).
TIME_NAMES = ("time", "date", "datetime", "date_time", "timestamp", "time_stamp", "when", "ds")
#: Names of times that are numbers in a unit, looked at last.
UNIT_NAMES = ("year", "years", "month", "months", "week", "weeks", "day", "days", "hour", "hours")
UNIT_NAMES += ("minute", "minutes", "second", "seconds")
_SAMPLE = 50


class Roles(NamedTuple):
    """Names of the columns by the part they play."""

    time: str
    id: str | None
    columns: tuple[str, ...]
    inputs: tuple[str, ...]
    static: tuple[str, ...]
    marks: str | None


def as_names(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Turn one name or several into a tuple."""
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


def check_columns(frame: pd.DataFrame, source: object) -> None:
    """Refuse a table in which a column's name stands twice."""
    names = list(frame.columns)
    twice = [name for index, name in enumerate(names) if name in names[:index]]
    if twice:
        first, second = [index + 1 for index, name in enumerate(names) if name == twice[0]][:2]
        raise DataError(
            f"two columns carry this name (columns {first} and {second} of the table).",
            hint="Rename one of them.",
            source=source,
            column=twice[0],
        )


def check_there(names: Sequence[str], argument: str, frame: pd.DataFrame, source: object) -> None:
    """Refuse a name that no column carries, and say which there are."""
    there = [str(name) for name in frame.columns]
    for name in names:
        if name in frame.columns:
            continue
        close = difflib.get_close_matches(str(name), there, n=1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        shown = ", ".join(repr(other) for other in there[:30]) + (", ..." if len(there) > 30 else "")
        raise DataError(
            f"`{argument}` names a column that is not there.{meant}",
            hint=f"The columns are: {shown}.",
            source=source,
            column=name,
        )


def find_roles(
    frame: pd.DataFrame,
    origin: Origin,
    *,
    time: str | None,
    id: str | None,
    columns: str | Sequence[str] | None,
    inputs: str | Sequence[str] = (),
    static: str | Sequence[str] = (),
    marks: str | None = None,
    decimal: str = ".",
    unnamed: Collection[str] = (),
) -> Roles:
    """Give every column its part.

    Raises:
        DataError: A name is not there, stands twice or is used twice; no column is the time; no column is a channel.
    """
    source = origin.source
    check_columns(frame, source)
    chosen = as_names(columns)
    inputs, static = as_names(inputs), as_names(static)
    for argument, names in (
        ("time", as_names(time)),
        ("id", as_names(id)),
        ("columns", chosen),
        ("inputs", inputs),
        ("static", static),
        ("marks", as_names(marks)),
    ):
        check_there(names, argument, frame, source)
    taken = [name for name in (id, marks, *inputs, *static, *chosen) if name is not None]
    if time is None:
        time = find_time(frame, origin, exclude=taken, decimal=decimal)
    _check_once(("time", (time,)), ("id", as_names(id)), ("columns", chosen), ("inputs", inputs), ("static", static),
                ("marks", as_names(marks)), source=source)  # fmt: skip
    if columns is None:
        chosen = _numeric_columns(frame, exclude={time, *taken, *unnamed}, decimal=decimal)
    if not chosen:
        others = ", ".join(repr(str(name)) for name in frame.columns) or "none"
        raise DataError(
            f"no column of numbers was found beside the time {time!r}.",
            hint=f"Name the columns of values with `columns`. The columns are: {others}.",
            source=source,
        )
    return Roles(time, id, chosen, inputs, static, marks)


def _check_once(*parts: tuple[str, Sequence[str]], source: object) -> None:
    used: dict[str, str] = {}
    for argument, names in parts:
        for name in names:
            if name in used:
                raise DataError(
                    f"the column is named by `{used[name]}` and by `{argument}`; it can play one part only."
                    if used[name] != argument
                    else f"`{argument}` names the column twice.",
                    hint="Name another column, or leave one of the two out.",
                    source=source,
                    column=name,
                )
            used[name] = argument


def _numeric_columns(frame: pd.DataFrame, exclude: Collection[Any], decimal: str) -> tuple[str, ...]:
    return tuple(name for name in frame.columns if name not in exclude and _is_numeric(frame[name], decimal))


def _is_numeric(column: Any, decimal: str) -> bool:
    # Text is taken for numbers where most cells that are not missing are numbers (the others are then faults, not
    # words); a column with no cell at all is a channel without an observation.
    kind = getattr(column.dtype, "kind", "O")
    if kind in "iuf":
        return True
    if kind in "bMmc" or hasattr(column.dtype, "tz") or hasattr(column.dtype, "freq"):
        return False
    numbers = parse_numbers(column, decimal)
    return 2 * len(numbers.bad) < int((~numbers.missing).sum()) or bool(numbers.missing.all())


def find_time(frame: pd.DataFrame, origin: Origin, *, exclude: Sequence[str] = (), decimal: str = ".") -> str:
    """Find the column of times: by its name, else the only column of dates, else one named for a unit of time.

    Raises:
        DataError: None is found, or several are.
    """
    names = [name for name in frame.columns if name not in exclude]
    named = [name for name in names if str(name).lower() in TIME_NAMES or name == "t"]
    if len(named) != 1:
        dated = [name for name in (named or names) if _holds_dates(frame[name])]
        named = dated if len(dated) == 1 else named or dated
    if not named:
        named = [name for name in names if str(name).lower() in UNIT_NAMES]
    if len(named) == 1:
        return named[0]
    listed = ", ".join(repr(str(name)) for name in frame.columns)
    if named:
        found = " and ".join(repr(str(name)) for name in named)
        raise DataError(
            f"several columns could be the time: {found}.",
            hint="Say which with `time` (join a date and a time of day into one column first).",
            source=origin.source,
        )
    raise DataError(
        f"no column of times was found: none holds dates, and none is named like a time ({', '.join(TIME_NAMES)}, t).",
        hint=f"Name it with `time`. The columns are: {listed}.",
        source=origin.source,
    )


def _holds_dates(column: Any) -> bool:
    if getattr(column.dtype, "kind", "O") == "M" or hasattr(column.dtype, "tz") or hasattr(column.dtype, "freq"):
        return True
    if getattr(column.dtype, "kind", "O") not in "OUT":
        return False
    cells = [cell for cell in column.to_numpy()[:10_000] if not is_missing(cell)][:_SAMPLE]
    if not cells:
        return False
    import datetime

    likely = [
        looks_like_date(cell) if isinstance(cell, str) else isinstance(cell, datetime.date | np.datetime64)
        for cell in cells
    ]
    return 2 * sum(likely) > len(likely)
