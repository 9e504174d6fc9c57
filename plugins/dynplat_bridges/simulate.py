r"""Simulation of references: Euler and Maruyama's scheme for :math:`dx = b(x, t)\,dt + \sigma\,dW`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dynplat.arrays import Array, Random, array_namespace, asarray_like
from dynplat.errors import ArgumentError

#: A drift: states (..., particle, channel) and a time to rates of change of the same shape.
Drift = Callable[[Array, float], Array]


def fine_grid(times: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """A grid that holds all `times` and has equal steps, no longer than `step`, between any two neighbours.

    Args:
        times: Non-decreasing times, (time,).
        step: Longest step.

    Returns:
        The grid, (grid,), and the place of each of the times in it, (time,).

    Raises:
        ArgumentError: Times decrease, or the step is not positive.
    """
    times = np.asarray(times, dtype=np.float64)
    if not step > 0:
        raise ArgumentError(f"`step` must be positive; got {step}.")
    if times.ndim != 1 or not times.size or (np.diff(times) < 0).any():
        raise ArgumentError(f"`times` must be a non-decreasing array (time,) with a time at least; got {times!r}.")
    # A hair is taken off, so that a gap that is a whole number of steps up to rounding has just so many.
    counts = np.ceil(np.diff(times) / step - 1e-9).astype(np.int64)
    pieces = [
        np.linspace(start, stop, count + 1)[1:]
        for start, stop, count in zip(times[:-1], times[1:], counts, strict=True)
    ]
    return np.concatenate([times[:1], *pieces]), np.concatenate([[0], np.cumsum(counts)])


def simulate(drift: Drift, start: Array, times: np.ndarray, diffusion: Any, *, step: float, random: Random) -> Array:
    """Simulate paths from given states.

    Args:
        drift: The drift b.
        start: States at the first of the times, (..., particle, channel).
        times: Non-decreasing times, (time,), NumPy.
        diffusion: sigma, a number or one for each channel, broadcast with states.
        step: Longest step of the scheme.
        random: Source of random numbers.

    Returns:
        States at the times, (..., particle, time, channel).
    """
    grid, places = fine_grid(times, step)
    kept = set(places.tolist())
    state, seen = start, {0: start}
    sigma = asarray_like(diffusion, start)
    for k, gap in enumerate(np.diff(grid)):
        noise = random.normal(tuple(state.shape))
        state = state + float(gap) * drift(state, float(grid[k])) + float(np.sqrt(gap)) * sigma * noise
        if k + 1 in kept:
            seen[k + 1] = state
    return array_namespace(start).stack([seen[place] for place in places.tolist()], axis=-2)
