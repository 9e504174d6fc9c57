"""`deepssm/imputer`: the law of each cell given all other observed ones, by networks from both sides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from dynplat.model import AbstractLanguage, AbstractModel, Context, Sites, summarise
from dynplat.records import Capabilities
from dynplat_deepssm import entries
from dynplat_deepssm.cell_laws import CellLaws, Mix
from dynplat_deepssm.heads import AbstractHead, head_named
from dynplat_deepssm.layer import AbstractLayer
from dynplat_deepssm.maps import Linear, Norm
from dynplat_deepssm.models import DENSE_HEADS, scales_from, with_input_scales
from dynplat_deepssm.network import Network
from dynplat_deepssm.stacks import block, check_cell, check_sizes, emit, weights_of

if TYPE_CHECKING:
    from dynplat.data import Trajectories


@dataclass(frozen=True)
class Imputer(AbstractModel):
    """The law of each cell given all others (`dynplat_deepssm.cell_laws`), trained on random holes.

    All weights are point estimates: sites `left.*` and `right.*` are those of the networks, `mix.*` of what joins them.

    Args:
        cell: Cell of the networks: `s5`, `lru`, `mamba`, `mamba2` or `deltanet`.
        head: Law of a value: `student-t`, `gaussian`, `mixture` or `negative-binomial` (counts).
        width: Channels between the layers, even.
        num_layers: Number of layers of each network.
        num_states: States of a layer, even, and pairs of numbers that are carried to the time asked about.
        seed: Seed of the weights at the start.
    """

    entry = entries.IMPUTER
    cell: Literal["s5", "lru", "mamba", "mamba2", "deltanet"] = "s5"
    head: str = "student-t"
    width: int = 32
    num_layers: int = 2
    num_states: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        check_cell(self.cell)
        check_sizes(self.width, self.num_layers, self.num_states, self.seed)
        head_named(self.head, DENSE_HEADS)

    @property
    def law(self) -> AbstractHead:
        """The head."""
        return head_named(self.head, DENSE_HEADS)

    @property
    def capabilities(self) -> Capabilities:
        """What the model declares it can do; its head says for which values."""
        return replace(self.entry.capabilities, values=self.law.values)

    @property
    def default_inference(self) -> str:
        """Minibatches, with other holes in each, and rows that are held back to say when to stop."""
        return "train"

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

    def prepare(self, data: Trajectories) -> Context:
        """Summarise the training cells, and the inputs."""
        return with_input_scales(summarise(data), data)

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
