r"""Standard errors of a point estimate from the curvature of the objective at the mode.

With :math:`\Lambda` the negative Hessian in the coordinates of the search and :math:`a_j` the gradient of the j-th
natural parameter with respect to them, the delta method gives :math:`\mathrm{se}_j^2 = a_j^T \Lambda^{-1} a_j`. Where
:math:`a_j` leans on a direction without curvature there is no standard error: the parameter lies at the boundary of
its support (it hardly moves with the unconstrained one) or the data do not determine it.
"""

from __future__ import annotations

import numpy as np

from dynplat.inference.density import AbstractDensity
from dynplat.inference.mode import Mode

#: Share of a parameter's gradient in flat directions beyond which its standard error is not known.
_MAX_FLAT_SHARE = 1e-3

#: A parameter whose derivative is this small, relative to that at the prior's median, lies at a boundary.
_BOUNDARY = 1e-3


def standard_errors(density: AbstractDensity, mode: Mode) -> tuple[dict[str, np.ndarray], list[str]]:
    """Standard errors by site, in the shape of one draw, NaN where unknown, and notes that say why.

    Deterministic sites get theirs by the same rule.
    """
    curvature = mode.curvature
    assert curvature is not None
    here = _slopes(density, mode.vector, mode.units.unit)
    median = _slopes(density, mode.units.origin, mode.units.unit)
    keep = ~curvature.flat
    errors: dict[str, np.ndarray] = {}
    notes: list[str] = []
    for name, slopes in here.items():
        info = density.infos[name]
        flat = slopes.reshape(-1, mode.vector.size)
        along = flat @ curvature.vectors
        length = np.sqrt((along**2).sum(axis=1))
        flat_share = np.sqrt((along[:, curvature.flat] ** 2).sum(axis=1))
        variance = (along[:, keep] ** 2 / curvature.values[keep]).sum(axis=1)
        unknown = flat_share > _MAX_FLAT_SHARE * length
        error = np.where(unknown, np.nan, np.sqrt(variance))
        shape = slopes.shape[:-1]
        errors[name] = error.reshape(shape if info.local else shape[1:])
        if unknown.any():
            before = np.sqrt((median[name].reshape(flat.shape) ** 2).sum(axis=1))
            notes.append(_note(name, unknown, length < _BOUNDARY * before))
    return errors, notes


def _note(name: str, unknown: np.ndarray, boundary: np.ndarray) -> str:
    elements = "" if unknown.size == 1 else f" (elements {np.flatnonzero(unknown).tolist()})"
    if boundary[unknown].all():
        return f"{name}{elements} lies at the boundary of its support: it has no standard error."
    return (
        f"{name}{elements} is not determined by the data: the objective is flat along it, and it has no standard "
        "error. Use `map`, give it a tighter prior, or fix it."
    )


def _slopes(density: AbstractDensity, vector: np.ndarray, unit: np.ndarray) -> dict[str, np.ndarray]:
    """Derivatives (series or 1, core, size) of all sites with respect to the vector, per prior unit.

    Central differences in one batched call; the maps are smooth and cheap, and the error is of the order of 1e-10.
    """
    eps = np.finfo(np.float64 if density.to_array(np.zeros(1)).dtype.itemsize == 8 else np.float32).eps
    step = eps ** (1 / 3) * unit
    moves = np.diag(step)
    shifted = density.sites(np.concatenate([vector + moves, vector - moves]))
    slopes = {}
    for name, values in shifted.items():
        values = values.astype(np.float64)
        difference = values[: vector.size] - values[vector.size :]
        slopes[name] = np.moveaxis(difference / (2 * eps ** (1 / 3)), 0, -1)
    return slopes
