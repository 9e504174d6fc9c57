"""The union of observed and query times of each series, on which a process in continuous time becomes a chain."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dynplat.arrays import Array, Observations, array_namespace, asarray_like, concrete, take_rows
from dynplat.errors import ArgumentError


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


def rows_of(values: Array, index: Array, like: Array) -> Array:
    """Rows `index` of `values` (..., time, core), zeros (or False) where the index is -1."""
    if not isinstance(values, np.ndarray):
        index = asarray_like(index, values)
    elif not isinstance(index, np.ndarray):
        values = asarray_like(values, like)
    xp = array_namespace(values, index)
    rows = take_rows(values, xp.where(index >= 0, index, 0), num_core=1)
    return xp.where((index >= 0)[..., None], rows, xp.zeros_like(rows))


def inputs_of(known: Array, asked: Array | None, grid: Grid, like: Array) -> Array:
    """Inputs on a grid, (..., row, input), each held until the next row.

    Args:
        known: Inputs at the observed rows, (..., time, input).
        asked: Inputs at the query times, (..., query, input), or None: then the last observed row's goes on. At an
            observed time that row's stands.
        grid: The grid; before the first observed row, where no query says otherwise, inputs are 0.
        like: An array of the framework, dtype and device of the answer.
    """
    held = rows_of(known, grid.held, like)
    if asked is None:
        return held
    use = asarray_like((grid.observed < 0) & (grid.query >= 0), like)
    return array_namespace(like).where(use[..., None], rows_of(asked, grid.query, like), held)


def with_a_row(observations: Observations, times: Array) -> Observations:
    """Observations without any row get one at the first query in which nothing is observed: the law starts there."""
    if observations.times.shape[-1] or not times.shape[-1]:
        return observations
    values, inputs = observations.values, observations.inputs
    return Observations(
        times=times[..., :1],
        values=np.zeros((*values.shape[:-2], 1, values.shape[-1])),
        mask=np.zeros((*values.shape[:-2], 1, values.shape[-1]), dtype=bool),
        inputs=None if inputs is None else np.zeros((*inputs.shape[:-2], 1, inputs.shape[-1])),
    )


def check_order(times: Array, gaps: Array) -> None:
    """Refuse times that decrease within a series; while they are only traced, nothing."""
    host = concrete(gaps)
    if host is None or (host[..., 1:] >= 0).all():
        return
    *lead, row = (int(i) for i in np.argwhere(~(host[..., 1:] >= 0))[0])
    line = np.asarray(concrete(times))[tuple(lead)]
    series = f" of series {lead[-1]}" if lead else ""
    raise ArgumentError(
        f"`times` must not decrease within a series; row {row + 1}{series} has {line[row + 1]!s} after {line[row]!s}. "
        "Sort the rows of each series by time."
    )


def check_start(times: Array, query: Array) -> Array | float:
    """Refuse queries before the law starts; while JAX traces, return NaN for such series and 0 for others."""
    known, asked = concrete(times), concrete(query)
    if known is None or asked is None:
        xp = array_namespace(next(part for part in (times, query) if concrete(part) is None))
        return xp.where(xp.asarray(query)[..., :1] < xp.asarray(times)[..., :1], xp.nan, 0.0)
    known, asked = np.broadcast_arrays(known[..., :1], asked[..., :1])
    early = np.argwhere(asked < known)
    if len(early):
        index = tuple(int(i) for i in early[0])
        series = f" of series {index[-2]}" if known.ndim > 1 else ""
        raise ArgumentError(
            f"`times` contains {asked[index]!s}, before the first row{series} at {known[index]!s}, where the law "
            "of this process starts. Only a process started from its stationary law can be asked about earlier "
            "times; put an unobserved row at the earliest time into the data instead."
        )
    return 0.0
