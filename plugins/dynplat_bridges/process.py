"""Bridges as processes: a linear reference that is conditioned on snapshots."""

from __future__ import annotations

import numpy as np

from dynplat.arrays import Array, Observations, Random, asarray_like
from dynplat.process import AbstractConditional, AbstractProcess, GaussianPredictive
from dynplat_bridges.gaussian import GaussianBridge, fit_gaussian, gaussian_bridge
from dynplat_bridges.pinned import LinearLaw, route
from dynplat_bridges.populations import populations_of


class GaussianBridgeProcess(AbstractProcess):
    """A linear reference; conditioned on snapshots, the bridge through the Gaussians of their moments.

    Args:
        law: The reference, its parameters (..., 1, core dimensions).
    """

    def __init__(self, law: LinearLaw) -> None:
        self.law = law

    def condition(self, observations: Observations) -> GaussianBridgeConditional:
        """Return the bridge through the snapshots, rows of one series.

        Raises:
            DataError: The observations are no snapshots, or fewer than two.
        """
        found = populations_of(observations)
        fitted = [fit_gaussian(particles) for particles in found.particles]
        return GaussianBridgeConditional(gaussian_bridge(self.law, found.times, fitted))


class GaussianBridgeConditional(AbstractConditional):
    """A Gaussian bridge, to be asked about any times from the first snapshot on.

    Args:
        bridge: The bridge.
    """

    def __init__(self, bridge: GaussianBridge) -> None:
        self.bridge = bridge

    def at(self, times: Array, *, inputs: Array | None = None) -> GaussianPredictive:
        """Return the law of a particle at `times`, (1, query): draws are whole paths.

        Raises:
            ArgumentError: Times decrease, or lie before the first snapshot.
        """
        way = route(times, self.bridge.times)
        means, covs = self.bridge.moments(way)

        def draw(num_draws: int, random: Random) -> Array:
            return self.bridge.draw(num_draws, way, random)

        eye = asarray_like(np.eye(means.shape[-1]), means)
        return GaussianPredictive(means, covs, eye, None, 0.0 * eye, draw)
