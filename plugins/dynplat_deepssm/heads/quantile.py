r"""A head that gives quantiles and no density, trained by the pinball loss.

.. math::
    \rho_p(y, q) = (p - 1[y < q])\,(y - q) .

Twice its mean over evenly spread levels p is near the continuous ranked probability score of the law between them.
Between levels the law is uniform; below the least and above the largest level it goes on with the width of the part
beside it, so that it has bounded support and no tails of its own.

Source: Koenker and Bassett (1978), Regression quantiles, Econometrica 46.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dynplat.arrays import Array, Random, array_namespace, asarray_like
from dynplat.errors import ArgumentError
from dynplat_deepssm.heads.base import FLOOR, AbstractHead
from dynplat_deepssm.heads.real import ONE
from dynplat_deepssm.special import softplus

#: Levels 0.05, 0.1, ..., 0.95 with 0.025 and 0.975.
LEVELS = (0.025, *(round(0.05 * k, 2) for k in range(1, 20)), 0.975)


@dataclass(frozen=True)
class QuantileHead(AbstractHead):
    """Quantiles that never cross: the middle one and positive steps from it (see the module).

    Args:
        levels: Increasing levels inside (0, 1), an odd number of at least 3.
    """

    levels: tuple[float, ...] = LEVELS

    has_density: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse impossible levels."""
        levels = np.asarray(self.levels, dtype=float)
        odd = levels.ndim == 1 and len(levels) >= 3 and len(levels) % 2 == 1
        if not odd or not ((levels > 0) & (levels < 1)).all() or (np.diff(levels) <= 0).any():
            raise ArgumentError(f"`levels` must be 3, 5, ... increasing numbers inside (0, 1); got {self.levels!r}.")

    @property
    def num_parameters(self) -> int:
        """One for each level."""
        return len(self.levels)

    def parameters(self, raw: Array, location: Array, scale: Array) -> Array:
        """Quantiles, (..., channel, level)."""
        xp = array_namespace(raw)
        middle = len(self.levels) // 2
        # Of the size that a normal law would give them.
        start = asarray_like(np.diff(_normal_quantiles(self.levels)), raw)
        steps = start * (softplus(raw[..., 1:] + ONE) + FLOOR)
        above = xp.cumulative_sum(steps[..., middle:], axis=-1)
        below = -xp.flip(xp.cumulative_sum(xp.flip(steps[..., :middle], axis=-1), axis=-1), axis=-1)
        center = raw[..., :1]
        standard = xp.concat([center + below, center, center + above], axis=-1)
        return location[..., None] + scale[..., None] * standard

    def sample(self, parameters: Array, random: Random) -> Array:
        """Draw by inversion of the distribution function, a straight line between the quantiles."""
        xp = array_namespace(parameters)
        levels = asarray_like(np.asarray(self.levels), parameters)
        uniform = random.uniform(tuple(parameters.shape[:-1]))[..., None]
        part = xp.sum(xp.astype(uniform >= levels[1:-1], xp.int64), axis=-1)[..., None]
        low, high = (xp.take_along_axis(parameters, part + k, axis=-1) for k in (0, 1))
        shape = part.shape
        left, right = (xp.reshape(xp.take(levels, xp.reshape(part + k, (-1,)), axis=0), shape) for k in (0, 1))
        return (low + (high - low) * (uniform - left) / (right - left))[..., 0]

    def loss(self, parameters: Array, values: Array) -> Array:
        """Twice the pinball loss, averaged over the levels."""
        xp = array_namespace(parameters)
        levels = asarray_like(np.asarray(self.levels), parameters)
        error = values[..., None] - parameters
        return 2.0 * xp.mean(xp.maximum(levels * error, (levels - 1.0) * error), axis=-1)


def _normal_quantiles(levels: tuple[float, ...]) -> np.ndarray:
    from scipy.special import ndtri

    return ndtri(np.asarray(levels))
