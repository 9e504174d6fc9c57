"""Compiled paths of hidden Markov chains: the most likely one, and draws given the observations.

Arrays are laid out as in `hidden_markov`; paths are int64.
"""

from __future__ import annotations

import numpy as np

from dynplat.scan.kernels.compiling import compiled
from dynplat.scan.kernels.exponential import exp
from dynplat.scan.kernels.hidden_markov_forward import LOGARITHMIC, OUTCOME
from dynplat.scan.kernels.small import of


@compiled
def best_paths(log_initial, log_transition, log_density, score, paths):
    """Find the most likely path of every group; of equally likely states the first is taken.

    Outputs:
        score: log p(path, observations), (G,).
        paths: (G, T).

    Source: Viterbi (1967), IEEE Transactions on Information Theory 13, 260-269.
    """
    T, K = log_density.shape[1], log_density.shape[2]
    came_from = np.empty((T, K), np.int32)
    best = np.empty(K)
    new = np.empty(K)
    for g in range(paths.shape[0]):
        gi, gA, ge = of(g, log_initial.shape[0]), of(g, log_transition.shape[0]), of(g, log_density.shape[0])
        for j in range(K):
            best[j] = log_initial[gi, j] + log_density[ge, 0, j]
        for t in range(1, T):
            tA = of(t, log_transition.shape[1])
            for j in range(K):
                new[j] = -np.inf
                came_from[t, j] = 0
            for i in range(K):
                for j in range(K):
                    arrival = best[i] + log_transition[gA, tA, i, j]
                    better = arrival > new[j]
                    new[j] = arrival if better else new[j]
                    came_from[t, j] = i if better else came_from[t, j]
            for j in range(K):
                best[j] = new[j] + log_density[ge, t, j]
        state = 0
        for j in range(1, K):
            if best[j] > best[state]:
                state = j
        score[g] = best[state]
        for t in range(T - 1, -1, -1):
            paths[g, t] = state
            state = came_from[t, state] if t > 0 else state


@compiled
def draw_paths(log_transition, filtered, weights, status, uniform, paths):
    """Draw paths given the observations, from the last row to the first.

    Inputs: `log_transition`; what `forward` gave with whole time axes; `uniform` numbers on [0, 1), (G, T, N).
    Outputs:
        paths: (G, T, N).
    """
    T, K = filtered.shape[1], filtered.shape[2]
    columns = np.empty((K, K))
    law = np.empty(K)
    for g in range(paths.shape[0]):
        gA = of(g, log_transition.shape[0])
        logarithmic = status[g, OUTCOME] == LOGARITHMIC
        for t in range(T - 1, -1, -1):
            if t < T - 1 and not logarithmic and (log_transition.shape[1] > 1 or t == T - 2):
                tA = of(t + 1, log_transition.shape[1])
                for i in range(K):
                    for j in range(K):
                        columns[j, i] = exp(log_transition[gA, tA, i, j])
            for draw in range(paths.shape[2]):
                if t == T - 1:
                    for i in range(K):
                        law[i] = exp(filtered[g, t, i]) if logarithmic else filtered[g, t, i]
                elif logarithmic:
                    after = paths[g, t + 1, draw]
                    tA = of(t + 1, log_transition.shape[1])
                    for i in range(K):
                        law[i] = exp(filtered[g, t, i] + log_transition[gA, tA, i, after] - weights[g, t + 1, after])
                else:
                    after = paths[g, t + 1, draw]
                    for i in range(K):
                        law[i] = filtered[g, t, i] * columns[after, i]
                paths[g, t, draw] = _pick(law, uniform[g, t, draw])


@compiled
def _pick(law, uniform):
    """Return the state that a uniform number on [0, 1) picks; never one of probability 0."""
    total = 0.0
    last = 0
    for i in range(law.shape[0]):
        total += law[i]
        last = i if law[i] > 0 else last
    rest = uniform * total
    for i in range(last):
        rest -= law[i]
        if rest < 0:
            return i
    return last
