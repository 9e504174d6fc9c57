"""Studies of the Gibbs sampler: draws of the prior given data that they made, and NUTS beside it."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy import stats

import dynplat as dp
from dynplat.arrays import random_source
from dynplat.data import Trajectories
from dynplat.marks import ENTERED, MOVED, OBSERVED, STAYED
from dynplat.model import observations_from
from dynplat_jumps import gibbs, paths, solvers
from dynplat_jumps.recorded import laws_of

GIBBS = {"solver": "rao-teh", "rate_shape": 2.0}
TIMES = np.array([[0.0, 0.4, 1.1, 1.5, 2.6, 3.0], [0.0, 0.3, 0.9, 1.6, 1.9, 2.8], [0.0, 0.7, 1.0, 1.4, 2.2, 3.3]] * 2)


def similar(one, other):
    """Two-sided p-value that two samples are of one law."""
    found: Any = stats.ks_2samp(one, other)
    return found.pvalue


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "like"),
    [
        ("panel", {"num_states": 2, "first_state": 0, "breaks": (1.3,), "initial": "free"}, [0.0, 1.0, 1.0, 0.0]),
        ("hidden", {"emission": "gaussian"}, [-1.0, 0.5, 2.0, 0.0]),
        ("hidden", {"emission": "student-t", "initial": "first"}, [-1.0, 0.5, 2.0, 0.0]),
        ("hidden", {"emission": "poisson", "initial": "uniform"}, [2.0, 5.0, 9.0, 0.0]),
        ("hidden", {"emission": "misclassification", "first_known": True}, [1.0, 2.0, 2.0, 1.0]),
        ("birth-death", {"capacity": 8}, [1.0, 3.0, 2.0, 4.0]),
    ],
    ids=lambda value: value.get("emission", "") if isinstance(value, dict) else value if isinstance(value, str) else "",
)
def test_gibbs_is_calibrated(name, options, like):
    """Draws of the prior stay draws of the prior, whatever the number of sweeps given data that they made.

    Unlike ranks among the draws of one chain, this asks for no mixing: it is exact as soon as paths have settled. Log
    likelihoods, of truths in one half and of last draws in the other, tell whether parameters still belong to their
    data. Data that are like `like` fix the priors.
    """
    repeats, sweeps = 400, 25
    values = np.resize(np.array(like), (*TIMES.shape, 1))
    data = Trajectories.from_arrays(TIMES, values, channels=["y"])
    model = dp.load_model(f"jumps/{name}", **options, **GIBBS)
    context, observations = model.prepare(data), observations_from(data)
    laws = laws_of(model, context)

    def build(values):
        return model.process({site: np.asarray(value)[None] for site, value in values.items()}, context)

    last, fits = [], []
    for repeat in range(repeats):
        rng = np.random.default_rng([repeat, 1])  # one for all sites, apart from those of data and sweeps
        truth = {site: law.draw(rng) for site, law in laws.items()}
        process = build(truth)
        made = process.sample(TIMES, random=random_source(10_000 + repeat, process.like)).values
        made = observations._replace(values=np.asarray(made))
        blocks = solvers.blocks_of(model, context, made, laws)
        chain = gibbs.sweeps(blocks, build, truth, made, np.random.default_rng([repeat, 2]), settle=30)
        last.append(next(islice(chain, sweeps - 1, None)))
        both = [float(build(found).log_prob(made).sum()) for found in (truth, last[-1])]
        fits.append(both[repeat % 2])
    rng = np.random.default_rng(3)
    for site, law in laws.items():
        prior = np.stack([law.draw(rng) for _ in range(20_000)]).reshape(20_000, -1).T
        found = np.stack([values[site] for values in last]).reshape(repeats, -1).T
        for one, other in zip(found, prior, strict=True):
            assert similar(one, other) > 1e-4, site
    assert similar(fits[::2], fits[1::2]) > 1e-4


def watched_and_visited(seed):
    """Two states and a break: looks at irregular times, and one series in four watched."""
    rng = np.random.default_rng(seed)
    Q = np.array([[-0.6, 0.6], [0.9, -0.9]])
    times, states, marks = [], [], []
    for series in range(12):
        path = paths.simulate_path(Q, int(rng.integers(2)), 4.0, seed=1000 * seed + series)
        looks = np.sort(rng.uniform(0.0, 4.0, 6))
        times.append(looks)
        states.append(path.at(looks))
        marks.append(np.full(6, OBSERVED))
        if series % 4 == 0:
            times[-1], states[-1] = np.r_[path.times, 4.0], np.r_[path.states, path.states[-1]]
            marks[-1] = np.r_[OBSERVED, np.full(len(path.times) - 1, MOVED), STAYED]
        if series % 4 == 1 and len(path.times) > 1:
            times[-1], states[-1] = np.r_[0.0, path.times[-1]], np.r_[path.states[0], path.states[-1]]
            marks[-1] = np.array([OBSERVED, ENTERED])
    return Trajectories.from_arrays(times, states, marks=marks, channels=["y"])


def noisy(emission, seed, size=8, rows=12):
    """Two states seen through noise."""
    rng = np.random.default_rng(seed)
    Q = np.array([[-0.5, 0.5], [0.7, -0.7]])
    times = np.sort(rng.uniform(0.0, 8.0, (size, rows)), axis=1)
    x = np.stack([paths.simulate_path(Q, s % 2, 8.0, seed=100 * seed + s).at(time) for s, time in enumerate(times)])
    values = {
        "gaussian": lambda: np.array([-1.0, 1.5])[x] + 0.6 * rng.normal(size=x.shape),
        "student-t": lambda: np.array([-1.0, 1.5])[x] + 0.4 * rng.standard_t(3.0, x.shape),
        "poisson": lambda: rng.poisson(np.array([1.0, 5.0])[x]),
        "misclassification": lambda: np.where(rng.random(x.shape) < 0.1, 2 - x, x + 1),
    }[emission]()
    return Trajectories.from_arrays(times, values[..., None].astype(float), channels=["y"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "data"),
    [
        ("panel", {"breaks": (1.7,), "initial": "free"}, watched_and_visited(1)),
        ("hidden", {"emission": "gaussian"}, noisy("gaussian", 1)),
        ("hidden", {"emission": "student-t"}, noisy("student-t", 2)),
        ("hidden", {"emission": "poisson"}, noisy("poisson", 3)),
        ("hidden", {"emission": "misclassification", "first_known": True}, noisy("misclassification", 4)),
    ],
    ids=["breaks", "gaussian", "student-t", "poisson", "misclassification"],
)
def test_gibbs_and_nuts_agree(name, options, data):
    """The same posterior, site by site: means within a tenth of a standard deviation, which agree to 15 %."""
    gibbs = dp.load_model(f"jumps/{name}", **options, **GIBBS, solver_draws=3000, solver_thin=3)
    nuts = dp.load_model(f"jumps/{name}", **options, rate_shape=GIBBS["rate_shape"])
    fits = dp.fit(gibbs, data, "solve", seed=1), dp.fit(nuts, data, "nuts", seed=2, num_samples=1500, num_chains=1)
    sites = [fit.sites(np.asarray) for fit in fits]
    assert set(sites[0]) == set(sites[1])
    for site in sites[1]:
        first, second = (found[site].reshape(len(found[site]), -1).T for found in sites)
        for one, other in zip(first, second, strict=True):
            sizes = np.array([array_stats.ess(draws[None], method="mean") for draws in (one, other)], dtype=float)
            error = np.sqrt((1.0 / sizes).sum())
            away = abs(one.mean() - other.mean()) / other.std()
            assert away < 0.1 + 4.0 * error, (site, away, error)
            assert one.std() / other.std() == pytest.approx(1.0, abs=0.15), site
