"""The no-U-turn sampler: several chains of draws of the posterior, and diagnostics that say whether to trust them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from dynplat.errors import ArgumentError
from dynplat.inference.density import Objective
from dynplat.inference.diagnostics import complaints, convergence, warn
from dynplat.inference.fitting import Fit, opened, refuse_point_estimates, seeds
from dynplat.inference.mode import Units, prior_units
from dynplat.inference.sampler.plan import Plan

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories
    from dynplat.model import AbstractModel
    from dynplat.observer import Observer
    from dynplat.posterior import Posterior

CHAIN_METHODS = ("vectorized", "parallel", "sequential")

#: Dimension up to which the mass matrix is dense by default.
MAX_DENSE = 30

#: Starts that are tried for a chain, each nearer to the prior's medians.
_MAX_ATTEMPTS = 20


def run(
    model: AbstractModel,
    data: Trajectories | Snapshots,
    *,
    seed: int,
    language: str | None = None,
    observers: Iterable[Observer] = (),
    device: str = "cpu",
    dtype: str = "float64",
    num_warmup: int = 500,
    num_samples: int = 1000,
    num_chains: int = 4,
    target_accept: float = 0.8,
    max_tree_depth: int = 10,
    dense_mass: bool | None = None,
    chain_method: str | None = None,
    keep_interrupted: bool = False,
) -> Posterior:
    """Draw from the posterior with the no-U-turn sampler of NumPyro or Pyro.

    Chains start within one prior unit of the prior's medians, move on the unconstrained scale in prior units, and have
    seeds of their own. The same seed gives the same draws on one machine.

    Args:
        model: The model.
        data: The data.
        seed: Determines the starts and the draws.
        language: `numpyro` or `pyro`; None takes the model's first.
        observers: Told every few steps, with the number of divergences so far.
        device: Device of the arrays.
        dtype: `float64` or `float32`.
        num_warmup: Steps of adaptation per chain.
        num_samples: Draws per chain.
        num_chains: Chains.
        target_accept: Acceptance rate that the step size is adapted to.
        max_tree_depth: Largest number of doublings of a trajectory.
        dense_mass: Whether the mass matrix is dense; None: up to 30 parameters.
        chain_method: How NumPyro's chains share the machine: `vectorized` (one compiled step moves all), `parallel` (a
            thread each) or `sequential`; None picks. Pyro's chains run one after the other.
        keep_interrupted: Whether Ctrl-C after warm-up ends the run with the draws so far, with a warning; by default
            it is raised.

    Returns:
        A posterior with `sample_stats` under ArviZ's names; `extra` in its provenance holds the worst R-hat and
        effective sample sizes.

    Raises:
        ArgumentError: An option is out of range.
        CapabilityError: The model lacks a prior, a likelihood or gradients, or has point-estimated sites.
        InferenceError: The density is not finite at any start.
    """
    if chain_method is not None and chain_method not in CHAIN_METHODS:
        raise ArgumentError(f"`chain_method` must be one of {CHAIN_METHODS}, or None; got {chain_method!r}.")
    for name, value in (("num_warmup", num_warmup), ("num_samples", num_samples), ("num_chains", num_chains)):
        if value < 1:
            raise ArgumentError(f"`{name}` must be at least 1; got {value}.")
    if not 0 < target_accept < 1:
        raise ArgumentError(f"`target_accept` must lie between 0 and 1; got {target_accept}.")
    if max_tree_depth < 1:
        raise ArgumentError(f"`max_tree_depth` must be at least 1; got {max_tree_depth}.")
    options = {
        "num_warmup": num_warmup,
        "num_samples": num_samples,
        "num_chains": num_chains,
        "target_accept": target_accept,
        "max_tree_depth": max_tree_depth,
        "dense_mass": dense_mass,
        "chain_method": chain_method,
    }
    with opened(
        "nuts",
        model,
        data,
        seed=seed,
        language=language,
        observers=observers,
        device=device,
        dtype=dtype,
        options=options,
    ) as fit:
        density = fit.density
        assert density is not None
        refuse_point_estimates(density, "nuts")
        if fit.language == "numpyro":
            from dynplat.inference.sampler.numpyro import sample
        else:
            from dynplat.inference.sampler.pyro import sample
        plan = Plan(
            num_warmup=num_warmup,
            num_samples=num_samples,
            num_chains=num_chains,
            target_accept=target_accept,
            max_tree_depth=max_tree_depth,
            dense_mass=density.layout.size <= MAX_DENSE if dense_mass is None else dense_mass,
            chain_method=chain_method or "vectorized",
            keep_interrupted=keep_interrupted,
        )
        units = prior_units(density, fit.seed)
        start_seed, chain_seed = seeds(fit.seed, 3)[1:]
        chains = sample(fit, plan, units, _starts(fit, units, num_chains, start_seed), chain_seed)
        num_kept, num_draws = chains.z.shape[:2]
        if chains.interrupted:
            warn(f"nuts: interrupted; {num_kept} chain(s) of {num_draws} draws are kept.", fit.notes)
        vectors = units.vector(chains.z).reshape(-1, density.layout.size)
        sites = density.sites(vectors)
        worst = _report(fit, plan, chains.stats, sites)
        return fit.finish(
            sites,
            density.infos,
            num_chains=num_kept,
            sample_stats=chains.stats,
            unconstrained=density.unconstrained(vectors, num_kept),
            log_likelihood=fit.likelihood_terms(sites),
            extra={**worst, "num_parameters": density.layout.size, "converged": not fit.notes},
        )


def _starts(fit: Fit, units: Units, num_chains: int, seed: int) -> np.ndarray:
    """Starts of the chains, (chain, size), in prior units: near the medians, different, and of finite density."""
    density = fit.density
    assert density is not None
    rng = np.random.default_rng(seed)
    starts = []
    for _ in range(num_chains):
        for attempt in range(_MAX_ATTEMPTS):
            z = rng.uniform(-1.0, 1.0, density.layout.size) * 0.7**attempt
            value, gradient = density.value_and_gradient(units.vector(z), Objective.UNCONSTRAINED)
            if np.isfinite(value) and np.isfinite(gradient).all():
                starts.append(z)
                break
        else:
            raise density.explain(units.vector(z), f"at any of {_MAX_ATTEMPTS} starts around the prior's medians")
    return np.array(starts)


def _report(fit: Fit, plan: Plan, stats: dict[str, np.ndarray], sites: dict[str, np.ndarray]) -> dict[str, object]:
    """Diagnose the chains; each complaint is a warning and a note."""
    num_chains, num_draws = stats["lp"].shape
    worst = convergence({name: value.reshape(num_chains, num_draws, -1) for name, value in sites.items()})
    divergent = int(stats["diverging"].sum())
    saturated = int((stats["n_steps"] >= 2**plan.max_tree_depth - 1).sum())
    for complaint in complaints(
        worst,
        num_chains=num_chains,
        num_divergent=divergent,
        num_saturated=saturated,
        num_draws=num_chains * num_draws,
    ):
        warn(f"nuts: {complaint}", fit.notes)
    return {
        "worst": {name: {"value": figure.value, "site": figure.site} for name, figure in worst.items() if figure.site},
        "divergences": divergent,
    }
