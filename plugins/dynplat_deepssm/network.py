"""Layers one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np

from dynplat.arrays import Array
from dynplat.errors import ArgumentError
from dynplat_deepssm.executors import Rows
from dynplat_deepssm.layer import AbstractLayer, AbstractWrapper, Parameters, seeds
from dynplat_deepssm.special import linear


@dataclass(frozen=True)
class Network(AbstractLayer):
    """Layers one after the other; each takes as many inputs as the one before it gives outputs.

    Gaps, mask and mode are those of all layers. The weights of a layer stand under its number: `0.weight`.

    Args:
        layers: At least one layer.
    """

    layers: tuple[AbstractLayer, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.layers:
            raise ArgumentError("`layers` must hold at least one layer; got none.")
        for number, (first, second) in enumerate(pairwise(self.layers)):
            if first.num_outputs != second.num_inputs:
                raise ArgumentError(
                    f"layer {number} ({type(first).__name__}) gives {first.num_outputs} outputs, and layer "
                    f"{number + 1} ({type(second).__name__}) takes {second.num_inputs} inputs; put a `Linear` between "
                    "them."
                )

    @property
    def num_inputs(self) -> int:
        """Length of the last axis of what goes in."""
        return self.layers[0].num_inputs

    @property
    def num_outputs(self) -> int:
        """Length of the last axis of what comes out."""
        return self.layers[-1].num_outputs

    @property
    def modes(self) -> frozenset[str]:
        """Executors that run the layer."""
        return reduce(frozenset.intersection, (layer.modes for layer in self.layers))

    @property
    def takes_gaps(self) -> bool:
        """Whether `dt` may be given."""
        return all(layer.takes_gaps for layer in self.layers)

    @property
    def is_causal(self) -> bool:
        """Whether no output depends on a later row."""
        return all(layer.is_causal for layer in self.layers)

    def init(self, seed: Any) -> dict[str, Any]:
        """Draw the weights of all parts, each from a seed of its own."""
        keys = seeds(seed, len(self.layers))
        return {str(number): layer.init(key) for number, (layer, key) in enumerate(zip(self.layers, keys, strict=True))}

    def initial(self, parameters: Parameters, u: Array) -> tuple[Any, ...]:
        """A state for each layer."""
        return tuple(layer.initial(parameters[str(number)], u) for number, layer in enumerate(self.layers))

    def apply(self, parameters: Parameters, u: Array, rows: Rows, state: Any = None) -> tuple[Array, Any]:
        """Run all rows (see `AbstractLayer`)."""
        states = (None,) * len(self.layers) if state is None else state
        found = []
        for number, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            u, state = layer.apply(parameters[str(number)], u, rows, state)
            found.append(state)
        return u, tuple(found)


@dataclass(frozen=True)
class Shortcut(AbstractWrapper):
    """A layer, and a linear map beside it: y = f(u) + u W, with W = 0 at the start.

    A network with norms bounds what it gives; what is linear in its inputs, as in an autoregression, passes by it.

    Args:
        layer: The layer.
    """

    layer: AbstractLayer

    def init(self, seed: Any) -> dict[str, Any]:
        """Draw the weights of the layer; those of the shortcut are 0."""
        return {"layer": self.layer.init(seed), "shortcut": np.zeros((self.num_inputs, self.num_outputs))}

    def apply(self, parameters: Parameters, u: Array, rows: Rows, state: Any = None) -> tuple[Array, Any]:
        """Run all rows (see `AbstractLayer`)."""
        y, state = self.layer.apply(parameters["layer"], u, rows, state)
        return y + linear(u, parameters["shortcut"]), state
