r"""Companion systems, one for each channel (SpaceTime): everything that an autoregression can do.

.. math::
    x_k = A x_{k-1} + b u_k, \qquad (A x)_i = x_{i-1} + a_i x_{n-1}, \qquad y_k = c^\top x_k .

With a = 0 and b the first unit vector the state is the last n inputs, and c the coefficients of an autoregression. The
columns a are divided by their 1-norm where it is above 1, so that no eigenvalue is outside the unit circle.

With `closed`, a second readout K predicts the next *input*; in a closed loop A + b K' runs on it while c reads out.

Source: Zhang et al. (2023), Effectively modeling time series with simple discrete state spaces, arXiv:2303.09489.
(Their code rolls out with another b than it builds the state with; here there is one.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dynplat.arrays import Array, array_namespace
from dynplat_deepssm import companion
from dynplat_deepssm.layer import AbstractCell, Channelwise, Parameters, zeros
from dynplat_deepssm.transitions import COMPANION, CompanionMap


@dataclass(frozen=True)
class Companion(Channelwise, AbstractCell):
    """A companion system for each channel (see the module).

    Args:
        num_channels: Number of inputs.
        num_states: Order n.
        closed: Whether there is a second readout: outputs are then those of c, and after them those of K.
    """

    num_channels: int
    num_states: int = 64
    closed: bool = False

    transition = COMPANION
    is_time_invariant = True
    takes_gaps = False
    order = ("convolution", "scan", "loop")

    @property
    def num_outputs(self) -> int:
        """Length of the last axis of what comes out."""
        return self.num_channels * self.num_readouts

    @property
    def num_readouts(self) -> int:
        """Readouts of each channel."""
        return 2 if self.closed else 1

    def init(self, seed: Any) -> dict[str, np.ndarray]:
        """Weights: column a, write b (channel, n), readout c and K (channel, 1 or 2, n).

        Outputs start at the size of inputs, and a closed loop starts near the edge of stability, so that a long one
        neither forgets nor overflows: with standard normal weights its fastest mode would grow by sqrt(n) a step.
        """
        rng = np.random.default_rng(seed)
        K, n = self.num_channels, self.num_states
        scale = np.array([1.0, 0.5])[: self.num_readouts, None] / n
        return {
            "column": rng.standard_normal((K, n)),
            "write": rng.standard_normal((K, n)),
            "readout": scale * rng.standard_normal((K, self.num_readouts, n)),
        }

    def initial(self, parameters: Parameters, u: Array) -> Array:
        """Zeros (..., channel, n)."""
        return zeros(u, (self.num_channels, self.num_states))

    def elements(self, parameters: Parameters, u: Array, dt: Array | None = None) -> CompanionMap:
        """Elements of rows (see `AbstractCell`)."""
        xp = array_namespace(u)
        column = parameters["column"]
        norm = xp.sum(xp.abs(column), axis=-1, keepdims=True)
        column = column / xp.where(norm > 1.0, norm, xp.ones_like(norm))
        return CompanionMap(
            column[..., None, :, :], parameters["write"][..., None, :, :], parameters["readout"][..., None, :, :, :], u
        )

    def read(self, parameters: Parameters, seen: Array, u: Array) -> Array:
        """Outputs (..., time, output) from what is seen of the states."""
        xp = array_namespace(seen)
        seen = xp.matrix_transpose(seen)
        return xp.reshape(seen, (*seen.shape[:-2], self.num_outputs))

    def respond(
        self, parameters: Parameters, u: Array, state: Array | None, keep_state: bool
    ) -> tuple[Array, Array | None]:
        """Outputs and the last state by a convolution in time."""
        state = self.initial(parameters, u) if state is None else state
        seen, last = companion.respond(self.elements(parameters, u), state)
        return self.read(parameters, seen, u), last if keep_state else None

    def feedback(self, parameters: Parameters, y: Array) -> tuple[Array, Array]:
        """Outputs of c to give out, those of K to take in; without K the outputs themselves."""
        if not self.closed:
            return y, y
        return y[..., : self.num_channels], y[..., self.num_channels :]
