r"""Draws of the asymptotic law of a maximum-likelihood estimate.

With :math:`\hat u` the estimate on the unconstrained scale and :math:`\Lambda` the observed information there,

.. math:: u \sim N(\hat u, \Lambda^{-1}),

so that any function of the parameters has an interval: that of its values at the draws. A positive parameter stays
positive, and the interval of a function that bends need not be symmetric. Source: van der Vaart (1998), Asymptotic
Statistics, section 5.3, doi:10.1017/CBO9780511802256; Mandel (2013), doi:10.1080/00031305.2013.783880, for intervals of
functions by draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dynplat.errors import ArgumentError, CapabilityError

if TYPE_CHECKING:
    import xarray as xr

    from dynplat.inference.fitting import Fit
    from dynplat.inference.mode import Mode
    from dynplat.posterior import Posterior

#: Group of a fit's tree that holds the covariance, and its dimensions.
GROUP, DIMS = "asymptotic", ("parameter", "other_parameter")


def asymptotic_group(fit: Fit, mode: Mode) -> xr.Dataset | None:
    """Covariance (parameter, parameter) of the unconstrained estimates; None where a direction has no curvature."""
    import xarray as xr

    curvature = mode.curvature
    if curvature is None or curvature.flat.any():
        return None
    root = mode.units.unit[:, None] * curvature.vectors / np.sqrt(curvature.values)
    names = _names(fit)
    return xr.Dataset(
        {"mean": (DIMS[:1], mode.vector), "covariance": (DIMS, root @ root.T)}, {dim: names for dim in DIMS}
    )


def _names(fit: Fit) -> list[str]:
    """Names of the unconstrained numbers: of the parameters themselves where a transform keeps their shape."""
    density = fit.density
    assert density is not None
    names = []
    for site, shape in density.layout.shapes.items():
        info = density.infos[site]
        own = shape[int(info.local) :] == tuple(info.core_shape)
        for index in np.ndindex(*shape):
            counted = f"{site}[{', '.join(map(str, index))}]"
            names.append(fit.label(site, index) if own else counted)
    return names


def draw_asymptotic(posterior: Posterior, num_draws: int = 1000, *, seed: int = 0) -> Posterior:
    """Draw parameters from the asymptotic normal law of a maximum-likelihood estimate.

    The result answers what any posterior of draws answers: `summary`, predictions that integrate over the parameters,
    intervals of functions of them. No prior enters.

    Args:
        posterior: A fit by `mle`, or one that was loaded.
        num_draws: Number of draws.
        seed: Determines the draws.

    Returns:
        A posterior of one chain; `extra` in its provenance holds `asymptotic`, True.

    Raises:
        CapabilityError: The fit is none by `mle`, or has no covariance: a parameter lies at the boundary of its
            support, is not determined by the data, or no standard errors were asked for.
        ArgumentError: `num_draws` or `seed` is out of range.
    """
    from dynplat.inference.fitting import density_for, runtime, seeds
    from dynplat.posterior import Posterior
    from dynplat.posterior.arviz import group_of

    if num_draws < 1:
        raise ArgumentError(f"`num_draws` must be at least 1; got {num_draws}.")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise ArgumentError(f"`seed` must be an integer from 0 to 2**32 - 1; got {seed!r}.")
    facts = posterior.provenance
    if facts["method"] != "mle" or facts["extra"].get("asymptotic"):
        raise CapabilityError(
            f"the asymptotic law is that of a maximum-likelihood estimate; this fit is by {facts['method']!r}"
            f"{' and holds its draws already' if posterior.num_draws > 1 else ''}. Fit with 'mle', or with 'laplace', "
            "'svi' or 'nuts', whose draws are those of a posterior."
        )
    if GROUP not in posterior.tree.children:
        notes = " ".join(facts["extra"].get("notes", ())) or "It was made with `errors=False`."
        raise CapabilityError(
            f"the fit has no covariance to draw from. {notes} Fit again with `errors=True`, leave out what the data do "
            "not determine, or use 'laplace' or 'nuts'."
        )
    held = group_of(posterior.tree, GROUP)
    mean, covariance = held["mean"].values, held["covariance"].values
    # Parameters on their own scales first: a factor of correlations does not mind that one is a thousand times wider.
    scale = np.sqrt(np.diag(covariance))
    factor = np.linalg.cholesky(covariance / np.outer(scale, scale))
    normal = np.random.default_rng(seed).standard_normal((num_draws, len(mean)))
    vectors = mean + scale * (normal @ factor.T)
    extra = {name: facts["extra"][name] for name in ("dtype", "log_likelihood", "num_parameters", "notes")}
    with runtime(facts["language"], seed=int(seed), dtype=extra["dtype"], device="cpu") as to_array:
        density = density_for(facts["language"])(
            posterior.model, posterior.context, None, to_array, seed=seeds(int(seed), 1)[0]
        )
        sites, infos = density.sites(vectors), density.infos
        unconstrained = density.unconstrained(vectors, 1)
    return Posterior.from_draws(
        posterior.model,
        posterior.context,
        posterior.data,
        {name: (value if infos[name].local else value[:, 0])[None] for name, value in sites.items()},
        infos,
        method="mle",
        language=facts["language"],
        seed=int(seed),
        unconstrained=unconstrained,
        extra={**extra, "asymptotic": True, "options": {"num_draws": num_draws}},
    )
