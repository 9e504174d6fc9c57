"""Schrödinger bridges with a refined reference: held-out snapshots beside published figures, and what they cost.

Data: the snapshots of Berlinghieri et al. (2025, arXiv:2505.16082) that the catalogue knows, from the directory that
DYNPLAT_DATA names. Models see every second of the first 19 snapshots. `interpolation` scores the nine in between,
`forecast` the twentieth: W2, the root of optimal transport with squared Euclidean cost, with as many particles as the
truth has. Published figures are means over ten seeds (and, for interpolation, nine times) from that paper.

`cost` compares one regression of a drift by the exact Gaussian process, which the published code uses, with ours on
inducing points: processor time and peak memory, as paths grow.

Run: OMP_NUM_THREADS=1 python benchmarks/bridges.py {interpolation,cost} [--seeds 10] [--data ID ...] [--models ...]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

import dynplat as dp

#: Data, reference, steps of an interval (those of the published settings), and published figures: interpolation and
#: forecast (from the last snapshot) by SBIRR, interpolation and forecast by SnapMMD.
CASES: dict[str, tuple[str, int, tuple[float, float, float, float]]] = {
    "lotka-volterra-snapshots": ("lotka-volterra", 50, (0.096, 0.424, 0.060, 0.220)),
    "repressilator-snapshots": ("repressilator", 100, (0.168, 0.326, 0.102, 0.221)),
    "gulf-of-mexico-snapshots": ("vortex", 40, (0.042, 0.332, 0.103, 0.693)),
}
#: Options beside the reference. sigma = 0.1 is the published setting.
MODELS: dict[str, dict[str, Any]] = {
    "sbirr": {"diffusion": 0.1},
    "sbirr, ten turns": {"diffusion": 0.1, "num_iterations": 10},
    "sbirr, diffusion fitted": {},
    "sbirr, regression": {"diffusion": 0.1, "transport": "regression", "num_iterations": 10, "num_inducing": 50},
    "sbirr, linear regression": {"diffusion": 0.1, "transport": "regression", "num_iterations": 10, "num_inducing": 0},
}
BASELINES = ("baselines/persistence", "baselines/ot-midpoint")


def interpolation(datasets: list[str], models: list[str], seeds: int) -> None:
    """Print one line for each model and data set: W2, seconds of a fit, and where the parameters end."""
    for dataset in datasets:
        reference, steps, published = CASES[dataset]
        data = dp.load_dataset(dataset)
        between, last = dp.SnapshotInterpolation(data.hide_times(-1)), data.populations[-1]
        known = between.train
        print(f"\n{dataset}: published SBIRR {published[0]} / {published[1]}, SnapMMD {published[2]} / {published[3]}")
        for baseline in BASELINES:
            fit = dp.fit(dp.load_model(baseline), known)
            law = between.predict(fit, num_draws=between.num_draws)
            scores = [w2(population(law, k), truth) for k, truth in enumerate(between.truth.populations)]
            print(f"{baseline}: interpolation {np.mean(scores):.3f}", flush=True)
        for name in models:
            scores, ahead, spent, ends = [], [], [], []
            for seed in range(seeds):
                model = dp.load_model("bridges/sbirr", reference=reference, num_steps=steps, **MODELS[name])
                start = time.process_time()
                fit = dp.fit(model, known, seed=seed)
                spent.append(time.process_time() - start)
                law = between.predict(fit, seed=seed)
                scores.append([w2(population(law, k), truth) for k, truth in enumerate(between.truth.populations)])
                law = dp.predict(fit, data.times[-1:], num_draws=len(last), seed=seed)
                ahead.append(w2(population(law, 0), last))
                ends.append(parameters(fit))
            table = np.array(scores)
            print(
                f"{name}: interpolation {table.mean():.4f} ± {table.std():.4f} over seeds and times (means of seeds "
                f"{table.mean(axis=1).min():.4f} to {table.mean(axis=1).max():.4f}), forecast {np.mean(ahead):.3f} ± "
                f"{np.std(ahead):.3f}, {np.mean(spent):.1f} s of a processor a fit"
            )
            print("  by time", " ".join(f"{value:.3f}" for value in table.mean(axis=0)))
            for key in ends[0]:
                values = np.stack([end[key] for end in ends])
                print(f"  {key} {values.mean(axis=0).round(4).tolist()} ± {values.std(axis=0).round(4).tolist()}")
            sys.stdout.flush()


def parameters(fit: Any) -> dict[str, np.ndarray]:
    """Parameters of the reference and its diffusion; weights of networks are left out."""
    sites = {name: np.asarray(value.values[0, 0]) for name, value in fit.tree["posterior"].data_vars.items()}
    logs = ("divergence", "path_log_likelihood")
    return {name: value for name, value in sites.items() if name not in logs and value.size < 10}


def population(law: Any, k: int) -> np.ndarray:
    """Particles at the query k of a prediction, (particle, channel)."""
    return law.draws.values[:, 0, k]


def w2(first: np.ndarray, second: np.ndarray) -> float:
    """The root of exact optimal transport with squared Euclidean cost, for populations of one size."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    cost = cdist(first, second, "sqeuclidean")
    return float(np.sqrt(cost[linear_sum_assignment(cost)].mean()))


def cost() -> None:
    """Print processor time and peak memory of one regression of a drift, each in a process of its own."""
    print("particles, steps | exact Gaussian process | 100 inducing points | ratio of times | errors of the drifts")
    for particles, steps in ((50, 20), (50, 50), (100, 50), (200, 50), (200, 100), (1000, 100)):
        rows = {}
        for kind in ("exact", "inducing"):
            if kind == "exact" and particles * steps > 10_000:
                continue  # 20,000 rows are 3 GB a matrix, and minutes
            told = subprocess.run(
                [sys.executable, __file__, "one", kind, str(particles), str(steps)], capture_output=True, text=True
            )
            rows[kind] = json.loads(told.stdout.splitlines()[-1])
        exact, ours = rows.get("exact"), rows["inducing"]
        shown = "-" if exact is None else f"{exact['seconds']:.2f} s, {exact['megabytes']:.0f} MB"
        ratio = "-" if exact is None else f"{exact['seconds'] / ours['seconds']:.0f}"
        errors = "-" if exact is None else f"{exact['error']:.3f}"
        print(
            f"{particles}, {steps} | {shown} | {ours['seconds']:.3f} s, {ours['megabytes']:.0f} MB | {ratio} | "
            f"{errors}, {ours['error']:.3f}",
            flush=True,
        )


def one_regression(kind: str, particles: int, steps: int) -> None:
    """One regression of the increments of a bridge-like drift, and its values at a few states."""
    from dynplat_bridges.drifts import KernelRidge
    from dynplat_bridges.drifts.base import Coordinates

    rng = np.random.default_rng(0)
    grid, dt = np.linspace(0.0, 1.0, steps + 1), 1.0 / steps
    paths = np.empty((particles, steps + 1, 2))
    paths[:, 0] = rng.standard_normal((particles, 2))
    for k in range(steps):
        drift = np.tanh(2.0 * paths[:, k]) - paths[:, k, ::-1]
        paths[:, k + 1] = paths[:, k] + dt * drift + np.sqrt(dt) * 0.5 * rng.standard_normal((particles, 2))
    states, rates = paths[:, :-1], np.diff(paths, axis=1) / dt
    noise = np.full((steps, 2), 0.25 / dt)
    probe = paths[: min(50, particles), 0]
    truth = np.tanh(2.0 * probe) - probe[:, ::-1]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    if kind == "inducing":
        ridge = KernelRidge(num_inducing=100, variance=1.0, linear=False)
        found = ridge.fit(states, rates, grid[:-1], noise, seed=0).drift(0, probe)
    else:
        coordinates = Coordinates.of(states)
        when = np.broadcast_to((grid[:-1] / grid[-2])[None, :, None], (particles, steps, 1))
        points = np.concatenate([coordinates.all(states), when], axis=-1).reshape(-1, 3)
        there = np.concatenate([coordinates(0, probe), np.zeros((len(probe), 1))], axis=-1)
        from scipy.linalg import cho_factor, cho_solve
        from scipy.spatial.distance import cdist

        gram = np.exp(-cdist(points, points) / 2.0)
        gram[np.diag_indices(len(gram))] += np.tile(noise[:, 0], particles)
        weights = cho_solve(cho_factor(gram, lower=True, overwrite_a=True), rates.reshape(-1, 2))
        found = np.exp(-cdist(there, points) / 2.0) @ weights
    seconds = time.process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    error = float(np.sqrt(np.mean((found - truth) ** 2)))
    print(json.dumps({"seconds": seconds, "megabytes": grown, "error": error}))


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("interpolation", "cost", "one"))
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--data", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--models", nargs="+", default=["sbirr", "sbirr, diffusion fitted"], choices=list(MODELS))
    arguments = parser.parse_args()
    if arguments.what == "one":
        kind, particles, steps = arguments.rest
        one_regression(kind, int(particles), int(steps))
    elif arguments.what == "cost":
        cost()
    else:
        interpolation(arguments.data, arguments.models, arguments.seeds)


if __name__ == "__main__":
    main()
