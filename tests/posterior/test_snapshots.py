"""Populations go the one way: snapshots in, a fit, populations at any time out, saved and asked again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import dynplat as dp
from dynplat.arrays import Observations, asarray_like, to_numpy
from dynplat.errors import ArgumentError, CapabilityError, DataError
from dynplat.model import AbstractModel, observations_from, populations_of, rows_of
from dynplat.posterior import Posterior, forecast, impute, predict, simulate
from dynplat.process import AbstractPredictive, AbstractProcess, Draw
from dynplat.process.base import AbstractConditional
from dynplat.records import Capabilities, ModelEntry

CLAIMS = Capabilities(observations=("snapshots",), likelihood=True, multichannel=False, coherent=True)
RATE, LEVEL, SD, START = 0.7, 3.0, 0.4, 9.0


class Population(AbstractProcess):
    """Particles of an Ornstein-Uhlenbeck process that all start from one normal law: Gaussian at every time."""

    def __init__(self, start, level, rate, sd) -> None:
        self.start, self.level, self.rate, self.sd = start, level, rate, sd

    def moments(self, elapsed):
        """Mean and variance after `elapsed`, where the start has variance sd^2 (the stationary one)."""
        decay = to_numpy(self.rate) * 0 + np.exp(-to_numpy(self.rate) * elapsed)
        return to_numpy(self.level) + decay * to_numpy(self.start - self.level), to_numpy(self.sd) ** 2 + 0 * decay

    def log_prob_steps(self, observations):
        """Particles are independent given the parameters."""
        from array_api_compat import array_namespace

        xp = array_namespace(self.sd)
        elapsed = asarray_like(observations.times - observations.times[..., :1], self.sd)
        mean = self.level + xp.exp(-self.rate * elapsed) * (self.start - self.level)
        values = asarray_like(observations.values, self.sd)[..., 0]
        seen = asarray_like(observations.mask, self.sd)[..., 0]
        terms = -0.5 * ((values - mean) / self.sd) ** 2 - xp.log(self.sd) - 0.5 * float(np.log(2 * np.pi))
        return xp.where(seen, terms, 0.0)

    def sample(self, times, *, random, inputs=None):
        """Paths of new particles."""
        return Draw(Law(self, np.asarray(times), times[..., :1]).paths(random, ())[..., None])

    def condition(self, observations):
        """The population's law does not change: parameters carry what was seen."""
        return Conditional(self, np.asarray(observations.times)[..., :1])


class Conditional(AbstractConditional):
    """The population given its parameters."""

    def __init__(self, process, first) -> None:
        self.process, self.first = process, first

    def at(self, times, *, inputs=None):
        """Ask about times from the first snapshot on."""
        if (np.asarray(times) < self.first).any():
            raise ArgumentError("`times` lie before the first snapshot, where the law begins.")
        return Law(self.process, np.asarray(times), self.first)


class Law(AbstractPredictive):
    """A population at times."""

    family = "gaussian"

    def __init__(self, process, times, first) -> None:
        self.process, self.times, self.elapsed = process, times, times - np.asarray(first)

    def mean(self, of="observation"):
        """Means of the population."""
        return asarray_like(self.process.moments(self.elapsed)[0][..., None], self.process.sd)

    def variance(self, of="observation"):
        """Variances of the population."""
        return asarray_like(self.process.moments(self.elapsed)[1][..., None], self.process.sd)

    def paths(self, random, lead):
        """Whole paths of particles, (*lead, ..., series, query)."""
        gaps = np.diff(self.times, axis=-1, prepend=self.times[..., :1])
        mean, variance = self.process.moments(self.elapsed)
        noise = to_numpy(random.normal((*lead, *np.broadcast_shapes(mean.shape, gaps.shape))))
        decay = np.exp(-to_numpy(self.process.rate) * gaps)
        state, path = noise[..., 0], []
        for t in range(noise.shape[-1]):
            if t:
                state = decay[..., t] * state + np.sqrt(1 - decay[..., t] ** 2) * noise[..., t]
            path.append(state)
        return mean + np.sqrt(variance) * np.stack(path, axis=-1)

    def draws(self, num_draws, *, random, of="observation"):
        """Particles, each with its path."""
        return asarray_like(self.paths(random, (num_draws,))[..., None], self.process.sd)


@dataclass(frozen=True)
class Flock(AbstractModel):
    """Where the population starts and where it goes; rate and sd are known."""

    entry: ClassVar[ModelEntry] = ModelEntry("toy/flock", "A population", capabilities=CLAIMS)

    def prior(self, pp, context):
        location, scale = float(context["location"][0]), float(context["scale"][0])
        pp.sample("start", pp.dist.Normal(location, 10 * scale))
        pp.sample("level", pp.dist.Normal(location, 10 * scale))

    def process(self, sites, context):
        like = sites["start"]
        return Population(
            like[..., None], sites["level"][..., None], 0 * like[..., None] + RATE, 0 * like[..., None] + SD
        )

    def solve(self, observations, context, *, seed):
        """Least squares, which is maximum likelihood here."""
        decay = np.exp(-RATE * (observations.times[0] - observations.times[0, 0]))
        design = np.stack([decay, 1 - decay], axis=1)
        start, level = np.linalg.lstsq(design, observations.values[0, :, 0], rcond=None)[0]
        return {"start": np.array([start]), "level": np.array([level])}


@pytest.fixture(scope="module")
def snapshots() -> dp.Snapshots:
    """Three populations of different sizes."""
    rng = np.random.default_rng(0)
    return dp.Snapshots.from_arrays(
        [1.0, 2.0, 4.0],
        [
            LEVEL + np.exp(-RATE * (t - 1.0)) * (START - LEVEL) + SD * rng.normal(size=n)
            for t, n in ((1, 300), (2, 200), (4, 250))
        ],
        channels=["height"],
        time_unit="s",
    )


@pytest.fixture(scope="module")
def fitted(snapshots) -> Posterior:
    """The closed form."""
    return dp.fit(Flock(), snapshots, "solve", seed=0)


def test_rows_are_taken_apart_into_populations(snapshots):
    found = populations_of(observations_from(snapshots))
    np.testing.assert_array_equal(found.times, snapshots.times)
    assert len(found.particles) == len(snapshots.populations)
    for ours, theirs in zip(found.particles, snapshots.populations, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_observations_that_are_no_populations_are_refused():
    times, values = np.array([[0.0, 0.0, 1.0]]), np.zeros((1, 3, 2))
    mask = np.ones(values.shape, dtype=bool)
    with pytest.raises(DataError, match=r"rows are particles; got times of shape \(2, 3\)"):
        populations_of(Observations(np.zeros((2, 3)), np.zeros((2, 3, 2)), np.ones((2, 3, 2), dtype=bool)))
    with pytest.raises(DataError, match=r"rows are particles; got times of shape \(1, 0\)"):
        populations_of(Observations(np.zeros((1, 0)), np.zeros((1, 0, 2)), np.ones((1, 0, 2), dtype=bool)))
    with pytest.raises(DataError, match="row 2 is at 1, after one at 2"):
        populations_of(Observations(np.array([[0.0, 2.0, 1.0]]), values, mask))
    mask[0, 1, 1] = False
    with pytest.raises(DataError, match="row 1 is not observed in channel 1"):
        populations_of(Observations(times, values, mask))


def test_particles_are_the_rows_of_one_series(snapshots):
    seen = observations_from(snapshots)
    assert seen.times.shape == (1, 750)
    assert seen.values.shape == (1, 750, 1)
    assert seen.mask.all()
    assert (np.diff(seen.times) >= 0).all()
    for time, population in zip(snapshots.times, snapshots.populations, strict=True):
        assert np.array_equal(seen.values[seen.times == time], population)
    rows = rows_of(snapshots)
    assert (rows.series, rows.channels, rows.time_unit) == (("population",), ("height",), "s")
    assert rows_of(rows) is rows


def test_dates_and_empty_populations_keep_their_places():
    days = np.array(["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"], "M8[D]")
    data = dp.Snapshots.from_arrays(days, [np.ones(2), np.zeros((0, 1)), np.ones(3), np.ones(1)])
    rows = rows_of(data)
    assert rows.labels.astype("M8[D]").tolist() == [days[[0, 0, 2, 2, 2, 3]].tolist()]
    assert np.array_equal(rows.times[0], data.times[[0, 0, 2, 2, 2, 3]])


@pytest.mark.parametrize(("inference", "language"), [("solve", "numpyro"), ("map", "pyro"), ("mle", "numpyro")])
def test_a_population_is_fitted_and_asked_at_any_time(snapshots, inference, language):
    fit = dp.fit(Flock(), snapshots, inference, seed=0, language=language)
    assert fit.data is snapshots
    error = SD / np.sqrt(200)
    start, level = (float(fit.tree["posterior"][name].values.mean()) for name in ("start", "level"))
    assert abs(start - START) < 5 * error
    assert abs(level - LEVEL) < 5 * error
    assert fit.log_likelihood_steps is not None
    assert fit.log_likelihood_steps.shape == (1, 1, 1, 750)
    # Between two snapshots, at one, and after them: in any order.
    asked = dp.predict(fit, [3.0, 2.0, 6.0], num_draws=500, seed=1)
    assert asked.draws.dims == ("sample", "series", "time", "channel")
    assert asked.draws.shape == (500, 1, 3, 1)
    assert asked.dataset["series"].values.tolist() == ["population"]
    truth = level + np.exp(-RATE * np.array([2.0, 1.0, 5.0])) * (start - level)
    assert np.allclose(asked.mean.values[0, :, 0], truth, rtol=1e-6)
    assert np.allclose(asked.sd.values, SD, rtol=1e-6)
    assert np.abs(asked.draws.values.mean(axis=0)[0, :, 0] - truth).max() < 5 * SD / np.sqrt(500)
    # A draw is a particle with its path: heights at 2 and 3 have the correlation of the process.
    paths = asked.draws.values[:, 0, :, 0]
    assert abs(np.corrcoef(paths[:, 0], paths[:, 1])[0, 1] - np.exp(-RATE)) < 0.15


def test_the_future_of_a_population(fitted):
    ahead = forecast(fitted, horizon=2, num_draws=10)
    # Snapshots, not particles, show the step: 1 and 2.
    assert ahead.dataset["times"].values.tolist() == [[5.5, 7.0]]
    assert forecast(fitted, times=[4.5], num_draws=3).draws.shape == (3, 1, 1, 1)
    with pytest.raises(ArgumentError, match="must lie after the last row of each series"):
        forecast(fitted, times=[4.0])


def test_dates_of_snapshots_go_on_along_their_calendar():
    days = np.array(["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"], "M8[D]")
    data = dp.Snapshots.from_arrays(days, [np.random.default_rng(i).normal(size=5) for i in range(4)])
    ahead = forecast(dp.fit(Flock(), data, "solve"), horizon=2, num_draws=2)
    assert (
        ahead.dataset["time"].values.astype("M8[D]").tolist()
        == np.array(["2024-05-31", "2024-06-30"], "M8[D]").tolist()
    )


def test_a_fit_to_snapshots_is_saved_and_asked_again(fitted, snapshots, tmp_path):
    fitted.save(tmp_path / "fit.nc")
    loaded = Posterior.load(tmp_path / "fit.nc", lambda _, options: Flock(**options))
    assert loaded.data.equals(snapshots)
    assert isinstance(loaded.data, dp.Snapshots)
    first, second = (predict(which, [1.5, 9.0], num_draws=7, seed=3) for which in (fitted, loaded))
    assert np.array_equal(first.draws.values, second.draws.values)
    observed = loaded.tree["observed_data"]["y"]
    assert observed.shape == (1, 750, 1)
    assert loaded.with_prediction(first).tree["predictions"]["y"].shape[1:] == (7, 1, 2, 1)


def test_other_snapshots_are_conditioned_on(fitted, snapshots):
    later = snapshots.select_times([1, 2])
    asked = predict(fitted, [2.0], data=later, num_draws=2)
    # The toy's law begins at the first snapshot that it is given.
    start = float(fitted.tree["posterior"]["start"].values.mean())
    assert np.allclose(asked.mean.values, start)
    with pytest.raises(
        ArgumentError, match="`data` must be Snapshots, as those that the model was fitted to; got Traj"
    ):
        predict(fitted, [2.0], data=dp.Trajectories.from_arrays([1.0, 2.0], [1.0, 2.0]))
    other = dp.Snapshots.from_arrays([1.0, 2.0], [np.ones(2), np.ones(2)], channels=["width"], time_unit="s")
    with pytest.raises(ArgumentError, match="must have the channels"):
        predict(fitted, [2.0], data=other)


def test_questions_that_populations_do_not_answer_are_refused(fitted, snapshots):
    with pytest.raises(ArgumentError, match="before the first snapshot"):
        predict(fitted, [0.5])
    with pytest.raises(CapabilityError, match="particles of snapshots have no identity"):
        impute(fitted)
    with pytest.raises(ArgumentError, match="particles of snapshots have no identity"):
        fitted.with_prediction(predict(fitted, [1.0]), "posterior_predictive")
    with pytest.raises(CapabilityError, match="snapshots are one population"):
        dp.fit(Flock(), snapshots, "train")
    with pytest.raises(CapabilityError, match="takes snapshots; inference 'solve' came with trajectories"):
        dp.fit(Flock(), rows_of(snapshots), "solve")
    wide = dp.Snapshots.from_arrays([0.0, 1.0], [np.ones((3, 2)), np.ones((3, 2))])
    with pytest.raises(CapabilityError, match="one channel, and the data have 2"):
        dp.fit(Flock(), wide, "solve")


def test_new_particles_are_simulated(fitted):
    drawn = simulate(fitted, [1.0, 1.5], num_draws=400, seed=2)
    assert drawn.draws.shape == (400, 1, 2, 1)
    assert abs(float(drawn.mean.values[0, 0, 0]) - START) < 0.2
