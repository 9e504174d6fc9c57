"""Operators of a fitted model, and their eigenpairs: each draw of the posterior with residuals of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.errors import ArgumentError
from dynplat_koopman.edmd import Operator
from dynplat_koopman.gap_regression import flowed, gap_pairs
from dynplat_koopman.generator import Generator
from dynplat_koopman.gram import inverse_root
from dynplat_koopman.lifting import complete_pairs
from dynplat_koopman.models import EDMD, AbstractLifted
from dynplat_koopman.moments import gather_moments, moments_from
from dynplat_koopman.spectrum import Eigenpairs, eigenpairs

if TYPE_CHECKING:
    from dynplat import Posterior, Trajectories

#: Directions of the dictionary that the data determine: eigenvalues of the Gram matrix above this part of the largest.
_TOLERANCE = 1e-12


def operators(
    posterior: Posterior, *, data: Trajectories | None = None, num_draws: int | None = None
) -> list[Operator]:
    """The operators of a fit by a model of this family, one for each draw.

    Args:
        posterior: The fit.
        data: Data whose snapshot pairs the residuals of the operators are taken over; by default those of the fit, on
            which residuals are smaller than elsewhere.
        num_draws: At most so many draws, evenly thinned; None for all.

    Raises:
        ArgumentError: The fit is of another family, or one in continuous time.
    """
    model, context = _lifted(posterior), posterior.context
    if _is_continuous(model):
        raise ArgumentError("`posterior` was fitted in continuous time: `generators` gives its generator.")
    dictionary = model.dictionary_of(context)
    pairs = complete_pairs(posterior.data if data is None else data, float(context["step"]), model.delays)
    moments = gather_moments(pairs, dictionary)
    basis = inverse_root(moments.gram, dictionary.names, tolerance=_TOLERANCE)
    sites = posterior.sites(np.asarray, num_draws)
    matrices, inputs = sites["operator"][:, 0], sites.get("input_matrix")
    first = Operator(matrices[0], moments, basis, dictionary=dictionary)
    return [
        replace(first, matrix=matrix, input_matrix=None if inputs is None else inputs[draw, 0])
        for draw, matrix in enumerate(matrices)
    ]


def generators(
    posterior: Posterior, *, data: Trajectories | None = None, num_draws: int | None = None
) -> list[Generator]:
    """The generators of a fit by `koopman/edmd` with `continuous=True`, one for each draw.

    Their moments are those of the mean rates of functions over the gaps against the mean functions that the generator
    forecasts there: a residual says how far the mean rate of an eigenfunction is from its eigenvalue times its mean.

    Args:
        posterior: The fit.
        data: Data whose gaps the residuals are taken over; by default those of the fit.
        num_draws: At most so many draws, evenly thinned; None for all.

    Raises:
        ArgumentError: The fit is of another family, or one in discrete time.
    """
    model, context = _lifted(posterior), posterior.context
    if not _is_continuous(model):
        raise ArgumentError("`posterior` was fitted in discrete time: `operators` gives its operator.")
    dictionary, basis = model.dictionary_of(context), context["basis"]
    found = gap_pairs(posterior.data if data is None else data, max_gap=float(context["max_gap"]))
    first, second = (np.asarray(dictionary(rows)) for rows in (found.pairs.first, found.pairs.second))
    rates_seen = (second - first) / found.gaps[:, None]
    sites = posterior.sites(np.asarray, num_draws)
    # Coefficients of psi in the basis, those that are nearest over the data where it spans less.
    inverse = np.linalg.lstsq(first @ basis, first, rcond=None)[0]
    fitted, inputs = [], sites.get("input_matrix")
    for draw, rates in enumerate(sites["generator"][:, 0]):
        seen, start = rates_seen, first @ basis
        if inputs is not None:
            held = np.asarray(found.pairs.inputs)
            seen = seen - held @ inputs[draw, 0] @ inverse
            moving = np.concatenate([rates, inputs[draw, 0]])
            both = np.concatenate([moving, np.zeros((len(moving), held.shape[1]))], axis=1)
            start = np.concatenate([start, held], axis=1)
        else:
            both = rates
        mean = flowed(start, both, found.gaps)[1][:, : len(rates)]
        moments = moments_from(mean @ inverse, seen, found.gaps, states=found.pairs.first)
        root = inverse_root(moments.gram, dictionary.names, tolerance=_TOLERANCE)
        fitted.append(Generator(basis @ rates @ inverse, moments, root, dictionary=dictionary))
    return fitted


def eigenpair_draws(posterior: Posterior, **options: Any) -> list[Eigenpairs]:
    """Eigenvalues of each draw of the operator, or generator, with their residuals (options as for `operators`).

    The eigenvalues of different draws stand in the order of their own residuals: whoever follows one from draw to draw
    matches them by distance.
    """
    of_draws = generators if _is_continuous(_lifted(posterior)) else operators
    return [eigenpairs(fitted) for fitted in of_draws(posterior, **options)]


def _lifted(posterior: Posterior) -> AbstractLifted:
    model = posterior.model
    if not isinstance(model, AbstractLifted):
        raise ArgumentError(f"`posterior` must be a fit of a model of the family koopman; got {model.entry.id}.")
    return model


def _is_continuous(model: AbstractLifted) -> bool:
    return isinstance(model, EDMD) and model.continuous
