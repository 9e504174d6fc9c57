"""Populations that a bridge can pass through: at least two, and none empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynplat.errors import DataError
from dynplat.model import Populations, populations_of

if TYPE_CHECKING:
    from dynplat.arrays import Observations
    from dynplat.data import Snapshots


def checked_populations(observations: Observations) -> Populations:
    """Take observations of one series whose rows are particles apart (`dynplat.model.populations_of`).

    Raises:
        DataError: They are no snapshots, or fewer than two.
    """
    found = populations_of(observations)
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
