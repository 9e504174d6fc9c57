"""What `mle` and `map` share: from a mode to a posterior of one draw with standard errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from dynplat.inference.asymptotic import GROUP, asymptotic_group
from dynplat.inference.density import Objective
from dynplat.inference.diagnostics import warn
from dynplat.inference.fitting import Fit, opened
from dynplat.inference.mode import MAX_HESSIAN, Mode, find_mode
from dynplat.inference.standard_errors import standard_errors

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories
    from dynplat.model import AbstractModel
    from dynplat.observer import Observer
    from dynplat.posterior import Posterior


def run_point(
    method: str,
    objective: Objective,
    model: AbstractModel,
    data: Trajectories | Snapshots,
    *,
    seed: int,
    language: str | None,
    observers: Iterable[Observer],
    device: str,
    dtype: str,
    restarts: int,
    max_steps: int,
    errors: bool,
    options: Mapping[str, Any] | None = None,
) -> Posterior:
    """Find the mode of an objective and report it as a posterior of one draw. See `mle.run` and `map.run`.

    `options` are those of the method that are not arguments here; they are kept with the result.
    """
    options = {"restarts": restarts, "max_steps": max_steps, "errors": errors, **(options or {})}
    with opened(
        method,
        model,
        data,
        seed=seed,
        language=language,
        observers=observers,
        device=device,
        dtype=dtype,
        options=options,
    ) as fit:
        assert fit.density is not None
        mode = find_mode(fit, objective, restarts=restarts, max_steps=max_steps, curvature=errors)
        found: dict[str, np.ndarray] = {}
        constant = {} if mode.converged else constant_channels(fit)
        if mode.curvature is not None:
            found, notes = standard_errors(fit, mode, untold=constant)
            fit.notes.extend(notes)
        elif errors:
            fit.notes.append(
                f"no standard errors: {mode.vector.size} parameters are more than {MAX_HESSIAN}, and a Hessian "
                "takes two gradients for each. Use `svi` or `nuts` for uncertainty."
            )
        if not mode.converged:
            warn(unconverged(method, fit, mode), fit.notes)
        sites, log_prior, log_jacobian = fit.density.evaluate(mode.vector[None])
        log_likelihood = mode.value
        if objective.prior:
            log_likelihood -= float(log_prior[0])
        if objective.jacobian:
            log_likelihood -= float(log_jacobian[0])
        posterior = fit.finish(
            sites,
            fit.density.infos,
            sample_stats={"lp": np.array([[mode.value]])},
            unconstrained=fit.density.unconstrained(mode.vector[None], 1),
            log_likelihood=fit.likelihood_terms(sites),
            extra={
                "log_likelihood": log_likelihood,
                "log_prior": float(log_prior[0]),
                "objective": mode.value,
                "converged": mode.converged,
                "constant_channels": list(constant),
                "steps": mode.steps,
                "starts": mode.starts,
                "num_parameters": mode.vector.size,
                "standard_errors": found,
            },
        )
        law = asymptotic_group(fit, mode) if objective is Objective.LIKELIHOOD else None
        if law is not None:
            posterior.tree[GROUP] = xr.DataTree(law)
        return posterior


def constant_channels(fit: Fit) -> dict[str, tuple[int, float]]:
    """Channels whose observed values, two or more, are all the same: how many there are, and the value."""
    values, mask = np.asarray(fit.observations.values), np.asarray(fit.observations.mask)
    found = {}
    for c, name in enumerate(fit.context.channels):
        seen = values[..., c][mask[..., c]]
        if seen.size > 1 and np.ptp(seen) == 0:
            found[name] = (int(seen.size), float(seen[0]))
    return found


def unconverged(method: str, fit: Fit, mode: Mode) -> str:
    """Say that a search did not end at a maximum, why where the data show it, and what to do."""
    constant = constant_channels(fit)
    if constant:
        shown = " and ".join(
            f"all {count} observed values of channel {name!r} are {value:g}"
            for name, (count, value) in constant.items()
        )
        return (
            f"{method}: the search stopped before a maximum, and there is none: {shown}, so the density grows without "
            "end as the scales there shrink. What is said of these scales and their standard errors means nothing. "
            "Leave the channel out (`columns`, or `select`)."
        )
    return (
        f"{method}: the search stopped before a maximum after {mode.steps} steps ({mode.message.lower()}; a "
        f"further step promises {mode.decrement:.2g} in log density). Raise `max_steps` or `restarts`, or give another "
        "seed."
    )
