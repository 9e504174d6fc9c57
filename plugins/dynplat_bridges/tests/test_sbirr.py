"""`bridges/sbirr`: turns that never lose, known parameters, paths through the snapshots, forecasts, refusals."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest

import dynplat as dp
from dynplat.arrays import random_source
from dynplat.data import Snapshots
from dynplat.errors import ArgumentError, DataError, InferenceError
from dynplat.model import Populations, summarise
from dynplat_bridges.chains import interval_grids, spread_evenly
from dynplat_bridges.references import Custom, LotkaVolterra
from dynplat_bridges.refined import SBIRR
from dynplat_bridges.sbirr import refine
from dynplat_bridges.simulate import simulate
from dynplat_bridges.tests.conftest import observations_of

TRUTH = {"prey_growth": 1.0, "predation": 0.4, "predator_death": 0.4, "predator_growth": 0.1}
SIGMA = 0.1
TIMES = np.array([0.0, 1.0, 2.0, 3.0, 5.0])


@lru_cache
def _snapshots(count=60, seed=0):
    """Lotka-Volterra, a fresh cohort at each time; (snapshots, a population at 1.5, one at 6)."""
    rng = np.random.default_rng(seed)
    parameters = {name: np.array(value) for name, value in TRUTH.items()}
    cohorts = []
    for number, time in enumerate((*TIMES, 1.5, 6.0)):
        start = rng.uniform([5.0, 4.0], [5.1, 4.1], (count, 2))
        random = random_source(100 * seed + number, start)
        times = np.array([0.0, time]) if time else np.zeros(1)
        paths = simulate(
            lambda x, t: LotkaVolterra().drift(x, t, parameters), start, times, SIGMA, step=0.01, random=random
        )
        cohorts.append(paths[:, -1])
    return Snapshots.from_arrays(TIMES, cohorts[:5], channels=("prey", "predators")), cohorts[5], cohorts[6]


def _populations(data):
    return Populations(np.asarray(data.times), tuple(data.populations))


def _options(**options: Any) -> Any:
    return dp.load_model("bridges/sbirr", **{"reference": "lotka-volterra", "diffusion": SIGMA, **options})


@lru_cache
def _fit():
    return dp.fit(_options(), _snapshots()[0], "solve", seed=0)


def _w2(first, second):
    from scipy.optimize import linear_sum_assignment

    cost = ((first[:, None] - second) ** 2).sum(axis=-1)
    return np.sqrt(cost[linear_sum_assignment(cost)].mean())


def test_no_turn_loses_and_the_truth_comes_back():
    data, _, _ = _snapshots()
    reference, context = LotkaVolterra(diffusion=SIGMA), summarise(data)
    found = refine(_populations(data), reference, reference.start(context), reference.start_diffusion(context), seed=0)
    # A refit is the maximum over the paths at hand; a turn as a whole loses at most the sampling error of 60 paths.
    assert (np.diff(found.log_likelihood, axis=1) >= -1e-9).all()
    assert (np.diff(found.divergence) < 0.02).all()
    assert found.divergence[0] - found.divergence[-1] > 100
    plain = refine(
        _populations(data),
        reference,
        reference.start(context),
        reference.start_diffusion(context),
        seed=0,
        num_iterations=6,
        accelerate=False,
    )
    assert (np.diff(plain.divergence) < 0.02).all()
    assert found.divergence[:7].min() < plain.divergence.min() + 0.02
    for name, value in TRUTH.items():
        assert float(found.parameters[name]) == pytest.approx(value, rel=0.05), name
    np.testing.assert_array_equal(found.diffusion, [SIGMA, SIGMA])
    assert len(found.log_likelihood) < 20  # it stood still


def test_the_platform_asks_between_at_and_after_the_snapshots():
    data, between, after = _snapshots()
    fit = _fit()
    law = dp.predict(fit, np.append(TIMES, [1.5, 6.0]), num_draws=60, seed=0).dataset
    draws = law["draws"].values[:, 0]
    for k, particles in enumerate(data.populations):
        # A path passes through particles of every snapshot.
        assert np.abs(draws[:, k, None] - particles).max(axis=-1).min(axis=1).max() < 1e-9
    assert _w2(draws[:, 5], between) < 0.08  # two cohorts of 60 are about 0.05 apart
    assert _w2(draws[:, 6], after) < 0.3
    assert _w2(data.populations[-1], after) > 1.0
    # Paths are paths: steps from a snapshot to a time soon after are small beside the population's way.
    near = dp.predict(fit, [1.0, 1.001], num_draws=50, seed=0).dataset["draws"].values[:, 0]
    assert np.abs(near[:, 1] - near[:, 0]).max() < 0.05


def test_seeds_saving_and_the_order_of_particles(tmp_path):
    data, _, _ = _snapshots()
    fit = _fit()
    first, again, other = (
        dp.predict(fit, [0.5, 5.5], num_draws=5, seed=seed).dataset["draws"].values for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    path = tmp_path / "fit.nc"
    fit.save(path)
    loaded = dp.load_posterior(path)
    np.testing.assert_array_equal(dp.predict(loaded, [0.5, 5.5], num_draws=5).dataset["draws"].values, first)
    turned = Snapshots.from_arrays(TIMES, [x[::-1] for x in data.populations], channels=data.channels)
    sites = _options().solve(observations_of(turned), summarise(turned), seed=0)
    for name, value in TRUTH.items():
        assert float(sites[name][0]) == pytest.approx(value, rel=0.05)


def test_leading_axes_of_sites_and_other_frameworks():
    data, _, _ = _snapshots()
    model, context = _options(num_steps=10), summarise(data)
    sites = {name: np.full((2, 1), value) for name, value in TRUTH.items()}
    sites["diffusion"] = np.array([[[0.1, 0.1]], [[0.3, 0.3]]])
    law = model.process(sites, context).condition(observations_of(data)).at(np.array([[0.5, 5.5]]))
    drawn = law.draws(40, random=random_source(0, np.empty(0)))
    assert drawn.shape == (40, 2, 1, 2, 2)
    spread = drawn.std(axis=0)[:, 0, 0]
    assert (spread[1] > 1.5 * spread[0]).all()  # more noise, wider in between
    for framework in ("torch", "jax"):
        answer = dp.predict(_fit(), [0.5, 5.5], num_draws=8, framework=framework).dataset["draws"].values
        assert answer.shape == (8, 1, 2, 2)
        assert np.isfinite(answer).all()


def test_a_diffusion_is_fitted():
    data, _, _ = _snapshots()
    model = _options(diffusion=None)
    sites = model.solve(observations_of(data), summarise(data), seed=0)
    start = LotkaVolterra().start_diffusion(summarise(data))
    found = sites["diffusion"][0]
    np.testing.assert_allclose(found / start, (found / start)[0])  # one factor
    # The geometric mean stands for both channels, whose ratio is that of the data.
    assert np.exp(np.log(found).mean()) == pytest.approx(SIGMA, rel=0.35)
    assert float(sites["predation"][0]) == pytest.approx(0.4, rel=0.05)


def test_regression_drifts_lead_to_the_same_place():
    data, between, _ = _snapshots()
    model = _options(transport="regression", num_steps=15, num_iterations=4, ipf_iterations=3, num_inducing=0)
    fit = dp.fit(model, data, "solve", seed=0)
    sites = fit.tree["posterior"]
    for name, value in TRUTH.items():
        assert float(sites[name].values[0, 0]) == pytest.approx(value, rel=0.15), name
    assert "divergence" not in sites
    draws = dp.predict(fit, [1.0, 1.5, 5.5], num_draws=60).dataset["draws"].values[:, 0]
    assert _w2(draws[:, 1], between) < 0.12
    assert _w2(draws[:, 0], data.populations[1]) < 0.12


def test_a_reference_of_ones_own_and_unequal_snapshots():
    rng = np.random.default_rng(1)
    times = np.array([0.0, 0.5, 1.5])
    sizes = (40, 31, 52)
    particles = tuple(np.exp(-t) + 0.1 * rng.standard_normal((size, 1)) for t, size in zip(times, sizes, strict=True))
    own = Custom(function=lambda x, t, p: -p["rate"] * x, initial={"rate": 0.0}, linear=("rate",), diffusion=0.15)
    found = refine(Populations(times, particles), own, {"rate": np.array(0.0)}, np.array([0.15]), seed=0)
    assert float(found.parameters["rate"]) == pytest.approx(1.0, abs=0.15)


def test_grids_hold_queries_and_starts_are_even():
    grids = interval_grids(np.array([0.0, 1.0, 3.0]), 4, np.array([0.25 + 1e-12, 0.6, 1.0, 2.9]))
    np.testing.assert_allclose(grids[0], [0.0, 0.25, 0.5, 0.6, 0.75, 1.0])
    np.testing.assert_allclose(grids[1], [1.0, 1.5, 2.0, 2.5, 2.9, 3.0])
    assert 0.25 + 1e-12 in grids[0]
    counts = np.bincount(spread_evenly(25, 10, np.random.default_rng(0)), minlength=10)
    assert counts.sum() == 25
    assert set(counts) == {2, 3}


def test_what_is_refused():
    data, _, _ = _snapshots()
    with pytest.raises(ArgumentError, match="`diffusion` must be given with `transport='regression'`"):
        _options(transport="regression", diffusion=None)
    with pytest.raises(ArgumentError, match="`transport` must be 'linearised' or 'regression'"):
        SBIRR(transport="teleport")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match="`num_steps` must be at least 1; got 0"):
        _options(num_steps=0)
    with pytest.raises(ArgumentError, match="`diffusion` of LotkaVolterra must be positive; got 0"):
        _options(diffusion=0.0)
    with pytest.raises(DataError, match=r"LotkaVolterra has 2 channels; the data have 1"):
        _options().prepare(Snapshots.from_arrays([0.0, 1.0], [np.ones((3, 1)), np.ones((3, 1))]))
    with pytest.raises(ArgumentError, match="before the first snapshot"):
        dp.predict(_fit(), [-1.0])
    few = Snapshots.from_arrays([0.0, 1.0], [x[:12] for x in data.populations[:2]])
    tight = dp.fit(_options(reference="brownian", diffusion=1e-9, num_steps=2), few, "solve", seed=0)
    with pytest.raises(InferenceError, match=r"sums of the coupling are off by .* diffusion is too small"):
        dp.predict(tight, [0.5])
