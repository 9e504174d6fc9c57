"""Maps of single rows: linear ones and norms. They carry no state, and so run in every mode."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dynplat.arrays import Array, array_namespace
from dynplat_deepssm.executors import MODES, Rows
from dynplat_deepssm.layer import AbstractLayer, Channelwise, Parameters
from dynplat_deepssm.special import linear

#: Added to a mean square before its root.
_SMALL = 1e-5


class AbstractMap(AbstractLayer):
    """A layer whose output in a row is a function of its input there."""

    modes = frozenset(MODES)
    takes_gaps = True

    @abstractmethod
    def map(self, parameters: Parameters, u: Array) -> Array:
        """Outputs (..., time, output) of inputs u (..., time, input)."""

    def initial(self, parameters: Parameters, u: Array) -> None:
        """No state."""
        return None

    def apply(self, parameters: Parameters, u: Array, rows: Rows, state: Any = None) -> tuple[Array, None]:
        """Run all rows (see `AbstractLayer`)."""
        return self.map(parameters, u), None


@dataclass(frozen=True)
class Linear(AbstractMap):
    """The same linear map of every row.

    Args:
        num_inputs: Number of inputs.
        num_outputs: Number of outputs.
        bias: Whether a constant is added.
    """

    num_inputs: int
    num_outputs: int
    bias: bool = True

    def init(self, seed: Any) -> dict[str, np.ndarray]:
        """Draw the weights of all parts, each from a seed of its own."""
        rng = np.random.default_rng(seed)
        bound = 1.0 / np.sqrt(self.num_inputs)
        weights = {"weight": rng.uniform(-bound, bound, (self.num_inputs, self.num_outputs))}
        return weights | ({"bias": rng.uniform(-bound, bound, self.num_outputs)} if self.bias else {})

    def map(self, parameters: Parameters, u: Array) -> Array:
        """Outputs (..., time, output) of inputs u (..., time, input)."""
        return linear(u, parameters["weight"], parameters.get("bias"))


@dataclass(frozen=True)
class Norm(Channelwise, AbstractMap):
    """Normalisation of every row over its channels, with a learned scale.

    Args:
        num_channels: Number of channels.
        kind: `layer` (mean 0 and variance 1, with a learned shift) or `rms` (mean square 1).
    """

    num_channels: int
    kind: Literal["layer", "rms"] = "layer"

    def init(self, seed: Any) -> dict[str, np.ndarray]:
        """Draw the weights of all parts, each from a seed of its own."""
        weights = {"scale": np.ones(self.num_channels)}
        return weights | ({"shift": np.zeros(self.num_channels)} if self.kind == "layer" else {})

    def map(self, parameters: Parameters, u: Array) -> Array:
        """Outputs (..., time, output) of inputs u (..., time, input)."""
        xp = array_namespace(u)
        if self.kind == "layer":
            u = u - xp.mean(u, axis=-1, keepdims=True)
        y = parameters["scale"][..., None, :] * u / xp.sqrt(xp.mean(u * u, axis=-1, keepdims=True) + _SMALL)
        return y + parameters["shift"][..., None, :] if self.kind == "layer" else y
