"""Checks that the likelihood answers the question asked: of padding, series, leading axes, precision and inputs."""

from __future__ import annotations

import numpy as np

from dynplat.arrays import Observations, random_source, to_numpy
from dynplat.testing.report import CheckFailed, CheckSkipped, compare_arrays
from dynplat.testing.subject import Subject, given, map_leaves


def check_padding_changes_nothing(subject: Subject) -> None:
    """Rows of padding at the end (mask False, last time repeated, any filler) leave every answer as it was."""
    observations, extra = subject.observations, 3

    def longer(leaf: np.ndarray, axis: int, filler: float | None = None) -> np.ndarray:
        last = np.take(leaf, [-1] * extra, axis=axis)
        return np.concatenate([leaf, last if filler is None else np.full_like(last, filler)], axis=axis)

    padded = Observations(
        times=longer(observations.times, -1),
        values=longer(observations.values, -2, 3.25),
        mask=longer(observations.mask, -2, False),
        inputs=None if observations.inputs is None else longer(observations.inputs, -2),
        marks=None if observations.marks is None else longer(observations.marks, -1, 0),
    )
    if subject.claims.likelihood:
        compare_arrays(
            "log_prob after rows of padding were added",
            subject.log_prob(padded),
            subject.log_prob(observations),
            rtol=1e-9,
            atol=1e-9,
            cause="Padding is counted: rows with mask False and the last time repeated must not count.",
        )
    if subject.claims.condition and subject.family == "gaussian":
        questions = {"mean": lambda law: law.mean(), "variance": lambda law: law.variance()}
        before, after = (subject.ask(which, observations.times, questions) for which in (observations, padded))
        for name, expected in before.items():
            compare_arrays(
                f"{name} of the predictions after rows of padding were added",
                after[name],
                expected,
                rtol=1e-8,
                atol=1e-9,
                cause="Padding is counted by `condition`: rows with mask False must not count.",
            )


def check_series_order_is_free(subject: Subject) -> None:
    """Permuting the series permutes the answers, and one series alone has the log_prob it has among others."""
    subject.need("likelihood")
    observations = subject.observations
    base = subject.log_prob(observations)
    for name, series in (("the series in reverse", slice(None, None, -1)), ("the first series alone", slice(0, 1))):
        found = subject.log_prob(
            map_leaves(observations, lambda leaf, s=series: leaf[s]),
            subject.sites_of(series),
            subject.context_of(series),
        )
        compare_arrays(
            f"log_prob of {name}",
            found,
            base[series],
            rtol=1e-9,
            atol=1e-9,
            cause="Series mix: given its parameters a series must not read the others.",
        )


def check_parameters_broadcast(subject: Subject) -> None:
    """Leading axes of parameter draws (draw, or chain and draw) give the same as asking draw by draw."""
    observations = subject.observations
    draws = subject.points[0]
    stacked = {name: np.stack([draw[name] for draw in draws]) for name in draws[0]}
    cause = "`process` must broadcast over leading axes of its parameters: index core dimensions from the end."
    chains = {name: value[None] for name, value in stacked.items()}
    if subject.claims.likelihood:
        one_by_one = np.stack([subject.log_prob(observations, point) for point in range(len(draws))])
        for axes, sites, expected in (("draw", stacked, one_by_one), ("chain and draw", chains, one_by_one[None])):
            try:
                together = subject.log_prob(observations, sites)
            except Exception as error:
                raise CheckFailed(
                    f"log_prob with leading axes {axes} fails: {type(error).__name__}: {error} {cause}"
                ) from error
            compare_arrays(f"log_prob with leading axes {axes}", together, expected, rtol=1e-8, atol=1e-8, cause=cause)
    if subject.claims.condition and subject.family == "gaussian":
        question = {"mean": lambda law: law.mean()}
        one_by_one = np.stack(
            [subject.ask(observations, observations.times, question, point)["mean"] for point in range(len(draws))]
        )
        together = subject.ask(observations, observations.times, question, chains)["mean"]
        compare_arrays(
            "mean of the predictions with leading axes chain and draw",
            together,
            one_by_one[None],
            rtol=1e-8,
            atol=1e-8,
            cause=cause,
        )
    if subject.claims.simulate:
        shape = subject.simulate(1, chains).shape
        if shape != (1, len(draws), *observations.values.shape):
            raise CheckFailed(
                f"`sample` with leading axes chain and draw gives shape {shape}; expected "
                f"{(1, len(draws), *observations.values.shape)}. {cause}"
            )


def check_single_precision(subject: Subject) -> None:
    """float32 parameters give float32 answers, and log_prob near that in float64."""
    observations = subject.observations
    cause = "dtype must follow the parameters: make constants with `dynplat.arrays.asarray_like(value, parameter)`."
    found = {}
    with subject.arrays("float32") as to_array:
        process = subject.process(to_array)
        seen = given(observations, to_array)
        random = random_source(1, to_array(0.0))
        questions = {
            "likelihood": ("log_prob", lambda: process.log_prob(seen)),
            "simulate": (
                "sample",
                lambda: process.sample(to_array(observations.times), random=random, inputs=seen.inputs).values,
            ),
            "condition": ("mean", lambda: process.condition(seen).at(observations.times).mean()),
        }
        for capability, (name, question) in questions.items():
            if not getattr(subject.claims, capability) or (name == "mean" and subject.family != "gaussian"):
                continue
            try:
                found[name] = to_numpy(question())
            except (TypeError, RuntimeError) as error:
                raise CheckFailed(f"float32 parameters break `{name}` ({error}): {cause}") from error
            if found[name].dtype != np.float32:
                raise CheckFailed(f"float32 parameters gave `{name}` in {found[name].dtype}: {cause}")
    if "log_prob" in found:
        compare_arrays(
            "log_prob in float32 against float64",
            found["log_prob"],
            subject.log_prob(observations),
            rtol=2e-3,
            atol=2e-2,
            cause="The computation loses float32's digits: look for differences of large numbers.",
        )


def check_inputs_act(subject: Subject) -> None:
    """Inputs change the law, and those of later rows do not change the terms of earlier ones."""
    subject.need("inputs", "likelihood")
    observations, cut = subject.observations, 3
    if observations.inputs is None:
        raise CheckSkipped("the data carry no inputs")
    base = subject.steps(observations)
    pushed = observations._replace(inputs=observations.inputs + 1.0)
    if np.array_equal(subject.steps(pushed), base):
        raise CheckFailed("log_prob is the same with other inputs: the inputs are ignored.")
    later = observations.inputs.copy()
    later[..., cut:, :] += 1.0
    compare_arrays(
        f"log_prob_steps of the first {cut} rows after later inputs were changed",
        subject.steps(observations._replace(inputs=later))[..., :cut],
        base[..., :cut],
        rtol=1e-9,
        atol=1e-9,
        cause="The input of a row holds from it until the next row; earlier rows must not read it.",
    )
