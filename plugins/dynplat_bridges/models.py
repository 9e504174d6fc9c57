"""The models of the family with linear references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynplat.arrays import Observations
from dynplat.errors import ArgumentError
from dynplat.model import AbstractModel, Context, Populations, Sites, summarise
from dynplat_bridges import entries
from dynplat_bridges.fitting import FittedReference, fit_reference, gaussian_coupler
from dynplat_bridges.gaussian import fit_gaussian
from dynplat_bridges.particles import ParticleCoupler
from dynplat_bridges.pinned import LinearLaw, PiecewiseLaw
from dynplat_bridges.populations import check_snapshots, checked_populations
from dynplat_bridges.process import GaussianBridgeProcess, ParticleBridgeProcess
from dynplat_bridges.references import AbstractLinearReference, linear_reference_from

if TYPE_CHECKING:
    from dynplat.data import Snapshots

#: Snapshots from which on a linear SDE with free matrices can be told.
_ENOUGH = 4


@dataclass(frozen=True)
class AbstractLinearBridge(AbstractModel):
    """What bridges with a linear reference share.

    Args:
        reference: The reference in a text: `brownian`, `drifting-brownian`, `ornstein-uhlenbeck` or `linear-sde`;
            options in the text fix parameters, as in `ornstein-uhlenbeck:rate=0.5` (see
            `dynplat_bridges.references.text`).
            `auto`: `linear-sde` where there are at least four snapshots, else `drifting-brownian`.
        diffusion: Noise of the reference per square root of time, a positive number or one per channel; by default it
            is fitted with the free parameters of the drift.
    """

    reference: str = "auto"
    diffusion: float | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        self._named("brownian" if self.reference == "auto" else self.reference)

    def linear_reference(self, context: Context) -> AbstractLinearReference:
        """The reference of a fit."""
        return self._named(context["reference"])

    def _named(self, text: str) -> AbstractLinearReference:
        return linear_reference_from(text, diffusion=self.diffusion)

    def _automatic(self, num_snapshots: int) -> str:
        """The reference `auto`; two or three snapshots can be had from any coupling under some matrix."""
        return "linear-sde" if num_snapshots >= _ENOUGH else "drifting-brownian"

    def prepare(self, data: Snapshots) -> Context:
        """Summarise the snapshots; add the text of the `reference`.

        Raises:
            DataError: There are fewer than two snapshots, one is empty, or the reference has other channels.
        """
        check_snapshots(data)
        text = self._automatic(data.num_times) if self.reference == "auto" else self.reference
        context = summarise(data).with_values(reference=text)
        reference = self.linear_reference(context)
        reference.check_channels(context.channels)
        reference.start(context)  # options of another number of channels are refused here
        return context

    def solve(self, observations: Observations, context: Context, *, seed: int) -> Sites:
        """Fit what the options leave free.

        Returns:
            `diffusion` (1, channel) and the parameters of the drift (1, core dimensions), known ones among them.
        """
        law = self._fit(checked_populations(observations), context).law
        return {"diffusion": law.diffusion[None], **{name: value[None] for name, value in law.parameters.items()}}

    def _fit(self, populations: Populations, context: Context) -> FittedReference:
        raise NotImplementedError

    def _law(self, sites: Sites, context: Context) -> LinearLaw:
        parameters = {name: value for name, value in sites.items() if name != "diffusion"}
        return LinearLaw(self.linear_reference(context), parameters, sites["diffusion"])


@dataclass(frozen=True)
class GaussianBridgeModel(AbstractLinearBridge):
    r"""The bridge through the Gaussians of the snapshots' moments, in closed form at any time.

    .. math:: \min_P \mathrm{KL}(P \,\|\, R), \qquad X(t_k) \sim N(m_k, S_k),

    with the mean and covariance (over N) of the particles of each snapshot, and a linear reference R. The law is
    Gaussian at all times, and so are its paths; beyond the last snapshot the fitted reference goes on from it.
    """

    entry = entries.GAUSSIAN

    def process(self, sites: Sites, context: Context) -> GaussianBridgeProcess:
        """Build the reference, to be conditioned on snapshots."""
        return GaussianBridgeProcess(self._law(sites, context))

    def _fit(self, populations: Populations, context: Context) -> FittedReference:
        gaps = np.diff(populations.times)
        fitted = [fit_gaussian(particles) for particles in populations.particles]
        return fit_reference(self.linear_reference(context), context, gaps, gaussian_coupler(fitted, gaps))


@dataclass(frozen=True)
class AbstractParticleBridge(AbstractLinearBridge):
    """What bridges through particles share.

    Args:
        tolerance: Marginal error of a coupling to be reached: the sum of absolute differences from the weights.
        max_iterations: Most iterations for each pair of neighbours.
    """

    tolerance: float = 1e-6
    max_iterations: int = 10_000

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        super().__post_init__()
        if not 0 < self.tolerance < 1:
            raise ArgumentError(f"`tolerance` must be between 0 and 1; got {self.tolerance}.")
        if self.max_iterations < 1:
            raise ArgumentError(f"`max_iterations` must be at least 1; got {self.max_iterations}.")

    def _fit_gaps(self, particles: Sequence[np.ndarray], gaps: np.ndarray, context: Context) -> FittedReference:
        couple = ParticleCoupler(particles, gaps, tolerance=self.tolerance, max_iterations=self.max_iterations)
        return fit_reference(self.linear_reference(context), context, gaps, couple)

    def _process(self, law: LinearLaw | PiecewiseLaw) -> ParticleBridgeProcess:
        return ParticleBridgeProcess(law, tolerance=self.tolerance, max_iterations=self.max_iterations)


@dataclass(frozen=True)
class MultimarginalBridge(AbstractParticleBridge):
    r"""The bridge through all particles of all snapshots, with one reference for the whole.

    .. math:: \min_P \mathrm{KL}(P \,\|\, R), \qquad X(t_k) \sim \frac1{N_k} \sum_i \delta_{x_{ki}} .

    Draws are whole paths through a particle of every snapshot. A linear reference has no memory, and so the law is the
    product of the bridges between neighbours; its diffusion and drift are fitted to all of them together. Beyond the
    last snapshot the fitted reference goes on.
    """

    entry = entries.MULTIMARGINAL

    def process(self, sites: Sites, context: Context) -> ParticleBridgeProcess:
        """Build the reference, to be conditioned on snapshots."""
        return self._process(self._law(sites, context))

    def _fit(self, populations: Populations, context: Context) -> FittedReference:
        return self._fit_gaps(populations.particles, np.diff(populations.times), context)


@dataclass(frozen=True)
class StaticBridge(AbstractParticleBridge):
    """Each snapshot and the next coupled by themselves, with a diffusion and a velocity of their own.

    Entropic optimal transport, pair by pair: for Brownian motion over a gap h the regularisation of the squared
    distance is 2 sigma^2 h. The reference `auto` is `drifting-brownian`: each pair has the velocity, and without a
    given `diffusion` the diffusion, that fit it. Any other drift must be known: give its parameters in the text. Beyond
    the last snapshot the reference of the last pair goes on.
    """

    entry = entries.STATIC

    def prepare(self, data: Snapshots) -> Context:
        """As for every bridge with a linear reference.

        Raises:
            ArgumentError: The reference has a drift to be fitted that one pair of snapshots does not tell.
        """
        context = super().prepare(data)
        free = set(self.linear_reference(context).free(len(context.channels))) - {"velocity"}
        if free:
            raise ArgumentError(
                f"`reference` of bridges/static must have a known drift; {self.reference!r} leaves "
                f"{', '.join(sorted(free))} open, which one pair of snapshots does not tell. Give them in the text, or "
                "take `bridges/multimarginal`, which fits them to all snapshots."
            )
        return context

    def _automatic(self, num_snapshots: int) -> str:
        return "drifting-brownian"

    def solve(self, observations: Observations, context: Context, *, seed: int) -> Sites:
        """Fit diffusion and velocity of each pair of neighbours where the options leave them free.

        Returns:
            `diffusion` (1, pair, channel) and the parameters of the drift (1, pair, core dimensions).
        """
        times, particles = checked_populations(observations)
        laws = [
            self._fit_gaps(particles[k : k + 2], np.diff(times[k : k + 2]), context).law for k in range(len(times) - 1)
        ]
        drift = {name: np.stack([law.parameters[name] for law in laws])[None] for name in laws[0].parameters}
        return {"diffusion": np.stack([law.diffusion for law in laws])[None], **drift}

    def process(self, sites: Sites, context: Context) -> ParticleBridgeProcess:
        """Build the references, to be conditioned on as many snapshots as were fitted."""
        reference = self.linear_reference(context)
        shapes = {"diffusion": (len(context.channels),), **reference.parameters(len(context.channels))}
        pieces = []
        for k in range(sites["diffusion"].shape[-2]):
            taken = {name: sites[name][(..., k, *(slice(None),) * len(shape))] for name, shape in shapes.items()}
            sigma = taken.pop("diffusion")
            pieces.append(LinearLaw(reference, taken, sigma))
        return self._process(PiecewiseLaw(tuple(pieces)))
