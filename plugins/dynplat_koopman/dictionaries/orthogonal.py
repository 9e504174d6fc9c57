r"""Products of orthonormal polynomials: Hermite's under the normal law, Legendre's under the uniform law on [-1, 1].

The function of degrees :math:`k_1, \dots, k_d` is :math:`\prod_j p_{k_j}(x_j)`, with each :math:`p_k` of mean square 1.
On data that follow the law their Gram matrix is near the identity, where that of monomials cannot be inverted.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat.errors import ArgumentError
from dynplat_koopman.dictionaries.base import AbstractDictionary, Derivatives
from dynplat_koopman.dictionaries.multi_index import Truncation, degrees_of


@dataclass(frozen=True)
class AbstractProducts(AbstractDictionary):
    """Products of one family of polynomials, one factor for each variable.

    Args:
        num_variables: Number of variables, d.
        degree: Largest degree, m.
        truncation: `total`, degrees that sum to m at most; `tensor`, each degree m at most.
        min_degree: Smallest total degree; 1 leaves the constant out.

    Raises:
        ArgumentError: There is no variable, or the degrees name no function.
    """

    num_variables: int
    degree: int
    truncation: Truncation = "total"
    min_degree: int = 0

    letter: ClassVar[str]
    #: Coefficient of the polynomial of degree 1 in x.
    slope: ClassVar[float]

    def __post_init__(self) -> None:
        """Refuse empty dictionaries."""
        if not self.num_functions:
            raise ArgumentError(
                f"`min_degree` leaves no function: degree={self.degree}, truncation={self.truncation!r} and "
                f"min_degree={self.min_degree}."
            )

    @property
    def degrees(self) -> np.ndarray:
        """Degree in each variable of each function, (N, d)."""
        return degrees_of(self.num_variables, self.degree, self.truncation, self.min_degree)

    @property
    def num_functions(self) -> int:
        """Number of functions, N."""
        return len(self.degrees)

    @property
    def names(self) -> tuple[str, ...]:
        """Texts such as `He2(x0) He1(x1)`."""
        return tuple(
            " ".join(f"{self.letter}{k}(x{j})" for j, k in enumerate(row) if k) or "1" for row in self.degrees.tolist()
        )

    @property
    def readout(self) -> np.ndarray | None:
        """The polynomials of degree 1."""
        if self.degree < 1 or self.min_degree > 1:
            return None
        wanted = np.eye(self.num_variables, dtype=np.int64)
        return (self.degrees[None] == wanted[:, None]).all(axis=-1) / self.slope

    @property
    def constant(self) -> np.ndarray | None:
        """The polynomial of degree 0."""
        return None if self.min_degree else (self.degrees == 0).all(axis=1).astype(np.float64)

    @abstractmethod
    def _values(self, x: Array) -> list[Array]:
        """Values of each degree 0, ..., m, each of the shape of x."""

    @abstractmethod
    def _slopes(self, lower: list[Array]) -> list[Array]:
        """Derivatives of each degree from values, or second derivatives from first ones."""

    def _evaluate(self, x: Array) -> Array:
        factors = self._factors(self._values(x))
        product = factors[0]
        for factor in factors[1:]:
            product = product * factor
        return array_namespace(x).moveaxis(product, 0, -1)

    def _factors(self, values: list[Array]) -> list[Array]:
        """For each variable the factor of every function, (N, ...)."""
        xp = array_namespace(values[0])
        table = xp.stack(values, axis=0)
        return [
            xp.take(table[..., j], asarray_like(self.degrees[:, j], table), axis=0) for j in range(self.num_variables)
        ]

    def _differentiate(self, x: Array) -> Derivatives:
        xp = array_namespace(x)
        d = self.num_variables
        values = self._values(x)
        first = self._slopes(values)
        orders = [self._factors(table) for table in (values, first, self._slopes(first))]

        def product(*differentiated: int) -> Array:
            out = orders[differentiated.count(0)][0]
            for j in range(1, d):
                out = out * orders[differentiated.count(j)][j]
            return xp.moveaxis(out, 0, -1)

        gradient = xp.stack([product(i) for i in range(d)], axis=-1)
        rows = [xp.stack([product(min(i, j), max(i, j)) for j in range(d)], axis=-1) for i in range(d)]
        return Derivatives(gradient, xp.stack(rows, axis=-2))


@dataclass(frozen=True)
class Hermite(AbstractProducts):
    r"""Hermite polynomials :math:`He_k / \sqrt{k!}`, orthonormal under independent standard normal variables.

    For an Ornstein-Uhlenbeck process in its stationary units they are the eigenfunctions of the generator, with
    eigenvalues :math:`-k\theta`.
    """

    letter: ClassVar[str] = "He"
    slope: ClassVar[float] = 1.0

    def _values(self, x: Array) -> list[Array]:
        out = [array_namespace(x).ones_like(x), x]
        for k in range(1, self.degree):
            out.append((x * out[k] - k**0.5 * out[k - 1]) / (k + 1) ** 0.5)
        return out[: self.degree + 1]

    def _slopes(self, lower: list[Array]) -> list[Array]:
        zero = array_namespace(lower[0]).zeros_like(lower[0])
        return [zero, *(k**0.5 * lower[k - 1] for k in range(1, self.degree + 1))]


@dataclass(frozen=True)
class Legendre(AbstractProducts):
    r"""Legendre polynomials :math:`\sqrt{2k+1}\,P_k`, orthonormal under the uniform law on [-1, 1] of each variable."""

    letter: ClassVar[str] = "P"
    slope: ClassVar[float] = 3.0**0.5

    def _values(self, x: Array) -> list[Array]:
        out = [array_namespace(x).ones_like(x), x]
        for k in range(1, self.degree):
            out.append(((2 * k + 1) * x * out[k] - k * out[k - 1]) / (k + 1))
        return [(2 * k + 1) ** 0.5 * out[k] for k in range(self.degree + 1)]

    def _slopes(self, lower: list[Array]) -> list[Array]:
        # P'_{k+1} = P'_{k-1} + (2k+1) P_k, and the same once more differentiated, in normalised polynomials.
        zero = array_namespace(lower[0]).zeros_like(lower[0])
        out = [zero]
        for k in range(self.degree):
            before = out[k - 1] / (2 * k - 1) ** 0.5 if k else zero
            out.append((2 * k + 3) ** 0.5 * (before + (2 * k + 1) ** 0.5 * lower[k]))
        return out
