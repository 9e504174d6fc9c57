r"""Slow, exact twins for linear SDEs: discretisation and joint laws in multiple precision.

They share no formula with `dynplat.process`: the discretisation goes through eigenvectors,
:math:`Q = V\,[\,C_{ij}\,(e^{(\lambda_i + \lambda_j)h} - 1)/(\lambda_i + \lambda_j)\,]\,V^\top` with
:math:`C = V^{-1} W V^{-\top}`, and likelihoods through the dense joint Gaussian of all observations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class DenseLaw(NamedTuple):
    """A Gaussian law of the states at several times.

    Attributes:
        mean: Means, (time, n).
        cov: Covariances between times, (time, n, time, n).
    """

    mean: np.ndarray
    cov: np.ndarray


def dense_discretise(
    A: np.ndarray, W: np.ndarray, gap: float, *, digits: int = 80
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return F, Q and G of `dynplat.process.discretise` for one diagonalisable A (n, n) and one gap, by eigenvectors.

    Args:
        A: Drift matrix, (n, n).
        W: Noise covariance per unit of time, (n, n).
        gap: Length of time.
        digits: Decimal digits of the calculation. A matrix with a repeated eigenvalue needs a relative perturbation of
            about 10^(-digits / 2) to be diagonalisable; it is applied and leaves the result right to double precision.
    """
    import mpmath

    n = len(A)
    with mpmath.workdps(digits):
        h = mpmath.mpf(float(gap))
        nudge = mpmath.mpf(10) ** (-digits // 2)
        drift = mpmath.matrix([[mpmath.mpf(float(A[i, j])) for j in range(n)] for i in range(n)])
        size = max(abs(value) for value in drift) or mpmath.mpf(1)
        for i in range(n):
            for j in range(n):
                drift[i, j] += size * nudge * mpmath.mpf((7 * i + 3 * j) % 11 + 1) / 11
        rates, V = mpmath.eig(drift)
        inverse = mpmath.inverse(V)
        core = inverse * mpmath.matrix([[mpmath.mpf(float(W[i, j])) for j in range(n)] for i in range(n)]) * inverse.T
        F = V * mpmath.diag([mpmath.exp(rate * h) for rate in rates]) * inverse
        G = V * mpmath.diag([_integral(rate, h) for rate in rates]) * inverse
        inner = mpmath.matrix(n, n)
        for i in range(n):
            for j in range(n):
                inner[i, j] = core[i, j] * _integral(rates[i] + rates[j], h)
        Q = V * inner * V.T

        def to_double(M: mpmath.matrix) -> np.ndarray:
            return np.array([[float(mpmath.re(M[i, j])) for j in range(n)] for i in range(n)])

        return to_double(F), to_double(Q), to_double(G)


def _integral(rate, h):
    import mpmath

    return h if rate == 0 else mpmath.expm1(rate * h) / rate


def dense_law(
    A: np.ndarray,
    W: np.ndarray,
    times: np.ndarray,
    m0: np.ndarray,
    P0: np.ndarray,
    drift: np.ndarray | None = None,
    *,
    digits: int = 80,
) -> DenseLaw:
    """Return the joint law of the states at non-decreasing `times`, started from N(m0, P0) at the first.

    Args:
        A: Drift matrix, (n, n).
        W: Noise covariance per unit of time, (n, n).
        times: Times, (time,).
        m0: Mean at the first time, (n,).
        P0: Covariance at the first time, (n, n).
        drift: Constant drift held from each time until the next, (time, n), or None.
        digits: See `dense_discretise`.
    """
    num, n = len(times), len(A)
    mean, cov = np.zeros((num, n)), np.zeros((num, n, num, n))
    mean[0], cov[0, :, 0] = m0, P0
    cache: dict[float, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for t in range(1, num):
        gap = float(times[t] - times[t - 1])
        if gap not in cache:
            cache[gap] = dense_discretise(A, W, gap, digits=digits)
        F, Q, G = cache[gap]
        mean[t] = F @ mean[t - 1] + (0.0 if drift is None else G @ drift[t - 1])
        cov[t, :, t] = F @ cov[t - 1, :, t - 1] @ F.T + Q
        for s in range(t):
            cov[t, :, s] = F @ cov[t - 1, :, s]
            cov[s, :, t] = cov[t, :, s].T
    return DenseLaw(mean, cov)


def observe(law: DenseLaw, H: np.ndarray, R: np.ndarray, d: np.ndarray) -> DenseLaw:
    """Return the law of observations H x + d + N(0, R) at the same times, with `d` (channel,) or (time, channel)."""
    num = len(law.mean)
    mean = law.mean @ H.T + d
    cov = np.einsum("ci,tisj,dj->tcsd", H, law.cov, H)
    for t in range(num):
        cov[t, :, t] += R
    return DenseLaw(mean, cov)


def dense_log_prob(law: DenseLaw, values: np.ndarray, mask: np.ndarray) -> float:
    """Log density of the cells of `values` (time, channel) where `mask` is True."""
    keep = np.asarray(mask).reshape(-1)
    residual = (values - law.mean).reshape(-1)[keep]
    cov = law.cov.reshape(keep.size, keep.size)[np.ix_(keep, keep)]
    chol = np.linalg.cholesky(cov)
    white = np.linalg.solve(chol, residual)
    return float(-0.5 * white @ white - np.log(np.diag(chol)).sum() - 0.5 * keep.sum() * np.log(2 * np.pi))


def dense_condition(
    law: DenseLaw, H: np.ndarray, R: np.ndarray, d: np.ndarray, values: np.ndarray, mask: np.ndarray
) -> DenseLaw:
    """Return the law of the states at all times of `law` given the observed cells of `values` (time, channel)."""
    num, n = law.mean.shape
    seen = observe(law, H, R, d)
    keep = np.asarray(mask).reshape(-1)
    cross = np.einsum("tisj,cj->tisc", law.cov, H).reshape(num * n, keep.size)[:, keep]
    cov = seen.cov.reshape(keep.size, keep.size)[np.ix_(keep, keep)]
    gain = np.linalg.solve(cov, cross.T).T
    mean = law.mean.reshape(-1) + gain @ (values - seen.mean).reshape(-1)[keep]
    left = law.cov.reshape(num * n, num * n) - gain @ cross.T
    return DenseLaw(mean.reshape(num, n), left.reshape(num, n, num, n))
