"""The compiled filter of hidden Markov chains (see `hidden_markov`)."""

from __future__ import annotations

import numpy as np

from dynplat.scan.kernels.compiling import compiled
from dynplat.scan.kernels.eight import EIGHT
from dynplat.scan.kernels.exponential import exp
from dynplat.scan.kernels.hidden_markov_eight import PART_ROWS, PART_STATES, filter_parts, filter_series
from dynplat.scan.kernels.small import of

#: Columns of `status`: the first row that is impossible (T where none is), and what happened.
IMPOSSIBLE, OUTCOME = 0, 1
#: Values of `status[:, OUTCOME]`: which form the kept arrays have. In parts they are scaled, and passages are kept.
SCALED, LOGARITHMIC, IN_PARTS = 0, 1, 2
#: Series from which on they are filtered side by side (see `Kernel.together`).
SIDE_BY_SIDE = EIGHT // 2

#: Numbers in a lane; rows of matrices are filled up with zeros to whole lanes.
LANE = 4
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
            `hidden_markov_eight`); any shape (G, ...) where nothing is kept.
        status: int32 (G, 2).
    """
    G, T, K = log_prob.shape[0], log_density.shape[1], log_initial.shape[1]
    packed = np.zeros((K, lanes(K) * LANE))
    law = np.zeros(packed.shape[1])
    floor = smallest(log_density.dtype)
    still, shared = log_transition.shape[1] == 1, log_transition.shape[0] == 1
    sound = pack(log_transition[0, 0], floor, packed) if still and shared else True
    groups = np.empty(EIGHT, np.int64)
    passage[:] = 0.0
    for first in range(0, G, EIGHT):
        count = min(EIGHT, G - first)
        if count >= SIDE_BY_SIDE and sound:
            for l in range(EIGHT):
                groups[l] = first + min(l, count - 1)
            if filter_series(
                groups, count, log_initial, log_transition, packed, log_density, floor, log_prob, filtered, weights
            ):
                for l in range(count):
                    status[first + l, IMPOSSIBLE], status[first + l, OUTCOME] = T, SCALED
                continue
        for g in range(first, first + count):
            if still and not shared:
                sound = pack(log_transition[g, 0], floor, packed)
            begin = 0
            outcome = SCALED
            if sound and K > 1 and K <= PART_STATES and T >= PART_ROWS:
                if filter_parts(
                    g, log_initial, log_transition, log_density, floor, packed, log_prob, filtered, weights, passage[g],
                    law,
                ):  # fmt: skip
                    begin = T // EIGHT * EIGHT
                    outcome = IN_PARTS
            if sound and _scaled(
                g, begin, law, log_initial, log_transition, log_density, packed, log_prob, filtered, weights
            ):
                status[g, IMPOSSIBLE], status[g, OUTCOME] = T, outcome
            else:
                _logarithmic(g, log_initial, log_transition, log_density, log_prob, filtered, weights, status)
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


@compiled
def pack(log_matrix, floor, packed):
    """Exponentiate a matrix (K, K) into a whole number of lanes; False where a possible transition is below `floor`."""
    K = log_matrix.shape[0]
    floor = np.log(floor)
    for i in range(K):
        for j in range(K):
            packed[i, j] = log_matrix[i, j]
        for j in range(K, packed.shape[1]):
            packed[i, j] = -np.inf
    # All at once: rows may be shorter than a vector register.
    flat = packed.reshape(packed.size)
    unsound = 0
    for k in range(flat.size):
        value = flat[k]
        unsound += 1 if value < floor and value > -np.inf else 0
        flat[k] = exp(value)
    return unsound == 0


@compiled
def multiply(vector, matrix, out):
    """Put vector @ matrix into `out`; the matrix has a whole number of lanes of columns."""
    rows, columns = matrix.shape
    if columns == LANE:
        s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
        for i in range(rows):
            v = vector[i]
            s0 += v * matrix[i, 0]
            s1 += v * matrix[i, 1]
            s2 += v * matrix[i, 2]
            s3 += v * matrix[i, 3]
        out[0], out[1], out[2], out[3] = s0, s1, s2, s3
        return
    # Four rows at once: a fourth of the traffic with `out`.
    for j in range(columns):
        out[j] = 0.0
    fours = rows - rows % 4
    for i in range(0, fours, 4):
        v0, v1, v2, v3 = vector[i], vector[i + 1], vector[i + 2], vector[i + 3]
        for j in range(columns):
            out[j] += v0 * matrix[i, j] + v1 * matrix[i + 1, j] + v2 * matrix[i + 2, j] + v3 * matrix[i + 3, j]
    for i in range(fours, rows):
        v0 = vector[i]
        for j in range(columns):
            out[j] += v0 * matrix[i, j]


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
        packed = np.zeros_like(packed)
    keep = filtered.shape[1] > 1
    density = np.zeros((_ROWS, size))
    largest = np.empty(_ROWS)
    predicted = np.zeros(size)
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
        flat = density.reshape(_ROWS * size)
        for k in range(rows * size):
            p = exp(flat[k])
            flat[k] = 0.0 if p < lost_below else p
        for b in range(rows):
            t = start + b
            if t > 0:
                if moving and not pack(log_transition[gA, t], floor, packed):
                    return False
                multiply(law, packed, predicted)
                if lost:
                    for j in range(K):
                        if not (predicted[j] >= floor):
                            return False
            total = 0.0
            least = 1.0
            for j in range(size):
                p = predicted[j]
                least = min(least, p if p > 0 else 1.0)
                p = p * density[b, j]
                law[j] = p
                total += p
            if not (total >= floor and least >= floor):
                return False
            inverse = 1.0 / total
            least = 1.0
            for j in range(size):
                p = law[j] * inverse
                least = min(least, p if predicted[j] > 0 else 1.0)
                law[j] = 0.0 if p < lost_below else p
            lost = False
            if least < lost_below:
                for j in range(K):
                    lost = lost or (predicted[j] > 0 and law[j] == 0 and log_density[ge, t, j] > -np.inf)
            log_prob[g, t] = np.log(total) + largest[b]
            if keep:
                for j in range(K):
                    filtered[g, t, j] = law[j]
                    weights[g, t, j] = density[b, j] * inverse if predicted[j] > 0 else 0.0
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
