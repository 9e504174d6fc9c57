"""Sequential driver for JAX: `lax.scan`, compiled once per function and shapes."""

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


def choose(condition: Any, when_true: Any, when_false: Any, operand: Any) -> Any:
    """Run one of two functions of `operand` by a condition that may be traced."""
    return jax.lax.cond(condition, when_true, when_false, operand)
