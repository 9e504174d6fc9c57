"""A reference of the user's own: a plain function with named parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.arrays import Array
from dynplat_bridges.references.base import AbstractReference

if TYPE_CHECKING:
    from dynplat.model import Context


@dataclass(frozen=True, kw_only=True)
class Custom(AbstractReference):
    """A drift that the caller writes.

    A function cannot be saved with a fit and read back without running code, so no model takes one as an option: it
    serves the functions of this package (`refine`, `IPF`). A model of one's own returns it from its
    `reference_process`.

    Args:
        function: The drift, from places (..., particle, channel), times and a mapping of parameters to rates of change
            of the shape of the places. It should use operations that broadcast.
        initial: Values of the parameters from which a fit starts, numbers or arrays, by name.
        positive: Names of the parameters that must be positive.
        linear: Names of parameters in which the function is linear together, given the others.
    """

    function: Callable[[Any, Any, Mapping[str, Any]], Any]
    initial: Mapping[str, Any] = field(default_factory=dict)
    positive: tuple[str, ...] = ()
    linear: tuple[str, ...] = ()

    def parameters(self, num_channels: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the initial values."""
        return {name: np.shape(value) for name, value in self.initial.items()}

    def start(self, context: Context) -> dict[str, np.ndarray]:
        """The initial values."""
        return {name: np.asarray(value, dtype=np.float64) for name, value in self.initial.items()}

    def drift(self, x: Array, t: Array | float, parameters: Mapping[str, Array]) -> Array:
        """The caller's function."""
        return self.function(x, t, parameters)
