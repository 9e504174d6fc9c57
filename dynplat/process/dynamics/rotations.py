"""Dynamics made of rotations: damped stochastic oscillators, undamped harmonics and quasi-periodic processes."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat.errors import ArgumentError
from dynplat.process.discretise import Transition
from dynplat.process.dynamics.base import AbstractLinearDynamics, common_like, matrix, per_gap, real_like, spread
from dynplat.process.dynamics.series import periodic_weights


@dataclass(frozen=True, eq=False)
class DampedOscillator(AbstractLinearDynamics):
    r"""A stochastic oscillator: a rotation that decays and is kept alive by noise; stationary.

    .. math::
        dx = \begin{pmatrix} -\gamma & -\omega \\ \omega & -\gamma \end{pmatrix} x\,dt + \sigma\sqrt{2\gamma}\,dW,
        \qquad \omega = 2\pi f

    with :math:`\operatorname{Cov}[x_1(t), x_1(t+\tau)] = \sigma^2 e^{-\gamma|\tau|}\cos\omega\tau`.

    Args:
        frequency: Frequency f in cycles per unit of time, (..., series or 1).
        damping: Decay rate gamma per unit of time, positive, (..., series or 1).
        sd: Stationary standard deviation of each of the two states, (..., series or 1).
    """

    frequency: Any
    damping: Any
    sd: Any

    @property
    def state_dim(self) -> int:
        """The oscillation and the same a quarter of a cycle earlier."""
        return 2

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Frequency, damping and standard deviation."""
        return (self.frequency, self.damping, self.sd)

    @property
    def readout(self) -> np.ndarray:
        """The oscillation."""
        return np.array([1.0, 0.0])

    def step(self, gaps: Array) -> Transition:
        """Discretise in closed form."""
        xp = array_namespace(gaps)
        decay = per_gap(self.damping, gaps) * gaps
        cycles = per_gap(self.frequency, gaps) * gaps
        F = _rotations(cycles[..., None]) * xp.exp(-decay)[..., None, None]
        noise = -(per_gap(self.sd, gaps) ** 2) * xp.expm1(-2.0 * decay)
        return Transition(F, matrix([[noise, 0.0], [0.0, noise]], gaps))

    def stationary(self) -> tuple[Array, Array]:
        """Mean 0 and covariance sd^2 I."""
        like = common_like(*self.parameters)
        variance = real_like(self.sd, like) ** 2
        P = matrix([[variance, 0.0], [0.0, variance]], like)
        return array_namespace(like).zeros_like(P[..., 0]), P


@dataclass(frozen=True, eq=False)
class Harmonic(AbstractLinearDynamics):
    r"""A seasonal pattern as harmonics of one period whose amplitudes and phases wander; the trigonometric seasonal.

    Harmonic j rotates at j / period cycles per unit of time, undamped, under noise: :math:`F = R(2\pi j h / p)` and
    :math:`Q = \sigma^2 h I` exactly, because white noise does not change under rotation. With `sd` 0 the pattern is
    strictly periodic. It has no stationary law. For several periods, `Stack` several.

    Args:
        period: Period in units of time, positive, (..., series or 1).
        sd: Standard deviation of the noise of each state per square root of time, (..., series or 1).
        num_harmonics: Number of harmonics.
    """

    period: Any
    sd: Any
    num_harmonics: int = 1

    def __post_init__(self) -> None:
        """Refuse a seasonal without harmonics."""
        _check_positive_integer(self, "num_harmonics", self.num_harmonics)

    @property
    def state_dim(self) -> int:
        """Two states for each harmonic."""
        return 2 * self.num_harmonics

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Period and noise."""
        return (self.period, self.sd)

    @property
    def readout(self) -> np.ndarray:
        """The first state of each harmonic."""
        return np.tile([1.0, 0.0], self.num_harmonics)

    def step(self, gaps: Array) -> Transition:
        """Discretise in closed form."""
        order = asarray_like(np.arange(1.0, self.num_harmonics + 1), gaps)
        cycles = (gaps / per_gap(self.period, gaps))[..., None] * order
        noise = per_gap(self.sd, gaps) ** 2 * gaps
        return Transition(_rotations(cycles), noise[..., None, None] * asarray_like(np.eye(self.state_dim), gaps))


@dataclass(frozen=True, eq=False)
class QuasiPeriodic(AbstractLinearDynamics):
    r"""A pattern that repeats and slowly changes its shape: periodic kernel times exponential kernel; stationary.

    .. math::
        k(\tau) = \sigma^2 \exp\Bigl(-\frac{2 \sin^2(\pi\tau/p)}{\ell^2}\Bigr) e^{-|\tau|/\kappa}
        \approx \sigma^2 e^{-|\tau|/\kappa} \sum_{j=0}^{J} w_j \cos(2\pi j \tau / p)

    with :math:`w_0 \propto I_0(\ell^{-2})` and :math:`w_j \propto 2 I_j(\ell^{-2})`: one decaying level and J damped
    oscillators. The weights of the J terms are scaled to sum to 1, so the variance is exactly `sd`^2; what is cut off
    shrinks like :math:`e^{-J^2 \ell^2 / 2}`.

    References:
        A. Solin and S. Särkkä, "Explicit link between periodic covariance functions and state space models", AISTATS
        2014, PMLR 33:904-912 (section 3).

    Args:
        period: Period p in units of time, positive, (..., series or 1).
        length_scale: Smoothness of the pattern within a period, without unit, positive, (..., series or 1).
        sd: Stationary standard deviation, (..., series or 1).
        decay_time: Time kappa in which the pattern loses its memory by a factor e, positive, (..., series or 1).
        num_terms: Number J of harmonics.
    """

    period: Any
    length_scale: Any
    sd: Any
    decay_time: Any
    num_terms: int = 6

    def __post_init__(self) -> None:
        """Refuse a series without harmonics."""
        _check_positive_integer(self, "num_terms", self.num_terms)

    @property
    def state_dim(self) -> int:
        """The level and two states for each harmonic."""
        return 1 + 2 * self.num_terms

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Period, length scale, standard deviation and decay time."""
        return (self.period, self.length_scale, self.sd, self.decay_time)

    @property
    def readout(self) -> np.ndarray:
        """The level and the first state of each harmonic."""
        return np.concatenate([[1.0], np.tile([1.0, 0.0], self.num_terms)])

    def step(self, gaps: Array) -> Transition:
        """Discretise in closed form."""
        xp = array_namespace(gaps)
        order = asarray_like(np.arange(0.0, self.num_terms + 1), gaps)
        cycles = (gaps / per_gap(self.period, gaps))[..., None] * order
        decay = gaps / per_gap(self.decay_time, gaps)
        F = _rotations(cycles, level=True) * xp.exp(-decay)[..., None, None]
        variances = self._variances(gaps)[..., None, :]
        return Transition(F, self._diagonal(-variances * xp.expm1(-2.0 * decay)[..., None]))

    def stationary(self) -> tuple[Array, Array]:
        """Mean 0 and a diagonal covariance."""
        like = common_like(*self.parameters)
        P = self._diagonal(self._variances(like))
        return array_namespace(like).zeros_like(P[..., 0]), P

    def _variances(self, like: Array) -> Array:
        """Variances sd^2 w_j, (..., num_terms + 1)."""
        weights = periodic_weights(real_like(self.length_scale, like), self.num_terms)
        return real_like(self.sd, like)[..., None] ** 2 * weights

    def _diagonal(self, variances: Array) -> Array:
        pattern = np.zeros((self.num_terms + 1, self.state_dim, self.state_dim))
        pattern[0, 0, 0] = 1.0
        for j in range(1, self.num_terms + 1):
            pattern[j, 2 * j - 1, 2 * j - 1] = pattern[j, 2 * j, 2 * j] = 1.0
        return spread(variances, pattern)


def _rotations(cycles: Array, level: bool = False) -> Array:
    """Block-diagonal rotations by `cycles` (..., j) full turns; with `level` the first is a 1 x 1 block.

    Whole turns are taken off before the sine, so that a long gap costs no digits beyond those of `cycles`.
    """
    xp = array_namespace(cycles)
    angle = 2.0 * pi * (cycles - xp.round(cycles))
    num = cycles.shape[-1]
    n = 2 * num - level
    cos, sin = np.zeros((num, n, n)), np.zeros((num, n, n))
    for j in range(num):
        if level and j == 0:
            cos[0, 0, 0] = 1.0
            continue
        a = 2 * j - level
        cos[j, a, a] = cos[j, a + 1, a + 1] = sin[j, a + 1, a] = 1.0
        sin[j, a, a + 1] = -1.0
    return spread(xp.concat([xp.cos(angle), xp.sin(angle)], axis=-1), np.concatenate([cos, sin]))


def _check_positive_integer(owner: Any, field: str, value: Any) -> None:
    if not isinstance(value, int) or value < 1:
        raise ArgumentError(f"`{field}` of {type(owner).__name__} must be an integer of at least 1; got {value!r}.")
