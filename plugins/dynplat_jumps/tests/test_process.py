"""The process against sums over all states with dense exponentials, for every mark, hole, break and question."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from dynplat.arrays import Observations, framework, random_source
from dynplat.errors import ArgumentError, NoDensityError
from dynplat.marks import ENTERED, MOVED, OBSERVED, STAYED
from dynplat.process import GaussianEmission
from dynplat_jumps.emission import StateEmission
from dynplat_jumps.process import MarkovJump
from dynplat_jumps.tests.conftest import random_generator

K = 3


def factor(pieces, breaks, start, end, mark):
    """What leads from the row at `start` into the row at `end`, by dense exponentials."""
    edges = np.array([-np.inf, *breaks, np.inf])
    P, log_stay = np.eye(len(pieces[0])), np.zeros(len(pieces[0]))
    for Q, low, high in zip(pieces, edges[:-1], edges[1:], strict=True):
        span = max(0.0, min(end, high) - max(start, low))
        P, log_stay = P @ expm(Q * span), log_stay + span * np.diag(Q)
    Q = pieces[int(np.searchsorted(breaks, end, side="left"))] if len(breaks) else pieces[0]
    off = Q - np.diag(np.diag(Q))
    D = np.diag(np.exp(log_stay))
    return {OBSERVED: P, ENTERED: P @ off, MOVED: D @ off, STAYED: D}[mark]


def dense_terms(pieces, breaks, initial, density, times, marks, seen):
    """Terms log p(y_t | y_<t)."""
    law, terms = initial, []
    for t in range(len(times)):
        if t:
            law = law @ factor(pieces, breaks, times[t - 1], times[t], marks[t] if seen[t] else OBSERVED)
        law = law * (density[t] if seen[t] else 1.0)
        terms.append(np.log(law.sum()) if seen[t] else 0.0)
        law = law / law.sum()
    return np.array(terms)


def made(seed, *, breaks=(), noisy=True):
    rng = np.random.default_rng(seed)
    pieces = [random_generator(rng, K) for _ in range(len(breaks) + 1)]
    times = np.sort(rng.uniform(0.0, 6.0, 9))
    marks = rng.permutation(np.repeat([OBSERVED, ENTERED, MOVED, STAYED], 3)[:9])
    values = rng.normal(size=(9, 1)) if noisy else rng.integers(0, K, size=(9, 1)).astype(float)
    seen = rng.random(9) < 0.8
    initial = rng.dirichlet(np.ones(K))
    means = np.array([[-1.0], [0.0], [2.0]])
    density = np.exp(-0.5 * (values - means[:, 0]) ** 2) / np.sqrt(2 * np.pi)
    generator = np.stack(pieces) if breaks else pieces[0]
    process = MarkovJump(
        torch.tensor(generator)[None],
        torch.tensor(np.log(initial))[None],
        GaussianEmission(torch.tensor(means)[None], torch.ones(1, K, 1).double()),
        breaks=breaks,
    )
    observations = Observations(times[None], values[None], seen[None, :, None], None, marks[None])
    return process, observations, (pieces, breaks, initial, density, times, marks, seen)


@pytest.mark.parametrize("breaks", [(), (1.0,), (0.5, 2.0, 4.5)])
@pytest.mark.parametrize("seed", range(4))
def test_terms_are_those_of_the_dense_sum(breaks, seed):
    process, observations, dense = made(seed, breaks=breaks)
    np.testing.assert_allclose(process.log_prob_steps(observations)[0], dense_terms(*dense), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("breaks", [(), (0.5, 2.0)])
def test_questions_at_any_time_are_those_of_the_dense_sum(breaks):
    process, observations, (pieces, _, initial, density, times, marks, seen) = made(7, breaks=breaks)
    query = np.sort(np.r_[np.random.default_rng(0).uniform(times[0], times[-1] + 2.0, 12), times[3], times[3]])
    law = process.condition(observations).at(query[None])
    found = law.mean("state")[0]
    for index, time in enumerate(query):
        # Forward to the time asked about, backward from the end; a row after it that was watched was watched there too.
        forward, before = None, times[0]
        t = 0
        alpha = initial * (density[0] if seen[0] else 1.0)
        for t in range(1, len(times)):
            if times[t] > time:
                break
            alpha = alpha @ factor(pieces, breaks, times[t - 1], times[t], marks[t] if seen[t] else OBSERVED)
            alpha = alpha * (density[t] if seen[t] else 1.0)
            before = times[t]
        else:
            t = len(times)
        mark = marks[t] if t < len(times) and seen[t] else OBSERVED
        quiet = STAYED if mark in (MOVED, STAYED) else OBSERVED
        forward = alpha @ factor(pieces, breaks, before, time, quiet)
        beta, now = np.ones(K), time
        steps = []
        for r in range(t, len(times)):
            steps.append(factor(pieces, breaks, now, times[r], marks[r] if seen[r] else OBSERVED))
            now = times[r]
        for r, step in reversed(list(zip(range(t, len(times)), steps, strict=True))):
            beta = step @ ((density[r] if seen[r] else 1.0) * beta)
        expected = forward * beta
        np.testing.assert_allclose(found[index], expected / expected.sum(), rtol=1e-10, atol=1e-13)


def test_every_driver_and_framework_gives_the_same():
    from dynplat.scan import forced_driver

    process, observations, _ = made(3, breaks=(1.5,))
    base = process.log_prob_steps(observations)
    for driver in ("sequential", "balanced"):
        with forced_driver(driver):
            np.testing.assert_allclose(process.log_prob_steps(observations), base, rtol=1e-10, atol=1e-12)


def test_gradients_pass_through_every_mark():
    process, observations, _ = made(5, breaks=(1.5, 3.0))
    _, pieces, K_, _ = process.generator.shape

    def total(log_rates, log_initial):
        off = torch.exp(log_rates) * (1.0 - torch.eye(K_).double())
        Q = off - torch.diag_embed(off.sum(-1))
        emission = process.emission
        return MarkovJump(Q[None], torch.log_softmax(log_initial, -1)[None], emission, breaks=process.breaks).log_prob(
            observations
        )

    start = torch.randn(pieces, K_, K_, generator=torch.Generator().manual_seed(0)).double().requires_grad_(True)
    assert torch.autograd.gradcheck(total, (start, torch.zeros(K_).double().requires_grad_(True)))


def test_equal_and_own_rates_of_series_agree():
    rng = np.random.default_rng(8)
    Q = random_generator(rng, K)
    times = np.sort(rng.uniform(0, 5, (4, 6)), axis=-1)
    values = rng.integers(0, K, size=(4, 6, 1)).astype(float)
    observations = Observations(times, values, np.ones((4, 6, 1), bool), None, np.array([[0, 1, 0, 3, 0, 0]] * 4))
    initial = torch.full((1, K), -np.log(K)).double()
    one = MarkovJump(torch.tensor(Q)[None], initial, StateEmission.of_states(K, initial))
    own = MarkovJump(torch.tensor(np.tile(Q, (4, 1, 1))), initial, StateEmission.of_states(K, initial))
    draws = MarkovJump(torch.tensor(np.tile(Q, (5, 1, 1, 1))), initial, StateEmission.of_states(K, initial))
    base = one.log_prob(observations)
    finite = torch.isfinite(base)
    np.testing.assert_allclose(own.log_prob(observations)[finite], base[finite], rtol=1e-12)
    np.testing.assert_allclose(draws.log_prob(observations)[:, finite], base[finite].expand(5, -1), rtol=1e-12)
    # A stay in a state that changed is impossible.
    assert (base[values[:, 3, 0] != values[:, 2, 0]] == -torch.inf).all()


def test_a_set_of_states_is_an_event():
    rng = np.random.default_rng(9)
    Q = random_generator(rng, K)
    like = torch.zeros(1).double()
    initial = torch.full((1, K), -np.log(K)).double()
    process = MarkovJump(torch.tensor(Q)[None], initial, StateEmission.of_states(K, like, sets=((9, (0, 2)),)))
    plain = MarkovJump(torch.tensor(Q)[None], initial, StateEmission.of_states(K, like))
    times = np.array([[0.0, 0.7, 1.9]])

    def log_prob(law, middle):
        values = np.array([[[0.0], [middle], [1.0]]])
        return law.log_prob(Observations(times, values, np.ones((1, 3, 1), bool)))

    expected = torch.logaddexp(log_prob(plain, 0.0), log_prob(plain, 2.0))
    np.testing.assert_allclose(log_prob(process, 9.0), expected, rtol=1e-12)


def test_long_stays_are_possible():
    Q = np.array([[-5.0, 5.0], [1.0, -1.0]])
    initial = torch.tensor([[0.0, -np.inf]]).double()
    process = MarkovJump(torch.tensor(Q)[None], initial, StateEmission.of_states(2, initial))
    observations = Observations(
        np.array([[0.0, 300.0]]), np.zeros((1, 2, 1)), np.ones((1, 2, 1), bool), None, np.array([[0, STAYED]])
    )
    np.testing.assert_allclose(process.log_prob(observations), [-1500.0], rtol=1e-12)


def test_simulation_has_the_law_of_the_chain(ratchet):
    initial = torch.tensor(np.log(np.eye(6)[0] + 1e-300))[None]
    process = MarkovJump(torch.tensor(ratchet).expand(20_000, 1, 6, 6), initial, StateEmission.of_states(6, initial))
    drawn = process.sample(np.array([[0.0, 0.3, 0.6]]), random=random_source(0, initial)).values[:, 0, :, 0]
    for column, time in ((1, 0.3), (2, 0.6)):
        shares = np.bincount(drawn[:, column].numpy().astype(int), minlength=6) / 20_000
        law = expm(ratchet * time)[0]
        assert np.abs(shares - law).max() < 5 * np.sqrt(0.25 / 20_000)


def test_refusals():
    like = torch.zeros(1).double()
    Q = torch.tensor([[-1.0, 1.0], [2.0, -2.0]]).double()
    initial = torch.log(torch.tensor([[0.5, 0.5]]).double())
    emission = StateEmission.of_states(2, like, first=1)
    process = MarkovJump(Q[None], initial, emission)
    seen = np.ones((1, 2, 1), bool)

    def rows(values, times=((0.0, 1.0),), marks=None):
        return Observations(np.array(times), np.array(values)[None, :, None], seen, None, marks)

    with pytest.raises(ArgumentError, match=r"labels 1, \.\.\., 2 of states; found 3 at series 0, row 1"):
        process.log_prob(rows([1.0, 3.0]))
    with pytest.raises(ArgumentError, match=r"must not decrease within a series; row 1 of series 0"):
        process.log_prob(rows([1.0, 2.0], times=((1.0, 0.0),)))
    with pytest.raises(ArgumentError, match=r"`marks` must be codes.*got 7 at series 0, row 1"):
        process.log_prob(rows([1.0, 2.0], marks=np.array([[0, 7]])))
    with pytest.raises(ArgumentError, match="must not be negative"):
        MarkovJump(-Q[None], initial, emission)
    with pytest.raises(ArgumentError, match="must sum to 0"):
        MarkovJump(Q[None] + torch.tensor([[0.0, 1.0], [0.0, 0.0]]), initial, emission)
    with pytest.raises(ArgumentError, match="before the first row"):
        process.condition(rows([1.0, 2.0])).at(np.array([[-1.0]]))
    absorbing = MarkovJump(torch.tensor([[-1.0, 1.0], [0.0, 0.0]]).double()[None], initial, emission)
    assert absorbing.log_prob(rows([2.0, 1.0])) == -torch.inf
    with pytest.raises(NoDensityError, match="series 0, row 1"):
        absorbing.condition(rows([2.0, 1.0])).at(np.array([[0.5]]))


def test_a_query_before_the_start_that_is_only_traced_gives_nan():
    import jax
    import jax.numpy as jnp

    with framework("jax") as make:
        Q, initial = make(np.array([[-1.0, 1.0], [2.0, -2.0]])), make(np.log([[0.5, 0.5]]))
        process = MarkovJump(Q[None], initial, StateEmission.of_states(2, Q, first=1))
        seen = Observations(np.array([[0.0, 1.0]]), make(np.array([[[1.0], [2.0]]])), np.ones((1, 2, 1), dtype=bool))

        @jax.jit
        def law(times):
            return process.condition(seen).at(times).mean("state")

        assert jnp.isnan(law(make(np.array([[-1.0, 0.5]])))).all()
        inside = make(np.array([[0.25, 0.5]]))
        np.testing.assert_allclose(law(inside), process.condition(seen).at(np.asarray(inside)).mean("state"), rtol=1e-9)
