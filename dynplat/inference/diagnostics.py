"""What a run of inference says about itself: warnings, and whether chains agree."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

#: Chains agree when the rank-normalised split R-hat is below this (Vehtari et al. 2021, doi:10.1214/20-BA1221).
MAX_RHAT = 1.01

#: Effective draws wanted per chain, for quantiles as for means (the same source).
MIN_ESS_PER_CHAIN = 100


class InferenceWarning(UserWarning):
    """A result that exists and should not be trusted without a second look; the message says what to do."""


def warn(message: str, notes: list[str]) -> None:
    """Warn, and keep the message with the fit."""
    notes.append(message)
    warnings.warn(message, InferenceWarning, stacklevel=3)


class Worst(NamedTuple):
    """The worst figure of a diagnostic over all elements of all sites.

    Attributes:
        value: The figure.
        site: The site where it occurs, or an empty string when there was nothing to look at.
    """

    value: float
    site: str = ""


def convergence(draws: Mapping[str, np.ndarray]) -> dict[str, Worst]:
    """Worst `rhat`, `ess_bulk` and `ess_tail` over all elements of all sites.

    Args:
        draws: Draws (chain, draw, ...) by site name. Elements that never move are left out.
    """
    from arviz_stats.base import array_stats

    with np.errstate(
        all="ignore"
    ):  # a chain that stands still divides by a variance of 0: its figure is NaN, and worst
        return _convergence(draws, array_stats)


def _convergence(draws: Mapping[str, np.ndarray], array_stats: Any) -> dict[str, Worst]:
    worst = {"rhat": Worst(1.0), "ess_bulk": Worst(np.inf), "ess_tail": Worst(np.inf)}
    for name, values in draws.items():
        num_chains, num_draws = values.shape[:2]
        if num_draws < 4:
            continue
        columns = values.reshape(num_chains, num_draws, -1)
        columns = columns[..., np.ptp(columns, axis=(0, 1)) > 0]
        for column in np.moveaxis(columns, -1, 0):
            if num_chains > 1:
                rhat = np.asarray(array_stats.rhat(column, chain_axis=0, draw_axis=1)).item()
                if not rhat <= worst["rhat"].value:  # also when it is NaN: chains stuck at different values
                    worst["rhat"] = Worst(rhat, name)
            for kind in ("bulk", "tail"):
                tails = None if kind == "bulk" else (0.05, 0.95)
                ess = np.asarray(array_stats.ess(column, chain_axis=0, draw_axis=1, method=kind, prob=tails)).item()
                if not ess >= worst[f"ess_{kind}"].value:
                    worst[f"ess_{kind}"] = Worst(ess, name)
    return worst


def complaints(
    worst: Mapping[str, Worst], *, num_chains: int, num_divergent: int, num_saturated: int, num_draws: int
) -> Sequence[str]:
    """What a user should know about a set of chains, one sentence each with what to do; empty when all is well."""
    found = []
    if num_divergent:
        found.append(
            f"{num_divergent} of {num_draws} draws ended in a divergence: the sampler met curvature that its step size "
            "cannot follow, and the posterior may be biased there. Raise `target_accept` (say to 0.95), or write the "
            "prior of the scales differently (non-centred sites, priors away from 0)."
        )
    if num_saturated > 0.01 * num_draws:
        found.append(
            f"{num_saturated} of {num_draws} draws reached `max_tree_depth`: sampling is slow, not wrong. Raise "
            "`max_tree_depth`, or set `dense_mass=True` when parameters are strongly correlated."
        )
    rhat, site = worst["rhat"]
    if num_chains > 1 and not rhat <= MAX_RHAT:
        found.append(
            f"chains disagree: R-hat is {rhat:.3f} at site {site!r} (wanted: at most {MAX_RHAT}). "
            "Raise `num_warmup` and `num_samples`; when it stays, look for several modes."
        )
    wanted = MIN_ESS_PER_CHAIN * num_chains
    for kind in ("bulk", "tail"):
        ess, site = worst[f"ess_{kind}"]
        if not ess >= wanted:
            found.append(
                f"only {ess:.0f} effective draws for {'means' if kind == 'bulk' else 'quantiles'} at site "
                f"{site!r} (wanted: {wanted}). Raise `num_samples`."
            )
            break
    return found
