r"""Networks of hyperbolic tangents, as plain array code: the dictionary of which `koopman/deep` learns the weights.

.. math::
    h_0 = (x - \text{location}) / \text{scale}, \qquad h_l = \tanh(W_l h_{l-1} + b_l), \qquad
    \psi(x) = (1,\; h_0,\; h_L).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat.errors import ArgumentError
from dynplat_koopman.dictionaries.base import AbstractDictionary, Derivatives


def tanh_features(x: Array, weights: Sequence[Array], biases: Sequence[Array]) -> Array:
    """The standardised state and the last layer's values beside it, (..., row, d + width).

    Args:
        x: Standardised states, (..., row, d).
        weights: Weights of each layer, (..., width, width before).
        biases: Biases of each layer, (..., width).
    """
    xp = array_namespace(x, *weights)
    hidden = x
    for weight, bias in zip(weights, biases, strict=True):
        hidden = xp.tanh(hidden @ xp.matrix_transpose(weight) + bias[..., None, :])
    lead = np.broadcast_shapes(tuple(x.shape[:-1]), tuple(hidden.shape[:-1]))
    return xp.concat([xp.broadcast_to(x, (*lead, x.shape[-1])), hidden], axis=-1)


@dataclass(frozen=True, eq=False)
class TanhNetwork(AbstractDictionary):
    """The constant, the standardised state and the last layer of a network of hyperbolic tangents, weights given.

    Args:
        location: What is taken off each variable, (d,).
        scale: What each variable is divided by, (d,).
        weights: Weights of each layer, (width, width before).
        biases: Biases of each layer, (width,).
    """

    location: np.ndarray
    scale: np.ndarray
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        """Refuse layers that do not follow on each other."""
        widths = [len(self.location), *(len(bias) for bias in self.biases)]
        shapes = [tuple(weight.shape) for weight in self.weights]
        if not shapes or shapes != list(zip(widths[1:], widths[:-1], strict=True)):
            raise ArgumentError(
                f"`weights` of TanhNetwork must have the shapes (width, width before) of layers of {widths[1:]} after "
                f"{widths[0]} variables; got {shapes}."
            )

    @property
    def num_variables(self) -> int:
        """Number of variables, d."""
        return len(self.location)

    @property
    def num_functions(self) -> int:
        """Number of functions, 1 + d + width of the last layer."""
        return 1 + self.num_variables + len(self.biases[-1])

    @property
    def names(self) -> tuple[str, ...]:
        """Texts such as `x0` and `tanh 3`."""
        state = (f"x{j}" for j in range(self.num_variables))
        return ("1", *state, *(f"tanh {n}" for n in range(len(self.biases[-1]))))

    @property
    def readout(self) -> np.ndarray:
        """Scale and location times the state and the constant."""
        readout = np.zeros((self.num_variables, self.num_functions))
        readout[:, 0] = self.location
        readout[:, 1 : 1 + self.num_variables] = np.diag(self.scale)
        return readout

    @property
    def constant(self) -> np.ndarray:
        """The first function."""
        return np.eye(1, self.num_functions)[0]

    def _evaluate(self, x: Array) -> Array:
        xp = array_namespace(x)
        points = xp.reshape(x, (-1, self.num_variables))
        standard = (points - asarray_like(self.location, x)) / asarray_like(self.scale, x)
        layers = [[asarray_like(part, x) for part in parts] for parts in (self.weights, self.biases)]
        features = tanh_features(standard, *layers)
        values = xp.concat([xp.ones_like(features[:, :1]), features], axis=-1)
        return xp.reshape(values, (*x.shape[:-1], self.num_functions))

    def _differentiate(self, x: Array) -> Derivatives:
        """Forward through the layers: tanh' = 1 - tanh^2, tanh'' = -2 tanh tanh'."""
        xp = array_namespace(x)
        d, lead = self.num_variables, tuple(x.shape[:-1])
        scale = asarray_like(self.scale, x)
        hidden = (x - asarray_like(self.location, x)) / scale
        own = xp.broadcast_to(asarray_like(np.diag(1.0 / self.scale), x), (*lead, d, d))
        flat = xp.broadcast_to(asarray_like(np.zeros((d, d, d)), x), (*lead, d, d, d))
        gradient, hessian = own, flat
        for weight, bias in zip(self.weights, self.biases, strict=True):
            W = asarray_like(weight, x)
            hidden = xp.tanh((W @ hidden[..., None])[..., 0] + asarray_like(bias, x))
            slope = 1.0 - hidden**2
            gradient = W @ gradient
            bent = xp.reshape(W @ xp.reshape(hessian, (*lead, -1, d * d)), (*lead, len(bias), d, d))
            square = gradient[..., :, None] * gradient[..., None, :]
            hessian = slope[..., None, None] * (bent - 2.0 * hidden[..., None, None] * square)
            gradient = slope[..., None] * gradient
        return Derivatives(
            xp.concat([xp.zeros_like(own[..., :1, :]), own, gradient], axis=-2),
            xp.concat([xp.zeros_like(flat[..., :1, :, :]), flat, hessian], axis=-3),
        )


def random_layers(num_variables: int, widths: Sequence[int], rng: np.random.Generator) -> tuple[Any, Any]:
    """Weights N(0, 1 / width before) and biases N(0, 1) of layers of `widths`."""
    before = [num_variables, *widths[:-1]]
    weights = tuple(rng.normal(size=(width, last)) / np.sqrt(last) for width, last in zip(widths, before, strict=True))
    return weights, tuple(rng.normal(size=width) for width in widths)
