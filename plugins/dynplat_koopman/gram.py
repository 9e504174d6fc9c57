"""Gram matrices: their rank, and orthonormal bases of the span of their functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import get_lapack_funcs

from dynplat.errors import ArgumentError, DataError

#: Eigenvalues of a Gram matrix scaled to unit diagonal that are this many roundings, times its size, from zero count
#: as zero: the products were rounded before they were summed.
_ROUNDINGS = 10.0


def inverse_root(
    gram: np.ndarray, names: Sequence[str], *, rank: int | None = None, tolerance: float | None = None
) -> np.ndarray:
    """Coefficients B (N, r) of functions that are orthonormal under the Gram matrix: B* G B = I, and B B* = G^+.

    Functions are brought to mean square 1 first, so that the rank does not depend on their units.

    Args:
        gram: Positive semi-definite matrix, (N, N).
        names: Names of the functions, for messages.
        rank: Keep this many directions.
        tolerance: Drop directions up to this fraction of the largest eigenvalue.

    Raises:
        DataError: The matrix is singular, and neither `rank` nor `tolerance` says what to do.
        ArgumentError: `rank` is more than the data determine, or a value is out of range.
    """
    N = len(gram)
    size = np.sqrt(np.real(np.diagonal(gram)))
    seen = size > 0
    unit = np.where(seen, size, 1.0)
    scaled, floor = gram / np.outer(unit, unit), _ROUNDINGS * N * np.finfo(np.float64).eps
    if rank is None and not tolerance and seen.all():
        root = _of_regular(scaled, floor)
        if root is not None:
            return root / unit[:, None]
    values, vectors = (part[..., ::-1] for part in np.linalg.eigh(scaled))
    count = num_kept(values, floor, vectors[:, -1], seen, names, rank=rank, tolerance=tolerance)
    return (vectors[:, :count] / np.sqrt(values[:count])) / unit[:, None]


def num_kept(
    values: np.ndarray,
    floor: float,
    last: np.ndarray,
    seen: np.ndarray,
    names: Sequence[str],
    *,
    rank: int | None,
    tolerance: float | None,
) -> int:
    """How many directions are kept, those of the largest eigenvalues: the one place that decides it.

    Args:
        values: Eigenvalues of the Gram matrix of functions of mean square 1, from the largest, (N,).
        floor: Eigenvalues up to this part of the largest are rounding.
        last: Coefficients of the direction of the smallest eigenvalue, (N,), for messages.
        seen: Which functions are not zero on all data, (N,).
        names: Names of the functions.
        rank: As in `inverse_root`.
        tolerance: As in `inverse_root`.

    Raises:
        DataError: As in `inverse_root`.
        ArgumentError: As in `inverse_root`.
    """
    N = len(values)
    if tolerance is not None and not 0 <= tolerance < 1:
        raise ArgumentError(f"`tolerance` must be in [0, 1); got {tolerance}.")
    if rank is not None and not 1 <= rank <= N:
        raise ArgumentError(f"`rank` must be in 1, ..., {N}; got {rank}.")
    # A tolerance below rounding would keep directions that are nothing but rounding.
    determined = int((values > max(floor, tolerance or 0.0) * values[0]).sum())
    if determined < N and rank is None and tolerance is None:
        raise DataError(
            f"the Gram matrix is singular: {N} functions have rank {determined} on these data "
            f"(eigenvalues up to {floor:.2g} of the largest count as zero). {_culprits(last, seen, names)}",
            hint="Leave functions out, standardise the variables, or give `rank` or `tolerance` to keep the "
            "directions that the data determine (or a `ridge`, where there is one).",
        )
    if rank is not None and rank > determined:
        raise ArgumentError(f"`rank` must be at most {determined}, what the data determine; got {rank}.")
    return determined if rank is None else rank


def _of_regular(scaled: np.ndarray, floor: float) -> np.ndarray | None:
    """Inverse of the Cholesky factor where the matrix is far from singular, at a fraction of an eigendecomposition."""
    potrf, pocon, trtri = get_lapack_funcs(("potrf", "pocon", "trtri"), (scaled,))
    factor, failed = potrf(scaled, clean=True)
    if failed:
        return None
    condition, _ = pocon(factor, np.linalg.norm(scaled, 1))
    # The estimate of 1 / condition is a few times too large at most, and the ratio of eigenvalues is not below it.
    if not condition > 100.0 * floor:
        return None
    return trtri(factor)[0]


def _culprits(vector: np.ndarray, seen: np.ndarray, names: Sequence[str]) -> str:
    """Say which functions make the matrix singular."""
    if not seen.all():
        absent = [names[n] for n in np.flatnonzero(~seen)[:3]]
        return f"Zero on all data: {', '.join(map(repr, absent))}{', ...' if (~seen).sum() > 3 else ''}."
    size = np.abs(vector)
    order = np.argsort(-size)
    order = order[size[order] > 0.1 * size[order[0]]]
    shown = ", ".join(repr(names[n]) for n in sorted(order[:4])) + (", ..." if len(order) > 4 else "")
    return f"Nearly dependent: {shown}."
