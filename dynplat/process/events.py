"""Shapes of processes as distributions: what `dynplat.process.pyro` and `dynplat.process.numpyro` share."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynplat.arrays import Array, Observations, concrete
from dynplat.errors import ArgumentError


def batch_shape(process: Any, times: Array, mask: Array | None, inputs: Array | None) -> tuple[int, ...]:
    """Leading shape of a process (its `batch_shape`) and of what it is asked at, broadcast together."""
    shapes = {
        "process": tuple(getattr(process, "batch_shape", ())),
        "times": tuple(times.shape[:-1]),
        "mask": () if mask is None else tuple(mask.shape[:-2]),
        "inputs": () if inputs is None else tuple(inputs.shape[:-2]),
    }
    try:
        return tuple(np.broadcast_shapes(*shapes.values()))
    except ValueError:
        raise ArgumentError(
            f"leading axes of process, `times`, `mask` and `inputs` do not broadcast: {shapes}."
        ) from None


def event_shape(
    process: Any, times: Array, mask: Array | None, inputs: Array | None, num_channels: int | None
) -> tuple[int, int]:
    """(time, channel) of one event."""
    size = int(times.shape[-1])
    for name, array in (("mask", mask), ("inputs", inputs)):
        if array is not None and (len(array.shape) < 2 or array.shape[-2] != size):
            raise ArgumentError(f"`{name}` must have {size} rows, as `times`; got shape {tuple(array.shape)}.")
    known = mask.shape[-1] if mask is not None else getattr(process, "num_channels", num_channels)
    if known is None:
        raise ArgumentError(f"{type(process).__name__} does not tell its number of channels: give `num_channels`.")
    return size, int(known)


def count_rows(num_steps: int, **arrays: tuple[Array | None, int]) -> int:
    """Number of rows of an event of a discrete chain.

    Args:
        num_steps: Number of rows of its parameters; 1 = time-invariant.
        **arrays: Arrays with a time axis, and where that axis is.
    """
    for array, axis in arrays.values():
        if array is not None:
            return int(array.shape[axis])
    if num_steps > 1:
        return num_steps
    raise ArgumentError(
        f"a time-invariant chain does not tell how many rows an event has: give one of `{'`, `'.join(arrays)}`."
    )


def observed(value: Array, times: Array, mask: Array | None, inputs: Array | None, marks: Array | None) -> Observations:
    """Observations from a value of a site, which may hold anything, NaN too, where `mask` is False."""
    if mask is None:
        mask = np.ones(tuple(value.shape[-2:]), dtype=bool)
    return Observations(times, value, mask, inputs, marks)


def check_event(value: Array, event: tuple[int, ...], mask: Array | None) -> None:
    """Refuse values of another shape, and NaN in cells that count as observed.

    Raises:
        ArgumentError: The value is not an event of the distribution.
    """
    if tuple(value.shape[-2:]) != tuple(event):
        raise ArgumentError(f"the value must end in (time, channel) = {tuple(event)}; got shape {tuple(value.shape)}.")
    numbers = concrete(value)
    if numbers is None:
        return
    bad = ~np.isfinite(numbers)
    if mask is not None and bad.any():
        known = concrete(mask)
        if known is None:
            return
        bad = bad & known
    if bad.any():
        *_, row, channel = (int(i) for i in np.argwhere(bad)[0])
        raise ArgumentError(
            f"the value is not finite at row {row}, channel {channel}, which counts as observed. For missing cells "
            "give `mask` (True = observed), for example `mask=isfinite(y)`."
        )
