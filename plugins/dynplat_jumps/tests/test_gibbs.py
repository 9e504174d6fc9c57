"""The Gibbs sampler against quadrature, and EM's statistics against finite differences of dense sums over states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.linalg import expm

import dynplat as dp
from dynplat.arrays import Observations
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, InferenceError
from dynplat.marks import ENTERED, MOVED, OBSERVED, STAYED
from dynplat.model import observations_from
from dynplat.process import GaussianEmission
from dynplat_jumps.em import expected_statistics
from dynplat_jumps.emission import StateEmission
from dynplat_jumps.gibbs import sample_rates
from dynplat_jumps.process import MarkovJump
from dynplat_jumps.tests.conftest import Grid, check_mean, random_generator


def test_rates_have_the_moments_of_the_exact_posterior():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.exponential(0.7, 12))
    states = np.array([0, 1, 1, 0, 0, 1, 0, 0, 0, 1, 1, 0])
    grid = np.exp(np.linspace(np.log(1e-4), np.log(60.0), 400))
    up, down = np.meshgrid(grid, grid, indexing="ij")
    # Gamma(2, 1.5) priors, on the logarithms of the rates.
    logs = 2.0 * np.log(up) - 1.5 * up + 2.0 * np.log(down) - 1.5 * down
    total = up + down
    for k in range(1, len(times)):
        moved = -np.expm1(-total * (times[k] - times[k - 1])) / total
        rate = up if states[k - 1] == 0 else down
        logs = logs + np.log(rate * moved if states[k] != states[k - 1] else 1.0 - rate * moved)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()

    def build(generator):
        return MarkovJump(generator, torch.zeros(1, 2).double() - np.log(2), StateEmission.of_states(2, generator))

    seen = Observations(times[None], states[None, :, None].astype(float), np.ones((1, 12, 1), bool))
    start = np.array([[-1.0, 1.0], [1.0, -1.0]])
    draws = sample_rates(build, start, seen, shape=2.0, rate=1.5, num_draws=12_000, warmup=200, seed=3)
    for exact, drawn in ((up, draws[:, 0, 1]), (down, draws[:, 1, 0])):
        mean = (weights * exact).sum()
        assert check_mean(drawn, mean) < 0.05 * mean
        check_mean((drawn - mean) ** 2, (weights * (exact - mean) ** 2).sum())


def dense_log_likelihood(Q, initial, density, times, marks):
    """Log-likelihood of one series by dense exponentials, for any matrix Q."""
    off = Q - np.diag(np.diag(Q))
    law = initial * density[0]
    for t in range(1, len(times)):
        gap = times[t] - times[t - 1]
        free = np.diag(np.exp(np.diag(Q) * gap)) if marks[t] in (MOVED, STAYED) else expm(Q * gap)
        law = law @ (free @ off if marks[t] in (MOVED, ENTERED) else free) * density[t]
    return np.log(law.sum())


def test_statistics_of_hidden_paths_equal_finite_differences():
    rng = np.random.default_rng(1)
    K, T = 3, 8
    Q = random_generator(rng, K)
    initial, centres = np.array([0.5, 0.2, 0.3]), np.array([-1.0, 0.0, 1.5])
    times, values = np.cumsum(rng.exponential(0.6, T)), rng.normal(0.0, 1.0, T)
    marks = np.array([OBSERVED, MOVED, STAYED, OBSERVED, ENTERED, OBSERVED, OBSERVED, STAYED])
    density = np.exp(-((values[:, None] - centres) ** 2) / (2 * 0.8**2)) / (0.8 * np.sqrt(2 * np.pi))

    def build(generator):
        centre, scale = torch.tensor(centres)[None, :, None], torch.full((1, K, 1), 0.8, dtype=torch.float64)
        return MarkovJump(generator, torch.log(torch.tensor(initial))[None], GaussianEmission(centre, scale))

    seen = Observations(times[None], values[None, :, None], np.ones((1, T, 1), bool), marks=marks[None])
    found = expected_statistics(build, Q, seen)
    assert found.log_prob == pytest.approx(dense_log_likelihood(Q, initial, density, times, marks), abs=1e-10)
    step = 1e-5
    for i in range(K):
        for j in range(K):
            E = np.zeros((K, K))
            E[i, j] = step
            ends = [dense_log_likelihood(Q + sign * E, initial, density, times, marks) for sign in (1, -1)]
            slope = (ends[0] - ends[1]) / (2 * step)
            assert (found.stays[i] if i == j else found.jumps[i, j] / Q[i, j]) == pytest.approx(slope, abs=1e-7)


def test_rows_without_values_change_no_statistic():
    rng = np.random.default_rng(2)
    Q = random_generator(rng, 3)
    times = np.cumsum(rng.exponential(0.6, (2, 9)), axis=1)
    states = rng.integers(0, 3, (2, 9))
    marks = np.array([[OBSERVED, MOVED, OBSERVED, MOVED, ENTERED, OBSERVED, OBSERVED, STAYED, OBSERVED]] * 2)
    states[:, 7] = states[:, 6]
    states[:, 1], states[:, 3] = (states[:, 0] + 1) % 3, (states[:, 2] + 1) % 3
    holes = np.array([False, False, True, False, False, True, False, False, False])
    # After a hole a jump is known to be the only one since the hole, and not since the row before.
    marks[:, 3] = ENTERED

    def build(generator):
        return MarkovJump(generator, torch.zeros(1, 3).double() - np.log(3), StateEmission.of_states(3, generator))

    def found(rows, mask):
        values = states[:, rows, None].astype(float)
        seen = Observations(
            times[:, rows], values, np.broadcast_to(mask[rows, None], values.shape), marks=marks[:, rows]
        )
        return expected_statistics(build, Q, seen)

    everything, without = np.arange(9), np.flatnonzero(~holes)
    for one, other in zip(found(everything, ~holes), found(without, ~holes), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_rates_that_change_have_the_moments_of_the_exact_posterior():
    """Two pieces and a free start; one series is watched, and jumps exactly at the break, in the first piece."""
    rng = np.random.default_rng(4)
    a_break = 3.0
    looks = np.sort(rng.uniform(0.0, 6.0, (3, 8)), axis=1)
    seen_states = rng.integers(0, 2, (3, 8))
    watched = np.array([0.0, 1.0, 3.0, 4.0, 4.5, 5.0, 6.0, 6.3])
    times = np.vstack([looks, watched])
    states = np.vstack([seen_states, [0, 1, 0, 0, 1, 1, 0, 0]])
    marks = np.zeros(times.shape, int)
    marks[3] = [OBSERVED, MOVED, MOVED, STAYED, ENTERED, OBSERVED, ENTERED, OBSERVED]
    data = Trajectories.from_arrays(times, states[..., None].astype(float), marks=marks, channels=["state"])
    options = {"breaks": (a_break,), "initial": "free", "rate_shape": 1.5, "num_states": 2, "first_state": 0}
    model = dp.load_model("jumps/panel", **options, solver="rao-teh", solver_draws=15_000)
    context = model.prepare(data)
    found = model.solve(observations_from(data), context, seed=5)
    assert found["rate"].shape == (15_000, 2, 2)
    inverse = 1.5 / float(context["rate"])

    def over(rates, begin, end):
        """Transition probabilities over a time that may span the break."""
        P = [[1.0, 0.0], [0.0, 1.0]]
        gaps = min(end, 3.0) - min(begin, 3.0), max(end, 3.0) - max(begin, 3.0)
        for (up, down), gap in zip(rates, gaps, strict=True):
            moved = -np.expm1(-(up + down) * gap) / (up + down)
            piece = [[1.0 - up * moved, up * moved], [down * moved, 1.0 - down * moved]]
            P = [[P[i][0] * piece[0][j] + P[i][1] * piece[1][j] for j in (0, 1)] for i in (0, 1)]
        return P

    def log_density(*logs):
        rates = [(np.exp(logs[0]), np.exp(logs[1])), (np.exp(logs[2]), np.exp(logs[3]))]
        total = sum(1.5 * x - inverse * np.exp(x) for x in logs)
        for series in range(4):
            for row in range(1, 8):
                begin, end = times[series, row - 1], times[series, row]
                old, new, mark = states[series, row - 1], states[series, row], marks[series, row]
                first, second = min(end, 3.0) - min(begin, 3.0), max(end, 3.0) - max(begin, 3.0)
                stay = -rates[0][old] * first - rates[1][old] * second
                at_end = rates[0 if end <= a_break else 1]
                if mark == OBSERVED:
                    total = total + np.log(over(rates, begin, end)[old][new])
                elif mark == ENTERED:
                    total = total + np.log(over(rates, begin, end)[old][1 - new] * at_end[1 - new])
                else:
                    total = total + stay + (np.log(at_end[old]) if mark == MOVED else 0.0)
        return total

    grid = Grid([np.linspace(-5.0, 3.5, 26)] * 4, log_density)
    for index, logs in enumerate(grid.values):
        grid.check(np.log(found["rate"].reshape(-1, 4)[:, index]), logs)
    # First states are seen: their law is as in an urn.
    start = np.bincount(states[:, 0], minlength=2)
    assert stats.kstest(found["initial"][:, 0], stats.beta(1 + start[0], 1 + start[1]).cdf).pvalue > 1e-4


def test_watched_paths_have_a_closed_form_in_each_piece():
    data = Trajectories.from_arrays(
        [np.array([0.0, 1.0, 1.5, 4.0])],
        [np.array([0.0, 1.0, 0.0, 0.0])],
        marks=[[0, MOVED, MOVED, STAYED]],
        channels=["state"],
    )
    options = {"rate_shape": 2.0, "initial": "first", "breaks": (0.25, 1.5, 3.0)}
    model = dp.load_model("jumps/panel", **options, solver="rao-teh", solver_draws=3000, solver_thin=2)
    fit = dp.fit(model, data, "solve", seed=0)
    rates = fit.sites(np.asarray)["rate"][:, 0]
    inverse = 2.0 / fit.context["rate"]
    events = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    stays = np.array([[0.25, 0.0], [0.75, 0.5], [1.5, 0.0], [1.0, 0.0]])
    for piece in range(4):
        for link in range(2):
            law = stats.gamma(2.0 + events[piece, link], scale=1.0 / (stays[piece, link] + inverse))
            assert stats.kstest(rates[:, piece, link], law.cdf).pvalue > 1e-4


def test_long_quiet_stays_are_no_impossibility():
    # exp(-rate * gap) is below any float64.
    data = Trajectories.from_arrays(
        [np.array([0.0, 1.0, 1e6])], [np.array([0.0, 1.0, 1.0])], marks=[[0, MOVED, STAYED]], channels=["state"]
    )
    model = dp.load_model("jumps/panel", rate_shape=1.0, initial="first", solver="rao-teh", solver_draws=20)
    context = model.prepare(data).with_values(rate=1.0)
    found = model.solve(observations_from(data), context, seed=0)
    assert (found["rate"][:, 1] < 1e-4).all()


def test_rates_that_differ_between_series_are_refused():
    seen = Observations(np.array([[0.0, 1.0]] * 2), np.zeros((2, 2, 1)), np.ones((2, 2, 1), bool))

    def build(generator):
        both = generator * torch.tensor([1.0, 2.0]).double()[:, None, None]
        return MarkovJump(both, torch.zeros(1, 2).double() - np.log(2), StateEmission.of_states(2, generator))

    start = np.array([[-1.0, 1.0], [1.0, -1.0]])
    with pytest.raises(ArgumentError, match=r"one generator .* for all series.*Use 'mle' or 'nuts'"):
        sample_rates(build, start, seen, shape=1.0, rate=1.0, num_draws=1, warmup=0, seed=0)
    with pytest.raises(ArgumentError, match=r"one generator .* for all series"):
        expected_statistics(build, start, seen)


def test_impossible_observations_are_refused_at_the_start():
    seen = Observations(np.array([[0.0, 0.0]]), np.array([[[0.0], [1.0]]]), np.ones((1, 2, 1), bool))

    def build(generator):
        return MarkovJump(generator, torch.zeros(1, 2).double() - np.log(2), StateEmission.of_states(2, generator))

    start = np.array([[-1.0, 1.0], [1.0, -1.0]])
    with pytest.raises(InferenceError, match=r"cannot start.*row 1"):
        sample_rates(build, start, seen, shape=1.0, rate=1.0, num_draws=1, warmup=0, seed=0)
    with pytest.raises(ArgumentError, match="`num_draws` and `thin` must be at least 1"):
        sample_rates(build, start, seen, shape=1.0, rate=1.0, num_draws=1, warmup=0, seed=0, thin=0)
    with pytest.raises(ArgumentError, match="no positive rate"):
        sample_rates(build, 0.0 * start, seen, shape=1.0, rate=1.0, num_draws=1, warmup=0, seed=0)
