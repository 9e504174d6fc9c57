"""The union of observed and query times of each series, on which a process in continuous time becomes a chain."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dynplat.arrays import Array, array_namespace, concrete


class Grid(NamedTuple):
    """Union of observed and query times, series by series; shorter grids repeat their last time.

    Attributes:
        times: Times, (..., row), non-decreasing.
        observed: Observed row that stands in each row of the grid, (..., row), -1 in a row that only a query needs.
        held: Last observed row at or before each row, whose input holds there, (..., row), -1 before the first.
        query: A query that asks for the row, (..., row), -1 where none does.
        rows: Row of the grid of each query, (..., query).
    """

    times: Array
    observed: Array
    held: Array
    query: Array
    rows: Array


def merge_times(times: Array, query: Array) -> Grid:
    """Merge observed `times` (..., time) with `query` times (..., query), both non-decreasing.

    Known times are merged on the host, and a query at an observed time, or at that of an earlier query, needs no row of
    its own. Times that JAX only traces are all kept, so that the shape does not depend on them.
    """
    known, asked = concrete(times), concrete(query)
    if known is None or asked is None:
        return _merge_traced(times, query)
    known, asked = np.asarray(known, dtype=np.float64), np.asarray(asked, dtype=np.float64)
    everything, num = _together(known, asked)
    order = np.argsort(everything, axis=-1, kind="stable")  # observed rows stand before queries at the same time
    ordered = np.take_along_axis(everything, order, axis=-1)
    is_observed = order < num
    fresh = is_observed.copy()
    fresh[..., :1] = True
    fresh[..., 1:] |= ordered[..., 1:] > ordered[..., :-1]
    rank = np.cumsum(fresh, axis=-1) - 1
    size = int(rank.max(initial=-1)) + 1

    def place(values: np.ndarray, where: np.ndarray, filler: int) -> np.ndarray:
        """Write values into their rows; a spare last column takes what is not wanted."""
        out = np.full((*values.shape[:-1], size + 1), filler)
        np.put_along_axis(out, np.where(where, rank, size), values, axis=-1)
        return out[..., :size]

    observed = place(order, is_observed, -1)
    asks = place(order - num, ~is_observed, -1)
    merged = np.broadcast_to(everything.max(axis=-1, keepdims=True, initial=-np.inf), observed.shape).copy()
    np.put_along_axis(merged, rank, ordered, axis=-1)
    # Rows appear in their order, so counting those up to here gives the last one.
    held = np.cumsum(observed >= 0, axis=-1) - 1
    rows = np.take_along_axis(rank, np.argsort(order, axis=-1, kind="stable")[..., num:], axis=-1)
    return Grid(merged, observed, held, asks, rows)


def _merge_traced(times: Array, query: Array) -> Grid:
    everything, num = _together(times, query)
    xp = array_namespace(everything)
    order = xp.argsort(everything, axis=-1, stable=True)
    merged = xp.take_along_axis(everything, order, axis=-1)
    is_observed = order < num
    none = xp.full_like(order, -1)
    return Grid(
        times=merged,
        observed=xp.where(is_observed, order, none),
        held=xp.cumulative_sum(xp.astype(is_observed, order.dtype), axis=-1) - 1,
        query=xp.where(is_observed, none, order - num),
        rows=xp.argsort(order, axis=-1, stable=True)[..., num:],
    )


def _together(times: Array, query: Array) -> tuple[Array, int]:
    xp = array_namespace(next((part for part in (times, query) if not isinstance(part, np.ndarray)), times))
    times, query = xp.asarray(times), xp.asarray(query)
    lead = np.broadcast_shapes(times.shape[:-1], query.shape[:-1])
    parts = [xp.broadcast_to(part, (*lead, part.shape[-1])) for part in (times, query)]
    return xp.concat(parts, axis=-1), times.shape[-1]
