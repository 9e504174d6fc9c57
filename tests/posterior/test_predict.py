from __future__ import annotations

import importlib

import numpy as np
import pytest
from scipy import stats

from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, CapabilityError, InferenceError
from dynplat.posterior import forecast, impute, predict, simulate


def closed_form(posterior, data, tau=None):
    """Means and variances of the observation given each parameter draw, (draw, series, channel), by hand."""
    sites = posterior.sites(np.asarray)
    tau = 2.0 if tau is None else tau
    count = data.mask.sum(axis=1)
    total = np.where(data.mask, data.values, 0.0).sum(axis=1)
    mu, sigma = sites["mu"], sites["sigma"]
    precision = 1 / tau**2 + count / sigma**2
    mean = mu + (total - count * mu) / sigma**2 / precision
    return mean, 1 / precision + sigma**2


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_impute_equals_closed_form_mixture(fit, ragged, name) -> None:
    posterior = fit(ragged)
    prediction = impute(posterior, framework=name, num_draws=10)
    mean, variance = closed_form(posterior, ragged)
    valid = ragged.rows[:, :, None]
    components = prediction.dataset["component_mean"].values
    np.testing.assert_allclose(
        components, np.where(valid, np.broadcast_to(mean[:, :, None], components.shape), np.nan), rtol=1e-12
    )
    expected_sd = np.sqrt(variance.mean(0) + mean.var(0))[:, None]
    np.testing.assert_allclose(
        prediction.sd.values, np.where(valid, np.broadcast_to(expected_sd, (*valid.shape[:2], 2)), np.nan), rtol=1e-12
    )
    assert prediction.dataset.sizes["component"] == 80


def test_impute_keeps_rows_and_coordinates(fit, ragged, single) -> None:
    prediction = impute(fit(ragged), num_draws=0)
    assert prediction.valid.values.tolist() == ragged.rows.tolist()
    np.testing.assert_array_equal(prediction.dataset["date"].values, ragged.labels)
    assert list(prediction.dataset["series"].values) == ["north", "south", "east"]
    assert "draws" not in prediction.dataset
    shared = impute(fit(single), num_draws=0)
    np.testing.assert_array_equal(shared.dataset["time"].values, single.times[0])


def test_joint_draws_have_the_law_of_the_mixture(fit, single) -> None:
    # 20 000 draws: means and covariance within 5 standard errors; false-alarm probability below 1e-4.
    posterior = fit(single)
    prediction = predict(posterior, [0.5, 9.0], num_draws=20_000, framework="torch")
    draws = prediction.draws.values[:, 0, :, 0]
    mean, variance = (part[:, 0, 0] for part in closed_form(posterior, single))
    level_variance = variance - posterior.sites(np.asarray)["sigma"][:, 0, 0] ** 2
    total = variance.mean() + mean.var()
    shared = level_variance.mean() + mean.var()
    assert draws.mean(axis=0) == pytest.approx(np.full(2, mean.mean()), abs=5 * np.sqrt(total / 20_000))
    covariance = np.cov(draws.T)
    error = 5 * total * np.sqrt(3 / 20_000)
    assert covariance == pytest.approx(np.array([[total, shared], [shared, total]]), abs=error)


def test_draws_take_every_component_equally_often(fit, single, conjugate) -> None:
    posterior = fit(single, chains=1, draws=5)
    assert predict(posterior, [1.0], num_draws=12).draws.shape == (12, 1, 1, 1)
    assert predict(posterior, [1.0], num_draws=3).draws.shape == (3, 1, 1, 1)
    assert predict(posterior, [1.0], num_draws=12).dataset.sizes["component"] == 5
    assert predict(posterior, [1.0], num_draws=0, max_components=2).dataset.sizes["component"] == 2


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_same_seed_gives_same_draws_and_another_seed_others(fit, single, name) -> None:
    posterior = fit(single)
    one, again, other = (predict(posterior, [1.0, 2.0], framework=name, seed=s).draws.values for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).all()


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_chunks_leave_the_components_unchanged(fit, ragged, name, monkeypatch) -> None:
    posterior = fit(ragged, local=True)
    whole = impute(posterior, framework=name, num_draws=100)
    # 18 rows per series and draw: two series per block, three parameter draws per chunk, the last one short.
    monkeypatch.setattr("dynplat.posterior.ask.ROWS_PER_CALL", 39)
    parts = impute(posterior, framework=name, num_draws=100)
    for variable in ("component_mean", "component_sd"):
        np.testing.assert_allclose(parts.dataset[variable], whole.dataset[variable], rtol=1e-12)
    assert len(np.unique(parts.draws.values[:, 0, 0, 0])) == 100


def test_one_compiled_program_serves_all_chunks(fit, single, conjugate, monkeypatch) -> None:
    traced = []

    class Counted(conjugate.Level):
        def process(self, sites, context):
            traced.append(sites["mu"].shape)
            return super().process(sites, context)

    posterior = fit(single, model=Counted())
    monkeypatch.setattr("dynplat.posterior.ask.ROWS_PER_CALL", 100)
    prediction = impute(posterior, framework="jax", num_draws=80)
    # 14 rows per draw: seven draws per chunk, twelve chunks, one trace.
    assert traced == [(7, 1, 1)]
    assert len(np.unique(prediction.draws.values[:, 0, 0, 0])) == 80


def test_process_that_cannot_be_traced_runs_uncompiled(fit, single, conjugate) -> None:
    class Concrete(conjugate.Level):
        def process(self, sites, context):
            assert float(np.asarray(sites["sigma"]).min()) > 0
            return super().process(sites, context)

    posterior = fit(single, model=Concrete())
    components = impute(posterior, framework="jax", num_draws=0).dataset["component_mean"]
    np.testing.assert_allclose(components, impute(posterior, num_draws=0).dataset["component_mean"], rtol=1e-12)


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_numbers_that_are_not_finite_are_an_error(fit, single, conjugate, name) -> None:
    class Broken(conjugate.Level):
        def process(self, sites, context):
            return super().process({**sites, "mu": sites["mu"] * float("nan")}, context)

    with pytest.raises(InferenceError, match=r"toy/level gave 560 of 560 values of `mean` that are not finite"):
        impute(fit(single, model=Broken()), framework=name)


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_single_precision_is_close_to_double(fit, single, name) -> None:
    posterior = fit(single)
    coarse, fine = (impute(posterior, framework=name, dtype=d, num_draws=0).mean for d in ("float32", "float64"))
    np.testing.assert_allclose(coarse, fine, rtol=1e-5)
    assert not np.array_equal(coarse, fine)


def test_dates_beyond_nanoseconds_share_a_clock(fit) -> None:
    first = Trajectories.from_arrays(np.array(["1610-01-01", "1610-06-01"], "M8[us]"), [1.0, 2.0])
    other = Trajectories.from_arrays(np.array(["2020-01-01", "2020-01-02T12:00"], "M8[ns]"), [3.0, 4.0])
    for fitted, asked in ((first, other), (other, first)):
        prediction = impute(fit(fitted), data=asked, num_draws=0)
        np.testing.assert_array_equal(prediction.dataset["time"].values, asked.labels[0])


def test_language_of_the_fit_chooses_the_framework(fit, single, conjugate, monkeypatch) -> None:
    # The function `predict` hides its module's name in the package.
    module = importlib.import_module("dynplat.posterior.predict")
    used, real = [], module.ask

    def spy(model, context, sites, local, question, engine):
        used.append(engine.framework)
        return real(model, context, sites, local, question, engine._replace(framework="numpy"))

    monkeypatch.setattr(module, "ask", spy)
    for language in ("numpyro", "pyro", ""):
        impute(fit(single, language=language), num_draws=0)
    assert used == ["jax", "torch", "numpy"]


def test_local_sites_reach_their_series(fit, ragged) -> None:
    posterior = fit(ragged, local=True)
    tau = posterior.sites(np.asarray)["tau"][:, :, None]
    mean, _ = closed_form(posterior, ragged, tau)
    np.testing.assert_allclose(impute(posterior, num_draws=0).dataset["component_mean"][:, :, 0], mean, rtol=1e-12)
    chosen = impute(posterior, num_draws=0, series=["east", "north"])
    np.testing.assert_allclose(chosen.dataset["component_mean"][:, :, 0], mean[:, [2, 0]], rtol=1e-12)
    assert list(chosen.dataset["series"].values) == ["east", "north"]


def test_queries_come_back_in_the_order_asked(fit, single) -> None:
    posterior = fit(single)
    shuffled = predict(
        posterior, [3.0, 0.0, 8.0, 1.0], num_draws=4, values=np.array([[3.0], [0.0], [8.0], [1.0]])[None]
    )
    np.testing.assert_array_equal(shuffled.dataset["times"].values, [[3.0, 0.0, 8.0, 1.0]])
    np.testing.assert_array_equal(shuffled.dataset["log_density_values"].values[0, :, 0], [3.0, 0.0, 8.0, 1.0])
    expected = shuffled.log_density(shuffled.dataset["times"].values[..., None])
    np.testing.assert_allclose(shuffled.dataset["log_density"], expected, rtol=1e-12)


def test_queries_of_different_number_per_series_are_padded(fit, ragged) -> None:
    asked = [["2020-02-03", "2020-01-02"], ["2020-01-05"], ["2020-03-01", "2020-03-02", "2020-03-03"]]
    prediction = predict(fit(ragged), asked, num_draws=2)
    assert prediction.valid.values.tolist() == [[True, True, False], [True, False, False], [True, True, True]]
    assert np.isnan(prediction.mean.values[1, 1:]).all()
    assert prediction.dataset["date"].values[0, 0] == np.datetime64("2020-02-03")
    assert len(prediction.to_frame()) == 6 * 2


def test_signal_is_the_observation_without_noise(fit, single) -> None:
    posterior = fit(single)
    seen, signal = (predict(posterior, [1.0], of=of, num_draws=0).dataset for of in ("observation", "signal"))
    sigma = posterior.sites(np.asarray)["sigma"][:, :, None]
    np.testing.assert_allclose(seen["component_sd"] ** 2 - signal["component_sd"] ** 2, sigma**2, rtol=1e-10)


def test_law_that_is_not_gaussian_answers_from_draws_and_densities(fit, single, conjugate) -> None:
    posterior = fit(single, model=conjugate.Level(gaussian=False))
    exact = predict(fit(single), [1.0, 2.0], num_draws=0)
    values = np.array([[2.0], [np.nan]])
    prediction = predict(posterior, [1.0, 2.0], num_draws=4000, values=values)
    assert not prediction.is_mixture
    np.testing.assert_allclose(prediction.mean, exact.mean, rtol=1e-12)
    np.testing.assert_allclose(prediction.sd, exact.sd, rtol=1e-12)
    np.testing.assert_allclose(prediction.log_density(values), exact.log_density(values), rtol=1e-12)
    # Quantile of 4000 draws: 5 standard errors of an order statistic; false-alarm probability below 1e-5.
    low = exact.quantile(0.25).values - prediction.quantile(0.25).values
    density = np.exp(exact.log_density(exact.quantile(0.25).values).values)
    assert (np.abs(low) < 5 * np.sqrt(0.25 * 0.75 / 4000) / density).all()
    with pytest.raises(CapabilityError, match="at the values that `predict` was given"):
        prediction.log_density(values + 1)
    with pytest.raises(CapabilityError, match="no closed form"):
        predict(posterior, [1.0]).log_density(0.0)


def test_forecast_continues_each_series(fit, ragged, single) -> None:
    prediction = forecast(fit(ragged), horizon=3, num_draws=0)
    for index, length in enumerate(ragged.lengths):
        own = np.diff(ragged.times[index, :length])
        pooled = np.concatenate([np.diff(t[:n]) for t, n in zip(ragged.times, ragged.lengths, strict=True)])
        step = np.median(own if own.size else pooled)
        expected = ragged.times[index, length - 1] + step * np.arange(1, 4)
        np.testing.assert_allclose(prediction.dataset["times"].values[index], expected, rtol=1e-12)
    np.testing.assert_allclose(forecast(fit(single), horizon=2).dataset["time"], [6.0, 7.0])


@pytest.mark.parametrize("step", ["MS", "QE", "YS", "B", "W-SAT", "6h"])
def test_forecast_follows_the_calendar(fit, step) -> None:
    import pandas as pd

    dates = pd.date_range("2000-01-31", periods=12, freq=step)
    data = Trajectories.from_arrays(dates, np.arange(12.0))
    ahead = forecast(fit(data), horizon=2, num_draws=0).dataset["time"].values
    expected = pd.date_range(dates[-1], periods=3, freq=step)[1:]
    np.testing.assert_array_equal(ahead, expected.to_numpy())


def test_forecast_crosses_a_change_of_the_clock_in_a_time_zone(fit) -> None:
    import pandas as pd

    dates = pd.date_range("2021-03-20", periods=8, freq="D", tz="Europe/Berlin")
    data = Trajectories.from_long(pd.DataFrame({"when": dates, "y": np.arange(8.0)}), time="when")
    ahead = forecast(fit(data), horizon=2, num_draws=0).dataset["time"].values
    expected = pd.date_range("2021-03-28", periods=2, freq="D", tz="Europe/Berlin").tz_convert("UTC").tz_localize(None)
    np.testing.assert_array_equal(ahead, expected.to_numpy())


def test_other_data_are_conditioned_on_their_own_clock(fit, conjugate) -> None:
    first = Trajectories.from_arrays(np.array(["2020-01-01", "2020-01-02"], "M8[ns]"), [1.0, 2.0])
    other = Trajectories.from_arrays(
        np.array(["2021-05-01T06:00", "2021-05-03"], "M8[ns]"), [7.0, 9.0], time_unit="h", series=["new"]
    )
    posterior = fit(first)
    prediction = impute(posterior, data=other, num_draws=0)
    mean, _ = closed_form(posterior, other)
    np.testing.assert_allclose(prediction.dataset["component_mean"][:, :, 0], mean, rtol=1e-12)
    np.testing.assert_array_equal(prediction.dataset["time"].values, other.labels[0])
    assert prediction.dataset["times"].values[0, 0] == pytest.approx(486.25)


def test_simulate_draws_new_levels(fit, single, conjugate) -> None:
    # Two rows share a level: their covariance over trajectories is tau^2 + Var(mu). 5 standard errors.
    posterior = fit(single)
    prediction = simulate(posterior, [0.0, 10.0], num_draws=8000, framework="torch")
    draws = prediction.draws.values[:, 0, :, 0]
    sites = posterior.sites(np.asarray)
    shared = 4.0 + sites["mu"].var()
    total = shared + (sites["sigma"] ** 2).mean()
    expected = np.array([[total, shared], [shared, total]])
    assert np.cov(draws.T) == pytest.approx(expected, abs=5 * total * np.sqrt(3 / 8000))
    states = simulate(posterior, [0.0, 10.0], num_draws=5, of="state")
    assert list(states.dataset["channel"].values) == ["state0"]
    np.testing.assert_array_equal(states.draws[..., 0, :], states.draws[..., 1, :])


def test_probability_integral_of_held_out_values_is_uniform(fit, conjugate) -> None:
    # 400 values from the model at one known parameter draw; Kolmogorov-Smirnov at a false-alarm probability of 1e-4.
    rng = np.random.default_rng(8)
    level = 9 + 2.0 * rng.standard_normal((400, 1, 1))
    values = level + 0.5 * rng.standard_normal((400, 4, 1))
    data = Trajectories.from_arrays(np.arange(4.0), values)
    hidden = np.zeros(values.shape, dtype=bool)
    hidden[:, 2] = True
    posterior = fit(data.hide(hidden), chains=1, draws=1)
    for name, number in (("mu", 9.0), ("sigma", 0.5)):
        posterior.tree["posterior"][name].values[:] = number
    pit = impute(posterior, num_draws=0).cdf(values).values[:, 2, 0]
    assert stats.kstest(pit, "uniform").pvalue > 1e-4


def test_requests_that_the_model_does_not_offer_are_refused(fit, single, ragged, conjugate) -> None:
    blind = fit(single, model=conjugate.Blind())
    with pytest.raises(CapabilityError, match=r"`predict` needs answers inside the data.*and answers after the data"):
        predict(blind, [1.0, 100.0])
    with pytest.raises(CapabilityError, match="`impute` needs answers inside"):
        impute(blind)
    with pytest.raises(CapabilityError, match="latent states"):
        predict(blind, [100.0], of="state")
    simulate(blind, [1.0], num_draws=2)
    other = ragged.select(series=["south", "east"])
    local = fit(other, local=True)
    with pytest.raises(CapabilityError, match=r"'north' was not among the fitted ones.*tau.*not offered yet"):
        impute(local, data=ragged)
    known = impute(local, data=ragged.select(series=["south"]), num_draws=0)
    np.testing.assert_allclose(known.mean.values, impute(local, num_draws=0).mean.values[:1, :5], rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"times": [1.0, np.nan]}, "`times` must be finite"),
        ({"times": np.zeros((3, 2))}, "`times` must be"),
        ({"times": [1.0], "of": "signals"}, "`of` must be one of"),
        ({"times": [1.0], "num_draws": -1}, "`num_draws` must be an integer of at least 0"),
        ({"times": [1.0], "max_components": 0}, "`max_components` must be an integer of at least 1"),
        ({"times": [1.0], "inputs": [[1.0]]}, "fitted without any"),
        ({"times": [1.0], "values": np.zeros((2, 5, 1))}, "`values` must be numbers that broadcast"),
        ({"times": [1.0], "values": 0.0, "of": "signal"}, "`values` are observations"),
        ({"times": [1.0], "framework": "tensorflow"}, "'numpy', 'torch' or 'jax'"),
        ({"times": [1.0], "dtype": "float16"}, "'float64' or 'float32'"),
    ],
    ids=str,
)
def test_wrong_arguments_are_named(fit, single, options, message) -> None:
    times = options.pop("times")
    with pytest.raises(ArgumentError, match=message):
        predict(fit(single), times, **options)


def test_wrong_forecasts_are_named(fit, single) -> None:
    posterior = fit(single)
    with pytest.raises(ArgumentError, match=r"either `horizon`"):
        forecast(posterior)
    with pytest.raises(ArgumentError, match=r"must lie after the last row.*ends at 5\.0"):
        forecast(posterior, times=[4.0, 6.0])
    with pytest.raises(ArgumentError, match="positive number of rows"):
        forecast(posterior, horizon=0)
    lone = Trajectories.from_arrays([3.0], [1.0])
    with pytest.raises(ArgumentError, match="no series has two rows"):
        forecast(fit(lone), horizon=2)


def test_other_data_must_fit(fit, single, ragged) -> None:
    with pytest.raises(ArgumentError, match="channels that the model was fitted to"):
        impute(fit(ragged), data=ragged.select(channels=["flow", "heat"]))
    with pytest.raises(ArgumentError, match="plain numbers"):
        impute(fit(single), data=Trajectories.from_arrays(np.array(["2020-01-01"], "M8[ns]"), [1.0]))
    with pytest.raises(ArgumentError, match=r"'s'.*'h'"):
        impute(fit(single), data=Trajectories.from_arrays([0.0], [1.0], time_unit="h"))
    bare = Trajectories.from_arrays(
        ragged.times,
        ragged.values,
        channels=ragged.channels,
        time_origin="2020-01-02",
        lengths=ragged.lengths,
    )
    with pytest.raises(ArgumentError, match=r"static covariates.*height"):
        impute(fit(ragged), data=bare)
