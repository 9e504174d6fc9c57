r"""`deepssm/linear-gaussian`: one diagonal layer driven by noise, which is a stationary Gaussian process.

.. math::
    dx = \Lambda x\,dt + b\,dW, \qquad y(t_k) = d + 2\,\mathrm{Re}\, C x(t_k) + N(0, \mathrm{diag}(r^2)), \qquad
    \Lambda = \mathrm{diag}(-\gamma + 2\pi i \omega)

for complex x and real W, started from its stationary law. The covariance of y(t + h) and y(t) is :math:`H e^{A h} P
H^\top`, with A, P and H of the real state (Re x, Im x), so that the likelihood, holes, forecasts and states are in
closed form (`dynplat_deepssm.gaussian`, `dynplat.process.LinearSDE`). It is the layer `S5` with noise in the place of
inputs, and the prior on its rates covers all time scales of the data.

Sources: Smith, Warrington and Linderman (2023), for the layer; Särkkä and Solin (2019), Applied Stochastic Differential
Equations, chapter 12, for Gaussian processes as states of linear SDEs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.arrays import Array, array_namespace, eye_like
from dynplat.errors import ArgumentError
from dynplat.model import AbstractLanguage, AbstractModel, Context, Sites, summarise
from dynplat.process import LinearSDE
from dynplat.process.discretise import Transition
from dynplat.process.dynamics import AbstractLinearDynamics
from dynplat.process.dynamics.base import common_like, real_like
from dynplat_deepssm import entries
from dynplat_deepssm.gaussian import real_noise, real_readout, real_stationary, real_transition
from dynplat_deepssm.special import complex_of

if TYPE_CHECKING:
    from dynplat.data import Trajectories


@dataclass(frozen=True, eq=False)
class DiagonalNoise(AbstractLinearDynamics):
    """A complex diagonal system driven by real noise, as a real one of twice the length: (Re x, Im x).

    Args:
        rate: Decay rates gamma per unit of time, positive, (..., series or 1, mode).
        frequency: Frequencies omega in cycles per unit of time, (..., series or 1, mode).
        loading: b per square root of time, real and imaginary parts, (..., series or 1, mode, noise, 2).
    """

    rate: Any
    frequency: Any
    loading: Any

    @property
    def state_dim(self) -> int:
        """Two real states for each mode."""
        return 2 * int(self.rate.shape[-1])

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Rates, frequencies and loading."""
        return (self.rate, self.frequency, self.loading)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Leading shape of the parameters."""
        shapes = (self.rate.shape[:-1], self.frequency.shape[:-1], self.loading.shape[:-3])
        return np.broadcast_shapes(*(tuple(shape) for shape in shapes))

    @property
    def readout(self) -> np.ndarray:
        """The real part of each mode, twice."""
        modes = self.state_dim // 2
        return np.concatenate([np.full(modes, 2.0), np.zeros(modes)])

    def step(self, gaps: Array) -> Transition:
        """Discretise in closed form."""
        rates, loading = self._complex(gaps)
        F = real_transition(array_namespace(gaps).exp(rates[..., None, :] * gaps[..., None]))
        return Transition(F, real_noise(rates, loading, gaps))

    def stationary(self) -> tuple[Array, Array]:
        """Mean 0 and the covariance that solves Lyapunov's equation."""
        P = real_stationary(*self._complex(common_like(*self.parameters)))
        return array_namespace(P).zeros_like(P[..., 0]), P

    def _complex(self, like: Array) -> tuple[Array, Array]:
        rate, frequency, loading = (real_like(value, like) for value in self.parameters)
        return 2j * pi * frequency - rate, complex_of(loading)


@dataclass(frozen=True)
class LinearGaussianSSM(AbstractModel):
    r"""A diagonal state-space layer driven by noise (see the module).

    Priors. With s the standard deviation of a channel, `rate` and `frequency` are log-normal with log-sd 1: their
    centres are spread evenly, on the scale of logarithms, over the data: rates from 1 / span to 1 / gap, frequencies
    from half a cycle in the span to a quarter of a cycle in a gap, as far as `num_modes` reach. `loading` W (real and
    imaginary parts) is normal, and :math:`b = \sqrt{2 \gamma}\,W`, so that a mode has mean square about 1 whatever its
    rate. `readout` C is normal so that the modes together have the variance s^2. Both are centred at a draw of `seed`
    with one half of that variance: where both are 0 a likelihood has no slope. `noise_sd` r is log-normal around 0.3 s
    with log-sd 1, and `mean` d is N(location, s^2).

    Args:
        num_modes: Modes, each of two real states.
        num_noises: Independent Wiener processes that drive all modes; None for as many as there are channels.
        seed: Seed of what `loading` and `readout` are centred at.
    """

    entry = entries.LINEAR_GAUSSIAN
    num_modes: int = 4
    num_noises: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        for name in ("num_modes", "num_noises"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ArgumentError(f"`{name}` must be at least 1; got {value}.")
        if self.seed < 0:
            raise ArgumentError(f"`seed` must be at least 0; got {self.seed}.")

    def prepare(self, data: Trajectories) -> Context:
        """Summarise the training cells; spread the centres of rates and frequencies, and draw those of the weights."""
        context = summarise(data)
        gap, span = float(context["gap"]), max(float(context["span"]), float(context["gap"]))
        modes, channels = self.num_modes, len(context.channels)
        noises = channels if self.num_noises is None else self.num_noises
        rng = np.random.default_rng(self.seed)
        loading = rng.standard_normal((modes, noises, 2)) / np.sqrt(4.0 * noises)
        readout = rng.standard_normal((modes, channels, 2)) * self._readout_sd(context)
        return context.with_values(
            rate=np.geomspace(1.0 / span, 1.0 / gap, modes),
            frequency=np.geomspace(0.5 / span, 0.25 / gap, modes) if span > 2.0 * gap else np.full(modes, 0.25 / gap),
            loading=loading,
            readout=readout,
        )

    def coords(self, context: Context) -> dict[str, list[str]]:
        """Name modes, and the parts of complex numbers."""
        return {"mode": [f"mode{i + 1}" for i in range(self.num_modes)], "part": ["re", "im"]}

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit the modes, what drives them, what is seen of them, and the noise of the values (see the class)."""
        scale, loading, readout = context["scale"], context["loading"], context["readout"]
        loading_sd = np.full(loading.shape, 1.0 / np.sqrt(4.0 * loading.shape[1]))
        readout_sd = np.broadcast_to(self._readout_sd(context), readout.shape)
        for name in ("rate", "frequency"):
            pp.sample(name, pp.dist.LogNormal(np.log(context[name]), np.ones(self.num_modes)).to_event(1), dims="mode")
        pp.sample("loading", pp.dist.Normal(loading, loading_sd).to_event(3), dims=("mode", None, "part"))
        pp.sample("readout", pp.dist.Normal(readout, readout_sd).to_event(3), dims=("mode", "channel", "part"))
        pp.sample("mean", pp.dist.Normal(context["location"], scale).to_event(1), dims="channel")
        pp.sample("noise_sd", pp.dist.LogNormal(np.log(0.3 * scale), np.ones(len(scale))).to_event(1), dims="channel")

    def process(self, sites: Sites, context: Context) -> LinearSDE:
        """Build the stationary linear SDE."""
        xp = array_namespace(sites["rate"])
        loading = xp.sqrt(2.0 * sites["rate"])[..., None, None] * sites["loading"]
        noise_sd = sites["noise_sd"]
        R = noise_sd[..., :, None] ** 2 * eye_like(int(noise_sd.shape[-1]), noise_sd)
        dynamics = DiagonalNoise(sites["rate"], sites["frequency"], loading)
        return LinearSDE(dynamics, H=real_readout(sites["readout"]), R=R, d=sites["mean"])

    def _readout_sd(self, context: Context) -> np.ndarray:
        """Half of the variance of each part of C, as a standard deviation, (channel, 1).

        With E|x|^2 = 1 and independent modes, 2 Re C x has variance 2 |C|^2 for each of them.
        """
        return context["scale"][:, None] / np.sqrt(8.0 * self.num_modes)
