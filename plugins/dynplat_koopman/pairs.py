"""Snapshot pairs: states and what they became one step later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, DataError
from dynplat_koopman.grid import Gaps, grids_of


@dataclass(frozen=True, eq=False)
class Pairs:
    """Snapshot pairs (x_m, y_m): y_m is the state one step after x_m.

    Args:
        first: States x, (M, d), real and finite.
        second: States one step later y, (M, d).
        weights: Relative weights, (M,), not negative: those of a quadrature rule, for averages with respect to its
            measure. By default 1 each: averages are with respect to the law from which x was sampled.
        step: Time between the two states, or None for a map.
        inputs: Known inputs that held during each step, (M, k), or None.
        series: Number of the series that each pair is from, (M,), or None.
        begins: Number of the step in its series at which each pair begins, (M,), or None where steps have no numbers.
        lag: After how many pairs the state y_m stands as x again where the pairs are of trajectories. Only speed
            depends on it.

    Raises:
        DataError: There is no pair, or numbers are complex or not finite.
        ArgumentError: Shapes do not fit, or weights are negative or all zero.
    """

    first: np.ndarray
    second: np.ndarray
    weights: Any = None
    step: float | None = None
    inputs: np.ndarray | None = None
    series: np.ndarray | None = None
    begins: np.ndarray | None = None
    lag: int = 1

    def __post_init__(self) -> None:
        """Check shapes and numbers."""
        first, second = _real("first", self.first), _real("second", self.second)
        if first.shape != second.shape:
            raise ArgumentError(f"`second` must have the shape of `first`, {first.shape}; got {second.shape}.")
        count = len(first)
        if count == 0:
            raise DataError("there is no snapshot pair.", hint="Two complete rows one step apart make one.")
        weights = np.ones(count) if self.weights is None else np.asarray(self.weights)
        if weights.shape != (count,) or weights.dtype.kind not in "fiu":
            raise ArgumentError(f"`weights` must be {count} real numbers, one per pair; got shape {weights.shape}.")
        weights = weights.astype(np.float64)
        if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
            raise ArgumentError("`weights` must be finite, not negative and not all zero.")
        if self.step is not None and not (np.isfinite(self.step) and self.step > 0):
            raise ArgumentError(f"`step` must be positive; got {self.step}.")
        if self.inputs is not None:
            inputs = _real("inputs", self.inputs)
            if len(inputs) != count:
                raise ArgumentError(f"`inputs` must have one row per pair, {count}; got {len(inputs)}.")
            object.__setattr__(self, "inputs", inputs)
        for name, numbers in (("series", self.series), ("begins", self.begins)):
            if numbers is not None and np.shape(numbers) != (count,):
                raise ArgumentError(f"`{name}` must be {count} numbers, one per pair; got shape {np.shape(numbers)}.")
        if self.lag < 1:
            raise ArgumentError(f"`lag` must be at least 1; got {self.lag}.")
        for name, value in (("first", first), ("second", second), ("weights", weights)):
            object.__setattr__(self, name, value)

    @property
    def num_variables(self) -> int:
        """Number of variables of the state, d."""
        return self.first.shape[1]

    @property
    def num_inputs(self) -> int:
        """Number of inputs, k; 0 without inputs."""
        return 0 if self.inputs is None else self.inputs.shape[1]

    def __len__(self) -> int:
        return len(self.first)


def pairs_from(
    data: Trajectories,
    *,
    step: float | None = None,
    lag: int = 1,
    gaps: Gaps = "refuse",
    weights: Literal["uniform", "trapezoid"] | np.ndarray = "uniform",
    tolerance: float = 1e-6,
) -> Pairs:
    """Pair the rows of trajectories that lie `lag` steps apart.

    Only complete rows of one series are paired; a row in which a channel is missing counts as no row.

    Args:
        data: The trajectories.
        step: Time between neighbouring rows; by default the smallest gap between complete rows.
        lag: Number of steps between the two states of a pair.
        gaps: What to do where neighbouring complete rows are not one step apart: `refuse`, or `skip` the pairs that
            would cross such a gap.
        weights: `uniform`; `trapezoid`, the trapezoidal rule in time, in which the ends of an unbroken run count half;
            or one weight per pair, (M,).
        tolerance: Largest deviation of a gap from a whole number of steps, in steps.

    Raises:
        DataError: Steps are unequal, a gap or a missing value is in the way, or no pair is left.
        ArgumentError: An argument is outside what it may be.
    """
    if lag < 1:
        raise ArgumentError(f"`lag` must be at least 1; got {lag}.")
    if data.inputs is not None and lag > 1:
        raise ArgumentError(f"`lag` must be 1 for data with inputs, which change from row to row; got {lag}.")
    unit, grids = grids_of(data, step=step, gaps=gaps, tolerance=tolerance)
    first, second, codes, starts = [], [], [], []
    for s, (places, grid) in enumerate(grids):
        target = np.searchsorted(grid, grid + lag)
        found = target < grid.size
        found[found] = grid[target[found]] == grid[found] + lag
        first.append(data.values[s, places[found]])
        second.append(data.values[s, places[target[found]]])
        codes.append(np.full(int(found.sum()), s))
        starts.append((grid[found], places[found]))
    if not sum(map(len, first)):
        raise DataError(
            f"no two complete rows of a series are {lag} step{'s' * (lag > 1)} of {unit:g} apart.",
            hint="Choose a smaller `lag` or another `step`.",
        )
    of_pairs = _weights(weights, [grid for grid, _ in starts]) if isinstance(weights, str) else weights
    inputs = data.inputs
    return Pairs(
        np.concatenate(first),
        np.concatenate(second),
        weights=of_pairs,
        step=unit * lag,
        inputs=None if inputs is None else np.concatenate([inputs[s, at] for s, (_, at) in enumerate(starts)]),
        series=np.concatenate(codes),
        begins=np.concatenate([grid for grid, _ in starts]),
        lag=lag,
    )


def _weights(rule: str, grids: list[np.ndarray]) -> np.ndarray | None:
    if rule == "uniform":
        return None
    if rule != "trapezoid":
        raise ArgumentError(f"`weights` must be 'uniform', 'trapezoid' or one number per pair; got {rule!r}.")
    parts = []
    for grid in grids:
        is_end = ~np.isin(grid - 1, grid) | ~np.isin(grid + 1, grid)
        parts.append(np.where(is_end, 0.5, 1.0))
    return np.concatenate(parts)


def _real(name: str, value: np.ndarray) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind == "c":
        raise DataError(
            f"`{name}` is complex, and states must be real.",
            hint="A complex state is two real variables: give its real and its imaginary part.",
        )
    if array.dtype.kind not in "fiu" or array.ndim != 2:
        raise ArgumentError(f"`{name}` must be real numbers (M, d); got {array.dtype} of shape {array.shape}.")
    array = array.astype(np.float64, copy=False)
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array).all(axis=1)))
        raise DataError(f"`{name}` has a number that is not finite, in row {row}.", hint="Leave such pairs out.")
    return array
