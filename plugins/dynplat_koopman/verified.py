r"""The verified spectrum: points that come with a bound, found by local minimisation of the residual.

At every candidate z the smallest residual RES(z) bounds how far the operator's approximate spectrum is. A candidate
whose residual is large is no point of the spectrum, but says how far to look for one: the best point of the disc of
radius ``reach`` RES(z) around it is kept. The union of what is kept converges to the spectrum of a normal operator as
the dictionary grows and the grid is refined, and every point of it has its own bound before that.

What is *not* there is not verified: a part of the spectrum that the dictionary does not see is missing. No method that
takes one limit can do better (Colbrook, Mezić and Stepanenko, "Limits and powers of Koopman learning",
arXiv:2407.06312).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dynplat.errors import ArgumentError
from dynplat_koopman.spectrum import compression_of, held_out_bounds, isometry_of, pseudospectrum


@dataclass(frozen=True, eq=False)
class VerifiedSpectrum:
    r"""Points of the spectrum, each with a bound.

    Attributes:
        points: (n,), complex.
        bounds: (n,). Some operator within the bound of the true one has the point as an eigenvalue; of a normal
            operator the spectrum itself is as near. They hold for the averages of the source: of a quadrature rule that
            is exact for the dictionary, those of its measure; of a sample, those of the sample (see `held_out`).
        vectors: (N, n), coefficients of functions that have these residuals, scaled to norm 1.
        candidates: Number of candidates whose bound was below 1: those that had something to look for.
    """

    points: np.ndarray
    bounds: np.ndarray
    vectors: np.ndarray
    candidates: int

    def __len__(self) -> int:
        return len(self.points)

    @property
    def error(self) -> float:
        """The largest bound: all points are this good. Not a number if there are none."""
        return float(self.bounds.max()) if len(self.bounds) else float("nan")

    def within(self, tolerance: float) -> VerifiedSpectrum:
        """The points whose bound is below the tolerance."""
        chosen = self.bounds < tolerance
        return VerifiedSpectrum(self.points[chosen], self.bounds[chosen], self.vectors[:, chosen], self.candidates)


def verified_spectrum(
    source: Any,
    points: Any,
    *,
    isometry: bool = False,
    reach: float = 5.0,
    held_out: tuple[Any, Any, Any] | None = None,
) -> VerifiedSpectrum:
    r"""Find points of the spectrum among candidates, with their bounds.

    Args:
        source: A `Compression`, moments, or a fitted `Operator` or `Generator`.
        points: (...), candidates, such as a grid over the disc, or eigenvalues of EDMD. Conjugates are not added.
        isometry: The system preserves the measure of the weights. No residual at z is then below :math:`|1 - |z||`, and
            bounds are raised to that where quadrature or rounding went below.
        reach: Radius of the search around a candidate, in units of its bound; at least 1.
        held_out: (psi_x, psi_y, weights) of pairs that did not make the source: the bounds of the points that are kept
            are then the residuals there and two of their standard errors, free of the optimism of a minimum over the
            data. Standard errors are those of independent pairs. Weights may be None.

    Raises:
        ArgumentError: The reach is below 1, so that the disc could miss the spectrum that it is to contain.
    """
    if not reach >= 1.0:
        raise ArgumentError(f"`reach` must be at least 1, as the spectrum may be RES(z) away from z; got {reach}.")
    compression = isometry_of(source) if isometry else compression_of(source)
    found = pseudospectrum(compression, np.asarray(points, dtype=np.complex128).ravel())
    z, bounds = found.points, found.bounds
    if isometry:
        bounds = np.maximum(bounds, np.abs(1.0 - np.abs(z)))
    started = np.flatnonzero(bounds < 1.0)
    kept = set()
    for k in started:
        near = np.flatnonzero(np.abs(z - z[k]) < reach * bounds[k])
        kept.add(int(near[np.argmin(bounds[near])]))
    chosen = np.array(sorted(kept), dtype=np.int64)
    vectors, chosen_bounds = found.vectors[:, chosen], bounds[chosen]
    if held_out is not None and len(chosen):
        psi_x, psi_y, weights = held_out
        chosen_bounds = held_out_bounds(psi_x, psi_y, z[chosen], vectors, weights)
        if isometry:
            chosen_bounds = np.maximum(chosen_bounds, np.abs(1.0 - np.abs(z[chosen])))
    return VerifiedSpectrum(z[chosen], chosen_bounds, vectors, len(started))
