"""`koopman/edmd`: estimates against least squares, laws against the operator, options, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dynplat as dp
from dynplat.arrays import random_source
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, CapabilityError, DataError
from dynplat_koopman.lifting import (
    blocks_of,
    commonest_step,
    complete_pairs,
    distance_from,
    noise_level,
    symmetric_root,
)
from dynplat_koopman.posterior import eigenpair_draws, operators


def _var(length=400, seed=0, F=None, noise=0.1, step=0.5, series=2, inputs=False):
    """A stable vector autoregression x' = F x + noise (+ push) with mean (1, -2)."""
    rng = np.random.default_rng(seed)
    F = np.array([[0.8, 0.3], [-0.2, 0.7]]) if F is None else F
    values, pushes = [], []
    for _ in range(series):
        push = rng.normal(size=(length, 1))
        x, rows = rng.normal(size=2), []
        for t in range(length):
            rows.append(x)
            x = F @ x + noise * rng.normal(size=2) + (np.array([0.5, -0.3]) * push[t] if inputs else 0.0)
        values.append(np.array(rows) + np.array([1.0, -2.0]))
        pushes.append(push)
    return Trajectories.from_arrays(
        [step * np.arange(length)] * series,
        values,
        channels=("x", "y"),
        inputs=pushes if inputs else None,
        input_names=("push",) if inputs else None,
    )


def _site(fit, name):
    return fit.tree["posterior"][name].values[0, 0]


def _fit(data, **options):
    return dp.fit(dp.load_model("koopman/edmd", **options), data, "solve", seed=0)


def _regression(data):
    """Coefficients of (1, y_t) for y_{t+1}, and the unbiased covariance of the residuals."""
    first = np.concatenate([values[:-1] for values in data.values])
    second = np.concatenate([values[1:] for values in data.values])
    design = np.column_stack([np.ones(len(first)), first])
    coefficients = np.linalg.lstsq(design, second, rcond=None)[0]
    away = second - design @ coefficients
    return coefficients, away.T @ away / (len(first) - design.shape[1])


def test_with_coordinates_alone_it_is_least_squares():
    data = _var()
    fit = _fit(data, dictionary="monomials:degree=1", held_out_steps=0)
    coefficients, cov = _regression(data)
    law = dp.forecast(fit, 3, num_draws=0, framework="numpy").dataset
    mean, spread = data.values[0, -1], np.zeros((2, 2))
    for ahead in range(3):
        mean = coefficients[0] + mean @ coefficients[1:]
        spread = coefficients[1:].T @ spread @ coefficients[1:] + cov
        np.testing.assert_allclose(law["mean"].values[0, ahead], mean, rtol=1e-8)
        np.testing.assert_allclose(law["sd"].values[0, ahead], np.sqrt(np.diag(spread)), rtol=1e-6)
    # The likelihood is that of the autoregression, with the start of each series from the law of the rows.
    from scipy.stats import multivariate_normal

    steps = fit.log_likelihood_steps[0, 0]
    expected = multivariate_normal(np.zeros(2), cov).logpdf(
        data.values[0, 1:] - coefficients[0] - data.values[0, :-1] @ coefficients[1:]
    )
    np.testing.assert_allclose(steps[0, 1:], expected, rtol=1e-6, atol=1e-6)
    rows = np.concatenate([values[:-1] for values in data.values])
    cov: Any = np.cov(rows.T, bias=True)
    start = multivariate_normal(rows.mean(axis=0), cov).logpdf(data.values[0, 0])
    np.testing.assert_allclose(steps[0, 0], start, rtol=1e-6)


def test_both_ways_to_know_the_state_agree_for_coordinates_alone():
    data = _var()
    fits = [_fit(data, dictionary="monomials:degree=1", held_out_steps=0, state=s) for s in ("lifted", "filtered")]
    np.testing.assert_allclose(fits[0].log_likelihood, fits[1].log_likelihood, rtol=1e-7)
    assert not fits[0].model.capabilities.coherent
    assert fits[1].model.capabilities.coherent


def test_scaling_to_held_out_forecasts_changes_little_where_noise_is_noise():
    a, b = _site(_fit(_var(2000), dictionary="monomials:degree=1"), "noise_level")
    # 60 blocks of 10 correlated steps of 2 channels: sd about 0.1.
    assert b < 0.3
    level = _site(_fit(_var(2000), dictionary="monomials:degree=1", state="filtered"), "noise_level")
    assert abs(level[0]) < 0.4
    assert level[1] == 0
    assert np.isfinite(a)


def test_simulations_of_a_stable_operator_stay_near_the_data():
    """Van der Pol's oscillator with polynomials: lifted wherever they go, some simulations run away."""
    rng = np.random.default_rng(0)
    x, v, rows = 1.0, 0.0, []
    for _ in range(400):
        rows.append((x, v))
        for _ in range(50):
            x, v = x + 0.005 * v, v + 0.005 * (1.5 * (1 - x * x) * v - x)
        v += 0.02 * rng.normal()
    data = Trajectories.from_arrays(0.25 * np.arange(400), np.array(rows), channels=("x", "v"))
    fit = _fit(data, stable=True)
    process = fit.model.process({name: value[0] for name, value in fit.sites(np.asarray).items()}, fit.context)
    times, largest = np.broadcast_to(0.25 * np.arange(200), (100, 200)), {}
    for name, domain in (("near", process.domain), ("anywhere", None)):
        process.domain = domain
        with np.errstate(over="ignore", invalid="ignore"):
            values = process.sample(times, random=random_source(0, np.zeros(1))).values
        largest[name] = np.nan_to_num(np.abs(values), nan=np.inf).max()
    assert largest["near"] < 50
    assert largest["anywhere"] == np.inf


def test_noise_level_is_that_of_maximum_likelihood():
    rng = np.random.default_rng(0)
    distance = np.exp(rng.normal(size=4000) * 2)
    squares = np.exp(0.7) * distance**0.4 * rng.chisquare(5, size=4000) / 5
    np.testing.assert_allclose(noise_level(squares, distance, local=True), [0.7, 0.4], atol=0.05)
    assert noise_level(squares, 1 / distance, local=True)[1] == 0.0
    np.testing.assert_allclose(noise_level(squares, distance, local=False)[0], np.log(squares.mean()))
    assert not noise_level(squares[:4], distance[:4], local=True).any()
    # Distances that hardly differ explain nothing: the power stays within bounds, and the level follows it.
    steep = np.exp(1e-3 * rng.normal(size=40))
    a, b = noise_level(steep**400, steep, local=True)
    assert b == 4.0
    assert a == pytest.approx(np.log(np.mean(steep**396)))


def test_blocks_that_are_held_out_may_lack_pairs():
    """Rows 0 to 29 and 40 to 69, of which some are incomplete; blocks of six steps."""
    values = np.random.default_rng(0).normal(size=(70, 2))
    values[[3, 16, 17, 18, 50]] = np.nan
    values[30:40] = np.nan
    times = np.arange(70.0)
    pairs = complete_pairs(Trajectories.from_arrays(times, values, channels=("x", "y")), 1.0)
    begins = [np.asarray(pairs.begins)[block] for block in blocks_of(pairs, 6)]
    # Not from 12 and from 25 on: the last two steps of six are not seen.
    assert [list(block) for block in begins] == [
        [0, 1, 4, 5],
        [6, 7, 8, 9, 10, 11],
        [19, 20, 21, 22, 23, 24],
        [40, 41, 42, 43, 44, 45],
        [46, 47, 48, 51],
        [52, 53, 54, 55, 56, 57],
        [58, 59, 60, 61, 62, 63],
        [64, 65, 66, 67, 68],
    ]


def test_missing_cells_do_not_switch_off_the_scale_of_the_noise():
    data = _var(400, series=1)
    values = data.values[0].copy()
    values[np.random.default_rng(1).uniform(size=values.shape) < 0.2] = np.nan
    holes = Trajectories.from_arrays(data.times[0], values, channels=data.channels)
    level = _site(_fit(holes, dictionary="monomials:degree=1", state="filtered"), "noise_level")
    assert 0 < abs(level[0]) < 0.5
    short = Trajectories.from_arrays(data.times[0][:40], data.values[0][:40], channels=data.channels)
    with pytest.warns(UserWarning, match=r"not scaled to held-out forecasts: the data hold 4 blocks of 10 steps and 5"):
        _fit(short, dictionary="monomials:degree=1")


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("options", [{}, {"dictionary": "monomials:degree=1", "delays": 1}, {"continuous": True}])
def test_what_is_exact_is_forecast_as_such(decay, options):
    times = 0.1 * np.arange(300)
    circle = np.exp(-decay * times[:, None]) * np.stack([np.cos(3 * times), np.sin(3 * times)], axis=1)
    options = {"dictionary": "monomials:degree=2", **options} if options else {}
    fit = _fit(Trajectories.from_arrays(times[:280], circle[:280], channels=("x", "v")), **options)
    ahead = dp.forecast(fit, 20, num_draws=0, framework="numpy").dataset
    np.testing.assert_allclose(ahead["mean"].values[0], circle[280:], atol=1e-5)
    assert (ahead["sd"].values > 0).all()
    assert ahead["sd"].values.max() < 1e-4
    assert np.asarray(fit.log_likelihood).sum() > 5000


@pytest.mark.parametrize("options", [{}, {"stable": True}, {"measure_preserving": True}])
def test_forecasts_do_not_depend_on_where_a_channel_has_its_zero(options):
    rng = np.random.default_rng(0)
    x, v, rows = 1.2, 0.3, []
    for _ in range(300):
        rows.append((x, v))
        for _ in range(20):
            x, v = x + 0.01 * v, v + 0.01 * (x - x**3 - 0.3 * v)
        v += 0.1 * rng.normal()
    times, values = 0.2 * np.arange(300), np.array(rows)
    found = {}
    for shift in (0.0, 300.0):
        data = Trajectories.from_arrays(times, values + shift, channels=("x", "v"))
        fit = _fit(data, dictionary="monomials:degree=3", **options)
        found[shift] = dp.forecast(fit, 10, num_draws=0, framework="numpy").dataset
        K = _site(fit, "operator")
        np.testing.assert_allclose(K[:, 0], np.eye(len(K))[0], atol=1e-12)
    np.testing.assert_allclose(found[300.0]["mean"] - 300.0, found[0.0]["mean"], atol=1e-3)
    np.testing.assert_allclose(found[300.0]["sd"], found[0.0]["sd"], rtol=1e-3)


def test_distances_are_those_of_the_nearest_row():
    rng = np.random.default_rng(0)
    points, rows = rng.normal(size=(2, 7, 3)), rng.normal(size=(20, 3))
    brute = [((p[:, None] - rows) ** 2).sum(-1).min(-1) for p in points]
    np.testing.assert_allclose(distance_from(list(points), rows), np.mean(brute, axis=0), atol=2e-8)


def test_the_root_of_a_covariance_is_a_root():
    rng = np.random.default_rng(0)
    L = rng.normal(size=(5, 3)) * np.array([1e-6, 1.0, 1.0, 1e4, 0.0])[:, None]
    root = symmetric_root(L @ L.T)
    np.testing.assert_allclose(root @ root.T, L @ L.T, rtol=1e-9, atol=1e-20)


def test_inputs_are_fitted_and_act():
    data = _var(inputs=True)
    fit = _fit(data, dictionary="monomials:degree=1", held_out_steps=0)
    rest = {"num_draws": 0, "framework": "numpy"}
    still, pushed = (
        dp.forecast(fit, 2, inputs=np.full((2, 2, 1), level), **rest).dataset["mean"].values for level in (0.0, 1.0)
    )
    # The input of the last observed row moves the first row ahead; that of the first row ahead moves the second.
    np.testing.assert_allclose(pushed[:, 0], still[:, 0])
    np.testing.assert_allclose((pushed - still)[:, 1], [[0.5, -0.3]] * 2, atol=0.03)


def test_pairs_do_not_cross_holes():
    data = _var(300)
    values = data.values.copy()
    values[0, 100:103, 0] = np.nan
    values[1, 7, 1] = np.nan
    holes = Trajectories.from_arrays([data.times[0]] * 2, list(values), channels=data.channels)
    first = np.concatenate([v[:-1] for v in values])
    second = np.concatenate([v[1:] for v in values])
    good = np.isfinite(first).all(1) & np.isfinite(second).all(1)
    design = np.column_stack([np.ones(good.sum()), first[good]])
    expected = np.linalg.lstsq(design, second[good], rcond=None)[0]
    fit = _fit(holes, dictionary="monomials:degree=1", held_out_steps=0)
    (operator,) = operators(fit)
    np.testing.assert_allclose(operator.predict(np.array([0.3, 0.4])), np.array([1, 0.3, 0.4]) @ expected, rtol=1e-8)
    # Absent rows are the same as rows in which nothing is observed.
    keep = np.isfinite(values[0]).all(1)
    absent = Trajectories.from_arrays(
        [data.times[0][keep], data.times[0]], [values[0][keep], values[1]], channels=data.channels
    )
    other = _fit(absent, dictionary="monomials:degree=1", held_out_steps=0)
    np.testing.assert_allclose(_site(other, "operator"), _site(fit, "operator"), atol=1e-10)


@pytest.mark.parametrize(("option", "most", "least"), [("stable", 1.0, 0.0), ("measure_preserving", 1.0, 1.0)])
def test_shapes_of_the_operator(option, most, least):
    rng = np.random.default_rng(0)
    F = 1.01 * np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]])
    x = np.stack([np.linalg.matrix_power(F, t) @ np.ones(2) for t in range(200)]) + 0.01 * rng.normal(size=(200, 2))
    data = Trajectories.from_arrays(np.arange(200.0), x, channels=("x", "y"))
    with pytest.warns(UserWarning, match=r"spectral radius is 1\.\d+: forecasts grow .* `stable=True`"):
        free = _fit(data, dictionary="monomials:degree=2")
    assert _site(free, "spectral_radius") > 1.005
    fit = _fit(data, dictionary="monomials:degree=2", **{option: True})
    (pairs,) = eigenpair_draws(fit)
    assert np.abs(pairs.values).max() < most + 1e-9
    assert np.abs(pairs.values).min() > least - 1e-9
    assert np.isfinite(dp.forecast(fit, 3000, num_draws=0, framework="numpy").dataset["mean"].values).all()


def test_the_step_is_the_commonest_gap():
    data = Trajectories.from_arrays([0.1 * np.array([0, 1, 2, 4, 5, 9, 10])], [np.arange(7.0)[:, None]])
    assert commonest_step(data) == pytest.approx(0.1)


def test_eigenvalues_of_a_linear_map_come_with_small_residuals():
    F = np.array([[0.9, 0.2], [-0.3, 0.8]])
    x = np.stack([np.linalg.matrix_power(F, t) @ np.array([1.0, 2.0]) for t in range(20)])
    y = np.stack([np.linalg.matrix_power(F, t) @ np.array([-1.0, 0.5]) for t in range(20)])
    data = Trajectories.from_arrays([np.arange(20.0)] * 2, [x, y], channels=("x", "y"))
    fit = _fit(data, dictionary="monomials:degree=2:scaling=none", held_out_steps=0, tolerance=1e-13)
    (pairs,) = eigenpair_draws(fit)
    one = np.linalg.eigvals(F)
    products = np.array([1, *one, one[0] ** 2, one[0] * one[1], one[1] ** 2])
    for value in products:
        assert np.abs(pairs.values - value).min() < 1e-8
    assert pairs.residuals.max() < 1e-6
    with pytest.raises(
        ArgumentError, match="must be a fit of a model of the family koopman; got filtering/local-level"
    ):
        operators(dp.fit(dp.load_model("filtering/local-level"), data, "map", seed=0))


def test_a_fit_can_be_saved_and_asked_again(tmp_path):
    data = _var(100)
    fit = _fit(data, dictionary="monomials:degree=1+rbf:centres=4")
    fit.save(tmp_path / "fit.nc")
    loaded = dp.load_posterior(tmp_path / "fit.nc")
    before, after = (dp.forecast(f, 4, num_draws=3, seed=1).dataset for f in (fit, loaded))
    for name in ("mean", "sd", "draws"):
        np.testing.assert_array_equal(before[name].values, after[name].values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": -1.0}, "`step` must be positive; got -1.0"),
        ({"rank": 0}, "`rank` must be at least 1; got 0"),
        ({"ridge": -0.1}, "`ridge` must be at least 0"),
        ({"tolerance": 1.0}, r"`tolerance` must be in \[0, 1\); got 1.0"),
        ({"held_out_steps": -1}, "`held_out_steps` must be at least 0; got -1"),
        ({"stable": True, "measure_preserving": True}, "stable by itself: leave `stable` out"),
        ({"state": "seen"}, "`state`"),
    ],
    ids=str,
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        dp.load_model("koopman/edmd", **options)


def test_data_that_cannot_be_used_are_refused_by_name():
    data = _var(30, series=1)
    with pytest.raises(DataError, match="dictionary is larger than the data: 36 functions and inputs for 29 pairs"):
        _fit(data, dictionary="monomials:degree=7")
    with pytest.raises(ArgumentError, match="must be real for a process"):
        _fit(data, dictionary="fourier:order=1:complex=yes")
    times = data.times[0].copy()
    times[7] += 0.2
    uneven = Trajectories.from_arrays(times, data.values[0], channels=data.channels)
    with pytest.raises(CapabilityError, match="takes equal steps, and the times are irregular"):
        _fit(uneven)
    with pytest.raises(DataError, match=r"steps are unequal: .*gap of 0.5 after time 0, which is 1.667 steps of 0.3"):
        _fit(data, step=0.3)
    holes = data.values[0].copy()
    holes[::2, 0] = np.nan
    sparse = Trajectories.from_arrays(data.times[0], holes, channels=data.channels)
    with pytest.raises(DataError, match=r"no two complete rows of a series are 1 step of 0\.5 apart"):
        _fit(sparse)
    fit = _fit(data, dictionary="monomials:degree=1", held_out_steps=0)
    with pytest.raises(ArgumentError, match=r"which is 0\.5 steps of 0\.5: a law in discrete time"):
        dp.predict(fit, [14.75])
