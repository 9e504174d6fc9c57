"""Lifted processes against filters and dense Gaussians written out with NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from dynplat.arrays import Observations, array_namespace, framework, random_source, to_numpy
from dynplat.errors import ArgumentError
from dynplat.process import LinearSDE
from dynplat.scan import forced_driver
from dynplat_koopman.power import PowerDynamics
from dynplat_koopman.process import Lifted

H_STEP = 0.5


def lift(y):
    """1, the coordinates, and the square of the first."""
    xp = array_namespace(y)
    return xp.concat([xp.ones_like(y[..., :1]), y, y[..., :1] ** 2], axis=-1)


def _parameters(seed=0):
    rng = np.random.default_rng(seed)
    F = np.eye(4)
    F[1:] = 0.5 * rng.normal(size=(3, 4))
    L = 0.4 * rng.normal(size=(4, 3))
    L[0] = 0.0
    C = np.zeros((2, 4))
    C[0, 1] = C[1, 2] = 1.0
    P0 = np.diag([0.0, 1.0, 1.0, 2.0])
    return {
        "F": F, "Q": L @ L.T, "C": C, "R": np.diag([0.02, 0.03]), "m0": np.array([1.0, 0.1, 0.2, 1.0]), "P0": P0,
        "d": np.array([0.3, -0.1]),
    }  # fmt: skip


def _process(parameters, to_array=np.asarray, lead=()):
    p = {name: to_array(np.broadcast_to(value, (*lead, *value.shape)).copy()) for name, value in parameters.items()}
    return Lifted(
        LinearSDE(PowerDynamics(p["F"], p["Q"], H_STEP), p["C"], p["R"], p["m0"], p["P0"], p["d"]), lambda y: lift(y)
    )


def _data(seed=0, holes=0.0):
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.integers(1, 4, size=(2, 14)), axis=-1)
    values = rng.normal(size=(2, 14, 2))
    mask = rng.uniform(size=values.shape) >= holes
    mask[1, 11:] = False
    steps[1, 11:] = steps[1, 10]
    return Observations(H_STEP * steps, np.where(mask, values, 1e6), mask)


def _filter(p, times, values, mask, noise_scale=lambda psi: 1.0, domain=lambda y: True):
    """log p(y_t | y_<t) of one series, by a filter with matrices that starts anew after every complete row.

    With a `domain`, after every one that lies in it.
    """
    m, P, terms, scale = p["m0"], p["P0"], [], 1.0
    for t in range(len(times)):
        if t:
            for _ in range(round((times[t] - times[t - 1]) / H_STEP)):
                m, P = p["F"] @ m, p["F"] @ P @ p["F"].T + scale * p["Q"]
        seen = mask[t]
        C, R, d = p["C"][seen], p["R"][np.ix_(seen, seen)], p["d"][seen]
        if not seen.any():
            terms.append(0.0)
            continue
        S = C @ P @ C.T + R
        y = values[t, seen]
        terms.append(multivariate_normal(C @ m + d, S).logpdf(y))
        gain = P @ C.T @ np.linalg.inv(S)
        m, P = m + gain @ (y - C @ m - d), P - gain @ C @ P
        if seen.all() and domain(values[t]):
            m, P = lift(values[t]), np.zeros_like(P)
            scale = noise_scale(m)
    return np.array(terms)


@pytest.mark.parametrize("holes", [0.0, 0.35])
@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_log_density_is_that_of_the_filter_written_out(name, holes):
    p, data = _parameters(), _data(holes=holes)
    expected = np.stack([_filter(p, data.times[s], data.values[s], data.mask[s]) for s in range(2)])
    with framework(name) as to_array:
        given = data._replace(values=to_array(data.values), mask=to_array(data.mask))
        np.testing.assert_allclose(to_numpy(_process(p, to_array).log_prob_steps(given)), expected, rtol=1e-9)
        many = to_numpy(_process(p, to_array, lead=(3, 1)).log_prob_steps(given))
        np.testing.assert_allclose(many, np.broadcast_to(expected, (3, 2, 14)), rtol=1e-9)
        for driver in ("sequential", "balanced"):
            with forced_driver(driver):
                found = to_numpy(_process(p, to_array).log_prob_steps(given))
            np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("holes", [0.0, 0.35])
def test_noise_is_scaled_as_the_last_complete_row_says(holes):
    import jax

    def noise_scale(psi):
        return array_namespace(psi).exp(0.3 * psi[..., 1] - 0.2 * psi[..., 2])

    p, data = _parameters(), _data(holes=holes)
    expected = np.stack([_filter(p, data.times[s], data.values[s], data.mask[s], noise_scale) for s in range(2)])
    process = _process(p)
    process.noise_scale = noise_scale
    np.testing.assert_allclose(process.log_prob_steps(data), expected, rtol=1e-9)
    with framework("jax") as to_array:

        def steps(values, mask):
            traced = _process(p, to_array)
            traced.noise_scale = noise_scale
            return traced.log_prob_steps(Observations(data.times, values, mask))

        found = np.asarray(jax.jit(steps)(to_array(data.values), to_array(data.mask)))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    # A forecast is that of the last complete row, with the noise that it says.
    ahead = data.times[:, -1:] + H_STEP
    rows = [np.flatnonzero(data.mask[s].all(axis=-1))[-1] for s in range(2)]
    for s, row in enumerate(rows):
        if data.mask[s, row + 1 :].any():
            continue
        k = round((ahead[s, 0] - data.times[s, row]) / H_STEP)
        Q = sum(np.linalg.matrix_power(p["F"], j) @ p["Q"] @ np.linalg.matrix_power(p["F"], j).T for j in range(k))
        cov = p["C"] @ (noise_scale(lift(data.values[s, row])) * Q) @ p["C"].T + p["R"]
        np.testing.assert_allclose(process.condition(data).at(ahead).covariance()[s, 0], cov, rtol=1e-9)


@pytest.mark.parametrize("holes", [0.0, 0.35])
@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_rows_outside_of_the_domain_are_filtered(name, holes):
    def domain(y):
        return (y[..., 0] > -0.5) & (y[..., 1] < 0.6)

    p, data = _parameters(), _data(holes=holes)
    expected = np.stack([_filter(p, data.times[s], data.values[s], data.mask[s], domain=domain) for s in range(2)])
    with framework(name) as to_array:
        process = _process(p, to_array)
        process.domain = domain
        given = data._replace(values=to_array(data.values), mask=to_array(data.mask))
        np.testing.assert_allclose(to_numpy(process.log_prob_steps(given)), expected, rtol=1e-9)
    process = _process(p)
    process.domain = domain
    for row in range(1, 14):
        before = Observations(*(None if leaf is None else leaf[:, :row] for leaf in data))
        law = process.condition(before).at(data.times[:, row : row + 1])
        for s in np.flatnonzero(data.mask[:, row].all(axis=-1)):
            found = multivariate_normal(law.mean()[s, 0], law.covariance()[s, 0]).logpdf(data.values[s, row])
            np.testing.assert_allclose(found, expected[s, row], rtol=1e-6, atol=1e-6)


def test_simulations_are_lifted_inside_of_the_domain():
    """The mean of log densities of draws is that of their entropies, which depend on where the rows before lay."""
    p = _parameters()
    process = _process(p, lead=(4000, 1))
    process.domain = lambda y: y[..., 0] < 0.5
    times = H_STEP * np.arange(4.0)[None]
    draw = process.sample(times, random=random_source(0, np.zeros(1)))
    seen = Observations(times, draw.values, np.ones(draw.values.shape, bool))
    steps = process.log_prob_steps(seen)[:, 0]
    for row in range(4):
        before = Observations(times[:, :row], draw.values[..., :row, :], seen.mask[..., :row, :])
        cov = process.condition(before).at(times[:, row : row + 1]).covariance()[:, 0, 0]
        entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * cov)[1]
        left = steps[:, row] + entropy
        assert abs(left.mean()) < 5 * left.std() / np.sqrt(4000)


def test_both_ways_to_the_density_agree_where_nothing_is_missing():
    p, data = _parameters(), _data()
    process = _process(p)
    short = process.log_prob_steps(data)
    process._has_holes = lambda mask, lifted: True
    np.testing.assert_allclose(process.log_prob_steps(data), short, rtol=1e-11)


def test_a_mask_that_is_only_traced_gives_the_same():
    import jax

    p, data = _parameters(), _data(holes=0.3)
    expected = _process(p).log_prob_steps(data)
    with framework("jax") as to_array:
        run = jax.jit(lambda v, m: _process(p, to_array).log_prob_steps(Observations(data.times, v, m)))
        found = np.asarray(run(to_array(data.values), to_array(data.mask)))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_gradients_do_not_read_hidden_values():
    import torch

    p, data = _parameters(), _data(holes=0.3)
    data = data._replace(values=np.where(data.mask, data.values, 1e200))  # whose squares overflow
    with framework("torch") as to_array:
        F = to_array(p["F"]).requires_grad_(True)
        dynamics = PowerDynamics(F, to_array(p["Q"]), H_STEP)
        process = LinearSDE(dynamics, *(to_array(p[name]) for name in ("C", "R", "m0", "P0", "d")))
        given = data._replace(values=to_array(data.values), mask=to_array(data.mask))
        Lifted(process, lambda y: lift(y)).log_prob(given).sum().backward()
        assert torch.isfinite(F.grad).all()
        assert (F.grad != 0).any()


def _dense(p, times, values, mask, query):
    """Means and covariances of z at query times, by conditioning the joint Gaussian between complete rows."""
    everything = np.union1d(times, query)
    complete = {time: lift(values[i]) for i, time in enumerate(times) if mask[i].all()}
    answers = {}
    for time in query:
        if time in complete:
            answers[time] = complete[time], np.zeros((4, 4))
            continue
        before = [t for t in complete if t < time]
        after = [t for t in complete if t > time]
        start = max(before) if before else everything[0]
        stop = min(after) if after else everything[-1]
        grid = np.array([t for t in everything if start <= t <= stop])
        m, P = (complete[start], np.zeros((4, 4))) if before else (p["m0"], p["P0"])
        means, covs, moves = [m], [P], []
        for gap in np.diff(grid):
            F = np.linalg.matrix_power(p["F"], round(gap / H_STEP))
            Q = sum(
                np.linalg.matrix_power(p["F"], j) @ p["Q"] @ np.linalg.matrix_power(p["F"], j).T
                for j in range(round(gap / H_STEP))
            )
            means.append(F @ means[-1])
            covs.append(F @ covs[-1] @ F.T + Q)
            moves.append(F)
        size = len(grid)
        joint = np.zeros((4 * size, 4 * size))
        for i in range(size):
            block = covs[i]
            for j in range(i, size):
                block = block if j == i else moves[j - 1] @ block
                joint[4 * j : 4 * j + 4, 4 * i : 4 * i + 4] = block
                joint[4 * i : 4 * i + 4, 4 * j : 4 * j + 4] = block.T
        mean = np.concatenate(means)
        rows, seen, noise = [], [], []
        for j, t in enumerate(grid):
            pick = np.zeros((4, 4 * size))
            pick[:, 4 * j : 4 * j + 4] = np.eye(4)
            if t in complete:
                if j:
                    rows += list(pick)
                    seen += list(complete[t])
                    noise += [0.0] * 4
                continue
            for i in np.flatnonzero(times == t):
                for c in np.flatnonzero(mask[i]):
                    rows.append(p["C"][c] @ pick)
                    seen.append(values[i, c] - p["d"][c])
                    noise.append(p["R"][c, c])
        place = int(np.flatnonzero(grid == time)[0])
        if rows:
            A, seen = np.array(rows), np.array(seen)
            S = A @ joint @ A.T + np.diag(noise)
            gain = joint @ A.T @ np.linalg.pinv(S, rcond=1e-12)
            mean, joint = mean + gain @ (seen - A @ mean), joint - gain @ A @ joint
        block = slice(4 * place, 4 * place + 4)
        answers[time] = mean[block], joint[block, block]
    return answers


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("seed", [1, 5])
def test_answers_are_those_of_the_dense_gaussian_between_complete_rows(name, seed):
    p, data = _parameters(seed), _data(seed, holes=0.35)
    # Innovations of full rank, so that a row that ends a hole does not contradict the law.
    p["Q"] = p["Q"] + np.diag([0.0, 0.1, 0.1, 0.1])
    query = H_STEP * np.stack([np.arange(s, s + 34) for s in np.rint(data.times[:, 0] / H_STEP)])
    with framework(name) as to_array:
        given = data._replace(values=to_array(data.values), mask=to_array(data.mask))
        law = _process(p, to_array).condition(given).at(query)
        means, covs = to_numpy(law.mean("state")), to_numpy(law.covariance("state"))
        values = to_numpy(law.mean())
        spread = to_numpy(law.variance())
    for s in range(2):
        rows = data.mask[s].any(axis=-1)
        dense = _dense(p, data.times[s][rows], data.values[s][rows], data.mask[s][rows], query[s])
        for q, time in enumerate(query[s]):
            mean, cov = dense[time]
            np.testing.assert_allclose(means[s, q], mean, atol=2e-5, rtol=1e-5)
            np.testing.assert_allclose(covs[s, q], cov, atol=2e-5, rtol=1e-5)
            np.testing.assert_allclose(values[s, q], p["C"] @ mean + p["d"], atol=2e-5, rtol=1e-5)
            np.testing.assert_allclose(spread[s, q], np.diag(p["C"] @ cov @ p["C"].T + p["R"]), atol=2e-5, rtol=1e-5)


def test_forecasts_start_from_the_last_complete_row():
    p, data = _parameters(), _data(holes=0.3)
    process = _process(p)
    ahead = data.times[:, -1:] + H_STEP * np.array([1.0, 2.0, 7.0])
    law = process.condition(data).at(ahead)
    complete = np.flatnonzero(data.mask.all(axis=-1).all(axis=0))[-1]
    late = Observations(*(None if leaf is None else leaf[:, complete:] for leaf in data))
    np.testing.assert_allclose(process.condition(late).at(ahead).mean(), law.mean(), rtol=1e-9)
    draws = law.draws(4000, random=random_source(0, np.zeros(1)))
    np.testing.assert_allclose(draws.mean(axis=0), law.mean(), atol=5 * np.sqrt(law.variance().max() / 4000))
    with pytest.raises(ArgumentError, match="before the first row"):
        process.condition(data).at(data.times[:, :1] - H_STEP)


def test_simulation_lifts_every_row_anew():
    """Given a drawn row the next is normal around its lifted prediction: whitened innovations are standard normal."""
    p = _parameters(3)
    times = H_STEP * np.array([[0.0, 1.0, 3.0, 4.0]])
    draw = _process(p, lead=(4000, 1)).sample(times, random=random_source(1, np.zeros(1)))
    assert draw.values.shape == (4000, 1, 4, 2)
    assert draw.states is not None
    assert draw.states.shape == (4000, 1, 4, 4)
    again = _process(p, lead=(4000, 1)).sample(times, random=random_source(1, np.zeros(1)))
    assert np.array_equal(draw.values, again.values)
    steps = np.stack([_filter(p, times[0], y[0], np.ones((4, 2), bool)) for y in draw.values[:50]])
    np.testing.assert_allclose(
        _process(p, lead=(50, 1)).log_prob_steps(Observations(times, draw.values[:50], np.ones((50, 1, 4, 2), bool)))[
            :, 0
        ],
        steps,
        rtol=1e-9,
    )
    for row, k in ((1, 1), (2, 2), (3, 1)):
        F = np.linalg.matrix_power(p["F"], k)
        Q = sum(np.linalg.matrix_power(p["F"], j) @ p["Q"] @ np.linalg.matrix_power(p["F"], j).T for j in range(k))
        S = p["C"] @ Q @ p["C"].T + p["R"]
        away = draw.values[:, 0, row] - lift(draw.values[:, 0, row - 1]) @ F.T @ p["C"].T - p["d"]
        white = np.linalg.solve(np.linalg.cholesky(S), away.T)
        np.testing.assert_allclose(white.mean(axis=1), 0.0, atol=5 / np.sqrt(4000))
        np.testing.assert_allclose(np.cov(white), np.eye(2), atol=0.12)


def test_with_coordinates_alone_it_is_the_linear_process():
    """psi(y) = (1, y) and R = 0: a complete row is the whole state, and both laws are the vector autoregression."""
    rng = np.random.default_rng(0)
    F = np.eye(3)
    F[1:] = 0.4 * rng.normal(size=(2, 3))
    Q = np.diag([0.0, 0.3, 0.2])
    C = np.eye(3)[1:]
    start = np.array([1.0, 0.0, 0.0]), np.diag([0.0, 1.0, 1.0])
    linear = LinearSDE(PowerDynamics(F, Q, H_STEP), C, np.zeros((2, 2)), *start)
    lifted = Lifted(linear, lambda y: lift(y)[..., :3])
    data = _data(2, holes=0.3)
    np.testing.assert_allclose(lifted.log_prob_steps(data), linear.log_prob_steps(data), rtol=1e-9, atol=1e-9)
    query = np.sort(np.concatenate([data.times, data.times[:, -1:] + H_STEP * np.arange(1, 4)], axis=-1))
    one, other = lifted.condition(data).at(query), linear.condition(data).at(query)
    np.testing.assert_allclose(one.mean(), other.mean(), atol=1e-6)
    np.testing.assert_allclose(one.variance(), other.variance(), atol=1e-6)


def test_inputs_are_held_from_a_row_to_the_next():
    p = _parameters()
    rng = np.random.default_rng(0)
    B = rng.normal(size=(4, 1))
    B[0] = 0
    dynamics = PowerDynamics(p["F"], p["Q"], H_STEP, B=B)
    process = Lifted(LinearSDE(dynamics, p["C"], p["R"], p["m0"], p["P0"], p["d"]), lift)
    times, inputs = H_STEP * np.array([[0.0, 2.0]]), np.array([[[1.5], [7.0]]])
    values = rng.normal(size=(1, 2, 2))
    data = Observations(times, values, np.ones((1, 2, 2), bool), inputs)
    mean = p["F"] @ (p["F"] @ lift(values[0, 0]) + 1.5 * B[:, 0]) + 1.5 * B[:, 0]
    cov = p["C"] @ (p["F"] @ p["Q"] @ p["F"].T + p["Q"]) @ p["C"].T + p["R"]
    expected = multivariate_normal(p["C"] @ mean + p["d"], cov).logpdf(values[0, 1])
    np.testing.assert_allclose(process.log_prob_steps(data)[0, 1], expected)
    ahead = process.condition(data).at(times + 2 * H_STEP)
    mean = p["F"] @ (p["F"] @ lift(values[0, 1]) + 7.0 * B[:, 0]) + 7.0 * B[:, 0]
    np.testing.assert_allclose(ahead.mean()[0, 1], p["C"] @ mean + p["d"])


def test_starts_that_are_not_given_are_refused():
    p = _parameters()
    stable = LinearSDE(PowerDynamics(0.5 * np.eye(4), np.eye(4), 1.0), p["C"], p["R"])
    with pytest.raises(ArgumentError, match="must have a start `m0`, `P0` of its own"):
        Lifted(stable, lift)
