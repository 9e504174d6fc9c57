"""`deepssm/imputer` beside linear interpolation and models of `filtering/`, on cells that were hidden.

- `ornstein`: 60 Ornstein-Uhlenbeck processes of rate 0.3 and sd 2 at 50 exponential gaps, with noise of sd 0.4. The
  smoother of the law that made them is the best that there is.
- `co2`: weekly CO2 at Mauna Loa, single weeks and stretches of two years hidden.
- `stays`: 60 stays of intensive care (`physionet-2012`), four channels at irregular times; errors in units of the
  channels' standard deviations.

Run: python benchmarks/imputation.py [ornstein] [co2] [stays]
Takes about five minutes on one core.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import dynplat as dp
from dynplat.model import observations_from
from dynplat.process import LinearSDE
from dynplat.process.dynamics import OrnsteinUhlenbeck

SIZES = {"width": 16, "num_layers": 1, "num_states": 8}
VITALS = ("HR", "SysABP", "RespRate", "Temp")
SCORES = ["rmse", "crps", "log-score", "coverage-90"]


def ornstein(num_series: int = 60, num_rows: int = 50, seed: int = 0) -> dp.Trajectories:
    """Ornstein-Uhlenbeck processes around 5, seen with noise."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(1.0, (num_series, num_rows)), axis=1)
    x = rng.standard_normal((num_series, num_rows))
    for k in range(1, num_rows):
        a = np.exp(-0.3 * (times[:, k] - times[:, k - 1]))
        x[:, k] = a * x[:, k - 1] + np.sqrt(1.0 - a * a) * x[:, k]
    values = 5.0 + 2.0 * x + 0.4 * rng.standard_normal(x.shape)
    return dp.Trajectories.from_arrays(times, values[..., None])


def stays(count: int = 60) -> dp.Trajectories:
    """Stays in which each of four vital signs was recorded eight times or more."""
    data = dp.load_dataset("physionet-2012").select(channels=VITALS)
    complete = [name for s, name in enumerate(data.series) if data.mask[s].sum(axis=0).min() >= 8]
    return data.select(series=complete[:count])


def show(task: dp.Imputation, models: dict[str, tuple[dict[str, Any], str | None, dict[str, Any]]]) -> None:
    """Fit models (options, inference, its options) to what is not hidden, and print their scores."""
    fits = {}
    for name, (options, inference, how) in models.items():
        began = time.perf_counter()
        fits[name] = dp.fit(dp.load_model(name, **options), task.train, inference, seed=0, **how)
        print(f"{name}: fitted in {time.perf_counter() - began:.0f} s")
    print(dp.compare(task, fits, scores=SCORES))
    print("rmse of linear interpolation {:.3f}, of the mean {:.3f}".format(*by_hand(task)))


def by_hand(task: dp.Imputation) -> tuple[float, float]:
    """Root mean squared errors of linear interpolation and of the mean, in units of sd where there are channels."""
    data, train = task.data, task.train
    errors, spreads = [], []
    for c in range(len(data.channels)):
        unit = data.values[..., c][data.mask[..., c]].std() if len(data.channels) > 1 else 1.0
        mean = train.values[..., c][train.mask[..., c]].mean()
        for s in range(data.num_series):
            hidden, seen = task.hidden[s, :, c], train.mask[s, :, c]
            truth = data.values[s, hidden, c]
            found = np.full(truth.shape, mean)
            if seen.any():
                found = np.interp(data.times[s, hidden], data.times[s, seen], data.values[s, seen, c])
            errors.append((found - truth) / unit)
            spreads.append((mean - truth) / unit)
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2))), float(np.sqrt(np.mean(np.concatenate(spreads) ** 2)))


def show_ornstein() -> None:
    """Single values and stretches of an Ornstein-Uhlenbeck process."""
    data = ornstein()
    law = LinearSDE(
        OrnsteinUhlenbeck(np.array([0.3]), np.array([2.0])),
        np.ones((1, 1)),
        np.full((1, 1, 1), 0.16),
        d=np.full((1, 1), 5.0),
    )
    for pattern in ("values", "blocks"):
        task = dp.Imputation(data, fraction=0.3, pattern=pattern, seed=0, dataset="ornstein")
        how = {"num_epochs": 60, "batch_size": 16, "learning_rate": 0.01}
        show(task, {"deepssm/imputer": (SIZES, None, how), "filtering/matern12": ({}, "map", {})})
        best = law.condition(observations_from(task.train)).at(data.times).mean()
        error = (best - data.values)[task.hidden]
        print(f"rmse of the smoother of the true law {np.sqrt(np.mean(error**2)):.3f}")


def show_co2() -> None:
    """Single weeks and stretches of CO2."""
    data = dp.load_dataset("mauna-loa-co2")
    how = {"window": 400, "batch_size": 4, "num_epochs": 150, "learning_rate": 0.01, "patience": 60}
    for pattern in ("values", "blocks"):
        task = dp.Imputation(data, fraction=0.3, pattern=pattern, seed=0, dataset="mauna-loa-co2")
        show(task, {"deepssm/imputer": (SIZES, None, how), "filtering/structural": ({}, "map", {})})


def show_stays() -> None:
    """Single values of vital signs."""
    task = dp.Imputation(stays(), fraction=0.2, seed=0, dataset="physionet-2012")
    how = {"num_epochs": 60, "batch_size": 16, "learning_rate": 0.01}
    one = {"restarts": 1}
    show(
        task,
        {
            "deepssm/imputer": (SIZES, None, how),
            "filtering/structural": ({"periods": (), "trend": "local-level"}, "map", one),
            "filtering/matern12": ({}, "map", {}),
            "filtering/linear-sde": ({"dimension": 2}, "map", one),
        },
    )


PARTS: dict[str, Callable[[], None]] = {"ornstein": show_ornstein, "co2": show_co2, "stays": show_stays}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
