r"""The state space of Mamba-2: one decay for all states of a head, so that blocks of rows are products of matrices.

.. math::
    S_k = a_k S_{k-1} + B_k (\Delta_k x_k)^\top, \qquad y_k = S_k^\top C_k + D x_k, \qquad
    a_k = e^{-\text{rate} \Delta_k}, \quad \Delta_k = \mathrm{softplus}(\delta_k + b)\, dt_k .

The inputs of a row are x (head x width), B, C (states each, common to the heads) and delta (head), one after the other:
the layer around it makes them (`dynplat_deepssm.mixer.Mixer`). With eigenvalues `signed`, a = 2 exp(-rate Delta) - 1.

Sources: Dao and Gu (2024), Transformers are SSMs, arXiv:2405.21060; Grazzi et al. (2024), arXiv:2411.12537.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dynplat.arrays import Array, array_namespace
from dynplat_deepssm.cells.mamba import FLOOR, signed
from dynplat_deepssm.layer import AbstractCell, Parameters, over_time, zeros
from dynplat_deepssm.special import log_uniform, softplus, softplus_inverse
from dynplat_deepssm.transitions import SCALAR, ScalarMap


@dataclass(frozen=True)
class Mamba2(AbstractCell):
    """Heads with a scalar transition each (see the module).

    Args:
        num_heads: Number of heads.
        width: Outputs of each head.
        num_states: Rows of the state of each head.
        eigenvalues: `positive`, in (0, 1), or `signed`, in (-1, 1).
        step_range: Range of the steps at the start, in units of dt.
        rate_range: Range of the rates at the start.
    """

    num_heads: int
    width: int = 64
    num_states: int = 64
    eigenvalues: Literal["positive", "signed"] = "positive"
    step_range: tuple[float, float] = (1e-3, 1e-1)
    rate_range: tuple[float, float] = (1.0, 16.0)

    transition = SCALAR
    takes_gaps = True

    @property
    def num_inputs(self) -> int:
        """Length of the last axis of what goes in."""
        return self.num_outputs + 2 * self.num_states + self.num_heads

    @property
    def num_outputs(self) -> int:
        """Length of the last axis of what comes out."""
        return self.num_heads * self.width

    def init(self, seed: Any) -> dict[str, np.ndarray]:
        """Weights: log_rate, step_bias, skip (head)."""
        rng = np.random.default_rng(seed)
        steps = np.maximum(log_uniform(rng, *self.step_range, self.num_heads), FLOOR)
        return {
            "log_rate": np.log(rng.uniform(*self.rate_range, self.num_heads)),
            "step_bias": softplus_inverse(steps),
            "skip": np.ones(self.num_heads),
        }

    def initial(self, parameters: Parameters, u: Array) -> Array:
        """Zeros (..., head, state, width)."""
        return zeros(u, (self.num_heads, self.num_states, self.width))

    def elements(self, parameters: Parameters, u: Array, dt: Array | None = None) -> ScalarMap:
        """Elements of rows (see `AbstractCell`)."""
        xp = array_namespace(u)
        x, rest = self._heads(u), u[..., self.num_outputs :]
        N = self.num_states
        steps = softplus(rest[..., 2 * N :] + parameters["step_bias"][..., None, :]) * over_time(dt, u)
        decay = xp.exp(-xp.exp(parameters["log_rate"])[..., None, :] * steps)
        decay = signed(decay) if self.eigenvalues == "signed" else decay
        return ScalarMap(decay, rest[..., None, :N], steps[..., None] * x, rest[..., None, N : 2 * N])

    def read(self, parameters: Parameters, seen: Array, u: Array) -> Array:
        """Outputs (..., time, output) from what is seen of the states."""
        y = seen + parameters["skip"][..., None, :, None] * self._heads(u)
        return array_namespace(u).reshape(y, (*y.shape[:-2], self.num_outputs))

    def _heads(self, u: Array) -> Array:
        x = u[..., : self.num_outputs]
        return array_namespace(u).reshape(x, (*x.shape[:-1], self.num_heads, self.width))
