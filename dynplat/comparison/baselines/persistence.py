"""Persistence: a population stays as it was seen last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dynplat.arrays import Observations, Random
from dynplat.comparison.baselines.entries import ENTRIES
from dynplat.comparison.baselines.populations import BaselineLaw, BaselineProcess, deal
from dynplat.model import AbstractModel, Context, Sites
from dynplat.records import ModelEntry


@dataclass(frozen=True)
class Persistence(AbstractModel):
    """At every time the population of the last snapshot at or before it, which may be long ago.

    A path stays where it is until the next snapshot, and goes on from any of its particles: nothing is known of which
    belongs to which.
    """

    entry: ClassVar[ModelEntry] = ENTRIES[0]

    def solve(self, observations: Observations, context: Context, *, seed: int) -> Sites:
        """Nothing is to be found: the model has no parameters."""
        return {}

    def process(self, sites: Sites, context: Context) -> BaselineProcess:
        """Return the law that becomes one by snapshots."""
        return BaselineProcess(PersistenceLaw)


class PersistenceLaw(BaselineLaw):
    """The populations seen last."""

    def paths(self, num_draws: int, random: Random) -> np.ndarray:
        """Paths of particles, (draw, query, channel)."""
        particles = self.populations.particles
        path = np.empty((num_draws, len(self.times), particles[0].shape[1]))
        for index in np.unique(self.before):
            chosen = particles[index][deal(len(particles[index]), num_draws, random)]
            path[:, self.before == index] = chosen[:, None]
        return path
