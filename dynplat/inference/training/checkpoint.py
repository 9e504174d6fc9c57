"""Checkpoints of a training: one safetensors file, weights and moments as arrays, all the rest as JSON in its header.

A file is replaced whole or left as it was. It carries a SHA-256 of its arrays, and what the training was asked for, so
that another model, other data or other options are refused by name.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dynplat.data.atomic import replacing
from dynplat.errors import ArgumentError, StorageError

_FORMAT = "dynplat training"
_VERSION = 1


class Checkpoint(NamedTuple):
    """A training at rest.

    Attributes:
        identity: What it was asked for, by name: what must agree for it to be taken up again.
        state: Where it stands: numbers, texts, lists, mappings.
        arrays: Weights, best weights and moments of the optimiser, by `<kind>/<site>`.
    """

    identity: dict[str, Any]
    state: dict[str, Any]
    arrays: dict[str, np.ndarray]


def check_place(path: str, *, resume: bool) -> None:
    """Refuse a file that cannot be written, or is in the way, before hours are spent.

    Raises:
        ArgumentError: The file is there, and is not to be read.
        StorageError: Its folder is not there, or cannot be written to.
    """
    folder = Path(path).absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        what = "cannot be written to" if folder.is_dir() else "is not there"
        raise StorageError(f"`checkpoint` {path!r}: the folder {folder} {what}. Create it, or name another file.")
    if Path(path).exists() and not resume:
        raise ArgumentError(
            f"`checkpoint` {path!r} is there already: go on from it with `resume=True`, or remove it, or name another "
            "file."
        )


def write_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint; one that was there is replaced in one step, or left when writing fails.

    Raises:
        StorageError: The file cannot be written.
    """
    from safetensors.numpy import save

    arrays = {name: np.asarray(value, order="C") for name, value in checkpoint.arrays.items()}
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "identity": checkpoint.identity,
        "state": checkpoint.state,
        "sha256": _digest(arrays),
    }
    content = save(arrays, {"dynplat": json.dumps(header, allow_nan=False)})
    with replacing(path) as part:
        part.write_bytes(content)


def read_checkpoint(path: str | os.PathLike[str], identity: Mapping[str, Any]) -> Checkpoint:
    """Read a checkpoint of the training that `identity` describes.

    Raises:
        StorageError: The file cannot be read, is damaged, or is no checkpoint.
        ArgumentError: It belongs to another training; the message says what differs.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            header = json.loads((file.metadata() or {})["dynplat"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        if header["format"] != _FORMAT:
            raise KeyError("format")
        version, found, state, digest = (header[name] for name in ("version", "identity", "state", "sha256"))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise StorageError(
            f"{path}: no checkpoint of a training, or a damaged one ({type(error).__name__}: {error}). Name another "
            "file, or remove it to start anew."
        ) from error
    if version != _VERSION:
        raise StorageError(
            f"{path}: written in version {version} of the format; this dynplat reads version {_VERSION}. Start anew."
        )
    if digest != _digest(arrays):
        raise StorageError(f"{path}: the arrays do not match their SHA-256: the file is damaged. Start anew.")
    # As JSON gives it back: tuples are lists there.
    wanted = json.loads(json.dumps(identity))
    differ = [name for name in {**wanted, **found} if wanted.get(name) != found.get(name)]
    if differ:
        shown = "; ".join(
            f"{name}: {_short(found.get(name))} there, {_short(wanted.get(name))} here" for name in differ
        )
        raise ArgumentError(
            f"`checkpoint` {str(path)!r} is of another training, which cannot be taken up as this one: {shown}. Give "
            "what it was made with, or name another file."
        )
    return Checkpoint(found, state, arrays)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    whole = hashlib.sha256()
    for name in sorted(arrays):
        whole.update(f"{name}{arrays[name].dtype.str}{arrays[name].shape}".encode())
        whole.update(arrays[name].tobytes())
    return whole.hexdigest()
