"""Compiled kernels as differentiable functions of torch tensors on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from dynplat.scan.kernels.kernel import Kernel

Twin = Callable[..., tuple[torch.Tensor, ...]]


def call(kernel: Kernel, twin: Twin, inputs: Sequence[torch.Tensor]) -> tuple[tuple[torch.Tensor, ...], Any]:
    """Run a kernel; gradients come from its own adjoint, second derivatives from its twin.

    Args:
        kernel: The kernel.
        twin: A differentiable function of the same inputs that gives the same values.
        inputs: Tensors on the CPU, laid out as the kernel wants them.

    Returns:
        Its values, and its last output on the host (what it tells of the run, by convention).
    """
    inputs = tuple(_plain(tensor) for tensor in inputs)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        report: list[Any] = []
        values = _Differentiable.apply(kernel, twin, report, *inputs)
        return values, report[0]
    outputs = kernel.run([tensor.detach().numpy() for tensor in inputs], keep=False)
    return tuple(torch.from_numpy(value) for value in outputs[: kernel.num_values]), outputs[-1]


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers in memory as they are read: in order, with no conjugation or sign that is still to be done."""
    return tensor.resolve_conj().resolve_neg().contiguous()


def differentiate_twin(
    twin: Twin, inputs: Sequence[torch.Tensor], needed: Sequence[bool], cotangents: Sequence[torch.Tensor]
) -> list[torch.Tensor | None]:
    """Gradients of a kernel's inputs that can be differentiated again; None where they are not needed, or zero."""
    places = [place for place in range(len(inputs)) if needed[place]]
    # One input may have been computed from another: only views of them keep the gradients apart.
    own = [tensor.view_as(tensor) for tensor in inputs]
    # A value may be a constant for differentiation.
    moving = [(v, c) for v, c in zip(twin(*own), cotangents, strict=True) if v.requires_grad]
    found = torch.autograd.grad(
        [value for value, _ in moving],
        [own[place] for place in places],
        [cotangent for _, cotangent in moving],
        create_graph=True,
        allow_unused=True,
    )
    gradients: list[torch.Tensor | None] = [None] * len(inputs)
    for place, gradient in zip(places, found, strict=True):
        gradients[place] = gradient
    return gradients


def stride(tensor: torch.Tensor, axis: int) -> int:
    """Step in memory along an axis, 0 along one of length 1, so that what is shared is read again."""
    return 0 if tensor.shape[axis] == 1 else tensor.stride(axis)


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernel: Kernel, twin: Twin, report: list[Any], *inputs: torch.Tensor) -> Any:
        arrays = [tensor.detach().numpy() for tensor in inputs]
        outputs = kernel.run(arrays, keep=True)
        report.append(outputs[-1])
        values = tuple(torch.from_numpy(value) for value in outputs[: kernel.num_values])
        # torch watches what it saved: values that somebody overwrites before they are needed again are an error.
        ctx.save_for_backward(*inputs, *values)
        ctx.kernel, ctx.twin, ctx.kept = kernel, twin, outputs[kernel.num_values :]
        ctx.set_materialize_grads(True)
        return values

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> Any:
        kernel = ctx.kernel
        inputs, values = ctx.saved_tensors[: len(kernel.inputs)], ctx.saved_tensors[len(kernel.inputs) :]
        needed = ctx.needs_input_grad[3:]
        gradients: list[torch.Tensor | None] = [None] * len(inputs)
        if torch.is_grad_enabled():  # somebody differentiates this gradient
            gradients = differentiate_twin(ctx.twin, inputs, needed, cotangents)
        else:
            places = list(kernel.differentiable)
            found = kernel.pull_back(
                [tensor.detach().numpy() for tensor in inputs],
                [*(value.detach().numpy() for value in values), *ctx.kept],
                [_plain(cotangent).numpy() for cotangent in cotangents],
                [needed[place] for place in places],
            )
            for place, gradient in zip(places, found, strict=True):
                gradients[place] = None if gradient is None else torch.from_numpy(gradient)
        return (None, None, None, *gradients)
