"""Times as numbers and times as dates.

Numerical code wants floats, people want dates, and neither may cost the other a nanosecond. A `Clock` holds the origin
and the unit: the float of a label is its distance from the origin in that unit. Float64 days hold a microsecond over a
century and a nanosecond over a month, so the labels of observed rows are kept beside the floats, and only times that
are not rows are turned back: of all labels that have the float as their number, `Clock.labels` takes the one with the
fewest decimals (whole seconds before milliseconds before microseconds), as the shortest decimal is printed for a float.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dynplat.errors import ArgumentError

#: Nanoseconds per unit of time that a clock with an origin can count in.
NANOSECONDS = {
    "W": 7 * 86_400 * 10**9,
    "D": 86_400 * 10**9,
    "h": 3_600 * 10**9,
    "min": 60 * 10**9,
    "s": 10**9,
    "ms": 10**6,
    "us": 10**3,
    "ns": 1,
}
_NS_RANGE = (np.datetime64("1677-09-22", "us"), np.datetime64("2262-04-11", "us"))


def fit_resolution(labels: np.ndarray) -> np.ndarray:
    """Bring datetime64 labels to nanoseconds, or to microseconds where a date lies outside 1677-2262."""
    unit, step = np.datetime_data(labels.dtype)
    if unit == "ns" and step == 1:
        return labels
    if unit in ("ps", "fs", "as"):
        raise ArgumentError(f"times finer than a nanosecond cannot be kept; got {labels.dtype}.")
    coarse = labels.astype("datetime64[us]") if unit != "ns" else labels
    known = coarse[~np.isnat(coarse)]
    if known.size and (known.min() < _NS_RANGE[0] or known.max() > _NS_RANGE[1]):
        return coarse
    return labels.astype("datetime64[ns]")


def shortest_unit(labels: np.ndarray) -> Any:
    """Return the coarsest of days, seconds, ms, us and ns in which all labels can be written."""
    known = labels[~np.isnat(labels)]
    for unit in ("D", "s", "ms", "us"):
        if (known.astype(f"datetime64[{unit}]") == known).all():
            return unit
    return "ns"


def show_label(label: Any) -> str:
    """Write the time of a row for a message: a number as it is, a date as short as it can be."""
    if not isinstance(label, np.datetime64):
        return str(label)
    return str(np.datetime_as_string(label, unit=shortest_unit(np.atleast_1d(label))))


@dataclass(frozen=True)
class Clock:
    """How floats and labels of time belong together.

    Args:
        unit: Unit of the floats; with an origin one of W, D, h, min, s, ms, us, ns, otherwise any text.
        origin: Label of time 0 (datetime64 in ns or us), or None when times are plain numbers.
        zone: Time zone in which labels are shown; labels themselves are then in UTC. Empty: labels carry no zone.
    """

    unit: str = ""
    origin: np.datetime64 | None = None
    zone: str = ""

    def __post_init__(self) -> None:
        """Refuse a unit in which a date cannot be counted."""
        if self.origin is not None and self.unit not in NANOSECONDS:
            raise ArgumentError(
                f"`time_unit` of data with a `time_origin` must be one of {', '.join(NANOSECONDS)}; got {self.unit!r}."
            )

    @classmethod
    def starting(cls, labels: np.ndarray, *, unit: str = "", origin: Any = None, zone: str = "") -> Clock:
        """Make a clock for labels: by default it counts days from the midnight before the first one."""
        if origin is None:
            known = labels[~np.isnat(labels)]
            first = known.min() if known.size else np.datetime64("1970-01-01", "D")
            origin = first.astype("datetime64[D]")
        return cls(unit or "D", np.datetime64(origin).astype(labels.dtype), zone)

    @property
    def resolution(self) -> str:
        """Resolution of labels, `ns` or `us`."""
        return "ns" if self.origin is None else np.datetime_data(self.origin.dtype)[0]

    @property
    def _ticks(self) -> int:
        ticks, rest = divmod(NANOSECONDS[self.unit], NANOSECONDS[self.resolution])
        if rest:
            raise ArgumentError(f"`time_unit` {self.unit!r} is finer than dates outside 1677-2262 can be; use 'us'.")
        return ticks

    def numbers(self, labels: np.ndarray) -> np.ndarray:
        """Turn datetime64 labels into floats: their distance from the origin in the clock's unit."""
        assert self.origin is not None
        counts = labels.astype(f"datetime64[{self.resolution}]").astype(np.int64)
        # Quotients and rests apart: the distance of two dates in nanoseconds may not fit in 64 bits, and one rounding
        # each keeps the map monotone and as fine as float64 allows.
        ticks = self._ticks
        whole, rest = np.divmod(counts, ticks)
        whole_origin, rest_origin = divmod(int(self.origin.astype(np.int64)), ticks)
        borrowed = rest < rest_origin
        return _join(whole - whole_origin - borrowed, rest - rest_origin + borrowed * ticks, ticks)

    def labels(self, numbers: np.ndarray) -> np.ndarray:
        """Turn floats into datetime64 labels, the roundest that have these floats as their numbers."""
        assert self.origin is not None
        numbers = np.asarray(numbers, dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise ArgumentError("`float_times` must be finite to be turned into dates.")
        ticks, origin = self._ticks, int(self.origin.astype(np.int64))
        beyond = np.abs(numbers + origin / ticks) > 2**63 / ticks * (1 - 1e-12)
        if beyond.any():
            raise ArgumentError(
                f"`float_times` reach beyond the dates that can be written: {np.ravel(numbers)[np.ravel(beyond)][0]:g}."
            )
        whole = np.floor(numbers)
        nearest = np.rint((numbers - whole) * ticks).astype(np.int64)
        whole = whole.astype(np.int64)
        rest, settled = nearest.copy(), np.zeros(nearest.shape, dtype=bool)
        for unit in ("s", "ms", "us"):
            grain = NANOSECONDS[unit] // NANOSECONDS[self.resolution]
            if not 1 < grain <= ticks:
                continue
            rounded = (nearest + grain // 2) // grain * grain
            found = ~settled & (_join(whole, rounded, ticks) == numbers)
            rest[found] = rounded[found]
            settled |= found
        # Sums may leave 64 bits on the way and come back: the result fits, as was checked.
        counts = (whole * ticks + rest) + np.int64(origin)
        return counts.astype(f"datetime64[{self.resolution}]")


def _join(whole: np.ndarray, rest: np.ndarray, ticks: int) -> np.ndarray:
    return whole.astype(np.float64) + rest / ticks
