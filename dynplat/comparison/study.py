"""Studies: every model on every task, each result stored as it comes, so that a run can be taken up again."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dynplat import __version__
from dynplat.comparison.comparison import Comparison, plain
from dynplat.comparison.result import WHOLE, Result
from dynplat.comparison.run import evaluate
from dynplat.comparison.score import Score, default_scores
from dynplat.comparison.storage import canonical, read_json, write_json
from dynplat.errors import ArgumentError, StorageError
from dynplat.posterior.provenance import plugin_of

if TYPE_CHECKING:
    from dynplat.comparison.tasks import AbstractTask
    from dynplat.model import AbstractModel
    from dynplat.posterior import Posterior

_LOG = logging.getLogger(__name__)
_FORMAT = "dynplat result"
_VERSION = 2

#: `(model, data, *, seed) -> Posterior`: the inference with its options already chosen.
Fit = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Study:
    """Models by tasks, with everything that decides the numbers.

    Args:
        tasks: Tasks, each with its data and seed.
        models: Models by the name under which they are compared; an exception stands for a model that could not be
            made, and becomes the reason in its row.
        inference: Id of the inference method; None for the default of each model.
        options: Its options: numbers, strings, lists, mappings.
        scores: Scores; by default those of `default_scores` for the kinds of data that the tasks are about.
        num_draws: Joint draws per prediction; by default as many as each task says.
        seed: Seed of fits and of predictions' draws; by default that of each task.
        store: Folder in which each finished result is kept; None keeps nothing.
        standardise: As in `dynplat.comparison.compare`.
    """

    tasks: Sequence[AbstractTask]
    models: Mapping[str, AbstractModel | Exception]
    inference: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    scores: Sequence[Score] | None = None
    num_draws: int | None = None
    seed: int | None = None
    store: Path | None = None
    standardise: bool | None = None

    def __post_init__(self) -> None:
        """Refuse a study of nothing; choose the scores where none are given."""
        if self.scores is None:
            kinds = dict.fromkeys(task.kind for task in self.tasks)
            chosen = [score for kind in kinds for score in default_scores(kind=kind)]
            object.__setattr__(self, "scores", tuple(chosen))
        for name in ("tasks", "models", "scores"):
            if not getattr(self, name):
                raise ArgumentError(f"`{name}` must not be empty.")
        if self.store is not None:
            object.__setattr__(self, "store", Path(self.store))

    def seed_of(self, task: AbstractTask) -> int:
        """Seed of the fits and predictions of a task."""
        return task.seed if self.seed is None else self.seed

    @property
    def chosen(self) -> Sequence[Score]:
        """The scores, given or by default."""
        return self.scores or ()

    def draws_of(self, task: AbstractTask) -> int:
        """Joint draws per prediction of a task."""
        return task.num_draws if self.num_draws is None else self.num_draws

    def inference_of(self, model: AbstractModel) -> str:
        """Id of the inference that fits a model."""
        return model.default_inference if self.inference is None else self.inference

    def fingerprint(self, task: AbstractTask, model: AbstractModel) -> str:
        """SHA-256 of everything that decides the numbers: data, hidden cells, model, inference, seed, versions.

        Raises:
            ArgumentError: An option of the model or of the inference is not a number, text, list or mapping.
        """
        content = {
            "format": _VERSION,
            "dynplat": __version__,
            "data": task.data.fingerprint(),
            "dataset": task.dataset,
            "task": task.name,
            "question": task.describe(),
            "hidden": hashlib.sha256(np.packbits(task.hidden).tobytes()).hexdigest(),
            "seeds": [task.seed, self.seed_of(task)],
            "model": model.entry.id,
            "class": f"{type(model).__module__}:{type(model).__qualname__}",
            "plugin": plugin_of(model),
            "options": dict(model.options),
            "inference": self.inference_of(model),
            "inference_options": dict(self.options),
            "num_draws": self.draws_of(task),
            "standardise": self.standardise,
        }
        try:
            text = canonical(content)
        except (TypeError, ValueError) as error:
            raise ArgumentError(
                f"the options of {model.entry.id} and of inference {self.inference_of(model)!r} must be finite "
                f"numbers, texts, lists or mappings, so that a stored result can be recognised; {error}."
            ) from error
        return hashlib.sha256(text.encode("utf-8")).hexdigest()


class StudyEvent(NamedTuple):
    """What an observer of a study is told.

    Attributes:
        kind: `started`, `finished`, `failed`, `skipped` (found in the store) or `damaged` (found, unreadable, made
        anew). model: Name of the model.
        task: The task.
        index: Which of the `total` pairs of task and model, from 0.
        total: Number of pairs.
        seconds: Time that the fit and its scores took, for `finished` and `failed`.
        message: The reason, for `failed` and `damaged`.
    """

    kind: str
    model: str
    task: AbstractTask
    index: int
    total: int
    seconds: float = 0.0
    message: str = ""


def run_study(
    study: Study, fit: Callable[..., Posterior], *, observers: Sequence[Callable[[StudyEvent], Any]] = ()
) -> Comparison:
    """Fit and score every model on every task; what the store already holds is not computed again.

    A finished result is written in one step, so that an interruption loses the running fit only. A model that is
    refused or fails is a row with its reason; failures are not stored, and tried again next time. A damaged file is
    reported and replaced.

    Args:
        study: The study.
        fit: `(model, data, *, seed) -> Posterior`, the inference that `study.inference` and `study.options` name.
        observers: Functions of a `StudyEvent`, for progress; one that fails is dropped with a warning in the log.

    Returns:
        One comparison over all tasks.

    Raises:
        StorageError: The store cannot be written to.
    """
    if study.store is not None:
        # Before the first fit: hours of work must have a place to go.
        try:
            study.store.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{study.store}: cannot be made: {error.strerror or error}. Choose another folder."
            ) from error
    pairs = [(task, name, model) for task in study.tasks for name, model in study.models.items()]
    listeners = list(observers)
    results = []
    for index, (task, name, model) in enumerate(pairs):
        event = StudyEvent("started", name, task, index, len(pairs))
        results.append(_one(study, fit, task, name, model, event, listeners))
    return Comparison(tuple(results), tuple(score.entry for score in study.chosen))


def _one(
    study: Study,
    fit: Fit,
    task: AbstractTask,
    name: str,
    model: AbstractModel | Exception,
    event: StudyEvent,
    listeners: list[Callable[[StudyEvent], Any]],
) -> Result:
    path, fingerprint = None, ""
    if study.store is not None and not isinstance(model, Exception):
        fingerprint = study.fingerprint(task, model)
        known_as = ".".join(_slug(word) for word in (task.dataset, task.name, model.entry.id))
        path = study.store / f"{known_as}.{task.seed}.{fingerprint[:16]}.json"
        found = _stored(study, path, fingerprint, event, listeners)
        if found is not None:
            _tell(listeners, event._replace(kind="skipped"))
            return replace(found, model=name)
    _tell(listeners, event)
    start = time.perf_counter()
    result = _computed(study, fit, task, name, model)
    seconds = time.perf_counter() - start
    if WHOLE in result.failures:
        _tell(listeners, event._replace(kind="failed", seconds=seconds, message=result.failures[WHOLE]))
        return result
    if path is not None and not isinstance(model, Exception):
        _write(study, task, path, fingerprint, study.inference_of(model), result, seconds)
    _tell(listeners, event._replace(kind="finished", seconds=seconds))
    return result


def _computed(study: Study, fit: Fit, task: AbstractTask, name: str, model: AbstractModel | Exception) -> Result:
    given: Any
    try:
        if isinstance(model, Exception):
            raise model
        # Refused before anything is fitted.
        task.check(model)
        given = fit(model, task.train, seed=study.seed_of(task))
    except Exception as error:
        given = error
    return evaluate(
        task,
        name,
        given,
        study.chosen,
        num_draws=study.draws_of(task),
        seed=study.seed_of(task),
        standardise=study.standardise,
    )


def _stored(
    study: Study, path: Path, fingerprint: str, event: StudyEvent, listeners: list[Callable[[StudyEvent], Any]]
) -> Result | None:
    if not path.exists():
        return None
    try:
        content = read_json(path, _FORMAT, _VERSION)
        if content["fingerprint"] != fingerprint:
            raise StorageError(f"{path}: made from other data, options or versions than its name says.")
        result = Result.from_dict(content["result"])
    except (StorageError, KeyError) as error:
        message = f"{error} It is computed again."
        _LOG.warning("%s", message)
        _tell(listeners, event._replace(kind="damaged", message=message))
        return None
    known = set(result.contributions) | set(result.failures)
    return result if all(score.entry.id in known for score in study.chosen) else None


def _write(
    study: Study, task: AbstractTask, path: Path, fingerprint: str, inference: str, result: Result, seconds: float
) -> None:
    comparison = Comparison((result,), tuple(score.entry for score in study.chosen))
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "fingerprint": fingerprint,
        "dynplat": __version__,
        "inference": inference,
        "inference_options": dict(study.options),
        "num_draws": study.draws_of(task),
        "seconds": seconds,
        "records": [plain(record) for record in comparison.records],
        "result": result.to_dict(),
    }
    write_json(path, content)


def _tell(listeners: list[Callable[[StudyEvent], Any]], event: StudyEvent) -> None:
    for listener in list(listeners):
        try:
            listener(event)
        except Exception:
            _LOG.warning("an observer of the study failed and is dropped", exc_info=True)
            listeners.remove(listener)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9+-]+", "-", name).strip("-")[:60] or "unnamed"
