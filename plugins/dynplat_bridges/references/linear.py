"""References with a linear drift: Ornstein-Uhlenbeck processes, and linear SDEs with free matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat.errors import ArgumentError
from dynplat_bridges.references.base import AbstractLinearReference, per_channel

if TYPE_CHECKING:
    from dynplat.model import Context


@dataclass(frozen=True, kw_only=True)
class OrnsteinUhlenbeck(AbstractLinearReference):
    r"""Independent channels that are pulled to a centre, :math:`dX = -r (X - m)\,dt + \operatorname{diag}(\sigma)\,dW`.

    Args:
        rate: Rate r of reversion per unit of time, positive: one number or one per channel; None: to be fitted.
        centre: Centre m, one number or one per channel; None: to be fitted.
    """

    positive: ClassVar[tuple[str, ...]] = ("rate",)

    rate: float | tuple[float, ...] | None = None
    centre: float | tuple[float, ...] | None = None

    def parameters(self, num_channels: int) -> dict[str, tuple[int, ...]]:
        """Rates and centres, (channel,)."""
        return {"rate": (num_channels,), "centre": (num_channels,)}

    def start(self, context: Context) -> dict[str, np.ndarray]:
        """One reversion in the span of the data, to their mean."""
        d = len(context.channels)
        rate = 1.0 / context["span"] if self.rate is None else self.rate
        centre = context["location"] if self.centre is None else self.centre
        return {"rate": per_channel("rate", rate, d), "centre": per_channel("centre", centre, d)}

    def units(self, context: Context) -> dict[str, np.ndarray]:
        """Rates per span, centres by the scale of the data."""
        return {"rate": np.full(len(context.channels), 1.0 / context["span"]), "centre": context["scale"]}

    def matrices(self, parameters: Mapping[str, Array], like: Array) -> tuple[Array, Array]:
        """A = -diag(r) and b = r m."""
        rate, centre = (asarray_like(parameters[name], like) for name in ("rate", "centre"))
        return -rate[..., :, None] * asarray_like(np.eye(rate.shape[-1]), like), rate * centre


@dataclass(frozen=True, kw_only=True)
class LinearSDE(AbstractLinearReference):
    r"""A linear SDE with free matrices, :math:`dX = (A X + b)\,dt + \operatorname{diag}(\sigma)\,dW`.

    Args:
        A: Drift matrix per unit of time, a tuple of rows, (channel, channel); None: to be fitted.
        b: Constant drift, (channel,); None: to be fitted.
    """

    linear: ClassVar[tuple[str, ...]] = ("A", "b")

    A: tuple[tuple[float, ...], ...] | None = None
    b: tuple[float, ...] | None = None

    def parameters(self, num_channels: int) -> dict[str, tuple[int, ...]]:
        """A (channel, channel) and b (channel,)."""
        return {"A": (num_channels, num_channels), "b": (num_channels,)}

    def start(self, context: Context) -> dict[str, np.ndarray]:
        """One reversion in the span of the data, to their mean."""
        d = len(context.channels)
        A = -np.eye(d) / context["span"] if self.A is None else np.asarray(self.A, dtype=np.float64)
        if A.shape != (d, d):
            raise ArgumentError(f"`A` of LinearSDE must be ({d}, {d}), for {d} channels; got shape {A.shape}.")
        b = context["location"] / context["span"] if self.b is None else self.b
        return {"A": A, "b": per_channel("b", b, d)}

    def units(self, context: Context) -> dict[str, np.ndarray]:
        """What moves a channel by its scale in the span of the data."""
        scale, span = context["scale"], context["span"]
        return {"A": scale[:, None] / scale / span, "b": scale / span}

    def matrices(self, parameters: Mapping[str, Array], like: Array) -> tuple[Array, Array]:
        """The parameters themselves."""
        xp = array_namespace(like)
        A, b = asarray_like(parameters["A"], like), asarray_like(parameters["b"], like)
        lead = np.broadcast_shapes(A.shape[:-2], b.shape[:-1])
        return xp.broadcast_to(A, (*lead, *A.shape[-2:])), xp.broadcast_to(b, (*lead, b.shape[-1]))
