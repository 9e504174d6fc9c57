"""Transitions over many gaps from polynomials and doublings, compiled on a CPU and generic everywhere else.

What is computed stands in `dynplat.scan.kernels.discretisation`; where the tables come from, in
`dynplat.process.discretise`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like, is_jax_array
from dynplat.scan import check_driver, runs_compiled
from dynplat.scan.kernels.calling import call_kernel, grouped
from dynplat.scan.kernels.kernel import available_threads

#: Gaps that a thread is given at least.
_GAPS_PER_THREAD = 1_000


class Plan(NamedTuple):
    """Polynomials and what every gap puts into them.

    Attributes:
        powers: Table of E, (..., term, n, n).
        moments: Table of Q, (..., term, n, n).
        integrals: Table of G, (..., term, n, n), without terms where G is not asked for.
        argument: (..., gap).
        step: Length of time of the polynomial's step, (..., gap).
        count: Number of doublings, whole, (..., gap).
    """

    powers: Array
    moments: Array
    integrals: Array
    argument: Array
    step: Array
    count: Array


def run_doubling(plan: Plan, counts: np.ndarray | None, max_doublings: int) -> tuple[Array, Array, Array | None]:
    """F, Q and G (or None), (..., gap, n, n).

    Args:
        plan: What is to be done.
        counts: The numbers of doublings where they are known on the host.
        max_doublings: Number of doublings that generic code goes through where they are not.
    """
    if runs_compiled(check_driver("auto"), plan.powers) and 0 not in plan.argument.shape:
        F, Q, G = _compiled(plan)
    else:
        F, Q, G = _generic(plan, counts, max_doublings)
    return F, Q, G if plan.integrals.shape[-3] else None


def _compiled(plan: Plan) -> tuple[Array, ...]:
    from dynplat.scan.kernels.discretisation import DISCRETISATION

    cores = (3, 3, 3, 1, 1, 1)
    leads = [tuple(array.shape[: array.ndim - core]) for array, core in zip(plan, cores, strict=True)]
    gaps, n = int(plan.argument.shape[-1]), int(plan.powers.shape[-1])
    lead, arrays = grouped(plan, cores)
    parts = 1
    if not is_jax_array(plan.powers) and prod(lead) == 1:
        parts = max(1, min(available_threads(), gaps // _GAPS_PER_THREAD))
        arrays[3:] = [_in_parts(array, parts) for array in arrays[3:]]
    results, _ = call_kernel(DISCRETISATION, doubling_twin, arrays)
    xp = array_namespace(plan.powers)
    if parts > 1:
        results = tuple(xp.reshape(array, (1, -1, n, n))[:, :gaps] for array in results)
    F, Q, G = (xp.reshape(array, (*lead, array.shape[1], n, n)) for array in results)
    without_noise = np.broadcast_shapes(leads[0], leads[3])
    return _own_axes(F, without_noise), Q, _own_axes(G, without_noise)


def _own_axes(array: Array, lead: tuple[int, ...]) -> Array:
    """Keep one copy along the leading axes that only the noise has."""
    num = array.ndim - 3
    own = (1,) * (num - len(lead)) + lead
    index = tuple(slice(0, 1) if size == 1 else slice(None) for size in own)
    return array_namespace(array).reshape(array[index], (*lead, *array.shape[num:]))


def doubling_twin(
    powers: Array, moments: Array, integrals: Array, argument: Array, step: Array, count: Array
) -> tuple[Array, ...]:
    """The kernel's values by a function that can be differentiated again."""
    results = _generic(Plan(powers, moments, integrals, argument, step, count), None, 511)
    xp = array_namespace(powers)
    groups = max(int(array.shape[0]) for array in (powers, moments, integrals, argument, step, count))
    return tuple(xp.broadcast_to(array, (groups, *array.shape[1:])) for array in results)


def _in_parts(array: Array, parts: int) -> Array:
    """(1, gap) to (part, gap); the last part is filled up with zeros, which cost nothing."""
    xp = array_namespace(array)
    missing = -array.shape[1] % parts
    if missing:
        array = xp.concat([array, xp.zeros_like(array[:, :missing])], axis=1)
    return xp.reshape(array, (parts, -1))


def _generic(plan: Plan, counts: np.ndarray | None, max_doublings: int) -> tuple[Array, ...]:
    argument, step = plan.argument, plan.step
    E = _polynomial(plan.powers, argument) * argument[..., None, None]
    Q = _polynomial(plan.moments, argument) * step[..., None, None]
    state: tuple[Array, ...] = (E, Q)
    n = int(E.shape[-1])
    eye = asarray_like(np.eye(n), E)
    if plan.integrals.shape[-3]:
        state = (E, Q, _polynomial(plan.integrals, argument) * step[..., None, None])

    def double(state: tuple[Array, ...]) -> tuple[Array, ...]:
        E, Q, *rest = state
        F = eye + E
        grown = F @ Q @ array_namespace(F).matrix_transpose(F)
        return (2 * E + E @ E, Q + grown, *(G + F @ G for G in rest))

    with np.errstate(all="ignore"):  # growth out of range is reported by who asked
        state = _repeat(double, state, plan.count, counts, max_doublings)
    E, Q, *rest = state
    xp = array_namespace(E)
    if not rest:
        lead = np.broadcast_shapes(plan.integrals.shape[:-3], E.shape[:-3])
        rest = [xp.reshape(E[..., :0, :, :], (*lead, 0, n, n))]
    return eye + E, (Q + xp.matrix_transpose(Q)) / 2, rest[0]


def _polynomial(table: Array, argument: Array) -> Array:
    """Sum over k of argument^k / (k + 1)! * table[k], (..., gap, n, n), as one product over the gaps."""
    xp = array_namespace(argument)
    count, n = int(table.shape[-3]), int(table.shape[-1])
    coefficients, power = [], xp.ones_like(argument)
    for k in range(count):
        coefficients.append(power)
        power = power * argument / float(k + 2)
    flat = xp.stack(coefficients, axis=-1) @ xp.reshape(table, (*table.shape[:-2], n * n))
    return xp.reshape(flat, (*flat.shape[:-1], n, n))


def _repeat(
    double: Callable[[tuple[Array, ...]], tuple[Array, ...]],
    state: tuple[Array, ...],
    count: Any,
    counts: np.ndarray | None,
    max_doublings: int,
) -> tuple[Array, ...]:
    """Apply `double` to every element of the batch as often as its own `count` says."""
    xp = array_namespace(*state)

    def masked(state: tuple[Array, ...], active: Array) -> tuple[Array, ...]:
        # An element that is done must not be squared once more, even unused: it may overflow, and 0 * inf is NaN in
        # the gradient. So the computation sees zeros in its place.
        pick = active[..., None, None]
        safe = tuple(xp.where(pick, part, xp.zeros_like(part)) for part in state)
        return tuple(xp.where(pick, new, old) for new, old in zip(double(safe), state, strict=True))

    if counts is not None:
        most = int(counts.max(initial=0))
        for done in range(most):
            active = counts > done
            state = double(state) if active.all() else masked(state, asarray_like(active, state[0]))
        return state

    if not is_jax_array(state[0]):  # traced arrays of another framework: a plain loop, no early exit
        for done in range(max_doublings):
            state = masked(state, count > done)
        return state

    from jax import lax

    def body(state: tuple[Array, ...], done: Array) -> tuple[tuple[Array, ...], None]:
        active = count > done
        return lax.cond(xp.any(active), lambda s: masked(s, active), lambda s: s, state), None

    state, _ = lax.scan(body, state, xp.arange(max_doublings))
    unfinished = (count > max_doublings)[..., None, None]
    return tuple(xp.where(unfinished, xp.full_like(part, np.nan), part) for part in state)
