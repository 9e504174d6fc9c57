"""Snapshots as processes see them: one series whose rows are particles, taken apart into populations."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dynplat.arrays import Observations, to_numpy
from dynplat.data import Snapshots
from dynplat.errors import DataError


class Populations(NamedTuple):
    """Populations at increasing times; host arrays.

    Attributes:
        times: Times, (snapshot,).
        particles: One array (particle, channel) per time.
    """

    times: np.ndarray
    particles: tuple[np.ndarray, ...]


def populations_of(observations: Observations) -> Populations:
    """Take observations of one series whose rows are particles apart; rows of one time are one population.

    Raises:
        DataError: There are several series, fewer than two populations, times that decrease or values not observed.
    """
    times, values, mask = (to_numpy(leaf) for leaf in observations[:3])
    if times.ndim != 2 or len(times) != 1:
        raise DataError(
            f"a bridge takes observations of one series whose rows are particles; got times of shape {times.shape}.",
            hint="Make `Snapshots` of the data.",
        )
    if not mask.all():
        row, channel = (int(index) for index in np.argwhere(~mask[0])[0])
        raise DataError(
            f"a particle must be known in every channel; row {row} is not observed in channel {channel}.",
            hint="Leave the particle out.",
        )
    gaps = np.diff(times[0])
    if (gaps < 0).any():
        row = int(np.argmax(gaps < 0))
        raise DataError(
            f"times must not decrease; row {row + 1} is at {times[0, row + 1]:g}, after one at {times[0, row]:g}.",
            hint="Sort the particles by time.",
        )
    starts = np.flatnonzero(gaps > 0) + 1
    found = Populations(
        times[0, np.concatenate([[0], starts]).astype(int)] if times.shape[1] else times[0],
        tuple(np.split(values[0].astype(np.float64), starts)) if times.shape[1] else (),
    )
    _check_count(len(found.times))
    return found


def check_snapshots(data: Snapshots) -> None:
    """Refuse snapshots that no bridge passes through.

    Raises:
        DataError: There are fewer than two snapshots, or one is empty.
    """
    _check_count(data.num_times)
    for label, count in zip(data.labels, data.counts, strict=True):
        if count == 0:
            raise DataError(
                f"the population at time {label} is empty, and a bridge must pass through every one.",
                hint="Leave that time out (`hide_times`).",
            )


def _check_count(count: int) -> None:
    if count < 2:
        raise DataError(
            f"a bridge needs at least two snapshots; the data have {count}.",
            hint="Add populations at other times.",
        )
