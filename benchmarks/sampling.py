"""One NUTS run of a small model: effective samples a second with our likelihood and with others.

The model is an autoregression of order one seen with noise, with four parameters, 200 rows, 500 draws after 500 of
warm-up, one chain, in float64:

    x_t = phi x_{t-1} + N(0, sd^2),   y_t = mean + x_t + N(0, noise^2),   x_0 ~ N(0, 5^2)

Every contender has the same priors and data, and runs in a process of its own; seconds are those of the whole run,
compiling and warm-up included. Of the four parameters the smallest effective sample size counts. Posterior means must
agree with the first contender's to four standard errors.

Run: python benchmarks/sampling.py [--seeds N] [--markdown FILE] [--only NAME ...]
Peers: pip install 'dynplat[benchmarks]'
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROWS = 200
DRAWS = 500
START = 5.0  # standard deviation of the first state
NAMES = ("mean", "phi", "sd", "noise")


def make_data() -> np.ndarray:
    """Simulate the series."""
    rng = np.random.default_rng(1)
    x = np.empty(ROWS)
    x[0] = rng.normal() / np.sqrt(1 - 0.8**2)
    for t in range(1, ROWS):
        x[t] = 0.8 * x[t - 1] + rng.normal()
    return x + 1.5 + 0.7 * rng.normal(size=ROWS)


# Each contender runs NUTS and returns draws of the parameters, (draw, parameter).


def ours_numpyro(seed: int) -> np.ndarray:
    """Our chain as a NumPyro distribution."""
    import numpyro

    from dynplat.process.numpyro import LinearGaussian

    def observe(mean: Any, phi: Any, sd: Any, noise: Any, y: Any) -> None:
        law = LinearGaussian(**_chain(mean, phi, sd, noise, np.ones))
        numpyro.sample("y", law, obs=y[:, None])

    return _numpyro(observe, seed)


def numpyro_scan(seed: int) -> np.ndarray:
    """A Kalman filter written by hand with `lax.scan` for a single number a row, as a factor of a NumPyro model."""
    import jax
    import jax.numpy as jnp
    import numpyro

    def observe(mean: Any, phi: Any, sd: Any, noise: Any, y: Any) -> None:
        def step(state: Any, now: Any) -> Any:
            m, P = state
            y, first = now
            m, P = jnp.where(first, m, phi * m), jnp.where(first, P, phi * P * phi + sd**2)
            S = P + noise**2
            v = y - mean - m
            K = P / S
            return (m + K * v, (1 - K) * P), -0.5 * (v**2 / S + jnp.log(2 * jnp.pi * S))

        start = (jnp.zeros(()), jnp.full((), START**2))
        numpyro.factor("y", jax.lax.scan(step, start, (y, jnp.arange(ROWS) == 0))[1].sum())

    return _numpyro(observe, seed)


def numpyro_matrix_scan(seed: int) -> np.ndarray:
    """The same filter written for any linear-Gaussian chain, with matrices of one row and column."""
    import jax
    import jax.numpy as jnp
    import numpyro

    def observe(mean: Any, phi: Any, sd: Any, noise: Any, y: Any) -> None:
        one = jnp.ones((1, 1))
        F, Q, H, R = phi * one, sd**2 * one, one, noise**2 * one

        def step(state: Any, now: Any) -> Any:
            m, P = state
            y, first = now
            m, P = jnp.where(first, m, F @ m), jnp.where(first, P, F @ P @ F.T + Q)
            S = H @ P @ H.T + R
            factor = jnp.linalg.cholesky(S)
            v = y - mean - H @ m
            K = jax.scipy.linalg.cho_solve((factor, True), H @ P).T
            w = jax.scipy.linalg.solve_triangular(factor, v, lower=True)
            value = -0.5 * w @ w - jnp.log(jnp.diag(factor)).sum() - 0.5 * jnp.log(2 * jnp.pi)
            return (m + K @ v, P - K @ S @ K.T), value

        start = (jnp.zeros(1), START**2 * one)
        numpyro.factor("y", jax.lax.scan(step, start, (y[:, None], jnp.arange(ROWS) == 0))[1].sum())

    return _numpyro(observe, seed)


def ours_pyro(seed: int) -> np.ndarray:
    """Our chain as a Pyro distribution."""
    import pyro
    import torch

    from dynplat.process.pyro import LinearGaussian

    def observe(mean: Any, phi: Any, sd: Any, noise: Any, y: Any) -> None:
        law = LinearGaussian(**_chain(mean, phi, sd, noise, lambda shape: torch.ones(shape, dtype=torch.float64)))
        pyro.sample("y", law, obs=y[:, None])

    return _pyro(observe, seed)


def pyro_hmm(seed: int) -> np.ndarray:
    """Pyro's `GaussianHMM`, whose start is one transition before the first row."""
    import pyro
    import torch
    from pyro.distributions import GaussianHMM, MultivariateNormal, Normal

    def observe(mean: Any, phi: Any, sd: Any, noise: Any, y: Any) -> None:
        one = torch.ones(1, 1, dtype=torch.float64)
        zero = torch.zeros(1, dtype=torch.float64)
        # x_0 ~ N(0, START^2) must come out of the first transition: the rest of its variance is split off below.
        first = Normal(mean, torch.sqrt(START**2 + noise**2))
        # The law of x_1 given y_0, which the chain of all later rows starts from.
        gain = START**2 / (START**2 + noise**2)
        start = MultivariateNormal(((y[0] - mean) * gain)[None], (START**2 * (1 - gain)) * one)
        law = GaussianHMM(
            start,
            phi * one,
            MultivariateNormal(zero, sd**2 * one),
            one,
            MultivariateNormal(mean * one[0], noise**2 * one),
            duration=ROWS - 1,
        )
        pyro.sample("y0", first, obs=y[0])
        pyro.sample("y", law, obs=y[1:, None])

    return _pyro(observe, seed)


def _chain(mean: Any, phi: Any, sd: Any, noise: Any, ones: Callable[[tuple[int, ...]], Any]) -> dict[str, Any]:
    one, vector = ones((1, 1, 1)), ones((1, 1))
    return {
        "F": phi * one,
        "Q": sd**2 * one,
        "H": one,
        "R": noise**2 * one,
        "m0": 0.0 * vector[0],
        "P0": START**2 * one[0],
        "d": mean * vector,
        "num_steps": ROWS,
    }


def _numpyro(observe: Callable[..., None], seed: int) -> np.ndarray:
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS

    y = jnp.asarray(make_data())

    def model() -> None:
        observe(
            numpyro.sample("mean", dist.Normal(0.0, 5.0)),
            numpyro.sample("phi", dist.Uniform(-1.0, 1.0)),
            numpyro.sample("sd", dist.HalfNormal(2.0)),
            numpyro.sample("noise", dist.HalfNormal(2.0)),
            y,
        )

    mcmc = MCMC(NUTS(model), num_warmup=DRAWS, num_samples=DRAWS, progress_bar=False)
    mcmc.run(jax.random.key(seed))
    samples = mcmc.get_samples()
    return np.stack([np.asarray(samples[name]) for name in NAMES], axis=-1)


def _pyro(observe: Callable[..., None], seed: int) -> np.ndarray:
    import pyro
    import pyro.distributions as dist
    import torch
    from pyro.infer import MCMC, NUTS

    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)  # several make these small tensors slower
    pyro.set_rng_seed(seed)
    y = torch.as_tensor(make_data())

    def model() -> None:
        observe(
            pyro.sample("mean", dist.Normal(0.0, 5.0)),
            pyro.sample("phi", dist.Uniform(-1.0, 1.0)),
            pyro.sample("sd", dist.HalfNormal(2.0)),
            pyro.sample("noise", dist.HalfNormal(2.0)),
            y,
        )

    mcmc = MCMC(NUTS(model), warmup_steps=DRAWS, num_samples=DRAWS, disable_progbar=True)
    mcmc.run()
    samples = mcmc.get_samples()
    return np.stack([samples[name].numpy() for name in NAMES], axis=-1)


CONTENDERS = {
    "dynplat, NumPyro": ours_numpyro,
    "lax.scan with matrices, NumPyro": numpyro_matrix_scan,
    "lax.scan with numbers, NumPyro": numpyro_scan,
    "dynplat, Pyro": ours_pyro,
    "GaussianHMM, Pyro": pyro_hmm,
}
#: Whose effective samples a second ours are divided by.
RIVALS = {"dynplat, NumPyro": "lax.scan with matrices, NumPyro", "dynplat, Pyro": "GaussianHMM, Pyro"}


def measure_here(name: str, seed: int) -> dict[str, Any]:
    """Run a contender in this process."""
    started = time.perf_counter()
    draws = CONTENDERS[name](seed)
    seconds = time.perf_counter() - started
    from numpyro.diagnostics import effective_sample_size

    sizes = [float(effective_sample_size(column[None])) for column in draws.T]
    return {
        "seconds": seconds,
        "effective": min(sizes),
        "means": draws.mean(axis=0).tolist(),
        "errors": (draws.std(axis=0) / np.sqrt(sizes)).tolist(),
    }


def measure(name: str, seeds: int) -> dict[str, Any] | None:
    """Run a contender once for each seed, in processes of their own, and average; None where it failed."""
    runs = []
    for seed in range(seeds):
        command = [sys.executable, __file__, "--one", json.dumps([name, seed])]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "JAX_ENABLE_X64": "1"}
        )
        if done.returncode:
            print(f"  {name}: failed: {done.stderr.strip().splitlines()[-1][:200]}", file=sys.stderr)
            return None
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    average = {key: np.mean([run[key] for run in runs], axis=0) for key in ("seconds", "effective", "means", "errors")}
    return {**average, "errors": average["errors"] / np.sqrt(seeds)}


def main() -> int:
    """Print the table; exit code 1 when posterior means disagree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="some contenders")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each contender, which are averaged")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure_here(*json.loads(arguments.one))))
        return 0
    found = {name: measure(name, arguments.seeds) for name in arguments.only}
    results = {name: result for name, result in found.items() if result is not None}
    lines = [
        "| | seconds | smallest effective sample size | a second | times its rival | " + " | ".join(NAMES) + " |",
        "|" + "---|" * (5 + len(NAMES)),
    ]
    agree = True
    reference = next(iter(results.values()))
    for name, result in results.items():
        rate = result["effective"] / result["seconds"]
        rival = results.get(RIVALS.get(name, ""))
        ratio = f"{rate * rival['seconds'] / rival['effective']:.1f}" if rival else "-"
        apart = np.subtract(result["means"], reference["means"])
        agree = agree and bool((np.abs(apart) <= 4 * np.hypot(result["errors"], reference["errors"])).all())
        means = " | ".join(f"{mean:.3f}" for mean in result["means"])
        cells = f"{result['seconds']:.1f} | {result['effective']:.0f} | {rate:.1f} | {ratio}"
        lines.append(f"| {name} | {cells} | {means} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text)
    print("posterior means agree" if agree else "posterior means DISAGREE")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
