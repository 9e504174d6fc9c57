r"""Paths of Markov jump processes: simulated, or drawn given where they start and end, or given all observations.

A path given its ends is drawn exactly by uniformisation: with :math:`\Omega \ge \max_i |q_{ii}|` and
:math:`B = I + Q / \Omega`, the number n of events in a time t has the law

.. math:: p(n) \propto \mathrm{Poisson}(n; \Omega t)\,(B^n)_{ab},

their times are uniform, the states after them a chain with B given its end, and events that change nothing are dropped.

Sources: Gillespie (1977), doi:10.1021/j100540a008; Hobolth and Stone (2009), doi:10.1214/09-AOAS247, for drawing given
the ends; Van Loan (1978), doi:10.1109/TAC.1978.1101743, for the integrals of the moments.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import expm

from dynplat.arrays import Observations, random_source, take_rows
from dynplat.errors import ArgumentError
from dynplat.process.grid import inputs_of, merge_times, rows_of
from dynplat_jumps.kinds import Kinds, between, kinds_of
from dynplat_jumps.process import MarkovJump


class Path(NamedTuple):
    """A piecewise constant path.

    Attributes:
        times: When each state was entered, the start first, (stay,).
        states: States 0, ..., K - 1, (stay,).
        end: Where the path ends.
    """

    times: np.ndarray
    states: np.ndarray
    end: float

    def at(self, times: Any) -> np.ndarray:
        """States at times within the path; at a jump the state entered."""
        asked = np.asarray(times, dtype=np.float64)
        if asked.size and (asked.min() < self.times[0] or asked.max() > self.end):
            raise ArgumentError(f"`times` must lie in [{self.times[0]:g}, {self.end:g}], where the path is.")
        return self.states[np.searchsorted(self.times, asked, side="right") - 1]

    def stays(self, num_states: int) -> np.ndarray:
        """Total time in each state, (K,)."""
        lengths = np.diff(np.r_[self.times, self.end])
        return np.bincount(self.states, weights=lengths, minlength=num_states)

    def jumps(self, num_states: int) -> np.ndarray:
        """Number of jumps from i to j, (K, K)."""
        counts = np.zeros((num_states, num_states))
        np.add.at(counts, (self.states[:-1], self.states[1:]), 1.0)
        return counts


def simulate_path(generator: Any, start: int, end: float, *, seed: int, begin: float = 0.0) -> Path:
    """Simulate a path from time `begin` to `end` (Gillespie's direct method).

    Args:
        generator: Rates, (K, K), rows summing to 0.
        start: State at `begin`.
        end: Last time.
        seed: Determines the path.
        begin: First time.
    """
    Q = np.asarray(generator, dtype=np.float64)
    _check_state("start", start, len(Q))
    rng = np.random.default_rng(seed)
    times, states, now = [begin], [int(start)], float(begin)
    while True:
        state = states[-1]
        rate = -Q[state, state]
        if rate <= 0:
            break
        now += rng.exponential(1.0 / rate)
        if now >= end:
            break
        jump = np.maximum(Q[state], 0.0)
        jump[state] = 0.0
        times.append(now)
        states.append(int(_pick(jump, rng)))
    return Path(np.array(times), np.array(states), float(end))


def bridge_path(generator: Any, start: int, finish: int, gap: float, *, seed: int, begin: float = 0.0) -> Path:
    """Draw a path that leads from `start` to `finish` in a time `gap`, exactly.

    Raises:
        ArgumentError: No path leads there.
    """
    Q = np.asarray(generator, dtype=np.float64)
    _check_state("start", start, len(Q))
    _check_state("finish", finish, len(Q))
    times, states = _bridge(Q, start, finish, gap, np.random.default_rng(seed))
    return Path(begin + times, states, begin + gap)


def _bridge(Q: np.ndarray, a: int, b: int, gap: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    omega = float(np.abs(np.diag(Q)).max())
    if omega == 0 or gap == 0:
        if a != b:
            raise ArgumentError(f"no path leads from state {a} to {b} in a time {gap:g}.")
        return np.zeros(1), np.array([a])
    B = np.eye(len(Q)) + Q / omega
    x = omega * gap
    # Columns B^n e_b, until what is left of the Poisson law is below rounding of what has been gathered.
    columns, weights, log_poisson = [np.eye(len(Q))[b]], [np.exp(-x) * (a == b)], -x
    n = 0
    while True:
        n += 1
        columns.append(B @ columns[-1])
        log_poisson += np.log(x / n)
        weights.append(np.exp(log_poisson) * columns[-1][a])
        if n > x and n >= len(Q) and np.exp(log_poisson) * x / (n - x) < 1e-17 * sum(weights):
            break
        if n > 100 + 20 * len(Q) + 20 * x:
            break
    if not sum(weights) > 0:
        raise ArgumentError(f"no path leads from state {a} to {b} in a time {gap:g}.")
    count = int(_pick(np.array(weights), rng))
    times = np.sort(rng.uniform(0.0, gap, count))
    states = [a]
    for left in range(count - 1, -1, -1):
        states.append(int(_pick(B[states[-1]] * columns[left], rng)))
    moved = np.r_[True, np.diff(states) != 0]
    return np.r_[0.0, times][moved], np.array(states)[moved]


def bridge_moments(generator: Any, start: int, finish: int, gap: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Probability P_ab of the bridge, expected time in each state (K,) and expected number of jumps (K, K), given it.

    One exponential of twice the size: its corner is the integral of e^(Q s) E_ij e^(Q (t - s)) for all i and j at once.
    """
    Q = np.asarray(generator, dtype=np.float64)
    K = len(Q)
    W = np.zeros((K, K))
    W[start, finish] = 1.0
    block = np.zeros((2 * K, 2 * K))
    block[:K, :K] = block[K:, K:] = Q.T
    block[:K, K:] = W
    exponential = expm(block * gap)
    P = float(exponential[K + finish, K + start])
    if P <= 0:
        raise ArgumentError(f"no path leads from state {start} to {finish} in a time {gap:g}.")
    integral = exponential[:K, K:] / P
    jumps = Q * integral
    np.fill_diagonal(jumps, 0.0)
    return P, np.diag(integral).copy(), jumps


def draw_paths(process: MarkovJump, observations: Observations, num_draws: int, *, seed: int) -> list[list[Path]]:
    """Draw whole paths given all observations, from the first row's time to the last's.

    States at the rows, and at the breaks between them, are drawn jointly; between two of these times the generator is
    constant, and the path is a bridge, or does nothing where a mark says so.

    Args:
        process: A process of NumPy or torch parameters without leading axes, (series or 1, ...).
        observations: The observations.
        num_draws: Number of draws.
        seed: Determines them.

    Returns:
        Paths by draw and series.
    """
    rows = _rows_in_one_piece(process, observations)
    chain = process.chain(rows.times, rows.inputs, kinds=rows.kinds)
    seen = Observations(rows.times, rows.values, rows.mask)
    states = np.asarray(chain.draw_states(seen, num_draws, random_source(seed, process.like)))
    times, kinds = rows.times, rows.kinds
    rng = np.random.default_rng([seed, 1])
    generators = _generators(process, rows)
    generators = np.broadcast_to(generators, (states.shape[1], states.shape[2], *generators.shape[-2:]))
    result = []
    for draw in states:
        paths = []
        for series, Q in enumerate(generators):
            row, when = draw[series], times[min(series, len(times) - 1)]
            starts, entered = [when[:1]], [row[:1]]
            for t in range(1, len(row)):
                gap = when[t] - when[t - 1]
                quiet = kinds is not None and kinds.quiet[series, t]
                jump = kinds is not None and kinds.jump[series, t]
                if not quiet:
                    last = int(row[t])
                    if jump:
                        into = np.where(np.arange(len(Q[t])) == last, 0.0, Q[t, :, last])
                        last = int(_pick(transition_row(Q[t], int(row[t - 1]), gap) * into, rng))
                    own, visited = _bridge(Q[t], int(row[t - 1]), last, gap, rng)
                    starts.append(when[t - 1] + own[1:])
                    entered.append(visited[1:])
                if jump:
                    starts.append(when[t : t + 1])
                    entered.append(row[t : t + 1])
            paths.append(Path(np.concatenate(starts), np.concatenate(entered).astype(np.int64), float(when[-1])))
        result.append(paths)
    return result


class _Rows(NamedTuple):
    """Observations, with empty rows between them, and what is known of the way into each."""

    times: np.ndarray
    values: np.ndarray
    mask: np.ndarray
    inputs: np.ndarray | None
    kinds: Kinds | None


def _rows_in_one_piece(process: MarkovJump, observations: Observations) -> _Rows:
    """The rows, and an empty one at each break within a series, so that the generator is constant in each gap."""
    times, values, mask = np.asarray(observations.times, np.float64), observations.values, observations.mask
    inputs = None if observations.inputs is None else np.asarray(observations.inputs)
    kinds = kinds_of(observations)
    if not process.breaks:
        return _Rows(times, np.asarray(values), np.asarray(mask), inputs, kinds)
    # Breaks outside a series fall on one of its own rows.
    within = np.clip(process.breaks, times[..., :1], times[..., -1:])
    grid = merge_times(times, within)
    values, mask = (rows_of(np.asarray(leaf), grid.observed, times) for leaf in (values, mask))
    inputs = None if inputs is None else inputs_of(inputs, None, grid, times)
    return _Rows(grid.times, values, mask, inputs, None if kinds is None else between(kinds, grid.observed))


def _generators(process: MarkovJump, rows: _Rows) -> np.ndarray:
    """Generator in the gap before each row, (series or 1, row or 1, K, K)."""
    process_rates = np.asarray(process.generator)
    if process.drive is not None:
        moved = process.drive._replace(effect=np.asarray(process.drive.effect))
        pieces = moved.move(process_rates, moved.held(rows.inputs))
    else:
        pieces = process_rates[..., None, :, :, :]
    if not process.breaks:
        return pieces[..., 0, :, :]
    piece = np.searchsorted(process.breaks, rows.times, side="left")
    return take_rows(pieces, piece[..., None], num_core=2)[..., 0, :, :]


def transition_row(Q: np.ndarray, state: int, gap: float) -> np.ndarray:
    """Law of the state after a time `gap`, (K,)."""
    from dynplat_jumps.transition import transition_probabilities

    return np.asarray(transition_probabilities(Q, np.array([gap])))[0, state]


def _pick(weights: np.ndarray, rng: np.random.Generator) -> int:
    total = np.cumsum(weights)
    return int(min(np.searchsorted(total, rng.random() * total[-1], side="right"), np.flatnonzero(weights)[-1]))


def _check_state(name: str, state: int, num_states: int) -> None:
    if not (0 <= state < num_states and int(state) == state):
        raise ArgumentError(f"`{name}` must be one of 0, ..., {num_states - 1}; got {state}.")
