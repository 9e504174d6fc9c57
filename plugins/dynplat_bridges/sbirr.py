r"""Iterative reference refinement: the reference of a family that is closest to its own bridge.

By turns: the bridge P of the current reference through all snapshots, and the parameters of maximum likelihood of its
paths,

.. math::
    P_n = \arg\min_{P:\,X(t_k) \sim \mu_k} \mathrm{KL}(P \,\|\, R_{\theta_n}), \qquad
    \theta_{n+1} = \arg\max_\theta E_{P_n} \log dR_\theta .

Neither turn can raise :math:`\mathrm{KL}(P \,\|\, R)`: it is the logarithm, per particle and with its sign turned, of
how likely the snapshots are as populations of independent particles of the reference. Paths are drawn with the same
random numbers in each turn, so that turns differ by the reference alone.

Where the diffusion is not known, a third turn takes the one of maximum likelihood of the coupled ends of the intervals.
(Whole paths say nothing of it: those of a bridge have the diffusion they were drawn with.)

Source: Shen, Berlinghieri and Broderick (2025), Multi-marginal Schrödinger bridges with iterative reference
refinement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dynplat_bridges.chains import (
    AbstractChain,
    LinearisedChain,
    interval_grids,
    linearised_chain,
    regression_chain,
)
from dynplat_bridges.estimate import fit_parameters, increments_of, path_log_likelihood
from dynplat_bridges.ipf import IPF
from dynplat_bridges.populations import Populations
from dynplat_bridges.references.base import AbstractReference
from dynplat_bridges.simulate import Drift

#: Most that one turn multiplies or divides the diffusion by.
_FACTOR = 4.0


@dataclass(frozen=True)
class Transport:
    """How neighbouring snapshots are joined over a given reference.

    Args:
        num_steps: Steps of an interval.
        ipf: Iterative proportional fitting with regression drifts; None: the reference is linearised along the paths
            of the particles, and particles are coupled by Sinkhorn's iterations.
    """

    num_steps: int = 50
    ipf: IPF | None = None

    def chain(
        self,
        populations: Populations,
        drift: Drift,
        diffusion: np.ndarray,
        *,
        seed: int,
        queries: np.ndarray | None = None,
    ) -> AbstractChain:
        """The bridge through all snapshots, on a grid that holds the queries."""
        grids = interval_grids(populations.times, self.num_steps, queries)
        if self.ipf is None:
            return linearised_chain(populations, drift, diffusion, grids)
        return regression_chain(populations, drift, diffusion, grids, self.ipf, seed)


class Refined(NamedTuple):
    """A refined reference, and how it came about.

    Attributes:
        parameters: All parameters of the drift.
        diffusion: sigma, (channel,).
        divergence: Divergence of each turn's bridge from its reference, but for a constant of the snapshots,
            (iteration,); NaN where drifts are regressed, which gives none.
        log_likelihood: Log likelihood of each turn's paths, per path and against Brownian motion: under the reference
            they were drawn with, and under the refitted one, (iteration, 2).
    """

    parameters: dict[str, np.ndarray]
    diffusion: np.ndarray
    divergence: np.ndarray
    log_likelihood: np.ndarray


def refine(
    populations: Populations,
    reference: AbstractReference,
    parameters: Mapping[str, np.ndarray],
    diffusion: np.ndarray,
    *,
    seed: int,
    num_iterations: int = 20,
    tolerance: float = 1e-3,
    num_paths: int | None = None,
    transport: Transport | None = None,
    observer: Callable[[int, Mapping[str, np.ndarray], AbstractChain], None] | None = None,
) -> Refined:
    """Refine a reference on snapshots.

    Args:
        populations: The snapshots.
        reference: The family of references; its known diffusion stays.
        parameters: All parameters to start from.
        diffusion: sigma to start from, (channel,).
        seed: Seed of the paths.
        num_iterations: Most turns.
        tolerance: Turns end where two in a row have changed the divergence by less.
        num_paths: Paths of a turn; by default as many as the largest snapshot has particles.
        transport: How neighbouring snapshots are joined.
        observer: Told the number of the turn, the parameters and the chain before the parameters are refitted.
    """
    transport = Transport() if transport is None else transport
    count = max(len(particles) for particles in populations.particles) if num_paths is None else num_paths
    found, sigma = dict(parameters), np.asarray(diffusion, dtype=np.float64)
    divergences, likelihoods = [], []
    if not reference.free(populations.particles[0].shape[1]) and reference.diffusion is not None:
        num_iterations = 1  # nothing is to be fitted: one bridge says how far it is
    for turn in range(num_iterations):
        held = dict(found)
        chain = transport.chain(populations, lambda x, t, held=held: reference.drift(x, t, held), sigma, seed=seed)
        if observer is not None:
            observer(turn, held, chain)
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
        paths = chain.draw_from_all(count, rng)
        data = increments_of(paths, chain.grid)
        found = fit_parameters(reference, held, data, sigma)
        likelihoods.append([path_log_likelihood(reference, p, data, sigma) / count for p in (held, found)])
        is_linearised = isinstance(chain, LinearisedChain)
        divergences.append(chain.divergence if is_linearised else np.nan)
        if is_linearised and reference.diffusion is None:
            sigma = sigma * np.clip(chain.noise_factor(), 1.0 / _FACTOR, _FACTOR)
        if len(divergences) > 2 and np.abs(np.diff(divergences[-3:])).max() < tolerance:
            break
    return Refined(found, sigma, np.array(divergences), np.array(likelihoods))
