"""The job of `dynplat fit`: the parameters of a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.jobs.compilation import compilation_cache
from dynplat.jobs.output import check_target
from dynplat.jobs.question import Question

if TYPE_CHECKING:
    from dynplat.observer import Observer
    from dynplat.posterior import Posterior


@dataclass(frozen=True)
class FitResult:
    """A fit as the command line reports it.

    Args:
        record: Plain figures: `log_likelihood`, `parameters` (estimate and standard error), `seconds` and more.
        notes: What the user should know.
        posterior: The fit.
    """

    record: dict[str, Any]
    notes: list[str]
    posterior: Posterior

    def rows(self) -> list[tuple[str, str, str]]:
        """Return one line of text per parameter."""
        lines = []
        for name, figures in self.record["parameters"].items():
            error = figures["standard_error"]
            lines.append((name, f"{figures['estimate']:.6g}", "" if error is None else f"{error:.3g}"))
        return lines


@compilation_cache()
def fit_job(
    question: Question, *, save: Path | None = None, command: str = "", observers: Iterable[Observer] = ()
) -> FitResult:
    """Fit a model to a file or a data set, and save the fit where asked."""
    if save is not None:
        check_target(save, (".nc",), "--save")
    opened = question.open()
    posterior = opened.fit(observers).with_command(command)
    if save is not None:
        posterior.save(save)
    extra = posterior.provenance["extra"]
    data = opened.table.trajectories
    record = {
        "model": question.model,
        "inference": posterior.provenance["method"],
        "seed": question.method.seed,
        "log_likelihood": posterior.log_likelihood,
        "parameters": parameter_table(posterior),
        "seconds": extra.get("seconds"),
        "converged": extra.get("converged"),
        "notes": opened.notes(posterior),
        "num_observed": int(data.mask.sum()),
        "data_fingerprint": data.fingerprint(),
    }
    return FitResult(record, record["notes"], posterior)


def parameter_table(posterior: Posterior) -> dict[str, dict[str, float | None]]:
    """Return estimate (posterior mean, or the optimum) and standard error (or posterior sd) of every number fitted.

    Names are those of `Posterior.summary`: entries of a site are labelled along its dimensions, by channel or series
    where a dimension is one of these, otherwise by number. A site of one number goes by its bare name.
    """
    standard_errors = posterior.standard_errors
    table: dict[str, dict[str, float | None]] = {}
    for name, variable in posterior.tree["posterior"].dataset.data_vars.items():
        draws = variable.values.reshape(-1, *variable.shape[2:])
        centre = np.atleast_1d(draws.mean(axis=0))
        if draws.shape[0] > 1:
            spread = np.atleast_1d(draws.std(axis=0, ddof=1))
        else:
            spread = np.atleast_1d(standard_errors.get(str(name), np.full(centre.shape, np.nan))).reshape(centre.shape)
        along = [variable.coords[dim].values for dim in variable.dims[2:]]
        for index in np.ndindex(centre.shape):
            entry = ", ".join(str(labels[i]) for labels, i in zip(along, index, strict=False))
            label = str(name) if centre.size == 1 else f"{name}[{entry}]"
            error = float(spread[index])
            table[label] = {
                "estimate": float(centre[index]),
                "standard_error": error if np.isfinite(error) else None,
            }
    return table
