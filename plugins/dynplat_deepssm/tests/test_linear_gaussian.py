"""`deepssm/linear-gaussian`: against the dense Gaussian process, and what its prior covers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm, solve_continuous_lyapunov
from scipy.stats import multivariate_normal

import dynplat as dp
from dynplat.arrays import Observations, framework, to_numpy
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError
from dynplat.testing.subject import Subject
from dynplat_deepssm.linear_gaussian import LinearGaussianSSM


def irregular(seed=0, lengths=(30, 18), channels=2):
    """Ragged series at irregular times, with holes in single cells and one row without anything."""
    rng = np.random.default_rng(seed)
    times = [np.cumsum(rng.exponential(1.0, size) + 0.01) for size in lengths]
    values = [3.0 + rng.standard_normal((size, channels)).cumsum(axis=0) for size in lengths]
    for block in values:
        block[rng.random(block.shape) < 0.2] = np.nan
        block[4] = np.nan
    return Trajectories.from_arrays(times, values)


def drawn(model, context, seed):
    """A point of the prior, in the form that processes take."""
    rng = np.random.default_rng(seed)
    sites = {name: context[name] * np.exp(0.5 * rng.standard_normal(model.num_modes)) for name in ("rate", "frequency")}
    sites |= {name: context[name] * rng.uniform(0.5, 2.0, context[name].shape) for name in ("loading", "readout")}
    sites |= {"mean": context["location"], "noise_sd": 0.3 * context["scale"]}
    return {name: value[None] for name, value in sites.items()}


def dense(sites, times):
    """Covariance (time, channel, time, channel) of the signal: H e^{A tau} P H', P from SciPy's Lyapunov equation."""
    rate, frequency = sites["rate"][0], 2 * np.pi * sites["frequency"][0]
    loading, readout = (sites[name][0, ..., 0] + 1j * sites[name][0, ..., 1] for name in ("loading", "readout"))
    b = np.sqrt(2 * rate)[:, None] * loading
    A = np.block([[-np.diag(rate), -np.diag(frequency)], [np.diag(frequency), -np.diag(rate)]])
    B = np.concatenate([b.real, b.imag])
    P = solve_continuous_lyapunov(A, -B @ B.T)
    H = 2 * np.concatenate([readout.T.real, -readout.T.imag], axis=-1)
    count, channels = len(times), len(H)
    covariance = np.empty((count, channels, count, channels))
    for i in range(count):
        for j in range(count):
            power = expm(A * abs(times[i] - times[j]))
            covariance[i, :, j] = H @ (power @ P if times[i] >= times[j] else P @ power.T) @ H.T
    return covariance


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
@pytest.mark.parametrize(("channels", "noises"), [(1, 1), (3, 2), (2, None)])
def test_likelihood_is_that_of_the_dense_gaussian_process(name, channels, noises):
    """Irregular times, holes, several channels, ragged series: to 1e-10."""
    data = irregular(channels=channels)
    model = LinearGaussianSSM(num_modes=3, num_noises=noises)
    context = model.prepare(data)
    sites = drawn(model, context, 1)
    wanted = []
    for series, length in enumerate(data.lengths):
        rows = slice(0, int(length))
        mask = data.mask[series, rows].reshape(-1)
        full = dense(sites, data.times[series, rows]).reshape(len(mask), len(mask))
        full += np.diag(np.tile(sites["noise_sd"][0] ** 2, int(length)))
        y = (data.values[series, rows] - sites["mean"][0]).reshape(-1)[mask]
        wanted.append(multivariate_normal.logpdf(y, mean=np.zeros(len(y)), cov=full[np.ix_(mask, mask)]))  # pyright: ignore[reportArgumentType]
    with framework(name) as make:
        process = model.process({site: make(value) for site, value in sites.items()}, context)
        seen = Observations(data.times, np.where(data.mask, data.values, 0.0), data.mask)
        found = to_numpy(process.log_prob(seen))
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_holes_and_forecasts_are_those_of_the_dense_gaussian_process():
    data = irregular(seed=2, lengths=(20,), channels=2)
    model = LinearGaussianSSM(num_modes=2)
    context = model.prepare(data)
    sites = drawn(model, context, 3)
    asked = np.concatenate([data.times[0][::3] + 0.1, data.times[0, -1:] + [0.5, 9.0]])
    mask = data.mask[0].reshape(-1)
    both = dense(sites, np.concatenate([data.times[0], asked]))
    n, m = len(mask), 2 * len(asked)
    both = both.reshape(n + m, n + m)
    noise = np.tile(sites["noise_sd"][0] ** 2, 20)
    known = (both[:n, :n] + np.diag(noise))[np.ix_(mask, mask)]
    cross = both[n:, :n][:, mask]
    y = (data.values[0] - sites["mean"][0]).reshape(-1)[mask]
    mean = (cross @ np.linalg.solve(known, y)).reshape(-1, 2) + sites["mean"][0]
    variance = np.diag(both[n:, n:] - cross @ np.linalg.solve(known, cross.T)).reshape(-1, 2)
    seen = Observations(data.times, np.where(data.mask, data.values, 0.0), data.mask)
    law = model.process(sites, context).condition(seen).at(asked[None])
    np.testing.assert_allclose(law.mean("signal")[0], mean, rtol=1e-9)
    np.testing.assert_allclose(law.variance("signal")[0], variance, rtol=1e-8)
    np.testing.assert_allclose(law.variance()[0], variance + sites["noise_sd"][0] ** 2, rtol=1e-8)
    assert law.mean("state").shape == (1, len(asked), 4)


def test_prior_has_the_variance_of_the_data_and_its_time_scales():
    data = irregular(lengths=(60,), channels=1)
    model = LinearGaussianSSM(num_modes=5)
    context = model.prepare(data)
    assert context["rate"][0] == pytest.approx(1 / context["span"])
    assert context["rate"][-1] == pytest.approx(1 / context["gap"])
    points = [point for seed in range(20) for point in Subject(model, seed=seed, data=data).points[0]]
    sites = {name: np.stack([point[name] for point in points]) for name in points[0]}
    nothing = Observations(np.zeros((1, 1)), np.zeros((1, 1, 1)), np.zeros((1, 1, 1), bool))
    variances = model.process(sites, context).condition(nothing).at(nothing.times).variance("signal")
    assert 0.3 < np.median(variances) / context["scale"][0] ** 2 < 3.0


def test_a_fit_finds_the_period_of_an_oscillation():
    rng = np.random.default_rng(4)
    times = np.sort(rng.uniform(0.0, 60.0, 120))
    values = 10.0 + 2.0 * np.sin(2 * np.pi * times / 7.0) + 0.3 * rng.standard_normal(120)
    data = Trajectories.from_arrays([times], [values[:, None]])
    fit = dp.fit(dp.load_model("deepssm/linear-gaussian", num_modes=2), data, inference="map", seed=0)
    sites = fit.sites(np.asarray, 1, 0)
    readout = np.abs(sites["readout"]).sum(axis=(-1, -2))[0, 0]
    strongest = sites["frequency"][0, 0, np.argmax(readout)]
    assert strongest == pytest.approx(1 / 7, rel=0.05)
    ahead = dp.forecast(fit, times=[times[-1] + 3.5])
    assert np.abs(float(ahead.mean.squeeze()) - (10.0 + 2.0 * np.sin(2 * np.pi * (times[-1] + 3.5) / 7.0))) < 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_modes": 0}, "`num_modes` must be at least 1; got 0"),
        ({"num_noises": 0}, "`num_noises` must be at least 1; got 0"),
        ({"seed": -1}, "`seed` must be at least 0; got -1"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        LinearGaussianSSM(**options)
