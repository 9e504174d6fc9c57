"""The adjoint of the compiled Kalman filter (see `kalman`)."""

from __future__ import annotations

import numpy as np

from dynplat.scan.kernels.compiling import compiled, inlined
from dynplat.scan.kernels.kalman_forward import SETTLED
from dynplat.scan.kernels.padded import add_products, add_to, combine, combine_transposed, fill, padded
from dynplat.scan.kernels.small import closed_loop, congruence, of, square, symmetrise
from dynplat.scan.kernels.vector import SIXTEEN


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
    nothing = np.empty((0, 0, 0, 0), means.dtype)
    for g in range(log_prob.shape[0]):
        backward_group(
            g, F, H, lengths, means, weights, covs, gains, factors, status, cotangent, False, nothing, nothing, wanted,
            dF, dQ, dH, dR, dm0, dP0, dc, dy,
        )  # fmt: skip


@compiled
def backward_group(
    g, F, H, lengths, means, weights, covs, gains, factors, status, cotangent, moments, of_means, of_covs, wanted,
    dF, dQ, dH, dR, dm0, dP0, dc, dy,
):  # fmt: skip
    """Add the gradients of a group; with `moments`, filtered means and covariances have cotangents of their own."""
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
    # Padded (see `padded`): what is never written stays zero.
    n2, n4, p2 = padded(n, 2), padded(n, 4), padded(p, 2)
    m = padded(M, SIXTEEN) if M > 1 else 1
    adjoint = np.zeros((n2, m), real)  # lambda
    moved = np.zeros((n2, m), real)
    before = np.zeros((n2, m), real)
    ybar = np.zeros((p2, m), real)
    u = np.zeros((p2, m), real)
    gu = np.zeros((p2, m), real)
    zeros = np.zeros((max(n2, p2), max(n4, padded(M, SIXTEEN))), real)
    outer_F, outer_H = np.zeros((n2, n4), real), np.zeros((p2, n4), real)
    Fp, Pp = np.zeros((n2, n4), real), np.zeros((n2, n4), real)
    Hp, Kp, Sp = np.zeros((p2, n4), real), np.zeros((p2, n4), real), np.zeros((p2, p2), real)
    Lambda = np.zeros((n2, n4), real)
    V = np.zeros((n2, n4), real)
    E = np.zeros((p2, n4), real)  # sum over members of u lambda^T
    U = np.zeros((p2, p2), real)  # sum over members of g u u^T
    C = np.zeros((p2, n4), real)
    X = np.zeros((p2, n4), real)
    Z = np.zeros((p2, p2), real)
    sum_E = np.zeros((p2, n4), real)
    sum_U = np.zeros((p2, p2), real)
    sum_g = real.type(0.0)
    sum_Lambda = np.zeros((n2, n4), real)
    source = np.zeros((n2, n4), real)
    # Rows after `horizon` reach the first steady row by less than rounding: only their sums count.
    horizon = T
    if settled < T and want_matrices and not moments:
        horizon = settled + _memory(F[gF, 0], H[gH, 0], gains[g, settled], covs[g, settled], T - settled)
    loaded = -1
    for t in range(T - 1, -1, -1):
        at = min(t, settled)
        tF, tH = of(t, F.shape[1]), of(t, H.shape[1])
        if t == T - 1 or F.shape[1] > 1:
            fill(F, gF, tF, Fp)
        if t == T - 1 or H.shape[1] > 1:
            fill(H, gH, tH, Hp)
        if at != loaded:
            fill(gains, g, at, Kp)
            fill(factors, g, at, Sp)
            loaded = at
        if moments:
            for i in range(n):
                for s in range(M):
                    adjoint[i, s] += of_means[g, t, i, s]
                for j in range(n):
                    Lambda[i, j] += (of_covs[g, t, i, j] + of_covs[g, t, j, i]) / 2
        # Means: ybar, the sources of the matrices, lambda^-. Nothing comes from a member that has ended.
        total = real.type(0.0)
        for s in range(M):
            source_of[s] = cotangent[g, t, s] if t < lengths[gl, of(s, lengths.shape[1])] else real.type(0.0)
            total += source_of[s]
        if M == 1:
            _lead_back_one(n, source_of, weights, g, t, Kp, Hp, adjoint, ybar, want_matrices, E, U)
        else:
            _lead_back_many(n, source_of, weights, g, t, Kp, Hp, adjoint, ybar, want_matrices, E, U, u, gu)
        within = settled < t and horizon < T
        if want_H:
            tdH = of(t, dH.shape[1])
            if M == 1:
                for a in range(p):
                    for i in range(n):
                        dH[hH, tdH, a, i] -= ybar[a, 0] * means[g, t, i, 0]
            else:
                fill(means, g, t, before)
                add_products(real.type(-1.0), ybar, before, p, n, outer_H)
                if t == 0 or dH.shape[1] > 1:
                    add_to(outer_H, dH, hH, tdH)
                    outer_H[:, :] = 0.0
        if want_y:
            for a in range(p):
                for s in range(M):
                    dy[hy, t, a, s] += ybar[a, s]
        if want_c and t > 0:
            tdc = of(t, dc.shape[1])
            for i in range(n):
                for s in range(M):
                    dc[hc, tdc, i, of(s, dc.shape[3])] += adjoint[i, s]
        # Matrices: Lambda^- and the gradients of H and R.
        if within and want_matrices:
            sum_g += total
            for a in range(p):
                for i in range(n):
                    sum_E[a, i] += E[a, i]
                for b in range(p):
                    sum_U[a, b] += U[a, b]
        if want_matrices and t <= horizon:
            _sources(zeros, n, p, Lambda, Kp, Sp, E, U, total, C, Z)
            if not within:
                if want_H:
                    fill(covs, g, at, Pp)
                    _add_to_H(n, p, Kp, Pp, E, C, total, X, dH, hH, of(t, dH.shape[1]))
                if want_R:
                    add_to(Z, dR, hR, of(t, dR.shape[1]))
            _before_update(n, p, Lambda, Hp, E, C, Z, X)
        if t == 0:
            break
        # Predict: the gradients of F, Q and the adjoints of the row before.
        if want_F:
            tdF = of(t, dF.shape[1])
            if M == 1:
                for i in range(n):
                    for k in range(n):
                        dF[hF, tdF, i, k] += adjoint[i, 0] * means[g, t - 1, k, 0]
            else:
                fill(means, g, t - 1, before)
                add_products(real.type(1.0), adjoint, before, n, n, outer_F)
                if t == 1 or dF.shape[1] > 1:
                    add_to(outer_F, dF, hF, tdF)
                    outer_F[:, :] = 0.0
        if M == 1:
            for i in range(n):
                f = real.type(0.0)
                for k in range(n):
                    f += Fp[k, i] * adjoint[k, 0]
                moved[i, 0] = f
            for i in range(n):
                adjoint[i, 0] = moved[i, 0]
        else:
            combine_transposed(zeros, real.type(1.0), Fp, adjoint, n, n, moved)
            for i in range(n):
                for s in range(M):
                    adjoint[i, s] = moved[i, s]
        if want_matrices and t <= horizon:
            if within and t == settled + 1:
                # All rows after the settled one at once (see the module).
                _solve_sum(zeros, n, p, Fp, Hp, Kp, Sp, Lambda, sum_E, sum_U, sum_g, C, X, Z, V, source, sum_Lambda)
                for i in range(n):
                    for j in range(n):
                        source[i, j] = sum_Lambda[i, j] - Lambda[i, j]
                _pull_back(zeros, n, Fp, source, V)
                _sources(zeros, n, p, source, Kp, Sp, sum_E, sum_U, sum_g, C, Z)
                fill(covs, g, settled, Pp)
                if want_H:
                    _add_to_H(n, p, Kp, Pp, sum_E, C, sum_g, X, dH, hH, 0)
                if want_R:
                    add_to(Z, dR, hR, 0)
                if want_Q:
                    add_to(sum_Lambda, dQ, hQ, 0)
                if want_F:
                    combine(zeros, real.type(2.0), sum_Lambda, Fp, n, n, V)
                    combine(zeros, real.type(1.0), V, Pp, n, n, source)
                    add_to(source, dF, hF, 0)
            if not within and want_Q:
                add_to(Lambda, dQ, hQ, of(t, dQ.shape[1]))
            if not within and want_F:
                # V = Lambda F, which the way back to the row before needs too.
                combine(zeros, real.type(1.0), Lambda, Fp, n, n, V)
                fill(covs, g, min(t - 1, settled), Pp)
                combine(zeros, real.type(2.0), V, Pp, n, n, source)
                add_to(source, dF, hF, of(t, dF.shape[1]))
                _finish_pull_back(zeros, n, Fp, Lambda, V)
            else:
                _pull_back(zeros, n, Fp, Lambda, V)
    if want_m0:
        for i in range(n):
            for s in range(M):
                dm0[hm, i, of(s, dm0.shape[2])] += adjoint[i, s]
    if want_P0:
        for i in range(n):
            for j in range(n):
                dP0[hP, i, j] += Lambda[i, j]


@inlined
def _lead_back_one(n, source_of, weights, at_group, t, Kt, H, adjoint, ybar, want_matrices, E, U):
    """Put ybar, E = u lambda^T and U = g u u^T, and lead lambda back through the update, for a single member."""
    p = weights.shape[2]
    g = source_of[0]
    for a in range(p):
        u = weights[at_group, t, a, 0]
        f = -g * u
        for i in range(n):
            f += Kt[a, i] * adjoint[i, 0]
        ybar[a, 0] = f
        if want_matrices:
            for i in range(n):
                E[a, i] = u * adjoint[i, 0]
            for b in range(a + 1):
                U[a, b] = g * u * weights[at_group, t, b, 0]
                U[b, a] = U[a, b]
    for i in range(n):
        f = adjoint[i, 0]
        for a in range(p):
            f -= H[a, i] * ybar[a, 0]
        adjoint[i, 0] = f


@inlined
def _lead_back_many(n, source_of, weights, at_group, t, Kt, H, adjoint, ybar, want_matrices, E, U, u, gu):
    """Like `_lead_back_one` for matrices with a column for each member, over which E and U are sums."""
    p, M = weights.shape[2], weights.shape[3]
    one = E.dtype.type(1.0)
    for a in range(p):
        for s in range(M):
            u[a, s] = weights[at_group, t, a, s]
            gu[a, s] = source_of[s] * u[a, s]
            ybar[a, s] = -gu[a, s]
    combine(ybar, one, Kt, adjoint, p, n, ybar)
    if want_matrices:
        E[:, :] = 0.0
        U[:, :] = 0.0
        add_products(one, u, adjoint, p, n, E)
        add_products(one, gu, u, p, p, U)
    combine_transposed(adjoint, -one, H, ybar, n, p, adjoint)


@inlined
def _sources(zeros, n, p, Lambda, Kt, inverse, E, U, total, C, Z):
    """C = K^T Lambda and Z = K^T Lambda K - sym(K^T E^T) - (total S^{-1} - U) / 2, with S^{-1} from its factor."""
    combine(zeros, zeros.dtype.type(1.0), Kt, Lambda, p, n, C)
    for a in range(p):
        for b in range(a + 1):
            precision = total * 0
            for k in range(a, p):
                precision += inverse[k, a] * inverse[k, b]
            f = -(total * precision - U[a, b]) / 2
            for k in range(n):
                f += C[a, k] * Kt[b, k] - (Kt[a, k] * E[b, k] + Kt[b, k] * E[a, k]) / 2
            Z[a, b] = f
            Z[b, a] = f


@compiled
def _add_to_H(n, p, Kt, P, E, C, total, X, dH, h, at):
    """Add (E - 2 C) P - total K^T to the gradient of H; X is work space."""
    for a in range(p):
        for i in range(n):
            X[a, i] = E[a, i] - 2 * C[a, i]
    # By rows: C and E are needed again.
    for a in range(p):
        for i in range(n):
            f = -total * Kt[a, i]
            for k in range(n):
                f += X[a, k] * P[k, i]
            dH[h, at, a, i] += f


@inlined
def _before_update(n, p, Lambda, H, E, C, Z, X):
    """Replace Lambda by its value before the update: Lambda + sym(X^T H), X = E - 2 C + Z H."""
    half, one = Z.dtype.type(0.5), Z.dtype.type(1.0)
    for a in range(p):
        for j in range(n):
            X[a, j] = (E[a, j] - 2 * C[a, j]) / 2
    combine(X, half, Z, H, p, p, X)
    combine_transposed(Lambda, one, X, H, n, p, Lambda)
    combine_transposed(Lambda, one, H, X, n, p, Lambda)


@inlined
def _pull_back(zeros, n, F, Lambda, V):
    """Replace Lambda by F^T Lambda F."""
    combine(zeros, zeros.dtype.type(1.0), Lambda, F, n, n, V)
    _finish_pull_back(zeros, n, F, Lambda, V)


@inlined
def _finish_pull_back(zeros, n, F, Lambda, V):
    """Replace Lambda by F^T V, made symmetric: the recursion does not damp an antisymmetric error."""
    combine_transposed(zeros, zeros.dtype.type(1.0), F, V, n, n, Lambda)
    symmetrise(Lambda)


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
def _solve_sum(zeros, n, p, F, H, Kt, inverse, first, E, U, total, C, X, Z, V, source, out):
    """Solve out = A^T F^T (out - first) F A + sources of E, U, total, by doubling."""
    turned = np.empty((n, n), F.dtype)
    moved = np.empty((n, n), F.dtype)
    work = np.empty((n, n), F.dtype)
    # The affine map at -first gives the constant term.
    for i in range(n):
        for j in range(n):
            source[i, j] = -first[i, j]
    _pull_back(zeros, n, F, source, V)
    _sources(zeros, n, p, source, Kt, inverse, E, U, total, C, Z)
    _before_update(n, p, source, H, E, C, Z, X)
    total_of = np.empty((n, n), F.dtype)
    for i in range(n):
        for j in range(n):
            total_of[i, j] = source[i, j]
            # The pull-back through a row is (F A)^T . F A; the transpose of F A is what `congruence` takes.
            turned[j, i] = F[i, j]
    for a in range(p):
        for i in range(n):
            s = F[0, 0] * 0
            for k in range(n):
                s += F[i, k] * Kt[a, k]
            for j in range(n):
                turned[j, i] -= s * H[a, j]
    for _ in range(64):
        congruence(turned, total_of, moved, work)
        largest = F[0, 0] * 0
        change = F[0, 0] * 0
        for i in range(n):
            for j in range(n):
                total_of[i, j] += moved[i, j]
                largest = max(largest, abs(total_of[i, j]))
                change = max(change, abs(moved[i, j]))
        if not (change > np.finfo(F.dtype).eps * largest / 16):
            break
        square(turned, work)
    for i in range(n):
        for j in range(n):
            out[i, j] = total_of[i, j]
