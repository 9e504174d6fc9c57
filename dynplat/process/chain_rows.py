"""Which rows of a discrete chain query times are: rows of its data, or later steps on the same grid."""

from __future__ import annotations

import numpy as np

from dynplat.arrays import Array, concrete
from dynplat.errors import ArgumentError

#: Two times are the same step when they differ by less than this part of a step.
_SAME = 1e-6


def locate_rows(times: Array, query: Array, num_steps: int) -> np.ndarray:
    """Row numbers of query times (..., query) of a chain whose rows are at `times`, (..., time).

    Args:
        times: Times of the rows.
        query: Query times.
        num_steps: Number of rows of the chain's parameters; 1 = time-invariant.

    Returns:
        Row numbers, (..., query); those after the data are time or more.

    Raises:
        ArgumentError: A time is not a row of the chain, or lies after the data of a chain that cannot be extended.
    """
    known, query = concrete(times), concrete(query)
    if known is None or query is None:
        raise ArgumentError("query times of a discrete chain must be numbers, not values that are being traced.")
    lead = np.broadcast_shapes(known.shape[:-1], query.shape[:-1])
    known = np.broadcast_to(known, (*lead, known.shape[-1]))
    query = np.broadcast_to(query, (*lead, query.shape[-1]))
    rows = _exact_rows(known, query)
    return np.where(rows < 0, _later_rows(known, query, num_steps), rows) if (rows < 0).any() else rows


def _exact_rows(known: np.ndarray, query: np.ndarray) -> np.ndarray:
    """First row with each query time, -1 where there is none."""
    flat_known, flat_query = known.reshape(-1, known.shape[-1]), query.reshape(-1, query.shape[-1])
    rows = np.empty(flat_query.shape, dtype=np.int64)
    for i, (line, asked) in enumerate(zip(flat_known, flat_query, strict=True)):
        place = np.searchsorted(line, asked, side="left")
        inside = np.minimum(place, line.size - 1)
        rows[i] = np.where(line[inside] == asked, inside, -1)
    return rows.reshape(query.shape)


def _later_rows(known: np.ndarray, query: np.ndarray, num_steps: int) -> np.ndarray:
    """Row numbers on the grid of a time-invariant chain with evenly spaced rows."""
    missing = query[_exact_rows(known, query) < 0][0]
    if num_steps != 1:
        raise ArgumentError(
            f"`times` contains {missing:g}, which is no row of this chain; its parameters change with time, so it "
            "cannot be extended. Add the row (with mask False) to the observations and to the parameters."
        )
    step = known[..., 1:2] - known[..., 0:1] if known.shape[-1] > 1 else np.ones_like(known[..., :1])
    gaps = np.diff(known, axis=-1)
    # Padded rows repeat the last time.
    even = (np.abs(gaps - step) <= _SAME * np.abs(step)) | (known[..., 1:] == known[..., -1:]) & (gaps == 0)
    if not even.all() or not (step > 0).all():
        raise ArgumentError(
            f"`times` contains {missing:g}, which is no row of this chain, and its rows are not evenly spaced. "
            "A discrete chain knows steps only; use a process in continuous time such as `LinearSDE`."
        )
    place = (query - known[..., :1]) / step
    rows = np.rint(place)
    bad = (np.abs(place - rows) > _SAME) | (rows < 0)
    if bad.any():
        first = query[bad][0]
        raise ArgumentError(
            f"`times` contains {first:g}, which is not on the grid of this chain: its rows start at "
            f"{known.reshape(-1, known.shape[-1])[0, 0]:g} and are {step.reshape(-1)[0]:g} apart."
        )
    return rows.astype(np.int64)
