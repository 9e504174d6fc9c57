r"""HiPPO: the coefficients of the past of a signal in a basis, kept by a fixed dense system.

.. math::
    \dot x = A x + B u, \qquad y = x,

for each channel; nothing is learned. The basis `legs` has two clocks. With gaps of time it weighs the past by e^{-age};
with `log_gaps(times)` for `dt` its system is x' = (A x + B u) / t, which weighs the whole past evenly.

Sources: Gu et al. (2020), HiPPO: recurrent memory with optimal polynomial projections, arXiv:2008.07669; Gu et al.
(2022), How to train your HiPPO, arXiv:2206.12037.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like, concrete
from dynplat.errors import ArgumentError
from dynplat.semigroup.affine import DenseMap
from dynplat_deepssm import initialisers
from dynplat_deepssm.discretisers import dense_foh, dense_gbt, dense_zoh
from dynplat_deepssm.layer import AbstractCell, Channelwise, Parameters, over_time, zeros
from dynplat_deepssm.transitions import DENSE

#: Gap of log time before the first row: the past before it, infinitely long in log time, has faded to rounding.
_FOREVER = 37.0

_ALPHA = {"forward": 0.0, "bilinear": 0.5, "backward": 1.0}


@dataclass(frozen=True)
class HiPPO(Channelwise, AbstractCell):
    """Coefficients of the past of each channel (see the module), channel after channel.

    Args:
        num_channels: Number of inputs.
        num_states: Coefficients of each channel.
        basis: `legs`, `legt` or `fout` (`dynplat_deepssm.initialisers`).
        step: Units of the basis in a gap of 1: the window of `legt` and `fout` is 1 / step long.
        discretisation: `zoh`, exact for inputs that are constant over gaps; `foh`, for inputs linear between rows;
            `forward`, `bilinear`, `backward`, for equal gaps only.
    """

    num_channels: int
    num_states: int = 64
    basis: Literal["legs", "legt", "fout"] = "legs"
    step: float = 1.0
    discretisation: Literal["zoh", "foh", "forward", "bilinear", "backward"] = "zoh"

    transition = DENSE
    is_time_invariant = True
    no_gaps = (
        "the generalised bilinear rules are not exact on unequal gaps (two gaps are not one gap of their sum). Take "
        "discretisation='zoh' or 'foh'"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        initialisers.hippo(self.basis, self.num_states)
        if not self.step > 0.0:
            raise ArgumentError(f"`step` must be positive; got {self.step}.")

    @property
    def num_outputs(self) -> int:
        """Length of the last axis of what comes out."""
        return self.num_channels * self.num_states

    @property
    def takes_gaps(self) -> bool:
        """Whether `dt` may be given."""
        return self.discretisation not in _ALPHA

    def init(self, seed: Any) -> dict[str, np.ndarray]:
        """No weights."""
        return {}

    def initial(self, parameters: Parameters, u: Array) -> Array:
        """Zeros (..., channel, state), with one entry more for the last input under `foh`."""
        return zeros(u, (self.num_channels, self.num_states + (self.discretisation == "foh")))

    def elements(self, parameters: Parameters, u: Array, dt: Array | None = None) -> DenseMap:
        """Elements of rows (see `AbstractCell`)."""
        xp = array_namespace(u)
        basis = initialisers.hippo(self.basis, self.num_states)
        A, B = asarray_like(basis.A, u), asarray_like(basis.B[:, None], u)
        steps = self.step * over_time(dt, u)[..., 0]
        inputs = xp.matrix_transpose(u)[..., None]
        if self.discretisation == "zoh":
            F, G = dense_zoh(A, B, steps)
        elif self.discretisation == "foh":
            F, early, G = dense_foh(A, B, steps)
            # The last entry of the state is the input of the row before.
            F = xp.concat([F, early], axis=-1)
            F = xp.concat([F, xp.zeros_like(F[..., :1, :])], axis=-2)
            G = xp.concat([G, xp.ones_like(G[..., :1, :])], axis=-2)
        else:
            F, G = dense_gbt(A, B, steps, _ALPHA[self.discretisation])
        # Channels are leading axes: (..., channel, time, n).
        return DenseMap(F[..., None, :, :, :], inputs * G[..., 0][..., None, :, :])

    def read(self, parameters: Parameters, seen: Array, u: Array) -> Array:
        """Outputs (..., time, output) from what is seen of the states."""
        xp = array_namespace(u)
        seen = xp.moveaxis(seen[..., : self.num_states], -3, -2)
        return xp.reshape(seen, (*seen.shape[:-2], self.num_outputs))


def log_gaps(times: Array) -> Array:
    """Gaps of log t for increasing times (..., time) above 0, with a first gap that stands for all the past before.

    Raises:
        ArgumentError: A time is not above 0.
    """
    numbers = concrete(times)
    if numbers is not None and not np.all(numbers > 0):
        raise ArgumentError(f"`times` must be above 0 for log time; the least is {numbers.min():g}.")
    xp = array_namespace(times)
    logs = xp.log(times)
    return xp.concat([xp.full_like(logs[..., :1], _FOREVER), logs[..., 1:] - logs[..., :-1]], axis=-1)
