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

from dynplat.model import Populations
from dynplat_bridges.acceleration import extrapolate
from dynplat_bridges.chains import AbstractChain, LinearisedChain, interval_grids, linearised_chain, regression_chain
from dynplat_bridges.estimate import fit_parameters, increments_of, path_log_likelihood
from dynplat_bridges.ipf import IPF
from dynplat_bridges.references.base import AbstractReference
from dynplat_bridges.simulate import Drift

#: Most that one turn multiplies or divides the diffusion by.
_FACTOR = 4.0
#: Turns in a row without progress after which turns end.
_STILL = 3


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
        divergence: Divergence of the bridge from its reference before the first turn and after each, but for a
            constant of the snapshots, (iteration + 1,); NaN where drifts are regressed, which gives none.
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
    tolerance: float = 3e-3,
    num_paths: int | None = None,
    transport: Transport | None = None,
    accelerate: bool = True,
    observer: Callable[[int, Mapping[str, np.ndarray], AbstractChain], None] | None = None,
) -> Refined:
    """Refine a reference on snapshots.

    Of all turns the reference with the least divergence is returned, with regression drifts that of the last turn.

    Args:
        populations: The snapshots.
        reference: The family of references; its known diffusion stays.
        parameters: All parameters to start from.
        diffusion: sigma to start from, (channel,).
        seed: Seed of the paths.
        num_iterations: Most turns.
        tolerance: Turns end where three in a row have not lowered the divergence by so much.
        num_paths: Paths of a turn; by default as many as the largest snapshot has particles.
        transport: How neighbouring snapshots are joined.
        accelerate: Whether every third turn is extrapolated (`dynplat_bridges.acceleration`) where the divergence says
            that it helps; never with regression drifts or networks.
        observer: Told the number of the turn, the parameters and the chain before the parameters are refitted.
    """
    transport = Transport() if transport is None else transport
    count = max(len(particles) for particles in populations.particles) if num_paths is None else num_paths
    free = reference.free(populations.particles[0].shape[1])
    if not free and reference.diffusion is not None:
        num_iterations = 1  # nothing is to be fitted: one bridge says how far it is
    may_jump = accelerate and transport.ipf is None and reference.fitted_by == "least-squares"
    found, sigma = dict(parameters), np.asarray(diffusion, dtype=np.float64)
    chain = _chain_of(transport, populations, reference, found, sigma, seed)
    best, divergences, likelihoods = (found, sigma), [_divergence(chain)], []
    recent = [found]
    for turn in range(num_iterations):
        if observer is not None:
            observer(turn, found, chain)
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
        data = increments_of(chain.draw_from_all(count, rng), chain.grid)
        refitted = fit_parameters(reference, found, data, sigma)
        likelihoods.append([path_log_likelihood(reference, p, data, sigma) / count for p in (found, refitted)])
        if isinstance(chain, LinearisedChain) and reference.diffusion is None:
            sigma = sigma * np.clip(chain.noise_factor(), 1.0 / _FACTOR, _FACTOR)
        found, further = refitted, None
        recent.append(found)
        if may_jump and len(recent) == 3:
            further = extrapolate(recent, free, reference.positive)
            recent = recent[2:]
        if further is not None:
            chain = _chain_of(transport, populations, reference, further, sigma, seed)
            if _divergence(chain) <= divergences[-1]:
                found, recent = further, [further]
            else:
                further = None
        if further is None:
            chain = _chain_of(transport, populations, reference, found, sigma, seed)
        divergences.append(_divergence(chain))
        if not divergences[-1] > np.min(divergences):
            best = (found, sigma)
        if turn >= _STILL and np.min(divergences[-_STILL:]) > np.min(divergences[:-_STILL]) - tolerance:
            break
    return Refined(*best, np.array(divergences), np.array(likelihoods))


def _chain_of(
    transport: Transport,
    populations: Populations,
    reference: AbstractReference,
    parameters: Mapping[str, np.ndarray],
    diffusion: np.ndarray,
    seed: int,
) -> AbstractChain:
    return transport.chain(populations, lambda x, t: reference.drift(x, t, parameters), diffusion, seed=seed)


def _divergence(chain: AbstractChain) -> float:
    return chain.divergence if isinstance(chain, LinearisedChain) else float("nan")
