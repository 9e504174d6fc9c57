"""The job of `dynplat forecast`: a table of the rows after the end of each series."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from dynplat.errors import ArgumentError
from dynplat.jobs.compilation import compilation_cache
from dynplat.jobs.output import Output, write_frame
from dynplat.jobs.question import Question
from dynplat.jobs.result import JobResult
from dynplat.jobs.rounding import rounded
from dynplat.posterior.prediction import interval_names

if TYPE_CHECKING:
    import pandas as pd

    from dynplat.data import Table
    from dynplat.observer import Observer
    from dynplat.posterior import Prediction


@compilation_cache()
def forecast_job(question: Question, output: Output, *, horizon: int, observers: Iterable[Observer] = ()) -> JobResult:
    """Forecast the rows after each series; write a long table, and a picture where asked."""
    from dynplat.posterior import forecast

    output.check()
    if horizon < 1:
        raise ArgumentError(f"`--horizon` must be at least 1; got {horizon}.")
    opened = question.open("forecast", purpose="a forecast")
    table = opened.table
    data = table.trajectories
    check_names(table, output.level)
    posterior = opened.fit(observers)
    prediction = forecast(posterior, horizon=horizon, num_draws=0, seed=question.method.seed)
    frame = forecast_frame(table, prediction, output.level, as_text=output.table.suffix.lower() != ".parquet")
    write_frame(frame, output.table, table.dialect_for(output.table))
    if output.plot is not None:
        from dynplat.plots import plot_prediction, save_figure

        title = f"{question.source.title}: forecast by {question.model}"
        save_figure(plot_prediction(data, prediction, level=output.level, title=title, ahead=True), output.plot)
    done = f"Wrote {len(frame)} forecast row{'' if len(frame) == 1 else 's'} to {output.table}."
    return JobResult(done, opened.notes(posterior), posterior, prediction)


def forecast_frame(table: Table, prediction: Prediction, level: float, *, as_text: bool) -> pd.DataFrame:
    """The long table of a forecast under the names of its source; columns never observed are left out.

    Args:
        table: The source: its columns of times and of series lend their names and their ways of writing.
        prediction: The forecast.
        level: Level of the interval.
        as_text: Whether the table will be text.
    """
    frame = prediction.to_frame(levels=(level,))
    data = table.trajectories
    observed = [name for c, name in enumerate(data.channels) if data.mask[:, :, c].any()]
    frame = frame.loc[frame["channel"].isin(observed)].reset_index(drop=True)
    sd = np.array(frame["sd"])
    numbers = list(frame.columns)[list(frame.columns).index("mean") :]
    columns = {} if table.id is None else {table.id: table.further_ids(frame["series"].to_numpy())}
    columns[table.time] = table.further_times(frame["time"].to_numpy(), as_text=as_text)
    columns["channel"] = frame["channel"]
    columns |= {name: rounded(np.asarray(frame[name]), sd) for name in numbers}
    return type(frame)(columns)


def check_names(table: Table, level: float) -> None:
    """Refuse a source whose column of times or series bears a name that the forecast's table needs.

    Raises:
        ArgumentError: The name is taken.
    """
    taken = ("channel", "mean", "sd", *interval_names(level))
    for option, name in (("--time", table.time), ("--id", table.id)):
        if name in taken:
            raise ArgumentError(
                f"`{option}` is the column {name!r}, and the table of a forecast has a column of this name "
                f"({', '.join(taken)}). Rename it in {table.source}."
            )
