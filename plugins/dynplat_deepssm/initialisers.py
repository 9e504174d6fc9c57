r"""Where state matrices start: bases that remember a signal (HiPPO), their diagonal parts, and rings.

A HiPPO matrix keeps x' = A x + B u, the coefficients of the past of u in a basis of functions under a measure:

- `legs`: Legendre polynomials of the whole past, the recent past in more detail. Its kernels are
  :math:`K_n(t) = \sqrt{2n+1}\, P_n(2 e^{-t} - 1)\, e^{-t}`. With A / t and B / t (clock log t) the
  whole past weighs the same.
- `legt`: Legendre polynomials of the window of the last unit of time.
- `fout`: Fourier series of the window of the last unit of time.

`legs` is normal but for a correction of rank 1: A + P P' + 1/2 is skew. `eigen` diagonalises that normal part, by a
Hermitian problem; eigenvectors of A itself are useless in floating point (their condition is 1e19 for n = 32).
`perturbed` diagonalises A + E, for a small E that makes this well posed.

Everything here runs on the host in float64.

Sources: Gu et al. (2020), arXiv:2008.07669; Gu et al. (2022), How to train your HiPPO, arXiv:2206.12037; Gu et al.
(2022), arXiv:2206.11893 (`lin`, `inv`); Orvieto et al. (2023), arXiv:2303.06349 (`ring`); Yu et al. (2023),
arXiv:2310.01698 (`perturbed`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import eval_legendre

from dynplat.arrays import Array
from dynplat.errors import ArgumentError

#: Bases of `hippo`, and starts of diagonal rates of `diagonal`.
BASES = ("legs", "legt", "fout")
DIAGONALS = ("legs", "lin", "inv", "real")

#: Perturbations that are tried before a size of theirs is refused.
_DRAWS = 20


class Basis(NamedTuple):
    """A HiPPO system x' = A x + B u.

    Attributes:
        A: (n, n).
        B: (n,).
        P: A = normal - P P', (n, rank).
    """

    A: np.ndarray
    B: np.ndarray
    P: np.ndarray


class Eigen(NamedTuple):
    """Eigenvalues and eigenvectors of a state matrix, for which C x = 2 Re (C V) z with z = `inverse` x.

    Attributes:
        rates: (mode,), those with positive imaginary parts or all.
        vectors: V, (n, mode).
        inverse: Rows of V^{-1}, (mode, n); half of them where all rates are given.
    """

    rates: Array
    vectors: Array
    inverse: Array


def hippo(basis: str, size: int) -> Basis:
    """Return the system of a basis, of `size` coefficients.

    Raises:
        ArgumentError: The basis is unknown, or the size does not fit it.
    """
    if basis not in BASES:
        raise ArgumentError(f"`basis` must be one of {BASES}; got {basis!r}.")
    if size < 1 or (basis == "fout" and size % 2):
        wanted = "even and positive, a sine and a cosine for each frequency" if basis == "fout" else "positive"
        raise ArgumentError(f"`size` of the basis {basis!r} must be {wanted}; got {size}.")
    return {"legs": _legs, "legt": _legt, "fout": _fout}[basis](size)


def _legs(n: int) -> Basis:
    root = np.sqrt(2.0 * np.arange(n) + 1.0)
    A = -np.tril(np.outer(root, root), k=-1) - np.diag(np.arange(n) + 1.0)
    return Basis(A, root, root[:, None] / np.sqrt(2.0))


def _legt(n: int) -> Basis:
    order = np.arange(n)
    root = np.sqrt(2.0 * order + 1.0)
    alternating = (-1.0) ** (order[:, None] - order[None, :])
    A = -np.outer(root, root) * np.where(order[None, :] <= order[:, None], 1.0, alternating)
    # Symmetric part of A: -r r' for rows and columns of one parity, 0 elsewhere.
    even = order % 2 == 0
    P = np.stack([np.where(even, root, 0.0), np.where(even, 0.0, root)], axis=-1)
    return Basis(A, root, P)


def _fout(n: int) -> Basis:
    frequency = 2.0 * np.pi * np.arange(n // 2)
    skew = np.zeros((n, n))
    even = np.arange(0, n, 2)
    skew[even, even + 1], skew[even + 1, even] = -frequency, frequency
    B = np.where(np.arange(n) % 2 == 0, np.sqrt(2.0), 0.0)
    B[0] = 1.0
    P = np.sqrt(2.0) * B[:, None]
    return Basis(skew - P @ P.T, 2.0 * B, P)


def functions(basis: str, size: int, ages: np.ndarray) -> np.ndarray:
    """Functions that rebuild u at `ages` (time before now) from coefficients: u = functions @ x, (age, size).

    Ages are units of time for `legs`, and lie in [0, 1] for the windows `legt` and `fout`.
    """
    ages = np.asarray(ages, dtype=float)
    order = np.arange(size)
    if basis == "legs":
        return np.sqrt(2.0 * order + 1.0) * eval_legendre(order, 2.0 * np.exp(-ages)[:, None] - 1.0)
    if basis == "legt":
        return np.sqrt(2.0 * order + 1.0) * eval_legendre(order, 1.0 - 2.0 * ages[:, None])
    hippo(basis, size)
    angle = np.pi * 2.0 * (order // 2) * ages[:, None]
    waves = np.where(order % 2 == 0, np.cos(angle), np.sin(angle)) * np.sqrt(2.0)
    waves[:, 0] = 1.0
    return waves


def eigen(size: int) -> Eigen:
    """Eigenvalues of the normal part of `legs` and their orthonormal eigenvectors.

    All real parts are -1/2; the largest imaginary part is about n^2 / pi.

    Raises:
        ArgumentError: The size is not even and positive.
    """
    _check_pairs(size)
    A, _, P = hippo("legs", size)
    skew = A + P @ P.T + 0.5 * np.eye(size)
    imaginary, vectors = np.linalg.eigh(-1j * skew)
    kept = slice(size // 2, None)
    rates, vectors = -0.5 + 1j * imaginary[kept], vectors[:, kept]
    return Eigen(rates, vectors, vectors.conj().T)


def perturbed(size: int, relative: float = 1e-3, *, seed: int) -> Eigen:
    """Eigenvalues of A + E of `legs`, with a random normal E of spectral norm `relative` times that of A.

    A smaller E is a smaller backward error and a larger condition of the eigenvectors, about its inverse. E is drawn
    anew until all eigenvalues decay. From one per cent on, a random E makes A unstable. Some eigenvalues are real, so
    all of them are given, and `inverse` is halved: V^{-1} / 2, that twice a real part is right for these too.

    Raises:
        ArgumentError: None of a number of draws decays.
    """
    A = hippo("legs", size).A
    rng = np.random.default_rng(seed)
    growth = np.inf
    for _ in range(_DRAWS):
        E = rng.standard_normal((size, size))
        E *= relative * np.linalg.norm(A, 2) / np.linalg.norm(E, 2)
        spectrum: Any = np.linalg.eig(A + E)
        rates, vectors = spectrum
        if rates.real.max() < 0:
            order = np.lexsort((rates.real, rates.imag))
            return Eigen(rates[order], vectors[:, order], 0.5 * np.linalg.inv(vectors)[order])
        growth = min(growth, rates.real.max())
    raise ArgumentError(
        f"`relative` = {relative:g} gave eigenvalues of A + E with real parts up to {growth:.3g} or more in each of "
        f"{_DRAWS} draws, which grow; take a smaller one, such as 1e-3."
    )


def diagonal(start: str, size: int) -> Array:
    """Rates of a diagonal layer that stands for `size` states: size / 2 of conjugate pairs, or `size` real ones.

    `legs`: the normal part of HiPPO-LegS; `lin`: -1/2 + i pi n; `inv`: -1/2 + i (N / pi) (N / (2n + 1) - 1);
    `real`: -(n + 1).

    Raises:
        ArgumentError: The start is unknown, or the size is not even and positive.
    """
    if start not in DIAGONALS:
        raise ArgumentError(f"`start` must be one of {DIAGONALS}; got {start!r}.")
    if start == "real":
        return -(np.arange(size) + 1.0)
    _check_pairs(size)
    if start == "legs":
        return eigen(size).rates
    n = np.arange(size // 2)
    imaginary = np.pi * n if start == "lin" else size / np.pi * (size / (2.0 * n + 1.0) - 1.0)
    return -0.5 + 1j * imaginary


def ring(
    rng: np.random.Generator, size: int, least: float, most: float, max_phase: float
) -> tuple[np.ndarray, np.ndarray]:
    """Moduli and phases of multipliers, uniform on a ring: |lambda|^2 on [least^2, most^2], phase on [0, max_phase]."""
    squared = rng.uniform(least**2, most**2, size)
    return np.sqrt(squared), rng.uniform(0.0, max_phase, size)


def _check_pairs(size: int) -> None:
    if size < 2 or size % 2:
        raise ArgumentError(f"`size` must be even and positive, two for each conjugate pair; got {size}.")
