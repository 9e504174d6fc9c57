"""The job of `dynplat compare`: several models on the same held-out cells."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynplat import api
from dynplat.errors import ArgumentError
from dynplat.jobs.compilation import compilation_cache
from dynplat.jobs.output import check_target
from dynplat.jobs.question import Choice, Method, Source

if TYPE_CHECKING:
    from dynplat.comparison import Comparison
    from dynplat.comparison.tasks import AbstractTask
    from dynplat.data import Trajectories
    from dynplat.model import AbstractModel
    from dynplat.observer import Observer


@dataclass(frozen=True)
class CompareResult:
    """A comparison as the command line reports it.

    Args:
        comparison: The comparison; its models go by their labels.
        choices: Which model, with which options, stands behind a label.
        models: The models themselves, by label.
    """

    comparison: Comparison
    choices: Mapping[str, Choice]
    models: Mapping[str, AbstractModel]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records of the comparison, each with `id` and `options` (defaults included) of its model."""
        return [
            {
                "model": record["model"],
                "id": self.choices[record["model"]].model,
                "options": dict(self.models[record["model"]].options),
                **record,
            }
            for record in self.comparison.records
        ]

    def to_json(self) -> str:
        """The records as JSON; an infinite figure becomes the text `Infinity`."""
        from dynplat.comparison.comparison import plain

        return json.dumps([plain(record) for record in self.records], indent=1, allow_nan=False)

    def __str__(self) -> str:
        """The tables, and below them what the labels mean where they do not say it themselves."""
        lines = [
            f"{label}: {choice.model}{''.join(f', {name}={value!r}' for name, value in choice.options.items())}"
            for label, choice in self.choices.items()
            if choice.options or label != choice.model
        ]
        return "\n".join([str(self.comparison), *(["", *lines] if lines else [])])


@compilation_cache()
def compare_job(
    source: Source,
    choices: Mapping[str, Choice],
    method: Method,
    *,
    task: str,
    fraction: float,
    pattern: str,
    horizon: int | None,
    scores: tuple[str, ...] | None = None,
    store: Path | None = None,
    out: Path | None = None,
    observers: Iterable[Observer] = (),
) -> CompareResult:
    """Fit several models to what a task leaves visible and score them on what it hides; finished work is kept."""
    from dynplat.comparison.storage import write_text

    if out is not None:
        check_target(out, (".csv", ".json", ".md", ".tex"), "--out")
    models = {label: api.load_model(choice.model, **choice.options) for label, choice in choices.items()}
    data = source.load().trajectories
    comparison = api.compare(
        _task(data, source.title, task, fraction, pattern, horizon, method.seed),
        models,
        scores=scores,
        inference=method.inference,
        inference_options=method.options,
        seed=method.seed,
        store=store,
        observers=observers,
    )
    result = CompareResult(comparison, choices, models)
    if out is not None and out.suffix.lower() == ".json":
        write_text(out, result.to_json() + "\n")
    elif out is not None:
        comparison.write(out)
    return result


def _task(
    data: Trajectories, name: str, task: str, fraction: float, pattern: str, horizon: int | None, seed: int
) -> AbstractTask:
    from dynplat.comparison import Forecast, Imputation

    if task == "imputation":
        return Imputation(data, fraction=fraction, pattern=pattern, seed=seed, dataset=name)
    if task == "forecast":
        share = None if horizon is not None else fraction
        return Forecast(data, horizon=horizon, fraction=share, seed=seed, dataset=name)
    raise ArgumentError(f"`--task` must be 'imputation' or 'forecast'; got {task!r}.")
