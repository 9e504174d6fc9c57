"""The models of the family with linear references."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynplat.arrays import Observations
from dynplat.model import AbstractModel, Context, Sites, summarise
from dynplat_bridges import entries
from dynplat_bridges.fitting import FittedReference, fit_reference, gaussian_coupler
from dynplat_bridges.gaussian import fit_gaussian
from dynplat_bridges.pinned import LinearLaw
from dynplat_bridges.populations import Populations, check_snapshots, populations_of
from dynplat_bridges.process import GaussianBridgeProcess
from dynplat_bridges.references import AbstractLinearReference, linear_reference_from

if TYPE_CHECKING:
    from dynplat.data import Snapshots


@dataclass(frozen=True)
class AbstractLinearBridge(AbstractModel):
    """What bridges with a linear reference share.

    Args:
        reference: The reference in a text: `brownian`, `ornstein-uhlenbeck` or `linear-sde`; options in the text fix
            parameters, as in `ornstein-uhlenbeck:rate=0.5` (see `dynplat_bridges.references.text`).
        diffusion: Noise of the reference per square root of time, a positive number or one per channel; by default it
            is fitted with the free parameters of the drift.
    """

    reference: str = "brownian"
    diffusion: float | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        self.linear_reference()

    def linear_reference(self) -> AbstractLinearReference:
        """The reference that the options name.

        Raises:
            ArgumentError: The text names none, or one that is not linear.
        """
        return linear_reference_from(self.reference, diffusion=self.diffusion)

    def prepare(self, data: Snapshots) -> Context:
        """Summarise the snapshots.

        Raises:
            DataError: There are fewer than two snapshots, one is empty, or the reference has other channels.
        """
        check_snapshots(data)
        reference, context = self.linear_reference(), summarise(data)
        reference.check_channels(context.channels)
        reference.start(context)  # options of another number of channels are refused here
        return context

    def solve(self, observations: Observations, context: Context, *, seed: int) -> Sites:
        """Fit what the options leave free.

        Returns:
            `diffusion` (1, channel) and the parameters of the drift (1, core dimensions), known ones among them.
        """
        law = self._fit(populations_of(observations), context).law
        return {"diffusion": law.diffusion[None], **{name: value[None] for name, value in law.parameters.items()}}

    def _fit(self, populations: Populations, context: Context) -> FittedReference:
        raise NotImplementedError

    def _law(self, sites: Sites) -> LinearLaw:
        parameters = {name: value for name, value in sites.items() if name != "diffusion"}
        return LinearLaw(self.linear_reference(), parameters, sites["diffusion"])


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
        return GaussianBridgeProcess(self._law(sites))

    def _fit(self, populations: Populations, context: Context) -> FittedReference:
        gaps = np.diff(populations.times)
        fitted = [fit_gaussian(particles) for particles in populations.particles]
        return fit_reference(self.linear_reference(), context, gaps, gaussian_coupler(fitted, gaps))
