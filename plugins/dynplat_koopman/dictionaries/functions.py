"""The user's own functions as a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dynplat.arrays import Array, array_namespace
from dynplat.errors import ArgumentError
from dynplat_koopman.dictionaries.autodiff import differentiate
from dynplat_koopman.dictionaries.base import AbstractDictionary, Derivatives


@dataclass(frozen=True, eq=False)
class FromFunctions(AbstractDictionary):
    """The user's own functions.

    Args:
        functions: Functions of points (..., d) that give (...,). Those that only use operators and the array API serve
            NumPy, torch and JAX alike, and have derivatives under torch and JAX by automatic differentiation.
        num_variables: Number of variables, d.
        function_names: A text for each; by default the names of the Python functions.
        gradients: Functions of points that give first derivatives (..., d), one for each function, or None.
        hessians: Functions of points that give second derivatives (..., d, d), or None.

    Raises:
        ArgumentError: There is no function, or numbers of functions differ.
    """

    functions: tuple[Callable[[Array], Array], ...]
    num_variables: int
    function_names: tuple[str, ...] | None = None
    gradients: tuple[Callable[[Array], Array], ...] | None = None
    hessians: tuple[Callable[[Array], Array], ...] | None = None

    def __post_init__(self) -> None:
        """Count the functions."""
        if not len(self.functions):
            raise ArgumentError("`functions` must hold at least one function.")
        for name in ("function_names", "gradients", "hessians"):
            given: Sequence | None = getattr(self, name)
            if given is not None and len(given) != len(self.functions):
                raise ArgumentError(
                    f"`{name}` must have one entry for each of the {len(self.functions)} functions; got {len(given)}."
                )

    @property
    def num_functions(self) -> int:
        """Number of functions, N."""
        return len(self.functions)

    @property
    def names(self) -> tuple[str, ...]:
        """As given, or the Python names; functions without a name of their own are numbered."""
        if self.function_names is not None:
            return tuple(self.function_names)
        found = [getattr(function, "__name__", "<lambda>") for function in self.functions]
        return tuple(
            f"function {n}" if name == "<lambda>" or found.count(name) > 1 else name for n, name in enumerate(found)
        )

    def _evaluate(self, x: Array) -> Array:
        values = [function(x) for function in self.functions]
        for name, value in zip(self.names, values, strict=True):
            if tuple(value.shape) != tuple(x.shape[:-1]):
                raise ArgumentError(
                    f"the function {name!r} must give shape {tuple(x.shape[:-1])} for points {tuple(x.shape)}; got "
                    f"{tuple(value.shape)}."
                )
        return array_namespace(x).stack(values, axis=-1)

    def _differentiate(self, x: Array) -> Derivatives:
        if self.gradients is None or self.hessians is None:
            return differentiate(self._evaluate, x, "give `gradients` and `hessians`")
        xp = array_namespace(x)
        return Derivatives(
            xp.stack([gradient(x) for gradient in self.gradients], axis=-2),
            xp.stack([hessian(x) for hessian in self.hessians], axis=-3),
        )
