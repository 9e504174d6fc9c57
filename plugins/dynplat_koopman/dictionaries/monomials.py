"""Monomials up to a total degree."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from math import comb

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat.errors import ArgumentError
from dynplat_koopman.dictionaries.base import AbstractDictionary, Derivatives


@dataclass(frozen=True)
class Monomials(AbstractDictionary):
    r"""Monomials :math:`x_1^{k_1} \cdots x_d^{k_d}` with :math:`\ell \le k_1 + \dots + k_d \le m`.

    They stand by degree, and within a degree in the order :math:`x_0^2, x_0 x_1, x_1^2`. On a linear map their span
    is invariant: the operator's eigenvalues are products of powers of the map's.

    Args:
        num_variables: Number of variables, d.
        degree: Largest total degree, m.
        min_degree: Smallest total degree, l; 1 leaves the constant out.

    Raises:
        ArgumentError: There is no variable, or the degrees name no monomial.
    """

    num_variables: int
    degree: int
    min_degree: int = 0

    def __post_init__(self) -> None:
        """Refuse empty dictionaries."""
        if self.num_variables < 1:
            raise ArgumentError(f"`num_variables` must be at least 1; got {self.num_variables}.")
        if not 0 <= self.min_degree <= self.degree:
            raise ArgumentError(
                f"`degree` must be at least `min_degree`, and both at least 0; got degree={self.degree} and "
                f"min_degree={self.min_degree}."
            )

    @property
    def num_functions(self) -> int:
        """Number of functions, N."""
        return comb(self.num_variables + self.degree, self.degree) - self._first

    @property
    def names(self) -> tuple[str, ...]:
        """Texts such as `x0^2 x1`."""
        return tuple(product_name(powers, "x") for powers in self.exponents.tolist())

    @property
    def exponents(self) -> np.ndarray:
        """Powers of the variables in each function, (N, d)."""
        return _tables(self.num_variables, self.degree)[0][self._first :]

    @property
    def readout(self) -> np.ndarray | None:
        """The monomials of degree 1."""
        if self.min_degree > 1 or self.degree < 1:
            return None
        readout = np.zeros((self.num_variables, self.num_functions))
        first = 1 - self._first
        readout[:, first : first + self.num_variables] = np.eye(self.num_variables)
        return readout

    @property
    def constant(self) -> np.ndarray | None:
        """The monomial of degree 0."""
        return np.eye(1, self.num_functions)[0] if self.min_degree == 0 else None

    @property
    def _first(self) -> int:
        """Number of monomials below the smallest degree."""
        return comb(self.num_variables + self.min_degree - 1, self.num_variables) if self.min_degree else 0

    def _evaluate(self, x: Array) -> Array:
        return array_namespace(x).moveaxis(self._from_degree_0(x)[self._first :], 0, -1)

    def _from_degree_0(self, x: Array) -> Array:
        """All monomials up to the degree, (function, ...), each a lower one times a variable."""
        xp = array_namespace(x)
        d = self.num_variables
        variables = xp.moveaxis(x, -1, 0)
        # NumPy writes each product where it stays; other frameworks join new arrays.
        out = np.empty((comb(d + self.degree, d), *x.shape[:-1]), x.dtype) if isinstance(x, np.ndarray) else None
        lower, blocks, start = xp.ones_like(variables[:1]), [], 1
        if out is not None:
            out[0] = 1.0
        else:
            blocks.append(lower)
        for degree in range(1, self.degree + 1):
            # Those of the degree below without the variables before j are the last ones of their block.
            tails = [lower[lower.shape[0] - comb(d - j + degree - 2, degree - 1) :] for j in range(d)]
            if out is None:
                lower = xp.concat([variables[j : j + 1] * tails[j] for j in range(d)], axis=0)
                blocks.append(lower)
                continue
            begin = start
            for j in range(d):
                np.multiply(variables[j], tails[j], out=out[start : start + len(tails[j])])
                start += len(tails[j])
            lower = out[begin:start]
        return xp.concat(blocks, axis=0) if out is None else out

    def _differentiate(self, x: Array) -> Derivatives:
        xp = array_namespace(x)
        _, first, first_factor, second, second_factor = _tables(self.num_variables, self.degree)
        values = xp.moveaxis(self._from_degree_0(x), 0, -1)

        def gather(index: np.ndarray, factor: np.ndarray) -> Array:
            index, factor = index[self._first :], factor[self._first :]
            taken = xp.take(values, asarray_like(index.reshape(-1), x), axis=-1)
            return asarray_like(factor, x) * xp.reshape(taken, (*x.shape[:-1], *index.shape))

        return Derivatives(gather(first, first_factor), gather(second, second_factor))


@lru_cache(maxsize=64)
def _tables(num_variables: int, degree: int) -> tuple[np.ndarray, ...]:
    """Exponents, and which monomial times which factor each first and each second derivative is."""
    d = num_variables
    rows = []
    for total in range(degree + 1):
        for chosen in combinations_with_replacement(range(d), total):
            rows.append(np.bincount(chosen, minlength=d) if chosen else np.zeros(d, dtype=np.int64))
    exponents = np.array(rows, dtype=np.int64).reshape(-1, d)
    place = {tuple(row): index for index, row in enumerate(exponents.tolist())}
    first = np.zeros((len(rows), d), dtype=np.int64)
    first_factor = exponents.astype(np.float64)
    second = np.zeros((len(rows), d, d), dtype=np.int64)
    second_factor = np.zeros((len(rows), d, d))
    for n, powers in enumerate(exponents):
        for i in range(d):
            lower = powers - (np.arange(d) == i)
            if lower[i] < 0:
                continue
            first[n, i] = place[tuple(lower.tolist())]
            for j in range(d):
                lowest = lower - (np.arange(d) == j)
                if lowest[j] >= 0:
                    second[n, i, j] = place[tuple(lowest.tolist())]
                    second_factor[n, i, j] = powers[i] * lower[j]
    return exponents, first, first_factor, second, second_factor


def product_name(powers: list[int], letter: str) -> str:
    """Text of a product of powers, such as `x0^2 x1`; `1` for the empty one."""
    factors = [f"{letter}{j}" + (f"^{power}" if power > 1 else "") for j, power in enumerate(powers) if power]
    return " ".join(factors) or "1"
