"""Do NUTS under NumPyro, NUTS under Pyro and a reference without gradients agree on the same posterior?

Three models, three data sets. The reference is brute force: for the local level (two parameters) quadrature on a grid
of the unconstrained posterior; for the others 64 random-walk Metropolis chains, long enough that their own Monte Carlo
error is a few per cent of a posterior standard deviation. Agreement as in posteriordb: means within 0.1 standard
deviations, standard deviations within 10 %.

Run: python benchmarks/posterior_agreement.py [--fast]
Takes about 25 minutes on one core, most of it NUTS under Pyro; `--fast` checks the first model only.
"""

from __future__ import annotations

import argparse
import sys
import time

import jax
import numpy as np
import torch

import dynplat as dp
from dynplat.inference.density import Objective
from dynplat.inference.fitting import density_for, runtime
from dynplat.model import observations_from

#: (name, model, options, data set, rows kept, reference)
CASES = (
    ("local level, nile", "filtering/local-level", {}, "nile", 100, "quadrature"),
    ("Matérn-3/2, sunspots", "filtering/matern32", {}, "sunspots", 80, "random walk"),
    ("local linear trend, nile", "filtering/local-linear-trend", {}, "nile", 60, "random walk"),
)
DRAWS = {"numpyro": 4000, "pyro": 2500}
WARMUP = {"numpyro": 500, "pyro": 300}  # per chain; four parameters at most


def posterior_reference(model, data, kind: str, seed: int) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each number on the log scale, where the posteriors are nearly Gaussian."""
    with runtime("numpyro", seed=seed, dtype="float64", device="cpu") as to_array:
        density = density_for("numpyro")(model, model.prepare(data), observations_from(data), to_array, seed=seed)

        def log_density(vector):
            return density.objective(vector, Objective.UNCONSTRAINED)

        start = np.median(density.prior_vectors(500, seed), axis=0)
        found = _quadrature(log_density, start) if kind == "quadrature" else _walk(log_density, start, seed)
        vectors, weights = found
        mean = weights @ vectors
        sd = np.sqrt(weights @ (vectors - mean) ** 2)
        names = [name for name, shape in density.layout.shapes.items() for _ in range(int(np.prod(shape)))]
        return dict(zip(names, zip(mean, sd, strict=True), strict=True))


def _quadrature(log_density, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    evaluate = jax.jit(jax.vmap(log_density))
    centre, width = start, np.full(2, 6.0)
    for _ in range(3):  # look wide, then where the mass is
        axes = [np.linspace(c - w, c + w, 121) for c, w in zip(centre, width, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        values = np.concatenate([np.asarray(evaluate(part)) for part in np.array_split(grid, 20)])
        weights = np.exp(values - values.max())
        weights /= weights.sum()
        centre = weights @ grid
        width = 7.0 * np.sqrt(weights @ (grid - centre) ** 2)
    return grid, weights


def _walk(log_density, start: np.ndarray, seed: int, chains: int = 64, steps: int = 20_000):
    """Random-walk Metropolis with the covariance of a pilot run; a quarter of each run is dropped."""

    @jax.jit
    def run(key, position, factor):
        def step(state, key):
            position, value = state
            move, accept = jax.random.split(key)
            proposal = position + jax.random.normal(move, position.shape) @ factor.T
            proposed = jax.vmap(log_density)(proposal)
            take = jax.numpy.log(jax.random.uniform(accept, value.shape)) < proposed - value
            state = (jax.numpy.where(take[:, None], proposal, position), jax.numpy.where(take, proposed, value))
            return state, state[0]

        value = jax.vmap(log_density)(position)
        return jax.lax.scan(step, (position, value), jax.random.split(key, steps))[1]

    size = start.size
    key = jax.random.key(seed)
    position = start + 0.3 * np.random.default_rng(seed).normal(size=(chains, size))
    factor = 0.3 * np.eye(size)
    for pilot in range(3):
        path = np.asarray(run(jax.random.fold_in(key, pilot), jax.numpy.asarray(position), jax.numpy.asarray(factor)))
        kept = path[steps // 4 :].reshape(-1, size)
        factor = 2.38 / np.sqrt(size) * np.linalg.cholesky(np.cov(kept.T) + 1e-10 * np.eye(size))
        position = path[-1]
    return kept, np.full(len(kept), 1.0 / len(kept))


def log_moments(posterior, names) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of the log of each site."""
    moments = {}
    for name in names:
        draws = np.log(posterior.tree["posterior"][name].values.reshape(-1))
        moments[name] = (draws.mean(), draws.std(ddof=1))
    return moments


def main() -> int:
    """Print the table; exit code 1 when something disagrees."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="the first model only")
    fast = parser.parse_args().fast
    # The matrices are 2 x 2: threads only wait for each other, at four times the processor time where cores are shared.
    torch.set_num_threads(1)
    worst_mean = worst_sd = 0.0
    for title, model_id, options, dataset, rows, kind in CASES[: 1 if fast else None]:
        full = dp.load_dataset(dataset)
        data = dp.Trajectories.from_arrays(full.times[0, :rows], full.values[0, :rows], channels=full.channels)
        model = dp.load_model(model_id, **options)
        started = time.perf_counter()
        reference = posterior_reference(model, data, kind, seed=1)
        print(f"\n{title}; reference: {kind} ({time.perf_counter() - started:.0f} s)")
        columns = {}
        for language, draws in DRAWS.items():
            started = time.perf_counter()
            chains = 4 if language == "numpyro" else 2
            posterior = dp.fit(
                model,
                data,
                "nuts",
                seed=2,
                language=language,
                num_warmup=WARMUP[language],
                num_samples=draws // chains,
                num_chains=chains,
            )
            columns[language] = log_moments(posterior, reference)
            print(f"  NUTS under {language}: {time.perf_counter() - started:.0f} s")
        for name, (mean, sd) in reference.items():
            line = f"  log {name:32} reference {mean:8.3f} ({sd:.3f})"
            for language, moments in columns.items():
                shift, ratio = (moments[name][0] - mean) / sd, moments[name][1] / sd
                worst_mean, worst_sd = max(worst_mean, abs(shift)), max(worst_sd, abs(ratio - 1))
                line += f"   {language}: mean {shift:+.3f} sd, sd x {ratio:.3f}"
            print(line)
    passed = worst_mean <= 0.1 and worst_sd <= 0.1
    print(
        f"\nlargest difference of means {worst_mean:.3f} sd (allowed 0.1), of sds {100 * worst_sd:.1f} % (allowed 10)"
    )
    print("agreed" if passed else "NOT agreed")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
