"""Heart-transplant patients and coronary allograft vasculopathy: 622 patients, 2846 visits, four states.

Sharples et al. (2003), doi:10.1097/01.TP.0000071200.37399.1D; the table `cav` of the R package msm, Jackson (2011),
doi:10.18637/jss.v038.i08. Visits are about a year apart and the state in between is not known; angiography may misread
it.

How the traps are handled: a death is known to the day, so the last row of a patient who died carries the mark `ENTERED`
(see `dynplat.marks`), every other row `OBSERVED`; a patient without a death is simply not looked at
again. Times are years since the transplant. 30 visits carry no diagnosis: an empty text.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dynplat.data.catalogue.fetch import fetch
from dynplat.data.catalogue.rda import read_tables
from dynplat.data.catalogue.registry import HEART_TRANSPLANT
from dynplat.data.trajectories import Trajectories
from dynplat.errors import DataError
from dynplat.marks import ENTERED, OBSERVED

STATES = {1: "no vasculopathy", 2: "mild or moderate", 3: "severe", 4: "death"}
_DEATH = 4
_COLUMNS = ("PTNUM", "age", "years", "dage", "sex", "pdiag", "cumrej", "state")


def load_heart_transplant(*, rejections: bool = False) -> Trajectories:
    """Load one series per patient, named by patient number.

    Args:
        rejections: Carry the cumulative number of acute rejections as the known input `cumrej`, which holds from its
            visit until the next.

    Returns:
        Channel `state` (1-4, `STATES`); times in years since the transplant; marks. Static: `age` at transplant and
        `dage`, the donor's (years), `sex` (0 male, 1 female), `pdiag` (primary diagnosis; IHD ischaemic heart disease,
        IDC idiopathic dilated cardiomyopathy).
    """
    return build(read_cav(fetch(HEART_TRANSPLANT)), rejections=rejections)


def read_cav(path: Path) -> dict[str, np.ndarray]:
    """Read the columns of the table from msm's R data file (`.rda`) or from CSV; texts as objects, None where missing.

    Raises:
        DataError: The table or a column of it is not there.
    """
    if path.suffix == ".rda":
        table = read_tables(path).get("cav", {})
    else:
        import pandas as pd

        frame = pd.read_csv(path)
        table = {
            str(name): np.array([None if cell != cell else cell for cell in frame[name]], dtype=object)
            if name == "pdiag"
            else frame[name].to_numpy(dtype=np.float64)
            for name in frame.columns
        }
    lacking = [name for name in _COLUMNS if name not in table]
    if lacking:
        raise DataError(f"the columns {', '.join(lacking)} of the table `cav` are not there.", source=path)
    return table


def build(table: dict[str, np.ndarray], *, rejections: bool) -> Trajectories:
    """Make trajectories of the table's rows, which stand by patient and time."""
    patients, first = np.unique(table["PTNUM"], return_index=True)
    rows = [np.flatnonzero(table["PTNUM"] == patient) for patient in patients]
    state = table["state"]
    return Trajectories.from_arrays(
        [table["years"][own] for own in rows],
        [state[own] for own in rows],
        marks=[np.where(state[own] == _DEATH, ENTERED, OBSERVED) for own in rows],
        inputs=[table["cumrej"][own] for own in rows] if rejections else None,
        input_names=["cumrej"] if rejections else None,
        static={
            "age": table["age"][first],
            "dage": table["dage"][first],
            "sex": table["sex"][first].astype(np.int64),
            "pdiag": [diagnosis or "" for diagnosis in table["pdiag"][first]],
        },
        series=[str(int(patient)) for patient in patients],
        channels=["state"],
        time_unit="year",
    )
