r"""Compiled smoother of linear-Gaussian chains, from filtered moments, and its adjoint.

With the regressions E_t and covariances L_t of `regression`, from the last row to the first,

.. math::
    \hat m_t = m_t + E_t (\hat m_{t+1} - F_{t+1} m_t - c_{t+1}), \quad
    \hat P_t = E_t \hat P_{t+1} E_t^\top + L_t, \quad
    \operatorname{Cov}[x_t, x_{t+1} \mid y] = E_t \hat P_{t+1} :

a sum of squares, so smoothed covariances are positive semi-definite whatever the rounding, in single precision too.
Where the filter's covariances stand still so do E and L, and then the smoothed covariances soon do, going back in time.

Arrays stand in groups and members as in `kalman`: F, Q (G, T, n, n); c, means (G, T, n, M); covs (G, T, n, n).

**Adjoint.** Reverse mode by hand, first row to last: with the adjoints a of the smoothed mean, A of the smoothed
covariance and X of the cross covariance,

.. math::
    \bar E = a\, d^\top + (2 A E + X) \hat P_{t+1}, \quad \bar L = A, \quad a_{t+1} = E^\top a, \quad
    A_{t+1} = E^\top A E + \mathrm{sym}(E^\top X),

d being the difference that E multiplies above; `regression` takes Ebar and Lbar to F, Q and P.

Source: Rauch, Tung and Striebel (1965), AIAA Journal 3, 1445-1450, in the form of `dynplat.semigroup.smoothing`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dynplat.scan.kernels.compiling import compiled
from dynplat.scan.kernels.kalman_forward import SETTLED, rounding_stays_small, stands_still
from dynplat.scan.kernels.kalman_moments import PREDICTED
from dynplat.scan.kernels.kernel import Kernel, Shape, Spec
from dynplat.scan.kernels.regression import pull_regression, regress
from dynplat.scan.kernels.small import multiply, of, symmetrise


@compiled
def forward(
    F, Q, c, means, covs, rounding, status, smoothed_means, smoothed_covs, cross_covs, regressions, inverses, shared
):  # fmt: skip
    """Smooth all groups.

    Inputs: F, Q, c of the chain; what `kalman_moments` gave.
    Outputs:
        smoothed_means: (G, T, n, M).
        smoothed_covs: (G, T, n, n).
        cross_covs: Cov[x_t, x_{t+1} | y], (G, T - 1, n, n).
        regressions: E, (G, T - 1 or 1, n, n); a longer axis keeps all rows up to the one where they stand still.
        inverses: inverse factors of predicted covariances; likewise.
        shared: number of rows that share one smoothed covariance, (G, 1).
    """
    for g in range(smoothed_means.shape[0]):
        _forward_group(
            g, F, Q, c, means, covs, rounding, status,
            smoothed_means, smoothed_covs, cross_covs, regressions, inverses, shared,
        )  # fmt: skip


@compiled
def _forward_group(
    g, F, Q, c, means, covs, rounding, status,
    smoothed_means, smoothed_covs, cross_covs, regressions, inverses, shared,
):  # fmt: skip
    T, n, M = smoothed_means.shape[1], smoothed_means.shape[2], smoothed_means.shape[3]
    real = means.dtype
    eps = real.type(np.finfo(real).eps)
    gF, gQ, gc = of(g, F.shape[0]), of(g, Q.shape[0]), of(g, c.shape[0])
    gm, gP, gs = of(g, means.shape[0]), of(g, covs.shape[0]), of(g, status.shape[0])
    settled = status[gs, SETTLED]
    L = np.empty((n, n), real)
    new = np.empty((n, n), real)
    A = np.empty((n, n), real)
    B = np.empty((n, n), real)
    beyond = np.empty((n, M), real)
    none = np.empty((0, n), real)
    quiet = 0
    still = False
    shared[g, 0] = 0
    smoothed_means[g, T - 1] = means[gm, T - 1]
    smoothed_covs[g, T - 1] = covs[gP, T - 1]
    for t in range(T - 2, -1, -1):
        at = min(t, settled) if regressions.shape[1] > 1 else 0
        tF, tQ, tc = of(t + 1, F.shape[1]), of(t + 1, Q.shape[1]), of(t + 1, c.shape[1])
        E = regressions[g, at]
        if t < settled or t == T - 2:
            regress(F[gF, tF], Q[gQ, tQ], covs[gP, t], rounding[gP, t + 1, PREDICTED], E, inverses[g, at], L, A, B)
        # What the row after says beyond its prediction.
        for i in range(n):
            for s in range(M):
                beyond[i, s] = smoothed_means[g, t + 1, i, s] - c[gc, tc, i, of(s, c.shape[3])]
            for k in range(n):
                f = F[gF, tF, i, k]
                for s in range(M):
                    beyond[i, s] -= f * means[gm, t, k, s]
        for i in range(n):
            for s in range(M):
                smoothed_means[g, t, i, s] = means[gm, t, i, s]
            for k in range(n):
                f = E[i, k]
                for s in range(M):
                    smoothed_means[g, t, i, s] += f * beyond[k, s]
        if still and t >= settled:
            smoothed_covs[g, t] = smoothed_covs[g, t + 1]
            cross_covs[g, t] = cross_covs[g, t + 1]
            shared[g, 0] += 1
            continue
        after = smoothed_covs[g, t + 1]
        across = cross_covs[g, t]
        multiply(E, after, across)
        for i in range(n):
            for j in range(n):
                f = L[i, j]
                for k in range(n):
                    f += across[i, k] * E[j, k]
                new[i, j] = f
        symmetrise(new)
        if t >= settled:
            quiet = quiet + 1 if stands_still(n, new, after, eps) else 0
            if quiet == 3:
                still = rounding_stays_small(E, none, none, 0, new, eps)
        smoothed_covs[g, t] = new


@compiled
def backward(
    F, Q, c, means, covs, rounding, status, smoothed_means, smoothed_covs, cross_covs, regressions, inverses, shared,
    of_means, of_covs, of_cross, wanted,
    dF, dQ, dc, dmeans, dcovs,
):  # fmt: skip
    """Add up the gradients of all groups."""
    dF[:], dQ[:], dc[:], dmeans[:], dcovs[:] = 0.0, 0.0, 0.0, 0.0, 0.0
    for g in range(smoothed_means.shape[0]):
        _backward_group(
            g, F, c, means, covs, status, smoothed_means, smoothed_covs, regressions, inverses,
            of_means, of_covs, of_cross, wanted, dF, dQ, dc, dmeans, dcovs,
        )  # fmt: skip


@compiled
def _backward_group(
    g, F, c, means, covs, status, smoothed_means, smoothed_covs, regressions, inverses,
    of_means, of_covs, of_cross, wanted, dF, dQ, dc, dmeans, dcovs,
):  # fmt: skip
    T, n, M = smoothed_means.shape[1], smoothed_means.shape[2], smoothed_means.shape[3]
    real = means.dtype
    gF, gc = of(g, F.shape[0]), of(g, c.shape[0])
    gm, gP, gs = of(g, means.shape[0]), of(g, covs.shape[0]), of(g, status.shape[0])
    want_F, want_Q, want_c = wanted[0, 0] != 0, wanted[0, 1] != 0, wanted[0, 2] != 0
    want_means, want_covs = wanted[0, 3] != 0, wanted[0, 4] != 0
    hF, hQ, hc = of(g, dF.shape[0]), of(g, dQ.shape[0]), of(g, dc.shape[0])
    hm, hP = of(g, dmeans.shape[0]), of(g, dcovs.shape[0])
    settled = status[gs, SETTLED]
    adjoint = np.zeros((n, M), real)
    moved = np.empty((n, M), real)
    beyond = np.empty((n, M), real)
    Lambda = np.zeros((n, n), real)
    X = np.empty((n, n), real)
    Ebar = np.empty((n, n), real)
    A = np.empty((n, n), real)
    rowF = np.empty((n, n), real)
    rowQ = np.empty((n, n), real)
    rowP = np.empty((n, n), real)
    work = np.empty((3, n, n), real)
    want_matrices = want_F or want_Q or want_covs
    for t in range(T):
        for i in range(n):
            for s in range(M):
                adjoint[i, s] += of_means[g, t, i, s]
            for j in range(n):
                Lambda[i, j] += (of_covs[g, t, i, j] + of_covs[g, t, j, i]) / 2
        if want_means:
            for i in range(n):
                for s in range(M):
                    dmeans[hm, t, i, s] += adjoint[i, s]
        if t == T - 1:
            if want_covs:
                for i in range(n):
                    for j in range(n):
                        dcovs[hP, t, i, j] += Lambda[i, j]
            break
        tF, tc = of(t + 1, F.shape[1]), of(t + 1, c.shape[1])
        at = min(t, settled)
        E = regressions[g, at]
        if want_matrices:
            for i in range(n):
                for s in range(M):
                    beyond[i, s] = smoothed_means[g, t + 1, i, s] - c[gc, tc, i, of(s, c.shape[3])]
                for k in range(n):
                    f = F[gF, tF, i, k]
                    for s in range(M):
                        beyond[i, s] -= f * means[gm, t, k, s]
            multiply(Lambda, E, A)
            for i in range(n):
                for j in range(n):
                    X[i, j] = of_cross[g, t, i, j]
                    A[i, j] = 2 * A[i, j] + X[i, j]
            multiply(A, smoothed_covs[g, t + 1], Ebar)
            for i in range(n):
                for k in range(n):
                    f = real.type(0.0)
                    for s in range(M):
                        f += adjoint[i, s] * beyond[k, s]
                    Ebar[i, k] += f
            pull_regression(F[gF, tF], covs[gP, t], E, inverses[g, at], Ebar, Lambda, rowF, rowQ, rowP, work)
            # E^T Lambda E + sym(E^T X), by way of E^T (Lambda E + X).
            for i in range(n):
                for j in range(n):
                    A[i, j] = (A[i, j] + X[i, j]) / 2
                    Lambda[i, j] = 0.0
            for k in range(n):
                for i in range(n):
                    f = E[k, i]
                    for j in range(n):
                        Lambda[i, j] += f * A[k, j]
            symmetrise(Lambda)
        # Means.
        moved[:, :] = 0.0
        for k in range(n):
            for i in range(n):
                f = E[k, i]
                for s in range(M):
                    moved[i, s] += f * adjoint[k, s]
        adjoint[:, :] = moved
        pull_prediction(
            F[gF, tF], means[gm, t], adjoint, rowF, want_F, want_c, want_means,
            dc[hc, of(t + 1, dc.shape[1])] if want_c else moved,
            dmeans[hm, t] if want_means else moved,
        )  # fmt: skip
        if want_F:
            add(dF[hF, of(t + 1, dF.shape[1])], rowF)
        if want_Q:
            add(dQ[hQ, of(t + 1, dQ.shape[1])], rowQ)
        if want_covs:
            add(dcovs[hP, t], rowP)


@compiled
def pull_prediction(F, mean, adjoint, rowF, want_F, want_c, want_means, dc, dmean):
    """Subtract from the gradients of F, c and m what the prediction F m + c with this adjoint adds to them."""
    n, M = adjoint.shape
    if want_F:
        for i in range(n):
            for k in range(n):
                f = adjoint[0, 0] * 0 if M > 0 else rowF[i, k] * 0
                for s in range(M):
                    f += adjoint[i, s] * mean[k, s]
                rowF[i, k] -= f
    if want_c:
        for i in range(n):
            for s in range(M):
                dc[i, of(s, dc.shape[1])] -= adjoint[i, s]
    if want_means:
        for k in range(n):
            for i in range(n):
                f = F[k, i]
                for s in range(M):
                    dmean[i, s] -= f * adjoint[k, s]


@compiled
def add(total, part):
    """Add a square matrix to a sum."""
    for i in range(part.shape[0]):
        for j in range(part.shape[0]):
            total[i, j] += part[i, j]


def _shapes(inputs: Sequence[Shape], keep: bool) -> tuple[Shape, ...]:
    _, rows, n, members = inputs[3]
    groups = max(shape[0] for shape in inputs)
    kept = max(rows - 1, 1) if keep else 1
    return (
        (groups, rows, n, members),
        (groups, rows, n, n),
        (groups, rows - 1, n, n),
        (groups, kept, n, n),
        (groups, kept, n, n),
        (groups, 1),
    )


SMOOTHER = Kernel(
    name="smoother",
    inputs=(
        Spec("F", 4, differentiable=True),
        Spec("Q", 4, differentiable=True),
        Spec("c", 4, differentiable=True),
        Spec("means", 4, differentiable=True),
        Spec("covs", 4, differentiable=True),
        Spec("rounding", 4),
        Spec("status", 2, "count"),
    ),
    outputs=(
        Spec("smoothed_means", 4),
        Spec("smoothed_covs", 4),
        Spec("cross_covs", 4),
        Spec("regressions", 4),
        Spec("inverses", 4),
        Spec("shared", 2, "count"),
    ),
    num_values=3,
    shapes=_shapes,
    forward=forward,
    backward=backward,
)
