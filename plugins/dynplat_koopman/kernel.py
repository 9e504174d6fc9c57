r"""Kernel EDMD, and kernel ResDMD whose residuals are of data that built no function.

A kernel stands for a dictionary with as many functions as there are states. Of M states X, with the Gram matrix
:math:`k(X, X) = U \Sigma^2 U^*`, the functions

.. math:: \psi(x) = k(x, X)\, U_r \Sigma_r^{-1}

are orthonormal in the kernel's space, and kernel EDMD (Williams, Rowley and Kevrekidis 2015, doi:10.3934/jcd.2015005)
is :math:`K = \Psi_x^+ \Psi_y = \Sigma_r^{-1} U_r^* k(Y, X) U_r \Sigma_r^{-1}`.

With r = M functions the data are interpolated, :math:`\Psi_x K = \Psi_y` exactly, so that on the training set *every*
eigenpair has residual 0, whatever it is worth, and for r below M the residual is too small still. Two sets of pairs are
therefore asked for: one builds the functions, the other is the quadrature (Colbrook, Ayton and Szőke 2023,
doi:10.1017/jfm.2022.1052). What can be had from one set is another residual: that of the adjoint in the kernel's own
space, which maps :math:`k(\cdot, x)` to :math:`k(\cdot, F(x))` and needs no quadrature (`KernelOperator.adjoint`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.spatial.distance import cdist

from dynplat.errors import ArgumentError, DataError
from dynplat_koopman.compression import Compression, compress, compress_moments
from dynplat_koopman.pairs import Pairs
from dynplat_koopman.spectrum import Eigenpairs, ordered

#: Values (M, P) of a kernel between states (M, d) and (P, d).
Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]

#: Eigenvalues of a kernel's Gram matrix up to this fraction of the largest are dropped by default: smooth kernels have
#: many that are nothing but rounding.
_TOLERANCE = 1e-12
_EPS = np.finfo(np.float64).eps


@dataclass(frozen=True)
class GaussianKernel:
    r""":math:`k(x, y) = \exp(-|x - y|^2 / s^2)`.

    Args:
        width: s.
    """

    width: float

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Values (M, P) between states (M, d) and (P, d)."""
        return np.exp(-cdist(x, y, "sqeuclidean") / self.width**2)


@dataclass(frozen=True)
class LaplaceKernel:
    r""":math:`k(x, y) = \exp(-|x - y| / s)`.

    Args:
        width: s.
    """

    width: float

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Values (M, P) between states (M, d) and (P, d)."""
        return np.exp(-cdist(x, y) / self.width)


@dataclass(frozen=True)
class LorentzKernel:
    r""":math:`k(x, y) = 1 / (1 + |x - y|^2 / s^2)`, also called Lorentzian, Cauchy or rational quadratic.

    Args:
        width: s.
    """

    width: float

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Values (M, P) between states (M, d) and (P, d)."""
        return 1.0 / (1.0 + cdist(x, y, "sqeuclidean") / self.width**2)


_KERNELS = {"gaussian": GaussianKernel, "laplace": LaplaceKernel, "lorentz": LorentzKernel}


def kernel_from(name: str, states: np.ndarray) -> GaussianKernel | LaplaceKernel | LorentzKernel:
    """A kernel whose width is the mean distance of states to their mean.

    Args:
        name: `gaussian`, `laplace` or `lorentz`.
        states: (M, d).

    Raises:
        ArgumentError: The name is unknown, or all states are equal.
    """
    if name not in _KERNELS:
        raise ArgumentError(f"`name` must be one of {', '.join(_KERNELS)}; got {name!r}. A kernel may be any function.")
    x = np.asarray(states, dtype=np.float64)
    width = float(np.linalg.norm(x - x.mean(axis=0), axis=-1).mean())
    if not width > 0:
        raise ArgumentError(
            "`states` are all equal, so that they give a kernel no width. Give one: GaussianKernel(1.0)."
        )
    return _KERNELS[name](width)


@dataclass(frozen=True, eq=False)
class KernelFunctions:
    """The functions that a kernel makes of states: psi(x) = k(x, states) coefficients.

    Args:
        kernel: The kernel.
        states: (M, d).
        coefficients: (M, r).
    """

    kernel: Kernel
    states: np.ndarray
    coefficients: np.ndarray

    @property
    def num_functions(self) -> int:
        """Number of functions, r."""
        return self.coefficients.shape[1]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Values (M', r) at states (M', d)."""
        return _evaluate(self.kernel, np.asarray(x, dtype=np.float64), self.states) @ self.coefficients


@dataclass(frozen=True, eq=False)
class KernelOperator:
    """Kernel EDMD: an operator on the functions that a kernel makes of the training states.

    Args:
        functions: The functions, orthonormal in the kernel's space.
        matrix: K (r, r): psi(y) ~ psi(x) K.
        training: The pairs that it was fitted to.
    """

    functions: KernelFunctions
    matrix: np.ndarray
    training: Pairs

    @property
    def rank(self) -> int:
        """Number of functions, r."""
        return len(self.matrix)

    def eigenpairs(self, held_out: Pairs) -> Eigenpairs:
        """Eigenpairs of kernel EDMD with their residuals, and standard errors, on pairs that it has not seen.

        Nothing was fitted to those pairs: up to the size of the sample the residuals are those of the functions.

        Args:
            held_out: Pairs that are not in the training set.

        Raises:
            DataError: Some of them are.
        """
        psi = self._held_out(held_out)
        values, vectors = np.linalg.eig(self.matrix)
        # The kernel's values are rounded, and the functions are combinations of them that may cancel.
        floors = _EPS * np.linalg.norm(self.functions.coefficients @ vectors, 1, axis=0) * (1.0 + np.abs(values))
        return Eigenpairs(values, np.full(len(values), np.inf), vectors, floors).held_out(*psi)

    def residual_compression(self, held_out: Pairs, *, tolerance: float | None = None) -> Compression:
        """Kernel ResDMD: the operator on these functions, with held-out pairs as the quadrature.

        Gives `eigenpairs`, `pseudospectrum` and `measure_preserving` of the functions, fitted to the held-out pairs.
        There should be many times more of those than functions.

        Args:
            held_out: As in `eigenpairs`.
            tolerance: As in `compress`: functions that are independent on the training set may not be on this one.

        Raises:
            DataError: Some are in the training set, there are no more of them than functions, or functions depend on
                each other at them.
        """
        return compress(*self._held_out(held_out), tolerance=tolerance)

    def adjoint(self) -> Eigenpairs:
        r"""Eigenpairs of the adjoint operator in the kernel's space, with residuals that need no quadrature.

        The functions are :math:`g = k(\cdot, X) v`, with X the training states. The adjoint maps
        :math:`k(\cdot, x_m)` to :math:`k(\cdot, y_m)`: its Galerkin matrices are values of the kernel.

        Its spectrum is the complex conjugate of the operator's *in that space*, where the operator must be bounded for
        the residuals to bound anything: it is not with very smooth kernels and a map that expands.
        """
        kernel, x, y = self.functions.kernel, self.training.first, self.training.second
        matrices = _Galerkin(_evaluate(kernel, x, x), _evaluate(kernel, x, y), _evaluate(kernel, y, y))
        compression = compress_moments(matrices, basis=self.functions.coefficients)
        return ordered(compression, *np.linalg.eig(compression.matrix))[0]

    def _held_out(self, pairs: Pairs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        _check_pairs(pairs)
        M, training = len(self.training), self.training
        if pairs.num_variables != training.num_variables:
            raise ArgumentError(
                f"`held_out` has states of {pairs.num_variables} variables; the training pairs have "
                f"{training.num_variables}."
            )
        known = {row.tobytes() for row in np.concatenate([training.first, training.second], axis=1) + 0.0}
        rows = np.concatenate([pairs.first, pairs.second], axis=1) + 0.0
        if seen := sum(row.tobytes() in known for row in rows):
            why = (
                f"with r = M = {M} functions kernel EDMD interpolates its training pairs, so that every eigenpair has "
                "residual 0 there"
                if self.rank == M
                else f"{self.rank} functions made of {M} training pairs fit those pairs better than any others"
            )
            raise DataError(
                f"{seen} of the {len(pairs)} held-out pairs are in the training set, where a residual says nothing: "
                f"{why}.",
                hint="Fit with a part of the pairs and give the others here, or ask for the residuals of the "
                "`adjoint`, which need one set only.",
            )
        return self.functions(pairs.first), self.functions(pairs.second), np.asarray(pairs.weights)


def fit_kernel_edmd(
    pairs: Pairs, kernel: Kernel | str = "gaussian", *, rank: int | None = None, tolerance: float = _TOLERANCE
) -> KernelOperator:
    """Fit kernel EDMD.

    Args:
        pairs: M snapshot pairs. All count alike: weights belong to a quadrature, which these are not.
        kernel: A kernel, any function of states (M, d) and (P, d) with positive semi-definite values (M, P), or a name
            as in `kernel_from`.
        rank: Largest number r of functions.
        tolerance: Drop directions up to this fraction of the largest eigenvalue of the kernel's Gram matrix.

    Raises:
        ArgumentError: An argument is out of range, or the kernel is not symmetric or not positive.
    """
    _check_pairs(pairs)
    M = len(pairs)
    if rank is not None and not 1 <= rank <= M:
        raise ArgumentError(f"`rank` must be between 1 and the number of pairs, {M}; got {rank}.")
    if not 0 <= tolerance < 1:
        raise ArgumentError(f"`tolerance` must be at least 0 and below 1; got {tolerance}.")
    if (pairs.weights != pairs.weights[0]).any():
        raise ArgumentError(
            "`pairs` must have equal weights to build functions from; give weights with held-out pairs."
        )
    chosen = kernel_from(kernel, pairs.first) if isinstance(kernel, str) else kernel
    gram = _evaluate(chosen, pairs.first, pairs.first)
    if not np.allclose(gram, gram.conj().T, rtol=1e-8, atol=1e-12 * np.abs(gram).max()):
        raise ArgumentError("`kernel` is not symmetric: k(x, y) and the conjugate of k(y, x) differ on the data.")
    squares, U = eigh((gram + gram.conj().T) / 2)
    squares, U = squares[::-1], U[:, ::-1]
    if squares[-1] < -1e-10 * squares[0]:
        raise ArgumentError(
            f"`kernel` is not positive semi-definite: its Gram matrix has the eigenvalue {squares[-1]:.3g} beside "
            f"{squares[0]:.3g}."
        )
    r = int((squares > max(tolerance, M * _EPS) * squares[0]).sum())
    r = r if rank is None else min(r, rank)
    coefficients = U[:, :r] / np.sqrt(squares[:r])
    matrix = coefficients.conj().T @ _evaluate(chosen, pairs.second, pairs.first) @ coefficients
    return KernelOperator(KernelFunctions(chosen, pairs.first, coefficients), matrix, pairs)


@dataclass(frozen=True, eq=False)
class _Galerkin:
    gram: np.ndarray
    cross: np.ndarray
    target: np.ndarray


def _check_pairs(pairs: Pairs) -> None:
    if pairs.inputs is not None:
        raise ArgumentError(
            "the pairs have inputs, whose effect a kernel of states cannot take off. Use `fit_edmd`, or make the "
            "inputs a part of the states."
        )


def _evaluate(kernel: Kernel, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    values = np.asarray(kernel(x, y))
    if values.shape != (len(x), len(y)):
        raise ArgumentError(
            f"`kernel` must return values ({len(x)}, {len(y)}) for states ({len(x)}, d) and ({len(y)}, d); got "
            f"{values.shape}."
        )
    if not np.isfinite(values).all():
        raise ArgumentError("`kernel` has values that are not finite.")
    return values
