r"""The linear recurrent unit: a discrete diagonal system on a ring inside the unit circle.

.. math::
    x_k = \lambda^{dt_k} x_{k-1} + \gamma_k B u_k, \qquad y = \mathrm{Re}\, C x + D u, \qquad
    \lambda = \exp(-e^\nu + i e^\theta) .

:math:`\gamma_k = \gamma \sqrt{(1 - |\lambda|^{2 dt_k}) / (1 - |\lambda|^2)}` with :math:`\gamma = \sqrt{1 -
|\lambda|^2}` at the start, so that white noise of variance 1 gives states of variance 1, whatever the gaps.

Source: Orvieto et al. (2023), Resurrecting recurrent neural networks for long sequences, arXiv:2303.06349.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np

from dynplat.arrays import Array, array_namespace
from dynplat.errors import ArgumentError
from dynplat.semigroup.affine import DiagonalMap
from dynplat_deepssm import initialisers
from dynplat_deepssm.cells.s5 import read_out, write_in
from dynplat_deepssm.layer import AbstractCell, Parameters, zeros
from dynplat_deepssm.special import complex_of, linear
from dynplat_deepssm.transitions import DIAGONAL


@dataclass(frozen=True)
class LRU(AbstractCell):
    """A linear recurrent unit (see the module).

    Args:
        num_inputs: Number of inputs.
        num_outputs: Number of outputs.
        num_states: Complex states.
        least: Smallest modulus of a multiplier at the start.
        most: Largest modulus at the start, below 1.
        max_phase: Largest phase at the start.
    """

    num_inputs: int
    num_outputs: int
    num_states: int = 64
    least: float = 0.9
    most: float = 0.999
    max_phase: float = 2.0 * pi

    transition = DIAGONAL
    is_time_invariant = True
    takes_gaps = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.least <= self.most < 1.0:
            raise ArgumentError(f"`least` and `most` must be 0 < least <= most < 1; got {self.least} and {self.most}.")

    def init(self, seed: Any) -> dict[str, np.ndarray]:
        """Draw weights.

        They are log_rate nu, log_phase theta, log_gain log gamma (state), write B (input, state, 2), readout C (state,
        output, 2) and skip D (input, output).
        """
        rng = np.random.default_rng(seed)
        modulus, phase = initialisers.ring(rng, self.num_states, self.least, self.most, self.max_phase)
        shape = (self.num_inputs, self.num_states, 2)
        return {
            "log_rate": np.log(-np.log(modulus)),
            "log_phase": np.log(phase),
            "log_gain": 0.5 * np.log1p(-(modulus**2)),
            "write": rng.standard_normal(shape) / np.sqrt(2.0 * self.num_inputs),
            "readout": rng.standard_normal((self.num_states, self.num_outputs, 2)) / np.sqrt(self.num_states),
            "skip": rng.standard_normal((self.num_inputs, self.num_outputs)) / np.sqrt(self.num_inputs),
        }

    def initial(self, parameters: Parameters, u: Array) -> Array:
        """Zeros (..., state), complex."""
        return zeros(u, (self.num_states,), is_complex=True)

    def elements(self, parameters: Parameters, u: Array, dt: Array | None = None) -> DiagonalMap:
        """Elements of rows (see `AbstractCell`)."""
        xp = array_namespace(u)
        rate, phase = (xp.exp(parameters[name])[..., None, :] for name in ("log_rate", "log_phase"))
        gain = xp.exp(parameters["log_gain"])[..., None, :]
        angle = 1j * phase - rate
        if dt is not None:
            angle = angle * dt[..., None]
            # Gaps of 0 write nothing; the root has no slope there.
            ratio = xp.expm1(-2.0 * rate * dt[..., None]) / xp.expm1(-2.0 * rate)
            gain = gain * xp.where(ratio > 0, xp.sqrt(xp.where(ratio > 0, ratio, 1.0)), 0.0)
        written = write_in(u, complex_of(parameters["write"]), gain, per_row=dt is not None)
        return DiagonalMap(xp.exp(angle), written)

    def read(self, parameters: Parameters, seen: Array, u: Array) -> Array:
        """Outputs (..., time, output) from what is seen of the states."""
        return read_out(seen, parameters["readout"], 1.0) + linear(u, parameters["skip"])
