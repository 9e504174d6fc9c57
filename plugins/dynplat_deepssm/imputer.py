"""`deepssm/imputer`: the law of each cell given all other observed ones, by networks from both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dynplat.model import AbstractLanguage, Context, Sites
from dynplat_deepssm import entries
from dynplat_deepssm.cell_laws import CellLaws, Mix
from dynplat_deepssm.layer import AbstractLayer
from dynplat_deepssm.maps import Linear, Norm
from dynplat_deepssm.models import AbstractNetworkModel, scales_from
from dynplat_deepssm.network import Network
from dynplat_deepssm.stacks import block, check_cell, emit, weights_of


@dataclass(frozen=True)
class Imputer(AbstractNetworkModel):
    """The law of each cell given all others (`dynplat_deepssm.cell_laws`), trained on random holes.

    All weights are point estimates: sites `left.*` and `right.*` are those of the networks, `mix.*` of what joins them.
    Every minibatch has other holes. See `AbstractNetworkModel` for the other options; `num_states` is also the number
    of pairs of numbers that are carried to the time asked about.

    Args:
        cell: Cell of the networks: `s5`, `lru`, `mamba`, `mamba2` or `deltanet`.
    """

    entry = entries.IMPUTER
    cell: Literal["s5", "lru", "mamba", "mamba2", "deltanet"] = "s5"

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        super().__post_init__()
        check_cell(self.cell)

    def network(self, context: Context) -> AbstractLayer:
        """The network of either side, for the channels and inputs of a context."""
        blocks = (block(self.cell, self.width, self.num_states) for _ in range(self.num_layers))
        num_features = 3 * len(context.channels) + 2 + len(context.inputs)
        return Network((Linear(num_features, self.width), *blocks, Norm(self.width)))

    def mix(self, context: Context) -> Mix:
        """What joins the sides, for the channels and inputs of a context."""
        return Mix(
            self.width,
            self.num_states,
            len(context.channels),
            len(context.inputs),
            self.law.num_parameters,
        )

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit the weights."""
        network = self.network(context)
        emit(pp, "left", network, self.seed)
        emit(pp, "right", network, self.seed + 1)
        for name, value in self.mix(context).init(self.seed).items():
            pp.param(f"mix.{name}", value)

    def process(self, sites: Sites, context: Context) -> CellLaws:
        """Build the laws of cells."""
        mix = {name.removeprefix("mix."): site for name, site in sites.items() if name.startswith("mix.")}
        weights = {"left": weights_of(sites, "left"), "right": weights_of(sites, "right"), "mix": mix}
        parts = self.network(context), self.mix(context), self.law
        return CellLaws(*parts, weights, scales_from(context), context["step_scale"])
