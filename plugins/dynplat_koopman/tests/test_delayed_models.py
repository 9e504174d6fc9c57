"""`koopman/edmd` with `delays`: systems that are not seen in full."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import dynplat as dp
from dynplat.arrays import Observations, array_namespace, framework, random_source, to_numpy
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, DataError
from dynplat.process import LinearSDE
from dynplat_koopman.delays import Window
from dynplat_koopman.posterior import eigenpair_draws
from dynplat_koopman.power import PowerDynamics
from dynplat_koopman.process import Lifted

STEP, RATE, FREQUENCY = 0.25, 0.02, 0.3


def swing(size=200, noise=0.0, seed=0, holes=()):
    """One coordinate of a damped rotation off the origin, seen with noise."""
    times = STEP * np.arange(size)
    values = 2.0 + np.real(np.exp((-RATE + 2j * np.pi * FREQUENCY) * times))
    values = values + noise * np.random.default_rng(seed).normal(size=size)
    values[list(holes)] = np.nan
    return Trajectories.from_arrays([times], [values[:, None]], channels=("x",))


def lift(y):
    """1, two delays of one channel, and the product of both."""
    xp = array_namespace(y)
    return xp.concat([xp.ones_like(y[..., :1]), y, y[..., :1] * y[..., 1:]], axis=-1)


def parameters(seed=0):
    rng = np.random.default_rng(seed)
    F = np.eye(4)
    F[1] = [0.2, 0.5, -0.4, 0.1]
    F[2] = [0.0, 1.0, 0.0, 0.0]
    F[3] = 0.4 * rng.normal(size=4)
    Q = np.diag([0.0, 0.2, 0.0, 0.3])
    return {"F": F, "Q": Q, "C": np.eye(4)[1:2], "R": np.eye(1) * 0.02, "m0": np.array([1.0, 0.1, 0.2, 0.3]),
            "P0": np.diag([0.0, 1.0, 1.0, 2.0])}  # fmt: skip


def process(p, to_array=np.asarray, lead=()):
    p = {name: to_array(np.broadcast_to(value, (*lead, *value.shape)).copy()) for name, value in p.items()}
    linear = LinearSDE(PowerDynamics(p["F"], p["Q"], STEP), p["C"], p["R"], p["m0"], p["P0"])
    return Lifted(linear, lift, window=Window(1, STEP))


def observations(seed=0, holes=0.0):
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.choice([1, 1, 1, 2], size=(2, 14)), axis=-1)
    values = rng.normal(size=(2, 14, 1))
    mask = rng.uniform(size=values.shape) >= holes
    mask[1, 11:] = False
    steps[1, 11:] = steps[1, 10]
    return Observations(STEP * steps, np.where(mask, values, 1e6), mask)


def filtered(p, times, values, mask):
    """log p(y_t | y_<t), by a filter that starts anew behind every two rows that are a step apart."""
    m, P, terms = p["m0"], p["P0"], []
    for t in range(len(times)):
        gap = round((times[t] - times[t - 1]) / STEP) if t else 0
        for _ in range(gap):
            m, P = p["F"] @ m, p["F"] @ P @ p["F"].T + p["Q"]
        if not mask[t, 0]:
            terms.append(0.0)
            continue
        S = p["C"] @ P @ p["C"].T + p["R"]
        terms.append(multivariate_normal(p["C"] @ m, S).logpdf(values[t]))
        gain = P @ p["C"].T / S
        m, P = m + gain @ (values[t] - p["C"] @ m), P - gain @ p["C"] @ P
        if t and gap == 1 and mask[t - 1, 0]:
            m, P = lift(np.array([values[t, 0], values[t - 1, 0]])), np.zeros_like(P)
    return np.array(terms)


@pytest.mark.parametrize("holes", [0.0, 0.3])
@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_log_density_is_that_of_the_filter_written_out(name, holes):
    p, data = parameters(), observations(holes=holes)
    expected = np.stack([filtered(p, data.times[s], data.values[s], data.mask[s]) for s in range(2)])
    with framework(name) as to_array:
        given = data._replace(values=to_array(data.values), mask=to_array(data.mask))
        np.testing.assert_allclose(to_numpy(process(p, to_array).log_prob_steps(given)), expected, rtol=1e-9)
        many = to_numpy(process(p, to_array, lead=(3, 1)).log_prob_steps(given))
        np.testing.assert_allclose(many, np.broadcast_to(expected, (3, 2, 14)), rtol=1e-9)


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_rows_given_those_before_have_the_density_that_conditioning_says(holes):
    p, data = parameters(), observations(holes=holes, seed=3)
    law = process(p)
    steps = law.log_prob_steps(data)
    for row in range(1, 14):
        before = Observations(*(None if leaf is None else leaf[:, :row] for leaf in data))
        answer = law.condition(before).at(data.times[:, row : row + 1])
        mean, cov = answer.mean()[:, 0], answer.covariance()[:, 0]
        for s in np.flatnonzero(data.mask[:, row, 0]):
            expected = multivariate_normal(mean[s], cov[s]).logpdf(data.values[s, row])
            np.testing.assert_allclose(steps[s, row], expected, rtol=1e-7, atol=1e-8)


def test_simulations_are_lifted_where_two_rows_are_a_step_apart():
    """The mean of log densities of draws is minus the entropy; it would not be if draws followed another law."""
    p = parameters()
    times = STEP * np.array([[0.0, 1, 2, 4, 5, 6]])
    many = process(p, lead=(6000, 1))
    draw = many.sample(times, random=random_source(0, np.zeros(1)))
    mask = np.ones(draw.values.shape, bool)
    steps = many.log_prob_steps(Observations(times, draw.values, mask))[:, 0]
    one = Observations(times, draw.values[0], mask[0])
    for row in range(6):
        before = Observations(*(None if leaf is None else leaf[:, :row] for leaf in one))
        cov = process(p).condition(before).at(times[:, row : row + 1]).covariance()[0, 0]
        entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * cov)[1]
        assert abs(steps[:, row].mean() + entropy) < 5 * steps[:, row].std() / np.sqrt(6000)


def test_one_channel_of_a_rotation_is_forecast_by_two_rows():
    data = swing(160)
    blind = dp.fit(dp.load_model("koopman/edmd", dictionary="monomials:degree=1"), data)
    fit = dp.fit(dp.load_model("koopman/edmd", dictionary="monomials:degree=1", delays=1), data)
    truth = swing(200).values[0, 160:, 0]
    found, other = (dp.forecast(f, 40, num_draws=0).dataset["mean"].values[0, :, 0] for f in (fit, blind))
    np.testing.assert_allclose(found, truth, atol=1e-8)
    assert np.abs(other - truth).max() > 0.1
    (pairs,) = eigenpair_draws(fit)
    values = np.sort_complex(pairs.values)
    rotation = np.exp((-RATE + 2j * np.pi * FREQUENCY) * STEP)
    np.testing.assert_allclose(values, np.sort_complex(np.array([rotation, rotation.conj(), 1.0])), atol=1e-9)
    assert pairs.residuals.max() < 1e-6


@pytest.mark.parametrize("state", ["lifted", "filtered"])
def test_holes_are_filled_between_rows_that_say_enough(state):
    holes = [30, 31, 32, 70, 100]
    data = swing(200, noise=0.01, holes=holes)
    model = dp.load_model("koopman/edmd", dictionary="monomials:degree=1", delays=3, state=state)
    filled = dp.impute(dp.fit(model, data))
    lower, upper = filled.interval(0.99)
    truth = swing(200).values[0, holes, 0]
    mean = filled.dataset["mean"].values[0, holes, 0]
    assert np.abs(mean - truth).max() < 0.05
    assert ((truth > np.asarray(lower)[0, holes, 0] - 0.02) & (truth < np.asarray(upper)[0, holes, 0] + 0.02)).all()


def test_what_delays_cannot_do_is_refused():
    with pytest.raises(ArgumentError, match="`delays` must be at least 0; got -1"):
        dp.load_model("koopman/edmd", delays=-1)
    with pytest.raises(ArgumentError, match=r"rows in continuous time have no step: leave `continuous` or `delays`"):
        dp.load_model("koopman/edmd", delays=2, continuous=True)
    with pytest.raises(DataError, match="no row has complete rows at all of 5 delays before it"):
        dp.fit(dp.load_model("koopman/edmd", delays=5), swing(60, holes=range(0, 60, 3)))
    p = parameters()
    linear = process(p).process
    with pytest.raises(ArgumentError, match="`lift_every` of Lifted must be 1 with a `window` of delays; got 2"):
        Lifted(linear, lift, window=Window(1, STEP), lift_every=2)
