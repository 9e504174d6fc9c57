"""Checks of simulation: of its shape, its seed, and its law."""

from __future__ import annotations

import numpy as np

from dynplat.arrays import random_source
from dynplat.testing.moments import NUM_SIMULATIONS, compare_moments, compare_samples
from dynplat.testing.report import CheckFailed
from dynplat.testing.subject import NUM_POINTS, Subject, hide_all


def check_simulation_is_finite(subject: Subject) -> None:
    """Draws have the shape of the observations, no NaN, and values of a declared type, for each parameter draw."""
    subject.need("simulate")
    expected = subject.observations.values.shape
    for point in range(NUM_POINTS):
        values = subject.simulate(3, point)
        if values.shape[-3:] != expected:
            raise CheckFailed(
                f"`sample` gives values of shape {values.shape}; expected {expected} (series, time, channel)."
            )
        if not np.isfinite(values).all():
            raise CheckFailed("`sample` gives values that are not finite.")
        kinds = set(subject.claims.values)
        if "real" not in kinds:
            whole = bool(np.all(values == np.round(values)) and values.min() >= 0)
            if not (whole if kinds <= {"count", "categorical"} else whole or values.min() > 0):
                raise CheckFailed(
                    f"`sample` gives {values.min():g}, which is none of the declared types of value "
                    f"({', '.join(sorted(kinds))})."
                )


def check_simulation_obeys_the_seed(subject: Subject) -> None:
    """The same seed gives the same draw, another seed another one, and leading axes draws of their own."""
    subject.need("simulate")
    first, again, other = (subject.simulate(seed) for seed in (1, 1, 2))
    if not np.array_equal(first, again):
        raise CheckFailed(
            "two draws with one seed differ: the seed is ignored. All randomness must come from `random`."
        )
    if np.array_equal(first, other):
        raise CheckFailed(
            "draws with different seeds are equal: the seed is ignored. All randomness must come from `random`."
        )
    copies = subject.simulate(1, subject.copies(2))
    if np.array_equal(copies[0], copies[1]):
        raise CheckFailed("two parameter draws on a leading axis share one noise: draw noise for every leading index.")


def check_conditioning_on_nothing_is_the_prior(subject: Subject) -> None:
    """Given nothing, the law at the rows is that of simulated data (false-alarm probability below 1e-6)."""
    subject.need("simulate", "condition", "coherent")
    nothing, times = hide_all(subject.observations), subject.observations.times
    cause = "`sample` and `condition` on nothing are not of one law: look at start, time and noise in both."
    for point in range(NUM_POINTS):
        simulated = subject.simulated(NUM_SIMULATIONS, point)
        if subject.family == "gaussian":
            questions = {"mean": lambda law: law.mean(), "variance": lambda law: law.variance()}
            stated = subject.ask(nothing, times, questions, point)
            compare_moments("simulated data", simulated, stated["mean"], stated["variance"], cause)
            continue
        with subject.arrays() as to_array:
            random = random_source(subject.seed + 22, to_array(0.0))
        asked = subject.ask(
            nothing, times, {"draws": lambda law, r=random: law.draws(NUM_SIMULATIONS, random=r)}, point
        )["draws"]
        compare_samples("simulated data", simulated, "draws given nothing", asked, cause)
