r"""The hidden Markov filter of many series on a GPU, with its adjoint (mathematics and layout: `hidden_markov`).

A program owns one series and keeps its law, padded to a power of two, and a transition that does not change with time
in registers. It works with logarithms of probabilities in the numbers that it is given, K^2 exponentials a row, so that
nothing is too small to hold; the adjoint goes through the weights p(x_{t-1} = i | x_t = j, y_<t), none of which exceeds
1. A program walks along time, row after row: that pays where there are series enough to fill a GPU. Elsewhere a
balanced scan takes over, which forms products of K^3 terms.

From the first impossible row on the terms are -inf, with gradient 0.

Its results are checked in Triton's interpreter on a CPU (`TRITON_INTERPRET=1`), and it is compiled for GPUs without one
at hand; it has not been run on a GPU yet, and the bounds from which on it is chosen were not measured.
"""

# Triton reads functions as a language of its own, which Python's types don't describe.
# pyright: reportArgumentType=false, reportAssignmentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl

from dynplat.scan.kernels.torch import differentiate_twin, stride


@triton.jit
def _log_sum_exp(values, axis: tl.constexpr):
    """Logarithm of a sum of exponentials; of nothing it is -inf."""
    largest = tl.max(values, axis=axis)
    largest = tl.where(largest == float("-inf"), 0.0, largest)
    total = tl.sum(tl.exp(values - tl.expand_dims(largest, axis)), axis=axis)
    return tl.where(total == 0.0, float("-inf"), tl.log(tl.where(total == 0.0, 1.0, total)) + largest)


@triton.jit
def _forward(
    log_initial, log_transition, log_density, log_prob, predicted, filtered,
    num_rows, num_states, initial_group, a_group, a_row, density_group,
    KEEP: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(0).to(tl.int64)
    states = tl.arange(0, STATES)
    inside = states < num_states
    nothing = float("-inf")
    places = states[:, None] * num_states + states[None, :]
    both = inside[:, None] & inside[None, :]
    at_matrix = log_transition + group * a_group + places
    at_density = log_density + group * density_group + states
    kept = group * num_rows * num_states + states
    A = tl.load(at_matrix, mask=both, other=nothing)
    forecast = tl.load(log_initial + group * initial_group + states, mask=inside, other=nothing)
    for t in range(0, num_rows):
        row = tl.cast(t, tl.int64)
        joint = forecast + tl.load(at_density + row * num_states, mask=inside, other=nothing)
        step = _log_sum_exp(joint[None, :], 1)
        law = joint - tl.where(step == nothing, 0.0, step)
        tl.store(log_prob + group * num_rows + row + tl.zeros_like(step).to(tl.int64), step)
        if KEEP:
            tl.store(predicted + kept + row * num_states, forecast, mask=inside)
            tl.store(filtered + kept + row * num_states, law, mask=inside)
        if t + 1 < num_rows:
            A = tl.load(at_matrix + (row + 1) * a_row, mask=both, other=nothing)
            forecast = _log_sum_exp(law[:, None] + A, 0)


@triton.jit
def _backward(
    log_transition, log_prob, predicted, filtered, cotangent, d_initial, d_transition, d_density,
    num_rows, num_states, a_group, a_row, d_group, d_row,
    OF_TRANSITION: tl.constexpr, OF_DENSITY: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(0).to(tl.int64)
    states = tl.arange(0, STATES)
    inside = states < num_states
    nothing = float("-inf")
    places = states[:, None] * num_states + states[None, :]
    both = inside[:, None] & inside[None, :]
    at_matrix = log_transition + group * a_group + places
    kept = group * num_rows * num_states + states
    # The adjoint of the logarithm of the joint law of state and observation.
    mass = tl.zeros_like(tl.load(filtered + kept, mask=inside, other=0.0))
    later = tl.sum(mass, axis=0)
    summed = tl.zeros_like(tl.load(at_matrix, mask=both, other=0.0))
    for step in range(0, num_rows):
        row = num_rows - 1 - tl.cast(step, tl.int64)
        possible = tl.load(log_prob + group * num_rows + row) != nothing
        now = tl.where(possible, tl.load(cotangent + group * num_rows + row), 0.0)
        law = tl.load(filtered + kept + row * num_states, mask=inside, other=nothing)
        # Where a row is impossible, so are all after it: nothing has been added yet.
        mass += tl.where(law == nothing, 0.0, tl.exp(law) * (now - later))
        later = now
        if OF_DENSITY:
            tl.store(d_density + kept + row * num_states, mass, mask=inside)
        if row > 0:
            A = tl.load(at_matrix + row * a_row, mask=both, other=nothing)
            forecast = tl.load(predicted + kept + row * num_states, mask=inside, other=nothing)
            before = tl.load(filtered + kept + (row - 1) * num_states, mask=inside, other=nothing)
            reached = forecast != nothing
            # p(x_{t-1} = i | x_t = j, y_<t), 0 where x_t = j cannot be.
            weight = before[:, None] + A - tl.where(reached, forecast, 0.0)[None, :]
            part = tl.where(reached[None, :], tl.exp(weight) * mass[None, :], 0.0)
            if OF_TRANSITION == 1:
                summed += part
            if OF_TRANSITION == 2:
                tl.atomic_add(d_transition + group * d_group + row * d_row + places, part, mask=both)
            mass = tl.sum(part, axis=1)
    tl.store(d_initial + group * num_states + states, mass, mask=inside)
    if OF_TRANSITION == 1:
        tl.store(d_transition + group * num_states * num_states + places, summed, mask=both)


def log_prob_steps(
    log_initial: torch.Tensor,
    log_transition: torch.Tensor,
    log_density: torch.Tensor,
    *,
    twin: Callable[..., tuple[torch.Tensor, ...]],
) -> torch.Tensor:
    """Terms log p(y_t | y_<t) of all groups, (G, T); second derivatives come from the twin, as for kernels of the CPU.

    Args:
        log_initial: (G or 1, K).
        log_transition: (G or 1, T or 1, K, K).
        log_density: (G or 1, T, K).
        twin: A differentiable function of the same arrays that gives the same terms.
    """
    inputs = (tensor.contiguous() for tensor in (log_initial, log_transition, log_density))
    return _Differentiable.apply(twin, *inputs)


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, twin: Any, *inputs: torch.Tensor) -> torch.Tensor:
        log_initial, log_transition, log_density = inputs
        groups = max(len(tensor) for tensor in inputs)
        rows, K = log_density.shape[1:]
        keep = any(ctx.needs_input_grad)
        log_prob = log_density.new_empty((groups, rows))
        predicted, filtered = (log_density.new_empty((groups, rows, K) if keep else (0, 0, 0)) for _ in range(2))
        with torch.cuda.device_of(log_prob):
            _forward[(groups,)](
                *inputs, log_prob, predicted, filtered, rows, K,
                stride(log_initial, 0), stride(log_transition, 0), stride(log_transition, 1), stride(log_density, 0),
                KEEP=keep, **_tile(K),
            )  # fmt: skip
        ctx.save_for_backward(*inputs, log_prob, predicted, filtered)
        ctx.twin = twin
        return log_prob

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> Any:
        *inputs, log_prob, predicted, filtered = ctx.saved_tensors
        wanted = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():  # somebody differentiates this gradient
            return (None, *differentiate_twin(ctx.twin, inputs, wanted, (cotangent,)))
        log_transition = inputs[1]
        groups, rows, K = filtered.shape
        moving = log_transition.shape[1] > 1
        d_initial = filtered.new_empty((groups, K))
        if moving:  # what groups share is added up where it lies: a copy for each of them would be as large again
            d_transition = torch.zeros_like(log_transition) if wanted[1] else filtered.new_empty(0)
        else:
            d_transition = filtered.new_empty((groups, 1, K, K) if wanted[1] else 0)
        d_density = filtered.new_empty((groups, rows, K) if wanted[2] else 0)
        with torch.cuda.device_of(filtered):
            _backward[(groups,)](
                log_transition, log_prob, predicted, filtered, cotangent.contiguous(),
                d_initial, d_transition, d_density, rows, K, stride(log_transition, 0), stride(log_transition, 1),
                stride(log_transition, 0), stride(log_transition, 1),
                OF_TRANSITION=(2 if moving else 1) if wanted[1] else 0, OF_DENSITY=bool(wanted[2]), **_tile(K),
            )  # fmt: skip
        summed = (
            None if not wish else gradient.sum(dim=0, keepdim=True) if len(tensor) < len(gradient) else gradient
            for tensor, gradient, wish in zip(inputs, (d_initial, d_transition, d_density), wanted, strict=True)
        )
        return (None, *summed)


def _tile(states: int) -> dict[str, int]:
    """Padded number of states, and threads for its square."""
    padded = triton.next_power_of_2(states)
    return {"STATES": padded, "num_warps": 1 if padded <= 16 else 4}
