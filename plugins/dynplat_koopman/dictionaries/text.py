"""Dictionaries from texts, and to arrays and back, so that a fitted one can be kept with a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dynplat.errors import ArgumentError, CapabilityError
from dynplat_koopman.dictionaries.base import AbstractDictionary
from dynplat_koopman.dictionaries.combined import Product, Scaled, Union
from dynplat_koopman.dictionaries.fourier import Fourier
from dynplat_koopman.dictionaries.monomials import Monomials
from dynplat_koopman.dictionaries.orthogonal import Hermite, Legendre
from dynplat_koopman.dictionaries.radial import RadialBasis, radial_basis_from

_CLASSES: dict[str, type[AbstractDictionary]] = {
    "monomials": Monomials,
    "hermite": Hermite,
    "legendre": Legendre,
    "fourier": Fourier,
    "rbf": RadialBasis,
    "scaled": Scaled,
    "union": Union,
    "product": Product,
}
#: Options of each kind with their defaults; the type of the default is the type of the option.
_OPTIONS: dict[str, dict[str, Any]] = {
    "monomials": {"degree": 2, "min_degree": 0, "scaling": "standard"},
    "hermite": {"degree": 2, "truncation": "total", "min_degree": 0, "scaling": "standard"},
    "legendre": {"degree": 2, "truncation": "total", "min_degree": 0, "scaling": "box"},
    "fourier": {"order": 1, "truncation": "tensor", "period": 2.0 * np.pi, "complex": False, "scaling": "none"},
    "rbf": {
        "centres": 100,
        "kernel": "gaussian",
        "method": "kmeans",
        "width": 0.0,
        "spread": 1.0,
        "scaling": "standard",
    },
}


def dictionary_from(text: str, data: np.ndarray, *, seed: int) -> AbstractDictionary:
    """Build the dictionary that a text names, for states like the given ones.

    Parts are joined by `+`, options follow after `:`, as in `monomials:degree=1+rbf:centres=100:kernel=gaussian`:

    | kind | options |
    |---|---|
    | `monomials` | degree=2, min_degree=0, scaling=standard |
    | `hermite` | degree=2, truncation=total, min_degree=0, scaling=standard |
    | `legendre` | degree=2, truncation=total, min_degree=0, scaling=box |
    | `fourier` | order=1, truncation=tensor, period=6.283..., complex=no, scaling=none |
    | `rbf` | centres=100, kernel=gaussian, method=kmeans, width=0 (chosen by spread=1), scaling=standard |

    `scaling` brings each variable to mean 0 and standard deviation 1 (`standard`), to [-1, 1] (`box`), or leaves it.

    Args:
        text: The text.
        data: States, (M, d), finite.
        seed: Seed for choosing centres.

    Raises:
        ArgumentError: The text names no dictionary, or a variable does not vary and is to be scaled.
    """
    data = np.asarray(data, dtype=np.float64)
    if data.ndim != 2 or not len(data) or not np.isfinite(data).all():
        raise ArgumentError(f"`data` must be finite states (M, d); got shape {data.shape}.")
    parts = [_part(part.strip(), text, data, seed) for part in text.split("+")]
    return parts[0] if len(parts) == 1 else Union(tuple(parts))


def to_arrays(dictionary: AbstractDictionary) -> dict[str, Any]:
    """Texts, numbers, tuples and NumPy arrays from which `from_arrays` builds the dictionary again.

    Raises:
        CapabilityError: The dictionary holds a function or a network, which are no arrays.
    """
    kind = next((name for name, known in _CLASSES.items() if type(dictionary) is known), None)
    if kind is None:
        raise CapabilityError(
            f"a dictionary of {type(dictionary).__name__} cannot be kept as arrays; keep what makes it, and make it "
            "again."
        )
    out: dict[str, Any] = {"kind": kind}
    for field in dataclasses.fields(dictionary):  # type: ignore[arg-type]
        value = getattr(dictionary, field.name)
        inner = value if isinstance(value, tuple) else (value,)
        if all(isinstance(one, AbstractDictionary) for one in inner):
            for place, one in enumerate(inner):
                prefix = f"{field.name}.{place}" if isinstance(value, tuple) else field.name
                out |= {f"{prefix}.{name}": item for name, item in to_arrays(one).items()}
        else:
            out[field.name] = value
    return out


def from_arrays(arrays: Mapping[str, Any]) -> AbstractDictionary:
    """Build the dictionary that `to_arrays` took apart.

    Raises:
        ArgumentError: The arrays are not of a dictionary.
    """
    kind = arrays.get("kind")
    if kind not in _CLASSES:
        raise ArgumentError(f"`arrays` must have a `kind`, one of {', '.join(_CLASSES)}; got {kind!r}.")
    values: dict[str, Any] = {}
    for field in dataclasses.fields(_CLASSES[kind]):  # type: ignore[arg-type]
        if field.name in arrays:
            values[field.name] = arrays[field.name]
        elif f"{field.name}.kind" in arrays:
            values[field.name] = from_arrays(_below(arrays, field.name))
        elif f"{field.name}.0.kind" in arrays:
            places = range(len({name.split(".")[1] for name in arrays if name.startswith(f"{field.name}.")}))
            values[field.name] = tuple(from_arrays(_below(arrays, f"{field.name}.{place}")) for place in places)
        else:
            raise ArgumentError(f"`arrays` of a dictionary of kind {kind!r} must have {field.name!r}, and have not.")
    return _CLASSES[kind](**values)


def _below(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(f"{prefix}."): value for name, value in arrays.items() if name.startswith(f"{prefix}.")}


def _part(part: str, text: str, data: np.ndarray, seed: int) -> AbstractDictionary:
    kind, *given = part.split(":")
    if kind not in _OPTIONS:
        raise ArgumentError(f"`dictionary` must name one of {', '.join(_OPTIONS)}; got {kind!r} in {text!r}.")
    options = dict(_OPTIONS[kind])
    for item in given:
        name, _, value = item.partition("=")
        if name not in options or not value:
            raise ArgumentError(
                f"`dictionary` {kind!r} has the options {', '.join(f'{k}={v}' for k, v in options.items())}; got "
                f"{item!r} in {text!r}."
            )
        options[name] = _read(value, options[name], item, text)
    location, scale = _scaling(options.pop("scaling"), data)
    standardised = (data - location) / scale
    inner = _MAKERS[kind](standardised, options, seed)
    return inner if not location.any() and (scale == 1.0).all() else Scaled(inner, location, scale)


def _read(value: str, default: Any, item: str, text: str) -> Any:
    try:
        if isinstance(default, bool):
            return {"yes": True, "no": False}[value]
        return type(default)(value)
    except (KeyError, ValueError):
        wanted = "yes or no" if isinstance(default, bool) else {int: "a whole number", float: "a number"}[type(default)]
        raise ArgumentError(f"`dictionary` needs {wanted}; got {item!r} in {text!r}.") from None


def _scaling(rule: str, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    d = data.shape[1]
    if rule == "none":
        return np.zeros(d), np.ones(d)
    if rule == "standard":
        location, scale = data.mean(axis=0), data.std(axis=0)
    elif rule == "box":
        low, high = data.min(axis=0), data.max(axis=0)
        location, scale = 0.5 * (low + high), 0.5 * (high - low)
    else:
        raise ArgumentError(f"`scaling` must be 'standard', 'box' or 'none'; got {rule!r}.")
    still = ~(scale > 1e-12 * np.abs(data).max(axis=0))
    if still.any():
        raise ArgumentError(
            f"variable {int(np.argmax(still))} does not vary in the data and cannot be scaled; leave it out, or give "
            "scaling=none."
        )
    return location, scale


def _fourier(data: np.ndarray, options: dict[str, Any], seed: int) -> AbstractDictionary:
    return Fourier(
        data.shape[1],
        options["order"],
        options["period"],
        truncation=options["truncation"],
        is_complex=options["complex"],
    )


def _rbf(data: np.ndarray, options: dict[str, Any], seed: int) -> AbstractDictionary:
    return radial_basis_from(
        data,
        options["centres"],
        seed=seed,
        kernel=options["kernel"],
        method=options["method"],
        width=options["width"] or None,
        spread=options["spread"],
    )


_MAKERS: dict[str, Callable[[np.ndarray, dict[str, Any], int], AbstractDictionary]] = {
    "monomials": lambda data, options, seed: Monomials(data.shape[1], **options),
    "hermite": lambda data, options, seed: Hermite(data.shape[1], **options),
    "legendre": lambda data, options, seed: Legendre(data.shape[1], **options),
    "fourier": _fourier,
    "rbf": _rbf,
}
