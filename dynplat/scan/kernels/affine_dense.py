"""The compiled recurrence x_t = A_t x_{t-1} + b_t with matrices, and its adjoint (see `affine`)."""

from __future__ import annotations

import numpy as np

from dynplat.scan.kernels.affine_diagonal import BLOCK, CONJUGATE, REVERSE
from dynplat.scan.kernels.compiling import compiled
from dynplat.scan.kernels.pages import use_large_pages
from dynplat.scan.kernels.small import of


@compiled
def forward(multipliers, offsets, initial, settings, states):
    """Put the states into `states`."""
    use_large_pages(states)
    G, T, n = states.shape
    reverse = settings[0, REVERSE] != 0
    still = multipliers.shape[1] == 1
    columns = np.empty((n, n), states.dtype)  # of a matrix that does not change in time
    for g in range(G):
        ga, gb = of(g, multipliers.shape[0]), of(g, offsets.shape[0])
        if still and (g == 0 or multipliers.shape[0] > 1):
            columns[:, :] = multipliers[ga, 0].T
        before = initial[of(g, initial.shape[0])]
        for step in range(T):
            t = T - 1 - step if reverse else step
            state, b = states[g, t], offsets[gb, of(t, offsets.shape[1])]
            if still:
                state[:] = b
                for j in range(n):
                    x, column = before[j], columns[j]
                    for i in range(n):
                        state[i] += column[i] * x
            else:
                A = multipliers[ga, t]
                for i in range(n):
                    total, row = b[i], A[i]
                    for j in range(n):
                        total += row[j] * before[j]
                    state[i] = total
            before = state


@compiled
def backward(multipliers, offsets, initial, settings, states, cotangent, wanted, d_multipliers, d_offsets, d_initial):
    """Put the gradients into the last three arrays.

    Inputs: those of `forward`, its `states`, their `cotangent`, and flags (1, 3) that say which gradients are wanted.
    """
    use_large_pages(d_multipliers)
    use_large_pages(d_offsets)
    G, T, n = states.shape
    reverse, conjugate = settings[0, REVERSE] != 0, settings[0, CONJUGATE] != 0
    want_A, want_b, want_initial = wanted[0, 0] != 0, wanted[0, 1] != 0, wanted[0, 2] != 0
    # A gradient that each row and group has for itself is written once; any other is a sum.
    sum_A = d_multipliers.shape[0] != G or d_multipliers.shape[1] != T
    sum_b = d_offsets.shape[0] != G or d_offsets.shape[1] != T
    still_A, still_b = d_multipliers.shape[1] != T, d_offsets.shape[1] != T
    if sum_A or not want_A:
        d_multipliers[:] = 0
    if sum_b or not want_b:
        d_offsets[:] = 0
    d_initial[:] = 0
    # In torch's convention numbers of the matrix and of the state are conjugated, adjoints are not: here vectors are
    # conjugated instead of the matrix, which are n operations instead of n^2.
    adjoint, turned = np.zeros(n, states.dtype), np.zeros(n, states.dtype)
    carried, earlier = np.zeros(n, states.dtype), np.zeros(n, states.dtype)
    block_A, block_b = np.zeros((n, n), states.dtype), np.zeros(n, states.dtype)
    total_A, total_b = block_A + np.zeros((n, n)), block_b + np.zeros(n)  # double precision
    for g in range(G):
        ga, gb, gi = of(g, multipliers.shape[0]), of(g, offsets.shape[0]), of(g, initial.shape[0])
        carried[:] = 0
        for step in range(T - 1, -1, -1):
            t = T - 1 - step if reverse else step
            before = initial[gi]
            if step > 0:
                before = states[g, t + 1 if reverse else t - 1]
            for i in range(n):
                adjoint[i] = cotangent[g, t, i] + carried[i]
                turned[i] = np.conj(adjoint[i]) if conjugate else adjoint[i]
                earlier[i] = np.conj(before[i]) if conjugate else before[i]
            carried[:] = 0
            A = multipliers[ga, of(t, multipliers.shape[1])]
            dA = block_A
            if want_A and not still_A:
                dA = d_multipliers[ga, t]
            for i in range(n - 1, -1, -1):
                value, row = turned[i], A[i]
                for j in range(n):
                    carried[j] += row[j] * value
                if want_A:
                    value, row = adjoint[i], dA[i]
                    if sum_A:
                        for j in range(n):
                            row[j] += value * earlier[j]
                    else:
                        for j in range(n):
                            row[j] = value * earlier[j]
            if conjugate:
                for i in range(n):
                    carried[i] = np.conj(carried[i])
            if want_A and still_A and step % BLOCK == 0:
                total_A += block_A
                block_A[:] = 0
            if want_b:
                db = block_b if still_b else d_offsets[gb, t]
                for i in range(n):
                    db[i] = db[i] + adjoint[i] if sum_b else adjoint[i]
                if still_b and step % BLOCK == 0:
                    total_b += block_b
                    block_b[:] = 0
        if want_A and still_A:
            _flush(total_A, d_multipliers[ga, 0])
        if want_b and still_b:
            _flush(total_b[None], d_offsets[gb])
        if want_initial:
            d_initial[gi] += carried


@compiled
def _flush(total, out):
    """Add sums in double precision to a matrix and begin them anew."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += total[i, j]
            total[i, j] = 0
