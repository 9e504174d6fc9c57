r"""Bridges through several snapshots, as chains of bridges between neighbours, and whole paths along them.

A reference is a Markov process, and each snapshot is known in full: given the places at the snapshots, the pieces of a
path in between are independent, and the bridge through all snapshots is the chain of the bridges between neighbours. A
whole path starts from a particle of any snapshot and runs forward through the later intervals and backward through the
earlier ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dynplat.model import Populations
from dynplat_bridges.ipf import IPF, RegressionBridge
from dynplat_bridges.linearised import LinearisedBridge, linearised_bridge
from dynplat_bridges.simulate import Drift

#: Points of a grid nearer than this part of a step to a query give way to it.
_NEAR = 1e-6


@dataclass(frozen=True, eq=False)
class AbstractChain(ABC):
    """A chain of bridges.

    Attributes:
        populations: The snapshots.
        grids: Times of each interval, both ends among them.
    """

    populations: Populations
    grids: tuple[np.ndarray, ...]

    @property
    def grid(self) -> np.ndarray:
        """Times of whole paths, (time,): those of the snapshots stand once."""
        return np.concatenate([self.grids[0][:1], *(grid[1:] for grid in self.grids)])

    @abstractmethod
    def forward(self, k: int, particles: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Run through interval k: paths (path, time, channel), and the particles at its end (as `particles`)."""

    @abstractmethod
    def backward(self, k: int, particles: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Run back through interval k: paths (path, time, channel), and the particles at its start."""

    @abstractmethod
    def particles_of(self, k: int, rows: np.ndarray) -> np.ndarray:
        """Some particles of snapshot k, as the chain holds them."""

    def draw(self, num_paths: int, start: int, rng: np.random.Generator) -> np.ndarray:
        """Draw whole paths.

        Args:
            num_paths: Number of paths.
            start: Number of the snapshot from whose particles paths start, each as often as the others as far as
                numbers allow.
            rng: Source of random numbers.

        Returns:
            Paths, (path, time, channel), on the grid.
        """
        first = self.particles_of(start, spread_evenly(num_paths, len(self.populations.particles[start]), rng))
        pieces: list[np.ndarray] = []
        particles = first
        for k in range(start, len(self.grids)):
            paths, particles = self.forward(k, particles, rng)
            pieces.append(paths)
        particles = first
        for k in range(start - 1, -1, -1):
            paths, particles = self.backward(k, particles, rng)
            pieces.insert(0, paths)
        return np.concatenate([pieces[0][:, :1], *(piece[:, 1:] for piece in pieces)], axis=1)

    def draw_from_all(self, num_paths: int, rng: np.random.Generator) -> np.ndarray:
        """Draw whole paths that start from all snapshots in equal parts, (path, time, channel)."""
        count = len(self.populations.times)
        parts = [len(part) for part in np.array_split(np.arange(num_paths), count)]
        return np.concatenate([self.draw(part, k, rng) for k, part in enumerate(parts) if part])


@dataclass(frozen=True, eq=False)
class LinearisedChain(AbstractChain):
    """A chain of bridges of a linearised reference. Particles are rows of the snapshots: a path passes them exactly."""

    bridges: tuple[LinearisedBridge, ...]

    @property
    def divergence(self) -> float:
        """Divergence of the law of whole paths from the reference, but for a constant of the snapshots."""
        return sum(bridge.divergence for bridge in self.bridges)

    @property
    def error(self) -> float:
        """Largest error of a coupling's sums of rows."""
        return max(bridge.error for bridge in self.bridges)

    def draw_from_all(self, num_paths: int, rng: np.random.Generator) -> np.ndarray:
        """Draw whole paths; whichever snapshot they start from, their law is the same, and one start is fastest."""
        return self.draw(num_paths, len(self.grids) // 2, rng)

    def noise_factor(self) -> float:
        """What multiplies the diffusion where the expected log transition over the couplings is largest."""
        squares = [np.sum(bridge.plan * bridge.paths.squared_distances(bridge.last)) for bridge in self.bridges]
        return float(np.sqrt(np.mean(squares) / self.populations.particles[0].shape[1]))

    def forward(self, k: int, particles: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw partners and pinned paths."""
        columns = self.bridges[k].partners_of_first(particles, rng)
        return self.bridges[k].draw(particles, columns, rng), columns

    def backward(self, k: int, particles: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw partners and pinned paths."""
        rows = self.bridges[k].partners_of_last(particles, rng)
        return self.bridges[k].draw(rows, particles, rng), rows

    def particles_of(self, k: int, rows: np.ndarray) -> np.ndarray:
        """The rows themselves."""
        return rows


@dataclass(frozen=True, eq=False)
class RegressionChain(AbstractChain):
    """A chain of bridges with learned drifts. Particles are places: a path passes near the snapshots' particles."""

    bridges: tuple[RegressionBridge, ...]

    def forward(self, k: int, particles: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Simulate forward."""
        paths = self.bridges[k].run_forward(particles, rng)
        return paths, paths[:, -1]

    def backward(self, k: int, particles: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Simulate backward."""
        paths = self.bridges[k].run_backward(particles, rng)
        return paths, paths[:, 0]

    def particles_of(self, k: int, rows: np.ndarray) -> np.ndarray:
        """Their places."""
        return self.populations.particles[k][rows]


def linearised_chain(
    populations: Populations, drift: Drift, diffusion: np.ndarray, grids: Sequence[np.ndarray]
) -> LinearisedChain:
    """Couple all neighbouring snapshots over a linearised reference."""
    particles = populations.particles
    bridges = [
        linearised_bridge(drift, particles[k], particles[k + 1], grid, diffusion) for k, grid in enumerate(grids)
    ]
    return LinearisedChain(populations, tuple(grids), tuple(bridges))


def regression_chain(
    populations: Populations, drift: Drift, diffusion: np.ndarray, grids: Sequence[np.ndarray], ipf: IPF, seed: int
) -> RegressionChain:
    """Fit drifts forward and backward between all neighbouring snapshots."""
    particles = populations.particles
    bridges = [
        ipf.solve(particles[k], particles[k + 1], grid, drift, diffusion, seed=seed + k) for k, grid in enumerate(grids)
    ]
    return RegressionChain(populations, tuple(grids), tuple(bridges))


def interval_grids(times: np.ndarray, num_steps: int, queries: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    """A grid for each interval between snapshots: equal steps, and all queries within.

    Args:
        times: Times of the snapshots, (snapshot,).
        num_steps: Number of equal steps.
        queries: Query times, (query,).
    """
    grids = []
    for start, stop in pairwise(times):
        grid = np.linspace(start, stop, num_steps + 1)
        inner = np.empty(0) if queries is None else np.unique(queries[(queries > start) & (queries < stop)])
        if inner.size:
            near = np.abs(grid[1:-1, None] - inner).min(axis=1) < _NEAR * (stop - start) / num_steps
            grid = np.unique(np.concatenate([grid[:1], grid[1:-1][~near], grid[-1:], inner]))
        grids.append(grid)
    return tuple(grids)


def spread_evenly(count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` of `size` numbers in random order, each as often as the others as far as possible, (count,)."""
    whole, rest = divmod(count, size)
    return np.concatenate([rng.permutation(size) for _ in range(whole)] + [rng.permutation(size)[:rest]])
