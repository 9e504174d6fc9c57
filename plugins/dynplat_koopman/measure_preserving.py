r"""Measure-preserving EDMD: the nearest isometry on the span of a dictionary.

A system that preserves the measure of the weights has an isometric operator. In orthonormal functions, where EDMD has
:math:`\tilde A`, the isometry that maps the data best is the unitary factor Q of the polar decomposition
:math:`\tilde A = Q H`. Its eigenvalues lie on the unit circle and its eigenfunctions are orthonormal, so that an
observable g has a spectral measure of point masses, which converges weakly to that of the operator as the dictionary
grows (Colbrook 2023, doi:10.1137/22M1521407).

The eigenvectors are taken from a complex Schur form. Of a unitary matrix it is diagonal to rounding and its basis is
unitary always, while a general eigensolver loses orthogonality wherever eigenvalues are close.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import schur, svd

from dynplat_koopman.compression import Compression
from dynplat_koopman.spectral_measure import SmoothedMeasure, rational_kernel, resolvent_measure, smooth
from dynplat_koopman.spectrum import Eigenpairs, isometry_of, ordered


@dataclass(frozen=True, eq=False)
class PointMeasure:
    r"""A measure on the circle that consists of point masses: :math:`\sum_j w_j \delta_{\theta_j}`.

    Attributes:
        angles: (r,), in (-pi, pi], increasing.
        masses: (r,), :math:`|\langle g, v_j\rangle|^2`; they sum to the squared norm of g's projection to the span.
        residuals: (r,), residual of the eigenpair that each mass belongs to.
        missed: Squared norm of what the span cannot hold of g.
    """

    angles: np.ndarray
    masses: np.ndarray
    residuals: np.ndarray
    missed: float

    @property
    def total(self) -> float:
        """Mass of the measure."""
        return float(self.masses.sum())

    def moments(self, num_lags: int) -> np.ndarray:
        r""":math:`c_n = \int e^{i n \theta} d\mu` for n = 0, ..., num_lags: the autocorrelations of g."""
        return np.exp(1j * np.arange(num_lags + 1)[:, None] * self.angles) @ self.masses

    def distribution(self, angles: Any) -> np.ndarray:
        r""":math:`\mu((-\pi, \theta])` at angles (...) in [-pi, pi]."""
        below = np.concatenate([[0.0], np.cumsum(self.masses)])
        return below[np.searchsorted(self.angles, np.asarray(angles, dtype=np.float64), side="right")]

    def smoothed(self, angles: Any, *, smoothing: float, order: int = 2) -> np.ndarray:
        r"""Density (...) of the measure convolved with the rational kernel of that order and width.

        Args:
            angles: (...), where it is wanted.
            smoothing: Width :math:`\epsilon` of the kernel, in radians.
            order: m, as in `rational_kernel`.
        """
        kernel = rational_kernel(order)
        z = kernel.outside(np.asarray(angles, dtype=np.float64), smoothing)
        return smooth(kernel, self.total, z, ((self.masses / (np.exp(1j * self.angles) - z[..., None])).sum(-1)))


@dataclass(frozen=True, eq=False)
class MeasurePreserving:
    r"""A unitary operator on the span of a dictionary, with its eigenpairs.

    Attributes:
        matrix: (N, N), :math:`\psi c \mapsto \psi K c`, unitary in the weighted inner product.
        pairs: Eigenpairs, by residual (of the data's operator, not of the unitary one); |value| is 1 to rounding and
            the functions are orthonormal.
        columns: (r, r), the eigenfunctions in the orthonormal basis, in the order of `pairs`: a unitary matrix.
        compression: What it was made from.
        change: :math:`\|Q - \tilde A\|_2`, how far the isometry is from the EDMD matrix: 0 if the span is invariant and
            the quadrature exact.
    """

    matrix: np.ndarray
    pairs: Eigenpairs
    columns: np.ndarray
    compression: Compression
    change: float

    def spectral_measure(self, coefficients: Any, *, missed: float = 0.0) -> PointMeasure:
        r"""Spectral measure of the observable :math:`g = \psi c`, with :math:`\langle K^n g, g\rangle` as moments.

        Args:
            coefficients: c, (N,).
            missed: Distance of the observable to the span, where c comes from `Compression.project`.
        """
        inner = self.columns.conj().T @ self.compression.observable(coefficients)
        angles = np.angle(self.pairs.values)
        order = np.argsort(angles, kind="stable")
        return PointMeasure(angles[order], np.abs(inner[order]) ** 2, self.pairs.residuals[order], float(missed) ** 2)

    def smoothed_measure(self, coefficients: Any, angles: Any, *, smoothing: float, order: int = 2) -> SmoothedMeasure:
        """Smoothed spectral measure with a bound on what the dictionary's truncation did to it.

        As `smoothed_spectral_measure`, with the resolvent of the unitary matrix in place of EDMD's.
        """
        g = self.compression.observable(coefficients)
        inner = self.columns.conj().T @ g

        def solve(z: np.ndarray) -> np.ndarray:
            return self.columns @ (inner[:, None] / (self.pairs.values[:, None] - z))

        return resolvent_measure(self.compression, g, solve, angles, smoothing, order)


def measure_preserving(source: Any) -> MeasurePreserving:
    """Fit the isometry of measure-preserving EDMD.

    The weights must be those of a measure that the system preserves, for example equal ones along an ergodic
    trajectory. `MeasurePreserving.change` and the residuals tell when they are not.

    Args:
        source: A `Compression`, moments, or a fitted `Operator`.
    """
    compression = isometry_of(source)
    U, _, V = svd(compression.matrix)
    unitary = U @ V
    triangle, columns = schur(unitary, output="complex")[:2]
    # Of a unitary matrix they have modulus 1: what rounding made of that is taken back.
    values = np.diagonal(triangle) / np.abs(np.diagonal(triangle))
    matrix = compression.basis @ unitary @ compression.coordinates
    change = float(np.linalg.norm(unitary - compression.matrix, 2))
    pairs, columns = ordered(compression, values, columns)
    return MeasurePreserving(matrix, pairs, columns, compression, change)
