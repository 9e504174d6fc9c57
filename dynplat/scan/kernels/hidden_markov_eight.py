r"""Eight runs of the compiled hidden Markov filter side by side (see `hidden_markov`), and of its adjoint.

A run is a stretch of rows of a series. Runs are independent, so that their numbers fill vector registers whatever the
number of states, and no row waits for the sums of the row before. Where there are fewer than eight series and few
states, the runs are eight parts of one series (`hidden_markov_parts`).

Nothing is dropped here, and a run that may have lost something is given up: the caller filters its series alone.
"""

# pyright does not know that the first argument of numba's intrinsics is left out.
# pyright: reportCallIssue=false

from __future__ import annotations

import numpy as np

from dynplat.scan.kernels.compiling import compiled, leaf
from dynplat.scan.kernels.exponential import exp, log
from dynplat.scan.kernels.small import of
from dynplat.scan.kernels.vector import (
    EIGHT,
    add,
    greatest,
    inverse,
    least,
    lines,
    load,
    plus_times,
    same,
    store,
    times,
    where_greater,
)

#: Rows that are worked on at once, and rows that may be kept exponentiated for a second pass.
ROWS, KEPT_ROWS = 32, 4096
#: Products of a number above the first with a probability above the floor can be held; so can products of the
#: exponential of the second with it, and of three such numbers.
_TINY, _LOG_TINY = 1e-130, -299.0
#: Numbers of which the product of four can be held.
_LEAST_JOINED = 1e-75


@compiled
def room(K, rows, moves):
    """Make room for what `exponentiate` gives of `rows` rows; `moves`, whether each row has a transition of its own."""
    matrices = lines(rows * K * K) if moves else lines(0)
    return lines(rows * K), lines(rows), lines(rows), matrices


@compiled
def exponentiate(group, start, first, rows, log_transition, log_density, log_floor, density, largest, far, matrices):
    """Put densities over the largest of their row into `density` (rows K, 8), and transitions into `matrices`.

    `far` tells rows that hold a density that is tiny but not 0. Into the first row of a series no transition leads:
    there stand zeros.

    Returns:
        Whether no possible transition is below the floor.
    """
    T, K = log_density.shape[1], log_density.shape[2]
    base = np.empty(EIGHT, np.int64)
    for l in range(EIGHT):
        base[l] = (of(group[l], log_density.shape[0]) * T + start[l] + first) * K
    source = log_density.reshape(log_density.size)
    for k in range(rows * K):
        for l in range(EIGHT):
            density[k, l] = source[base[l] + k]
    minus_infinity, nothing, one = same(-np.inf), same(0.0), same(1.0)
    for b in range(rows):
        m = load(density, b * K)
        for j in range(1, K):
            m = greatest(m, load(density, b * K + j))
        store(largest, b, m)
        m = times(m, same(-1.0))
        least_finite = nothing
        for j in range(K):
            x = add(load(density, b * K + j), m)
            store(density, b * K + j, x)
            least_finite = least(least_finite, where_greater(x, minus_infinity, x, nothing))
        store(far, b, where_greater(same(_LOG_TINY), least_finite, one, nothing))
    flat = density.reshape(density.size)
    for k in range(rows * K * EIGHT):
        flat[k] = exp(flat[k])
    if log_transition.shape[1] == 1:
        return True
    return _exponentiate_matrices(group, start, first, rows, log_transition, log_floor, matrices)


@compiled
def _exponentiate_matrices(group, start, first, rows, log_transition, log_floor, matrices):
    """Put the transitions into rows of runs into `matrices` (rows K K, 8) (see `exponentiate`)."""
    times_, K = log_transition.shape[1], log_transition.shape[2]
    source = log_transition.reshape(log_transition.size)
    base = np.empty(EIGHT, np.int64)
    for l in range(EIGHT):
        row = start[l] + first if times_ > 1 else 0
        base[l] = (of(group[l], log_transition.shape[0]) * times_ + row) * K * K
    for k in range(rows * K * K):
        for l in range(EIGHT):
            matrices[k, l] = source[base[l] + k]
    if times_ > 1 and first == 0:
        for l in range(EIGHT):
            if start[l] == 0:
                for k in range(K * K):
                    matrices[k, l] = -np.inf
    flat = matrices.reshape(matrices.size)
    unsound = 0
    for k in range(rows * K * K * EIGHT):
        x = flat[k]
        unsound += 1 if x < log_floor and x > -np.inf else 0
        flat[k] = exp(x)
    return unsound == 0


@compiled
def filter_runs(
    group, start, size, log_transition, matrix, log_density, floor, density, largest, far, matrices, ready,
    predicted, law, log_total, written, log_prob, filtered, weights,
):  # fmt: skip
    """Filter eight runs, each from S laws that may be predicted for its first row.

    Inputs: `group` and `start` (8,), the series and the first row of each run; `size`, their number of rows; `matrix`
    (K, K), the transition where it is the same for all rows and runs; `floor` (see `hidden_markov`); room for the
    exponentials of some rows, or, with `ready`, those of all rows; `predicted` (S, K, 8), laws predicted for the first
    rows, which is overwritten; `written`, of how many of the runs the outputs of the filter are written.
    Outputs: `law` (S, K, 8), filtered laws of the last rows; `log_total` (S, 8), log-likelihoods of the runs without
    the largest densities of their rows, which all S have in common and would only round them; and those of the filter
    (see `hidden_markov_forward.forward`).

    Returns:
        Whether nothing was lost in any run.
    """
    S, K = law.shape[0], law.shape[1]
    moving = log_transition.shape[1] > 1
    shared = not moving and log_transition.shape[0] == 1
    keep = written > 0 and filtered.shape[1] > 1
    log_floor = np.log(floor)
    if not shared and not moving:
        matrices = lines(K * K)
        if not _exponentiate_matrices(group, start, 0, 1, log_transition, log_floor, matrices):
            return False
    block = largest.shape[0]
    scaled = lines(block * K if keep else 0)
    weight = lines(block * K if keep else 0)
    total = lines(block)
    total[:] = 1.0
    lost_before = lines(S)
    worst = np.ones((3, EIGHT))
    log_total[:] = 0.0
    one, zero = same(1.0), same(0.0)
    level, tiny = same(floor), same(_TINY)
    least_positive, least_total, bad = one, one, zero
    for first in range(0, size, block):
        rows = min(block, size - first)
        if not ready and not exponentiate(
            group, start, first, rows, log_transition, log_density, log_floor, density, largest, far, matrices
        ):
            return False
        for s in range(S):
            lost = load(lost_before, s)
            forecast, now = predicted[s], law[s]
            for b in range(rows):
                if first + b > 0:
                    if shared:
                        through(now, matrix, forecast)
                    else:
                        _through_own(now, matrices, b * K * K if moving else 0, forecast)
                whole, smallest = zero, one
                for j in range(K):
                    p = load(forecast, j)
                    smallest = least(smallest, p)
                    least_positive = least(least_positive, where_greater(p, zero, p, one))
                    p = times(p, load(density, b * K + j))
                    store(now, j, p)
                    whole = add(whole, p)
                # After a row that may have lost something, every prediction must be large.
                bad = add(bad, where_greater(level, smallest, lost, zero))
                least_total = least(least_total, whole)
                scale = inverse(whole)
                store(total, b, whole)
                smallest = one
                for j in range(K):
                    p = times(load(now, j), scale)
                    store(now, j, p)
                    smallest = least(smallest, where_greater(p, zero, p, one))
                    if keep:
                        store(scaled, b * K + j, p)
                        # The adjoint asks for 0 where the prediction is.
                        w = times(load(density, b * K + j), scale)
                        store(weight, b * K + j, where_greater(load(forecast, j), zero, w, zero))
                lost = where_greater(tiny, smallest, one, load(far, b))
            store(lost_before, s, lost)
            # Where nobody asks for single rows, one logarithm serves four.
            entries = rows if written > 0 else _join(total, rows)
            flat = total.reshape(total.size)
            for k in range(entries * EIGHT):
                flat[k] = log(flat[k])
            summed = load(log_total, s)
            for b in range(entries):
                summed = add(summed, load(total, b))
            store(log_total, s, summed)
        for l in range(written):
            for b in range(rows):
                log_prob[group[l], start[l] + first + b] = total[b, l] + largest[b, l]
        if keep:
            _scatter(scaled, group, start, first, rows, written, filtered)
            _scatter(weight, group, start, first, rows, written, weights)
    store(worst, 0, least_positive)
    store(worst, 1, least_total)
    store(worst, 2, bad)
    least_sum = floor if written > 0 else max(floor, _LEAST_JOINED)
    for l in range(EIGHT):
        if not (worst[0, l] >= floor and worst[1, l] >= least_sum) or worst[2, l] > 0:
            return False
    # `np.isfinite` of a number isn't to be trusted where sums may be reordered.
    for s in range(S):
        for l in range(EIGHT):
            if not (log_total[s, l] > -np.inf and log_total[s, l] < np.inf):
                return False
    return True


@leaf
def _join(total, rows):
    """Replace each four rows by their product; return how many are left."""
    entries = 0
    for first in range(0, rows, 4):
        product = load(total, first)
        for b in range(first + 1, min(first + 4, rows)):
            product = times(product, load(total, b))
        store(total, entries, product)
        entries += 1
    return entries


@leaf
def _scatter(block, group, start, first, rows, written, out):
    """Write a block (rows K, 8) of `written` runs into an array (G, T, K)."""
    T, K = out.shape[1], out.shape[2]
    flat = out.reshape(out.size)
    for l in range(written):
        base = (group[l] * T + start[l] + first) * K
        for k in range(rows * K):
            flat[base + k] = block[k, l]


@leaf
def _gather(array, group, start, first, rows, offset, base, block):
    """Read rows of runs of an array (G, T, K) into a block (rows K, 8), after `offset` rows; `base` (8,) is room."""
    T, K = array.shape[1], array.shape[2]
    flat = array.reshape(array.size)
    for l in range(EIGHT):
        base[l] = (group[l] * T + start[l] + first) * K
    for k in range(rows * K):
        for l in range(EIGHT):
            block[offset * K + k, l] = flat[base[l] + k]


@leaf
def through(law, matrix, out):
    """Put law^T matrix into `out` (K, 8), with one matrix (K, K) for all runs."""
    K = law.shape[0]
    fours = K - K % 4
    for j in range(0, fours, 4):
        s0, s1, s2, s3 = same(0.0), same(0.0), same(0.0), same(0.0)
        for i in range(K):
            x = load(law, i)
            s0 = plus_times(s0, x, same(matrix[i, j]))
            s1 = plus_times(s1, x, same(matrix[i, j + 1]))
            s2 = plus_times(s2, x, same(matrix[i, j + 2]))
            s3 = plus_times(s3, x, same(matrix[i, j + 3]))
        store(out, j, s0)
        store(out, j + 1, s1)
        store(out, j + 2, s2)
        store(out, j + 3, s3)
    for j in range(fours, K):
        s0 = same(0.0)
        for i in range(K):
            s0 = plus_times(s0, load(law, i), same(matrix[i, j]))
        store(out, j, s0)


@leaf
def _through_own(law, matrices, offset, out):
    """Put law^T matrix into `out` (K, 8), with a matrix for each run at `offset`."""
    K = law.shape[0]
    for j in range(K):
        s = same(0.0)
        for i in range(K):
            s = plus_times(s, load(law, i), load(matrices, offset + i * K + j))
        store(out, j, s)


@leaf
def _back_through_own(source, matrices, offset, out):
    """Put matrix source into `out` (K, 8), with a matrix for each run at `offset`."""
    K = source.shape[0]
    for i in range(K):
        s = same(0.0)
        for j in range(K):
            s = plus_times(s, load(source, j), load(matrices, offset + i * K + j))
        store(out, i, s)


@compiled
def pull_back_runs(
    group, start, size, log_transition, turned, filtered, weights, cotangent, adjoint, after, written, wanted,
    d_initial, d_transition, d_density,
):  # fmt: skip
    """Run the adjoint through eight runs, from their last rows to their first.

    Inputs: `group`, `start` and `size` as in `filter_runs`; `turned` (K, K), the transposed transition where it is the
    same for all rows and runs; what the filter gave; `cotangent` (G, T or 1); `adjoint` (K, 8), that of the laws after
    the runs, which becomes that of the laws before them; `after` (8,), cotangents of the rows after the runs;
    `written`, of how many of the runs gradients are added up.
    """
    K = filtered.shape[2]
    moving = log_transition.shape[1] > 1
    shared = not moving and log_transition.shape[0] == 1
    want_initial, want_transition = written > 0 and wanted[0, 0] != 0, written > 0 and wanted[0, 1] != 0
    want_density = written > 0 and wanted[0, 2] != 0
    apart = d_transition.shape[1] > 1
    own = lines(ROWS * K * K if moving else K * K)
    if shared:
        for i in range(K):
            for j in range(K):
                own[i * K + j] = turned[j, i]
    elif not moving:
        _exponentiate_matrices(group, start, 0, 1, log_transition, -np.inf, own)
    # Row b + 1 of `law` is row b of the block: row 0 is the row before it.
    law, weight = lines((ROWS + 1) * K), lines(ROWS * K)
    source, gain = lines(ROWS * K), lines(ROWS)
    one_source = lines(K)
    pairs = lines(K * K)
    base = np.empty(EIGHT, np.int64)
    later = after.copy()
    for first in range((size - 1) // ROWS * ROWS, -1, -ROWS):
        rows = min(ROWS, size - first)
        for l in range(EIGHT):
            g = group[l]
            for b in range(rows - 1, -1, -1):
                now = np.float64(cotangent[g, of(start[l] + first + b, cotangent.shape[1])])
                gain[b, l] = now - later[l]
                later[l] = now
            for j in range(K):
                t = start[l] + first - 1
                law[j, l] = filtered[g, t, j] if t >= 0 else 0.0
        _gather(filtered, group, start, first, rows, 1, base, law)
        _gather(weights, group, start, first, rows, 0, base, weight)
        if moving:
            _exponentiate_matrices(group, start, first, rows, log_transition, -np.inf, own)
        for b in range(rows - 1, -1, -1):
            shift = load(gain, b)
            for j in range(K):
                value = add(load(adjoint, j), shift)
                s = times(load(weight, b * K + j), value)
                store(one_source, j, s)
                store(source, b * K + j, s)
                if want_density or want_initial:
                    store(weight, b * K + j, times(load(law, (b + 1) * K + j), value))
            offset = b * K * K if moving else 0
            if shared:
                through(one_source, turned, adjoint)
            else:
                _back_through_own(one_source, own, offset, adjoint)
            if want_transition and apart:
                for l in range(written):
                    t = start[l] + first + b
                    if t > 0:
                        g = of(group[l], d_transition.shape[0])
                        for i in range(K):
                            for j in range(K):
                                pair = law[b * K + i, l] * own[offset + i * K + j, l] * one_source[j, l]
                                d_transition[g, t, i, j] += pair
        if want_density:
            for l in range(written):
                g = of(group[l], d_density.shape[0])
                for b in range(rows):
                    for j in range(K):
                        d_density[g, start[l] + first + b, j] += weight[b * K + j, l]
        if want_initial and first == 0:
            for l in range(written):
                if start[l] == 0:
                    for j in range(K):
                        d_initial[of(group[l], d_initial.shape[0]), j] += weight[j, l]
        if want_transition and not apart:
            _add_pairs(law, source, rows, pairs)
    if want_transition and not apart:
        for l in range(written):
            g = of(group[l], d_transition.shape[0])
            for i in range(K):
                for j in range(K):
                    d_transition[g, 0, i, j] += own[i * K + j, l] * pairs[i * K + j, l]


@leaf
def _add_pairs(law, source, rows, pairs):
    """Add products of laws and sources of a block, (K K, 8)."""
    K = source.shape[0] // ROWS
    fours = K - K % 4
    for i in range(K):
        for j in range(0, fours, 4):
            s0, s1 = load(pairs, i * K + j), load(pairs, i * K + j + 1)
            s2, s3 = load(pairs, i * K + j + 2), load(pairs, i * K + j + 3)
            for b in range(rows):
                x = load(law, b * K + i)
                s0 = plus_times(s0, x, load(source, b * K + j))
                s1 = plus_times(s1, x, load(source, b * K + j + 1))
                s2 = plus_times(s2, x, load(source, b * K + j + 2))
                s3 = plus_times(s3, x, load(source, b * K + j + 3))
            store(pairs, i * K + j, s0)
            store(pairs, i * K + j + 1, s1)
            store(pairs, i * K + j + 2, s2)
            store(pairs, i * K + j + 3, s3)
        for j in range(fours, K):
            s0 = load(pairs, i * K + j)
            for b in range(rows):
                s0 = plus_times(s0, load(law, b * K + i), load(source, b * K + j))
            store(pairs, i * K + j, s0)


@compiled
def filter_series(groups, count, log_initial, log_transition, matrix, log_density, floor, log_prob, filtered, weights):
    """Filter `count` series side by side; the others of `groups` (8,) only fill up. False where a number was lost."""
    T, K = log_density.shape[1], log_density.shape[2]
    start = np.zeros(EIGHT, np.int64)
    predicted, law, log_total = lines(K).reshape(1, K, EIGHT), lines(K).reshape(1, K, EIGHT), lines(1)
    if not first_laws(groups, EIGHT, log_initial, floor, predicted[0]):
        return False
    rows = max(1, min(ROWS, 2048 // (K * K))) if log_transition.shape[1] > 1 else ROWS
    density, largest, far, matrices = room(K, rows, log_transition.shape[1] > 1)
    if not filter_runs(
        groups, start, T, log_transition, matrix, log_density, floor, density, largest, far, matrices, False,
        predicted, law, log_total, count, log_prob, filtered, weights,
    ):  # fmt: skip
        return False
    if filtered.shape[1] == 1:
        for l in range(count):
            for j in range(K):
                filtered[groups[l], 0, j] = law[0, j, l]
                weights[groups[l], 0, j] = 0.0
    return True


@compiled
def first_laws(groups, count, log_initial, floor, predicted):
    """Put laws of first states into `predicted` (K, 8); False where a possible one is below the floor."""
    log_floor = np.log(floor)
    sound = True
    for l in range(count):
        for j in range(predicted.shape[0]):
            x = np.float64(log_initial[of(groups[l], log_initial.shape[0]), j])
            sound = sound and not (x < log_floor and x > -np.inf)
            predicted[j, l] = exp(x)
    return sound
