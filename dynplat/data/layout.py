"""The xarray layout inside `Trajectories`: how it is made, checked and read.

Dimensions `series`, `time`, `channel`, `input`. Variables `values` (series, time, channel) with NaN where nothing was
observed, `times` (series, time), `labels` (series, time; dates only), `lengths` (series), `units` (channel), `inputs`,
`marks`, and `static.NAME` (series) for each static covariate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.data.assemble import Padded, Rows
from dynplat.data.clock import Clock, fit_resolution
from dynplat.data.moments import Moments, read_moments
from dynplat.errors import DataError

if TYPE_CHECKING:
    import xarray as xr

    from dynplat.data.trajectories import Trajectories

#: Version of the layout, written into every file.
LAYOUT = 1
STATIC = "static."


def frozen(array: np.ndarray) -> np.ndarray:
    """Return the array, read-only from now on."""
    array.setflags(write=False)
    return array


def freeze(dataset: xr.Dataset) -> xr.Dataset:
    """Make every array of a Dataset read-only, copying those that are views of others' memory."""
    for name in dataset.variables:
        data = dataset[name].values
        if data.flags.writeable and name not in dataset.indexes:
            dataset[name].variable.values = frozen(data if data.base is None else data.copy())
    return dataset


def make_clock(
    moments: Moments, time_unit: str, time_origin: Any, zone: str
) -> tuple[Clock, np.ndarray, np.ndarray | None]:
    """Choose the clock of new data; return it with the floats and, for dates, the labels of all rows."""
    if moments.is_datetime:
        labels = moments.array
        missing = np.isnat(labels)
        origin = None if time_origin is None else read_origin(time_origin)
        clock = Clock.starting(labels, unit=time_unit, origin=origin, zone=moments.zone or zone)
        numbers = np.where(missing, np.nan, clock.numbers(labels))
        return clock, numbers, labels
    if time_origin is None:
        return Clock(time_unit or moments.unit, None), moments.array, None
    clock = Clock(time_unit or moments.unit or "D", read_origin(time_origin), zone)
    known = np.isfinite(moments.array)
    # A date is kept to the nanosecond, and so is the float that stands for it: both must agree after a round trip.
    labels = clock.labels(np.where(known, moments.array, 0.0))
    return clock, np.where(known, clock.numbers(labels), moments.array), labels


def read_origin(origin: Any) -> np.datetime64:
    """Read a date as datetime64 in ns (or us outside 1677-2262)."""
    moments = read_moments(np.asarray([origin]) if not isinstance(origin, str) else [origin])
    if not moments.is_datetime or np.isnat(moments.array[0]):
        raise DataError(f"`time_origin` must be a date; got {origin!r}.")
    return fit_resolution(moments.array)[0]


def numbers_on(clock: Clock, labels: Any) -> np.ndarray:
    """Turn dates, texts of dates or floats into floats on a clock."""
    moments = read_moments(labels)
    if not moments.is_datetime:
        return moments.array
    if clock.origin is None:
        raise DataError("dates were given for data whose times are plain numbers.", hint="Pass floats.")
    if bool(moments.zone) != bool(clock.zone):
        mine, theirs = ("in " + clock.zone) if clock.zone else "without a time zone", moments.zone or "no time zone"
        raise DataError(
            f"the data's times are {mine}, and the given dates have {theirs}.", hint="Use the same for both."
        )
    if np.isnat(moments.array).any():
        raise DataError("a date is missing (NaT).")
    return clock.numbers(moments.array)


def check_names(argument: str, names: Sequence[str] | None, count: int, default: Sequence[str]) -> tuple[str, ...]:
    """Check that there are `count` distinct, non-empty names."""
    chosen = tuple(default) if names is None else tuple(str(name) for name in names)
    if isinstance(names, str) or len(chosen) != count:
        raise DataError(f"`{argument}` must be a list of {count} names; got {names!r}.")
    twice = sorted({name for name in chosen if chosen.count(name) > 1}) if len(set(chosen)) < count else []
    if twice or "" in chosen:
        raise DataError(
            f"`{argument}` must be distinct and not empty; got {(twice or [''])[0]!r} more than once or empty."
        )
    return chosen


def check_units(units: Mapping[str, str] | None, channels: Sequence[str]) -> list[str]:
    """Check that units belong to channels; return one text per channel, empty where there is none."""
    given = dict(units or {})
    strange = [name for name in given if name not in channels]
    if strange:
        raise DataError(f"`units` names {strange[0]!r}, which is no channel.", hint=f"Channels: {', '.join(channels)}.")
    return [str(given.get(channel) or "") for channel in channels]


def check_static(static: Mapping[str, Any] | None, num_series: int) -> dict[str, np.ndarray]:
    """Check static covariates: one number or text per series."""
    checked = {}
    for name, given in (static or {}).items():
        array = np.array(given)
        if array.dtype.kind in "OT":
            array = array.astype(object).astype(str)
        if array.shape != (num_series,) or array.dtype.kind not in "biufU":
            raise DataError(
                f"`static[{name!r}]` must hold one number or text per series ({num_series}); "
                f"got {array.dtype} of shape {array.shape}."
            )
        checked[str(name)] = array
    return checked


def make_dataset(
    padded: Padded,
    *,
    series: Sequence[str],
    channels: Sequence[str],
    input_names: Sequence[str],
    units: Sequence[str],
    static: Mapping[str, np.ndarray],
    clock: Clock,
    time_name: str,
    series_name: str,
) -> xr.Dataset:
    """Build the Dataset of new trajectories."""
    import xarray as xr

    variables: dict[str, Any] = {"values": (("series", "time", "channel"), padded.values)}
    coords: dict[str, Any] = {
        "series": np.array(series, dtype=object),
        "channel": np.array(channels, dtype=object),
        "times": (("series", "time"), padded.times),
        "lengths": ("series", padded.lengths),
        "units": ("channel", np.array(units, dtype=object)),
    }
    if padded.labels is not None:
        coords["labels"] = (("series", "time"), padded.labels)
    if padded.inputs is not None:
        variables["inputs"] = (("series", "time", "input"), padded.inputs)
        coords["input"] = np.array(input_names, dtype=object)
    if padded.marks is not None:
        variables["marks"] = (("series", "time"), padded.marks)
    for name, array in static.items():
        variables[STATIC + name] = ("series", array.astype(object) if array.dtype.kind == "U" else array)
    attrs = {
        "dynplat_kind": "trajectories",
        "dynplat_layout": LAYOUT,
        "time_unit": clock.unit,
        "time_origin": "" if clock.origin is None else str(clock.origin),
        "time_zone": clock.zone,
        "time_name": time_name,
        "series_name": series_name,
    }
    return freeze(xr.Dataset(variables, coords=coords, attrs=attrs))


def check_layout(dataset: xr.Dataset, kind: str) -> None:
    """Refuse a Dataset that is not in this layout."""
    attrs = getattr(dataset, "attrs", {})
    if attrs.get("dynplat_kind") != kind:
        raise DataError(
            f"a Dataset in the layout of {kind} is expected; got {type(dataset).__name__} without it.",
            hint=f"Use `{kind.capitalize()}.from_xarray` or `from_arrays`.",
        )
    if int(attrs.get("dynplat_layout", 0)) > LAYOUT:
        raise DataError(
            f"the data were written in layout {attrs['dynplat_layout']}, newer than this dynplat knows ({LAYOUT}).",
            hint="Update dynplat.",
        )


def clock_of(dataset: xr.Dataset) -> Clock:
    """Read the clock back."""
    attrs = dataset.attrs
    text = attrs["time_origin"]
    if not text:
        return Clock(attrs["time_unit"], None)
    unit = np.datetime_data(dataset["labels"].dtype)[0] if "labels" in dataset.coords else "ns"
    return Clock(attrs["time_unit"], np.datetime64(text, unit), attrs["time_zone"])


def names_of(dataset: xr.Dataset, dimension: str) -> tuple[str, ...]:
    """Names along a dimension; empty where the dimension is not there."""
    return tuple(str(name) for name in dataset[dimension].values) if dimension in dataset.coords else ()


def flatten(dataset: xr.Dataset) -> Rows:
    """Return the rows of all series, one after another, without padding."""
    lengths = np.asarray(dataset["lengths"].values).astype(np.int64)
    real = np.arange(dataset["values"].shape[1]) < lengths[:, None]
    return Rows(
        codes=np.repeat(np.arange(len(lengths)), lengths),
        times=np.asarray(dataset["times"].values, dtype=np.float64)[real],
        labels=dataset["labels"].values[real] if dataset.attrs["time_origin"] else None,
        values=np.asarray(dataset["values"].values, dtype=np.float64)[real],
        inputs=np.asarray(dataset["inputs"].values, dtype=np.float64)[real] if "inputs" in dataset else None,
        marks=np.asarray(dataset["marks"].values)[real].astype(np.int64) if "marks" in dataset else None,
    )


def rebuild(data: Trajectories | xr.Dataset, **changes: Any) -> Trajectories:
    """Build new trajectories from the rows of others (or of a Dataset in this layout), all checks included.

    Args:
        data: Where rows, names, units, static covariates and the clock are taken from.
        **changes: What to take instead: `codes`, `moments`, `values`, `inputs`, `marks`, `static`.
    """
    from dynplat.data.trajectories import Trajectories

    dataset = data.dataset if isinstance(data, Trajectories) else data
    rows, clock = flatten(dataset), clock_of(dataset)
    channels = names_of(dataset, "channel")
    parts: dict[str, Any] = {
        "codes": rows.codes,
        "moments": Moments(rows.times if rows.labels is None else rows.labels),
        "values": rows.values,
        "inputs": rows.inputs,
        "marks": rows.marks,
        "static": static_of(dataset),
    }
    return Trajectories._from_rows(
        **{**parts, **changes},
        series=names_of(dataset, "series"),
        channels=channels,
        input_names=names_of(dataset, "input"),
        units=dict(zip(channels, (str(unit) for unit in dataset["units"].values), strict=True)),
        time_unit=clock.unit,
        time_origin=clock.origin,
        time_zone=clock.zone,
        time_name=str(dataset.attrs["time_name"]),
        series_name=str(dataset.attrs["series_name"]),
    )[0]


def static_of(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """Read static covariates back; texts as NumPy strings."""
    found = {}
    for name in dataset.data_vars:
        if str(name).startswith(STATIC):
            array = dataset[name].values
            # Through objects: NumPy's variable-width texts (as Zarr returns them) know no other way.
            texts = array.dtype.kind in "OT"
            found[str(name)[len(STATIC) :]] = frozen(array.astype(object).astype(str) if texts else array)
    return found
