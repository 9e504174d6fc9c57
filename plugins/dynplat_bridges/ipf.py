r"""Iterative proportional fitting between two snapshots, with drifts learned by regression.

A Schrödinger bridge from :math:`\mu_0` to :math:`\mu_1` over a reference :math:`dx = b(x, t)\,dt + \sigma\,dW` is found
by turns: paths from :math:`\mu_0` under the forward drift, of which the backward drift is learned; paths back from
:math:`\mu_1` under the backward drift, of which the forward drift is learned. Each turn keeps the transitions of the
law before it and puts one end right; the first forward drift is b. Drifts are regressions of increments on state and
time (`dynplat_bridges.drifts`): the conditional expectation minimises the Kullback-Leibler divergence among diffusions.

In steps of dt, increments of a backward path are regressed as :math:`(x_k - x_{k+1})/dt` at :math:`x_{k+1}`: the
discrete law is reversed, not a limit of it, and the iterations converge to the bridge of the discrete reference, which
is O(dt) from that of the continuous one. The noise of a step is what the regression leaves over: the variance of
:math:`x_k` given :math:`x_{k+1}` is less than :math:`\sigma^2 dt` by a part of order dt, and as every turn starts from
the law before it and no longer from the reference, such parts would add up over the turns. So does the sampling error
of the paths: few turns with many paths are better than many with few.

Sources: Vargas, Thodoroff, Lamacraft and Lawrence (2021), Solving Schrödinger bridges via maximum likelihood; De
Bortoli, Thornton, Heng and Doucet (2021), Diffusion Schrödinger bridge.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from dynplat.errors import ArgumentError, InferenceError
from dynplat_bridges.drifts.base import AbstractRegression, FittedDrift, GridDrift
from dynplat_bridges.drifts.ridge import KernelRidge
from dynplat_bridges.simulate import Drift


class RegressionBridge(NamedTuple):
    """A bridge between two snapshots as two drifts on a grid.

    Attributes:
        grid: Times, (time,).
        diffusion: sigma of each channel, (channel,).
        forward: Drift forward in time and spread of the rates, at the places 0, ..., S - 1 of the grid.
        backward: Drift backward in time and spread of the rates, at the places 1, ..., S; the spread of place k has
            the index k - 1.
        misfit: Distance of the forward paths' end from the last snapshot at each iteration: of means and covariances,
            in units of the snapshot's standard deviations and variances; the larger of the two, (iteration,).
    """

    grid: np.ndarray
    diffusion: np.ndarray
    forward: FittedDrift
    backward: FittedDrift
    misfit: np.ndarray

    def run_forward(self, start: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Paths (particle, time, channel) from states (particle, channel) at the first time."""
        return _run(self.forward, start, self.grid, rng)

    def run_backward(self, end: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Paths (particle, time, channel) that end in states (particle, channel) at the last time."""
        return _run_back(self.backward, end, self.grid, rng)


@dataclass(frozen=True)
class IPF:
    """Iterative proportional fitting with regression drifts.

    Args:
        num_iterations: Number of pairs of turns.
        regression: How drifts are fitted.
        num_paths: Number of paths that a turn simulates; by default one from each particle. More are drawn from the
            particles with replacement and leave less sampling error.
    """

    num_iterations: int = 10
    regression: AbstractRegression = field(default_factory=KernelRidge)
    num_paths: int | None = None

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        if self.num_iterations < 1:
            raise ArgumentError(f"`num_iterations` must be at least 1; got {self.num_iterations}.")
        if self.num_paths is not None and self.num_paths < 2:
            raise ArgumentError(f"`num_paths` must be at least 2; got {self.num_paths}.")

    def solve(
        self, first: np.ndarray, last: np.ndarray, grid: np.ndarray, drift: Drift, diffusion: Any, *, seed: int
    ) -> RegressionBridge:
        """Find the bridge between two snapshots.

        Args:
            first: Particles at the first time of the grid, (particle, channel).
            last: Particles at its last time, (particle, channel).
            grid: Increasing times, (time,).
            drift: Drift of the reference.
            diffusion: sigma, a positive number or one for each channel.
            seed: Seed of simulations and regressions.

        Raises:
            ArgumentError: Snapshots of different dimension, times that do not increase, or a diffusion that is not
                positive.
            InferenceError: Paths left all bounds.
        """
        grid, sigma = np.asarray(grid, dtype=np.float64), check_diffusion(diffusion, first.shape[1])
        _check_ends(first, last, grid)
        # A stream of its own: particles may have been drawn with the same seed.
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))

        def forward(place: int, x: np.ndarray) -> np.ndarray:
            return drift(x, float(grid[place]))

        def reversed_reference(place: int, x: np.ndarray) -> np.ndarray:
            return -drift(x, float(grid[place]))

        noise = sigma**2 / np.diff(grid)[:, None]
        current = FittedDrift(forward, np.sqrt(noise)[..., None] * np.eye(len(sigma)))
        misfit = []
        for _ in range(self.num_iterations):
            paths = _run(current, self._starts(first, rng), grid, rng)
            backward = self._learn(paths[:, ::-1], grid[::-1], reversed_reference, noise[::-1], rng)
            paths = _run_back(backward, self._starts(last, rng), grid, rng)
            current = self._learn(paths, grid, forward, noise, rng)
            misfit.append(_distance(_run(current, first, grid, rng)[:, -1], last))
        return RegressionBridge(grid, sigma, current, backward, np.array(misfit))

    def _starts(self, particles: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.num_paths is None:
            return particles
        whole, rest = divmod(self.num_paths, len(particles))
        chosen = np.concatenate([np.tile(np.arange(len(particles)), whole), rng.permutation(len(particles))[:rest]])
        return particles[chosen]

    def _learn(
        self, paths: np.ndarray, grid: np.ndarray, known: GridDrift, noise: np.ndarray, rng: np.random.Generator
    ) -> FittedDrift:
        """Drift along `paths`, whose times `grid` may run backward; places are those of the increasing grid."""
        count = len(grid) - 1
        places = list(range(count)) if grid[-1] > grid[0] else list(range(count, 0, -1))
        rates = np.diff(paths, axis=1) / np.abs(np.diff(grid))[:, None]
        base = np.stack([known(place, paths[:, k]) for k, place in enumerate(places)], axis=1)
        seed = int(rng.integers(2**31))
        learned = self.regression.fit(paths[:, :-1], rates - base, np.abs(grid[:-1] - grid[0]), noise, seed=seed)
        where = {place: k for k, place in enumerate(places)}
        spread = learned.spread if grid[-1] > grid[0] else learned.spread[::-1]
        return FittedDrift(lambda place, x: known(place, x) + learned.drift(where[place], x), spread)


def check_diffusion(diffusion: Any, num_channels: int) -> np.ndarray:
    """The diffusion of each channel, (channel,).

    Raises:
        ArgumentError: It is not positive, or of another number of channels.
    """
    sigma = np.asarray(diffusion, dtype=np.float64)
    if sigma.ndim > 1 or sigma.size not in (1, num_channels):
        raise ArgumentError(
            f"`diffusion` must be a number or one for each of {num_channels} channels; got {diffusion}."
        )
    if not (np.isfinite(sigma).all() and (sigma > 0).all()):
        raise ArgumentError(f"`diffusion` must be positive: without noise there is no bridge; got {diffusion}.")
    return np.broadcast_to(sigma, (num_channels,)).copy()


def _check_ends(first: np.ndarray, last: np.ndarray, grid: np.ndarray) -> None:
    if first.ndim != 2 or last.ndim != 2 or first.shape[1] != last.shape[1] or not len(first) or not len(last):
        raise ArgumentError(
            "both snapshots must be (particle, channel) with particles and the same number of channels; got "
            f"{first.shape} and {last.shape}."
        )
    if grid.ndim != 1 or len(grid) < 2 or not (np.diff(grid) > 0).all():
        raise ArgumentError(f"the times of a bridge must increase; got {grid}.")


def _run(law: FittedDrift, start: np.ndarray, grid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    paths = np.empty((len(start), len(grid), start.shape[1]))
    paths[:, 0] = start
    for k, gap in enumerate(np.diff(grid)):
        noise = rng.standard_normal(start.shape) @ law.spread[k].T
        paths[:, k + 1] = paths[:, k] + gap * (law.drift(k, paths[:, k]) + noise)
    return _bounded(paths)


def _run_back(law: FittedDrift, end: np.ndarray, grid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    paths = np.empty((len(end), len(grid), end.shape[1]))
    paths[:, -1] = end
    gaps = np.diff(grid)
    for k in range(len(gaps), 0, -1):
        noise = rng.standard_normal(end.shape) @ law.spread[k - 1].T
        paths[:, k - 1] = paths[:, k] + gaps[k - 1] * (law.drift(k, paths[:, k]) + noise)
    return _bounded(paths)


def _bounded(paths: np.ndarray) -> np.ndarray:
    if not np.isfinite(paths).all():
        raise InferenceError(
            "simulated paths left all bounds: the drift is too steep for steps of this length. Take shorter steps, or "
            "a reference whose drift is bounded where the populations are."
        )
    return paths


def _distance(paths_end: np.ndarray, last: np.ndarray) -> float:
    """Largest difference of means and of covariances, in units of the snapshot's spread."""
    sd = np.maximum(last.std(axis=0), np.finfo(float).tiny)
    means = np.abs(paths_end.mean(axis=0) - last.mean(axis=0)) / sd
    away, wanted = ((x - x.mean(axis=0)) / sd for x in (paths_end, last))
    covariances = np.abs(away.T @ away / len(away) - wanted.T @ wanted / len(wanted))
    return float(max(means.max(), covariances.max()))
