r"""ETTh1 by direct forecasters of the deep state-space family, beside the ridge regression that they begin with.

The protocol of long-horizon benchmarks: 7 channels of hourly rows in units of the mean and standard deviation of the
first 8,640; these are trained on, the next 2,880 say when training stops (`validation=0.25` of both), and the last
2,880 are forecast from every row, given the 336 rows before (2,785 windows of 96 steps, 2,689 of 192). A figure is the
mean over windows, steps and channels; those of networks are means over seeds with the standard deviation between them.

- MSE and MAE: of the means (the published ridge: 0.370 and 0.391 at 96 steps, 0.403 and 0.411 at 192).
- CRPS: of the marginals, normal for the ridge (its errors on the training rows, for each channel and step), Student's t
  for networks, in closed form (Jordan, Krüger and Lerch 2019, doi:10.18637/jss.v090.i12).
- coverage: share of values inside equal-tailed intervals of 90 %.
- log score: mean of the log density of single values.

Run: python benchmarks/etth1.py [--horizons 96 192] [--seeds 3] [--models deepssm/direct deepssm/spacetime]
Needs the data set (`dynplat datasets` says how it is found). Takes about two minutes a fit on two cores.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any, NamedTuple

import numpy as np
from scipy import special, stats

import dynplat as dp
from dynplat.arrays import Observations, framework, to_numpy

LOOKBACK, TRAINED, FITTED, TESTED = 336, 8640, 11520, 14400
#: Windows that are forecast at once.
AT_ONCE = 256
OPTIONS: dict[str, dict[str, Any]] = {
    "deepssm/direct": {"width": 64, "depth": 2, "num_states": 32, "patch": 16},
    "deepssm/spacetime": {"width": 32, "depth": 1, "num_states": 32},
}
TRAINING: dict[str, Any] = {
    "num_steps": 800,
    "learning_rate": 1e-3,
    "batch_size": 32,
    "patience": 150,
    "validation": 0.25,
    "split": "time",
    "warm_up": LOOKBACK,
    "dtype": "float32",
}


class Law(NamedTuple):
    """Marginals: Student's t (normal for infinite `freedom`), (window, step, channel)."""

    mean: np.ndarray
    scale: np.ndarray
    freedom: float


def standardised() -> dp.Trajectories:
    """The series in units of its first 8,640 rows."""
    data = dp.load_dataset("etth1")
    values = np.asarray(data.values[0])[:TESTED]
    first = values[:TRAINED]
    return dp.Trajectories.from_arrays(
        np.arange(float(len(values))), (values - first.mean(0)) / first.std(0), channels=data.channels
    )


def rows(data: dp.Trajectories, stop: int) -> dp.Trajectories:
    """The first `stop` rows."""
    return dp.Trajectories.from_arrays(data.times[0, :stop], data.values[0, :stop], channels=data.channels)


def windows(values: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """What is known (window, row, channel) and what follows (window, step, channel)."""
    starts = np.arange(FITTED, len(values) - horizon + 1)
    return values[starts[:, None] + np.arange(-LOOKBACK, 0)], values[starts[:, None] + np.arange(horizon)]


def laws_of(fit: dp.Posterior, past: np.ndarray, horizon: int) -> Law:
    """What a fitted forecaster says of the steps after each window."""
    found = []
    with framework("torch", dtype="float32") as to_array:
        sites = fit.sites(to_array)
        freedom = 2.0 + float(np.exp(to_numpy(sites["log_freedom"]).reshape(-1)[0]))
        for some in np.array_split(past, -(-len(past) // AT_ONCE)):
            times = np.broadcast_to(np.arange(float(LOOKBACK)), some.shape[:2])
            known = Observations(times, to_array(some), np.ones(some.shape, dtype=bool))
            asked = np.broadcast_to(LOOKBACK + np.arange(float(horizon)), (len(some), horizon))
            law = fit.model.process(sites, fit.context).condition(known).at(asked)
            found.append([to_numpy(part).reshape((*asked.shape, -1)) for part in (law.mean(), law.variance())])
    mean, variance = (np.concatenate(parts).astype(float) for parts in zip(*found, strict=True))
    return Law(mean, np.sqrt(variance * (freedom - 2.0) / freedom), freedom)


def ridge_law(fit: dp.Posterior, past: np.ndarray) -> Law:
    """The ridge regression alone, with normal errors."""
    context = fit.context
    x = (past - context["location"]) / context["scale"]
    level = x.mean(axis=1, keepdims=True)
    mean = level + np.einsum("wlc,lh->whc", x - level, context["linear"])
    scale = np.broadcast_to(context["linear_sd"].T, mean.shape)
    return Law(context["location"] + context["scale"] * mean, context["scale"] * scale, np.inf)


def crps(law: Law, truth: np.ndarray) -> np.ndarray:
    """CRPS of Student's t, or of the normal law."""
    z, nu = (truth - law.mean) / law.scale, law.freedom
    if np.isinf(nu):
        return law.scale * (z * (2 * special.ndtr(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    density, below = stats.t.pdf(z, nu), stats.t.cdf(z, nu)
    constant = 2 * np.sqrt(nu) / (nu - 1) * special.beta(0.5, nu - 0.5) / special.beta(0.5, nu / 2) ** 2
    return law.scale * (z * (2 * below - 1) + 2 * density * (nu + z * z) / (nu - 1) - constant)


def scores(law: Law, truth: np.ndarray) -> np.ndarray:
    """MSE, MAE, CRPS, coverage and log score."""
    z = (truth - law.mean) / law.scale
    family = stats.norm() if np.isinf(law.freedom) else stats.t(law.freedom)
    inside = np.abs(z) <= family.ppf(0.95)
    logs = family.logpdf(z) - np.log(law.scale)
    error = truth - law.mean
    return np.array([(error**2).mean(), np.abs(error).mean(), crps(law, truth).mean(), inside.mean(), logs.mean()])


def show(name: str, horizon: int, found: np.ndarray, note: str = "") -> None:
    """Print a row: means over seeds, and their standard deviation where there are several."""
    cells = [f"{mean:.4f}" for mean in found.mean(axis=0)]
    if len(found) > 1:
        cells = [f"{cell} ± {sd:.4f}" for cell, sd in zip(cells, found.std(axis=0, ddof=1), strict=True)]
    print(f"| {horizon} | {name} | " + " | ".join(cells) + f" | {note} |", flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--horizons", type=int, nargs="+", default=[96, 192])
    parser.add_argument("--models", nargs="+", default=list(OPTIONS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--train", type=json.loads, default={}, help="other options of training, as JSON")
    parser.add_argument("--model", type=json.loads, default={}, help="other options of the models, as JSON")
    arguments = parser.parse_args()
    data = standardised()
    print("| horizon | model | MSE | MAE | CRPS | 90 % coverage | log score | seconds a fit |\n" + "|---" * 8 + "|")
    for horizon in arguments.horizons:
        past, truth = windows(np.asarray(data.values[0]), horizon)
        last = np.broadcast_to(past[:, -1:], truth.shape)
        day = past[:, -24 + np.arange(horizon) % 24]
        for name, mean in (("last row", last), ("last day", day)):
            error = truth - mean
            print(f"| {horizon} | {name} | {(error**2).mean():.4f} | {np.abs(error).mean():.4f} | - | - | - | - |")
        has_ridge = False
        for name in arguments.models:
            found, seconds = [], []
            for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
                model = dp.load_model(
                    name, lookback=LOOKBACK, horizon=horizon, seed=seed, **(OPTIONS[name] | arguments.model)
                )
                begin = time.perf_counter()
                fit = dp.fit(
                    model, rows(data, FITTED), "train", seed=seed, window=horizon, **(TRAINING | arguments.train)
                )
                seconds.append(time.perf_counter() - begin)
                if not has_ridge:
                    show("ridge", horizon, scores(ridge_law(fit, past), truth)[None])
                    has_ridge = True
                found.append(scores(laws_of(fit, past, horizon), truth))
                extra = fit.provenance["extra"]
                print(
                    f"  seed {seed}: {found[-1].round(4)} validation {extra['validation_loss']:.4f} best epoch "
                    f"{extra['best_epoch']} of {extra['epochs']}",
                    flush=True,
                )
            show(name, horizon, np.array(found), f"{np.mean(seconds):.0f}")


if __name__ == "__main__":
    main()
