r"""From rows at any times to a lifted linear process in continuous time, estimated on the host.

The state is :math:`\varphi = \psi B`, functions that are orthonormal over the data, the constant first where the
dictionary has it: rates, noise and forecasts are then of one size, and directions that the data do not determine are
left out. `gap_regression` finds the rates. What they leave of :math:`\varphi(y)` is noise, of the intensity whose
covariances over the gaps are met on average; as in discrete time (`lifting`) it is scaled to forecasts of blocks of
rows that were held out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, gmres

from dynplat.process.discretise import discretise
from dynplat_koopman.dictionaries.base import AbstractDictionary
from dynplat_koopman.gap_regression import GapPairs, Regression
from dynplat_koopman.gram import inverse_root
from dynplat_koopman.lifting import (
    READOUT_FLOOR,
    Recipe,
    blocks_of,
    distance_from,
    looks_ahead,
    noise_level,
    reference_rows,
    symmetric_root,
    warn_of_few_blocks,
)
from dynplat_koopman.pairs import Pairs

#: Groups of similar gaps that stand for all of them where the intensity of the noise is found.
_GROUPS = 32


def orthonormal_basis(pairs: Pairs, dictionary: AbstractDictionary, recipe: Recipe) -> np.ndarray:
    """Coefficients B (N, r) of functions that are orthonormal over the first states, the constant first if there.

    Raises:
        DataError: The functions are dependent, and the recipe drops none.
    """
    psi = np.asarray(dictionary(pairs.first))
    options: dict[str, Any] = {"tolerance": recipe.tolerance, "rank": recipe.rank}
    place = constant_place(dictionary)
    if place is None:
        return inverse_root(psi.T @ psi / len(psi), dictionary.names, **options)
    rest = np.delete(np.arange(dictionary.num_functions), place)
    basis = np.zeros((dictionary.num_functions, 1))
    basis[place] = 1.0 / psi[0, place]
    if not rest.size or recipe.rank == 1:
        return basis
    mean = psi[:, rest].mean(axis=0)
    away = psi[:, rest] - mean
    if recipe.rank is not None:
        options["rank"] = recipe.rank - 1
    inner = inverse_root(away.T @ away / len(psi), [dictionary.names[n] for n in rest], **options)
    others = np.zeros((dictionary.num_functions, inner.shape[1]))
    others[rest] = inner
    others[place] = -(mean @ inner) / psi[0, place]
    return np.ascontiguousarray(np.concatenate([basis, others], axis=1))


def constant_place(dictionary: AbstractDictionary) -> int | None:
    """Number of the function that is constant, or None."""
    constant = dictionary.constant
    if constant is None or np.count_nonzero(constant) != 1:
        return None
    return int(np.flatnonzero(constant)[0])


def continuous_sites(
    found: GapPairs, dictionary: AbstractDictionary, basis: np.ndarray, scale: np.ndarray, recipe: Recipe
) -> dict[str, Any]:
    """Estimate all that a lifted process in continuous time is made of.

    Args:
        found: Pairs and their gaps.
        dictionary: The functions.
        basis: Coefficients of the functions that are the state, (N, r).
        scale: Scale of each channel, (d,).
        recipe: How.

    Returns:
        Arrays by the name of their site (see `EDMD`).
    """
    pairs = found.pairs
    phi, after = (np.asarray(dictionary(rows)) @ basis for rows in (pairs.first, pairs.second))
    keeps_constant = constant_place(dictionary) is not None
    if keeps_constant:
        phi[:, 0] = after[:, 0] = 1.0
    r = basis.shape[1]
    unit = np.ones(0)
    if pairs.inputs is not None:
        unit = np.sqrt(np.mean(pairs.inputs**2, axis=0))
        unit = np.where(unit > 0, unit, 1.0)
        phi = np.concatenate([phi, pairs.inputs / unit], axis=1)
    penalty = np.zeros((phi.shape[1],) * 2)
    penalty[:r, :r] = recipe.ridge * basis.T @ basis
    if unit.size:
        penalty[r:, r:] = np.diag(recipe.ridge / unit**2)
    regression = Regression(phi, after, found.gaps, penalty, keeps_constant)
    coefficients, is_done = regression.fit()
    if not is_done:
        warnings.warn(
            f"the rates of change were still moving when their fit was ended: gaps of {found.typical:g} (median) and "
            f"up to {found.gaps.max():g} may be too long against the motion, or the functions too many. Take a smaller "
            "`max_gap`, fewer functions, or denser data.",
            stacklevel=4,
        )
    free = coefficients
    coefficients = reshaped_rates(coefficients, recipe.shape, keeps_constant=keeps_constant)
    moved, _ = regression.features(coefficients)
    count, size = len(found.gaps), len(coefficients)
    errors = (after - moved) * np.sqrt(count / max(count - size, 1) / found.gaps)[:, None]
    W = intensity(errors.T @ errors / count, coefficients[:r], found.gaps)
    readout = np.linalg.lstsq(phi[:, :r], pairs.first, rcond=None)[0].T
    left = pairs.first - phi[:, :r] @ readout.T
    R = left.T @ left / count + np.diag(scale * READOUT_FLOOR) ** 2
    start = phi[:, :r].mean(axis=0)
    spread = np.eye(r) - np.outer(start, start)
    if keeps_constant:
        start, spread = np.eye(r)[0], np.diag(np.r_[0.0, np.ones(r - 1)])
    level = np.zeros(2)
    if recipe.held_out_steps:
        squares, distances = _held_out_squares(found, regression, free, W, readout, R, scale, recipe, keeps_constant)
        level = noise_level(squares, distances, local=recipe.local_noise)
        warn_of_few_blocks(len(squares), recipe.held_out_steps)
    sites = {
        "generator": coefficients[:r],
        "noise_factor": symmetric_root(W),
        "noise_level": level,
        "readout": readout,
        "readout_factor": symmetric_root(R),
        "start_mean": start,
        "start_factor": symmetric_root(spread),
        "growth_rate": np.array(np.linalg.eigvals(coefficients[:r]).real.max()),
    }
    if unit.size:
        sites["input_matrix"] = coefficients[r:] / unit[:, None]
    return sites


def reshaped_rates(coefficients: np.ndarray, shape: str, *, keeps_constant: bool) -> np.ndarray:
    r"""The nearest rates of a shape, in the mean square over the data.

    In an orthonormal basis the mean square of a function :math:`\varphi c` changes at the rate
    :math:`c^\top (L + L^\top) c`. `contraction` leaves out the positive part of this symmetric matrix, so that no
    function's deviation from its mean grows and no eigenvalue has a positive real part; `isometry` leaves out all of
    it, and the means do not move. The constant stays as it is.
    """
    if shape == "free":
        return coefficients
    r = coefficients.shape[1]
    inner = slice(1 if keeps_constant else 0, r)
    L = coefficients[inner, inner]
    skew, symmetric = 0.5 * (L - L.T), 0.5 * (L + L.T)
    coefficients = coefficients.copy()
    if shape == "isometry":
        coefficients[inner, inner] = skew
        coefficients[: inner.start] = 0.0
        return coefficients
    values, vectors = np.linalg.eigh(symmetric)
    coefficients[inner, inner] = skew + (vectors * np.minimum(values, 0.0)) @ vectors.T
    return coefficients


def intensity(mean_square: np.ndarray, rates: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    r"""Intensity W of the noise whose covariances over the gaps are, on average per unit of time, a given one.

    Solves :math:`\operatorname{mean}_m \frac1{h_m} \int_0^{h_m} e^{L^\top s} W e^{L s}\,ds = S`. To first order W is S.
    Where the residuals are no noise, W may have no solution that is a covariance: negative directions are set to 0.

    Args:
        mean_square: S, (r, r).
        rates: L, (r, r).
        gaps: Lengths of the gaps, (M,); groups of similar ones are taken together.
    """
    parts = [part for part in np.array_split(np.sort(gaps), min(len(gaps), _GROUPS)) if part.size]
    h = np.array([part.mean() for part in parts])
    share = np.array([part.size for part in parts]) / len(gaps) / h
    weights, maps = [], []
    before = 0.0
    for k, end in enumerate(h):
        if end <= before:
            continue
        count = int(min(3 + np.ceil(np.linalg.norm(rates, 2) * (end - before)), 40))
        nodes, factors = np.polynomial.legendre.leggauss(count)
        for node, factor in zip(nodes, factors, strict=True):
            weights.append(0.5 * (end - before) * factor * share[k:].sum())
            maps.append(before + 0.5 * (end - before) * (1.0 + node))
        before = end
    transition = discretise(rates.T, np.zeros_like(rates), np.array(maps), integral=False).F
    transposed = np.swapaxes(transition, -1, -2)
    weight = np.array(weights)[:, None, None]
    unit = np.sqrt(np.maximum(np.diagonal(mean_square), 0.0))
    unit = np.where(unit > 0, unit, 1.0)
    scale = np.outer(unit, unit)

    def apply(flat: np.ndarray) -> np.ndarray:
        W = flat.reshape(scale.shape) * scale
        return ((weight * (transition @ W @ transposed)).sum(axis=0) / scale).ravel()

    wanted = (mean_square / scale).ravel()
    flat, _ = gmres(_Averaged(apply, wanted.size), wanted, x0=wanted, rtol=1e-10, maxiter=5, restart=40)
    solved = flat.reshape(scale.shape)
    values, vectors = np.linalg.eigh(0.5 * (solved + solved.T))
    W = (vectors * np.maximum(values, 0.0)) @ vectors.T * scale
    still = np.diagonal(mean_square) == 0
    W[still], W[:, still] = 0.0, 0.0
    return W


def _held_out_squares(
    found: GapPairs,
    regression: Regression,
    coefficients: np.ndarray,
    W: np.ndarray,
    readout: np.ndarray,
    R: np.ndarray,
    scale: np.ndarray,
    recipe: Recipe,
    keeps_constant: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """As `lifting.held_out_squares`; leaving a block out moves the rates as it moves a regression of mean rates.

    Mean rates over the gaps are the mean functions there times L: to first order in what is left out, this is the
    change of the fit itself.
    """
    pairs, size, r = found.pairs, recipe.held_out_steps, regression.rank
    reference = reference_rows(pairs)
    mean = regression.features(coefficients)[1]
    gram, cross = regression.sums(mean)
    whole = regression.solve(gram, cross)
    ahead = found.typical * np.array(looks_ahead(size))
    squares, distances = [], []
    for block in blocks_of(pairs, size):
        start = block.start
        gram_b, cross_b = regression.sums(mean, block)
        change = regression.solve(gram - gram_b, cross - cross_b) - whole
        rates = reshaped_rates(coefficients + change, recipe.shape, keeps_constant=keeps_constant)
        L = rates[:r]
        F, Q, G = discretise(L.T, W, np.concatenate([found.gaps[block], ahead]))
        z = regression.phi[start, :r]
        left = pairs.first[reference[(reference <= start) | (reference > block.stop)]] / scale
        distances.append(float(distance_from([readout @ (move @ z) / scale for move in F[size:]], left)))
        P, ratios = np.zeros_like(W), []
        for k in range(size):
            z, P = F[k] @ z, F[k] @ P @ F[k].T + Q[k]
            if pairs.inputs is not None and G is not None:
                z = z + G[k] @ (regression.phi[start + k, r:] @ rates[r:])
            variance = np.einsum("ci,ij,cj->c", readout, P, readout) + np.diagonal(R)
            ratios.append((pairs.second[start + k] - readout @ z) ** 2 / variance)
        squares.append(np.mean(ratios))
    return np.array(squares), np.array(distances)


class _Averaged(LinearOperator):
    """A linear map of flat matrices."""

    def __init__(self, apply: Callable[[np.ndarray], np.ndarray], size: int) -> None:
        super().__init__(np.dtype(np.float64), (size, size))
        self._apply = apply

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        return self._apply(x)
