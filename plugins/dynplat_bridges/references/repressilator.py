"""The repressilator: genes that repress each other in a ring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat_bridges.references.base import AbstractReference
from dynplat_bridges.references.lotka_volterra import START

if TYPE_CHECKING:
    from dynplat.model import Context


@dataclass(frozen=True, kw_only=True)
class Repressilator(AbstractReference):
    r"""Concentrations of three products, each of which represses the gene after it in the ring of channels.

    .. math:: dx_i = \Bigl(\frac{\beta}{1 + (x_{i-1} / k)^n} - \gamma x_i\Bigr)\,dt + \sigma\,dW .

    Args:
        production: beta, the largest rate of production; None: to be fitted.
        exponent: n, how sharply repression sets in.
        threshold: k, the concentration at which production is halved.
        decay: gamma.
    """

    num_channels: ClassVar[int | None] = 3
    positive: ClassVar[tuple[str, ...]] = ("production", "exponent", "threshold", "decay")
    linear: ClassVar[tuple[str, ...]] = ("production", "decay")

    production: float | None = None
    exponent: float | None = None
    threshold: float | None = None
    decay: float | None = None

    def parameters(self, num_channels: int) -> dict[str, tuple[int, ...]]:
        """Four numbers."""
        return dict.fromkeys(self.positive, ())

    def start(self, context: Context) -> dict[str, np.ndarray]:
        """Next to no motion, a gentle exponent, and a threshold at the mean of the data."""
        level = max(float(np.mean(context["location"])), float(np.mean(context["scale"])))
        known = {"production": START, "exponent": 1.0, "threshold": level, "decay": START}
        given = {name: getattr(self, name) for name in self.positive}
        return {name: np.array(known[name] if value is None else value) for name, value in given.items()}

    def drift(self, x: Array, t: Array | float, parameters: Mapping[str, Array]) -> Array:
        """The equations' right-hand side; concentrations below zero, which noise may reach, repress nothing."""
        xp = array_namespace(x)
        production, exponent, threshold, decay = (
            asarray_like(parameters[name], x)[..., None, None] for name in self.positive
        )
        before = xp.roll(x, 1, axis=-1)
        # The power of a tiny number, and not of zero: its derivative in the exponent is finite.
        ratio = xp.where(before > 0, before, 0.0 * before) / threshold + 1e-12
        return production / (1.0 + ratio**exponent) - decay * x
