"""What a row knows of the rows before it: arrays over the rows of a lifted process."""

from __future__ import annotations

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like, concrete


def moved_by(F: Array, psi: Array) -> Array:
    """F psi of the row before, for every row; the first row, which has none before it, takes its own."""
    xp = array_namespace(psi)
    before = xp.concat([psi[..., :1, :], psi[..., :-1, :]], axis=-2)
    if F.shape[-3] == 1:  # one product instead of one for each row
        return before @ xp.matrix_transpose(F[..., 0, :, :])
    return (F @ before[..., None])[..., 0]


def scaled(Q: Array, scale: Array | None) -> Array:
    """Noise covariances (..., time, n, n) times a number for each row, (..., time)."""
    return Q if scale is None else Q * scale[..., None, None]


def last_complete(complete: Array) -> Array:
    """Number of the last complete row before each row, (..., time), -1 where there is none."""
    xp = array_namespace(complete)
    size = int(complete.shape[-1])
    numbers = concrete(complete)
    if numbers is not None:
        here = np.where(numbers, np.arange(size), -1)
        last = np.maximum.accumulate(
            np.concatenate([np.full_like(here[..., :1], -1), here[..., :-1]], axis=-1), axis=-1
        )
        return asarray_like(last.astype(np.int64), complete)
    rows = asarray_like(np.arange(size), complete)
    earlier = complete[..., None, :] & (rows[None, :] < rows[:, None])
    return xp.max(xp.where(earlier, rows, xp.full_like(rows, -1)), axis=-1)


def before_each(complete: Array, first: bool) -> Array:
    """Whether the row before each is complete; `first` stands for the row before the first."""
    xp = array_namespace(complete)
    edge = complete[..., :1] | True if first else complete[..., :1] & False
    return xp.concat([edge, complete[..., :-1]], axis=-1)
