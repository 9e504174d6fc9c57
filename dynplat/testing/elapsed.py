"""Checks that a law lives in time: in elapsed time, not in row numbers, and in the data's own unit."""

from __future__ import annotations

import numpy as np

from dynplat.arrays import Observations
from dynplat.model import observations_from
from dynplat.testing.made import rebuilt
from dynplat.testing.report import CheckFailed, CheckSkipped, compare_arrays
from dynplat.testing.subject import NUM_POINTS, Subject

#: By how much gaps are stretched, and how much smaller the other unit of time is.
_STRETCH, _UNIT = 7.0, 7.0
#: Simulations at each set of parameters that are compared with those over stretched gaps.
_COPIES = 20


def check_time_matters(subject: Subject) -> None:
    """Stretching the gaps changes likelihood, simulation and predictions, unless the law does not know order at all."""
    if not subject.takes_gaps:
        raise CheckSkipped("the model takes rows at equal steps only")
    if not (subject.claims.likelihood or subject.claims.simulate or subject.claims.condition):
        raise CheckSkipped("nothing is declared that could depend on time")
    observations = subject.complete
    if subject.claims.likelihood and _is_exchangeable(subject, observations):
        raise CheckSkipped("the law does not depend on the order of the rows, so that it need not know their times")
    slow = _stretched(observations)
    blind = []
    if subject.claims.likelihood and all(
        np.array_equal(subject.log_prob(slow, point), subject.log_prob(observations, point))
        for point in range(NUM_POINTS)
    ):
        blind.append("`log_prob`")
    if subject.claims.simulate and all(
        # A chain of few jumps may show the same states by chance.
        np.array_equal(
            subject.simulate(3, subject.copies(_COPIES, point), slow),
            subject.simulate(3, subject.copies(_COPIES, point), observations),
        )
        for point in range(NUM_POINTS)
    ):
        blind.append("`sample` (with one seed)")
    if subject.claims.condition and _predictions_are_blind(subject, observations, slow):
        blind.append("`condition`")
    if blind:
        raise CheckFailed(
            f"{' and '.join(blind)} give the same when every gap is stretched sevenfold: time is ignored. A law in "
            "which only the order of the rows counts must declare `irregular_times=False`."
        )


def check_splitting_a_gap_changes_nothing(subject: Subject) -> None:
    """An unobserved row inside a gap leaves log_prob as it was: the law lives in time, not in row numbers."""
    subject.need("likelihood", "missing_values", "coherent")
    observations = subject.observations
    where = 2
    before, after = observations.times[..., where - 1], observations.times[..., where]
    middle = subject.between(before, after)
    if not ((before < middle) & (middle < after)).all():
        raise CheckSkipped(f"the gap before row {where} has no time inside it that the model takes")
    inputs, marks = observations.inputs, observations.marks
    split = Observations(
        times=np.insert(observations.times, where, middle, axis=-1),
        values=np.insert(observations.values, where, 0.0, axis=-2),
        mask=np.insert(observations.mask, where, False, axis=-2),
        inputs=None if inputs is None else np.insert(inputs, where, inputs[..., where - 1, :], axis=-2),
        marks=None if marks is None else np.insert(marks, where, 0, axis=-1),
    )
    for point in range(NUM_POINTS):
        compare_arrays(
            "log_prob after an unobserved row was put into a gap",
            subject.log_prob(split, point),
            subject.log_prob(observations, point),
            rtol=1e-8,
            atol=1e-8,
            cause="Two steps over half a gap must be one over the whole: the transition ignores or miscounts time.",
        )


def check_unit_of_time_is_free(subject: Subject) -> None:
    """Expressing time in another unit changes nothing: priors scale with the data's own clock.

    Under the same seed the prior must describe the same law, so that log_prob of the data stays as it was. A model
    whose prior speaks of physical time (a period of 12 given as an option, say) announces the failure of this check.
    """
    subject.need("prior", "likelihood")
    from dynplat.inference.prior import sample_prior

    data = subject.data
    slow = rebuilt(data, times=lambda times: _UNIT * times)
    results = []
    for which, context in ((data, subject.context), (slow, subject.model.prepare(slow))):
        draws, _ = sample_prior(
            subject.model, context, num_draws=NUM_POINTS, seed=subject.seed, language=subject.language
        )
        results.append(subject.log_prob(observations_from(which), draws, context))
    compare_arrays(
        f"log_prob under the prior (one seed) with time in a unit {_UNIT:g} times smaller",
        results[1],
        results[0],
        rtol=1e-5,
        atol=1e-5,
        cause="A prior does not scale with the unit of time: take rates, periods and sds per time from the context "
        "(`gap`, `span`), or the process ignores time.",
    )


def _stretched(observations: Observations) -> Observations:
    start = observations.times[..., :1]
    return observations._replace(times=start + _STRETCH * (observations.times - start))


def _is_exchangeable(subject: Subject, observations: Observations) -> bool:
    """Whether turning round the real rows of every series leaves log_prob as it was."""
    values = observations.values.copy()
    for s, length in enumerate(subject.data.lengths):
        values[s, :length] = values[s, :length][::-1]
    turned = observations._replace(values=values)
    before, after = subject.log_prob(observations), subject.log_prob(turned)
    if not np.allclose(before, after, rtol=1e-9, atol=1e-9):
        return False
    # A reversible law survives this; an exchangeable one survives any exchange.
    values = observations.values.copy()
    values[:, [0, 2]] = values[:, [2, 0]]
    return bool(np.allclose(before, subject.log_prob(observations._replace(values=values)), rtol=1e-9, atol=1e-9))


def _predictions_are_blind(subject: Subject, observations: Observations, slow: Observations) -> bool:
    """Whether the answers inside every gap do not depend on how long the gaps are."""
    if subject.family != "gaussian":
        return False
    questions = {"mean": lambda law: law.mean(), "variance": lambda law: law.variance()}
    answers = []
    for which in (observations, slow):
        middle = subject.between(which.times[..., :-1], which.times[..., 1:])
        answers.append(subject.ask(which, middle, questions))
    return all(np.array_equal(answers[0][name], answers[1][name]) for name in questions)
