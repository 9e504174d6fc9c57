r"""Components of a structural model: each a small linear SDE with its priors, to be added up.

The signal of a channel is the sum of its components' signals; its state is their states stacked. Every parameter is
positive and has a log-normal prior whose median is read off the training data (scale :math:`s` and step scale
:math:`\delta` of the observed values, median gap :math:`g` and span :math:`T` of the times) and whose log-sd is the
`width` named beside it, wide enough that a few dozen observations outweigh it:

| component | parameter | median | width |
|---|---|---|---|
| `local-level` | `level_sd`, per square root of time | :math:`\delta / (2 \sqrt g)` | 1.5 |
| `local-linear-trend` | `level_sd` | :math:`\delta / (4 \sqrt g)` | 1.5 |
| | `slope_sd`, per time^(3/2) | :math:`\sqrt{12}\, s / T^{3/2}` | 2 |
| `smooth-trend` | `slope_sd` alone | :math:`\sqrt{12}\, s / T^{3/2}` | 2 |
| `matern12`, `32`, `52` | `sd`; `length_scale` | :math:`s`; :math:`\sqrt{g T}` | 1; :math:`\max(1, \log(T/g)/4)` |
| `short-memory` | `sd`; `length_scale` | :math:`\delta/2`; :math:`3 g` | 1; 1 |
| `seasonal` | `drift_sd`, per square root of time | :math:`s / (20 \sqrt{p})` | 1.5 |
| `periodic` | `sd`, `period`, `shape`, `memory` | :math:`s`, found or :math:`T/4`, 1, :math:`T` | 1, .05 or .7, .5, 1 |
| `oscillators` | `sd`, `period`, `memory` of each | :math:`s/\sqrt J`, spectral peaks, 3 periods | 1, .3, 1 |

Starting laws are proper: a level starts at N(mean of the data, (3 s)^2), a slope at
N(0, (6 sqrt(12) s / T)^2 + (delta / g)^2), a season with amplitudes N(0, s^2), stationary components from their
stationary law.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dynplat.errors import ArgumentError
from dynplat.model import AbstractLanguage, Context, Sites
from dynplat.process.dynamics import (
    AbstractLinearDynamics,
    Constant,
    DampedOscillator,
    Harmonic,
    IntegratedWiener,
    Matern,
    QuasiPeriodic,
    Stack,
)


class Part(NamedTuple):
    """One component of a channel, given its parameters with batch axes (..., series or 1, channel).

    Attributes:
        dynamics: The linear SDE of its state.
        start: Mean (channel, state) and covariance (channel, state, state) of the starting state; None for the
            stationary law, which holds at any time.
    """

    dynamics: AbstractLinearDynamics
    start: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class AbstractComponent(ABC):
    """A component: priors for its parameters, and its part of the state given them."""

    kind: ClassVar[str]

    @property
    def spec(self) -> str:
        """The text from which `component_from` builds this component again."""
        fields = [(f.name, getattr(self, f.name)) for f in dataclasses.fields(self)]
        return ":".join([self.kind, *(f"{name}={value!r}" for name, value in fields if value is not None)])

    @abstractmethod
    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit the parameters, one value per channel."""

    @abstractmethod
    def part(self, sites: Sites, context: Context) -> Part:
        """Build the part from the component's own sites (names without their prefix)."""


def log_normal(
    pp: AbstractLanguage, name: str, median: Any, width: float, dims: tuple[str | None, ...] = ("channel",)
) -> None:
    """Emit a positive site with one value per entry of `median` (its axes are `dims`): log-normal of log-sd `width`."""
    median = np.asarray(median, dtype=float)
    pp.sample(name, pp.dist.LogNormal(np.log(median), width).to_event(median.ndim), dims=dims)


def slope_scale(context: Context) -> np.ndarray:
    """Typical slope of a channel: that of a straight line with the data's scale over their span."""
    return np.sqrt(12.0) * context["scale"] / context["span"]


def independent(mean: np.ndarray, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (channel, state) and diagonal covariance (channel, state, state)."""
    return mean, sd[..., :, None] ** 2 * np.eye(sd.shape[-1])


def wide_start(context: Context) -> tuple[np.ndarray, np.ndarray]:
    """Return the starting law of a level: around the mean of the data, three times as wide as they are."""
    return independent(context["location"][:, None], 3.0 * context["scale"][:, None])


@dataclass(frozen=True)
class LocalLevel(AbstractComponent):
    r"""Brownian level, :math:`d\mu = \sigma\,dW`."""

    kind: ClassVar[str] = "local-level"

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit `level_sd`."""
        log_normal(pp, "level_sd", 0.5 * context["step_scale"] / np.sqrt(context["gap"]), 1.5)

    def part(self, sites: Sites, context: Context) -> Part:
        """Build the part."""
        law = IntegratedWiener(0, sites["level_sd"])
        return Part(law, wide_start(context))


@dataclass(frozen=True)
class LocalLinearTrend(AbstractComponent):
    r"""Level with a wandering slope, :math:`d\mu = \beta\,dt + \sigma_\mu\,dW_1,\; d\beta = \sigma_\beta\,dW_2`."""

    kind: ClassVar[str] = "local-linear-trend"

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit `level_sd` and `slope_sd`."""
        log_normal(pp, "level_sd", 0.25 * context["step_scale"] / np.sqrt(context["gap"]), 1.5)
        log_normal(pp, "slope_sd", slope_scale(context) / np.sqrt(context["span"]), 2.0)

    def part(self, sites: Sites, context: Context) -> Part:
        """Build the part."""
        law = IntegratedWiener(1, sites["slope_sd"], level_sd=sites.get("level_sd"))
        slope = np.hypot(6.0 * slope_scale(context), context["step_scale"] / context["gap"])
        mean = np.stack([context["location"], 0.0 * slope], axis=-1)
        return Part(law, independent(mean, np.stack([3.0 * context["scale"], slope], axis=-1)))


@dataclass(frozen=True)
class SmoothTrend(LocalLinearTrend):
    """Integrated random walk: the local linear trend whose level has no noise of its own."""

    kind: ClassVar[str] = "smooth-trend"

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit `slope_sd`."""
        log_normal(pp, "slope_sd", slope_scale(context) / np.sqrt(context["span"]), 2.0)


@dataclass(frozen=True)
class Mean(AbstractComponent):
    """A level that never moves: the mean of stationary components, integrated out exactly as a state."""

    kind: ClassVar[str] = "mean"

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit nothing: the mean has a Gaussian law and is a state."""

    def part(self, sites: Sites, context: Context) -> Part:
        """Build the part."""
        return Part(Constant(1, mean=context["location"][:, None], sd=3.0 * context["scale"][:, None]))


class _AbstractMatern(AbstractComponent):
    smoothness: ClassVar[float]

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit `sd` and `length_scale`."""
        gap, span = context["gap"], context["span"]
        ones = np.ones_like(context["scale"])
        log_normal(pp, "sd", context["scale"], 1.0)
        log_normal(pp, "length_scale", np.sqrt(gap * span) * ones, max(1.0, float(np.log(span / gap)) / 4.0))

    def part(self, sites: Sites, context: Context) -> Part:
        """Build the part."""
        return Part(Matern(self.smoothness, sd=sites["sd"], length_scale=sites["length_scale"]))


@dataclass(frozen=True)
class Matern12(_AbstractMatern):
    """Matérn-1/2: the Ornstein-Uhlenbeck process, continuous and nowhere differentiable."""

    kind: ClassVar[str] = "matern12"
    smoothness: ClassVar[float] = 0.5


@dataclass(frozen=True)
class Matern32(_AbstractMatern):
    """Matérn-3/2: once differentiable."""

    kind: ClassVar[str] = "matern32"
    smoothness: ClassVar[float] = 1.5


@dataclass(frozen=True)
class Matern52(_AbstractMatern):
    """Matérn-5/2: twice differentiable."""

    kind: ClassVar[str] = "matern52"
    smoothness: ClassVar[float] = 2.5


@dataclass(frozen=True)
class ShortMemory(_AbstractMatern):
    """An Ornstein-Uhlenbeck process on the scale of a few steps: what trend and seasons leave over is correlated."""

    kind: ClassVar[str] = "short-memory"
    smoothness: ClassVar[float] = 0.5

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit `sd` and `length_scale`."""
        log_normal(pp, "sd", 0.5 * context["step_scale"], 1.0)
        log_normal(pp, "length_scale", 3.0 * context["gap"] * np.ones_like(context["scale"]), 1.0)


@dataclass(frozen=True)
class Seasonal(AbstractComponent):
    r"""Trigonometric season of a known period: harmonics whose amplitudes drift as random walks.

    Args:
        period: Period in the unit of time.
        harmonics: Number of harmonics; by default as many as the median step carries, at most 4.
    """

    kind: ClassVar[str] = "seasonal"
    period: float = 1.0
    harmonics: int = 4

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit `drift_sd`."""
        log_normal(pp, "drift_sd", context["scale"] / (20.0 * np.sqrt(self.period)), 1.5)

    def part(self, sites: Sites, context: Context) -> Part:
        """Build the part."""
        scale = context["scale"][:, None] * np.ones(2 * self.harmonics)
        law = Harmonic(self.period, sites["drift_sd"], num_harmonics=self.harmonics)
        return Part(law, independent(0.0 * scale, scale))


@dataclass(frozen=True)
class Periodic(AbstractComponent):
    """Quasi-periodic process: the periodic kernel times a Matérn-1/2, as an SDE (Solin and Särkkä 2014).

    Args:
        harmonics: Number of resonators that carry the periodic kernel.
    """

    kind: ClassVar[str] = "periodic"
    harmonics: int = 6

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit `sd`, `period`, `shape` and `memory`."""
        ones = np.ones_like(context["scale"])
        known = context["periods"]
        log_normal(pp, "sd", context["scale"], 1.0)
        log_normal(pp, "period", (known[0] if known else context["span"] / 4.0) * ones, 0.05 if known else 0.7)
        log_normal(pp, "shape", ones, 0.5)
        log_normal(pp, "memory", context["span"] * ones, 1.0)

    def part(self, sites: Sites, context: Context) -> Part:
        """Build the part."""
        return Part(
            QuasiPeriodic(
                period=sites["period"],
                length_scale=sites["shape"],
                sd=sites["sd"],
                decay_time=sites["memory"],
                num_terms=self.harmonics,
            )
        )


@dataclass(frozen=True)
class Oscillators(AbstractComponent):
    """Sum of damped stochastic oscillators (Matsuda and Komaki 2017), slowest first.

    Args:
        count: Number of oscillators.
    """

    kind: ClassVar[str] = "oscillators"
    count: int = 2

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit `sd`, `period` and `memory`, (channel, oscillator)."""
        peaks = np.asarray(context["peaks"], dtype=float)[: self.count]
        ones = np.ones_like(context["scale"])[:, None]
        dims = ("channel", None)  # a sum may hold several of these, each with its own number of oscillators
        log_normal(pp, "sd", context["scale"][:, None] * np.ones(self.count) / np.sqrt(self.count), 1.0, dims)
        log_normal(pp, "period", ones * peaks, 0.3, dims)
        log_normal(pp, "memory", ones * 3.0 * peaks, 1.0, dims)

    def part(self, sites: Sites, context: Context) -> Part:
        """Build the part."""
        laws = [
            DampedOscillator(
                frequency=1.0 / sites["period"][..., j],
                damping=1.0 / sites["memory"][..., j],
                sd=sites["sd"][..., j],
            )
            for j in range(self.count)
        ]
        return Part(Stack(*laws))


COMPONENTS: dict[str, type[AbstractComponent]] = {
    component.kind: component
    for component in (
        LocalLevel,
        LocalLinearTrend,
        SmoothTrend,
        Mean,
        Matern12,
        Matern32,
        Matern52,
        ShortMemory,
        Seasonal,
        Periodic,
        Oscillators,
    )
}


def component_from(spec: str) -> AbstractComponent:
    """Build a component from its text, such as `matern32` or `seasonal:period=365.25:harmonics=4`.

    Raises:
        ArgumentError: An unknown component or option, or a value that is not a positive number.
    """
    kind, *options = spec.split(":")
    if kind not in COMPONENTS:
        raise ArgumentError(f"`components` has {kind!r}; the components are {sorted(COMPONENTS)}.")
    legal = {f.name: f.type for f in dataclasses.fields(COMPONENTS[kind])}
    values: dict[str, Any] = {}
    for option in options:
        name, _, text = option.partition("=")
        if name not in legal:
            raise ArgumentError(f"component {kind!r} has no option {name!r}; it has {sorted(legal) or 'none'}.")
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not (np.isfinite(value) and value > 0):
            raise ArgumentError(f"component {kind!r}: `{name}` must be a positive number; got {text!r}.")
        values[name] = int(value) if legal[name] == "int" else value
    return COMPONENTS[kind](**values)
