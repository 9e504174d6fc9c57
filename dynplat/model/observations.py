"""From data to what processes see. Only this room builds `Observations` from data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dynplat.arrays import Observations

if TYPE_CHECKING:
    from dynplat.data import Trajectories


def observations_from(data: Trajectories) -> Observations:
    """Build the `Observations` of `data` as host arrays.

    The leaves are NumPy constants: a process turns them into arrays of its parameters' framework, dtype and device
    (`dynplat.arrays.asarray_like`), after it has taken differences of times in float64.
    """
    return Observations(
        times=np.asarray(data.times, dtype=np.float64),
        values=np.where(data.mask, data.values, 0.0),
        mask=np.asarray(data.mask, dtype=bool),
        inputs=None if data.inputs is None else np.asarray(data.inputs, dtype=np.float64),
        marks=None if data.marks is None else np.asarray(data.marks),
    )
