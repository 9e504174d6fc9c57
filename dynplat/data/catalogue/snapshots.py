"""Populations at a few times: Lotka-Volterra, a repressilator, and drifters in the Gulf of Mexico.

The files of Berlinghieri, Shen, Jiang and Broderick (2025, arXiv:2505.16082): simulated prey and predators, three
simulated genes that repress each other in a ring, and particles advected by currents of the HYCOM ocean model around an
eddy. Each has eleven snapshots of 200 particles, of which the last is meant for a forecast, and nine more that lie
half-way between the first ten and are meant to be held out.

How the traps are handled: every snapshot is a fresh cohort, so that no particle is followed, which is what `Snapshots`
say. Some files hold times in single precision (7.2000003): times are rounded to four digits. The arrays `y0` (1000
particles at the first time) and `time_scale` are left out; times are in the unit of the file.
"""

from __future__ import annotations

import numpy as np

from dynplat.data.catalogue.choices import check_choice
from dynplat.data.catalogue.fetch import RemoteFile, fetch
from dynplat.data.catalogue.registry import (
    GULF_OF_MEXICO_BETWEEN,
    GULF_OF_MEXICO_SNAPSHOTS,
    LOTKA_VOLTERRA_BETWEEN,
    LOTKA_VOLTERRA_SNAPSHOTS,
    REPRESSILATOR_BETWEEN,
    REPRESSILATOR_SNAPSHOTS,
)
from dynplat.data.snapshots import Snapshots
from dynplat.errors import DataError

PARTS = ("all", "train", "held-out")
_DECIMALS = 4


def load_lotka_volterra_snapshots(*, part: str = "all") -> Snapshots:
    """Load populations of a noisy Lotka-Volterra system.

    Args:
        part: `all`, the `train` snapshots (the last one for a forecast among them), or those `held-out` between them.

    Returns:
        Channels `prey` and `predator`; times 0, 1, ..., 10 and between them 0.5, 1.5, ..., 8.5.
    """
    return _load(LOTKA_VOLTERRA_SNAPSHOTS, LOTKA_VOLTERRA_BETWEEN, ("prey", "predator"), part)


def load_repressilator_snapshots(*, part: str = "all") -> Snapshots:
    """Load populations of a noisy repressilator; `part` as in `load_lotka_volterra_snapshots`.

    Returns:
        Channels `gene1`, `gene2` and `gene3`; times as in `load_lotka_volterra_snapshots`.
    """
    return _load(REPRESSILATOR_SNAPSHOTS, REPRESSILATOR_BETWEEN, ("gene1", "gene2", "gene3"), part)


def load_gulf_of_mexico_snapshots(*, part: str = "all") -> Snapshots:
    """Load populations of drifters around an eddy; `part` as in `load_lotka_volterra_snapshots`.

    Returns:
        Channels `x` and `y`, places in the scale of the file; times 0, 0.8, ..., 8 and between them 0.4, 1.2, ..., 6.8.
    """
    return _load(GULF_OF_MEXICO_SNAPSHOTS, GULF_OF_MEXICO_BETWEEN, ("x", "y"), part)


def _load(train: RemoteFile, between: RemoteFile, channels: tuple[str, ...], part: str) -> Snapshots:
    check_choice("part", part, PARTS)
    if part == "all":
        return _read(train, channels).join(_read(between, channels))
    return _read(train if part == "train" else between, channels)


def _read(remote: RemoteFile, channels: tuple[str, ...]) -> Snapshots:
    path = fetch(remote)
    with np.load(path, allow_pickle=False) as archive:
        lacking = [name for name in ("Xs", "dts") if name not in archive.files]
        if lacking:
            raise DataError(f"the array {lacking[0]!r} is not there; got {', '.join(archive.files)}.", source=path)
        populations, times = archive["Xs"].astype(np.float64), archive["dts"].astype(np.float64)
    if populations.shape != (len(times), populations.shape[1], len(channels)):
        raise DataError(
            f"`Xs` must be (snapshot, particle, channel) with {len(times)} snapshots and {len(channels)} channels; "
            f"got {populations.shape}.",
            source=path,
        )
    return Snapshots.from_arrays(np.round(times, _DECIMALS), list(populations), channels=channels)
