"""The adjoint of the compiled filter of hidden Markov chains (see `hidden_markov`)."""

# pyright does not know that the first argument of numba's intrinsics is left out.
# pyright: reportCallIssue=false

from __future__ import annotations

import numpy as np

from dynplat.scan.kernels.compiling import compiled, leaf
from dynplat.scan.kernels.exponential import exp
from dynplat.scan.kernels.hidden_markov_eight import pull_back_runs
from dynplat.scan.kernels.hidden_markov_few import FEW, pull_back_few
from dynplat.scan.kernels.hidden_markov_forward import (
    IMPOSSIBLE,
    IN_PARTS,
    LANE,
    LOGARITHMIC,
    OUTCOME,
    SCALED,
    SIDE_BY_SIDE,
    lanes,
    multiply,
)
from dynplat.scan.kernels.hidden_markov_parts import pull_back_parts
from dynplat.scan.kernels.small import of
from dynplat.scan.kernels.vector import EIGHT, lines, load, plus_times, same, store


@compiled
def backward(
    log_initial, log_transition, log_density, log_prob, filtered, weights, passage, status, cotangent, wanted,
    d_initial, d_transition, d_density,
):  # fmt: skip
    """Add up the gradients of all groups.

    Inputs: those of `forward`, what it gave (with whole time axes), `cotangent` of `log_prob`, (G, T), or (G, 1) where
    it is the same for all rows, and `wanted`, flags (1, 3).
    Outputs: gradients, shaped as the inputs; those that are not wanted may have size 0. `d_transition` may have a time
    axis where the transition has none: its rows are then the parts that the shared gradient is the sum of.
    """
    d_initial[:], d_transition[:], d_density[:] = 0.0, 0.0, 0.0
    G, T, K = filtered.shape
    turned = lines(K * lanes(K)).reshape(K, lanes(K) * LANE)
    still, shared = log_transition.shape[1] == 1, log_transition.shape[0] == 1
    if still and shared:
        _turn(log_transition[0, 0], np.empty(K * K), turned)
    groups, start, after = np.empty(EIGHT, np.int64), np.zeros(EIGHT, np.int64), np.zeros(EIGHT)
    for first in range(0, G, EIGHT):
        count = min(EIGHT, G - first)
        scaled = count >= SIDE_BY_SIDE
        for l in range(EIGHT):
            groups[l] = first + min(l, count - 1)
            scaled = scaled and status[groups[l], OUTCOME] == SCALED
        if scaled and still and shared and d_transition.shape[1] <= 1 and 2 <= K <= FEW:
            adjoint = lines(K)
            adjoint[:] = 0.0
            pull_back_few(
                groups, start, T, turned, filtered, weights, cotangent, adjoint, after, count, wanted,
                d_initial, d_transition, d_density,
            )  # fmt: skip
            continue
        if scaled:
            pull_back_runs(
                groups, start, T, log_transition, turned, filtered, weights, cotangent, lines(K), after,
                count, wanted, d_initial, d_transition, d_density,
            )  # fmt: skip
            continue
        for g in range(first, first + count):
            if status[g, OUTCOME] == LOGARITHMIC:
                _logarithmic(
                    g, log_transition, filtered, weights, status, cotangent, wanted, d_initial, d_transition, d_density
                )
                continue
            if still and not shared:
                _turn(log_transition[g, 0], np.empty(K * K), turned)
            begin = T // EIGHT * EIGHT if status[g, OUTCOME] == IN_PARTS else 0
            adjoint = lines(lanes(K)).reshape(turned.shape[1])
            _scaled(
                g, begin, adjoint, log_transition, turned, filtered, weights, cotangent, wanted,
                d_initial, d_transition, d_density,
            )  # fmt: skip
            if begin > 0:
                pull_back_parts(
                    g, log_transition, turned, filtered, weights, passage[g], cotangent, adjoint, wanted,
                    d_initial, d_transition, d_density,
                )  # fmt: skip


@compiled
def backward_total(
    log_initial, log_transition, log_density, log_prob, filtered, weights, passage, status, cotangent, wanted,
    d_initial, d_transition, d_density,
):  # fmt: skip
    """Add up the gradients of all groups, as `backward` does, for `log_prob` and `cotangent` of whole series, (G,)."""
    backward(
        log_initial, log_transition, log_density, log_prob.reshape(log_prob.size, 1), filtered, weights, passage,
        status, cotangent.reshape(cotangent.size, 1), wanted, d_initial, d_transition, d_density,
    )  # fmt: skip


@leaf
def _turn(log_matrix, flat, turned):
    """Exponentiate a matrix and transpose it; `flat` (K K,) is room."""
    K = log_matrix.shape[0]
    for i in range(K):
        for j in range(K):
            flat[i * K + j] = log_matrix[i, j]
    for k in range(K * K):
        flat[k] = exp(flat[k])
    for i in range(K):
        for j in range(K):
            turned[j, i] = flat[i * K + j]


@compiled
def _scaled(
    g, begin, adjoint, log_transition, turned, filtered, weights, cotangent, wanted, d_initial, d_transition, d_density
):  # fmt: skip
    """Add a group's gradients from row `begin` on; `adjoint` becomes that of the filtered law of the row before."""
    T, K = filtered.shape[1], filtered.shape[2]
    size = turned.shape[1]
    gA = of(g, log_transition.shape[0])
    hi, hA, he = of(g, d_initial.shape[0]), of(g, d_transition.shape[0]), of(g, d_density.shape[0])
    want_initial, want_transition, want_density = wanted[0, 0] != 0, wanted[0, 1] != 0, wanted[0, 2] != 0
    moving = log_transition.shape[1] > 1
    apart = d_transition.shape[1] > 1
    room = np.empty(K * K)
    if moving:
        turned = lines(K * size // LANE).reshape(K, size)
    source = lines(size // LANE).reshape(size)  # adjoint of the predicted law
    law = lines(size // LANE).reshape(size)
    pairs = lines(K * size // LANE).reshape(K, size)  # sum of source_j law_i, transposed
    count = size // LANE
    matrix, result = turned.reshape(K * count, LANE), adjoint.reshape(count, LANE)
    sums, before = pairs.reshape(K * count, LANE), law.reshape(count, LANE)
    after = 0.0
    for t in range(T - 1, begin - 1, -1):
        now = cotangent[g, of(t, cotangent.shape[1])]
        for j in range(K):
            value = adjoint[j] + (now - after)
            source[j] = weights[g, t, j] * value
            if want_density:
                d_density[he, t, j] += filtered[g, t, j] * value
            if t == 0 and want_initial:
                d_initial[hi, j] += filtered[g, t, j] * value
        after = now
        if t == 0:
            break
        if moving:
            _turn(log_transition[gA, t], room, turned)
        multiply(source, matrix, 0, K, result)
        if want_transition:
            for i in range(K):
                law[i] = filtered[g, t - 1, i]
            if apart:
                for i in range(K):
                    for j in range(K):
                        d_transition[hA, t, i, j] += law[i] * turned[j, i] * source[j]
            else:
                for j in range(K):
                    x = same(source[j])
                    for c in range(count):
                        k = j * count + c
                        store(sums, k, plus_times(load(sums, k), x, load(before, c)))
    if want_transition and not apart:
        for i in range(K):
            for j in range(K):
                d_transition[hA, 0, i, j] += turned[j, i] * pairs[j, i]


@compiled
def _logarithmic(g, log_transition, filtered, weights, status, cotangent, wanted, d_initial, d_transition, d_density):
    K = filtered.shape[2]
    T = status[g, IMPOSSIBLE]
    gA = of(g, log_transition.shape[0])
    hi, hA, he = of(g, d_initial.shape[0]), of(g, d_transition.shape[0]), of(g, d_density.shape[0])
    want_initial, want_transition, want_density = wanted[0, 0] != 0, wanted[0, 1] != 0, wanted[0, 2] != 0
    mass = np.zeros(K)  # adjoint of the logarithm of the joint law of state and observation
    earlier = np.zeros(K)
    after = 0.0
    for t in range(T - 1, -1, -1):
        now = cotangent[g, of(t, cotangent.shape[1])]
        for j in range(K):
            mass[j] += exp(filtered[g, t, j]) * (now - after)
            if want_density:
                d_density[he, t, j] += mass[j]
            if t == 0 and want_initial:
                d_initial[hi, j] += mass[j]
        after = now
        if t == 0:
            break
        tA, tdA = of(t, log_transition.shape[1]), of(t, d_transition.shape[1])
        for i in range(K):
            total = 0.0
            for j in range(K):
                # p(x_{t-1} = i | x_t = j, y_<t), 0 where x_t = j cannot be.
                part = filtered[g, t - 1, i] + log_transition[gA, tA, i, j] - weights[g, t, j]
                part = exp(part) * mass[j] if weights[g, t, j] > -np.inf else 0.0
                total += part
                if want_transition:
                    d_transition[hA, tdA, i, j] += part
            earlier[i] = total
        mass, earlier = earlier, mass
