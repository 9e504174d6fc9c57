"""Distances of populations against closed forms, brute force and other implementations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import optimize, stats

from dynplat.comparison import compare
from dynplat.comparison.scores import energy_distance, mmd, sliced_w2, w1, w2
from dynplat.comparison.scores.populations import NUM_DIRECTIONS, sphere
from dynplat.comparison.transport import line_costs, transport_cost, transport_plan
from dynplat.data import Snapshots
from dynplat.errors import ArgumentError, CapabilityError
from dynplat.posterior import Prediction

SCORES = {"w1": w1, "w2": w2, "sliced-w2": sliced_w2, "energy-distance": energy_distance, "mmd": mmd}


def predicted(*populations, times=None):
    """A prediction whose draws are these populations, (particle, channel) each, of one size."""
    draws = np.stack([np.asarray(p, dtype=float) for p in populations], axis=1)[:, None]
    times = np.arange(draws.shape[2], dtype=float) if times is None else np.asarray(times)
    return Prediction.from_arrays(
        times[None],
        np.ones((1, len(times)), dtype=bool),
        coords={"series": ["population"], "channel": [f"c{i}" for i in range(draws.shape[-1])]},
        draws=draws,
    )


def scored(name, x, y):
    """One score of one population against one."""
    y = np.asarray(y, dtype=float)
    truth = Snapshots.from_arrays([0.0], [y], channels=[f"c{i}" for i in range(y.shape[1])])
    found = SCORES[name](predicted(x), truth, np.ones((1, 1, y.shape[1]), dtype=bool))
    assert found.per == "row"
    assert found.values.shape == (1,)
    return float(found.values[0])


def brute_force(x, y, power):
    """Transport of unequal populations as a linear programme, of equal ones over all permutations."""
    cost = np.linalg.norm(x[:, None] - y[None], axis=-1) ** power
    n, m = cost.shape
    if n == m:
        best = min(cost[np.arange(n), list(order)].mean() for order in itertools.permutations(range(n)))
    else:
        rows, columns = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
        best = optimize.linprog(
            cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.r_[np.full(n, 1 / n), np.full(m, 1 / m)]
        ).fun
    return best ** (1 / power)


@pytest.mark.parametrize("sizes", [(6, 6), (5, 7), (9, 3), (1, 4)])
@pytest.mark.parametrize(("name", "power"), [("w1", 1), ("w2", 2)])
def test_wasserstein_distances_are_the_cheapest_plans(sizes, name, power):
    rng = np.random.default_rng(sum(sizes))
    x, y = rng.normal(size=(sizes[0], 2)), rng.normal(size=(sizes[1], 2)) + 1.0
    assert scored(name, x, y) == pytest.approx(brute_force(x, y, power), rel=1e-9)
    assert scored(name, x, y) == pytest.approx(scored(name, y, x), rel=1e-9)


@pytest.mark.parametrize("sizes", [(40, 40), (40, 25)])
def test_on_a_line_quantiles_go_to_quantiles(sizes):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(sizes[0], 1)), rng.exponential(size=(sizes[1], 1))
    assert scored("w1", x, y) == pytest.approx(stats.wasserstein_distance(x[:, 0], y[:, 0]), rel=1e-9)
    # Sorted copies of both that have one length.
    long = [np.repeat(np.sort(p[:, 0]), 40 * 25 // len(p)) for p in (x, y)]
    exact = np.sqrt(np.mean((long[0] - long[1]) ** 2))
    assert scored("w2", x, y) == pytest.approx(exact, rel=1e-9)
    assert scored("sliced-w2", x, y) == pytest.approx(exact, rel=1e-9)
    assert line_costs(x, y) == pytest.approx(exact**2, rel=1e-9)


def test_a_translation_moves_a_population_by_its_length():
    rng = np.random.default_rng(4)
    x, shift = rng.normal(size=(30, 3)), np.array([1.0, -2.0, 2.0])
    for name in ("w1", "w2"):
        assert scored(name, x, x + shift) == pytest.approx(3.0, rel=1e-9)
    # Along a direction it moves by its part there; the mean square over all directions is |shift|^2 / 3.
    along = float(np.mean((sphere(3) @ shift) ** 2))
    assert scored("sliced-w2", x, x + shift) == pytest.approx(np.sqrt(along), rel=1e-9)
    # Standard error of the mean of u^2 over directions: the fourth moment of a coordinate is 1/5.
    assert abs(along / 3.0 - 1.0) < 5 * np.sqrt((9 / 5 - 1) / NUM_DIRECTIONS)
    assert np.array_equal(sphere(3), sphere(3))


@pytest.mark.parametrize("name", ["w1", "w2", "sliced-w2"])
def test_a_population_taken_twice_is_the_same_population(name):
    x = np.random.default_rng(5).normal(size=(20, 2))
    assert scored(name, np.concatenate([x, x]), x) == pytest.approx(0.0, abs=1e-7)
    assert scored(name, x, x[::-1]) == pytest.approx(0.0, abs=1e-12)


def test_gaussian_populations_have_their_closed_distances():
    """W2^2 = |m - n|^2 + (s - t)^2 summed over channels, to the sampling error of quantiles taken at midpoints."""
    levels = (np.arange(4000) + 0.5) / 4000
    x, y = stats.norm.ppf(levels, 1.0, 0.5)[:, None], stats.norm.ppf(levels, -1.0, 2.0)[:, None]
    assert scored("w2", x, y) == pytest.approx(np.sqrt(4.0 + 1.5**2), rel=1e-3)


def test_energy_distance_is_its_three_means():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(7, 2)), rng.normal(size=(5, 2)) + 0.5

    def mean(a, b, skip):
        gaps = [np.linalg.norm(p - q) for i, p in enumerate(a) for j, q in enumerate(b) if not (skip and i == j)]
        return np.mean(gaps)

    expected = 2 * mean(x, y, False) - mean(x, x, True) - mean(y, y, True)
    assert scored("energy-distance", x, y) == pytest.approx(expected, rel=1e-9)
    # With a particle compared with itself it is scipy's, squared.
    x, y = x[:, :1], y[:, :1]
    biased = 2 * mean(x, y, False) - mean(x, x, True) * 6 / 7 - mean(y, y, True) * 4 / 5
    assert biased == pytest.approx(stats.energy_distance(x[:, 0], y[:, 0]) ** 2, rel=1e-9)


def test_mmd_is_its_three_means_with_the_kernel_of_the_truth():
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(6, 2)), rng.normal(size=(5, 2)) + 0.5
    width = np.median([np.linalg.norm(p - q) for p, q in itertools.combinations(y, 2)])

    def kernel(p, q):
        return np.exp(-np.sum((p - q) ** 2) / (2 * width**2))

    expected = (
        np.mean([kernel(p, q) for p, q in itertools.permutations(x, 2)])
        + np.mean([kernel(p, q) for p, q in itertools.permutations(y, 2)])
        - 2 * np.mean([kernel(p, q) for p in x for q in y])
    )
    assert scored("mmd", x, y) == pytest.approx(expected, rel=1e-9)


def test_a_point_mass_has_a_kernel_too():
    point = np.ones((4, 2))
    assert scored("mmd", point, point) == pytest.approx(0.0, abs=1e-12)
    assert scored("mmd", point + 3.0, point) == pytest.approx(2 - 2 * np.exp(-9.0), rel=1e-9)
    mostly = np.concatenate([point, point, [[2.0, 1.0]]])
    assert 0.0 < scored("mmd", point, mostly) < 2.0


@pytest.mark.parametrize("name", ["energy-distance", "mmd"])
def test_estimates_are_without_bias_at_few_particles(name):
    """The mean over many small samples of one law is zero; an estimate with bias would be of order 1/5."""
    rng = np.random.default_rng(8)
    found = [scored(name, rng.normal(size=(5, 2)), rng.normal(size=(8, 2))) for _ in range(400)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))
    assert min(found) < 0


def test_blocks_of_pairs_change_nothing(monkeypatch):
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(20, 2))
    whole = {name: scored(name, x, y) for name in ("energy-distance", "mmd")}
    monkeypatch.setattr("dynplat.comparison.scores.populations._BLOCK", 50)
    for name, value in whole.items():
        assert scored(name, x, y) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("sizes", [(6, 6), (4, 7)])
def test_plans_move_all_of_both(sizes):
    rng = np.random.default_rng(10)
    cost = rng.random(sizes)
    plan = transport_plan(cost)
    assert (plan >= 0).all()
    assert np.allclose(plan.sum(axis=1), 1 / sizes[0], atol=1e-12)
    assert np.allclose(plan.sum(axis=0), 1 / sizes[1], atol=1e-12)
    assert np.sum(plan * cost) == pytest.approx(transport_cost(cost), rel=1e-12)


def test_what_does_not_belong_together_is_refused():
    truth = Snapshots.from_arrays([0.0, 1.0], [np.zeros((3, 1)), np.ones((2, 1))], channels=["c0"])
    hidden, particles = np.ones((1, 2, 1), dtype=bool), np.zeros((4, 1))
    assert w2(predicted(particles, particles), truth, hidden).values.tolist() == [0.0, 1.0]
    assert "4 particles against 2 to 3" in w2(predicted(particles, particles), truth, hidden).method
    with pytest.raises(ArgumentError, match="about the 2 times of the held-out snapshots"):
        w2(predicted(particles), truth, hidden)
    with pytest.raises(ArgumentError, match="about the 2 times of the held-out snapshots"):
        w2(predicted(particles, particles, times=[0.0, 1.5]), truth, hidden)
    with pytest.raises(ArgumentError, match=r"no particles \(NaN\) at 1.0"):
        w1(predicted(particles, particles * np.nan), truth, hidden)
    with pytest.raises(CapabilityError, match="needs 2 particles on either side; got 1"):
        energy_distance(predicted(particles[:1], particles[:1]), truth, hidden)
    empty = Snapshots.from_arrays([0.0, 1.0], [np.zeros((3, 1)), np.zeros((0, 1))], channels=["c0"])
    with pytest.raises(ArgumentError, match=r"population at 1\.0 is empty"):
        w2(predicted(particles, particles), empty, hidden)
    moments = Prediction.from_arrays(
        truth.times[None],
        np.ones((1, 2), dtype=bool),
        coords={"series": ["population"], "channel": ["c0"]},
        mean=np.zeros((1, 2, 1)),
        sd=np.ones((1, 2, 1)),
    )
    with pytest.raises(CapabilityError, match="the prediction holds none"):
        mmd(moments, truth, hidden)


def test_a_score_of_the_other_kind_is_a_reason_and_no_figure(array_task, fakes):
    from dynplat.comparison.entries import ENTRIES, POPULATION_ENTRIES

    comparison = compare(array_task, {"guess": fakes.Guess()}, [ENTRIES[0], POPULATION_ENTRIES[0]])
    assert [record["score"] for record in comparison.records if record["value"] is not None] == ["rmse"]
    assert comparison.failures[0]["reason"] == "scores snapshots, and the task holds out trajectories"
