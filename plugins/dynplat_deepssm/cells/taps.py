r"""A short causal convolution over rows for each channel: the last inputs themselves are the state.

.. math::
    y_k = b + \sum_{j=0}^{w-1} w_j u_{k-j}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dynplat.arrays import Array, array_namespace
from dynplat.errors import ArgumentError
from dynplat_deepssm.layer import AbstractCell, Channelwise, Parameters, zeros
from dynplat_deepssm.transitions import TAPS, TapsMap


@dataclass(frozen=True)
class Taps(Channelwise, AbstractCell):
    """A short causal convolution (see the module); a row that is missing counts as 0.

    Args:
        num_channels: Number of inputs and of outputs.
        width: Number of taps, at least 2.
    """

    num_channels: int
    width: int = 4

    transition = TAPS
    is_time_invariant = True
    takes_gaps = False
    order = ("convolution", "loop")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 2:
            raise ArgumentError(f"`width` must be at least 2 taps; got {self.width}. One tap is a factor.")

    def init(self, seed: Any) -> dict[str, np.ndarray]:
        """Weights: taps (width, channel), bias (channel)."""
        rng = np.random.default_rng(seed)
        bound = 1.0 / np.sqrt(self.width)
        return {
            "taps": rng.uniform(-bound, bound, (self.width, self.num_channels)),
            "bias": rng.uniform(-bound, bound, self.num_channels),
        }

    def initial(self, parameters: Parameters, u: Array) -> Array:
        """Zeros (..., width - 1, channel), the oldest input first."""
        return zeros(u, (self.width - 1, self.num_channels))

    def elements(self, parameters: Parameters, u: Array, dt: Array | None = None) -> TapsMap:
        """Elements of rows (see `AbstractCell`)."""
        return TapsMap(parameters["taps"][..., None, :, :], u)

    def read(self, parameters: Parameters, seen: Array, u: Array) -> Array:
        """Outputs (..., time, output) from what is seen of the states."""
        return seen + parameters["bias"][..., None, :]

    def respond(
        self, parameters: Parameters, u: Array, state: Array | None, keep_state: bool
    ) -> tuple[Array, Array | None]:
        """Outputs and the last state by a convolution in time."""
        xp = array_namespace(u)
        before: Array = self.initial(parameters, u) if state is None else state
        lead = np.broadcast_shapes(before.shape[:-2], u.shape[:-2])
        past = xp.concat([xp.broadcast_to(array, (*lead, *array.shape[-2:])) for array in (before, u)], axis=-2)
        size = int(u.shape[-2])
        taps = parameters["taps"]
        y = sum(
            taps[..., None, j, :] * past[..., self.width - 1 - j : self.width - 1 - j + size, :]
            for j in range(self.width)
        )
        return self.read(parameters, y, u), past[..., size:, :]
