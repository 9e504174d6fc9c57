r"""Slow, exact twins for linear SDEs: discretisation and joint laws in multiple precision.

They share no formula with `dynplat.process`: the discretisation is the block exponential (C. Van Loan, 1978) in enough
digits, or goes through eigenvectors, :math:`Q = V\,[\,C_{ij}\,(e^{(\lambda_i + \lambda_j)h} - 1) / (\lambda_i +
\lambda_j)\,]\,V^\top` with :math:`C = V^{-1} W V^{-\top}`; likelihoods come from the dense joint Gaussian of all
observations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

#: Norm of A times gap from which the block exponential would need too many digits.
_LONG = 300.0


class DenseLaw(NamedTuple):
    """A Gaussian law of the states at several times.

    Attributes:
        mean: Means, (time, n).
        cov: Covariances between times, (time, n, time, n).
    """

    mean: np.ndarray
    cov: np.ndarray


def dense_discretise(
    A: np.ndarray, W: np.ndarray, gap: float, *, digits: int = 60
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return F, Q and G of `dynplat.process.discretise` for one A (n, n) and one gap.

    A short gap goes through the block exponential with as many more digits as it loses, a long one through
    eigenvectors, for which A must be diagonalisable.

    Args:
        A: Drift matrix, (n, n).
        W: Noise covariance per unit of time, (n, n).
        gap: Length of time.
        digits: Decimal digits of the calculation.
    """
    import mpmath

    n = len(A)
    lost = float(np.abs(A).sum(axis=0).max() * gap)
    with mpmath.workdps(digits + int(min(lost, _LONG))):
        h = mpmath.mpf(float(gap))
        drift, noise = (mpmath.matrix(np.asarray(M, dtype=float).tolist()) for M in (A, W))
        parts = _by_block_exponential(drift, noise, h) if lost < _LONG else _by_eigenvectors(drift, noise, h)
        F, Q, G = (np.array([[float(mpmath.re(M[i, j])) for j in range(n)] for i in range(n)]) for M in parts)
    return F, Q, G


def _by_block_exponential(A, W, h):
    import mpmath

    n = A.rows
    block = mpmath.zeros(3 * n, 3 * n)
    for i in range(n):
        block[i, 2 * n + i] = 1
        for j in range(n):
            block[i, j], block[i, n + j], block[n + i, n + j] = A[i, j], W[i, j], -A[j, i]
    power = mpmath.expm(block * h)
    F = power[:n, :n]
    return F, power[:n, n : 2 * n] * F.T, power[:n, 2 * n :]


def _by_eigenvectors(A, W, h):
    import mpmath

    n = A.rows
    rates, V = mpmath.eig(A)
    inverse = mpmath.inverse(V)
    core = inverse * W * inverse.T
    F = V * mpmath.diag([mpmath.exp(rate * h) for rate in rates]) * inverse
    G = V * mpmath.diag([_integral(rate, h) for rate in rates]) * inverse
    inner = mpmath.matrix(n, n)
    for i in range(n):
        for j in range(n):
            inner[i, j] = core[i, j] * _integral(rates[i] + rates[j], h)
    return F, V * inner * V.T, G


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
    digits: int = 60,
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
