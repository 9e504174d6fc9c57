"""Integrals of a density over one value, found by zooming: narrow peaks and heavy tails alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dynplat.errors import ArgumentError

#: Numbers of grid points: while zooming, for the integral, and where that does not resolve the density.
_ZOOM, _FINE, _FINEST = 129, 801, 20_001
_RESOLVED = 1e-6
_LARGEST_COUNT = 100_000
#: Codes beyond twice the largest seen that are tried, where a law may know more than the data show.
_MORE_CODES = 8


class Integral(NamedTuple):
    """The integral of a density over a value.

    Attributes:
        log_total: Log of the integral.
        spread: Half the distance between the 16 % and the 84 % point of the density: its sd where it is normal.
    """

    log_total: float
    spread: float


def integrate(log_density: Callable[[np.ndarray], np.ndarray], values: tuple[str, ...], guess: np.ndarray) -> Integral:
    """Integrate exp(log_density) over the line, the positive numbers, or sum it over the counts.

    Args:
        log_density: Function of a grid (point,), giving (point,).
        values: Types of value that the model claims.
        guess: Some plausible values, from which the search starts.
    """
    if not set(values) & {"real", "positive"}:
        largest = int(guess.max(initial=0))
        return _sum(log_density, largest) if "count" in values else _sum_codes(log_density, largest)
    positive = "real" not in values
    start = np.log(np.maximum(guess, 1e-12)) if positive else guess
    first = (float(np.median(start)), float(np.std(start)) or 1.0) if start.size else (0.0, 1.0)
    centre, scale = first
    for _ in range(12):
        u, log_weight = _grid(_ZOOM, centre, scale)
        mass = _mass(log_density, u, log_weight, positive)
        if not mass.any():
            return Integral(-np.inf, np.nan)
        low, middle, high = _quantiles(u, mass, 0.16, 0.5, 0.84)
        spacing = float(np.interp(middle, u[1:], np.diff(u)))
        centre, before, scale = middle, scale, max(0.5 * (high - low), 0.5 * spacing)
        if 0.5 < scale / before < 2.0 and scale > 2.0 * spacing:
            break

    def total(size: int, centre: float, scale: float) -> tuple[float, bool]:
        u, log_weight = _grid(size, centre, scale)
        return _total(_terms(log_density, u, log_weight, positive))

    near, resolved = total(_FINE, centre, scale)
    if not resolved:
        near, _ = total(_FINEST, centre, scale)
    # Where the first grid finds more, the zoom has lost a mode.
    far, _ = total(_FINE, *first)
    if far > near + 1e-3:
        far, resolved = total(_FINEST, *first)
        near = far if resolved else near
    return Integral(near, scale)


def _grid(size: int, centre: float, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Points centre + scale tan(v), which reach far and are fine in the middle, and the midpoint rule's log weights."""
    v = np.pi * ((np.arange(size) + 0.5) / size - 0.5)
    return centre + scale * np.tan(v), np.log(scale * np.pi / size) - 2.0 * np.log(np.cos(v))


def _total(terms: np.ndarray) -> tuple[float, bool]:
    """Log of the sum of exponentials, and whether every third point gives the same: the grid resolves the density."""
    top = terms.max()
    if not np.isfinite(top):
        return -np.inf, False
    with np.errstate(divide="ignore"):
        whole, third = np.log(np.exp(terms - top).sum()), np.log(3.0 * np.exp(terms[1::3] - top).sum())
    return float(top + whole), bool(abs(whole - third) < _RESOLVED)


def _terms(
    log_density: Callable[[np.ndarray], np.ndarray], u: np.ndarray, log_weight: np.ndarray, positive: bool
) -> np.ndarray:
    if not positive:
        terms = log_density(u) + log_weight
    else:
        inside = np.abs(u) < 300.0
        terms = np.where(inside, log_density(np.exp(np.where(inside, u, 0.0))) + u + log_weight, -np.inf)
    return np.where(np.isnan(terms), -np.inf, terms)


def _mass(log_density, u: np.ndarray, log_weight: np.ndarray, positive: bool) -> np.ndarray:
    terms = _terms(log_density, u, log_weight, positive)
    return np.exp(terms - terms.max()) if np.isfinite(terms.max()) else np.zeros_like(terms)


def _quantiles(u: np.ndarray, mass: np.ndarray, *levels: float) -> list[float]:
    below = np.cumsum(mass) - 0.5 * mass
    return [float(np.interp(level * mass.sum(), below, u)) for level in levels]


def _sum(log_density: Callable[[np.ndarray], np.ndarray], largest: int) -> Integral:
    top = 2 * largest + 64
    while True:
        grid = np.arange(top, dtype=float)
        terms = np.asarray(log_density(grid), dtype=float)
        mass = np.exp(terms - terms.max())
        if mass[-1] < 1e-12 * mass.sum() or top > _LARGEST_COUNT:
            low, high = _quantiles(grid, mass, 0.16, 0.84)
            return Integral(float(terms.max() + np.log(mass.sum())), 0.5 * (high - low))
        top *= 4


def _sum_codes(log_density: Callable[[np.ndarray], np.ndarray], largest: int) -> Integral:
    """Sum over codes: a law of categories may refuse values that are none."""
    terms, grid = [], []
    for code in range(2 * largest + _MORE_CODES):
        try:
            terms.append(float(np.asarray(log_density(np.array([float(code)])))[0]))
        except ArgumentError:
            continue
        grid.append(float(code))
    if not terms or max(terms) == -np.inf:
        return Integral(-np.inf, np.nan)
    found, top = np.array(terms), max(terms)
    mass = np.exp(found - top)
    low, high = _quantiles(np.array(grid), mass, 0.16, 0.84)
    return Integral(top + float(np.log(mass.sum())), 0.5 * (high - low))
