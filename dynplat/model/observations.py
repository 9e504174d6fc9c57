"""From data to what processes see. Only this room builds `Observations` from data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dynplat.arrays import Observations
from dynplat.data.clock import show_label
from dynplat.errors import DataError

if TYPE_CHECKING:
    from dynplat.data import Trajectories


#: Size below which, and beyond the inverse of which, squares summed over the rows may leave float64 (1e-308 to 1e308).
_TINY = 1e-150


def observations_from(data: Trajectories) -> Observations:
    """Build the `Observations` of `data` as host arrays.

    The leaves are NumPy constants: a process turns them into arrays of its parameters' framework, dtype and device
    (`dynplat.arrays.asarray_like`), after it has taken differences of times in float64.

    Raises:
        DataError: A value, or a whole channel, has a size whose square is no float64.
    """
    _check_range(data)
    return Observations(
        times=np.asarray(data.times, dtype=np.float64),
        values=np.where(data.mask, data.values, 0.0),
        mask=np.asarray(data.mask, dtype=bool),
        inputs=None if data.inputs is None else np.asarray(data.inputs, dtype=np.float64),
        marks=None if data.marks is None else np.asarray(data.marks),
    )


def _check_range(data: Trajectories) -> None:
    """Refuse sizes whose squares, which every model takes, overflow or vanish in float64."""
    sizes = np.where(data.mask, np.abs(data.values), 0.0)
    if not sizes.size:
        return
    largest = sizes.max(axis=(0, 1))
    for c in np.flatnonzero((largest > 1 / _TINY) | ((largest > 0) & (largest < _TINY))):
        place = np.unravel_index(np.argmax(sizes[:, :, c]), sizes.shape[:2])
        raise DataError(
            f"the largest value is {data.values[place][c]:g} (series {data.series[place[0]]!r}, {data.time_name} "
            f"{show_label(data.labels[place])}), and models compute with squares of values: sizes must lie between "
            f"{_TINY:g} and {1 / _TINY:g}.",
            hint="Correct the value if it is a mistake, or give the channel another unit.",
            column=data.channels[c],
        )
