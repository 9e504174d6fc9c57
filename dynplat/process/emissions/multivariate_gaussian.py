"""Normal values that are correlated given the state."""

from __future__ import annotations

import math

import numpy as np

from dynplat.arrays import (
    Array,
    Observations,
    Random,
    array_namespace,
    asarray_like,
    cholesky,
    common_type,
    concrete,
    eye_like,
    solve_triangular,
    symmetrise,
    take_rows,
)
from dynplat.errors import ArgumentError
from dynplat.process.emissions.base import AbstractEmission, index_type

_HALF_LOG_2_PI = 0.5 * math.log(2.0 * math.pi)


class MultivariateGaussianEmission(AbstractEmission):
    """Normal values with a full covariance in each state; a row that is partly missing has the marginal law.

    Where parameters do not change with time, covariances are factored once for each pattern of holes.

    Args:
        means: Means, (..., series or 1, K, channel).
        covs: Covariances, positive definite, (..., series or 1, K, channel, channel); only the symmetric part counts.
        time_varying: Whether both have a time axis, (..., series or 1, T or 1, K, ...).

    Raises:
        ArgumentError: Shapes do not fit, or a covariance is not positive definite.
    """

    parameter_cores = (("means", 1), ("covs", 2))

    def __init__(self, means: Array, covs: Array, *, time_varying: bool = False) -> None:
        self.means, self.covs = common_type(means, covs)
        self._settle(time_varying)
        if self.covs.shape[-1] != self.covs.shape[-2] or self.covs.shape[-1] != self.num_channels:
            raise ArgumentError(
                f"`covs` must end in (channel, channel) with {int(self.means.shape[-1])} channels, as `means`; got "
                f"{tuple(self.covs.shape)}."
            )
        numbers = concrete(cholesky(symmetrise(self.covs)))
        if numbers is not None and np.isnan(numbers).any():
            where = tuple(int(i) for i in np.argwhere(np.isnan(numbers).any(axis=(-2, -1)))[0])
            raise ArgumentError(f"`covs` must be positive definite; covs[{where}] is not.")

    @property
    def like(self) -> Array:
        """An array whose namespace, dtype and device are those of the parameters."""
        return self.means

    def log_density(self, observations: Observations, *, driver: str = "auto") -> Array:
        """Log density of each row's observed cells in each state, (..., time, K) (see `AbstractEmission`)."""
        values, mask = self._seen(observations)
        xp = array_namespace(values)
        numbers = concrete(observations.mask)
        rows = None
        patterns = mask
        if not self.num_steps and numbers is not None and numbers.size:
            flat, inverse = np.unique(numbers.reshape(-1, numbers.shape[-1]), axis=0, return_inverse=True)
            patterns = asarray_like(flat, values)
            index = inverse.reshape(numbers.shape[:-1]).astype(np.int64)
            rows = xp.astype(asarray_like(index, values), index_type(values)) if len(flat) > 1 else None
        seen = xp.astype(patterns, values.dtype)[..., None, :]  # (..., time or pattern, 1, channel)
        covs = symmetrise(self._rows(self.covs, 2))
        # A missing channel stands alone with variance 1, and its residual is 0.
        covs = covs * seen[..., None] * seen[..., None, :] + (1.0 - seen)[..., None] * eye_like(self.num_channels, covs)
        factor = cholesky(covs)  # (..., time or pattern, K, channel, channel)
        log_det = xp.sum(xp.log(xp.linalg.diagonal(factor)), axis=-1)
        residual = (values[..., None, :] - self._rows(self.means)) * xp.astype(mask, values.dtype)[..., None, :]
        if rows is not None:
            whiten = solve_triangular(factor, xp.broadcast_to(eye_like(self.num_channels, factor), tuple(factor.shape)))
            whiten, log_det = take_rows(whiten, rows, num_core=3), take_rows(log_det, rows, num_core=1)
            score = (whiten @ residual[..., None])[..., 0]
        elif factor.shape[-4] == 1:
            # One factor for all rows: they are columns of one right side.
            columns = xp.permute_dims(residual, _swapped(residual.ndim))  # (..., K, channel, time)
            score = solve_triangular(factor[..., 0, :, :, :], columns)
            score = xp.permute_dims(score, _swapped_back(score.ndim))
        else:
            score = solve_triangular(factor, residual[..., None])[..., 0]
        count = xp.sum(xp.astype(mask, values.dtype), axis=-1)[..., None]
        return -0.5 * xp.sum(score * score, axis=-1) - log_det - count * _HALF_LOG_2_PI

    def cell_log_density(self, values: Array) -> Array:
        """Marginal log density of each cell of values (..., time, channel) in each state, (..., time, K, channel)."""
        xp = array_namespace(values)
        variance = self._rows(xp.linalg.diagonal(self.covs))
        away = values[..., None, :] - self._rows(self.means)
        return -0.5 * (away * away / variance + xp.log(variance)) - _HALF_LOG_2_PI

    def sample(self, states: Array, random: Random) -> Array:
        """Draw observations given states (..., time), (..., time, channel)."""
        factor = self._given(self._whole(cholesky(symmetrise(self.covs)), 2), states, core=2)
        means = self._given(self.mean(), states)
        noise = random.normal((*np.broadcast_shapes(tuple(means.shape), tuple(factor.shape[:-1])), 1))
        return means + (factor @ noise)[..., 0]

    def mean(self) -> Array:
        """Mean of each channel in each state (see `AbstractEmission`)."""
        return self._whole(self.means)

    def variance(self) -> Array:
        """Variance of each channel in each state (see `AbstractEmission`)."""
        return array_namespace(self.covs).linalg.diagonal(self.covariance())

    def covariance(self) -> Array:
        """Covariance of the channels in each state (see `AbstractEmission`)."""
        return self._whole(symmetrise(self.covs), 2)


def _swapped(rank: int) -> tuple[int, ...]:
    """(..., time, K, channel) -> (..., K, channel, time)."""
    return (*range(rank - 3), rank - 2, rank - 1, rank - 3)


def _swapped_back(rank: int) -> tuple[int, ...]:
    """(..., K, channel, time) -> (..., time, K, channel)."""
    return (*range(rank - 3), rank - 1, rank - 3, rank - 2)
