"""Transitions over the gaps of a grid of times, each different gap discretised once."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like, concrete
from dynplat.process.dynamics.base import AbstractLinearDynamics, offset, real_like


class GridTransitions(NamedTuple):
    """Transitions into each row of a grid; those into the first row mean nothing.

    Attributes:
        F: Transition matrices, (..., series or 1, T or 1, n, n).
        Q: Noise covariances, (..., series or 1, T or 1, n, n).
        c: Offsets, (..., series or 1, T or 1, n), or None for 0.
    """

    F: Array
    Q: Array
    c: Array | None


def gaps_between(times: Array) -> Array:
    """Gaps before each row of `times` (..., time), in float64 on the host when the times are known.

    Differences are taken before any rounding to the parameters' dtype, so that a large time offset costs nothing. Known
    gaps that differ by no more than the rounding of the times are made equal (0.3 - 0.2 and 0.2 - 0.1). The first row
    has no gap before it and repeats the second one's, so that evenly spaced rows have a single gap.
    """
    host = concrete(times)
    if host is not None:
        known = np.asarray(host, dtype=np.float64)
        return _gaps_of(known.tobytes(), known.shape)
    xp = array_namespace(times)
    gaps = times[..., 1:] - times[..., :-1]
    first = gaps[..., :1] if times.shape[-1] > 1 else xp.zeros_like(times)
    return xp.concat([first, gaps], axis=-1)


@lru_cache(maxsize=8)  # an optimiser asks for the same grid again and again
def _gaps_of(content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    times = np.frombuffer(content, dtype=np.float64).reshape(shape)
    gaps = np.diff(times, axis=-1)
    if gaps.size:
        gaps = _without_rounding(gaps, float(np.finfo(np.float64).eps * np.abs(times).max()))
    first = gaps[..., :1] if shape[-1] > 1 else np.zeros_like(times)
    gaps = np.concatenate([first, gaps], axis=-1)
    gaps.setflags(write=False)
    return gaps


def _without_rounding(gaps: np.ndarray, rounding: float) -> np.ndarray:
    """Make positive gaps equal that lie within four roundings of the times (and a millionth of themselves)."""
    positive = gaps > 0
    levels, index = np.unique(gaps[positive], return_inverse=True)
    reach = np.minimum(4.0 * rounding, 1e-6 * levels)
    if not (np.diff(levels) <= reach[:-1]).any():
        return gaps
    group = np.zeros(len(levels), dtype=np.int64)
    start = 0
    for level in range(1, len(levels)):
        start = level if levels[level] - levels[start] > reach[start] else start
        group[level] = start
    # The mean of what was one gap before the times were rounded is nearest to it.
    sums = np.bincount(group[index], weights=gaps[positive], minlength=len(levels))
    counts = np.bincount(group[index], minlength=len(levels))
    equal = gaps.copy()
    equal[positive] = (sums / np.maximum(counts, 1))[group[index]]
    return equal


def grid_transitions(
    dynamics: AbstractLinearDynamics, gaps: Array, inputs: Array | None, like: Array, *, share: bool = True
) -> GridTransitions:
    """Discretise over the gaps before each row.

    Args:
        dynamics: The dynamics.
        gaps: Gap before each row, (..., time).
        inputs: Inputs of the rows, (..., time, input), each held until the next row, or None.
        like: An array of the framework, dtype and device of the answer.
        share: Whether equal gaps are discretised once, where the gaps are known and that is less work.
    """
    if inputs is not None and dynamics.num_inputs:
        rows = real_like(inputs, like)
        inputs = array_namespace(rows).concat([rows[..., :1, :], rows[..., :-1, :]], axis=-2)
    drift = dynamics.drift(inputs, like)
    host = concrete(gaps) if share else None
    if host is not None:
        unique, index = _unique(np.asarray(host, dtype=np.float64))
        F, Q, G = dynamics.step(asarray_like(unique, like))
        lead = np.broadcast_shapes(F.shape[:-3], index.shape[:-1])
        if prod(F.shape[:-2]) <= prod(lead) * index.shape[-1]:
            c = None
            if drift is not None and G is not None:
                c = _offsets(G, drift, unique, index)
            return GridTransitions(spread_rows(F, unique, index), spread_rows(Q, unique, index), c)
    F, Q, G = dynamics.step(real_like(gaps, like))
    return GridTransitions(F, Q, offset(G, drift))


def _offsets(G: Array, drift: Array, unique: np.ndarray, index: np.ndarray) -> Array:
    if drift.shape[-2] == 1:  # constant: once for each different gap
        return spread_rows(G @ drift[..., None], unique, index)[..., 0]
    return (spread_rows(G, unique, index) @ drift[..., None])[..., 0]


def _unique(gaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _unique_of(gaps.tobytes(), gaps.shape)


@lru_cache(maxsize=8)  # an optimiser asks for the same grid again and again
def _unique_of(content: bytes, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Different gaps and where each stands, with one copy along leading axes on which nothing depends."""
    gaps = np.frombuffer(content, dtype=np.float64).reshape(shape)
    for axis in range(gaps.ndim - 1):
        if gaps.shape[axis] > 1 and (gaps == gaps.take([0], axis=axis)).all():
            gaps = gaps.take([0], axis=axis)
    unique, index = np.unique(gaps, return_inverse=True)
    index = index.reshape(gaps.shape)
    unique.setflags(write=False)
    index.setflags(write=False)
    return unique, index


def spread_rows(values: Array, unique: np.ndarray, index: np.ndarray) -> Array:
    """Bring values (..., unique gap, n, m) to the rows, (..., T or 1, n, m)."""
    if len(unique) == 1:
        return values
    xp = array_namespace(values)
    *batch, num, n, m = values.shape
    lead = np.broadcast_shapes(tuple(batch), index.shape[:-1])
    start = np.arange(prod(batch)).reshape(batch) * num
    flat = np.broadcast_to(start, lead)[..., None] + np.broadcast_to(index, (*lead, index.shape[-1]))
    table = xp.reshape(values, (prod(batch) * num, n * m))
    rows = xp.take(table, asarray_like(flat.reshape(-1), values), axis=0)
    return xp.reshape(rows, (*lead, index.shape[-1], n, m))
