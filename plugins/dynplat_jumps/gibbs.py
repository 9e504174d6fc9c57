"""Gibbs sampler over paths and rates: paths by Rao and Teh's sweep, rates from their Gamma laws given the paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dynplat.arrays import Observations
from dynplat.errors import ArgumentError, InferenceError, NoDensityError
from dynplat_jumps.kinds import kinds_of
from dynplat_jumps.paths import draw_paths
from dynplat_jumps.process import MarkovJump

#: Rate of all events over the largest rate of leaving.
_EVENTS = 2.0


def sample_rates(
    build: Callable[..., MarkovJump],
    start: np.ndarray,
    observations: Observations,
    *,
    shape: float | np.ndarray,
    rate: float | np.ndarray,
    num_draws: int,
    warmup: int,
    seed: int,
) -> np.ndarray:
    """Draw generators given observations.

    Given the paths, rates are independent, Gamma(shape + N_ij, rate + T_i) with N_ij jumps and T_i the time in i.

    Args:
        build: Function of a torch generator (1, K, K) that gives the process; start and emission must not depend on it.
        start: Generator with which the sampler starts, (K, K); links are where it is positive.
        observations: The observations.
        shape: Shape of the Gamma prior of each rate, (K, K) or one number.
        rate: Inverse scale of the Gamma prior, per unit of 1 / time.
        num_draws: Number of draws.
        warmup: Sweeps before the first draw.
        seed: Determines everything.

    Returns:
        Generators, (draw, K, K).

    Raises:
        InferenceError: The observations are impossible under rates that were drawn.
        ArgumentError: A number is out of range.
    """
    import torch

    from dynplat_jumps.kernels.gibbs import sweep

    if num_draws < 1 or warmup < 0:
        raise ArgumentError(f"`num_draws` must be at least 1 and `warmup` at least 0; got {num_draws}, {warmup}.")
    rng = np.random.default_rng(seed)
    Q = np.array(start, dtype=np.float64)
    K = len(Q)
    off = ~np.eye(K, dtype=bool)
    links = (Q > 0) & off
    process = build(torch.tensor(Q[None]))
    if process.breaks:
        raise ArgumentError("the Gibbs sampler takes one generator: leave `breaks` out, or use NUTS.")
    times = np.ascontiguousarray(observations.times, dtype=np.float64)
    kinds = kinds_of(observations)
    quiet = np.zeros(times.shape, dtype=bool) if kinds is None else np.ascontiguousarray(kinds.quiet)
    jump = np.zeros(times.shape, dtype=bool) if kinds is None else np.ascontiguousarray(kinds.jump)
    log_density = process.emission.log_density(observations).numpy()
    log_density = np.broadcast_to(log_density, (*times.shape, K))
    top = log_density.max(axis=-1, keepdims=True)
    density = np.exp(log_density - np.where(np.isfinite(top), top, 0.0))
    seen = observations.mask.any(axis=-1)
    lengths = np.array([int(np.flatnonzero(row).max(initial=0)) + 1 for row in seen])
    initial = np.exp(np.broadcast_to(process.log_initial.numpy(), (1, K))[0])
    try:
        (paths,) = draw_paths(process, observations, 1, seed=seed)
    except NoDensityError as error:
        raise InferenceError(f"the Gibbs sampler cannot start: {error}") from error
    row_states = np.zeros(times.shape, dtype=np.int64)
    event_times, event_states, offsets = [], [], [0]
    for series, path in enumerate(paths):
        row_states[series] = path.at(times[series])
        own = ~np.isin(path.times, times[series]) & (path.times <= times[series, lengths[series] - 1])
        event_times.append(path.times[own])
        event_states.append(path.states[own])
        offsets.append(offsets[-1] + int(own.sum()))
    events: list[Any] = [np.concatenate(event_times), np.concatenate(event_states), np.array(offsets)]
    state = rng.integers(0, 2**63, size=1, dtype=np.uint64)
    found = np.empty((num_draws, K, K))
    room = 2 * len(events[0]) + 1024
    for step in range(warmup + num_draws):
        omega = _EVENTS * float(-np.diag(Q).min())
        while True:
            new = [np.empty(room), np.empty(room, np.int64), np.zeros(len(times) + 1, np.int64)]
            rows, stays, jumps = row_states.copy(), np.zeros(K), np.zeros((K, K))
            before = state.copy()
            need = sweep(
                Q, omega, initial, times, lengths, density, quiet, jump, *events, *new, rows, stays, jumps, state
            )
            if need <= 0:
                break
            room, state = int(need), before
        if need < 0:
            raise InferenceError(f"the Gibbs sampler: the observations of series {-1 - need} became impossible.")
        events, row_states = new, rows
        scale = 1.0 / (stays[:, None] + rate)
        drawn = rng.gamma(np.where(links, jumps + shape, 1.0), np.broadcast_to(scale, (K, K)))
        Q = np.where(links, drawn, 0.0)
        Q -= np.diag(Q.sum(axis=1))
        if step >= warmup:
            found[step - warmup] = Q
    return found
