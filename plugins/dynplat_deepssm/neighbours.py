"""Where cells that are asked about lie among the observed ones; host arrays, computed once for all weights.

A cell has neighbours before and after its time, strictly, so that what was observed in it is none of them: of rows, and
of its own channel. What was observed in other channels at its own time stands apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Neighbours(NamedTuple):
    """Neighbours of query times among rows; -1, and a gap of 0, where there is none.

    Attributes:
        order: Rows with something observed first, in order of time, then the others, (series, time).
        present: Whether a row of that order has something observed, (series, time).
        gaps: Time since the row before in that order, 0 for the first, (series, time).
        rows: Places in that order of the last row before and the first one after, (side, series, query).
        row_gaps: Time from and to them, (side, series, query).
        cells: Rows of the last observed cell of each channel before and of the first one after, in the order of the
            data, (side, series, query, channel).
        cell_gaps: Time from and to them, (side, series, query, channel).
        same: Rows at the query time in which something was observed, in the order of the data, (series, query, row).
    """

    order: np.ndarray
    present: np.ndarray
    gaps: np.ndarray
    rows: np.ndarray
    row_gaps: np.ndarray
    cells: np.ndarray
    cell_gaps: np.ndarray
    same: np.ndarray


def neighbours(times: np.ndarray, mask: np.ndarray, queries: np.ndarray) -> Neighbours:
    """Find the neighbours of query times.

    Args:
        times: Times of the rows, (series, time), non-decreasing.
        mask: True = observed, (series, time, channel).
        queries: Query times, (series, query), in any order.
    """
    num_series, num_rows, num_channels = mask.shape
    seen = mask.any(axis=-1)
    order = np.argsort(~seen, axis=-1, kind="stable")
    present = np.take_along_axis(seen, order, axis=-1)
    packed = np.where(present, np.take_along_axis(times, order, axis=-1), np.inf)
    counts = present.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        gaps = np.diff(packed, axis=-1, prepend=packed[:, :1])
    gaps = np.where(present, gaps, 0.0)
    first, stop = np.zeros(queries.shape, int), np.zeros(queries.shape, int)
    for s in range(num_series):
        first[s] = np.searchsorted(packed[s], queries[s], side="left")
        stop[s] = np.searchsorted(packed[s], queries[s], side="right")
    rows = np.stack([first - 1, np.where(stop < counts[:, None], stop, -1)])
    packed_mask = np.take_along_axis(mask, order[..., None], axis=1)
    place = np.arange(num_rows)[:, None]
    last = np.maximum.accumulate(np.where(packed_mask, place, -1), axis=1)
    later = np.where(packed_mask, place, num_rows)[:, ::-1]
    following = np.minimum.accumulate(later, axis=1)[:, ::-1]
    # A place in front for "none before", and one behind for "none after".
    last = np.concatenate([np.full((num_series, 1, num_channels), -1), last], axis=1)
    following = np.concatenate([following, np.full((num_series, 1, num_channels), num_rows)], axis=1)
    before = np.take_along_axis(last, first[..., None], axis=1)
    after = np.take_along_axis(following, stop[..., None], axis=1)
    cells = np.stack([before, np.where(after < num_rows, after, -1)])
    width = int((stop - first).max(initial=0))
    same = first[..., None] + np.arange(width)
    same = np.where(same < stop[..., None], same, -1)
    return Neighbours(
        order,
        present,
        gaps,
        rows,
        _gaps(packed, rows, queries),
        _in_data(order, cells),
        _gaps(packed, cells, queries[..., None]),
        _in_data(order[None], same[None])[0] if width else same,
    )


def _gaps(packed: np.ndarray, places: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Time between queries and places (side, series, query, ...), 0 where there is none."""
    flat = places.reshape(*places.shape[:2], -1)
    found = np.take_along_axis(np.broadcast_to(packed, (len(places), *packed.shape)), np.maximum(flat, 0), axis=-1)
    with np.errstate(invalid="ignore"):
        gaps = np.abs(found.reshape(places.shape) - queries)
    return np.where(places < 0, 0.0, gaps)


def _in_data(order: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Rows of the data of places (side, series, query, ...) in `order`; -1 stays."""
    flat = places.reshape(*places.shape[:2], -1)
    order = np.broadcast_to(order, (len(places), *order.shape[-2:]))
    found = np.take_along_axis(order, np.maximum(flat, 0), axis=-1).reshape(places.shape)
    return np.where(places < 0, -1, found)
