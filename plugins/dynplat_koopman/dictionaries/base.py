"""What a dictionary is: N functions of a state of d variables, evaluated in NumPy, torch and JAX alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np

from dynplat.arrays import Array, array_namespace
from dynplat.errors import ArgumentError, CapabilityError


class Derivatives(NamedTuple):
    """Derivatives of a dictionary's functions at points (..., d).

    Attributes:
        gradient: First derivatives, (..., N, d).
        hessian: Second derivatives, (..., N, d, d).
    """

    gradient: Array
    hessian: Array


class AbstractDictionary(ABC):
    r"""Functions :math:`\psi = (\psi_1, \dots, \psi_N)` of a state, the row that operators act on.

    Subclasses are frozen dataclasses. They are pure functions on the array API: they follow the namespace, dtype and
    device of their argument, broadcast over leading axes, and can be traced, compiled and differentiated.

    Attributes:
        num_variables: Number of variables of the state, d.
        num_functions: Number of functions, N.
        names: A short text for each function, (N,).
        is_complex: Whether values are complex.
    """

    num_variables: int
    num_functions: int
    names: tuple[str, ...]
    is_complex: bool = False

    def __call__(self, x: Array) -> Array:
        """Evaluate the functions.

        Args:
            x: Points, (..., d), real.

        Returns:
            Values, (..., N).

        Raises:
            ArgumentError: The points are not real, or not of d variables.
        """
        return self._evaluate(self._check(x))

    def derivatives(self, x: Array) -> Derivatives:
        """First and second derivatives of the functions at points (..., d).

        Raises:
            ArgumentError: The points are not real, or not of d variables.
            CapabilityError: The functions have no derivatives that are known.
        """
        return self._differentiate(self._check(x))

    @property
    def readout(self) -> np.ndarray | None:
        """Coefficients (d, N) that give the state's variables, x = readout psi(x); None where they are not held."""
        return None

    @property
    def constant(self) -> np.ndarray | None:
        """Coefficients (N,) that give the function 1, or None where it is not held."""
        return None

    @abstractmethod
    def _evaluate(self, x: Array) -> Array:
        """Values (..., N) at checked points."""

    def _differentiate(self, x: Array) -> Derivatives:
        """Derivatives at checked points."""
        raise CapabilityError(f"{type(self).__name__} has no derivatives; choose a dictionary that has them.")

    def _check(self, x: Any) -> Array:
        if not hasattr(x, "dtype"):
            x = np.asarray(x, dtype=np.float64)
        if x.ndim < 1 or x.shape[-1] != self.num_variables:
            raise ArgumentError(
                f"`x` must be points of {self.num_variables} variables, (..., {self.num_variables}); got shape "
                f"{tuple(x.shape)}."
            )
        if not array_namespace(x).isdtype(x.dtype, "real floating"):
            raise ArgumentError(
                f"`x` must be real floating numbers; got {x.dtype}. A complex state is two real variables: give its "
                "real and its imaginary part."
            )
        return x
