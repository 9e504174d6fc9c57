"""Layers as callable pytrees of JAX, for `pp.module` under NumPyro and for optimisers of JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from dynplat.errors import ArgumentError
from dynplat_deepssm.executors import flatten, run
from dynplat_deepssm.layer import AbstractLayer, Parameters


@jax.tree_util.register_pytree_with_keys_class
class JaxLayer:
    """A layer and its weights, whose names are those of the layer's dict with dots (as in `TorchLayer`).

    Args:
        layer: The layer.
        seed: Seed of the weights.
        dtype: Type of the weights, real.

    Raises:
        ArgumentError: The layer has no weights.
    """

    def __init__(self, layer: AbstractLayer, *, seed: int, dtype: Any = jnp.float32) -> None:
        self.layer = layer
        self.parameters: Parameters = jax.tree.map(lambda weight: jnp.asarray(weight, dtype), layer.init(seed))
        if not flatten(self.parameters):
            raise ArgumentError(f"{type(layer).__name__} has no weights to fit; call `run` with an empty dict instead.")

    def __call__(
        self,
        u: jax.Array,
        dt: jax.Array | None = None,
        *,
        mask: jax.Array | None = None,
        state: Any = None,
        mode: str = "auto",
        keep_state: bool = True,
    ) -> tuple[jax.Array, Any]:
        """Return `dynplat_deepssm.executors.run` of the layer."""
        return run(self.layer, self.parameters, u, dt, mask=mask, state=state, mode=mode, keep_state=keep_state)

    def tree_flatten_with_keys(self) -> tuple[tuple[tuple[Any, Any], ...], tuple[AbstractLayer, tuple[str, ...]]]:
        """Weights by name, and what does not change."""
        names = tuple(sorted(self.parameters))
        children = tuple((jax.tree_util.DictKey(name), self.parameters[name]) for name in names)
        return children, (self.layer, names)

    @classmethod
    def tree_unflatten(cls, fixed: tuple[AbstractLayer, tuple[str, ...]], children: Any) -> JaxLayer:
        """Put a layer together again."""
        layer, names = fixed
        made = object.__new__(cls)
        made.layer, made.parameters = layer, dict(zip(names, children, strict=True))
        return made
