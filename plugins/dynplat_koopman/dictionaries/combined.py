"""Dictionaries made of others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynplat.arrays import Array, asarray_like
from dynplat.errors import ArgumentError
from dynplat_koopman.dictionaries.base import AbstractDictionary, Derivatives


@dataclass(frozen=True, eq=False)
class Scaled(AbstractDictionary):
    r"""A dictionary of the standardised state, :math:`\psi((x - \text{location}) / \text{scale})`.

    Powers of numbers far from 1 make a Gram matrix that cannot be inverted; standardised variables avoid it.

    Args:
        inner: The dictionary, of d variables.
        location: What is taken off each variable, (d,).
        scale: What each variable is divided by, (d,), positive.

    Raises:
        ArgumentError: Shapes do not fit, a number is not finite or a scale not positive.
    """

    inner: AbstractDictionary
    location: np.ndarray
    scale: np.ndarray

    def __post_init__(self) -> None:
        """Check and freeze location and scale."""
        for name in ("location", "scale"):
            given = np.array(getattr(self, name), dtype=np.float64)
            if given.shape != (self.inner.num_variables,) or not np.isfinite(given).all():
                raise ArgumentError(
                    f"`{name}` must be {self.inner.num_variables} finite numbers, one per variable; got {given}."
                )
            given.setflags(write=False)
            object.__setattr__(self, name, given)
        if not (self.scale > 0).all():
            raise ArgumentError(f"`scale` must be positive; got {self.scale}. Leave out variables that do not vary.")

    @property
    def num_variables(self) -> int:
        """Number of variables, d."""
        return self.inner.num_variables

    @property
    def num_functions(self) -> int:
        """Number of functions, N."""
        return self.inner.num_functions

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inner functions, of standardised variables."""
        return self.inner.names

    @property
    def is_complex(self) -> bool:
        """Whether values are complex."""
        return self.inner.is_complex

    @property
    def readout(self) -> np.ndarray | None:
        """Location and scale times what the inner dictionary holds."""
        inner, constant = self.inner.readout, self.constant
        if inner is None or (constant is None and self.location.any()):
            return None
        readout = self.scale[:, None] * inner
        return readout if constant is None else readout + self.location[:, None] * constant

    @property
    def constant(self) -> np.ndarray | None:
        """As in the inner dictionary."""
        return self.inner.constant

    def _standardise(self, x: Array) -> Array:
        return (x - asarray_like(self.location, x)) / asarray_like(self.scale, x)

    def _evaluate(self, x: Array) -> Array:
        return self.inner(self._standardise(x))

    def _differentiate(self, x: Array) -> Derivatives:
        gradient, hessian = self.inner.derivatives(self._standardise(x))
        scale = asarray_like(self.scale, x)
        return Derivatives(gradient / scale, hessian / (scale[:, None] * scale))
