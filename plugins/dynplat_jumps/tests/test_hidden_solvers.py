"""EM and the Gibbs sampler of hidden chains: maxima by another way, posteriors by quadrature."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import optimize, stats

import dynplat as dp
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError
from dynplat.model import observations_from
from dynplat_jumps import em, paths, solvers
from dynplat_jumps.blocks import Packing
from dynplat_jumps.recorded import laws_of
from dynplat_jumps.tests.conftest import MISREAD, Grid

EMISSIONS = ("gaussian", "student-t", "poisson", "categorical", "misclassification")


def hidden_data(emission, seed=0, size=6, rows=20, end=12.0):
    """Two states seen through noise, at irregular times, with holes."""
    rng = np.random.default_rng(seed)
    Q = np.array([[-0.5, 0.5], [0.8, -0.8]])
    times, values = [], []
    for series in range(size):
        time = np.sort(rng.uniform(0.0, end, rows))
        x = paths.simulate_path(Q, 0, end, seed=100 * seed + series).at(time)
        value = {
            "gaussian": lambda x: np.array([-1.0, 2.0])[x] + 0.7 * rng.normal(size=len(x)),
            "student-t": lambda x: np.array([-1.0, 2.0])[x] + 0.4 * rng.standard_t(2.5, len(x)),
            "poisson": lambda x: rng.poisson(np.array([1.0, 5.0])[x]),
            "categorical": lambda x: (rng.random(len(x))[:, None] > np.array([[0.8, 0.95], [0.1, 0.4]])[x]).sum(1),
            "misclassification": lambda x: np.where(rng.random(len(x)) < 0.12, 2 - x, x + 1),
        }[emission](x).astype(float)
        value[rng.random(rows) < 0.1] = np.nan
        times.append(time)
        values.append(value)
    return Trajectories.from_arrays(times, values, channels=["y"])


@pytest.mark.parametrize("emission", EMISSIONS)
def test_em_ends_where_a_direct_search_ends(emission):
    data = hidden_data(emission)
    model = dp.load_model("jumps/hidden", emission=emission, solver="em")
    fit = dp.fit(model, data, "solve", seed=0)
    context, observations = fit.context, observations_from(data)
    blocks = solvers.blocks_of(model, context, observations, laws_of(model, context))
    found = {name: np.asarray(value)[0, 0] for name, value in fit.sites(np.asarray).items()}
    packing = Packing(blocks, found)
    top = fit.provenance["extra"]["log_likelihood"]

    def minus(vector):
        leaves = {
            name: torch.tensor(value[None]).requires_grad_(True) for name, value in packing.unpack(vector).items()
        }
        total = model.process(leaves, context).log_prob(observations).sum()
        return -float(total.detach())

    # From a little way off, by numbers alone.
    start = packing.pack(found)
    moved = start + 0.1 * np.random.default_rng(1).normal(size=start.size)
    search = optimize.minimize(minus, moved, method="L-BFGS-B", options={"maxiter": 400, "ftol": 1e-13})
    assert -search.fun == pytest.approx(top, abs=2e-4)


@pytest.mark.parametrize("emission", EMISSIONS)
def test_em_gains_with_every_step(emission):
    data = hidden_data(emission, seed=1, size=3)
    model = dp.load_model("jumps/hidden", emission=emission, solver="em", num_states=2)
    context, observations = model.prepare(data), observations_from(data)
    laws = laws_of(model, context)
    blocks = solvers.blocks_of(model, context, observations, laws)
    values = {name: law.centre(np.random.default_rng(0)) for name, law in laws.items()}
    packing, trace = Packing(blocks, values), []
    for _ in range(25):  # plain steps, without acceleration
        process = model.process({name: value[None] for name, value in values.items()}, context)
        log_prob, found = em.expectation(process, observations)
        trace.append(log_prob)
        new = {}
        for block in blocks:
            new.update(block.maximise(values, found))
        values = packing.unpack(packing.pack(new))  # a probability of 0 becomes one that has a logarithm
    assert (np.diff(trace) > -1e-9).all()
    assert trace[-1] - trace[0] > 1.0


def test_expected_states_are_those_of_the_smoother():
    data = hidden_data("gaussian", size=2)
    model = dp.load_model("jumps/hidden")
    context, observations = model.prepare(data), observations_from(data)
    sites = {name: law.draw(np.random.default_rng(2))[None] for name, law in laws_of(model, context).items()}
    process = model.process(sites, context)
    _, found = em.expectation(process, observations)
    smoothed = process.chain(observations.times).smooth(observations).states
    seen = observations.mask.any(axis=-1)
    np.testing.assert_allclose(found.states[seen], smoothed[seen], atol=1e-10)
    np.testing.assert_allclose(found.first, smoothed[:, 0].sum(axis=0), atol=1e-10)
    assert not seen.all()
    assert found.stays.sum() == pytest.approx(np.ptp(observations.times, axis=1).sum(), rel=1e-9)


def test_em_reaches_the_published_maximum_of_misread_angiograms(mirror):
    model = dp.load_model("jumps/hidden", **MISREAD, solver="em")
    fit = dp.fit(model, dp.load_dataset("heart-transplant"), "solve")
    assert -2.0 * fit.provenance["extra"]["log_likelihood"] == pytest.approx(3933.74, abs=0.01)


@pytest.mark.slow
def test_misread_labels_have_the_moments_of_the_exact_posterior():
    """One rate, two log odds and the law of the first state, by quadrature."""
    data = hidden_data("misclassification", seed=2, size=3, rows=7, end=5.0)
    options = {"emission": "misclassification", "structure": "1-2", "errors": "all", "rate_shape": 1.0}
    model = dp.load_model("jumps/hidden", **options, num_states=2, solver="rao-teh", solver_draws=20_000)
    context, observations = model.prepare(data), observations_from(data)
    found = model.solve(observations, context, seed=3)
    inverse = 1.0 / float(context["rate"])

    def log_density(log_rate, first, second, logit):
        rate, start = np.exp(log_rate), 1.0 / (1.0 + np.exp(-logit))
        right = 1.0 / (1.0 + np.exp(first)), 1.0 / (1.0 + np.exp(second))
        total = log_rate - inverse * rate + np.log(start) + np.log1p(-start)
        total = total + stats.norm.logpdf(first, -2.0, 1.5) + stats.norm.logpdf(second, -2.0, 1.5)
        for time, value, mask in zip(*observations[:3], strict=True):
            law = [start, 1.0 - start]
            for row in range(len(time)):
                if row:
                    stay = np.exp(-rate * (time[row] - time[row - 1]))
                    law = [law[0] * stay, law[1] + law[0] * (1.0 - stay)]
                if mask[row, 0]:
                    wrong = value[row, 0] == 2.0, value[row, 0] == 1.0
                    law = [
                        one * (1.0 - well if is_wrong else well)
                        for one, well, is_wrong in zip(law, right, wrong, strict=True)
                    ]
            total = total + np.log(law[0] + law[1])
        return total

    axes = [np.linspace(-8, 3.5, 32), np.linspace(-9, 4, 27), np.linspace(-9, 4, 27), np.linspace(-9, 9, 31)]
    grid = Grid(axes, log_density)
    grid.check(np.log(found["rate"][:, 0]), grid.values[0])
    grid.check(found["error_logit"][:, 0], grid.values[1])
    grid.check(found["error_logit"][:, 1], grid.values[2])
    grid.check(found["initial"][:, 0], 1.0 / (1.0 + np.exp(-grid.values[3])))


@pytest.mark.slow
def test_counts_of_hidden_states_have_the_moments_of_the_exact_posterior():
    data = hidden_data("poisson", seed=3, size=2, rows=7, end=5.0)
    options = {"emission": "poisson", "structure": "1-2", "initial": "first", "rate_shape": 1.0}
    model = dp.load_model("jumps/hidden", **options, solver="rao-teh", solver_draws=20_000)
    context, observations = model.prepare(data), observations_from(data)
    found = model.solve(observations, context, seed=4)
    inverse, centre = 1.0 / float(context["rate"]), np.log(context["mean_count"][0])

    def log_density(log_rate, first, second):
        rate = np.exp(log_rate)
        total = log_rate - inverse * rate
        total = total + stats.norm.logpdf(first, centre - 1.0) + stats.norm.logpdf(second, centre + 1.0)
        for time, value, mask in zip(*observations[:3], strict=True):
            law = [1.0, 0.0]
            for row in range(len(time)):
                if row:
                    stay = np.exp(-rate * (time[row] - time[row - 1]))
                    law = [law[0] * stay, law[1] + law[0] * (1.0 - stay)]
                if mask[row, 0]:
                    law = [
                        one * np.exp(value[row, 0] * x - np.exp(x)) for one, x in zip(law, (first, second), strict=True)
                    ]
            total = total + np.log(np.maximum(law[0] + law[1], 1e-300))
        return total

    grid = Grid([np.linspace(-8, 3.5, 50), *[centre + np.linspace(-6, 6, 80)] * 2], log_density)
    grid.check(np.log(found["rate"][:, 0]), grid.values[0])
    grid.check(np.log(found["count_rate"][:, 0, 0]), grid.values[1])
    grid.check(np.log(found["count_rate"][:, 1, 0]), grid.values[2])


def test_same_seed_same_draws():
    data = hidden_data("gaussian", size=2)
    model = dp.load_model("jumps/hidden", rate_shape=1.0, solver="rao-teh", solver_draws=5)
    context, observations = model.prepare(data), observations_from(data)
    first, again, other = (model.solve(observations, context, seed=seed) for seed in (1, 1, 2))
    assert set(first) == {"rate", "initial", "location", "noise_scale"}
    for name, draws in first.items():
        np.testing.assert_array_equal(draws, again[name])
        assert (draws != other[name]).any()


def test_refusals_say_what_to_use():
    with pytest.raises(ArgumentError, match="needs conjugate priors: give `rate_shape`"):
        dp.load_model("jumps/hidden", solver="rao-teh")
    with pytest.raises(ArgumentError, match=r"covariates.*'mle'"):
        dp.load_model("jumps/hidden", solver="em", covariates=("sex",))
    with pytest.raises(ArgumentError, match=r"covariates or inputs.*'mle'"):
        dp.load_model("jumps/panel", solver="em", inputs=("dose",))
    with pytest.raises(ArgumentError, match=r"`error_covariates`.*'mle'"):
        dp.load_model("jumps/hidden", emission="misclassification", solver="em", error_covariates=("sex",))
    with pytest.raises(ArgumentError, match=r"'stationary'.*'nuts'"):
        dp.load_model("jumps/hidden", solver="rao-teh", rate_shape=1.0, initial="stationary")
    with pytest.raises(ArgumentError, match="`structure='reversible'`"):
        dp.load_model("jumps/hidden", solver="em", structure="reversible")
    with pytest.raises(ArgumentError, match="speaks of free rates"):
        dp.load_model("jumps/hidden", rate_shape=1.0, structure="reversible")
    with pytest.raises(ArgumentError, match="`solver_thin` must be at least 1"):
        dp.load_model("jumps/hidden", solver_thin=0)
    with pytest.raises(ArgumentError, match="`solver` must be"):
        dp.load_model("jumps/birth-death", solver="mcmc")
