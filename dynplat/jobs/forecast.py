"""The job of `dynplat forecast`: a table of the rows after the end of each series."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from dynplat.errors import ArgumentError
from dynplat.jobs.output import Output, write_frame
from dynplat.jobs.question import Question
from dynplat.jobs.result import JobResult
from dynplat.jobs.rounding import rounded

if TYPE_CHECKING:
    import pandas as pd

    from dynplat.data import Trajectories
    from dynplat.observer import Observer
    from dynplat.posterior import Prediction


def forecast_job(question: Question, output: Output, *, horizon: int, observers: Iterable[Observer] = ()) -> JobResult:
    """Forecast the rows after each series; write a long table, and a picture where asked."""
    from dynplat.posterior import forecast

    output.check()
    if horizon < 1:
        raise ArgumentError(f"`--horizon` must be at least 1; got {horizon}.")
    opened = question.open("forecast", purpose="a forecast")
    table = opened.table
    data = table.trajectories
    posterior = opened.fit(observers)
    prediction = forecast(posterior, horizon=horizon, num_draws=0, seed=question.method.seed)
    frame = forecast_frame(data, prediction, output.level)
    write_frame(frame, output.table, table.dialect_for(output.table))
    if output.plot is not None:
        from dynplat.plots import plot_prediction, save_figure

        title = f"{question.source.title}: forecast by {question.model}"
        save_figure(plot_prediction(data, prediction, level=output.level, title=title, ahead=True), output.plot)
    done = f"Wrote {len(frame)} forecast rows to {output.table}."
    return JobResult(done, opened.notes(posterior), posterior, prediction)


def forecast_frame(data: Trajectories, prediction: Prediction, level: float) -> pd.DataFrame:
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
        frame[name] = rounded(np.asarray(frame[name]), sd)
    return frame
