"""Compiled transition probabilities of Markov jump processes over many gaps, and their adjoint.

`series` says how they are found. Gaps are halved and never cut into parts. The adjoint keeps nothing for a gap, and
finds the probabilities again.
"""

# pyright does not know that the first argument of numba's intrinsics is left out.
# pyright: reportCallIssue=false

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dynplat.scan.kernels.compiling import compiled
from dynplat.scan.kernels.exponential import log
from dynplat.scan.kernels.kernel import Kernel, Shape, Spec
from dynplat.scan.kernels.small import of
from dynplat.scan.kernels.vector import EIGHT, lines
from dynplat_jumps.kernels.series import (
    add_series,
    fill_coefficients,
    fill_powers,
    product,
    pull_back_powers,
    pull_back_squares,
    square,
    sum_series,
    table_room,
)

#: The smallest normal number: below, the library's own logarithm.
_NORMAL = 2.2250738585072014e-308


@compiled
def longest_step(K):
    """Largest x for which a series is summed: beyond, a squaring costs less than the terms it saves."""
    return min(max(K / 4.0, 0.5), 8.0)


@compiled
def forward(generator, gaps, transition):
    """Put exp(generator (G or 1, K, K) gaps (G or 1, T)) into transition (G, T, K, K)."""
    _forward(generator, gaps, False, transition)


@compiled
def forward_log(generator, gaps, log_transition):
    """Put the logarithms into log_transition (G, T, K, K); -inf of 0."""
    _forward(generator, gaps, True, log_transition)


@compiled
def backward(generator, gaps, transition, dtransition, wanted, dgenerator, dgaps):
    """Add up the gradients of all groups."""
    _backward(generator, gaps, dtransition, False, wanted, dgenerator, dgaps)


@compiled
def backward_log(generator, gaps, log_transition, dlog_transition, wanted, dgenerator, dgaps):
    """Add up the gradients of all groups; an impossible transition has none."""
    _backward(generator, gaps, dlog_transition, True, wanted, dgenerator, dgaps)


@compiled
def _forward(generator, gaps, logarithms, transition):
    G, T, K = transition.shape[0], transition.shape[1], transition.shape[2]
    width = (K + EIGHT - 1) // EIGHT * EIGHT
    size = K * width // EIGHT
    step = longest_step(K)
    room = table_room(K, step)
    table, coefficients = lines(size * room), lines(room)
    matrices, work, zero = lines(EIGHT * size), lines(size), lines(size)
    entries, flat = matrices.reshape(EIGHT, K, width), matrices.reshape(matrices.size)
    parts, squarings = np.empty(EIGHT, np.int64), np.empty(EIGHT, np.int64)
    omega, far = 1.0, 0
    for g in range(G):
        if g == 0 or generator.shape[0] > 1:
            omega, far = fill_powers(generator, of(g, generator.shape[0]), step, table)
        gg = of(g, gaps.shape[0])
        for first in range(0, T, EIGHT):
            count = min(EIGHT, T - first)
            terms = fill_coefficients(gaps, gg, first, count, omega, far, step, 1, coefficients, parts, squarings)
            sum_series(coefficients, table, terms, matrices)
            for b in range(count):
                if squarings[b] > 0:
                    square(matrices[b * size : (b + 1) * size], K, squarings[b], zero[:0].reshape(0, 0, 0), work, zero)
            if logarithms:
                _take_logarithms(flat)
            for b in range(count):
                for i in range(K):
                    for j in range(K):
                        transition[g, first + b, i, j] = entries[b, i, j]


@compiled
def _take_logarithms(flat):
    """Replace numbers by their logarithms, -inf of 0."""
    odd = 0
    for k in range(flat.size):
        odd += 1 if flat[k] > 0 and flat[k] < _NORMAL else 0
    if odd > 0:
        for k in range(flat.size):
            flat[k] = np.log(flat[k])
        return
    for k in range(flat.size):
        value = log(flat[k])
        flat[k] = -np.inf if flat[k] == 0 else value


@compiled
def _backward(generator, gaps, dtransition, logarithms, wanted, dgenerator, dgaps):
    dgenerator[:], dgaps[:] = 0.0, 0.0
    G, T, K = dtransition.shape[0], dtransition.shape[1], dtransition.shape[2]
    width = (K + EIGHT - 1) // EIGHT * EIGHT
    size = K * width // EIGHT
    step = longest_step(K)
    room = table_room(K, step)
    table, dtable, coefficients = lines(size * room), lines(size * room), lines(room)
    matrices, bars = lines(EIGHT * size), lines(EIGHT * size)
    work, zero, turned, rates = lines(size), lines(size), lines(size), lines(size)
    entries, slopes = matrices.reshape(EIGHT, K, width), bars.reshape(EIGHT, K, width)
    parts, squarings = np.empty(EIGHT, np.int64), np.empty(EIGHT, np.int64)
    kept = np.empty((EIGHT, 0, size, EIGHT))
    want_generator, want_gaps = wanted[0, 0] != 0, wanted[0, 1] != 0
    omega, far = 1.0, 0
    for g in range(G):
        gq, gg = of(g, generator.shape[0]), of(g, gaps.shape[0])
        if g == 0 or generator.shape[0] > 1:
            omega, far = fill_powers(generator, gq, step, table)
            dtable[:] = 0.0
            _fill(generator, gq, rates.reshape(K, width))
        for first in range(0, T, EIGHT):
            count = min(EIGHT, T - first)
            terms = fill_coefficients(gaps, gg, first, count, omega, far, step, 1, coefficients, parts, squarings)
            sum_series(coefficients, table, terms, matrices)
            most = squarings.max()
            if most > kept.shape[1]:
                kept = np.empty((EIGHT, most, size, EIGHT))
            for b in range(EIGHT):
                P = matrices[b * size : (b + 1) * size]
                if squarings[b] > 0:
                    square(P, K, squarings[b], kept[b], work, zero)
                for i in range(K):
                    for j in range(K):
                        slope = np.float64(dtransition[g, first + b, i, j]) if b < count else 0.0
                        if logarithms:
                            p = entries[b, i, j]
                            slope = slope / p if slope != 0 and p > 0 else 0.0
                        slopes[b, i, j] = slope
                bar = bars[b * size : (b + 1) * size]
                if want_gaps and b < count:
                    # The derivative in the gap is P Q.
                    product(zero, P, rates, K, work)
                    dgaps[gg, first + b] += (work * bar).sum()
                if squarings[b] > 0:
                    pull_back_squares(bar, K, squarings[b], kept[b], turned, work)
            if want_generator:
                add_series(coefficients, bars, terms, dtable)
        if want_generator and (g == G - 1 or generator.shape[0] > 1):
            pull_back_powers(generator, gq, step, omega, far, table, dtable, dgenerator)


@compiled
def _fill(generator, g, out):
    """Put a generator into the rows of `out`."""
    for i in range(generator.shape[1]):
        for j in range(generator.shape[2]):
            out[i, j] = generator[g, i, j]


def _shapes(inputs: Sequence[Shape], keep: bool) -> tuple[Shape, ...]:
    K = inputs[0][-1]
    groups = max(shape[0] for shape in inputs)
    return ((groups, inputs[1][1], K, K),)


_INPUTS = (Spec("generator", 3, differentiable=True), Spec("gaps", 2, differentiable=True))

LOG_TRANSITION = Kernel(
    name="markov_jump_log_transition",
    inputs=_INPUTS,
    outputs=(Spec("log_transition", 4),),
    num_values=1,
    shapes=_shapes,
    forward=forward_log,
    backward=backward_log,
)

TRANSITION = Kernel(
    name="markov_jump_transition",
    inputs=_INPUTS,
    outputs=(Spec("transition", 4),),
    num_values=1,
    shapes=_shapes,
    forward=forward,
    backward=backward,
)
