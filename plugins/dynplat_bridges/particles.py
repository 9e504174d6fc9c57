r"""Bridges between populations of particles: couplings by Sinkhorn's iterations, and pinned paths of the reference.

A path first visits a particle of every snapshot, each drawn by the coupling given the one before, and between two of
them it is a path of the reference with both ends known. For a reference without memory this is the bridge through all
snapshots: its law is the product of the bridges between neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dynplat.arrays import Array, Random, array_namespace, asarray_like, cholesky, solve_triangular, to_numpy
from dynplat.errors import ArgumentError, InferenceError, NoDensityError
from dynplat_bridges.fitting import Coupled
from dynplat_bridges.gaussian import step_of
from dynplat_bridges.pinned import LinearLaw, PiecewiseLaw, Route, draw_paths, pin
from dynplat_bridges.references.base import LinearTransition
from dynplat_bridges.sinkhorn import Coupling, log_sum_exp, sinkhorn

#: Iterations in which a fit couples two populations: on its way plans need not be better than that.
_MOST_IN_A_FIT = 350


def log_transition(first: Array, second: Array, step: LinearTransition) -> Array:
    """Log transition densities log N(y_j; F x_i + c, Q), (..., first, second), of a linear reference.

    Args:
        first: Places before, (..., first, channel).
        second: Places after, (..., second, channel).
        step: The transition, F (..., channel, channel).
    """
    xp = array_namespace(step.Q)
    first, second = asarray_like(first, step.Q), asarray_like(second, step.Q)
    moved = first @ xp.matrix_transpose(step.F) + step.c[..., None, :]
    # Distances are taken from a place among the points, where squares do not cancel.
    middle = xp.mean(second, axis=-2, keepdims=True)
    L = cholesky(step.Q)
    a = solve_triangular(L, xp.matrix_transpose(moved - middle))
    b = solve_triangular(L, xp.matrix_transpose(xp.broadcast_to(second - middle, (*L.shape[:-2], *second.shape[-2:]))))
    squares = xp.sum(a * a, axis=-2)[..., :, None] + xp.sum(b * b, axis=-2)[..., None, :]
    squares = squares - 2.0 * xp.matrix_transpose(a) @ b
    squares = xp.where(squares > 0, squares, xp.zeros_like(squares))
    size = xp.sum(xp.log(xp.linalg.diagonal(L)), axis=-1) + 0.5 * L.shape[-1] * math.log(2.0 * math.pi)
    return -0.5 * squares - size[..., None, None]


@dataclass(frozen=True, eq=False)
class ParticleBridge:
    """The bridge through populations of particles with equal weights, for a linear reference.

    Args:
        law: The reference.
        times: Times of the populations, (snapshot,), increasing.
        particles: Populations, (particle, channel) each.
        couplings: Couplings of neighbours.
    """

    law: LinearLaw | PiecewiseLaw
    times: np.ndarray
    particles: tuple[np.ndarray, ...]
    couplings: tuple[Coupling, ...]

    @property
    def error(self) -> float:
        """Largest marginal error of the couplings."""
        return max(coupling.error for coupling in self.couplings)

    def draw(self, num_draws: int, way: Route, random: Random) -> Array:
        """Draw whole paths, (draw, ..., query, channel).

        The first particle of a path is drawn without replacement as far as possible, so that as many paths as particles
        start one from each.
        """
        like = self.law.diffusion
        xp = array_namespace(like)
        lead = like.shape[:-1]
        batch = math.prod(lead)
        begin = int(way.before[0]) if len(way.times) else 0
        count = len(self.particles[begin])
        even = (asarray_like(np.arange(num_draws)[:, None], like) + random.uniform((num_draws, batch))) / num_draws
        rows = asarray_like(np.arange(batch)[None], like)
        order = xp.argsort(random.uniform((num_draws, batch)), axis=0)
        index = self._index(even * count, count)[order, rows]
        # Snapshots before the first query are passed over: nothing is asked about them.
        places = [xp.zeros_like(asarray_like(self.particles[begin], like)[index])] * begin
        for k in range(begin, len(self.particles)):
            if k > begin:
                plan = self.couplings[k - 1].log_plan
                plan = xp.reshape(xp.exp(plan), (batch, *plan.shape[-2:]))
                total = xp.cumulative_sum(plan[rows, index], axis=-1)
                wanted = random.uniform((num_draws, batch))[..., None] * total[..., -1:]
                passed = xp.sum(xp.astype(total < wanted, like.dtype), axis=-1)
                index = self._index(passed, plan.shape[-1])
            places.append(asarray_like(self.particles[k], like)[index])
        drawn = xp.reshape(xp.stack(places, axis=-2), (num_draws, *lead, len(self.particles), like.shape[-1]))
        return draw_paths(self.law, drawn, way, random)

    def moments(self, way: Route) -> tuple[Array, Array]:
        """Means (..., query, channel) and covariances (..., query, channel, channel) at the queries."""
        xp = array_namespace(self.law.diffusion)
        held = pin(self.law, way.starts, way.times, way.ends, way.before)
        known = [self._joint(k) for k in range(len(self.couplings))]
        d = held.g.shape[-1]
        means, covs = [], []
        for q, (before, after) in enumerate(zip(way.before, way.after, strict=True)):
            k = min(int(before), len(known) - 1)
            mean, cov = known[k]
            weights = xp.concat([held.A[..., q, :, :], held.B[..., q, :, :]], axis=-1)
            if before == after:  # beyond the last snapshot: the second end of the last coupling is where it starts
                zero = xp.zeros_like(held.A[..., q, :, :])
                weights = xp.concat([zero, held.A[..., q, :, :]], axis=-1)
            means.append((weights @ mean[..., None])[..., 0] + held.g[..., q, :])
            covs.append(weights @ cov @ xp.matrix_transpose(weights) + held.P[..., q, :, :])
        if not means:
            return held.g, held.P[..., :d]
        return xp.stack(means, axis=-2), xp.stack(covs, axis=-3)

    def log_density(self, values: Array, way: Route) -> Array:
        """Log density of each cell of `values`, (..., query, channel), under the law of a particle at its time.

        Raises:
            NoDensityError: A query is at a snapshot, where the law is that of its particles.
        """
        xp = array_namespace(self.law.diffusion)
        held = pin(self.law, way.starts, way.times, way.ends, way.before)
        columns = []
        for q, (before, after) in enumerate(zip(way.before, way.after, strict=True)):
            if way.times[q] == way.starts[q]:
                raise NoDensityError(
                    f"the law at time {way.times[q]:g}, that of a snapshot, is its particles and has no density. Ask "
                    "for `mean` and `draws`, or for times between snapshots."
                )
            here = asarray_like(self.particles[before], held.g) @ xp.matrix_transpose(held.A[..., q, :, :])
            centre = here + held.g[..., q, None, :]
            log_weights = xp.zeros_like(centre[..., 0]) - math.log(len(self.particles[before]))
            if before != after:
                there = asarray_like(self.particles[after], held.g) @ xp.matrix_transpose(held.B[..., q, :, :])
                centre = centre[..., :, None, :] + there[..., None, :, :]
                log_weights = self.couplings[before].log_plan
                centre = xp.reshape(centre, (*centre.shape[:-3], -1, centre.shape[-1]))
                log_weights = xp.reshape(log_weights, (*log_weights.shape[:-2], -1))
            variance = xp.linalg.diagonal(held.P[..., q, :, :])[..., None, :]
            away = values[..., q, None, :] - centre
            terms = -0.5 * (away * away / variance + xp.log(2.0 * math.pi * variance))
            columns.append(log_sum_exp(terms + log_weights[..., None], axis=-2))
        return xp.stack(columns, axis=-2)

    def drift(self, x: Array, time: float) -> Array:
        r"""Drift of the bridge, b + diag(sigma^2) grad log h, (..., point, channel).

        h is the expected potential at the next snapshot, :math:`h(x, t) = \sum_j \nu_j e^{g_j} p(y_j \mid x)`.

        Args:
            x: Places, (..., point, channel).
            time: A time before the last snapshot, and not before the first.

        Raises:
            ArgumentError: The time is not between the first snapshot and the last.
        """
        if not self.times[0] <= time < self.times[-1]:
            raise ArgumentError(
                f"`time` must be from {self.times[0]:g}, and before the last snapshot, at {self.times[-1]:g}; got "
                f"{time:g}."
            )
        like = self.law.diffusion
        xp = array_namespace(like)
        k = int(np.searchsorted(self.times, time, side="right")) - 1
        law, second = self.law.piece(k), asarray_like(self.particles[k + 1], like)
        step = step_of(law.transition(np.array([self.times[k + 1] - time])), 0)
        log_weights = log_transition(x, second, step) + self.couplings[k].g[..., None, :]
        top = log_sum_exp(log_weights, axis=-1)
        aim = xp.exp(log_weights - top[..., None]) @ second
        L = cholesky(step.Q)
        away = aim - x @ xp.matrix_transpose(step.F) - step.c[..., None, :]
        pull = solve_triangular(L, solve_triangular(L, xp.matrix_transpose(away)), transpose=True)
        gradient = xp.matrix_transpose(xp.matrix_transpose(step.F) @ pull)
        return law.reference.drift(x, time, law.parameters) + law.diffusion[..., None, :] ** 2 * gradient

    def _joint(self, k: int) -> tuple[Array, Array]:
        """Mean (..., 2 channel) and covariance of a coupled pair (X, Y) across gap k."""
        return joint_moments(self.particles[k], self.particles[k + 1], self.couplings[k])

    def _index(self, values: Array, count: int) -> Array:
        """Whole numbers from 0 to count - 1 from numbers in [0, count]."""
        xp = array_namespace(values)
        found = xp.astype(xp.floor(values), xp.int64)
        return xp.where(found < count, found, xp.full_like(found, count - 1))


def joint_moments(first: np.ndarray, second: np.ndarray, coupling: Coupling) -> tuple[Array, Array]:
    """Mean (..., 2 channel) and covariance (..., 2 channel, 2 channel) of a coupled pair (X, Y)."""
    xp, like = array_namespace(coupling.f), coupling.f
    plan = xp.exp(coupling.log_plan)
    x, y = asarray_like(first, like), asarray_like(second, like)
    rows, columns = xp.sum(plan, axis=-1), xp.sum(plan, axis=-2)
    mean_x = (rows[..., None, :] @ x)[..., 0, :]
    mean_y = (columns[..., None, :] @ y)[..., 0, :]
    dx, dy = x - mean_x[..., None, :], y - mean_y[..., None, :]
    cross = xp.matrix_transpose(dx) @ plan @ dy
    top = xp.concat([xp.matrix_transpose(dx) @ (rows[..., None] * dx), cross], axis=-1)
    bottom = xp.concat([xp.matrix_transpose(cross), xp.matrix_transpose(dy) @ (columns[..., None] * dy)], axis=-1)
    return xp.concat([mean_x, mean_y], axis=-1), xp.concat([top, bottom], axis=-2)


def particle_bridge(
    law: LinearLaw | PiecewiseLaw,
    times: np.ndarray,
    particles: Sequence[np.ndarray],
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 10_000,
) -> ParticleBridge:
    """Build the bridge through populations of particles.

    Args:
        law: The linear reference.
        times: Times, (snapshot,), increasing, at least two.
        particles: One population (particle, channel) per time.
        tolerance: Marginal error to be reached (see `sinkhorn`).
        max_iterations: Most iterations for each pair of neighbours.

    Raises:
        ArgumentError: Times do not increase, or are not one per population and at least two.
        InferenceError: The iterations did not converge between two snapshots, which are named.
    """
    times = np.asarray(times, dtype=np.float64)
    if times.shape != (len(particles),) or len(times) < 2 or not (np.diff(times) > 0).all():
        raise ArgumentError(
            f"`times` must be at least two increasing times, one for each of {len(particles)} populations; "
            f"got {times.tolist()}."
        )
    gaps, couplings = np.diff(times), []
    for k, (first, second) in enumerate(pairwise(particles)):
        step = step_of(law.piece(k).transition(gaps[k : k + 1]), 0)
        try:
            found = sinkhorn(log_transition(first, second, step), tolerance=tolerance, max_iterations=max_iterations)
        except InferenceError as error:
            raise InferenceError(f"between the snapshots at {times[k]:g} and {times[k + 1]:g}: {error}") from error
        couplings.append(found)
    return ParticleBridge(law, times, tuple(particles), tuple(couplings))


class ParticleCoupler:
    """What couples particles for `fit_reference`; each call starts from the potentials that the last one found.

    Args:
        particles: The populations.
        gaps: Times between neighbours, (gap,).
        tolerance: Marginal error to be reached.
        max_iterations: Most iterations for each pair, and no more than some hundreds; what they reach is taken, since a
            fit may pass through references with too little noise.
    """

    def __init__(
        self, particles: Sequence[np.ndarray], gaps: np.ndarray, *, tolerance: float, max_iterations: int
    ) -> None:
        self.particles, self.gaps = particles, gaps
        self.options = {"tolerance": tolerance, "max_iterations": min(max_iterations, _MOST_IN_A_FIT), "check": False}
        self._known: list[np.ndarray | None] = [None] * len(gaps)

    def __call__(self, law: LinearLaw) -> list[Coupled]:
        """Couple the neighbours."""
        steps, coupled = law.transition(self.gaps), []
        for k, (first, second) in enumerate(pairwise(self.particles)):
            log_kernel = log_transition(first, second, step_of(steps, k))
            found = sinkhorn(log_kernel, start=self._known[k], **self.options)
            self._known[k] = found.g if np.isfinite(found.g).all() else None
            mean, cov = joint_moments(first, second, found)
            plan = np.exp(found.log_plan)
            information = float((plan * (log_kernel + found.f[:, None] + found.g)).sum())
            coupled.append(Coupled(to_numpy(mean), to_numpy(cov), information))
        return coupled
