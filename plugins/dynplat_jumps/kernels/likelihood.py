r"""Compiled likelihood of hidden Markov jump processes at many times, and its adjoint.

.. math::
    x_0 \sim \pi, \qquad p(x_t = j \mid x_{t-1} = i) = \bigl(e^{Q h_t}\bigr)_{ij}, \qquad y_t \mid x_t = j \sim p_j

Transitions over eight gaps at a time are found (`series`), serve the filter at once, and are forgotten: no array holds
one for each row, and no logarithm of one is taken. A long gap is cut into parts, over which the law is led one by one:
a part more costs a product of a vector and a matrix, a squaring costs a product of matrices. Filter and adjoint are
those of `dynplat.scan.kernels.hidden_markov`, which also takes over, with logarithms of all transitions, a group in
which a number may be too small to hold and yet matter.

**Adjoint.** With the adjoint :math:`\mu` of the law after a part and the law a before it,
:math:`\bar P = a \mu^\top` where P is not 0, and the adjoint before the part is :math:`P \mu`. Laws between the parts
of a gap are computed again. The derivative in the gap is :math:`a Q P \mu`.
"""

# pyright does not know that the first argument of numba's intrinsics is left out.
# pyright: reportCallIssue=false

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dynplat.scan.kernels import hidden_markov_backward, hidden_markov_forward
from dynplat.scan.kernels.compiling import compiled, leaf
from dynplat.scan.kernels.exponential import exp, log
from dynplat.scan.kernels.hidden_markov import HIDDEN_MARKOV
from dynplat.scan.kernels.hidden_markov_forward import IMPOSSIBLE, OUTCOME, lanes, multiply, smallest
from dynplat.scan.kernels.kernel import Kernel, Shape, Spec
from dynplat.scan.kernels.small import of
from dynplat.scan.kernels.vector import (
    EIGHT,
    add,
    least,
    least_of,
    lines,
    load,
    multiple,
    plus_multiple,
    plus_times,
    same,
    store,
    sum_of,
    times,
    where_greater,
)
from dynplat_jumps.kernels import transition
from dynplat_jumps.kernels.series import (
    add_series,
    copy,
    fill_coefficients,
    fill_powers,
    pull_back_powers,
    pull_back_squares,
    square,
    sum_series,
    table_room,
)

_filter_by_logarithms, _pull_back_logarithms = hidden_markov_forward.forward, hidden_markov_backward.backward
_log_transition, _pull_back_transition = transition.forward_log, transition.backward_log

#: Value of `status[:, OUTCOME]` besides those of the hidden Markov filter: no array of transitions was needed.
BY_GAPS = 3
#: Largest x for which a series is summed: beyond, a further part of a gap costs less than the terms it saves.
_STEP = 1.0
#: A gap is halved where it would be cut into more than so many parts for each state.
_PARTS_PER_STATE = 2
#: The least transition that is possible, the least prediction and sum, and what is lost at most, relative to what it is
#: added to (see `dynplat.scan.kernels.hidden_markov`): products of such numbers can be held.
_LEAST_TRANSITION, _LEAST, _NEGLIGIBLE = 1e-150, 1e-120, 1e-30


@compiled
def forward(generator, gaps, log_initial, log_density, log_prob, filtered, weights, passage, status):
    """Filter all groups.

    Inputs: generator (G or 1, K, K), gaps (G or 1, T), of which the first is not used, log_initial (G or 1, K),
    log_density (G or 1, T, K).
    Outputs: those of `dynplat.scan.kernels.hidden_markov_forward.forward`.
    """
    G, T, K = log_prob.shape[0], log_prob.shape[1], log_initial.shape[1]
    table = lines(K * lanes(K) * table_room(K, _STEP))
    passage[:] = 0.0
    omega, far = 1.0, 0
    for g in range(G):
        gq, gg = of(g, generator.shape[0]), of(g, gaps.shape[0])
        if g == 0 or generator.shape[0] > 1:
            omega, far = fill_powers(generator, gq, _STEP, table)
        if _filter(g, omega, far, table, gaps, log_initial, log_density, log_prob, filtered, weights):
            status[g, IMPOSSIBLE], status[g, OUTCOME] = T, BY_GAPS
            continue
        found = np.empty((1, T, K, K), log_prob.dtype)
        _log_transition(generator[gq : gq + 1], gaps[gg : gg + 1], found)
        gi, ge = of(g, log_initial.shape[0]), of(g, log_density.shape[0])
        _filter_by_logarithms(
            log_initial[gi : gi + 1], found, log_density[ge : ge + 1], log_prob[g : g + 1], filtered[g : g + 1],
            weights[g : g + 1], passage[g : g + 1], status[g : g + 1],
        )  # fmt: skip


@compiled
def _filter(g, omega, far, table, gaps, log_initial, log_density, log_prob, filtered, weights):
    """Filter a group; False where a number might be too small."""
    T, K = log_prob.shape[1], log_initial.shape[1]
    gg, gi, ge = of(g, gaps.shape[0]), of(g, log_initial.shape[0]), of(g, log_density.shape[0])
    count = lanes(K)
    size, width = K * count, count * EIGHT
    most = _PARTS_PER_STATE * K
    coefficients = lines(table.shape[0] // size)
    parts, squarings = np.empty(EIGHT, np.int64), np.empty(EIGHT, np.int64)
    matrices, work, zero = lines(EIGHT * size), lines(size), lines(size)
    none = np.empty((0, size, EIGHT))
    density, law, forecast = lines(EIGHT * count), lines(count), lines(count)
    # Rows of a block, as numbers.
    densities, flat = density.reshape(EIGHT, width), density.reshape(EIGHT * width)
    now, ahead = law.reshape(width), forecast.reshape(width)
    total, largest = np.ones(EIGHT), np.empty(EIGHT)
    floor = max(_LEAST, smallest(log_prob.dtype))
    lost_below = floor * _NEGLIGIBLE
    lost = False
    for j in range(K):
        ahead[j] = exp(log_initial[gi, j])
        if ahead[j] < floor and log_initial[gi, j] > -np.inf:
            return False
    for first in range(0, T, EIGHT):
        rows = min(EIGHT, T - first)
        terms = fill_coefficients(gaps, gg, first, rows, omega, far, _STEP, most, coefficients, parts, squarings)
        sum_series(coefficients, table, terms, matrices)
        for b in range(rows):
            if squarings[b] > 0:
                square(matrices[b * size : (b + 1) * size], K, squarings[b], none, work, zero)
        if not _least_positive(matrices) >= _LEAST_TRANSITION:
            return False
        for b in range(rows):
            m = np.float64(log_density[ge, first + b, 0])
            for j in range(1, K):
                m = max(m, np.float64(log_density[ge, first + b, j]))
            largest[b] = m
            for j in range(K):
                densities[b, j] = log_density[ge, first + b, j] - m
            for j in range(K, width):
                densities[b, j] = -np.inf
        for k in range(EIGHT * width):
            p = exp(flat[k])
            flat[k] = 0.0 if p < lost_below else p
        sound, lost = _filter_block(
            g, ge, first, rows, parts, matrices, density, log_density, floor, lost, law, forecast, total, filtered,
            weights,
        )  # fmt: skip
        if not sound:
            return False
        for b in range(EIGHT):
            total[b] = log(total[b])
        for b in range(rows):
            log_prob[g, first + b] = total[b] + largest[b]
            total[b] = 1.0
    if filtered.shape[1] == 1:
        for j in range(K):
            filtered[g, 0, j] = now[j]
            weights[g, 0, j] = 0.0
    return True


@leaf
def _filter_block(
    g, ge, first, rows, parts, matrices, density, log_density, floor, lost, law, forecast, total, filtered, weights
):  # fmt: skip
    """Filter the rows of a block from the law of the row before.

    Outputs: `law` and `forecast` of the last row, `total` (8,), sums by which laws were divided, and what is kept.

    Returns:
        Whether no number is too small, and whether a part of the law was dropped last.
    """
    K, count = log_density.shape[2], law.shape[0]
    size, width = K * count, count * EIGHT
    now, ahead, densities = law.reshape(width), forecast.reshape(width), density.reshape(EIGHT * width)
    lost_below = floor * _NEGLIGIBLE
    zero, one = same(0.0), same(1.0)
    for b in range(rows):
        t = first + b
        if t > 0:
            multiply(now, matrices, b * size, K, forecast)
            for _ in range(1, parts[b]):
                between = one
                for c in range(count):
                    p = load(forecast, c)
                    between = least(between, where_greater(p, zero, p, one))
                    store(law, c, p)
                if not least_of(between) >= floor:
                    return False, lost
                multiply(now, matrices, b * size, K, forecast)
        if lost:
            for j in range(K):
                if not ahead[j] >= floor:
                    return False, lost
        sums, least_forecast, least_law = zero, one, one
        for c in range(count):
            p = load(forecast, c)
            least_forecast = least(least_forecast, where_greater(p, zero, p, one))
            q = times(p, load(density, b * count + c))
            store(law, c, q)
            least_law = least(least_law, where_greater(p, zero, q, one))
            sums = add(sums, q)
        whole = sum_of(sums)
        if not (whole >= floor and least_of(least_forecast) >= floor):
            return False, lost
        total[b] = whole
        scale = 1.0 / whole
        for c in range(count):
            store(law, c, multiple(scale, load(law, c)))
        lost = False
        if least_of(least_law) * scale < lost_below:
            for j in range(K):
                if now[j] < lost_below:
                    lost = lost or (ahead[j] > 0 and log_density[ge, t, j] > -np.inf)
                    now[j] = 0.0
        if filtered.shape[1] > 1:
            for j in range(K):
                filtered[g, t, j] = now[j]
                weights[g, t, j] = densities[b * width + j] * scale if ahead[j] > 0 else 0.0
    return True, lost


@leaf
def _least_positive(numbers):
    """Least positive number of lines, 1 where none is below; NaN counts as none."""
    zero, one = same(0.0), same(1.0)
    found = one
    for c in range(numbers.shape[0]):
        x = load(numbers, c)
        found = least(found, where_greater(x, zero, x, one))
    return least_of(found)


@compiled
def backward(
    generator, gaps, log_initial, log_density, log_prob, filtered, weights, passage, status, cotangent, wanted,
    d_generator, d_gaps, d_initial, d_density,
):  # fmt: skip
    """Add up the gradients of all groups; arguments as for `dynplat.scan.kernels.hidden_markov_backward.backward`."""
    d_generator[:], d_gaps[:], d_initial[:], d_density[:] = 0.0, 0.0, 0.0, 0.0
    G, T, K = filtered.shape
    room = K * lanes(K) * table_room(K, _STEP)
    table, d_table = lines(room), lines(room)
    of_paths, of_law = wanted[:, :2].copy(), np.ones((1, 3), wanted.dtype)
    of_law[0, 0], of_law[0, 2] = wanted[0, 2], wanted[0, 3]
    omega, far, gq = 1.0, 0, 0
    for g in range(G):
        gq, gg = of(g, generator.shape[0]), of(g, gaps.shape[0])
        if g == 0 or generator.shape[0] > 1:
            omega, far = fill_powers(generator, gq, _STEP, table)
            d_table[:] = 0.0
        if status[g, OUTCOME] == BY_GAPS:
            _pull_back(
                g, omega, far, table, d_table, generator, gaps, filtered, weights, cotangent, wanted,
                d_gaps, d_initial, d_density,
            )  # fmt: skip
        else:
            found = np.empty((1, T, K, K), log_prob.dtype)
            _log_transition(generator[gq : gq + 1], gaps[gg : gg + 1], found)
            gi, ge = of(g, log_initial.shape[0]), of(g, log_density.shape[0])
            initial, density = log_initial[gi : gi + 1], log_density[ge : ge + 1]
            slopes, own_initial, own_density = np.empty_like(found), np.empty_like(initial), np.empty_like(density)
            _pull_back_logarithms(
                initial, found, density, log_prob[g : g + 1], filtered[g : g + 1], weights[g : g + 1],
                passage[g : g + 1], status[g : g + 1], cotangent[g : g + 1], of_law, own_initial, slopes, own_density,
            )  # fmt: skip
            one_generator, one_gaps = generator[gq : gq + 1], gaps[gg : gg + 1]
            own_generator, own_gaps = np.empty_like(one_generator), np.empty_like(one_gaps)
            _pull_back_transition(one_generator, one_gaps, found, slopes, of_paths, own_generator, own_gaps)
            _add(own_generator, wanted[0, 0], gq, d_generator)
            _add(own_gaps, wanted[0, 1], gg, d_gaps)
            _add(own_initial, wanted[0, 2], of(g, log_initial.shape[0]), d_initial)
            _add(own_density, wanted[0, 3], of(g, log_density.shape[0]), d_density)
        if wanted[0, 0] != 0 and (g == G - 1 or generator.shape[0] > 1):
            pull_back_powers(generator, gq, _STEP, omega, far, table, d_table, d_generator)


@compiled
def _add(own, wish, g, gradient):
    """Add the gradient of one group, where it is wanted."""
    if wish != 0:
        gradient[g] += own[0]


@compiled
def _pull_back(
    g, omega, far, table, d_table, generator, gaps, filtered, weights, cotangent, wanted, d_gaps, d_initial, d_density
):  # fmt: skip
    """Add a group's gradients, those of the generator to those of its powers in `d_table`."""
    T, K = filtered.shape[1], filtered.shape[2]
    gq, gg = of(g, generator.shape[0]), of(g, gaps.shape[0])
    gi, ge = of(g, d_initial.shape[0]), of(g, d_density.shape[0])
    want_generator, want_gaps = wanted[0, 0] != 0, wanted[0, 1] != 0
    want_initial, want_density = wanted[0, 2] != 0, wanted[0, 3] != 0
    count = lanes(K)
    size, width = K * count, count * EIGHT
    most = _PARTS_PER_STATE * K
    coefficients = lines(table.shape[0] // size)
    parts, squarings = np.empty(EIGHT, np.int64), np.empty(EIGHT, np.int64)
    matrices, bars = lines(EIGHT * size), lines(EIGHT * size)
    work, zero, turned = lines(size), lines(size), lines(size)
    kept = np.empty((EIGHT, 0, size, EIGHT))
    # Laws before the parts of a gap; adjoints of the law after a part and before it.
    laws = lines(most * count).reshape(most, count, EIGHT)
    numbers = laws.reshape(most, width)
    source, adjoint = lines(count), lines(count)
    source_j, adjoint_j = source.reshape(width), adjoint.reshape(width)
    after = 0.0
    for first in range((T - 1) // EIGHT * EIGHT, -1, -EIGHT):
        rows = min(EIGHT, T - first)
        terms = fill_coefficients(gaps, gg, first, rows, omega, far, _STEP, most, coefficients, parts, squarings)
        sum_series(coefficients, table, terms, matrices)
        deepest = squarings.max()
        if deepest > kept.shape[1]:
            kept = np.empty((EIGHT, deepest, size, EIGHT))
        for b in range(rows):
            if squarings[b] > 0:
                square(matrices[b * size : (b + 1) * size], K, squarings[b], kept[b], work, zero)
        bars[:] = 0.0
        for b in range(rows - 1, -1, -1):
            t = first + b
            now = np.float64(cotangent[g, t])
            for j in range(K):
                value = adjoint_j[j] + (now - after)
                source_j[j] = weights[g, t, j] * value
                if want_density:
                    d_density[ge, t, j] += filtered[g, t, j] * value
                if t == 0 and want_initial:
                    d_initial[gi, j] += filtered[g, t, j] * value
            after = now
            if t == 0:
                break
            for j in range(K):
                numbers[0, j] = filtered[g, t - 1, j]
            for part in range(1, parts[b]):
                multiply(numbers[part - 1], matrices, b * size, K, laws[part])
            for part in range(parts[b] - 1, -1, -1):
                _pull_back_part(numbers[part], matrices, b * size, source, bars, adjoint)
                if part > 0:
                    copy(adjoint, source)
            if want_gaps:
                for i in range(K):
                    slope = 0.0
                    for j in range(K):
                        slope += generator[gq, i, j] * adjoint_j[j]
                    d_gaps[gg, t] += filtered[g, t - 1, i] * slope
        if want_generator:
            for b in range(rows):
                if squarings[b] > 0:
                    pull_back_squares(bars[b * size : (b + 1) * size], K, squarings[b], kept[b], turned, work)
            add_series(coefficients, bars, terms, d_table)


@leaf
def _pull_back_part(law, matrices, first, source, bars, adjoint):
    """Lead an adjoint through the matrix that begins at line `first`, and add the gradient of its entries to `bars`."""
    count = source.shape[0]
    zero = same(0.0)
    flat = adjoint.reshape(adjoint.size)
    for i in range(bars.shape[0] // (EIGHT * count)):
        total = zero
        for c in range(count):
            k = first + i * count + c
            p, mu = load(matrices, k), load(source, c)
            total = plus_times(total, p, mu)
            bar = plus_multiple(load(bars, k), law[i], mu)
            store(bars, k, where_greater(p, zero, bar, zero))
        flat[i] = sum_of(total)


def _shapes(inputs: Sequence[Shape], keep: bool) -> tuple[Shape, ...]:
    groups = max(shape[0] for shape in inputs)
    K = inputs[0][-1]
    return HIDDEN_MARKOV.shapes(((groups, K), (1, 1, K, K), inputs[3]), keep)


LIKELIHOOD = Kernel(
    name="markov_jump_likelihood",
    inputs=(
        Spec("generator", 3, differentiable=True),
        Spec("gaps", 2, differentiable=True),
        Spec("log_initial", 2, differentiable=True),
        Spec("log_density", 3, differentiable=True),
    ),
    outputs=HIDDEN_MARKOV.outputs,
    num_values=1,
    shapes=_shapes,
    forward=forward,
    backward=backward,
)
