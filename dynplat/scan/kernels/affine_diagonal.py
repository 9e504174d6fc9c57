"""The compiled recurrence x_t = a_t x_{t-1} + b_t, entry by entry, and its adjoint (see `affine`).

What it costs is memory traffic, so every row of every array is read or written once. Loops over channels compile to
packed instructions; those of the adjoint run downwards, as time does there: hardware that fetches memory ahead follows
one direction. It does not see the next part of a row coming where a call has only some of the channels: there the
adjoint asks for memory a row ahead.
"""

from __future__ import annotations

import numpy as np

from dynplat.scan.kernels.compiling import compiled
from dynplat.scan.kernels.pages import use_large_pages
from dynplat.scan.kernels.prefetch import fetch
from dynplat.scan.kernels.small import of

#: Places in `settings`: time runs from the last row to the first; gradients in torch's convention for complex numbers.
REVERSE, CONJUGATE = 0, 1
#: Rows whose parts of a gradient that does not change in time are summed before they meet a sum in double precision.
BLOCK = 64


@compiled
def forward(multipliers, offsets, initial, settings, lanes, states):
    """Put the states of the channels in `lanes` into `states`."""
    use_large_pages(states)
    G, T = states.shape[0], states.shape[1]
    start, stop = int(lanes[0, 0]), int(lanes[0, 1])
    reverse = settings[0, REVERSE] != 0
    for g in range(G):
        ga, gb = of(g, multipliers.shape[0]), of(g, offsets.shape[0])
        before = initial[of(g, initial.shape[0]), start:stop]
        for step in range(T):
            t = T - 1 - step if reverse else step
            state = states[g, t, start:stop]
            a = multipliers[ga, of(t, multipliers.shape[1]), start:stop]
            b = offsets[gb, of(t, offsets.shape[1]), start:stop]
            for c in range(state.size):
                state[c] = a[c] * before[c] + b[c]
            before = state


@compiled
def backward(
    multipliers, offsets, initial, settings, lanes, states, cotangent, wanted, d_multipliers, d_offsets, d_initial
):
    """Put the gradients of the channels in `lanes` into the last three arrays.

    Inputs: those of `forward`, its `states`, their `cotangent`, and flags (1, 3) that say which gradients are wanted.
    """
    use_large_pages(d_multipliers)
    use_large_pages(d_offsets)
    G, T = states.shape[0], states.shape[1]
    start, stop = int(lanes[0, 0]), int(lanes[0, 1])
    reverse, conjugate = settings[0, REVERSE] != 0, settings[0, CONJUGATE] != 0
    want_a, want_b, want_initial = wanted[0, 0] != 0, wanted[0, 1] != 0, wanted[0, 2] != 0
    # A gradient that each row and group has for itself is written once; any other is a sum.
    sum_a = d_multipliers.shape[0] != G or d_multipliers.shape[1] != T
    sum_b = d_offsets.shape[0] != G or d_offsets.shape[1] != T
    still_a, still_b = d_multipliers.shape[1] != T, d_offsets.shape[1] != T
    own = want_a and want_b and not sum_a and not sum_b
    apart = stop - start < states.shape[2]
    if sum_a or not want_a:
        d_multipliers[:, :, start:stop] = 0
    if sum_b or not want_b:
        d_offsets[:, :, start:stop] = 0
    d_initial[:, start:stop] = 0
    adjoint = np.zeros(stop - start, states.dtype)
    carried = np.zeros_like(adjoint)  # adjoint of the state before
    block_a, block_b = np.zeros_like(adjoint), np.zeros_like(adjoint)
    total_a, total_b = block_a + np.zeros(block_a.size), block_b + np.zeros(block_b.size)  # double precision
    for g in range(G):
        ga, gb, gi = of(g, multipliers.shape[0]), of(g, offsets.shape[0]), of(g, initial.shape[0])
        carried[:] = 0
        for step in range(T - 1, -1, -1):
            t = T - 1 - step if reverse else step
            a = multipliers[ga, of(t, multipliers.shape[1]), start:stop]
            before = initial[gi, start:stop]
            if step > 0:
                before = states[g, t + 1 if reverse else t - 1, start:stop]
            seen = cotangent[g, t, start:stop]
            if apart and step > 1:
                earlier = t + 1 if reverse else t - 1
                fetch(cotangent[g, earlier, start:stop])
                fetch(states[g, earlier + 1 if reverse else earlier - 1, start:stop])
                fetch(multipliers[ga, of(earlier, multipliers.shape[1]), start:stop])
                if want_a and not still_a:
                    fetch(d_multipliers[ga, earlier, start:stop])
                if want_b and not still_b:
                    fetch(d_offsets[gb, earlier, start:stop])
            if own:
                _all(
                    a, before, seen, carried, d_multipliers[ga, t, start:stop], d_offsets[gb, t, start:stop], conjugate
                )
                continue
            _carry(a, seen, carried, adjoint, conjugate)
            if want_a:
                _outer(adjoint, before, block_a if still_a else d_multipliers[ga, t, start:stop], conjugate, sum_a)
                if still_a and step % BLOCK == 0:
                    _flush(block_a, total_a)
            if want_b:
                _put(adjoint, block_b if still_b else d_offsets[gb, t, start:stop], sum_b)
                if still_b and step % BLOCK == 0:
                    _flush(block_b, total_b)
        if want_a and still_a:
            _flush(total_a, d_multipliers[ga, 0, start:stop])
        if want_b and still_b:
            _flush(total_b, d_offsets[gb, 0, start:stop])
        if want_initial:
            _put(carried, d_initial[gi, start:stop], True)


@compiled
def _all(a, before, cotangent, carried, d_multiplier, d_offset, conjugate):
    """`_carry`, `_outer` and `_put` in one loop."""
    if conjugate:
        for c in range(carried.size - 1, -1, -1):
            adjoint = cotangent[c] + carried[c]
            d_offset[c] = adjoint
            d_multiplier[c] = adjoint * np.conj(before[c])
            carried[c] = adjoint * np.conj(a[c])
    else:
        for c in range(carried.size - 1, -1, -1):
            adjoint = cotangent[c] + carried[c]
            d_offset[c] = adjoint
            d_multiplier[c] = adjoint * before[c]
            carried[c] = adjoint * a[c]


@compiled
def _carry(a, cotangent, carried, adjoint, conjugate):
    """Add what comes from later rows to this row's cotangent, and pass the sum on to the row before."""
    if conjugate:
        for c in range(adjoint.size - 1, -1, -1):
            value = cotangent[c] + carried[c]
            adjoint[c] = value
            carried[c] = value * np.conj(a[c])
    else:
        for c in range(adjoint.size - 1, -1, -1):
            value = cotangent[c] + carried[c]
            adjoint[c] = value
            carried[c] = value * a[c]


@compiled
def _outer(adjoint, before, out, conjugate, add):
    """Put the adjoint times the state before into `out`, or add it."""
    if conjugate:
        if add:
            for c in range(out.size - 1, -1, -1):
                out[c] += adjoint[c] * np.conj(before[c])
        else:
            for c in range(out.size - 1, -1, -1):
                out[c] = adjoint[c] * np.conj(before[c])
    elif add:
        for c in range(out.size - 1, -1, -1):
            out[c] += adjoint[c] * before[c]
    else:
        for c in range(out.size - 1, -1, -1):
            out[c] = adjoint[c] * before[c]


@compiled
def _put(values, out, add):
    if add:
        for c in range(out.size - 1, -1, -1):
            out[c] += values[c]
    else:
        for c in range(out.size - 1, -1, -1):
            out[c] = values[c]


@compiled
def _flush(block, out):
    """Add a sum to a wider one and begin it anew."""
    for c in range(out.size):
        out[c] += block[c]
        block[c] = 0
