r"""The compiled hidden Markov filter for a handful of states whose transitions are all possible, and its adjoint.

Where no entry of the transition A is small, no number can be lost: a predicted law is a mixture of rows of A, so that
with the densities of a row over their largest, as :math:`e`,

.. math::
    \min_{ij} A_{ij} \le p_{tj}, \qquad \min_{ij} A_{ij} \le s_t = \textstyle\sum_j p_{tj} e_{tj},

and what is too small to hold beside a total adds nothing to the next prediction. No row has to be looked at then: laws
go on without being normalised for some rows, and by powers of two. Runs (see `hidden_markov_eight`) then take a few
operations a row, on numbers that stay in registers; passages of parts (see `hidden_markov_parts`) go on side by side
with a scale in common, because they differ by no more than the entries of A do.

Functions are compiled for each number of states: `states` is a tuple of so many zeros, `starts` one of as many zeros as
all laws of a run have numbers. NaN and impossible rows stay in the laws to the end, where they are found.
"""

# pyright does not know that the first argument of numba's intrinsics is left out.
# pyright: reportCallIssue=false

from __future__ import annotations

import numpy as np

from dynplat.scan.kernels.compiling import compiled, leaf
from dynplat.scan.kernels.exponential import exp, log
from dynplat.scan.kernels.registers import (
    add_turned,
    exp_each,
    greatest_each,
    inverse_power,
    load_each,
    logarithm,
    multiple_each,
    plus_pairs,
    power,
    read_turned,
    shifted_each,
    spread,
    store_each,
    sum_each,
    through_each,
    times_each,
    write_turned,
)
from dynplat.scan.kernels.small import of
from dynplat.scan.kernels.vector import EIGHT, add, inverse, lines, load, minus, same, store, times

#: States that there are functions for.
FEW = 4
#: Entries of a transition from which on it is dense, and below which it is one.
_DENSE, _HUGE = 1e-30, 1e30
#: Rows after which laws are scaled: the product of so many totals can be held, whatever the entries of a dense matrix.
_UNSCALED = 4
#: Least total of a first row, whose prediction is not one of a dense matrix.
_LEAST_FIRST = 1e-100
#: Rows that are worked on at once, and rows that may be kept exponentiated for a second pass.
_ROWS, _KEPT_ROWS = 32, 4096
_LOG_2 = 0.6931471805599453


@leaf
def is_dense(matrix, K):
    """Whether all entries of a transition, in the first K rows and columns of `matrix`, are dense."""
    sound = 2 <= K <= FEW
    for i in range(K):
        for j in range(K):
            sound = sound and matrix[i, j] >= _DENSE and matrix[i, j] <= _HUGE
    return sound


@leaf
def _read(array, bases, first, count, block, row):
    """Read `count` numbers from place `first` of each of eight runs of an array into a block, from a row on."""
    if count < EIGHT:
        for l in range(EIGHT):
            for k in range(count):
                block[row + k, l] = array[bases[l] + first + k]
        return
    for k in range(0, count, EIGHT):
        k = min(k, count - EIGHT)
        read_turned(array, bases, first + k, block, row + k)


@leaf
def _write(block, count, array, bases, first):
    """Write the first `count` rows of a block where `_read` reads them."""
    if count < EIGHT:
        for l in range(EIGHT):
            for k in range(count):
                array[bases[l] + first + k] = block[k, l]
        return
    for k in range(0, count, EIGHT):
        k = min(k, count - EIGHT)
        write_turned(block, k, array, bases, first + k)


@leaf
def _add(block, count, written, array, bases, first):
    """Add the first `count` rows of a block, and of `written` runs, to what stands in an array."""
    whole = count - count % EIGHT if written == EIGHT else 0
    for k in range(0, whole, EIGHT):
        add_turned(block, k, array, bases, first + k)
    for l in range(written):
        for k in range(whole, count):
            array[bases[l] + first + k] += block[k, l]


@leaf
def _advance(states, starts, bases, size, matrix, log_density, predicted, room, density, largest, ends, scale, least):
    """Run through eight runs of `size` rows, each from laws that may be predicted for its first row.

    Inputs: `bases` (8,), places of the first row of each run in `log_density` (all numbers); `matrix` (K K,);
    `predicted` (S K, 8).
    Outputs: `density` (size K, 8) and `largest` (size, 8), densities of each row over its largest, where they have
    room; `ends` (S K, 8), laws after the last rows up to a scale, whose logarithm is `scale` (1, 8); `least`
    (1, 8), totals of the first rows.
    """
    K = len(states)
    A = spread(matrix, states)
    laws = load_each(predicted, 0, starts)
    exponents, sizes = same(0.0), same(0.0)
    keep = largest.shape[0] > 0
    for first in range(0, size, _ROWS):
        rows = min(_ROWS, size - first)
        _read(log_density, bases, first * K, rows * K, room, 0)
        for b in range(rows):
            x = load_each(room, b * K, states)
            m = greatest_each(x)
            e = exp_each(x, m)
            sizes = add(sizes, m)
            if keep:
                store_each(density, (first + b) * K, e)
                store(largest, first + b, m)
            if first + b > 0:
                laws = through_each(laws, A)
            laws = times_each(laws, e)
            if b % _UNSCALED == 0:
                whole = sum_each(laws, states)
                if first + b == 0:
                    store(least, 0, whole)
                exponents = add(exponents, power(whole))
                laws = multiple_each(laws, inverse_power(whole))
    store_each(ends, 0, laws)
    store(scale, 0, add(sizes, times(exponents, same(_LOG_2))))


@leaf
def _filter(
    states, bases, size, matrix, log_density, predicted, room, density, largest, ends, scale, least, row_bases,
    out_bases, log_prob, filtered, weights, blocks,
):  # fmt: skip
    """Filter eight runs of `size` rows.

    Inputs: as of `_advance`, of one law for each run; what it kept, or room for nothing; `row_bases` and `out_bases`
    (8,), places of the first rows of runs in `log_prob`, and in `filtered` and `weights`; `blocks` (rows (1 + 2 K), 8),
    room.
    Outputs: `ends`, `scale` and `least` as of `_advance`; those of the filter (see `hidden_markov_forward.forward`),
    all numbers of each, where they are not of size 0.
    """
    K = len(states)
    A = spread(matrix, states)
    law = load_each(predicted, 0, states)
    exponents, sizes, before = same(0.0), same(0.0), same(1.0)
    ready = largest.shape[0] > 0
    steps, keep = log_prob.size > 0, filtered.size > 0
    logs, laws, gains = blocks[:_ROWS], blocks[_ROWS : _ROWS * (1 + K)], blocks[_ROWS * (1 + K) :]
    for first in range(0, size, _ROWS):
        rows = min(_ROWS, size - first)
        if not ready:
            _read(log_density, bases, first * K, rows * K, room, 0)
        for b in range(rows):
            if ready:
                m = load(largest, first + b)
                e = load_each(density, (first + b) * K, states)
            else:
                x = load_each(room, b * K, states)
                m = greatest_each(x)
                e = exp_each(x, m)
            sizes = add(sizes, m)
            if first + b > 0:
                law = through_each(law, A)
            law = times_each(law, e)
            whole = sum_each(law, states)
            if first + b == 0:
                store(least, 0, whole)
            if steps or keep:
                scaling = inverse(whole)
                if steps:
                    store(logs, b, minus(m, logarithm(times(before, scaling))))
                if keep:
                    store_each(laws, b * K, multiple_each(law, scaling))
                    store_each(gains, b * K, multiple_each(e, times(before, scaling)))
            before = whole
            if b % _UNSCALED == 0:
                exponents = add(exponents, power(whole))
                scaling = inverse_power(whole)
                law = multiple_each(law, scaling)
                before = times(whole, scaling)
        if steps:
            _write(logs, rows, log_prob, row_bases, first)
        if keep:
            _write(laws, rows * K, filtered, out_bases, first * K)
            _write(gains, rows * K, weights, out_bases, first * K)
    store_each(ends, 0, law)
    store(scale, 0, add(sizes, times(exponents, same(_LOG_2))))


#: Tuples that functions take the number of states from.
_2, _3, _4, _9, _16 = (0,) * 2, (0,) * 3, (0,) * 4, (0,) * 9, (0,) * 16


@compiled
def filter_few_parts(g, log_initial, floor, packed, log_density, steps, log_prob, filtered, weights, passage, after):
    """Filter the rows of a series that make eight parts of one length (see `hidden_markov_parts.filter_parts`).

    Inputs: `packed`, the transition in its first K rows and columns, dense.
    Outputs: those of `hidden_markov_parts.filter_parts`; of rows nothing is said, in `log_prob`, without `steps`.

    Returns:
        The log-likelihood of these rows; NaN where a number was lost.
    """
    K = log_density.shape[2]
    if K == 2:
        return _filter_parts(
            _2, _4, g, log_initial, floor, packed, log_density, steps, log_prob, filtered, weights, passage, after
        )
    if K == 3:
        return _filter_parts(
            _3, _9, g, log_initial, floor, packed, log_density, steps, log_prob, filtered, weights, passage, after
        )
    return _filter_parts(
        _4, _16, g, log_initial, floor, packed, log_density, steps, log_prob, filtered, weights, passage, after
    )


@compiled
def _filter_parts(
    states, starts, g, log_initial, floor, packed, log_density, steps, log_prob, filtered, weights, passage, after
):  # fmt: skip
    T, K = log_density.shape[1], len(states)
    size = T // EIGHT
    bases, row_bases, out_bases = np.empty(EIGHT, np.int64), np.empty(EIGHT, np.int64), np.empty(EIGHT, np.int64)
    for l in range(EIGHT):
        bases[l] = (of(g, log_density.shape[0]) * T + l * size) * K
        row_bases[l] = g * T + l * size
        out_bases[l] = row_bases[l] * K
    matrix = np.empty(K * K)
    predicted, ends = lines(K * K), lines(K * K)
    for i in range(K):
        for j in range(K):
            matrix[i * K + j] = packed[i, j]
    if not _start(log_initial, of(g, log_initial.shape[0]), floor, predicted):
        return np.nan
    for s in range(K):
        for j in range(K):
            predicted[s * K + j, 0] = predicted[j, 0]
            for l in range(1, EIGHT):
                predicted[s * K + j, l] = packed[s, j]
    keep = filtered.shape[1] > 1
    kept_rows = size if (steps or keep) and size <= _KEPT_ROWS else 0
    room, density, largest, sums = lines(_ROWS * K), lines(kept_rows * K), lines(kept_rows), lines(2)
    scale, least = sums[:1], sums[1:]
    densities = log_density.reshape(log_density.size)
    _advance(states, starts, bases, size, matrix, densities, predicted, room, density, largest, ends, scale, least)
    # The laws at which parts start, and how likely parts are.
    now, total, sound = np.empty(K), 0.0, True
    for l in range(EIGHT):
        whole = 0.0
        for j in range(K):
            now[j] = 0.0
            for s in range(1 if l == 0 else K):
                now[j] += (1.0 if l == 0 else after[s]) * ends[s * K + j, l]
            whole += now[j]
        total += log(whole) + scale[0, l]
        sound = sound and least[0, l] >= _LEAST_FIRST
        for j in range(K):
            if l > 0:
                predicted[j, l] = 0.0
                for s in range(K):
                    predicted[j, l] += after[s] * packed[s, j]
            if passage.shape[1] == K:
                for s in range(K):
                    passage[l, s, j] = ends[s * K + j, l] / whole if l > 0 else 0.0
        for j in range(K):
            after[j] = now[j] / whole
    # `np.isfinite` of a number isn't to be trusted where sums may be reordered.
    if not (sound and total > -np.inf and total < np.inf):
        return np.nan
    if steps or keep:
        _filter(
            states, bases, size, matrix, densities, predicted, room, density, largest, ends, scale, least, row_bases,
            out_bases,
            log_prob.reshape(log_prob.size) if steps else log_prob[:0].reshape(0),
            filtered.reshape(filtered.size) if keep else filtered[:0].reshape(0),
            weights.reshape(weights.size) if keep else weights[:0].reshape(0),
            lines(_ROWS * (1 + 2 * K)),
        )  # fmt: skip
        if keep:
            _clear(log_initial, g, weights)
    return total


@compiled
def filter_few_series(
    groups, count, log_initial, floor, packed, log_density, steps, log_prob, total, filtered, weights
):
    """Filter `count` series side by side; the others of `groups` (8,) only fill up. False where a number was lost.

    Inputs: `packed`, the transition of all in its first K rows and columns, dense.
    Outputs: those of the filter; of rows nothing is said, in `log_prob`, without `steps`; `total` (G,), log-likelihoods
    of whole series, where it isn't of size 0.
    """
    K = log_density.shape[2]
    if K == 2:
        return _filter_series(
            _2, groups, count, log_initial, floor, packed, log_density, steps, log_prob, total, filtered, weights
        )
    if K == 3:
        return _filter_series(
            _3, groups, count, log_initial, floor, packed, log_density, steps, log_prob, total, filtered, weights
        )
    return _filter_series(
        _4, groups, count, log_initial, floor, packed, log_density, steps, log_prob, total, filtered, weights
    )


@compiled
def _filter_series(
    states, groups, count, log_initial, floor, packed, log_density, steps, log_prob, total, filtered, weights
):  # fmt: skip
    T, K = log_density.shape[1], len(states)
    bases, row_bases, out_bases = np.empty(EIGHT, np.int64), np.empty(EIGHT, np.int64), np.empty(EIGHT, np.int64)
    matrix, predicted, ends, one = np.empty(K * K), lines(K), lines(K), lines(K)
    for i in range(K):
        for j in range(K):
            matrix[i * K + j] = packed[i, j]
    for l in range(EIGHT):
        g = groups[l]
        bases[l], row_bases[l], out_bases[l] = of(g, log_density.shape[0]) * T * K, g * T, g * T * K
        if not _start(log_initial, of(g, log_initial.shape[0]), floor, one):
            return False
        for j in range(K):
            predicted[j, l] = one[j, 0]
    keep = filtered.shape[1] > 1
    sums = lines(2)
    scale, least = sums[:1], sums[1:]
    _filter(
        states, bases, T, matrix, log_density.reshape(log_density.size), predicted, lines(_ROWS * K), lines(0),
        lines(0), ends, scale, least, row_bases, out_bases,
        log_prob.reshape(log_prob.size) if steps else log_prob[:0].reshape(0),
        filtered.reshape(filtered.size) if keep else filtered[:0].reshape(0),
        weights.reshape(weights.size) if keep else weights[:0].reshape(0),
        lines(_ROWS * (1 + 2 * K)),
    )  # fmt: skip
    for l in range(count):
        whole = 0.0
        for j in range(K):
            whole += ends[j, l]
        value = log(whole) + scale[0, l]
        if not (least[0, l] >= _LEAST_FIRST and value > -np.inf and value < np.inf):
            return False
        if total.size > 0:
            total[groups[l]] = value
        if keep:
            _clear(log_initial, groups[l], weights)
        else:
            for j in range(K):
                filtered[groups[l], 0, j], weights[groups[l], 0, j] = ends[j, l] / whole, 0.0
    return True


@leaf
def _start(log_initial, g, floor, predicted):
    """Put the law of a first state into column 0 of the first rows; False where a possible one is below the floor."""
    log_floor = np.log(floor)
    sound = True
    for j in range(log_initial.shape[1]):
        x = np.float64(log_initial[g, j])
        sound = sound and not (x < log_floor and x > -np.inf)
        predicted[j, 0] = exp(x)
        sound = sound and predicted[j, 0] <= _HUGE
    return sound


@leaf
def _clear(log_initial, g, weights):
    """Put 0 where a first prediction is 0: the adjoint asks for it."""
    for j in range(log_initial.shape[1]):
        if log_initial[of(g, log_initial.shape[0]), j] == -np.inf:
            weights[g, 0, j] = 0.0


@compiled
def pull_back_few(
    group, start, size, turned, filtered, weights, cotangent, adjoint, after, written, wanted, d_initial, d_transition,
    d_density,
):  # fmt: skip
    """Run the adjoint through eight runs, from their last rows to their first (see `hidden_markov_eight`).

    Inputs: `turned`, the transposed transition of all runs in its first K rows and columns; the others as of
    `hidden_markov_eight.pull_back_runs`. `d_transition` has no time axis.
    """
    K = filtered.shape[2]
    if K == 2:
        _pull_back_runs(
            _2, _4, group, start, size, turned, filtered, weights, cotangent, adjoint, after, written, wanted,
            d_initial, d_transition, d_density,
        )  # fmt: skip
    elif K == 3:
        _pull_back_runs(
            _3, _9, group, start, size, turned, filtered, weights, cotangent, adjoint, after, written, wanted,
            d_initial, d_transition, d_density,
        )  # fmt: skip
    else:
        _pull_back_runs(
            _4, _16, group, start, size, turned, filtered, weights, cotangent, adjoint, after, written, wanted,
            d_initial, d_transition, d_density,
        )  # fmt: skip


@compiled
def _pull_back_runs(
    states, pairs_of, group, start, size, turned, filtered, weights, cotangent, adjoint, after, written, wanted,
    d_initial, d_transition, d_density,
):  # fmt: skip
    T, K = filtered.shape[1], len(states)
    bases, d_bases = np.empty(EIGHT, np.int64), np.empty(EIGHT, np.int64)
    matrix, pairs, blocks = np.empty(K * K), lines(K * K), lines((2 * _ROWS + 1) * K)
    pairs[:] = 0.0
    for i in range(K):
        for j in range(K):
            matrix[i * K + j] = turned[i, j]
    want_initial, want_transition = written > 0 and wanted[0, 0] != 0, written > 0 and wanted[0, 1] != 0
    want_density = written > 0 and wanted[0, 2] != 0
    even = True
    for l in range(EIGHT):
        bases[l] = (group[l] * T + start[l]) * K
        d_bases[l] = (of(group[l], d_density.shape[0]) * T + start[l]) * K
        if cotangent.shape[1] > 1:
            even = even and _is_even(cotangent[group[l], start[l] : start[l] + size])
    gain = lines(0 if even else size)
    for l in range(EIGHT):
        later = after[l]
        if even:
            later = np.float64(cotangent[group[l], of(start[l], cotangent.shape[1])]) - later
            for j in range(K):
                adjoint[j, l] += later
        else:
            for b in range(size - 1, -1, -1):
                now = np.float64(cotangent[group[l], start[l] + b])
                gain[b, l] = now - later
                later = now
    _pull_back(
        states, pairs_of, bases, d_bases, start, size, matrix, filtered.reshape(filtered.size),
        weights.reshape(weights.size), gain, adjoint, pairs, written, want_density,
        d_density.reshape(d_density.size), blocks,
    )  # fmt: skip
    for l in range(written):
        g = group[l]
        if want_initial and start[l] == 0:
            for j in range(K):
                d_initial[of(g, d_initial.shape[0]), j] += blocks[j, l]
        if want_transition:
            for i in range(K):
                for j in range(K):
                    d_transition[of(g, d_transition.shape[0]), 0, i, j] += turned[j, i] * pairs[i * K + j, l]


@leaf
def _is_even(numbers):
    """Whether all numbers are the same."""
    others = 0
    for k in range(numbers.size):
        others += 1 if numbers[k] != numbers[0] else 0
    return others == 0


@leaf
def _pull_back(
    states, pairs_of, bases, d_bases, start, size, turned, filtered, weights, gain, adjoint, pairs, written,
    want_density, d_density, blocks,
):  # fmt: skip
    """Run the adjoint through eight runs of `size` rows, from their last rows to their first.

    Inputs: `bases` (8,), places of the first rows of runs in `filtered` and `weights` (all numbers), and `d_bases` in
    `d_density`; `start` (8,), their row in the series; `turned` (K K,), the transposed transition; `gain` (size, 8),
    cotangents of rows less those of the rows after them, or of length 0 where they are 0; `adjoint` (K, 8), that of the
    laws after the runs, which becomes that of the laws before them; `written`, of how many of the runs gradients are
    added up; `blocks` ((2 rows + 1) K, 8), room.
    Outputs: `pairs` (K K, 8), to which sums of products of laws and adjoints of predictions are added; `d_density`; the
    gradients of densities of first rows, which are those of first laws, in the first K rows of `blocks`.
    """
    K = len(states)
    A = spread(turned, states)
    now = load_each(adjoint, 0, states)
    sums = load_each(pairs, 0, pairs_of)
    # Row b + 1 of `laws` is row b of the block: row 0 is the row before it.
    laws, gains = blocks[: (_ROWS + 1) * K], blocks[(_ROWS + 1) * K :]
    for first in range((size - 1) // _ROWS * _ROWS, -1, -_ROWS):
        rows = min(_ROWS, size - first)
        for l in range(EIGHT):
            before = start[l] + first > 0
            for j in range(K):
                laws[j, l] = filtered[bases[l] + (first - 1) * K + j] if before else 0.0
        _read(filtered, bases, first * K, rows * K, laws, K)
        _read(weights, bases, first * K, rows * K, gains, 0)
        law = load_each(laws, rows * K, states)
        for b in range(rows - 1, -1, -1):
            if gain.shape[0] > 0:
                now = shifted_each(now, load(gain, first + b))
            source = times_each(load_each(gains, b * K, states), now)
            store_each(gains, b * K, times_each(law, now))
            law = load_each(laws, b * K, states)
            now = through_each(source, A)
            sums = plus_pairs(sums, law, source)
        if want_density:
            _add(gains, rows * K, written, d_density, d_bases, first * K)
    store_each(adjoint, 0, now)
    store_each(pairs, 0, sums)
    # What stands here are gradients of first rows.
    for k in range(K):
        for l in range(EIGHT):
            blocks[k, l] = gains[k, l]
