r"""Smoothed spectral measures of isometries, by rational kernels and resolvents.

An observable g of a measure-preserving system has a spectral measure :math:`\mu_g` on the circle,
:math:`\langle\mathcal{K}^n g, g\rangle = \int e^{i n\theta} d\mu_g(\theta)`. Convolved with a kernel of order m it is a
density that converges like :math:`O(\epsilon^m \log(1/\epsilon))` where :math:`\mu_g` is smooth, and it needs nothing
but resolvents outside of the unit circle, where they exist whatever the spectrum is:

.. math::

    \rho_\epsilon(\theta) = -\frac{1}{2\pi} \sum_{j=1}^m \mathrm{Re}\,\alpha_j
    \langle(\mathcal{K} + z_j)(\mathcal{K} - z_j)^{-1} g, g\rangle, \qquad z_j = e^{i(\theta - \epsilon a_j)} .

The poles :math:`a_j` are chosen, the residues :math:`\alpha_j` follow (`rational_kernel`); m = 1 is the Poisson kernel.
An eigenvalue :math:`e^{i\theta_0}` gives mass at :math:`+\theta_0`.

Colbrook, Horning and Townsend (2021), doi:10.1137/20M1330944, for the kernels; Colbrook and Townsend (2024),
doi:10.1002/cpa.22125, section 4, for isometries; Colbrook, Drysdale and Horning (2024), arXiv:2405.00782, for the
form above.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import schur, solve_triangular

from dynplat.errors import ArgumentError
from dynplat_koopman.compression import Compression
from dynplat_koopman.spectrum import isometry_of


@dataclass(frozen=True, eq=False)
class RationalKernel:
    r"""A kernel of order m on the line, :math:`\frac{1}{\pi}\,\mathrm{Im} \sum_j \alpha_j / (x - a_j)`.

    Attributes:
        poles: :math:`a_j`, (m,), in the upper half plane.
        residues: :math:`\alpha_j`, (m,).
    """

    poles: np.ndarray
    residues: np.ndarray

    @property
    def order(self) -> int:
        """Order m, the number of poles."""
        return len(self.poles)

    def __call__(self, x: Any) -> np.ndarray:
        """Values (...) at points of the line."""
        return np.imag((self.residues / (np.asarray(x)[..., None] - self.poles)).sum(-1)) / np.pi

    def outside(self, angles: np.ndarray, smoothing: float) -> np.ndarray:
        r"""Points :math:`z_j = e^{i(\theta - \epsilon a_j)}` (..., m), all outside of the unit circle."""
        if not smoothing > 0:
            raise ArgumentError(f"`smoothing` must be positive; got {smoothing}.")
        return np.exp(1j * (angles[..., None] - smoothing * self.poles))

    def multipliers(self, num_lags: int, smoothing: float) -> np.ndarray:
        r"""What smoothing multiplies the moment :math:`c_n` by, :math:`\sum_j \alpha_j e^{i n\epsilon a_j}`, (J + 1,).

        For n = 0, ..., J = num_lags: 1 up to :math:`O((n\epsilon)^m)`.
        """
        lags = smoothing * np.arange(num_lags + 1)
        return np.real(np.exp(1j * lags[:, None] * self.poles) @ self.residues)


def rational_kernel(order: int) -> RationalKernel:
    r"""The kernel with poles :math:`a_j = 2j/(m+1) - 1 + i` and the residues that make its order m.

    The residues solve :math:`\sum_j \alpha_j a_j^k = \delta_{k0}`, k < m: the kernel integrates to 1 and its moments up
    to m - 1 vanish. The system is a Vandermonde one, solved by the weights of interpolation at 0:
    :math:`\alpha_j = \prod_{l \ne j} a_l / (a_l - a_j)`, which keeps their digits at any order. They grow with the
    order, and with them the rounding of what they sum.

    Raises:
        ArgumentError: The order is not a positive whole number.
    """
    if int(order) != order or order < 1:
        raise ArgumentError(f"`order` must be a whole number from 1 on; got {order}.")
    m = int(order)
    poles = 2.0 * np.arange(1, m + 1) / (m + 1) - 1.0 + 1j
    apart = poles[None, :] - poles[:, None]
    np.fill_diagonal(apart, 1.0)
    factors = poles[None, :] / apart
    np.fill_diagonal(factors, 1.0)
    return RationalKernel(poles, factors.prod(axis=1))


@dataclass(frozen=True, eq=False)
class SmoothedMeasure:
    r"""A smoothed spectral measure, and how far the dictionary may have moved it.

    Attributes:
        angles: (...), in radians.
        density: (...), :math:`\rho_\epsilon(\theta)`.
        bounds: (...), bound of the distance to the smoothed measure of the true operator, an isometry, that is due to
            the finite dictionary. What smoothing itself changes, and quadrature, are not in it.
        smoothing: :math:`\epsilon`, in radians.
        order: m.
    """

    angles: np.ndarray
    density: np.ndarray
    bounds: np.ndarray
    smoothing: float
    order: int


def smoothed_spectral_measure(
    source: Any, coefficients: Any, angles: Any, *, smoothing: float, order: int = 2
) -> SmoothedMeasure:
    r"""Smoothed spectral measure of an observable in the span, from resolvents of the EDMD matrix.

    Args:
        source: A `Compression`, moments, or a fitted `Operator`, of a system that preserves the measure of
            the weights.
        coefficients: (N,), the observable :math:`g = \psi c`.
        angles: (...), where the density is wanted.
        smoothing: :math:`\epsilon`, in radians. The smaller it is, the more functions the resolvents need: the bounds
            say when there are too few.
        order: m, the kernel's order.

    Raises:
        ArgumentError: The smoothing is so small that a resolvent is asked for inside of the EDMD matrix's own norm,
            which of an isometry's compression is at most 1: the quadrature is too coarse for it.
    """
    compression = isometry_of(source)
    g = compression.observable(coefficients)
    size = float(np.linalg.norm(compression.matrix, 2))
    if smoothing > 0 and size >= np.exp(smoothing):
        raise ArgumentError(
            f"the compressed operator has norm {size:.6g}, which is not below e^smoothing = {np.exp(smoothing):.6g}: "
            "of an isometry it would be at most 1. Use more pairs, weights of an invariant measure, a larger "
            "`smoothing`, or `measure_preserving`."
        )
    triangle, Q = schur(compression.matrix, output="complex")[:2]
    turned = Q.conj().T @ g

    def solve(z: np.ndarray) -> np.ndarray:
        found = np.empty((len(turned), len(z)), dtype=np.complex128)
        for k, point in enumerate(z):
            found[:, k] = solve_triangular(triangle - point * np.eye(len(turned)), turned, check_finite=False)
        return Q @ found

    return resolvent_measure(compression, g, solve, angles, smoothing, order)


def resolvent_measure(
    compression: Compression,
    g: np.ndarray,
    solve: Callable[[np.ndarray], np.ndarray],
    angles: Any,
    smoothing: float,
    order: int,
) -> SmoothedMeasure:
    r"""The smoothed measure from approximate resolvents u (r, n) = solve(z (n,)) of g (r,), with its bound.

    The true resolvent differs from u by :math:`(\mathcal{K} - z)^{-1}` of the residual of u, and its norm is at most
    :math:`1/(|z| - 1)`.
    """
    theta = np.asarray(angles, dtype=np.float64)
    kernel = rational_kernel(order)
    z = kernel.outside(theta, smoothing)
    flat = z.ravel()
    u = solve(flat)
    left = np.hypot(
        np.linalg.norm(compression.matrix @ u - u * flat - g[:, None], axis=0),
        np.linalg.norm(compression.defect @ u, axis=0),
    )
    norm = float(np.linalg.norm(g))
    off = (np.abs(flat) / (np.abs(flat) - 1.0) * norm * left).reshape(z.shape)
    density = smooth(kernel, norm**2, z, (g.conj() @ u).reshape(z.shape))
    return SmoothedMeasure(theta, density, (off @ np.abs(kernel.residues)) / np.pi, float(smoothing), order)


def smooth(kernel: RationalKernel, total: float, z: np.ndarray, resolvents: np.ndarray) -> np.ndarray:
    r"""Density (...) from :math:`\langle(\mathcal{K} - z)^{-1} g, g\rangle` at z (..., m), and g's squared norm."""
    return -np.real((total + 2.0 * z * resolvents) @ kernel.residues) / (2.0 * np.pi)
