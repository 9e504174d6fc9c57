"""Dates written as text, read strictly: a text has exactly one meaning or it is refused.

Read without being told: ISO 8601 dates (`2004-03-10`, `2004/3/10`, `2004-03`, with or without a time of day and an
offset from UTC) and dates with the month's name (`10 Mar 2004`, `March 10, 2004`). `10/03/2004` is read only where the
column itself shows whether the day or the month stands first, that is where exactly one of the two orders reads every
row; years of two digits, and compact dates such as `20040310`, need `date_format`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from dynplat.data.clock import fit_resolution

#: Names of the months, from short to full.
MONTH_NAMES = (
    ("jan", "january"),
    ("feb", "february"),
    ("mar", "march"),
    ("apr", "april"),
    ("may",),
    ("jun", "june"),
    ("jul", "july"),
    ("aug", "august"),
    ("sep", "sept", "september"),
    ("oct", "october"),
    ("nov", "november"),
    ("dec", "december"),
)
_MONTHS = {name: number for number, names in enumerate(MONTH_NAMES, start=1) for name in names}
_CLOCK = (
    r"(?:(?:[T ]\s*|,\s*)(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*(?P<zone>Z|UTC|[+-]\d{2}:?\d{2}|[+-]\d{2})?)?$"
)
_YEAR_FIRST = re.compile(r"(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d{1,2})(?:(?P=mark)(?P<day>\d{1,2}))?" + _CLOCK)
_YEAR_LAST = re.compile(r"(?P<first>\d{1,2})(?P<mark>[-/.])(?P<other>\d{1,2})(?P=mark)(?P<year>\d{4})" + _CLOCK)
_DAY_NAME = re.compile(r"(?P<day>\d{1,2})[ -](?P<name>[A-Za-z]+)\.?[ ,-]+(?P<year>\d{4})" + _CLOCK)
_NAME_DAY = re.compile(r"(?P<name>[A-Za-z]+)\.? (?P<day>\d{1,2}),? (?P<year>\d{4})" + _CLOCK)
COMPACT_DATE = re.compile(r"(1[6-9]|20|21)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$")


class Dates(NamedTuple):
    """What a column of texts says.

    Attributes:
        labels: datetime64 in ns or us, in UTC where `zone` is not empty; None when `problem` says why not.
        zone: Empty for dates without an offset, the common offset (such as `+01:00`), or `UTC`.
        index: Index of the first text that could not be read.
        problem: What is wrong with it.
        hint: What to do.
    """

    labels: np.ndarray | None
    zone: str = ""
    index: int = -1
    problem: str = ""
    hint: str = ""


class _Moment(NamedTuple):
    iso: str
    offset: int | None  # minutes east of UTC


_FORMAT_HINT = "Write dates as YYYY-MM-DD hh:mm:ss, or say how they are written, for example date_format='%d/%m/%Y'."


def looks_like_date(text: str) -> bool:
    """Return True if a text has the form of a date (it may still be ambiguous)."""
    text = text.strip()
    return any(form.match(text) for form in (_YEAR_FIRST, _YEAR_LAST, _DAY_NAME, _NAME_DAY))


def date_matches(text: str) -> list[re.Match[str]]:
    """Return how a text matches the forms of dates; groups are the parts, `first` and `other` day and month."""
    return [match for form in (_YEAR_FIRST, _YEAR_LAST, _DAY_NAME, _NAME_DAY) if (match := form.match(text))]


def parse_dates(texts: Sequence[str], date_format: str | None = None) -> Dates:
    """Read texts as dates.

    Args:
        texts: Texts, none of them empty.
        date_format: A format of `datetime.strptime`, for dates that can be read in more than one way.

    Returns:
        The labels, or the first fault.
    """
    if date_format is not None:
        return _collect(texts, lambda text: _with_format(text, date_format), f"{_written(date_format)}")
    stripped = [text.strip() for text in texts]
    if any(_YEAR_LAST.match(text) for text in stripped):
        return _parse_year_last(stripped)
    return _collect(stripped, _unambiguous, "a date such as 2004-03-10 or 2004-03-10T18:00:00")


def _written(date_format: str) -> str:
    return f"a date written as {date_format!r}"


def _parse_year_last(texts: Sequence[str]) -> Dates:
    day_first = _collect(texts, lambda text: _year_last(text, day_first=True), "a date with the day first")
    month_first = _collect(texts, lambda text: _year_last(text, day_first=False), "a date with the month first")
    if day_first.labels is None and month_first.labels is None:
        return day_first if day_first.index >= month_first.index else month_first
    if day_first.labels is None or month_first.labels is None:
        return month_first if day_first.labels is None else day_first
    if np.array_equal(day_first.labels, month_first.labels):
        return day_first
    index = int(np.flatnonzero(day_first.labels != month_first.labels)[0])
    return Dates(
        None,
        index=index,
        problem=f"{texts[index]!r} can be read with the day first or with the month first, and no row tells which.",
        hint="Say which: date_format='%d/%m/%Y' or '%m/%d/%Y' (with '.' or '-' and the time of day as they are "
        "written), or write dates as YYYY-MM-DD.",
    )


def _collect(texts: Sequence[str], parse: Callable[[str], _Moment | None], expected: str) -> Dates:
    moments: list[_Moment] = []
    for index, text in enumerate(texts):
        moment = parse(text)
        if moment is None:
            return Dates(None, index=index, problem=f"{text!r} is not {expected}.", hint=_FORMAT_HINT)
        moments.append(moment)
    coarse = any(not "1678" <= moment.iso[:4] <= "2261" for moment in moments)
    unit = "us" if coarse else "ns"
    try:
        labels = np.array([moment.iso for moment in moments], dtype=f"datetime64[{unit}]")
    except ValueError:
        for index, moment in enumerate(moments):
            try:
                np.datetime64(moment.iso, unit)
            except ValueError:
                problem = f"{texts[index]!r} names a day or an hour that does not exist."
                return Dates(None, index=index, problem=problem, hint="Correct it, or leave the cell empty.")
        raise
    offsets = {moment.offset for moment in moments}
    if None in offsets and len(offsets) > 1:
        index = next(i for i, moment in enumerate(moments) if (moment.offset is None) != (moments[0].offset is None))
        return Dates(
            None,
            index=index,
            problem=f"{texts[index]!r} and {texts[0]!r} stand in one column, one with an offset from UTC, one without.",
            hint="Write all times with an offset, or all without.",
        )
    if offsets <= {None}:
        return Dates(labels)
    shift = np.array([moment.offset for moment in moments], dtype=np.int64).astype("timedelta64[m]")
    return Dates(fit_resolution(labels - shift), zone=_zone_name(offsets))


def _zone_name(offsets: set[int | None]) -> str:
    offset = next(iter(offsets))
    if len(offsets) > 1 or not offset:
        return "UTC"
    sign, size = ("-", -offset) if offset < 0 else ("+", offset)
    return f"{sign}{size // 60:02d}:{size % 60:02d}"


def _unambiguous(text: str) -> _Moment | None:
    match = _YEAR_FIRST.match(text)
    if match:
        return _moment(match, int(match["month"]), int(match["day"] or 1))
    match = _DAY_NAME.match(text) or _NAME_DAY.match(text)
    if match and match["name"].lower() in _MONTHS:
        return _moment(match, _MONTHS[match["name"].lower()], int(match["day"]))
    return None


def _year_last(text: str, *, day_first: bool) -> _Moment | None:
    match = _YEAR_LAST.match(text)
    if not match:
        return None
    first, other = int(match["first"]), int(match["other"])
    day, month = (first, other) if day_first else (other, first)
    return _moment(match, month, day) if 1 <= month <= 12 and 1 <= day <= 31 else None


def _moment(match: re.Match[str], month: int, day: int) -> _Moment | None:
    hour = int(match["hour"] or 0)
    if match["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match["half"][0] in "pP" else 0)
    fraction = f".{match['fraction']}" if match["fraction"] else ""
    clock = f"T{hour:02d}:{match['minute'] or '00'}:{match['second'] or '00'}{fraction}"
    return _Moment(f"{match['year']}-{month:02d}-{day:02d}{clock}", offset_of(match["zone"]))


def offset_of(zone: str | None) -> int | None:
    """Read an offset from UTC, such as `+01:00` or `Z`, as minutes east; None where there is none."""
    if zone is None:
        return None
    if zone in ("Z", "UTC"):
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    size = int(digits[:2]) * 60 + int(digits[2:])
    return -size if zone[0] == "-" else size


def _with_format(text: str, date_format: str) -> _Moment | None:
    import datetime

    try:
        moment = datetime.datetime.strptime(text.strip(), date_format)
    except ValueError:
        return None
    offset = moment.utcoffset()
    minutes = None if offset is None else round(offset.total_seconds() / 60)
    return _Moment(moment.replace(tzinfo=None).isoformat(), minutes)
