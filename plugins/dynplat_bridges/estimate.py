r"""Parameters of a reference from whole paths: maximum likelihood of their increments.

Euler and Maruyama's scheme gives increments :math:`\Delta x \sim N(b(x, t; \theta)\,\Delta t, \sigma^2 \Delta t)`. The
log density of them is, up to a constant, minus half the sum of squares of

.. math:: r = \frac{\Delta x / \Delta t - b(x, t; \theta)}{\sigma}\,\sqrt{\Delta t} .

Parameters in which b is linear are found in closed form (with bounds, by an active-set method). Where there are others,
that is where Levenberg and Marquardt's method starts; networks are fitted by Adam. Positive parameters stay at or above
a bound next to zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.optimize import lsq_linear

from dynplat.errors import InferenceError
from dynplat_bridges.references.base import AbstractReference

#: Least value of a positive parameter.
SMALLEST = 1e-8
_MAX_STEPS, _TOLERANCE = 100, 1e-10


class Increments(NamedTuple):
    """Increments of paths, one a row.

    Attributes:
        states: Where a step starts, (row, channel).
        times: When it starts, (row,).
        rates: Change over the step per unit of time, (row, channel).
        gaps: Length of the step, (row,).
    """

    states: np.ndarray
    times: np.ndarray
    rates: np.ndarray
    gaps: np.ndarray


def increments_of(paths: np.ndarray, grid: np.ndarray) -> Increments:
    """Increments of paths (particle, time, channel) on a grid (time,); steps of length zero are left out."""
    gaps = np.diff(grid)
    kept = np.flatnonzero(gaps > 0)
    states, gaps = paths[:, kept], gaps[kept]
    rates = (paths[:, kept + 1] - states) / gaps[:, None]
    count, size = states.shape[0], states.shape[2]
    times = np.tile(np.asarray(grid)[kept], count)
    return Increments(states.reshape(-1, size), times, rates.reshape(-1, size), np.tile(gaps, count))


def path_log_likelihood(
    reference: AbstractReference, parameters: Mapping[str, np.ndarray], data: Increments, diffusion: np.ndarray
) -> float:
    r"""Log density of the paths against Brownian motion of the same diffusion, summed (Girsanov).

    .. math:: \sum \frac{1}{\sigma^2} \Bigl(b\,\Delta x - \tfrac12 b^2 \Delta t\Bigr)
    """
    drift = _drift(reference, parameters, data)
    return float(np.sum((drift * data.rates - 0.5 * drift**2) * data.gaps[:, None] / diffusion**2))


def fit_parameters(
    reference: AbstractReference, parameters: Mapping[str, np.ndarray], data: Increments, diffusion: np.ndarray
) -> dict[str, np.ndarray]:
    """Maximise the likelihood of increments over the free parameters.

    Args:
        reference: The reference.
        parameters: All parameters: those that are fixed, and values of the others to start from.
        data: The increments.
        diffusion: Diffusion of each channel, (channel,): the weights of the squares.

    Returns:
        All parameters. The likelihood is never below that of the given ones.

    Raises:
        InferenceError: The drift is not finite at the given parameters.
    """
    names = reference.free(data.states.shape[1])
    found = {name: np.asarray(value, dtype=np.float64) for name, value in parameters.items()}
    if not names or not len(data.states):
        return found
    if reference.fitted_by == "adam":
        from dynplat_bridges.torch import fit_by_adam

        return fit_by_adam(reference, found, names, data, diffusion)
    problem = _Problem(reference, found, names, data, diffusion)
    theta = problem.linear(reference.linear)
    if not set(names) <= set(reference.linear):
        theta = problem.levenberg_marquardt(theta)
    return problem.unpack(theta)


def fit_diffusion(reference: AbstractReference, parameters: Mapping[str, np.ndarray], data: Increments) -> np.ndarray:
    """Diffusion of maximum likelihood of each channel, (channel,): the root of the mean square of increments."""
    left = (data.rates - _drift(reference, parameters, data)) ** 2 * data.gaps[:, None]
    return np.sqrt(left.mean(axis=0))


def _drift(reference: AbstractReference, parameters: Mapping[str, np.ndarray], data: Increments) -> np.ndarray:
    return np.asarray(reference.drift(data.states, data.times, parameters))


class _Problem:
    """The least squares of the free parameters, laid end to end."""

    def __init__(
        self,
        reference: AbstractReference,
        parameters: dict[str, np.ndarray],
        names: tuple[str, ...],
        data: Increments,
        diffusion: np.ndarray,
    ) -> None:
        self._reference, self._parameters, self._names, self._data = reference, parameters, names, data
        self._weights = np.sqrt(data.gaps)[:, None] / diffusion
        self.start = np.concatenate([parameters[name].ravel() for name in names])
        bounds = [np.full(parameters[name].size, SMALLEST if name in reference.positive else -np.inf) for name in names]
        self.lower = np.concatenate(bounds)

    def unpack(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """All parameters, with the free ones out of a vector."""
        found, place = dict(self._parameters), 0
        for name in self._names:
            shape = self._parameters[name].shape
            size = int(np.prod(shape, dtype=int))
            found[name] = theta[place : place + size].reshape(shape)
            place += size
        return found

    def _weighted_drift(self, theta: np.ndarray) -> np.ndarray:
        return (_drift(self._reference, self.unpack(theta), self._data) * self._weights).ravel()

    def linear(self, names: tuple[str, ...]) -> np.ndarray:
        """Closed form for some parameters, the others as they start: the drift at unit vectors makes the design."""
        sizes = [self._parameters[name].size for name in self._names]
        chosen = np.flatnonzero(np.repeat([name in names for name in self._names], sizes))
        theta = np.maximum(self.start, self.lower)
        zero = theta.copy()
        zero[chosen] = 0.0
        offset = self._weighted_drift(zero)
        if not np.isfinite(offset).all():
            raise _not_finite(self._reference)
        if not chosen.size:
            return theta
        units = np.eye(len(theta))[chosen]
        design = np.stack([self._weighted_drift(zero + unit) - offset for unit in units], axis=-1)
        Q, R = np.linalg.qr(design)
        wanted = Q.T @ ((self._data.rates * self._weights).ravel() - offset)
        if not np.isfinite(R).all():
            raise _not_finite(self._reference)
        lower = self.lower[chosen]
        if np.isinf(lower).all():
            theta[chosen] = np.linalg.lstsq(R, wanted, rcond=None)[0]
        else:
            theta[chosen] = lsq_linear(R, wanted, (lower, np.full(len(lower), np.inf)), tol=1e-12).x
        return theta

    def levenberg_marquardt(self, theta: np.ndarray) -> np.ndarray:
        """Damped Gauss-Newton steps from given values, projected on the bounds; the Jacobian by central differences."""
        wanted = (self._data.rates * self._weights).ravel()
        left = wanted - self._weighted_drift(theta)
        cost, damping = float(left @ left), 1e-3
        if not np.isfinite(cost):
            raise _not_finite(self._reference)
        for _ in range(_MAX_STEPS):
            J = self._jacobian(theta)
            gram, slope = J.T @ J, J.T @ left
            # At its bound and pushed against it, a parameter stays.
            inner = np.flatnonzero(~((theta <= self.lower) & (slope <= 0)))
            scale = np.maximum(np.diagonal(gram), 1e-12 * max(float(np.trace(gram)), np.finfo(float).tiny))
            before = cost
            while damping < 1e12:
                step = np.zeros_like(theta)
                matrix = gram[np.ix_(inner, inner)] + damping * np.diag(scale[inner])
                step[inner] = np.linalg.solve(matrix, slope[inner])
                trial = np.maximum(theta + step, self.lower)
                with np.errstate(all="ignore"):
                    there = wanted - self._weighted_drift(trial)
                    reached = float(there @ there)
                if np.isfinite(reached) and reached < cost:
                    theta, left, cost, damping = trial, there, reached, 0.2 * damping
                    break
                damping *= 5.0
            if before - cost <= _TOLERANCE * before:
                break
            damping = max(damping, 1e-12)
        return theta

    def _jacobian(self, theta: np.ndarray) -> np.ndarray:
        columns = []
        for i, value in enumerate(theta):
            h = 1e-6 * max(abs(value), 1e-3)
            up, down = theta.copy(), theta.copy()
            up[i], down[i] = value + h, max(value - h, self.lower[i])
            columns.append((self._weighted_drift(up) - self._weighted_drift(down)) / (up[i] - down[i]))
        return np.stack(columns, axis=-1)


def _not_finite(reference: AbstractReference) -> InferenceError:
    return InferenceError(
        f"the drift of {type(reference).__name__} is not finite where paths of the bridges go, at the parameters from "
        "which the fit starts. Start it elsewhere, or bound the drift."
    )
