r"""Standard errors of a point estimate from the curvature of the objective at the mode.

With :math:`\Lambda` the negative Hessian in the coordinates of the search and :math:`a_j` the gradient of the j-th
natural parameter with respect to them, the delta method gives :math:`\mathrm{se}_j^2 = a_j^T \Lambda^{-1} a_j`. Where
:math:`a_j` leans on a direction without curvature there is no standard error: the parameter lies at the boundary of
its support (it hardly moves with the unconstrained one) or the data do not determine it.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from dynplat.inference.density import AbstractDensity
from dynplat.inference.fitting import Fit
from dynplat.inference.mode import Mode

#: Share of a parameter's gradient in flat directions beyond which its standard error is not known.
_MAX_FLAT_SHARE = 1e-3

#: Entries of a site that a note names one by one.
_NAMED = 5

#: A parameter whose derivative is this small, relative to that at the prior's median, lies at a boundary.
_BOUNDARY = 1e-3


def standard_errors(fit: Fit, mode: Mode, *, untold: Collection[str] = ()) -> tuple[dict[str, np.ndarray], list[str]]:
    """Standard errors by site, in the shape of one draw, NaN where unknown, and notes that say why.

    Deterministic sites get theirs by the same rule. Of the elements of channels in `untold` the notes say nothing, nor
    of any where all channels are untold: what is wrong with them is said elsewhere.
    """
    density, curvature = fit.density, mode.curvature
    assert density is not None
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
        shape = slopes.shape[:-1] if info.local else slopes.shape[1:-1]
        errors[name] = error.reshape(shape)
        if unknown.any():
            before = np.sqrt((median[name].reshape(flat.shape) ** 2).sum(axis=1))
            places = [tuple(map(int, index)) for index in np.argwhere(unknown.reshape(shape))]
            boundary = bool((length < _BOUNDARY * before)[unknown].all())
            places = [index for index in places if not _of_channels(fit, name, index, untold)]
            labels = [name] if unknown.size == 1 else [fit.label(name, index) for index in places]
            if places:
                notes.append(_note(labels, boundary))
    return errors, notes


def _of_channels(fit: Fit, name: str, index: tuple[int, ...], channels: Collection[str]) -> bool:
    assert fit.density is not None
    info = fit.density.infos[name]
    for dim, place in zip(info.dims, index[int(info.local) :], strict=False):
        if dim == "channel":
            return fit.context.channels[place] in channels
    return set(fit.context.channels) <= set(channels)


def _note(labels: list[str], boundary: bool) -> str:
    shown = ", ".join(labels[:_NAMED]) + (f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else "")
    one = len(labels) == 1
    if boundary:
        if one:
            return f"{shown} lies at the boundary of its support: it has no standard error."
        return f"{shown} lie at the boundary of their support: they have no standard errors."
    return (
        f"{shown} {'is' if one else 'are'} not determined by the data: the objective is flat along "
        f"{'it, and it has no standard error' if one else 'them, and they have no standard errors'}. "
        f"Use `map`, give {'it' if one else 'them'} a tighter prior, or fix {'it' if one else 'them'}."
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
