"""Studies of the Gibbs sampler: ranks of true parameters among draws given data that they made, and NUTS beside it."""

from __future__ import annotations

import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy import stats

import dynplat as dp
from dynplat.arrays import random_source
from dynplat.data import Trajectories
from dynplat.marks import ENTERED, MOVED, OBSERVED, STAYED
from dynplat.model import observations_from
from dynplat_jumps import paths
from dynplat_jumps.recorded import laws_of

GIBBS = {"solver": "rao-teh", "rate_shape": 2.0}
TIMES = np.array([[0.0, 0.4, 1.1, 1.5, 2.6, 3.0], [0.0, 0.3, 0.9, 1.6, 1.9, 2.8], [0.0, 0.7, 1.0, 1.4, 2.2, 3.3]] * 2)


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
def test_gibbs_is_calibrated(name, options, like, repeats=250, draws=99):
    """Ranks of true parameters are uniform. Data that are like `like` fix the priors."""
    values = np.resize(np.array(like), (*TIMES.shape, 1))
    data = Trajectories.from_arrays(TIMES, values, channels=["y"])
    model = dp.load_model(f"jumps/{name}", **options, **GIBBS, solver_draws=draws, solver_thin=5)
    context, observations = model.prepare(data), observations_from(data)
    laws = laws_of(model, context)
    ranks = []
    for repeat in range(repeats):
        truth = {site: law.draw(np.random.default_rng([repeat, 1])) for site, law in laws.items()}
        process = model.process({site: value[None] for site, value in truth.items()}, context)
        made = process.sample(TIMES, random=random_source(repeat, process.like)).values
        found = model.solve(observations._replace(values=np.asarray(made)), context, seed=repeat)
        ranks.append({site: (found[site] < truth[site]).sum(axis=0) for site in truth})
    for site in laws:
        for column in np.stack([rank[site] for rank in ranks]).reshape(repeats, -1).T:
            observed = np.bincount(column // 10, minlength=10)
            assert stats.chisquare(observed).pvalue > 1e-4, (site, observed)
