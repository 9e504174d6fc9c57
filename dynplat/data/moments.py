"""Times as they come (numbers, dates of many types, texts) to floats or datetime64 labels."""

from __future__ import annotations

import datetime
from typing import Any, NamedTuple

import numpy as np

from dynplat.data.clock import fit_resolution
from dynplat.data.dates import parse_dates
from dynplat.errors import DataError


class Moments(NamedTuple):
    """Times in the form that the rest of the room works with.

    Attributes:
        array: float64 numbers, or datetime64 labels in ns or us (in UTC where `zone` is not empty).
        zone: Time zone of the labels, or empty.
        unit: Unit that the type of the times implies for numbers (durations become days), or empty.
    """

    array: np.ndarray
    zone: str = ""
    unit: str = ""

    @property
    def is_datetime(self) -> bool:
        """Whether the times are dates."""
        return self.array.dtype.kind == "M"


def read_moments(times: Any, *, date_format: str | None = None) -> Moments:
    """Read an array, a pandas object or a list as times; a missing time is NaN or NaT.

    Time zones are kept: labels are turned to UTC and the zone's name travels with them.

    Raises:
        DataError: The times are neither numbers nor dates, or some carry a time zone and some do not.
    """
    dtype = getattr(times, "dtype", None)
    zone = getattr(dtype, "tz", None)
    if zone is not None:
        import pandas as pd

        universal = pd.DatetimeIndex(times).tz_convert("UTC").tz_localize(None)
        return Moments(fit_resolution(universal.to_numpy()), _zone_name(zone))
    if hasattr(dtype, "freq"):  # periods stand for their first instant
        import pandas as pd

        times = pd.PeriodIndex(times).to_timestamp()
    host = _to_numpy(times)
    if host.dtype.kind == "M":
        return Moments(fit_resolution(host))
    if host.dtype.kind == "m":
        days = host.astype("timedelta64[ns]").astype(np.int64) / (86_400 * 10**9)
        return Moments(np.where(np.isnat(host), np.nan, days), unit="D")
    if host.dtype.kind in "iuf":
        return Moments(host.astype(np.float64))
    if host.dtype.kind in "OUT":
        return _read_objects(host, date_format)
    raise DataError(f"times must be numbers or dates; got values of type {host.dtype}.", hint="Convert them first.")


def _zone_name(zone: Any) -> str:
    """Return a name from which pandas can make the zone again, or UTC where there is none."""
    import pandas as pd

    try:
        pd.Timestamp(0, tz="UTC").tz_convert(str(zone))
    except (ValueError, KeyError, LookupError):
        return "UTC"
    return str(zone).removeprefix("UTC") or "UTC"


def _to_numpy(times: Any) -> np.ndarray:
    if hasattr(times, "to_numpy"):
        kind = getattr(getattr(times, "dtype", None), "kind", "O")
        if kind in "iuf" and not isinstance(times.dtype, np.dtype):  # nullable numbers of pandas
            return times.to_numpy(dtype=np.float64, na_value=np.nan)
        return times.to_numpy()
    return np.asarray(times)


def _read_objects(host: np.ndarray, date_format: str | None) -> Moments:
    flat = host.ravel()
    missing = np.array([_is_missing(item) for item in flat], dtype=bool)
    known = flat[~missing]
    if all(isinstance(item, str) for item in known):
        dates = parse_dates([str(item) for item in known], date_format)
        if dates.labels is None:
            row = int(np.flatnonzero(~missing)[dates.index])
            raise DataError(dates.problem, hint=dates.hint, row=row)
        labels = np.full(flat.shape, np.datetime64("NaT", "ns"), dtype=dates.labels.dtype if known.size else "M8[ns]")
        labels[~missing] = dates.labels
        return Moments(labels.reshape(host.shape), dates.zone)
    if all(isinstance(item, (datetime.date, np.datetime64)) for item in known):
        return _read_datetimes(flat, missing, host.shape)
    try:
        numbers = np.full(flat.shape, np.nan)
        numbers[~missing] = known.astype(np.float64)
    except (TypeError, ValueError):
        odd = next(item for item in known if not isinstance(item, (int, float, np.number)))
        raise DataError(
            f"times must be all numbers or all dates; among them stands {odd!r} ({type(odd).__name__}).",
            hint="Convert the column to one type.",
        ) from None
    return Moments(numbers.reshape(host.shape))


def _read_datetimes(flat: np.ndarray, missing: np.ndarray, shape: tuple[int, ...]) -> Moments:
    infos = {getattr(item, "tzinfo", None) for item in flat[~missing]}
    zones = {"" if info is None else _zone_name(info) for info in infos}
    if "" in zones and len(zones) > 1:
        raise DataError(
            "some times carry a time zone and some do not.", hint="Localise all of them, or drop the zone of all."
        )
    labels = np.full(flat.shape, np.datetime64("NaT"), dtype="datetime64[us]")
    exact = np.full(flat.shape, np.datetime64("NaT"), dtype="datetime64[ns]")
    for index in np.flatnonzero(~missing):
        item = flat[index]
        if hasattr(item, "to_datetime64"):  # a pandas Timestamp: already UTC where it is aware
            label = item.to_datetime64()
        else:
            if getattr(item, "tzinfo", None) is not None:
                item = item.astimezone(datetime.UTC).replace(tzinfo=None)
            label = np.datetime64(item)
        labels[index] = label
        exact[index] = label
    fine = fit_resolution(labels)
    array = exact if np.datetime_data(fine.dtype)[0] == "ns" else fine
    return Moments(array.reshape(shape), "" if zones == {""} else (zones.pop() if len(zones) == 1 else "UTC"))


def _is_missing(item: Any) -> bool:
    if item is None or item == "":
        return True
    return item != item or type(item).__name__ in ("NAType", "NaTType")
