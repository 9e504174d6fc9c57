"""Layers as modules of torch, for `pp.module` under Pyro, optimisers of torch and saved files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from dynplat.errors import ArgumentError
from dynplat_deepssm.executors import run
from dynplat_deepssm.layer import AbstractLayer


class _Weights(torch.nn.Module):
    """Nested weights as nested modules, so that names with dots are those of the dict."""

    def __init__(self, weights: Mapping[str, Any], dtype: torch.dtype) -> None:
        super().__init__()
        for name, value in weights.items():
            if isinstance(value, Mapping):
                self.add_module(name, _Weights(value, dtype))
            else:
                self.register_parameter(name, torch.nn.Parameter(torch.tensor(value, dtype=dtype)))

    def nested(self) -> dict[str, Any]:
        """The dict again, with the parameters of now."""
        found: dict[str, Any] = dict(self._parameters)
        for name, part in self._modules.items():
            if isinstance(part, _Weights):
                found[name] = part.nested()
        return found


class TorchLayer(_Weights):
    """A layer and its weights, whose names are those of the layer's dict with dots (as in `JaxLayer`).

    Args:
        layer: The layer.
        seed: Seed of the weights.
        dtype: Type of the weights, real.

    Raises:
        ArgumentError: The layer has no weights.
    """

    def __init__(self, layer: AbstractLayer, *, seed: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(layer.init(seed), dtype)
        if not list(self.parameters()):
            raise ArgumentError(f"{type(layer).__name__} has no weights to fit; call `run` with an empty dict instead.")
        self._law = layer

    def forward(
        self,
        u: torch.Tensor,
        dt: torch.Tensor | None = None,
        *,
        mask: torch.Tensor | None = None,
        state: Any = None,
        mode: str = "auto",
        keep_state: bool = True,
    ) -> tuple[torch.Tensor, Any]:
        """Return `dynplat_deepssm.executors.run` of the layer."""
        return run(self._law, self.nested(), u, dt, mask=mask, state=state, mode=mode, keep_state=keep_state)
