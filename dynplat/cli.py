"""The edge on the command line. Commands are thin: they parse, call `dynplat.api` or a job, and print.

What several commands ask in the same way (where the data are, how a model is fitted, what is written) is a frozen
dataclass; `_grouped` turns a parameter of such a type into the options that make it up.

Errors that dynplat raises on purpose print one message without a traceback and end with exit code 2; nothing partial is
left behind. Results go to standard output, progress and notes to standard error, so that `--json` can be piped.
"""

from __future__ import annotations

import functools
import inspect
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from dynplat.errors import ArgumentError, DynplatError
from dynplat.jobs.output import Output
from dynplat.jobs.question import Choice, Method, Question, Source

app = typer.Typer(
    name="dynplat",
    help="Probabilistic models of dynamical systems: fill, forecast, fit and compare irregular, incomplete series.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Input = Annotated[str, typer.Argument(metavar="INPUT", help="A file, or the name of a data set (`dynplat datasets`).")]
Time = Annotated[str | None, typer.Option("--time", help="Column that holds the time; found when there is only one.")]
Id = Annotated[str | None, typer.Option("--id", help="Column that names the series.")]
Columns = Annotated[str | None, typer.Option("--columns", help="Value columns, separated by commas; default: numbers.")]
DateFormat = Annotated[
    str | None,
    typer.Option("--date-format", help="How dates are written, such as '%d/%m/%Y', or 'number'; found where plain."),
]
Encoding = Annotated[str | None, typer.Option("--encoding", help="Encoding of a text file, such as latin-1.")]
Delimiter = Annotated[str | None, typer.Option("--delimiter", help="Character between cells, or 'tab'; found.")]
Decimal = Annotated[str | None, typer.Option("--decimal", help="Decimal mark, '.' or ','; found.")]
Missing = Annotated[
    str | None, typer.Option("--missing", help="Numbers that stand for a missing value, such as -999; with commas.")
]
Model = Annotated[str, typer.Option("--model", help="Model id (`dynplat models`).")]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", help="Model option NAME=VALUE, VALUE in JSON or plain text; may be repeated."),
]
Inference = Annotated[
    str | None,
    typer.Option(
        "--inference",
        help="map, mle, laplace, svi, nuts, ... (`dynplat inferences`); by default the model's own: mostly map, and "
        "solve for a model without a prior or a likelihood.",
    ),
]
InferenceOptions = Annotated[
    list[str] | None, typer.Option("--inference-option", help="Option of the inference NAME=VALUE; may be repeated.")
]
Level = Annotated[float, typer.Option("--level", help="Level of the intervals, between 0 and 1.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no notes.")]
Out = Annotated[Path, typer.Option("--out", help="Table to write: .csv, .tsv, .csv.gz or .parquet.")]
Plot = Annotated[Path | None, typer.Option("--plot", help="Picture to write.")]

#: Type of a parameter -> the function whose parameters are its options.
_GROUPS: dict[type, Callable[..., Any]] = {}


def _grouped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Replace each parameter whose type is a group by the options of the group, where it stands; typer reads these."""
    own = inspect.signature(function, eval_str=True).parameters
    groups = {name: _GROUPS[p.annotation] for name, p in own.items() if p.annotation in _GROUPS}
    names = {name: tuple(inspect.signature(group).parameters) for name, group in groups.items()}

    @functools.wraps(function)
    def run(**given: Any) -> Any:
        for name, group in groups.items():
            given[name] = group(**{option: given.pop(option) for option in names[name]})
        return function(**given)

    options = [
        option.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in own.items()
        for option in (inspect.signature(groups[name]).parameters.values() if name in groups else (parameter,))
    ]
    run.__signature__ = inspect.Signature(options)  # pyright: ignore[reportAttributeAccessIssue]
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def _group(build: Callable[..., Any]) -> Callable[..., Any]:
    """Make what `build` returns a group: its parameters are the options."""
    grouped = _grouped(build)
    _GROUPS[inspect.signature(build, eval_str=True).return_annotation] = grouped
    return grouped


@_group
def _source(
    source: Input,
    time: Time = None,
    id: Id = None,
    columns: Columns = None,
    date_format: DateFormat = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    missing: Missing = None,
) -> Source:
    # A tab is hard to type in a shell.
    delimiter = "\t" if delimiter in ("tab", r"\t") else delimiter
    return Source(source, time, id, _names(columns), date_format, encoding, delimiter, decimal, _numbers(missing))


@_group
def _method(inference: Inference = None, inference_option: InferenceOptions = None, seed: Seed = 0) -> Method:
    return Method(inference, _options(inference_option), seed)


@_group
def _question(
    *, source: Source, model: Model = "filtering/structural", option: Options = None, method: Method
) -> Question:
    return Question(source, model, _options(option), method)


@_group
def _output(out: Out, plot: Plot = None, level: Level = 0.9) -> Output:
    return Output(out, plot, level)


def main() -> None:
    """Run the command line; `python -m dynplat` and `dynplat` are the same."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            app(prog_name="dynplat")
    except DynplatError as error:
        typer.echo(f"dynplat: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("dynplat: interrupted; nothing was written.", err=True)
        sys.exit(130)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning as a note: its reader has no use for the line of code that gave it."""
    typer.echo(f"note: {message}", err=True)


# ------------------------------------------------------------------------------------------------ what there is


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the models."""
    from dynplat import api

    _print_entries(
        api.list_models(),
        as_json,
        ("model", "what it is", "languages"),
        lambda entry: (entry.id, entry.summary, " ".join(entry.capabilities.languages)),
    )


@app.command()
def datasets(as_json: AsJson = False) -> None:
    """List the data sets of the catalogue."""
    from dynplat import api

    _print_entries(
        api.list_datasets(),
        as_json,
        ("data set", "what it is", "needs", "licence"),
        lambda entry: (entry.id, entry.summary, "nothing" if entry.offline else "download", entry.licence),
    )


@app.command()
def scores(as_json: AsJson = False) -> None:
    """List the scores."""
    from dynplat import api

    _print_entries(
        api.list_scores(),
        as_json,
        ("score", "what it is", "of", "better", "proper"),
        lambda entry: (entry.id, entry.summary, entry.kind, entry.orientation, "yes" if entry.proper else "no"),
    )


@app.command()
def inferences(as_json: AsJson = False) -> None:
    """List the inference methods."""
    from dynplat import api

    _print_entries(
        api.list_inferences(),
        as_json,
        ("inference", "what it is", "needs"),
        lambda entry: (entry.id, entry.summary, ", ".join(entry.needs)),
    )


@app.command()
def plugins(as_json: AsJson = False) -> None:
    """List the plugins, those that failed to load and why."""
    from dynplat import api

    reports = api.list_plugins()
    if as_json:
        _print_json([_plain(report) for report in reports])
        return
    _print_table(
        ("plugin", "distribution", "state", "components", "reason"),
        [
            (r.name, f"{r.distribution} {r.version}".strip(), r.state, str(len(r.components)), r.reason or "")
            for r in reports
        ],
    )


@app.command()
def describe(
    component: Annotated[str, typer.Argument(metavar="ID", help="Id of a model, data set, score or inference.")],
    as_json: AsJson = False,
) -> None:
    """Describe one component: what it can do, its options, its references."""
    from dynplat import api

    facts = api.describe(component)
    if as_json:
        _print_json(facts)
        return
    for name, value in facts.items():
        _print_fact(name, value)


# ------------------------------------------------------------------------------------------------------- jobs


@app.command()
@_grouped
def fit(
    question: Question,
    save: Annotated[Path | None, typer.Option("--save", help="Save the fit to this NetCDF file.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit a model and print its parameters."""
    from dynplat.jobs.fit import fit_job

    with _progress(quiet or as_json) as observers:
        result = fit_job(question, save=save, command=_command(), observers=observers)
    if as_json:
        _print_json(result.record)
        return
    _print_notes(result.notes, quiet)
    _print_table(("parameter", "estimate", "standard error"), result.rows())
    likelihood = result.record["log_likelihood"]
    figure = "no likelihood" if likelihood is None else f"log-likelihood {likelihood:.6g}"
    typer.echo(f"{figure} in {result.record['seconds']:.1f} s")


@app.command()
@_grouped
def impute(question: Question, output: Output, quiet: Quiet = False) -> None:
    """Fill the holes of a table, with intervals for the values that would have been observed."""
    from dynplat.jobs.impute import impute_job

    with _progress(quiet) as observers:
        result = impute_job(question, output, observers=observers)
    _print_notes(result.notes, quiet)
    typer.echo(result.sentence)


@app.command()
@_grouped
def forecast(
    question: Question,
    output: Output,
    horizon: Annotated[int, typer.Option("--horizon", help="Number of rows ahead, at the median step.")] = 12,
    quiet: Quiet = False,
) -> None:
    """Forecast the rows after the end of each series, with intervals for the values that will be observed."""
    from dynplat.jobs.forecast import forecast_job

    with _progress(quiet) as observers:
        result = forecast_job(question, output, horizon=horizon, observers=observers)
    _print_notes(result.notes, quiet)
    typer.echo(result.sentence)


@app.command()
@_grouped
def compare(
    source: Source,
    method: Method,
    models: Annotated[str, typer.Option("--models", help="Model ids, or LABEL=ID, separated by commas.")],
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            help="Model option LABEL:NAME=VALUE, or NAME=VALUE for all models; a model without a label goes by its id; "
            "may be repeated.",
        ),
    ] = None,
    task: Annotated[
        str, typer.Option("--task", help="imputation, forecast, snapshot-interpolation or snapshot-forecast.")
    ] = "imputation",
    fraction: Annotated[float, typer.Option("--fraction", help="Share of the observed cells (or rows) to hide.")] = 0.3,
    pattern: Annotated[str, typer.Option("--pattern", help="Imputation: values, blocks or rows.")] = "values",
    horizon: Annotated[
        int | None, typer.Option("--horizon", help="Forecasts: rows (snapshots) to hide at the end.")
    ] = None,
    positions: Annotated[
        str | None,
        typer.Option(
            "--positions",
            help="Snapshot interpolation: positions of the snapshots to hide, from 0; default: every second one.",
        ),
    ] = None,
    scores: Annotated[
        str | None, typer.Option("--scores", help="Score ids, separated by commas; default: all of the kind.")
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="channel or series: also print the figures of each by itself.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option("--store", help="Folder of finished results; a rerun picks up where it stopped.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Also write the table: .csv, .json, .md or .tex.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare models on the same held-out cells or populations."""
    from dynplat.jobs.compare import compare_job

    with _progress(quiet or as_json) as observers:
        result = compare_job(
            source,
            _choices(models, option),
            method,
            task=task,
            fraction=fraction,
            pattern=pattern,
            horizon=horizon,
            positions=_positions(positions),
            scores=_names(scores),
            by=by,
            store=store,
            out=out,
            observers=observers,
        )
    typer.echo(result.to_json() if as_json else str(result))


# ---------------------------------------------------------------------------------------------- for plugin authors


@app.command()
def check(
    component: Annotated[str, typer.Argument(metavar="ID", help="Id of a model, or the name of a plugin.")],
    option: Options = None,
    seed: Seed = 0,
    slow: Annotated[bool, typer.Option("--slow", help="Also run simulation-based calibration.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the conformance kit on a model or on all models of a plugin; exit code 1 when a check fails."""
    from dynplat.jobs.check import check_job

    report = check_job(component, options=_options(option), seed=seed, slow=slow)
    if as_json:
        _print_json(report.to_dict())
    else:
        typer.echo(str(report))
    if not report.passed:
        raise typer.Exit(1)


@app.command("new-plugin")
def new_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the family, in lower case.")],
    directory: Annotated[
        Path, typer.Option("--directory", help="Folder in which the plugin's folder is made.")
    ] = Path(),
) -> None:
    """Copy the template: a working plugin to edit."""
    from dynplat.host.scaffold import new_plugin as scaffold

    folder = scaffold(name, directory)
    typer.echo(f"Made {folder}. Next: pip install -e {folder} && dynplat models && dynplat check {name}/random-walk")


# ----------------------------------------------------------------------------------------------------- printing


def _names(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise ArgumentError(f"expected names separated by commas; got {text!r}.")
    return names


def _numbers(text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(name) for name in _names(text) or ())
    except ValueError:
        raise ArgumentError(f"`--missing` takes numbers separated by commas, such as -999; got {text!r}.") from None


def _positions(text: str | None) -> tuple[int, ...] | None:
    try:
        return None if text is None else tuple(int(name) for name in _names(text) or ())
    except ValueError:
        raise ArgumentError(
            f"`--positions` takes whole numbers separated by commas, such as 1,3; got {text!r}."
        ) from None


def _options(texts: list[str] | None) -> dict[str, Any]:
    """Read NAME=VALUE pairs; a value that is no JSON is taken as text, and a JSON list becomes a tuple."""
    options: dict[str, Any] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ArgumentError(f"an option must look like NAME=VALUE; got {text!r}.")
        try:
            parsed = json.loads(value)
        except json.JSONDecodeError:
            parsed = value
        options[name.strip().replace("-", "_")] = tuple(parsed) if isinstance(parsed, list) else parsed
    return options


def _choices(models: str, options: list[str] | None) -> dict[str, Choice]:
    """Read ID and LABEL=ID, and options for one label (LABEL:NAME=VALUE) or for all (NAME=VALUE)."""
    ids: dict[str, str] = {}
    for text in _names(models) or ():
        first, equals, second = (part.strip() for part in text.partition("="))
        label, model = (first, second) if equals else (first, first)
        if not label or not model:
            raise ArgumentError(f"`--models` takes ids, or LABEL=ID, separated by commas; got {text!r}.")
        if label in ids:
            raise ArgumentError(
                f"`--models` names {label!r} twice. Give each a label of its own, as in a={model},b={model}."
            )
        ids[label] = model
    shared: list[str] = []
    own: dict[str, list[str]] = {label: [] for label in ids}
    for text in options or []:
        name, equals, value = text.partition("=")
        # An id or a label may hold a colon, the name of an option does not.
        label, colon, name = name.rpartition(":")
        if not colon:
            shared.append(text)
        elif label.strip() not in own:
            raise ArgumentError(f"`--option` {text!r} is for {label!r}; `--models` has {', '.join(own)}.")
        else:
            own[label.strip()].append(f"{name}{equals}{value}")
    return {label: Choice(model, {**_options(shared), **_options(own[label])}) for label, model in ids.items()}


def _command() -> str:
    return " ".join(["dynplat", *sys.argv[1:]])


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=_plain, allow_nan=False))


def _plain(value: Any) -> Any:
    import dataclasses

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


def _print_entries(entries: Any, as_json: bool, header: tuple[str, ...], row: Callable[[Any], tuple[str, ...]]) -> None:
    if as_json:
        _print_json([_plain(entry) for entry in entries])
        return
    _print_table(header, [row(entry) for entry in entries])


def _print_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    # Names are shown as they are: "[flow]" is no markup, ":cat:" no picture.
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:  # a pipe has no width: nothing is cut or wrapped
        console.width = 10_000
    table = Table(*header, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    console.print(table, soft_wrap=False, crop=console.is_terminal)


def _print_fact(name: str, value: Any, indent: str = "") -> None:
    if isinstance(value, dict):
        typer.echo(f"{indent}{name}:")
        for key, inner in value.items():
            _print_fact(str(key), inner, indent + "  ")
    elif isinstance(value, (list, tuple)) and value and not all(isinstance(item, (str, int, float)) for item in value):
        typer.echo(f"{indent}{name}:")
        for item in value:
            typer.echo(f"{indent}  - {_reference(item) if isinstance(item, dict) and 'text' in item else item}")
    else:
        text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        typer.echo(f"{indent}{name}: {text}")


def _reference(reference: dict[str, str]) -> str:
    """A publication with the place where it can be found."""
    where = f"https://doi.org/{reference['doi']}" if reference.get("doi") else reference.get("url", "")
    return f"{reference['text']} {where}".rstrip()


def _print_notes(notes: list[str], quiet: bool) -> None:
    if not quiet:
        for note in notes:
            typer.echo(f"note: {note}", err=True)


class _Progress:
    """A progress bar on standard error while a fit runs; used as a context manager that gives the list of observers."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.bar: Any = None
        self.task: Any = None

    def __enter__(self) -> list[Any]:
        if self.quiet or not sys.stderr.isatty():
            return []
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self.bar.start()
        return [self]

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def started(self, model: Any, data: Any, method: str) -> None:
        """Open a bar for a fit."""
        self.task = self.bar.add_task(f"{method} {model.entry.id}", total=None)

    def step(self, step: int, total: int | None, info: Any) -> None:
        """Move the bar."""
        self.bar.update(self.task, completed=step, total=total)

    def ended(self, posterior: Any, error: Any) -> None:
        """Close the bar of this fit."""
        self.bar.remove_task(self.task)


_progress = _Progress
