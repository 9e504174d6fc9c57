"""How a column writes its dates, so that further dates can be written like them.

A style is read off the texts and kept only where it writes every one of them again, character by character; further
dates are written in it only where reading them in the same column gives them back. So a style never changes a date:
at worst there is none, and the caller writes ISO 8601.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dynplat.data.dates import MONTH_NAMES, date_matches, offset_of, parse_dates

#: Digits that a fraction of a second gets where the column's own do not suffice.
_DIGITS = (3, 6, 9)


@dataclass(frozen=True)
class DateStyle:
    """A way to write dates.

    Args:
        template: A format string over year, month, day, name (of the month), hour, half (of the day), hour12, minute,
            second and fraction.
        names: Names of the twelve months.
        halves: What stands for the two halves of the day.
        digits: Digits of the fraction of a second.
        minutes_east: Offset from UTC at which dates are written.
    """

    template: str
    names: tuple[str, ...] = ()
    halves: tuple[str, str] = ("AM", "PM")
    digits: int = 0
    minutes_east: int = 0

    def write(self, labels: np.ndarray) -> Iterator[str]:
        """Write datetime64 labels, which are in UTC where the column has offsets."""
        moved = labels + np.timedelta64(self.minutes_east, "m")
        for moment, rest in zip(moved.astype("datetime64[s]").tolist(), _nanoseconds(moved).tolist(), strict=True):
            parts = {name: getattr(moment, name) for name in ("year", "month", "day", "hour", "minute", "second")}
            parts |= {"hour12": (moment.hour + 11) % 12 + 1, "half": self.halves[moment.hour // 12]}
            name = self.names[moment.month - 1] if self.names else ""
            yield self.template.format(**parts, name=name, fraction=f"{rest:09d}"[: self.digits])

    def finer(self, labels: np.ndarray) -> DateStyle:
        """Return the style with what it lacks to write these labels whole: day, time of day, seconds, fraction."""
        moved = labels + np.timedelta64(self.minutes_east, "m")
        style = self
        whole = {unit: bool((moved == moved.astype(f"datetime64[{unit}]")).all()) for unit in ("M", "D", "m", "s")}
        if not whole["M"]:
            style = style._with("day", r"(.)(\{month:\w+\})$", r"\1\2\1{day:02d}")
        if not whole["D"]:
            style = style._with("minute", r"$", " {hour:02d}:{minute:02d}")
        if not whole["m"]:
            style = style._with("second", r"(\{minute:02d\})", r"\1:{second:02d}")
        if not whole["s"]:
            style = style._with("fraction", r"(\{second:02d\})", r"\1.{fraction}")
            rest = _nanoseconds(moved)
            enough = (n for n in (self.digits, *_DIGITS) if n and not (rest % 10 ** (9 - n)).any())
            style = replace(style, digits=next(enough))
        return style

    def _with(self, part: str, where: str, what: str) -> DateStyle:
        if f"{{{part}" in self.template:
            return self
        return replace(self, template=re.sub(where, what, self.template, count=1))


def find_style(texts: Sequence[str], labels: np.ndarray) -> DateStyle | None:
    """Find the style in which all texts are written, or None where there is no single one.

    Args:
        texts: Dates as they stand in a column, without blanks around them.
        labels: What they mean: datetime64, in UTC where they have an offset.
    """
    # The longest text shows most: the name of a month in full, a day of two digits.
    shown = max(range(len(texts)), key=lambda index: len(texts[index]), default=None)
    if shown is None:
        return None
    for match in date_matches(texts[shown]):
        for style in _styles(match):
            if all(written == text for written, text in zip(style.write(labels), texts, strict=True)):
                return style
    return None


def write_dates_like(texts: Sequence[str], labels: np.ndarray, further: np.ndarray) -> list[str] | None:
    """Write further dates in the style of a column, or return None where it has no single one.

    Args:
        texts: Dates as they stand in the column.
        labels: What they mean: datetime64, in UTC where they have an offset.
        further: The dates to write, likewise.
    """
    texts = [text.strip() for text in texts]
    if not _in_calendar(labels) or not _in_calendar(further):
        return None
    style = find_style(texts, labels)
    if style is None:
        return None
    written = list(style.finer(further).write(further))
    again = parse_dates([*texts, *written]).labels
    if again is None or not np.array_equal(again[len(texts) :], further):
        return None
    return written


def _nanoseconds(labels: np.ndarray) -> np.ndarray:
    """Nanoseconds after the last whole second."""
    return (labels - labels.astype("datetime64[s]")).astype("timedelta64[ns]").astype(np.int64)


def _in_calendar(labels: np.ndarray) -> bool:
    """Whether all years have four digits, wherever on earth: Python's calendar ends there."""
    day = np.timedelta64(1, "D")
    first, last = np.datetime64("0001-01-01") + day, np.datetime64("9999-12-31") - day
    days = labels.astype("datetime64[D]")
    return bool(((days >= first) & (days <= last)).all())


def _styles(match: re.Match[str]) -> Iterator[DateStyle]:
    """The styles in which a text may be written: with or without leading zeros, names of months short or in full."""
    found: dict[str, Any] = {name: text for name, text in match.groupdict().items() if text is not None}
    parts = sorted((match.start(name), match.end(name), name) for name in found if name not in ("mark", "zone"))
    halves = ("AM", "PM")
    if "half" in found:
        halves = (re.sub("[PA]", "A", re.sub("[pa]", "a", found["half"])),) * 2
        halves = (halves[0], halves[0].replace("A", "P").replace("a", "p"))
    short = found.get("name", "")
    cased = str.upper if short.isupper() else str.lower if short.islower() else str.title
    month_first = (False, True) if "other" in found else (False,)
    for date, clock, full, swapped in itertools.product(("02d", "d"), ("02d", "d"), (False, True), month_first):
        names = tuple(cased(names[-1] if full else names[0]) for names in MONTH_NAMES) if short else ()
        fields = {
            "year": "{year:04d}",
            "month": f"{{month:{date}}}",
            "day": f"{{day:{date}}}",
            "first": f"{{month:{date}}}" if swapped else f"{{day:{date}}}",
            "other": f"{{day:{date}}}" if swapped else f"{{month:{date}}}",
            "name": "{name}",
            "hour": f"{{hour12:{clock}}}" if "half" in found else f"{{hour:{clock}}}",
            "minute": "{minute:02d}",
            "second": "{second:02d}",
            "fraction": "{fraction}",
            "half": "{half}",
        }
        template, last = "", 0
        for start, end, name in parts:
            template += match.string[last:start] + fields[name]
            last = end
        template += match.string[last:]
        yield DateStyle(template, names, halves, len(found.get("fraction", "")), offset_of(found.get("zone")) or 0)
