"""The whole jobs behind the commands: from a file or a name to a written table, a picture and a sentence.

Everything that can be refused is refused before the fit; everything is computed before anything is written; each file
is written whole or not at all.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat import api
from dynplat.data.clock import show_label
from dynplat.errors import ArgumentError, DataError, StorageError

if TYPE_CHECKING:
    import pandas as pd

    from dynplat.comparison import Comparison
    from dynplat.data import Table, Trajectories
    from dynplat.data.delimited import Dialect
    from dynplat.model import AbstractModel
    from dynplat.observer import Observer
    from dynplat.posterior import Posterior, Prediction
    from dynplat.testing import Report

_TABLES = (".csv", ".tsv", ".csv.gz", ".parquet")
_PICTURES = (".png", ".svg", ".pdf")
#: Share of the observed cells that the check of the calibration hides, and how many it hides at most.
_CHECK_SHARE, _CHECK_CELLS = 0.1, 2000
#: Observed values of a column below which its user is told so: a model has about this many parameters per column.
_FEW_CELLS = 6
#: A single value is pointed out when it makes up this share of its column's variance and lies this many median
#: distances from the median (a Gaussian value lies beyond 10 of them once in 1e11): the models' noise is Gaussian.
_OUTLIER_SHARE, _OUTLIER_DISTANCE = 0.5, 20


@dataclass(frozen=True)
class JobResult:
    """What a job tells its user.

    Args:
        sentence: The closing sentence.
        notes: What could not be done, and why.
        posterior: The fit.
        prediction: The prediction.
    """

    sentence: str
    notes: list[str] = field(default_factory=list)
    posterior: Posterior | None = None
    prediction: Prediction | None = None


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


def load_table(source: str, *, time: str | None, id: str | None, columns: tuple[str, ...] | None) -> Table:
    """Read a file, or a data set of the catalogue by name, as a table that can be given back filled.

    Raises:
        DataError: Neither a file nor a known name, or a file that cannot be understood.
    """
    from dynplat.data import Trajectories, read_table

    if os.path.exists(source):
        return read_table(source, time=time, id=id, columns=columns)
    known = {entry.id for entry in api.list_datasets()}
    if source not in known:
        if Path(source).suffix:
            raise DataError(
                "no such file.", source=source, hint="Check the path, or see the names in `dynplat datasets`."
            )
        api.load_dataset(source)  # an unknown name: the host says which names are near, and which plugins failed
    if time is not None or id is not None:
        raise ArgumentError("`--time` and `--id` name columns of a file; a data set of the catalogue needs neither.")
    data = api.load_dataset(source)
    if not isinstance(data, Trajectories):
        raise ArgumentError(f"{source!r} holds {type(data).__name__}; this command takes trajectories.")
    return read_table(data, columns=columns)


def fit_job(
    source: str,
    *,
    model: str,
    options: Mapping[str, Any],
    inference: str,
    inference_options: Mapping[str, Any],
    time: str | None,
    id: str | None,
    columns: tuple[str, ...] | None,
    seed: int,
    save: Path | None,
    command: str = "",
    observers: Iterable[Observer] = (),
) -> FitResult:
    """Fit a model to a file or a data set, and save the fit where asked."""
    if save is not None:
        check_target(save, (".nc",), "--save")
    chosen = api.load_model(model, **options)
    table = load_table(source, time=time, id=id, columns=columns)
    posterior = _fit(chosen, table.trajectories, inference, seed, observers, inference_options).with_command(command)
    if save is not None:
        posterior.save(save)
    extra = posterior.provenance["extra"]
    record = {
        "model": model,
        "inference": inference,
        "seed": seed,
        "log_likelihood": posterior.log_likelihood,
        "parameters": parameter_table(posterior),
        "seconds": extra.get("seconds"),
        "converged": extra.get("converged"),
        "notes": [*_notes(table), *extra.get("notes", [])],
        "num_observed": int(table.trajectories.mask.sum()),
        "data_fingerprint": table.trajectories.fingerprint(),
    }
    return FitResult(record, record["notes"], posterior)


def _fit(
    model: AbstractModel,
    data: Trajectories,
    inference: str,
    seed: int,
    observers: Iterable[Observer],
    options: Mapping[str, Any],
) -> Posterior:
    """Fit; what the inference warns of is among the notes of its result, which the commands print."""
    from dynplat.inference import InferenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)
        return api.fit(model, data, inference, seed=seed, observers=observers, **options)


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


def impute_job(
    source: str,
    *,
    out: Path,
    plot: Path | None,
    model: str,
    options: Mapping[str, Any],
    inference: str,
    inference_options: Mapping[str, Any],
    time: str | None,
    id: str | None,
    columns: tuple[str, ...] | None,
    level: float,
    seed: int,
    observers: Iterable[Observer] = (),
) -> JobResult:
    """Fill the holes of a table; write the table, and a picture where asked."""
    from dynplat.posterior import impute

    check_level(level)
    check_target(out, _TABLES, "--out")
    if plot is not None:
        check_target(plot, _PICTURES, "--plot")
    chosen = api.load_model(model, **options)
    table = load_table(source, time=time, id=id, columns=columns)
    data = table.trajectories
    api.check(chosen, data, ("condition",), purpose="imputation")
    posterior = _fit(chosen, data, inference, seed, observers, inference_options)
    prediction = impute(posterior, num_draws=0, seed=seed)
    sentence = check_calibration(posterior, level=level, seed=seed)

    fillable = ~data.mask & data.rows[:, :, None] & data.mask.any(axis=(0, 1))
    means = _rounded(np.asarray(prediction.mean), np.asarray(prediction.sd))
    table.write(out, _columns(table, prediction, fillable, level), values=np.where(fillable, means, np.nan))
    if plot is not None:
        from dynplat.plots import plot_prediction, save_figure

        title = f"{Path(source).name}: {int(fillable.sum())} values filled by {model}"
        save_figure(plot_prediction(data, prediction, level=level, title=title), plot)
    notes = [*_notes(table), *posterior.provenance["extra"].get("notes", [])]
    return JobResult(f"Filled {int(fillable.sum())} values in {out}. {sentence}", notes, posterior, prediction)


def _columns(table: Table, prediction: Prediction, fillable: np.ndarray, level: float) -> dict[str, np.ndarray]:
    """The columns that are added for each channel; blank where the value was observed."""
    lower, upper = prediction.interval(level)
    sd = np.asarray(prediction.sd)
    added: dict[str, np.ndarray] = {}
    for c, name in enumerate(table.trajectories.channels):
        for suffix, array in (("sd", sd), ("lower", lower), ("upper", upper)):
            added[f"{name}.{suffix}"] = np.where(fillable, _rounded(np.asarray(array), sd), np.nan)[:, :, c]
        added[f"{name}.imputed"] = fillable[:, :, c]
    return added


def _rounded(values: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Drop the digits that say nothing: rounding moves a number by less than a thousandth of its sd."""
    with np.errstate(divide="ignore", invalid="ignore"):
        places = np.where(sd > 0, 3 - np.floor(np.log10(sd)), 15)
    rounded = np.array(values, dtype=float)
    for count in np.unique(places[np.isfinite(places)]):
        here = places == count
        rounded[here] = np.round(rounded[here], int(np.clip(count, -300, 300)))
    return rounded


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


def forecast_job(
    source: str,
    *,
    out: Path,
    horizon: int,
    plot: Path | None,
    model: str,
    options: Mapping[str, Any],
    inference: str,
    inference_options: Mapping[str, Any],
    time: str | None,
    id: str | None,
    columns: tuple[str, ...] | None,
    level: float,
    seed: int,
    observers: Iterable[Observer] = (),
) -> JobResult:
    """Forecast the rows after each series; write a long table, and a picture where asked."""
    from dynplat.posterior import forecast

    check_level(level)
    if horizon < 1:
        raise ArgumentError(f"`--horizon` must be at least 1; got {horizon}.")
    check_target(out, _TABLES, "--out")
    if plot is not None:
        check_target(plot, _PICTURES, "--plot")
    chosen = api.load_model(model, **options)
    table = load_table(source, time=time, id=id, columns=columns)
    data = table.trajectories
    api.check(chosen, data, ("forecast",), purpose="a forecast")
    posterior = _fit(chosen, data, inference, seed, observers, inference_options)
    prediction = forecast(posterior, horizon=horizon, num_draws=0, seed=seed)
    frame = _forecast_frame(data, prediction, level)
    write_frame(frame, out, table.dialect_for(out))
    if plot is not None:
        from dynplat.plots import plot_prediction, save_figure

        figure = plot_prediction(
            data,
            prediction,
            level=level,
            title=f"{Path(source).name}: forecast by {model}",
            ahead=True,
        )
        save_figure(figure, plot)
    notes = [*_notes(table), *posterior.provenance["extra"].get("notes", [])]
    return JobResult(f"Wrote {len(frame)} forecast rows to {out}.", notes, posterior, prediction)


def _forecast_frame(data: Trajectories, prediction: Prediction, level: float) -> pd.DataFrame:
    """The long table of a forecast, its times as the data wrote theirs; columns never observed are left out."""
    import pandas as pd

    frame = prediction.to_frame(levels=(level,))
    observed = [name for c, name in enumerate(data.channels) if data.mask[:, :, c].any()]
    frame = frame.loc[frame["channel"].isin(observed)].reset_index(drop=True)
    ahead = np.asarray(frame["time"])
    if data.time_zone:
        frame["time"] = pd.DatetimeIndex(ahead).tz_localize("UTC").tz_convert(data.time_zone)
    elif not data.is_datetime:
        both = np.concatenate([data.times[data.rows], ahead])
        if (both == np.round(both)).all() and (np.abs(both) < 2**53).all():
            frame["time"] = ahead.astype(np.int64)
    sd = np.array(frame["sd"])
    for name in list(frame.columns)[list(frame.columns).index("mean") :]:
        frame[name] = _rounded(np.asarray(frame[name]), sd)
    return frame


def compare_job(
    source: str,
    *,
    models: tuple[str, ...],
    task: str,
    fraction: float,
    pattern: str,
    horizon: int | None,
    scores: tuple[str, ...] | None,
    inference: str,
    inference_options: Mapping[str, Any],
    time: str | None,
    id: str | None,
    columns: tuple[str, ...] | None,
    seed: int,
    store: Path | None,
    out: Path | None,
    observers: Iterable[Observer] = (),
) -> Comparison:
    """Fit several models to what a task leaves visible and score them on what it hides; finished work is kept."""
    from dynplat.comparison import Forecast, Imputation

    if out is not None:
        check_target(out, (".csv", ".json", ".md", ".tex"), "--out")
    chosen = {name: api.load_model(name) for name in models}
    table = load_table(source, time=time, id=id, columns=columns)
    name = Path(source).name
    if task == "imputation":
        question = Imputation(table.trajectories, fraction=fraction, pattern=pattern, seed=seed, dataset=name)
    elif task == "forecast":
        share = None if horizon is not None else fraction
        question = Forecast(table.trajectories, horizon=horizon, fraction=share, seed=seed, dataset=name)
    else:
        raise ArgumentError(f"`--task` must be 'imputation' or 'forecast'; got {task!r}.")
    comparison = api.compare(
        question,
        chosen,
        scores=scores,
        inference=inference,
        inference_options=inference_options,
        seed=seed,
        store=store,
        observers=observers,
    )
    if out is not None:
        comparison.write(out)
    return comparison


def write_frame(frame: pd.DataFrame, path: Path, dialect: Dialect) -> None:
    """Write a table whole or not at all: .csv, .tsv, .csv.gz or .parquet; text in the dialect of its source."""
    from dynplat.data.atomic import replacing

    name = path.name.lower()
    with replacing(path) as temporary:
        if name.endswith(".parquet"):
            frame.to_parquet(temporary, index=False)
        else:
            frame.to_csv(
                temporary,
                index=False,
                sep=dialect.delimiter,
                decimal=dialect.decimal,
                lineterminator=dialect.newline,
                encoding=dialect.encoding,
                # No time stamp inside: the same forecast is the same file.
                compression={"method": "gzip", "mtime": 0} if name.endswith(".gz") else None,
            )


def check_job(component: str, *, options: Mapping[str, Any], seed: int, slow: bool) -> Report:
    """Run the conformance kit on a model, or on a plugin by its name."""
    from dynplat.testing import check_model, check_plugin

    if "/" in component:
        return check_model(api.load_model(component, **options), seed=seed, slow=slow)
    return check_plugin(component, seed=seed, slow=slow)


def check_level(level: float) -> None:
    """Refuse a level that is no probability."""
    if not 0 < level < 1:
        raise ArgumentError(f"`--level` must be between 0 and 1 (exclusive), such as 0.9; got {level:g}.")


def check_target(path: Path, suffixes: Iterable[str], option: str) -> None:
    """Refuse a file that could not be written, before hours are spent on what should go into it."""
    legal = tuple(suffixes)
    if not str(path).lower().endswith(legal):
        raise ArgumentError(f"`{option}` must end in {', '.join(legal)}; got {str(path)!r}.")
    folder = path.parent if str(path.parent) else Path()
    if not folder.is_dir():
        raise StorageError(f"`{option}` {path}: the folder {folder} does not exist. Make it first.")
    if path.is_dir():
        raise StorageError(f"`{option}` {path} is a folder. Name a file.")
    if not os.access(folder, os.W_OK):
        raise StorageError(f"`{option}` {path}: the folder {folder} cannot be written to. Choose another place.")


def _notes(table: Table) -> list[str]:
    """Say which rows and channels could not be filled, and where an interval means less than it seems to."""
    data: Trajectories = table.trajectories
    notes = [f"row {row}: {reason}" for row, reason in table.notes[:20]]
    if len(table.notes) > 20:
        notes.append(f"and {len(table.notes) - 20} more rows of that kind")
    notes += [f"column {name!r}: {what}" for c, name in enumerate(data.channels) if (what := _doubt(data, c))]
    if data.num_series > 1:
        counts = data.mask.sum(axis=(1, 2))
        for count, what in ((0, "nothing observed; what is said of them rests on the prior and the other series"),
                            (1, "a single observed value each")):  # fmt: skip
            few = [str(name) for name, seen in zip(data.series, counts, strict=True) if seen == count]
            if few:
                more = f" and {len(few) - 5} more" if len(few) > 5 else ""
                notes.append(f"series {', '.join(few[:5])}{more}: {what}")
    return notes


def _doubt(data: Trajectories, c: int) -> str:
    """Say why the intervals of a channel may mislead, or nothing."""
    mask = data.mask[:, :, c]
    seen = data.values[:, :, c][mask]
    if seen.size == 0:
        return "nothing observed, so nothing is said of it"
    if seen.size == 1:
        return "a single observed value; its intervals rest on the prior"
    if np.ptp(seen) == 0:
        return f"all {seen.size} observed values are {seen[0]:g}; how far it may move cannot be told from them"
    if seen.size < _FEW_CELLS:
        return f"only {seen.size} observed values; its intervals rest on the prior, and are too narrow without `nuts`"
    away = np.abs(seen - np.median(seen)) / np.ptp(seen)
    worst = int(np.argmax(away))
    share = float(away[worst] ** 2 / np.sum(away**2))
    if share < _OUTLIER_SHARE or away[worst] < _OUTLIER_DISTANCE * np.median(away):
        return ""
    where = np.argwhere(mask)[worst]
    return (
        f"the value {seen[worst]:g} at {data.time_name} {show_label(data.labels[tuple(where)])} makes up "
        f"{100 * share:.0f} % of the variance and widens every interval. If it is a mistake, empty its cell."
    )
