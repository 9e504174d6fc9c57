r"""Eigenpairs with their residuals, and pseudospectra: residual dynamic mode decomposition.

A pair :math:`(\lambda, g)` with :math:`g = \psi v` has the residual :math:`\|\mathcal{K} g - \lambda g\| / \|g\|`,

.. math:: \mathrm{res}^2 = \frac{v^* (L - \lambda A^* - \bar\lambda A + |\lambda|^2 G)\, v}{v^* G v},

and the smallest residual that any function of the span has at a point z is :math:`\mathrm{RES}(z)`. A residual says how
far :math:`\lambda` is from being an eigenvalue: some operator within it of :math:`\mathcal{K}` has the eigenpair, and
if :math:`\mathcal{K}` is normal (an invertible system and a measure that it preserves), the spectrum comes as close to
:math:`\lambda`. It is that of the given quadrature: with M independent points it is known up to
:math:`O(M^{-1/2})`, and functions that were fitted to few points look better there than elsewhere: see
`held_out_residuals`.

All of it holds for generators too, whose eigenvalues are rates: :math:`\mathcal{L}\psi` takes the place of
:math:`\psi(y)`.

Colbrook and Townsend (2024), doi:10.1002/cpa.22125, algorithms 2 and 3. Colbrook, Ayton and Szőke (2023),
doi:10.1017/jfm.2022.1052.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import eigh, svd

from dynplat.errors import ArgumentError, DataError
from dynplat_koopman.compression import Compression, as_matrix, as_weights, compress_moments
from dynplat_koopman.edmd import Operator
from dynplat_koopman.fitted import AbstractFitted
from dynplat_koopman.generator import Generator
from dynplat_koopman.moments import Moments

#: Below this part of the operator's size a squared RES(z) has lost too many digits, and singular values are taken.
_SQUARES = 1e-3


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    r"""Eigenvalues, the residual of each, and its function.

    Attributes:
        values: (n,), eigenvalues, ordered by residual, the smallest first.
        residuals: (n,), :math:`\|\mathcal{K} g - \lambda g\| / \|g\|`.
        vectors: (N, n), coefficients of the functions :math:`g_j = \psi v_j`, scaled to norm 1.
        floors: (n,), what rounding alone can make or hide of each residual; estimates.
        errors: (n,), standard errors of the residuals, where they are those of independent held-out pairs; else None.
    """

    values: np.ndarray
    residuals: np.ndarray
    vectors: np.ndarray
    floors: np.ndarray
    errors: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def bounds(self) -> np.ndarray:
        """Residual plus what rounding can hide, and two standard errors where they are known, (n,)."""
        return self.residuals + self.floors + (0.0 if self.errors is None else 2.0 * self.errors)

    def accepted(self, tolerance: float) -> Eigenpairs:
        """Those whose bound is below the tolerance; there may be none.

        Raises:
            ArgumentError: The tolerance is below all floors, so that the data could not make anything acceptable.
        """
        _check_tolerance(tolerance, self.floors)
        return self.take(self.bounds < tolerance)

    def take(self, chosen: Any) -> Eigenpairs:
        """The pairs of an index, a slice or a mask."""
        return replace(
            self,
            values=self.values[chosen],
            residuals=self.residuals[chosen],
            vectors=self.vectors[:, chosen],
            floors=self.floors[chosen],
            errors=None if self.errors is None else self.errors[chosen],
        )

    def held_out(self, psi_x: Any, psi_y: Any, weights: Any = None) -> Eigenpairs:
        """The same pairs with their residuals on data that did not build them, in the order of those.

        Functions are scaled to norm 1 there. Standard errors are those of independent pairs: along a trajectory they
        come out too small.

        Args:
            psi_x: (M, N), the functions at the first states of the held-out pairs.
            psi_y: (M, N), the functions at their second states.
            weights: (M,), relative weights; equal if None.
        """
        miss, size, w = _held_out(psi_x, psi_y, self.values, self.vectors, weights)
        found, errors = _residuals_and_errors(miss, size, w)
        norms = np.sqrt(w @ size)
        order = np.argsort(found, kind="stable")
        vectors, floors = (self.vectors / norms)[:, order], (self.floors / norms)[order]
        return Eigenpairs(self.values[order], found[order], vectors, floors, errors[order])

    def functions(self, psi: Any) -> np.ndarray:
        """Values (..., n) of the eigenfunctions, given those of the dictionary (..., N)."""
        return np.asarray(psi) @ self.vectors


def eigenpairs(source: Any) -> Eigenpairs:
    r"""Eigenpairs of an operator on the span of a dictionary, each with its residual.

    Args:
        source: A `Compression`, moments, or a fitted `Operator` or `Generator`. The eigenpairs are those of its own
            matrix (a ridge changes it), else of :math:`G^+ A`. The fitted effect of inputs is taken off.
    """
    compression = compression_of(source)
    matrix = compression.matrix
    if isinstance(source, AbstractFitted):
        matrix = compression.coordinates @ source.matrix @ compression.basis
    return ordered(compression, *np.linalg.eig(matrix))[0]


def ordered(compression: Compression, values: np.ndarray, columns: np.ndarray) -> tuple[Eigenpairs, np.ndarray]:
    """Pairs by residual, from orthonormal coordinates (r, n) of norm 1, and the coordinates in that order."""
    residuals = compression.orthonormal_residuals(values, columns)
    order = np.argsort(residuals, kind="stable")
    values, columns = values[order], columns[:, order]
    vectors = compression.basis @ columns
    return Eigenpairs(values, residuals[order], vectors, compression.floors(values, vectors)), columns


def compression_of(source: Any) -> Compression:
    """The compression of a `Compression`, of moments, or of a fitted `Operator` or `Generator`.

    Raises:
        ArgumentError: It is none of them.
    """
    if isinstance(source, Compression):
        return source
    if isinstance(source, AbstractFitted):
        moments = _without_inputs(source) if isinstance(source, Operator) else source.moments
        return compress_moments(moments, basis=source.basis)
    if all(hasattr(source, name) for name in ("gram", "cross", "target")):
        return compress_moments(source)
    raise ArgumentError(
        "expected a Compression, a fitted Operator or Generator, or moments with `gram`, `cross` and `target`; got "
        f"{type(source).__name__}. Values of a dictionary become a Compression by `compress(psi_x, psi_y, weights)`."
    )


def isometry_of(source: Any) -> Compression:
    """The compression of an operator that is meant to be an isometry.

    Raises:
        ArgumentError: It is a generator.
    """
    if isinstance(source, Generator):
        raise ArgumentError(
            "a generator is no isometry: take an operator over a time, by `fit_edmd` or `compress_pairs`."
        )
    return compression_of(source)


def _without_inputs(operator: Operator) -> Moments:
    """Moments of psi(x) and psi(y) - u B, with the operator's effect B of inputs u."""
    moments, B = operator.moments, operator.input_matrix
    if B is None or moments.input_gram is None or moments.input_cross is None or moments.input_target is None:
        return moments
    effect = B.conj().T @ moments.input_target
    target = moments.target - effect - effect.conj().T + B.conj().T @ moments.input_gram @ B
    return replace(moments, cross=moments.cross - moments.input_cross @ B, target=target)


def residuals(source: Any, values: Any, vectors: Any) -> np.ndarray:
    r"""Residuals (n,) of any pairs of values (n,) and functions :math:`\psi v` (N, n)."""
    return compression_of(source).residuals(values, vectors)


def held_out_residuals(psi_x: Any, psi_y: Any, values: Any, vectors: Any, weights: Any = None) -> np.ndarray:
    r"""Residuals (n,) of pairs on data that did not build them, :math:`\|\Psi_y v - \lambda \Psi_x v\| / \|\Psi_x v\|`.

    Args:
        psi_x: (M, N), the functions at the first states of the held-out pairs.
        psi_y: (M, N), the functions at their second states.
        values: (n,), the candidates.
        vectors: (N, n), coefficients of their functions.
        weights: (M,), quadrature weights; equal if None.
    """
    return _residuals_and_errors(*_held_out(psi_x, psi_y, values, vectors, weights))[0]


def held_out_bounds(psi_x: Any, psi_y: Any, values: Any, vectors: Any, weights: Any = None) -> np.ndarray:
    """Bounds (n,) for the true residuals: `held_out_residuals` and two of their standard errors.

    Standard errors are those of independent pairs: along a trajectory they come out too small. Arguments are as there.
    """
    residuals, errors = _residuals_and_errors(*_held_out(psi_x, psi_y, values, vectors, weights))
    return residuals + 2.0 * errors


def _residuals_and_errors(miss: np.ndarray, size: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Roots of ratios of weighted sums (n,), and their standard errors."""
    whole = w @ size
    squares = w @ miss / whole
    found = np.sqrt(squares)
    spread = np.sqrt(w**2 @ (miss - squares * size) ** 2) / whole
    # Where a residual cannot be told from 0, its error is the root of its square's.
    scale = np.maximum(found, np.sqrt(spread))
    return found, np.divide(spread, 2.0 * scale, out=np.zeros_like(scale), where=scale > 0)


def _held_out(
    psi_x: Any, psi_y: Any, values: Any, vectors: Any, weights: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Squares of what each pair misses and of each function at the points, (M, n), and the weights (M,)."""
    X, Y = as_matrix("psi_x", psi_x), as_matrix("psi_y", psi_y)
    values, vectors = np.atleast_1d(np.asarray(values)), np.asarray(vectors)
    if X.shape != Y.shape or vectors.shape != (X.shape[1], len(values)):
        raise ArgumentError(
            f"`psi_x` and `psi_y` must have one shape (M, N) and `vectors` (N, {len(values)}); got {X.shape}, "
            f"{Y.shape} and {vectors.shape}."
        )
    before, w = X @ vectors, as_weights(weights, len(X))
    size = np.abs(before) ** 2
    if not (w @ size > 0).all():
        raise DataError(
            f"function {int(np.argmin(w @ size))} is 0 at all held-out points.",
            hint="Take points where the functions live.",
        )
    return np.abs(Y @ vectors - before * values) ** 2, size, w


@dataclass(frozen=True, eq=False)
class Pseudospectrum:
    r"""The smallest residual at each point of a set, and the function that has it.

    Attributes:
        points: (...), the points z.
        residuals: (...), :math:`\mathrm{RES}(z) = \min_g \|(\mathcal{K} - z) g\| / \|g\|` over the span.
        vectors: (N, ...), coefficients of the minimising functions, scaled to norm 1.
        floors: (...), what rounding alone can make or hide of each residual; estimates.
    """

    points: np.ndarray
    residuals: np.ndarray
    vectors: np.ndarray
    floors: np.ndarray

    @property
    def bounds(self) -> np.ndarray:
        """Residual plus what rounding can hide, (...)."""
        return self.residuals + self.floors

    def functions(self, psi: Any) -> np.ndarray:
        """Values (M, ...) of the minimising functions, given those of the dictionary (M, N)."""
        return np.tensordot(np.asarray(psi), self.vectors, axes=1)

    def within(self, epsilon: float) -> np.ndarray:
        r"""Points (n,) of the :math:`\epsilon`-pseudospectrum: those whose bound is below epsilon.

        Raises:
            ArgumentError: Epsilon is below all floors.
        """
        _check_tolerance(epsilon, self.floors)
        return self.points[self.bounds < epsilon]


def pseudospectrum(source: Any, points: Any) -> Pseudospectrum:
    r"""RES(z) at points of the complex plane, with minimising functions.

    As the dictionary grows, RES(z) decreases to the infimum over all functions. Points with RES(z) < epsilon are in the
    approximate point epsilon-pseudospectrum of the operator, whatever the dictionary; a larger RES(z) says nothing yet.

    Args:
        source: A `Compression`, moments, or a fitted `Operator` or `Generator`.
        points: (...), complex.
    """
    compression = compression_of(source)
    z = np.asarray(points, dtype=np.complex128)
    if not np.isfinite(z).all():
        raise ArgumentError("`points` must be finite complex numbers.")
    flat, folded = z.ravel(), np.isrealobj(compression.matrix) and np.isrealobj(compression.defect)
    # A real operator has the same residual at z and at its conjugate.
    unique, where = np.unique(flat.real + 1j * np.abs(flat.imag) if folded else flat, return_inverse=True)
    target = compression.matrix.conj().T @ compression.matrix + compression.defect.conj().T @ compression.defect
    target = (target + target.conj().T) / 2
    size = float(np.linalg.norm(target, 2))
    found, columns = np.empty(len(unique)), np.empty((compression.rank, len(unique)), dtype=np.complex128)
    for j, point in enumerate(unique):
        found[j], columns[:, j] = _smallest(compression, target, size, point)
    columns = columns[:, where]
    if folded:
        columns = np.where(flat.imag < 0, columns.conj(), columns)
    vectors = compression.basis @ columns
    floors = compression.floors(flat, vectors).reshape(z.shape)
    vectors = vectors.reshape(compression.num_functions, *z.shape)
    return Pseudospectrum(z, found[where].reshape(z.shape), vectors, floors)


def _smallest(compression: Compression, target: np.ndarray, size: float, z: complex) -> tuple[float, np.ndarray]:
    z = z.real if np.isrealobj(compression.matrix) and z.imag == 0 else z
    r = compression.rank
    cross = np.conj(z) * compression.matrix
    hermitian = target - cross - cross.conj().T + abs(z) ** 2 * np.eye(r)
    squares, column = eigh(hermitian, subset_by_index=[0, 0])
    if squares[0] > (_SQUARES**2) * (size + abs(z) ** 2):
        return float(np.sqrt(squares[0])), column[:, 0]
    stacked = np.concatenate([compression.matrix - z * np.eye(r), compression.defect])
    _, S, V = svd(stacked, full_matrices=False)
    return float(S[-1]), V[-1].conj()


def _check_tolerance(tolerance: float, floors: np.ndarray) -> None:
    lowest = floors.min(initial=np.inf)
    if floors.size and not tolerance > lowest:
        raise ArgumentError(
            f"the tolerance {tolerance:g} is not above {lowest:.2g}, what rounding leaves of these residuals. Ask for "
            "more than that, or make the compression from values of the dictionary (`compress`), which keeps more "
            "digits than moments do."
        )
