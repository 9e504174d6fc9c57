"""NumPyro (JAX) as the language of a prior."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import numpyro
import numpyro.distributions

from dynplat.arrays import Array
from dynplat.errors import ArgumentError
from dynplat.inference.dialect import SERIES, AbstractDialect


class NumpyroLanguage(AbstractDialect):
    """The statements of a prior as NumPyro's. See `AbstractDialect` for the arguments."""

    name = "numpyro"
    xp = jax.numpy

    def module(self, name: str, network: Any) -> Callable[..., Any]:
        """Register a network whose floating-point arrays become sites `name.<path>`, and return it with their values.

        Args:
            name: Prefix of the weights' names.
            network: A callable pytree (an Equinox module is one), or a Flax NNX module. A Flax Linen module holds no
                weights before it has seen an input: use NNX.

        Raises:
            ArgumentError: The network holds no weights.
        """
        leaves, rebuild = _leaves(network)
        weights = [index for index, (_, leaf) in enumerate(leaves) if hasattr(leaf, "dtype") and leaf.dtype.kind == "f"]
        if not weights or not callable(network):
            raise ArgumentError(
                f"`network` of `pp.module({name!r}, ...)` must be a callable pytree of JAX arrays (such as an Equinox "
                f"module) or a Flax NNX module; got {type(network).__name__}, in which no weights were found."
            )
        values = [leaf for _, leaf in leaves]
        for index in weights:
            path, leaf = leaves[index]
            site = self._claim(f"{name}.{path}")
            leaf = jax.numpy.asarray(leaf, dtype=self.array(0.0).dtype)
            values[index] = self._point_estimate(site, leaf, None, tuple(leaf.shape), local=False)
        return rebuild(values)

    def bijection(self, support: Any) -> Any:
        """The transform from unconstrained values onto `support`."""
        return numpyro.distributions.biject_to(support)

    def _distributions(self) -> Any:
        return numpyro.distributions

    def _emit_sample(self, name: str, distribution: Any) -> Array:
        return numpyro.sample(name, distribution)

    def _emit_param(self, name: str, initial: Array, constraint: Any, event_dim: int) -> Array:
        return numpyro.param(name, initial, constraint=constraint, event_dim=event_dim)

    def _emit_deterministic(self, name: str, value: Array, event_dim: int) -> None:
        numpyro.deterministic(name, value)

    def _emit_factor(self, name: str, log_factor: Array) -> None:
        numpyro.factor(name, log_factor)

    def _series_plate(self) -> AbstractContextManager[Any]:
        return numpyro.plate(SERIES, self._num_series, dim=-1)


def _leaves(network: Any) -> tuple[list[tuple[str, Any]], Callable[[list[Any]], Any]]:
    if any(base.__module__.startswith("flax.nnx") for base in type(network).__mro__):
        from flax import nnx  # pyright: ignore[reportMissingImports]

        definition, tree = nnx.split(network)
    else:
        definition, tree = None, network
    flat, structure = jax.tree_util.tree_flatten_with_path(tree)
    named = [(jax.tree_util.keystr(path, simple=True, separator="."), leaf) for path, leaf in flat]

    def rebuild(values: list[Any]) -> Any:
        filled = jax.tree_util.tree_unflatten(structure, values)
        return filled if definition is None else nnx.merge(definition, filled)

    return named, rebuild
