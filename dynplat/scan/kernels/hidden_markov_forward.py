"""The compiled filter of hidden Markov chains (see `hidden_markov`)."""

# pyright does not know that the first argument of numba's intrinsics is left out.
# pyright: reportCallIssue=false

from __future__ import annotations

import numpy as np

from dynplat.scan.kernels.compiling import compiled, leaf
from dynplat.scan.kernels.exponential import exp, log
from dynplat.scan.kernels.hidden_markov_eight import filter_series
from dynplat.scan.kernels.hidden_markov_few import filter_few_parts, filter_few_series, is_dense
from dynplat.scan.kernels.hidden_markov_parts import PART_ROWS, PART_STATES, filter_parts
from dynplat.scan.kernels.small import of
from dynplat.scan.kernels.vector import (
    EIGHT,
    add,
    least,
    least_of,
    lines,
    load,
    plus_times,
    same,
    store,
    sum_of,
    times,
    where_greater,
)

#: Columns of `status`: the first row that is impossible (T where none is), and what happened.
IMPOSSIBLE, OUTCOME = 0, 1
#: Values of `status[:, OUTCOME]`: which form the kept arrays have. In parts they are scaled, and passages are kept.
SCALED, LOGARITHMIC, IN_PARTS = 0, 1, 2
#: Series from which on they are filtered side by side (see `Kernel.together`).
SIDE_BY_SIDE = EIGHT // 2

#: Numbers in a lane; rows of matrices are filled up with zeros to whole lanes.
LANE = EIGHT
#: Rows whose densities are exponentiated at once.
_ROWS = 64
#: What is lost is at most this part of what it is added to.
_NEGLIGIBLE = 1e-30


@compiled
def forward(log_initial, log_transition, log_density, log_prob, filtered, weights, passage, status):
    """Filter all groups.

    Inputs: log_initial (G, K), log_transition (G, T or 1, K, K), log_density (G, T, K) (see `hidden_markov`).
    Outputs:
        log_prob: log p(y_t | y_<t), (G, T).
        filtered: p(x_t | y_<=t), (G, T or 1, K); a time axis of length 1 keeps only the last. Its logarithms where
            `status` says so.
        weights: p(y_t | x_t) / p(y_t | y_<t), 0 where p(x_t | y_<t) is 0, (G, T or 1, K); or log p(x_t | y_<t). Only
            whole time axes are of use.
        passage: What parts of a series make of laws, (G, 8, K, K), 0 where it isn't in parts (see
            `hidden_markov_parts`); any shape (G, ...) where nothing is kept.
        status: int32 (G, 2).
    """
    _forward(log_initial, log_transition, log_density, log_prob, np.empty(0), filtered, weights, passage, status)


@compiled
def forward_total(log_initial, log_transition, log_density, log_prob, filtered, weights, passage, status):
    """Filter all groups, as `forward` does, for `log_prob` of whole series, (G,)."""
    rows = np.empty((log_prob.size, log_density.shape[1]))
    _forward(log_initial, log_transition, log_density, rows, log_prob, filtered, weights, passage, status)


@compiled
def _forward(log_initial, log_transition, log_density, log_prob, total, filtered, weights, passage, status):
    """Filter all groups; put log-likelihoods of whole series into `total` (G,), or those of rows into `log_prob`.

    Where `total` has no size it is left out; where it has, `log_prob` (G, T) is room.
    """
    G, T, K = log_prob.shape[0], log_density.shape[1], log_initial.shape[1]
    packed = lines(K * lanes(K)).reshape(K, lanes(K) * LANE)
    law = lines(lanes(K)).reshape(packed.shape[1])
    floor = smallest(log_density.dtype)
    still, shared = log_transition.shape[1] == 1, log_transition.shape[0] == 1
    sound = pack(log_transition[0, 0], floor, np.empty(K * K), packed) if still and shared else True
    dense = still and shared and is_dense(packed, K)
    steps = total.size == 0
    groups = np.empty(EIGHT, np.int64)
    passage[:] = 0.0
    for first in range(0, G, EIGHT):
        count = min(EIGHT, G - first)
        if count >= SIDE_BY_SIDE and sound:
            for l in range(EIGHT):
                groups[l] = first + min(l, count - 1)
            done = dense and filter_few_series(
                groups, count, log_initial, floor, packed, log_density, steps, log_prob, total, filtered, weights
            )
            if not done and filter_series(
                groups, count, log_initial, log_transition, packed, log_density, floor, log_prob, filtered, weights
            ):
                done = True
                if not steps:
                    for l in range(count):
                        total[first + l] = log_prob[first + l].sum()
            if done:
                for l in range(count):
                    status[first + l, IMPOSSIBLE], status[first + l, OUTCOME] = T, SCALED
                continue
        for g in range(first, first + count):
            if still and not shared:
                sound = pack(log_transition[g, 0], floor, np.empty(K * K), packed)
                dense = is_dense(packed, K)
            begin, outcome = 0, SCALED
            value, summed = 0.0, 0
            if sound and K > 1 and K <= PART_STATES and T >= PART_ROWS:
                if dense:
                    value = filter_few_parts(
                        g, log_initial, floor, packed, log_density, steps, log_prob, filtered, weights, passage[g], law
                    )
                    if value == value:  # not NaN
                        begin, outcome = T // EIGHT * EIGHT, IN_PARTS
                        summed = begin
                    else:
                        value = 0.0
                if begin == 0 and filter_parts(
                    g, log_initial, log_transition, log_density, floor, packed, log_prob, filtered, weights, passage[g],
                    law,
                ):  # fmt: skip
                    begin, outcome = T // EIGHT * EIGHT, IN_PARTS
            if sound and _scaled(
                g, begin, law, log_initial, log_transition, log_density, packed, log_prob, filtered, weights
            ):
                status[g, IMPOSSIBLE], status[g, OUTCOME] = T, outcome
            else:
                _logarithmic(g, log_initial, log_transition, log_density, log_prob, filtered, weights, status)
                value, summed = 0.0, 0
            if not steps:
                total[g] = value + log_prob[g, summed:].sum()
        if not shared:
            sound = True


@compiled
def lanes(size):
    """Return how many lanes hold `size` numbers."""
    return (size + LANE - 1) // LANE


@compiled
def smallest(real):
    """Return the least prediction whose inverse is kept in numbers of a dtype (see `hidden_markov`)."""
    return 1e-170 if np.finfo(real).eps < 1e-10 else 1e-30


@leaf
def pack(log_matrix, floor, flat, packed):
    """Exponentiate a matrix (K, K) into a whole number of lanes; False where a possible transition is below `floor`.

    `flat` (K K,) is room: all are exponentiated at once, because rows may be shorter than a vector register.
    """
    K = log_matrix.shape[0]
    floor = np.log(floor)
    for i in range(K):
        for j in range(K):
            flat[i * K + j] = log_matrix[i, j]
    unsound = 0
    for k in range(K * K):
        value = flat[k]
        unsound += 1 if value < floor and value > -np.inf else 0
        flat[k] = exp(value)
    for i in range(K):
        for j in range(K):
            packed[i, j] = flat[i * K + j]
    return unsound == 0


@leaf
def multiply(vector, matrix, first, rows, result):
    """Put vector @ matrix into `result` (lanes, 8); of the lines (..., 8) of `matrix` its rows begin at `first`."""
    count = result.shape[0]
    fours = rows - rows % 4
    pairs = count - count % 2
    # Several sums at once: each waits for its own last addition only.
    for c in range(0, pairs, 2):
        a0, a1, a2, a3 = same(0.0), same(0.0), same(0.0), same(0.0)
        b0, b1, b2, b3 = same(0.0), same(0.0), same(0.0), same(0.0)
        for i in range(0, fours, 4):
            v0, v1, v2, v3 = same(vector[i]), same(vector[i + 1]), same(vector[i + 2]), same(vector[i + 3])
            k = first + i * count + c
            a0, b0 = plus_times(a0, v0, load(matrix, k)), plus_times(b0, v0, load(matrix, k + 1))
            k += count
            a1, b1 = plus_times(a1, v1, load(matrix, k)), plus_times(b1, v1, load(matrix, k + 1))
            k += count
            a2, b2 = plus_times(a2, v2, load(matrix, k)), plus_times(b2, v2, load(matrix, k + 1))
            k += count
            a3, b3 = plus_times(a3, v3, load(matrix, k)), plus_times(b3, v3, load(matrix, k + 1))
        for i in range(fours, rows):
            v0 = same(vector[i])
            a0 = plus_times(a0, v0, load(matrix, first + i * count + c))
            b0 = plus_times(b0, v0, load(matrix, first + i * count + c + 1))
        store(result, c, add(add(a0, a1), add(a2, a3)))
        store(result, c + 1, add(add(b0, b1), add(b2, b3)))
    if pairs < count:
        c = pairs
        a0, a1, a2, a3 = same(0.0), same(0.0), same(0.0), same(0.0)
        for i in range(0, fours, 4):
            k = first + i * count + c
            a0 = plus_times(a0, same(vector[i]), load(matrix, k))
            a1 = plus_times(a1, same(vector[i + 1]), load(matrix, k + count))
            a2 = plus_times(a2, same(vector[i + 2]), load(matrix, k + 2 * count))
            a3 = plus_times(a3, same(vector[i + 3]), load(matrix, k + 3 * count))
        for i in range(fours, rows):
            a0 = plus_times(a0, same(vector[i]), load(matrix, first + i * count + c))
        store(result, c, add(add(a0, a1), add(a2, a3)))


@compiled
def _scaled(g, begin, law, log_initial, log_transition, log_density, packed, log_prob, filtered, weights):
    """Filter a group with probabilities from row `begin` on; False where one of them might be too small.

    `law` is the filtered law of the row before, where there is one, and becomes that of the last row.
    """
    T, K = log_density.shape[1], log_density.shape[2]
    real = log_density.dtype
    floor = smallest(real)
    lost_below = floor * _NEGLIGIBLE
    size = packed.shape[1]
    gi, ge = of(g, log_initial.shape[0]), of(g, log_density.shape[0])
    gA = of(g, log_transition.shape[0])
    moving = log_transition.shape[1] > 1
    if moving:
        packed = lines(K * size // LANE).reshape(K, size)
    keep = filtered.shape[1] > 1
    density = lines(_ROWS * size // LANE).reshape(_ROWS, size)
    largest = np.empty(_ROWS)
    predicted = lines(size // LANE).reshape(size)
    room, total = np.empty(K * K), np.ones(_ROWS)
    scaled = lines(_ROWS * size // LANE if keep else 0).reshape(_ROWS * size if keep else 0)
    flat = density.reshape(_ROWS * size)
    count = size // LANE
    forecast, joint = predicted.reshape(count, LANE), law.reshape(count, LANE)
    matrix = packed.reshape(K * count, LANE)
    density_lines, kept = density.reshape(_ROWS * count, LANE), scaled.reshape(scaled.size // LANE, LANE)
    nothing, one = same(0.0), same(1.0)
    inverse = 1.0
    # Of a law that comes from elsewhere it isn't known here.
    lost = begin > 0
    if begin == 0:
        for j in range(K):
            predicted[j] = exp(log_initial[gi, j])
            lost = lost or (predicted[j] < floor and log_initial[gi, j] > -np.inf)
        if lost:
            return False
    for start in range(begin, T, _ROWS):
        rows = min(_ROWS, T - start)
        for b in range(rows):
            m = log_density[ge, start + b, 0]
            for j in range(1, K):
                m = max(m, log_density[ge, start + b, j])
            largest[b] = m
            for j in range(K):
                density[b, j] = log_density[ge, start + b, j] - m
            for j in range(K, size):
                density[b, j] = -np.inf
        for k in range(rows * size):
            p = exp(flat[k])
            flat[k] = 0.0 if p < lost_below else p
        for b in range(rows):
            t = start + b
            if t > 0:
                if moving and not pack(log_transition[gA, t], floor, room, packed):
                    return False
                multiply(law, matrix, 0, K, forecast)
            # The sum of the row before divides here, so that it can be formed while the product is.
            scale = same(inverse)
            sums, least_predicted, least_law = nothing, one, one
            for c in range(count):
                p = times(load(forecast, c), scale)
                store(forecast, c, p)
                least_predicted = least(least_predicted, where_greater(p, nothing, p, one))
                q = times(p, load(density_lines, b * count + c))
                store(joint, c, q)
                least_law = least(least_law, where_greater(p, nothing, q, one))
                sums = add(sums, q)
            if lost:
                for j in range(K):
                    if not (predicted[j] >= floor):
                        return False
            whole = sum_of(sums)
            if not (whole >= floor and least_of(least_predicted) >= floor):
                return False
            total[b] = whole
            inverse = 1.0 / whole
            lost = False
            if least_of(least_law) < lost_below * whole:
                for j in range(K):
                    if law[j] < lost_below * whole:
                        lost = lost or (predicted[j] > 0 and log_density[ge, t, j] > -np.inf)
                        law[j] = 0.0
            if keep:
                scale = same(inverse)
                for c in range(count):
                    store(kept, b * count + c, times(load(joint, c), scale))
                    w = times(load(density_lines, b * count + c), scale)
                    store(density_lines, b * count + c, where_greater(load(forecast, c), nothing, w, nothing))
        for b in range(rows):
            total[b] = log(total[b])
        for b in range(rows):
            log_prob[g, start + b] = total[b] + largest[b]
        if keep:
            for b in range(rows):
                for j in range(K):
                    filtered[g, start + b, j] = scaled[b * size + j]
                    weights[g, start + b, j] = flat[b * size + j]
    for j in range(size):
        law[j] *= inverse
    if not keep:
        for j in range(K):
            filtered[g, 0, j] = law[j]
            weights[g, 0, j] = 0.0
    return True


@compiled
def _logarithmic(g, log_initial, log_transition, log_density, log_prob, filtered, weights, status):
    """Filter a group with logarithms of probabilities."""
    T, K = log_density.shape[1], log_density.shape[2]
    gi, ge = of(g, log_initial.shape[0]), of(g, log_density.shape[0])
    gA = of(g, log_transition.shape[0])
    predicted = np.empty(K)
    largest = np.empty(K)
    law = np.empty(K)
    impossible = T
    for t in range(T):
        at = of(t, filtered.shape[1])
        if t == 0:
            for j in range(K):
                predicted[j] = log_initial[gi, j]
        else:
            tA = of(t, log_transition.shape[1])
            for j in range(K):
                largest[j] = -np.inf
                predicted[j] = 0.0
            for i in range(K):
                for j in range(K):
                    largest[j] = max(largest[j], law[i] + log_transition[gA, tA, i, j])
            for j in range(K):
                if largest[j] == -np.inf:
                    largest[j] = 0.0
            for i in range(K):
                for j in range(K):
                    predicted[j] += exp(law[i] + log_transition[gA, tA, i, j] - largest[j])
            for j in range(K):
                predicted[j] = np.log(predicted[j]) + largest[j]
        m = -np.inf
        for j in range(K):
            law[j] = predicted[j] + log_density[ge, t, j]
            m = max(m, law[j])
        if m == -np.inf:
            m = 0.0
        total = 0.0
        for j in range(K):
            total += exp(law[j] - m)
        total = np.log(total) + m
        log_prob[g, t] = total
        if total == -np.inf:
            impossible = t
            break
        for j in range(K):
            law[j] -= total
            filtered[g, at, j] = law[j]
            weights[g, at, j] = predicted[j]
    for t in range(impossible, T):
        log_prob[g, t] = -np.inf
        at = of(t, filtered.shape[1])
        for j in range(K):
            filtered[g, at, j] = -np.inf
            weights[g, at, j] = -np.inf
    status[g, IMPOSSIBLE] = impossible
    status[g, OUTCOME] = LOGARITHMIC
