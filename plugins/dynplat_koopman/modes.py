r"""Modes of a Koopman generator as linear dynamics: numbers that decay, and pairs that rotate while they decay.

A pair of eigenvalues :math:`-\gamma \pm i\omega` moves two states, a real eigenvalue :math:`-\gamma` one,

.. math::
    dz = \begin{pmatrix} -\gamma & -\omega \\ \omega & -\gamma \end{pmatrix} z\,dt + q\,dW,
    \qquad dz = -\gamma z\,dt + q\,dW,

so that over a gap h a pair is turned by :math:`\omega h` and both shrink by :math:`e^{-\gamma h}`, under noise of
variance :math:`q^2 (1 - e^{-2\gamma h}) / (2\gamma)`: exactly, over any gap. With :math:`\gamma \ge 0` nothing grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import pi
from typing import Any

import numpy as np

from dynplat.arrays import Array, array_namespace
from dynplat.errors import ArgumentError
from dynplat.process.discretise import Transition
from dynplat.process.dynamics import AbstractLinearDynamics
from dynplat.process.dynamics.base import common_like, real_like, spread

#: Below this decay over a gap the noise is that of a mode that does not decay, to rounding.
_SMALL = 1e-8


@dataclass(frozen=True, eq=False)
class Modes(AbstractLinearDynamics):
    """Independent modes: `J` pairs that rotate, then modes that only decay.

    Args:
        rate: Decay rates gamma per unit of time, at least 0, (..., series or 1, mode), those of the pairs first.
        frequency: Frequencies omega / 2 pi of the pairs in cycles per unit of time, (..., series or 1, J).
        noise: Noise q per square root of time, (..., series or 1, mode); both states of a pair have the same.
    """

    rate: Any
    frequency: Any
    noise: Any

    def __post_init__(self) -> None:
        """Refuse numbers of modes that do not fit."""
        rates, pairs, noises = (int(value.shape[-1]) for value in (self.rate, self.frequency, self.noise))
        if rates != noises or pairs > rates:
            raise ArgumentError(
                "`rate` and `noise` of Modes must have one entry for each mode, and `frequency` one for each pair; "
                f"got {rates}, {noises} and {pairs}."
            )

    @property
    def num_pairs(self) -> int:
        """Number of pairs, J."""
        return int(self.frequency.shape[-1])

    @property
    def state_dim(self) -> int:
        """Two states for each pair, one for each other mode."""
        return int(self.rate.shape[-1]) + self.num_pairs

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Rates, frequencies and noise."""
        return (self.rate, self.frequency, self.noise)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Leading shape of the parameters."""
        return np.broadcast_shapes(*(tuple(value.shape[:-1]) for value in self.parameters))

    @property
    def readout(self) -> np.ndarray:
        """The first state of each pair, and each other mode."""
        pairs = self.num_pairs
        return np.concatenate([np.tile([1.0, 0.0], pairs), np.ones(self.state_dim - 2 * pairs)])

    def step(self, gaps: Array) -> Transition:
        """Discretise in closed form."""
        rate, frequency, noise = (real_like(value, gaps)[..., None, :] for value in self.parameters)
        xp = array_namespace(rate, gaps)
        pairs, size = self.num_pairs, int(rate.shape[-1])
        h = gaps[..., None]
        decay = rate * h
        shrink = xp.exp(-decay)
        cycles = frequency * h
        # Whole turns are taken off before the sine, so that a long gap costs no digits beyond those of `cycles`.
        angle = 2.0 * pi * (cycles - xp.round(cycles))
        lead = np.broadcast_shapes(tuple(shrink.shape[:-1]), tuple(angle.shape[:-1]))
        shrink = xp.broadcast_to(shrink, (*lead, size))
        turning = shrink[..., :pairs]
        cos, sin, diagonal = _patterns(pairs, size)
        scalars = xp.concat([turning * xp.cos(angle), shrink[..., pairs:], turning * xp.sin(angle)], axis=-1)
        F = spread(scalars, np.concatenate([cos, sin]))
        small = decay < _SMALL
        safe = xp.where(small, xp.ones_like(decay), decay)
        variance = noise**2 * h * xp.where(small, 1.0 - decay, -0.5 * xp.expm1(-2.0 * safe) / safe)
        return Transition(F, spread(variance, diagonal))

    def stationary(self) -> tuple[Array, Array]:
        """Mean 0 and variances q^2 / (2 gamma); infinite where a mode does not decay."""
        like = common_like(*self.parameters)
        rate, noise = real_like(self.rate, like), real_like(self.noise, like)
        P = spread(0.5 * noise**2 / rate, _patterns(self.num_pairs, int(rate.shape[-1]))[2])
        return array_namespace(like).zeros_like(P[..., 0]), P


def eigenvalues(rate: Array, frequency: Array) -> tuple[Array, Array]:
    """Eigenvalues of the generator, one for each state: of each pair the one above the real axis, then its conjugate.

    Args:
        rate: Decay rates, (..., mode).
        frequency: Frequencies of the pairs, (..., J).

    Returns:
        Real and imaginary parts, (..., n).
    """
    xp = array_namespace(rate)
    pairs = frequency.shape[-1]
    flat = (*rate.shape[:-1], 2 * pairs)
    turning = xp.reshape(xp.stack([rate[..., :pairs], rate[..., :pairs]], axis=-1), flat)
    speed = 2.0 * pi * xp.reshape(xp.stack([frequency, -frequency], axis=-1), flat)
    real = -xp.concat([turning, rate[..., pairs:]], axis=-1)
    return real, xp.concat([speed, xp.zeros_like(rate[..., pairs:])], axis=-1)


def diagonal(of_modes: Array, num_pairs: int) -> Array:
    """Diagonal matrices (..., n, n) of what each mode has, (..., mode): both states of a pair have the same."""
    return spread(of_modes, _patterns(num_pairs, int(of_modes.shape[-1]))[2])


@cache
def _patterns(pairs: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the cosine of each mode, the sine of each pair, and the noise of each mode stand in n x n matrices."""
    n = size + pairs
    diagonal, sin = np.zeros((size, n, n)), np.zeros((pairs, n, n))
    for mode in range(size):
        at = 2 * mode if mode < pairs else pairs + mode
        diagonal[mode, at, at] = 1.0
        if mode < pairs:
            diagonal[mode, at + 1, at + 1] = sin[mode, at + 1, at] = 1.0
            sin[mode, at, at + 1] = -1.0
    return diagonal, sin, diagonal
