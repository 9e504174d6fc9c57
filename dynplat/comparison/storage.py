"""JSON files that are written at once or not at all, and arrays in them that come back bit for bit.

An array is stored as its bytes in base64, little-endian, with dtype and shape: exact for every number, infinities
included (JSON has no word for them), and readable in any language. A file carries a SHA-256 of its content, so that
damage shows as damage.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from dynplat.data.atomic import replacing
from dynplat.errors import StorageError


def encode_array(array: np.ndarray) -> dict[str, Any]:
    """Turn an array of numbers or booleans into what JSON can hold."""
    array = np.asarray(array)
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)
    return {
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "base64": base64.b64encode(array.tobytes()).decode("ascii"),
    }


def decode_array(stored: Any) -> np.ndarray:
    """Undo `encode_array`.

    Raises:
        StorageError: The stored form is damaged.
    """
    try:
        dtype = np.dtype(stored["dtype"])
        if dtype.kind not in "biuf":
            raise ValueError(f"dtype {dtype}")
        raw = base64.b64decode(stored["base64"], validate=True)
        return np.frombuffer(raw, dtype=dtype).reshape(stored["shape"]).astype(dtype.newbyteorder("="))
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"a stored array is damaged ({type(error).__name__}: {error}).") from error


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """Store a boolean array as eight cells a byte."""
    return {"shape": list(mask.shape), "bits": encode_array(np.packbits(mask, axis=None))}


def decode_mask(stored: Any) -> np.ndarray:
    """Undo `encode_mask`.

    Raises:
        StorageError: The stored form is damaged.
    """
    try:
        shape = tuple(int(size) for size in stored["shape"])
        bits = decode_array(stored["bits"])
        return np.unpackbits(bits, count=int(np.prod(shape))).astype(bool).reshape(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"a stored mask is damaged ({type(error).__name__}: {error}).") from error


def canonical(content: Any) -> str:
    """One text for one content: sorted names, no spaces; for fingerprints."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def write_json(path: str | os.PathLike[str], content: dict[str, Any]) -> None:
    """Write `content` with its SHA-256; a file that was there is replaced in one step, or left when writing fails.

    Raises:
        StorageError: The folder does not exist or cannot be written to.
    """
    write_text(path, json.dumps({**content, "sha256": _digest(content)}, indent=1, allow_nan=False))


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` in one step; a file that was there is replaced whole, or left when writing fails.

    Raises:
        StorageError: The folder does not exist or cannot be written to.
    """
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def read_json(path: str | os.PathLike[str], kind: str, version: int) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Args:
        path: The file.
        kind: What `content["format"]` must say.
        version: What `content["version"]` must say.

    Raises:
        StorageError: The file is missing, cut short, altered, of another kind or of another version.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise StorageError(f"{path}: not a whole JSON file ({error}).") from error
    if not isinstance(content, dict) or content.get("format") != kind:
        raise StorageError(f"{path}: not a {kind}.")
    if content.get("version") != version:
        raise StorageError(
            f"{path}: written in version {content.get('version')} of the format; this dynplat reads version {version}."
        )
    digest = content.pop("sha256", None)
    if digest != _digest(content):
        raise StorageError(f"{path}: the content does not match its SHA-256: the file was altered or damaged.")
    return content


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(canonical(content).encode("utf-8")).hexdigest()
