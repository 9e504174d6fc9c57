r"""The operator compressed to the span of a dictionary, in an orthonormal basis of that span.

With the snapshots' inner product :math:`\langle f, g\rangle = \sum_m w_m f(x_m) \overline{g(x_m)}` (weights are made to
sum to 1) and orthonormal functions :math:`\phi = \psi T`, one step takes :math:`\phi` to

.. math:: \mathcal{K}\phi = \phi\,\tilde A + \chi\,D,

where :math:`\chi` is orthonormal and orthogonal to :math:`\phi`. The matrix :math:`\tilde A` is what EDMD keeps; the
*defect* D is what leaves the span, :math:`D^* D = \tilde L - \tilde A^* \tilde A`. Every residual is read off the two,

.. math:: \|(\mathcal{K} - z)\,\phi y\|^2 = \|(\tilde A - z) y\|^2 + \|D y\|^2,

without the difference of nearly equal numbers in :math:`\tilde L - z \tilde A^* - \bar z \tilde A + |z|^2`
(Colbrook and Townsend 2024, doi:10.1002/cpa.22125, section 3). From the values of the dictionary both come from one QR
factorisation of :math:`\sqrt{W}\,[\Psi_x, \Psi_y]`, which keeps all digits; from Gram matrices half of them are gone
before one begins. `Compression.floors` says what rounding leaves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.linalg import eigh, svd

from dynplat.errors import ArgumentError, DataError
from dynplat_koopman.dictionaries.base import AbstractDictionary
from dynplat_koopman.gram import inverse_root, num_kept
from dynplat_koopman.pairs import Pairs

#: Rows of a block, in columns of [Psi_x, Psi_y]: the triangle that is carried along costs a quarter of it.
_BLOCK = 4
#: Roundings that a sum of products, or a column of a QR factorisation, is allowed.
_ROUNDINGS = 10.0


class GalerkinMatrices(Protocol):
    """What is read of moments: `gram`, `cross` and `target`, each (N, N)."""

    @property
    def gram(self) -> np.ndarray:
        r"""Inner products of the functions, :math:`G = \Psi_x^* W \Psi_x`."""
        ...

    @property
    def cross(self) -> np.ndarray:
        r"""Functions before and after a step, :math:`A = \Psi_x^* W \Psi_y`."""
        ...

    @property
    def target(self) -> np.ndarray:
        r"""Inner products after a step, :math:`L = \Psi_y^* W \Psi_y`, without which there is no residual."""
        ...


@dataclass(frozen=True, eq=False)
class Compression:
    r"""The operator on the span of N functions, in r <= N orthonormal ones.

    Attributes:
        matrix: :math:`\tilde A` (r, r).
        defect: D (p, r): the part of each :math:`\mathcal{K}\phi_j` outside of the span.
        basis: T (N, r), :math:`\phi = \psi T`.
        coordinates: (r, N), the orthonormal coordinates of each :math:`\psi_j`; `coordinates @ basis` is the identity.
        sizes: (2, N), norms of the functions before and after a step.
        rounding: Relative size of what rounding did to the columns that residuals are computed from.
    """

    matrix: np.ndarray
    defect: np.ndarray
    basis: np.ndarray
    coordinates: np.ndarray
    sizes: np.ndarray
    rounding: float

    @property
    def num_functions(self) -> int:
        """Number of functions, N."""
        return self.basis.shape[0]

    @property
    def rank(self) -> int:
        """Number of independent functions that are kept, r."""
        return self.basis.shape[1]

    @property
    def koopman_matrix(self) -> np.ndarray:
        r"""The EDMD matrix :math:`K = G^+ A` (N, N): the function :math:`\psi c` goes to :math:`\psi K c`."""
        return self.basis @ self.matrix @ self.coordinates

    def observable(self, coefficients: Any) -> np.ndarray:
        """Orthonormal coordinates (r,) of an observable that is given by its coefficients (N,)."""
        c = np.asarray(coefficients)
        if c.shape != (self.num_functions,):
            raise ArgumentError(
                f"`coefficients` must hold one number for each of the {self.num_functions} functions; got shape "
                f"{c.shape}. `Compression.project` finds them from the observable's values."
            )
        return self.coordinates @ c

    def project(self, psi_x: Any, values: Any, weights: Any = None) -> tuple[np.ndarray, float]:
        """Coefficients of the best approximation of an observable, and what it misses.

        Args:
            psi_x: (M, N), the dictionary at the points.
            values: (M,), the observable at the points.
            weights: (M,), the weights of the compression; equal if None.

        Returns:
            Coefficients (N,), and the distance of the observable to the span.
        """
        X, g = as_matrix("psi_x", psi_x), np.asarray(values)
        if g.shape != (len(X),):
            raise ArgumentError(
                f"`values` must hold the observable at the {len(X)} points, ({len(X)},); got {g.shape}."
            )
        root = np.sqrt(as_weights(weights, len(X)))
        phi = (root[:, None] * X) @ self.basis
        columns = phi.conj().T @ (root * g)
        return self.basis @ columns, float(np.linalg.norm(root * g - phi @ columns))

    def residuals(self, values: Any, vectors: Any) -> np.ndarray:
        r"""Relative residuals :math:`\|\mathcal{K} g - \lambda g\| / \|g\|` of pairs, (n,).

        Args:
            values: (n,), the candidates lambda.
            vectors: (N, n), column j holds the coefficients of :math:`g_j = \psi v_j`.
        """
        values, vectors = np.atleast_1d(np.asarray(values)), np.asarray(vectors)
        if vectors.shape != (self.num_functions, len(values)):
            raise ArgumentError(
                f"`vectors` must hold a column of {self.num_functions} coefficients for each of the {len(values)} "
                f"values, ({self.num_functions}, {len(values)}); got {vectors.shape}."
            )
        return self.orthonormal_residuals(values, self.coordinates @ vectors)

    def orthonormal_residuals(self, values: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Residuals of functions that are given by orthonormal coordinates (r, n)."""
        inside = np.linalg.norm(self.matrix @ columns - columns * values, axis=0)
        return np.hypot(inside, np.linalg.norm(self.defect @ columns, axis=0)) / np.linalg.norm(columns, axis=0)

    def floors(self, values: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """What rounding alone can make or hide of the residuals, (n,): an estimate.

        It grows where a function is a sum whose terms cancel, and is not below what rounding makes of the largest
        entries of `matrix` and `defect`.

        Args:
            values: (n,), the candidates.
            vectors: (N, n), coefficients of functions of norm 1.
        """
        before, after = (np.linalg.norm(size[:, None] * vectors, axis=0) for size in self.sizes)
        largest = np.linalg.norm(np.concatenate([self.matrix, self.defect]), 2)
        return self.rounding * (after + np.abs(values) * before + largest)


def compress(
    psi_x: Any, psi_y: Any, weights: Any = None, *, rank: int | None = None, tolerance: float | None = None
) -> Compression:
    """Compress the operator from values of the dictionary: the stable form.

    Args:
        psi_x: (M, N), the functions at the first states of M pairs.
        psi_y: (M, N), the functions at the second states.
        weights: (M,), relative weights of a quadrature, not negative; equal ones if None. They say which measure the
            operator is taken in.
        rank: Keep that many independent functions; None keeps all.
        tolerance: Drop directions up to this fraction of the largest eigenvalue of the Gram matrix, functions scaled to
            mean square 1; None keeps all.

    Raises:
        ArgumentError: Shapes or weights do not fit.
        DataError: There are no more pairs than functions, or functions depend on each other at the points while neither
            `rank` nor `tolerance` allows to drop any.
    """
    return compress_blocks([(psi_x, psi_y, weights)], rank=rank, tolerance=tolerance)


def compress_pairs(
    pairs: Pairs | Iterable[Pairs],
    dictionary: AbstractDictionary,
    *,
    rank: int | None = None,
    tolerance: float | None = None,
) -> Compression:
    """Compress the operator from snapshot pairs, or pieces of them, without holding the dictionary's values at once.

    Args:
        pairs: The pairs, or an iterable that gives them in pieces.
        dictionary: The functions.
        rank: As in `compress`.
        tolerance: As in `compress`.

    Raises:
        ArgumentError: Pairs have inputs, whose effect is no part of the operator: `fit_edmd` takes it off.
        DataError: As in `compress`.
    """
    rows = _BLOCK * 2 * dictionary.num_functions

    def blocks() -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for piece in [pairs] if isinstance(pairs, Pairs) else pairs:
            if piece.inputs is not None:
                raise ArgumentError(
                    "`pairs` have inputs, whose effect is no part of the operator. `eigenpairs(fit_edmd(...))` takes "
                    "it off first."
                )
            for start in range(0, len(piece), rows):
                part = slice(start, start + rows)
                if (w := np.asarray(piece.weights)[part]).any():
                    yield dictionary(piece.first[part]), dictionary(piece.second[part]), w

    return compress_blocks(blocks(), rank=rank, tolerance=tolerance)


def compress_blocks(
    blocks: Iterable[tuple[Any, Any, Any]], *, rank: int | None = None, tolerance: float | None = None
) -> Compression:
    """Compress the operator from blocks of rows (psi_x, psi_y, weights), which need not fit into memory together.

    Weights of None stand for 1 each. Otherwise as `compress`.
    """
    triangle, count, total, N = np.zeros((0, 0)), 0, 0.0, 0
    for psi_x, psi_y, weights in blocks:
        X, Y = as_matrix("psi_x", psi_x), as_matrix("psi_y", psi_y)
        if X.shape != Y.shape or (count and X.shape[1] != N):
            raise ArgumentError(
                f"`psi_x` and `psi_y` must have one shape (M, N), and one N in all blocks; got {X.shape} and {Y.shape}"
                f"{f' after {N} functions' if count else ''}."
            )
        w = np.ones(len(X)) if weights is None else checked_weights(weights, len(X))
        if not count:
            N = X.shape[1]
            triangle = np.zeros((0, 2 * N))
        count, total = count + int(np.count_nonzero(w)), total + float(w.sum())
        for start in range(0, len(X), _BLOCK * 2 * N):
            part = slice(start, start + _BLOCK * 2 * N)
            both = np.sqrt(w[part, None]) * np.concatenate([X[part], Y[part]], axis=1)
            triangle = np.linalg.qr(np.concatenate([triangle, both]), mode="r")
    if not count:
        raise DataError("there is no pair of states.", hint="An iterable can be run through only once: make a new one.")
    return _from_triangle(triangle / np.sqrt(total), N, count, rank, tolerance)


def _from_triangle(R: np.ndarray, N: int, count: int, rank: int | None, tolerance: float | None) -> Compression:
    _check_count(N if rank is None else rank, count, tolerance)
    R = np.concatenate([R, np.zeros((2 * N - len(R), 2 * N))]) if len(R) < 2 * N else R
    sizes = np.stack([np.linalg.norm(R[:, :N], axis=0), np.linalg.norm(R[:, N:], axis=0)])
    scales = np.where(sizes[0] > 0, sizes[0], 1.0)
    before, after = R[:, :N] / scales, R[:, N:] / scales
    U, S, V = svd(before[:N])
    names = [f"function {j}" for j in range(N)]
    # Singular values are roots of eigenvalues, with all digits.
    r = num_kept(S**2, (N * _roundings(N)) ** 2, V[-1], sizes[0] > 0, names, rank=rank, tolerance=tolerance)
    _check_count(r, count, None)
    turned = after @ (V[:r].conj().T / S[:r])
    inside = U.conj().T @ turned[:N]
    defect = np.asarray(np.linalg.qr(np.concatenate([inside[r:], turned[N:]]), mode="r"))
    basis = V[:r].conj().T / S[:r] / scales[:, None]
    return Compression(inside[:r], defect, basis, S[:r, None] * V[:r] * scales, sizes, _roundings(N))


def compress_moments(
    moments: GalerkinMatrices, *, rank: int | None = None, tolerance: float | None = None, basis: Any = None
) -> Compression:
    r"""Compress the operator from its Galerkin matrices: the plain form.

    Squares are all that is left of the data, so that residuals are known to the root of rounding only; `compress` and
    `compress_pairs` keep all digits.

    Args:
        moments: Anything with `gram`, `cross` and `target`, such as `Moments`. A field `count`, if there, is compared
            with the number of functions.
        rank: As in `compress`.
        tolerance: As in `compress`.
        basis: (N, r), coefficients of orthonormal functions, such as those of an `Operator`; found if None.

    Raises:
        ArgumentError: Shapes do not fit, or the matrices cannot be of one set of pairs.
        DataError: As in `compress`.
    """
    G, A, L = (as_matrix(name, getattr(moments, name)) for name in ("gram", "cross", "target"))
    N = len(G)
    if any(matrix.shape != (N, N) for matrix in (G, A, L)):
        raise ArgumentError(
            f"`gram`, `cross` and `target` must have one shape (N, N); got {G.shape}, {A.shape} and {L.shape}."
        )
    if not (np.real(np.diagonal(G)) >= 0).all():
        raise ArgumentError("`gram` has a negative number on its diagonal, where squared norms stand.")
    count = getattr(moments, "count", None)
    if count is not None and basis is None:
        _check_count(N if rank is None else rank, int(count), tolerance)
    if basis is None:
        basis = inverse_root(G, [f"function {j}" for j in range(N)], rank=rank, tolerance=tolerance)
    T = as_matrix("basis", basis)
    if count is not None:
        _check_count(T.shape[1], int(count), None)
    sizes = np.sqrt(np.abs(np.stack([np.diagonal(G), np.diagonal(L)])))
    matrix = T.conj().T @ A @ T
    target = T.conj().T @ L @ T
    squares, vectors = eigh((target + target.conj().T) / 2 - matrix.conj().T @ matrix)
    found = Compression(
        matrix,
        np.sqrt(np.maximum(squares, 0.0))[:, None] * vectors.conj().T,
        T,
        T.conj().T @ G,
        sizes,
        float(np.sqrt(_roundings(N))),
    )
    if squares[0] < -10.0 * found.floors(np.ones(1), T @ vectors[:, :1])[0] ** 2:
        raise ArgumentError(
            f"`gram`, `cross` and `target` are not those of one set of pairs: a squared residual would be "
            f"{squares[0]:.3g}. Accumulate the three over the same rows with the same weights."
        )
    return found


def as_matrix(name: str, values: Any) -> np.ndarray:
    """A finite matrix of float64 or complex128."""
    found = np.asarray(values)
    if found.dtype.kind not in "fciub":
        raise ArgumentError(f"`{name}` must hold numbers; got {found.dtype}.")
    found = found.astype(np.complex128 if np.iscomplexobj(found) else np.float64, copy=False)
    if found.ndim != 2 or not found.size:
        raise ArgumentError(f"`{name}` must be a matrix with rows and columns; got shape {found.shape}.")
    if not np.isfinite(found).all():
        raise ArgumentError(f"`{name}` holds values that are not finite. Leave out the pairs they belong to.")
    return found


def as_weights(weights: Any, count: int) -> np.ndarray:
    """Weights (count,) of sum 1; equal ones for None."""
    found = np.ones(count) if weights is None else checked_weights(weights, count)
    return found / found.sum()


def checked_weights(weights: Any, count: int) -> np.ndarray:
    """Weights (count,), finite, not negative and not all zero."""
    found = np.asarray(weights)
    if found.shape != (count,) or found.dtype.kind not in "fiub":
        raise ArgumentError(
            f"`weights` must hold a real number for each of the {count} pairs; got {found.dtype} of shape "
            f"{found.shape}."
        )
    found = found.astype(np.float64)
    if not (np.isfinite(found).all() and (found >= 0).all() and found.any()):
        raise ArgumentError("`weights` must be finite, not negative, and not all 0: they are those of a measure.")
    return found


def _check_count(functions: int, count: int, tolerance: float | None) -> None:
    if count <= functions and tolerance is None:
        raise DataError(
            f"the dictionary is larger than the data: {functions} functions for {count} snapshot pairs. With no more "
            "pairs than functions the data are interpolated, and every residual is 0.",
            hint="Take fewer functions (or a smaller `rank`), or more data.",
        )


def _roundings(N: int) -> float:
    return float(_ROUNDINGS * np.sqrt(N) * np.finfo(np.float64).eps)
