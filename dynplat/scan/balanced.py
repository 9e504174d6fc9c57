"""Balanced driver: neighbouring elements meet in pairs, all pairs of a level at once.

A product of T elements takes about log2 T levels of batched operations, which is what a GPU, or a framework whose cost
is a price per call, wants. Written on the array API; prefix products have a form of their own under JAX.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from dynplat.arrays import array_namespace, is_jax_array
from dynplat.scan import tree

Combine = Callable[[Any, Any], Any]


def reduce(combine: Combine, elements: Any) -> Any:
    """Product of all elements in order, without the time axis."""
    size = tree.length(elements)
    while size > 1:
        pairs = combine(tree.rows(elements, 0, size - 1, 2), tree.rows(elements, 1, size, 2))
        elements = tree.concat(pairs, tree.rows(elements, size - 1, size)) if size % 2 else pairs
        size = (size + 1) // 2
    return tree.row(elements, 0)


def prefix(combine: Combine, elements: Any) -> Any:
    """Products of the first 1, 2, ..., T elements: 2 T products on 2 log2 T levels.

    Source: Blelloch (1990), Prefix sums and their applications, in the odd-even form: products of pairs, their prefix
    products, and one more product for each even row.
    """
    size = tree.length(elements)
    if size == 1:
        return elements
    if any(is_jax_array(leaf) for leaf in tree.leaves(elements)):
        from dynplat.scan.jax import prefix as prefix_in_jax

        return prefix_in_jax(combine, elements)
    pairs = combine(tree.rows(elements, 0, size - 1, 2), tree.rows(elements, 1, size, 2))
    odd = prefix(combine, pairs)
    first = tree.rows(elements, 0, 1)
    if size == 2:
        return tree.concat(first, odd)
    num_even = (size - 1) // 2
    even = combine(tree.map_arrays(lambda a: a[:num_even], odd), tree.rows(elements, 2, size, 2))
    return _interleave(tree.concat(first, even), odd)


def suffix(combine: Combine, elements: Any) -> Any:
    """Products of the last T, T - 1, ..., 1 elements: row t holds the product of rows t to the last."""
    return flip(prefix(backwards(combine), flip(elements)))


@lru_cache(maxsize=64)
def backwards(combine: Combine) -> Combine:
    """Return `combine` with its arguments in the other order; the same function each time it is asked for."""

    def turned(first: Any, second: Any) -> Any:
        return combine(second, first)

    return turned


def flip(elements: Any) -> Any:
    """Turn the time axis round."""
    return tree.map_arrays(lambda a: array_namespace(a).flip(a, axis=0), elements)


def _interleave(even: Any, odd: Any) -> Any:
    def weave(left: Any, right: Any) -> Any:
        xp = array_namespace(left, right)
        num = right.shape[0]
        shape = xp.broadcast_shapes(tuple(left.shape[1:]), tuple(right.shape[1:]))
        left = xp.broadcast_to(left, (left.shape[0], *shape))
        right = xp.broadcast_to(right, (num, *shape))
        woven = xp.reshape(xp.stack([left[:num], right], axis=1), (2 * num, *shape))
        return woven if left.shape[0] == num else xp.concat([woven, left[num:]], axis=0)

    return tree.map_arrays(weave, even, odd)
