"""Brownian motion: the reference that knows nothing of where particles go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynplat.arrays import Array, array_namespace
from dynplat_bridges.references.base import AbstractLinearReference

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
