"""Delay vectors: the state of a system that is seen through few channels (Takens)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like, concrete
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, DataError
from dynplat.process.gaps import gaps_between
from dynplat_koopman.grid import Gaps, grids_of
from dynplat_koopman.power import SAME_STEP


def delay_vectors(values: Array, num_delays: int, *, spacing: int = 1) -> Array:
    """Delay vectors of equally spaced rows, (..., time, d) -> (..., time - num_delays spacing, (num_delays + 1) d).

    The newest row stands first: (y_t, y_{t - spacing}, ..., y_{t - num_delays spacing}).

    Raises:
        ArgumentError: There are too few rows, or a number is out of range.
    """
    _check_delays(num_delays, spacing)
    reach = num_delays * spacing
    count = values.shape[-2] - reach
    if count < 1:
        raise ArgumentError(f"`values` must have more than {reach} rows for these delays; got {values.shape[-2]}.")
    starts = [reach - k * spacing for k in range(num_delays + 1)]
    return array_namespace(values).concat([values[..., start : start + count, :] for start in starts], axis=-1)


def embed(
    data: Trajectories,
    num_delays: int,
    *,
    spacing: int = 1,
    step: float | None = None,
    gaps: Gaps = "refuse",
    tolerance: float = 1e-6,
) -> Trajectories:
    """Trajectories of delay vectors: a row holds its own values and those `spacing`, ..., steps before.

    Channels are the data's, newest first, and those of k steps before under the name `channel(t-k)`. The rows at the
    start of a series, which have too little before them, are left out; so are, with `gaps="skip"`, the rows whose
    delays would reach over a gap or to an incomplete row. Inputs are those of the row itself.

    Args:
        data: The trajectories.
        num_delays: Number of delays; 0 changes nothing.
        spacing: Steps between delays.
        step: Time between neighbouring rows; by default the smallest gap between complete rows.
        gaps: `refuse`, or `skip` rows whose delays cross a gap.
        tolerance: Largest deviation of a gap from a whole number of steps, in steps.

    Raises:
        DataError: Steps are unequal, a gap or a missing value is in the way, or a series is too short.
        ArgumentError: An argument is outside what it may be.
    """
    _check_delays(num_delays, spacing)
    _, grids = grids_of(data, step=step, gaps=gaps, tolerance=tolerance)
    delays = spacing * np.arange(num_delays + 1)
    times, values, inputs, kept = [], [], [], []
    for s, (places, grid) in enumerate(grids):
        wanted = grid[:, None] - delays
        found = np.minimum(np.searchsorted(grid, wanted), max(grid.size - 1, 0))
        is_whole = (grid[found] == wanted).all(axis=1) if grid.size else np.zeros(0, dtype=bool)
        if not is_whole.any():
            if gaps == "refuse":
                raise DataError(
                    f"series {data.series[s]!r} has {grid.size} complete rows, and a delay vector reaches over "
                    f"{delays[-1] + 1}.",
                    hint="Take fewer delays, or leave the series out (`gaps='skip'` does).",
                )
            continue
        rows = places[is_whole]
        kept.append(s)
        times.append(data.times[s, rows])
        values.append(data.values[s, places[found[is_whole]]].reshape(len(rows), -1))
        if data.inputs is not None:
            inputs.append(data.inputs[s, rows])
    if not kept:
        raise DataError(f"no row has complete rows at all of {num_delays} delays before it.", hint="Take fewer delays.")
    names = [name if k == 0 else f"{name}(t-{k})" for k in delays for name in data.channels]
    return Trajectories.from_arrays(
        times,
        values,
        inputs=inputs or None,
        static={name: column[kept] for name, column in data.static.items()} or None,
        series=[data.series[s] for s in kept],
        channels=names,
        input_names=data.input_names or None,
        units={
            name: data.units[base]
            for name, base in zip(names, data.channels * len(delays), strict=True)
            if base in data.units
        },
        time_unit=data.time_unit,
        time_origin=data.time_origin,
    )


@dataclass(frozen=True)
class Window:
    """The rows that the delay vector of a row reaches over: itself and so many rows before it, one step apart each.

    Args:
        num_delays: Number of delays.
        step: Time between neighbouring rows.
    """

    num_delays: int
    step: float

    def whole(self, complete: Array, times: Array) -> Array:
        """Which rows have a delay vector, (..., time): they and those before them are complete, and a step apart."""
        xp = array_namespace(complete)
        known = concrete(times)
        times = times if known is None else np.asarray(known, dtype=np.float64)
        gaps = gaps_between(times)
        # What rounding of the times themselves may add to a gap.
        slack = 4.0 * np.finfo(np.float64).eps * abs(times)
        follows = asarray_like(abs(gaps - self.step) <= SAME_STEP * self.step + slack, complete)
        whole = complete
        for _ in range(self.num_delays):
            before = xp.concat([xp.zeros_like(whole[..., :1]), whole[..., :-1]], axis=-1)
            whole = complete & follows & before
        return whole

    def vectors(self, values: Array) -> Array:
        """Delay vectors (..., time, (num_delays + 1) d) of rows, the newest first; before the first row it is repeated.

        Only those of `whole` rows mean something.
        """
        xp = array_namespace(values)
        parts = [values]
        for _ in range(self.num_delays):
            parts.append(xp.concat([parts[-1][..., :1, :], parts[-1][..., :-1, :]], axis=-2))
        return xp.concat(parts, axis=-1)


def _check_delays(num_delays: int, spacing: int) -> None:
    if num_delays < 0:
        raise ArgumentError(f"`num_delays` must be at least 0; got {num_delays}.")
    if spacing < 1:
        raise ArgumentError(f"`spacing` must be at least 1; got {spacing}.")
