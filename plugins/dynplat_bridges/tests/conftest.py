"""What tests of the family share."""

from __future__ import annotations

import numpy as np

from dynplat.arrays import Observations
from dynplat.data import Snapshots


def observations_of(data: Snapshots) -> Observations:
    """Snapshots as rows of one series."""
    values = np.concatenate(data.populations)[None]
    return Observations(np.repeat(data.times, data.counts)[None], values, np.ones(values.shape, dtype=bool))


def solved(model, data):
    """Context, sites (draw, 1, core) and the law given the data, of a model fitted by its own solver."""
    context, seen = model.prepare(data), observations_of(data)
    sites = {name: value[:, None] for name, value in model.solve(seen, context, seed=0).items()}
    return context, sites, model.process(sites, context).condition(seen)


def reverting_populations(*, seed=0, count=400, times=(0.0, 0.5, 1.2, 2.0, 3.0)):
    """Fresh cohorts of two channels that revert at the rate 0.8 to (3, -1), with diffusion (0.5, 1)."""
    rng = np.random.default_rng(seed)
    rate, centre, sigma = 0.8, np.array([3.0, -1.0]), np.array([0.5, 1.0])
    populations = []
    for t in times:
        decay = np.exp(-rate * t)
        start, noise = 0.3 * rng.normal(size=(count, 2)), rng.normal(size=(count, 2))
        spread = np.sqrt(sigma**2 * (1 - decay**2) / (2 * rate))
        populations.append(decay * start + (1 - decay) * centre + spread * noise)
    return Snapshots.from_arrays(np.array(times), populations, channels=("x", "y"))
