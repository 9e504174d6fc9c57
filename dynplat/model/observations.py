"""From data to what processes see. Only this room builds `Observations` from data."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dynplat.arrays import Observations, to_numpy
from dynplat.data import layout
from dynplat.data.assemble import Padded
from dynplat.data.clock import show_label
from dynplat.errors import DataError

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories


#: Size below which, and beyond the inverse of which, squares summed over the rows may leave float64 (1e-308 to 1e308).
_TINY = 1e-150

#: Name of the one series whose rows are the particles of snapshots.
POPULATION = "population"


def rows_of(data: Trajectories | Snapshots) -> Trajectories:
    """Return the rows that processes see: those of trajectories, or the particles of snapshots.

    Particles are the rows of one series, called `population`, snapshot after snapshot: rows of one time are one
    population, in any order, and nothing says which particle of one time is which of another. What is returned for
    snapshots is for reading only: as trajectories, one channel would be observed several times at one time.
    """
    from dynplat.data import Snapshots, Trajectories

    if not isinstance(data, Snapshots):
        return data
    counts = np.asarray(data.counts)
    values = data.dataset["values"].values
    padded = Padded(
        times=np.repeat(data.times, counts)[None],
        labels=np.repeat(data.labels, counts)[None] if data.is_datetime else None,
        values=values[None],
        inputs=None,
        marks=None,
        lengths=np.array([len(values)]),
        placement=np.zeros((len(values), 2), dtype=np.int64),
    )
    return Trajectories(
        layout.make_dataset(
            padded,
            series=[POPULATION],
            channels=data.channels,
            input_names=(),
            units=layout.check_units(data.units, data.channels),
            static={},
            clock=data.clock,
            time_name=data.time_name,
            series_name="",
        )
    )


def observations_from(data: Trajectories | Snapshots) -> Observations:
    """Build the `Observations` of `data` as host arrays.

    Snapshots become one series whose rows are particles (`rows_of`), all observed, with times that do not decrease.

    The leaves are NumPy constants: a process turns them into arrays of its parameters' framework, dtype and device
    (`dynplat.arrays.asarray_like`), after it has taken differences of times in float64.

    Raises:
        DataError: A value, or a whole channel, has a size whose square is no float64.
    """
    data = rows_of(data)
    _check_range(data)
    return Observations(
        times=np.asarray(data.times, dtype=np.float64),
        values=np.where(data.mask, data.values, 0.0),
        mask=np.asarray(data.mask, dtype=bool),
        inputs=None if data.inputs is None else np.asarray(data.inputs, dtype=np.float64),
        marks=None if data.marks is None else np.asarray(data.marks),
    )


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
        DataError: There are several series, no row, times that decrease or values that are not observed.
    """
    times, values, mask = (to_numpy(leaf) for leaf in observations[:3])
    if times.ndim != 2 or len(times) != 1 or not times.shape[1]:
        raise DataError(
            "populations are taken from observations of one series whose rows are particles; got times of shape "
            f"{times.shape}.",
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
    particles = np.split(values[0].astype(np.float64), starts)
    return Populations(times[0, np.concatenate([[0], starts]).astype(int)], tuple(particles))


def _check_range(data: Trajectories) -> None:
    """Refuse sizes whose squares, which every model takes, overflow or vanish in float64."""
    sizes = np.where(data.mask, np.abs(data.values), 0.0)
    if not sizes.size:
        return
    largest = sizes.max(axis=(0, 1))
    for c in np.flatnonzero((largest > 1 / _TINY) | ((largest > 0) & (largest < _TINY))):
        place = np.unravel_index(np.argmax(sizes[:, :, c]), sizes.shape[:2])
        raise DataError(
            f"the largest value is {data.values[place][c]:g} (series {data.series[place[0]]!r}, {data.time_name} "
            f"{show_label(data.labels[place])}), and models compute with squares of values: sizes must lie between "
            f"{_TINY:g} and {1 / _TINY:g}.",
            hint="Correct the value if it is a mistake, or give the channel another unit.",
            column=data.channels[c],
        )
