"""A gradient field: particles roll down a potential that a small network gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat.errors import ArgumentError
from dynplat_bridges.references.base import AbstractReference

if TYPE_CHECKING:
    from dynplat.model import Context


@dataclass(frozen=True, kw_only=True)
class GradientField(AbstractReference):
    r"""Motion down a potential U, a network of hyperbolic tangents.

    .. math:: b(x) = -\nabla U(x), \qquad U(x) = w \cdot h_L, \quad h_l = \tanh(W_l h_{l-1} + b_l), \quad h_0 = x .

    A gradient field has no cycles. The weights start from random ones in units of the data.

    Args:
        hidden: Widths of the layers: a number or numbers.
        seed: Seed of the weights at the start.
    """

    fitted_by: ClassVar[str] = "adam"

    hidden: int | float | tuple[float, ...] = (64, 64)
    seed: int | float = 0

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        super().__post_init__()
        if not self.widths or any(width < 1 or width != int(width) for width in self.widths):
            raise ArgumentError(f"`hidden` must be one or more widths of at least 1; got {self.hidden!r}.")
        if self.seed < 0 or self.seed != int(self.seed):
            raise ArgumentError(f"`seed` must be a whole number of at least 0; got {self.seed}.")

    @property
    def widths(self) -> tuple[float, ...]:
        """Widths of the layers."""
        return self.hidden if isinstance(self.hidden, tuple) else (self.hidden,)

    def parameters(self, num_channels: int) -> dict[str, tuple[int, ...]]:
        """Weights (new, old) and biases of each layer, and the weights of the potential."""
        sizes = [num_channels, *(int(width) for width in self.widths)]
        shapes: dict[str, tuple[int, ...]] = {}
        for layer, (old, new) in enumerate(pairwise(sizes), 1):
            shapes |= {f"weight_{layer}": (new, old), f"bias_{layer}": (new,)}
        return shapes | {"weight_out": (sizes[-1],)}

    def start(self, context: Context) -> dict[str, np.ndarray]:
        """Random weights of variance 1 / fan-in for standardised states; a potential that is next to flat."""
        rng = np.random.default_rng(int(self.seed))
        found = {}
        for name, shape in self.parameters(len(context.channels)).items():
            found[name] = rng.standard_normal(shape) / np.sqrt(shape[-1] if name.startswith("weight") else 1.0)
        found["weight_out"] *= 1e-2 * float(np.mean(context["scale"])) ** 2 / context["span"]
        found["weight_1"] = found["weight_1"] / context["scale"]
        found["bias_1"] = found["bias_1"] - found["weight_1"] @ context["location"]
        return found

    def drift(self, x: Array, t: Array | float, parameters: Mapping[str, Array]) -> Array:
        """Minus the gradient of the potential, by the chain rule through the layers."""
        transpose = array_namespace(x).matrix_transpose
        layers = range(1, len(self.widths) + 1)
        weights = [asarray_like(parameters[f"weight_{layer}"], x) for layer in layers]
        biases = [asarray_like(parameters[f"bias_{layer}"], x)[..., None, :] for layer in layers]
        h, slopes = x, []
        for weight, bias in zip(weights, biases, strict=True):
            h = array_namespace(x).tanh(h @ transpose(weight) + bias)
            slopes.append(1.0 - h * h)
        gradient = asarray_like(parameters["weight_out"], x)[..., None, :]
        for weight, slope in zip(reversed(weights), reversed(slopes), strict=True):
            gradient = (gradient * slope) @ weight
        return -gradient
