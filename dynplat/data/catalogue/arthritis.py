"""Psoriatic arthritis: 305 patients of a clinic, 806 visits, four grades by numbers of damaged joints.

Gladman and Farewell (1999), Progression in psoriatic arthritis: role of time-varying clinical indicators, Journal of
Rheumatology 26(11), 2409-2413; the table `psor` of the R package msm, Jackson (2011), doi:10.18637/jss.v038.i08. The
state between visits is not known, and joints do not heal.

How the traps are handled: both indicators stand in every row of the source and never change within a patient, so that
they are static. The sedimentation rate of 34 patients is missing and stays NaN: a model that reads it refuses them, and
the published fits leave them out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dynplat.data.catalogue.fetch import fetch
from dynplat.data.catalogue.rda import read_tables
from dynplat.data.catalogue.registry import PSORIATIC_ARTHRITIS
from dynplat.data.trajectories import Trajectories
from dynplat.errors import DataError

STATES = {1: "no damaged joint", 2: "1 to 4", 3: "5 to 9", 4: "10 or more"}
_STATIC = ("hieffusn", "ollwsdrt")
_COLUMNS = ("ptnum", "months", "state", *_STATIC)


def load_psoriatic_arthritis() -> Trajectories:
    """Load one series per patient, named by patient number.

    Returns:
        Channel `state` (1-4, `STATES`); times in months, as in the source. Static: `hieffusn`, 1 where five or more
        joints were effused at the start; `ollwsdrt`, 1 where the erythrocyte sedimentation rate was below 15 mm/h, NaN
        where it is missing.
    """
    return build(read_psor(fetch(PSORIATIC_ARTHRITIS)))


def read_psor(path: Path) -> dict[str, np.ndarray]:
    """Read the columns of the table from msm's R data file (`.rda`) or from CSV, NaN where missing.

    Raises:
        DataError: The table or a column of it is not there.
    """
    if path.suffix == ".rda":
        table = read_tables(path).get("psor", {})
    else:
        import pandas as pd

        frame = pd.read_csv(path)
        table = {str(name): frame[name].to_numpy() for name in frame.columns}
    lacking = [name for name in _COLUMNS if name not in table]
    if lacking:
        raise DataError(f"the columns {', '.join(lacking)} of the table `psor` are not there.", source=path)
    return {
        name: np.array([np.nan if cell is None else float(cell) for cell in table[name]], dtype=np.float64)
        for name in _COLUMNS
    }


def build(table: dict[str, np.ndarray]) -> Trajectories:
    """Make trajectories of the table's rows, which stand by patient and time.

    Raises:
        DataError: An indicator changes within a patient.
    """
    patients, first = np.unique(table["ptnum"], return_index=True)
    rows = [np.flatnonzero(table["ptnum"] == patient) for patient in patients]
    for name in _STATIC:
        changing = [
            patient for patient, own in zip(patients, rows, strict=True) if len(set(map(str, table[name][own]))) > 1
        ]
        if changing:
            raise DataError(f"`{name}` changes within patient {changing[0]:g}: it is no static covariate.")
    return Trajectories.from_arrays(
        [table["months"][own] for own in rows],
        [table["state"][own] for own in rows],
        static={"hieffusn": table["hieffusn"][first].astype(np.int64), "ollwsdrt": table["ollwsdrt"][first]},
        series=[str(int(patient)) for patient in patients],
        channels=["state"],
        time_unit="month",
    )
