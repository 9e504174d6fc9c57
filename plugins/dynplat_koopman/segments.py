"""The likelihood of a lifted process by segments: side by side, because each depends on the row that it starts from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dynplat.arrays import Array, Observations, array_namespace, asarray_like, symmetrise, take_rows
from dynplat.process import LinearGaussian, LinearSDE

#: Segments are run side by side while, filled up to the longest, they have no more rows than this times the data's.
_MAX_PADDING = 4


class Segments(NamedTuple):
    """Rows of series cut into segments, each from behind a lifted row up to the next lifted row.

    Attributes:
        lifted: Lifted row that each segment follows, (series, segment).
        rows: Rows of each segment, (series, segment, place).
        inside: Whether that is a row of the segment, (series, segment, place).
        head: Number of rows at the start up to the first lifted row, (series,): they belong to no segment.
        index: Segment and place of each row as one number, segment * places + place, (series, time).
    """

    lifted: np.ndarray
    rows: np.ndarray
    inside: np.ndarray
    head: np.ndarray
    index: np.ndarray


def cut(lifts: np.ndarray) -> Segments | None:
    """Cut series behind their lifted rows (series, time); None where filling up would cost more than it saves."""
    num_series, size = lifts.shape
    starts = [np.flatnonzero(line) for line in lifts]
    lengths = [np.diff(np.append(line, size - 1)) for line in starts]
    count = max(len(line) for line in starts)
    places = max((int(line.max(initial=0)) for line in lengths), default=0)
    if count == 0 or places == 0 or count * places > _MAX_PADDING * size:
        return None
    lifted = np.full((num_series, count), size - 1)
    length = np.zeros((num_series, count), dtype=np.int64)
    for s, (line, own) in enumerate(zip(starts, lengths, strict=True)):
        lifted[s, : len(line)], length[s, : len(line)] = line, own
    place = np.arange(places)
    rows = np.minimum(lifted[..., None] + 1 + place, size - 1)
    inside = place < length[..., None]
    head = np.array([int(line[0]) + 1 if len(line) else size for line in starts])
    before = np.cumsum(lifts, axis=-1) - lifts - 1  # the segment that a row is in
    since = np.arange(size) - np.take_along_axis(lifted, np.maximum(before, 0), axis=-1) - 1
    index = np.where(before >= 0, np.maximum(before, 0) * places + since, 0)
    return Segments(lifted, rows, inside, head, index)


def log_prob_steps(
    process: LinearSDE,
    segments: Segments,
    observations: Observations,
    F: Array,
    Q: Array,
    c: Array | None,
    psi: Array,
    scale: Array | None,
    lift_noise: Array | None = None,
) -> Array:
    """Terms of the likelihood, (..., series, time), given the transitions into each row and the lifted rows.

    Args:
        process: The linear process.
        segments: How the series are cut.
        observations: Times, values (series, time, channel) and mask of the same shape.
        F: Transition matrices, (..., series or 1, time or 1, n, n).
        Q: Noise covariances, likewise.
        c: Offsets, (..., series or 1, time or 1, n), or None.
        psi: Lifted rows, (..., series, time, n).
        scale: By what the noise into each row is multiplied, (..., series, time), or None.
        lift_noise: Covariance of the error of lifted states, (..., series or 1, n, n), or None.
    """
    xp = array_namespace(psi)
    times, values, mask = observations.times, observations.values, observations.mask
    num_series, count, places = segments.rows.shape

    def gathered(array: Array, num_core: int) -> Array:
        """Rows of the segments, (..., series, segment, place, core), of rows (..., series or 1, time or 1, core)."""
        split = array.ndim - num_core
        if array.shape[split - 1] == 1:
            return array[(*[slice(None)] * (split - 1), None)]
        flat = take_rows(array, asarray_like(segments.rows.reshape(num_series, -1), array), num_core=num_core)
        lead, core = tuple(flat.shape[: flat.ndim - num_core - 1]), tuple(flat.shape[flat.ndim - num_core :])
        return xp.reshape(flat, (*lead, count, places, *core))

    into = gathered(F, 2), gathered(Q, 2), None if c is None else gathered(c, 1)
    noise = into[1]
    if scale is not None:  # within a segment the noise has the scale of the row that it follows
        noise = noise * gathered(scale, 0)[..., None, None]
    start = take_rows(psi, asarray_like(segments.lifted, psi), num_core=1)
    m0 = (into[0][..., 0, :, :] @ start[..., None])[..., 0]
    m0 = m0 if into[2] is None else m0 + into[2][..., 0, :]
    P0 = noise[..., 0, :, :]
    if lift_noise is not None:
        first = into[0][..., 0, :, :]
        P0 = P0 + symmetrise(first @ lift_noise[..., None, :, :] @ xp.matrix_transpose(first))
    H, R = process.H[..., None, None, :, :], process.R[..., None, None, :, :]
    d = None if process.d is None else process.d[..., None, None, :]
    chain = LinearGaussian(into[0], noise, H, R, m0, P0, into[2], d, driver=process.driver)
    inside = asarray_like(segments.inside, mask)[..., None]
    rows = np.broadcast_to(np.arange(places, dtype=np.float64), segments.rows.shape)
    terms = chain.log_prob_steps(Observations(rows, gathered(values, 1), gathered(mask, 1) & inside))
    terms = xp.reshape(terms, (*terms.shape[:-2], count * places))
    index = asarray_like(segments.index, psi)
    lead = np.broadcast_shapes(tuple(terms.shape[:-1]), tuple(index.shape[:-1]))
    terms = take_rows(xp.broadcast_to(terms, (*lead, count * places)), index, num_core=0)

    size = int(segments.head.max())
    first = np.arange(size) < segments.head[:, None]
    early = slice(0, size)

    def opening(array: Array, num_core: int) -> Array:
        split = array.ndim - num_core
        return array if array.shape[split - 1] == 1 else array[(*[slice(None)] * (split - 1), early)]

    chain = LinearGaussian(
        opening(F, 2),
        opening(Q, 2),
        process.H[..., None, :, :],
        process.R[..., None, :, :],
        process.m0,
        process.P0,
        None if c is None else opening(c, 1),
        None if process.d is None else process.d[..., None, :],
        driver=process.driver,
    )
    shown = mask[..., early, :] & asarray_like(first, mask)[..., None]
    head = chain.log_prob_steps(Observations(times[..., early], values[..., early, :], shown))
    rest = int(terms.shape[-1]) - size
    head = xp.concat([xp.broadcast_to(head, (*lead, size)), xp.zeros_like(terms[..., :rest])], axis=-1)
    whole = np.pad(first, ((0, 0), (0, rest)))
    return xp.where(asarray_like(whole, psi), head, terms)
