r"""Residuals for random dynamical systems: the mean operator and the variance around it, told apart.

The Koopman operator of a random system is the mean of what happens, :math:`\mathcal{K} g(x) = E[g(F(x, \xi))]`, and one
observed step is not a mean. With two next states of independent noise for every state,

.. math::

    A = \tfrac12 \Psi_x^* W (\Psi_{y} + \Psi_{y'}), \quad
    H = \tfrac12 (\Psi_{y}^* W \Psi_{y'} + \Psi_{y'}^* W \Psi_{y}), \quad
    L = \tfrac12 (\Psi_{y}^* W \Psi_{y} + \Psi_{y'}^* W \Psi_{y'}),

H estimates the inner products of :math:`\mathcal{K}\psi`, so that it takes the place of L in the residual of the mean
operator; with L itself the residual also holds the variance of the step,

.. math:: \mathrm{res}_{var}^2 = \mathrm{res}^2 + \int \mathrm{Var}[g(F(x, \xi))]\,d\omega / \|g\|^2 .

From one next state only the sum is known. Colbrook, Li, Raut and Townsend (2024), doi:10.1007/s11071-023-09135-w.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh

from dynplat.errors import ArgumentError
from dynplat_koopman.compression import Compression, as_matrix, as_weights, compress_blocks
from dynplat_koopman.spectrum import Pseudospectrum, pseudospectrum


@dataclass(frozen=True, eq=False)
class StochasticEigenpairs:
    r"""Eigenpairs of the mean operator, with the residual and the variance of each.

    Attributes:
        values: (n,), by bound, the smallest first.
        squares: (n,), estimates of :math:`\|\mathcal{K} g - \lambda g\|^2 / \|g\|^2`. They are unbiased up to the fit
            and may come out negative where the true value is small.
        errors: (n,), standard errors of `squares`, of rows that are independent given the functions.
        variance_residuals: (n,), :math:`\mathrm{res}_{var}`.
        vectors: (N, n), coefficients of the functions, scaled to norm 1.
    """

    values: np.ndarray
    squares: np.ndarray
    errors: np.ndarray
    variance_residuals: np.ndarray
    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @property
    def residuals(self) -> np.ndarray:
        """Residuals of the mean operator, (n,): 0 where the estimated square is negative."""
        return np.sqrt(np.maximum(self.squares, 0.0))

    @property
    def bounds(self) -> np.ndarray:
        """Residuals that two standard errors still allow, (n,)."""
        return np.sqrt(np.maximum(self.squares, 0.0) + 2.0 * self.errors)

    def accepted(self, tolerance: float) -> StochasticEigenpairs:
        """Those whose bound is below the tolerance; there may be none."""
        kept = self.bounds < tolerance
        return StochasticEigenpairs(
            self.values[kept],
            self.squares[kept],
            self.errors[kept],
            self.variance_residuals[kept],
            self.vectors[:, kept],
        )

    @property
    def variances(self) -> np.ndarray:
        """Mean variance of the function after one step, for functions of norm 1, (n,)."""
        return np.maximum(self.variance_residuals**2 - self.squares, 0.0)


@dataclass(frozen=True, eq=False)
class StochasticOperator:
    r"""The mean operator on the span of a dictionary, from two next states for every state.

    Attributes:
        pooled: Compression of all pairs: its matrix is the mean operator's, its defect holds the variance.
        mean_target: :math:`\tilde H` (r, r), in the same orthonormal functions.
        eigenpairs: With the residuals of the mean operator.
        samples: The orthonormal functions at the states and both next states, (M, r) each, times roots of the weights.
    """

    pooled: Compression
    mean_target: np.ndarray
    eigenpairs: StochasticEigenpairs
    samples: tuple[np.ndarray, np.ndarray, np.ndarray]

    def variance_pseudospectrum(self, points: Any) -> Pseudospectrum:
        """Smallest residual with the variance, at points: it measures how well one step is predicted, not its mean."""
        return pseudospectrum(self.pooled, points)

    def mean_pseudospectrum(self, points: Any) -> Pseudospectrum:
        """Smallest residual of the mean operator, at points (...).

        Squares that the estimate of H makes negative count as 0. The floors are what two standard errors can hide.
        """
        z = np.asarray(points, dtype=np.complex128)
        r = self.pooled.rank
        squares, columns = np.empty(z.size), np.empty((r, z.size), dtype=np.complex128)
        for k, point in enumerate(z.ravel()):
            cross = np.conj(point) * self.pooled.matrix
            form = self.mean_target - cross - cross.conj().T + abs(point) ** 2 * np.eye(r)
            found, column = eigh(form, subset_by_index=[0, 0])
            squares[k], columns[:, k] = max(found[0], 0.0), column[:, 0]
        errors = np.array(
            [_squares(self.samples, z.ravel()[k : k + 1], columns[:, k : k + 1])[1][0] for k in range(z.size)]
        )
        residuals = np.sqrt(squares)
        floors = np.sqrt(squares + 2.0 * errors) - residuals
        vectors = (self.pooled.basis @ columns).reshape(self.pooled.num_functions, *z.shape)
        return Pseudospectrum(z, residuals.reshape(z.shape), vectors, floors.reshape(z.shape))


def _squares(samples: tuple[np.ndarray, ...], values: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimates (n,) of squared residuals of the mean operator, and their standard errors, from rows."""
    base, one, other = (part @ columns for part in samples)
    rows = np.real(np.conj(one - base * values) * (other - base * values))
    norms = np.abs(base) ** 2
    squares = rows.sum(axis=0) / norms.sum(axis=0)
    return squares, np.sqrt(((rows - squares * norms) ** 2).sum(axis=0)) / norms.sum(axis=0)


def stochastic_operator(
    psi_x: Any,
    psi_y: Any,
    psi_y_again: Any,
    weights: Any = None,
    *,
    rank: int | None = None,
    tolerance: float | None = None,
) -> StochasticOperator:
    """Fit the mean operator, with residuals that are free of the noise's variance.

    Args:
        psi_x: (M, N), the functions at M states.
        psi_y: (M, N), the functions at next states.
        psi_y_again: (M, N), the functions at other next states of the same M states, with independent noise.
        weights: (M,), relative weights; equal if None.
        rank: As in `compress`.
        tolerance: As in `compress`.

    Raises:
        ArgumentError: Shapes do not fit, or the two next states are the same ones.
    """
    X, Y, Z = as_matrix("psi_x", psi_x), as_matrix("psi_y", psi_y), as_matrix("psi_y_again", psi_y_again)
    if not X.shape == Y.shape == Z.shape:
        raise ArgumentError(f"the three arrays must have one shape (M, N); got {X.shape}, {Y.shape} and {Z.shape}.")
    if (Y == Z).all():
        raise ArgumentError(
            "`psi_y` and `psi_y_again` are the same: the variance cannot be told from the residual. The second next "
            "states must be drawn again from the same states, with noise of their own."
        )
    w = as_weights(weights, len(X))
    pooled = compress_blocks([(X, Y, w), (X, Z, w)], rank=rank, tolerance=tolerance)
    root = np.sqrt(w)[:, None]
    before, one, other = (root * part @ pooled.basis for part in (X, Y, Z))
    product = one.conj().T @ other
    values, columns = np.linalg.eig(pooled.matrix)
    variance = pooled.orthonormal_residuals(values, columns)
    squares, errors = _squares((before, one, other), values, columns)
    order = np.argsort(np.maximum(squares, 0.0) + 2.0 * errors, kind="stable")
    pairs = StochasticEigenpairs(
        values[order], squares[order], errors[order], variance[order], pooled.basis @ columns[:, order]
    )
    return StochasticOperator(pooled, (product + product.conj().T) / 2, pairs, (before, one, other))
