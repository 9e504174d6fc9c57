r"""Diagonal state-space layers, one small system for each channel (S4D, DSS).

.. math::
    \dot x = \Lambda x + 1 u, \qquad y = 2\,\mathrm{Re}\, C x + D u, \qquad \Lambda = -e^{\text{log rate}} + i\omega .

B is part of C: only their product matters. On equal gaps an output is a convolution, whose kernel is a sum of powers.

Sources: Gu et al. (2022), On the parameterization and initialization of diagonal state space models, arXiv:2206.11893;
Gupta, Gu and Berant (2022), Diagonal state spaces are as effective as structured state spaces, arXiv:2203.14343.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dynplat.arrays import Array, array_namespace
from dynplat.errors import ArgumentError
from dynplat.semigroup.affine import DiagonalMap
from dynplat_deepssm import initialisers
from dynplat_deepssm.discretisers import diagonal_gbt, diagonal_zoh
from dynplat_deepssm.fourier import convolve, last_of_powers, sum_of_powers
from dynplat_deepssm.layer import AbstractCell, Channelwise, Parameters, over_time, zeros
from dynplat_deepssm.special import complex_of, expm1, log_uniform, pairs_of, power
from dynplat_deepssm.transitions import DIAGONAL


@dataclass(frozen=True)
class S4D(Channelwise, AbstractCell):
    """A diagonal system for each channel (see the module).

    Args:
        num_channels: Number of inputs and of outputs.
        num_states: States of each channel, even: half as many conjugate pairs. With start `real`, that many real ones.
        start: Rates at the start: `legs`, `lin`, `inv`, `real`, or `perturbed`, eigenvalues of a perturbed HiPPO-LegS
            matrix (S4-PTD; twice as many modes).
        discretisation: `zoh`, exact on any gaps, or `bilinear`, for equal gaps only.
        softmax_length: DSS's normalisation of a mode by the sum of its powers over this many rows, or None.
        step_range: Range of the steps at the start, in units of dt: 1 / step is the memory of a channel.
        relative: Size of the perturbation beside the matrix.
    """

    num_channels: int
    num_states: int = 64
    start: Literal["legs", "lin", "inv", "real", "perturbed"] = "legs"
    discretisation: Literal["zoh", "bilinear"] = "zoh"
    softmax_length: int | None = None
    step_range: tuple[float, float] = (1e-3, 1e-1)
    relative: float = 1e-3

    transition = DIAGONAL
    is_time_invariant = True
    order = ("convolution", "scan", "loop")
    no_gaps = (
        "the bilinear rule is not exact on unequal gaps (two gaps are not one gap of their sum), and a sum over a "
        "number of rows needs equal ones. Take discretisation='zoh' without `softmax_length`"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.softmax_length is not None and self.softmax_length < 1:
            raise ArgumentError(f"`softmax_length` must be at least 1, or None; got {self.softmax_length}.")
        if self.start == "real" and self.softmax_length is not None:
            raise ArgumentError("`softmax_length` is for complex rates; got start='real'.")

    @property
    def num_modes(self) -> int:
        """Rates that are held for each channel."""
        return self.num_states if self.start in ("real", "perturbed") else self.num_states // 2

    @property
    def takes_gaps(self) -> bool:
        """Whether `dt` may be given."""
        return self.discretisation == "zoh" and self.softmax_length is None

    def init(self, seed: Any) -> dict[str, np.ndarray]:
        """Weights: log_rate, frequency (channel, mode), log_step, skip (channel), readout C (channel, mode, 2)."""
        rng = np.random.default_rng(seed)
        H, N = self.num_channels, self.num_modes
        write = np.ones(N, complex)
        if self.start == "perturbed":
            eigen = initialisers.perturbed(self.num_states, self.relative, seed=int(rng.integers(2**63)))
            rates, write = eigen.rates, eigen.inverse @ initialisers.hippo("legs", self.num_states).B
        else:
            rates = initialisers.diagonal(self.start, self.num_states)
            if self.start == "legs":
                write = initialisers.eigen(self.num_states).inverse @ initialisers.hippo("legs", self.num_states).B
        weights = {
            "log_rate": np.tile(np.log(-rates.real), (H, 1)),
            "log_step": np.log(log_uniform(rng, *self.step_range, H)),
            "skip": rng.standard_normal(H),
        }
        if self.start == "real":
            return weights | {"readout": rng.standard_normal((H, N))}
        readout = write * (rng.standard_normal((H, N)) + 1j * rng.standard_normal((H, N))) / np.sqrt(2.0)
        return weights | {"frequency": np.tile(rates.imag, (H, 1)), "readout": pairs_of(readout)}

    def initial(self, parameters: Parameters, u: Array) -> Array:
        """Zeros (..., channel x mode), complex where the rates are."""
        return zeros(u, (self.num_channels * self.num_modes,), is_complex=self.start != "real")

    def elements(self, parameters: Parameters, u: Array, dt: Array | None = None) -> DiagonalMap:
        """Elements of rows (see `AbstractCell`)."""
        xp = array_namespace(u)
        multiplier, gain = self._system(parameters, over_time(dt, u))
        offset = gain * u[..., None]
        flat = self.num_channels * self.num_modes
        return DiagonalMap(*(xp.reshape(array, (*array.shape[:-2], flat)) for array in (multiplier, offset)))

    def read(self, parameters: Parameters, seen: Array, u: Array) -> Array:
        """Outputs (..., time, output) from what is seen of the states."""
        xp = array_namespace(u)
        states = xp.reshape(seen, (*seen.shape[:-1], self.num_channels, self.num_modes))
        seen = xp.einsum("...thn,...hn->...th", states, self._readout(parameters))
        return self._real(seen) + parameters["skip"][..., None, :] * u

    def respond(
        self, parameters: Parameters, u: Array, state: Array | None, keep_state: bool
    ) -> tuple[Array, Array | None]:
        """Outputs and the last state by a convolution in time."""
        xp = array_namespace(u)
        size = int(u.shape[-2])
        multiplier, gain = (array[..., 0, :, :] for array in self._system(parameters, over_time(None, u)))
        readout = self._readout(parameters)
        columns = xp.matrix_transpose(u)
        factor = 1.0 if self.start == "real" else 2.0
        y = convolve(factor * sum_of_powers(readout * gain, multiplier, size), columns)
        last = None
        if state is not None:
            state = xp.reshape(state, (*state.shape[:-1], self.num_channels, self.num_modes))
            y = y + factor * sum_of_powers(readout * multiplier * state, multiplier, size)
        if keep_state:
            last = gain * last_of_powers(multiplier, columns)
            last = last if state is None else last + power(multiplier, size) * state
            last = xp.reshape(last, (*last.shape[:-2], -1))
        return xp.matrix_transpose(y) + parameters["skip"][..., None, :] * u, last

    def _system(self, parameters: Parameters, dt: Array) -> tuple[Array, Array]:
        """Multipliers and gains, (..., time or 1, channel, mode)."""
        xp = array_namespace(dt)
        rates = self._rates(parameters)[..., None, :, :]
        steps = (xp.exp(parameters["log_step"])[..., None, :] * dt)[..., None]
        if self.discretisation == "bilinear":
            return diagonal_gbt(rates, steps, 0.5)
        multiplier, gain = diagonal_zoh(rates, steps)
        if self.softmax_length is not None:
            gain = gain / expm1(self.softmax_length * rates * steps)
        return multiplier, gain

    def _rates(self, parameters: Parameters) -> Array:
        decay = -array_namespace(parameters["log_rate"]).exp(parameters["log_rate"])
        return decay if self.start == "real" else decay + 1j * parameters["frequency"]

    def _readout(self, parameters: Parameters) -> Array:
        return parameters["readout"] if self.start == "real" else complex_of(parameters["readout"])

    def _real(self, seen: Array) -> Array:
        return seen if self.start == "real" else 2.0 * array_namespace(seen).real(seen)
