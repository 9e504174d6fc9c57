"""Matrices of least squares on the span of a dictionary: what operators and generators have in common."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from dynplat.errors import ArgumentError, CapabilityError, DataError
from dynplat_koopman.dictionaries.base import AbstractDictionary
from dynplat_koopman.gram import inverse_root
from dynplat_koopman.moments import Moments


@dataclass(frozen=True, eq=False)
class AbstractFitted:
    """A matrix K with targets(x) ~ psi(x) K in least squares, and the moments that it was fitted to.

    Eigenvalues are not among its properties: `eigenpairs` gives them with their residuals.

    Args:
        matrix: K, (N, N).
        moments: Moments of the data.
        basis: Coefficients B (N, r) of functions psi B that are orthonormal under the data, B* G B = I.
        dictionary: The functions, or None where only moments were given.
        ridge: The penalty that the fit was made with.
    """

    matrix: np.ndarray
    moments: Moments
    basis: np.ndarray
    dictionary: AbstractDictionary | None = None
    ridge: float = 0.0

    @property
    def num_functions(self) -> int:
        """Number of functions, N."""
        return len(self.matrix)

    @property
    def rank(self) -> int:
        """Number of independent functions that were kept, r."""
        return self.basis.shape[1]

    @cached_property
    def compressed(self) -> np.ndarray:
        """The operator in the orthonormal basis, (r, r): psi B c becomes psi B (compressed c), up to what B leaves out.

        An eigenvector c of it is the function psi B c, whose mean square is c* c.
        """
        B = self.basis
        return B.conj().T @ self.moments.gram @ self.matrix @ B

    @cached_property
    def residual_covariance(self) -> np.ndarray:
        """Mean of e* e over the data, (N, N), where e is what the fit leaves unexplained of the targets."""
        left, gram, cross = self._joint()
        fitted = left.conj().T @ cross
        return _hermitian(self.moments.target - fitted - fitted.conj().T + left.conj().T @ gram @ left)

    @cached_property
    def readout(self) -> np.ndarray:
        """Coefficients (d, N) of the state, x ~ readout psi(x): the dictionary's own, or those of least squares.

        Raises:
            CapabilityError: The moments do not hold the state.
        """
        exact = None if self.dictionary is None else self.dictionary.readout
        if exact is not None:
            return exact
        if self.moments.state is None:
            raise CapabilityError("the moments do not hold the state; gather them with `gather_moments`.")
        return (self.basis @ (self.basis.conj().T @ self.moments.state)).T

    @cached_property
    def readout_covariance(self) -> np.ndarray:
        """Mean square (d, d) of x - readout psi(x) over the data; zero where the dictionary holds the state."""
        if self.dictionary is not None and self.dictionary.readout is not None:
            return np.zeros((self.dictionary.num_variables,) * 2)
        C, state, square = self.readout, self.moments.state, self.moments.state_gram
        if state is None or square is None:
            raise CapabilityError("the moments do not hold the state; gather them with `gather_moments`.")
        fitted = state.conj().T @ C.T
        return np.real(_hermitian(square - fitted - fitted.conj().T + C.conj() @ self.moments.gram @ C.T))

    def modes(self, vectors: np.ndarray) -> np.ndarray:
        """Koopman modes (n, d) of eigenfunctions psi v_i: the state is nearest sum_i psi(x) v_i modes_i on the data.

        Args:
            vectors: Coefficients of the functions, (N, n), independent.

        Raises:
            ArgumentError: The shape does not fit, or the functions are dependent on the data.
        """
        vectors = np.asarray(vectors)
        if vectors.ndim != 2 or len(vectors) != self.num_functions:
            raise ArgumentError(f"`vectors` must be ({self.num_functions}, n); got shape {vectors.shape}.")
        weighted = vectors.conj().T @ self.moments.gram
        gram = weighted @ vectors
        norms = np.sqrt(np.abs(np.diagonal(gram)))
        scaled = gram / np.outer(norms, norms)
        if not np.isfinite(scaled).all() or np.linalg.cond(scaled) > 1e13:
            raise ArgumentError("`vectors` are dependent functions on the data: their modes are not defined.")
        return np.linalg.solve(scaled, weighted @ self.readout.T / norms[:, None]) / norms[:, None]

    def _functions(self, x: np.ndarray) -> np.ndarray:
        """Values of the functions at states."""
        if self.dictionary is None:
            raise CapabilityError("the fit has no dictionary; give one when fitting.")
        return np.asarray(self.dictionary(np.asarray(x, dtype=np.float64)))

    def _joint(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coefficients, Gram matrix and cross moments of all that was fitted."""
        return self.matrix, self.moments.gram, self.moments.cross


class Solution(NamedTuple):
    """Coefficients of least squares, (N, N), of inputs (k, N) or None, and the orthonormal basis (N, r)."""

    matrix: np.ndarray
    input_matrix: np.ndarray | None
    basis: np.ndarray


def solve_moments(
    moments: Moments,
    dictionary: AbstractDictionary | None,
    *,
    ridge: float,
    rank: int | None,
    tolerance: float | None,
) -> Solution:
    """Least squares from moments; `fit_edmd` says what the options are.

    Raises:
        DataError: The dictionary is larger than the data, or its functions are dependent on them.
        ArgumentError: An argument is outside what it may be.
    """
    if not (np.isfinite(ridge) and ridge >= 0):
        raise ArgumentError(f"`ridge` must be at least 0; got {ridge}.")
    if dictionary is not None and dictionary.num_functions != moments.num_functions:
        raise ArgumentError(
            f"`dictionary` has {dictionary.num_functions} functions, and the moments are of {moments.num_functions}."
        )
    N, k = moments.num_functions, moments.num_inputs
    if N + k > moments.count and rank is None and tolerance is None and not ridge:
        raise DataError(
            f"the dictionary is larger than the data: {N} functions{f' and {k} inputs' if k else ''} for "
            f"{moments.count} snapshot pairs.",
            hint="Take fewer functions, more data, or `rank`, `tolerance` or `ridge`.",
        )
    names = _names(dictionary, N, k)
    gram, cross = joint_moments(moments)
    root = inverse_root(gram + ridge * np.eye(N + k) if ridge else gram, names, rank=rank, tolerance=tolerance)
    coefficients = root @ (root.conj().T @ cross)
    basis = inverse_root(moments.gram, names[:N], tolerance=tolerance or 0.0) if ridge or k else root
    return Solution(coefficients[:N], coefficients[N:] if k else None, basis)


def joint_moments(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Gram matrix (N + k, N + k) of functions and inputs, and their cross moments with targets (N + k, N)."""
    input_gram, input_cross, input_target = moments.input_gram, moments.input_cross, moments.input_target
    if input_gram is None or input_cross is None or input_target is None:
        return moments.gram, moments.cross
    gram = np.block([[moments.gram, input_cross], [input_cross.conj().T, input_gram]])
    return gram, np.concatenate([moments.cross, input_target])


def _names(dictionary: AbstractDictionary | None, num_functions: int, num_inputs: int) -> tuple[str, ...]:
    functions = tuple(f"function {n}" for n in range(num_functions)) if dictionary is None else dictionary.names
    return functions + tuple(f"input {k}" for k in range(num_inputs))


def _hermitian(matrix: np.ndarray) -> np.ndarray:
    return 0.5 * (matrix + matrix.conj().T)
