"""End to end with a process of the core: a local level seen at irregular times, against the dense Gaussian law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from dynplat.arrays import array_namespace
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError
from dynplat.model import AbstractModel, SiteInfo, summarise
from dynplat.posterior import Posterior, forecast, impute, predict, simulate
from dynplat.process import LinearSDE
from dynplat.process.dynamics import IntegratedWiener
from dynplat.records import Capabilities, ModelEntry

START_SD = 3.0


@dataclass(frozen=True)
class LocalLevel(AbstractModel):
    entry = ModelEntry("toy/local-level", "A local level", capabilities=Capabilities(states=True))

    def process(self, sites, context):
        walk, noise = sites["walk_sd"], sites["noise_sd"]
        xp = array_namespace(walk)
        ones = xp.ones_like(walk)[..., None]
        start = START_SD**2 * ones[..., None]
        return LinearSDE(IntegratedWiener(0, walk), ones[..., None], noise[..., None, None] ** 2, 0 * ones, start)


@pytest.fixture(scope="module")
def data() -> Trajectories:
    rng = np.random.default_rng(2)
    times = [np.cumsum(rng.exponential(1.0, n)) for n in (12, 7)]
    values = [np.cumsum(rng.standard_normal(len(t))) for t in times]
    values[0][[3, 4, 11]] = np.nan
    values[1][1] = np.nan
    return Trajectories.from_arrays(times, values)


def posterior_of(data, language, count=4):
    rng = np.random.default_rng(9)
    draws = {name: rng.gamma(5.0, 0.1, (1, count)) for name in ("walk_sd", "noise_sd")}
    infos = {name: SiteInfo(name, "sample", (), False) for name in draws}
    return Posterior.from_draws(
        LocalLevel(), summarise(data), data, draws, infos, method="nuts", language=language, seed=0
    )


def dense(data, index, times, walk, noise):
    """Mean and covariance of noise-free levels at `times` given one series, by conditioning the joint Gaussian law."""
    length = data.lengths[index]
    seen = data.mask[index, :length, 0]
    known, y = data.times[index, :length][seen], data.values[index, :length, 0][seen]
    start = data.times[index, 0]

    def cov(a, b):
        return START_SD**2 + walk**2 * (np.minimum.outer(a, b) - start)

    gain = np.linalg.solve(cov(known, known) + noise**2 * np.eye(len(known)), cov(known, times)).T
    return gain @ y, cov(times, times) - gain @ cov(known, times)


@pytest.mark.parametrize("language", ["numpyro", "pyro"])
def test_every_question_equals_the_dense_law(data, language) -> None:
    posterior = posterior_of(data, language)
    sites = posterior.sites(np.asarray)
    questions = [
        impute(posterior, num_draws=0),
        forecast(posterior, horizon=3, num_draws=0, of="signal"),
        # Unordered, twice the same, at, between and after rows.
        predict(posterior, [30.0, 8.5, 8.5, float(data.times[0, 5]), float(data.times[1, 0]) + 5], num_draws=0),
    ]
    for prediction in questions:
        noisy = prediction.dataset.attrs["of"] == "observation"
        for index in range(data.num_series):
            valid = prediction.valid.values[index]
            times = prediction.dataset["times"].values[index, valid]
            for component in range(4):
                walk, noise = (sites[name][component, 0] for name in ("walk_sd", "noise_sd"))
                mean, cov = dense(data, index, times, walk, noise)
                found = prediction.dataset.isel(
                    component=component, series=index, channel=0, time=np.flatnonzero(valid)
                )
                np.testing.assert_allclose(found["component_mean"], mean, rtol=1e-8, atol=1e-9)
                sd = np.sqrt(np.diag(cov) + noise**2 * noisy)
                np.testing.assert_allclose(found["component_sd"], sd, rtol=1e-7)


@pytest.mark.parametrize("language", ["numpyro", "pyro"])
def test_joint_draws_have_the_dense_covariance(data, language) -> None:
    # 20 000 draws at one parameter draw: entries within 5 standard errors, false-alarm probability below 1e-4.
    posterior = posterior_of(data, language, count=1)
    times = [6.0, 9.0, 20.0]
    draws = predict(posterior, times, num_draws=20_000, of="signal", series=["0"]).draws.values[:, 0, :, 0]
    sites = posterior.sites(np.asarray)
    mean, cov = dense(data, 0, np.array(times), sites["walk_sd"][0, 0], sites["noise_sd"][0, 0])
    spread = np.sqrt(np.diag(cov))
    assert (np.abs(draws.mean(axis=0) - mean) < 5 * spread / np.sqrt(20_000)).all()
    assert (np.abs(np.cov(draws.T) - cov) < 5 * np.outer(spread, spread) * np.sqrt(2 / 20_000)).all()


def test_frameworks_agree_and_saved_fits_too(data, tmp_path) -> None:
    posterior = posterior_of(data, "numpyro")
    one, other = (impute(posterior, framework=name, num_draws=0) for name in ("jax", "torch"))
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-9, atol=1e-12)
    posterior.save(tmp_path / "fit.nc")
    again = Posterior.load(tmp_path / "fit.nc", lambda id, options: LocalLevel(**options))
    assert impute(again, framework="torch", num_draws=0).dataset.identical(other.dataset)


def test_simulation_starts_at_the_first_time(data) -> None:
    # Var y(t) = START_SD^2 + walk^2 (t - t0) + noise^2 averaged over the parameters; 5 standard errors.
    posterior = posterior_of(data, "pyro")
    draws = simulate(posterior, [2.0, 5.0], num_draws=8000).draws.values[..., 0]
    sites = posterior.sites(np.asarray)
    walk, noise = ((sites[name] ** 2).mean() for name in ("walk_sd", "noise_sd"))
    expected = START_SD**2 + walk * np.array([0.0, 3.0]) + noise
    assert (np.abs(draws.var(axis=0) / expected - 1) < 5 * np.sqrt(2 / 8000)).all()


def test_time_before_the_law_starts_is_refused(data) -> None:
    with pytest.raises(ArgumentError, match="before the first row"):
        predict(posterior_of(data, "pyro"), [-1.0])
    with pytest.raises(ArgumentError, match="before the first row"):
        predict(posterior_of(data, "numpyro"), [-1.0])
