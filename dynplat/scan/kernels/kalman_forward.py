"""The compiled Kalman filter (see `kalman`)."""

from __future__ import annotations

import numpy as np

from dynplat.scan.kernels.compiling import compiled
from dynplat.scan.kernels.padded import combine, combine_transposed, padded
from dynplat.scan.kernels.small import closed_loop, congruence, of, root, square, symmetrise
from dynplat.scan.kernels.vector import SIXTEEN

#: Columns of `status`: the row from which the covariances stand still (T where they never do), and what happened.
SETTLED, OUTCOME = 0, 1
#: Values of `status[:, OUTCOME]`.
SOUND, CAREFUL, SINGULAR = 0, 1, 2

#: A pivot is singular below this many times the rounding that reaches it (as in `dynplat.semigroup.kalman`), and
#: suspicious below this many times the quick bound of that rounding.
_SINGULAR, _SUSPICIOUS = 16.0, 1024.0


@compiled
def forward(F, Q, H, R, m0, P0, c, y, mask, lengths, options, log_prob, means, weights, covs, gains, factors, status):
    """Filter all groups.

    Inputs: F, Q, H, R, m0, P0, c, y, mask, lengths (see `kalman`);
        options: int32 (1, 1): 1 to look for a steady state.
    Outputs:
        log_prob: log p(y_t | y_<t), (G, T, M).
        means: filtered means (G, T or 1, n, M); a time axis of length 1 keeps only the last.
        weights: u = S^{-1} (y - H E[x | past]), 0 in missing cells and after a member's end, (G, T or 1, p, M).
        covs: filtered covariances (G, T or 1, n, n); rows after the settled one are not written.
        gains: K transposed, 0 in missing cells, (G, T or 1, p, n); likewise.
        factors: inverse Cholesky factors of S, 0 in missing cells, (G, T or 1, p, p); likewise.
        status: int32 (G, 2).
    """
    for g in range(log_prob.shape[0]):
        done = False
        for careful in (False, True):
            if not done:
                done = _forward_group(
                    g, careful, F, Q, H, R, m0, P0, c, y, mask, lengths, options,
                    log_prob, means, weights, covs, gains, factors, status,
                )  # fmt: skip


@compiled
def _forward_group(
    g, careful, F, Q, H, R, m0, P0, c, y, mask, lengths, options, log_prob, means, weights, covs, gains, factors, status
):
    """Filter a group; False when the quick test can't vouch for the result."""
    T, p, M = y.shape[1], y.shape[2], y.shape[3]
    n = F.shape[3]
    real = y.dtype
    eps = real.type(np.finfo(real).eps)
    gF, gQ, gH, gR = of(g, F.shape[0]), of(g, Q.shape[0]), of(g, H.shape[0]), of(g, R.shape[0])
    gm, gP, gc, gk = of(g, m0.shape[0]), of(g, P0.shape[0]), of(g, c.shape[0]), of(g, mask.shape[0])
    gy, gl = of(g, y.shape[0]), of(g, lengths.shape[0])
    shortest = T
    for s in range(lengths.shape[1]):
        shortest = min(shortest, lengths[gl, s])
    changes = H.shape[1] > 1 or R.shape[1] > 1 or mask.shape[1] > 1
    still = (
        options[0, 0] == 1
        and not careful
        and F.shape[1] == 1
        and Q.shape[1] == 1
        and H.shape[1] == 1
        and R.shape[1] == 1
        and mask.shape[1] == 1
    )
    # Padded (see `padded`): what is never written stays zero.
    n2, n4, p2, p4 = padded(n, 2), padded(n, 4), padded(p, 2), padded(p, 4)
    one, minus = real.type(1.0), real.type(-1.0)
    zeros = np.zeros((max(n2, p2), max(n4, padded(M, SIXTEEN))), real)
    Fp = np.zeros((n2, n4), real)
    Ft = np.zeros((n2, n4), real)
    Qs = np.zeros((n2, n4), real)
    FP = np.zeros((n2, n4), real)
    predicted = np.zeros((n2, n4), real)
    new = np.zeros((n2, n4), real)
    before = np.zeros((n2, n4), real)
    Ho = np.zeros((p2, n4), real)
    HP = np.zeros((p2, n4), real)
    Kt = np.zeros((p2, n4), real)
    W = np.zeros((p2, n4), real)
    Ht = np.zeros((n2, p4), real)
    L = np.zeros((p2, p4), real)
    inverse = np.zeros((p2, p2), real)
    Ro = np.zeros((p2, p4), real)
    work = np.empty((n, n), real)
    seen = np.empty(p, np.int64)
    m = padded(M, SIXTEEN) if M > 1 else 1
    mean = np.zeros((n2, m), real)
    last = np.zeros((n2, m), real)
    offset = np.zeros((n2, m), real)
    v = np.zeros((p2, m), real)
    w = np.zeros((p2, m), real)
    u = np.zeros((p2, m), real)
    # Largest predicted standard deviations so far (quick test), the rounding covariance (careful run).
    largest = np.zeros(n, real)
    rounding = np.empty(p, real)
    noise = np.zeros((n, n), real)
    noise_next = np.zeros((n, n), real)
    deviation = np.empty(n, real)
    q = 0
    log_det = real.type(0.0)
    settled = T
    quiet = 0
    outcome = CAREFUL if careful else SOUND
    half_log_two_pi = real.type(0.5 * np.log(2.0 * np.pi))
    for t in range(T):
        at = of(t, covs.shape[1])
        mean_at, mean_last = of(t, means.shape[1]), of(t - 1, means.shape[1])
        singular = False
        tH = of(t, H.shape[1])
        if t == 0 or mask.shape[1] > 1:
            q = 0
            for a in range(p):
                if mask[gk, t, a]:
                    seen[q] = a
                    q += 1
        if t <= settled:
            tF, tQ, tR = of(t, F.shape[1]), of(t, Q.shape[1]), of(t, R.shape[1])
            # Predict.
            if t == 0:
                for i in range(n):
                    for j in range(n):
                        predicted[i, j] = real.type(0.5) * (P0[gP, i, j] + P0[gP, j, i])
                if careful:
                    for i in range(n):
                        noise[i, i] = eps * abs(predicted[i, i])
            else:
                if t == 1 or F.shape[1] > 1:
                    for i in range(n):
                        for j in range(n):
                            Fp[i, j] = F[gF, tF, i, j]
                            Ft[j, i] = F[gF, tF, i, j]
                if t == 1 or Q.shape[1] > 1:
                    for i in range(n):
                        for j in range(i + 1):
                            Qs[i, j] = real.type(0.5) * (Q[gQ, tQ, i, j] + Q[gQ, tQ, j, i])
                            Qs[j, i] = Qs[i, j]
                combine(zeros, one, Fp, before, n, n, FP)
                combine(Qs, one, FP, Ft, n, n, predicted)
                for i in range(n):
                    for j in range(i):
                        predicted[j, i] = predicted[i, j]
                if careful:
                    congruence(F[gF, tF], noise, noise_next, work)
                    for i in range(n):
                        deviation[i] = root(before[i, i])
                    for i in range(n):
                        reach = root(Q[gQ, tQ, i, i])
                        for k in range(n):
                            reach += abs(F[gF, tF, i, k]) * deviation[k]
                        noise_next[i, i] += eps * reach * reach
                    noise[:, :] = noise_next
            # The observed rows, the innovation covariance and its factor.
            if changes or t == 0:
                for a in range(q):
                    for j in range(n):
                        Ho[a, j] = H[gH, tH, seen[a], j]
                        Ht[j, a] = Ho[a, j]
                    for b in range(a + 1):
                        Ro[a, b] = real.type(0.5) * (R[gR, tR, seen[a], seen[b]] + R[gR, tR, seen[b], seen[a]])
                        Ro[b, a] = Ro[a, b]
                if q < p2:
                    for j in range(n):
                        Ho[q, j] = 0.0
                    for b in range(q):
                        Ro[q, b] = 0.0
                        inverse[q, b] = 0.0
            combine(zeros, one, Ho, predicted, q, n, HP)
            combine(Ro, one, HP, Ht, q, n, L)
            log_det = real.type(0.0)
            for a in range(q):
                for b in range(a):
                    s = L[a, b]
                    for k in range(b):
                        s -= L[a, k] * L[b, k]
                    L[a, b] = s * inverse[b, b]
                s = L[a, a]
                for k in range(a):
                    s -= L[a, k] * L[a, k]
                s = np.sqrt(s)
                L[a, a] = s
                log_det += np.log(s)
                inverse[a, a] = real.type(1.0) / s
            for a in range(q):
                for b in range(a):
                    s = real.type(0.0)
                    for k in range(b, a):
                        s += L[a, k] * inverse[k, b]
                    inverse[a, b] = -s * inverse[a, a]
            # Is any pivot made of rounding?
            if careful:
                for i in range(n):
                    deviation[i] = root(predicted[i, i])
            else:
                for i in range(n):
                    if predicted[i, i] > largest[i] * largest[i]:
                        largest[i] = np.sqrt(predicted[i, i])
            for a in range(q):
                reach = real.type(0.0)
                for k in range(n):
                    reach += abs(Ho[a, k]) * (deviation[k] if careful else largest[k])
                rounding[a] = eps * (reach * reach + Ro[a, a])
                if careful:
                    for i in range(n):
                        s = real.type(0.0)
                        for k in range(n):
                            s += Ho[a, k] * noise[k, i]
                        rounding[a] += s * Ho[a, i]
                reached = real.type(0.0)
                for b in range(a + 1):
                    ratio = L[a, b] * inverse[b, b]
                    reached += ratio * ratio * rounding[b]
                if not (reached * (_SINGULAR if careful else _SUSPICIOUS) < L[a, a] * L[a, a]):
                    if not careful:
                        return False
                    singular = True
            # Gain and Joseph's form, whose left half (I - K H) P stands transposed in `new`.
            combine(zeros, one, inverse, HP, q, q, W)
            combine_transposed(zeros, one, inverse, W, q, q, Kt)
            combine_transposed(predicted, minus, HP, Kt, n, q, new)
            combine(zeros, minus, Ro, Kt, q, q, W)
            combine(W, one, Ho, new, q, n, W)
            combine_transposed(new, minus, Kt, W, n, q, new)
            if careful and q > 0:
                update_noise(eps, q, Ho, Kt, deviation, noise, noise_next, work)
            symmetrise(new)
            if still and t > 0:
                quiet = quiet + 1 if stands_still(n, new, before, eps) else 0
                if quiet == 3:
                    if rounding_stays_small(F[gF, 0], Ho, Kt, q, new, eps):
                        settled = t
                    else:
                        still = False
            for i in range(n):
                for j in range(n):
                    before[i, j] = new[i, j]
                    covs[g, at, i, j] = new[i, j]
            for a in range(p):
                for j in range(n):
                    gains[g, at, a, j] = 0.0
                for b in range(p):
                    factors[g, at, a, b] = 0.0
            for a in range(q):
                for j in range(n):
                    gains[g, at, seen[a], j] = Kt[a, j]
                for b in range(a + 1):
                    factors[g, at, seen[a], seen[b]] = inverse[a, b]
        # Means.
        constant = -log_det - half_log_two_pi * q
        if singular:
            constant = real.type(np.nan)
            outcome = SINGULAR
        if M == 1:
            if t == 0:
                for i in range(n):
                    mean[i, 0] = m0[gm, i, 0]
            else:
                tF, tc = of(t, F.shape[1]), of(t, c.shape[1])
                for i in range(n):
                    x = c[gc, tc, i, 0]
                    for k in range(n):
                        x += F[gF, tF, i, k] * means[g, mean_last, k, 0]
                    mean[i, 0] = x
            ended = t >= shortest
            for a in range(q):
                x = y[gy, t, seen[a], 0]
                for k in range(n):
                    x -= Ho[a, k] * mean[k, 0]
                v[a, 0] = real.type(0.0) if ended else x
            total = constant
            for a in range(q):
                x = real.type(0.0)
                for b in range(a + 1):
                    x += inverse[a, b] * v[b, 0]
                w[a, 0] = x
                total -= real.type(0.5) * x * x
            log_prob[g, t, 0] = real.type(0.0) if ended else total
            for a in range(p):
                weights[g, mean_at, a, 0] = 0.0
            for a in range(q):
                x = real.type(0.0)
                for b in range(a, q):
                    x += inverse[b, a] * w[b, 0]
                weights[g, mean_at, seen[a], 0] = x
            for i in range(n):
                x = mean[i, 0]
                for a in range(q):
                    x += Kt[a, i] * v[a, 0]
                means[g, mean_at, i, 0] = x
            continue
        # Those of many members: matrices with a column for each.
        if t == 0:
            for i in range(n):
                for s in range(M):
                    mean[i, s] = m0[gm, i, of(s, m0.shape[2])]
        else:
            if t == 1 or c.shape[1] > 1:
                tc = of(t, c.shape[1])
                for i in range(n):
                    for s in range(M):
                        offset[i, s] = c[gc, tc, i, of(s, c.shape[3])]
            combine(offset, one, Fp, last, n, n, mean)
        for a in range(q):
            for s in range(M):
                v[a, s] = y[gy, t, seen[a], s]
        combine(v, minus, Ho, mean, q, n, v)
        if t >= shortest:
            for s in range(M):
                if t >= lengths[gl, of(s, lengths.shape[1])]:
                    for a in range(q):
                        v[a, s] = 0.0
        combine(zeros, one, inverse, v, q, q, w)
        for s in range(M):
            log_prob[g, t, s] = constant
        for a in range(q):
            for s in range(M):
                log_prob[g, t, s] -= real.type(0.5) * w[a, s] * w[a, s]
        if t >= shortest:
            for s in range(M):
                if t >= lengths[gl, of(s, lengths.shape[1])]:
                    log_prob[g, t, s] = 0.0
        combine_transposed(zeros, one, inverse, w, q, q, u)
        combine_transposed(mean, one, Kt, v, n, q, last)
        for i in range(n):
            for s in range(M):
                means[g, mean_at, i, s] = last[i, s]
        if q < p:
            for a in range(p):
                for s in range(M):
                    weights[g, mean_at, a, s] = 0.0
        for a in range(q):
            for s in range(M):
                weights[g, mean_at, seen[a], s] = u[a, s]
    status[g, SETTLED] = settled
    status[g, OUTCOME] = outcome
    return True


@compiled
def update_noise(eps, q, Ho, Kt, deviation, noise, noise_next, work):
    """Carry the rounding covariance through an update, as `dynplat.semigroup.kalman.update` does."""
    n = noise.shape[0]
    left = np.zeros((n, n), noise.dtype)
    size = np.empty(n, noise.dtype)
    for i in range(n):
        left[i, i] = 1.0
        size[i] = deviation[i]
    for a in range(q):
        reach = deviation[0] * 0
        for k in range(n):
            reach += abs(Ho[a, k]) * deviation[k]
        for i in range(n):
            size[i] += abs(Kt[a, i]) * reach
            for j in range(n):
                left[i, j] -= Kt[a, i] * Ho[a, j]
    congruence(left, noise, noise_next, work)
    for i in range(n):
        spread = deviation[0] * 0
        for k in range(n):
            spread += abs(left[i, k]) * deviation[k]
        noise_next[i, i] += eps * spread * spread + (4 * eps * size[i]) ** 2
    noise[:, :] = noise_next


@compiled
def stands_still(n, new, old, eps):
    """Whether a covariance changed by less than four roundings, entry by entry on the scale of its deviations."""
    bound = 16 * eps * eps
    for i in range(n):
        change = new[i, i] - old[i, i]
        if not (change * change <= bound * new[i, i] * new[i, i]):
            return False
    for i in range(n):
        for j in range(i):
            change = new[i, j] - old[i, j]
            if not (change * change <= bound * new[i, i] * new[j, j]):
                return False
    return True


@compiled
def rounding_stays_small(F, Ho, Kt, q, cov, eps):
    """Whether four roundings of a covariance at every row add up to less than 4096 of them.

    They are propagated by (I - K H) F; without observations (q = 0) by F.
    """
    n = F.shape[0]
    loop = np.empty((n, n), F.dtype)
    total = np.zeros((n, n), F.dtype)
    moved = np.empty((n, n), F.dtype)
    work = np.empty((n, n), F.dtype)
    closed_loop(F, Ho, Kt, q, loop)
    for i in range(n):
        total[i, i] = 4 * eps * cov[i, i]
    for _ in range(12):  # 4096 rows
        congruence(loop, total, moved, work)
        for i in range(n):
            for j in range(n):
                total[i, j] += moved[i, j]
            if not (total[i, i] <= 4096 * eps * cov[i, i]):
                return False
        square(loop, work)
    for i in range(n):
        if not (moved[i, i] <= eps * cov[i, i]):
            return False
    return True
