"""Pyro (torch) as the language of a prior."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import pyro
import pyro.distributions
import torch

from dynplat.arrays import Array
from dynplat.errors import ArgumentError
from dynplat.inference.dialect import SERIES, AbstractDialect
from dynplat.precision import network_precision


class PyroLanguage(AbstractDialect):
    """The statements of a prior as Pyro's. See `AbstractDialect` for the arguments."""

    name = "pyro"
    xp = torch

    def module(self, name: str, network: Any) -> Callable[..., Any]:
        """Register a `torch.nn.Module` whose weights become sites `name.<path>`; the module itself is not changed.

        Returns:
            A function with the network's arguments that runs it with the weights of the fit.

        Raises:
            ArgumentError: The network is no torch module, or has no weights.
        """
        if not isinstance(network, torch.nn.Module):
            raise ArgumentError(
                f"`network` of `pp.module({name!r}, ...)` must be a torch.nn.Module under Pyro; "
                f"got {type(network).__name__}."
            )
        like = self.array(0.0)
        weights = {}
        for path, weight in network.named_parameters():
            site = self._claim(f"{name}.{path}")
            initial = weight.detach().to(dtype=like.dtype, device=like.device).clone()
            weights[path] = self._point_estimate(site, initial, None, tuple(initial.shape), local=False)
        if not weights:
            raise ArgumentError(f"`network` of `pp.module({name!r}, ...)` has no weights.")

        def call(*args: Any, **kwargs: Any) -> Any:
            with network_precision(like):
                return torch.func.functional_call(network, weights, args, kwargs)

        return call

    def bijection(self, support: Any) -> Any:
        """The transform from unconstrained values onto `support`."""
        return pyro.distributions.transforms.biject_to(support)

    def _distributions(self) -> Any:
        return pyro.distributions

    def _emit_sample(self, name: str, distribution: Any) -> Array:
        return pyro.sample(name, distribution)

    def _emit_param(self, name: str, initial: Array, constraint: Any, event_dim: int) -> Array:
        return pyro.param(name, initial.clone(), constraint=constraint, event_dim=event_dim)

    def _emit_deterministic(self, name: str, value: Array, event_dim: int) -> None:
        pyro.deterministic(name, value, event_dim=event_dim)

    def _emit_factor(self, name: str, log_factor: Array) -> None:
        pyro.factor(name, log_factor)

    @cached_property
    def _plate(self) -> Any:
        # One plate object for all blocks of a program: Pyro takes a second object of the same name for another plate.
        return pyro.plate(SERIES, self._num_series, dim=-1)

    def _series_plate(self) -> AbstractContextManager[Any]:
        return self._plate
