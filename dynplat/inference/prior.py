"""Draws of the sites from the prior, for prior predictive checks and for series that a fit has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.errors import ArgumentError

if TYPE_CHECKING:
    from dynplat.model import AbstractModel, Context, SiteInfo


def sample_prior(
    model: AbstractModel,
    context: Context,
    *,
    num_draws: int,
    seed: int,
    given: Mapping[str, Any] | None = None,
    language: str | None = None,
    dtype: str = "float64",
    device: str = "cpu",
) -> tuple[dict[str, np.ndarray], dict[str, SiteInfo]]:
    """Draw the sites of a model from its prior, with some of them held fixed.

    With the global sites of a posterior in `given` and a context of other series, the local sites are drawn from their
    law given the global ones: that is how a series never seen gets its parameters.

    Args:
        model: The model; it must declare a prior.
        context: Its context; `num_series` decides how many local sites there are.
        num_draws: Number of draws.
        seed: Determines the draws.
        given: Values (draw, core) or (draw, series, core) of random sites that are not drawn.
        language: `numpyro` or `pyro`; None takes the model's first.
        dtype: `float64` or `float32`.
        device: Device on which the prior runs.

    Returns:
        The sites in the form that processes take, (draw, series or 1, core), and their facts.

    Raises:
        CapabilityError: The model has no prior, or not in this language.
        ArgumentError: `num_draws` is not positive, or `given` has an unknown site or another number of draws.
    """
    from dynplat.inference.fitting import density_for, runtime
    from dynplat.model import check_request

    check_request(model, None, ("prior",), language=language, device=device, purpose="a draw of the prior")
    if num_draws < 1:
        raise ArgumentError(f"`num_draws` must be at least 1; got {num_draws}.")
    language = language or model.capabilities.languages[0]
    with runtime(language, seed=seed, dtype=dtype, device=device) as to_array:
        density = density_for(language)(model, context, None, to_array, seed=seed)
        fixed = {}
        for name, value in (given or {}).items():
            info = density.infos.get(name)
            if info is None or info.kind == "deterministic":
                raise ArgumentError(
                    f"`given` names {name!r}, which is no random site; they are {sorted(density.layout.shapes)}."
                )
            shape = (num_draws, *((context.num_series,) if info.local else ()), *info.core_shape)
            if np.size(value) != int(np.prod(shape)):
                raise ArgumentError(f"`given[{name!r}]` must have shape {shape}; got {np.shape(value)}.")
            fixed[name] = np.reshape(np.asarray(value, dtype=np.float64), shape)
        return density.prior_sites(num_draws, seed, fixed), density.infos
