"""The contract between the platform and a model: a model is a prior and a process.

A model's author writes, in this order, as much as the model has: `prior`, `process`, and where it knows better or has
no density: `solve`, `guide`. Everything else (maximum likelihood, MAP, Laplace, SVI, NUTS, predictive distributions,
imputation, forecasting, simulation, scoring, saving) the platform derives.
"""

from __future__ import annotations

import dataclasses
from abc import ABC
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from dynplat.arrays import Observations
from dynplat.errors import CapabilityError
from dynplat.model.context import Context
from dynplat.model.language import AbstractLanguage, Sites
from dynplat.records import Capabilities, ModelEntry

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories
    from dynplat.process.base import AbstractProcess


class AbstractModel(ABC):
    """A model: a prior over parameters and a process given parameters.

    Subclasses are frozen dataclasses whose fields are the model's options (numbers, strings, tuples of those, None), so
    that a model can be described, saved and built again. `entry` is the record with which the model declares itself.
    """

    entry: ClassVar[ModelEntry]
    #: What helps where a capability is lacking, by its name: read by the refusal of irregular times.
    alternatives: ClassVar[Mapping[str, str]] = {}

    @property
    def capabilities(self) -> Capabilities:
        """What the model declares it can do."""
        return self.entry.capabilities

    @property
    def default_inference(self) -> str:
        """Id of the inference that fits the model where nobody names one: `map` with a prior and a likelihood.

        Without either it is `solve`. A model that neither serves overrides this, as one may whose networks need
        minibatches.
        """
        claims = self.capabilities
        return "map" if claims.prior and claims.likelihood else "solve"

    @property
    def options(self) -> dict[str, Any]:
        """The model's options by name."""
        return (
            {f.name: getattr(self, f.name) for f in dataclasses.fields(self)} if dataclasses.is_dataclass(self) else {}
        )

    def prepare(self, data: Trajectories | Snapshots) -> Context:
        """Compute the known constants from the training data; only cells with mask True may be looked at.

        The default gives `location` and `scale` (channel,) of the observed values, `start` and `span` of the times and
        `gap`, the median gap between rows.
        """
        from dynplat.model.summaries import summarise

        return summarise(data)

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit the uncertain parameters as sites. The names are those under which the posterior is reported."""
        raise CapabilityError(f"{self.entry.id} has no prior. Ask for an inference that needs none (see `describe`).")

    def coords(self, context: Context) -> Mapping[str, Sequence[Any]]:
        """Labels of the entries along the model's own dimensions (`dims` of its sites), by name of the dimension.

        Summaries, plots and the saved file show them: `rate[1-2]` instead of `rate[0]`. Labels of a dimension are
        different texts, or different numbers, one for each entry; a dimension without labels is counted. Dimensions
        that no site has are ignored, so that one answer can serve all options. The default labels none.
        """
        return {}

    def process(self, sites: Sites, context: Context) -> AbstractProcess:
        """Build the process from sites (..., series or 1, core dimensions). Pure; broadcasts over leading axes."""
        raise CapabilityError(f"{self.entry.id} has no process for given parameters: it answers through `solve` only.")

    def solve(self, observations: Observations, context: Context, *, seed: int) -> Sites | None:
        """Where the model knows better (closed form, EM, projection, a pretrained network): draws of its sites.

        Returns:
            NumPy arrays of shape (draws, core dimensions), or (draws, series, core dimensions) for local sites, by site
            name; none at all (an empty mapping) for a model without parameters; None when the model has no solver of
            its own.
        """
        return None

    def guide(self, pp: AbstractLanguage, context: Context, observations: Observations) -> None:
        """Variational family of the model's own, for `svi` with `guide="model"`."""
        raise CapabilityError(
            f"{self.entry.id} has no guide of its own; use `guide='normal'`, 'low-rank' or 'full-rank'."
        )
