"""Autoregressive deep state-space models: one for each cell, with any head that has a density."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dynplat.model import AbstractLanguage, AbstractModel, Context, Sites, summarise
from dynplat.records import Capabilities
from dynplat_deepssm import entries
from dynplat_deepssm.autoregressive import Autoregressive, Scales
from dynplat_deepssm.heads import AbstractHead, head_named
from dynplat_deepssm.network import Shortcut
from dynplat_deepssm.stacks import check_sizes, emit, stack, weights_of

if TYPE_CHECKING:
    from dynplat.data import Trajectories

#: Heads with a density.
DENSE_HEADS = ("gaussian", "student-t", "mixture", "negative-binomial")


def with_input_scales(context: Context, data: Trajectories) -> Context:
    """Add centre and spread of the known inputs, over all rows, to a context."""
    rows = np.arange(data.times.shape[1]) < np.asarray(data.lengths)[:, None]
    inputs = np.zeros((1, 0)) if data.inputs is None else np.asarray(data.inputs)[rows]
    spread = inputs.std(axis=0) if len(inputs) else np.ones(inputs.shape[1])
    center = inputs.mean(axis=0) if len(inputs) else np.zeros(inputs.shape[1])
    return context.with_values(input_location=center, input_scale=np.where(spread > 0, spread, 1.0))


def scales_from(context: Context) -> Scales:
    """Units of a network from a context."""
    names = ("location", "scale", "gap", "input_location", "input_scale")
    return Scales(**{name: context[name] for name in names})


@dataclass(frozen=True)
class AbstractNetworkModel(AbstractModel):
    """What models of networks and a head with a density share.

    Args:
        head: Law of a value: `student-t`, `gaussian`, `mixture` or `negative-binomial` (counts).
        width: Channels between the layers, even.
        num_layers: Number of layers.
        num_states: States of a layer, even: of all its channels, of each channel (Mamba) or of each head (Mamba-2 and
            DeltaNet).
        seed: Seed of the weights at the start.
    """

    head: str = "student-t"
    width: int = 32
    num_layers: int = 2
    num_states: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse impossible options."""
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
        """Minibatches, and rows that are held back to say when to stop."""
        return "train"

    def prepare(self, data: Trajectories) -> Context:
        """Summarise the training cells, and the inputs."""
        return with_input_scales(summarise(data), data)


@dataclass(frozen=True)
class AutoregressiveModel(AbstractNetworkModel):
    """The next row given the past, by a deep state-space network (`dynplat_deepssm.autoregressive`).

    All weights are point estimates: their sites `net.<path>` are those of `pp.module`. See `AbstractNetworkModel` for
    the options.
    """

    cell: ClassVar[str]

    def network(self, context: Context) -> Shortcut:
        """The network for the channels and inputs of a context."""
        return stack(
            self.cell,
            scales_from(context).num_features,
            len(context.channels) * self.law.num_parameters,
            width=self.width,
            num_layers=self.num_layers,
            num_states=self.num_states,
        )

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit the weights."""
        emit(pp, "net", self.network(context), self.seed)

    def process(self, sites: Sites, context: Context) -> Autoregressive:
        """Build the autoregressive process."""
        return Autoregressive(self.network(context), self.law, weights_of(sites, "net"), scales_from(context))


@dataclass(frozen=True)
class S5Model(AutoregressiveModel):
    """S5 layers. See `AutoregressiveModel`."""

    entry = entries.S5
    cell = "s5"


@dataclass(frozen=True)
class LRUModel(AutoregressiveModel):
    """Linear recurrent units. See `AutoregressiveModel`."""

    entry = entries.LRU
    cell = "lru"


@dataclass(frozen=True)
class MambaModel(AutoregressiveModel):
    """Mamba layers. See `AutoregressiveModel`."""

    entry = entries.MAMBA
    cell = "mamba"


@dataclass(frozen=True)
class Mamba2Model(AutoregressiveModel):
    """Mamba-2 layers. See `AutoregressiveModel`."""

    entry = entries.MAMBA2
    cell = "mamba2"


@dataclass(frozen=True)
class DeltaNetModel(AutoregressiveModel):
    """Gated delta rules. See `AutoregressiveModel`."""

    entry = entries.DELTANET
    cell = "deltanet"
