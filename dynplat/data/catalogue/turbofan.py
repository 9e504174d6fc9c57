"""Turbofan engines run to failure, simulated with C-MAPSS: part FD001, one operating condition and one fault.

Saxena, Goebel, Simon and Eklund (2008), doi:10.1109/PHM.2008.4711414; NASA Prognostics Center of Excellence.

How the traps are handled: rows end in blanks; edited copies with fewer rows are about, so the number of rows and
engines is checked (20,631, 13,096 and 100); the list of remaining lives opens with an empty line and a plus sign.
Columns 5, 6, 10, 15, 21, 23 and 24 of the table (counted from 1: the third setting and six sensors) are constant in
both parts; they are kept, or dropped on request. The remaining useful life of a test engine is that after its last row.
Papers often cap it at 125 cycles: nothing is capped here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dynplat.data.catalogue.choices import check_choice
from dynplat.data.catalogue.fetch import fetch
from dynplat.data.catalogue.registry import TURBOFAN_RUL, TURBOFAN_TEST, TURBOFAN_TRAIN
from dynplat.data.trajectories import Trajectories
from dynplat.errors import DataError

SETTINGS = ("setting1", "setting2", "setting3")
#: Sensor -> unit, in the order of the table's columns 6 to 26 (Saxena et al. 2008, table 2).
SENSORS = {
    "T2": "degR",
    "T24": "degR",
    "T30": "degR",
    "T50": "degR",
    "P2": "psia",
    "P15": "psia",
    "P30": "psia",
    "Nf": "rpm",
    "Nc": "rpm",
    "epr": "",
    "Ps30": "psia",
    "phi": "pps/psi",
    "NRf": "rpm",
    "NRc": "rpm",
    "BPR": "",
    "farB": "",
    "htBleed": "",
    "Nf_dmd": "rpm",
    "PCNfR_dmd": "rpm",
    "W31": "lbm/s",
    "W32": "lbm/s",
}
#: Constant in FD001, in training and test.
CONSTANT = ("setting3", "T2", "P2", "epr", "farB", "Nf_dmd", "PCNfR_dmd")
NUM_ENGINES = 100
NUM_ROWS = {"train": 20_631, "test": 13_096}


def load_turbofan_fd001(*, split: str = "train", settings: bool = False, drop_constant: bool = False) -> Trajectories:
    """Load 100 engines, one series each.

    Args:
        split: `train` (each engine to its failure) or `test` (each engine to some cycle before its failure).
        settings: Carry the three operating settings as known inputs.
        drop_constant: Leave out the constant sensors and the constant setting.

    Returns:
        21 sensors as channels; times in cycles from 1; static `rul`, the cycles that remain after the last row: 0 in
        `train`. At an earlier row it is `rul` plus the number of rows after it.
    """
    check_choice("split", split, NUM_ROWS)
    table = read_table(fetch(TURBOFAN_TRAIN if split == "train" else TURBOFAN_TEST), NUM_ROWS[split])
    rul = np.zeros(NUM_ENGINES, dtype=np.int64) if split == "train" else read_rul(fetch(TURBOFAN_RUL))
    dropped = CONSTANT if drop_constant else ()
    names = ("unit", "cycle", *SETTINGS, *SENSORS)
    sensors = [name for name in SENSORS if name not in dropped]
    controls = [name for name in SETTINGS if name not in dropped]
    engines = [table[table[:, 0] == engine] for engine in range(1, NUM_ENGINES + 1)]

    def columns(wanted: list[str]) -> list[np.ndarray]:
        places = [names.index(name) for name in wanted]
        return [rows[:, places] for rows in engines]

    return Trajectories.from_arrays(
        [rows[:, 1] for rows in engines],
        columns(sensors),
        inputs=columns(controls) if settings else None,
        input_names=controls if settings else None,
        static={"rul": rul},
        series=[str(engine) for engine in range(1, NUM_ENGINES + 1)],
        channels=sensors,
        units={name: SENSORS[name] for name in sensors if SENSORS[name]},
        time_unit="cycle",
    )


def read_table(path: Path, num_rows: int) -> np.ndarray:
    """Read a table of engines, (row, 26).

    Raises:
        DataError: The table has not the original's number of rows, columns or engines.
    """
    table = np.loadtxt(path, ndmin=2)
    width = 2 + len(SETTINGS) + len(SENSORS)
    found = (*table.shape, len(np.unique(table[:, 0])))
    if found != (num_rows, width, NUM_ENGINES):
        raise DataError(
            f"{num_rows} rows, {width} columns and {NUM_ENGINES} engines are expected; got {found}: an edited copy.",
            source=path,
        )
    return table


def read_rul(path: Path) -> np.ndarray:
    """Read the remaining useful life of each test engine, in cycles."""
    numbers = np.array([int(word) for word in path.read_text(encoding="ascii").split()], dtype=np.int64)
    if numbers.shape != (NUM_ENGINES,):
        raise DataError(f"{NUM_ENGINES} remaining lives are expected; got {len(numbers)}.", source=path)
    return numbers
