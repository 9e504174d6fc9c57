"""Derivatives of functions that only a framework can differentiate."""

from __future__ import annotations

import sys
from collections.abc import Callable

from array_api_compat import is_jax_array, is_torch_array

from dynplat.arrays import Array, array_namespace
from dynplat.errors import CapabilityError
from dynplat_koopman.dictionaries.base import Derivatives


def differentiate(function: Callable[[Array], Array], x: Array, remedy: str) -> Derivatives:
    """First and second derivatives at points (..., d) of a function that maps a point (d,) to values (N,).

    Args:
        function: The function, written in torch or JAX.
        x: Points, tensors of torch or arrays of JAX.
        remedy: What can be done where the points are of NumPy, for the message.

    Raises:
        CapabilityError: The points are of NumPy, which differentiates nothing.
    """
    if is_torch_array(x):
        tools = sys.modules["torch"].func
    elif is_jax_array(x):
        tools = sys.modules["jax"]
    else:
        raise CapabilityError(
            f"NumPy cannot differentiate these functions; {remedy}, or evaluate them at tensors of torch or JAX."
        )
    xp = array_namespace(x)
    points = xp.reshape(x, (-1, x.shape[-1]))
    slope = tools.jacrev(function)
    gradient = tools.vmap(slope)(points)
    hessian = tools.vmap(tools.jacrev(slope))(points)
    lead = tuple(x.shape[:-1])
    return Derivatives(
        xp.reshape(gradient, (*lead, *gradient.shape[1:])), xp.reshape(hessian, (*lead, *hessian.shape[1:]))
    )
