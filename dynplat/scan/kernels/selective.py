r"""The compiled selective scan of Mamba, its states held in the caches next to the core, and its adjoint.

.. math::
    x_t = a_t x_{t-1} + \Delta_t u_t B_t, \qquad y_t = \langle C_t, x_t \rangle + D u_t, \qquad
    a_t = k e^{\Delta_t A} + 1 - k, \qquad t = 0, \dots, T - 1,

for each channel with N states, x_{-1} given; k = 1, and 2 with `settings` SIGNED. Arrays: steps Delta and inputs u
(G, T, n), rates A (G, n, N), write B and query C (G, T, N), skip D (G, n), initial and last (G, n, N), outputs y
(G, T, n). Axis 0 is the group, of length 1 where all groups share an array; `report` (G, 1) counts the segments kept.

Nothing of the size of the states, (G, T, n, N), exists. The forward pass keeps them before every 32nd row; the adjoint
takes such a segment of rows at a time, the last first, computes its states again and goes back through them.

**Adjoint.** With cotangents g_t of y_t and that of the last state as :math:`a_T \lambda_T`,

.. math::
    \lambda_t = C_t g_t + a_{t+1} \lambda_{t+1}, \quad \bar C_t = \sum g_t x_t, \quad
    \bar B_t = \sum \lambda_t \Delta_t u_t, \quad s_t = k e^{\Delta_t A} \lambda_t x_{t-1}, \quad
    \bar A = \sum_t \Delta_t s_t,

    \bar\Delta_t = \langle A, s_t \rangle + u_t \langle B_t, \lambda_t \rangle, \quad
    \bar u_t = \Delta_t \langle B_t, \lambda_t \rangle + D g_t, \quad \bar D = \sum_t g_t u_t, \quad
    \bar x_{-1} = a_0 \lambda_0 .

Sums for B and C run over channels, which are worked on sixteen at a time: vectors of partial sums wait until all
channels of a segment are done, and only then is each added up to one number. Sums over rows are in double precision
from segment to segment.
"""

# pyright does not know that the first argument of numba's intrinsics is left out.
# pyright: reportCallIssue=false

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dynplat.scan.kernels.compiling import compiled, leaf
from dynplat.scan.kernels.kernel import Kernel, Shape, Spec
from dynplat.scan.kernels.small import of
from dynplat.scan.kernels.vector import (
    SIXTEEN,
    minus,
    multiple,
    plus_multiple,
    plus_times,
    read_sixteen,
    sum_of,
    times,
    write,
)
from dynplat.scan.kernels.wide import exp2, nothing, room

#: Place in `settings`: eigenvalues 2 exp(Delta A) - 1.
SIGNED = 0
#: Rows of a segment.
ROWS = 32
_LOG2_E, _LOG_2 = 1.4426950408889634, 0.6931471805599453


@compiled
def forward(steps, rates, B, C, inputs, skip, initial, settings, outputs, last, kept, report):
    """Put outputs and last states into `outputs` and `last`, and states before segments into `kept`, if it has room."""
    report[:] = kept.shape[1]
    G, T, n = outputs.shape
    N, blocks = last.shape[2], _blocks(n)
    slopes, states = room(blocks * N, steps), room(blocks * N, steps)
    step_rows, write_rows, seen = room(ROWS, steps), room(ROWS, steps), room(ROWS, steps)
    bias = _bias(settings, steps)
    for g in range(G):
        _turn(rates, of(g, rates.shape[0]), _LOG2_E, slopes)
        _turn(initial, of(g, initial.shape[0]), 1.0, states)
        gs, gu, gk = of(g, steps.shape[0]), of(g, inputs.shape[0]), of(g, skip.shape[0])
        b, c = B[of(g, B.shape[0])], C[of(g, C.shape[0])]
        for first in range(0, T, ROWS):
            rows = min(ROWS, T - first)
            if kept.shape[1] > 0:
                kept[g, first // ROWS] = states
            for block in range(blocks):
                start = block * SIXTEEN
                width = min(SIXTEEN, n - start)
                for r in range(rows):
                    for j in range(width):
                        step = steps[gs, first + r, start + j]
                        step_rows[r, j], write_rows[r, j] = step, step * inputs[gu, first + r, start + j]
                _advance(first, rows, block * N, step_rows, write_rows, slopes, bias, b, c, states, seen)
                for r in range(rows):
                    for j in range(width):
                        u = inputs[gu, first + r, start + j]
                        outputs[g, first + r, start + j] = seen[r, j] + skip[gk, start + j] * u
        for j in range(n):
            for i in range(N):
                last[g, j, i] = states[j // SIXTEEN * N + i, j % SIXTEEN]


@leaf
def _advance(first, rows, line, step_rows, write_rows, slopes, bias, b, c, states, seen):
    """Run a segment of one block of channels, whose states begin at row `line`."""
    more = read_sixteen(bias, 0, 0)
    less = read_sixteen(bias, 1, 0)
    for r in range(rows):
        step, written = read_sixteen(step_rows, r, 0), read_sixteen(write_rows, r, 0)
        total = nothing(step)
        for i in range(b.shape[1]):
            k = line + i
            multiplier = minus(exp2(plus_times(more, step, read_sixteen(slopes, k, 0))), less)
            state = plus_multiple(times(multiplier, read_sixteen(states, k, 0)), b[first + r, i], written)
            write(states, k, 0, state)
            total = plus_multiple(total, c[first + r, i], state)
        write(seen, r, 0, total)


@compiled
def backward(
    steps, rates, B, C, inputs, skip, initial, settings, outputs, last, kept, report, of_outputs, of_last, wanted,
    d_steps, d_rates, d_B, d_C, d_inputs, d_skip, d_initial,
):  # fmt: skip
    """Put the gradients of all groups into the last seven arrays.

    Inputs: those of `forward`, what it gave, cotangents of outputs and last states, and flags (1, 7).
    """
    d_steps[:], d_rates[:], d_B[:], d_C[:], d_inputs[:], d_skip[:], d_initial[:] = 0, 0, 0, 0, 0, 0, 0
    G, T, n = of_outputs.shape
    N, blocks = last.shape[2], _blocks(n)
    slopes, carried, of_slopes = room(blocks * N, steps), room(blocks * N, steps), room(blocks * N, steps)
    step_rows, write_rows, seen = room(ROWS, steps), room(ROWS, steps), room(ROWS, steps)
    of_write, of_step = room(ROWS, steps), room(ROWS, steps)
    states, powers = room((ROWS + 1) * N, steps), room(ROWS * N, steps)
    of_b, of_c = room(ROWS * N, steps), room(ROWS * N, steps)
    total_slopes, total_skip = np.zeros((blocks * N, SIXTEEN)), np.zeros(n)
    bias = _bias(settings, steps)
    want_step, want_rate, want_b, want_c = wanted[0, 0] != 0, wanted[0, 1] != 0, wanted[0, 2] != 0, wanted[0, 3] != 0
    want_input, want_skip, want_initial = wanted[0, 4] != 0, wanted[0, 5] != 0, wanted[0, 6] != 0
    for g in range(G):
        _turn(rates, of(g, rates.shape[0]), _LOG2_E, slopes)
        _turn(of_last, g, 1.0, carried)
        gs, gu, gk = of(g, steps.shape[0]), of(g, inputs.shape[0]), of(g, skip.shape[0])
        gb, gc = of(g, B.shape[0]), of(g, C.shape[0])
        for first in range((T - 1) // ROWS * ROWS, -1, -ROWS):
            rows = min(ROWS, T - first)
            for block in range(blocks):
                start = block * SIXTEEN
                width = min(SIXTEEN, n - start)
                for r in range(rows):
                    for j in range(width):
                        step = steps[gs, first + r, start + j]
                        step_rows[r, j], write_rows[r, j] = step, step * inputs[gu, first + r, start + j]
                        seen[r, j] = of_outputs[g, first + r, start + j]
                    for j in range(width, SIXTEEN):
                        seen[r, j] = 0
                line = block * N
                for i in range(N):
                    states[i] = kept[g, first // ROWS, line + i]
                _recompute(first, rows, line, step_rows, write_rows, slopes, bias, B[gb], states, powers)
                _go_back(
                    first, rows, line, step_rows, write_rows, seen, slopes, bias, B[gb], C[gc], states, powers,
                    carried, of_slopes, of_b, of_c, of_write, of_step,
                )  # fmt: skip
                for r in range(rows):
                    for j in range(width):
                        t, c = first + r, start + j
                        u, step = inputs[gu, t, c], step_rows[r, j]
                        if want_step:
                            d_steps[gs, t, c] += of_step[r, j] + u * of_write[r, j]
                        if want_input:
                            d_inputs[gu, t, c] += step * of_write[r, j] + skip[gk, c] * seen[r, j]
                        if want_skip:
                            total_skip[c] += u * seen[r, j]
            if want_b:
                _add_up(of_b, first, rows, d_B[gb])
            if want_c:
                _add_up(of_c, first, rows, d_C[gc])
            of_b[:], of_c[:] = 0, 0
            for k in range(blocks * N):
                for j in range(SIXTEEN):
                    total_slopes[k, j] += of_slopes[k, j]
                    of_slopes[k, j] = 0
        # What groups share is written once, after the last of them.
        if g == G - 1 or d_rates.shape[0] > 1:
            if want_rate:
                _turn_back(total_slopes, d_rates[of(g, d_rates.shape[0])])
            total_slopes[:] = 0
        if g == G - 1 or d_skip.shape[0] > 1:
            if want_skip:
                d_skip[of(g, d_skip.shape[0])] = total_skip
            total_skip[:] = 0
        if want_initial:
            _turn_back(carried, d_initial[of(g, d_initial.shape[0])])


@leaf
def _recompute(first, rows, line, step_rows, write_rows, slopes, bias, b, states, powers):
    """States of a segment, the one before it in front, and k exp(Delta A)."""
    more = read_sixteen(bias, 0, 0)
    less = read_sixteen(bias, 1, 0)
    N = b.shape[1]
    for r in range(rows):
        step, written = read_sixteen(step_rows, r, 0), read_sixteen(write_rows, r, 0)
        for i in range(N):
            k = r * N + i
            power = exp2(plus_times(more, step, read_sixteen(slopes, line + i, 0)))
            write(powers, k, 0, power)
            state = times(minus(power, less), read_sixteen(states, k, 0))
            write(states, k + N, 0, plus_multiple(state, b[first + r, i], written))


@leaf
def _go_back(
    first, rows, line, step_rows, write_rows, seen, slopes, bias, b, c, states, powers,
    carried, of_slopes, of_b, of_c, of_write, of_step,
):  # fmt: skip
    """Lead the adjoint through a segment of one block of channels and add up gradients."""
    less = read_sixteen(bias, 1, 0)
    N = b.shape[1]
    for r in range(rows - 1, -1, -1):
        step, written = read_sixteen(step_rows, r, 0), read_sixteen(write_rows, r, 0)
        cotangent = read_sixteen(seen, r, 0)
        to_write, to_step = nothing(step), nothing(step)
        for i in range(N):
            k, own = r * N + i, line + i
            power = read_sixteen(powers, k, 0)
            adjoint = plus_multiple(read_sixteen(carried, own, 0), c[first + r, i], cotangent)
            write(carried, own, 0, times(adjoint, minus(power, less)))
            write(of_c, k, 0, plus_times(read_sixteen(of_c, k, 0), cotangent, read_sixteen(states, k + N, 0)))
            write(of_b, k, 0, plus_times(read_sixteen(of_b, k, 0), adjoint, written))
            to_write = plus_multiple(to_write, b[first + r, i], adjoint)
            slope = times(times(power, adjoint), read_sixteen(states, k, 0))
            to_step = plus_times(to_step, slope, read_sixteen(slopes, own, 0))
            write(of_slopes, own, 0, plus_times(read_sixteen(of_slopes, own, 0), slope, step))
        write(of_write, r, 0, to_write)
        write(of_step, r, 0, multiple(_LOG_2, to_step))


@leaf
def _add_up(parts, first, rows, gradient):
    """Add sums over the channels to the gradient of the rows of a segment."""
    N = gradient.shape[1]
    for r in range(rows):
        for i in range(N):
            gradient[first + r, i] += sum_of(read_sixteen(parts, r * N + i, 0))


@compiled
def _blocks(channels):
    return -(-channels // SIXTEEN)


@compiled
def _bias(settings, like):
    """Rows log2 k and k - 1."""
    rows = room(2, like)
    if settings[0, SIGNED] != 0:
        rows[:] = 1
    return rows


@compiled
def _turn(array, g, factor, out):
    """Put `factor` times (channel, state) of a group into rows (block of channels and state, channel)."""
    n, N = array.shape[1], array.shape[2]
    for j in range(n):
        for i in range(N):
            out[j // SIXTEEN * N + i, j % SIXTEEN] = factor * array[g, j, i]


@compiled
def _turn_back(rows, out):
    """Add such rows to (channel, state)."""
    n, N = out.shape
    for j in range(n):
        for i in range(N):
            out[j, i] += rows[j // SIXTEEN * N + i, j % SIXTEEN]


def _shapes(inputs: Sequence[Shape], keep: bool) -> tuple[Shape, ...]:
    groups = max(shape[0] for shape in inputs)
    (_, T, n), N = inputs[0], inputs[1][2]
    segments = -(-T // ROWS) if keep else 0
    return (groups, T, n), (groups, n, N), (groups, segments, -(-n // SIXTEEN) * N, SIXTEEN), (groups, 1)


SELECTIVE = Kernel(
    name="selective",
    inputs=(
        Spec("steps", 3, differentiable=True),
        Spec("rates", 3, differentiable=True),
        Spec("write", 3, differentiable=True),
        Spec("query", 3, differentiable=True),
        Spec("inputs", 3, differentiable=True),
        Spec("skip", 2, differentiable=True),
        Spec("initial", 3, differentiable=True),
        Spec("settings", 2, "flag"),
    ),
    outputs=(Spec("outputs", 3), Spec("last", 3), Spec("kept", 4), Spec("report", 2, "count")),
    num_values=2,
    shapes=_shapes,
    forward=forward,
    backward=backward,
)
