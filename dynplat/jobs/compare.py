"""The job of `dynplat compare`: several models on the same held-out cells."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynplat import api
from dynplat.comparison.table import ABSENT, format_estimate, text_table
from dynplat.errors import ArgumentError
from dynplat.jobs.compilation import compilation_cache
from dynplat.jobs.output import check_target
from dynplat.jobs.question import Choice, Method, Source

if TYPE_CHECKING:
    from dynplat.comparison import Comparison
    from dynplat.comparison.tasks import AbstractTask
    from dynplat.model import AbstractModel
    from dynplat.observer import Observer

TASKS = ("imputation", "forecast", "snapshot-interpolation", "snapshot-forecast")


@dataclass(frozen=True)
class CompareResult:
    """A comparison as the command line reports it.

    Args:
        comparison: The comparison; its models go by their labels.
        choices: Which model, with which options, stands behind a label.
        models: The models themselves, by label.
        by: `channel` or `series`, where figures of each by itself are wanted too; or None.
    """

    comparison: Comparison
    choices: Mapping[str, Choice]
    models: Mapping[str, AbstractModel]
    by: str | None = None

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records of the comparison, each with `id` and `options` (defaults included) of its model.

        With `by`, further ones follow that name a channel or series, which is None in those over all.
        """
        return [
            {
                "model": record["model"],
                "id": self.choices[record["model"]].model,
                "options": dict(self.models[record["model"]].options),
                **record,
            }
            for record in self._figures()
        ]

    def _figures(self) -> list[dict[str, Any]]:
        if self.by is None:
            return self.comparison.records
        units = {(r["model"], r["dataset"], r["task"], r["seed"]): r["unit"] for r in self.comparison.records}
        whole = [{**record, self.by: None} for record in self.comparison.records]
        parts = [
            {
                **{name: line[name] for name in ("model", "task", "dataset", "seed")},
                "score": score,
                "value": line["value"],
                "stderr": None if math.isnan(line["stderr"]) else line["stderr"],
                "n": line["n"],
                "unit": units[line["model"], line["dataset"], line["task"], line["seed"]],
                self.by: line[self.by],
            }
            for score, lines in self._split().items()
            for line in lines
        ]
        return [*whole, *parts]

    def _split(self) -> dict[str, list[dict[str, Any]]]:
        """Lines of `Comparison.by` for every score that can be split."""
        assert self.by is not None
        found = {}
        for score in self.comparison.scores:
            try:
                found[score] = self.comparison.by(self.by, score).to_dict("records")
            except ArgumentError:  # one contribution for all channels of a row or a series
                continue
        return found

    def _table_by(self) -> str:
        """Figures of every channel or series: one line for each and each model, one column per score."""
        assert self.by is not None
        split = self._split()
        cells: dict[tuple[str, str], dict[str, str]] = {}
        for score, lines in split.items():
            for line in lines:
                row = cells.setdefault((str(line[self.by]), line["model"]), {})
                row[score] = format_estimate(line["value"], line["stderr"])
        models = self.comparison.models
        names = list(dict.fromkeys(name for name, _ in cells))
        rows = [
            [name, model, *(cells[name, model].get(score, ABSENT) for score in split)]
            for name in names
            for model in models
            if (name, model) in cells
        ]
        whole = [score for score in self.comparison.scores if score not in split]
        text = text_table([self.by, "model", *split], rows, num_left=2) if rows else ""
        missing = f"{', '.join(whole)}: one figure for all channels, which cannot be split" if whole else ""
        return "\n\n".join(part for part in (text, missing) if part)

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
        tables = [str(self.comparison), *([] if self.by is None else [self._table_by()])]
        return "\n".join(["\n\n".join(tables), *(["", *lines] if lines else [])])


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
    positions: tuple[int, ...] | None = None,
    scores: tuple[str, ...] | None = None,
    by: str | None = None,
    store: Path | None = None,
    out: Path | None = None,
    observers: Iterable[Observer] = (),
) -> CompareResult:
    """Fit several models to what a task leaves visible and score them on what it hides; finished work is kept."""
    from dynplat.comparison.storage import write_text

    if out is not None:
        check_target(out, (".csv", ".json", ".md", ".tex"), "--out")
    if by not in (None, "channel", "series"):
        raise ArgumentError(f"`--by` must be 'channel' or 'series'; got {by!r}.")
    if by is not None and out is not None and out.suffix.lower() != ".json":
        raise ArgumentError(
            f"figures by {by} are printed, and written to .json only; got `--out` {str(out)!r}. Write .json, or leave "
            "`--by` out."
        )
    models = {label: api.load_model(choice.model, **choice.options) for label, choice in choices.items()}
    comparison = api.compare(
        _task(source, task, fraction, pattern, horizon, positions, method.seed),
        models,
        scores=scores,
        inference=method.inference,
        inference_options=method.options,
        seed=method.seed,
        store=store,
        observers=observers,
    )
    result = CompareResult(comparison, choices, models, by)
    if out is not None and out.suffix.lower() == ".json":
        write_text(out, result.to_json() + "\n")
    elif out is not None:
        comparison.write(out)
    return result


def _task(
    source: Source,
    task: str,
    fraction: float,
    pattern: str,
    horizon: int | None,
    positions: tuple[int, ...] | None,
    seed: int,
) -> AbstractTask:
    from dynplat.comparison import Forecast, Imputation, SnapshotForecast, SnapshotInterpolation

    name = source.title
    if positions is not None and task != "snapshot-interpolation":
        raise ArgumentError(f"`--positions` belongs to the task 'snapshot-interpolation'; the task is {task!r}.")
    if task not in TASKS:
        raise ArgumentError(f"`--task` must be one of {', '.join(TASKS)}; got {task!r}.")
    if task == "snapshot-interpolation":
        return SnapshotInterpolation(source.load_snapshots(), positions=positions, seed=seed, dataset=name)
    if task == "snapshot-forecast":
        return SnapshotForecast(source.load_snapshots(), horizon=horizon or 1, seed=seed, dataset=name)
    data = source.load().trajectories
    if task == "imputation":
        return Imputation(data, fraction=fraction, pattern=pattern, seed=seed, dataset=name)
    share = None if horizon is not None else fraction
    return Forecast(data, horizon=horizon, fraction=share, seed=seed, dataset=name)
