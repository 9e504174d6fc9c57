"""The job of `dynplat impute`: a table with its holes filled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from dynplat.jobs.compilation import compilation_cache
from dynplat.jobs.output import Output
from dynplat.jobs.question import Question
from dynplat.jobs.result import JobResult
from dynplat.jobs.rounding import rounded

if TYPE_CHECKING:
    from dynplat.data import Table
    from dynplat.observer import Observer
    from dynplat.posterior import Posterior, Prediction

#: Share of the observed cells that the check of the calibration hides, and how many it hides at most.
_CHECK_SHARE, _CHECK_CELLS = 0.1, 2000


@compilation_cache()
def impute_job(question: Question, output: Output, *, observers: Iterable[Observer] = ()) -> JobResult:
    """Fill the holes of a table; write the table, and a picture where asked."""
    from dynplat.posterior import impute

    output.check()
    opened = question.open("condition", purpose="imputation")
    table, level, seed = opened.table, output.level, question.method.seed
    data = table.trajectories
    posterior = opened.fit(observers)
    prediction = impute(posterior, num_draws=0, seed=seed)
    sentence = check_calibration(posterior, level=level, seed=seed)

    fillable = ~data.mask & data.rows[:, :, None] & data.mask.any(axis=(0, 1))
    means = rounded(np.asarray(prediction.mean), np.asarray(prediction.sd))
    added = _columns(table, prediction, fillable, level)
    table.write(output.table, added, values=np.where(fillable, means, np.nan))
    if output.plot is not None:
        from dynplat.plots import plot_prediction, save_figure

        title = f"{question.source.title}: {_values(fillable)} filled by {question.model}"
        save_figure(plot_prediction(data, prediction, level=level, title=title), output.plot)
    done = f"Filled {_values(fillable)} in {output.table}. {sentence}"
    return JobResult(done, opened.notes(posterior), posterior, prediction)


def _values(chosen: np.ndarray) -> str:
    count = int(chosen.sum())
    return f"{count} value{'' if count == 1 else 's'}"


def _columns(table: Table, prediction: Prediction, fillable: np.ndarray, level: float) -> dict[str, np.ndarray]:
    """The columns that are added for each channel; blank where the value was observed."""
    lower, upper = prediction.interval(level)
    sd = np.asarray(prediction.sd)
    added: dict[str, np.ndarray] = {}
    for c, name in enumerate(table.trajectories.channels):
        for suffix, array in (("sd", sd), ("lower", lower), ("upper", upper)):
            added[f"{name}.{suffix}"] = np.where(fillable, rounded(np.asarray(array), sd), np.nan)[:, :, c]
        added[f"{name}.imputed"] = fillable[:, :, c]
    return added


def check_calibration(posterior: Posterior, *, level: float, seed: int) -> str:
    """Hide some observed values from the fitted model and say how many fell inside their intervals.

    The parameters stay as fitted (to all values), so that the check costs one more prediction and not one more fit; it
    is a check of the intervals, not of the choice of parameters.
    """
    from dynplat.comparison import calibration
    from dynplat.data import hide_values
    from dynplat.posterior import impute

    data = posterior.data
    observed = int(data.mask.sum())
    fraction = min(_CHECK_SHARE, _CHECK_CELLS / max(observed, 1))
    if observed * fraction < 1:
        return f"Too few observed values ({observed}) to check the intervals."
    check = hide_values(data, fraction, seed)
    prediction = impute(posterior, data=check.train, num_draws=0, seed=seed)
    return calibration(prediction, check.truth, check.hidden, level)
