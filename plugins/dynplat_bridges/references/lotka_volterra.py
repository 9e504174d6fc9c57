"""Prey and predators: the Lotka-Volterra equations with noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat_bridges.references.base import AbstractReference

if TYPE_CHECKING:
    from dynplat.model import Context

#: Where the fit of a positive rate starts: next to no motion, so that the first bridges are those of Brownian motion.
START = 1e-5


@dataclass(frozen=True, kw_only=True)
class LotkaVolterra(AbstractReference):
    r"""Prey x and predators y, in this order of the channels.

    .. math:: dx = (\alpha x - \beta x y)\,dt + \sigma\,dW, \qquad dy = (\delta x y - \gamma y)\,dt + \sigma\,dW .

    Args:
        prey_growth: alpha; None: to be fitted.
        predation: beta.
        predator_death: gamma.
        predator_growth: delta.
    """

    num_channels: ClassVar[int | None] = 2
    positive: ClassVar[tuple[str, ...]] = ("prey_growth", "predation", "predator_death", "predator_growth")
    linear: ClassVar[tuple[str, ...]] = positive

    prey_growth: float | None = None
    predation: float | None = None
    predator_death: float | None = None
    predator_growth: float | None = None

    def parameters(self, num_channels: int) -> dict[str, tuple[int, ...]]:
        """Four numbers."""
        return dict.fromkeys(self.positive, ())

    def start(self, context: Context) -> dict[str, np.ndarray]:
        """Next to no motion."""
        given = {name: getattr(self, name) for name in self.positive}
        return {name: np.array(START if value is None else value) for name, value in given.items()}

    def drift(self, x: Array, t: Array | float, parameters: Mapping[str, Array]) -> Array:
        """The equations' right-hand side."""
        growth, predation, death, gain = (asarray_like(parameters[name], x)[..., None] for name in self.positive)
        prey, predators = x[..., 0], x[..., 1]
        met = prey * predators
        return array_namespace(x).stack([growth * prey - predation * met, gain * met - death * predators], axis=-1)
