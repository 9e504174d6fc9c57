"""Calls of kernels on arrays of any framework."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dynplat.arrays import Array, is_jax_array, is_torch_array
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
