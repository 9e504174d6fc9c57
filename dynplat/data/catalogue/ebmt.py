"""Blood and marrow transplants of the EBMT: 2279 patients, six states, twelve transitions, all times known.

Fiocco, Putter and van Houwelingen (2008), doi:10.1002/sim.3305; de Wreede, Fiocco and Putter (2011),
doi:10.18637/jss.v038.i07.

How the traps are handled: the long table lists, for every stay in a state, one row per transition that was *possible*;
only those with status 1 happened, and a stay of which none did is censored at its end. Times are whole days, but for 17
events that the source moved by half a day to break ties, and one patient (1804) censored after 0.03 days. A path is
complete, so its rows carry the marks `MOVED` and, where it is censored, `STAYED` (see
`dynplat.marks`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dynplat.data.catalogue.fetch import fetch
from dynplat.data.catalogue.registry import EBMT_LONG
from dynplat.data.trajectories import Trajectories
from dynplat.errors import DataError
from dynplat.marks import MOVED, OBSERVED, STAYED

STATES = {
    1: "transplant",
    2: "platelet recovery",
    3: "adverse event",
    4: "recovery and adverse event",
    5: "relapse",
    6: "death",
}
#: Number of a transition in the source -> (from, to).
TRANSITIONS = {
    1: (1, 2),
    2: (1, 3),
    3: (1, 5),
    4: (1, 6),
    5: (2, 4),
    6: (2, 5),
    7: (2, 6),
    8: (3, 4),
    9: (3, 5),
    10: (3, 6),
    11: (4, 5),
    12: (4, 6),
}
_STATIC = ("match", "proph", "year", "agecl")


def load_ebmt() -> Trajectories:
    """Load one series per patient: the states passed through, each at the time it was entered.

    Returns:
        Channel `state` (1-6, `STATES`); times in days since the transplant; marks: `OBSERVED` for the start, `MOVED`
        for each state entered, `STAYED` for the end of follow-up. Static texts: `match` (donor and recipient's sex),
        `proph` (prophylaxis), `year` of transplant, `agecl` (age at transplant).
    """
    return read_long(fetch(EBMT_LONG))


def read_long(path: Path) -> Trajectories:
    """Read the long table.

    Raises:
        DataError: A patient's stays do not follow on each other, or a row names an unknown transition.
    """
    import pandas as pd

    frame = pd.read_csv(path, index_col=0)
    legal = {(number, *pair) for number, pair in TRANSITIONS.items()}
    strange = [key for key in set(zip(frame["trans"], frame["from"], frame["to"], strict=True)) if key not in legal]
    if strange:
        raise DataError(f"an unknown transition (number, from, to): {strange[0]}.", source=path)
    paths = {str(patient): _path(rows, path) for patient, rows in frame.groupby("id", sort=True)}
    first = frame.groupby("id", sort=True).first()
    times, states, marks = zip(*paths.values(), strict=True)
    return Trajectories.from_arrays(
        list(times),
        list(states),
        marks=list(marks),
        static={name: first[name].to_numpy(dtype=object) for name in _STATIC},
        series=list(paths),
        channels=["state"],
        time_unit="day",
    )


def _path(rows: object, source: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Follow one patient: the transition that happened ends a stay and opens the next."""
    start, stop, at, to, happened = (
        rows[name].to_numpy(dtype=np.float64)  # type: ignore[index]
        for name in ("Tstart", "Tstop", "from", "to", "status")
    )
    times, states, marks = [0.0], [1.0], [OBSERVED]
    while True:
        stay = (start == times[-1]) & (at == states[-1])
        if not stay.any():
            break
        moved = stay & (happened == 1)
        if moved.sum() > 1:
            raise DataError(f"two transitions end one stay at {times[-1]:g} days.", source=source)
        times.append(float(stop[stay][0]))
        states.append(float(to[moved][0]) if moved.any() else states[-1])
        marks.append(MOVED if moved.any() else STAYED)
        if not moved.any():
            break
    if len(times) - 1 != len(np.unique(start)):
        raise DataError(f"the stays of a patient do not follow on each other: {np.unique(start)}.", source=source)
    return np.array(times), np.array(states), np.array(marks)
