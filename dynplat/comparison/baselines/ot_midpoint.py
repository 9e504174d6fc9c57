r"""Displacement interpolation: particles go straight ways along the optimal transport between neighbouring snapshots.

With :math:`\pi` an optimal plan for squared Euclidean costs between the snapshots at :math:`t_0` and :math:`t_1`, the
population at :math:`t` is that of :math:`(1 - \lambda) x + \lambda y`, :math:`(x, y) \sim \pi` (McCann 1997,
doi:10.1006/aima.1997.1634). The midpoint has :math:`\lambda = 1/2` wherever t lies between the two; with
`place="time"` it is :math:`\lambda = (t - t_0)/(t_1 - t_0)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dynplat.arrays import Observations, Random, to_numpy
from dynplat.comparison.baselines.entries import ENTRIES
from dynplat.comparison.baselines.populations import BaselineLaw, BaselineProcess, Populations, deal
from dynplat.comparison.transport import matching, transport_plan
from dynplat.errors import ArgumentError
from dynplat.model import AbstractModel, Context, Sites
from dynplat.records import ModelEntry

PLACES = ("midpoint", "time")


@dataclass(frozen=True)
class OtMidpoint(AbstractModel):
    """Half-way along the optimal transport between the two snapshots around a time.

    Args:
        place: `midpoint` takes the middle of the way at every time between two snapshots, `time` the place that
            belongs to the time.
    """

    place: str = "midpoint"

    entry: ClassVar[ModelEntry] = ENTRIES[1]

    def __post_init__(self) -> None:
        """Check the option."""
        if self.place not in PLACES:
            raise ArgumentError(f"`place` must be one of {PLACES}; got {self.place!r}.")

    def solve(self, observations: Observations, context: Context, *, seed: int) -> Sites:
        """Nothing is to be found: the model has no parameters."""
        return {}

    def process(self, sites: Sites, context: Context) -> BaselineProcess:
        """Return the law that becomes one by snapshots."""
        return BaselineProcess(TransportLaw, place=self.place)


class TransportLaw(BaselineLaw):
    """Populations on the way from one snapshot to the next."""

    forecasts = False

    def __init__(self, populations: Populations, times: np.ndarray, place: str = "midpoint") -> None:
        super().__init__(populations, times)
        known = populations.times
        after = np.minimum(self.before + 1, len(known) - 1)
        gap = np.where(after > self.before, known[after] - known[self.before], 1.0)
        share = (times - known[self.before]) / gap
        self.share = np.where(share > 0, 0.5, 0.0) if place == "midpoint" else share

    def paths(self, num_draws: int, random: Random) -> np.ndarray:
        """Paths of particles, (draw, query, channel): each goes from its particle to a partner of it, and on."""
        particles = self.populations.particles
        path = np.empty((num_draws, len(self.times), particles[0].shape[1]))
        if not len(self.times):
            return path
        first, last = int(self.before.min()), int(self.before.max())
        here = deal(len(particles[first]), num_draws, random)
        for index in range(first, last + 1):
            asked = self.before == index
            start = particles[index][here]
            on_the_way = asked & (self.share > 0)
            path[:, asked & ~on_the_way] = start[:, None]
            if index == last and not on_the_way.any():
                break
            here = partners(particles[index], particles[index + 1], here, random)
            share = self.share[on_the_way][:, None]
            path[:, on_the_way] = (1.0 - share) * start[:, None] + share * particles[index + 1][here][:, None]
        return path


def partners(first: np.ndarray, second: np.ndarray, chosen: np.ndarray, random: Random) -> np.ndarray:
    """Where the particles `chosen` of the first population go in the second, drawn from an optimal plan."""
    from scipy.spatial.distance import cdist

    cost = cdist(first, second, "sqeuclidean")
    if len(first) == len(second):
        return matching(cost)[chosen]
    reached = np.cumsum(transport_plan(cost), axis=1)
    level = to_numpy(random.uniform(chosen.shape)) * reached[chosen, -1]
    return np.minimum((reached[chosen] <= level[:, None]).sum(axis=1), len(second) - 1)
