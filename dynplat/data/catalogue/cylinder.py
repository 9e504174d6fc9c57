"""The wake of a cylinder at Reynolds number 100: coefficients of nine modes from a direct numerical simulation.

Noack et al. (2003), doi:10.1017/S0022112003006694; Loiseau and Brunton (2018), doi:10.1017/jfm.2017.823. Eight modes
are proper orthogonal ones of the limit cycle, in pairs; the ninth is the shift mode from the fixed point to the mean
flow.

How the trap is handled: the first 60 time units are the slow departure from the unstable fixed point, during which
nothing oscillates visibly; after that the flow goes to its limit cycle, which sheds vortices at frequency 0.18. They
are kept, or left out on request.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dynplat.data.catalogue.fetch import fetch
from dynplat.data.catalogue.registry import CYLINDER_WAKE
from dynplat.data.trajectories import Trajectories
from dynplat.errors import DataError

#: End of the slow departure from the fixed point, in the time unit of the data (diameters per free-stream speed).
DEPARTURE = 60.0
CHANNELS = (*(f"a{index}" for index in range(1, 9)), "shift")


def load_cylinder_wake(*, departure: bool = True) -> Trajectories:
    """Load the run as one series of 3000 rows at steps of 0.1, channels `a1` to `a8` and `shift`.

    Args:
        departure: Keep the first 60 time units.
    """
    return read_coefficients(fetch(CYLINDER_WAKE), departure=departure)


def read_coefficients(path: Path, *, departure: bool) -> Trajectories:
    """Read the table of time and nine coefficients."""
    table = np.loadtxt(path, ndmin=2)
    if table.shape[1] != 1 + len(CHANNELS):
        raise DataError(
            f"time and {len(CHANNELS)} coefficients are expected; got {table.shape[1]} columns.", source=path
        )
    if not departure:
        table = table[table[:, 0] >= DEPARTURE]
    return Trajectories.from_arrays(
        table[:, 0], table[:, 1:], channels=CHANNELS, time_unit="diameter / free-stream speed"
    )
