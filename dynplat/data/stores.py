"""NetCDF and Zarr: the xarray layout itself, so that everything survives and other tools can open it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import numpy as np

from dynplat.data.arrays_xarray import is_layout
from dynplat.data.atomic import replacing, replacing_directory
from dynplat.errors import DataError, StorageError

if TYPE_CHECKING:
    import xarray as xr

    from dynplat.data.snapshots import Snapshots
    from dynplat.data.trajectories import Trajectories

# What would make a group of a variable's name (Zarr takes a backslash for a slash), or no file name somewhere.
_UNSAFE = r'[/\\%:*?"<>|]'
_EPOCH = "1970-01-01"
_UNITS = {"ns": "nanoseconds", "us": "microseconds"}


def write_netcdf(data: Trajectories | Snapshots, path: str | os.PathLike[str]) -> None:
    """Write data as NetCDF 4, atomically."""
    with replacing(path) as temporary:
        _guard(path, lambda: _encode(data.dataset).to_netcdf(temporary, engine="h5netcdf"))


def write_zarr(data: Trajectories | Snapshots, path: str | os.PathLike[str]) -> None:
    """Write data as a Zarr store (format 2, the one whose texts every reader knows), replacing a whole one."""
    with replacing_directory(path) as temporary:
        _guard(path, lambda: _encode(data.dataset).to_zarr(temporary, mode="w", zarr_format=2))


def _guard(path: object, write: Any) -> None:
    try:
        write()
    except (ValueError, TypeError, RuntimeError) as error:
        raise StorageError(f"{path}: could not be written: {error}.") from error


def _encode(dataset: xr.Dataset) -> xr.Dataset:
    """Turn dates into whole numbers since 1970 (as the CF conventions write them) and names into what files allow."""
    encoded = dataset.copy(deep=False)
    if "labels" in encoded.coords:
        labels = encoded["labels"]
        unit = np.datetime_data(labels.dtype)[0]
        attrs = {"units": f"{_UNITS[unit]} since {_EPOCH}", "calendar": "proleptic_gregorian"}
        encoded = encoded.assign_coords(labels=(labels.dims, labels.values.astype(np.int64), attrs))
    names = {name: re.sub(_UNSAFE, lambda found: quote(found[0], safe=""), str(name)) for name in encoded.data_vars}
    return encoded.rename({name: safe for name, safe in names.items() if safe != name})


def _decode(dataset: xr.Dataset) -> xr.Dataset:
    names = {name: unquote(str(name)) for name in dataset.data_vars}
    decoded = dataset.rename({name: plain for name, plain in names.items() if plain != name})
    if "labels" in decoded.variables:
        labels = decoded["labels"]
        unit = "us" if str(labels.attrs.get("units", "")).startswith("micro") else "ns"
        decoded = decoded.assign_coords(labels=(labels.dims, labels.values.astype(np.int64).astype(f"M8[{unit}]")))
    return decoded.set_coords([name for name in ("times", "units", "lengths") if name in decoded.variables])


def read_netcdf(path: Path) -> xr.Dataset:
    """Read a NetCDF file into memory.

    Raises:
        DataError: It is no NetCDF file.
    """
    import xarray as xr

    with open(path, "rb") as opened:
        magic = opened.read(8)
    engine = "scipy" if magic.startswith(b"CDF") else "h5netcdf" if magic.startswith(b"\x89HDF") else ""
    if not engine:
        raise DataError(
            "the file does not begin as a NetCDF file does.", hint="Check its format, or copy it again.", source=path
        )
    try:
        with xr.open_dataset(path, engine=engine, decode_times=False) as opened:
            raw = opened.load()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise DataError(
            f"the file is no whole NetCDF file ({str(error).splitlines()[0] if str(error) else type(error).__name__}).",
            hint="Copy it again.",
            source=path,
        ) from error
    return _finish(raw, path)


def read_zarr(path: Path) -> xr.Dataset:
    """Read a Zarr store into memory.

    Raises:
        DataError: The directory is no Zarr store.
    """
    import xarray as xr

    markers = (".zgroup", "zarr.json", ".zmetadata")
    if not any((path / marker).exists() for marker in markers):
        raise DataError(
            f"the directory is no Zarr store (it holds none of {', '.join(markers)}).",
            hint="Check the name.",
            source=path,
        )
    consolidated = (path / ".zmetadata").exists()
    try:
        with xr.open_dataset(path, engine="zarr", consolidated=consolidated, decode_times=False) as opened:
            raw = opened.load()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise DataError(f"the Zarr store cannot be read ({error}).", hint="Copy it again.", source=path) from error
    return _finish(raw, path)


def _finish(raw: xr.Dataset, path: Path) -> xr.Dataset:
    import xarray as xr

    if is_layout(raw):
        return _decode(raw)
    try:
        return xr.decode_cf(raw)
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"the times cannot be decoded ({str(error).splitlines()[0]}).",
            hint="Check the `units` and `calendar` of the time coordinate.",
            source=path,
        ) from error
