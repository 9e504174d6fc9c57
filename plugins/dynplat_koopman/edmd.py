r"""Extended dynamic mode decomposition: the least-squares operator on the span of a dictionary.

.. math:: K = \arg\min_K \sum_m w_m |\psi(y_m) - \psi(x_m) K|^2 = G^+ A ,

so that the function :math:`\psi c` becomes :math:`\psi K c` after one step (Williams, Kevrekidis and Rowley 2015). With
inputs u, :math:`\psi(y) \approx \psi(x) K + u B` is fitted jointly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dynplat.errors import ArgumentError, CapabilityError, DataError
from dynplat_koopman.dictionaries.base import AbstractDictionary
from dynplat_koopman.gram import inverse_root
from dynplat_koopman.moments import Moments, gather_moments
from dynplat_koopman.pairs import Pairs


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator on the span of a dictionary, with the moments that it was fitted to.

    Eigenvalues are not among its properties: `eigenpairs` gives them with their residuals.

    Args:
        matrix: K, (N, N): psi(y) ~ psi(x) K.
        moments: Moments of the data.
        basis: Coefficients B (N, r) of functions psi B that are orthonormal under the data, B* G B = I.
        dictionary: The functions, or None where only moments were given.
        input_matrix: Effect of the inputs, (k, N): psi(y) ~ psi(x) K + u B; or None.
        ridge: The penalty that the fit was made with.
    """

    matrix: np.ndarray
    moments: Moments
    basis: np.ndarray
    dictionary: AbstractDictionary | None = None
    input_matrix: np.ndarray | None = None
    ridge: float = 0.0

    @property
    def step(self) -> float | None:
        """Time of one step, or None for a map."""
        return self.moments.step

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
        """Mean of e* e over the data, (N, N), where e = psi(y) - psi(x) K - u B is what is left unexplained."""
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

    def predict(self, x: np.ndarray, *, steps: int = 1, inputs: np.ndarray | None = None) -> np.ndarray:
        """States expected after `steps` steps: functions are advanced by K and read out at the end.

        Args:
            x: States, (..., d).
            steps: Number of steps, at least 0.
            inputs: Inputs of each step, (..., steps, k), where the operator has any.

        Returns:
            States, (..., d).

        Raises:
            CapabilityError: The operator was fitted to moments without a dictionary.
            ArgumentError: There are inputs on one side only, or too few of them.
        """
        if self.dictionary is None:
            raise CapabilityError("the operator has no dictionary; give one to `fit_edmd`.")
        if steps < 0:
            raise ArgumentError(f"`steps` must be at least 0; got {steps}.")
        values = np.asarray(self.dictionary(np.asarray(x, dtype=np.float64)))
        inputs = self._check_inputs(inputs, steps)
        for now in range(steps):
            values = values @ self.matrix
            if inputs is not None and self.input_matrix is not None:
                values = values + inputs[..., now, :] @ self.input_matrix
        found = values @ self.readout.T
        return np.real(found)

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

    def _check_inputs(self, inputs: np.ndarray | None, steps: int) -> np.ndarray | None:
        if (inputs is None) != (self.input_matrix is None):
            state = "has no inputs" if self.input_matrix is None else "was fitted with inputs, which must be given"
            raise ArgumentError(f"`inputs` do not fit the operator, which {state}.")
        if inputs is None or self.input_matrix is None:
            return None
        inputs = np.asarray(inputs, dtype=np.float64)
        if inputs.ndim < 2 or inputs.shape[-2:] != (steps, len(self.input_matrix)):
            raise ArgumentError(
                f"`inputs` must be (..., {steps}, {len(self.input_matrix)}), one row per step; got {inputs.shape}."
            )
        return inputs

    def _joint(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coefficients, Gram matrix and cross moments of functions and inputs together."""
        gram, cross = joint_moments(self.moments)
        if self.input_matrix is None:
            N = self.num_functions
            return self.matrix, gram[:N, :N], cross[:N]
        return np.concatenate([self.matrix, self.input_matrix]), gram, cross


def fit_edmd(
    source: Pairs | Moments | Iterable[Pairs],
    dictionary: AbstractDictionary | None = None,
    *,
    ridge: float = 0.0,
    rank: int | None = None,
    tolerance: float | None = None,
    block_rows: int | None = None,
) -> Operator:
    r"""Fit the operator of extended dynamic mode decomposition.

    Functions are brought to mean square 1 before the rank of their Gram matrix is decided: eigenvalues up to
    `tolerance` times the largest count as zero. A singular matrix is refused unless `rank`, `tolerance` or `ridge`
    says what to do with it.

    Args:
        source: Snapshot pairs, pieces of them, or their moments.
        dictionary: The functions; may be left out where moments are given.
        ridge: Penalty: :math:`K = (G + \text{ridge} I)^{-1} A` with the averages G and A.
        rank: Keep this many directions, those of the largest eigenvalues.
        tolerance: Keep directions above this fraction of the largest eigenvalue, and drop the others.
        block_rows: As in `gather_moments`.

    Raises:
        DataError: The dictionary is larger than the data, or its functions are dependent on them.
        ArgumentError: An argument is outside what it may be.
    """
    if not (np.isfinite(ridge) and ridge >= 0):
        raise ArgumentError(f"`ridge` must be at least 0; got {ridge}.")
    if isinstance(source, Moments):
        moments = source
        if dictionary is not None and dictionary.num_functions != moments.num_functions:
            raise ArgumentError(
                f"`dictionary` has {dictionary.num_functions} functions, and the moments are of "
                f"{moments.num_functions}."
            )
    elif dictionary is None:
        raise ArgumentError("`dictionary` must be given with snapshot pairs.")
    else:
        moments = gather_moments(source, dictionary, block_rows=block_rows)
    N, k = moments.num_functions, moments.num_inputs
    if N + k > moments.count and rank is None and tolerance is None and not ridge:
        raise DataError(
            f"the dictionary is larger than the data: {N} functions{f' and {k} inputs' if k else ''} for "
            f"{moments.count} snapshot pairs.",
            hint="Take fewer functions, more data, or `rank`, `tolerance` or `ridge`.",
        )
    names = _names(dictionary, N, k)
    gram, cross = joint_moments(moments)
    penalised = gram + ridge * np.eye(N + k) if ridge else gram
    root = inverse_root(penalised, names, rank=rank, tolerance=tolerance)
    coefficients = root @ (root.conj().T @ cross)
    basis = root
    if ridge or k:
        basis = inverse_root(moments.gram, names[:N], tolerance=tolerance or 0.0)
    return Operator(
        coefficients[:N],
        moments,
        basis,
        dictionary=dictionary,
        input_matrix=coefficients[N:] if k else None,
        ridge=ridge,
    )


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
