"""`koopman/deep`: where its prior is centred, the law it builds, and what is read off a fit."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.stats import multivariate_normal, norm

import dynplat as dp
from dynplat.arrays import Observations
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError
from dynplat_koopman.deep import Deep
from dynplat_koopman.learned import learned_dictionary, learned_modes
from dynplat_koopman.pairs import Pairs, pairs_from

STEP = 0.1
MU, LAMBDA = -0.3, -1.1


def spiral(rate=0.2, frequency=0.4, size=300, gaps=None):
    """A noise-free damped rotation, off the origin, with a second channel of another scale."""
    times = STEP * np.arange(size) if gaps is None else np.cumsum(gaps)
    z = np.exp((-rate + 2j * np.pi * frequency) * times)
    values = np.stack([3 + np.real(z), 20 * np.imag(z)], axis=-1)
    return Trajectories.from_arrays([times], [values], channels=("a", "b"))


def centre(model, context):
    """The sites at the centre of the prior, in the form that processes take."""
    fixed = {name: np.zeros_like(context[name]) for name in model.weights_of(context)}
    fixed |= {"loading": np.zeros_like(context["loading"])}
    fixed |= {name: context[name] for name in ("rate", "frequency", "mean", "process_sd", "lift_sd", "noise_sd")}
    return {name: np.asarray(value)[None] for name, value in fixed.items()}


@pytest.mark.parametrize("irregular", [False, True])
def test_the_prior_is_centred_at_the_modes_of_the_data(irregular):
    gaps = np.random.default_rng(0).uniform(0.6, 1.4, 300) * STEP if irregular else None
    data = spiral(gaps=gaps)
    context = Deep(num_states=4).prepare(data)
    # The rotation comes first; interpolation of uneven gaps costs some of its size.
    np.testing.assert_allclose(context["frequency"][0], 0.4, rtol=5e-3)
    np.testing.assert_allclose(context["rate"][0], 0.2, rtol=0.25 if irregular else 0.02)
    assert len(context["rate"]) + len(context["frequency"]) == 4
    assert (context["noise_sd"] < 0.05 * context["scale"]).all()


def test_the_same_seed_gives_the_same_prior():
    data = spiral()
    first, same, other = (Deep(seed=seed).prepare(data) for seed in (3, 3, 4))
    for name, value in first.values.items():
        np.testing.assert_array_equal(value, same[name])
    assert not np.array_equal(first["weight_1"], other["weight_1"])


def test_data_that_show_no_modes_give_a_prior_all_the_same():
    one_row = Trajectories.from_arrays([np.zeros(1)], [np.ones((1, 1))], channels=("a",))
    still = Trajectories.from_arrays([np.arange(5.0)], [np.ones((5, 1))], channels=("a",))
    for data in (one_row, still):
        model = Deep(num_states=3)
        context = model.prepare(data)
        assert np.isfinite(context["rate"]).all()
        assert (context["rate"] > 0).all()
        process = model.process(centre(model, context), context)
        seen = Observations(data.times, data.values, data.mask)
        assert np.isfinite(process.log_prob(seen)).all()


@pytest.mark.parametrize("hidden", [(6,), (5, 4)])
def test_the_law_is_that_of_learned_eigenfunctions(hidden):
    """The density of a row after a lifted one, written out with NumPy from the sites."""
    data = spiral(size=12)
    model = Deep(num_states=3, hidden=hidden, lift_every=1)
    context = model.prepare(data)
    rng = np.random.default_rng(0)
    sites = {name: value + 0.3 * rng.normal(size=value.shape) for name, value in centre(model, context).items()}
    sites |= {name: np.abs(sites[name]) + 0.05 for name in ("rate", "frequency", "process_sd", "lift_sd", "noise_sd")}
    process = model.process(sites, context)
    seen = Observations(data.times, data.values, data.mask)

    def weight(name):
        fan_in = context[name].shape[1] if context[name].ndim == 2 else 1
        return context[name] + model.spread / np.sqrt(fan_in) * sites[name][0]

    standard = (data.values[0] - context["location"]) / context["scale"]
    layer = standard
    for number in range(1, len(hidden) + 1):
        layer = np.tanh(layer @ weight(f"weight_{number}").T + weight(f"bias_{number}"))
    phi = np.concatenate([standard, layer], axis=-1) @ weight("weight_out").T + weight("bias_out")
    rate, pairs = sites["rate"][0], sites["frequency"].shape[-1]
    F, Q = np.zeros((3, 3)), np.zeros((3, 3))
    for mode, decay in enumerate(np.exp(-rate * STEP)):
        variance = sites["process_sd"][0, mode] ** 2 * (1 - decay**2) / (2 * rate[mode])
        at = 2 * mode if mode < pairs else pairs + mode
        if mode < pairs:
            angle = 2 * np.pi * sites["frequency"][0, mode] * STEP
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            F[at : at + 2, at : at + 2], Q[at, at], Q[at + 1, at + 1] = decay * turn, variance, variance
        else:
            F[at, at], Q[at, at] = decay, variance
    C = context["loading"] + 0.5 * context["scale"][:, None] * sites["loading"][0]
    R = np.diag(sites["noise_sd"][0] ** 2)
    lift_sd = sites["lift_sd"][0]
    S = np.diag(np.concatenate([np.repeat(lift_sd[:pairs], 2), lift_sd[pairs:]]) ** 2)
    # A row says its state twice: phi(y) within S, and y = C z + d within R.
    precision = np.linalg.inv(S) + C.T @ np.linalg.inv(R) @ C
    seen_twice = phi @ np.linalg.inv(S) + (data.values[0] - sites["mean"][0]) @ np.linalg.inv(R) @ C
    phi, S = np.linalg.solve(precision, seen_twice.T).T, np.linalg.inv(precision)
    expected = [
        multivariate_normal(C @ F @ phi[t - 1] + sites["mean"][0], C @ (F @ S @ F.T + Q) @ C.T + R).logpdf(
            data.values[0, t]
        )
        for t in range(1, 12)
    ]
    np.testing.assert_allclose(process.log_prob_steps(seen)[0, 1:], expected, rtol=1e-9)
    start = multivariate_normal(sites["mean"][0], C @ C.T + R).logpdf(data.values[0, 0])
    np.testing.assert_allclose(process.log_prob_steps(seen)[0, 0], start, rtol=1e-9)


def _fit(model, context, draws):
    """What the helpers read of a posterior."""
    sites = {name: np.stack([draw[name] for draw in draws]) for name in draws[0]}
    return SimpleNamespace(model=model, context=context, sites=lambda to_array: sites)


def test_residuals_are_those_of_the_learned_functions():
    data = spiral()
    model = Deep(num_states=3)
    context = model.prepare(data)
    sites = centre(model, context)
    rng = np.random.default_rng(0)
    moved = {name: value + 0.1 * rng.uniform(size=value.shape) for name, value in sites.items()}
    pairs = pairs_from(data)
    found = learned_modes(_fit(model, context, [sites, moved]), pairs)
    assert found.names == ("pair1", "decay1")
    np.testing.assert_allclose(found.rates[1].real, -moved["rate"][0])
    np.testing.assert_allclose(found.rates[1].imag, [2 * np.pi * moved["frequency"][0, 0], 0.0])
    np.testing.assert_allclose(found.values, np.exp(found.rates * STEP))
    functions = model.eigenfunctions(moved, context)
    before, after = functions(pairs.first[None])[0], functions(pairs.second[None])[0]
    before, after = (np.stack([z[:, 0] + 1j * z[:, 1], z[:, 2]], axis=-1) for z in (before, after))
    miss = np.sqrt(np.mean(np.abs(after - found.values[1] * before) ** 2, axis=0))
    np.testing.assert_allclose(found.residuals[1], miss / before.std(axis=0), rtol=1e-9)
    # At the centre the pair is an eigenfunction of the data's own operator, and a moved one is not.
    assert found.residuals[0, 0] < 0.02
    assert found.residuals[1, 0] > 2 * found.residuals[0, 0]
    network = learned_dictionary(_fit(model, context, [sites, moved]), draw=0)
    np.testing.assert_allclose(network.weights[0], context["weight_1"])
    assert network.num_functions == 35


def test_residuals_of_pairs_are_those_of_complex_functions():
    data = spiral()
    model = Deep(num_states=2)
    context = model.prepare(data)
    sites = centre(model, context)
    found = learned_modes(_fit(model, context, [sites]), pairs_from(data))
    assert found.names == ("pair1",)
    np.testing.assert_allclose(found.rates[0, 0], -context["rate"][0] + 2j * np.pi * context["frequency"][0])
    assert found.residuals[0, 0] < 0.02
    backwards = dict(sites, frequency=-sites["frequency"])
    assert learned_modes(_fit(model, context, [backwards]), pairs_from(data)).residuals[0, 0] > 0.1


def test_what_cannot_be_read_off_is_refused():
    data = spiral(size=20)
    model = Deep(num_states=2)
    context = model.prepare(data)
    fit = _fit(model, context, [centre(model, context)])
    with pytest.raises(ArgumentError, match=r"`draw` must be in 0, ..., 0; got 1"):
        learned_dictionary(fit, draw=1)
    with pytest.raises(ArgumentError, match=r"of 2 variables and have a `step`; got 2 variables and step None"):
        learned_modes(fit, Pairs(np.ones((3, 2)), np.ones((3, 2))))
    other = SimpleNamespace(model=dp.load_model("koopman/edmd"))
    with pytest.raises(ArgumentError, match=r"must be of koopman/deep; got one of koopman/edmd"):
        learned_modes(other, pairs_from(data))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_states": 0}, "`num_states` must be at least 1; got 0"),
        ({"lift_every": 0}, "`lift_every` must be at least 1; got 0"),
        ({"hidden": ()}, r"`hidden` must be one or more widths of at least 1; got \(\)"),
        ({"spread": 0.0}, "`spread` must be positive; got 0.0"),
        ({"seed": -1}, "`seed` must be at least 0; got -1"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        dp.load_model("koopman/deep", **options)


def _van_der_pol(size=1400, noise=0.02):
    def drift(_, x):
        return [x[1], (1 - x[0] ** 2) * x[1] - x[0]]

    times = STEP * np.arange(size)
    path = solve_ivp(drift, (0, times[-1]), [1.0, 0.0], t_eval=times, rtol=1e-9, atol=1e-9).y.T
    return times, path + noise * np.random.default_rng(1).normal(size=path.shape)


def _crps(draws, truth):
    """Continuous ranked probability score of draws (draw, ...)."""
    ordered, count = np.sort(draws, axis=0), len(draws)
    weights = (2 * np.arange(1, count + 1) - count - 1).reshape(-1, *[1] * truth.ndim)
    return np.abs(draws - truth).mean(axis=0) - (weights * ordered).sum(axis=0) / count**2


def _gaussian_crps(mean, sd, truth):
    z = (truth - mean) / sd
    return sd * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:svi. the evidence lower bound still rises")  # 16 of 3,134, as it comes
def test_svi_forecasts_a_limit_cycle_better_than_linear_laws():
    """1,000 rows of a van der Pol oscillator, seen with noise; each of 42 later rows alone is forecast from."""
    times, values = _van_der_pol()
    train = Trajectories.from_arrays([times[:1000]], [values[:1000]], channels=("x", "v"))
    posterior = dp.fit(dp.load_model("koopman/deep"), train, "svi", num_draws=200)
    origins, ahead = np.arange(1010, 1300, 7), np.arange(1, 11)
    truth = values[origins[:, None] + ahead]
    rows = Trajectories.from_arrays([np.zeros(1)] * len(origins), list(values[origins][:, None]), channels=("x", "v"))
    forecast = dp.forecast(posterior, times=STEP * ahead, data=rows, num_draws=200)
    draws = np.asarray(forecast.draws).reshape(-1, *truth.shape)
    ours = _crps(draws, truth).mean(axis=(0, 2))
    design = np.hstack([np.ones((999, 1)), values[:999]])
    operator = np.linalg.lstsq(design, values[1:1000], rcond=None)[0]
    left = values[1:1000] - design @ operator
    noise, F, mean, cov = left.T @ left / 999, operator[1:].T, values[origins], np.zeros((2, 2))
    for k in ahead:
        mean, cov = np.hstack([np.ones((len(origins), 1)), mean]) @ operator, F @ cov @ F.T + noise
        affine = _gaussian_crps(mean, np.sqrt(np.diag(cov)), truth[:, k - 1]).mean()
        moved = np.sqrt(np.mean((values[k:1000] - values[: 1000 - k]) ** 2, axis=0))
        persistence = _gaussian_crps(values[origins], moved, truth[:, k - 1]).mean()
        assert ours[k - 1] < 0.6 * min(affine, persistence), (k, ours[k - 1], affine, persistence)
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    assert 0.8 < ((truth >= low) & (truth <= high)).mean() <= 1.0
