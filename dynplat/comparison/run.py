"""Scoring models on a task: predictions to contributions, failures to reasons."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.comparison.comparison import Comparison
from dynplat.comparison.result import WHOLE, Result
from dynplat.comparison.scale import channel_scales, hides_several_channels, rescaled, rescaled_populations
from dynplat.comparison.score import Score, default_scores
from dynplat.comparison.scores.cells import Contributions, held_out, unit_positions
from dynplat.comparison.scores.populations import check_populations
from dynplat.errors import ArgumentError, DynplatError
from dynplat.model import rows_of
from dynplat.posterior import Prediction
from dynplat.records import ScoreEntry

if TYPE_CHECKING:
    from dynplat.comparison.tasks import AbstractTask
    from dynplat.posterior import Posterior

_LOG = logging.getLogger(__name__)

#: Facts of a posterior's provenance that a result keeps.
_KEPT = ("model", "options", "plugin", "method", "language", "seed", "data_fingerprint", "versions")


def compare(
    task: AbstractTask,
    fits: Mapping[str, Posterior | Prediction | Exception],
    scores: Sequence[Score | ScoreEntry] | None = None,
    *,
    level: float = 0.9,
    num_draws: int | None = None,
    seed: int = 0,
    standardise: bool | None = None,
) -> Comparison:
    """Score models on the held-out cells of one task.

    Args:
        task: The task; the models must have been fitted to its `train`.
        fits: By name under which a model is compared: its posterior; or a prediction about the rows of the data, made
            elsewhere; or the exception that its fit ended with, which becomes the reason in its row.
        scores: Scores, as `Score` or as records; by default those of `default_scores` for the kind of the data.
        level: Level of the central intervals of the default scores.
        num_draws: Joint draws per prediction, or particles of a predicted population; by default as many as the task
            says (`AbstractTask.num_draws`).
        seed: Seed of the predictions' draws; the same for every model.
        standardise: Whether each channel is scored in units of its own standard deviation
            (`dynplat.comparison.scale`); by default where cells of several channels are held out, whose unit would
            otherwise decide whose errors count. Populations are scored in their own units unless it is asked for.

    Returns:
        The comparison. A model that cannot serve the task, or fails at it, is a row with its reason.

    Raises:
        ArgumentError: There is no model, or `level` is given together with `scores`.
    """
    if not fits:
        raise ArgumentError("`fits` must name at least one model; got none.")
    chosen = chosen_scores(scores, level, task.kind)
    num_draws = task.num_draws if num_draws is None else num_draws
    results = [
        evaluate(task, name, given, chosen, num_draws=num_draws, seed=seed, standardise=standardise)
        for name, given in fits.items()
    ]
    return Comparison(tuple(results), tuple(score.entry for score in chosen))


def chosen_scores(
    scores: Sequence[Score | ScoreEntry] | None, level: float = 0.9, kind: str = "trajectories"
) -> tuple[Score, ...]:
    """Turn what a caller gave into scores; the default ones where nothing was given."""
    if scores is None:
        return default_scores(level, kind)
    if level != 0.9:
        raise ArgumentError(
            f"`level` ({level}) sets the level of the default scores and has no effect on the `scores` given. "
            "Leave one out, or add `interval_scores(level)` to `scores`."
        )
    if not scores:
        raise ArgumentError("`scores` must hold at least one score; got none.")
    chosen = tuple(Score.from_entry(given) if isinstance(given, ScoreEntry) else given for given in scores)
    for given in chosen:
        if not isinstance(given, Score):
            raise ArgumentError(
                f"`scores` must hold records or `Score(record, function)`; got a {type(given).__name__}. "
                "A function alone doesn't say how it is called and whether smaller is better."
            )
    return chosen


def evaluate(
    task: AbstractTask,
    name: str,
    given: Posterior | Prediction | Exception,
    scores: Sequence[Score],
    *,
    num_draws: int,
    seed: int,
    standardise: bool | None = None,
) -> Result:
    """Score one model on one task; see `compare`."""
    contributions: dict[str, Contributions] = {}
    failures: dict[str, str] = {}
    provenance: dict[str, Any] = {}
    populations = task.kind == "snapshots"
    standardised = hides_several_channels(task.hidden) and not populations if standardise is None else standardise
    scales = channel_scales(task) if standardised else None
    try:
        if isinstance(given, Exception):
            raise given
        provenance = _provenance(given)
        if isinstance(given, Prediction):
            prediction = given
        else:
            task.check(given.model)
            prediction = task.predict(given, num_draws=num_draws, seed=seed)
        hidden, truth = task.hidden, task.truth
        if populations:
            check_populations(prediction, truth)
        else:
            truth, hidden = held_out(prediction, truth, hidden)
        if scales is not None:
            prediction = rescaled(prediction, scales)
            truth = rescaled_populations(truth, scales) if populations else truth / scales
    except Exception as error:
        failures[WHOLE] = explain(error, f"{name} on {task.name}")
    else:
        for score in scores:
            if score.entry.kind != task.kind:
                failures[score.entry.id] = f"scores {score.entry.kind}, and the task holds out {task.kind}"
                continue
            try:
                # An overflow gives infinity, which is the score of a prediction that far off.
                with np.errstate(over="ignore", under="ignore"):
                    contributions[score.entry.id] = _defined(score.contributions(prediction, truth, hidden), task)
            except Exception as error:
                failures[score.entry.id] = explain(error, f"{score.entry.id} of {name} on {task.name}")
    return Result(
        model=name,
        task=task.name,
        dataset=task.dataset,
        seed=task.seed,
        question=task.describe(),
        hidden=task.hidden,
        series=tuple(str(label) for label in rows_of(task.data).series),
        channels=tuple(str(label) for label in task.data.channels),
        contributions=contributions,
        failures=failures,
        provenance=provenance,
        scales=None if scales is None else tuple(scales.tolist()),
    )


def explain(error: Exception, what: str) -> str:
    """Turn an exception into the reason of a row; one not raised by dynplat on purpose is logged with its trace."""
    if isinstance(error, DynplatError):
        return str(error)
    _LOG.warning("%s failed with an unexpected %s", what, type(error).__name__, exc_info=error)
    return f"{type(error).__name__}: {error}"


def _defined(given: Contributions, task: AbstractTask) -> Contributions:
    """Refuse contributions that are NaN: a prediction that was not made is not a score."""
    absent = np.isnan(given.values)
    if not absent.any():
        return given
    hidden = task.hidden
    series, row = unit_positions(hidden, given.per)
    place = int(np.flatnonzero(absent)[0])
    where = f"series {rows_of(task.data).series[series[place]]!r}"
    if given.per != "series":
        where += f", row {row[place]}"
    if given.per == "cell":
        where += f", channel {task.data.channels[np.nonzero(hidden)[2][place]]!r}"
    raise ArgumentError(
        f"no value at {int(absent.sum())} of {absent.size} held-out {given.per}s (first: {where}): "
        "the prediction is NaN there."
    )


def _provenance(given: Any) -> dict[str, Any]:
    known = getattr(given, "provenance", None) or {}
    # Through JSON and back, so that a result read from a file equals the one that was written.
    return json.loads(json.dumps({name: known[name] for name in _KEPT if name in known}, default=str))
