"""NetCDF files through h5netcdf: written at once or not at all, read with errors that say what to do."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dynplat.errors import StorageError

ENGINE = "h5netcdf"


def write_atomically(tree: xr.DataTree, path: str | os.PathLike[str]) -> None:
    """Write `tree` to `path`; a file that was there is replaced in one step, or left as it was when writing fails.

    Raises:
        StorageError: The folder does not exist, cannot be written to, or the disk is full.
    """
    target = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise StorageError(f"{target}: cannot be written: {error.strerror or error}. Choose another folder.") from error
    os.close(handle)
    part = Path(name)
    try:
        tree.to_netcdf(part, engine=ENGINE)
        # mkstemp makes the file private; give it the permissions that an ordinary file would have had.
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)
        os.replace(part, target)
    except OSError as error:
        raise StorageError(f"{target}: cannot be written: {error.strerror or error}.") from error
    except (TypeError, ValueError, NotImplementedError) as error:
        # Only a group that somebody added to the tree can hold what NetCDF does not know.
        raise StorageError(f"{target}: cannot be written as NetCDF: {error}.") from error
    finally:
        part.unlink(missing_ok=True)


def read_tree(path: str | os.PathLike[str]) -> xr.DataTree:
    """Read a NetCDF file with all its groups into memory, dates decoded.

    Raises:
        StorageError: There is no such file, or it is not a NetCDF file.
    """
    with _understandable(path):
        tree = xr.open_datatree(path, engine=ENGINE)
        try:
            return tree.load()
        finally:
            tree.close()


def read_raw(path: str | os.PathLike[str], group: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read the arrays and attributes of one group exactly as they stand in the file.

    Raises:
        StorageError: The group is missing, or the file cannot be read.
    """
    with _understandable(path), xr.open_dataset(path, engine=ENGINE, group=group, decode_cf=False) as dataset:
        arrays = {str(name): np.asarray(array.values) for name, array in dataset.variables.items()}
        return arrays, dict(dataset.attrs)


def raw_dataset(arrays: Mapping[str, np.ndarray], attrs: Mapping[str, Any]) -> xr.Dataset:
    """Hold one-dimensional arrays of plain numbers in a Dataset, each along a dimension of its own."""
    variables = {}
    for name, array in arrays.items():
        # No fill value: the numbers must come back bit for bit.
        variables[name] = xr.Variable((f"{name}_index",), array, encoding={"_FillValue": None})
    return xr.Dataset(variables, attrs=dict(attrs))


class _understandable:
    """Turn what h5py and xarray raise about a file into a `StorageError`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    def __enter__(self) -> None:
        if not self._path.is_file():
            raise StorageError(f"{self._path}: no such file. Check the name, or fit the model again and save it there.")

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, StorageError):
            return
        # h5py raises OSError, KeyError or RuntimeError, and xarray ValueError, depending on where the damage lies.
        if isinstance(error, OSError | KeyError | RuntimeError | ValueError | TypeError | AttributeError):
            raise StorageError(
                f"{self._path}: not a readable NetCDF file of dynplat ({type(error).__name__}: {error}). "
                "It may be damaged, cut short or of another kind; copy it again or fit the model again."
            ) from error


def check_stamp(attrs: Mapping[Any, Any], path: str | os.PathLike[str], kind: str, version: int, writer: str) -> None:
    """Refuse a file that `writer` did not write, or that another version of it wrote.

    Raises:
        StorageError: The file is of another kind or version.
    """
    found, number = attrs.get("dynplat_format"), attrs.get("dynplat_format_version")
    if found != kind:
        what = f"a {found}" if found else "a NetCDF file of another origin"
        raise StorageError(f"{path}: {what}, not a {kind}. Give a file that `{writer}` wrote.")
    if number != version:
        raise StorageError(
            f"{path}: written in version {number} of the format; this dynplat reads version {version}. "
            "Read it with the dynplat that wrote it (`provenance` names the version), or make it again."
        )
