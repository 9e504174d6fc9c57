r"""Compiled filter moments of linear-Gaussian chains and their adjoint.

The filter is that of `kalman`, with all rows of its means and covariances. Members of a group share their covariances
to the last row: one that ends before has a group of its own. Beside the moments stands, for each row, the
diagonal of the rounding covariance of `dynplat.semigroup.kalman` before and after the update: what the smoother takes
for zero. It is a constant for differentiation.

**Adjoint.** Cotangents of filtered means and covariances are added to lambda and Lambda of the recursion in `kalman`
at their rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dynplat.scan.kernels.compiling import compiled
from dynplat.scan.kernels.kalman import KALMAN
from dynplat.scan.kernels.kalman_backward import backward_group
from dynplat.scan.kernels.kalman_forward import SETTLED, update_noise
from dynplat.scan.kernels.kalman_forward import forward as run_filter
from dynplat.scan.kernels.kernel import Kernel, Shape, Spec
from dynplat.scan.kernels.small import congruence, multiply, of, root

#: Places in the third axis of `rounding`: before and after the update.
PREDICTED, FILTERED = 0, 1


@compiled
def forward(
    F, Q, H, R, m0, P0, c, y, mask, lengths, options, log_prob, means, covs, rounding, weights, gains, factors, status
):  # fmt: skip
    """Filter all groups.

    Inputs: those of `kalman_forward.forward`.
    Outputs: its outputs with whole time axes and all rows of `covs`, and
        rounding: diagonals of the rounding covariances, (G, T, 2, n).
    """
    run_filter(
        F, Q, H, R, m0, P0, c, y, mask, lengths, options, log_prob, means, weights, covs, gains, factors, status
    )  # fmt: skip
    for g in range(log_prob.shape[0]):
        _add_rounding(g, F, Q, H, P0, covs, gains, status, rounding)
        for t in range(status[g, SETTLED] + 1, covs.shape[1]):
            covs[g, t] = covs[g, t - 1]
            rounding[g, t] = rounding[g, t - 1]


@compiled
def _add_rounding(g, F, Q, H, P0, covs, gains, status, rounding):
    """Carry the rounding covariance to the row where the covariances stand still."""
    n, p = F.shape[3], H.shape[2]
    real = covs.dtype
    eps = real.type(np.finfo(real).eps)
    gF, gQ, gH, gP = of(g, F.shape[0]), of(g, Q.shape[0]), of(g, H.shape[0]), of(g, P0.shape[0])
    noise = np.zeros((n, n), real)
    work = np.empty((n, n), real)
    noise_next = np.empty((n, n), real)
    before = np.empty(n, real)
    deviation = np.empty(n, real)
    for t in range(min(status[g, SETTLED], covs.shape[1] - 1) + 1):
        if t == 0:
            for i in range(n):
                noise[i, i] = eps * abs(P0[gP, i, i])
                deviation[i] = root(P0[gP, i, i])
        else:
            Ft, Qt = F[gF, of(t, F.shape[1])], Q[gQ, of(t, Q.shape[1])]
            P = covs[g, t - 1]
            congruence(Ft, noise, noise_next, work)
            for i in range(n):
                before[i] = root(P[i, i])
            multiply(Ft, P, work)
            for i in range(n):
                reach = root(Qt[i, i])
                variance = Qt[i, i]
                for k in range(n):
                    reach += abs(Ft[i, k]) * before[k]
                    variance += work[i, k] * Ft[i, k]
                noise_next[i, i] += eps * reach * reach
                deviation[i] = root(variance)
            noise[:, :] = noise_next
        for i in range(n):
            rounding[g, t, PREDICTED, i] = noise[i, i]
        update_noise(eps, p, H[gH, of(t, H.shape[1])], gains[g, t], deviation, noise, noise_next, work)
        for i in range(n):
            rounding[g, t, FILTERED, i] = noise[i, i]


@compiled
def backward(
    F, Q, H, R, m0, P0, c, y, mask, lengths, options,
    log_prob, means, covs, rounding, weights, gains, factors, status,
    of_log_prob, of_means, of_covs, of_rounding, wanted,
    dF, dQ, dH, dR, dm0, dP0, dc, dy,
):  # fmt: skip
    """Add up the gradients of all groups."""
    dF[:], dQ[:], dH[:], dR[:], dm0[:], dP0[:], dc[:], dy[:] = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for g in range(log_prob.shape[0]):
        backward_group(
            g, F, H, lengths, means, weights, covs, gains, factors, status, of_log_prob, True, of_means, of_covs,
            wanted, dF, dQ, dH, dR, dm0, dP0, dc, dy,
        )  # fmt: skip


def _shapes(inputs: Sequence[Shape], keep: bool) -> tuple[Shape, ...]:
    del keep  # the rounding needs the gains of all rows
    n, p = inputs[0][-1], inputs[2][-2]
    _, rows, _, members = inputs[7]
    groups = max(shape[0] for shape in inputs[:10])
    return (
        (groups, rows, members),
        (groups, rows, n, members),
        (groups, rows, n, n),
        (groups, rows, 2, n),
        (groups, rows, p, members),
        (groups, rows, p, n),
        (groups, rows, p, p),
        (groups, 2),
    )


KALMAN_MOMENTS = Kernel(
    name="kalman_moments",
    inputs=KALMAN.inputs,
    outputs=(
        Spec("log_prob", 3),
        Spec("means", 4),
        Spec("covs", 4),
        Spec("rounding", 4),
        Spec("weights", 4),
        Spec("gains", 4),
        Spec("factors", 4),
        Spec("status", 2, "count"),
    ),
    num_values=4,
    shapes=_shapes,
    forward=forward,
    backward=backward,
)
