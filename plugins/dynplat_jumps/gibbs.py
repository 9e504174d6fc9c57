"""Gibbs sampler over paths and parameters: paths by Rao and Teh's sweep, blocks of parameters given the paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from dynplat.arrays import Observations
from dynplat.errors import ArgumentError, InferenceError, NoDensityError
from dynplat_jumps.blocks import AbstractBlock, PathStatistics, Values
from dynplat_jumps.em import RateLinks, check_shared
from dynplat_jumps.kinds import kinds_of
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
    thin: int = 1,
) -> np.ndarray:
    """Draw generators given observations.

    Given the paths, rates are independent, Gamma(shape + N_ij, rate + T_i) with N_ij jumps and T_i the time in i, both
    of one piece where rates change at breaks.

    Args:
        build: Function of a torch generator (1, [piece,] K, K) that gives the process; start and emission must not
            depend on it.
        start: Generator with which the sampler starts, ([piece,] K, K); links are where it is positive.
        observations: The observations.
        shape: Shape of the Gamma prior of each rate, ([piece,] K, K) or one number.
        rate: Inverse scale of the Gamma prior, per unit of 1 / time.
        num_draws: Number of draws.
        warmup: Sweeps before the first draw.
        seed: Determines everything.
        thin: Sweeps from one draw to the next.

    Returns:
        Generators, (draw, [piece,] K, K).

    Raises:
        InferenceError: The observations are impossible under rates that were drawn.
        ArgumentError: A number is out of range.
    """
    links = RateLinks(start)
    found = sample(
        [links.block(shape, rate)],
        links.builder(build),
        links.values,
        observations,
        num_draws=num_draws,
        warmup=warmup,
        thin=thin,
        seed=seed,
        fixed_emission=True,
    )
    return links.generator(found["rate"])


def sample(
    blocks: list[AbstractBlock],
    build: Callable[[Values], MarkovJump],
    start: Values,
    observations: Observations,
    *,
    num_draws: int,
    warmup: int,
    seed: int,
    thin: int = 1,
    fixed_emission: bool = False,
) -> dict[str, np.ndarray]:
    """Draw all parameters given observations.

    Args:
        blocks: All parameters.
        build: Function of the values of the sites that gives the process, whose parameters are the same for all series.
        start: Values with which the sampler starts.
        observations: The observations.
        num_draws: Number of draws.
        warmup: Sweeps before the first draw.
        seed: Determines everything.
        thin: Sweeps from one draw to the next.
        fixed_emission: Whether what states show does not depend on the parameters, and is computed once.

    Returns:
        (draw, core dimensions) by site.

    Raises:
        InferenceError: The observations are impossible under values that were drawn.
        ArgumentError: A number is out of range.
    """
    if num_draws < 1 or warmup < 0 or thin < 1:
        raise ArgumentError(
            f"`num_draws` and `thin` must be at least 1 and `warmup` at least 0; got {num_draws}, {thin}, {warmup}."
        )
    found: dict[str, list[np.ndarray]] = {name: [] for name in start}
    chain = sweeps(blocks, build, start, observations, np.random.default_rng(seed), fixed_emission=fixed_emission)
    for values in islice(chain, warmup + thin - 1, warmup + num_draws * thin, thin):
        for name, value in values.items():
            found[name].append(value)
    return {name: np.stack(draws) for name, draws in found.items()}


def sweeps(
    blocks: list[AbstractBlock],
    build: Callable[[Values], MarkovJump],
    start: Values,
    observations: Observations,
    rng: np.random.Generator,
    *,
    settle: int = 10,
    fixed_emission: bool = False,
) -> Iterator[dict[str, np.ndarray]]:
    """Give the parameters after each sweep over paths and all blocks, without end (see `sample`).

    Args:
        blocks: All parameters.
        build: See `sample`.
        start: See `sample`.
        observations: The observations.
        rng: Source of random numbers.
        settle: Sweeps over the paths alone, before parameters move.
        fixed_emission: See `sample`.
    """
    values = {name: np.array(value, dtype=np.float64) for name, value in start.items()}
    process = build(values)
    check_shared(process)
    _check_possible(process, observations)
    paths = PathSampler(observations, process, rng)
    density = paths.density(process)
    for _ in range(settle):
        paths.sweep(process, density)
    while True:
        drawn = paths.sweep(process, density)
        for block in blocks:
            values.update(block.draw(values, drawn, rng))
        process = build(values)
        density = density if fixed_emission else paths.density(process)
        yield dict(values)


class PathSampler:
    """Paths of all series, drawn anew again and again.

    The first path is one of events alone: in each gap enough to lead from every state to every other that it leads to.

    Args:
        observations: The observations.
        process: A process of the kind whose paths are drawn.
        rng: Source of random numbers.
    """

    def __init__(self, observations: Observations, process: MarkovJump, rng: np.random.Generator) -> None:
        self._observations = observations
        self._breaks = np.array(process.breaks, dtype=np.float64)
        self._times = times = np.ascontiguousarray(observations.times, dtype=np.float64)
        kinds = kinds_of(observations)
        none = np.zeros(times.shape, dtype=bool)
        self._quiet = none if kinds is None else np.ascontiguousarray(np.broadcast_to(kinds.quiet, times.shape))
        self._jump = none if kinds is None else np.ascontiguousarray(np.broadcast_to(kinds.jump, times.shape))
        seen = np.broadcast_to(np.asarray(observations.mask).any(axis=-1), times.shape)
        self._lengths = np.array([int(np.flatnonzero(row).max(initial=0)) + 1 for row in seen])
        self._rows = np.zeros(times.shape, dtype=np.int64)
        self._state = rng.integers(0, 2**63, size=1, dtype=np.uint64)
        # A path needs K - 1 jumps at most to get anywhere.
        least = process.num_states - 1
        rate = _EVENTS * _leaving(_generators(process)).max()
        whens, offsets = [], [0]
        for series, length in enumerate(self._lengths):
            count = 0
            for row in range(1, length):
                begin, gap = times[series, row - 1], times[series, row] - times[series, row - 1]
                if gap > 0 and not self._quiet[series, row]:
                    when = begin + gap * np.sort(rng.random(least + rng.poisson(min(rate * gap, 1e6))))
                    whens.append(when[(when > begin) & (when < times[series, row])])
                    count += len(whens[-1])
            offsets.append(offsets[-1] + count)
        when = np.concatenate([np.empty(0), *whens])
        self._events: list[Any] = [when, np.zeros(len(when), np.int64), np.array(offsets)]
        self._room = 2 * len(when) + 1024

    def density(self, process: MarkovJump) -> np.ndarray:
        """Likelihoods of rows in each state, up to a factor of each row, (series, time, K)."""
        found = np.asarray(process.emission.log_density(self._observations), dtype=np.float64)
        found = np.broadcast_to(found, (*self._times.shape, process.num_states))
        top = found.max(axis=-1, keepdims=True)
        return np.exp(found - np.where(np.isfinite(top), top, 0.0))

    def sweep(self, process: MarkovJump, density: np.ndarray) -> PathStatistics:
        """Draw new paths given the present ones.

        Args:
            process: Present parameters.
            density: What `density` gives of them.

        Raises:
            InferenceError: The observations are impossible.
        """
        from dynplat_jumps.kernels.gibbs import sweep

        Q, K = _generators(process), process.num_states
        omega = np.maximum(_EVENTS * _leaving(Q), 1e-300)
        initial = np.exp(np.broadcast_to(np.asarray(process.log_initial), (1, K))[0])
        while True:
            new = [np.empty(self._room), np.empty(self._room, np.int64), np.zeros(len(self._times) + 1, np.int64)]
            rows, stays, jumps = self._rows.copy(), np.zeros((len(Q), K)), np.zeros((len(Q), K, K))
            before = self._state.copy()
            need = sweep(
                Q, omega, self._breaks, initial, self._times, self._lengths, density, self._quiet, self._jump,
                *self._events, *new, rows, stays, jumps, self._state,
            )  # fmt: skip
            if need <= 0:
                break
            self._room, self._state = int(need), before
        if need < 0:
            raise InferenceError(f"the Gibbs sampler: the observations of series {-1 - need} became impossible.")
        self._events, self._rows = new, rows
        first = np.bincount(rows[:, 0], minlength=K).astype(np.float64)
        return PathStatistics(stays, jumps, first, (rows[..., None] == np.arange(K)).astype(np.float64))


def _generators(process: MarkovJump) -> np.ndarray:
    """Generators of all pieces, (piece, K, K)."""
    return np.ascontiguousarray(np.asarray(process.generator, dtype=np.float64)[0])


def _leaving(generators: np.ndarray) -> np.ndarray:
    """Largest rate of leaving of each piece, (piece,)."""
    return -np.diagonal(generators, axis1=-2, axis2=-1).min(axis=-1)


def _check_possible(process: MarkovJump, observations: Observations) -> None:
    try:
        process.chain(observations.times, kinds_of(observations)).posterior(observations).laws  # noqa: B018
    except NoDensityError as error:
        raise InferenceError(f"the Gibbs sampler cannot start: {error}") from error
