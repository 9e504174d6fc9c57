r"""One sweep of the sampler of Rao and Teh over the paths of all series, compiled.

With :math:`\Omega > \max_i |q_{ii}|` and :math:`B = I + Q / \Omega`: events that change nothing are added to the jumps
of a path, with rate :math:`\Omega - |q_{xx}|` while in x; given the times of all events the states are a discrete chain
with B, seen at the rows, and are drawn anew by filtering forward and sampling backward; events that change nothing are
dropped. Rows that were entered at exactly their time are events of their own with the rates themselves, and where
nothing happened since the row before there are no events and each state has its probability of staying. Where rates
change at breaks of time each piece has its own :math:`\Omega` and B, and a break is a point at which nothing happens.

Source: Rao and Teh (2013), Fast MCMC sampling for Markov jump processes and extensions, Journal of Machine Learning
Research 14, 3295-3320.
"""

from __future__ import annotations

import numpy as np

from dynplat.scan.kernels.compiling import compiled


@compiled
def uniform(state):
    """Advance the state (1,) of a generator and return a uniform number on (0, 1).

    SplitMix64: Steele, Lea and Flood (2014), doi:10.1145/2660193.2660195.
    """
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (np.float64(z >> np.uint64(11)) + 0.5) * (1.0 / 9007199254740992.0)


@compiled
def pick(weights, state):
    """Index that a uniform number picks out of weights (K,) that are not all 0."""
    total = 0.0
    for i in range(weights.shape[0]):
        total += weights[i]
    left = uniform(state) * total
    chosen = -1
    for i in range(weights.shape[0]):
        if weights[i] > 0:
            chosen = i
            left -= weights[i]
            if left < 0:
                break
    return chosen


@compiled
def _least_loss(weights, generator, gap):
    """Largest log-probability of staying for `gap` among states of positive weight: a long stay is below any float."""
    top = -np.inf
    for i in range(weights.shape[0]):
        if weights[i] > 0:
            top = max(top, generator[i, i] * gap)
    return top


@compiled
def sweep(
    generator, omega, breaks, initial, times, lengths, density, quiet, jump, event_times, event_states, offsets,
    new_times, new_states, new_offsets, row_states, stays, jumps, state,
):  # fmt: skip
    """Draw new paths of all series; return 0, how much room for events is needed at least, or -1 - s.

    The last where the observations of series s are impossible.

    Args:
        generator: Rates (piece, K, K).
        omega: Rate of all events, above every rate of leaving, (piece,).
        breaks: Times at which the rates change, increasing, (piece - 1,); a break belongs to the piece before it.
        initial: Law of the state at the first row, (K,).
        times: (series, row).
        lengths: Number of rows of each series.
        density: Likelihood of each row's observation, up to a factor, (series, row, K).
        quiet: Whether nothing happened since the row before, (series, row).
        jump: Whether the state was entered at the row's time, (series, row).
        event_times: Jumps of the current paths that are at no row's time, (event,), series after series. Events at
            which the state does not change are allowed.
        event_states: States entered.
        offsets: Where each series begins, (series + 1,).
        new_times: Room for the jumps of the new paths.
        new_states: The same.
        new_offsets: The same, (series + 1,).
        row_states: States at the rows, right after any jump there, (series, row): read and written.
        stays: Total times in states (piece, K), to which is added.
        jumps: Numbers of jumps (piece, K, K), to which is added.
        state: State of the generator of random numbers, (1,).
    """
    P, K = generator.shape[0], generator.shape[1]
    B = np.empty((P, K, K))
    for p in range(P):
        B[p] = np.eye(K) + generator[p] / omega[p]
    room = new_times.shape[0]
    most = 64
    when, law = np.empty(most), np.empty((most, K))
    kind, row_of, piece_of = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    drawn = np.empty(most, np.int64)
    weights = np.empty(K)
    new_offsets[0] = 0
    filled = 0
    for s in range(times.shape[0]):
        # The grid: rows (kind 0), events, old and new (kind 1), and breaks (kind 2), in order of time.
        count, e, p = 0, offsets[s], 0
        for r in range(lengths[s]):
            if r == 0:
                while p < P - 1 and breaks[p] <= times[s, 0]:
                    p += 1
            else:
                now, at = times[s, r - 1], row_states[s, r - 1]
                while p < P - 1 and breaks[p] <= now:
                    p += 1
                while True:
                    following, what = times[s, r], 0
                    if p < P - 1 and breaks[p] < following:
                        following, what = breaks[p], 2
                    if not quiet[s, r]:
                        if e < offsets[s + 1] and event_times[e] < following:
                            following, what = event_times[e], 1
                        spare = omega[p] + generator[p, at, at]
                        while True:
                            now -= np.log(uniform(state)) / spare
                            if now >= following:
                                break
                            if count + 2 >= most:
                                most, when, law, kind, row_of, piece_of, drawn = _grown(
                                    most, when, law, kind, row_of, piece_of, drawn
                                )
                            when[count], kind[count], row_of[count], piece_of[count] = now, 1, r, p
                            count += 1
                    now = following
                    if what == 0:
                        break
                    if count + 2 >= most:
                        most, when, law, kind, row_of, piece_of, drawn = _grown(
                            most, when, law, kind, row_of, piece_of, drawn
                        )
                    when[count], kind[count], row_of[count], piece_of[count] = now, what, r, p
                    count += 1
                    if what == 1:
                        at = event_states[e]
                        e += 1
                    else:
                        p += 1
            if count + 2 >= most:
                most, when, law, kind, row_of, piece_of, drawn = _grown(most, when, law, kind, row_of, piece_of, drawn)
            when[count], kind[count], row_of[count], piece_of[count] = times[s, r], 0, r, p
            count += 1
        # Forward.
        for g in range(count):
            r, p = row_of[g], piece_of[g]
            still = g > 0 and kind[g] != 1 and quiet[s, r]
            gap, top = 0.0, 0.0
            if still:
                gap = when[g] - when[g - 1]
                top = _least_loss(law[g - 1], generator[p], gap)
            total = 0.0
            for j in range(K):
                if g == 0:
                    value = initial[j]
                elif kind[g] == 1:
                    value = 0.0
                    for i in range(K):
                        value += law[g - 1, i] * B[p, i, j]
                elif kind[g] == 0 and jump[s, r]:
                    value = 0.0
                    for i in range(K):
                        if i != j and law[g - 1, i] > 0:
                            step = law[g - 1, i] * generator[p, i, j]
                            value += step * np.exp(generator[p, i, i] * gap - top) if still else step
                else:
                    value = law[g - 1, j]
                    if still and value > 0:
                        value *= np.exp(generator[p, j, j] * gap - top)
                if kind[g] == 0:
                    value *= density[s, r, j]
                law[g, j] = value
                total += value
            if not total > 0:
                return -1 - s
            for j in range(K):
                law[g, j] /= total
        # Backward.
        drawn[count - 1] = pick(law[count - 1], state)
        for g in range(count - 2, -1, -1):
            after = drawn[g + 1]
            r, p = row_of[g + 1], piece_of[g + 1]
            for i in range(K):
                value = law[g, i]
                if kind[g + 1] == 1:
                    value *= B[p, i, after]
                elif kind[g + 1] == 0 and jump[s, r]:
                    value *= generator[p, i, after] if i != after else 0.0
                elif i != after:
                    value = 0.0
                weights[i] = value
            if kind[g + 1] != 1 and quiet[s, r]:
                gap = when[g + 1] - when[g]
                top = _least_loss(weights, generator[p], gap)
                for i in range(K):
                    if weights[i] > 0:
                        weights[i] *= np.exp(generator[p, i, i] * gap - top)
            drawn[g] = pick(weights, state)
        # What is kept, and what is counted.
        for g in range(count):
            if kind[g] == 0:
                row_states[s, row_of[g]] = drawn[g]
            if g == 0:
                continue
            p = piece_of[g]
            stays[p, drawn[g - 1]] += when[g] - when[g - 1]
            if drawn[g] != drawn[g - 1]:
                jumps[p, drawn[g - 1], drawn[g]] += 1.0
                if kind[g] == 1:
                    if filled >= room:
                        return 2 * room + 64
                    new_times[filled], new_states[filled] = when[g], drawn[g]
                    filled += 1
        new_offsets[s + 1] = filled
    return 0


@compiled
def _grown(most, when, law, kind, row_of, piece_of, drawn):
    """Room for twice as many points."""
    more, wider = np.empty(2 * most), np.empty((2 * most, law.shape[1]))
    kinds, rows, pieces = np.empty(2 * most, np.int64), np.empty(2 * most, np.int64), np.empty(2 * most, np.int64)
    more[:most], wider[:most], kinds[:most], rows[:most], pieces[:most] = when, law, kind, row_of, piece_of
    return 2 * most, more, wider, kinds, rows, pieces, np.empty(2 * most, np.int64)
