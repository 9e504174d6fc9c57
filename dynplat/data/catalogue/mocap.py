"""Human walking from the CMU motion-capture database: subjects 35 and 09, 50 joint channels.

The arrays are those on which Yildiz et al. 2019 (ODE2VAE), Li et al. 2020 (latent SDE, arXiv:2001.01328) and Hegde et
al. 2022 report, with their split into train, validation and test. Values are joint angles and root velocities as those
papers preprocessed them, without unit.

How the traps are handled: channels 24, 25, 31 and 32 (counted from 0) are constant up to rounding; they are kept, or
dropped on request. Papers scale the channels differently before they report errors: nothing is scaled here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dynplat.data.catalogue.choices import check_choice
from dynplat.data.catalogue.fetch import fetch
from dynplat.data.catalogue.registry import MOCAP_09, MOCAP_35
from dynplat.data.trajectories import Trajectories
from dynplat.errors import DataError

SPLITS = ("train", "validation", "test")
CONSTANT = (24, 25, 31, 32)
_NUM_CHANNELS = 50


def load_mocap_35(*, split: str = "all", drop_constant: bool = False) -> Trajectories:
    """Load subject 35: 16 + 3 + 4 walks of 300 frames.

    Args:
        split: `all`, `train`, `validation` or `test`.
        drop_constant: Leave out the four constant channels.

    Returns:
        Series `train-0`, ...; static `split`; channels `joint00` to `joint49`; times count frames.
    """
    return _load(fetch(MOCAP_35), split, drop_constant)


def load_mocap_09(*, split: str = "all", drop_constant: bool = False) -> Trajectories:
    """Load subject 09: 6 + 2 + 2 walks of 120 frames; arguments and result as in `load_mocap_35`."""
    return _load(fetch(MOCAP_09), split, drop_constant)


def _load(path: Path, split: str, drop_constant: bool) -> Trajectories:
    check_choice("split", split, ("all", *SPLITS))
    wanted = SPLITS if split == "all" else (split,)
    with np.load(path, allow_pickle=False) as archive:
        if set(archive.files) != set(SPLITS):
            raise DataError(
                f"arrays {', '.join(SPLITS)} are expected; got {', '.join(sorted(archive.files))}.", source=path
            )
        parts = {name: archive[name] for name in wanted}
    keep = [index for index in range(_NUM_CHANNELS) if not (drop_constant and index in CONSTANT)]
    values = np.concatenate([parts[name] for name in wanted])[:, :, keep]
    return Trajectories.from_arrays(
        np.arange(values.shape[1], dtype=np.float64),
        values,
        series=[f"{name}-{index}" for name in wanted for index in range(len(parts[name]))],
        channels=[f"joint{index:02d}" for index in keep],
        static={"split": [name for name in wanted for _ in parts[name]]},
        time_unit="frame",
    )
