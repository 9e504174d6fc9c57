r"""Diagonal affine recurrences on a GPU, real and complex, with their adjoint (mathematics and layout: `affine`).

A program owns one group and a block of channels. It walks along time in tiles of rows: a tile is loaded at once, its
maps are multiplied with each other by a scan inside the program, and the state that enters the tile is applied to all
of them. So memory is read and written once, as in the kernel for the CPU. A product of the multipliers of one tile is
formed: where that overflows, states may become NaN that a sequential scan would keep finite.

A complex number is a pair of real ones, next to each other in memory; gradients follow torch's convention. A gradient
that all rows share is summed in the program. One that groups share is written for each group, and then added up.

Its results are checked in Triton's interpreter on a CPU (`TRITON_INTERPRET=1`), and it is compiled for GPUs without one
at hand; it has not been run on a GPU yet.
"""

# Triton reads functions as a language of its own, which Python's types don't describe.
# pyright: reportArgumentType=false, reportAssignmentType=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl

from dynplat.scan.kernels.torch import differentiate_twin, stride

#: Rows and channels of a tile.
TILE_ROWS, TILE_CHANNELS = 64, 16

#: What becomes of the gradient of an array.
_UNWANTED, _EVERY_ROW, _SUM_OF_ROWS = 0, 1, 2


@triton.jit
def _after(a, b, later_a, later_b):
    """Product of two maps."""
    return later_a * a, later_a * b + later_b


@triton.jit
def _complex_after(ar, ai, br, bi, later_ar, later_ai, later_br, later_bi):
    """Product of two maps of complex numbers."""
    return (
        later_ar * ar - later_ai * ai,
        later_ar * ai + later_ai * ar,
        later_ar * br - later_ai * bi + later_br,
        later_ar * bi + later_ai * br + later_bi,
    )


@triton.jit
def _last(values, rows: tl.constexpr):
    """Take the last row of a tile."""
    is_last = tl.arange(0, rows)[:, None] == rows - 1
    return tl.sum(tl.where(is_last, values, 0.0), axis=0)


@triton.jit
def _forward(
    multipliers, offsets, initial, states,
    num_rows, num_channels, a_group, a_row, b_group, b_row, initial_group,
    REVERSE: tl.constexpr, COMPLEX: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(0).to(tl.int64)
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = channels < num_channels
    parts: tl.constexpr = 2 if COMPLEX else 1
    places = channels * parts
    state = tl.load(initial + group * initial_group + places, mask=inside, other=0.0)
    if COMPLEX:
        state_i = tl.load(initial + group * initial_group + places + 1, mask=inside, other=0.0)
    for start in range(0, num_rows, ROWS):
        steps = start + tl.arange(0, ROWS)
        mask = (steps < num_rows)[:, None] & inside[None, :]
        t = (num_rows - 1 - steps if REVERSE else steps).to(tl.int64)[:, None]
        at_a = multipliers + group * a_group + t * a_row + places[None, :]
        at_b = offsets + group * b_group + t * b_row + places[None, :]
        at_state = states + (group * num_rows + t) * num_channels * parts + places[None, :]
        # Rows after the last one change nothing.
        a, b = tl.load(at_a, mask=mask, other=1.0), tl.load(at_b, mask=mask, other=0.0)
        if COMPLEX:
            a_i, b_i = tl.load(at_a + 1, mask=mask, other=0.0), tl.load(at_b + 1, mask=mask, other=0.0)
            a, a_i, b, b_i = tl.associative_scan((a, a_i, b, b_i), 0, _complex_after)
            x = a * state[None, :] - a_i * state_i[None, :] + b
            x_i = a * state_i[None, :] + a_i * state[None, :] + b_i
            tl.store(at_state + 1, x_i, mask=mask)
            state_i = _last(x_i, ROWS)
        else:
            a, b = tl.associative_scan((a, b), 0, _after)
            x = a * state[None, :] + b
        tl.store(at_state, x, mask=mask)
        state = _last(x, ROWS)


@triton.jit
def _backward(
    multipliers, initial, states, cotangent, d_multipliers, d_offsets, d_initial,
    num_rows, num_channels, a_group, a_row, initial_group,
    OF_MULTIPLIERS: tl.constexpr, OF_OFFSETS: tl.constexpr, REVERSE: tl.constexpr, COMPLEX: tl.constexpr,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(0).to(tl.int64)
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = channels < num_channels
    parts: tl.constexpr = 2 if COMPLEX else 1
    places = channels * parts
    at_initial = initial + group * initial_group + places
    first = tl.load(at_initial, mask=inside, other=0.0)
    adjoint = tl.zeros_like(first)
    sum_a, sum_b = tl.zeros_like(first), tl.zeros_like(first)
    if COMPLEX:
        first_i = tl.load(at_initial + 1, mask=inside, other=0.0)
        adjoint_i, sum_a_i, sum_b_i = tl.zeros_like(first), tl.zeros_like(first), tl.zeros_like(first)
    for start in range(0, num_rows, ROWS):
        steps = num_rows - 1 - (start + tl.arange(0, ROWS))  # the last comes first
        mask = (steps >= 0)[:, None] & inside[None, :]
        t = (num_rows - 1 - steps if REVERSE else steps).to(tl.int64)[:, None]
        way: tl.constexpr = -1 if REVERSE else 1
        row = (group * num_rows + t) * num_channels * parts + places[None, :]
        # The multiplier of a row takes its adjoint to the row before; after the last row nothing comes.
        has_later = mask & (steps < num_rows - 1)[:, None]
        at_a = multipliers + group * a_group + (t + way) * a_row + places[None, :]
        a, g = tl.load(at_a, mask=has_later, other=1.0), tl.load(cotangent + row, mask=mask, other=0.0)
        is_first = (steps == 0)[:, None]
        has_before = mask & (steps > 0)[:, None]
        at_before = states + row - way * num_channels * parts
        x = tl.where(is_first, first[None, :], tl.load(at_before, mask=has_before, other=0.0))
        if COMPLEX:
            a_i = -tl.load(at_a + 1, mask=has_later, other=0.0)
            g_i = tl.load(cotangent + row + 1, mask=mask, other=0.0)
            x_i = tl.where(is_first, first_i[None, :], tl.load(at_before + 1, mask=has_before, other=0.0))
            a, a_i, g, g_i = tl.associative_scan((a, a_i, g, g_i), 0, _complex_after)
            here = a * adjoint[None, :] - a_i * adjoint_i[None, :] + g
            here_i = a * adjoint_i[None, :] + a_i * adjoint[None, :] + g_i
            d_a, d_a_i = here * x + here_i * x_i, here_i * x - here * x_i
            adjoint_i = _last(here_i, ROWS)
            if OF_MULTIPLIERS == 1:
                tl.store(d_multipliers + row + 1, d_a_i, mask=mask)
            if OF_MULTIPLIERS == 2:
                sum_a_i += tl.sum(tl.where(mask, d_a_i, 0.0), axis=0)
            if OF_OFFSETS == 1:
                tl.store(d_offsets + row + 1, here_i, mask=mask)
            if OF_OFFSETS == 2:
                sum_b_i += tl.sum(tl.where(mask, here_i, 0.0), axis=0)
        else:
            a, g = tl.associative_scan((a, g), 0, _after)
            here = a * adjoint[None, :] + g
            d_a = here * x
        adjoint = _last(here, ROWS)
        if OF_MULTIPLIERS == 1:
            tl.store(d_multipliers + row, d_a, mask=mask)
        if OF_MULTIPLIERS == 2:
            sum_a += tl.sum(tl.where(mask, d_a, 0.0), axis=0)
        if OF_OFFSETS == 1:
            tl.store(d_offsets + row, here, mask=mask)
        if OF_OFFSETS == 2:
            sum_b += tl.sum(tl.where(mask, here, 0.0), axis=0)
    whole = group * num_channels * parts + places
    if OF_MULTIPLIERS == 2:
        tl.store(d_multipliers + whole, sum_a, mask=inside)
        if COMPLEX:
            tl.store(d_multipliers + whole + 1, sum_a_i, mask=inside)
    if OF_OFFSETS == 2:
        tl.store(d_offsets + whole, sum_b, mask=inside)
        if COMPLEX:
            tl.store(d_offsets + whole + 1, sum_b_i, mask=inside)
    t = num_rows - 1 if REVERSE else 0
    at_a = multipliers + group * a_group + t * a_row + places
    a = tl.load(at_a, mask=inside, other=0.0)
    if COMPLEX:
        a_i = -tl.load(at_a + 1, mask=inside, other=0.0)
        tl.store(d_initial + whole, a * adjoint - a_i * adjoint_i, mask=inside)
        tl.store(d_initial + whole + 1, a * adjoint_i + a_i * adjoint, mask=inside)
    else:
        tl.store(d_initial + whole, a * adjoint, mask=inside)


def scan(
    multipliers: torch.Tensor,
    offsets: torch.Tensor,
    initial: torch.Tensor,
    *,
    reverse: bool,
    twin: Callable[..., tuple[torch.Tensor, ...]],
) -> torch.Tensor:
    """States of all groups (layout: `affine`); second derivatives come from the twin, as for kernels of the CPU."""
    inputs = (tensor.resolve_conj().resolve_neg().contiguous() for tensor in (multipliers, offsets, initial))
    return _Differentiable.apply(reverse, twin, *inputs)


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, reverse: bool, twin: Any, *inputs: torch.Tensor) -> torch.Tensor:
        groups = max(tensor.shape[0] for tensor in inputs)
        rows, channels = max(tensor.shape[1] for tensor in inputs[:2]), inputs[0].shape[-1]
        states = inputs[0].new_empty((groups, rows, channels))
        pairs = _real(*inputs, states)
        with torch.cuda.device_of(states):
            _forward[_grid(groups, channels)](
                *pairs, rows, channels, *_strides(pairs[0]), *_strides(pairs[1]), _strides(pairs[2])[0],
                REVERSE=reverse, COMPLEX=states.is_complex(), ROWS=_tile_rows(rows), CHANNELS=TILE_CHANNELS,
            )  # fmt: skip
        ctx.save_for_backward(*inputs, states)
        ctx.reverse, ctx.twin = reverse, twin
        return states

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> Any:
        *inputs, states = ctx.saved_tensors
        wanted = ctx.needs_input_grad[2:]
        if torch.is_grad_enabled():  # somebody differentiates this gradient
            return (None, None, *differentiate_twin(ctx.twin, inputs, wanted, (cotangent,)))
        cotangent = cotangent.resolve_conj().resolve_neg().contiguous()
        groups, rows, channels = states.shape
        uses = [
            _UNWANTED if not wish else _EVERY_ROW if tensor.shape[1] == rows else _SUM_OF_ROWS
            for tensor, wish in zip(inputs[:2], wanted, strict=False)
        ]
        shapes = {_UNWANTED: (0, 0, 0), _EVERY_ROW: (groups, rows, channels), _SUM_OF_ROWS: (groups, 1, channels)}
        gradients = [states.new_empty(shapes[use]) for use in uses]
        gradients.append(states.new_empty((groups, channels)))
        pairs = _real(inputs[0], inputs[2], states, cotangent, *gradients)
        with torch.cuda.device_of(states):
            _backward[_grid(groups, channels)](
                *pairs, rows, channels, *_strides(pairs[0]), _strides(pairs[1])[0],
                OF_MULTIPLIERS=uses[0], OF_OFFSETS=uses[1], REVERSE=ctx.reverse, COMPLEX=states.is_complex(),
                ROWS=_tile_rows(rows), CHANNELS=TILE_CHANNELS,
            )  # fmt: skip
        summed = (
            None if not wish else gradient.sum(dim=0, keepdim=True) if len(tensor) < groups else gradient
            for tensor, gradient, wish in zip(inputs, gradients, wanted, strict=True)
        )
        return (None, None, *summed)


def _real(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Complex numbers as pairs along a last axis of their own."""
    return tuple(torch.view_as_real(tensor) if tensor.is_complex() else tensor for tensor in tensors)


def _strides(tensor: torch.Tensor) -> tuple[int, int]:
    """Steps in memory along groups and rows."""
    return stride(tensor, 0), stride(tensor, 1)


def _grid(groups: int, channels: int) -> tuple[int, int]:
    return groups, triton.cdiv(channels, TILE_CHANNELS)


def _tile_rows(rows: int) -> int:
    return min(TILE_ROWS, triton.next_power_of_2(rows))
