r"""How much of an observable is in the point spectrum: running averages after Ruelle, Amrein, Georgescu and Enss.

What an isometry does to the part of g in the continuous spectrum leaves every finite-dimensional space, on average over
time; what is in the point spectrum comes back. With projections :math:`P_n` to the span of the first n functions,

.. math::

    \lim_{n\to\infty} \lim_{J\to\infty} \frac{1}{J} \sum_{l=0}^{J-1} \|P_n \mathcal{K}^l g\|^2 = \|P_{pp}\, g\|^2 .

The limits cannot be exchanged, and no single limit decides: for every n the average must have settled in J before n is
raised. Colbrook, Mezić and Stepanenko, "Limits and powers of Koopman learning", arXiv:2407.06312.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynplat.errors import ArgumentError, DataError
from dynplat_koopman.compression import as_matrix, as_weights

_EPS = np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class RunningAverages:
    r"""Running averages of the share of an observable that the first n functions hold.

    Attributes:
        dimensions: (k,), the numbers n of functions.
        averages: (k, J), :math:`\frac{1}{J'}\sum_{l<J'} \|P_n \mathcal{K}^l g\|^2 / \|\mathcal{K}^l g\|^2` for
            J' = 1, ..., J: in [0, 1].
        changes: (k,), how much the average changed from J/2 to J: while it moves, J is too small for this n.
        noise: (k,), n/M, the share that n functions hold of M independent numbers. An average of that size is none.
    """

    dimensions: np.ndarray
    averages: np.ndarray
    changes: np.ndarray
    noise: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """The averages over all J steps, (k,): of each n, estimates of what it holds of the point spectrum's part."""
        return self.averages[:, -1]


def running_averages(
    psi: Any, values: Any, dimensions: Sequence[int] | None = None, weights: Any = None
) -> RunningAverages:
    """Running averages over many starts.

    Args:
        psi: (M, N), the functions at M starting points. The first n of them span the n-th space.
        values: (M, J), the observable at steps 0, ..., J - 1 from each start.
        dimensions: Numbers n of functions; None takes N alone.
        weights: (M,), relative weights; equal if None.
    """
    functions, g = as_matrix("psi", psi), as_matrix("values", values)
    if len(g) != len(functions):
        raise ArgumentError(f"`values` must have a row for each of the {len(functions)} starts; got {len(g)}.")
    root = np.sqrt(as_weights(weights, len(functions)))[:, None]
    Q = _basis(root * functions)
    g = root * g
    return _averages(Q.conj().T @ g, (np.abs(g) ** 2).sum(axis=0), dimensions, len(functions))


def trajectory_running_averages(
    psi: Any, values: Any, num_steps: int, dimensions: Sequence[int] | None = None
) -> RunningAverages:
    """Running averages along one trajectory: all its points are starts.

    Args:
        psi: (M, N), the functions at the first M points of the trajectory, for example delays of the observable.
        values: (T,), the observable along it, T at least M + J - 1.
        num_steps: J.
        dimensions: Numbers n of functions; None takes N alone.
    """
    functions, g = as_matrix("psi", psi), np.asarray(values)
    M = len(functions)
    if g.ndim != 1 or not np.isfinite(g).all() or num_steps < 1:
        raise ArgumentError(f"`values` must be finite numbers (T,) and `num_steps` positive; got shape {g.shape}.")
    if len(g) < M + num_steps - 1:
        raise DataError(
            f"{num_steps} steps from {M} points need {M + num_steps - 1} values; got {len(g)}.",
            hint="Evaluate the functions at fewer points, or take fewer steps.",
        )
    g = g[: M + num_steps - 1]
    Q = _basis(functions)
    # Every inner product of a function with the observable l steps later is a correlation.
    turned = np.fft.fft(g)[:, None] * np.fft.fft(Q, len(g), axis=0).conj()
    inner = np.fft.ifft(turned, axis=0)[:num_steps].T
    energy = np.concatenate([[0.0], np.cumsum(np.abs(g) ** 2)])
    return _averages(inner, energy[M:] - energy[: len(energy) - M], dimensions, M)


def _basis(rows: np.ndarray) -> np.ndarray:
    if len(rows) <= rows.shape[1]:
        raise DataError(
            f"{rows.shape[1]} functions hold everything at {len(rows)} points.",
            hint="Take fewer functions or more points.",
        )
    Q, R = np.linalg.qr(rows)
    size, norms = np.abs(np.diagonal(R)), np.linalg.norm(R, axis=0)
    if not (size > 10.0 * len(R) * _EPS * norms).all():
        raise DataError(
            f"function {int(np.argmin(size / np.where(norms > 0, norms, 1.0)))} depends on those before it at these "
            "points, so that it adds no dimension.",
            hint="Leave it out.",
        )
    return Q


def _averages(inner: np.ndarray, energy: np.ndarray, dimensions: Sequence[int] | None, count: int) -> RunningAverages:
    N, J = inner.shape
    n = np.array([N] if dimensions is None else list(dimensions), dtype=np.int64)
    if n.ndim != 1 or not len(n) or (n < 1).any() or (n > N).any():
        raise ArgumentError(f"`dimensions` must be between 1 and the number of functions, {N}; got {n.tolist()}.")
    if not (energy > 0).all():
        raise DataError(f"the observable is 0 at all points, {int(np.argmin(energy))} steps after them.")
    shares = np.cumsum(np.abs(inner) ** 2, axis=0)[n - 1] / energy
    averages = np.cumsum(shares, axis=1) / np.arange(1, J + 1)
    return RunningAverages(n, averages, np.abs(averages[:, -1] - averages[:, (J - 1) // 2]), n / count)
