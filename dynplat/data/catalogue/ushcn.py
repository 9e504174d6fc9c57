"""Daily weather of three stations in Rhode Island, 1893-2014: the raw United States Historical Climatology Network.

Menne, Williams and Vose, USHCN daily (CDIAC, NOAA); the file is one of those that De Brouwer et al. 2019
(arXiv:1905.12374) prepared their benchmark from.

Fixed width, one line per station, month and element: 6 characters station, 4 year, 2 month, 4 element, then 31 days of
5 characters value and 3 flags (measurement, quality, source).

How the traps are handled:

- -9999 is missing, and also fills the days that a month does not have: those are dropped before dates are made.
- Units differ by element: TMAX and TMIN in whole degF, PRCP in 1/100 inch, SNOW in 1/10 inch, SNWD in inches.
- A value with one of the quality flags D G I K L M N O R S T W X Z failed a check: missing.
- The measurement flag T is a trace: 0 with a flag, too little to measure. It stays 0, or becomes missing on request.
- The measurement flag P is a gap that the archive presumed to be zero. It stays 0, or becomes missing on request.
"""

from __future__ import annotations

import calendar
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dynplat.data.catalogue.choices import check_choice
from dynplat.data.catalogue.fetch import fetch
from dynplat.data.catalogue.registry import USHCN_RHODE_ISLAND
from dynplat.data.trajectories import Trajectories
from dynplat.errors import DataError

ELEMENTS = ("PRCP", "SNOW", "SNWD", "TMAX", "TMIN")
BAD_QUALITY = frozenset("DGIKLMNORSTWXZ")
#: Element -> (unit, factor, offset) from the file's integers.
_METRIC = {
    "PRCP": ("mm", 0.254, 0.0),
    "SNOW": ("mm", 2.54, 0.0),
    "SNWD": ("mm", 25.4, 0.0),
    "TMAX": ("degC", 5 / 9, -160 / 9),
    "TMIN": ("degC", 5 / 9, -160 / 9),
}
_NATIVE = {
    "PRCP": ("in", 0.01, 0.0),
    "SNOW": ("in", 0.1, 0.0),
    "SNWD": ("in", 1.0, 0.0),
    "TMAX": ("degF", 1.0, 0.0),
    "TMIN": ("degF", 1.0, 0.0),
}
_KEY, _DAY, _DAYS = 16, 8, 31


class Days(NamedTuple):
    """Days with a value, one row per station, day and element, (row,) each.

    Attributes:
        station: Station's identifier, six characters.
        date: Day, datetime64[D].
        element: Index in `ELEMENTS`.
        value: The file's integer, in the element's own unit.
        measurement: Measurement flag, one character.
        quality: Quality flag, one character.
    """

    station: np.ndarray
    date: np.ndarray
    element: np.ndarray
    value: np.ndarray
    measurement: np.ndarray
    quality: np.ndarray


def load_ushcn(*, units: str = "metric", trace: str = "zero", presumed_zero: str = "zero") -> Trajectories:
    """Load the three stations as one series each, a row for every day on which something was observed.

    Args:
        units: `metric` (mm, degC) or `native` (inches, degF).
        trace: What a trace becomes: `zero` or `missing`.
        presumed_zero: What a gap presumed to be zero becomes: `zero` or `missing`.

    Returns:
        Series named by station; channels PRCP (precipitation), SNOW (snowfall), SNWD (snow depth), TMAX, TMIN; times in
        days.
    """
    check_choice("units", units, ("metric", "native"))
    check_choice("trace", trace, ("zero", "missing"))
    check_choice("presumed_zero", presumed_zero, ("zero", "missing"))
    days = read_days(fetch(USHCN_RHODE_ISLAND))
    keep = ~np.isin(days.quality, sorted(BAD_QUALITY))
    for flag, choice in (("T", trace), ("P", presumed_zero)):
        if choice == "missing":
            keep &= days.measurement != flag
    days = Days(*(column[keep] for column in days))
    scale = _METRIC if units == "metric" else _NATIVE
    factor = np.array([scale[name][1] for name in ELEMENTS])
    offset = np.array([scale[name][2] for name in ELEMENTS])
    values = days.value * factor[days.element] + offset[days.element]

    stations = sorted(set(days.station.tolist()))
    times, blocks = [], []
    for station in stations:
        own = days.station == station
        dates, rows = np.unique(days.date[own], return_inverse=True)
        block = np.full((len(dates), len(ELEMENTS)), np.nan)
        block[rows, days.element[own]] = values[own]
        times.append(dates.astype("datetime64[ns]"))
        blocks.append(block)
    return Trajectories.from_arrays(
        times,
        blocks,
        series=stations,
        channels=ELEMENTS,
        units={name: scale[name][0] for name in ELEMENTS},
    )


def read_days(path: Path) -> Days:
    """Read every value of the file with its flags; missing values and days that do not exist are left out.

    Raises:
        DataError: A line has not the width of 31 days, or a field is not what its place says.
    """
    columns: list[tuple[str, np.datetime64, int, int, str, str]] = []
    for row, line in enumerate(path.read_text(encoding="ascii").splitlines(), start=1):
        if len(line) != _KEY + _DAY * _DAYS:
            raise DataError(
                f"a line of {_KEY + _DAY * _DAYS} characters is expected; got {len(line)}.", source=path, row=row
            )
        try:
            year, month, element = int(line[6:10]), int(line[10:12]), ELEMENTS.index(line[12:16])
            first = np.datetime64(f"{year:04d}-{month:02d}-01", "D")
            existing = calendar.monthrange(year, month)[1]
            for day in range(_DAYS):
                field = line[_KEY + _DAY * day : _KEY + _DAY * (day + 1)]
                value = int(field[:5])
                if value == -9999:
                    continue
                if day >= existing:
                    raise DataError(
                        f"{year}-{month:02d} has {existing} days, and day {day + 1} holds {value}.",
                        source=path,
                        row=row,
                    )
                columns.append((line[:6], first + day, element, value, field[5], field[6]))
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"a field cannot be read: {error}.", source=path, row=row) from error
    return Days(*(np.array(column) for column in zip(*columns, strict=True)))
