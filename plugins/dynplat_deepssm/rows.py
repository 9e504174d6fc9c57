"""Rows as networks read them: those without anything to read put first, gaps in units, values in standard ones.

A network that runs over a series must not count rows that are not there: padding, and rows in which nothing was
observed, which is then the same as no row at all. All rows that are there are moved to the end of the time axis, in
their order, so that series of any lengths end together and the last state of a run is that of each. In front stand the
others, which write nothing (`dynplat_deepssm.executors`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dynplat.arrays import Array, Observations, array_namespace, asarray_like, concrete


class Packed(NamedTuple):
    """Rows of series with those that are there at the end.

    Attributes:
        order: Where each row comes from, (..., series, time).
        present: Whether it is there, (..., series, time).
        gaps: Time since the row before that is there, 0 for the first of a series, (..., series, time).
        last: Time of the last row, (..., series); where there is none it means nothing.
    """

    order: Array
    present: Array
    gaps: Array
    last: Array

    def take(self, values: Array) -> Array:
        """Bring values (..., series, time, channel) into this order."""
        return along_time(values, self.order)

    def back(self, rows: Array) -> Array:
        """Bring numbers of rows (..., series, time) back into their own order."""
        xp = array_namespace(self.order)
        return along_time(rows[..., None], xp.argsort(self.order, axis=-1))[..., 0]


def pack(observations: Observations) -> Packed:
    """Find the rows that are there.

    A row is there if something was observed in it. Where there are known inputs, rows before the last observation are
    all there, because what the inputs did counts. Gaps are taken in the precision of the times.
    """
    times, mask = _common(observations.times, observations.mask)
    xp = array_namespace(times)
    present = xp.any(mask, axis=-1)
    if observations.inputs is not None:
        ahead = xp.flip(xp.cumulative_sum(xp.flip(xp.astype(present, xp.int64), axis=-1), axis=-1), axis=-1)
        present = ahead > 0
    times = xp.broadcast_to(times, np.broadcast_shapes(tuple(times.shape), tuple(present.shape)))
    present = xp.broadcast_to(present, tuple(times.shape))
    order = xp.argsort(xp.astype(present, xp.int64), axis=-1, stable=True)
    present, times = (along_time(array[..., None], order)[..., 0] for array in (present, times))
    steps = times[..., 1:] - times[..., :-1]
    steps = xp.where(present[..., 1:] & present[..., :-1], steps, xp.zeros_like(steps))
    gaps = xp.concat([xp.zeros_like(times[..., :1]), steps], axis=-1)
    return Packed(order, present, gaps, times[..., -1])


def before(rows: Array) -> Array:
    """The row before each row, (..., time, channel), zeros before the first."""
    xp = array_namespace(rows)
    return xp.concat([xp.zeros_like(rows[..., :1, :]), rows[..., :-1, :]], axis=-2)


def along_time(values: Array, order: Array) -> Array:
    """Take rows of values (..., series, time, channel) in an order (..., series, time), which broadcasts with them."""
    xp = array_namespace(values)
    order = order if array_namespace(order) is xp else asarray_like(order, values)
    if hasattr(order, "device") and getattr(values, "device", None) != order.device:
        order = asarray_like(np.asarray(concrete(order)), values)
    lead = np.broadcast_shapes(tuple(values.shape[:-2]), tuple(order.shape[:-1]))
    values = xp.broadcast_to(values, (*lead, *values.shape[-2:]))
    index = xp.broadcast_to(order[..., None], (*lead, order.shape[-1], values.shape[-1]))
    return xp.take_along_axis(values, index, axis=-2)


def _common(times: Array, mask: Array) -> tuple[Array, Array]:
    """Times and mask on the host where their numbers are known, and in one framework where they are not."""
    known = concrete(times), concrete(mask)
    if known[0] is not None and known[1] is not None:
        return np.asarray(known[0], dtype=np.float64), known[1]
    like = times if known[0] is None else mask
    xp = array_namespace(like)
    times = times if known[0] is None else xp.asarray(np.asarray(known[0], dtype=np.float64))
    return times, (mask if known[1] is None else asarray_like(known[1], like))
