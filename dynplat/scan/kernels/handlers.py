"""Kernels as functions for XLA."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from dynplat.scan.kernels.compiling import handler
from dynplat.scan.kernels.frame import answers_metadata, arguments, results
from dynplat.scan.kernels.kernel import Kernel


@lru_cache(maxsize=64)
def handlers_of(kernel: Kernel, number: Any) -> tuple[Any, Any]:
    """A kernel and its adjoint as functions for XLA, for numbers of a dtype."""
    forward, backward = kernel.forward, kernel.backward
    forward_reads, forward_writes = kernel.forward_types(number)
    backward_reads, backward_writes = kernel.backward_types(number)

    def call_forward(frame: int) -> int:
        if not answers_metadata(frame):
            forward(*(arguments(frame, forward_reads) + results(frame, forward_writes)))
        return 0

    def call_backward(frame: int) -> int:
        if not answers_metadata(frame):
            backward(*(arguments(frame, backward_reads) + results(frame, backward_writes)))
        return 0

    name = f"{kernel.name} {number}"
    return handler(call_forward, name), handler(call_backward, name)
