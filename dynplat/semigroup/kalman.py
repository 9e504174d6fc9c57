r"""A Gaussian state meets a raw step: the Kalman filter's predict and update, stabilised.

.. math::
    x^- \sim N(m, P), \quad x = F x^- + c + N(0, Q), \quad y = H x + N(0, R).

The update is Joseph's form, (I - K H) P (I - K H)^T + K R K^T, which stays positive semi-definite and whose error is of
second order in the error of the gain, so that single precision is safe; only the innovation covariance
S = H P H^T + R is factored, so that Q, R and P may be singular. The gradient is that of these operations: no inverse
of Q appears in it.

Where S is singular the law has no density. Rounding hides that: S = 0 may come out as 1e-17. The state therefore
carries `noise`, a covariance that bounds the rounding in P: each step adds some roundings of the numbers that it added
up and propagates what was there by the closed loop (I - K H) F, as it does with P itself. A pivot of S below the
rounding that reaches it is reported as singular and its term is NaN, never a number made of rounding.

Source: Bucy and Joseph (1968), Filtering for stochastic processes; Särkkä (2013), Bayesian filtering and smoothing,
section 4.3.
"""

from __future__ import annotations

from typing import NamedTuple

from dynplat.arrays import (
    Array,
    array_namespace,
    cholesky,
    epsilon,
    eye_like,
    solve_triangular,
    stop_gradient,
    symmetrise,
)
from dynplat.semigroup.linear_gaussian import LOG_TWO_PI, Step

#: A pivot counts as zero below this many times the rounding that reaches it.
SINGULAR_FACTOR = 16.0


class GaussianState(NamedTuple):
    """Moments of a state, for k data sets that share one covariance.

    Attributes:
        mean: (..., n, k).
        cov: (..., n, n).
        noise: Covariance that bounds the rounding in `cov`, (..., n, n); a constant for automatic differentiation.
    """

    mean: Array
    cov: Array
    noise: Array


class Innovation(NamedTuple):
    """What one observation says.

    Attributes:
        log_prob: log p(y | past) of each data set, (..., k); NaN where the law has no density.
        whitened: L^{-1} (y - H E[x | past]) with S = L L^T, (..., p, k).
        slack: Rounding that reaches each pivot of S, as a part of the pivot, (..., p).
        singular: Where the innovation covariance is singular to rounding, (..., p).
        log_scale: -log det L - (observed cells / 2) log 2 pi, (...).
    """

    log_prob: Array
    whitened: Array
    slack: Array
    singular: Array
    log_scale: Array


def initial_state(mean: Array, cov: Array) -> GaussianState:
    """Return a state whose covariance is exact to rounding."""
    xp = array_namespace(cov)
    scale = xp.abs(xp.linalg.diagonal(stop_gradient(cov)))
    return GaussianState(mean, cov, _diagonal(epsilon(cov) * scale, cov))


def predict(state: GaussianState, step: Step) -> GaussianState:
    """Return the law of the next state."""
    xp = array_namespace(state.cov, step.F)
    mean = step.F @ state.mean + step.c
    cov = step.F @ state.cov @ xp.matrix_transpose(step.F) + step.Q
    F, P, Q = stop_gradient(step.F), stop_gradient(state.cov), stop_gradient(step.Q)
    reach = xp.abs(F) @ _deviations(P)[..., None] + _deviations(Q)[..., None]
    added = _diagonal(epsilon(cov) * reach[..., 0] ** 2, cov)
    noise = F @ state.noise @ xp.matrix_transpose(F) + added
    return GaussianState(mean, cov, noise)


def update(state: GaussianState, step: Step) -> tuple[GaussianState, Innovation]:
    """Return the law of the state given the step's observation, and the innovation."""
    _, _, _, H, R, y, num_observed = step
    P = state.cov
    xp = array_namespace(P, H)
    HP = H @ P
    S = HP @ xp.matrix_transpose(H) + R
    chol_S = cholesky(S)
    residual = y - H @ state.mean
    whitened = solve_triangular(chol_S, residual)
    gain = xp.matrix_transpose(solve_triangular(chol_S, solve_triangular(chol_S, HP), transpose=True))
    left = eye_like(P.shape[-1], P) - gain @ H
    mean = state.mean + gain @ residual
    cov = left @ P @ xp.matrix_transpose(left) + gain @ R @ xp.matrix_transpose(gain)

    fixed_S, fixed_H, fixed_left = stop_gradient(S), stop_gradient(H), stop_gradient(left)
    deviations = _deviations(stop_gradient(P))[..., None]
    rounding = xp.sum((fixed_H @ state.noise) * fixed_H, axis=-1) + epsilon(P) * (
        (xp.abs(fixed_H) @ deviations)[..., 0] ** 2 + xp.linalg.diagonal(stop_gradient(R))
    )
    fixed_chol = stop_gradient(chol_S)
    pivot_roots = xp.linalg.diagonal(fixed_chol)
    reached = ((fixed_chol / pivot_roots[..., None, :]) ** 2 @ rounding[..., None])[..., 0]
    slack = reached / pivot_roots**2
    finite = xp.all(xp.isfinite(fixed_S), axis=(-2, -1))
    singular = finite[..., None] & ~(SINGULAR_FACTOR * slack < 1.0)
    # The rounding of I - K H itself enters P twice; it is all there is where y determines the state exactly.
    size = deviations + xp.abs(stop_gradient(gain)) @ (xp.abs(fixed_H) @ deviations)
    added = epsilon(P) * (xp.abs(fixed_left) @ deviations) ** 2 + (4.0 * epsilon(P) * size) ** 2
    noise = fixed_left @ state.noise @ xp.matrix_transpose(fixed_left) + _diagonal(added[..., 0], P)

    log_scale = -xp.sum(xp.log(xp.linalg.diagonal(chol_S)), axis=-1) - 0.5 * LOG_TWO_PI * num_observed
    log_scale = xp.where(xp.any(singular, axis=-1), xp.nan, log_scale)
    log_prob = log_scale[..., None] - 0.5 * xp.sum(whitened * whitened, axis=-2)
    return (
        GaussianState(mean, symmetrise(cov), noise),
        Innovation(log_prob, whitened, slack, singular, log_scale),
    )


def act(state: GaussianState, step: Step) -> tuple[GaussianState, Innovation]:
    """Let a filtered state meet the next raw step: `predict`, then `update`."""
    return update(predict(state, step), step)


def _deviations(cov: Array) -> Array:
    xp = array_namespace(cov)
    diagonal = xp.linalg.diagonal(cov)
    return xp.sqrt(xp.where(diagonal > 0, diagonal, 0.0))


def _diagonal(values: Array, like: Array) -> Array:
    return values[..., :, None] * eye_like(like.shape[-1], like)
