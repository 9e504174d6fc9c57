"""Operators of a fitted model, and their eigenpairs: each draw of the posterior with residuals of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.errors import ArgumentError
from dynplat_koopman.edmd import Operator
from dynplat_koopman.gram import inverse_root
from dynplat_koopman.lifting import complete_pairs
from dynplat_koopman.models import AbstractLifted
from dynplat_koopman.moments import gather_moments
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
        ArgumentError: The fit is of another family.
    """
    model, context = posterior.model, posterior.context
    if not isinstance(model, AbstractLifted):
        raise ArgumentError(f"`posterior` must be a fit of a model of the family koopman; got {model.entry.id}.")
    dictionary = model.dictionary_of(context)
    pairs = complete_pairs(posterior.data if data is None else data, float(context["step"]))
    moments = gather_moments(pairs, dictionary)
    basis = inverse_root(moments.gram, dictionary.names, tolerance=_TOLERANCE)
    sites = posterior.sites(np.asarray, num_draws)
    matrices, inputs = sites["operator"][:, 0], sites.get("input_matrix")
    first = Operator(matrices[0], moments, basis, dictionary=dictionary)
    return [
        replace(first, matrix=matrix, input_matrix=None if inputs is None else inputs[draw, 0])
        for draw, matrix in enumerate(matrices)
    ]


def eigenpair_draws(posterior: Posterior, **options: Any) -> list[Eigenpairs]:
    """Eigenvalues of each draw of the operator with their residuals (options as for `operators`).

    The eigenvalues of different draws stand in the order of their own residuals: whoever follows one from draw to draw
    matches them by distance.
    """
    return [eigenpairs(operator) for operator in operators(posterior, **options)]
