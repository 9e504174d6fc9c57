"""Stochastic variational inference under Pyro, step by step."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pyro.optim
import torch
from pyro.infer import SVI, Trace_ELBO, autoguide
from pyro.infer.autoguide import init_to_value

from dynplat.arrays import to_numpy
from dynplat.errors import NoDensityError
from dynplat.inference.density import describe_sites
from dynplat.inference.fitting import Fit
from dynplat.inference.joint import joint_program
from dynplat.inference.variational.plan import Fitted, Plan, failure

#: Steps between two words to the observers.
_CHUNK = 20


def fit_guide(fit: Fit, plan: Plan, start: dict[str, np.ndarray], seed: int) -> Fitted:
    """Fit the guide of `plan`; see `dynplat.inference.svi.run`."""
    density = fit.density
    assert density is not None
    program = joint_program(fit.model, fit.context, fit.observations, density.dialect)
    pyro.set_rng_seed(seed)
    guide = _guide(fit, plan, {name: density.to_array(value) for name, value in start.items()})
    decay = plan.final_rate ** (1.0 / plan.num_steps)
    # ClippedAdam decays its rate with every step; a clip this high never acts.
    optimiser = pyro.optim.ClippedAdam({"lr": plan.learning_rate, "lrd": decay, "clip_norm": 1e30})
    svi = SVI(program, guide, optimiser, Trace_ELBO(num_particles=plan.num_particles))
    losses: list[float] = []
    interrupted = False
    # A NaN is reported by this loop, with the step and the last good values, not by an argument check inside Pyro.
    with pyro.validation_enabled(False):
        good: dict[str, np.ndarray] = {}
        while len(losses) < plan.num_steps:
            try:
                if losses:
                    good = _snapshot()
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message="Encountered")  # said below, with what to do
                    try:
                        loss = float(svi.step())  # pyright: ignore[reportArgumentType]
                    except NoDensityError:
                        loss = np.nan
                if not np.isfinite(loss) or not _all_finite():
                    raise failure(fit.model.entry.id, len(losses) + 1, plan, describe_sites(good) or "the start")
                losses.append(loss)
                if len(losses) % _CHUNK == 0 or len(losses) == plan.num_steps:
                    fit.watch.step(len(losses), plan.num_steps, {"elbo": -float(np.mean(losses[-_CHUNK:]))})
            except KeyboardInterrupt:
                if not plan.keep_interrupted or not losses:
                    raise
                interrupted = True
                break
        values = _draw(guide, density.layout.shapes, plan.num_draws)
    return Fitted(values, -np.asarray(losses), interrupted)


def _guide(fit: Fit, plan: Plan, start: dict[str, Any]) -> Callable[..., Any]:
    density = fit.density
    assert density is not None
    if not any(density.infos[name].kind == "sample" for name in density.layout.shapes):
        return lambda: None
    if plan.guide == "model":

        def own() -> None:
            fit.model.guide(density.dialect(), fit.context, fit.observations)

        return own

    def program() -> None:
        # A Gaussian guide looks at the sites only; the likelihood would cost a compilation, or a pass, for nothing.
        fit.model.prior(density.dialect(), fit.context)

    options: dict[str, Any] = {"init_loc_fn": init_to_value(values=start), "init_scale": plan.init_scale}
    if plan.guide == "low-rank":
        return autoguide.AutoLowRankMultivariateNormal(program, rank=plan.rank, **options)
    kind = autoguide.AutoNormal if plan.guide == "normal" else autoguide.AutoMultivariateNormal
    return kind(program, **options)


@torch.no_grad()
def _draw(guide: Callable[..., Any], names: Any, num_draws: int) -> dict[str, np.ndarray]:
    store = pyro.get_param_store()
    columns: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for _ in range(num_draws):
        nodes = pyro.poutine.trace(guide).get_trace().nodes
        for name, column in columns.items():
            column.append(to_numpy(nodes[name].get("value") if name in nodes else store[name]))
    return {name: np.stack(column) for name, column in columns.items()}


def _snapshot() -> dict[str, np.ndarray]:
    return {name: to_numpy(value).copy() for name, value in pyro.get_param_store().items()}


def _all_finite() -> bool:
    return all(bool(torch.isfinite(value).all()) for value in pyro.get_param_store().values())
