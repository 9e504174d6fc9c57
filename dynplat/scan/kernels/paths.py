r"""Compiled joint draws of the states of a linear-Gaussian chain given its data, and their adjoint.

Backward sampling with the regressions E_t and covariances L_t of `regression`, C_t C_t^T = L_t, from the last row,
whose law is the filtered one, to the first:

.. math::
    x_t = m_t + E_t (x_{t+1} - F_{t+1} m_t - c_{t+1}) + C_t z_t .

C is a Cholesky factor of a semi-definite matrix: parts of L that are rounding of the filtered covariance draw nothing.

Arrays stand in groups and members as in `kalman`; paths and their noise z, (G, S, T, n), have all draws of all members
on one axis, the members of a draw next to each other, so that each path is contiguous.

**Adjoint.** Reverse mode by hand, first row to last: with the adjoint a of x, Ebar is the sum over paths of
a (x_{t+1} - F m - c)^T, Cbar that of a z^T, and a moves on as E^T a; `regression` takes both to F, Q and P.

Source: Frühwirth-Schnatter (1994), Journal of Time Series Analysis 15, 183-202.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dynplat.scan.kernels.compiling import compiled
from dynplat.scan.kernels.kalman_forward import SETTLED
from dynplat.scan.kernels.kalman_moments import FILTERED, PREDICTED
from dynplat.scan.kernels.kernel import Kernel, Shape, Spec
from dynplat.scan.kernels.regression import factor_semidefinite, pull_factor, pull_regression, regress
from dynplat.scan.kernels.small import of
from dynplat.scan.kernels.smoother import add, pull_prediction

#: Paths that are followed at once, and rows through which they are followed before others are: both stay in a cache.
_BLOCK, _ROWS = 16, 32


@compiled
def forward(F, Q, c, means, covs, rounding, status, noise, paths, regressions, inverses, factors, drawn):
    """Draw the paths of all groups.

    Inputs: F, Q, c of the chain; what `kalman_moments` gave; `noise`, standard normal numbers, (G, S, T, n).
    Outputs:
        paths: (G, S, T, n).
        regressions: E, (G, T or 1, n, n); a longer axis keeps all rows up to the one where they stand still.
        inverses: inverse factors of predicted covariances; likewise.
        factors: C, (G, T or 1, n, n); likewise, and the last row's.
        drawn: number of coordinates of all rows that are drawn, not known from the row after, (G, 1).
    """
    for g in range(paths.shape[0]):
        _forward_group(g, F, Q, c, means, covs, rounding, status, noise, paths, regressions, inverses, factors, drawn)


@compiled
def _forward_group(g, F, Q, c, means, covs, rounding, status, noise, paths, regressions, inverses, factors, drawn):
    S, T, n = paths.shape[1], paths.shape[2], paths.shape[3]
    M = means.shape[3]
    real = means.dtype
    gF, gQ, gc, gz = of(g, F.shape[0]), of(g, Q.shape[0]), of(g, c.shape[0]), of(g, noise.shape[0])
    gm, gP, gs = of(g, means.shape[0]), of(g, covs.shape[0]), of(g, status.shape[0])
    settled = status[gs, SETTLED]
    L = np.empty((n, n), real)
    A = np.empty((n, n), real)
    B = np.empty((n, n), real)
    rows = min(T, _ROWS)
    E = np.empty((rows, n, n), real)
    C = np.empty((rows, n, n), real)
    inverse = np.empty((n, n), real)
    predicted = np.empty((rows, n, M), real)
    member = np.empty(_BLOCK, np.int64)
    z = np.zeros((n, _BLOCK), real)
    beyond = np.zeros((n, _BLOCK), real)
    x = np.zeros((n, _BLOCK), real)
    keep = regressions.shape[1] > 1 or T == 1
    drawn[g, 0] = 0
    stop = T
    while stop > 0:
        start = max(stop - rows, 0)
        # The laws of some rows given the row after.
        for t in range(stop - 1, start - 1, -1):
            r = t - start
            if t == T - 1:
                factor_semidefinite(covs[gP, t], rounding[gP, t, FILTERED], C[r])
            else:
                tF, tQ, tc = of(t + 1, F.shape[1]), of(t + 1, Q.shape[1]), of(t + 1, c.shape[1])
                if t < settled or t == T - 2:
                    regress(
                        F[gF, tF], Q[gQ, tQ], covs[gP, t], rounding[gP, t + 1, PREDICTED], E[r], inverse, L, A, B
                    )  # fmt: skip
                    factor_semidefinite(L, rounding[gP, t, FILTERED], C[r])
                else:
                    last = r + 1 if t + 1 < stop else 0
                    E[r] = E[last]
                    C[r] = C[last]
                for i in range(n):
                    for s in range(M):
                        predicted[r, i, s] = c[gc, tc, i, of(s, c.shape[3])]
                    for k in range(n):
                        f = F[gF, tF, i, k]
                        for s in range(M):
                            predicted[r, i, s] += f * means[gm, t, k, s]
            for i in range(n):
                drawn[g, 0] += 1 if C[r, i, i] > 0 else 0
            if keep and (t <= settled or t >= T - 2):
                at = t if t == T - 1 else min(t, settled)
                regressions[g, at] = E[r]
                inverses[g, at] = inverse
                factors[g, at] = C[r]
        # All paths through these rows.
        for first in range(0, S, _BLOCK):
            width = min(_BLOCK, S - first)
            for b in range(width):
                member[b] = (first + b) % M
                if stop < T:
                    for i in range(n):
                        x[i, b] = paths[g, first + b, stop, i]
            for t in range(stop - 1, start - 1, -1):
                r = t - start
                for i in range(n):
                    for b in range(width):
                        z[i, b] = noise[gz, first + b, t, i]
                    if M == 1:
                        f, mean = predicted[r, i, 0], means[gm, t, i, 0]
                        for b in range(_BLOCK):
                            beyond[i, b] = x[i, b] - f
                            x[i, b] = mean
                    else:
                        for b in range(width):
                            beyond[i, b] = x[i, b] - predicted[r, i, member[b]]
                            x[i, b] = means[gm, t, i, member[b]]
                for i in range(n):
                    for k in range(i + 1):
                        f = C[r, i, k]
                        for b in range(_BLOCK):
                            x[i, b] += f * z[k, b]
                    if t < T - 1:
                        for k in range(n):
                            f = E[r, i, k]
                            for b in range(_BLOCK):
                                x[i, b] += f * beyond[k, b]
                    for b in range(width):
                        paths[g, first + b, t, i] = x[i, b]
        stop = start


@compiled
def backward(
    F, Q, c, means, covs, rounding, status, noise, paths, regressions, inverses, factors, drawn,
    of_paths, wanted,
    dF, dQ, dc, dmeans, dcovs, dnoise,
):  # fmt: skip
    """Add up the gradients of all groups."""
    dF[:], dQ[:], dc[:], dmeans[:], dcovs[:], dnoise[:] = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for g in range(paths.shape[0]):
        _backward_group(
            g, F, c, means, covs, status, noise, paths, regressions, inverses, factors, of_paths, wanted,
            dF, dQ, dc, dmeans, dcovs, dnoise,
        )  # fmt: skip


@compiled
def _backward_group(
    g, F, c, means, covs, status, noise, paths, regressions, inverses, factors, of_paths, wanted,
    dF, dQ, dc, dmeans, dcovs, dnoise,
):  # fmt: skip
    S, T, n = paths.shape[1], paths.shape[2], paths.shape[3]
    M = means.shape[3]
    real = means.dtype
    gF, gc, gz = of(g, F.shape[0]), of(g, c.shape[0]), of(g, noise.shape[0])
    gm, gP, gs = of(g, means.shape[0]), of(g, covs.shape[0]), of(g, status.shape[0])
    want_F, want_Q, want_c = wanted[0, 0] != 0, wanted[0, 1] != 0, wanted[0, 2] != 0
    want_means, want_covs, want_noise = wanted[0, 3] != 0, wanted[0, 4] != 0, wanted[0, 5] != 0
    hF, hQ, hc = of(g, dF.shape[0]), of(g, dQ.shape[0]), of(g, dc.shape[0])
    hm, hP, hz = of(g, dmeans.shape[0]), of(g, dcovs.shape[0]), of(g, dnoise.shape[0])
    settled = status[gs, SETTLED]
    adjoint = np.zeros((S, n), real)
    moved = np.empty(n, real)
    beyond = np.empty(n, real)
    predicted = np.empty((n, M), real)
    total = np.empty((n, M), real)
    Ebar = np.empty((n, n), real)
    Cbar = np.empty((n, n), real)
    Lbar = np.empty((n, n), real)
    rowF = np.empty((n, n), real)
    rowQ = np.empty((n, n), real)
    rowP = np.empty((n, n), real)
    work = np.empty((3, n, n), real)
    want_matrices = want_F or want_Q or want_covs
    for t in range(T):
        last = t == T - 1
        at = t if last else min(t, settled)
        E, C = regressions[g, at], factors[g, at]
        tF, tc = of(t + 1, F.shape[1]), of(t + 1, c.shape[1])
        if not last:
            for i in range(n):
                for s in range(M):
                    predicted[i, s] = c[gc, tc, i, of(s, c.shape[3])]
                for k in range(n):
                    f = F[gF, tF, i, k]
                    for s in range(M):
                        predicted[i, s] += f * means[gm, t, k, s]
        total[:, :] = 0.0
        Ebar[:, :] = 0.0
        Cbar[:, :] = 0.0
        for s in range(S):
            a = adjoint[s]
            for i in range(n):
                a[i] += of_paths[g, s, t, i]
                total[i, s % M] += a[i]
            if want_matrices:
                for i in range(n):
                    for k in range(i + 1):
                        Cbar[i, k] += a[i] * noise[gz, s, t, k]
            if want_noise:
                for k in range(n):
                    f = real.type(0.0)
                    for i in range(k, n):
                        f += C[i, k] * a[i]
                    dnoise[hz, s, t, k] += f
            if last:
                continue
            if want_matrices:
                for k in range(n):
                    beyond[k] = paths[g, s, t + 1, k] - predicted[k, s % M]
                for i in range(n):
                    for k in range(n):
                        Ebar[i, k] += a[i] * beyond[k]
            moved[:] = 0.0
            for k in range(n):
                for i in range(n):
                    moved[i] += E[k, i] * a[k]
            for i in range(n):
                a[i] = moved[i]
        if want_means:
            for i in range(n):
                for s in range(M):
                    dmeans[hm, t, i, s] += total[i, s]
        if want_matrices:
            pull_factor(C, Cbar, Lbar)
        if last:
            if want_covs:
                add(dcovs[hP, t], Lbar)
            break
        if want_matrices:
            pull_regression(F[gF, tF], covs[gP, t], E, inverses[g, at], Ebar, Lbar, rowF, rowQ, rowP, work)
        # The sum of the adjoints of each member's paths moves on to the prediction.
        predicted[:, :] = 0.0
        for k in range(n):
            for i in range(n):
                f = E[k, i]
                for s in range(M):
                    predicted[i, s] += f * total[k, s]
        pull_prediction(
            F[gF, tF], means[gm, t], predicted, rowF, want_F, want_c, want_means,
            dc[hc, of(t + 1, dc.shape[1])] if want_c else total,
            dmeans[hm, t] if want_means else total,
        )  # fmt: skip
        if want_F:
            add(dF[hF, of(t + 1, dF.shape[1])], rowF)
        if want_Q:
            add(dQ[hQ, of(t + 1, dQ.shape[1])], rowQ)
        if want_covs:
            add(dcovs[hP, t], rowP)


def _shapes(inputs: Sequence[Shape], keep: bool) -> tuple[Shape, ...]:
    _, rows, n, _ = inputs[3]
    groups = max(shape[0] for shape in inputs)
    kept = rows if keep else 1
    return (
        (groups, *inputs[7][1:]),
        (groups, kept, n, n),
        (groups, kept, n, n),
        (groups, kept, n, n),
        (groups, 1),
    )


PATHS = Kernel(
    name="paths",
    inputs=(
        Spec("F", 4, differentiable=True),
        Spec("Q", 4, differentiable=True),
        Spec("c", 4, differentiable=True),
        Spec("means", 4, differentiable=True),
        Spec("covs", 4, differentiable=True),
        Spec("rounding", 4),
        Spec("status", 2, "count"),
        Spec("noise", 4, differentiable=True),
    ),
    outputs=(
        Spec("paths", 4),
        Spec("regressions", 4),
        Spec("inverses", 4),
        Spec("factors", 4),
        Spec("drawn", 2, "count"),
    ),
    num_values=1,
    shapes=_shapes,
    forward=forward,
    backward=backward,
)
