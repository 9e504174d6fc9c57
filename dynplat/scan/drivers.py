"""The choice of driver, in one place."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from dynplat.arrays import Array, is_jax_array, is_torch_array
from dynplat.errors import ArgumentError

DRIVERS = ("auto", "sequential", "balanced")

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


def choose_driver(driver: str, like: Array, size: int) -> str:
    """Resolve `auto` by framework, device and number of rows.

    NumPy and JAX on a CPU run sequentially (JAX compiles the loop; a tree costs seconds to compile there). torch pays
    for every call, so it runs the tree, whose number of calls grows with log T; so does every framework on a GPU.
    """
    if driver != "auto":
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
