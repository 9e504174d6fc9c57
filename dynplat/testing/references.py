r"""Slow, dense twins of fast forms: the joint Gaussian of a whole series, with nothing recursive about its likelihood.

Numbers are NumPy's extended precision by default and mpmath numbers of any length on request, so that a disagreement is
the fast form's. Nothing here imports torch or JAX.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dynplat.errors import ArgumentError


class DenseGaussian(NamedTuple):
    """A linear-Gaussian chain given one series, by dense algebra, rounded to float64 at the end.

    Attributes:
        log_prob: Log density of all observed cells.
        log_prob_steps: Terms log p(y_t | y_<t), (T,).
        means: E[x_t | y], (T, n).
        covs: Cov[x_t | y], (T, n, n).
        joint_cov: Covariance of all states given y, (T, n, T, n).
        smallest_pivot: Smallest conditional variance of an observed cell given those before it, as a part of its
            marginal variance: rounding in a float64 recursion is amplified by about its inverse. 1 with no cell.
    """

    log_prob: float
    log_prob_steps: np.ndarray
    means: np.ndarray
    covs: np.ndarray
    joint_cov: np.ndarray
    smallest_pivot: float


def dense_linear_gaussian(
    F: np.ndarray,
    Q: np.ndarray,
    H: np.ndarray,
    R: np.ndarray,
    m0: np.ndarray,
    P0: np.ndarray,
    c: np.ndarray | None = None,
    d: np.ndarray | None = None,
    *,
    values: np.ndarray,
    mask: np.ndarray,
    B: np.ndarray | None = None,
    D: np.ndarray | None = None,
    inputs: np.ndarray | None = None,
    diffuse: np.ndarray | None = None,
    digits: int | None = None,
) -> DenseGaussian:
    r"""Return likelihood and conditional moments of one series from the joint covariance of all its cells.

    The letters are those of `dynplat.process.LinearGaussian`, for one series: `F (T or 1, n, n)`, `values (T, p)`. All
    states are stacked, x = mean + noise with a (T n, T n) covariance; the observed cells are H x + d + noise, in time
    order; their Cholesky factor gives the terms log p(y_t | y_<t), and regression gives the states.

    A `diffuse` start is a large but finite variance kappa = 10^(digits / 3) along its directions, and a cell whose
    conditional variance is of the order of kappa counts -1/2 log(variance / kappa), its limit.

    Args:
        F: Transitions; that of the first row is not used.
        Q: Transition noise covariances.
        H: Observation matrices.
        R: Observation noise covariances.
        m0: Mean of the state at the first row, (n,).
        P0: Covariance of the state at the first row, (n, n).
        c: Transition offsets.
        d: Observation offsets.
        values: Observations, (T, p).
        mask: True = observed, (T, p).
        B: Effect of the input of the row before on the state.
        D: Effect of the input on the observation.
        inputs: Known inputs, (T, k).
        diffuse: Directions with a flat start, (n, q).
        digits: Decimal digits of mpmath numbers; None for NumPy's extended precision.

    Raises:
        ArgumentError: The law has no density, or `diffuse` without `digits`.
    """
    if diffuse is not None and digits is None:
        raise ArgumentError("`diffuse` needs `digits`: its variance is too large for fixed precision. Try 120.")
    number, sqrt, log = _arithmetic(digits)
    size, channels = values.shape
    n = F.shape[-1]

    def at(array: np.ndarray, t: int) -> np.ndarray:
        return number(array[0] if array.shape[0] == 1 else array[t])

    two_pi = 2 * number(np.array(0.0)).item() + 2 * _pi(digits)
    kappa = None
    start = number(P0)
    if diffuse is not None and digits is not None:
        kappa = number(np.array(10.0)).item() ** (digits // 3)
        A = number(diffuse)
        start = start + kappa * (A @ A.T)

    mean = np.empty((size, n), dtype=start.dtype)
    cov = np.empty((size, n, size, n), dtype=start.dtype)
    mean[0] = number(m0)
    cov[0, :, 0, :] = start
    for t in range(1, size):
        Ft = at(F, t)
        mean[t] = Ft @ mean[t - 1]
        if c is not None:
            mean[t] = mean[t] + at(c, t)
        if B is not None and inputs is not None:
            mean[t] = mean[t] + at(B, t) @ number(inputs[t - 1])
        across = np.stack([Ft @ cov[t - 1, :, s, :] for s in range(t)])
        cov[t, :, :t, :] = np.moveaxis(across, 0, 1)
        cov[:t, :, t, :] = np.moveaxis(across, 1, 2)
        cov[t, :, t, :] = Ft @ cov[t - 1, :, t - 1, :] @ Ft.T + at(Q, t)

    cells = [(t, i) for t in range(size) for i in range(channels) if mask[t, i]]
    rows_of = [t for t, _ in cells]
    flat_mean, flat_cov = mean.reshape(size * n), cov.reshape(size * n, size * n)
    steps = np.zeros(size, dtype=start.dtype) + number(np.array(0.0)).item()
    smallest = 1.0
    if cells:
        loading = np.zeros((len(cells), size * n), dtype=start.dtype) + number(np.array(0.0)).item()
        residual = np.empty(len(cells), dtype=start.dtype)
        for j, (t, i) in enumerate(cells):
            loading[j, t * n : (t + 1) * n] = at(H, t)[i]
            offset = number(values[t, i : i + 1])[0]
            if d is not None:
                offset = offset - at(d, t)[i]
            if D is not None and inputs is not None:
                offset = offset - at(D, t)[i] @ number(inputs[t])
            residual[j] = offset
        across = flat_cov @ loading.T
        joint = loading @ across
        for j, (t, i) in enumerate(cells):
            for k, (s, l) in enumerate(cells):
                if s == t:
                    joint[j, k] = joint[j, k] + at(R, t)[i, l]
        residual = residual - loading @ flat_mean
        white = np.concatenate([residual[:, None], across.T], axis=1)
        roots, white, smallest = _eliminate(joint, white, sqrt)
        for j, t in enumerate(rows_of):
            pivot = roots[j] * roots[j]
            if kappa is not None and pivot > sqrt(kappa):
                steps[t] = steps[t] - log(pivot / kappa) / 2
            else:
                steps[t] = steps[t] - (log(two_pi * pivot) + white[j, 0] * white[j, 0]) / 2
        flat_mean = flat_mean + white[:, 1:].T @ white[:, 0]
        flat_cov = flat_cov - white[:, 1:].T @ white[:, 1:]
    joint_cov = flat_cov.astype(float).reshape(size, n, size, n)
    return DenseGaussian(
        log_prob=float(steps.sum()),
        log_prob_steps=steps.astype(float),
        means=flat_mean.astype(float).reshape(size, n),
        covs=np.stack([joint_cov[t, :, t, :] for t in range(size)]),
        joint_cov=joint_cov,
        smallest_pivot=float(smallest),
    )


def _eliminate(
    joint: np.ndarray, right: np.ndarray, sqrt: Callable[[Any], Any]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Diagonal of the Cholesky factor L of `joint`, L^{-1} right, and the smallest pivot over its diagonal element."""
    size = joint.shape[0]
    whole = np.concatenate([joint, right], axis=1)
    roots = np.empty(size, dtype=joint.dtype)
    smallest = 1.0
    for j in range(size):
        pivot = whole[j, j]
        part = float(pivot / joint[j, j]) if joint[j, j] > 0 else 0.0
        smallest = min(smallest, part)
        if not pivot > 0:
            raise ArgumentError(f"the law has no density: observed cell {j} is known from those before it.")
        roots[j] = sqrt(pivot)
        whole[j, j:] = whole[j, j:] / roots[j]
        whole[j + 1 :, j:] = whole[j + 1 :, j:] - whole[j, j + 1 : size, None] * whole[j, None, j:]
    return roots, whole[:, size:], smallest


def _arithmetic(digits: int | None) -> tuple[Callable[[Any], np.ndarray], Callable[[Any], Any], Callable[[Any], Any]]:
    """Conversion of arrays, square root and logarithm in the asked precision."""
    if digits is None:
        return (lambda array: np.asarray(array, dtype=np.longdouble)), np.sqrt, np.log
    import mpmath

    context = mpmath.mp.clone()
    context.dps = digits

    def number(array: Any) -> np.ndarray:
        array = np.asarray(array, dtype=float)
        out = np.empty(array.shape, dtype=object)
        for index in np.ndindex(*array.shape):
            out[index] = context.mpf(float(array[index]))
        return out

    return number, context.sqrt, context.log


def _pi(digits: int | None) -> Any:
    if digits is None:
        return np.longdouble("3.14159265358979323846264338327950288")
    import mpmath

    context = mpmath.mp.clone()
    context.dps = digits
    return +context.pi
