r"""A state given the state after it, in compiled code: the elements of the smoother and of backward sampling.

With a filtered covariance P and the step x' = F x + N(0, Q),

.. math::
    P' = F P F^\top + Q, \qquad E = P F^\top P'^{-1}, \qquad L = (I - E F) P (I - E F)^\top + E Q E^\top,

x given x' has the covariance L, a sum of squares whatever E is. P' may be singular: coordinates whose pivot is rounding
are combinations of those before them and left out of the regression, as in `dynplat.semigroup.smoothing`.

**Adjoint.** L is stationary in E, so with the cotangents Ebar and Lbar (symmetric), G = Ebar P'^{-1} and
Y = G - 2 Lbar E,

.. math::
    \bar Q = E^\top \bar L E - \mathrm{sym}(E^\top G), \quad
    \bar P = \bar L + F^\top \bar Q F + \mathrm{sym}(Y F), \quad
    \bar F = (2 \bar Q F + Y^\top) P .
"""

from __future__ import annotations

import numpy as np

from dynplat.scan.kernels.compiling import compiled
from dynplat.scan.kernels.small import congruence, multiply, symmetrise

#: A pivot counts as zero below this many times the rounding that reaches it (as in `dynplat.semigroup.kalman`).
_SINGULAR = 16.0


@compiled
def regress(F, Q, P, rounding, E, inverse, L, A, B):
    """Put the regression on the state after it into E and L, and the inverse factor of P' into `inverse`.

    Args:
        F: Transition, (n, n).
        Q: Its noise covariance.
        P: Filtered covariance.
        rounding: Rounding that reaches the variances of P', (n,).
        E: Regression.
        inverse: Inverse Cholesky factor of P', rows and columns of coordinates that are left out 0.
        L: Covariance given the state after it.
        A: Work space.
        B: Work space.
    """
    n = F.shape[0]
    multiply(F, P, A)
    for i in range(n):
        for j in range(i + 1):
            s = (Q[i, j] + Q[j, i]) / 2
            for k in range(n):
                s += A[i, k] * F[j, k]
            L[i, j] = s
    factor_semidefinite(L, rounding, L)
    for i in range(n):
        inverse[i, i] = 1 / L[i, i] if L[i, i] > 0 else P[0, 0] * 0
        for j in range(i):
            s = P[0, 0] * 0
            for k in range(j, i):
                s += L[i, k] * inverse[k, j]
            inverse[i, j] = -s * inverse[i, i]
            inverse[j, i] = 0.0
    # E^T = P'^{-1} F P
    for i in range(n):
        for j in range(n):
            B[i, j] = 0.0
        for k in range(i + 1):
            f = inverse[i, k]
            for j in range(n):
                B[i, j] += f * A[k, j]
    for i in range(n):
        for j in range(n):
            A[i, j] = 0.0
        for k in range(i, n):
            f = inverse[k, i]
            for j in range(n):
                A[i, j] += f * B[k, j]
    for i in range(n):
        for j in range(n):
            E[j, i] = A[i, j]
    multiply(E, F, B)
    for i in range(n):
        for j in range(n):
            B[i, j] = -B[i, j]
        B[i, i] += 1.0
    congruence(B, P, L, A)
    congruence(E, Q, B, A)
    for i in range(n):
        for j in range(n):
            L[i, j] += B[i, j]
    symmetrise(L)


@compiled
def pull_regression(F, P, E, inverse, dE, dL, dF, dQ, dP, work):
    """Put the gradients of a regression with the cotangents dE and dL (symmetric) into dF, dQ and dP."""
    n = F.shape[0]
    Y, G = work[0], work[1]
    for i in range(n):
        for a in range(n):
            s = P[0, 0] * 0
            for k in range(a + 1):
                s += dE[i, k] * inverse[a, k]
            Y[i, a] = s
    for i in range(n):
        for k in range(n):
            G[i, k] = 0.0
        for a in range(n):
            f = Y[i, a]
            for k in range(a + 1):
                G[i, k] += f * inverse[a, k]
    multiply(dL, E, Y)
    for i in range(n):
        for j in range(n):
            dQ[i, j] = 0.0
    for k in range(n):
        for i in range(n):
            f = E[k, i]
            for j in range(n):
                dQ[i, j] += f * (Y[k, j] - G[k, j])
    symmetrise(dQ)
    for i in range(n):
        for j in range(n):
            Y[i, j] = G[i, j] - 2 * Y[i, j]
    BF = work[2]
    multiply(dQ, F, BF)
    multiply(Y, F, dP)
    for k in range(n):
        for i in range(n):
            f = F[k, i]
            for j in range(n):
                dP[i, j] += f * BF[k, j]
    symmetrise(dP)
    for i in range(n):
        for j in range(n):
            dP[i, j] += dL[i, j]
            G[i, j] = 2 * BF[i, j] + Y[j, i]
    multiply(G, P, dF)


@compiled
def factor_semidefinite(cov, rounding, factor):
    """Put a lower Cholesky factor of a semi-definite matrix into `factor`; a pivot of rounding gives a zero column.

    Only the lower triangle of `cov` is read, and the upper one of `factor` not written; they may be one array.
    """
    n = cov.shape[0]
    for j in range(n):
        pivot = cov[j, j]
        for k in range(j):
            pivot -= factor[j, k] * factor[j, k]
        keep = pivot > _SINGULAR * rounding[j]
        size = np.sqrt(pivot) if keep else pivot * 0
        over = 1 / size if keep else size
        factor[j, j] = size
        for i in range(j + 1, n):
            s = cov[i, j]
            for k in range(j):
                s -= factor[i, k] * factor[j, k]
            factor[i, j] = s * over


@compiled
def pull_factor(factor, dfactor, dcov):
    """Put the symmetric gradient of a semi-definite matrix into `dcov`, given that of its factor's lower triangle."""
    n = factor.shape[0]
    column = np.empty(n, factor.dtype)
    for j in range(n - 1, -1, -1):
        pivot = factor[j, j]
        for i in range(j, n):
            s = dfactor[i, j]
            for k in range(j + 1, i + 1):
                s -= dcov[i, k] * factor[k, j]
            for k in range(i, n):
                if k > j and i > j:
                    s -= dcov[k, i] * factor[k, j]
            column[i] = s
        if pivot > 0:
            over = 1 / pivot
            s = column[j]
            for i in range(j + 1, n):
                dcov[i, j] = column[i] * over
                s -= column[i] * factor[i, j] * over
            dcov[j, j] = s * over / 2
        else:
            for i in range(j, n):
                dcov[i, j] = 0.0
    for i in range(n):
        for j in range(i):
            dcov[i, j] /= 2
            dcov[j, i] = dcov[i, j]
