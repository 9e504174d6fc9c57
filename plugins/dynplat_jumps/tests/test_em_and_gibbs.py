"""EM, Gibbs and NUTS against each other and against exact moments."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

import dynplat as dp
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError
from dynplat.marks import ENTERED, MOVED, OBSERVED, STAYED
from dynplat.model import observations_from
from dynplat_jumps import derived, paths
from dynplat_jumps.em import expected_statistics, fit_rates
from dynplat_jumps.tests.conftest import random_generator

CAV = "1-2,1-4,2-1,2-3,2-4,3-2,3-4"


def illness_death(seed, size=40):
    """Visits at irregular times, deaths to the day, some stretches watched."""
    rng = np.random.default_rng(seed)
    Q = np.array([[-0.5, 0.4, 0.1], [0.3, -0.8, 0.5], [0.0, 0.0, 0.0]])
    times, states, marks = [], [], []
    for series in range(size):
        path = paths.simulate_path(Q, 0, 6.0, seed=1000 * seed + series)
        visits = np.r_[0.0, np.sort(rng.uniform(0.2, 6.0, 5))]
        dead = path.times[path.states == 2]
        visits = visits[visits < dead[0]] if dead.size else visits
        times.append(np.r_[visits, dead])
        states.append(np.r_[path.at(visits), np.full(dead.size, 2)])
        marks.append(np.r_[np.full(len(visits), OBSERVED), np.full(dead.size, ENTERED)])
        if series % 4 == 0:  # a patient who is watched all the time
            times[-1] = np.r_[path.times, 6.0] if not dead.size else path.times
            states[-1] = np.r_[path.states, path.states[-1]] if not dead.size else path.states
            marks[-1] = np.r_[OBSERVED, np.full(len(path.times) - 1, MOVED), *([] if dead.size else [STAYED])]
    return Trajectories.from_arrays(times, states, marks=marks, channels=["state"])


def test_statistics_are_sums_of_bridge_moments():
    rng = np.random.default_rng(0)
    Q = random_generator(rng, 3)
    times, states = np.cumsum(rng.exponential(0.5, (4, 6)), axis=1), rng.integers(0, 3, (4, 6))
    data = Trajectories.from_arrays(times, states[..., None].astype(float), channels=["state"])
    model = dp.load_model("jumps/panel", num_states=3, first_state=0)
    context = model.prepare(data)
    found = expected_statistics(lambda q: model._chain(q, context), Q, observations_from(data))
    stays, jumps = np.zeros(3), np.zeros((3, 3))
    for series in range(4):
        for t in range(1, 6):
            a, b, gap = states[series, t - 1], states[series, t], times[series, t] - times[series, t - 1]
            _, stay, jump = paths.bridge_moments(Q, a, b, gap)
            stays, jumps = stays + stay, jumps + jump
    np.testing.assert_allclose(found.stays, stays, rtol=1e-10)
    np.testing.assert_allclose(found.jumps, jumps, rtol=1e-10, atol=1e-12)


def test_em_reaches_the_published_maximum(mirror):
    data = dp.load_dataset("heart-transplant")
    model = dp.load_model("jumps/panel", structure=CAV, solver="em")
    fit = dp.fit(model, data, "solve")
    process = model.process(fit.sites(torch.tensor), fit.context)
    observations = observations_from(data)
    assert -2.0 * float(process.log_prob(observations).sum()) == pytest.approx(3968.798, abs=2e-3)
    # At a maximum the rates are expected jumps over expected times.
    Q = derived.generators(fit)[0, 0]
    found = expected_statistics(lambda q: model._chain(q, fit.context), Q, observations)
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose((found.jumps / np.maximum(found.stays, 1e-9)[:, None])[off], Q[off], rtol=2e-2)


def test_em_gains_with_every_step_and_follows_breaks():
    data = illness_death(0)
    model = dp.load_model("jumps/panel", structure="0-1,0-2,1-0,1-2", breaks=(2.0,), solver="em")
    context = model.prepare(data)
    start = np.asarray(model.structure_of(context).generator(np.full((2, 4), 1.0)))
    observations = observations_from(data)
    found, trace = fit_rates(lambda q: model._chain(q, context), start, observations)
    assert (np.diff(trace) > -1e-8 * abs(trace[-1])).all()
    again = dp.fit(model, data, "mle", restarts=0, errors=False)
    assert trace[-1] == pytest.approx(again.log_likelihood, abs=1e-4)
    np.testing.assert_allclose(found, derived.generators(again)[0, 0], rtol=2e-2, atol=1e-4)


@pytest.mark.slow
def test_gibbs_and_nuts_agree():
    data = illness_death(1)
    options = {"structure": "0-1,0-2,1-0,1-2", "rate_shape": 1.0, "initial": "first"}
    gibbs = dp.fit(dp.load_model("jumps/panel", **options, solver="rao-teh", solver_draws=4000), data, "solve", seed=1)
    nuts = dp.fit(dp.load_model("jumps/panel", **options), data, "nuts", seed=2, num_samples=800, num_chains=1)
    first, second = (np.asarray(fit.sites(np.asarray)["rate"])[:, 0] for fit in (gibbs, nuts))
    sd = second.std(axis=0)
    # Five standard errors with a tenth of the draws independent.
    np.testing.assert_allclose(
        (first.mean(axis=0) - second.mean(axis=0)) / sd, 0.0, atol=5 * np.sqrt(10 / 4000 + 2 / 800)
    )
    np.testing.assert_allclose(first.std(axis=0) / sd, 1.0, atol=0.25)


def test_gibbs_knows_the_conjugate_case():
    # Watched all the time: the posterior is Gamma in closed form, and a sweep has nothing to draw.
    data = Trajectories.from_arrays(
        [np.array([0.0, 1.0, 1.5, 4.0])],
        [np.array([0.0, 1.0, 0.0, 0.0])],
        marks=[[0, MOVED, MOVED, STAYED]],
        channels=["state"],
    )
    model = dp.load_model("jumps/panel", rate_shape=2.0, solver="rao-teh", solver_draws=4000, initial="first")
    fit = dp.fit(model, data, "solve", seed=0)
    rates = fit.sites(np.asarray)["rate"][:, 0]
    inverse = 2.0 / fit.context["rate"]
    for column, (events, stay) in enumerate(((1.0, 3.5), (1.0, 0.5))):
        law = stats.gamma(2.0 + events, scale=1.0 / (stay + inverse))
        assert stats.kstest(rates[:, column], law.cdf).pvalue > 1e-4


@pytest.mark.slow
def test_gibbs_is_calibrated():
    """Ranks of true rates among draws given data that they made are uniform."""
    shape, rate, draws, thin, repeats = 2.0, 2.0, 99, 10, 300
    times = np.tile(np.array([0.0, 0.4, 1.1, 1.5, 2.6]), (6, 1))
    ranks = []
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        off = rng.gamma(shape, 1.0 / rate, (3, 3)) * (1.0 - np.eye(3))
        Q = off - np.diag(off.sum(1))
        states = [paths.simulate_path(Q, 0, 2.6, seed=10_000 * repeat + s).at(times[s]) for s in range(6)]
        data = Trajectories.from_arrays(times, np.array(states, float)[..., None], channels=["state"])
        model = dp.load_model("jumps/panel", num_states=3, first_state=0, initial="first")
        context = model.prepare(data)
        from dynplat_jumps.gibbs import sample_rates

        found = sample_rates(
            lambda q, m=model, c=context: m._chain(q, c),
            np.ones((3, 3)) - 3 * np.eye(3),
            observations_from(data),
            shape=shape,
            rate=rate,
            num_draws=draws * thin,
            warmup=200,
            seed=repeat,
        )[::thin]
        mask = ~np.eye(3, dtype=bool)
        ranks.append((found[:, mask] < Q[mask]).sum(axis=0))
    counts = np.stack(ranks)
    for column in counts.T:
        observed = np.bincount(column // 10, minlength=10)
        assert stats.chisquare(observed).pvalue > 1e-4, observed


def test_solvers_say_what_they_take():
    with pytest.raises(ArgumentError, match="needs conjugate priors"):
        dp.load_model("jumps/panel", solver="rao-teh")
    with pytest.raises(ArgumentError, match="takes free rates without covariates"):
        dp.load_model("jumps/panel", solver="em", covariates=("sex",))
    with pytest.raises(ArgumentError, match="`solver` must be"):
        dp.load_model("jumps/panel", solver="gibbs")
    with pytest.raises(ArgumentError, match="`rate_shape` must be positive"):
        dp.load_model("jumps/panel", rate_shape=-1.0)
