"""Waves on a torus."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat.errors import ArgumentError
from dynplat_koopman.dictionaries.base import AbstractDictionary, Derivatives
from dynplat_koopman.dictionaries.multi_index import Truncation, degrees_of


@dataclass(frozen=True, eq=False)
class Fourier(AbstractDictionary):
    r"""Waves :math:`e^{i k \cdot \theta}` of angles :math:`\theta_j = 2\pi x_j / \text{period}_j`.

    The complex ones are all of them; the real ones are 1 and, for one k out of each pair k, -k,
    :math:`\sqrt 2 \cos k\cdot\theta` and :math:`\sqrt 2 \sin k\cdot\theta`. Both are orthonormal under the uniform law,
    and waves themselves are the eigenfunctions of a rotation.

    Args:
        num_variables: Number of variables, d.
        order: Largest order.
        periods: Period of each variable, (d,), or one for all; by default the variables are angles.
        truncation: `tensor`, orders :math:`|k_j|` up to the largest in each variable; `total`, their sum.
        is_complex: Whether values are complex.

    Raises:
        ArgumentError: An order or a period is outside what it may be.
    """

    num_variables: int
    order: int
    periods: np.ndarray | float = 2.0 * np.pi
    truncation: Truncation = "tensor"
    is_complex: bool = False

    def __post_init__(self) -> None:
        """Check and freeze the periods."""
        if self.order < 0:
            raise ArgumentError(f"`order` must be at least 0; got {self.order}.")
        if np.shape(self.periods) not in ((), (self.num_variables,)):
            raise ArgumentError(
                f"`periods` must be one number or {self.num_variables}, one per variable; got {self.periods}."
            )
        periods = np.array(np.broadcast_to(np.asarray(self.periods, dtype=np.float64), (self.num_variables,)))
        if not (np.isfinite(periods).all() and (periods > 0).all()):
            raise ArgumentError(f"`periods` must be positive; got {self.periods}.")
        periods.setflags(write=False)
        object.__setattr__(self, "periods", periods)

    @property
    def orders(self) -> np.ndarray:
        """Wave numbers k, by their size: of each complex function (N, d), or of each real pair and 0 first."""
        return _orders(self.num_variables, self.order, self.truncation, self.is_complex)

    @property
    def num_functions(self) -> int:
        """Number of functions, N."""
        return len(self.orders) if self.is_complex else 2 * len(self.orders) - 1

    @property
    def names(self) -> tuple[str, ...]:
        """Texts such as `cos(2 x0 - x1)` or `exp i(x0)`, of the angles."""
        if self.is_complex:
            return tuple(f"exp i({_phase(k)})" if any(k) else "1" for k in self.orders.tolist())
        return ("1", *(f"{wave}({_phase(k)})" for k in self.orders[1:].tolist() for wave in ("cos", "sin")))

    @property
    def constant(self) -> np.ndarray | None:
        """The wave of order 0."""
        return np.eye(1, self.num_functions)[0]

    @property
    def _frequencies(self) -> np.ndarray:
        return 2.0 * np.pi * self.orders / self.periods

    def _waves(self, x: Array) -> tuple[Array, Array]:
        """Cosines and sines of the phases, (..., wave)."""
        xp = array_namespace(x)
        # Whole turns are taken off first, so that the phase of a high order keeps its digits.
        periods = asarray_like(np.asarray(self.periods), x)
        turns = x / periods
        turns = turns - xp.round(turns)
        phases = (2.0 * np.pi) * (turns @ asarray_like(np.ascontiguousarray(self.orders.T, dtype=np.float64), x))
        return xp.cos(phases), xp.sin(phases)

    def _evaluate(self, x: Array) -> Array:
        return self._arrange(*self._waves(x))

    def _arrange(self, cosines: Array, sines: Array) -> Array:
        """Functions (..., N) of what stands for the cosines and the sines of each wave."""
        xp = array_namespace(cosines)
        if self.is_complex:
            return cosines + 1j * sines
        both = xp.stack([cosines[..., 1:], sines[..., 1:]], axis=-1)
        both = 2.0**0.5 * xp.reshape(both, (*cosines.shape[:-1], 2 * (cosines.shape[-1] - 1)))
        return xp.concat([cosines[..., :1], both], axis=-1)

    def _differentiate(self, x: Array) -> Derivatives:
        xp = array_namespace(x)
        cosines, sines = self._waves(x)
        frequencies = self._frequencies
        d = self.num_variables

        def slope(j: int) -> Array:
            w = asarray_like(frequencies[:, j], x)
            return self._arrange(-w * sines, w * cosines)

        def curve(i: int, j: int) -> Array:
            w = asarray_like(frequencies[:, i] * frequencies[:, j], x)
            return self._arrange(-w * cosines, -w * sines)

        rows = [xp.stack([curve(i, j) for j in range(d)], axis=-1) for i in range(d)]
        return Derivatives(xp.stack([slope(j) for j in range(d)], axis=-1), xp.stack(rows, axis=-2))


@lru_cache(maxsize=64)
def _orders(num_variables: int, order: int, truncation: str, both_signs: bool) -> np.ndarray:
    rows = []
    for sizes in degrees_of(num_variables, order, truncation).tolist():
        signs = product(*((1, -1) if k else (1,) for k in sizes))
        signed = [tuple(s * k for s, k in zip(sign, sizes, strict=True)) for sign in signs]
        # Of k and -k the real waves need one: that whose first entry is positive.
        rows.extend(k for k in signed if both_signs or next((x for x in k if x), 1) > 0)
    found = np.array(rows, dtype=np.int64).reshape(-1, num_variables)
    found.setflags(write=False)
    return found


def _phase(order: list[int]) -> str:
    text = ""
    for j, k in enumerate(order):
        if k:
            size = "" if abs(k) == 1 else f"{abs(k)} "
            sign = "-" if k < 0 else ""
            text += (f" {sign or '+'} " if text else sign) + f"{size}x{j}"
    return text
