"""Calls of kernels on arrays of any framework, with any leading axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from dynplat.arrays import Array, array_namespace, is_jax_array, is_torch_array
from dynplat.scan.kernels.kernel import Kernel


def call_kernel(kernel: Kernel, twin: Any, inputs: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
    """Values of a kernel in the framework of its inputs, and its last output (see `scan.kernels.torch.call`)."""
    if is_torch_array(inputs[0]):
        from dynplat.scan.kernels.torch import call
    elif is_jax_array(inputs[0]):
        from dynplat.scan.kernels.jax import call
    else:
        outputs = kernel.run(inputs, keep=False)
        return outputs[: kernel.num_values], outputs[-1]
    return call(kernel, twin, inputs)


def grouped(
    arrays: Sequence[Array], cores: Sequence[int], lead: tuple[int, ...] | None = None
) -> tuple[tuple[int, ...], list[Array]]:
    """Merge the leading axes of arrays into one, of length 1 where an array does not change along any of them.

    Args:
        arrays: Arrays whose leading axes broadcast.
        cores: Number of core dimensions of each.
        lead: Their leading axes, broadcast, where known.

    Returns:
        The leading axes, and arrays (group, core dimensions): what compiled kernels read.
    """
    if lead is None:
        shapes = [tuple(a.shape[: a.ndim - core]) for a, core in zip(arrays, cores, strict=True)]
        lead = tuple(int(size) for size in np.broadcast_shapes(*shapes))
    merged = []
    for array, core in zip(arrays, cores, strict=True):
        own = tuple(array.shape[array.ndim - core :])
        if prod(array.shape[: array.ndim - core]) != 1:
            array = array_namespace(array).broadcast_to(array, (*lead, *own))
            merged.append(array_namespace(array).reshape(array, (prod(lead), *own)))
        else:
            merged.append(array_namespace(array).reshape(array, (1, *own)))
    return lead, merged
