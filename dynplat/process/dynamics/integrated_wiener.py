"""Integrated Wiener processes: Brownian motion, the local level, the local linear trend, and smoother ones."""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import Any

import numpy as np

from dynplat.arrays import Array, asarray_like
from dynplat.errors import ArgumentError
from dynplat.process.discretise import Transition
from dynplat.process.dynamics.base import AbstractLinearDynamics, matrix, per_gap


@dataclass(frozen=True, eq=False)
class IntegratedWiener(AbstractLinearDynamics):
    r"""A Wiener process integrated `order` times; the state holds the value and its first `order` derivatives.

    .. math:: dx_0 = x_1\,dt + \sigma_0\,dW_0, \quad \dots, \quad dx_q = \sigma\,dW, \qquad
        Q_{ij} = \frac{\sigma^2 h^{a+b+1}}{a!\,b!\,(a+b+1)}, \quad a = q - i,\; b = q - j

    `IntegratedWiener(0, sd)` is Brownian motion (local level); `IntegratedWiener(1, sd)` integrated Brownian motion
    (the law behind cubic smoothing splines); `IntegratedWiener(1, slope_sd, level_sd)` the local linear trend. It
    has no stationary law.

    Args:
        order: Number of integrations q, at least 0.
        sd: Standard deviation of the noise of the highest derivative per square root of time, (..., series or 1).
        level_sd: The same for noise that acts on the value itself, independent of the other, or None for none.
    """

    order: int
    sd: Any
    level_sd: Any = None

    def __post_init__(self) -> None:
        """Refuse orders that are not whole numbers of at least 0."""
        if not isinstance(self.order, int) or self.order < 0:
            raise ArgumentError(f"`order` of IntegratedWiener must be an integer of at least 0; got {self.order!r}.")

    @property
    def state_dim(self) -> int:
        """One state for the value and one for each derivative."""
        return self.order + 1

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Both noise intensities."""
        return (self.sd, self.level_sd)

    @property
    def readout(self) -> np.ndarray:
        """The value."""
        return np.eye(self.state_dim)[0]

    def step(self, gaps: Array) -> Transition:
        """Discretise in closed form."""
        q = self.order
        variance = per_gap(self.sd, gaps) ** 2
        level = 0.0 if self.level_sd is None else per_gap(self.level_sd, gaps) ** 2 * gaps
        zero = asarray_like(0.0, gaps)
        F = [[gaps ** (j - i) / factorial(j - i) if j >= i else zero for j in range(q + 1)] for i in range(q + 1)]
        Q = [[_covariance(q - i, q - j, gaps) * variance for j in range(q + 1)] for i in range(q + 1)]
        Q[0][0] = Q[0][0] + level
        return Transition(matrix(F, gaps), matrix(Q, gaps))


def _covariance(a: int, b: int, gaps: Array) -> Array:
    """Covariance of the a-fold and the b-fold integral of white noise of intensity 1 over a gap."""
    return gaps ** (a + b + 1) / (factorial(a) * factorial(b) * (a + b + 1))
