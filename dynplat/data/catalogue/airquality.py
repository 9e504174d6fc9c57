"""Air quality in an Italian city, hourly, March 2004 to April 2005: a sensor array beside reference analysers.

De Vito et al. (2008), doi:10.1016/j.snb.2007.09.060; UCI Machine Learning Repository, data set 360.

How the traps are handled: -200 is missing; 114 empty rows at the end and 2 empty columns are dropped; dates are
month/day/year. Sensors drop out together: 366 hours lack all of the array at once, and the reference analyser of
non-methane hydrocarbons (`NMHC(GT)`) is silent from hour 1232 on and has 914 values in all.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dynplat.data.catalogue.fetch import fetch
from dynplat.data.catalogue.registry import ITALIAN_AIR_QUALITY
from dynplat.data.trajectories import Trajectories
from dynplat.errors import DataError

#: Channel -> unit. `PT08` are the array's raw resistances; `GT` is the reference analyser.
UNITS = {
    "CO(GT)": "mg/m3",
    "PT08.S1(CO)": "",
    "NMHC(GT)": "ug/m3",
    "C6H6(GT)": "ug/m3",
    "PT08.S2(NMHC)": "",
    "NOx(GT)": "ppb",
    "PT08.S3(NOx)": "",
    "NO2(GT)": "ug/m3",
    "PT08.S4(NO2)": "",
    "PT08.S5(O3)": "",
    "T": "degC",
    "RH": "percent",
    "AH": "g/m3 (absolute, as stated by the source)",
}
_MISSING = -200.0


def load_italian_air_quality() -> Trajectories:
    """Load the table as one series of 9357 hours and 13 channels; times in days.

    Raises:
        DataError: The file is not to be had, or its columns are others.
    """
    return read_air_quality(fetch(ITALIAN_AIR_QUALITY))


def read_air_quality(path: Path) -> Trajectories:
    """Read the comma-separated export of the table."""
    import pandas as pd

    frame = pd.read_csv(path).dropna(axis="columns", how="all").dropna(axis="index", how="all")
    if list(frame.columns) != ["Date", "Time", *UNITS]:
        raise DataError(
            f"the columns Date, Time, {', '.join(UNITS)} are expected; got {', '.join(map(str, frame.columns))}.",
            source=path,
            row=1,
        )
    moments = pd.to_datetime(frame["Date"] + " " + frame["Time"], format="%m/%d/%Y %H:%M:%S")
    values = frame[list(UNITS)].to_numpy(dtype=np.float64)
    return Trajectories.from_arrays(
        moments.to_numpy(),
        np.where(values == _MISSING, np.nan, values),
        channels=list(UNITS),
        units={name: unit for name, unit in UNITS.items() if unit},
    )
