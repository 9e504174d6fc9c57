r"""The selective scan on a GPU, with its adjoint (mathematics and layout: `selective`).

A program owns one group and a few channels with all their states. It walks along time in tiles of rows: multipliers and
what is written are formed from a tile of steps, B and inputs, a scan inside the program gives the states of all its
rows, and only outputs are written to memory. The state before each tile is kept. The adjoint walks back: the states
before the rows of a tile come from that one and the maps of the rows before them, adjoints from a scan that runs the
other way. A product of the multipliers of one tile is formed: where that overflows, states may become NaN that a
sequential scan would keep finite.

Gradients of B and C are added where they lie, by all programs of a group: their order, and with it the rounding,
differs from run to run. A gradient that groups share is written for each group, and then added up.

Its results are checked in Triton's interpreter on a CPU (`TRITON_INTERPRET=1`), and it is compiled for GPUs without one
at hand; it has not been run on a GPU yet.
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

#: Rows of a tile, and numbers in one of its rows where there are not more states.
TILE_ROWS, TILE_SIZE = 16, 64


@triton.jit
def _after(a, b, later_a, later_b):
    """Product of two maps."""
    return later_a * a, later_a * b + later_b


@triton.jit
def _power(steps, rates, SIGNED: tl.constexpr):
    """Powers k exp(Delta A), (row, channel, state)."""
    power = tl.exp(steps[:, :, None] * rates[None, :, :])
    return 2.0 * power if SIGNED else power


@triton.jit
def _multiplier(power, SIGNED: tl.constexpr):
    return power - 1.0 if SIGNED else power


@triton.jit
def _forward(
    steps, rates, write, query, inputs, skip, initial, outputs, last, kept,
    num_rows, num_channels, num_states,
    steps_group, rates_group, write_group, query_group, inputs_group, skip_group, initial_group,
    SIGNED: tl.constexpr, KEEP: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(0).to(tl.int64)
    channels, states = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS), tl.arange(0, STATES)
    is_channel, is_state = channels < num_channels, states < num_states
    inside = is_channel[:, None] & is_state[None, :]
    cell = channels[:, None] * num_states + states[None, :]
    A = tl.load(rates + group * rates_group + cell, mask=inside, other=0.0)
    x = tl.load(initial + group * initial_group + cell, mask=inside, other=0.0)
    D = tl.load(skip + group * skip_group + channels, mask=is_channel, other=0.0)
    is_last = (tl.arange(0, ROWS) == ROWS - 1)[:, None, None]
    for start in range(0, num_rows, ROWS):
        t = (start + tl.arange(0, ROWS)).to(tl.int64)
        wide, narrow = t[:, None] * num_channels + channels[None, :], t[:, None] * num_states + states[None, :]
        in_wide = (t < num_rows)[:, None] & is_channel[None, :]
        in_narrow = (t < num_rows)[:, None] & is_state[None, :]
        if KEEP:
            tile = group * tl.cdiv(num_rows, ROWS) + start // ROWS
            tl.store(kept + tile * num_channels * num_states + cell, x, mask=inside)
        # Rows after the last one have no length and change nothing.
        step = tl.load(steps + group * steps_group + wide, mask=in_wide, other=0.0)
        u = tl.load(inputs + group * inputs_group + wide, mask=in_wide, other=0.0)
        B = tl.load(write + group * write_group + narrow, mask=in_narrow, other=0.0)
        C = tl.load(query + group * query_group + narrow, mask=in_narrow, other=0.0)
        a, b = _multiplier(_power(step, A, SIGNED), SIGNED), (step * u)[:, :, None] * B[:, None, :]
        a, b = tl.associative_scan((a, b), 0, _after)
        now = a * x[None, :, :] + b
        y = tl.sum(now * C[:, None, :], axis=2) + D[None, :] * u
        tl.store(outputs + group * num_rows * num_channels + wide, y, mask=in_wide)
        x = tl.sum(tl.where(is_last, now, 0.0), axis=0)
    tl.store(last + group * num_channels * num_states + cell, x, mask=inside)


@triton.jit
def _backward(
    steps, rates, write, query, inputs, skip, kept, of_outputs, of_last,
    d_steps, d_rates, d_write, d_query, d_inputs, d_skip, d_initial,
    num_rows, num_channels, num_states,
    steps_group, rates_group, write_group, query_group, inputs_group, skip_group,
    SIGNED: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(0).to(tl.int64)
    channels, states = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS), tl.arange(0, STATES)
    is_channel, is_state = channels < num_channels, states < num_states
    inside = is_channel[:, None] & is_state[None, :]
    cell = channels[:, None] * num_states + states[None, :]
    own = group * num_channels * num_states + cell
    A = tl.load(rates + group * rates_group + cell, mask=inside, other=0.0)
    D = tl.load(skip + group * skip_group + channels, mask=is_channel, other=0.0)
    carried = tl.load(of_last + own, mask=inside, other=0.0)
    of_A, of_D = tl.zeros_like(A), tl.zeros_like(D)
    row = tl.arange(0, ROWS)
    tiles = tl.cdiv(num_rows, ROWS)
    of_rows = group * num_rows
    for back in range(0, tiles):
        tile = tiles - 1 - back
        t = (tile * ROWS + row).to(tl.int64)
        wide, narrow = t[:, None] * num_channels + channels[None, :], t[:, None] * num_states + states[None, :]
        is_row = t < num_rows
        in_wide, in_narrow = is_row[:, None] & is_channel[None, :], is_row[:, None] & is_state[None, :]
        at_step, at_u = steps + group * steps_group + wide, inputs + group * inputs_group + wide
        at_B, at_C = write + group * write_group + narrow, query + group * query_group + narrow
        step, u = tl.load(at_step, mask=in_wide, other=0.0), tl.load(at_u, mask=in_wide, other=0.0)
        B, C = tl.load(at_B, mask=in_narrow, other=0.0), tl.load(at_C, mask=in_narrow, other=0.0)
        g = tl.load(of_outputs + of_rows * num_channels + wide, mask=in_wide, other=0.0)
        x = tl.load(kept + (group * tiles + tile) * num_channels * num_states + cell, mask=inside, other=0.0)
        # States before all rows, by the maps of the rows before them; before the first of a tile stands the kept one.
        has_before = (row > 0) & (t <= num_rows)
        wide_before, narrow_before = has_before[:, None] & is_channel[None, :], has_before[:, None] & is_state[None, :]
        step_before = tl.load(at_step - num_channels, mask=wide_before, other=0.0)
        u_before = tl.load(at_u - num_channels, mask=wide_before, other=0.0)
        B_before = tl.load(at_B - num_states, mask=narrow_before, other=0.0)
        a, b = _power(step_before, A, SIGNED), (step_before * u_before)[:, :, None] * B_before[:, None, :]
        a, b = tl.associative_scan((_multiplier(a, SIGNED), b), 0, _after)
        before = a * x[None, :, :] + b
        power = _power(step, A, SIGNED)
        a = _multiplier(power, SIGNED)
        now = a * before + (step * u)[:, :, None] * B[:, None, :]
        # The multiplier of a row takes its adjoint to the row before; that of the next tile has done so.
        has_after = (row < ROWS - 1) & (t + 1 < num_rows)
        step_after = tl.load(at_step + num_channels, mask=has_after[:, None] & is_channel[None, :], other=0.0)
        way, adjoint = _multiplier(_power(step_after, A, SIGNED), SIGNED), C[:, None, :] * g[:, :, None]
        way, adjoint = tl.associative_scan((way, adjoint), 0, _after, reverse=True)
        adjoint = way * carried[None, :, :] + adjoint
        carried = tl.sum(tl.where((row == 0)[:, None, None], a * adjoint, 0.0), axis=0)
        slope = power * adjoint * before
        of_write = tl.sum(adjoint * B[:, None, :], axis=2)
        of_step = tl.sum(slope * A[None, :, :], axis=2) + u * of_write
        tl.store(d_steps + of_rows * num_channels + wide, of_step, mask=in_wide)
        tl.store(d_inputs + of_rows * num_channels + wide, step * of_write + D[None, :] * g, mask=in_wide)
        of_B = tl.sum(adjoint * (step * u)[:, :, None], axis=1)
        tl.atomic_add(d_write + of_rows * num_states + narrow, of_B, mask=in_narrow)
        of_C = tl.sum(now * g[:, :, None], axis=1)
        tl.atomic_add(d_query + of_rows * num_states + narrow, of_C, mask=in_narrow)
        of_A += tl.sum(slope * step[:, :, None], axis=0)
        of_D += tl.sum(g * u, axis=0)
    tl.store(d_rates + own, of_A, mask=inside)
    tl.store(d_initial + own, carried, mask=inside)
    tl.store(d_skip + group * num_channels + channels, of_D, mask=is_channel)


def scan(
    arrays: list[torch.Tensor], *, signed: bool, twin: Callable[..., tuple[torch.Tensor, ...]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and last states of all groups; second derivatives come from the twin, as for kernels of the CPU."""
    inputs = (tensor.resolve_neg().contiguous() for tensor in arrays)
    return _Differentiable.apply(signed, twin, *inputs)


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, signed: bool, twin: Any, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        groups = max(tensor.shape[0] for tensor in inputs)
        (_, T, n), N = inputs[0].shape, inputs[1].shape[2]
        keep, tile = any(ctx.needs_input_grad), _tile(T, n, N)
        outputs, last = inputs[0].new_empty((groups, T, n)), inputs[0].new_empty((groups, n, N))
        kept = inputs[0].new_empty((groups, triton.cdiv(T, tile["ROWS"]) if keep else 0, n, N))
        with torch.cuda.device_of(outputs):
            _forward[groups, triton.cdiv(n, tile["CHANNELS"])](
                *inputs, outputs, last, kept, T, n, N, *(stride(tensor, 0) for tensor in inputs),
                SIGNED=signed, KEEP=keep, **tile,
            )  # fmt: skip
        ctx.save_for_backward(*inputs, kept)
        ctx.signed, ctx.twin = signed, twin
        return outputs, last

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> Any:
        *inputs, kept = ctx.saved_tensors
        wanted = ctx.needs_input_grad[2:]
        if torch.is_grad_enabled():  # somebody differentiates this gradient
            return (None, None, *differentiate_twin(ctx.twin, inputs, wanted, cotangents))
        of_outputs, of_last = (tensor.resolve_neg().contiguous() for tensor in cotangents)
        groups, T, n = of_outputs.shape
        N, tile = of_last.shape[2], _tile(*of_outputs.shape[1:], of_last.shape[2])
        gradients = [tensor.new_zeros((groups, *tensor.shape[1:])) for tensor in inputs]
        with torch.cuda.device_of(of_outputs):
            _backward[groups, triton.cdiv(n, tile["CHANNELS"])](
                *inputs[:6], kept, of_outputs, of_last, *gradients,
                T, n, N, *(stride(tensor, 0) for tensor in inputs[:6]), SIGNED=ctx.signed, **tile,
            )  # fmt: skip
        summed = (
            None if not wish else gradient.sum(dim=0, keepdim=True) if len(tensor) < groups else gradient
            for tensor, gradient, wish in zip(inputs, gradients, wanted, strict=True)
        )
        return (None, None, *summed)


def _tile(rows: int, channels: int, states: int) -> dict[str, int]:
    """Rows, channels and states of a tile, powers of two."""
    states = triton.next_power_of_2(states)
    channels = min(max(TILE_SIZE // states, 1), triton.next_power_of_2(channels))
    return {"ROWS": min(TILE_ROWS, triton.next_power_of_2(rows)), "CHANNELS": channels, "STATES": states}
