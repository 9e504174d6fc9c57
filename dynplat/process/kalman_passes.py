"""Filter moments, smoother and posterior draws of a linear-Gaussian chain by compiled kernels, and their twins.

Between passes, arrays stand as kernels want them (`dynplat.process.kalman`); the last function of each pass brings them
back to the leading axes of the chain and its data.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from dynplat.arrays import Array, array_namespace, asarray_like, is_jax_array, stop_gradient, symmetrise
from dynplat.process.chain_layout import Parameters, move_axis
from dynplat.process.kalman import (
    KalmanInputs,
    KalmanLayout,
    generic_filter,
    kalman_inputs,
    shared_to_lead,
    split,
    to_lead,
)
from dynplat.process.smoothing import backward
from dynplat.scan import choose_driver, tree
from dynplat.scan.kernels.calling import call_kernel
from dynplat.scan.kernels.kernel import available_threads, num_groups
from dynplat.semigroup import SmoothingElement, regression_element, rounded_factor


class CompiledFilter(NamedTuple):
    """What the compiled filter gave, in the layout of kernels.

    Attributes:
        inputs: Its inputs.
        log_prob: log p(y_t | y_<t), (group, time, member).
        means: Filtered means, (group, time, n, member).
        covs: Filtered covariances, (group, time, n, n).
        rounding: Rounding of the variances before and after each update, (group, time, 2, n).
        status: What the kernel tells of the run, (group, 2).
    """

    inputs: KalmanInputs
    log_prob: Array
    means: Array
    covs: Array
    rounding: Array
    status: Array


class CompiledMoments(NamedTuple):
    """Moments of a filter with the leading axes of the chain (see `dynplat.process.linear_gaussian.Filtered`)."""

    predicted_means: Array
    predicted_covs: Array
    means: Array
    covs: Array
    log_prob_steps: Array


class CompiledSmoother(NamedTuple):
    """Smoothed moments with the leading axes of the chain (see `dynplat.process.linear_gaussian.Smoothed`)."""

    means: Array
    covs: Array
    cross_covs: Array


# Filter.


def run_compiled_filter(
    parameters: Parameters, values: Array, mask: Array | None, inputs: Array | None, *, steady_state: bool
) -> CompiledFilter:
    """Filter (arguments as for `dynplat.process.kalman.run_compiled_likelihood`)."""
    from dynplat.scan.kernels.kalman_moments import KALMAN_MOMENTS

    arrays, _ = kalman_inputs(parameters, values, mask, inputs, steady_state=steady_state)
    (log_prob, means, covs, rounding), status = call_kernel(KALMAN_MOMENTS, filter_twin, arrays)
    return CompiledFilter(arrays, log_prob, means, covs, rounding, asarray_like(status, arrays.y))


def filter_moments(run: CompiledFilter, *, layout: KalmanLayout) -> CompiledMoments:
    """Moments before and after each update."""
    F, Q, _, _, m0, P0, c, *_ = run.inputs
    xp = array_namespace(run.means)
    groups, size, n, members = run.means.shape
    means = xp.broadcast_to(m0, (groups, n, members))[:, None]
    covs = xp.broadcast_to(symmetrise(P0), (groups, n, n))[:, None]
    if size > 1:
        F, Q, c = (array if array.shape[1] == 1 else array[:, 1:] for array in (F, Q, c))
        means = xp.concat([means, F @ run.means[:, :-1] + c], axis=1)
        later = F @ run.covs[:, :-1] @ xp.matrix_transpose(F) + symmetrise(Q)
        covs = xp.concat([covs, symmetrise(later)], axis=1)
    return CompiledMoments(
        to_lead(means, layout),
        shared_to_lead(covs, layout),
        to_lead(run.means, layout),
        shared_to_lead(run.covs, layout),
        to_lead(run.log_prob, layout),
    )


def filter_twin(*inputs: Array) -> tuple[Array, ...]:
    """Values of the compiled filter by the generic one."""
    arrays = KalmanInputs(*inputs)
    log_prob, (predicted, filtered) = generic_filter(arrays, moments=True)
    xp = array_namespace(arrays.y)
    (groups, rows, members), n = log_prob.shape, arrays.F.shape[-1]
    rounding = [xp.linalg.diagonal(state.noise) for state in (predicted, filtered)]
    values = (
        (filtered.mean, (n, members)),
        (filtered.cov, (n, n)),
        (stop_gradient(xp.stack(rounding, axis=-2)), (2, n)),
    )
    return log_prob, *(_group_first(xp.broadcast_to(array, (rows, groups, *core))) for array, core in values)


# Smoother.


def run_compiled_smoother(run: CompiledFilter, *, layout: KalmanLayout) -> CompiledSmoother:
    """Smoothed moments from a filter pass."""
    from dynplat.scan.kernels.smoother import SMOOTHER

    (means, covs, cross), _ = call_kernel(SMOOTHER, smoother_twin, _later_inputs(run))
    return CompiledSmoother(to_lead(means, layout), shared_to_lead(covs, layout), shared_to_lead(cross, layout))


def smoother_twin(
    F: Array, Q: Array, c: Array, means: Array, covs: Array, rounding: Array, status: Array
) -> tuple[Array, ...]:
    """Values of the compiled smoother by the generic one."""
    elements = _elements(F, Q, c, means, covs, rounding)
    g, L = backward(elements, choose_driver("auto", F, int(means.shape[1])))
    cross = elements.E[:-1] @ L[1:]
    groups = num_groups((F, Q, c, means, covs, rounding, status))
    xp = array_namespace(g)
    return tuple(
        _group_first(xp.broadcast_to(array, (array.shape[0], groups, *array.shape[2:]))) for array in (g, L, cross)
    )


def _later_inputs(run: CompiledFilter) -> tuple[Array, ...]:
    F, Q, _, _, _, _, c, *_ = run.inputs
    return F, Q, c, run.means, run.covs, run.rounding, run.status


def _elements(F: Array, Q: Array, c: Array, means: Array, covs: Array, rounding: Array) -> SmoothingElement:
    """Generic smoothing elements, time first, from what a compiled filter gave."""
    from dynplat.scan.kernels.kalman_moments import PREDICTED

    xp = array_namespace(F, means)
    means, covs, rounding = (_time_first(array) for array in (means, symmetrise(covs), rounding))
    last = SmoothingElement(xp.zeros_like(covs[-1:]), means[-1:], covs[-1:])
    if means.shape[0] == 1:
        return last
    F, Q, c = (array[:, 0][None] if array.shape[1] == 1 else _time_first(array)[1:] for array in (F, Q, c))
    before = regression_element(means[:-1], covs[:-1], F, c, symmetrise(Q), rounding[1:, :, PREDICTED])
    return tree.concat(before, last)


# Draws.


def run_compiled_draws(run: CompiledFilter, noise: Array, *, layout: KalmanLayout) -> Array:
    """Joint draws of the states given the data from a filter pass.

    Args:
        run: The pass.
        noise: Standard normal numbers, (draws, ..., time, n).
        layout: Layout of the pass.

    Returns:
        (draws, ..., time, n).
    """
    from dynplat.scan.kernels.paths import PATHS

    lead, groups, members, parts = layout
    xp = array_namespace(noise)
    draws, rows, n = int(noise.shape[0]), int(noise.shape[-2]), int(noise.shape[-1])
    own = [lead[axis] for axis in groups]
    rank = len(lead)
    order = (*(axis + 1 for axis in groups), 0, *(axis + 1 for axis in members), rank + 1, rank + 2)
    arranged = xp.permute_dims(noise, order)
    if parts > 1:
        shape = (draws, parts, -1, rows, n)
        arranged = xp.permute_dims(xp.reshape(arranged, shape), (1, 0, 2, 3, 4))
        num = parts
    else:
        # A single group is shared by threads draw by draw.
        num = prod(own) if groups or is_jax_array(noise) else split(draws, available_threads())
    size = draws * prod(lead) // max(num, 1)
    arranged = xp.reshape(arranged, (num, size, rows, n))
    (paths,), _ = call_kernel(PATHS, paths_twin, (*_later_inputs(run), arranged))
    if parts > 1:
        paths = xp.permute_dims(xp.reshape(paths, (parts, draws, -1, rows, n)), (1, 0, 2, 3, 4))
    paths = xp.reshape(paths, (*own, draws, *(lead[axis] for axis in members), rows, n))
    back = sorted(range(len(order)), key=lambda place: order[place])
    return xp.permute_dims(paths, tuple(back))


def paths_twin(
    F: Array, Q: Array, c: Array, means: Array, covs: Array, rounding: Array, status: Array, noise: Array
) -> tuple[Array]:
    """Values of the compiled draws by the generic ones."""
    from dynplat.scan.kernels.kalman_moments import FILTERED

    xp = array_namespace(F, noise)
    elements = _elements(F, Q, c, means, covs, rounding)
    factors = rounded_factor(elements, _time_first(rounding)[:, :, FILTERED])
    copies = int(noise.shape[1]) // max(int(means.shape[-1]), 1)
    z = xp.permute_dims(noise, (2, 0, 3, 1))
    g = xp.concat([elements.g] * copies, axis=-1) + factors @ z
    g, _ = backward(SmoothingElement(elements.E, g, None), choose_driver("auto", F, int(means.shape[1])))
    return (xp.permute_dims(g, (1, 3, 0, 2)),)


def _time_first(array: Array) -> Array:
    return move_axis(array, 1, 0)


def _group_first(array: Array) -> Array:
    return move_axis(array, 0, 1)
