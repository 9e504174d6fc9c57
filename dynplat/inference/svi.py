r"""Stochastic variational inference: the guide that maximises the evidence lower bound.

.. math:: E_{q(\theta)}[\log p(\theta, y) - \log q(\theta)].

Guides are Gaussian on the unconstrained scale: `normal` (independent), `low-rank`, `full-rank`; or the model's own.
Point-estimated sites and weights of networks are optimised along with the guide. The means of a fitted Gaussian guide
are usually good, its standard deviations too small when it is `normal` and the posterior is correlated.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from dynplat.errors import ArgumentError
from dynplat.inference.density import Objective
from dynplat.inference.diagnostics import warn
from dynplat.inference.fitting import opened, seeds
from dynplat.inference.mode import prior_units
from dynplat.inference.variational.plan import Plan

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories
    from dynplat.model import AbstractModel
    from dynplat.observer import Observer
    from dynplat.posterior import Posterior

GUIDES = ("normal", "low-rank", "full-rank", "model")

#: Points of the trace of the bound that are kept with a fit (means over equal blocks of steps).
_KEPT = 500


def run(
    model: AbstractModel,
    data: Trajectories | Snapshots,
    *,
    seed: int,
    language: str | None = None,
    observers: Iterable[Observer] = (),
    device: str = "cpu",
    dtype: str = "float64",
    guide: str = "normal",
    num_steps: int = 3000,
    learning_rate: float = 0.02,
    final_rate: float = 0.05,
    num_particles: int = 1,
    num_draws: int = 1000,
    init_scale: float = 0.1,
    rank: int | None = None,
    keep_interrupted: bool = False,
) -> Posterior:
    """Fit a guide by Adam and draw from it.

    Args:
        model: The model.
        data: The data.
        seed: Determines the start, the noise of the steps and the draws.
        language: `numpyro` or `pyro`; None takes the model's first.
        observers: Told every few steps, with the mean of the bound since the last time.
        device: Device of the arrays.
        dtype: `float64` or `float32`.
        guide: `normal`, `low-rank`, `full-rank`, or `model` for the model's own.
        num_steps: Steps of Adam.
        learning_rate: Rate of the first step.
        final_rate: Rate of the last step relative to the first; it decays geometrically, so that the noise of the
            gradient dies out.
        num_particles: Draws of the guide per step.
        num_draws: Draws of the fitted guide.
        init_scale: Standard deviation of the guide at the start, on the unconstrained scale.
        rank: Rank of the `low-rank` guide; None for about the square root of the dimension.
        keep_interrupted: Whether Ctrl-C ends the fit with the guide as it is, with a warning; by default it is raised.

    Returns:
        A posterior of one chain; `extra` in its provenance holds the trace `elbo` (means over blocks of steps).

    Raises:
        ArgumentError: An option is out of range.
        CapabilityError: The model lacks a prior, a likelihood, gradients, or (for `model`) a guide of its own.
        InferenceError: The density is not finite at the start, or the bound is not at some step.
    """
    plan = Plan(
        guide, num_steps, learning_rate, final_rate, num_particles, num_draws, init_scale, rank, keep_interrupted
    )
    _check(plan)
    with opened(
        "svi",
        model,
        data,
        seed=seed,
        language=language,
        observers=observers,
        device=device,
        dtype=dtype,
        options=plan._asdict(),
    ) as fit:
        density = fit.density
        assert density is not None
        start = prior_units(density, fit.seed).origin
        value, gradient = density.value_and_gradient(start, Objective.UNCONSTRAINED)
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            raise density.explain(start, "at the prior's medians")
        sites = density.sites(start[None])
        own_shapes = {
            name: sites[name][0] if density.infos[name].local else sites[name][0, 0] for name in density.layout.shapes
        }
        if fit.language == "numpyro":
            from dynplat.inference.variational.numpyro import fit_guide
        else:
            from dynplat.inference.variational.pyro import fit_guide
        fitted = fit_guide(fit, plan, own_shapes, seeds(fit.seed, 2)[1])
        elbo = fitted.elbo
        if fitted.interrupted:
            warn(f"svi: interrupted after {elbo.size} of {num_steps} steps; the guide is as it was then.", fit.notes)
        gain, converged = _recent_gain(elbo)
        if not converged:
            warn(
                f"svi: the evidence lower bound still rises, by {gain:.3g} over the last fifth of the steps. Raise "
                "`num_steps`, or `learning_rate` when it rises slowly and without noise.",
                fit.notes,
            )
        sites = density.complete(fitted.values)
        return fit.finish(
            sites,
            density.infos,
            log_likelihood=fit.likelihood_terms(sites),
            extra={
                "elbo": _blocks(elbo),
                "final_elbo": float(elbo[-max(1, elbo.size // 10) :].mean()),
                "converged": converged,
                "steps": int(elbo.size),
                "num_parameters": density.layout.size,
            },
        )


def _check(plan: Plan) -> None:
    if plan.guide not in GUIDES:
        raise ArgumentError(f"`guide` must be one of {GUIDES}; got {plan.guide!r}.")
    for name in ("num_steps", "num_particles", "num_draws"):
        if getattr(plan, name) < 1:
            raise ArgumentError(f"`{name}` must be at least 1; got {getattr(plan, name)}.")
    for name in ("learning_rate", "init_scale", "final_rate"):
        if not 0 < getattr(plan, name) < np.inf:
            raise ArgumentError(f"`{name}` must be a positive number; got {getattr(plan, name)}.")
    if plan.rank is not None and plan.rank < 1:
        raise ArgumentError(f"`rank` must be at least 1, or None; got {plan.rank}.")


def _recent_gain(elbo: np.ndarray) -> tuple[float, bool]:
    """Rise of the bound from the last fifth but one to the last fifth, and whether it is within noise (or tiny)."""
    size = elbo.size // 5
    if size < 5:
        return float(elbo[-1] - elbo[0]), False
    before, last = elbo[-2 * size : -size], elbo[-size:]
    gain = float(last.mean() - before.mean())
    noise = float(np.sqrt(before.var() / size + last.var() / size))
    return gain, gain < max(3 * noise, 0.1)


def _blocks(elbo: np.ndarray) -> list[float]:
    return [float(block.mean()) for block in np.array_split(elbo, min(_KEPT, elbo.size))]
