r"""Sinkhorn's iterations for the coupling of two weighted populations that is closest to a reference, in logarithms.

With weights :math:`\mu_i, \nu_j` and the reference's transition density :math:`p(y_j \mid x_i)`, the coupling is

.. math::
    \pi_{ij} = \mu_i \nu_j \, e^{f_i + g_j}\, p(y_j \mid x_i), \qquad
    f_i = -\log \sum_j \nu_j e^{g_j} p(y_j \mid x_i), \qquad g_j = -\log \sum_i \mu_i e^{f_i} p(y_j \mid x_i) .

The two equations are solved in turn. A plan is kept as it stands and multiplied by factors of rows and columns, one
product of a matrix and a vector each; factors are taken up into f and g before they leave the range of numbers, and
where a sum vanishes the logarithms are summed anew. A sharp kernel is reached through wider ones,
:math:`p^\tau` with :math:`\tau` growing to 1. Where the noise is small against the distances the iterations slow down;
then Newton's method goes on, with g eliminated, a damping that follows its success, and one linear system in f for each
step.

References:
    B. Schmitzer, "Stabilized sparse scaling algorithms for entropy regularized transport problems", SIAM Journal on
    Scientific Computing 41, 2019, doi:10.1137/16M1106018 (absorption of factors, and scaling of the regularisation).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like, solve, to_numpy
from dynplat.errors import ArgumentError, InferenceError

#: Logarithm of factors beyond which they are taken up into the potentials.
_ABSORBED = 30.0
#: Spread of log densities below which a kernel counts as wide, and the step of tau towards 1.
_WIDE, _SHARPEN = 20.0, 4.0
#: Marginal error at which a wider kernel is left, and the most iterations spent on it.
_LOOSE, _FEW = 1e-2, 200
#: Iterations after which Newton's method takes over, and the damping at which it gives up.
_PATIENCE, _GIVE_UP = 300, 1e12


class Coupling(NamedTuple):
    """A coupling of two weighted populations.

    Attributes:
        f: Potentials of the first population, (..., first).
        g: Potentials of the second, (..., second).
        log_plan: Logarithm of the plan pi, (..., first, second).
        error: Largest marginal error, the sum of absolute differences from the weights, over leading axes.
        iterations: Number of iterations, those on wider kernels among them.
    """

    f: Array
    g: Array
    log_plan: Array
    error: float
    iterations: int


def sinkhorn(
    log_kernel: Array,
    first: Any = None,
    second: Any = None,
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 10_000,
    start: Array | None = None,
    check: bool = True,
) -> Coupling:
    """Couple two weighted populations as close to a reference as their weights allow.

    Args:
        log_kernel: Log transition densities log p(y_j | x_i), (..., first, second), finite. A factor that depends on i
            or on j alone makes no difference to the plan.
        first: Weights of the first population, (first,), positive, with sum 1; equal by default.
        second: Weights of the second.
        tolerance: Marginal error, the sum of absolute differences from the weights, to be reached.
        max_iterations: Most iterations at the kernel itself; a step of Newton's method counts as one.
        start: Potentials g of the second population from which to start, (..., second).
        check: Whether to refuse a plan that has not converged.

    Raises:
        ArgumentError: Weights are not positive or do not sum to 1, or the kernel is not finite.
        InferenceError: The iterations did not reach the tolerance: the message says what marginal error they reached.
    """
    xp = array_namespace(log_kernel)
    if not bool(xp.all(xp.isfinite(log_kernel))):
        raise ArgumentError("`log_kernel` must be finite: a reference with noise in every channel has a density.")
    mu, nu = (
        _log_weights(name, value, size, log_kernel)
        for name, value, size in (
            ("first", first, log_kernel.shape[-2]),
            ("second", second, log_kernel.shape[-1]),
        )
    )
    loaded = log_kernel + mu[:, None] + nu
    spread = float(xp.max(xp.max(log_kernel, axis=-1) - xp.min(log_kernel, axis=-1)))
    tau, iterations = 1.0, 0
    g = xp.zeros_like(log_kernel[..., 0, :]) if start is None else asarray_like(start, log_kernel)
    if start is None and spread > _WIDE:
        tau = max(_WIDE / spread, 1e-12)
    while tau < 1.0:
        state = _iterate(tau * log_kernel + mu[:, None] + nu, mu, nu, g, _LOOSE, _FEW)
        iterations += state.iterations
        wider, tau = tau, min(1.0, tau * _SHARPEN)
        g = state.g * (tau / wider)
    state = _iterate(loaded, mu, nu, g, tolerance, min(max_iterations, _PATIENCE))
    left = max_iterations - state.iterations
    if not state.error <= tolerance and left > 0:
        state = _newton(loaded, mu, nu, state, tolerance, left)
    if check and not state.error <= tolerance:
        raise InferenceError(
            f"Sinkhorn's iterations did not converge: after {state.iterations} of them the marginal error is "
            f"{state.error:.2g}, and `tolerance` is {tolerance:.2g}. The noise of the reference is too small for them: "
            f"log densities differ by up to {spread:.3g} within a row. Take a larger `diffusion`, or more "
            "`max_iterations`, or a larger `tolerance`."
        )
    return state._replace(iterations=iterations + state.iterations)


def _iterate(loaded: Array, mu: Array, nu: Array, g: Array, tolerance: float, max_iterations: int) -> Coupling:
    """Iterate from potentials g; `loaded` is the kernel with the weights on it."""
    xp = array_namespace(loaded)
    first, second = xp.exp(mu), xp.exp(nu)
    f, g = _exact(loaded, mu, nu, g)
    plan = xp.exp(loaded + f[..., :, None] + g[..., None, :])
    u, v = xp.ones_like(f), xp.ones_like(g)
    error, done = math.inf, 0
    while done < max_iterations:
        done += 1
        row = (plan @ v[..., None])[..., 0]
        # After the update of g columns are exact: what rows miss is the error.
        error = float(xp.max(xp.sum(xp.abs(u * row - first), axis=-1)))
        if error <= tolerance:
            break
        u = first / row
        column = (u[..., None, :] @ plan)[..., 0, :]
        v = second / column
        size = float(xp.max(xp.abs(xp.log(u)))) + float(xp.max(xp.abs(xp.log(v))))
        if not size <= _ABSORBED:
            if math.isfinite(size):
                f, g = f + xp.log(u), g + xp.log(v)
            else:
                f, g = _exact(loaded, mu, nu, g)
            plan = xp.exp(loaded + f[..., :, None] + g[..., None, :])
            u, v = xp.ones_like(f), xp.ones_like(g)
    f, g = f + xp.log(u), g + xp.log(v)
    return Coupling(f, g, loaded + f[..., :, None] + g[..., None, :], error, done)


def _newton(loaded: Array, mu: Array, nu: Array, state: Coupling, tolerance: float, max_steps: int) -> Coupling:
    """Newton's method for f, with g eliminated: a damped step, then the iteration for g.

    What is maximised is concave, q(f) = sum mu f + sum nu g(f), with the gradient mu - rows of the plan and minus the
    Hessian diag(rows) - pi diag(1 / nu) pi^T.
    """
    xp = array_namespace(loaded)
    first, second = xp.exp(mu), xp.exp(nu)
    eye = asarray_like(np.eye(loaded.shape[-2]), loaded)

    def updated(f: Array) -> tuple[Array, Array, Array, float]:
        g = nu - log_sum_exp(loaded + f[..., :, None], axis=-2)
        plan = xp.exp(loaded + f[..., :, None] + g[..., None, :])
        value = float(xp.sum(first * f) + xp.sum(second * g))
        return g, plan, xp.sum(plan, axis=-1), value

    f, damping, taken = state.f, 1e-3, 0
    g, plan, row, value = updated(f)
    error = float(xp.max(xp.sum(xp.abs(row - first), axis=-1)))
    while not error <= tolerance and taken < max_steps and damping < _GIVE_UP:
        taken += 1
        hessian = (1.0 + damping) * row[..., None] * eye - plan / second @ xp.matrix_transpose(plan)
        move = solve(hessian, (first - row)[..., None])[..., 0]
        move = move - xp.mean(move, axis=-1, keepdims=True)
        size = float(xp.max(xp.abs(move)))
        if not math.isfinite(size):
            damping *= 10.0
            continue
        f_new = f + move * min(1.0, _ABSORBED / max(size, 1e-300))
        g_new, plan_new, row_new, value_new = updated(f_new)
        error_new = float(xp.max(xp.sum(xp.abs(row_new - first), axis=-1)))
        if value_new > value or error_new < error:
            f, g, plan, row, value, error = f_new, g_new, plan_new, row_new, value_new, error_new
            damping = max(damping / 10.0, 1e-12)
        else:
            damping *= 10.0
    return Coupling(f, g, loaded + f[..., :, None] + g[..., None, :], error, state.iterations + taken)


def _exact(loaded: Array, mu: Array, nu: Array, g: Array) -> tuple[Array, Array]:
    """One iteration with sums of logarithms, which no size can spoil."""
    f = mu - log_sum_exp(loaded + g[..., None, :], axis=-1)
    return f, nu - log_sum_exp(loaded + f[..., :, None], axis=-2)


def log_sum_exp(values: Array, axis: int) -> Array:
    """Logarithm of the sum of exponentials along an axis; minus infinity where all of them are."""
    xp = array_namespace(values)
    top = xp.max(values, axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
    return xp.log(xp.sum(xp.exp(values - top), axis=axis)) + xp.squeeze(top, axis=axis)


def _log_weights(name: str, weights: Any, size: int, like: Array) -> Array:
    xp = array_namespace(like)
    if weights is None:
        return asarray_like(np.full(size, -math.log(size)), like)
    numbers = to_numpy(weights).astype(np.float64)
    if numbers.shape != (size,) or not (numbers > 0).all() or abs(numbers.sum() - 1.0) > 1e-6:
        raise ArgumentError(
            f"`{name}` must be {size} positive weights with sum 1; got shape {numbers.shape}, the least "
            f"{numbers.min(initial=np.inf):.3g}, with sum {numbers.sum():.6g}. Leave points without weight out."
        )
    return xp.log(asarray_like(numbers / numbers.sum(), like))
