r"""Laplace's approximation, corrected by importance resampling where the weights allow.

With :math:`\hat u` the mode of :math:`\log p(\theta(u), y) + \log |d\theta/du|` and :math:`\Lambda` the negative
Hessian there, the approximation is :math:`u \sim N(\hat u, \Lambda^{-1})`. With few data it can be far too narrow or
too wide: the likelihood of a variance levels off towards 0, so that the posterior has a shelf which the curvature at
the mode does not know. Draws of that Gaussian alone cannot tell: few fall on the shelf, and their weights look
harmless. Proposals therefore come from a mixture in equal parts,

.. math:: q(u) = \tfrac13 N(u; \hat u, \Lambda^{-1}) + \tfrac13 N(u; m, \mathrm{diag}(s^2)) + \tfrac13 t_5(u; \mu, C)

with m the medians and s the standard deviations of draws of the prior (Owen and Zhou 2000,
doi:10.1080/01621459.2000.10473909), and :math:`\mu, C` the moments of the weighted draws of the first two parts
(adaptive multiple importance sampling; Cornuet, Marin, Mira and Robert 2012, doi:10.1111/j.1467-9469.2011.00756.x, with
one adaptation). The weights p / q are smoothed (Vehtari, Simpson, Gelman, Yao and Gabry 2024, arXiv:1507.02646), and
the draws are resampled systematically with them. The shape :math:`\hat k` of the weights' tail says whether this can
be trusted: up to :math:`\min(1 - 1 / \log_{10} S, 0.7)` for S proposals (the same source). Beyond, the Gaussian's own
draws are returned, with a warning.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import logsumexp
from scipy.stats import Covariance, multivariate_normal, multivariate_t

from dynplat.errors import ArgumentError, InferenceError
from dynplat.inference.density import Objective
from dynplat.inference.diagnostics import warn
from dynplat.inference.fitting import MAX_LIKELIHOOD_CELLS, Fit, opened, refuse_point_estimates, seeds
from dynplat.inference.mode import MAX_HESSIAN, Mode, find_mode
from dynplat.inference.point import constant_channels, unconverged
from dynplat.inference.standard_errors import standard_errors

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories
    from dynplat.model import AbstractModel
    from dynplat.observer import Observer
    from dynplat.posterior import Posterior

#: Shape of the weights' tail beyond which importance sampling is not to be trusted, however many the draws.
MAX_PARETO_K = 0.7

#: Draws below which a tail has no shape.
_MIN_DRAWS = 25

#: Effective draws per parameter below which their covariance is too poor to propose with.
_MIN_PER_PARAMETER = 5

#: Degrees of freedom of the fitted part: heavier than any posterior under Gaussian tails, yet with a covariance.
_DEGREES = 5


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
    resample: bool = True,
) -> Posterior:
    """Approximate the posterior by a Gaussian on the unconstrained scale, and correct the draws by their weights.

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
        resample: Whether the draws are resampled by importance weights where these can be trusted; False gives the
            draws of the Gaussian as they are, and judges it by their own weights.

    Returns:
        A posterior of one chain; `extra` in its provenance holds `pareto_k`, `effective_draws` (Kish's, of the weights)
        and `resampled`.

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
            constant = constant_channels(fit)
            _, notes = standard_errors(fit, mode, untold=constant)
            notes += [unconverged("laplace", fit, mode)] if constant else []
            raise InferenceError(
                "laplace: the posterior has no Gaussian shape at its mode, because it is flat in "
                f"{int(curvature.flat.sum())} direction(s). {' '.join(notes)} Use `nuts`, or a tighter prior."
            )
        if not mode.converged:
            warn(unconverged("laplace", fit, mode), fit.notes)
        rng = np.random.default_rng(seeds(seed, 2)[1])
        drawn = _draw(fit, mode, num_draws, rng, mixed=resample)
        pareto_k = drawn.pareto_k
        most = max_pareto_k(len(drawn.vectors))
        usable = pareto_k <= most
        if not usable:
            what = "cannot be resampled to the posterior" if resample else "are far from the posterior"
            warn(
                f"laplace: the draws {what}, which is not Gaussian on the unconstrained scale (Pareto k "
                f"{pareto_k:.2f}, wanted: at most {most:.2f}). Use `nuts`.",
                fit.notes,
            )
        chosen = _systematic(drawn.weights, num_draws, rng) if resample and usable else np.arange(num_draws)
        vectors = drawn.vectors[chosen]
        sites = density.sites(vectors)
        return fit.finish(
            sites,
            density.infos,
            sample_stats={"lp": drawn.log_density[chosen][None]},
            unconstrained=density.unconstrained(vectors, 1),
            log_likelihood=fit.likelihood_terms(sites) if drawn.terms is None else drawn.terms[chosen],
            extra={
                "pareto_k": pareto_k,
                "effective_draws": _effective(drawn.weights),
                "resampled": bool(resample and usable),
                "converged": mode.converged,
                "steps": mode.steps,
                "starts": mode.starts,
                "num_parameters": mode.vector.size,
                "mode": {name: value[0].tolist() for name, value in density.sites(mode.vector[None]).items()},
            },
        )


def max_pareto_k(num_draws: int) -> float:
    """Shape of the tail up to which the weights of so many draws can be trusted."""
    return min(1.0 - 1.0 / np.log10(max(num_draws, 2)), MAX_PARETO_K)


class _Drawn(NamedTuple):
    """Weighted proposals.

    Attributes:
        vectors: Unconstrained, (draw, size); the first of them are the Gaussian's.
        log_density: Log density on the unconstrained scale there, (draw,).
        terms: Terms of the likelihood (draw, series, time), or None when they are too many to hold.
        weights: Smoothed, normalised importance weights, (draw,).
        pareto_k: Shape of the tail of the weights.
    """

    vectors: np.ndarray
    log_density: np.ndarray
    terms: np.ndarray | None
    weights: np.ndarray
    pareto_k: float


def _draw(fit: Fit, mode: Mode, num_draws: int, rng: np.random.Generator, *, mixed: bool) -> _Drawn:
    """Draw `num_draws` from the Gaussian at the mode and, when `mixed`, as many from each other part of the mixture."""
    assert mode.curvature is not None
    units, size = mode.units, mode.vector.size
    # In prior units the prior's part is standard normal.
    centre = (mode.vector - units.origin) / units.unit
    covariance = Covariance.from_eigendecomposition((1.0 / mode.curvature.values, mode.curvature.vectors))
    normal: Any = multivariate_normal  # its annotations know neither `Covariance` objects nor matrices
    student: Any = multivariate_t
    laws = [normal(centre, covariance)]
    if mixed:
        laws.append(normal(np.zeros(size), np.eye(size)))
    num_series, num_times = fit.observations.mask.shape[:2]
    keep = num_draws * (len(laws) + mixed) * num_series * num_times <= MAX_LIKELIHOOD_CELLS

    def propose(law: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        z = np.reshape(law.rvs(num_draws, random_state=rng), (num_draws, size))
        return z, *_log_density(fit, units.vector(z), keep)

    def weigh() -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        z = np.concatenate([part[0] for part in parts])
        log_density = np.concatenate([part[1] for part in parts])
        # A mixture of known shares is a law of its own, whichever part a draw came from (the balance heuristic).
        log_mixture = logsumexp([np.reshape(law.logpdf(z), len(z)) for law in laws], axis=0) - np.log(len(laws))
        return z, log_density, *_weights(log_density - log_mixture)

    parts = [propose(law) for law in laws]
    z, log_density, weights, pareto_k = weigh()
    if mixed and _effective(weights) > _MIN_PER_PARAMETER * size:
        mean = weights @ z
        laws.append(student(mean, (weights[:, None] * (z - mean)).T @ (z - mean), df=_DEGREES))
        parts.append(propose(laws[-1]))
        z, log_density, weights, pareto_k = weigh()
    kept = [terms for _, _, terms in parts if terms is not None]
    return _Drawn(units.vector(z), log_density, np.concatenate(kept) if keep else None, weights, pareto_k)


def _log_density(fit: Fit, vectors: np.ndarray, keep: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Log density on the unconstrained scale at vectors (draw, size), and the terms of the likelihood to `keep`.

    Where they are not kept they are added up a bounded number at a time.
    """
    density = fit.density
    assert density is not None
    sites, log_prior, log_jacobian = density.evaluate(vectors)
    num_series, num_times = fit.observations.mask.shape[:2]
    lot = len(vectors) if keep else max(1, MAX_LIKELIHOOD_CELLS // max(1, num_series * num_times))
    terms, sums = None, []
    for start in range(0, len(vectors), lot):
        terms = density.log_likelihood_steps({name: value[start : start + lot] for name, value in sites.items()})
        sums.append(terms.sum((1, 2)))
    return log_prior + log_jacobian + np.concatenate(sums), terms if keep else None


def _effective(weights: np.ndarray) -> float:
    """Effective number of draws of normalised weights (Kish)."""
    return float(1.0 / (weights**2).sum())


def _weights(log_ratios: np.ndarray) -> tuple[np.ndarray, float]:
    """Smoothed, normalised importance weights and the shape of their tail; a draw of no density weighs 0."""
    from arviz_stats.base import array_stats

    log_ratios = np.where(np.isnan(log_ratios), -np.inf, log_ratios)
    usable = np.isfinite(log_ratios)
    weights = np.zeros(log_ratios.size)
    if not usable.any():
        return np.full(log_ratios.size, 1.0 / log_ratios.size), np.inf
    shape, smoothed = np.inf, log_ratios[usable]
    if usable.sum() >= _MIN_DRAWS:
        tail: Any = array_stats.psislw(-(smoothed - smoothed.max()))
        smoothed, shape = tail
    weights[usable] = np.exp(smoothed - logsumexp(smoothed))
    return weights, float(shape)


def _systematic(weights: np.ndarray, num_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Positions (draw,) in random order, each taken floor or ceil of `num_draws` times its weight times."""
    points = (rng.random() + np.arange(num_draws)) / num_draws
    cumulative = np.cumsum(weights)
    return rng.permutation(np.searchsorted(cumulative / cumulative[-1], points, side="right"))
