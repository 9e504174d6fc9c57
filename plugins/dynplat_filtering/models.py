"""Structural models: sums of components, one for each channel, seen with Gaussian noise.

The channels share the times and nothing else: each has its own parameters and its own filter, so that cost grows
linearly with their number. (`filtering/linear-sde` is the model in which channels move together.) By default all series
share one set of parameters; with `per_series` each has its own.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynplat.arrays import asarray_like
from dynplat.errors import ArgumentError
from dynplat.model import AbstractLanguage, AbstractModel, Context, Sites, summarise
from dynplat.process import IndependentChannels, LinearSDE
from dynplat.process.dynamics import Stack
from dynplat_filtering import components, entries
from dynplat_filtering.components import AbstractComponent, component_from, log_normal
from dynplat_filtering.periods import find_periods, num_harmonics, spectral_peaks

if TYPE_CHECKING:
    from dynplat.data import Trajectories


@dataclass(frozen=True)
class AbstractSum(AbstractModel):
    """A sum of components seen with noise.

    Args:
        per_series: Whether each series has parameters of its own; otherwise all share one set.
    """

    per_series: bool = False

    @abstractmethod
    def choose(self, data: Trajectories, context: Context) -> tuple[AbstractComponent, ...]:
        """Choose the components from the options and the training data."""

    def prepare(self, data: Trajectories) -> Context:
        """Summarise the training cells, choose the components and name them; their texts are kept in the context."""
        context = summarise(data)
        chosen = self.choose(data, context)
        if not any(isinstance(component, _CARRIES_LEVEL) for component in chosen):
            chosen = (components.Mean(), *chosen)
        specs = tuple(component.spec for component in chosen)
        return context.with_values(components=specs, **self.constants(data, context))

    def constants(self, data: Trajectories, context: Context) -> dict[str, object]:
        """Return further constants that the components read, such as periods."""
        return {}

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit each component's parameters under its name, and `noise_sd`: all log-normal (see `components`)."""
        with pp.plate("series") if self.per_series else nullcontext():
            for name, component in named_components(context):
                with pp.scope(name):
                    component.prior(pp, context)
            log_normal(pp, "noise_sd", 0.5 * context["step_scale"], 1.5)

    def process(self, sites: Sites, context: Context) -> IndependentChannels:
        """Build one linear SDE per channel from the stacked parts."""
        parts = []
        for name, component in named_components(context):
            own = {key.removeprefix(f"{name}."): value for key, value in sites.items() if key.startswith(f"{name}.")}
            parts.append(component.part(own, context))
        dynamics = Stack(*(part.dynamics for part in parts))
        moving = any(part.start is not None for part in parts)
        m0, P0 = dynamics.start([part.start for part in parts]) if moving else (None, None)
        H = asarray_like(dynamics.readout[None, :], sites["noise_sd"])
        return IndependentChannels(LinearSDE(dynamics, H, sites["noise_sd"][..., None, None] ** 2, m0, P0))


def named_components(context: Context) -> list[tuple[str, AbstractComponent]]:
    """Return the components with the names under which their sites are reported; repeated kinds are numbered."""
    chosen = [component_from(spec) for spec in context["components"]]
    kinds = [component.kind.replace("-", "_") for component in chosen]
    counts: dict[str, int] = {}
    named = []
    for kind, component in zip(kinds, chosen, strict=True):
        counts[kind] = counts.get(kind, 0) + 1
        named.append((f"{kind}{counts[kind]}" if kinds.count(kind) > 1 else kind, component))
    return named


@dataclass(frozen=True)
class LocalLevel(AbstractSum):
    """Brownian level seen with noise."""

    entry = entries.LOCAL_LEVEL

    def choose(self, data: Trajectories, context: Context) -> tuple[AbstractComponent, ...]:
        """One component."""
        return (component_from("local-level"),)


@dataclass(frozen=True)
class LocalLinearTrend(AbstractSum):
    """Level with a wandering slope, seen with noise."""

    entry = entries.LOCAL_LINEAR_TREND

    def choose(self, data: Trajectories, context: Context) -> tuple[AbstractComponent, ...]:
        """One component."""
        return (component_from("local-linear-trend"),)


@dataclass(frozen=True)
class Matern12(AbstractSum):
    """Matérn-1/2 process around a mean, seen with noise."""

    entry = entries.MATERN12

    def choose(self, data: Trajectories, context: Context) -> tuple[AbstractComponent, ...]:
        """One component."""
        return (component_from("matern12"),)


@dataclass(frozen=True)
class Matern32(AbstractSum):
    """Matérn-3/2 process around a mean, seen with noise."""

    entry = entries.MATERN32

    def choose(self, data: Trajectories, context: Context) -> tuple[AbstractComponent, ...]:
        """One component."""
        return (component_from("matern32"),)


@dataclass(frozen=True)
class Matern52(AbstractSum):
    """Matérn-5/2 process around a mean, seen with noise."""

    entry = entries.MATERN52

    def choose(self, data: Trajectories, context: Context) -> tuple[AbstractComponent, ...]:
        """One component."""
        return (component_from("matern52"),)


@dataclass(frozen=True)
class Periodic(AbstractSum):
    """Quasi-periodic process around a mean, seen with noise.

    Args:
        period: Centre of the period's prior, in the unit of the times; found from the data when None.
        harmonics: Number of resonators that carry the periodic kernel.
    """

    entry = entries.PERIODIC
    period: float | None = None
    harmonics: int = 6

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        check_positive("period", self.period)
        check_positive("harmonics", self.harmonics)

    def choose(self, data: Trajectories, context: Context) -> tuple[AbstractComponent, ...]:
        """One component."""
        return (component_from(f"periodic:harmonics={self.harmonics}"),)

    def constants(self, data: Trajectories, context: Context) -> dict[str, object]:
        """Return the period given, or the strongest found, or none."""
        return {"periods": (self.period,) if self.period else find_periods(data, 1)}


@dataclass(frozen=True)
class Structural(AbstractSum):
    """Trend, seasons, short memory and noise.

    Args:
        periods: Seasonal periods in the unit of the times; an empty tuple for no season; found from the data when None.
        harmonics: Harmonics of each season at most; a season never has more than the data's step can carry.
        trend: `local-linear-trend`, `smooth-trend` or `local-level`.
        short_memory: Whether an Ornstein-Uhlenbeck process takes up what trend and seasons leave over.
    """

    entry = entries.STRUCTURAL
    periods: tuple[float, ...] | None = None
    harmonics: int = 4
    trend: str = "local-linear-trend"
    short_memory: bool = True

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        for period in self.periods or ():
            check_positive("periods", period)
        check_positive("harmonics", self.harmonics)
        legal = ("local-linear-trend", "smooth-trend", "local-level")
        if self.trend not in legal:
            raise ArgumentError(f"`trend` must be one of {legal}; got {self.trend!r}.")

    def choose(self, data: Trajectories, context: Context) -> tuple[AbstractComponent, ...]:
        """Trend, a season for each period, short memory."""
        periods = find_periods(data) if self.periods is None else self.periods
        specs = [self.trend]
        for period in periods:
            specs.append(
                f"seasonal:period={period!r}:harmonics={num_harmonics(period, context['gap'], self.harmonics)}"
            )
        if self.short_memory:
            specs.append("short-memory")
        return tuple(component_from(spec) for spec in specs)


@dataclass(frozen=True)
class Oscillators(AbstractSum):
    """Sum of damped stochastic oscillators around a mean, seen with noise.

    Args:
        count: Number of oscillators.
        periods: Centres of the priors of their periods; the highest spectral peaks when None.
    """

    entry = entries.OSCILLATORS
    count: int = 2
    periods: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        check_positive("count", self.count)
        for period in self.periods or ():
            check_positive("periods", period)
        if self.periods is not None and len(self.periods) != self.count:
            raise ArgumentError(f"`periods` must hold `count` = {self.count} numbers; got {self.periods!r}.")

    def choose(self, data: Trajectories, context: Context) -> tuple[AbstractComponent, ...]:
        """One component."""
        return (component_from(f"oscillators:count={self.count}"),)

    def constants(self, data: Trajectories, context: Context) -> dict[str, object]:
        """Return the centres of the periods, slowest first."""
        peaks = spectral_peaks(data, self.count) if self.periods is None else self.periods
        return {"peaks": tuple(sorted(peaks, reverse=True))}


@dataclass(frozen=True)
class Sum(AbstractSum):
    """A sum of components named in an option, seen with noise.

    Args:
        components: Texts such as `local-level`, `matern32`, `seasonal:period=365.25:harmonics=4`.
    """

    entry = entries.SUM
    components: tuple[str, ...] = ("local-level",)

    def __post_init__(self) -> None:
        """Refuse unknown components."""
        if not self.components or isinstance(self.components, str):
            raise ArgumentError(f"`components` must be a tuple of one or more texts; got {self.components!r}.")
        for spec in self.components:
            component_from(spec)

    def choose(self, data: Trajectories, context: Context) -> tuple[AbstractComponent, ...]:
        """Return the components as given."""
        return tuple(component_from(spec) for spec in self.components)

    def constants(self, data: Trajectories, context: Context) -> dict[str, object]:
        """Return what periodic components and oscillators read."""
        constants: dict[str, object] = {}
        chosen = self.choose(data, context)
        if any(isinstance(component, components.Periodic) for component in chosen):
            constants["periods"] = find_periods(data, 1)
        count = max((c.count for c in chosen if isinstance(c, components.Oscillators)), default=0)
        if count:
            constants["peaks"] = tuple(sorted(spectral_peaks(data, count), reverse=True))
        return constants


def check_positive(name: str, value: float | None) -> None:
    """Refuse a number that is not positive and finite; None passes."""
    if value is not None and not (np.isfinite(value) and value > 0):
        raise ArgumentError(f"`{name}` must be positive; got {value!r}.")


_CARRIES_LEVEL = (components.LocalLevel, components.LocalLinearTrend, components.Mean)
