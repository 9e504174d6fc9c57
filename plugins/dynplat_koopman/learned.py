r"""What a fit of `koopman/deep` learned: its dictionary, and its eigenvalues with their residuals.

A mode of the fit is an eigenvalue :math:`\mu` of the generator and a function :math:`g = \psi v`; after a step h the
function should be :math:`\lambda g`, :math:`\lambda = e^{\mu h}`. Its residual on snapshot pairs one step apart is

.. math:: \mathrm{res} = \|\mathcal{K} g - \lambda g\| \,/\, \|g - \bar g\|,

with the function's mean over the data taken off in the norm: a function that is next to constant would otherwise pass
with any value near 1. It is never below the residual of `dynplat_koopman.spectrum`. A fit looks at the data, so pairs
that it has not seen tell more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dynplat.errors import ArgumentError
from dynplat_koopman.dictionaries.tanh import TanhNetwork
from dynplat_koopman.modes import eigenvalues
from dynplat_koopman.pairs import Pairs


@dataclass(frozen=True, eq=False)
class LearnedModes:
    """Eigenvalues of a fit, one for each mode, in every draw of its posterior, and how far each is from being one.

    Attributes:
        names: Names of the modes, `pair1`, ..., `decay1`, ...: (mode,).
        rates: Eigenvalues of the generator per unit of time, not below the real axis, (draw, mode).
        values: Eigenvalues over a step of the pairs, (draw, mode).
        residuals: Residual of each on the pairs, (draw, mode).
    """

    names: tuple[str, ...]
    rates: np.ndarray
    values: np.ndarray
    residuals: np.ndarray


def learned_dictionary(posterior: Any, draw: int | None = None) -> TanhNetwork:
    """The network of a fit, with the constant and the state beside it: a dictionary for `fit_edmd`.

    Args:
        posterior: A `Posterior` of `koopman/deep`.
        draw: Which draw, counted over all chains laid end to end; by default the mean of the weights.

    Raises:
        ArgumentError: The posterior is of another model, or has fewer draws.
    """
    sites = _sites(posterior)
    if draw is None:
        sites = {name: value.mean(axis=0, keepdims=True) for name, value in sites.items()}
    elif not 0 <= draw < len(sites["rate"]):
        raise ArgumentError(f"`draw` must be in 0, ..., {len(sites['rate']) - 1}; got {draw}.")
    return _network(posterior, sites, draw or 0)


def learned_modes(posterior: Any, pairs: Pairs) -> LearnedModes:
    """Eigenvalues of a fit with their residuals on snapshot pairs.

    Args:
        posterior: A `Posterior` of `koopman/deep`.
        pairs: Snapshot pairs with a step, best such that the fit has not seen.

    Raises:
        ArgumentError: The posterior is of another model, or the pairs have no step or other variables.
    """
    sites = _sites(posterior)
    if pairs.step is None or pairs.num_variables != len(posterior.context.channels):
        raise ArgumentError(
            f"`pairs` must be of {len(posterior.context.channels)} variables and have a `step`; got "
            f"{pairs.num_variables} variables and step {pairs.step}."
        )
    frequency = sites.get("frequency", sites["rate"][:, :0])
    count = frequency.shape[-1]
    real, imaginary = eigenvalues(sites["rate"], frequency)
    rates = real + 1j * imaginary
    rates = np.concatenate([rates[:, 0 : 2 * count : 2], rates[:, 2 * count :]], axis=-1)
    values = np.exp(rates * pairs.step)
    weights = pairs.weights / pairs.weights.sum()
    residuals = np.empty(rates.shape)
    for draw in range(len(rates)):
        network = _network(posterior, sites, draw)
        coefficients = np.concatenate([sites["bias_out"][draw][:, None], sites["weight_out"][draw]], axis=-1)
        turning = coefficients[0 : 2 * count : 2] + 1j * coefficients[1 : 2 * count : 2]
        vectors = np.concatenate([turning, coefficients[2 * count :]]).T
        before, after = network(pairs.first) @ vectors, network(pairs.second) @ vectors
        miss = weights @ np.abs(after - before * values[draw]) ** 2
        residuals[draw] = np.sqrt(miss / (weights @ np.abs(before - weights @ before) ** 2))
    modes = posterior.model.coords(posterior.context)["mode"]
    return LearnedModes(tuple(modes), rates, values, residuals)


def _sites(posterior: Any) -> dict[str, np.ndarray]:
    if posterior.model.entry.id != "koopman/deep":
        raise ArgumentError(f"`posterior` must be of koopman/deep; got one of {posterior.model.entry.id}.")
    sites = posterior.sites(np.asarray)
    return {name: value[:, 0] for name, value in (sites | posterior.model.weights(sites, posterior.context)).items()}


def _network(posterior: Any, sites: dict[str, np.ndarray], draw: int) -> TanhNetwork:
    context, layers = posterior.context, range(1, len(posterior.model.hidden) + 1)
    return TanhNetwork(
        context["location"],
        context["scale"],
        tuple(sites[f"weight_{layer}"][draw] for layer in layers),
        tuple(sites[f"bias_{layer}"][draw] for layer in layers),
    )
