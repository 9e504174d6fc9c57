"""Bridges as processes: a linear reference that is conditioned on snapshots."""

from __future__ import annotations

import numpy as np

from dynplat.arrays import Array, Observations, Random, array_namespace, asarray_like
from dynplat.errors import ArgumentError
from dynplat.process import AbstractConditional, AbstractPredictive, AbstractProcess, GaussianPredictive
from dynplat_bridges.gaussian import GaussianBridge, fit_gaussian, gaussian_bridge
from dynplat_bridges.particles import ParticleBridge, particle_bridge
from dynplat_bridges.pinned import LinearLaw, PiecewiseLaw, Route, route
from dynplat_bridges.populations import checked_populations


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
        found = checked_populations(observations)
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


class ParticleBridgeProcess(AbstractProcess):
    """A linear reference; conditioned on snapshots, the bridge through their particles.

    Args:
        law: The reference, its parameters (..., 1, core dimensions); or one for each pair of neighbours.
        tolerance: Marginal error of the couplings to be reached (see `dynplat_bridges.sinkhorn`).
        max_iterations: Most iterations for each pair of neighbours.
    """

    def __init__(self, law: LinearLaw | PiecewiseLaw, *, tolerance: float = 1e-6, max_iterations: int = 10_000) -> None:
        self.law = law
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def condition(self, observations: Observations) -> ParticleBridgeConditional:
        """Return the bridge through the snapshots, rows of one series.

        Raises:
            DataError: The observations are no snapshots, or fewer than two.
            ArgumentError: The references are not one for each pair of neighbours.
            InferenceError: The couplings did not converge.
        """
        found = checked_populations(observations)
        if isinstance(self.law, PiecewiseLaw) and len(self.law.pieces) != len(found.times) - 1:
            raise ArgumentError(
                f"the model was fitted to {len(self.law.pieces) + 1} snapshots, with a diffusion for each pair of "
                f"neighbours, and is asked about {len(found.times)}. Fit it again, or take `bridges/multimarginal`."
            )
        bridge = particle_bridge(
            self.law, found.times, found.particles, tolerance=self.tolerance, max_iterations=self.max_iterations
        )
        return ParticleBridgeConditional(bridge)


class ParticleBridgeConditional(AbstractConditional):
    """A bridge through particles, to be asked about any times from the first snapshot on.

    Args:
        bridge: The bridge.
    """

    def __init__(self, bridge: ParticleBridge) -> None:
        self.bridge = bridge

    def at(self, times: Array, *, inputs: Array | None = None) -> ParticlePredictive:
        """Return the law of a particle at `times`, (1, query): draws are whole paths.

        Raises:
            ArgumentError: Times decrease, or lie before the first snapshot.
        """
        return ParticlePredictive(self.bridge, route(times, self.bridge.times))


class ParticlePredictive(AbstractPredictive):
    """The law of a particle at query times: a mixture over pairs of particles, and paths between them.

    Args:
        bridge: The bridge.
        way: The queries.
    """

    def __init__(self, bridge: ParticleBridge, way: Route) -> None:
        self.bridge = bridge
        self.way = way

    def draws(self, num_draws: int, *, random: Random, of: str = "observation") -> Array:
        """Whole paths, (num_draws, ..., 1, query, channel)."""
        return self.bridge.draw(num_draws, self.way, random)

    def mean(self, of: str = "observation") -> Array:
        """Means, (..., 1, query, channel)."""
        return self.bridge.moments(self.way)[0]

    def variance(self, of: str = "observation") -> Array:
        """Variances, (..., 1, query, channel)."""
        cov = self.covariance(of)
        return array_namespace(cov).linalg.diagonal(cov)

    def covariance(self, of: str = "observation") -> Array:
        """Covariances between the channels at one time, (..., 1, query, channel, channel)."""
        return self.bridge.moments(self.way)[1]

    def log_density(self, values: Array) -> Array:
        """Marginal log density of each cell of `values`, (..., 1, query, channel).

        Raises:
            NoDensityError: A query is at a snapshot, where the law is that of its particles.
        """
        return self.bridge.log_density(values, self.way)
