"""Cells: one recurrence each, a few dozen lines from a paper. `CELLS` is where a new one is entered.

What runs a cell, checks it and puts it into networks reads the contract (`dynplat_deepssm.layer.AbstractCell`) only.
"""

from dynplat_deepssm.cells.companion import Companion
from dynplat_deepssm.cells.delta import DeltaNet
from dynplat_deepssm.cells.diagonal import S4D
from dynplat_deepssm.cells.hippo import HiPPO
from dynplat_deepssm.cells.lru import LRU
from dynplat_deepssm.cells.mamba import Mamba
from dynplat_deepssm.cells.mamba2 import Mamba2
from dynplat_deepssm.cells.s5 import S5
from dynplat_deepssm.cells.taps import Taps
from dynplat_deepssm.layer import AbstractCell

#: Cells by the names that options of models use.
CELLS: dict[str, type[AbstractCell]] = {
    "hippo": HiPPO,
    "s4d": S4D,
    "s5": S5,
    "lru": LRU,
    "mamba": Mamba,
    "mamba2": Mamba2,
    "delta": DeltaNet,
    "companion": Companion,
    "taps": Taps,
}

__all__ = ["CELLS", "LRU", "S4D", "S5", "Companion", "DeltaNet", "HiPPO", "Mamba", "Mamba2", "Taps"]
