"""Normal values, independent given the state."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dynplat.arrays import (
    Array,
    Observations,
    Random,
    array_namespace,
    common_type,
    compiled,
)
from dynplat.process.emissions.base import AbstractEmission, check_positive
from dynplat.scan import runs_compiled
from dynplat.scan.kernels.calling import call_kernel, grouped

_HALF_LOG_2_PI = 0.5 * math.log(2.0 * math.pi)


class GaussianEmission(AbstractEmission):
    """Normal values, independent given the state.

    Args:
        means: Means, (..., series or 1, K, channel).
        scales: Standard deviations, positive, of a shape that broadcasts with that of `means`.
        time_varying: Whether both have a time axis, (..., series or 1, T or 1, K, channel).

    Raises:
        ArgumentError: Shapes do not fit, or a scale is not positive.
    """

    parameter_cores = (("means", 1), ("scales", 1))

    def __init__(self, means: Array, scales: Array, *, time_varying: bool = False) -> None:
        self.means, self.scales = common_type(means, scales)
        self._settle(time_varying)
        check_positive("scales", self.scales)

    @property
    def like(self) -> Array:
        """An array whose namespace, dtype and device are those of the parameters."""
        return self.means

    def log_density(self, observations: Observations, *, driver: str = "auto") -> Array:
        """Log density of each row's observed cells in each state, (..., time, K) (see `AbstractEmission`)."""
        values, mask = self._converted(observations)
        lead = np.broadcast_shapes(self.batch_shape, tuple(values.shape[:-2]), tuple(mask.shape[:-2]))
        if self.num_steps or 0 in (*lead, *values.shape[-2:]) or not runs_compiled(driver, values):
            return super().log_density(observations)
        run = compiled(_compiled_log_density, values)
        return run(values, mask, self._whole(self.means), self._whole(self.scales))

    def cell_log_density(self, values: Array) -> Array:
        """Log density of each cell of values (..., time, channel) in each state, (..., time, K, channel)."""
        return _cell_log_density(values, self._rows(self.means), self._rows(self.scales))

    def sample(self, states: Array, random: Random) -> Array:
        """Draw observations given states (..., time), (..., time, channel)."""
        means, scales = self._given(self.mean(), states), self._given(self._whole(self.scales), states)
        return means + scales * random.normal(tuple(means.shape))

    def mean(self) -> Array:
        """Mean of each channel in each state (see `AbstractEmission`)."""
        return self._whole(self.means)

    def variance(self) -> Array:
        """Variance of each channel in each state (see `AbstractEmission`)."""
        scales = self._whole(self.scales)
        return scales * scales


def _cell_log_density(values: Array, means: Array, scales: Array) -> Array:
    score = (values[..., None, :] - means) / scales
    return -0.5 * (score * score) - array_namespace(scales).log(scales) - _HALF_LOG_2_PI


def _compiled_log_density(values: Array, mask: Array, means: Array, scales: Array) -> Array:
    """Log densities (..., time, K) by the kernel."""
    from dynplat.scan.kernels.normal import NORMAL

    xp = array_namespace(values)
    lead, inputs = grouped((values, xp.astype(mask, xp.uint8), means, scales), (2, 2, 2, 2))
    (found,), _ = call_kernel(NORMAL, _twin, inputs)
    return xp.reshape(found, (*lead, *found.shape[1:]))


def _twin(values: Array, seen: Array, means: Array, scales: Array) -> tuple[Any]:
    """The same densities by a function that can be differentiated again."""
    xp = array_namespace(means)
    mask = seen > 0
    cells = _cell_log_density(xp.where(mask, values, 0.0), means[..., None, :, :], scales[..., None, :, :])
    return (xp.sum(xp.where(mask[..., None, :], cells, 0.0), axis=-1),)
