"""Matérn processes of half-integer smoothness, the first of which is the Ornstein-Uhlenbeck process."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from dynplat.arrays import Array, array_namespace
from dynplat.process.discretise import Transition
from dynplat.process.dynamics.base import AbstractLinearDynamics, check_name, common_like, matrix, per_gap, real_like
from dynplat.process.dynamics.series import lower_gamma, poisson_weight


@dataclass(frozen=True, eq=False)
class OrnsteinUhlenbeck(AbstractLinearDynamics):
    r"""The stationary Markov process with exponential covariance :math:`\sigma^2 e^{-r |\tau|}`.

    .. math:: dx = -r x\,dt + \sigma\sqrt{2r}\,dW, \qquad F = e^{-rh}, \quad Q = \sigma^2 (1 - e^{-2rh})

    Args:
        rate: Rate r of reversion per unit of time, positive, (..., series or 1).
        sd: Stationary standard deviation, (..., series or 1). The driving noise has intensity sd * sqrt(2 rate).
    """

    rate: Any
    sd: Any

    @property
    def state_dim(self) -> int:
        """One state: the value."""
        return 1

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Rate and standard deviation."""
        return (self.rate, self.sd)

    @property
    def readout(self) -> np.ndarray:
        """The value."""
        return np.ones(1)

    def step(self, gaps: Array) -> Transition:
        """Discretise in closed form."""
        xp = array_namespace(gaps)
        angle = per_gap(self.rate, gaps) * gaps
        variance = per_gap(self.sd, gaps) ** 2
        return Transition(matrix([[xp.exp(-angle)]], gaps), matrix([[-variance * xp.expm1(-2.0 * angle)]], gaps))

    def stationary(self) -> tuple[Array, Array]:
        """Mean 0 and variance sd^2."""
        like = common_like(*self.parameters)
        variance = matrix([[real_like(self.sd, like) ** 2]], like)
        return array_namespace(like).zeros_like(variance[..., 0]), variance


@dataclass(frozen=True, eq=False)
class Matern(AbstractLinearDynamics):
    r"""A stationary Gaussian process with Matérn covariance of smoothness 1/2, 3/2 or 5/2.

    With :math:`\lambda = \sqrt{2\nu} / \ell` the covariance is :math:`\sigma^2 e^{-\lambda\tau}` times 1,
    :math:`1 + \lambda\tau` or :math:`1 + \lambda\tau + \lambda^2\tau^2/3`, and
    :math:`(\lambda + d/dt)^{\nu + 1/2} x` is white noise. The state holds the value and its derivatives.

    With :math:`u = 2\lambda h`, :math:`e_k = e^{-u}u^k/k!` and the incomplete gamma function :math:`P_a(u)`, the
    entries of Q are sums of :math:`P_a` and :math:`e_k` in which nothing cancels over short gaps, where the usual
    :math:`P_\infty - F P_\infty F^\top` loses every digit: :math:`Q_{11} = \sigma^2 P_3` for 3/2 and
    :math:`\sigma^2 P_5` for 5/2.

    References:
        J. Hartikainen and S. Särkkä, "Kalman filtering and smoothing solutions to temporal Gaussian process regression
        models", MLSP 2010, doi:10.1109/MLSP.2010.5589113 (the state-space form; the entries of Q are our own).

    Args:
        smoothness: 0.5, 1.5 or 2.5.
        sd: Stationary standard deviation, (..., series or 1).
        length_scale: Length scale in units of time, positive, (..., series or 1).
    """

    smoothness: float
    sd: Any
    length_scale: Any

    def __post_init__(self) -> None:
        """Refuse a smoothness without a closed form here."""
        check_name(self, "smoothness", self.smoothness, (0.5, 1.5, 2.5))

    @property
    def state_dim(self) -> int:
        """The value and its derivatives that exist."""
        return round(self.smoothness + 0.5)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Standard deviation and length scale."""
        return (self.sd, self.length_scale)

    @property
    def readout(self) -> np.ndarray:
        """The value."""
        return np.eye(self.state_dim)[0]

    def step(self, gaps: Array) -> Transition:
        """Discretise in closed form."""
        xp = array_namespace(gaps)
        lam = sqrt(2 * self.smoothness) / per_gap(self.length_scale, gaps)
        variance = per_gap(self.sd, gaps) ** 2
        t = lam * gaps
        F, Q = _UNIT[self.smoothness](t, gaps)
        # The unit form has the states x, x'/lambda, x''/lambda^2.
        decay = xp.exp(-t)
        F = [[decay * entry * lam ** (i - j) for j, entry in enumerate(row)] for i, row in enumerate(F)]
        Q = [[variance * entry * lam ** (i + j) for j, entry in enumerate(row)] for i, row in enumerate(Q)]
        return Transition(matrix(F, gaps), matrix(Q, gaps))

    def stationary(self) -> tuple[Array, Array]:
        """Mean 0 and the covariance of value and derivatives."""
        like = common_like(*self.parameters)
        lam = sqrt(2 * self.smoothness) / real_like(self.length_scale, like)
        variance = real_like(self.sd, like) ** 2
        unit = _UNIT_STATIONARY[self.smoothness]
        rows = [[variance * lam ** (i + j) * entry for j, entry in enumerate(row)] for i, row in enumerate(unit)]
        P = matrix(rows, like)
        return array_namespace(like).zeros_like(P[..., 0]), P


def _unit_half(t: Array, like: Array) -> tuple[list, list]:
    xp = array_namespace(like)
    return [[xp.ones_like(t)]], [[-xp.expm1(-2.0 * t)]]


def _unit_three_halves(t: Array, like: Array) -> tuple[list, list]:
    """Matrices for variance 1 and lambda 1, F without its factor exp(-t)."""
    u = 2.0 * t
    e1, e2, p3 = poisson_weight(1, u), poisson_weight(2, u), lower_gamma(3, u)
    return [[1.0 + t, t], [-t, 1.0 - t]], [[p3, e2], [e2, p3 + 2.0 * e1]]


def _unit_five_halves(t: Array, like: Array) -> tuple[list, list]:
    """Matrices for variance 1 and lambda 1, F without its factor exp(-t)."""
    u, s = 2.0 * t, t * t
    e1, e2, e3, e4 = (poisson_weight(k, u) for k in (1, 2, 3, 4))
    p5 = lower_gamma(5, u)
    q13 = -p5 / 3.0 + 2.0 / 3.0 * e3 - 4.0 / 3.0 * e4
    # (2/3) u^2 (1 - u/4)^2 e^-u: as a square it keeps its sign and its digits near u = 4.
    q23 = 4.0 / 3.0 * e2 * (1.0 - u / 4.0) ** 2
    F = [
        [1.0 + t + s / 2.0, t + s, s / 2.0],
        [-s / 2.0, 1.0 + t - s, t - s / 2.0],
        [s / 2.0 - t, s - 3.0 * t, 1.0 - 2.0 * t + s / 2.0],
    ]
    Q = [
        [p5, e4, q13],
        [e4, p5 / 3.0 + 4.0 / 3.0 * e3 - 2.0 / 3.0 * e4, q23],
        [q13, q23, p5 + 8.0 / 3.0 * (e1 - e2) + 4.0 * e3],
    ]
    return F, Q


_UNIT = {0.5: _unit_half, 1.5: _unit_three_halves, 2.5: _unit_five_halves}
_UNIT_STATIONARY = {
    0.5: [[1.0]],
    1.5: [[1.0, 0.0], [0.0, 1.0]],
    2.5: [[1.0, 0.0, -1.0 / 3.0], [0.0, 1.0 / 3.0, 0.0], [-1.0 / 3.0, 0.0, 1.0]],
}
