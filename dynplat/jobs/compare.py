"""The job of `dynplat compare`: several models on the same held-out cells."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dynplat import api
from dynplat.errors import ArgumentError
from dynplat.jobs.output import check_target
from dynplat.jobs.question import Method, Source

if TYPE_CHECKING:
    from dynplat.comparison import Comparison
    from dynplat.comparison.tasks import AbstractTask
    from dynplat.data import Trajectories
    from dynplat.observer import Observer


def compare_job(
    source: Source,
    models: tuple[str, ...],
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
) -> Comparison:
    """Fit several models to what a task leaves visible and score them on what it hides; finished work is kept."""
    if out is not None:
        check_target(out, (".csv", ".json", ".md", ".tex"), "--out")
    chosen = {name: api.load_model(name) for name in models}
    data = source.load().trajectories
    comparison = api.compare(
        _task(data, source.title, task, fraction, pattern, horizon, method.seed),
        chosen,
        scores=scores,
        inference=method.inference,
        inference_options=method.options,
        seed=method.seed,
        store=store,
        observers=observers,
    )
    if out is not None:
        comparison.write(out)
    return comparison


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
