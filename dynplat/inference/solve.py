"""The model's own solver: closed form, EM, projection, or a pretrained network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.errors import CapabilityError, InferenceError, PluginError
from dynplat.inference.fitting import Fit, opened
from dynplat.model import AbstractModel, SiteInfo

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories
    from dynplat.observer import Observer
    from dynplat.posterior import Posterior


def run(
    model: AbstractModel,
    data: Trajectories | Snapshots,
    *,
    seed: int,
    language: str | None = None,
    observers: Iterable[Observer] = (),
    device: str = "cpu",
    dtype: str = "float64",
) -> Posterior:
    """Ask the model's own solver for draws of its sites.

    Args:
        model: The model.
        data: The data.
        seed: Handed to the solver.
        language: Language whose prior tells which sites are local, and whose framework evaluates the likelihood.
        observers: Told when the solver starts and ends.
        device: Device of the arrays.
        dtype: `float64` or `float32`.

    Returns:
        A posterior of one chain.

    Raises:
        CapabilityError: The model has no solver of its own.
        InferenceError: A draw is not finite.
        PluginError: The draws do not have the shapes that the model's prior gives its sites.
    """
    if type(model).solve is AbstractModel.solve:
        raise CapabilityError(_NO_SOLVER.format(model.entry.id))
    has_prior = type(model).prior is not AbstractModel.prior
    with opened(
        "solve",
        model,
        data,
        seed=seed,
        language=language,
        observers=observers,
        device=device,
        dtype=dtype,
        options={},
        density=has_prior,
    ) as fit:
        solution = model.solve(fit.observations, fit.context, seed=fit.seed)
        if solution is None:
            raise CapabilityError(_NO_SOLVER.format(model.entry.id))
        draws = {name: np.asarray(value, dtype=np.float64) for name, value in solution.items()}
        infos = _infos(fit, draws)
        sites = {name: value if infos[name].local else value[:, None] for name, value in draws.items()}
        if fit.density is not None and set(fit.density.layout.shapes) <= set(sites):
            sites, infos = fit.density.complete(draws), fit.density.infos
        likelihood = fit.likelihood_terms(sites) if model.capabilities.likelihood and sites else None
        extra: dict[str, Any] = {"num_parameters": sum(value[0].size for value in draws.values())}
        if likelihood is not None and len(likelihood) == 1:
            extra["log_likelihood"] = float(likelihood.sum())
        return fit.finish(sites, infos, log_likelihood=likelihood, extra=extra)


_NO_SOLVER = "{} has no solver of its own. Use another inference; `dynplat describe` lists those that fit it."


def _infos(fit: Fit, draws: dict[str, np.ndarray]) -> dict[str, SiteInfo]:
    """Facts of the sites: from the prior program where there is one, otherwise from the shapes."""
    model, num_series = fit.model.entry.id, fit.context.num_series
    sizes = {value.shape[0] if value.ndim else 0 for value in draws.values()}
    # None at all is legal: a model may have no parameters.
    if len(sizes) > 1 or 0 in sizes:
        raise PluginError(
            f"`solve` of {model} must return arrays with one number of draws in front; got shapes "
            f"{ {name: value.shape for name, value in draws.items()} }."
        )
    infos = {}
    known = fit.density.infos if fit.density is not None else {}
    for name, value in draws.items():
        if not np.isfinite(value).all():
            raise InferenceError(f"`solve` of {model} gave values that are not finite for site {name!r}.")
        if name in known:
            info = known[name]
            wanted = ((num_series,) if info.local else ()) + info.core_shape
            if value.shape[1:] != wanted:
                raise PluginError(
                    f"`solve` of {model} must give site {name!r} as (draws, {', '.join(map(str, wanted))}), the "
                    f"shape that its prior declares; got {value.shape}."
                )
        else:
            local = name in getattr(fit.model, "local_sites", ())
            if local and value.shape[1:2] != (num_series,):
                raise PluginError(
                    f"`solve` of {model} must give the local site {name!r} as (draws, {num_series}, ...); "
                    f"got {value.shape}."
                )
            info = SiteInfo(name, "param", value.shape[2:] if local else value.shape[1:], local)
        infos[name] = info
    return infos
