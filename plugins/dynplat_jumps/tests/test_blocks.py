"""Draws of parameters given paths, against quadrature, closed forms and each other's maxima."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.special import gammaln

from dynplat.arrays import Observations
from dynplat.errors import InferenceError
from dynplat_jumps.blocks import InitialBlock, Packing, PathStatistics, PopulationBlock, RatesBlock
from dynplat_jumps.emission_blocks import Bell, CodesBlock, CountsBlock, ErrorsBlock, NormalBlock, StudentBlock
from dynplat_jumps.slices import slice_draw
from dynplat_jumps.tests.conftest import Grid


def seen(values, mask=None):
    values = np.asarray(values, dtype=float)
    mask = np.ones(values.shape, bool) if mask is None else mask
    return Observations(np.arange(values.shape[1], dtype=float)[None], values, mask)


def paths_of(states, K=2):
    """Statistics of which only the states at rows are read, (series, time)."""
    states = np.asarray(states)
    first = np.bincount(states[:, 0], minlength=K).astype(float)
    return PathStatistics(np.zeros((1, K)), np.zeros((1, K, K)), first, (states[..., None] == np.arange(K)) * 1.0)


def chain(block, values, paths, draws, seed=0):
    rng = np.random.default_rng(seed)
    found = {name: [] for name in block.coordinates}
    for _ in range(draws):
        values = block.draw(values, paths, rng)
        for name in found:
            found[name].append(values[name])
    return {name: np.stack(draws) for name, draws in found.items()}


def test_slices_keep_a_law_with_two_modes():
    def log_density(x):
        return np.logaddexp(-0.5 * (x + 1.5) ** 2, -2.0 * (x - 1.5) ** 2)

    rng = np.random.default_rng(0)
    x, draws = np.zeros(50), []
    for _ in range(1500):
        x = slice_draw(log_density, x, 0.7, rng)
        draws.append(x)
    draws = np.stack(draws)[100:].T  # independent chains
    grid = Grid([np.linspace(-9, 6, 400)], log_density)
    for power in (1, 2, 3):
        means = (draws**power).mean(axis=1)
        error = means.std() / np.sqrt(len(means))
        assert abs(means.mean() - grid.mean(grid.values[0] ** power)) < 4.5 * error
    with pytest.raises(InferenceError, match="has no end"):
        slice_draw(np.zeros_like, np.zeros(1), 1.0, rng)


# One channel has a hole; the third state shows nothing and must keep its prior.
VALUES = np.array([[[0.3, 9.0], [1.1, 2.0], [-0.4, 2.5], [0.9, 1.0], [2.0, 3.0]]])
MASK = np.array([[[True, False], [True, True], [True, True], [True, True], [True, True]]])
STATES = np.array([[0, 0, 1, 0, 1]])
LOCATION = Bell(np.array([[0.0, 1.0], [0.5, 2.0], [1.0, 3.0]]), np.full((3, 2), 1.3))
LOG_SCALE = Bell(np.full((3, 2), -0.4), np.full((3, 2), 0.8))
CELLS = {(0, 0): [0.3, 1.1, 0.9], (0, 1): [2.0, 1.0], (1, 0): [-0.4, 2.0], (2, 1): []}


def test_centres_and_scales_have_their_posterior():
    block = NormalBlock(seen(VALUES, MASK), LOCATION, LOG_SCALE, np.ones(2))
    start = {"location": LOCATION.centre, "noise_scale": np.exp(LOG_SCALE.centre)}
    draws = chain(block, start, paths_of(STATES, 3), 12_000)
    for (state, channel), values in CELLS.items():
        centre = LOCATION.centre[state, channel]

        def log_density(mu, log_scale, values=values, centre=centre):
            total = stats.norm.logpdf(mu, centre, 1.3) + stats.norm.logpdf(log_scale, -0.4, 0.8)
            return total + sum(stats.norm.logpdf(y, mu, np.exp(log_scale)) for y in values)

        grid = Grid([np.linspace(-7, 9, 161), np.linspace(-5.0, 4.0, 91)], log_density)
        mu, log_scale = grid.values
        grid.check(draws["location"][:, state, channel], mu)
        grid.check(np.log(draws["noise_scale"][:, state, channel]), log_scale)


def test_degrees_of_freedom_have_their_posterior():
    values = np.array([0.1, -0.2, 0.4, 4.0, 0.0, 0.3])
    block = StudentBlock(
        seen(values[None, :, None]),
        Bell(np.zeros((1, 1)), np.ones((1, 1))),
        Bell(np.full((1, 1), -1.0), np.ones((1, 1))),
        np.ones(1),
        Bell(np.asarray(1.6), np.asarray(0.7)),
    )
    start = {"location": np.zeros((1, 1)), "noise_scale": np.ones((1, 1)), "degrees": np.asarray(5.0)}
    draws = chain(block, start, paths_of(np.zeros((1, 6), int), 1), 20_000)

    def log_density(mu, log_scale, log_nu):
        total = stats.norm.logpdf(mu) + stats.norm.logpdf(log_scale, -1.0, 1.0) + stats.norm.logpdf(log_nu, 1.6, 0.7)
        return total + sum(stats.t.logpdf(y, np.exp(log_nu), mu, np.exp(log_scale)) for y in values)

    grid = Grid([np.linspace(-3, 3, 81), np.linspace(-5, 3, 50), np.linspace(-2, 5, 40)], log_density)
    for name, value, transform in zip(block.coordinates, grid.values, (np.asarray, np.log, np.log), strict=True):
        grid.check(transform(draws[name]).ravel(), value)


def test_counts_have_their_posterior():
    values = np.array([[[2.0], [0.0], [7.0], [1.0]]])
    log_rate = Bell(np.array([[0.0], [1.0]]), np.ones((2, 1)))
    block = CountsBlock(seen(values), log_rate)
    draws = chain(block, {"count_rate": np.ones((2, 1))}, paths_of([[0, 0, 1, 0]]), 10_000)
    for state, counts in enumerate(([2, 0, 1], [7])):

        def log_density(x, counts=counts, state=state):
            return stats.norm.logpdf(x, float(state), 1.0) + sum(stats.poisson.logpmf(n, np.exp(x)) for n in counts)

        grid = Grid([np.linspace(-6, 6, 200)], log_density)
        grid.check(np.log(draws["count_rate"][:, state, 0]), grid.values[0])


def test_codes_first_states_and_rates_have_their_posteriors():
    rng = np.random.default_rng(0)
    codes = CodesBlock(seen([[[0.0], [2.0], [2.0], [1.0]]]), np.ones((2, 1, 3)))
    drawn = chain(codes, {}, paths_of([[0, 0, 1, 0]]), 3000)["code_probability"][:, 0, 0]
    for code, count in enumerate((1, 1, 1)):
        assert stats.kstest(drawn[:, code], stats.beta(1 + count, 5 - count).cdf).pvalue > 1e-4
    start = InitialBlock(np.array([1.0, 1.0, 2.0]))
    paths = paths_of([[0], [2], [0], [0]], 3)
    drawn = np.stack([start.draw({}, paths, rng)["initial"] for _ in range(3000)])
    for state, total in enumerate((4.0, 1.0, 3.0)):
        assert stats.kstest(drawn[:, state], stats.beta(total, 8.0 - total).cdf).pvalue > 1e-4
    np.testing.assert_allclose(start.maximise({}, paths)["initial"], [0.75, 0.0, 0.25])
    stays, jumps = np.array([[2.0, 1.0], [0.5, 4.0]]), np.zeros((2, 2, 2))
    jumps[0, 0, 1], jumps[1, 1, 0] = 3.0, 2.0
    paths = PathStatistics(stays, jumps, np.zeros(2), np.zeros((1, 1, 2)))
    places = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 1], [1, 1, 0]])
    rates = RatesBlock(places, (2, 2), shape=1.5, rate=0.5)
    drawn = np.stack([rates.draw({}, paths, rng)["rate"] for _ in range(3000)])
    for place, events, stay in (((0, 0), 3, 2.0), ((0, 1), 0, 1.0), ((1, 0), 0, 0.5), ((1, 1), 2, 4.0)):
        law = stats.gamma(1.5 + events, scale=1.0 / (0.5 + stay))
        assert stats.kstest(drawn[(slice(None), *place)], law.cdf).pvalue > 1e-4


def test_errors_of_labels_have_their_posterior():
    # State 1 of three is mistaken for both others; state 3 for none.
    errors = np.array([[0, 1], [0, 2], [1, 0]])
    labels = np.array([[[1.0], [2.0], [1.0], [3.0], [1.0], [2.0], [3.0]]])
    states = np.array([[0, 0, 0, 0, 0, 1, 2]])
    prior = Bell(np.full(3, -2.0), np.full(3, 1.5))
    block = ErrorsBlock(seen(labels), errors, 1, prior)
    draws = chain(block, {"error_logit": prior.centre}, paths_of(states, 3), 12_000)["error_logit"]

    def log_density(a, b):
        total = 1.0 + np.exp(a) + np.exp(b)
        logs = stats.norm.logpdf(a, -2.0, 1.5) + stats.norm.logpdf(b, -2.0, 1.5)
        return logs + a + b - 5.0 * np.log(total)

    grid = Grid([np.linspace(-10, 4, 120)] * 2, log_density)
    for error, value in enumerate(grid.values):
        grid.check(draws[:, error], value)
    alone = Grid([np.linspace(-10, 5, 200)], lambda c: stats.norm.logpdf(c, -2.0, 1.5) - np.log1p(np.exp(c)))
    alone.check(draws[:, 2], alone.values[0])
    best = block.maximise({"error_logit": prior.centre}, paths_of(states, 3))["error_logit"]
    np.testing.assert_allclose(best, [np.log(1 / 3), np.log(1 / 3), -40.0])


COUNTS = np.array([2.0, 3.0, 1.0, 4.0, 0.0])  # jumps up from 0, ..., 4
DEATHS = np.array([0.0, 1.0, 2.0, 1.0, 1.0, 0.0])
STAYS = np.array([1.0, 1.5, 0.7, 1.2, 0.3, 0.1])


def population():
    jumps = np.zeros((1, 6, 6))
    jumps[0, np.arange(5), np.arange(1, 6)] = COUNTS
    jumps[0, np.arange(1, 6), np.arange(5)] = DEATHS[1:]
    return PathStatistics(STAYS[None], jumps, np.zeros(6), np.zeros((1, 1, 6)))


def log_population(birth, immigration):
    """Log-likelihood of jumps up and of the times below the capacity."""
    up = [birth * n + immigration for n in range(5)]
    return sum(count * np.log(rate) - stay * rate for count, rate, stay in zip(COUNTS, up, STAYS[:5], strict=True))


def test_births_and_immigrations_have_their_posterior():
    laws = {"birth": (1.5, 2.0), "death": (2.0, 1.0), "immigration": (1.2, 0.7)}
    block = PopulationBlock(5, True, {name: tuple(map(np.asarray, law)) for name, law in laws.items()})
    start = {name: np.asarray(1.0) for name in laws}
    draws = chain(block, start, population(), 30_000)

    def log_density(log_birth, log_immigration):
        total = log_population(np.exp(log_birth), np.exp(log_immigration))
        for value, name in ((log_birth, "birth"), (log_immigration, "immigration")):
            total = total + laws[name][0] * value - laws[name][1] * np.exp(value)
        return total

    grid = Grid([np.linspace(-9, 3, 150)] * 2, log_density)
    grid.check(draws["birth"], np.exp(grid.values[0]))
    grid.check(draws["immigration"], np.exp(grid.values[1]))
    law = stats.gamma(2.0 + DEATHS.sum(), scale=1.0 / (1.0 + (np.arange(6) * STAYS).sum()))
    assert stats.kstest(draws["death"][::10], law.cdf).pvalue > 1e-4


def test_an_m_step_of_populations_is_the_maximum():
    block = PopulationBlock(5, True, {})
    values = {name: np.asarray(1.0) for name in ("birth", "death", "immigration")}
    for _ in range(20):
        values = block.maximise(values, population())
    best = optimize.minimize(
        lambda x: -log_population(*np.exp(x)),
        np.zeros(2),
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-12},
    )
    np.testing.assert_allclose([values["birth"], values["immigration"]], np.exp(best.x), rtol=1e-4)
    assert values["death"] == pytest.approx(DEATHS.sum() / (np.arange(6) * STAYS).sum())


def test_an_m_step_of_student_values_raises_the_expected_likelihood():
    rng = np.random.default_rng(3)
    values, states = rng.standard_t(3.0, (1, 40, 1)), rng.dirichlet(np.ones(2), (1, 40))
    paths = PathStatistics(np.zeros((1, 2)), np.zeros((1, 2, 2)), np.ones(2), states)
    bell = Bell(np.zeros((2, 1)), np.ones((2, 1)))
    block = StudentBlock(seen(values), bell, bell, np.ones(1), Bell(np.asarray(0.0), np.asarray(1.0)))
    now = {"location": np.array([[-1.0], [1.0]]), "noise_scale": np.ones((2, 1)), "degrees": np.asarray(5.0)}

    def expected(found):
        nu, mu, sigma = found["degrees"], found["location"][:, 0], found["noise_scale"][:, 0]
        z = (values[0] - mu) / sigma
        top = gammaln(0.5 * (nu + 1)) - gammaln(0.5 * nu) - 0.5 * np.log(np.pi * nu) - np.log(sigma)
        return (states[0] * (top - 0.5 * (nu + 1) * np.log1p(z**2 / nu))).sum()

    trace = [expected(now)]
    for _ in range(200):
        now = block.maximise(now, paths)
        trace.append(expected(now))
    assert (np.diff(trace) > -1e-9).all()
    # Repeated, the step ends where the weighted likelihood has no slope.
    for name in now:
        for place in np.ndindex(now[name].shape):
            moved = {key: value.copy() for key, value in now.items()}
            ends = []
            for sign in (1, -1):
                moved[name] = now[name].copy()
                moved[name][place] *= 1.0 + sign * 1e-4
                ends.append(expected(moved))
            assert abs(ends[0] - ends[1]) / 2e-4 < 2e-3


def test_a_state_on_a_single_value_is_refused():
    block = NormalBlock(seen([[[1.0], [2.0], [2.5]]]), LOCATION, LOG_SCALE, np.ones(1))
    with pytest.raises(InferenceError, match="state 1 shrinks onto a single value of channel 0"):
        block.maximise({"location": np.zeros((2, 1)), "noise_scale": np.ones((2, 1))}, paths_of([[0, 1, 1]]))


def test_packing_and_unpacking_are_inverse():
    blocks = [InitialBlock(np.ones(3)), NormalBlock(seen(VALUES, MASK), LOCATION, LOG_SCALE, np.array([2.0, 5.0]))]
    values = {
        "initial": np.array([0.2, 0.0, 0.8]),
        "location": np.array([[1.0, -3.0], [0.0, 4.0], [2.0, 2.0]]),
        "noise_scale": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    }
    packing = Packing(blocks, values)
    again = packing.unpack(packing.pack(values))
    for name, value in values.items():
        np.testing.assert_allclose(again[name], value, rtol=1e-12, atol=1e-80)
    assert packing.unpack(packing.pack(values) + 3.0)["initial"].sum() == pytest.approx(1.0)
