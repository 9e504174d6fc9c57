"""Drivers for JAX: `lax.scan` over rows, and over the levels of a balanced scan; each compiles its body once.

A tree whose levels are written out (as `lax.associative_scan` does) compiles `combine` once per level: for products of
Gaussian elements and their gradient that took 15 to 120 s at T = 100. Here all levels have one shape, so that the
body is compiled once; the price is T log2 T products instead of 2 T, on half as many levels.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax

from dynplat.scan import tree


@partial(jax.jit, static_argnames=("act", "reverse"))
def fold(act: Any, state: Any, steps: Any, *, reverse: bool) -> tuple[Any, Any]:
    """Let a state meet the raw steps in order; only what changes in time is sliced."""
    size = tree.length(steps)
    leaves, structure = jax.tree.flatten(steps)
    moving = [leaf for leaf in leaves if leaf.shape[0] == size]
    fixed = [None if leaf.shape[0] == size else leaf[0] for leaf in leaves]

    def body(carry: Any, slices: list[Any]) -> tuple[Any, Any]:
        fresh = iter(slices)
        step = jax.tree.unflatten(structure, [next(fresh) if leaf is None else leaf for leaf in fixed])
        return act(carry, step)

    return jax.lax.scan(body, state, moving, reverse=reverse)


@partial(jax.jit, static_argnames=("combine",))
def prefix(combine: Any, elements: Any) -> Any:
    """Products of the first 1, 2, ..., T elements.

    After level k a row holds the product of the 2^k rows up to it, so the next level joins it with the row 2^k before.
    Source: Hillis and Steele (1986), Data parallel algorithms, Communications of the ACM 29.
    """
    size = tree.length(elements)
    index = jax.numpy.arange(size)

    def level(products: Any, shift: Any) -> tuple[Any, None]:
        earlier = jax.tree.map(lambda a: jax.numpy.roll(a, shift, axis=0), products)
        joined = combine(earlier, products)
        whole = index < shift

        def keep(new: Any, old: Any) -> Any:
            return jax.numpy.where(whole.reshape((-1,) + (1,) * (old.ndim - 1)), old, new)

        return jax.tree.map(keep, joined, products), None

    shifts = 2 ** jax.numpy.arange(max(size - 1, 1).bit_length() if size > 1 else 0)
    return jax.lax.scan(level, elements, shifts)[0]


def choose(condition: Any, when_true: Any, when_false: Any, operand: Any) -> Any:
    """Run one of two functions of `operand` by a condition that may be traced."""
    return jax.lax.cond(condition, when_true, when_false, operand)
