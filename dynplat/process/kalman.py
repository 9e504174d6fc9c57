"""A linear-Gaussian chain laid out for the compiled Kalman filter, and the generic filter in that layout: its twin.

Leading axes fall in two kinds: an axis along which no covariance and no hole changes holds *members*, which share one
covariance recursion; any other holds *groups* (see `dynplat.scan.kernels.kalman`).
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like, is_jax_array, symmetrise
from dynplat.process.chain_layout import Parameters, move_axis, observation_offset, transition_offset
from dynplat.scan.drivers import choose_driver
from dynplat.scan.kernels.calling import call_kernel, grouped
from dynplat.scan.kernels.kernel import available_threads, num_groups
from dynplat.semigroup import Step, initial_state

#: Members that a thread is given at least: below that it would only repeat the covariance recursion.
_MEMBERS_PER_THREAD = 16


class KalmanInputs(NamedTuple):
    """Inputs of the compiled filter, in its order (see `dynplat.scan.kernels.kalman`)."""

    F: Array
    Q: Array
    H: Array
    R: Array
    m0: Array
    P0: Array
    c: Array
    y: Array
    mask: Array
    lengths: Array
    options: Array


class KalmanLayout(NamedTuple):
    """How the leading axes of a chain and its data became groups and members.

    Attributes:
        lead: The leading shape.
        groups: Axes that hold groups.
        members: Axes that hold members.
        parts: Number of groups into which the members are split, so that threads can share them.
    """

    lead: tuple[int, ...]
    groups: tuple[int, ...]
    members: tuple[int, ...]
    parts: int


def run_compiled_likelihood(
    parameters: Parameters,
    values: Array,
    mask: Array | None,
    inputs: Array | None,
    lengths: Array | None = None,
    *,
    steady_state: bool,
) -> tuple[Array, Any]:
    """Log density of each row, (..., time), by the compiled filter, and what the filter tells of the run.

    Args:
        parameters: The chain; without a flat start.
        values: (..., time, p).
        mask: True = observed, broadcasts with `values`; None = everything is observed.
        inputs: (..., time, k) or None.
        lengths: Rows after which a series has ended, whatever `mask` says of later ones, (...); None = all.
        steady_state: Whether covariances that have converged may stand still.
    """
    arrays, layout = kalman_inputs(parameters, values, mask, inputs, lengths, steady_state=steady_state)
    from dynplat.scan.kernels.kalman import KALMAN

    (log_prob,), status = call_kernel(KALMAN, kalman_twin, arrays)
    return to_lead(log_prob, layout), status


def run_triton_likelihood(
    parameters: Parameters,
    values: Array,
    mask: Array | None,
    inputs: Array | None,
    lengths: Array | None = None,
) -> tuple[Array, Array]:
    """Log density of each row, (..., time), by the filter in Triton, and which series have a row without a density.

    Arguments as for `run_compiled_likelihood`, for torch tensors.
    """
    from dynplat.scan.kernels import kalman_triton

    cores = (3, 3, 3, 3, 1, 2, 2, 2, 2, 0)
    lead, arrays = grouped(_filter_arrays(parameters, values, mask, inputs, lengths), cores)
    log_prob, singular = kalman_triton.log_prob_steps(*arrays, twin=_triton_twin)
    return log_prob.reshape((*lead, log_prob.shape[-1])), singular


def _triton_twin(*inputs: Array) -> tuple[Array]:
    """The same terms, (group, time), by the generic filter: groups of one member each."""
    F, Q, H, R, m0, P0, c, y, mask, lengths = inputs
    m0, c, y, lengths = (array[..., None] for array in (m0, c, y, lengths))
    return (kalman_twin(F, Q, H, R, m0, P0, c, y, mask, lengths, lengths)[0][..., 0],)


def kalman_inputs(
    parameters: Parameters,
    values: Array,
    mask: Array | None,
    inputs: Array | None,
    lengths: Array | None = None,
    *,
    steady_state: bool,
) -> tuple[KalmanInputs, KalmanLayout]:
    """Lay a chain and its data out for the compiled filter (arguments as for `run_compiled_likelihood`)."""
    F, Q, H, R, m0, P0, c, y, mask, lengths = _filter_arrays(parameters, values, mask, inputs, lengths)
    xp = array_namespace(F, y)
    shared = {"F": (F, 3), "Q": (Q, 3), "H": (H, 3), "R": (R, 3), "P0": (P0, 2), "mask": (mask, 2)}
    own = {"m0": (m0, 1), "c": (c, 2), "y": (y, 2), "lengths": (lengths, 0)}
    layout = _layout(
        tuple(tuple(array.shape[: array.ndim - core]) for array, core in shared.values()),
        tuple(tuple(array.shape[: array.ndim - core]) for array, core in own.values()),
        1 if is_jax_array(F) else available_threads(),
    )
    num_members = prod(layout.lead[axis] for axis in layout.members) // layout.parts
    arrays = {name: _grouped(array, core, layout) for name, (array, core) in shared.items()}
    arrays |= {name: _with_members(array, core, layout) for name, (array, core) in own.items()}
    y = arrays["y"]
    if y.shape[-1] != num_members:
        y = xp.broadcast_to(y, (*y.shape[:-1], num_members))
    arrays["y"] = y
    arrays["options"] = asarray_like(np.full((1, 1), steady_state, dtype=np.int32), F)
    return KalmanInputs(**arrays), layout


def _filter_arrays(
    parameters: Parameters, values: Array, mask: Array | None, inputs: Array | None, lengths: Array | None
) -> tuple[Array, ...]:
    """F, Q, H, R, m0, P0, c, y, mask and lengths, whose leading axes broadcast, from the chain and its data."""
    F, Q, H, R, m0, P0 = parameters[:6]
    xp = array_namespace(F, values)
    offset, drift = observation_offset(parameters, inputs), transition_offset(parameters, inputs)
    residual = values if offset is None else values - offset
    n, p = int(F.shape[-1]), int(H.shape[-2])
    if drift is None:
        drift = asarray_like(np.zeros((1, n)), F)
    mask = asarray_like(np.ones((1, p), dtype=bool) if mask is None else mask, F)
    lengths = asarray_like(np.int32(values.shape[-2]) if lengths is None else lengths, F)
    return F, Q, H, R, m0, P0, drift, residual, xp.astype(mask, xp.uint8), xp.astype(lengths, xp.int32)


def kalman_layout(parameters: Parameters, values: Array, mask: Array | None, inputs: Array | None) -> KalmanLayout:
    """The layout that `kalman_inputs` chooses, from shapes alone."""
    cores = (3, 3, 3, 3, 1, 2, 2, 2, 3, 3)
    leads = {
        name: tuple(array.shape[: array.ndim - core])
        for name, array, core in zip(Parameters._fields, parameters, cores, strict=False)
        if array is not None
    }
    shared = [leads.pop(name) for name in ("F", "Q", "H", "R", "P0")]
    if mask is not None:
        shared.append(tuple(mask.shape[:-2]))
    own = [*leads.values(), tuple(values.shape[:-2])]
    if inputs is not None and (parameters.B is not None or parameters.D is not None):
        own.append(tuple(inputs.shape[:-2]))
    return _layout(tuple(shared), tuple(own), 1 if is_jax_array(values) else available_threads())


def kalman_twin(
    F: Array,
    Q: Array,
    H: Array,
    R: Array,
    m0: Array,
    P0: Array,
    c: Array,
    y: Array,
    mask: Array,
    lengths: Array,
    options: Array,
) -> tuple[Array]:
    """Log density of each row, (group, time, member), by the generic filter from the compiled one's inputs."""
    arrays = KalmanInputs(F, Q, H, R, m0, P0, c, y, mask, lengths, options)
    return generic_filter(arrays, moments=False)[:1]


def generic_filter(inputs: KalmanInputs, *, moments: bool) -> tuple[Array, tuple]:
    """Log density of each row, (group, time, member), by the generic filter, and its states, time first."""
    from dynplat.process.filtering import forward

    F, Q, H, R, m0, P0, c, y, mask, lengths, _ = inputs
    xp = array_namespace(F, y)
    seen = mask != 0
    lasts = asarray_like(np.arange(y.shape[1], dtype=np.int32), mask)[:, None] < lengths[:, None, :]
    both = seen[..., :, None] & seen[..., None, :]
    n, p = int(F.shape[-1]), int(H.shape[-2])
    eye = asarray_like(np.eye(p), F)
    steps = Step(
        F=_time_first(F),
        c=_time_first(c),
        Q=_time_first(symmetrise(Q)),
        H=_time_first(xp.where(seen[..., None], H, 0.0)),
        R=_time_first(xp.where(both, symmetrise(R), eye)),
        y=_time_first(xp.where(seen[..., None] & lasts[:, :, None, :], y, 0.0)),
        num_observed=_time_first(xp.sum(xp.astype(seen, F.dtype), axis=-1)),
    )
    own = num_groups((F, Q, H, R, P0, mask))
    groups = num_groups(inputs[:-1])
    state = initial_state(xp.broadcast_to(m0, (groups, n, y.shape[-1])), symmetrise(xp.broadcast_to(P0, (own, n, n))))
    driver = choose_driver("auto", F, int(y.shape[1]))
    innovations, states = forward(state, steps, driver, moments=moments)
    log_prob = move_axis(xp.broadcast_to(innovations.log_prob, (y.shape[1], groups, y.shape[-1])), 0, 1)
    return xp.where(lasts, log_prob, 0.0), states


@lru_cache(maxsize=64)
def _layout(shared: tuple[tuple[int, ...], ...], own: tuple[tuple[int, ...], ...], threads: int) -> KalmanLayout:
    """Layout for the leading shapes of what members share and of what is their own."""
    lead = tuple(int(size) for size in np.broadcast_shapes(*shared, *own))
    grouped = np.broadcast_shapes(*shared)
    grouped = (1,) * (len(lead) - len(grouped)) + tuple(grouped)
    members = tuple(axis for axis, size in enumerate(grouped) if size == 1)
    groups = tuple(axis for axis, size in enumerate(grouped) if size != 1)
    parts = 1 if groups else split(prod(lead[axis] for axis in members), threads)
    return KalmanLayout(lead, groups, members, parts)


def split(members: int, threads: int) -> int:
    """Parts of equal size into which members are split for so many threads."""
    wanted = min(threads, members // _MEMBERS_PER_THREAD)
    return next((parts for parts in range(wanted, 1, -1) if members % parts == 0), 1)


def _grouped(array: Array, num_core: int, layout: KalmanLayout) -> Array:
    """(..., core) without members to (group or 1, core)."""
    core = tuple(array.shape[array.ndim - num_core :])
    size = prod(array.shape[: array.ndim - num_core])
    full = prod(layout.lead[axis] for axis in layout.groups)
    xp = array_namespace(array)
    if size not in (1, full):  # shared along some axes of groups only
        lead = tuple(layout.lead[axis] if axis in layout.groups else 1 for axis in range(len(layout.lead)))
        array, size = xp.broadcast_to(array, (*lead, *core)), full
    return xp.reshape(array, (size, *core))


def _with_members(array: Array, num_core: int, layout: KalmanLayout) -> Array:
    """(..., core) to (group or 1, core, member or 1)."""
    lead, groups, members, parts = layout
    xp = array_namespace(array)
    core = tuple(array.shape[array.ndim - num_core :])
    own: tuple[int, ...] = tuple(array.shape[: array.ndim - num_core])
    if prod(own) == prod(lead) == 1:
        return xp.reshape(array, (1, *core, 1))
    own = (1,) * (len(lead) - len(own)) + own
    array = xp.reshape(array, (*own, *core))
    target: list[int] = list(own)
    for axes in (groups, members):
        if any(own[axis] != 1 for axis in axes):
            for axis in axes:
                target[axis] = lead[axis]
    if tuple(target) != own:
        array = xp.broadcast_to(array, (*target, *core))
    array = xp.permute_dims(array, (*groups, *range(len(lead), array.ndim), *members))
    num_groups, num_members = prod(target[axis] for axis in groups), prod(target[axis] for axis in members)
    array = xp.reshape(array, (num_groups, *core, num_members))
    if parts == 1 or num_members == 1:
        return array
    array = xp.reshape(array, (*core, parts, num_members // parts))
    return xp.permute_dims(array, (num_core, *range(num_core), num_core + 1))


def to_lead(array: Array, layout: KalmanLayout) -> Array:
    """(group, core, member) to (..., core)."""
    lead, groups, members, parts = layout
    xp = array_namespace(array)
    core = tuple(int(size) for size in array.shape[1:-1])
    if prod(lead) == 1:
        return xp.reshape(array, (*lead, *core))
    rank = len(core)
    if parts > 1:
        array = xp.permute_dims(array, (*range(1, rank + 1), 0, rank + 1))
    array = xp.reshape(array, (*(lead[axis] for axis in groups), *core, *(lead[axis] for axis in members)))
    num_groups = len(groups)
    places = {axis: place for place, axis in enumerate(groups)}
    places |= {axis: num_groups + rank + place for place, axis in enumerate(members)}
    return xp.permute_dims(array, (*(places[axis] for axis in range(len(lead))), *range(num_groups, num_groups + rank)))


def shared_to_lead(array: Array, layout: KalmanLayout) -> Array:
    """(group, core) to (..., core), with axes of length 1 for members."""
    lead = tuple(size if axis in layout.groups else 1 for axis, size in enumerate(layout.lead))
    array = array[:1] if layout.parts > 1 else array
    return array_namespace(array).reshape(array, (*lead, *array.shape[1:]))


def _time_first(array: Array) -> Array:
    """(group, time, core) to (time, group, core)."""
    return move_axis(array, 1, 0)
