"""A head for values that cluster: a mixture of normal laws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dynplat.arrays import Array, Random, array_namespace, asarray_like
from dynplat.errors import ArgumentError
from dynplat.semigroup.log_matrix import log_sum_exp
from dynplat_deepssm.heads.base import AbstractHead
from dynplat_deepssm.heads.real import normal_log_density, positive


class Mixture(NamedTuple):
    """Log weights, locations and scales of the components, (..., channel, component)."""

    log_weights: Array
    locations: Array
    scales: Array


@dataclass(frozen=True)
class MixtureHead(AbstractHead):
    """A mixture of normal laws, whose weights are a softmax; at numbers 0 their centres are spread over the scale.

    Args:
        num_components: Number of components, at least 2.
    """

    num_components: int = 3

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        if self.num_components < 2:
            raise ArgumentError(f"`num_components` must be at least 2; got {self.num_components}. One is 'gaussian'.")

    @property
    def num_parameters(self) -> int:
        """Weight, location and scale of each component."""
        return 3 * self.num_components

    def parameters(self, raw: Array, location: Array, scale: Array) -> Mixture:
        """Parameters of the laws (see `AbstractHead`)."""
        K = self.num_components
        logits, shifts, widths = raw[..., :K], raw[..., K : 2 * K], raw[..., 2 * K :]
        # Components that start alike would stay alike.
        start = asarray_like(np.linspace(-1.0, 1.0, K), raw)
        locations = location[..., None] + scale[..., None] * (shifts + start)
        log_weights = logits - log_sum_exp(logits, axis=-1)[..., None]
        return Mixture(log_weights, locations, positive(widths, scale[..., None]))

    def sample(self, parameters: Mixture, random: Random) -> Array:
        """Draw a component, then a value from it."""
        xp = array_namespace(parameters.locations)
        shape = tuple(parameters.locations.shape[:-1])
        below = xp.cumulative_sum(xp.exp(parameters.log_weights), axis=-1)[..., :-1]
        chosen = xp.sum(xp.astype(random.uniform(shape)[..., None] >= below, xp.int64), axis=-1)[..., None]
        location, scale = (xp.take_along_axis(array, chosen, axis=-1)[..., 0] for array in parameters[1:])
        return location + scale * random.normal(shape)

    def log_density(self, parameters: Mixture, values: Array) -> Array:
        """Log density of each value."""
        score = (values[..., None] - parameters.locations) / parameters.scales
        return log_sum_exp(parameters.log_weights + normal_log_density(score, parameters.scales), axis=-1)

    def mean(self, parameters: Mixture) -> Array:
        """Mean of each law."""
        xp = array_namespace(parameters.locations)
        return xp.sum(xp.exp(parameters.log_weights) * parameters.locations, axis=-1)

    def variance(self, parameters: Mixture) -> Array:
        """Variance of each law, by the law of total variance."""
        xp = array_namespace(parameters.locations)
        away = parameters.locations - self.mean(parameters)[..., None]
        return xp.sum(xp.exp(parameters.log_weights) * (parameters.scales * parameters.scales + away * away), axis=-1)
