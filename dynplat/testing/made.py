"""Small data of any declared kind, on which checks work."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories


def made_data(claims: Any, seed: int, lengths: tuple[int, ...] = (9, 6)) -> Trajectories:
    """Make two ragged series as a model claims to take them: irregular times, holes, two channels, inputs.

    Without irregular times, rows lie on a grid of step 1; some are absent where values may be missing.
    """
    from dynplat.data import Trajectories

    rng = np.random.default_rng(seed)
    channels = 2 if claims.multichannel else 1
    times, values, inputs = [], [], []
    for length in lengths:
        gaps = rng.uniform(0.3, 2.0, length) if claims.irregular_times else np.ones(length)
        if not claims.irregular_times and claims.missing_values:
            gaps = np.where(rng.uniform(size=length) < 0.2, 2.0, 1.0)
            gaps[2] = 2.0
        times.append(np.cumsum(gaps))
        if "real" in claims.values:
            block = 5.0 + 2.0 * np.sin(times[-1])[:, None] + rng.normal(size=(length, channels))
        elif "positive" in claims.values:
            block = np.exp(rng.normal(size=(length, channels)))
        else:
            block = rng.integers(0, 3, size=(length, channels)).astype(float)
        if claims.missing_values:
            holes = rng.uniform(size=block.shape) < 0.25
            holes[0] = False
            block = np.where(holes, np.nan, block)
        values.append(block)
        inputs.append(rng.normal(size=(length, 1)))
    return Trajectories.from_arrays(
        times,
        values,
        inputs=inputs if claims.inputs else None,
        input_names=("push",) if claims.inputs else None,
        series=("first", "second"),
        channels=tuple("ab"[:channels]),
    )


def made_snapshots(claims: Any, seed: int) -> Snapshots:
    """Make three populations of different sizes that move, as a model claims to take them: irregular times."""
    from dynplat.data import Snapshots

    rng = np.random.default_rng(seed)
    channels = 2 if claims.multichannel else 1
    times = np.array([1.0, 2.0, 3.6] if claims.irregular_times else [1.0, 2.0, 3.0])
    populations = []
    for place, size in ((0.0, 100), (1.5, 120), (4.0, 90)):
        block = rng.normal(size=(size, channels)) * np.array([0.5, 1.0])[:channels]
        # Channels that belong together: the second follows the first.
        block = place + np.cumsum(block, axis=1)
        if "real" not in claims.values:
            block = np.exp(0.3 * block) if "positive" in claims.values else np.round(np.abs(2 + block))
        populations.append(block)
    return Snapshots.from_arrays(times, populations, channels=tuple("ab"[:channels]))


def rearranged(
    data: Snapshots,
    *,
    times: Callable[[np.ndarray], np.ndarray] | None = None,
    order: Callable[[int, np.ndarray], np.ndarray] | None = None,
) -> Snapshots:
    """Return the same snapshots with times changed, or each population (its position, itself) in another order."""
    from dynplat.data import Snapshots

    populations = [
        population if order is None else population[order(position, population)]
        for position, population in enumerate(data.populations)
    ]
    return Snapshots.from_arrays(
        data.times if times is None else times(data.times), populations, channels=data.channels
    )


def rebuilt(
    data: Trajectories, *, times: Callable[[np.ndarray], np.ndarray] | None = None, values: np.ndarray | None = None
) -> Trajectories:
    """Return the same data with times changed, or with other numbers (series, time, channel) in the observed cells."""
    from dynplat.data import Trajectories

    numbers = data.values if values is None else values
    rows = [slice(0, int(length)) for length in data.lengths]
    return Trajectories.from_arrays(
        [data.times[s, row] if times is None else times(data.times[s, row]) for s, row in enumerate(rows)],
        [np.where(data.mask[s], numbers[s], np.nan)[row] for s, row in enumerate(rows)],
        inputs=None if data.inputs is None else [data.inputs[s, row] for s, row in enumerate(rows)],
        input_names=data.input_names or None,
        marks=None if data.marks is None else [data.marks[s, row] for s, row in enumerate(rows)],
        static=dict(data.static),
        series=data.series,
        channels=data.channels,
    )
