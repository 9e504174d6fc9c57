r"""The Kalman filter of many small chains on a GPU, with its adjoint (mathematics and symbols: `kalman`).

A program owns one series. It walks along time, row after row, with moments padded to powers of two in registers: that
pays where there are series enough to fill a GPU. Elsewhere, and for larger chains, a balanced scan takes over. Products
are sums over a third axis: matrices this small fill no tensor core.

Axis 0 of every array is the series (of length 1 where all share it), a time axis has length T, or 1 for what does not
change:

F, Q (G, T, n, n); H (G, T, p, n); R (G, T, p, p); m0 (G, n); P0 (G, n, n); c (G, T, n); y (G, T, p); mask (G, T, p),
1 = observed; lengths (G): a series ends after so many rows, whatever the mask says of later ones.

**Forward.** As in `dynplat.semigroup.kalman`: Joseph's form, and a covariance of the rounding that is carried along.
Where it reaches a pivot of the innovation covariance the row has no density: its term is NaN, and the series is
reported. Covariances are never let stand still. Where series share all of them each still computes them, but only the
first writes them down.

**Adjoint.** It reads filtered means and covariances, gains and precisions of innovations, which the forward pass keeps
for each row, and is that of `kalman` without members. A gradient that rows share is summed in the program, one for each
row is added where it lies: there the order, and with it the rounding, of a sum over series differs from run to run.

Its results are checked in Triton's interpreter on a CPU (`TRITON_INTERPRET=1`), and it is compiled for GPUs without one
at hand; it has not been run on a GPU yet, and the bounds from which on it is chosen were not measured.
"""

# Triton reads functions as a language of its own, which Python's types don't describe.
# pyright: reportArgumentType=false, reportAssignmentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl

from dynplat.scan.kernels.torch import differentiate_twin, stride

#: What becomes of the gradient of an array.
_UNWANTED, _SUM_OF_ROWS, _EVERY_ROW = 0, 1, 2


@triton.jit
def _product(A, B):
    return tl.sum(A[:, :, None] * B[None, :, :], axis=1)


@triton.jit
def _apply(A, x):
    return tl.sum(A * x[None, :], axis=1)


@triton.jit
def _congruence(A, P):
    """A P A^T."""
    return _product(_product(A, P), tl.trans(A))


@triton.jit
def _symmetrise(A):
    return 0.5 * (A + tl.trans(A))


@triton.jit
def _diagonal(A, size: tl.constexpr):
    places = tl.arange(0, size)
    return tl.sum(tl.where(places[:, None] == places[None, :], A, 0.0), axis=1)


@triton.jit
def _as_diagonal(x, size: tl.constexpr):
    places = tl.arange(0, size)
    return tl.where(places[:, None] == places[None, :], x[:, None], 0.0)


@triton.jit
def _deviations(P, size: tl.constexpr):
    variances = _diagonal(P, size)
    return tl.sqrt(tl.where(variances > 0.0, variances, 0.0))


@triton.jit
def _factor(S, rounding, size: tl.constexpr):
    """L^{-1} and the diagonal of D in S = L D L^T with 1 on the diagonal of L, and the rounding that reaches D."""
    places = tl.arange(0, size)
    inverse = _as_diagonal(tl.zeros_like(rounding) + 1.0, size)
    reached = rounding
    for k in tl.static_range(size):
        column = tl.sum(tl.where((places == k)[None, :], S, 0.0), axis=1)
        pivot = tl.sum(tl.where(places == k, column, 0.0), axis=0)
        ratio = tl.where(places > k, column / pivot, 0.0)
        reached += ratio * ratio * tl.sum(tl.where(places == k, rounding, 0.0), axis=0)
        inverse -= ratio[:, None] * tl.sum(tl.where((places == k)[:, None], inverse, 0.0), axis=0)[None, :]
        # Right of the diagonal numbers go wrong; they are not read.
        S -= ratio[:, None] * column[None, :]
    return inverse, _diagonal(S, size), reached


@triton.jit
def _forward(
    F, Q, H, R, m0, P0, c, y, mask, lengths, log_prob, singular, means, weights, covs, gains, precisions,
    num_rows, num_states, num_channels, F_group, F_row, Q_group, Q_row, H_group, H_row, R_group, R_row,
    m0_group, P0_group, c_group, c_row, y_group, mask_group, mask_row, lengths_group,
    EPS: tl.constexpr, KEEP: tl.constexpr, SHARED: tl.constexpr, STATES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(0).to(tl.int64)
    states, channels = tl.arange(0, STATES), tl.arange(0, CHANNELS)
    is_state, is_channel = states < num_states, channels < num_channels
    is_square = is_state[:, None] & is_state[None, :]
    square = states[:, None] * num_states + states[None, :]
    wide = channels[:, None] * num_states + states[None, :]
    small = channels[:, None] * num_channels + channels[None, :]
    length = tl.load(lengths + group * lengths_group)
    last = length
    if SHARED:  # the first series computes for all others what they will read
        last = tl.where(group == 0, num_rows, length)
    mean = tl.load(m0 + group * m0_group + states, mask=is_state, other=0.0)
    P = _symmetrise(tl.load(P0 + group * P0_group + square, mask=is_square, other=0.0))
    noise = _as_diagonal(EPS * tl.abs(_diagonal(P, STATES)), STATES)
    found = 0
    for t in range(0, last):
        row = tl.cast(t, tl.int64)
        if t > 0:
            A = tl.load(F + group * F_group + row * F_row + square, mask=is_square, other=0.0)
            W = _symmetrise(tl.load(Q + group * Q_group + row * Q_row + square, mask=is_square, other=0.0))
            offset = tl.load(c + group * c_group + row * c_row + states, mask=is_state, other=0.0)
            reach = _apply(tl.abs(A), _deviations(P, STATES)) + _deviations(W, STATES)
            mean = _apply(A, mean) + offset
            P = _congruence(A, P) + W
            noise = _congruence(A, noise) + _as_diagonal(EPS * reach * reach, STATES)
        # A missing cell reads 0 with variance 1.
        seen = tl.load(mask + group * mask_group + row * mask_row + channels, mask=is_channel, other=0) != 0
        C = tl.load(H + group * H_group + row * H_row + wide, mask=seen[:, None] & is_state[None, :], other=0.0)
        V = tl.load(R + group * R_group + row * R_row + small, mask=seen[:, None] & seen[None, :], other=0.0)
        V = _symmetrise(V) + tl.where((channels[:, None] == channels[None, :]) & ~seen[:, None], 1.0, 0.0)
        told = seen & (channels < tl.where(t < length, num_channels, 0))
        value = tl.load(y + group * y_group + row * num_channels + channels, mask=told, other=0.0)
        residual = tl.where(told, value - _apply(C, mean), 0.0)
        CP = _product(C, P)
        deviations = _deviations(P, STATES)
        reach = _apply(tl.abs(C), deviations)
        rounding = tl.sum(_product(C, noise) * C, axis=1) + EPS * (reach * reach + _diagonal(V, CHANNELS))
        inverse, pivots, reached = _factor(_product(CP, tl.trans(C)) + V, rounding, CHANNELS)
        # A pivot below 16 times the rounding that reaches it, as in `dynplat.semigroup.kalman`; a NaN too.
        failed = tl.max(tl.where(16.0 * reached < pivots, 0, 1), axis=0)
        whitened = _apply(inverse, residual)
        count = tl.sum(tl.where(seen, tl.zeros_like(pivots) + 1.0, 0.0), axis=0)
        term = -0.5 * tl.sum(whitened * whitened / pivots + tl.log(pivots), axis=0) - 0.9189385332046727 * count
        tl.store(log_prob + group * num_rows + row, tl.where(failed > 0, float("nan"), term), mask=t < length)
        found = tl.maximum(found, tl.where(t < length, failed, 0))
        back = tl.trans(inverse)
        gain = _product(back, _product(inverse, CP) / pivots[:, None])  # K^T
        K = tl.trans(gain)
        left = _as_diagonal(tl.zeros_like(mean) + 1.0, STATES) - _product(K, C)
        size = deviations + _apply(tl.abs(K), reach)
        spread = _apply(tl.abs(left), deviations)
        added = EPS * spread * spread + (16.0 * EPS * EPS) * size * size
        mean += _apply(K, residual)
        P = _symmetrise(_congruence(left, P) + _congruence(K, V))
        noise = _congruence(left, noise) + _as_diagonal(added, STATES)
        if KEEP:
            here = group * num_rows + row
            tl.store(means + here * num_states + states, mean, mask=is_state)
            tl.store(weights + here * num_channels + channels, _apply(back, whitened / pivots), mask=is_channel)
            if (group == 0) | (not SHARED):
                is_wide = is_channel[:, None] & is_state[None, :]
                tl.store(covs + here * num_states * num_states + square, P, mask=is_square)
                tl.store(gains + here * num_channels * num_states + wide, gain, mask=is_wide)
                precision = _product(back, inverse / pivots[:, None])
                both = is_channel[:, None] & is_channel[None, :]
                tl.store(precisions + here * num_channels * num_channels + small, precision, mask=both)
    tl.store(singular + group, found.to(tl.uint8))


@triton.jit
def _collect(total, part, at, mask, USE: tl.constexpr):
    """Add to the sum of rows, or where the gradient of a row lies."""
    if USE == 1:
        total += part
    if USE == 2:
        tl.atomic_add(at, part, mask=mask)
    return total


@triton.jit
def _backward(
    F, H, mask, lengths, means, weights, covs, gains, precisions, cotangent, dF, dQ, dH, dR, dm0, dP0, dc, dy,
    num_rows, num_states, num_channels, F_group, F_row, H_group, H_row, mask_group, mask_row, lengths_group,
    dF_group, dF_row, dQ_group, dQ_row, dH_group, dH_row, dR_group, dR_row, dc_group, dc_row,
    OF_F: tl.constexpr, OF_Q: tl.constexpr, OF_H: tl.constexpr, OF_R: tl.constexpr, OF_P0: tl.constexpr,
    OF_C: tl.constexpr, OF_Y: tl.constexpr, SHARED: tl.constexpr, STATES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    MATRICES: tl.constexpr = OF_F + OF_Q + OF_H + OF_R + OF_P0 > 0
    group = tl.program_id(0).to(tl.int64)
    states, channels = tl.arange(0, STATES), tl.arange(0, CHANNELS)
    is_state, is_channel = states < num_states, channels < num_channels
    is_square, is_wide = is_state[:, None] & is_state[None, :], is_channel[:, None] & is_state[None, :]
    is_small = is_channel[:, None] & is_channel[None, :]
    square = states[:, None] * num_states + states[None, :]
    wide = channels[:, None] * num_states + states[None, :]
    small = channels[:, None] * num_channels + channels[None, :]
    at_F, at_H = F + group * F_group + square, H + group * H_group + wide
    at_mask = mask + group * mask_group + channels
    at_dF, at_dQ, at_dH = dF + group * dF_group + square, dQ + group * dQ_group + square, dH + group * dH_group + wide
    at_dR, at_dc = dR + group * dR_group + small, dc + group * dc_group + states
    number = means.dtype.element_ty
    adjoint = tl.zeros((STATES,), number)  # lambda
    Lambda = tl.zeros((STATES, STATES), number)
    sum_F, sum_Q, sum_c = tl.zeros_like(Lambda), tl.zeros_like(Lambda), tl.zeros_like(adjoint)
    sum_H, sum_R = tl.zeros((CHANNELS, STATES), number), tl.zeros((CHANNELS, CHANNELS), number)
    length = tl.load(lengths + group * lengths_group)
    for step in range(0, length):
        row = length - 1 - tl.cast(step, tl.int64)
        here = group * num_rows + row
        own = row if SHARED else here  # where covariances lie
        seen = tl.load(at_mask + row * mask_row, mask=is_channel, other=0) != 0
        C = tl.load(at_H + row * H_row, mask=seen[:, None] & is_state[None, :], other=0.0)
        gain = tl.load(gains + own * num_channels * num_states + wide, mask=is_wide, other=0.0)  # K^T
        u = tl.load(weights + here * num_channels + channels, mask=is_channel, other=0.0)
        g = tl.load(cotangent + here)
        pulled = _apply(gain, adjoint)
        y_bar = pulled - g * u
        if OF_Y:
            tl.store(dy + here * num_channels + channels, y_bar, mask=is_channel)
        if MATRICES:
            mean = tl.load(means + here * num_states + states, mask=is_state, other=0.0)
            P = tl.load(covs + own * num_states * num_states + square, mask=is_square, other=0.0)
            at_precision = precisions + own * num_channels * num_channels + small
            precision = tl.load(at_precision, mask=seen[:, None] & seen[None, :], other=0.0)
            moved = _product(gain, Lambda)
            Z = _product(moved, tl.trans(gain)) - _symmetrise(pulled[:, None] * u[None, :])
            Z -= 0.5 * g * (precision - u[:, None] * u[None, :])
            X = u[:, None] * adjoint[None, :] - 2.0 * moved
            H_bar = _product(X, P) - g * gain - y_bar[:, None] * mean[None, :]
            sum_H = _collect(sum_H, H_bar, at_dH + row * dH_row, is_wide, OF_H)
            sum_R = _collect(sum_R, Z, at_dR + row * dR_row, is_small, OF_R)
            Lambda += 2.0 * _symmetrise(_product(tl.trans(C), 0.5 * (X + _product(Z, C))))
        adjoint -= _apply(tl.trans(C), y_bar)
        if row > 0:
            A = tl.load(at_F + row * F_row, mask=is_square, other=0.0)
            sum_c = _collect(sum_c, adjoint, at_dc + row * dc_row, is_state, OF_C)
            if MATRICES:
                sum_Q = _collect(sum_Q, Lambda, at_dQ + row * dQ_row, is_square, OF_Q)
                mean = tl.load(means + (here - 1) * num_states + states, mask=is_state, other=0.0)
                P = tl.load(covs + (own - 1) * num_states * num_states + square, mask=is_square, other=0.0)
                turned = _product(Lambda, A)
                F_bar = 2.0 * _product(turned, P) + adjoint[:, None] * mean[None, :]
                sum_F = _collect(sum_F, F_bar, at_dF + row * dF_row, is_square, OF_F)
                Lambda = _symmetrise(_product(tl.trans(A), turned))
            adjoint = _apply(tl.trans(A), adjoint)
    tl.store(dm0 + group * num_states + states, adjoint, mask=is_state)
    if OF_P0:
        tl.store(dP0 + group * num_states * num_states + square, Lambda, mask=is_square)
    if OF_F == 1:
        tl.store(at_dF, sum_F, mask=is_square)
    if OF_Q == 1:
        tl.store(at_dQ, sum_Q, mask=is_square)
    if OF_H == 1:
        tl.store(at_dH, sum_H, mask=is_wide)
    if OF_R == 1:
        tl.store(at_dR, sum_R, mask=is_small)
    if OF_C == 1:
        tl.store(at_dc, sum_c, mask=is_state)


def log_prob_steps(
    *inputs: torch.Tensor, twin: Callable[..., tuple[torch.Tensor, ...]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Terms log p(y_t | y_<t), (G, T); second derivatives come from the twin, as for kernels of the CPU.

    Args:
        inputs: F, Q, H, R, m0, P0, c, y, mask (uint8), lengths (int32), as in the module.
        twin: A differentiable function of the same arrays that gives the same terms.

    Returns:
        The terms, and 1 for each series with a row that has no density, (G).
    """
    return _Differentiable.apply(twin, *(tensor.contiguous() for tensor in inputs))


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, twin: Any, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        F, Q, H, R, m0, P0, c, y, mask, lengths = inputs
        groups = max(len(tensor) for tensor in inputs)
        own = max(len(tensor) for tensor in (F, Q, H, R, P0, mask))  # groups of covariances
        rows, p, n = y.shape[1], y.shape[2], F.shape[-1]
        keep = any(ctx.needs_input_grad)
        log_prob = y.new_zeros((groups, rows))
        singular = mask.new_empty(groups)
        shapes = ((groups, rows, n), (groups, rows, p), (own, rows, n, n), (own, rows, p, n), (own, rows, p, p))
        kept = [y.new_empty(shape if keep else 0) for shape in shapes]
        with torch.cuda.device_of(y):
            _forward[(groups,)](
                *inputs, log_prob, singular, *kept, rows, n, p, *_strides(F, Q, H, R),
                stride(m0, 0), stride(P0, 0), *_strides(c), stride(y, 0), *_strides(mask), stride(lengths, 0),
                EPS=torch.finfo(y.dtype).eps, KEEP=keep, SHARED=own == 1, **_tile(n, p),
            )  # fmt: skip
        ctx.save_for_backward(*inputs, *kept)
        ctx.mark_non_differentiable(singular)
        ctx.twin = twin
        return log_prob, singular

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor, _: Any) -> Any:
        inputs, kept = ctx.saved_tensors[:10], ctx.saved_tensors[10:]
        wanted = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():  # somebody differentiates this gradient
            return (None, *differentiate_twin(ctx.twin, inputs, wanted, (cotangent,)))
        F, H, y, mask, lengths = (inputs[place] for place in (0, 2, 7, 8, 9))
        groups = len(kept[0])
        gradients, uses = [], []
        for place, (tensor, wish) in enumerate(zip(inputs[:8], wanted, strict=False)):
            # What series share is added up where it lies: a copy for each of them would be as large again.
            every_row = place in (0, 1, 2, 3, 6) and tensor.shape[1] > 1
            shape = tensor.shape if every_row else (groups, *tensor.shape[1:])
            # Rows after the end of a series get nothing.
            gradients.append(y.new_zeros(shape) if wish or place == 4 else y.new_empty([0] * tensor.ndim))
            uses.append(_UNWANTED if not wish else _EVERY_ROW if every_row else _SUM_OF_ROWS)
        dF, dQ, dH, dR, _, _, dc, _ = gradients
        with torch.cuda.device_of(y):
            _backward[(groups,)](
                F, H, mask, lengths, *kept, cotangent.contiguous(), *gradients, y.shape[1], F.shape[-1], y.shape[2],
                *_strides(F, H, mask), stride(lengths, 0), *_strides(dF, dQ, dH, dR, dc),
                OF_F=uses[0], OF_Q=uses[1], OF_H=uses[2], OF_R=uses[3], OF_P0=uses[5], OF_C=uses[6], OF_Y=uses[7],
                SHARED=len(kept[2]) == 1, **_tile(F.shape[-1], y.shape[2]),
            )  # fmt: skip
        summed = (
            None if not wish else gradient.sum(dim=0, keepdim=True) if len(tensor) < len(gradient) else gradient
            for tensor, gradient, wish in zip(inputs, gradients, wanted, strict=False)
        )
        return (None, *summed, None, None)


def _strides(*tensors: torch.Tensor) -> tuple[int, ...]:
    """Steps in memory along groups and rows of each."""
    return tuple(stride(tensor, axis) for tensor in tensors for axis in (0, 1))


def _tile(states: int, channels: int) -> dict[str, int]:
    """Padded sizes, and threads for products of such matrices."""
    n, p = triton.next_power_of_2(states), triton.next_power_of_2(channels)
    return {"STATES": n, "CHANNELS": p, "num_warps": 4 if max(n, p) > 8 else 1}
