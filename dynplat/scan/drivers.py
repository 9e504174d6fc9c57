"""The choice of driver, in one place."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from math import prod

import numpy as np

from dynplat.arrays import Array, in_torch_transform, is_jax_array, is_torch_array
from dynplat.errors import ArgumentError, CapabilityError

DRIVERS = ("auto", "compiled", "sequential", "balanced")

#: Dtypes of kernels of real numbers, and of those that take complex numbers too.
_REAL = ("float32", "float64")
_COMPLEX = (*_REAL, "complex64", "complex128")

#: Kernels in Triton with a program for each series: fewer leave most of a GPU idle, and matrices of more states (and
#: channels) do not fit the registers of a program. These bounds were not measured.
FEWEST_SERIES = 32
MOST_SIZES = {"hidden Markov": (32,), "linear-Gaussian": (16, 8)}

#: Below this number of rows a tree does not pay under torch on a CPU (value and gradient, states 2 to 12).
_SHORT = 16


@dataclass
class ForcedDriver:
    """The driver that stands in for `auto` for a while.

    Args:
        driver: Its name.
        asked: Whether anything asked for `auto` meanwhile.
    """

    driver: str
    asked: bool = False


_FORCED: ContextVar[ForcedDriver | None] = ContextVar("forced_driver", default=None)


@contextmanager
def forced_driver(driver: str) -> Iterator[ForcedDriver]:
    """Let `driver` stand in for every `auto` that is checked inside, so that drivers can be compared on any process.

    Processes check the name when they are built: build them inside.

    Yields:
        A record that tells whether anything was asked.
    """
    forced = ForcedDriver(check_driver(driver))
    token = _FORCED.set(forced)
    try:
        yield forced
    finally:
        _FORCED.reset(token)


def check_driver(driver: str) -> str:
    """Return `driver` if it is one; inside `forced_driver`, the one that stands in for `auto`.

    Raises:
        ArgumentError: It is not one of `DRIVERS`.
    """
    if driver not in DRIVERS:
        raise ArgumentError(f"`driver` must be one of {DRIVERS}; got {driver!r}.")
    forced = _FORCED.get()
    if driver != "auto" or forced is None:
        return driver
    forced.asked = True
    return forced.driver


def runs_compiled(driver: str, like: Array, *, knows_complex: bool = False) -> bool:
    """Whether a scan that has a compiled kernel runs it: asked for, or `auto` with nothing in its way.

    On a CPU the kernels beat every generic driver at every size that was measured (`benchmarks/likelihoods.py`,
    `benchmarks/affine_recurrence.py`).

    Args:
        driver: Its name.
        like: An array of the scan.
        knows_complex: Whether the scan's kernel takes complex numbers too.

    Raises:
        CapabilityError: `compiled` was asked for where no kernel can run.
    """
    if driver not in ("auto", "compiled"):
        return False
    obstacle = _obstacle(like, _COMPLEX if knows_complex else _REAL)
    if obstacle is not None and driver == "compiled":
        raise CapabilityError(f"`driver='compiled'` can't run here: {obstacle} Use 'auto', 'sequential' or 'balanced'.")
    return obstacle is None


def runs_triton(driver: str, like: Array) -> bool:
    """Whether a scan that has a kernel in Triton runs it: for torch tensors on a GPU, where Triton is installed."""
    return (
        driver in ("auto", "compiled")
        and is_torch_array(like)
        and like.device.type == "cuda"
        and _dtype_name(like) in _COMPLEX
        and not in_torch_transform()
        and _has_triton()
    )


def runs_triton_by_series(
    driver: str, like: Array, chain: str, sizes: tuple[int, ...], leads: Iterable[tuple[int, ...]]
) -> bool:
    """Whether a filter in Triton, with a program for each series, runs: where `runs_triton`, if it is expected to pay.

    Args:
        driver: The driver's name.
        like: An array of the scan.
        chain: Key of `MOST_SIZES`.
        sizes: Numbers that `MOST_SIZES` bounds.
        leads: Leading shapes of what the filter reads, which broadcast to that of its series.
    """
    return (
        runs_triton(driver, like)
        and all(size <= most for size, most in zip(sizes, MOST_SIZES[chain], strict=True))
        and prod(np.broadcast_shapes(*leads)) >= FEWEST_SERIES
    )


@lru_cache(maxsize=1)
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _dtype_name(array: Array) -> str:
    return str(array.dtype).rpartition(".")[2]


def _obstacle(like: Array, known: tuple[str, ...]) -> str | None:
    """What keeps kernels that know certain dtypes from running on arrays like this one."""
    if _dtype_name(like) not in known:
        return f"its kernel knows {', '.join(known[:-1])} and {known[-1]}, and the arrays are {like.dtype}."
    if is_torch_array(like):
        if like.device.type != "cpu":
            return f"kernels run on the CPU, and the tensors are on {like.device}."
        if in_torch_transform():
            return "inside `torch.func` transforms no tensor can be read."
    elif is_jax_array(like) and _on_accelerator(like):
        return "kernels run on the CPU, and JAX computes on an accelerator."
    return None


def choose_driver(driver: str, like: Array, size: int) -> str:
    """Resolve `auto` among the generic drivers by framework, device and number of rows; so too `compiled`.

    NumPy and JAX on a CPU run sequentially (JAX compiles the loop; a tree costs seconds to compile there). torch pays
    for every call, so it runs the tree, whose number of calls grows with log T; so does every framework on a GPU.
    """
    if driver not in ("auto", "compiled"):
        return driver
    if is_torch_array(like):
        return "balanced" if size > _SHORT else "sequential"
    if is_jax_array(like) and _on_accelerator(like):
        return "balanced"
    return "sequential"


def _on_accelerator(array: Array) -> bool:
    """Whether a JAX array, traced or not, will be computed on something else than a CPU."""
    jax = sys.modules["jax"]
    devices = getattr(array, "devices", None)
    if isinstance(array, jax.core.Tracer) or devices is None:
        default = jax.config.jax_default_device
        platform = getattr(default, "platform", default) if default is not None else jax.default_backend()
        return platform != "cpu"
    return any(device.platform != "cpu" for device in devices())
