"""The edge of dynplat in Python: here, and on the command line, names become objects.

Below the edge functions take objects, return new values and ask the plugin host nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dynplat.errors import ArgumentError
from dynplat.host import Component, PluginReport, default_host
from dynplat.records import DatasetEntry, Entry, InferenceEntry, ModelEntry, ScoreEntry

if TYPE_CHECKING:
    from dynplat.comparison import Comparison
    from dynplat.comparison.score import Score
    from dynplat.comparison.tasks import AbstractTask
    from dynplat.data import Snapshots, Trajectories
    from dynplat.model import AbstractModel
    from dynplat.observer import Observer
    from dynplat.posterior import Posterior, Prediction

_Record = TypeVar("_Record", bound=Entry)


def list_models() -> list[ModelEntry]:
    """List the records of all models, by id. Imports no numerical framework."""
    return _entries("model", ModelEntry)


def list_datasets() -> list[DatasetEntry]:
    """List the records of all data sets, by id."""
    return _entries("dataset", DatasetEntry)


def list_inferences() -> list[InferenceEntry]:
    """List the records of all inference methods, by id."""
    return _entries("inference", InferenceEntry)


def list_scores() -> list[ScoreEntry]:
    """List the records of all scores, by id."""
    return _entries("score", ScoreEntry)


def list_components(kind: str) -> list[Component]:
    """List all components of a kind with their providers, and what stands in the way of those that cannot be used.

    Args:
        kind: `model`, `dataset`, `inference` or `score`.

    Raises:
        ArgumentError: `kind` is another word.
    """
    return default_host().components(kind)


def list_plugins() -> list[PluginReport]:
    """List what became of each installed plugin: active, blocked, broken, incompatible, and why."""
    return default_host().reports()


def load_model(id: str, /, **options: Any) -> AbstractModel:
    """Build the model that bears a name.

    Args:
        id: Name, such as `filtering/local-level`; see `list_models`.
        **options: Options of the model; see `describe`.

    Raises:
        UnknownNameError: No model bears the name.
        ConflictError: Two plugins provide it.
        ArgumentError: An option is unknown, absent, of another type, or refused by the model.
        MissingExtraError: A package that the model requires is not installed. The message has the command.
        PluginError: The plugin's model breaks its contract.
    """
    from dynplat.host.build import build_model

    return build_model(default_host().find("model", id), options)


def load_dataset(id: str, /, **options: Any) -> Trajectories | Snapshots:
    """Load the data set that bears a name.

    Args:
        id: Name, such as `mauna-loa-co2`; see `list_datasets`.
        **options: Options of the data set; see `describe`.

    Raises:
        UnknownNameError: No data set bears the name.
        ConflictError: Two providers claim it.
        ArgumentError: An option is unknown, absent, of another type, or refused by the loader.
        DataError: The source cannot be had, or is not what it should be.
        MissingExtraError: A package that the data set requires is not installed. The message has the command.
        PluginError: The loader breaks its contract.
    """
    from dynplat.host.build import build_dataset

    return build_dataset(default_host().find("dataset", id), options)


def load_score(id: str, /) -> Score:
    """Return the score that bears a name, as comparisons take it: its record and its function.

    Raises:
        UnknownNameError: No score bears the name.
        ConflictError: Two providers claim it.
        MissingExtraError: A package that the score requires is not installed.
        PluginError: The score breaks its contract.
    """
    from dynplat.comparison.score import Score
    from dynplat.host.build import build_function

    component = default_host().find("score", id)
    function = build_function(component)
    return Score(component.entry, function)  # type: ignore[arg-type]


def load_inference(id: str, /) -> Callable[..., Any]:
    """Return the function of the inference method that bears a name; its record is in `list_inferences`.

    Raises:
        UnknownNameError: No inference bears the name.
        ConflictError: Two providers claim it.
        MissingExtraError: A package that the inference requires is not installed.
        PluginError: The inference breaks its contract.
    """
    from dynplat.host.build import build_function

    return build_function(default_host().find("inference", id))


def describe(id: str, /, *, kind: str | None = None) -> dict[str, Any]:
    """Describe a component: what it is and can do, its options, where it comes from, what to cite.

    Args:
        id: Name of a model, data set, inference or score.
        kind: `model`, `dataset`, `inference` or `score`; needed only where several kinds have the name.

    Returns:
        A plain dictionary that can be written as JSON: `id`, `kind`, `summary`, `state` and `reason` (of
        `dynplat.host.report.Component`), `options` by name (`type`, `required`, `default`; None when they cannot be
        read, and `reason` says why), `capabilities` (None for what is no model), the other fields of its record under
        `details`, `references`, `requires`, `extra`, `provider` (`distribution`, `version`, `plugin`, `module`) and
        `location`.

    Raises:
        UnknownNameError: Nothing bears the name.
        ConflictError: Two providers claim it.
        ArgumentError: `kind` is another word, or is needed.
    """
    from dynplat.host.describe import describe_component

    host = default_host()
    if kind is None:
        kinds = host.kinds_of(id)
        if len(kinds) > 1:
            raise ArgumentError(f"{id!r} is the name of a {' and of a '.join(kinds)}; say which with `kind`.")
        kind = kinds[0]
    return describe_component(host.find(kind, id))


def fit(
    model: AbstractModel | str,
    data: Trajectories | Snapshots,
    inference: str | None = None,
    *,
    seed: int = 0,
    language: str | None = None,
    device: str = "cpu",
    dtype: str = "float64",
    observers: Iterable[Observer] = (),
    **options: Any,
) -> Posterior:
    """Fit a model to data.

    Args:
        model: A model, or its name.
        data: Training data; masked cells are not looked at.
        inference: Name of the inference method; see `list_inferences`. By default the model's own
            (`AbstractModel.default_inference`): mostly `map`, and `solve` for a model without a prior or a likelihood.
        seed: Seed of everything random in the fit.
        language: `numpyro` or `pyro`; the model's first when None.
        device: A device of the language's framework.
        dtype: `float64` or `float32`.
        observers: Progress bars, loggers, checkpoints (`dynplat.observer.Observer`); the plugins' are told too.
        **options: Options of the inference method; see `describe`.

    Raises:
        UnknownNameError: No model or inference bears the name.
        ArgumentError: An option is unknown or of another type.
        CapabilityError: The model does not declare what the method needs, or does not take such data.
        InferenceError: The method cannot go on.
    """
    from dynplat.host.build import build_function, options_of
    from dynplat.host.options import check_options

    host = default_host()
    chosen = load_model(model) if isinstance(model, str) else model
    if inference is None:
        inference = chosen.default_inference
    component = host.find("inference", inference)
    run = build_function(component)
    given = check_options(inference, options_of(component), options)
    return run(
        chosen,
        data,
        seed=seed,
        language=language,
        device=device,
        dtype=dtype,
        observers=(*observers, host.observer()),
        **given,
    )


def check(
    model: AbstractModel, data: Trajectories | Snapshots, needs: Iterable[str], *, purpose: str = "this request"
) -> None:
    """Refuse what a model does not declare, before anything runs.

    Raises:
        CapabilityError: The model lacks one of `needs`, or does not take such data.
    """
    from dynplat.model import check_request

    check_request(model, data, tuple(needs), purpose=purpose)


def predict(posterior: Posterior, times: Any, **options: Any) -> Prediction:
    """Ask a fitted model about any times; see `dynplat.posterior.predict`."""
    from dynplat.posterior import predict as run

    return run(posterior, times, **options)


def impute(posterior: Posterior, **options: Any) -> Prediction:
    """Ask a fitted model about the rows of its data; see `dynplat.posterior.impute`."""
    from dynplat.posterior import impute as run

    return run(posterior, **options)


def forecast(posterior: Posterior, horizon: int | None = None, **options: Any) -> Prediction:
    """Ask a fitted model about the rows after its data; see `dynplat.posterior.forecast`."""
    from dynplat.posterior import forecast as run

    return run(posterior, horizon=horizon, **options)


def simulate(posterior: Posterior, times: Any, **options: Any) -> Prediction:
    """Draw new trajectories from a fitted model; see `dynplat.posterior.simulate`."""
    from dynplat.posterior import simulate as run

    return run(posterior, times, **options)


def compare(
    task: AbstractTask,
    fits: Mapping[str, Posterior | AbstractModel] | Iterable[str],
    *,
    scores: Iterable[str] | None = None,
    inference: str | None = None,
    inference_options: Mapping[str, Any] | None = None,
    seed: int = 0,
    store: str | os.PathLike[str] | None = None,
    standardise: bool | None = None,
    observers: Iterable[Observer] = (),
) -> Comparison:
    """Compare models on the cells that a task holds out.

    Args:
        task: `Imputation`, `Forecast`, `SnapshotInterpolation` or `SnapshotForecast`.
        fits: Posteriors fitted to `task.train`, or models to be fitted here, by the name under which they are
            compared; or names of models.
        scores: Names of scores; see `list_scores`. By default all of the core's for the kind of the data.
        inference: Inference method for the models that are fitted here, by default that of `fit` for each.
        inference_options: Its options.
        seed: Seed of the fits and of the predictions' draws.
        store: Folder of finished results: a rerun computes only what is not there. For models fitted here.
        standardise: Whether each channel is scored in units of its own standard deviation; by default where cells of
            several channels are held out.
        observers: Told of each fit.

    Raises:
        UnknownNameError: A model or score bears no such name.
        ArgumentError: Posteriors were given together with `store`, or there is nothing to compare.
    """
    from dynplat.comparison import Study, run_study
    from dynplat.comparison import compare as score
    from dynplat.comparison.score import default_scores
    from dynplat.posterior import Posterior

    chosen = default_scores(kind=task.kind) if scores is None else tuple(load_score(name) for name in scores)
    given: dict[str, Any] = dict(fits) if isinstance(fits, Mapping) else {name: load_model(name) for name in fits}
    ready = {name: value for name, value in given.items() if isinstance(value, Posterior)}
    if len(ready) == len(given):
        if store is not None:
            raise ArgumentError("`store` keeps the results of models that are fitted here; `fits` holds posteriors.")
        return score(task, ready, chosen, seed=seed, standardise=standardise)
    options = dict(inference_options or {})
    study = Study(
        tasks=[task],
        models={name: value for name, value in given.items() if name not in ready},
        inference=inference,
        options=options,
        scores=chosen,
        seed=seed,
        store=None if store is None else Path(store),
        standardise=standardise,
    )

    def run(model: AbstractModel, data: Trajectories, *, seed: int) -> Posterior:
        return fit(model, data, inference, seed=seed, observers=observers, **options)

    comparison = run_study(study, run)
    if not ready:
        return comparison
    return comparison.merge(score(task, ready, chosen, seed=seed, standardise=standardise))


def load_posterior(path: str | os.PathLike[str]) -> Posterior:
    """Load a fit that was saved with `Posterior.save`; its model is found by name. Executes no code of the file.

    Raises:
        StorageError: The file is no fit, or is damaged.
        UnknownNameError: The model of the fit is not installed.
    """
    from dynplat.posterior import Posterior

    return Posterior.load(path, lambda id, options: load_model(id, **options))


def _entries(kind: str, record: type[_Record]) -> list[_Record]:
    return [component.entry for component in list_components(kind) if isinstance(component.entry, record)]
