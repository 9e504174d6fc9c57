"""Rows of trajectories on a grid of equal steps, and what is refused where they are not."""

from __future__ import annotations

from typing import Literal

import numpy as np

from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, DataError

#: What to do where neighbouring complete rows are not one step apart.
Gaps = Literal["refuse", "skip"]


def grids_of(
    data: Trajectories, *, step: float | None = None, gaps: Gaps = "refuse", tolerance: float = 1e-6
) -> tuple[float, list[tuple[np.ndarray, np.ndarray]]]:
    """Place the complete rows of each series on a grid of equal steps.

    Args:
        data: The trajectories.
        step: Time between neighbouring rows; by default the smallest gap between complete rows.
        gaps: `refuse` or `skip` gaps and incomplete rows. With a given step, `skip` also takes rows off the grid.
        tolerance: Largest deviation of a gap from a whole number of steps, in steps.

    Returns:
        The step, and for each series the places of its complete rows in the data (n,), and their positions in whole
        steps (n,). A row off the grid, and those after it, have positions that nothing before them reaches.

    Raises:
        DataError: Steps are unequal, or a gap or a missing value is in the way.
        ArgumentError: An argument is outside what it may be.
    """
    if gaps not in ("refuse", "skip"):
        raise ArgumentError(f"`gaps` must be 'refuse' or 'skip'; got {gaps!r}.")
    if step is not None and not (np.isfinite(step) and step > 0):
        raise ArgumentError(f"`step` must be positive; got {step}.")
    complete = data.mask.all(axis=-1) & data.rows
    if gaps == "refuse":
        _refuse_holes(data, complete)
    rows = [np.flatnonzero(seen) for seen in complete]
    steps = np.concatenate([np.diff(data.times[s, places]) for s, places in enumerate(rows)] or [np.empty(0)])
    if steps.size == 0:
        raise DataError("no series has two complete rows.", hint="Two complete rows one step apart make a pair.")
    unit = float(steps.min()) if step is None else float(step)
    options = {"is_given": step is not None, "gaps": gaps, "tolerance": tolerance}
    return unit, [(places, _positions(data, s, places, unit, **options)) for s, places in enumerate(rows)]


def _refuse_holes(data: Trajectories, complete: np.ndarray) -> None:
    holes = np.argwhere(data.rows & ~complete)
    if len(holes):
        s, row = holes[0]
        missing = [name for name, seen in zip(data.channels, data.mask[s, row], strict=True) if not seen]
        raise DataError(
            f"series {data.series[s]!r} has no value of {missing[0]!r} at time {data.times[s, row]:g} (and "
            f"{len(holes) - 1} more rows are incomplete): a snapshot must be complete.",
            hint="`gaps='skip'` leaves out the pairs that such rows would belong to.",
        )


def _positions(
    data: Trajectories, s: int, places: np.ndarray, unit: float, *, is_given: bool, gaps: Gaps, tolerance: float
) -> np.ndarray:
    """Whole steps since the first complete row; rows off the grid, where they may be, start a new one far away."""
    times = data.times[s, places]
    steps = np.diff(times) / unit
    whole = np.round(steps)
    uneven = (np.abs(steps - whole) > tolerance) | (whole < 1)
    if uneven.any() and (gaps == "refuse" or not is_given):
        at = int(np.argmax(uneven))
        raise DataError(
            f"steps are unequal: series {data.series[s]!r} has a gap of {steps[at] * unit:g} after time "
            f"{times[at]:g}, which is no multiple of the step {unit:g}; a discrete-time operator needs equal steps.",
            hint="Give `step` with `gaps='skip'` to keep the pairs that are one step apart, or fit a generator.",
        )
    if gaps == "refuse" and (whole > 1).any():
        at = int(np.argmax(whole > 1))
        raise DataError(
            f"series {data.series[s]!r} has a gap of {whole[at]:g} steps after time {times[at]:g}: a snapshot pair "
            "would cross it.",
            hint="`gaps='skip'` leaves such pairs out.",
        )
    # Off the grid, the next row cannot be reached in any number of steps below this.
    whole = np.where(uneven, np.iinfo(np.int32).max, whole)
    return np.concatenate([[0], np.cumsum(whole)]).astype(np.int64)[: places.size]
