"""Products of elements in time, whatever the semigroup: `reduce`, `prefix`, `suffix`, and `fold` over raw steps.

Elements are records of arrays whose leading axis is time. Two drivers give the same result up to rounding:
`sequential`, and `balanced`, a tree of batched products. `fold` is the sequential form in which a state meets raw
steps; it needs no element. Compiled kernels stand in `dynplat.scan.kernels`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dynplat.errors import ArgumentError
from dynplat.scan import balanced, sequential, tree
from dynplat.scan.drivers import DRIVERS, check_driver, choose_driver, forced_driver, runs_compiled
from dynplat.scan.sequential import fold

__all__ = [
    "DRIVERS",
    "check_driver",
    "choose_driver",
    "fold",
    "forced_driver",
    "prefix",
    "reduce",
    "runs_compiled",
    "suffix",
]


def reduce(combine: Callable[[Any, Any], Any], elements: Any, *, driver: str = "balanced") -> Any:
    """Product of all elements in order.

    Args:
        combine: Associative function of two records, the earlier one first; broadcasts over leading axes.
        elements: Record of arrays with a leading time axis (length 1 where nothing changes in time).
        driver: `sequential` or `balanced`.

    Returns:
        A record without the time axis.
    """
    elements = _checked(elements, driver)
    if driver == "balanced":
        return balanced.reduce(combine, elements)
    return sequential.accumulate(combine, elements, keep=False)


def prefix(combine: Callable[[Any, Any], Any], elements: Any, *, driver: str = "balanced") -> Any:
    """Products of the first 1, 2, ..., T elements (arguments as for `reduce`)."""
    elements = _checked(elements, driver)
    if driver == "balanced":
        return balanced.prefix(combine, elements)
    return sequential.accumulate(combine, elements)


def suffix(combine: Callable[[Any, Any], Any], elements: Any, *, driver: str = "balanced") -> Any:
    """Products of rows t to the last, for every t (arguments as for `reduce`)."""
    elements = _checked(elements, driver)
    if driver == "balanced":
        return balanced.suffix(combine, elements)

    return balanced.flip(sequential.accumulate(balanced.backwards(combine), balanced.flip(elements)))


def _checked(elements: Any, driver: str) -> Any:
    size = tree.length(elements)
    if size == 0:
        raise ArgumentError("`elements` must have at least one row; got a time axis of length 0.")
    if check_driver(driver) in ("auto", "compiled"):
        raise ArgumentError("`driver` must be 'sequential' or 'balanced' here; resolve others with `choose_driver`.")
    return tree.stretch(elements, size)
