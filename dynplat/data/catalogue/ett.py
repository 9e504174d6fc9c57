"""ETTh1: load and oil temperature of an electricity transformer, hourly, July 2016 to June 2018.

Zhou et al. (2021), Informer, arXiv:2012.07436. The licence (CC BY-ND) lets the file be used but not changed and passed
on: it is fetched verbatim.

How the traps are handled: the benchmark's split is by index, 12/4/4 months of 30 days, which leaves the last 3020 hours
unused (`SPLITS`). All channels stand still together for 330 hours, in runs of up to 24 (whole days, often the last of a
month), and single channels for up to 141: gaps that the source filled. They are kept, since nothing marks them;
`frozen_hours` finds them. Numbers were written from float32: they carry about seven digits, and print as more.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dynplat.data.catalogue.choices import check_choice
from dynplat.data.catalogue.fetch import fetch
from dynplat.data.catalogue.registry import ETTH1
from dynplat.data.trajectories import Trajectories
from dynplat.errors import DataError

CHANNELS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
_MONTH = 30 * 24
#: Rows of the benchmark's parts: 12, 4 and 4 months of 30 days. A forecast's look-back may reach into the part before.
SPLITS = {
    "all": slice(None),
    "train": slice(0, 12 * _MONTH),
    "validation": slice(12 * _MONTH, 16 * _MONTH),
    "test": slice(16 * _MONTH, 20 * _MONTH),
}


def load_etth1(*, split: str = "all") -> Trajectories:
    """Load the table, or one part of the benchmark's split, as one series of 7 channels; times in days.

    Args:
        split: `all` (17,420 hours), `train` (8640), `validation` (2880) or `test` (2880).

    Returns:
        The loads HUFL, HULL, MUFL, MULL, LUFL, LULL (high, middle, low; useful, useless), whose unit the source does
        not state, and the oil temperature OT in degC.
    """
    check_choice("split", split, SPLITS)
    return read_etth1(fetch(ETTH1), SPLITS[split])


def read_etth1(path: Path, rows: slice) -> Trajectories:
    """Read some rows of the table."""
    import pandas as pd

    frame = pd.read_csv(path)
    if list(frame.columns) != ["date", *CHANNELS]:
        raise DataError(
            f"the columns date, {', '.join(CHANNELS)} are expected; got {', '.join(map(str, frame.columns))}.",
            source=path,
            row=1,
        )
    frame = frame.iloc[rows]
    return Trajectories.from_arrays(
        pd.to_datetime(frame["date"], format="%Y-%m-%d %H:%M:%S").to_numpy(),
        frame[list(CHANNELS)].to_numpy(dtype=np.float64),
        channels=CHANNELS,
        units={"OT": "degC"},
    )


def frozen_hours(data: Trajectories) -> np.ndarray:
    """Tell which rows repeat the row before in every channel, (time,)."""
    values = data.values[0]
    repeats = np.zeros(len(values), dtype=bool)
    repeats[1:] = (values[1:] == values[:-1]).all(axis=-1)
    return repeats
