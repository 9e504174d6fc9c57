"""Hidden Markov chains to test with: random ones, and a dense twin that sums over all paths."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np


class RandomHiddenMarkov(NamedTuple):
    """A random chain and log densities of its rows, in the layout of `dynplat.process.HiddenMarkov`.

    Attributes:
        log_initial: (..., K).
        log_transition: (..., T or 1, K, K), (old, new).
        log_density: (..., T, K).
    """

    log_initial: np.ndarray
    log_transition: np.ndarray
    log_density: np.ndarray


def random_hidden_markov(
    rng: np.random.Generator,
    *,
    num_states: int,
    num_steps: int,
    lead: tuple[int, ...] = (),
    moving: bool = False,
    share_transition: bool = False,
    zeros: float = 0.0,
    spread: float = 3.0,
) -> RandomHiddenMarkov:
    """Draw a random chain.

    Args:
        rng: Source of random numbers.
        num_states: Number of states.
        num_steps: Number of rows.
        lead: Leading axes.
        moving: Whether the transition changes with time.
        share_transition: Whether all leading indices share one transition.
        zeros: Part of the transitions that are impossible; a state can always be kept.
        spread: Standard deviation of the log densities.
    """
    K = num_states
    shape = (() if share_transition else lead) + (num_steps if moving else 1,)
    weights = rng.gamma(1.0, size=(*shape, K, K)) + 1e-3
    gone = (rng.random(weights.shape) < zeros) & ~np.eye(K, dtype=bool)
    weights = np.where(gone, 0.0, weights)
    with np.errstate(divide="ignore"):
        log_transition = np.log(weights / weights.sum(axis=-1, keepdims=True))
    log_initial = np.log(rng.dirichlet(np.ones(K), size=lead))
    return RandomHiddenMarkov(log_initial, log_transition, spread * rng.standard_normal((*lead, num_steps, K)))


class DenseHiddenMarkov(NamedTuple):
    """A chain given one series, by enumeration.

    Attributes:
        log_prob: log p(y).
        log_prob_steps: Terms log p(y_t | y_<t), (T,).
        filtered: p(x_t | y_<=t), (T, K).
        states: p(x_t | y), (T, K).
        pairs: p(x_t = i, x_{t+1} = j | y), (T - 1, K, K).
        best_path: The most likely path, (T,).
        best_log_prob: log p(best path, y).
    """

    log_prob: float
    log_prob_steps: np.ndarray
    filtered: np.ndarray
    states: np.ndarray
    pairs: np.ndarray
    best_path: np.ndarray
    best_log_prob: float


def dense_hidden_markov(
    log_initial: np.ndarray, log_transition: np.ndarray, log_density: np.ndarray
) -> DenseHiddenMarkov:
    """Sum over all K^T paths of one series that is possible (arrays without leading axes)."""
    T, K = log_density.shape
    moves = np.broadcast_to(log_transition, (T, K, K))
    paths = np.array(list(product(range(K), repeat=T)))

    def weigh(size: int) -> np.ndarray:
        """Log-probability of the first `size` rows of every path with their observations."""
        total = log_initial[paths[:, 0]] + log_density[0, paths[:, 0]]
        for t in range(1, size):
            total = total + moves[t, paths[:, t - 1], paths[:, t]] + log_density[t, paths[:, t]]
        return total

    # A path of `size` rows is the beginning of K^(T - size) paths.
    sizes = range(1, T + 1)
    sums = [np.logaddexp.reduce(weigh(size)) - (T - size) * np.log(K) for size in sizes]
    laws = [np.exp(weigh(size) - np.logaddexp.reduce(weigh(size))) for size in sizes]
    eye = np.eye(K)
    filtered = [law @ eye[paths[:, size - 1]] for size, law in zip(sizes, laws, strict=True)]
    whole, last = weigh(T), laws[-1]
    return DenseHiddenMarkov(
        log_prob=float(sums[-1]),
        log_prob_steps=np.diff(sums, prepend=0.0),
        filtered=np.array(filtered),
        states=np.array([last @ eye[paths[:, t]] for t in range(T)]),
        pairs=np.array(
            [np.einsum("p,pi,pj->ij", last, eye[paths[:, t]], eye[paths[:, t + 1]]) for t in range(T - 1)]
        ).reshape(T - 1, K, K),
        best_path=paths[np.argmax(whole)],
        best_log_prob=float(whole.max()),
    )
