r"""Bridges over references that are not linear, by linearising them along the path of each particle.

In steps of Euler and Maruyama, :math:`x_{k+1} = x_k + b(x_k)\,\Delta + \sigma \sqrt\Delta\,\epsilon`, a particle that
starts at :math:`x_0` follows, to first order in the noise,

.. math::
    m_{k+1} = m_k + b(m_k)\,\Delta, \qquad \delta_{k+1} = J_k \delta_k + \sigma \sqrt\Delta\,\epsilon, \qquad
    J_k = I + \Delta\,\partial b(m_k), \qquad x_k = m_k + \delta_k,

a Gaussian law around a path of its own, exact where b is linear. The transition to a place y at the end has the density
:math:`N(y; m_S, P_S)`, which makes the kernel of the entropic coupling, and the path that ends there is drawn by
Matheron's rule, :math:`\delta_k + \operatorname{cov}(\delta_k, \delta_S) P_S^{-1} (y - m_S - \delta_S)`. The bridge
between two snapshots is the coupling with pinned paths in between: no potential is simulated or regressed, and both
ends are the snapshots' own particles. It costs O(N S) for the paths and O(N^2) a turn for the coupling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynplat.errors import InferenceError
from dynplat_bridges.ipf import check_diffusion
from dynplat_bridges.simulate import Drift
from dynplat_bridges.sinkhorn import sinkhorn

#: Step of central differences, as a part of the spread of the particles.
_DIFFERENCE = 1e-5
#: The golden section, whose multiples fall evenly between 0 and 1.
_GOLDEN = 0.5 * (np.sqrt(5.0) - 1.0)


@dataclass(frozen=True, eq=False)
class LinearisedPaths:
    """Laws of paths around those of particles without noise.

    Attributes:
        grid: Times, (time,).
        means: Paths m, (particle, time, channel).
        moves: Matrices J of the steps, (particle, step, channel, channel).
        covariances: Covariances P of delta, (particle, time, channel, channel).
        diffusion: sigma, (channel,).
    """

    grid: np.ndarray
    means: np.ndarray
    moves: np.ndarray
    covariances: np.ndarray
    diffusion: np.ndarray

    def squared_distances(self, ends: np.ndarray) -> np.ndarray:
        """Squared distances of places (end, channel) from the law at the last time, (particle, end)."""
        factors = np.linalg.cholesky(self.covariances[:, -1])
        away = ends[None] - self.means[:, None, -1]
        white = np.linalg.solve(factors, np.swapaxes(away, 1, 2))
        return np.sum(white**2, axis=1)

    def log_kernel(self, ends: np.ndarray) -> np.ndarray:
        """Log density of the transition to places (end, channel), (particle, end)."""
        size = ends.shape[1]
        log_det = np.linalg.slogdet(self.covariances[:, -1])[1]
        return -0.5 * (self.squared_distances(ends) + log_det[:, None] + size * np.log(2.0 * np.pi))

    def draw(self, rows: np.ndarray, ends: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
        """Draw paths of particles, pinned at their ends.

        Args:
            rows: Number of the particle of each path, (path,).
            ends: Where each path ends, (path, channel); None leaves the end free.
            rng: Source of random numbers.

        Returns:
            Paths, (path, time, channel).
        """
        means, moves, covariances = self.means[rows], self.moves[rows], self.covariances[rows]
        delta = np.zeros_like(means)
        gaps = np.diff(self.grid)
        for k, gap in enumerate(gaps):
            noise = np.sqrt(gap) * self.diffusion * rng.standard_normal(delta[:, 0].shape)
            delta[:, k + 1] = np.einsum("nij,nj->ni", moves[:, k], delta[:, k]) + noise
        paths = means + delta
        if ends is None:
            return paths
        pull = np.linalg.solve(covariances[:, -1], (ends - paths[:, -1])[..., None])[..., 0]
        for k in range(len(gaps), -1, -1):
            paths[:, k] += np.einsum("nij,nj->ni", covariances[:, k], pull)
            if k:
                pull = np.einsum("nji,nj->ni", moves[:, k - 1], pull)
        return paths


def linearise(drift: Drift, particles: np.ndarray, grid: np.ndarray, diffusion: np.ndarray) -> LinearisedPaths:
    """Linearise a reference along the paths of particles.

    Args:
        drift: Its drift.
        particles: Where they start, (particle, channel).
        grid: Times, (time,), increasing.
        diffusion: sigma, (channel,), positive.

    Raises:
        ArgumentError: The diffusion is not positive.
    """
    count, size = particles.shape
    sigma = check_diffusion(diffusion, size)
    steps, eye = len(grid) - 1, np.eye(size)
    means, moves = np.empty((count, steps + 1, size)), np.empty((count, steps, size, size))
    covariances = np.zeros((count, steps + 1, size, size))
    means[:, 0] = particles
    h = _DIFFERENCE * np.maximum(np.ptp(particles, axis=0), 1e-3 * np.abs(particles).max() + np.finfo(float).tiny)
    shifts = np.concatenate([np.diag(h), -np.diag(h)])
    for k, gap in enumerate(np.diff(grid)):
        here = means[:, k]
        # One call for the drift and its differences on both sides.
        around = np.asarray(drift(np.concatenate([here[None], here + shifts[:, None]]), float(grid[k])))
        slopes = (around[1 : size + 1] - around[size + 1 :]) / (2.0 * h[:, None, None])
        moves[:, k] = eye + gap * np.moveaxis(slopes, 0, -1)
        means[:, k + 1] = here + gap * around[0]
        grown = moves[:, k] @ covariances[:, k] @ np.swapaxes(moves[:, k], -1, -2)
        covariances[:, k + 1] = grown + gap * np.diag(sigma**2)
    return LinearisedPaths(np.asarray(grid), means, moves, covariances, sigma)


@dataclass(frozen=True, eq=False)
class LinearisedBridge:
    """The bridge between two snapshots of a linearised reference.

    Attributes:
        paths: Laws of paths from the particles of the first snapshot.
        last: Particles of the last snapshot, (particle, channel).
        plan: Probabilities of pairs of particles, (first, last).
        divergence: Divergence of the bridge from the reference, but for the entropy of the last snapshot.
        error: Sum of the absolute differences of the plan's sums from equal weights.
    """

    paths: LinearisedPaths
    last: np.ndarray
    plan: np.ndarray
    divergence: float
    error: float

    def draw(self, rows: np.ndarray, columns: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw paths (path, time, channel) from particles `rows` of the first snapshot to `columns` of the last."""
        return self.paths.draw(rows, self.last[columns], rng)

    def partners_of_first(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw a particle of the last snapshot for each of some of the first, (path,)."""
        return _partners(self.plan, rows, self.paths.means[:, 0], self.last, rng)

    def partners_of_last(self, columns: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw a particle of the first snapshot for each of some of the last, (path,)."""
        return _partners(self.plan.T, columns, self.last, self.paths.means[:, 0], rng)


def linearised_bridge(
    drift: Drift, first: np.ndarray, last: np.ndarray, grid: np.ndarray, diffusion: np.ndarray
) -> LinearisedBridge:
    """Couple two snapshots as close to a linearised reference as they allow.

    Args:
        drift: Drift of the reference.
        first: Particles at the first time of the grid, (particle, channel).
        last: Particles at its last time, (particle, channel).
        grid: Times, (time,), increasing.
        diffusion: sigma, (channel,).

    Raises:
        InferenceError: The linearised law is not finite.
    """
    paths = linearise(drift, first, grid, diffusion)
    log_kernel = paths.log_kernel(last)
    if not np.isfinite(log_kernel).all():
        raise InferenceError(
            "the reference's transition density is not finite between two snapshots. Take a larger diffusion, other "
            "parameters, or snapshots nearer in time."
        )
    coupling = sinkhorn(log_kernel, check=False)
    plan = np.exp(coupling.log_plan)
    plan /= plan.sum()
    # sum pi log(pi / (mu K)), with pi = mu nu exp(f + g) K and nu = 1 / N.
    divergence = plan.sum(axis=1) @ coupling.f + plan.sum(axis=0) @ coupling.g - np.log(len(last))
    return LinearisedBridge(paths, last, plan, float(divergence), coupling.error)


def _partners(
    plan: np.ndarray, rows: np.ndarray, here: np.ndarray, there: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw a column for each of some rows.

    Each partner has its law under the plan, but partners of neighbours are spread out: along the longest direction of
    their population, neighbours take uniform numbers that are a golden section apart, by which they choose along the
    longest direction of the other. As many draws as there are particles then meet most of these, where independent
    draws miss a third.
    """
    order = np.argsort(_along(there), kind="stable")
    sums = np.cumsum(plan[:, order], axis=1)
    uniform = np.empty(len(rows))
    sequence = np.argsort(_along(here)[rows], kind="stable")
    uniform[sequence] = (rng.random() + _GOLDEN * np.arange(len(rows))) % 1.0
    aims = uniform * sums[rows, -1]
    found = np.sum(sums[rows] <= aims[:, None], axis=1)
    return order[np.minimum(found, len(order) - 1)]


def _along(particles: np.ndarray) -> np.ndarray:
    """Places of particles along the longest direction of their population."""
    away = particles - particles.mean(axis=0)
    return away @ np.linalg.eigh(away.T @ away)[1][:, -1]
