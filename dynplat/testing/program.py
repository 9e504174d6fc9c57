"""Checks of a model as a component: record, options, prior, context, fits, saving."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np

from dynplat.arrays import framework, to_numpy
from dynplat.errors import CapabilityError
from dynplat.model import AbstractModel, observations_from
from dynplat.testing.law import given
from dynplat.testing.report import CheckFailed, CheckSkipped
from dynplat.testing.subject import NUM_POINTS, Subject, compare_arrays


def check_record(subject: Subject) -> None:
    """The record leads back to the model's class, and the options can be written down and read again."""
    model = subject.model
    if model.entry.location:
        loaded = model.entry.load()
        if not (isinstance(loaded, type) and issubclass(loaded, AbstractModel)):
            raise CheckFailed(
                f"`location` {model.entry.location!r} is {loaded!r}; expected a subclass of AbstractModel."
            )
        if loaded is not type(model):
            raise CheckFailed(
                f"`location` {model.entry.location!r} is {loaded.__name__}, the model is {type(model).__name__}."
            )
    try:
        text = json.dumps(model.options, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckFailed(f"the options {model.options!r} cannot be written as JSON: {error}.") from error
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()}
    again = type(model)(**options)
    if again.options != model.options:
        raise CheckFailed(f"built again from its own options the model has {again.options!r}, not {model.options!r}.")


def check_context_ignores_hidden_cells(subject: Subject) -> None:
    """`prepare` gives the same constants whatever stands behind the mask, and computes in finite numbers."""
    from dynplat.data import Trajectories

    data = subject.data
    base = subject.model.prepare(data)
    mask = data.mask
    loud = Trajectories.from_arrays(
        [data.times[s, : data.lengths[s]] for s in range(data.num_series)],
        [np.where(mask[s], data.values[s], 1e9)[: data.lengths[s]] for s in range(data.num_series)],
        mask=[mask[s, : data.lengths[s]] for s in range(data.num_series)],
        inputs=None if data.inputs is None else [data.inputs[s, : data.lengths[s]] for s in range(data.num_series)],
        input_names=data.input_names or None,
        series=data.series,
        channels=data.channels,
    )
    other = subject.model.prepare(loud)
    for name, value in base.values.items():
        again = other[name]
        same = np.array_equal(np.asarray(value), np.asarray(again)) if not _is_text(value) else value == again
        if not same:
            raise CheckFailed(
                f"the constant {name!r} of the context depends on hidden cells: {value!r} became {again!r}."
            )


def check_prior_runs_in_each_language(subject: Subject) -> None:
    """The prior emits the same sites, of the same shapes and finite, in each declared language; seeds are obeyed."""
    subject.need("prior")
    from dynplat.inference.prior import sample_prior

    shapes = {}
    for language in subject.claims.languages:
        (first, infos), (again, _), (other, _) = (
            sample_prior(subject.model, subject.context, num_draws=2, seed=seed, language=language)
            for seed in (subject.seed, subject.seed, subject.seed + 1)
        )
        random = [name for name, info in infos.items() if info.kind == "sample"]
        for name in infos:
            value = first[name]
            if not np.isfinite(value).all():
                raise CheckFailed(f"site {name!r} is not finite under {language}: {value}.")
            if not np.array_equal(value, again[name]):
                raise CheckFailed(f"site {name!r} differs between two runs with one seed under {language}.")
        if random and all(np.array_equal(first[name], other[name]) for name in random):
            raise CheckFailed(
                f"the prior gives the same draw for different seeds under {language}: the seed is ignored."
            )
        shapes[language] = {name: tuple(first[name].shape) for name in infos}
    if len(set(map(json.dumps, (dict(sorted(s.items())) for s in shapes.values())))) > 1:
        raise CheckFailed(f"the languages disagree on sites or shapes: {shapes}.")


def check_languages_agree(subject: Subject) -> None:
    """The joint density at the same points is the same under Pyro and NumPyro, to 1e-9 relative."""
    subject.need("prior", "likelihood")
    if set(subject.claims.languages) != {"pyro", "numpyro"}:
        raise CheckSkipped("the model declares one language")
    from dynplat.inference.joint import log_joint

    draws, infos = subject.points
    observations = observations_from(subject.data)
    for point in range(NUM_POINTS):
        values = {}
        for name, info in infos.items():
            if info.kind != "deterministic":
                values[name] = draws[point][name] if info.local else draws[point][name][0]
        both = {
            language: log_joint(subject.model, subject.context, observations, values, language=language)
            for language in ("pyro", "numpyro")
        }
        compare_arrays(
            "log joint density under NumPyro against Pyro",
            np.asarray(both["numpyro"]),
            np.asarray(both["pyro"]),
            rtol=1e-9,
            atol=1e-9,
            cause="The prior is not the same program in both languages.",
        )


def check_scale_of_time(subject: Subject) -> None:
    """Expressing time in another unit changes nothing: priors scale with the data's own clock.

    Under the same seed the prior must describe the same law, so that log_prob of the data stays as it was.
    """
    subject.need("prior", "likelihood", "irregular_times")
    from dynplat.data import Trajectories
    from dynplat.inference.prior import sample_prior

    data, factor = subject.data, 7.0
    stretched = Trajectories.from_arrays(
        [factor * data.times[s, : data.lengths[s]] for s in range(data.num_series)],
        [np.where(data.mask[s], data.values[s], np.nan)[: data.lengths[s]] for s in range(data.num_series)],
        inputs=None if data.inputs is None else [data.inputs[s, : data.lengths[s]] for s in range(data.num_series)],
        input_names=data.input_names or None,
        series=data.series,
        channels=data.channels,
    )
    results = []
    for which in (data, stretched):
        context = subject.model.prepare(which)
        observations = observations_from(which)
        sites, _ = sample_prior(
            subject.model, context, num_draws=NUM_POINTS, seed=subject.seed, language=subject.language
        )
        with subject.arrays() as to_array:
            process = subject.model.process({name: to_array(value) for name, value in sites.items()}, context)
            results.append(to_numpy(process.log_prob(given(observations, to_array))))
    compare_arrays(
        f"log_prob under the prior with time in a unit {factor:g} times smaller",
        results[1],
        results[0],
        rtol=1e-5,
        atol=1e-5,
        cause="Take the scale of rates and periods from the context (`gap`, `span`), or time is ignored somewhere.",
    )


def check_saving(subject: Subject) -> None:
    """A fit that was saved and loaded predicts exactly the same."""
    subject.need("condition")
    from dynplat.posterior import Posterior, impute

    draws, infos = subject.points
    posterior = Posterior.from_draws(
        subject.model,
        subject.context,
        subject.data,
        {
            name: np.stack([draw[name] if infos[name].local else draw[name][0] for draw in draws])[None]
            for name in draws[0]
        },
        infos,
        method="prior",
        language=subject.language or "",
        seed=subject.seed,
    )
    before = impute(posterior, num_draws=3, seed=subject.seed, framework=_asked(subject))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fit.nc"
        posterior.save(path)
        loaded = Posterior.load(path, lambda _, options: type(subject.model)(**options))
    after = impute(loaded, num_draws=3, seed=subject.seed, framework=_asked(subject))
    for name in ("mean", "sd", "draws"):
        if not np.array_equal(before.dataset[name].values, after.dataset[name].values, equal_nan=True):
            raise CheckFailed(f"after saving and loading the fit, `{name}` of its imputation differs.")


def check_solver(subject: Subject) -> None:
    """`solve`, where the model has one, obeys the seed and gives finite sites that `process` accepts."""
    observations = observations_from(subject.data)
    first = subject.model.solve(observations, subject.context, seed=subject.seed)
    if first is None:
        raise CheckSkipped("the model has no solver of its own")
    again = subject.model.solve(observations, subject.context, seed=subject.seed)
    for name, value in first.items():
        if not np.isfinite(np.asarray(value)).all():
            raise CheckFailed(f"site {name!r} of `solve` is not finite.")
        if not np.array_equal(np.asarray(value), np.asarray(again[name])):
            raise CheckFailed(f"site {name!r} of `solve` differs between two runs with one seed.")


def check_undeclared_is_refused(subject: Subject) -> None:
    """What the record does not claim is refused by the process too, with a CapabilityError."""
    missing = [name for name in ("likelihood", "simulate", "condition") if not getattr(subject.claims, name)]
    if not missing:
        raise CheckSkipped("everything is declared")
    observations = subject.observations
    with framework(subject.framework) as to_array:
        process = subject.process(to_array)
        questions = {
            "likelihood": lambda: process.log_prob_steps(given(observations, to_array)),
            "simulate": lambda: process.sample(to_array(observations.times), random=None),
            "condition": lambda: process.condition(given(observations, to_array)),
        }
        for name in missing:
            try:
                questions[name]()
            except CapabilityError:
                continue
            raise CheckFailed(f"the record does not claim {name!r}, yet the process answers: declare it, or remove it.")


def _asked(subject: Subject) -> str | None:
    return subject.framework


def _is_text(value: object) -> bool:
    return isinstance(value, (str, tuple, list, dict))
