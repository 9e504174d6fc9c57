"""Exact storage of nested values without pickle: JSON for the structure, raw numbers for the arrays.

A value is a number, a string, None, a list, a tuple, a mapping with string keys, a NumPy scalar or a NumPy array,
nested to any depth. `encode` turns it into what JSON can hold plus a table of arrays; `decode` gives back equal values
of equal types, array by array bit for bit (an object array of strings becomes a list with a shape). Tags are one-key
objects whose key starts with `$`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dynplat.errors import ArgumentError, StorageError

#: dtypes that NetCDF stores as they are; all others travel as their bytes.
_NATIVE = ("float64", "float32", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8")
_FIXED_KINDS = "biufcSUmM"


def encode(value: Any, arrays: dict[str, np.ndarray], where: str = "value") -> Any:
    """Turn `value` into JSON's types; arrays go into `arrays` under fresh names.

    Raises:
        ArgumentError: A value of a type that has no exact form; `where` says which.
    """
    if isinstance(value, np.ndarray) and value.dtype == object and all(isinstance(item, str) for item in value.flat):
        return {"$text": {"shape": list(value.shape), "items": value.ravel().tolist()}}
    if isinstance(value, np.ndarray):
        name = f"a{len(arrays)}"
        arrays[name], tag = _raw(value, where)
        return {"$array": {"name": name, **tag}}
    if isinstance(value, np.generic):
        held, tag = _raw(np.asarray(value), where)
        return {"$scalar": {"bytes": held.tobytes().hex(), **tag}}
    if isinstance(value, bool) or value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise ArgumentError(f"`{where}` must have names that are strings to be saved; got {list(value)!r}.")
        return {"$map": {name: encode(item, arrays, f"{where}[{name!r}]") for name, item in value.items()}}
    if isinstance(value, list | tuple):
        items = [encode(item, arrays, f"{where}[{index}]") for index, item in enumerate(value)]
        return {"$tuple": items} if isinstance(value, tuple) else items
    raise ArgumentError(
        f"`{where}` cannot be saved: it is a {type(value).__name__}. "
        "Use numbers, strings, None, lists, tuples, mappings or NumPy arrays."
    )


def decode(coded: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Undo `encode`.

    Raises:
        StorageError: The structure is not one that `encode` makes, or an array is missing.
    """
    if isinstance(coded, list):
        return [decode(item, arrays) for item in coded]
    if not isinstance(coded, dict):
        return coded
    try:
        ((tag, content),) = coded.items()
        if tag == "$map":
            return {name: decode(item, arrays) for name, item in content.items()}
        if tag == "$tuple":
            return tuple(decode(item, arrays) for item in content)
        if tag == "$float":
            return float(content)
        if tag == "$scalar":
            return np.frombuffer(bytes.fromhex(content["bytes"]), dtype=_dtype(content["dtype"]))[0]
        if tag == "$text":
            return np.array(content["items"], dtype=object).reshape(content["shape"])
        if tag == "$array":
            return _unraw(np.asarray(arrays[content["name"]]), content)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise StorageError(f"the stored values are damaged ({type(error).__name__}: {error}).") from error
    raise StorageError(f"the stored values are damaged: the tag {tag!r} is unknown.")


def _raw(value: np.ndarray, where: str) -> tuple[np.ndarray, dict[str, Any]]:
    if value.dtype.kind not in _FIXED_KINDS:
        raise ArgumentError(
            f"`{where}` cannot be saved: its array has dtype {value.dtype}. Use an array of numbers or of strings."
        )
    tag = {"dtype": value.dtype.str, "shape": list(value.shape)}
    value = np.ascontiguousarray(value)
    if value.dtype.isnative and value.dtype.name in _NATIVE and value.size:
        return value.reshape(-1), tag
    return np.frombuffer(value.tobytes(), dtype=np.uint8), tag


def _unraw(held: np.ndarray, tag: Mapping[str, Any]) -> np.ndarray:
    dtype = _dtype(tag["dtype"])
    return np.frombuffer(np.ascontiguousarray(held).tobytes(), dtype=dtype).reshape(tag["shape"]).copy()


def _dtype(text: str) -> np.dtype:
    dtype = np.dtype(text)
    if dtype.kind not in _FIXED_KINDS:
        raise ValueError(f"dtype {text!r}")
    return dtype
