r"""The selective state space of Mamba (S6): real diagonal transitions whose step, gain and readout follow the input.

.. math::
    x_k = e^{\Delta_k A} x_{k-1} + \Delta_k B_k u_k, \qquad y_k = C_k x_k + D u_k, \qquad
    \Delta_k = \mathrm{softplus}(W u_k + b)\, dt_k, \quad A = -e^{\text{log rate}},

for each channel with `num_states` states; B_k and C_k are linear in u_k and common to the channels. B is discretised by
Euler's rule, as in the authors' code. With eigenvalues `signed` the transition is 2 exp(Delta A) - 1, in (-1, 1): such
layers can count parities, which positive ones cannot.

Sources: Gu and Dao (2023), Mamba, arXiv:2312.00752; Grazzi et al. (2024), Unlocking state-tracking in linear RNNs
through negative eigenvalues, arXiv:2411.12537.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dynplat.arrays import Array, array_namespace
from dynplat.scan.selective import scan_selective
from dynplat.semigroup.affine import DiagonalMap
from dynplat_deepssm.discretisers import diagonal_mamba
from dynplat_deepssm.layer import AbstractCell, Channelwise, Parameters, over_time, zeros
from dynplat_deepssm.special import linear, log_uniform, softplus, softplus_inverse
from dynplat_deepssm.transitions import DIAGONAL

#: Smallest step at the start.
FLOOR = 1e-4


@dataclass(frozen=True)
class Mamba(Channelwise, AbstractCell):
    """A selective state space (see the module).

    Args:
        num_channels: Number of inputs and of outputs.
        num_states: States of each channel.
        rank: Rank of the map from inputs to steps; None for a sixteenth of the channels, rounded up.
        eigenvalues: `positive`, in (0, 1), or `signed`, in (-1, 1).
        step_range: Range of the steps at the start, in units of dt.
    """

    num_channels: int
    num_states: int = 16
    rank: int | None = None
    eigenvalues: Literal["positive", "signed"] = "positive"
    step_range: tuple[float, float] = (1e-3, 1e-1)

    transition = DIAGONAL
    takes_gaps = True

    @property
    def step_rank(self) -> int:
        """Rank of the map from inputs to steps."""
        return -(-self.num_channels // 16) if self.rank is None else self.rank

    def init(self, seed: Any) -> dict[str, np.ndarray]:
        """Draw weights.

        They are select (channel, rank + 2 state) for steps, B and C, step_weight (rank, channel), step_bias, skip
        (channel) and log_rate (channel, state).
        """
        rng = np.random.default_rng(seed)
        D, N, R = self.num_channels, self.num_states, self.step_rank
        steps = np.maximum(log_uniform(rng, *self.step_range, D), FLOOR)
        return {
            "select": rng.uniform(-1.0, 1.0, (D, R + 2 * N)) / np.sqrt(D),
            "step_weight": rng.uniform(-1.0, 1.0, (R, D)) / np.sqrt(R),
            "step_bias": softplus_inverse(steps),
            "log_rate": np.log(np.tile(np.arange(N) + 1.0, (D, 1))),
            "skip": np.ones(D),
        }

    def initial(self, parameters: Parameters, u: Array) -> Array:
        """Zeros (..., channel x state)."""
        return zeros(u, (self.num_channels * self.num_states,))

    def elements(self, parameters: Parameters, u: Array, dt: Array | None = None) -> DiagonalMap:
        """Elements of rows (see `AbstractCell`)."""
        xp = array_namespace(u)
        R, N = self.step_rank, self.num_states
        select = linear(u, parameters["select"][..., : R + N])
        steps, write = self._steps(parameters, select[..., :R], over_time(dt, u)), select[..., R:]
        rates = -xp.exp(parameters["log_rate"])[..., None, :, :]
        multiplier, gain = diagonal_mamba(rates, steps[..., None])
        offset = (gain[..., 0] * u)[..., None] * write[..., None, :]
        flat = self.num_channels * N
        multiplier, offset = (xp.reshape(array, (*array.shape[:-2], flat)) for array in (multiplier, offset))
        return DiagonalMap(signed(multiplier) if self.eigenvalues == "signed" else multiplier, offset)

    def read(self, parameters: Parameters, seen: Array, u: Array) -> Array:
        """Outputs (..., time, output) from what is seen of the states."""
        xp = array_namespace(u)
        states = xp.reshape(seen, (*seen.shape[:-1], self.num_channels, self.num_states))
        query = linear(u, parameters["select"][..., self.step_rank + self.num_states :])
        return (states @ query[..., None])[..., 0] + parameters["skip"][..., None, :] * u

    def fuse(self, parameters: Parameters, u: Array, state: Array, dt: Array | None = None) -> tuple[Array, Array]:
        """Outputs of all rows and the last state (see `AbstractCell`), by `dynplat.scan.selective`."""
        xp = array_namespace(u)
        R, N = self.step_rank, self.num_states
        select = linear(u, parameters["select"])
        steps = self._steps(parameters, select[..., :R], over_time(dt, u))
        write, query = select[..., R : R + N], select[..., R + N :]
        rates = -xp.exp(parameters["log_rate"])
        initial = xp.reshape(state, (*state.shape[:-1], self.num_channels, N))
        is_signed = self.eigenvalues == "signed"
        y, last = scan_selective(steps, rates, write, query, u, parameters["skip"], initial, signed=is_signed)
        return y, xp.reshape(last, (*last.shape[:-2], self.num_channels * N))

    def _steps(self, parameters: Parameters, small: Array, gaps: Array) -> Array:
        """Steps (..., time, channel) from what selects them, (..., time, rank)."""
        return softplus(linear(small, parameters["step_weight"], parameters["step_bias"])) * gaps


def signed(multiplier: Array) -> Array:
    """Multipliers on (-1, 1) from those on (0, 1)."""
    return 2.0 * multiplier - 1.0
