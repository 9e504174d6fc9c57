from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from dynplat.comparison import Forecast, Imputation, compare
from dynplat.data import Snapshots, Trajectories, hide_blocks, hide_rows, hide_values
from dynplat.errors import ArgumentError, CapabilityError
from dynplat.model import AbstractModel, Context
from dynplat.posterior import Posterior
from dynplat.process.base import AbstractConditional, AbstractPredictive, AbstractProcess
from dynplat.records import Capabilities, ModelEntry


class LevelLaw(AbstractPredictive):
    """Independent normal values around the level of what was seen, plus the input."""

    def __init__(self, level, times, inputs, family):
        self.level, self.times, self.inputs, self.family = level, times, inputs, family

    def mean(self, of="observation"):
        shift = 0.0 if self.inputs is None else self.inputs[..., :1]
        return np.zeros((*self.times.shape, 1)) + self.level[..., None, :] + shift

    def variance(self, of="observation"):
        return np.full_like(self.mean(), 4.0)

    def draws(self, num_draws, *, random, of="observation"):
        mean = self.mean()
        return mean + 2.0 * random.normal((num_draws, *mean.shape))

    def log_density(self, values):
        return -0.5 * ((values - self.mean()) / 2.0) ** 2 - np.log(2.0) - 0.5 * np.log(2 * np.pi)


class Level(AbstractProcess, AbstractConditional):
    """A process that answers with the mean of what it was shown; it remembers when that ended."""

    shown: ClassVar[list] = []

    def __init__(self, family, observations=None):
        self.family, self.observations = family, observations

    def condition(self, observations):
        type(self).shown.append(observations)
        return Level(self.family, observations)

    def at(self, times, *, inputs=None):
        seen = self.observations.mask
        total = np.where(seen, self.observations.values, 0.0).sum(axis=-2)
        return LevelLaw(total / np.maximum(seen.sum(axis=-2), 1), times, inputs, self.family)


@dataclass(frozen=True)
class LevelModel(AbstractModel):
    """The model of `Level`."""

    family: str = "gaussian"
    entry: ClassVar[ModelEntry] = ModelEntry(
        "test/level", "Mean of what was seen", capabilities=Capabilities(prior=False, inputs=True, languages=())
    )

    def process(self, sites, context):
        return Level(self.family)


class ForecasterOnly(LevelModel):
    entry: ClassVar[ModelEntry] = ModelEntry(
        "test/ahead",
        "Looks ahead only",
        capabilities=Capabilities(prior=False, condition=False, missing_values=False, languages=()),
    )


class FillerOnly(LevelModel):
    entry: ClassVar[ModelEntry] = ModelEntry(
        "test/inside", "Looks inside only", capabilities=Capabilities(prior=False, forecast=False, languages=())
    )


def fitted(model, data):
    context = Context(data.num_series, data.channels, inputs=data.input_names)
    return Posterior.from_draws(model, context, data, {}, {}, method="solve", language="", seed=0)


@pytest.fixture
def data():
    """Two ragged series with holes in two channels."""
    rng = np.random.default_rng(3)
    values = [rng.normal(size=(40, 2)), 5.0 + rng.normal(size=(25, 2))]
    values[0][rng.random((40, 2)) < 0.2] = np.nan
    times = [np.sort(rng.uniform(0, 10, 40)), np.arange(25.0)]
    return Trajectories.from_arrays(times, values, series=["a", "b"], channels=["x", "y"])


def test_imputation_hides_what_the_hold_outs_hide(data):
    for task, holdout in (
        (Imputation(data, seed=4), hide_values(data, 0.3, 4)),
        (Imputation(data, fraction=0.2, pattern="blocks", length=3, seed=4), hide_blocks(data, 0.2, 3, 4)),
        (Imputation(data, fraction=0.1, pattern="rows", seed=4), hide_rows(data, 0.1, 4)),
    ):
        np.testing.assert_array_equal(task.hidden, holdout.hidden)
        assert task.train.equals(holdout.train)
        assert task.truth.equals(holdout.truth)


def test_imputation_describes_itself(data):
    task = Imputation(data, fraction=0.2, seed=7)
    count, observed = int(task.hidden.sum()), int(data.mask.sum())
    assert task.describe() == (
        f"imputation of {count} of {observed} observed values, hidden one by one (fraction 0.2, seed 7)"
    )
    assert repr(task) == f"<Imputation: {task.describe()}>"
    assert "in blocks of 2 rows" in Imputation(data, pattern="blocks").describe()


def test_train_and_truth_share_nothing(data):
    for task in (Imputation(data), Forecast(data, horizon=5)):
        assert int(task.train.mask.sum()) + int(task.hidden.sum()) == int(data.mask.sum())
        np.testing.assert_array_equal(task.truth.mask, task.hidden)
        np.testing.assert_array_equal(task.truth.values[task.hidden], data.values[task.hidden])


def test_forecast_cuts_the_last_observed_time_points_off(data):
    task = Forecast(data, horizon=5)
    for index, name in enumerate(("a", "b")):
        seen = data.times[index][data.mask[index].any(axis=1)]
        hidden = data.times[index][task.hidden[index].any(axis=1)]
        np.testing.assert_array_equal(hidden, seen[-5:])
        shown = task.train.select(series=name)
        assert shown.times[0, shown.lengths[0] - 1] < seen[-5]
    assert task.train.times.shape[1] < data.times.shape[1]


def test_forecast_keeps_names_dates_inputs_and_marks():
    days = np.datetime64("2020-01-30") + np.arange(12)
    data = Trajectories.from_arrays(
        days,
        np.arange(12.0),
        inputs=np.arange(12.0)[:, None] * 10,
        marks=np.arange(12),
        static={"age": [3.0]},
        channels=["x"],
        units={"x": "m"},
    )
    train = Forecast(data, horizon=4).train
    assert train.labels[0].tolist() == days[:8].astype(train.labels.dtype).tolist()
    assert train.time_origin == data.time_origin
    np.testing.assert_array_equal(train.times[0], data.times[0, :8])
    assert train.inputs is not None
    np.testing.assert_array_equal(train.inputs[0, :, 0], np.arange(8.0) * 10)
    assert train.marks is not None
    np.testing.assert_array_equal(train.marks[0], np.arange(8))
    assert (train.units, train.static["age"].tolist()) == ({"x": "m"}, [3.0])


def test_forecast_of_a_share_hides_that_share_of_each_series(data):
    task = Forecast(data, fraction=0.2)
    for index in range(2):
        points = int(data.mask[index].any(axis=1).sum())
        assert int(task.hidden[index].any(axis=1).sum()) == round(0.2 * points)


def test_series_too_short_to_cut_stays_whole():
    data = Trajectories.from_arrays([np.arange(20.0), np.arange(3.0)], [np.zeros(20), np.ones(3)])
    task = Forecast(data, horizon=5)
    assert task.hidden.any(axis=(1, 2)).tolist() == [True, False]
    assert task.train.lengths.tolist() == [15, 3]
    assert task.describe() == "forecast of the last 5 time points of 1 of 2 series: 5 of 23 observed values"


def test_equal_times_are_cut_together():
    times = np.array([0.0, 1.0, 2.0, 2.0])
    data = Trajectories.from_arrays(times, np.array([[0.0, np.nan], [1.0, 1.0], [2.0, np.nan], [np.nan, 5.0]]))
    task = Forecast(data, horizon=1)
    assert task.hidden.sum() == 2
    assert task.train.lengths.tolist() == [2]


def test_imputation_conditions_on_train_alone(data):
    task = Imputation(data, seed=1)
    Level.shown.clear()
    prediction = task.predict(fitted(LevelModel(), task.train), num_draws=3, seed=0)
    for observations in Level.shown:
        assert not observations.mask[task.hidden].any()
        assert (observations.values[task.hidden] == 0).all()
    expected = np.array([task.train.values[i][task.train.mask[i][:, 0], 0].mean() for i in range(2)])
    np.testing.assert_allclose(prediction.mean.values[:, 0, 0], expected)


def test_forecast_conditions_on_train_alone_and_answers_on_the_rows_of_the_data(data):
    task = Forecast(data, horizon=5)
    Level.shown.clear()
    prediction = task.predict(fitted(LevelModel(), task.train), num_draws=3, seed=0)
    for observations in Level.shown:
        assert observations.times.shape[-1] == task.train.times.shape[1]
    assert prediction.mean.shape == data.mask.shape
    asked = task.hidden.any(axis=2)
    assert np.isfinite(prediction.mean.values[asked]).all()
    np.testing.assert_array_equal(prediction.dataset["times"].values, data.times)
    np.testing.assert_array_equal(prediction.valid.values & data.mask.any(axis=2), asked)
    assert np.isnan(prediction.draws.values[:, ~prediction.valid.values]).all()
    assert prediction.draws.shape == (3, *data.mask.shape)


def test_forecast_gives_the_inputs_of_the_rows_that_were_cut_off():
    inputs = np.arange(10.0)[:, None]
    data = Trajectories.from_arrays(np.arange(10.0), np.zeros(10), inputs=inputs)
    task = Forecast(data, horizon=3)
    prediction = task.predict(fitted(LevelModel(), task.train), num_draws=2)
    assert prediction.mean.values[0, 7:, 0].tolist() == [7.0, 8.0, 9.0]


@pytest.mark.parametrize("task_of", [lambda d: Imputation(d, seed=2), lambda d: Forecast(d, fraction=0.25)])
def test_law_without_closed_form_gets_its_log_score_from_the_model(data, task_of):
    task = task_of(data)
    fits = {name: fitted(LevelModel(name), task.train) for name in ("gaussian", "draws")}
    comparison = compare(task, fits, num_draws=50)
    values = {(r["model"], r["score"]): r["value"] for r in comparison.records}
    assert values["draws", "log-score"] == pytest.approx(values["gaussian", "log-score"], rel=1e-12)
    assert not comparison.failures
    methods = comparison.methods().set_index(["model", "score"])["value"]
    assert methods["gaussian", "crps"] == "exact, Gaussian"
    assert methods["draws", "crps"] == "fair estimator from 50 draws"
    assert values["draws", "crps"] == pytest.approx(values["gaussian", "crps"], rel=0.1)


def test_models_are_asked_only_for_what_the_task_needs(data):
    ahead = Forecast(data.select(series="b"), horizon=4)
    inside = Imputation(data.select(series="b"), seed=0)
    assert not compare(ahead, {"m": fitted(ForecasterOnly(), ahead.train)}, num_draws=9).failures
    assert not compare(inside, {"m": fitted(FillerOnly(), inside.train)}, num_draws=9).failures
    refused = compare(inside, {"m": fitted(ForecasterOnly(), inside.train)}, num_draws=9).failures
    assert refused[0]["reason"].startswith(
        "task 'imputation' needs answers inside the data (imputation), which test/ahead"
    )
    with pytest.raises(CapabilityError, match="answers after the data"):
        ahead.check(FillerOnly())


def test_fit_that_saw_the_hidden_cells_is_refused(data):
    task = Imputation(data)
    comparison = compare(task, {"leak": fitted(LevelModel(), data)}, num_draws=9)
    assert comparison.failures[0]["reason"] == (
        "test/level was fitted to the data with nothing held out; fit it to `task.train`."
    )


REFUSED = {
    "pattern": (lambda d: Imputation(d, pattern="holes"), "`pattern` must be one of"),
    "length without blocks": (lambda d: Imputation(d, length=3), "`length` belongs to the pattern 'blocks'"),
    "fraction": (lambda d: Imputation(d, fraction=1.5), "`fraction` must be a number between 0 and 1; got 1.5"),
    "neither": (lambda d: Forecast(d), "exactly one of `horizon`"),
    "both": (lambda d: Forecast(d, horizon=2, fraction=0.1), "exactly one of `horizon`"),
    "horizon of nothing": (lambda d: Forecast(d, horizon=0), "whole number of time points, at least 1; got 0"),
    "horizon of half a row": (lambda d: Forecast(d, horizon=0.5), "whole number of time points"),
    "horizon beyond the data": (lambda d: Forecast(d, horizon=40), "the longest series has"),
    "share of everything": (lambda d: Forecast(d, fraction=1.0), "`fraction` must be a number between 0 and 1"),
    "snapshots": (
        lambda d: Imputation(Snapshots.from_arrays([0.0, 1.0], [np.zeros((3, 1)), np.ones((3, 1))])),
        "must be Trajectories; got Snapshots",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_task_names_what_does_not_fit(data, case):
    make, message = REFUSED[case]
    with pytest.raises(ArgumentError, match=message):
        make(data)
