r"""The law of a flat start, learnt one whitened cell at a time.

The state at the first row is m0 + A delta + N(0, P0) with delta flat (density 1 with respect to Lebesgue measure). The
filter runs with the *proper* start delta ~ N(0, I), whose variance a flat law absorbs, and with one more data column
for each direction of delta; its whitened innovations then read

.. math::
    w_t = G_t \delta + N(0, I), \qquad G_t = -(\text{whitened innovations of the direction columns}),

for a delta that is still flat. Cell by cell, delta is N(mean, cov) plus a flat part on the range of a projector: a cell
that sees the flat part, |flat g|^2 > 0, resolves one direction and contributes -1/2 log |flat g|^2; any other cell
updates the proper part. Their sum is the log of the integral of p(y | delta) over delta, which is the limit of
log p(y) + (q/2) log(2 pi kappa) for delta ~ N(0, kappa I): the diffuse log-likelihood of Durbin and Koopman.

Source: Durbin and Koopman (2012), Time series analysis by state space methods, 2nd edition, chapters 5 and 7; de Jong
(1991), The diffuse Kalman filter, Annals of Statistics 19. What differs: the collapse happens in the small law of
delta, on whitened cells, so that R may be any covariance, singular or not.
"""

from __future__ import annotations

from typing import NamedTuple

from dynplat.arrays import Array, array_namespace, epsilon, eye_like, stop_gradient, symmetrise
from dynplat.semigroup.kalman import Innovation
from dynplat.semigroup.linear_gaussian import LOG_TWO_PI

#: A cell sees the flat part when its loading is above this many roundings.
_ROUNDINGS = 1000.0


class DiffuseState(NamedTuple):
    """Law of delta: N(mean, cov), and flat on the range of the projector `flat`.

    Attributes:
        mean: (..., q).
        cov: (..., q, q).
        flat: (..., q, q).
        remaining: Number of directions that are still flat, (...).
    """

    mean: Array
    cov: Array
    flat: Array
    remaining: Array


def flat_state(innovation: Innovation) -> DiffuseState:
    """Return the flat law for an innovation whose first column is data and whose other columns are directions."""
    like = innovation.whitened[..., 0, 1:]
    xp = array_namespace(like)
    q = like.shape[-1]
    zero = xp.zeros_like(like)
    matrix = zero[..., :, None] * zero[..., None, :]
    return DiffuseState(zero, matrix, matrix + eye_like(q, like), xp.zeros_like(like[..., 0]) + float(q))


def act_diffuse(state: DiffuseState, innovation: Innovation) -> tuple[DiffuseState, tuple[Array, DiffuseState]]:
    """Let the law of delta meet one row; return it with the row's log density (...) and the law again, to be kept."""
    mean, cov, flat, remaining = state
    xp = array_namespace(mean)
    eps = epsilon(mean)
    log_prob = innovation.log_scale
    for i in range(innovation.whitened.shape[-2]):
        value = innovation.whitened[..., i, 0]
        g = -innovation.whitened[..., i, 1:]
        seen = _apply(flat, g)
        loading = xp.sum(seen * seen, axis=-1)
        proper = _apply(cov, g)
        variance = xp.sum(g * proper, axis=-1) + 1.0
        residual = value - xp.sum(g * mean, axis=-1)
        floor = _ROUNDINGS**2 * eps**2 * xp.sum(g * g, axis=-1) + _ROUNDINGS * eps * innovation.slack[..., i]
        resolves = stop_gradient(loading) > stop_gradient(floor)

        safe = xp.where(resolves, loading, 1.0)
        flat_gain = seen / safe[..., None]
        gain = xp.where(resolves[..., None], flat_gain, proper / variance[..., None])
        cross = _outer(gain, proper)
        resolved_cov = cov + _outer(gain, gain) * variance[..., None, None] - cross - xp.matrix_transpose(cross)
        both = resolves[..., None, None]
        mean = mean + gain * residual[..., None]
        cov = symmetrise(xp.where(both, resolved_cov, cov - cross))
        remaining = remaining - xp.where(resolves, 1.0, 0.0)
        flat = xp.where(both, flat - _outer(seen, flat_gain), flat)
        flat = xp.where((remaining > 0.5)[..., None, None], flat, 0.0)
        log_prob = log_prob + xp.where(
            resolves,
            0.5 * LOG_TWO_PI - 0.5 * xp.log(safe),
            -0.5 * (xp.log(variance) + residual * residual / variance),
        )
    new = DiffuseState(mean, cov, flat, remaining)
    return new, (log_prob, new)


def _apply(matrix: Array, vector: Array) -> Array:
    return (matrix @ vector[..., None])[..., 0]


def _outer(left: Array, right: Array) -> Array:
    return left[..., :, None] * right[..., None, :]
