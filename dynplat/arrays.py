"""Observations as processes see them, and the few operations that the array API lacks.

Numerical code of dynplat is written once on the `array API standard <https://data-apis.org/array-api>`_: the namespace
follows the arguments (`array_namespace`), constants are made from an argument so that dtype and device follow it, and
no global back end exists. This module supplies exactly the operations that the standard lacks and that some room
needs; each is tested under NumPy, torch and JAX.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, is_jax_array, is_torch_array

from dynplat.errors import ArgumentError

__all__ = [
    "Array",
    "Observations",
    "Random",
    "array_namespace",
    "asarray_like",
    "concrete",
    "framework",
    "random_source",
    "to_numpy",
]

#: Any array that the array API knows: NumPy, torch or JAX (traced or not).
Array = Any


class Observations(NamedTuple):
    """All that a process sees of data.

    Series shorter than the longest are padded at the end with `mask` False, the last time repeated and finite filler.
    A masked cell contributes exactly 0 to a log density, whatever stands in `values`.

    Attributes:
        times: Times, (..., series, time), non-decreasing along time; the law of a process starts at the first row.
        values: Values, (..., series, time, channel), finite everywhere.
        mask: True = observed, the shape of `values`.
        inputs: Known inputs, (..., series, time, input), or None. The input of a row holds from it until the next row.
        marks: An integer code per row, (..., series, time), or None: what kind of observation the row is.
    """

    times: Array
    values: Array
    mask: Array
    inputs: Array | None = None
    marks: Array | None = None


def asarray_like(value: Any, like: Array) -> Array:
    """Turn numbers or a NumPy array into an array of the namespace, dtype and device of `like`.

    Booleans and integers keep their kind; real numbers take the dtype of `like`.
    """
    xp = array_namespace(like)
    if is_torch_array(value) or is_jax_array(value):
        if array_namespace(value) is not xp:
            raise ArgumentError(
                f"arrays of two frameworks meet: {type(value).__name__} and {type(like).__name__}; "
                "convert one of them first."
            )
        return value
    host = np.asarray(value)
    dtype = None if host.dtype.kind in "biu" else like.dtype
    if is_torch_array(like):
        # torch cannot share memory that NumPy holds read-only, as arrays of data are: such an array is copied.
        return xp.asarray(np.require(host, requirements=["C", "W"]), dtype=dtype, device=like.device)
    return xp.asarray(host, dtype=dtype)


def to_numpy(value: Array) -> np.ndarray:
    """Bring an array to NumPy on the host, cut from any gradient tape."""
    if is_torch_array(value):
        return value.detach().cpu().resolve_conj().numpy()
    return np.asarray(value)


def concrete(value: Array) -> np.ndarray | None:
    """Return the numbers of `value` as NumPy, or None while they are only being traced (JAX) or have none (meta)."""
    if is_torch_array(value):
        return None if value.device.type == "meta" else to_numpy(value)
    if is_jax_array(value):
        jax = sys.modules["jax"]
        return None if isinstance(value, jax.core.Tracer) else np.asarray(value)
    return np.asarray(value)


class Random(NamedTuple):
    """A source of random numbers in one framework, made by `random_source`.

    Attributes:
        normal: Function of a shape: independent standard normal numbers.
        uniform: Function of a shape: independent uniform numbers on [0, 1).
    """

    normal: Any
    uniform: Any


def random_source(seed: int, like: Array) -> Random:
    """Make a source of random numbers with the namespace, dtype and device of `like` from an explicit seed.

    Consecutive calls of the source give fresh numbers; the same seed gives the same sequence.
    """
    if is_torch_array(like):
        torch = sys.modules["torch"]
        generator = torch.Generator(device=like.device)
        generator.manual_seed(int(seed))
        options = {"generator": generator, "dtype": like.dtype, "device": like.device}
        return Random(
            normal=lambda shape: torch.randn(tuple(shape), **options),
            uniform=lambda shape: torch.rand(tuple(shape), **options),
        )
    if is_jax_array(like):
        jax = sys.modules["jax"]
        state = {"key": jax.random.key(int(seed))}

        def fresh() -> Any:
            state["key"], key = jax.random.split(state["key"])
            return key

        return Random(
            normal=lambda shape: jax.random.normal(fresh(), tuple(shape), dtype=like.dtype),
            uniform=lambda shape: jax.random.uniform(fresh(), tuple(shape), dtype=like.dtype),
        )
    rng = np.random.default_rng(int(seed))
    return Random(
        normal=lambda shape: rng.standard_normal(tuple(shape)).astype(like.dtype),
        uniform=lambda shape: rng.random(tuple(shape)).astype(like.dtype),
    )


@contextmanager
def framework(name: str, *, dtype: str = "float64", device: str = "cpu") -> Iterator[Callable[[Any], Array]]:
    """Give a function that turns numbers and NumPy arrays into arrays of `numpy`, `torch` or `jax`.

    Real numbers become `dtype` on `device`; booleans and integers keep their kind. JAX computes in float64 only with
    its x64 switch on: the switch is set inside this context alone and put back after it.

    Args:
        name: `numpy`, `torch` or `jax`.
        dtype: `float64` or `float32`.
        device: A device of the framework, such as `cpu` or `cuda`.

    Raises:
        ArgumentError: The name, the dtype or the device is unknown.
    """
    if dtype not in ("float64", "float32"):
        raise ArgumentError(f"`dtype` must be 'float64' or 'float32'; got {dtype!r}.")
    if name == "numpy":
        yield lambda value: asarray_like(value, np.empty(0, dtype=dtype))
    elif name == "torch":
        import torch

        empty = torch.empty(0, dtype=getattr(torch, dtype), device=_checked(torch.device, device))
        yield lambda value: asarray_like(value, empty)
    elif name == "jax":
        import jax

        with jax.enable_x64(dtype == "float64"):
            target = _checked(jax.devices, "gpu" if device.startswith("cuda") else device)[0]
            with jax.default_device(target):
                empty = jax.numpy.empty(0, dtype=dtype)
                yield lambda value: asarray_like(value, empty)
    else:
        raise ArgumentError(f"`name` must be 'numpy', 'torch' or 'jax'; got {name!r}.")


def _checked(make: Callable[[str], Any], device: str) -> Any:
    try:
        return make(device)
    except RuntimeError as error:
        raise ArgumentError(f"`device` {device!r} is not available here: {error}.") from error
