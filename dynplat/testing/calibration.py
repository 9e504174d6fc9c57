r"""Simulation-based calibration with an exact test, for the patient.

Parameters :math:`\theta^*` are drawn from the prior and data from the process, so that :math:`\theta^*` is itself a
draw from the posterior of those data. A Markov chain that leaves the posterior as it is, started at :math:`\theta^*`
and run forwards and backwards a random number of steps, makes the rank of :math:`\theta^*` among the states of the
chain exactly uniform, whether it mixes or not; a prior, a likelihood and a simulator that do not belong together make
it drift away.

The chain is Hamiltonian Monte Carlo on the unconstrained scale with step sizes drawn anew for every step, and all data
sets move at once. Besides each number the log likelihood is ranked, which shows a likelihood that is ignored.

Sources: Talts et al. (2018), arXiv:1804.06788; Gandy and Scott (2020), Unit testing for MCMC, arXiv:2001.06465; Modrák
et al. (2023), doi:10.1214/23-BA1404.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from dynplat.model import observations_from
from dynplat.testing.report import CheckFailed, CheckSkipped
from dynplat.testing.subject import Subject

#: Data sets, steps of each chain, leapfrog steps of each; fewer where nothing is vectorised.
_NUM_DATA, _NUM_STEPS, _NUM_LEAPS = 320, 63, 8
_NUM_DATA_ONE_BY_ONE, _NUM_STEPS_ONE_BY_ONE = 96, 15
#: Step sizes, in units of the prior's sd, are log-uniform between these.
_STEP_SIZES = (0.02, 0.8)
_FALSE_ALARM = 1e-4
_NUM_BINS = 8


class Target(NamedTuple):
    """Joint log densities of many data sets at once.

    Attributes:
        log_joint: Log prior, Jacobian and likelihood, (data set,).
        log_likelihood: The likelihood alone, (data set,).
        gradient: Gradient of `log_joint`, (data set, number).
    """

    log_joint: np.ndarray
    log_likelihood: np.ndarray
    gradient: np.ndarray


def check_calibration(subject: Subject) -> None:
    """Ranks of the true parameters among the states of a posterior chain are uniform (false alarms below 1e-4)."""
    subject.need("prior", "likelihood", "simulate", "gradients")
    from scipy import stats

    languages = subject.claims.languages
    if not languages:
        raise CheckSkipped("the model has no language")
    language = "numpyro" if "numpyro" in languages else languages[0]
    vectorised = language == "numpyro"
    num_data = _NUM_DATA if vectorised else _NUM_DATA_ONE_BY_ONE
    num_steps = _NUM_STEPS if vectorised else _NUM_STEPS_ONE_BY_ONE
    rng = np.random.default_rng(subject.seed + 1000)
    with _density(subject, language) as density:
        if any(info.kind == "param" for info in density.infos.values()):
            raise CheckSkipped("some sites are point-estimated, so that there is no posterior to be calibrated")
        truth = density.prior_vectors(num_data, subject.seed + 1001)
        sites = density.sites(truth)
        names = [f"{name}[{i}]" for name, s in density.layout.slices.items() for i in range(s.stop - s.start)]
        values = _simulated(subject, sites)
        target = (_compiled if vectorised else _one_by_one)(subject, density, values)
        scales = np.maximum(truth.std(axis=0), 1e-6)
        ranks, moved = _ranks(target, truth, scales, num_steps, rng)
    if moved < 0.05:
        raise CheckFailed(
            f"a Hamiltonian chain accepts {moved:.1%} of its steps from exact draws of the posterior: log_prob or its "
            "gradient does not belong to the simulator, or is not finite near the prior's draws."
        )
    edges = np.linspace(0, num_steps + 1, _NUM_BINS + 1)
    for name, rank in zip([*names, "log_likelihood"], ranks.T, strict=True):
        counts = np.histogram(rank, bins=edges)[0]
        p = stats.chisquare(counts).pvalue
        if p < _FALSE_ALARM / (len(names) + 1):
            raise CheckFailed(
                f"the ranks of {name} are not uniform (p = {p:.2g}; counts {counts.tolist()} from low to high): prior, "
                "likelihood and simulator do not belong together."
            )


@contextmanager
def _density(subject: Subject, language: str) -> Iterator[Any]:
    from dynplat.inference.fitting import density_for, runtime

    with runtime(language, seed=subject.seed, dtype="float64", device="cpu") as to_array:
        # The context stays that of the subject's data: the prior must not move with the simulated ones.
        yield density_for(language)(subject.model, subject.context, None, to_array, seed=subject.seed)


def _simulated(subject: Subject, sites: dict[str, np.ndarray]) -> np.ndarray:
    """Data simulated at every draw of the prior, (data set, series, time, channel)."""
    observations = observations_from(subject.data)
    values = subject.simulate(subject.seed + 1002, sites, observations)
    if not np.isfinite(values).all():
        raise CheckFailed("`sample` gives values that are not finite at some draws of the prior.")
    return np.where(observations.mask, values, 0.0)


def _compiled(subject: Subject, density: Any, values: np.ndarray) -> Callable[[np.ndarray], Target]:
    import jax

    from dynplat.inference.dialect import Point

    observations = observations_from(subject.data)

    def joint(vector: Any, data: Any) -> tuple[Any, Any]:
        dialect = density.dialect(Point(density.layout.split(vector), unconstrained=True))
        subject.model.prior(dialect, subject.context)
        process = subject.model.process(dialect.sites, subject.context)
        log_likelihood = process.log_prob(observations._replace(values=data)).sum()
        return dialect.log_prior + dialect.log_jacobian + log_likelihood, log_likelihood

    run = jax.jit(jax.vmap(jax.value_and_grad(joint, has_aux=True)))
    everything = density.to_array(values)

    def target(vectors: np.ndarray) -> Target:
        (log_joint, log_likelihood), gradient = run(density.to_array(vectors), everything)
        return Target(np.asarray(log_joint), np.asarray(log_likelihood), np.asarray(gradient))

    return target


def _one_by_one(subject: Subject, density: Any, values: np.ndarray) -> Callable[[np.ndarray], Target]:
    from dynplat.inference.density import Objective

    observations = observations_from(subject.data)
    densities = [
        type(density)(subject.model, subject.context, observations._replace(values=data), density.to_array)
        for data in values
    ]

    def target(vectors: np.ndarray) -> Target:
        found = [d.value_and_gradient(v, Objective.UNCONSTRAINED) for d, v in zip(densities, vectors, strict=True)]
        sites = [d.sites(v[None]) for d, v in zip(densities, vectors, strict=True)]
        log_likelihood = [float(d.log_likelihood_steps(s).sum()) for d, s in zip(densities, sites, strict=True)]
        return Target(
            np.array([value for value, _ in found]),
            np.array(log_likelihood),
            np.stack([gradient for _, gradient in found]),
        )

    return target


def _ranks(
    target: Callable[[np.ndarray], Target],
    truth: np.ndarray,
    scales: np.ndarray,
    num_steps: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, float]:
    """Ranks (data set, number and log likelihood) of the truth among the states of its chain, and the acceptance rate.

    The chain is reversible, so that running it backwards is running it: a chain of `num_steps` states has the truth
    at a random place.
    """
    num_data = len(truth)
    backwards = rng.integers(0, num_steps + 1, num_data)
    start = target(truth)
    of_truth = np.concatenate([truth, start.log_likelihood[:, None]], axis=1)
    below, ties = np.zeros_like(of_truth), np.zeros_like(of_truth)
    accepted = 0.0
    states, now = truth.copy(), start
    for step in range(num_steps):
        turn = np.equal(backwards, step)
        states, now = np.where(turn[:, None], truth, states), _where(turn, start, now)
        states, now, taken = _hmc(target, states, now, scales, rng)
        accepted += taken.mean()
        chain = np.concatenate([states, now.log_likelihood[:, None]], axis=1)
        below += chain < of_truth
        ties += chain == of_truth
    # A state that equals the truth stands on either side of it with the same probability.
    return below + rng.integers(0, ties.astype(int) + 1), accepted / num_steps


def _hmc(
    target: Callable[[np.ndarray], Target],
    states: np.ndarray,
    now: Target,
    scales: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, Target, np.ndarray]:
    """One step of Hamiltonian Monte Carlo of all chains, with a fresh step size for each."""
    low, high = np.log(_STEP_SIZES)
    step = np.exp(rng.uniform(low, high, (len(states), 1))) * scales
    momentum = rng.standard_normal(states.shape)
    energy = now.log_joint - 0.5 * (momentum**2).sum(axis=1)
    place, moved = states, now
    with np.errstate(all="ignore"):
        for _ in range(_NUM_LEAPS):
            momentum = momentum + 0.5 * step * moved.gradient
            place = place + step * momentum
            moved = target(place)
            momentum = momentum + 0.5 * step * moved.gradient
        gained = moved.log_joint - 0.5 * (momentum**2).sum(axis=1) - energy
        taken = np.log(rng.random(len(states))) < np.nan_to_num(gained, nan=-np.inf)
    taken &= np.isfinite(place).all(axis=1)
    return np.where(taken[:, None], place, states), _where(taken, moved, now), taken


def _where(choose: np.ndarray, first: Target, second: Target) -> Target:
    """The first where `choose` (data set,) is True, else the second."""
    return Target(
        np.where(choose, first.log_joint, second.log_joint),
        np.where(choose, first.log_likelihood, second.log_likelihood),
        np.where(choose[:, None], first.gradient, second.gradient),
    )
