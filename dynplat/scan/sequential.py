"""Sequential driver: a state meets the raw steps one after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from dynplat.arrays import is_jax_array
from dynplat.errors import ArgumentError
from dynplat.scan import tree


def fold(
    act: Callable[[Any, Any], tuple[Any, Any]], state: Any, steps: Any, *, reverse: bool = False
) -> tuple[Any, Any]:
    """Let a state meet raw steps in order and keep what each meeting gives.

    Args:
        act: Function `(state, step) -> (state, kept)`. Under JAX it must be a function of a module (not a closure), so
            that its compiled form is found again, and must keep the shapes of the state.
        state: Record of arrays.
        steps: Record of arrays with a leading time axis, of length 1 where nothing changes in time.
        reverse: Whether to begin at the last step.

    Returns:
        The last state, and what was kept with a leading time axis (in the order of the steps).

    Raises:
        ArgumentError: There is no step.
    """
    size = tree.length(steps)
    if size == 0:
        raise ArgumentError("`steps` must have at least one row; got a time axis of length 0.")
    if any(is_jax_array(leaf) for leaf in tree.leaves((state, steps))):
        from dynplat.scan.jax import fold as fold_in_jax

        return fold_in_jax(act, state, steps, reverse=reverse)
    kept = []
    for index in range(size - 1, -1, -1) if reverse else range(size):
        state, out = act(state, tree.row(steps, index))
        kept.append(out)
    if reverse:
        kept.reverse()
    return state, tree.stack(kept)


def accumulate(combine: Callable[[Any, Any], Any], elements: Any, *, keep: bool = True) -> Any:
    """Products of the first 1, 2, ..., T elements, one after the other; with `keep` False only the last of them."""
    size = tree.length(elements)
    product = tree.row(elements, 0)
    if size == 1:
        return tree.add_time(product) if keep else product
    last, products = fold(_meeting(combine, keep), product, tree.rows(elements, 1, size))
    return tree.concat(tree.add_time(product), products) if keep else last


@lru_cache(maxsize=64)
def _meeting(combine: Callable[[Any, Any], Any], keep: bool) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Return the act in which a product meets the next element; the same function each time it is asked for."""

    def act(product: Any, element: Any) -> tuple[Any, Any]:
        product = combine(product, element)
        return product, product if keep else None

    return act
