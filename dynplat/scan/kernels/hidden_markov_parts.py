r"""The compiled hidden Markov filter of one series with few states in eight parts side by side, and its adjoint.

Parts are runs (see `hidden_markov_eight`) of one series. Of a part it is found first what it makes of each state that
it may start from, its *passage*

.. math::
    M_{ij} = p(x_{end} = j, y_{part} \mid x_{start} = i),

K runs for each part; then the laws at which parts start follow, and the parts are filtered like eight series. The
adjoint of the law before a part is M times that of the law after it, over the likelihood of the part; and what the
cotangents inside the part add, by a run that starts from 0.
"""

# pyright does not know that the first argument of numba's intrinsics is left out.
# pyright: reportCallIssue=false

from __future__ import annotations

import numpy as np

from dynplat.scan.kernels.compiling import compiled
from dynplat.scan.kernels.exponential import exp
from dynplat.scan.kernels.hidden_markov_eight import (
    KEPT_ROWS,
    ROWS,
    exponentiate,
    filter_runs,
    first_laws,
    pull_back_runs,
    room,
)
from dynplat.scan.kernels.hidden_markov_few import pull_back_few
from dynplat.scan.kernels.small import of
from dynplat.scan.kernels.vector import EIGHT, lines

#: States up to which a series is filtered in parts, and rows from which on.
PART_STATES, PART_ROWS = 4, 128


@compiled
def filter_parts(
    g, log_initial, log_transition, log_density, floor, matrix, log_prob, filtered, weights, passage, after
):  # fmt: skip
    """Filter the rows of a series that make eight parts of one length.

    Outputs: those of the filter; `passage` (8, K, K), where the filter keeps what the adjoint needs: passages of the
    parts over their likelihoods; `after` (K,), the filtered law of their last row.

    Returns:
        Whether nothing was lost.
    """
    T, K = log_density.shape[1], log_density.shape[2]
    size = T // EIGHT
    gA = of(g, log_transition.shape[0])
    groups, start = np.empty(EIGHT, np.int64), np.empty(EIGHT, np.int64)
    for l in range(EIGHT):
        groups[l], start[l] = g, l * size
    # Transitions into the first rows of parts.
    into = np.empty((EIGHT, K, K))
    for l in range(1, EIGHT):
        t = of(start[l], log_transition.shape[1])
        for i in range(K):
            for j in range(K):
                into[l, i, j] = exp(log_transition[gA, t, i, j])
                if not into[l, i, j] >= floor:  # where a transition is impossible, a passage may be
                    return False
    moving = log_transition.shape[1] > 1
    ready = size <= KEPT_ROWS
    density, largest, far, matrices = room(K, size if ready else ROWS, moving)
    log_floor = np.log(floor)
    if ready and not exponentiate(
        groups, start, 0, size, log_transition, log_density, log_floor, density, largest, far, matrices
    ):
        return False
    predicted, ends, totals = lines(K * K).reshape(K, K, EIGHT), lines(K * K).reshape(K, K, EIGHT), lines(K)
    for s in range(K):
        if not first_laws(groups, 1, log_initial, floor, predicted[s]):
            return False
        for l in range(1, EIGHT):
            for j in range(K):
                predicted[s, j, l] = into[l, s, j]
    if not filter_runs(
        groups, start, size, log_transition, matrix, log_density, floor, density, largest, far, matrices, ready,
        predicted, ends, totals, 0, log_prob, filtered, weights,
    ):  # fmt: skip
        return False
    predicted, law, log_total = predicted[:1], lines(K).reshape(1, K, EIGHT), lines(1)
    first_laws(groups, 1, log_initial, floor, predicted[0])
    before, now = np.empty(K), np.empty(K)
    for j in range(K):
        before[j] = ends[0, j, 0]
    for l in range(1, EIGHT):
        largest_total = totals[0, l]
        for s in range(1, K):
            largest_total = max(largest_total, totals[s, l])
        now[:] = 0.0
        for j in range(K):
            predicted[0, j, l] = 0.0
        for s in range(K):
            w = before[s] * exp(totals[s, l] - largest_total)
            for j in range(K):
                now[j] += w * ends[s, j, l]
                predicted[0, j, l] += before[s] * into[l, s, j]
        whole = now.sum()
        for j in range(K):
            before[j] = now[j] / whole
    if not filter_runs(
        groups, start, size, log_transition, matrix, log_density, floor, density, largest, far, matrices, ready,
        predicted, law, log_total, EIGHT, log_prob, filtered, weights,
    ):  # fmt: skip
        return False
    if passage.shape[1] == K:
        passage[0] = 0.0
        for l in range(1, EIGHT):
            for s in range(K):
                w = exp(totals[s, l] - log_total[0, l])
                for j in range(K):
                    passage[l, s, j] = w * ends[s, j, l]
    for j in range(K):
        after[j] = law[0, j, EIGHT - 1]
    return True


@compiled
def pull_back_parts(
    g, log_transition, turned, filtered, weights, passage, cotangent, last, wanted, d_initial, d_transition, d_density
):  # fmt: skip
    """Run the adjoint of `filter_parts`; `last` (K,) is the adjoint of the filtered law of the last row."""
    T, K = filtered.shape[1], filtered.shape[2]
    size = T // EIGHT
    groups, start, after = np.empty(EIGHT, np.int64), np.empty(EIGHT, np.int64), np.empty(EIGHT)
    adjoint = lines(K)
    ends = np.empty(EIGHT)
    rows = cotangent.shape[1]
    even = True
    for l in range(EIGHT):
        groups[l], start[l] = g, l * size
        end = start[l] + size
        after[l] = cotangent[g, of(end, rows)] if end < T else 0.0
        ends[l] = cotangent[g, of(end - 1, rows)]
        if rows > 1:
            for t in range(start[l], end):
                even = even and cotangent[g, t] == cotangent[g, end - 1]
    few = log_transition.shape[1] == 1 and d_transition.shape[1] <= 1
    # What a part adds itself; nothing where its cotangents are one number.
    if not even and few:
        pull_back_few(
            groups, start, size, turned, filtered, weights, cotangent, adjoint, ends, 0, wanted,
            d_initial, d_transition, d_density,
        )  # fmt: skip
    elif not even:
        pull_back_runs(
            groups, start, size, log_transition, turned, filtered, weights, cotangent, adjoint, ends, 0, wanted,
            d_initial, d_transition, d_density,
        )  # fmt: skip
    own = adjoint.copy()
    for j in range(K):
        adjoint[j, EIGHT - 1] = last[j]
    for l in range(EIGHT - 1, 0, -1):
        for i in range(K):
            s = own[i, l]
            for j in range(K):
                s += passage[l, i, j] * (adjoint[j, l] + (ends[l] - after[l]))
            adjoint[i, l - 1] = s
    if few:
        pull_back_few(
            groups, start, size, turned, filtered, weights, cotangent, adjoint, after, EIGHT, wanted,
            d_initial, d_transition, d_density,
        )  # fmt: skip
    else:
        pull_back_runs(
            groups, start, size, log_transition, turned, filtered, weights, cotangent, adjoint, after, EIGHT, wanted,
            d_initial, d_transition, d_density,
        )  # fmt: skip
