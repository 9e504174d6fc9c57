r"""Laplace's approximation: a Gaussian at the mode of the density on the unconstrained scale.

With :math:`\hat u` the mode of :math:`\log p(\theta(u), y) + \log |d\theta/du|` and :math:`\Lambda` the negative
Hessian there, draws are :math:`u \sim N(\hat u, \Lambda^{-1})`, mapped to the natural scale. How far the
approximation is from the posterior is read off importance weights: the shape :math:`\hat k` of their Pareto tail
(Vehtari, Simpson, Gelman, Yao and Gabry 2024, arXiv:1507.02646) says below 0.7 that the draws can be trusted, or be
resampled to the posterior.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from dynplat.errors import ArgumentError, InferenceError
from dynplat.inference.density import Objective
from dynplat.inference.diagnostics import warn
from dynplat.inference.fitting import opened, refuse_point_estimates, seeds
from dynplat.inference.mode import MAX_HESSIAN, find_mode
from dynplat.inference.point import unconverged
from dynplat.inference.standard_errors import standard_errors

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories
    from dynplat.model import AbstractModel
    from dynplat.observer import Observer
    from dynplat.posterior import Posterior

#: Shape of the weights' tail beyond which importance sampling, and with it the approximation, is not to be trusted.
MAX_PARETO_K = 0.7


def run(
    model: AbstractModel,
    data: Trajectories | Snapshots,
    *,
    seed: int,
    language: str | None = None,
    observers: Iterable[Observer] = (),
    device: str = "cpu",
    dtype: str = "float64",
    num_draws: int = 1000,
    restarts: int = 2,
    max_steps: int = 500,
    resample: bool = False,
) -> Posterior:
    """Approximate the posterior by a Gaussian on the unconstrained scale.

    Args:
        model: The model.
        data: The data.
        seed: Determines the starts and the draws.
        language: `numpyro` or `pyro`; None takes the model's first.
        observers: Told after each step of the search.
        device: Device of the arrays.
        dtype: `float64` or `float32`.
        num_draws: Number of draws.
        restarts: Further starts of the search, at draws of the prior.
        max_steps: Iterations of L-BFGS per start.
        resample: Draw again (with replacement) with the smoothed importance weights, which turns draws of the Gaussian
            into draws of the posterior when `pareto_k` is small.

    Returns:
        A posterior of one chain; `extra` in its provenance holds `pareto_k`.

    Raises:
        CapabilityError: The model lacks a prior, a likelihood or gradients, or has point-estimated sites.
        InferenceError: The density is not finite at any start, or its mode has a flat direction.
    """
    if num_draws < 1:
        raise ArgumentError(f"`num_draws` must be at least 1; got {num_draws}.")
    options = {"num_draws": num_draws, "restarts": restarts, "max_steps": max_steps, "resample": resample}
    with opened(
        "laplace",
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
        refuse_point_estimates(density, "laplace")
        if density.layout.size > MAX_HESSIAN:
            raise InferenceError(
                f"laplace: {density.layout.size} parameters are more than {MAX_HESSIAN}, and a Hessian takes "
                "two gradients for each. Use `svi` with `guide='low-rank'`, or `nuts`."
            )
        mode = find_mode(fit, Objective.UNCONSTRAINED, restarts=restarts, max_steps=max_steps)
        curvature = mode.curvature
        assert curvature is not None
        if curvature.flat.any():
            _, notes = standard_errors(density, mode)
            raise InferenceError(
                "laplace: the posterior has no Gaussian shape at its mode, because it is flat in "
                f"{int(curvature.flat.sum())} direction(s). {' '.join(notes)} Use `nuts`, or a tighter prior."
            )
        if not mode.converged:
            warn(unconverged("laplace", mode), fit.notes)
        rng = np.random.default_rng(seeds(seed, 2)[1])
        white = rng.standard_normal((num_draws, mode.vector.size))
        z = (white / np.sqrt(curvature.values)) @ curvature.vectors.T
        vectors = mode.vector + mode.units.unit * z
        sites, log_prior, log_jacobian = density.evaluate(vectors)
        likelihood = fit.likelihood_terms(sites)
        log_density = log_prior + log_jacobian
        extra = {
            "converged": mode.converged,
            "steps": mode.steps,
            "starts": mode.starts,
            "num_parameters": mode.vector.size,
            "mode": {name: value[0].tolist() for name, value in density.sites(mode.vector[None]).items()},
        }
        if likelihood is not None:
            log_density = log_density + likelihood.sum((1, 2))
            weights, extra["pareto_k"] = _weights(log_density + 0.5 * (white**2).sum(1))
            if not extra["pareto_k"] <= MAX_PARETO_K:
                warn(
                    f"laplace: the posterior is far from Gaussian on the unconstrained scale (Pareto k "
                    f"{extra['pareto_k']:.2f}, wanted: at most {MAX_PARETO_K}). Use `nuts`.",
                    fit.notes,
                )
            if resample:
                chosen = rng.choice(num_draws, num_draws, p=weights)
                vectors, log_density, likelihood = vectors[chosen], log_density[chosen], likelihood[chosen]
                sites = {name: value[chosen] for name, value in sites.items()}
        return fit.finish(
            sites,
            density.infos,
            sample_stats={"lp": log_density[None]} if likelihood is not None else None,
            unconstrained=density.unconstrained(vectors, 1),
            log_likelihood=likelihood,
            extra=extra,
        )


def _weights(log_ratios: np.ndarray) -> tuple[np.ndarray, float]:
    """Smoothed, normalised importance weights and the shape of their tail; a draw of no density weighs 0."""
    from arviz_stats.base import array_stats

    log_ratios = np.where(np.isnan(log_ratios), -np.inf, log_ratios)
    usable = np.isfinite(log_ratios)
    if usable.sum() < 25:  # too few for a tail
        shape, smoothed = np.inf, log_ratios[usable]
    else:
        smoothed, shape = array_stats.psislw(-(log_ratios[usable] - log_ratios[usable].max()))
    weights = np.zeros(log_ratios.size)
    weights[usable] = np.exp(np.asarray(smoothed) - np.max(smoothed))
    return weights / weights.sum(), float(shape)
