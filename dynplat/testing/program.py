"""Checks of a model as a component: record, options, context, prior, solver, fits that are saved."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dynplat.arrays import framework, random_source
from dynplat.errors import CapabilityError, StorageError
from dynplat.model import AbstractModel, observations_from
from dynplat.testing.made import rebuilt
from dynplat.testing.report import CheckFailed, CheckSkipped, compare_arrays
from dynplat.testing.subject import PopulationSubject, Subject, given


def check_record(subject: Subject) -> None:
    """The record leads back to the model's class, and the options can be written down and read again."""
    model, kind = subject.model, type(subject.model)
    if model.entry.location:
        loaded = model.entry.load()
        if not (isinstance(loaded, type) and issubclass(loaded, AbstractModel)):
            raise CheckFailed(
                f"`location` {model.entry.location!r} is {loaded!r}; expected a subclass of AbstractModel."
            )
        if loaded is not kind:
            raise CheckFailed(
                f"`location` {model.entry.location!r} is {loaded.__name__}, the model is {kind.__name__}."
            )
    parameters = getattr(kind, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        raise CheckFailed(f"{kind.__name__} must be a frozen dataclass: decorate it with `@dataclass(frozen=True)`.")
    try:
        text = json.dumps(model.options, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckFailed(
            f"the options {model.options!r} cannot be written as JSON: {error}. Options are numbers, strings, tuples "
            "of those, and None."
        ) from error
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()}
    again = kind(**options)
    if again.options != model.options:
        raise CheckFailed(f"built again from its own options the model has {again.options!r}, not {model.options!r}.")


def check_context_ignores_hidden_cells(subject: Subject) -> None:
    """`prepare` gives the same constants whatever stands behind the mask, and leaves the model as it was."""
    data, base = subject.data, subject.context
    model = type(subject.model)(**subject.model.options)
    before = {name: repr(value) for name, value in vars(model).items()}
    loud = rebuilt(data)
    # `values` is computed once from the data set, where hidden cells are erased: here they hold something.
    vars(loud)["values"] = np.where(data.mask, data.values, 1e9)
    other = model.prepare(loud)
    for name, value in base.values.items():
        if not _same(value, other.values.get(name)):
            raise CheckFailed(
                f"the constant {name!r} of the context depends on hidden cells: {value!r} became "
                f"{other.values.get(name)!r} when the values behind the mask were changed. Look at cells with mask "
                "True only."
            )
    if before != {name: repr(value) for name, value in vars(model).items()}:
        raise CheckFailed("`prepare` changes the model. What it finds out belongs into the context that it returns.")


def check_prior_runs_in_each_language(subject: Subject) -> None:
    """The prior emits the same sites, of the same shapes and finite, in each declared language; seeds are obeyed."""
    subject.need("prior")
    if not subject.claims.languages:
        raise CheckSkipped("the model declares no language")
    from dynplat.inference.fitting import density_for, runtime

    shapes = {}
    for language in subject.claims.languages:
        with runtime(language, seed=subject.seed, dtype="float64", device="cpu") as to_array:
            density = density_for(language)(subject.model, subject.context, None, to_array, seed=subject.seed)
            infos = density.infos
            first, again, other = (
                density.prior_sites(2, seed) for seed in (subject.seed, subject.seed, subject.seed + 1)
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
        shapes[language] = {name: tuple(first[name].shape) for name in sorted(infos)}
    for language, found in shapes.items():
        expected = shapes[subject.claims.languages[0]]
        if found != expected:
            raise CheckFailed(
                f"the languages disagree on sites or shapes: {expected} under {subject.claims.languages[0]}, {found} "
                f"under {language}."
            )


def check_languages_agree(subject: Subject) -> None:
    """The log prior at the same points is the same under Pyro and NumPyro, to 1e-9.

    Together with the likelihood under both frameworks this makes the joint density.
    """
    subject.need("prior")
    if set(subject.claims.languages) != {"pyro", "numpyro"}:
        raise CheckSkipped("the model declares one language")
    from dynplat.inference.fitting import density_for, runtime

    draws, infos = subject.points
    found = {}
    for language in ("pyro", "numpyro"):
        with runtime(language, seed=0, dtype="float64", device="cpu") as to_array:
            density = density_for(language)(subject.model, subject.context, None, to_array)
            log_prior = _log_prior(subject, density, language)
            totals = []
            for draw in draws:
                values = {
                    name: to_array(draw[name] if info.local else draw[name][0])
                    for name, info in infos.items()
                    if info.kind != "deterministic"
                }
                totals.append(float(log_prior(values)))
            found[language] = np.array(totals)
    compare_arrays(
        "log prior under NumPyro against Pyro",
        found["numpyro"],
        found["pyro"],
        rtol=1e-9,
        atol=1e-9,
        cause="The prior is not the same program in both languages.",
    )


def check_saving(subject: Subject) -> None:
    """A fit that was saved and loaded has the same context and predicts exactly the same."""
    subject.need_one("condition", "forecast")
    from dynplat.posterior import Posterior

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
    before = _predicted(posterior, subject)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fit.nc"
        try:
            posterior.save(path)
            loaded = Posterior.load(path, lambda _, options: type(subject.model)(**options))
        except (StorageError, TypeError, ValueError) as error:
            raise CheckFailed(f"a fit cannot be saved and loaded: {type(error).__name__}: {error}") from error
    for name, value in subject.context.values.items():
        if not _same(value, loaded.context.values.get(name)):
            raise CheckFailed(
                f"saving and loading a fit turns the constant {name!r} of the context from {value!r} into "
                f"{loaded.context.values.get(name)!r}. Constants are numbers, strings, tuples of those, or arrays."
            )
    try:
        after = _predicted(loaded, subject)
    except Exception as error:
        raise CheckFailed(
            f"a fit that was saved and loaded cannot predict: {type(error).__name__}: {error}. All that a model knows "
            "must stand in its options, its context or its sites."
        ) from error
    for name in before.dataset.data_vars:
        if not np.array_equal(before.dataset[name].values, after.dataset[name].values, equal_nan=True):
            raise CheckFailed(
                f"after saving and loading a fit, `{name}` of its prediction differs. All that a model knows must "
                "stand in its options, its context or its sites."
            )


def check_solver(subject: Subject) -> None:
    """`solve`, where the model has one, obeys the seed and gives finite sites."""
    observations = observations_from(subject.data)
    first = subject.model.solve(observations, subject.context, seed=subject.seed)
    if first is None:
        raise CheckSkipped("the model has no solver of its own")
    again = subject.model.solve(observations, subject.context, seed=subject.seed) or {}
    for name, value in first.items():
        if not np.isfinite(np.asarray(value)).all():
            raise CheckFailed(f"site {name!r} of `solve` is not finite.")
        if not np.array_equal(np.asarray(value), np.asarray(again.get(name))):
            raise CheckFailed(f"site {name!r} of `solve` differs between two runs with one seed.")


def check_undeclared_is_refused(subject: Subject) -> None:
    """What the record does not claim is refused by the process too, with a CapabilityError."""
    missing = [name for name in ("likelihood", "simulate", "condition") if not getattr(subject.claims, name)]
    if not missing:
        raise CheckSkipped("everything is declared")
    # A model with a likelihood has no use for a composite one.
    missing += ["composite"] if "likelihood" in missing and not subject.claims.composite else []
    observations = observations_from(subject.data)
    inside = subject.between(observations.times[..., :-1], observations.times[..., 1:])
    with framework(subject.framework) as to_array:
        process = subject.process(to_array)
        random = random_source(subject.seed, to_array(0.0))
        questions = {
            "likelihood": lambda: process.log_prob_steps(given(observations, to_array)),
            "composite": lambda: process.composite_steps(given(observations, to_array)),
            "simulate": lambda: process.sample(to_array(observations.times), random=random),
            # A process that forecasts may be conditioned, and refuses to be asked about times inside the data.
            "condition": lambda: process.condition(given(observations, to_array)).at(to_array(inside)),
        }
        for name in missing:
            try:
                questions[name]()
            except CapabilityError:
                continue
            raise CheckFailed(f"the record does not claim {name!r}, yet the process answers: declare it, or remove it.")


def _predicted(posterior: Any, subject: Subject) -> Any:
    """The values of the rows, or where the model gives no law inside the data those of the next ones."""
    from dynplat.posterior import forecast, impute, predict

    options: dict[str, Any] = {"num_draws": 3, "seed": subject.seed, "framework": subject.framework}
    if isinstance(subject, PopulationSubject):
        return predict(posterior, subject.queries[0], **options)
    if subject.claims.condition:
        return impute(posterior, **options)
    inputs = None
    if posterior.data.inputs is not None:
        inputs = np.repeat(posterior.data.inputs[:, -1:], 2, axis=1)
    return forecast(posterior, horizon=2, inputs=inputs, **options)


def _log_prior(subject: Subject, density: Any, language: str) -> Callable[[dict[str, Any]], Any]:
    """The log prior as a function of the sites' values, compiled under JAX."""
    from dynplat.inference.dialect import Point

    def log_prior(values: dict[str, Any]) -> Any:
        dialect = density.dialect(Point(values, unconstrained=False))
        subject.model.prior(dialect, subject.context)
        return dialect.log_prior

    if language == "pyro":
        return log_prior
    import jax

    return jax.jit(log_prior)


def _same(first: Any, second: Any) -> bool:
    """Whether two constants are equal, of one kind, with NaN equal to itself."""
    if isinstance(first, np.ndarray):
        first, second = first, np.asarray(second)
        return first.shape == second.shape and np.array_equal(first, second, equal_nan=first.dtype.kind in "fc")
    if isinstance(first, tuple):
        return isinstance(second, tuple) and len(first) == len(second) and all(map(_same, first, second))
    if isinstance(first, float | np.floating):
        return isinstance(second, float | np.floating) and (first == second or (first != first and second != second))
    return type(first) is type(second) and first == second
