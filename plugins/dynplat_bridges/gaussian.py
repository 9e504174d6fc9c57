r"""Schrödinger bridges between Gaussian populations, in closed form, for references with a linear drift.

Let :math:`X = m_0 + R z` and :math:`Y = m_1 + T w` with standard normal z and w, and let the reference move X to Y by
:math:`Y \mid X \sim N(F X + c, Q)`. With the singular value decomposition :math:`R^\top F^\top Q^{-1} T = U s V^\top`,
the coupling of the two populations with the least divergence from the reference makes :math:`U^\top z` and
:math:`V^\top w` jointly normal with the canonical correlations

.. math::
    \rho_i = \frac{2 s_i}{1 + q_i}, \qquad 1 - \rho_i^2 = \frac{2}{1 + q_i}, \qquad q_i = \sqrt{1 + 4 s_i^2},
    \qquad \operatorname{cov}(X, Y) = R\, U \rho V^\top T^\top .

Nothing is inverted but Q, and nothing cancels: populations may lie in a subspace or be single points, and
:math:`Q \to 0` (optimal transport) and :math:`Q \to \infty` (independence) are ordinary inputs. For Brownian motion,
:math:`F = I` and :math:`Q = \varepsilon I`, the covariance is the known one,
:math:`\frac12 \bigl(S_0^{1/2} (4 S_0^{1/2} S_1 S_0^{1/2} + \varepsilon^2 I)^{1/2} S_0^{-1/2} - \varepsilon I\bigr)`.

A reference without memory makes the bridge through several snapshots a Markov chain of such couplings.

References:
    C. Bunne, Y.-P. Hsieh, M. Cuturi and A. Krause, "The Schrödinger bridge between Gaussian measures has a closed
    form", AISTATS 2023, arXiv:2202.05722 (Brownian and scalar linear references; the form by canonical correlations,
    which serves any linear reference and singular populations, is our own).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dynplat.arrays import Array, Random, array_namespace, asarray_like, cholesky, solve_triangular, symmetrise
from dynplat.errors import ArgumentError
from dynplat_bridges.pinned import LinearLaw, Pinned, Route, draw_paths, pin
from dynplat_bridges.references.base import LinearTransition


class Gaussian(NamedTuple):
    """A Gaussian population.

    Attributes:
        mean: Mean, (..., channel).
        factor: A root of its covariance, (..., channel, channel), S = R R^T; it may be singular.
    """

    mean: Array
    factor: Array


def gaussian_of(mean: np.ndarray, covariance: np.ndarray) -> Gaussian:
    """A Gaussian population of a mean (channel,) and a covariance (channel, channel), which may be singular.

    Raises:
        ArgumentError: Shapes do not fit, or the covariance is not symmetric and positive semi-definite.
    """
    mean, covariance = np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise ArgumentError(
            f"`covariance` must be (channel, channel) for a `mean` (channel,); got {covariance.shape} and {mean.shape}."
        )
    unit = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    unit = np.where(unit > 0, unit, 1.0)
    scaled = covariance / np.outer(unit, unit)
    values, vectors = np.linalg.eigh(scaled)
    rounding = 1e-12 * max(values[-1], 1.0)
    if values[0] < -rounding or np.abs(scaled - scaled.T).max() > rounding:
        raise ArgumentError("`covariance` must be symmetric and positive semi-definite.")
    return Gaussian(mean, unit[:, None] * vectors * np.sqrt(np.maximum(values, 0.0)))


def fit_gaussian(particles: np.ndarray) -> Gaussian:
    """The Gaussian of maximum likelihood of particles (particle, channel): their mean, and covariance over N."""
    mean = particles.mean(axis=0)
    _, s, Vt = np.linalg.svd((particles - mean) / math.sqrt(len(particles)), full_matrices=False)
    d = particles.shape[1]
    factor = np.zeros((d, d))
    factor[:, : len(s)] = Vt.T * s
    return Gaussian(mean, factor)


class GaussianCoupling(NamedTuple):
    """The coupling of two Gaussian populations, z and w standard normal.

    Attributes:
        U: Canonical directions of z, (..., channel, channel).
        rho: Canonical correlations, (..., channel).
        left: What the correlations leave, 1 - rho^2, (..., channel).
        V: Canonical directions of w, (..., channel, channel).
    """

    U: Array
    rho: Array
    left: Array
    V: Array

    @property
    def regression(self) -> Array:
        """M = V rho U^T with E(w | z) = M z, (..., channel, channel)."""
        return (self.V * self.rho[..., None, :]) @ array_namespace(self.U).matrix_transpose(self.U)

    @property
    def information(self) -> Array:
        """Mutual information of the two ends, (...)."""
        xp = array_namespace(self.left)
        return -0.5 * xp.sum(xp.log(self.left), axis=-1)


def couple_gaussians(first: Gaussian, second: Gaussian, step: LinearTransition) -> GaussianCoupling:
    """Couple two Gaussian populations as close to the reference as they allow.

    Args:
        first: The population before, (..., channel).
        second: The population after.
        step: The reference's transition, F and Q of shape (..., channel, channel), Q positive definite.
    """
    xp = array_namespace(step.Q)
    L = cholesky(step.Q)
    left = solve_triangular(L, step.F @ asarray_like(first.factor, L))
    right = solve_triangular(L, xp.zeros_like(L) + asarray_like(second.factor, L))
    U, s, Vt = xp.linalg.svd(xp.matrix_transpose(left) @ right)
    q = xp.sqrt(1.0 + 4.0 * s * s)
    return GaussianCoupling(U, 2.0 * s / (1.0 + q), 2.0 / (1.0 + q), xp.matrix_transpose(Vt))


def cross_covariance(first: Gaussian, second: Gaussian, coupling: GaussianCoupling) -> Array:
    """Covariance cov(X, Y) of the two ends, (..., channel, channel)."""
    xp, like = array_namespace(coupling.U), coupling.U
    joined = (coupling.U * coupling.rho[..., None, :]) @ xp.matrix_transpose(coupling.V)
    return asarray_like(first.factor, like) @ joined @ xp.matrix_transpose(asarray_like(second.factor, like))


@dataclass(frozen=True, eq=False)
class GaussianBridge:
    """The bridge through Gaussian populations at increasing times, a Gaussian Markov process.

    Args:
        law: The linear reference.
        times: Times of the populations, (snapshot,), increasing.
        populations: The populations.
        couplings: Couplings of neighbours.
    """

    law: LinearLaw
    times: np.ndarray
    populations: tuple[Gaussian, ...]
    couplings: tuple[GaussianCoupling, ...]

    def moments(self, way: Route) -> tuple[Array, Array]:
        """Means (..., query, channel) and covariances (..., query, channel, channel) at the queries."""
        xp = array_namespace(self.law.diffusion)
        held, a, b, M = self._weights(way)
        cross = a @ xp.matrix_transpose(M) @ xp.matrix_transpose(b)
        cov = a @ xp.matrix_transpose(a) + b @ xp.matrix_transpose(b) + cross + xp.matrix_transpose(cross) + held.P
        means = self._stacked([population.mean for population in self.populations])
        before, after = means[way.before, :], means[way.after, :]
        mean = held.A @ before[..., None] + held.B @ after[..., None]
        return mean[..., 0] + held.g, symmetrise(cov)

    def joint_covariance(self, way: Route) -> Array:
        """Covariances between all queries, (..., query, query, channel, channel): [s, t] is cov(x(s), x(t))."""
        xp = array_namespace(self.law.diffusion)
        held, a, b, _ = self._weights(way)
        _, cov = self.moments(way)
        rows: list[list[Array]] = [[cov[..., s, :, :]] * len(way.times) for s in range(len(way.times))]
        for s in range(len(way.times)):
            for t in range(s + 1, len(way.times)):
                rows[s][t] = self._between(way, s, t, held, a, b)
                rows[t][s] = xp.matrix_transpose(rows[s][t])
        return xp.stack([xp.stack(row, axis=-3) for row in rows], axis=-4)

    def draw(self, num_draws: int, way: Route, random: Random) -> Array:
        """Draw whole paths, (draw, ..., query, channel)."""
        xp, like = array_namespace(self.law.diffusion), self.law.diffusion
        z = random.normal((num_draws, *like.shape))
        scores = [z]
        for coupling in self.couplings:
            fresh = random.normal(z.shape) * xp.sqrt(coupling.left)
            z = (coupling.regression @ z[..., None] + coupling.V @ fresh[..., None])[..., 0]
            scores.append(z)
        places = [
            asarray_like(population.mean, like) + (asarray_like(population.factor, like) @ z[..., None])[..., 0]
            for population, z in zip(self.populations, scores, strict=True)
        ]
        return draw_paths(self.law, xp.stack(places, axis=-2), way, random)

    def _weights(self, way: Route) -> tuple[Pinned, Array, Array, Array]:
        """The pinned law, and x(t) = a z_k + b z_(k+1) + ...: weights a and b, and M with E(z_(k+1) | z_k) = M z_k."""
        held = pin(self.law, way.starts, way.times, way.ends, way.before)
        factors = self._stacked([population.factor for population in self.populations])
        a = held.A @ factors[way.before, :, :]
        b = held.B @ factors[way.after, :, :]
        xp = array_namespace(a)
        regressions = xp.stack([coupling.regression for coupling in self.couplings], axis=-3)
        return held, a, b, regressions[..., np.minimum(way.before, len(self.couplings) - 1), :, :]

    def _between(self, way: Route, s: int, t: int, held: Pinned, a: Array, b: Array) -> Array:
        """Covariance of the places at two queries, s before t."""
        xp = array_namespace(a)
        first = ((a[..., s, :, :], int(way.before[s])), (b[..., s, :, :], int(way.after[s])))
        last = ((a[..., t, :, :], int(way.before[t])), (b[..., t, :, :], int(way.after[t])))
        total = xp.zeros_like(held.P[..., s, :, :])
        for weights, i in first:
            for others, j in last:
                total = total + weights @ self._scores_covariance(i, j) @ xp.matrix_transpose(others)
        if way.before[s] == way.before[t]:
            onward = pin(
                self.law, way.times[s : s + 1], way.times[t : t + 1], way.ends[t : t + 1], way.before[t : t + 1]
            )
            total = total + held.P[..., s, :, :] @ xp.matrix_transpose(onward.A[..., 0, :, :])
        return total

    def _scores_covariance(self, i: int, j: int) -> Array:
        """cov(z_i, z_j) of the standardised places at two snapshots, (..., channel, channel)."""
        if i > j:
            return array_namespace(self.law.diffusion).matrix_transpose(self._scores_covariance(j, i))
        product = asarray_like(np.eye(self.law.diffusion.shape[-1]), self.law.diffusion)
        for coupling in self.couplings[i:j]:
            product = coupling.regression @ product
        return array_namespace(product).matrix_transpose(product)

    def _stacked(self, values: Sequence[Array]) -> Array:
        like = self.law.diffusion
        xp = array_namespace(like)
        return xp.stack([asarray_like(value, like) for value in values], axis=0)


def gaussian_bridge(law: LinearLaw, times: np.ndarray, populations: Sequence[Gaussian]) -> GaussianBridge:
    """Build the bridge through Gaussian populations: iterated conditioning of the reference along the chain.

    Args:
        law: The linear reference.
        times: Times, (snapshot,), increasing, at least two.
        populations: One population per time.

    Raises:
        ArgumentError: Times do not increase, or are not one per population and at least two.
    """
    times = np.asarray(times, dtype=np.float64)
    if times.shape != (len(populations),) or len(times) < 2 or not (np.diff(times) > 0).all():
        raise ArgumentError(
            f"`times` must be at least two increasing times, one for each of {len(populations)} populations; "
            f"got {times.tolist()}."
        )
    steps = law.transition(np.diff(times))
    couplings = tuple(
        couple_gaussians(populations[k], populations[k + 1], step_of(steps, k)) for k in range(len(times) - 1)
    )
    return GaussianBridge(law, times, tuple(populations), couplings)


def step_of(steps: LinearTransition, k: int) -> LinearTransition:
    """The transition over gap k alone."""
    return LinearTransition(steps.F[..., k, :, :], steps.c[..., k, :], steps.Q[..., k, :, :])
