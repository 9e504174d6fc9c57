"""Smoothers and posterior draws of linear-Gaussian chains: dynplat beside other libraries, in one run.

`measurement.py` says how contenders are measured. The systems are those of `likelihoods.py`.

Smoothers give means and covariances of all rows; a fixed weighted sum of them must agree to 1e-6 (float64), and
gradients are those of that sum with respect to the transition and both noise covariances. Draws are 100 joint paths of
the states given one series; there the average variance of some of their rows must agree to 10 %, which is four or more
standard errors of an average over so many.

Run: python benchmarks/smoothing.py [--quick] [--markdown FILE]
Peers: pip install 'dynplat[benchmarks]'
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import numpy as np
from likelihoods import dynamax_parameters, jitted
from likelihoods import make_case as make_system
from measurement import Benchmark, main

DRAWS = 100
#: (states, channels, rows, series, system, task)
CASES = (
    (4, 2, 1_000, 1, "invariant", "smoother"),
    (4, 2, 10_000, 1, "invariant", "smoother"),
    (16, 8, 1_000, 1, "invariant", "smoother"),
    (4, 2, 1_000, 64, "invariant", "smoother"),
    (4, 2, 1_000, 1, "general", "smoother"),
    (4, 2, 10_000, 1, "general", "smoother"),
    (16, 8, 1_000, 1, "general", "smoother"),
    (4, 2, 1_000, 1, "invariant", "draws"),
    (4, 2, 10_000, 1, "invariant", "draws"),
    (16, 8, 1_000, 1, "invariant", "draws"),
)
QUICK = (CASES[0], CASES[4], CASES[7])
OURS = ("dynplat torch", "dynplat jax", "dynplat torch, no steady state")


def make_case(n: int, p: int, rows: int, series: int, system: str, task: str) -> dict[str, np.ndarray]:
    """The system, its data, and the number of draws; 0 asks for the smoother."""
    return {**make_system(n, p, rows, series, system), "draws": np.array(DRAWS if task == "draws" else 0)}


def summary(means: Any, covs: Any, like: Any) -> Any:
    """A sum of smoothed means (series, time, n) and covariances (series or 1, time, n, n) with different weights."""
    n = means.shape[-1]
    weights = np.cos(np.arange(n * n, dtype=float)).reshape(n, n)
    return (means * like(weights[0])).sum() + means.shape[0] / covs.shape[0] * (covs * like(weights + weights.T)).sum()


def spread(paths: Any) -> float:
    """Average variance over draws (draw, time, n) of every tenth row."""
    return float(np.var(np.asarray(paths)[:, ::10], axis=0).mean())


# ------------------------------------------------------------------------------------------------------- contenders


def ours_torch(case: dict[str, np.ndarray], gradient: bool, steady_state: bool = True) -> Any:
    """Our chain under torch."""
    import torch

    from dynplat.arrays import Observations, random_source
    from dynplat.process import LinearGaussian

    draws = int(case.pop("draws"))
    a = {name: torch.tensor(value) for name, value in case.items()}
    leaves = [a[name].requires_grad_(gradient) for name in ("F", "Q", "R")]
    rows = a["y"].shape[-2]
    y = a["y"][0] if draws else a["y"]
    data = Observations(torch.arange(rows, dtype=torch.float64), y, torch.ones(y.shape, dtype=torch.bool))

    def chain() -> LinearGaussian:
        return LinearGaussian(a["F"], a["Q"], a["H"], a["R"], a["m0"], a["P0"], steady_state=steady_state)

    def smooth() -> float:
        smoothed = chain().smooth(data)
        value = summary(smoothed.means, smoothed.covs, torch.as_tensor)
        if gradient:
            torch.autograd.grad(value, leaves)
        return float(value.detach())

    def draw() -> float:
        return spread(chain().draw_states(data, draws, random_source(0, y)))

    return draw if draws else smooth


def ours_jax(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """Our chain under JAX."""
    import jax
    import jax.numpy as jnp

    from dynplat.arrays import Observations, random_source
    from dynplat.process import LinearGaussian

    draws = int(case.pop("draws"))
    a = {name: jnp.asarray(value) for name, value in case.items()}
    mask, times = np.ones(case["y"].shape, dtype=bool), np.arange(float(case["y"].shape[-2]))

    def chain(F: Any, Q: Any, R: Any) -> LinearGaussian:
        return LinearGaussian(F, Q, a["H"], R, a["m0"], a["P0"])

    def value(F: Any, Q: Any, R: Any, y: Any) -> Any:
        smoothed = chain(F, Q, R).smooth(Observations(times, y, mask))
        return summary(smoothed.means, smoothed.covs, jnp.asarray)

    @jax.jit
    def paths(seed: Any) -> Any:
        data = Observations(times, a["y"][0], mask[0])
        return chain(a["F"], a["Q"], a["R"]).draw_states(data, draws, random_source(seed, a["y"]))

    def draw() -> float:
        return spread(paths(jnp.asarray(0)))

    return draw if draws else jitted(value, a, gradient)


def peer_dynamax(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """dynamax, `lgssm_smoother` mapped over series, `lgssm_posterior_sample` mapped over draws."""
    import jax
    import jax.numpy as jnp
    from dynamax.linear_gaussian_ssm import lgssm_posterior_sample, lgssm_smoother

    draws = int(case.pop("draws"))
    a = {name: jnp.asarray(value) for name, value in case.items()}

    def value(F: Any, Q: Any, R: Any, y: Any) -> Any:
        parameters = dynamax_parameters(a, F, Q, R)
        found = jax.vmap(lambda y: lgssm_smoother(parameters, y))(y)
        return summary(found.smoothed_means, found.smoothed_covariances, jnp.asarray)

    @jax.jit
    def paths(key: Any) -> Any:
        parameters = dynamax_parameters(a, a["F"], a["Q"], a["R"])
        return jax.vmap(lambda key: lgssm_posterior_sample(key, parameters, a["y"][0]))(jax.random.split(key, draws))

    def draw() -> float:
        return spread(paths(jax.random.key(0)))

    return draw if draws else jitted(value, a, gradient)


def peer_statsmodels(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """statsmodels, the compiled smoother and simulation smoother, one series or draw after the other; no gradients."""
    from statsmodels.tsa.statespace.simulation_smoother import SIMULATION_STATE, SimulationSmoother

    if gradient:
        raise NotImplementedError("no gradients")
    draws = int(case.pop("draws"))
    models = []
    for y in case["y"]:
        n = case["F"].shape[-1]
        model = SimulationSmoother(k_endog=y.shape[1], k_states=n, k_posdef=n, loglikelihood_burn=0)
        model.bind(np.asfortranarray(y.T))
        # Its transition of row t leads into row t + 1.
        F, Q = (np.concatenate([case[x][1:], case[x][:1]]) if len(case[x]) > 1 else case[x] for x in "FQ")
        model["transition"], model["state_cov"] = np.moveaxis(F, 0, -1), np.moveaxis(Q, 0, -1)
        model["selection"] = np.eye(n)
        model["design"], model["obs_cov"] = np.moveaxis(case["H"], 0, -1), np.moveaxis(case["R"], 0, -1)
        model.initialize_known(case["m0"], case["P0"])
        model.tolerance = 0.0
        models.append(model)

    def smooth() -> float:
        found = [model.smooth() for model in models]
        means = np.stack([result.smoothed_state.T for result in found])
        covs = np.stack([np.moveaxis(result.smoothed_state_cov, -1, 0) for result in found])
        return float(summary(means, covs, np.asarray))

    def draw() -> float:
        rng = np.random.default_rng(0)
        simulation = models[0].simulation_smoother(simulation_output=SIMULATION_STATE)
        paths = np.empty((draws, *case["y"].shape[1:2], case["F"].shape[-1]))
        for path in paths:
            simulation.simulate(random_state=rng)
            path[:] = simulation.simulated_state.T
        return spread(paths)

    return draw if draws else smooth


CONTENDERS = {
    "dynplat torch": ours_torch,
    "dynplat torch, no steady state": partial(ours_torch, steady_state=False),
    "dynplat jax": ours_jax,
    "dynamax": peer_dynamax,
    "statsmodels": peer_statsmodels,
}


def describe(case: tuple[Any, ...]) -> str:
    """Words for a case in a table."""
    n, p, rows, series, system, task = case
    return f"({n}, {p}), {rows:,}, {series}, {system}, {f'{DRAWS} draws' if task == 'draws' else task}"


BENCHMARK = Benchmark(
    doc=__doc__ or "",
    heading="Smoothing",
    columns="(n, p), rows, series, system, task",
    file=__file__,
    cases=CASES,
    quick=QUICK,
    make_case=make_case,
    contenders=CONTENDERS,
    ours=OURS,
    best_of=OURS[:2],
    too_large=lambda name, case: False,
    describe=describe,
    # dynamax adds 1e-9 to the diagonal of what it inverts, which its smoother does at every row.
    tolerance=lambda case: 0.1 if case[-1] == "draws" else 1e-6,
    without_gradient=lambda case: case[-1] == "draws",
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
