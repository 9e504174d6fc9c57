"""Checks of what a model of snapshots says of populations.

Laws are compared by their marginals, with two-sample Kolmogorov-Smirnov tests, and spreads and correlations with their
sampling errors; the false-alarm probability of each comparison is 1e-6. Where two fits are compared, few particles are
drawn: a solver that simulates finds a little different parameters for rearranged data, and only a difference that the
particles of a snapshot would show is a fault.
"""

from __future__ import annotations

import numpy as np

from dynplat.errors import CapabilityError, DynplatError
from dynplat.testing.made import rearranged
from dynplat.testing.moments import NUM_SIMULATIONS, compare_samples, compare_spreads
from dynplat.testing.report import CheckFailed, CheckSkipped
from dynplat.testing.subject import PopulationSubject

#: Particles that are drawn where two fits are compared: about as many as a snapshot has.
_FEW = 200
#: By how much the unit of time is changed.
_UNIT = 7.0
#: Two times are near when they are this part of a gap apart; particles near, at this part of the population's spread.
_NEAR_TIMES, _NEAR_PLACES = 1e-8, 1e-2


def check_population_at_a_snapshot_is_the_snapshot(subject: PopulationSubject) -> None:
    """Given snapshots, the population at the time of each is that snapshot (false-alarm probability below 1e-5)."""
    subject.need("condition")
    if subject.claims.likelihood:
        raise CheckSkipped("a law with a likelihood may stay away from the snapshots that it is fitted to")
    data = subject.data
    drawn = subject.particles(data.times, subject.seed + 61, NUM_SIMULATIONS)
    for position, population in enumerate(data.populations):
        for compare in (compare_samples, compare_spreads):
            compare(
                f"particles at the time {data.times[position]:g} of a snapshot",
                drawn[:, position],
                "the snapshot's own",
                population,
                "`condition` must lead the population through every snapshot, at its time.",
            )


def check_order_of_particles_is_free(subject: PopulationSubject) -> None:
    """The order of particles inside a snapshot means nothing: no particle is followed from one to the next."""
    subject.need("condition")
    inside = subject.queries[0, : subject.data.num_times - 1]

    def one_way(position: int, population: np.ndarray) -> np.ndarray:
        return np.argsort(population[:, 0])

    def to_and_fro(position: int, population: np.ndarray) -> np.ndarray:
        return one_way(position, population)[:: -1 if position % 2 else 1]

    first, second = (
        subject.particles(inside, subject.seed + seed, _FEW, rearranged(subject.data, order=order))
        for seed, order in ((62, one_way), (63, to_and_fro))
    )
    compare_samples(
        "particles between snapshots that are sorted by the first channel",
        first,
        "those between the same snapshots, every second one sorted the other way round",
        second,
        "Rows of one time are a set: the model takes a row of one snapshot for the same particle as a row of another.",
    )


def check_populations_agree_between_queries(subject: PopulationSubject) -> None:
    """The population at a time is the same whether it is asked for alone or as part of paths (coherent laws)."""
    subject.need("condition", "coherent")
    times = np.sort(np.concatenate([subject.queries[0], subject.data.times]))
    joint = subject.particles(times, subject.seed + 64, NUM_SIMULATIONS)
    for position in range(1, len(times)):
        compare_samples(
            f"particles at {times[position]:g}, asked for with other times",
            joint[:, position],
            "those asked for alone",
            subject.particles(times[position : position + 1], subject.seed + 65 + position, NUM_SIMULATIONS)[:, 0],
            "Laws for different query sets must be marginals of one law; otherwise declare `coherent=False`.",
        )


def check_draws_are_paths(subject: PopulationSubject) -> None:
    """A draw is a particle with its path: at two times that nearly coincide it is nearly at one place."""
    subject.need("condition", "coherent")
    inside, gaps = subject.queries[0, : subject.data.num_times - 1], np.diff(subject.data.times)
    times = np.stack([inside, inside + _NEAR_TIMES * gaps], axis=1).ravel()
    drawn = subject.particles(times, subject.seed + 66, _FEW)
    for position, time in enumerate(inside):
        here, there = drawn[:, 2 * position], drawn[:, 2 * position + 1]
        spread = np.sqrt(here.var(axis=0).sum())
        moved = float(np.median(np.linalg.norm(there - here, axis=-1)))
        if moved > _NEAR_PLACES * max(spread, 1e-12 * np.abs(here).max(initial=1.0)):
            raise CheckFailed(
                f"between {time:g} and a time {_NEAR_TIMES:g} of a gap later half of the particles move farther than "
                f"{moved:.3g}, where the population has the spread {spread:.3g}: each time is drawn anew. A draw of "
                "several times must be a path of one particle."
            )


def check_forecast_is_given_or_refused(subject: PopulationSubject) -> None:
    """After the last snapshot the law answers where the record says `forecast`, and refuses where it does not."""
    subject.need("condition")
    times = subject.data.times
    later = times[-1:] + np.diff(times)[-1]
    try:
        drawn = subject.particles(later, subject.seed + 67, _FEW)
    except CapabilityError as error:
        if subject.claims.forecast:
            raise CheckFailed(f"`forecast` is declared, and the law refuses a time after the data: {error}") from error
        return
    if not subject.claims.forecast:
        raise CheckFailed(
            f"`forecast` is not declared, yet the law answers about {later[0]:g}, after the last snapshot: declare it, "
            "or refuse with a CapabilityError."
        )
    if not np.isfinite(drawn).all():
        raise CheckFailed("particles after the last snapshot are not finite everywhere.")
    early = times[:1] - np.diff(times)[0]
    try:
        before = subject.particles(early, subject.seed + 68, _FEW)
    except DynplatError:
        return
    if not np.isfinite(before).all():
        raise CheckFailed(
            f"particles at {early[0]:g}, before the first snapshot, are not finite: refuse such times with an error of "
            "dynplat, or answer them."
        )


def check_population_has_no_clock_of_its_own(subject: PopulationSubject) -> None:
    """Expressing time in another unit changes no population: what is fitted scales with the data's own clock."""
    subject.need("condition")
    if not subject.has_solver:
        raise CheckSkipped("the model has no solver: its parameters are not fitted to the data")
    times = subject.queries[0]
    slow = rearranged(subject.data, times=lambda given: _UNIT * given)
    compare_samples(
        "particles between and after the snapshots",
        subject.particles(times, subject.seed + 69, _FEW),
        f"those with time in a unit {_UNIT:g} times smaller",
        subject.particles(_UNIT * times, subject.seed + 70, _FEW, slow),
        "A rate, a noise or a step does not scale with the unit of time: take them from the context (`gap`, `span`) or "
        "fit them.",
    )
