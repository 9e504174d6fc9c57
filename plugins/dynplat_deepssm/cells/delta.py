r"""The delta rule: a state that maps keys to values is corrected by its error on each new pair (DeltaNet).

.. math::
    S_k = a_k (I - \beta_k k_k k_k^\top) S_{k-1} + \beta_k k_k v_k^\top, \qquad o_k = S_k^\top q_k ,

with keys and queries of length 1 and :math:`\beta = c\,\mathrm{sigmoid}(b_k)`. The eigenvalues of the bracket are 1 and
1 - beta: in (0, 1) for c = 1, in (-1, 1) for c = 2 (eigenvalues `signed`), where products of such reflections are
rotations and permutations. a = 1, or with `decays` exp(-rate dt), the gated delta rule.

The inputs of a row are q, k (head x states each), v (head x width) and b (head), one after the other: the layer around
it makes them (`dynplat_deepssm.mixer.Mixer`).

Sources: Yang et al. (2024), arXiv:2406.06484; Yang, Kautz and Hatamizadeh (2025), arXiv:2412.06464; Grazzi et al.
(2024), arXiv:2411.12537.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dynplat.arrays import Array, array_namespace
from dynplat_deepssm.layer import AbstractCell, Parameters, over_time, zeros
from dynplat_deepssm.special import log_uniform, sigmoid
from dynplat_deepssm.transitions import HOUSEHOLDER, HouseholderMap


@dataclass(frozen=True)
class DeltaNet(AbstractCell):
    """Heads that follow the delta rule (see the module).

    Args:
        num_heads: Number of heads.
        width: Outputs of each head.
        num_states: Length of the keys.
        eigenvalues: `positive`, beta in (0, 1), or `signed`, beta in (0, 2).
        decays: Whether the state decays with time, so that gaps matter.
        rate_range: Range of the rates of decay at the start, for gaps of 1.
    """

    num_heads: int
    width: int = 64
    num_states: int = 64
    eigenvalues: Literal["positive", "signed"] = "positive"
    decays: bool = False
    rate_range: tuple[float, float] = (1e-3, 1e-1)

    transition = HOUSEHOLDER
    no_gaps = "its state does not decay between rows. Take decays=True"

    @property
    def takes_gaps(self) -> bool:
        """Whether `dt` may be given."""
        return self.decays

    @property
    def num_inputs(self) -> int:
        """Length of the last axis of what goes in."""
        return self.num_heads * (2 * self.num_states + self.width + 1)

    @property
    def num_outputs(self) -> int:
        """Length of the last axis of what comes out."""
        return self.num_heads * self.width

    def init(self, seed: Any) -> dict[str, np.ndarray]:
        """Weights: with decays log_rate (head); else none."""
        if not self.decays:
            return {}
        return {"log_rate": np.log(log_uniform(np.random.default_rng(seed), *self.rate_range, self.num_heads))}

    def initial(self, parameters: Parameters, u: Array) -> Array:
        """Zeros (..., head, state, width)."""
        return zeros(u, (self.num_heads, self.num_states, self.width))

    def elements(self, parameters: Parameters, u: Array, dt: Array | None = None) -> HouseholderMap:
        """Elements of rows (see `AbstractCell`)."""
        xp = array_namespace(u)
        H, N, P = self.num_heads, self.num_states, self.width
        query, key = self._heads(u[..., : H * N], N), self._heads(u[..., H * N : 2 * H * N], N)
        value = self._heads(u[..., 2 * H * N : H * (2 * N + P)], P)
        strength = (2.0 if self.eigenvalues == "signed" else 1.0) * sigmoid(u[..., H * (2 * N + P) :])
        if self.decays:
            decay = xp.exp(-xp.exp(parameters["log_rate"])[..., None, :] * over_time(dt, u))
        else:
            decay = xp.ones_like(strength[(0,) * (strength.ndim - 2)][:1])
        return HouseholderMap(decay, strength, normalised(key), value, normalised(query))

    def read(self, parameters: Parameters, seen: Array, u: Array) -> Array:
        """Outputs (..., time, output) from what is seen of the states."""
        return array_namespace(seen).reshape(seen, (*seen.shape[:-2], self.num_outputs))

    def _heads(self, u: Array, size: int) -> Array:
        return array_namespace(u).reshape(u, (*u.shape[:-1], self.num_heads, size))


def normalised(vectors: Array) -> Array:
    """Vectors of length 1 along the last axis; 0 stays 0."""
    xp = array_namespace(vectors)
    square = xp.sum(vectors * vectors, axis=-1, keepdims=True)
    return vectors / xp.sqrt(xp.where(square > 0, square, xp.ones_like(square)))
