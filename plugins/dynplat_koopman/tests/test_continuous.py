"""`koopman/edmd` in continuous time: rates at irregular times, noise, forecasts, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm

import dynplat as dp
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, CapabilityError, DataError
from dynplat.process.discretise import discretise
from dynplat.testing import check_model, parametrize_checks
from dynplat_koopman.continuous import intensity, reshaped_rates
from dynplat_koopman.dictionaries import Monomials
from dynplat_koopman.gap_regression import Regression, flowed, gap_pairs
from dynplat_koopman.generator import fit_generator, increments_from, rates_from
from dynplat_koopman.posterior import eigenpair_draws, generators, operators


def _site(fit, name):
    return fit.tree["posterior"][name].values[0, 0]


def _fit(data, **options):
    return dp.fit(dp.load_model("koopman/edmd", continuous=True, **options), data, "solve", seed=0)


def _linear(A, W, times, seed, push=None, B=None):
    """A linear SDE dx = (A x + B u) dt + dM at given times, drawn exactly."""
    rng = np.random.default_rng(seed)
    F, Q, G = discretise(A, W, np.diff(times))
    assert G is not None
    x, rows = rng.normal(size=len(A)), []
    for k in range(len(times)):
        if k:
            x = F[k - 1] @ x + np.linalg.cholesky(Q[k - 1]) @ rng.normal(size=len(A))
            x = x if push is None else x + G[k - 1] @ (B @ push[k - 1])
        rows.append(x)
    return np.array(rows)


def _times(rng, count, mean):
    return np.cumsum(rng.exponential(mean, count))


def _van_der_pol(length, seed, mean=0.25, noise=0.02):
    rng = np.random.default_rng(seed)
    times = np.cumsum(mean * (0.1 + 0.9 * rng.exponential(size=length)))
    x, v = rng.normal(size=2)
    now, rows = 0.0, []
    for time in times:
        pieces = int(np.ceil((time - now) / 0.01))
        h = (time - now) / pieces
        for kick in rng.normal(size=pieces):
            x, v = x + h * v, v + h * (1.5 * (1 - x * x) * v - x) + noise * np.sqrt(h) * kick
        now = time
        rows.append((x, v))
    return Trajectories.from_arrays(times, np.array(rows), channels=("x", "v"))


A, W = np.array([[0.0, 1.0], [-2.0, -0.4]]), np.array([[0.05, 0.02], [0.02, 0.3]])


def test_flow_and_mean_are_those_of_the_exponential():
    rng = np.random.default_rng(0)
    x, L, gaps = rng.normal(size=(30, 3)), 4.0 * rng.normal(size=(3, 3)), rng.exponential(size=30)
    moved, mean = flowed(x, L, gaps)
    for m in range(30):
        both = expm(np.block([[L, np.eye(3)], [np.zeros((3, 6))]]) * gaps[m])
        np.testing.assert_allclose(moved[m], x[m] @ both[:3, :3], rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(mean[m] * gaps[m], x[m] @ both[:3, 3:], rtol=1e-7, atol=1e-8)


def test_the_gradient_of_the_squares_is_that_of_differences():
    rng = np.random.default_rng(1)
    r, k = 3, 1
    regression = Regression(
        rng.normal(size=(40, r + k)), rng.normal(size=(40, r)), rng.exponential(size=40), 0.1 * np.eye(r + k)
    )
    C = rng.normal(size=(r + k, r))
    total, gradient = regression.squares(C)
    rates = regression.square(C)
    away = [regression.phi[m] @ expm(rates * h) for m, h in enumerate(regression.gaps)]
    squares = ((np.array(away)[:, :r] - regression.after) ** 2).sum(axis=1) / regression.gaps
    np.testing.assert_allclose(total, squares.sum() / regression.gaps.sum() + 0.1 * (C**2).sum(), rtol=1e-8)
    for place in np.ndindex(C.shape):
        step = np.zeros_like(C)
        step[place] = 1e-5
        slope = (regression.squares(C + step)[0] - regression.squares(C - step)[0]) / 2e-5
        np.testing.assert_allclose(gradient[place], slope, rtol=1e-5, atol=1e-5 * np.abs(gradient).max())


def test_least_squares_finds_rates_that_explain_everything():
    rng = np.random.default_rng(2)
    L, gaps = np.array([[-0.3, 1.2], [-0.9, -0.5]]), rng.exponential(size=100)
    x = rng.normal(size=(100, 2))
    regression = Regression(x, flowed(x, L, gaps)[0], gaps, np.zeros((2, 2)))
    assert np.abs(regression.increments() - L).max() > 0.1
    np.testing.assert_allclose(regression.least_squares(regression.increments())[0], L, atol=1e-3)
    np.testing.assert_allclose(regression.fit()[0], L, atol=1e-7)


def test_rates_and_noise_of_a_linear_sde_are_found_at_irregular_times():
    """Over repetitions the mean error is within three standard errors, and that of increments is far outside."""
    found, noise, increments = [], [], []
    for seed in range(12):
        rng = np.random.default_rng(100 + seed)
        times = _times(rng, 800, 0.4)
        data = Trajectories.from_arrays(times, _linear(A, W, times, seed), channels=("x", "v"))
        fit = _fit(data, dictionary="monomials:degree=1", held_out_steps=0)
        values = np.linalg.eigvals(_site(fit, "generator"))
        found.append(values[np.argmax(values.imag)])
        root = _site(fit, "readout") @ _site(fit, "noise_factor")
        noise.append(root @ root.T)
        values = np.linalg.eigvals(fit_generator(increments_from(data), Monomials(2, 1)).matrix)
        increments.append(values[np.argmax(values.imag)])
    truth = np.linalg.eigvals(A)
    truth = truth[np.argmax(truth.imag)]
    found, noise, increments = np.array(found), np.array(noise), np.array(increments)
    for part in (np.real, np.imag):
        error = part(found - truth)
        assert abs(error.mean()) < 3 * error.std(ddof=1) / np.sqrt(12)
    assert np.abs(np.mean(increments) - truth) > 5 * np.abs(found - truth).mean()
    assert (np.abs(noise.mean(axis=0) - W) < 3.5 * noise.std(axis=0, ddof=1) / np.sqrt(12)).all()


@pytest.mark.parametrize("mean", [0.3, 1.0])
def test_the_slow_manifold_is_found_exactly(mean):
    """x1' = mu x1, x2' = lambda (x2 - x1^2): differences are wrong by their order, the fixed point is not."""
    mu, lam = -0.3, -1.0
    rng = np.random.default_rng(3)
    c = lam / (lam - 2 * mu)
    times, values = [], []
    for _ in range(20):
        t = _times(rng, 15, mean)
        a, b = rng.normal(size=2)
        x1 = a * np.exp(mu * t)
        times.append(t)
        values.append(np.stack([x1, (b - c * a * a) * np.exp(lam * t) + c * x1**2], axis=1))
    data = Trajectories.from_arrays(times, values, channels=("x1", "x2"))
    fit = _fit(data, dictionary="monomials:degree=2", held_out_steps=0)
    differences = np.linalg.eigvals(fit_generator(rates_from(data), Monomials(2, 2)).matrix)
    (pairs,) = eigenpair_draws(fit)
    for value in (mu, lam, 2 * mu, 0.0):
        nearest = int(np.argmin(np.abs(pairs.values - value)))
        assert np.abs(pairs.values[nearest] - value) < 1e-6
        assert pairs.residuals[nearest] < 1e-5
    assert np.abs(differences - lam).min() > 1e-3


def test_it_is_the_discrete_model_on_a_fine_grid():
    rng = np.random.default_rng(4)
    times = 0.05 * np.arange(1500)
    data = Trajectories.from_arrays(times, _linear(A, W, times, 4), channels=("x", "v"))
    same = {"dictionary": "monomials:degree=1", "held_out_steps": 0}
    steps, flow = dp.fit(dp.load_model("koopman/edmd", **same), data, "solve", seed=0), _fit(data, **same)
    x = rng.normal(size=(4, 2))
    (operator,), (generator,) = operators(steps), generators(flow)
    np.testing.assert_allclose(generator.predict(x, 0.05), operator.predict(x), rtol=1e-6, atol=1e-8)
    laws = [dp.forecast(fit, 8, num_draws=0, framework="numpy").dataset for fit in (steps, flow)]
    np.testing.assert_allclose(laws[1]["mean"], laws[0]["mean"], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(laws[1]["sd"], laws[0]["sd"], rtol=1e-4)
    np.testing.assert_allclose(flow.log_likelihood, steps.log_likelihood, rtol=1e-4)


def test_inputs_are_held_over_gaps():
    rng = np.random.default_rng(5)
    B = np.array([[0.5], [-1.0]])
    times, push = _times(rng, 1500, 0.3), rng.normal(size=(1500, 1))
    values = _linear(A, 0.01 * W, times, 5, push, B)
    data = Trajectories.from_arrays(times, values, channels=("x", "v"), inputs=push, input_names=("push",))
    fit = _fit(data, dictionary="monomials:degree=1")
    np.testing.assert_allclose(_site(fit, "readout") @ _site(fit, "input_matrix").T, B, atol=0.03)
    rest = {"num_draws": 0, "framework": "numpy"}
    ahead = times[-1] + np.array([0.2, 0.7])
    still, pushed = (
        dp.predict(fit, ahead, inputs=np.full((1, 2, 1), level), **rest).dataset["mean"].values[0]
        for level in (0.0, 1.0)
    )
    np.testing.assert_allclose(pushed[0], still[0])
    moved = np.linalg.solve(A, expm(0.5 * A) - np.eye(2)) @ B
    np.testing.assert_allclose(pushed[1] - still[1], moved[:, 0], atol=0.03)


def test_the_intensity_of_noise_meets_its_covariances():
    rng = np.random.default_rng(6)
    gaps = rng.exponential(0.5, size=300)
    Q = discretise(A, W, gaps, integral=False).Q
    mean = (Q / gaps[:, None, None]).mean(axis=0)
    assert np.abs(mean - W).max() > 0.03
    np.testing.assert_allclose(intensity(mean, A.T, gaps), W, atol=3e-3)


@pytest.mark.parametrize(("shape", "option"), [("contraction", "stable"), ("isometry", "measure_preserving")])
def test_shapes_of_the_generator(shape, option):
    rng = np.random.default_rng(7)
    C = rng.normal(size=(5, 5))
    C[:, 0] = 0.0
    values = np.linalg.eigvals(reshaped_rates(C, shape, keeps_constant=True)).real
    assert np.linalg.eigvals(C).real.max() > 0.1
    assert values.max() < 1e-12
    if shape == "isometry":
        assert values.min() > -1e-12
    growing = np.array([[0.05, 1.0], [-1.0, 0.05]])
    times = _times(rng, 300, 0.2)
    data = Trajectories.from_arrays(times, _linear(growing, 1e-4 * np.eye(2), times, 7), channels=("x", "v"))
    with pytest.warns(UserWarning, match=r"spectral radius is 1\.\d+: forecasts grow .* `stable=True`"):
        assert _site(_fit(data, dictionary="monomials:degree=1"), "growth_rate") > 0.03
    fit = _fit(data, dictionary="monomials:degree=1", **{option: True})
    assert _site(fit, "growth_rate") < 1e-9


def test_forecasts_and_holes_of_a_van_der_pol_oscillator():
    """The lifted law beats persistence and the affine one, by CRPS, in forecasts and in holes at irregular times."""
    data = _van_der_pol(500, 8)
    times, values = data.times[0], data.values[0]
    held = np.zeros(500, dtype=bool)
    for start in range(60, 460, 50):
        held[start : start + 3] = True
    fitted = Trajectories.from_arrays(times[~held], values[~held], channels=("x", "v"))
    before = np.array([np.flatnonzero(~held[:row])[-1] for row in np.flatnonzero(held)])
    crps = {"persistence": np.abs(values[before] - values[held]).mean()}
    early = Trajectories.from_arrays(times[:440], values[:440], channels=("x", "v"))
    ahead = {"persistence": np.abs(values[439] - values[440:452]).mean()}
    for name, dictionary in (("affine", "monomials:degree=1"), ("lifted", "monomials:degree=4")):
        for scores, part, where in ((crps, fitted, held), (ahead, early, slice(440, 452))):
            law = dp.predict(_fit(part, dictionary=dictionary), times[where], num_draws=0, framework="numpy").dataset
            scores[name] = _crps(values[where], law["mean"].values[0], law["sd"].values[0]).mean()
    for scores in (crps, ahead):
        assert scores["lifted"] < 0.5 * scores["affine"]
        assert scores["lifted"] < 0.5 * scores["persistence"]


def _crps(y, mean, sd):
    from scipy.stats import norm

    z = (y - mean) / sd
    return sd * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))


def test_long_gaps_are_no_pairs():
    times = np.array([0.0, 1.0, 2.5, 3.0, 20.0, 21.0])
    values = np.arange(12.0).reshape(6, 2)
    values[2, 0] = np.nan
    data = Trajectories.from_arrays(times, values, channels=("x", "v"))
    found = gap_pairs(data)
    np.testing.assert_array_equal(found.gaps, [1.0, 2.0, 1.0])
    assert found.max_gap == pytest.approx(4 * 1.5)
    np.testing.assert_array_equal(gap_pairs(data, max_gap=1.5).gaps, [1.0, 1.0])
    with pytest.raises(DataError, match=r"at most 0\.5 apart; the smallest gap is 1.*Raise `max_gap`"):
        gap_pairs(data, max_gap=0.5)
    # An input is held until the next row, complete or not.
    pushed = Trajectories.from_arrays(times, values, channels=("x", "v"), inputs=np.ones((6, 1)), input_names=("push",))
    np.testing.assert_array_equal(gap_pairs(pushed).gaps, [1.0, 1.0])


def test_what_does_not_make_sense_is_refused():
    with pytest.raises(ArgumentError, match=r"`step` has no meaning with `continuous=True`: leave it out; got 0\.1"):
        dp.load_model("koopman/edmd", continuous=True, step=0.1)
    with pytest.raises(ArgumentError, match="`max_gap` is an option of continuous time"):
        dp.load_model("koopman/edmd", max_gap=1.0)
    with pytest.raises(ArgumentError, match=r"`max_gap` must be positive; got -1\.0"):
        dp.load_model("koopman/edmd", continuous=True, max_gap=-1.0)
    assert dp.load_model("koopman/edmd", continuous=True).capabilities.irregular_times
    assert not dp.load_model("koopman/edmd").capabilities.irregular_times
    data = _van_der_pol(40, 9)
    with pytest.raises(DataError, match=r"36 functions and inputs for \d+ pairs of complete rows at most .* apart"):
        _fit(_van_der_pol(30, 9), dictionary="monomials:degree=7")
    with pytest.raises(CapabilityError, match=r"the times are irregular: .*`continuous=True`"):
        dp.fit(dp.load_model("koopman/edmd"), data, "solve", seed=0)
    fit = _fit(data, dictionary="monomials:degree=1", held_out_steps=0)
    with pytest.raises(ArgumentError, match="fitted in continuous time: `generators`"):
        operators(fit)


def test_rank_and_ridge_are_those_of_the_state():
    data = _van_der_pol(200, 10)
    fit = _fit(data, dictionary="monomials:degree=3", rank=6, tolerance=None)
    assert _site(fit, "generator").shape == (6, 6)
    assert not _site(fit, "generator")[:, 0].any()
    affine = {"dictionary": "monomials:degree=1", "held_out_steps": 0}
    free, kept = (_site(_fit(data, ridge=ridge, **affine), "generator") for ridge in (0.0, 1e6))
    assert np.abs(kept).max() < 1e-3 * np.abs(free).max()


def test_a_fit_can_be_saved_and_asked_again(tmp_path):
    data = _van_der_pol(120, 11)
    fit = _fit(data, dictionary="monomials:degree=2")
    fit.save(tmp_path / "fit.nc")
    loaded = dp.load_posterior(tmp_path / "fit.nc")
    before, after = (dp.forecast(f, 4, num_draws=3, seed=1).dataset for f in (fit, loaded))
    for name in ("mean", "sd", "draws"):
        np.testing.assert_array_equal(before[name].values, after[name].values)


@parametrize_checks(dp.load_model("koopman/edmd", continuous=True))
def test_conformance(check):
    check()


@pytest.mark.slow
@parametrize_checks(
    dp.load_model("koopman/edmd", continuous=True, dictionary="monomials:degree=3"), data=_van_der_pol(60, 12)
)
def test_conformance_with_a_nonlinear_dictionary(check):
    check()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"stable": True}, {"measure_preserving": True, "held_out_steps": 0}, {"state": "filtered"}, {"max_gap": 0.5}],
    ids=str,
)
def test_model_with_options_conforms(options):
    model = dp.load_model("koopman/edmd", continuous=True, dictionary="monomials:degree=1", **options)
    report = check_model(model, data=_van_der_pol(100, 13))
    assert report.passed, str(report)
