"""Rates that known inputs move: against dense exponentials, breaks, static covariates, both frameworks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from dynplat.arrays import Observations, framework, random_source
from dynplat.errors import ArgumentError
from dynplat.marks import ENTERED, MOVED, OBSERVED, STAYED
from dynplat.process import GaussianEmission
from dynplat_jumps.drive import Drive
from dynplat_jumps.emission import StateEmission
from dynplat_jumps.process import MarkovJump
from dynplat_jumps.tests.conftest import random_generator
from dynplat_jumps.tests.test_process import factor

K, CENTRE = 3, np.array([0.3, -0.2])
MEANS = np.array([[-1.0], [0.0], [2.0]])


def moved(Q, effect, u):
    """The generator under the inputs u of the columns that are read."""
    off = (Q - np.diag(np.diag(Q))) * np.exp(np.tensordot(u - CENTRE, effect, 1))
    np.fill_diagonal(off, 0.0)
    return off - np.diag(off.sum(1))


def emission(lead=(1,)):
    return GaussianEmission(torch.tensor(MEANS).expand(*lead, K, 1), torch.ones(*lead, K, 1).double())


class Made:
    """A driven process of one series that reads columns 2 and 0 of three, its observations, and its numbers."""

    def __init__(self, seed, breaks=(), marked=True):
        rng = np.random.default_rng(seed)
        self.breaks = breaks
        self.pieces = [random_generator(rng, K) for _ in range(len(breaks) + 1)]
        self.effect = rng.normal(size=(2, K, K))
        self.initial = rng.dirichlet(np.ones(K))
        self.times = np.sort(rng.uniform(0.0, 6.0, 9))
        self.inputs = rng.normal(size=(9, 3))
        self.u = self.inputs[:, [2, 0]]
        self.marks = (
            rng.permutation(np.repeat([OBSERVED, ENTERED, MOVED, STAYED], 3)[:9]) if marked else np.zeros(9, int)
        )
        self.values, self.seen = rng.normal(size=(9, 1)), rng.random(9) < 0.8
        generator = torch.tensor(np.stack(self.pieces) if breaks else self.pieces[0])[None]
        self.drive = Drive(torch.tensor(self.effect)[None], (2, 0), CENTRE)
        self.process = MarkovJump(
            generator, torch.tensor(np.log(self.initial))[None], emission(), breaks=breaks, drive=self.drive
        )
        self.observations = Observations(
            self.times[None], self.values[None], self.seen[None, :, None], self.inputs[None], self.marks[None]
        )

    def in_pieces(self, times, u):
        """The same process whose rates change at `times` instead, (row,), with inputs u (row, 2) from each on."""
        edges = np.unique(np.r_[times[1:], self.breaks])
        starts = np.r_[-np.inf, edges]
        rows = np.maximum(np.searchsorted(times, starts, side="right") - 1, 0)
        kept = np.searchsorted(self.breaks, starts, side="right") if len(self.breaks) else np.zeros(len(starts), int)
        pieces = np.stack([moved(self.pieces[k], self.effect, u[row]) for k, row in zip(kept, rows, strict=True)])
        return MarkovJump(torch.tensor(pieces)[None], self.process.log_initial, emission(), breaks=tuple(edges))


@pytest.mark.parametrize("breaks", [(), (0.5, 2.0, 4.5)])
@pytest.mark.parametrize("seed", range(4))
def test_terms_are_those_of_the_dense_sum(breaks, seed):
    made = Made(seed, breaks)
    density = np.exp(-0.5 * (made.values - MEANS[:, 0]) ** 2) / np.sqrt(2 * np.pi)
    law, terms = made.initial, []
    for t, (seen, mark) in enumerate(zip(made.seen, made.marks, strict=True)):
        if t:
            pieces = [moved(Q, made.effect, made.u[t - 1]) for Q in made.pieces]
            law = law @ factor(pieces, breaks, made.times[t - 1], made.times[t], mark if seen else OBSERVED)
        law = law * (density[t] if seen else 1.0)
        terms.append(np.log(law.sum()) if seen else 0.0)
        law = law / law.sum()
    np.testing.assert_allclose(made.process.log_prob_steps(made.observations)[0], terms, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("breaks", [(), (0.5, 2.0)])
@pytest.mark.parametrize("given", [False, True], ids=["held", "given"])
def test_questions_at_any_time_are_those_of_rates_that_change_there(breaks, given):
    """Rates change at a row, and at a query where its inputs are given; after the data the last ones are held."""
    made = Made(7, breaks, marked=False)
    rng = np.random.default_rng(0)
    query = np.sort(np.r_[rng.uniform(made.times[0], made.times[-1] + 2.0, 12), made.times[3], made.times[3]])
    asked = rng.normal(size=(len(query), 3))
    found = made.process.condition(made.observations).at(query[None], inputs=asked[None] if given else None)
    times, u = made.times, made.u
    if given:
        fresh = ~np.isin(query, times)
        order = np.argsort(np.r_[times, query[fresh]])
        times, u = np.r_[times, query[fresh]][order], np.r_[u, asked[fresh][:, [2, 0]]][order]
    expected = made.in_pieces(times, u).condition(made.observations._replace(inputs=None)).at(query[None])
    np.testing.assert_allclose(found.mean("state"), expected.mean("state"), rtol=1e-10, atol=1e-13)


def test_constant_inputs_are_static_covariates():
    rng = np.random.default_rng(3)
    series, Q, effect = 5, random_generator(rng, K), rng.normal(size=(2, K, K))
    u = rng.normal(size=(series, 2))
    times = np.sort(rng.uniform(0.0, 6.0, (series, 7)), axis=-1)
    observations = Observations(
        times, rng.normal(size=(series, 7, 1)), np.ones((series, 7, 1), bool), np.repeat(u[:, None], 7, axis=1)
    )
    start = torch.full((1, K), -np.log(K)).double()
    drive = Drive(torch.tensor(effect)[None], (0, 1), CENTRE)
    driven = MarkovJump(torch.tensor(Q)[None], start, emission(), drive=drive)
    static = MarkovJump(torch.tensor(np.stack([moved(Q, effect, one) for one in u])), start, emission())
    expected = static.log_prob_steps(observations._replace(inputs=None))
    np.testing.assert_allclose(driven.log_prob_steps(observations), expected, rtol=1e-11, atol=1e-12)
    # Draws of the parameters stand in front.
    draws = MarkovJump(torch.tensor(Q).expand(4, 1, K, K), start, emission(), drive=drive)
    np.testing.assert_allclose(draws.log_prob_steps(observations), expected.expand(4, -1, -1), rtol=1e-11, atol=1e-12)


def test_gradients_pass_through_inputs_and_marks():
    made = Made(5, (1.5, 3.0))

    def total(log_rates, effect):
        off = torch.exp(log_rates) * (1.0 - torch.eye(K).double())
        Q = off - torch.diag_embed(off.sum(-1))
        drive = made.drive._replace(effect=effect[None])
        process = MarkovJump(Q[None], made.process.log_initial, emission(), breaks=made.breaks, drive=drive)
        return process.log_prob(made.observations)

    start = torch.randn(3, K, K, generator=torch.Generator().manual_seed(0)).double().requires_grad_(True)
    assert torch.autograd.gradcheck(total, (start, torch.tensor(made.effect).requires_grad_(True)))


def test_frameworks_agree_on_values_and_gradients():
    import jax

    made = Made(2, (2.0,))
    plain = {"effect": made.effect[None], "generator": np.stack(made.pieces)[None]}

    def total(make, effect, generator):
        normal = GaussianEmission(make(MEANS[None]), make(np.ones((1, K, 1))))
        start = make(np.log(made.initial)[None])
        drive = Drive(effect, (2, 0), CENTRE)
        return MarkovJump(generator, start, normal, breaks=made.breaks, drive=drive).log_prob(made.observations).sum()

    with framework("jax") as make:
        arguments = [make(plain["effect"]), make(plain["generator"])]
        value, slopes = jax.jit(jax.value_and_grad(lambda *a: total(make, *a), argnums=(0, 1)))(*arguments)
        slopes = [np.asarray(one) for one in slopes]
    with framework("torch") as make:
        arguments = [make(plain[name]).requires_grad_(True) for name in ("effect", "generator")]
        expected = total(make, *arguments)
        expected.backward()
    np.testing.assert_allclose(value, expected.detach(), rtol=1e-12)
    for slope, argument in zip(slopes, arguments, strict=True):
        np.testing.assert_allclose(slope, argument.grad, rtol=1e-9, atol=1e-11)


def test_simulation_follows_the_inputs():
    rng = np.random.default_rng(1)
    Q, effect = random_generator(rng, K), rng.normal(size=(2, K, K))
    start = torch.tensor([[0.0, -np.inf, -np.inf]]).double()
    drive = Drive(torch.tensor(effect)[None], (0, 1), CENTRE)
    labels = StateEmission.of_states(K, start)
    process = MarkovJump(torch.tensor(Q).expand(20_000, 1, K, K), start, labels, drive=drive)
    times, u = np.array([[0.0, 0.5, 1.5]]), rng.normal(size=(1, 3, 2))
    drawn = process.sample(times, random=random_source(0, start), inputs=u).values[:, 0, :, 0].numpy().astype(int)
    law = np.eye(K)[0]
    for row, gap in ((1, 0.5), (2, 1.0)):
        law = law @ expm(moved(Q, effect, u[0, row - 1]) * gap)
        shares = np.bincount(drawn[:, row], minlength=K) / 20_000
        assert np.abs(shares - law).max() < 5 * np.sqrt(0.25 / 20_000)


def test_refusals():
    made = Made(0)
    with pytest.raises(ArgumentError, match=r"the process reads inputs: give `inputs`"):
        made.process.log_prob(made.observations._replace(inputs=None))
    with pytest.raises(ArgumentError, match=r"reads the inputs \[2, 0\], counted from 0; got 1"):
        made.process.log_prob(made.observations._replace(inputs=made.inputs[None, :, :1]))
    Q, start = made.process.generator[:, 0], made.process.log_initial
    with pytest.raises(ArgumentError, match=r"`effect` of `drive` must have shape \(.*2, 3, 3\).*got \(1, 1, 3, 3\)"):
        MarkovJump(Q, start, emission(), drive=made.drive._replace(effect=made.drive.effect[:, :1]))
    with pytest.raises(ArgumentError, match="one that inputs move, has no stationary law"):
        MarkovJump(Q, start, emission(), drive=made.drive, stationary=True)
    still = MarkovJump(Q, start, emission())
    with pytest.raises(ArgumentError, match="no inputs move the rates"):
        still.condition(made.observations).at(np.array([[7.0]]), inputs=np.zeros((1, 1, 3)))
