"""A posterior in one NetCDF file, and back.

The ArviZ groups are written as xarray writes them, so that any tool can read them. Two more groups hold what a further
question needs, bit for bit: `context` and `data`, their structure as JSON in an attribute and their arrays as raw
numbers (`dynplat.posterior.codec`). The model is kept as its id and options; whoever loads the file says how an id
becomes a model, so that loading runs no code that the file could choose. A SHA-256 over draws, context and data, taken
when the file is written, is compared when it is read.

Groups that this version does not know are ignored on reading. Weights of a network that are not draws have their place
in a further group of their own, as the bytes of a safetensors file beside its checksum.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from dynplat.errors import StorageError
from dynplat.posterior.arviz import group_of
from dynplat.posterior.codec import decode, encode
from dynplat.posterior.netcdf import check_stamp, raw_dataset, read_raw, read_tree, write_atomically

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories
    from dynplat.model import AbstractModel, Context

FORMAT = "dynplat posterior"
VERSION = 1
_EXACT = ("context", "data")
_OWN_ATTRS = ("dynplat_format", "dynplat_format_version", "model", "digest")


class Parts(NamedTuple):
    """What a posterior consists of."""

    tree: xr.DataTree
    model: AbstractModel
    context: Context
    data: Trajectories | Snapshots


def write_parts(parts: Parts, path: str | os.PathLike[str]) -> None:
    """Write a posterior, replacing a file that is there in one step.

    Raises:
        ArgumentError: The context or the options hold a value that has no exact form in a file.
        StorageError: The file cannot be written.
    """
    stored = {
        "context": _store(_context_fields(parts.context), "context"),
        "data": _store(_data_fields(parts.data), "data"),
    }
    unused: dict[str, np.ndarray] = {}
    model = {"id": parts.model.entry.id, "options": encode(dict(parts.model.options), unused, "options")}
    if unused:
        raise StorageError("the model's options hold arrays; options are numbers, strings, None and tuples of those.")
    groups = {path: group for path, group in parts.tree.to_dict().items() if path.split("/")[1] not in ("", *_EXACT)}
    groups |= {f"/{name}": raw_dataset(arrays, {"structure": text}) for name, (text, arrays) in stored.items()}
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {
        **parts.tree.attrs,
        "dynplat_format": FORMAT,
        "dynplat_format_version": VERSION,
        "model": json.dumps(model),
        "digest": _digest(model, parts.tree, stored),
    }
    write_atomically(tree, path)


def read_parts(path: str | os.PathLike[str], resolve: Callable[[str, dict[str, Any]], AbstractModel]) -> Parts:
    """Read a posterior back.

    Args:
        path: The file.
        resolve: Function of a model's id and options that returns the model; its errors pass through.

    Raises:
        StorageError: The file is missing, damaged, of another kind or of another version.
    """
    from dynplat.data import Snapshots, Trajectories
    from dynplat.model import Context

    tree = read_tree(path)
    check_stamp(tree.attrs, path, FORMAT, VERSION, "Posterior.save")
    missing = [name for name in ("posterior", "provenance", *_EXACT) if name not in tree.children]
    if missing or not {"model", "digest", "provenance"} <= set(tree.attrs):
        what = ", ".join(missing) or "its description"
        raise StorageError(f"{path}: the posterior lacks {what}: the file is damaged. Copy it again or fit again.")
    stored = {name: _read_stored(path, name) for name in _EXACT}
    try:
        described = json.loads(tree.attrs["model"])
        if _digest(described, tree, stored) != tree.attrs["digest"]:
            raise StorageError(
                "the content does not agree with its checksum: the file was changed or damaged after it was saved. "
                "Copy it again or fit again."
            )
        options = decode(described["options"], {})
        fields = {name: decode(json.loads(text), arrays) for name, (text, arrays) in stored.items()}
        context = Context(**fields["context"])
        dataset = _dataset(fields["data"])
        data = (Snapshots if dataset.attrs.get("dynplat_kind") == "snapshots" else Trajectories)(dataset)
    except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        raise StorageError(f"{path}: {error}") from error
    model = resolve(described["id"], options)
    tree.attrs = {name: value for name, value in tree.attrs.items() if name not in _OWN_ATTRS}
    for name in _EXACT:
        del tree[name]
    return Parts(tree, model, context, data)


def _context_fields(context: Context) -> dict[str, Any]:
    return {
        "num_series": int(context.num_series),
        "channels": tuple(context.channels),
        "inputs": tuple(context.inputs),
        "time_unit": context.time_unit,
        "values": dict(context.values),
        "static": dict(context.static),
    }


def _data_fields(data: Trajectories | Snapshots) -> dict[str, Any]:
    dataset = data.dataset
    return {
        "variables": {
            str(name): (list(v.dims), np.asarray(v.values), dict(v.attrs)) for name, v in dataset.variables.items()
        },
        "coords": [str(name) for name in dataset.coords],
        "attrs": dict(dataset.attrs),
    }


def _dataset(fields: Mapping[str, Any]) -> xr.Dataset:
    dataset = xr.Dataset(
        {name: xr.Variable(*parts) for name, parts in fields["variables"].items()}, attrs=fields["attrs"]
    )
    dataset = dataset.set_coords(fields["coords"])
    for variable in dataset.variables.values():
        if isinstance(variable.values, np.ndarray) and variable.values.flags.owndata:
            variable.values.setflags(write=False)
    return dataset


def _store(fields: Mapping[str, Any], where: str) -> tuple[str, dict[str, np.ndarray]]:
    arrays: dict[str, np.ndarray] = {}
    return json.dumps(encode(fields, arrays, where)), arrays


def _read_stored(path: str | os.PathLike[str], group: str) -> tuple[str, dict[str, np.ndarray]]:
    arrays, attrs = read_raw(path, group)
    if "structure" not in attrs:
        raise StorageError(
            f"{path}: group {group!r} has no structure: the file is damaged. Copy it again or fit again."
        )
    return attrs["structure"], arrays


def _digest(
    model: Mapping[str, Any], tree: xr.DataTree, stored: Mapping[str, tuple[str, dict[str, np.ndarray]]]
) -> str:
    """SHA-256 over everything that a prediction depends on."""
    draws = group_of(tree, "posterior")
    whole = hashlib.sha256(json.dumps(model, sort_keys=True).encode())
    for name in sorted(map(str, draws.data_vars)):
        _update(whole, name, draws[name].values)
        whole.update(repr((draws[name].dims, int(draws[name].attrs["local"]))).encode())
    if "asymptotic" in tree.children:
        law = group_of(tree, "asymptotic")
        for name in sorted(map(str, law.data_vars)):
            _update(whole, name, law[name].values)
    for group in sorted(stored):
        text, arrays = stored[group]
        whole.update(f"{group}{text}".encode())
        for name in sorted(arrays):
            _update(whole, name, arrays[name])
    return whole.hexdigest()


def _update(whole: Any, name: str, array: np.ndarray) -> None:
    # Little-endian everywhere, and one form of NaN, so that the sum does not depend on the machine or on decoding.
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), np.array(np.nan, dtype=array.dtype), array)
    whole.update(f"{name}{array.dtype.str}{array.shape}".encode())
    whole.update(array.tobytes())
