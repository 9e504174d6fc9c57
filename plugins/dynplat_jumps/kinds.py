"""What the marks of rows say of the ways that lead into them (see `process` for what it means)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynplat.arrays import Array, Observations, concrete
from dynplat.errors import ArgumentError
from dynplat.marks import ENTERED, MEANINGS, MOVED, STAYED


class Kinds:
    """What is known of the way into each row, on the host.

    Args:
        quiet: Nothing happened since the row before, (..., series, time).
        jump: The row's state was entered at exactly its time, (..., series, time).
    """

    def __init__(self, quiet: np.ndarray, jump: np.ndarray) -> None:
        self.quiet, self.jump = quiet, jump
        #: Whether any row says more than its state.
        self.any = bool(quiet.any() or jump.any())

    def __iter__(self) -> Any:
        return iter((self.quiet, self.jump))


def kinds_of(observations: Observations) -> Kinds | None:
    """What the marks say, None where there are none.

    Raises:
        ArgumentError: A mark is unknown, or marks or mask are only being traced.
    """
    if observations.marks is None:
        return None
    marks, mask = concrete(observations.marks), concrete(observations.mask)
    if marks is None or mask is None:
        raise ArgumentError("`marks` and the mask beside them must be known numbers: close over them under `jit`.")
    marks, seen = np.broadcast_arrays(marks, mask.any(axis=-1))
    unknown = seen & ~np.isin(marks, list(MEANINGS))
    if unknown.any():
        where: Any = tuple(int(i) for i in np.argwhere(unknown)[0])
        series = f"series {where[-2]}, " if len(where) > 1 else ""
        raise ArgumentError(f"`marks` must be codes out of {MEANINGS}; got {marks[where]} at {series}row {where[-1]}.")
    later = seen & (np.arange(marks.shape[-1]) > 0)
    return Kinds(later & np.isin(marks, (MOVED, STAYED)), later & np.isin(marks, (ENTERED, MOVED)))


def between(kinds: Kinds, observed: Array) -> Kinds:
    """What is known of the way into each row of a grid: a row that only a query needs lies on the way to the next."""
    place = concrete(observed)
    if place is None:
        raise ArgumentError("times of observations with `marks` must be known numbers: close over them under `jit`.")
    lead = np.broadcast_shapes(place.shape[:-1], kinds.quiet.shape[:-1])
    place = np.broadcast_to(place, (*lead, place.shape[-1]))
    quiet, jump = (
        np.where(
            place >= 0,
            np.take_along_axis(np.broadcast_to(kind, (*lead, kind.shape[-1])), np.maximum(place, 0), axis=-1),
            False,
        )
        for kind in kinds
    )
    # The next observed row after each row, by going backwards.
    following = np.zeros(lead, dtype=bool)
    for row in range(place.shape[-1] - 1, -1, -1):
        following = np.where(place[..., row] >= 0, quiet[..., row], following)
        quiet[..., row] = following
    return Kinds(quiet, jump)
