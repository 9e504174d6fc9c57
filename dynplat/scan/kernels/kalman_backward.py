"""The adjoint of the compiled Kalman filter (see `kalman`)."""

from __future__ import annotations

import numpy as np

from dynplat.scan.kernels.compiling import compiled
from dynplat.scan.kernels.kalman_forward import SETTLED
from dynplat.scan.kernels.small import closed_loop, congruence, multiply, of, square, symmetrise


@compiled
def backward(
    F, Q, H, R, m0, P0, c, y, mask, lengths, options,
    log_prob, means, weights, covs, gains, factors, status,
    cotangent, wanted,
    dF, dQ, dH, dR, dm0, dP0, dc, dy,
):  # fmt: skip
    """Add up the gradients of all groups.

    Inputs: those of `forward`, what it gave (with whole time axes), `cotangent` of `log_prob`, (G, T, M), and `wanted`,
    flags (1, 8).
    Outputs: gradients, shaped as the inputs; those that are not wanted may have size 0.
    """
    dF[:], dQ[:], dH[:], dR[:], dm0[:], dP0[:], dc[:], dy[:] = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for g in range(log_prob.shape[0]):
        _backward_group(
            g, F, H, lengths, means, weights, covs, gains, factors, status, cotangent, wanted,
            dF, dQ, dH, dR, dm0, dP0, dc, dy,
        )  # fmt: skip


@compiled
def _backward_group(
    g, F, H, lengths, means, weights, covs, gains, factors, status, cotangent, wanted, dF, dQ, dH, dR, dm0, dP0, dc, dy
):
    T, p, M = weights.shape[1], weights.shape[2], weights.shape[3]
    n = F.shape[3]
    real = means.dtype
    gF, gH, gl = of(g, F.shape[0]), of(g, H.shape[0]), of(g, lengths.shape[0])
    want_F, want_Q, want_H, want_R = wanted[0, 0] != 0, wanted[0, 1] != 0, wanted[0, 2] != 0, wanted[0, 3] != 0
    want_m0, want_P0, want_c, want_y = wanted[0, 4] != 0, wanted[0, 5] != 0, wanted[0, 6] != 0, wanted[0, 7] != 0
    hF, hQ, hH, hR = of(g, dF.shape[0]), of(g, dQ.shape[0]), of(g, dH.shape[0]), of(g, dR.shape[0])
    hm, hP, hc, hy = of(g, dm0.shape[0]), of(g, dP0.shape[0]), of(g, dc.shape[0]), of(g, dy.shape[0])
    want_matrices = want_F or want_Q or want_H or want_R or want_P0
    settled = status[g, SETTLED]
    source_of = np.empty(M, real)  # g
    adjoint = np.zeros((n, M), real)  # lambda
    moved = np.empty((n, M), real)
    ybar = np.empty((p, M), real)
    Lambda = np.zeros((n, n), real)
    V = np.empty((n, n), real)
    E = np.zeros((p, n), real)  # sum over members of u lambda^T
    U = np.zeros((p, p), real)  # sum over members of g u u^T
    C = np.empty((p, n), real)
    X = np.empty((p, n), real)
    Z = np.empty((p, p), real)
    sum_E = np.zeros((p, n), real)
    sum_U = np.zeros((p, p), real)
    sum_g = real.type(0.0)
    sum_Lambda = np.zeros((n, n), real)
    source = np.empty((n, n), real)
    # Rows after `horizon` reach the first steady row by less than rounding: only their sums count.
    horizon = T
    if settled < T and want_matrices:
        horizon = settled + _memory(F[gF, 0], H[gH, 0], gains[g, settled], covs[g, settled], T - settled)
    for t in range(T - 1, -1, -1):
        at = min(t, settled)
        tF, tH = of(t, F.shape[1]), of(t, H.shape[1])
        # Means: ybar, the sources of the matrices, lambda^-. Nothing comes from a member that has ended.
        for s in range(M):
            source_of[s] = cotangent[g, t, s] if t < lengths[gl, of(s, lengths.shape[1])] else real.type(0.0)
        for a in range(p):
            for s in range(M):
                ybar[a, s] = -source_of[s] * weights[g, t, a, s]
            for i in range(n):
                f = gains[g, at, a, i]
                for s in range(M):
                    ybar[a, s] += f * adjoint[i, s]
        total = real.type(0.0)
        within = settled < t and horizon < T
        if want_matrices:
            for s in range(M):
                total += source_of[s]
            for a in range(p):
                for i in range(n):
                    f = real.type(0.0)
                    for s in range(M):
                        f += weights[g, t, a, s] * adjoint[i, s]
                    E[a, i] = f
                for b in range(a + 1):
                    f = real.type(0.0)
                    for s in range(M):
                        f += source_of[s] * weights[g, t, a, s] * weights[g, t, b, s]
                    U[a, b] = f
                    U[b, a] = f
        if want_H:
            tdH = of(t, dH.shape[1])
            for a in range(p):
                for i in range(n):
                    f = real.type(0.0)
                    for s in range(M):
                        f += ybar[a, s] * means[g, t, i, s]
                    dH[hH, tdH, a, i] -= f
        if want_y:
            for a in range(p):
                for s in range(M):
                    dy[hy, t, a, s] += ybar[a, s]
        for a in range(p):
            for i in range(n):
                h = H[gH, tH, a, i]
                for s in range(M):
                    adjoint[i, s] -= h * ybar[a, s]
        if want_c and t > 0:
            tdc = of(t, dc.shape[1])
            for i in range(n):
                for s in range(M):
                    dc[hc, tdc, i, of(s, dc.shape[3])] += adjoint[i, s]
        # Matrices: Lambda^- and the gradients of H and R.
        if within:
            sum_g += total
            for a in range(p):
                for i in range(n):
                    sum_E[a, i] += E[a, i]
                for b in range(p):
                    sum_U[a, b] += U[a, b]
        if want_matrices and t <= horizon:
            _sources(Lambda, gains[g, at], factors[g, at], E, U, total, C, Z)
            if not within:
                _add_observation(gains[g, at], covs[g, at], E, C, Z, total, want_H, want_R, dH, hH, dR, hR, t)
            _before_update(Lambda, H[gH, tH], E, C, Z, X)
        if t == 0:
            break
        # Predict: the gradients of F, Q and the adjoints of the row before.
        if want_F:
            tdF = of(t, dF.shape[1])
            for i in range(n):
                for k in range(n):
                    f = real.type(0.0)
                    for s in range(M):
                        f += adjoint[i, s] * means[g, t - 1, k, s]
                    dF[hF, tdF, i, k] += f
        for i in range(n):
            for s in range(M):
                moved[i, s] = 0.0
        for k in range(n):
            for i in range(n):
                f = F[gF, tF, k, i]
                for s in range(M):
                    moved[i, s] += f * adjoint[k, s]
        adjoint[:, :] = moved
        if want_matrices and t <= horizon:
            if not within:
                _add_prediction(F[gF, tF], covs[g, min(t - 1, settled)], Lambda, V, want_F, want_Q, dF, hF, dQ, hQ, t)
            elif t == settled + 1:
                # All rows after the settled one at once (see the module).
                K, S, P = gains[g, settled], factors[g, settled], covs[g, settled]
                _solve_sum(F[gF, 0], H[gH, 0], K, S, Lambda, sum_E, sum_U, sum_g, C, X, Z, source, sum_Lambda)
                for i in range(n):
                    for j in range(n):
                        source[i, j] = sum_Lambda[i, j] - Lambda[i, j]
                _pull_back(F[gF, 0], source, V)
                _sources(source, K, S, sum_E, sum_U, sum_g, C, Z)
                _add_observation(K, P, sum_E, C, Z, sum_g, want_H, want_R, dH, hH, dR, hR, t)
                _add_prediction(F[gF, 0], P, sum_Lambda, V, want_F, want_Q, dF, hF, dQ, hQ, t)
            _pull_back(F[gF, tF], Lambda, V)
    if want_m0:
        for i in range(n):
            for s in range(M):
                dm0[hm, i, of(s, dm0.shape[2])] += adjoint[i, s]
    if want_P0:
        for i in range(n):
            for j in range(n):
                dP0[hP, i, j] += Lambda[i, j]


@compiled
def _sources(Lambda, Kt, inverse, E, U, total, C, Z):
    """C = K^T Lambda and Z = K^T Lambda K - sym(K^T E^T) - (total S^{-1} - U) / 2, with S^{-1} from its factor."""
    p, n = C.shape
    for a in range(p):
        for j in range(n):
            C[a, j] = 0.0
        for k in range(n):
            f = Kt[a, k]
            for j in range(n):
                C[a, j] += f * Lambda[k, j]
    for a in range(p):
        for b in range(a + 1):
            precision = total * 0
            for k in range(a, p):
                precision += inverse[k, a] * inverse[k, b]
            f = -(total * precision - U[a, b]) / 2
            for k in range(n):
                f += C[a, k] * Kt[b, k]
                f -= (Kt[a, k] * E[b, k] + Kt[b, k] * E[a, k]) / 2
            Z[a, b] = f
            Z[b, a] = f


@compiled
def _add_observation(Kt, P, E, C, Z, total, want_H, want_R, dH, hH, dR, hR, t):
    """Add (E - 2 C) P - total K^T to the gradient of H and Z to that of R."""
    p, n = C.shape
    if want_H:
        at = of(t, dH.shape[1])
        for a in range(p):
            for i in range(n):
                f = -total * Kt[a, i]
                for k in range(n):
                    f += (E[a, k] - 2 * C[a, k]) * P[k, i]
                dH[hH, at, a, i] += f
    if want_R:
        at = of(t, dR.shape[1])
        for a in range(p):
            for b in range(p):
                dR[hR, at, a, b] += Z[a, b]


@compiled
def _before_update(Lambda, H, E, C, Z, X):
    """Replace Lambda by its value before the update: Lambda + sym(X^T H), X = E - 2 C + Z H."""
    p, n = X.shape
    for a in range(p):
        for j in range(n):
            X[a, j] = (E[a, j] - 2 * C[a, j]) / 2
        for b in range(p):
            f = Z[a, b] / 2
            for j in range(n):
                X[a, j] += f * H[b, j]
    for a in range(p):
        for i in range(n):
            f = X[a, i]
            h = H[a, i]
            for j in range(n):
                Lambda[i, j] += f * H[a, j] + h * X[a, j]


@compiled
def _pull_back(F, Lambda, V):
    """Replace Lambda by F^T Lambda F, made symmetric: the recursion does not damp an antisymmetric error."""
    n = V.shape[0]
    multiply(Lambda, F, V)
    for i in range(n):
        for j in range(n):
            Lambda[i, j] = 0.0
    for k in range(n):
        for i in range(n):
            f = F[k, i]
            for j in range(n):
                Lambda[i, j] += f * V[k, j]
    symmetrise(Lambda)


@compiled
def _add_prediction(F, P, Lambda, V, want_F, want_Q, dF, hF, dQ, hQ, t):
    """Add 2 Lambda F P to the gradient of F and Lambda to that of Q."""
    n = V.shape[0]
    if want_Q:
        at = of(t, dQ.shape[1])
        for i in range(n):
            for j in range(n):
                dQ[hQ, at, i, j] += Lambda[i, j]
    if want_F:
        at = of(t, dF.shape[1])
        multiply(Lambda, F, V)
        for i in range(n):
            for k in range(n):
                f = 2 * V[i, k]
                for j in range(n):
                    dF[hF, at, i, j] += f * P[k, j]


@compiled
def _memory(F, H, Kt, cov, rows):
    """Rows (at most `rows`) after which the closed loop (I - K H) F, on the scale of the deviations, is rounding."""
    n = F.shape[0]
    loop = np.empty((n, n), F.dtype)
    work = np.empty((n, n), F.dtype)
    closed_loop(F, H, Kt, H.shape[0], loop)
    for i in range(n):
        for j in range(n):
            if cov[i, i] > 0 and cov[j, j] > 0:
                loop[i, j] *= np.sqrt(cov[j, j] / cov[i, i])
    count = 1
    while count < rows:
        norm = F[0, 0] * 0
        for i in range(n):
            for j in range(n):
                norm += loop[i, j] * loop[i, j]
        if norm <= np.finfo(F.dtype).eps / 16:
            return count
        square(loop, work)
        count *= 2
    return rows


@compiled
def _solve_sum(F, H, Kt, inverse, first, E, U, total, C, X, Z, source, out):
    """Solve out = A^T F^T (out - first) F A + sources of E, U, total, by doubling."""
    n = F.shape[0]
    turned = np.empty((n, n), F.dtype)
    moved = np.empty((n, n), F.dtype)
    work = np.empty((n, n), F.dtype)
    # The affine map at -first gives the constant term.
    for i in range(n):
        for j in range(n):
            source[i, j] = -first[i, j]
    _pull_back(F, source, work)
    _sources(source, Kt, inverse, E, U, total, C, Z)
    _before_update(source, H, E, C, Z, X)
    out[:, :] = source
    # The pull-back through a row is (F A)^T . F A; the transpose of F A is what `congruence` takes.
    for i in range(n):
        for j in range(n):
            turned[j, i] = F[i, j]
    for a in range(H.shape[0]):
        for i in range(n):
            s = F[0, 0] * 0
            for k in range(n):
                s += F[i, k] * Kt[a, k]
            for j in range(n):
                turned[j, i] -= s * H[a, j]
    for _ in range(64):
        congruence(turned, out, moved, work)
        largest = F[0, 0] * 0
        change = F[0, 0] * 0
        for i in range(n):
            for j in range(n):
                out[i, j] += moved[i, j]
                largest = max(largest, abs(out[i, j]))
                change = max(change, abs(moved[i, j]))
        if not (change > np.finfo(F.dtype).eps * largest / 16):
            break
        square(turned, work)
