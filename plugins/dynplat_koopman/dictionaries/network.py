"""A neural network of torch as a dictionary."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import is_jax_array, is_torch_array

from dynplat.arrays import Array, array_namespace, asarray_like, to_numpy
from dynplat.errors import ArgumentError, CapabilityError
from dynplat_koopman.dictionaries.autodiff import differentiate
from dynplat_koopman.dictionaries.base import AbstractDictionary, Derivatives


@dataclass(frozen=True, eq=False)
class Network(AbstractDictionary):
    """The outputs of a network of torch, with the constant and the state beside them (Li et al. 2017).

    The constant and the state keep the operator from the trivial answer, a network that gives 0, and make the state
    readable. The network's parameters are the caller's: this object only calls it. NumPy arrays are evaluated without a
    gradient, in the network's own dtype and on its device.

    Args:
        network: A `torch.nn.Module`, or a function of tensors, from points (..., d) to (..., n).
        num_variables: Number of variables, d.
        num_outputs: Number of outputs, n.
        with_state: Whether the constant and the state are among the functions: N = n + 1 + d, else N = n.
    """

    network: Any
    num_variables: int
    num_outputs: int
    with_state: bool = True

    @property
    def num_functions(self) -> int:
        """Number of functions, N."""
        return self.num_outputs + self._before

    @property
    def names(self) -> tuple[str, ...]:
        """Texts such as `x0` and `output 3`."""
        before = ("1", *(f"x{j}" for j in range(self.num_variables))) if self.with_state else ()
        return (*before, *(f"output {n}" for n in range(self.num_outputs)))

    @property
    def readout(self) -> np.ndarray | None:
        """The state, where it is among the functions."""
        return np.eye(self.num_variables, self.num_functions, 1) if self.with_state else None

    @property
    def constant(self) -> np.ndarray | None:
        """The constant, where it is among the functions."""
        return np.eye(1, self.num_functions)[0] if self.with_state else None

    @property
    def _before(self) -> int:
        return 1 + self.num_variables if self.with_state else 0

    def _evaluate(self, x: Array) -> Array:
        if is_torch_array(x):
            return self._in_torch(x)
        torch = _torch_for(x)
        with torch.no_grad():
            return asarray_like(to_numpy(self._in_torch(torch.tensor(x, **self._kind()))), x).astype(x.dtype)

    def _in_torch(self, x: Array) -> Array:
        outputs = self.network(x)
        if tuple(outputs.shape) != (*x.shape[:-1], self.num_outputs):
            raise ArgumentError(
                f"`network` must give {self.num_outputs} outputs for points (..., {self.num_variables}); got shape "
                f"{tuple(outputs.shape)} for {tuple(x.shape)}."
            )
        if not self.with_state:
            return outputs
        xp = array_namespace(x)
        return xp.concat([xp.ones_like(x[..., :1]), x, outputs], axis=-1)

    def _kind(self) -> dict[str, Any]:
        """Dtype and device of the network's parameters; float64 on the CPU for a network without any."""
        first = next(self.network.parameters(), None) if hasattr(self.network, "parameters") else None
        if first is None:
            return {"dtype": sys.modules["torch"].float64}
        return {"dtype": first.dtype, "device": first.device}

    def _differentiate(self, x: Array) -> Derivatives:
        if is_torch_array(x):
            return differentiate(self._in_torch, x, "")
        torch = _torch_for(x)
        with torch.no_grad():
            found = differentiate(self._in_torch, torch.tensor(x, **self._kind()), "")
        return Derivatives(*(to_numpy(part).astype(x.dtype) for part in found))


def _torch_for(x: Array) -> Any:
    if is_jax_array(x):
        raise CapabilityError(
            "a network of torch cannot be evaluated at arrays of JAX; give tensors of torch or NumPy arrays."
        )
    import torch

    return torch
