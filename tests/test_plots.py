"""Pictures of predictions: what can be seen in them."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

import dynplat as dp
from dynplat.data import Trajectories
from dynplat.plots import plot_prediction


def _fitted(num_rows: int, *, holes: bool, dates: str = "") -> dp.Posterior:
    rng = np.random.default_rng(0)
    values = rng.normal(size=num_rows).cumsum()
    if holes:
        values[300:310] = np.nan
    times = np.arange(float(num_rows))
    if dates:
        times = np.datetime64(dates) + np.arange(num_rows).astype("timedelta64[h]")
    data = Trajectories.from_arrays(times, values)
    return dp.fit("filtering/local-level", data, "mle", restarts=0, errors=False)


@pytest.fixture(scope="module")
def long() -> dp.Posterior:
    return _fitted(600, holes=True)


def test_a_forecast_of_a_long_series_takes_a_good_part_of_the_picture(long):
    horizon = 12
    figure = plot_prediction(long.data, dp.forecast(long, horizon), ahead=True)
    (axis,) = figure.axes
    left, right = axis.get_xlim()
    assert right >= 599 + horizon
    assert horizon / (right - left) > 0.09
    (observed,) = (line for line in axis.lines if line.get_label() == "observed")
    assert observed.get_xdata()[-1] == 599


def test_the_legend_covers_no_panel(long):
    figure = plot_prediction(long.data, dp.impute(long))
    figure.canvas.draw()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["90 % interval", "observed", "filled"]
    assert not any(axis.get_window_extent().overlaps(legend.get_window_extent()) for axis in figure.axes)


def test_a_long_series_with_holes_has_a_second_look_at_most_of_them(long):
    figure = plot_prediction(long.data, dp.impute(long))
    assert len(figure.axes) == 2
    left, right = figure.axes[1].get_xlim()
    assert left <= 300
    assert right >= 309


def test_a_long_series_without_holes_has_one_panel():
    whole = _fitted(600, holes=False)
    assert len(plot_prediction(whole.data, dp.impute(whole)).axes) == 1


def test_dates_are_shown_in_their_time_zone(tmp_path):
    path = tmp_path / "zoned.csv"
    lines = [f"2024-07-01 {hour:02d}:00:00+09:00,{hour % 5}" for hour in range(24)]
    path.write_text("\n".join(["when,a", *lines]) + "\n")
    data = dp.read(path)
    posterior = dp.fit("filtering/local-level", data, "mle", restarts=0, errors=False)
    figure = plot_prediction(data, dp.forecast(posterior, 3), ahead=True)
    (axis,) = figure.axes
    figure.canvas.draw()
    assert axis.get_xlabel() == data.time_zone
    shown = axis.xaxis.get_major_formatter()
    from matplotlib.dates import date2num

    noon = date2num(datetime.fromisoformat("2024-07-01T12:00:00+09:00"))
    assert "12:00" in shown.format_data_short(noon)
