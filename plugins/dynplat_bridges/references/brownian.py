"""Brownian motion: the references that know nothing of where particles go, or only where all of them go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat_bridges.references.base import AbstractLinearReference, per_channel

if TYPE_CHECKING:
    from dynplat.model import Context


@dataclass(frozen=True, kw_only=True)
class Brownian(AbstractLinearReference):
    r"""Brownian motion, :math:`dX = \operatorname{diag}(\sigma)\,dW`.

    Over a time T the bridge between two snapshots is entropic optimal transport with squared Euclidean cost and
    regularisation :math:`\varepsilon T = \sigma^2 T`.
    """

    def parameters(self, num_channels: int) -> dict[str, tuple[int, ...]]:
        """None: it has no drift."""
        return {}

    def start(self, context: Context) -> dict[str, np.ndarray]:
        """None: it has no drift."""
        return {}

    def matrices(self, parameters: Mapping[str, Array], like: Array) -> tuple[Array, Array]:
        """Zeros."""
        zeros = array_namespace(like).zeros_like(like)
        return zeros[..., None] * zeros[..., None, :], zeros


@dataclass(frozen=True, kw_only=True)
class DriftingBrownian(AbstractLinearReference):
    r"""Brownian motion with a constant velocity, :math:`dX = v\,dt + \operatorname{diag}(\sigma)\,dW`.

    Between two snapshots the bridge is that of Brownian motion, whatever v: the transition density changes by factors
    of the two ends alone. But a fitted sigma then need not explain a move that all particles make, and forecasts go on
    with v.

    Args:
        velocity: Velocity v per unit of time, one number or one per channel; None: to be fitted.
    """

    velocity: float | tuple[float, ...] | None = None

    def parameters(self, num_channels: int) -> dict[str, tuple[int, ...]]:
        """The velocity, (channel,)."""
        return {"velocity": (num_channels,)}

    def start(self, context: Context) -> dict[str, np.ndarray]:
        """At rest."""
        velocity = 0.0 if self.velocity is None else self.velocity
        return {"velocity": per_channel("velocity", velocity, len(context.channels))}

    def units(self, context: Context) -> dict[str, np.ndarray]:
        """What crosses the data once in their span."""
        return {"velocity": context["scale"] / context["span"]}

    def matrices(self, parameters: Mapping[str, Array], like: Array) -> tuple[Array, Array]:
        """A = 0 and b = v."""
        velocity = asarray_like(parameters["velocity"], like)
        zeros = array_namespace(like).zeros_like(velocity)
        return zeros[..., None] * zeros[..., None, :], velocity
