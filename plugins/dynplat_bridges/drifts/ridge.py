r"""Kernel ridge regression of drifts with inducing points.

With z the state in coordinates that move with the population and s the time, the fit is

.. math:: f(x, t_k) = a_k + B_k z + \sum_{j=1}^m \alpha_j\, k\big((z, s), (z_j, s_j)\big), \qquad
    k(u, u') = e^{-\|u - u'\| / \ell},

a linear regression at each time of the grid, which is all that a Gaussian bridge needs, and a kernel ridge regression
of what it leaves over. The latter is the posterior mean of a Gaussian process with variance v under noise of known
variance, with the m inducing points in place of all N S points (subset of regressors):
:math:`\alpha = (K_{mn} D^{-1} K_{nm} + K_{mm} / v)^{-1} K_{mn} D^{-1} r`. It takes O(N S m^2) time and O(N S m) memory,
where the exact Gaussian process takes O((N S)^3) and O((N S)^2).

Source: Vargas, Thodoroff, Lamacraft and Lawrence (2021), for bridges with Gaussian process drifts and this kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

from dynplat.errors import ArgumentError
from dynplat_bridges.drifts.base import AbstractRegression, Coordinates, FittedDrift, check_shapes, spread_of

#: Rows whose kernel values are held at once.
_ROWS = 4096
#: Penalty of the linear part, in particles; and the least part of the noise that the variance of the kernel part is.
_LINEAR_RIDGE, _LEAST_VARIANCE = 1.0, 1e-3


@dataclass(frozen=True)
class KernelRidge(AbstractRegression):
    """A linear regression at each time and a kernel ridge regression of what it leaves over.

    Args:
        num_inducing: Number of inducing points m, drawn from the states of the paths; 0 for the linear part alone.
        lengthscale: Length scale in standard deviations of the population, and in parts of the interval for time.
        variance: Variance v of the kernel part (of each channel's drift); by default what the residuals of the linear
            part have beyond the noise.
        linear: Whether the linear part is there.
    """

    num_inducing: int = 100
    lengthscale: float = 2.0
    variance: float | None = None
    linear: bool = True

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        if self.num_inducing < 0 or not (self.linear or self.num_inducing):
            raise ArgumentError(
                f"`num_inducing` must be at least 0, and positive without the linear part; got {self.num_inducing}."
            )
        for name in ("lengthscale", "variance"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise ArgumentError(f"`{name}` must be positive; got {value}.")

    def fit(
        self, states: np.ndarray, targets: np.ndarray, grid: np.ndarray, noise: np.ndarray, *, seed: int
    ) -> FittedDrift:
        """Fit both parts (see the module)."""
        check_shapes(states, targets, grid, noise)
        coordinates = Coordinates.of(states)
        z = coordinates.all(states)
        coefficients = linear_part(z, targets) if self.linear else np.zeros((len(grid), z.shape[2] + 1, z.shape[2]))
        left = targets - coefficients[:, 0] - np.einsum("nti,tij->ntj", z, coefficients[:, 1:])
        span = float(np.ptp(grid)) or 1.0
        s = (np.asarray(grid) - grid[0]) / span
        degrees = z.shape[2] + 1 if self.linear else 0
        if not self.num_inducing:
            return FittedDrift(
                lambda place, x: coefficients[place, 0] + coordinates(place, x) @ coefficients[place, 1:],
                spread_of(left, degrees),
            )
        points = self._points(z, s)
        rows = left.reshape(len(points), -1)
        inducing, weights = self._kernel_part(points, rows, np.tile(noise, (len(states), 1)), seed)
        for start in range(0, len(points), _ROWS):
            rows[start : start + _ROWS] -= self._kernel(points[start : start + _ROWS], inducing) @ weights

        def drift(place: int, x: np.ndarray) -> np.ndarray:
            inner = coordinates(place, x)
            features = self._kernel(self._points(inner[:, None], s[place : place + 1]), inducing)
            return coefficients[place, 0] + inner @ coefficients[place, 1:] + features @ weights

        return FittedDrift(drift, spread_of(rows.reshape(left.shape), degrees))

    def _points(self, z: np.ndarray, s: np.ndarray) -> np.ndarray:
        """Points (particle * time, channel + 1) of the kernel."""
        time = np.broadcast_to(s[None, :, None], (*z.shape[:2], 1))
        return np.concatenate([z, time], axis=-1).reshape(-1, z.shape[2] + 1)

    def _kernel(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.exp(-cdist(first, second) / self.lengthscale)

    def _kernel_part(
        self, points: np.ndarray, left: np.ndarray, noise: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Inducing points (m, channel + 1) and their weights (m, channel)."""
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(points), min(self.num_inducing, len(points)), replace=False)
        inducing, size = points[chosen], left.shape[1]
        m = len(inducing)
        # Channels may have noise of their own: where they share it, one matrix serves all.
        shared = bool((noise == noise[:, :1]).all())
        precision = 1.0 / (noise[:, :1] if shared else noise)
        gram, cross = np.zeros((precision.shape[1], m, m)), np.zeros((m, size))
        for start in range(0, len(points), _ROWS):
            rows = slice(start, start + _ROWS)
            features = self._kernel(points[rows], inducing)
            for c in range(precision.shape[1]):
                gram[c] += features.T @ (features * precision[rows, c, None])
            cross += features.T @ (left[rows] * precision[rows])
        variance = np.maximum(np.mean(left**2, axis=0) - np.mean(noise, axis=0), _LEAST_VARIANCE * noise.mean(axis=0))
        variance = np.full(size, float(variance.mean()) if self.variance is None else self.variance)
        inner = self._kernel(inducing, inducing)
        weights = np.empty((m, size))
        for c in range(size):
            matrix = gram[0 if shared else c] + inner / variance[c]
            # Inducing points may stand next to each other: a rounding of the diagonal keeps the factor positive.
            matrix[np.diag_indices(m)] += 1e-12 * float(np.trace(matrix)) / m
            weights[:, c] = cho_solve(cho_factor(matrix, lower=True), cross[:, c])
        return inducing, weights


def linear_part(z: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Coefficients (time, 1 + channel, channel) of a constant and z at each time; slopes have a small penalty."""
    design = np.concatenate([np.ones((*z.shape[:2], 1)), z], axis=-1)
    gram = np.einsum("nti,ntj->tij", design, design)
    place = np.arange(1, gram.shape[1])
    gram[:, place, place] += _LINEAR_RIDGE
    return np.linalg.solve(gram, np.einsum("nti,ntj->tij", design, targets))
