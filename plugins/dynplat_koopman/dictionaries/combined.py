"""Dictionaries made of others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
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


@dataclass(frozen=True, eq=False)
class Union(AbstractDictionary):
    """The functions of several dictionaries of the same state, one after the other.

    Args:
        parts: The dictionaries.

    Raises:
        ArgumentError: There is none, their states differ, or two of them hold the constant function.
    """

    parts: tuple[AbstractDictionary, ...]

    def __post_init__(self) -> None:
        """Refuse parts that do not go together."""
        object.__setattr__(self, "parts", tuple(self.parts))
        if not self.parts:
            raise ArgumentError("`parts` must hold at least one dictionary.")
        variables = [part.num_variables for part in self.parts]
        if len(set(variables)) > 1:
            raise ArgumentError(f"`parts` must be dictionaries of the same state; got {variables} variables.")
        if sum(part.constant is not None for part in self.parts) > 1:
            raise ArgumentError(
                "`parts` hold the constant function more than once, which makes every Gram matrix singular; leave it "
                "out of all but one (`min_degree=1`)."
            )

    @property
    def num_variables(self) -> int:
        """Number of variables, d."""
        return self.parts[0].num_variables

    @property
    def num_functions(self) -> int:
        """Number of functions, N."""
        return sum(part.num_functions for part in self.parts)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all functions."""
        return tuple(name for part in self.parts for name in part.names)

    @property
    def is_complex(self) -> bool:
        """Whether values are complex."""
        return any(part.is_complex for part in self.parts)

    @property
    def readout(self) -> np.ndarray | None:
        """That of the first part which holds the state; one that needs another part's constant is found too."""
        constant = self.constant
        for part, start in zip(self.parts, self._starts, strict=True):
            if isinstance(part, Scaled) and part.readout is None and constant is not None:
                inner = part.inner.readout
                if inner is not None:
                    return self._padded(part.scale[:, None] * inner, start) + part.location[:, None] * constant
            elif part.readout is not None:
                return self._padded(part.readout, start)
        return None

    @property
    def constant(self) -> np.ndarray | None:
        """That of the part which holds it."""
        for part, start in zip(self.parts, self._starts, strict=True):
            if part.constant is not None:
                return self._padded(part.constant, start)
        return None

    @property
    def _starts(self) -> np.ndarray:
        return np.cumsum([0, *(part.num_functions for part in self.parts[:-1])])

    def _padded(self, coefficients: np.ndarray, start: int) -> np.ndarray:
        out = np.zeros((*coefficients.shape[:-1], self.num_functions))
        out[..., start : start + coefficients.shape[-1]] = coefficients
        return out

    def _evaluate(self, x: Array) -> Array:
        return _joined([part(x) for part in self.parts], axis=-1)

    def _differentiate(self, x: Array) -> Derivatives:
        found = [part.derivatives(x) for part in self.parts]
        return Derivatives(
            _joined([one.gradient for one in found], axis=-2), _joined([one.hessian for one in found], axis=-3)
        )


@dataclass(frozen=True, eq=False)
class Product(AbstractDictionary):
    """All products of a function of some variables and a function of the others, such as of an angle and a speed.

    Args:
        first: Dictionary of the variables that stand first.
        second: Dictionary of the variables after them.
    """

    first: AbstractDictionary
    second: AbstractDictionary

    @property
    def num_variables(self) -> int:
        """Number of variables, d."""
        return self.first.num_variables + self.second.num_variables

    @property
    def num_functions(self) -> int:
        """Number of functions, N."""
        return self.first.num_functions * self.second.num_functions

    @property
    def names(self) -> tuple[str, ...]:
        """Names of both, the variables of the second counted from 0 as in itself."""
        return tuple(f"[{a}] [{b}]" for a in self.first.names for b in self.second.names)

    @property
    def is_complex(self) -> bool:
        """Whether values are complex."""
        return self.first.is_complex or self.second.is_complex

    @property
    def readout(self) -> np.ndarray | None:
        """Where both hold their variables and the constant."""
        first, second = self.first, self.second
        if first.readout is None or second.readout is None or first.constant is None or second.constant is None:
            return None
        ours = first.readout[:, :, None] * second.constant
        theirs = first.constant[:, None] * second.readout[:, None, :]
        return np.concatenate([ours, theirs]).reshape(self.num_variables, -1)

    @property
    def constant(self) -> np.ndarray | None:
        """Where both hold it."""
        if self.first.constant is None or self.second.constant is None:
            return None
        return np.outer(self.first.constant, self.second.constant).reshape(-1)

    def _evaluate(self, x: Array) -> Array:
        split = self.first.num_variables
        a, b = self.first(x[..., :split]), self.second(x[..., split:])
        return array_namespace(x).reshape(a[..., :, None] * b[..., None, :], (*x.shape[:-1], self.num_functions))

    def _differentiate(self, x: Array) -> Derivatives:
        xp = array_namespace(x)
        split, d, lead = self.first.num_variables, self.num_variables, tuple(x.shape[:-1])
        mine, others = x[..., :split], x[..., split:]
        a, b = self.first(mine), self.second(others)
        (da, dda), (db, ddb) = self.first.derivatives(mine), self.second.derivatives(others)
        ours = da[..., :, None, :] * b[..., None, :, None]
        theirs = a[..., :, None, None] * db[..., None, :, :]
        gradient = xp.reshape(xp.concat([ours, theirs], axis=-1), (*lead, self.num_functions, d))
        mixed = da[..., :, None, :, None] * db[..., None, :, None, :]
        upper = xp.concat([dda[..., :, None, :, :] * b[..., None, :, None, None], mixed], axis=-1)
        lower = xp.concat([xp.matrix_transpose(mixed), a[..., :, None, None, None] * ddb[..., None, :, :, :]], axis=-1)
        hessian = xp.reshape(xp.concat([upper, lower], axis=-2), (*lead, self.num_functions, d, d))
        return Derivatives(gradient, hessian)


def _joined(parts: list[Array], *, axis: int) -> Array:
    """Arrays in a row; real ones become complex beside complex ones."""
    xp = array_namespace(*parts)
    kind = xp.result_type(*parts)
    return xp.concat([xp.astype(part, kind) for part in parts], axis=axis)
