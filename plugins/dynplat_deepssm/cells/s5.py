r"""One diagonal system with many inputs and outputs (S5), with a step for each state and a gap for each row.

.. math::
    dx = (\Lambda x + B u)\,dt + b\,dW, \qquad y = 2\,\mathrm{Re}\, C x + D u .

Run as a layer there is no noise. With noises, `noise` and `prior` make it a linear-Gaussian chain, exact on any gaps
(`dynplat_deepssm.gaussian`).

Source: Smith, Warrington and Linderman (2023), Simplified state space layers for sequence modeling, arXiv:2208.04933;
with start `perturbed` Yu et al. (2023), Robustifying state-space models for long sequences via approximate
diagonalization, arXiv:2310.01698.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dynplat.arrays import Array, array_namespace
from dynplat.errors import ArgumentError, CapabilityError
from dynplat.semigroup.affine import DiagonalMap
from dynplat_deepssm import initialisers
from dynplat_deepssm.discretisers import diagonal_zoh
from dynplat_deepssm.gaussian import real_noise, real_stationary
from dynplat_deepssm.layer import AbstractCell, Parameters, over_time, zeros
from dynplat_deepssm.special import complex_of, linear, log_uniform, pairs_of
from dynplat_deepssm.transitions import DIAGONAL


@dataclass(frozen=True)
class S5(AbstractCell):
    """A diagonal system with dense maps in and out (see the module).

    Args:
        num_inputs: Number of inputs.
        num_outputs: Number of outputs.
        num_states: States, in conjugate pairs.
        num_blocks: Copies of a smaller HiPPO-LegS matrix that make the state matrix at the start.
        start: `legs`, its normal part, or `perturbed`, all of it with a small perturbation (twice as many modes).
        step_range: Range of the steps at the start, in units of dt.
        relative: Size of the perturbation beside the matrix.
        num_noises: Independent Wiener processes that drive the states, for use as a probabilistic model.
    """

    num_inputs: int
    num_outputs: int
    num_states: int = 64
    num_blocks: int = 1
    start: Literal["legs", "perturbed"] = "legs"
    step_range: tuple[float, float] = (1e-3, 1e-1)
    relative: float = 1e-3
    num_noises: int = 0

    transition = DIAGONAL
    is_time_invariant = True
    takes_gaps = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_states % (2 * self.num_blocks):
            raise ArgumentError(
                f"`num_states` must be a multiple of 2 num_blocks, conjugate pairs in each of {self.num_blocks} "
                f"blocks; got {self.num_states}."
            )

    @property
    def num_modes(self) -> int:
        """Rates that are held."""
        return self.num_states if self.start == "perturbed" else self.num_states // 2

    def init(self, seed: Any) -> dict[str, np.ndarray]:
        """Draw weights.

        They are log_rate, frequency, log_step (mode), write B (input, mode, 2), readout C (mode, output, 2), skip D
        (input, output), and with noises loading b (mode, noise, 2).
        """
        rng = np.random.default_rng(seed)
        size = self.num_states // self.num_blocks
        if self.start == "perturbed":
            eigen = initialisers.perturbed(size, self.relative, seed=int(rng.integers(2**63)))
        else:
            eigen = initialisers.eigen(size)
        write = rng.standard_normal((self.num_blocks, size, self.num_inputs)) / np.sqrt(self.num_inputs)
        readout = rng.standard_normal((2, self.num_outputs, self.num_blocks, size)) / np.sqrt(2.0 * self.num_states)
        P = self.num_modes
        write = np.einsum("pn,bni->ibp", eigen.inverse, write).reshape(-1, P)
        readout = np.einsum("obn,np->bpo", readout[0] + 1j * readout[1], eigen.vectors).reshape(P, -1)
        rates: Array = np.tile(eigen.rates, self.num_blocks)
        weights = {
            "log_rate": np.log(-rates.real),
            "frequency": rates.imag,
            "log_step": np.log(log_uniform(rng, *self.step_range, P)),
            "write": pairs_of(write),
            "readout": pairs_of(readout),
            "skip": rng.standard_normal((self.num_inputs, self.num_outputs)) / np.sqrt(self.num_inputs),
        }
        if self.num_noises:
            weights["loading"] = rng.standard_normal((P, self.num_noises, 2)) / np.sqrt(2.0 * self.num_noises)
        return weights

    def initial(self, parameters: Parameters, u: Array) -> Array:
        """Zeros (..., mode), complex."""
        return zeros(u, (self.num_modes,), is_complex=True)

    def elements(self, parameters: Parameters, u: Array, dt: Array | None = None) -> DiagonalMap:
        """Elements of rows (see `AbstractCell`)."""
        multiplier, gain = diagonal_zoh(self.rates(parameters)[..., None, :], over_time(dt, u))
        weight = complex_of(parameters["write"]) * array_namespace(u).exp(parameters["log_step"])[..., None, :]
        return DiagonalMap(multiplier, write_in(u, weight, gain, per_row=dt is not None))

    def read(self, parameters: Parameters, seen: Array, u: Array) -> Array:
        """Outputs (..., time, output) from what is seen of the states."""
        return read_out(seen, parameters["readout"]) + linear(u, parameters["skip"])

    def rates(self, parameters: Parameters) -> Array:
        """Rates for gaps dt, the steps included, (..., mode)."""
        xp = array_namespace(parameters["log_rate"])
        return xp.exp(parameters["log_step"]) * (1j * parameters["frequency"] - xp.exp(parameters["log_rate"]))

    def noise(self, parameters: Parameters, dt: Array) -> Array:
        """Covariances that noise adds to (Re x, Im x) over gaps dt (..., time): (..., time, 2 mode, 2 mode)."""
        return real_noise(self.rates(parameters), self._loading(parameters), dt)

    def prior(self, parameters: Parameters) -> tuple[Array, Array]:
        """Mean 0 (..., 2 mode) and covariance (..., 2 mode, 2 mode) of (Re x, Im x) under the stationary law."""
        covariance = real_stationary(self.rates(parameters), self._loading(parameters))
        return array_namespace(covariance).zeros_like(covariance[..., 0]), covariance

    def _loading(self, parameters: Parameters) -> Array:
        if not self.num_noises:
            raise CapabilityError("S5 has no noise for `noise` and `prior`; make it with `num_noises` of at least 1.")
        return complex_of(parameters["loading"])


def write_in(u: Array, weight: Array, gain: Array, *, per_row: bool) -> Array:
    """What is written, gain B u, for real u (..., time, input) and complex weights B (..., input, mode).

    A gain (..., 1, mode) that is the same in all rows goes into the weights, which saves an array of all rows.
    """
    xp = array_namespace(u)
    if not per_row:
        weight = weight * gain
    # One product of real matrices, whose columns are real and imaginary parts in turn.
    pairs = pairs_of(weight)
    written = linear(u, xp.reshape(pairs, (*pairs.shape[:-2], -1)))
    written = complex_of(xp.reshape(written, (*written.shape[:-1], -1, 2)))
    return gain * written if per_row else written


def read_out(states: Array, weight: Array, factor: float = 2.0) -> Array:
    """Return `factor` Re C x for states (..., time, mode) and weights (..., mode, output, 2)."""
    xp = array_namespace(states)
    pairs = pairs_of(states)
    both = xp.stack([factor * weight[..., 0], -factor * weight[..., 1]], axis=-2)
    rows = xp.reshape(pairs, (*pairs.shape[:-2], -1))
    return rows @ xp.reshape(both, (*both.shape[:-3], -1, both.shape[-1]))
