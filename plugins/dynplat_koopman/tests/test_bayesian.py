"""`koopman/bayesian`: the closed form against the textbook, against the prior program, and against NUTS."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import invwishart

import dynplat as dp
from dynplat.arrays import framework
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError
from dynplat.testing import subject
from dynplat_koopman.bayesian import BayesianEDMD
from dynplat_koopman.posterior import eigenpair_draws


def _data(length=60, series=2, seed=0, inputs=False):
    rng = np.random.default_rng(seed)
    F = np.array([[0.8, 0.3], [-0.3, 0.7]])
    values, pushes = [], []
    for _ in range(series):
        push, x, rows = rng.normal(size=(length, 1)), rng.normal(size=2), []
        for t in range(length):
            rows.append(x)
            x = F @ x + np.array([0.3, 0.1]) * rng.normal(size=2) + inputs * np.array([0.5, 0.0]) * push[t]
        values.append(np.array(rows) + np.array([3.0, 1.0]))
        pushes.append(push)
    return Trajectories.from_arrays(
        [np.arange(length) * 1.0] * series,
        values,
        channels=("x", "y"),
        inputs=pushes if inputs else None,
        input_names=("push",) if inputs else None,
    )


def _textbook(model, data, context):
    """Mean of (K, B), its row covariance, and (degrees, scale) of the noise, written out for the free targets."""
    dictionary = model.dictionary_of(context)
    first = np.concatenate([v[:-1] for v in data.values])
    second = np.concatenate([v[1:] for v in data.values])
    X, Y = dictionary(first), dictionary(second)[:, 1:]
    if data.inputs is not None:
        X = np.column_stack([X, np.concatenate([u[:-1] for u in data.inputs])])
    size = np.sqrt((X**2).mean(0))
    move = np.sqrt(((Y - dictionary(first)[:, 1:]) ** 2).mean(0))
    V0, start = np.diag(1 / size**2), np.eye(X.shape[1], Y.shape[1] + 1)[:, 1:]
    precision = np.linalg.inv(V0) + X.T @ X
    mean = np.linalg.solve(precision, np.linalg.inv(V0) @ start + X.T @ Y)
    scale = np.diag(move**2) + (Y - X @ mean).T @ (Y - X @ mean)
    scale = scale + (mean - start).T @ np.linalg.inv(V0) @ (mean - start)
    n = Y.shape[1]
    return mean, np.linalg.inv(precision), n + 2 + len(X), scale


@pytest.mark.parametrize(("degree", "inputs"), [(1, False), (2, False), (1, True)])
def test_solve_draws_from_the_textbook_posterior(degree, inputs):
    data = _data(inputs=inputs)
    model = BayesianEDMD(dictionary=f"monomials:degree={degree}", num_draws=6000)
    fit = dp.fit(model, data, "solve", seed=0)
    mean, rows, freedom, scale = _textbook(model, data, fit.context)
    posterior = fit.tree["posterior"]
    K, cov = posterior["operator"].values[0][:, :, 1:], posterior["noise_cov"].values[0][:, 1:, 1:]
    if inputs:
        K = np.concatenate([K, posterior["input_matrix"].values[0][:, :, 1:]], axis=1)
    n = scale.shape[0]
    expected_cov = scale / (freedom - n - 1)
    sd = np.sqrt(rows.diagonal()[:, None] * expected_cov.diagonal())
    np.testing.assert_allclose((K.mean(0) - mean) / sd, 0.0, atol=5 / np.sqrt(6000))
    np.testing.assert_allclose(K.std(0) / sd, 1.0, atol=0.06)
    marginal = np.sqrt(np.diagonal(np.asarray(invwishart(freedom, scale).var())))
    np.testing.assert_allclose(
        (cov.mean(0).diagonal() - expected_cov.diagonal()) / marginal, 0.0, atol=5 / np.sqrt(6000)
    )
    np.testing.assert_allclose(cov.diagonal(axis1=1, axis2=2).std(0) / marginal, 1.0, atol=0.06)
    # The constant stays, without noise.
    np.testing.assert_array_equal(
        posterior["operator"].values[0][:, :, 0],
        np.tile(np.eye(K.shape[1], 1)[:, 0], (6000, 1))[:, : posterior["operator"].shape[2]],
    )
    assert not posterior["noise_cov"].values[0][:, 0].any()


def test_the_prior_program_is_the_stated_law(monkeypatch):
    """Draws of the prior have the moments of the matrix-normal inverse-Wishart law."""
    model = BayesianEDMD(dictionary="monomials:degree=1")
    monkeypatch.setattr(subject, "NUM_POINTS", 3000)
    conforming = subject.Subject(model, data=_data())
    context, (points, _) = conforming.context, conforming.points
    sites = {name: np.stack([point[name] for point in points]) for name in ("operator", "noise_cov")}
    cov = sites["noise_cov"][:, 0, 1:, 1:]
    move, size = context["function_move"], context["function_size"]
    # IW(n + 2) has mean Psi_0 but no variance: compare medians of the diagonal, inverse gamma with shape 1.5.
    expected = move**2 / (2 * 1.182687)  # median of gamma(1.5, 1)
    np.testing.assert_allclose(np.median(cov.diagonal(axis1=1, axis2=2), axis=0), expected, rtol=0.12)
    away = (sites["operator"][:, 0] - np.eye(3))[:, :, 1:] * size[:, None]
    white = away / np.sqrt(cov.diagonal(axis1=1, axis2=2))[:, None]
    np.testing.assert_allclose(white.mean(0), 0.0, atol=0.1)
    np.testing.assert_allclose(white.std(0), 1.0, atol=0.07)
    correlation = cov[:, 0, 1] / np.sqrt(cov[:, 0, 0] * cov[:, 1, 1])
    np.testing.assert_allclose((white[:, :, 0] * white[:, :, 1]).mean(0), correlation.mean(), atol=0.1)


def test_the_likelihood_of_coordinates_is_the_regression():
    """log p(y | K, Sigma) of the process, less that of the first rows, is the normal density of all residuals."""
    from scipy.stats import multivariate_normal

    data = _data()
    model = BayesianEDMD(dictionary="monomials:degree=1", num_draws=3)
    fit = dp.fit(model, data, "solve", seed=0)
    steps = fit.log_likelihood_steps[0]
    for draw in range(3):
        K = fit.tree["posterior"]["operator"].values[0, draw]
        cov = fit.tree["posterior"]["noise_cov"].values[0, draw]
        readout = fit.context["readout"]
        for s in range(2):
            dictionary = model.dictionary_of(fit.context)
            away = data.values[s, 1:] - dictionary(data.values[s, :-1]) @ K @ readout.T
            expected = multivariate_normal(np.zeros(2), readout @ cov @ readout.T).logpdf(away)
            np.testing.assert_allclose(steps[draw, s, 1:], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_nuts_finds_the_closed_form():
    data = _data(length=40, series=1)
    model = BayesianEDMD(dictionary="monomials:degree=1", num_draws=4000)
    exact = dp.fit(model, data, "solve", seed=0).tree["posterior"]
    nuts = dp.fit(model, data, "nuts", seed=1, num_warmup=400, num_samples=500, num_chains=2).tree["posterior"]
    for name in ("operator", "noise_cov"):
        closed, found = exact[name].values[0], nuts[name].values.reshape(-1, *exact[name].shape[2:])
        sd = closed.std(0)
        moving = sd > 0
        z = (found.mean(0) - closed.mean(0))[moving] / sd[moving]
        # 1000 draws of NUTS count for 250 independent ones at the least.
        np.testing.assert_allclose(z, 0.0, atol=4.5 / np.sqrt(250))
        np.testing.assert_allclose(found.std(0)[moving] / sd[moving], 1.0, atol=0.25)


def test_eigenvalues_have_intervals_with_residuals():
    data = _data(length=400)
    fit = dp.fit(BayesianEDMD(dictionary="monomials:degree=1"), data, "solve", seed=0)
    draws = eigenpair_draws(fit)
    assert len(draws) == 200
    truth = np.linalg.eigvals(np.array([[0.8, 0.3], [-0.3, 0.7]]))[0]
    nearest = np.array([pairs.values[np.abs(pairs.values - truth).argmin()] for pairs in draws])
    real, imag = np.real(nearest), np.imag(nearest)
    for part in (real, imag):
        assert 0.001 < part.std() < 0.1
    assert abs(real.mean() - truth.real) < 4 * real.std()
    assert all((pairs.residuals >= 0).all() for pairs in draws)
    assert len(eigenpair_draws(fit, num_draws=7)) == 7


def test_forecasts_hold_the_uncertainty_of_the_operator():
    """With few data, bands are wider than those of one draw, and they shrink with more data towards the same."""
    widths = []
    for length in (8, 400):
        data = _data(length=length, series=1)
        fit = dp.fit(BayesianEDMD(dictionary="monomials:degree=1"), data, "solve", seed=0)
        known = dp.forecast(fit, 3, num_draws=0, max_components=1, framework="numpy").dataset["sd"].values[0, 2]
        widths.append(dp.forecast(fit, 3, num_draws=0, framework="numpy").dataset["sd"].values[0, 2] / known)
    assert (widths[0] > widths[1]).all()


def test_both_frameworks_build_the_same_process():
    data = _data(length=20)
    model = BayesianEDMD(dictionary="monomials:degree=2", num_draws=4)
    context = model.prepare(data)
    from dynplat.model import observations_from

    observations = observations_from(data)
    draws = model.solve(observations, context, seed=0)
    found = []
    for name in ("numpy", "torch", "jax"):
        with framework(name) as to_array:
            sites = {site: to_array(value[:, None]) for site, value in draws.items()}
            found.append(np.asarray(model.process(sites, context).log_prob(observations)))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-9)


def test_impossible_options_are_refused():
    with pytest.raises(ArgumentError, match="`num_draws` must be at least 1; got 0"):
        BayesianEDMD(num_draws=0)
    with pytest.raises(ArgumentError, match=r"`prior_pairs` must be positive; got 0\.0"):
        BayesianEDMD(prior_pairs=0.0)
