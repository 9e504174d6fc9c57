"""How a chain and its data are laid out for a scan.

Inside, time is the first axis and data stand in columns: column 0 is the data, each further column is a direction of a
flat start. Arrays keep the leading axes they came with, so that whatever does not depend on an axis (the covariances,
when the holes do not differ between series) is computed once along it.
"""

from __future__ import annotations

from typing import NamedTuple

from dynplat.arrays import Array, array_namespace, asarray_like, stop_gradient, symmetrise
from dynplat.semigroup import GaussianState, Step, initial_state, project_missing


class Parameters(NamedTuple):
    """Arrays of a chain in the layout of `LinearGaussian`, of one dtype."""

    F: Array
    Q: Array
    H: Array
    R: Array
    m0: Array
    P0: Array
    c: Array | None = None
    d: Array | None = None
    B: Array | None = None
    D: Array | None = None
    diffuse: Array | None = None


def observation_offset(parameters: Parameters, inputs: Array | None) -> Array | None:
    """Return d + D u, (..., time or 1, p), or None where there is neither."""
    offset = parameters.d
    if parameters.D is not None and inputs is not None:
        effect = (parameters.D @ inputs[..., None])[..., 0]
        offset = effect if offset is None else offset + effect
    return offset


def transition_offset(parameters: Parameters, inputs: Array | None) -> Array | None:
    """Return c_t + B_t u_{t-1}, (..., time or 1, n), or None where there is neither; the first row is not used."""
    offset = parameters.c
    if parameters.B is not None and inputs is not None:
        xp = array_namespace(inputs)
        held = xp.concat([inputs[..., :1, :], inputs[..., :-1, :]], axis=-2)
        effect = (parameters.B @ held[..., None])[..., 0]
        offset = effect if offset is None else offset + effect
    return offset


def raw_steps(
    parameters: Parameters, values: Array, mask: Array | None, inputs: Array | None
) -> tuple[GaussianState, Step]:
    """Lay a chain and its data out for a scan.

    Args:
        parameters: The chain.
        values: (..., time, p).
        mask: True = observed, broadcasts with `values`; None = everything is observed.
        inputs: (..., time, k) or None.

    Returns:
        The state before the first observation and the raw steps, time first, with as many leading axes everywhere.
    """
    F, Q, H, R, m0, P0 = parameters[:6]
    # Only the symmetric part counts, so that gradients are symmetric whatever the driver.
    Q, R, P0 = symmetrise(Q), symmetrise(R), symmetrise(P0)
    xp = array_namespace(F, values)
    offset, drift = observation_offset(parameters, inputs), transition_offset(parameters, inputs)
    residual = values if offset is None else values - offset
    if mask is None:
        num_observed = 0.0 * stop_gradient(H[..., 0, 0]) + float(H.shape[-2])
    else:
        H, R, residual, num_observed = project_missing(H, R, residual, asarray_like(mask, F))
    mean = m0[..., None]
    c = (0.0 * F[..., 0] if drift is None else drift)[..., None]
    y = residual[..., None]
    if parameters.diffuse is not None:
        A = parameters.diffuse
        P0 = P0 + A @ xp.matrix_transpose(A)
        mean = _with_columns(mean, A)
        c = _with_columns(c, xp.zeros_like(c) + xp.zeros_like(A[..., :1, :][..., None, :, :]))
        y = _with_columns(y, xp.zeros_like(y) + xp.zeros_like(A[..., :1, :][..., None, :, :]))
    num_lead = max(
        [a.ndim - 3 for a in (F, Q, H, R, c, y)] + [num_observed.ndim - 1, mean.ndim - 2, P0.ndim - 2],
    )
    F, c, Q, H, R, y = (time_first(a, 2, num_lead) for a in (F, c, Q, H, R, y))
    step = Step(F, c, Q, H, R, y, time_first(num_observed, 0, num_lead))
    cov_lead = xp.broadcast_shapes(
        tuple(P0.shape[:-2]), *(tuple(a.shape[1:-2]) for a in (step.F, step.Q, step.H, step.R))
    )
    mean_lead = xp.broadcast_shapes(cov_lead, tuple(mean.shape[:-2]), *(tuple(a.shape[1:-2]) for a in (step.c, step.y)))
    cov_lead = (1,) * (num_lead - len(cov_lead)) + tuple(cov_lead)
    state = initial_state(
        xp.broadcast_to(mean, (*mean_lead, *mean.shape[-2:])), xp.broadcast_to(P0, (*cov_lead, *P0.shape[-2:]))
    )
    return state, step


def _with_columns(first: Array, others: Array) -> Array:
    xp = array_namespace(first, others)
    lead = xp.broadcast_shapes(tuple(first.shape[:-1]), tuple(others.shape[:-1]))
    return xp.concat(
        [xp.broadcast_to(part, (*lead, part.shape[-1])) for part in (first, others)],
        axis=-1,
    )


def time_first(array: Array, num_core: int, num_lead: int) -> Array:
    """(..., time, core) -> (time, leading axes padded to `num_lead`, core)."""
    xp = array_namespace(array)
    missing = num_lead - (array.ndim - num_core - 1)
    array = xp.reshape(array, (1,) * missing + tuple(array.shape))
    return move_axis(array, num_lead, 0)


def move_axis(array: Array, source: int, target: int) -> Array:
    """As `moveaxis`, for which torch's vmap has no rule."""
    axes = list(range(array.ndim))
    axes.insert(target % array.ndim, axes.pop(source % array.ndim))
    return array_namespace(array).permute_dims(array, tuple(axes))


def time_last(array: Array, num_core: int) -> Array:
    """(time, ..., core) -> (..., time, core)."""
    return move_axis(array, 0, array.ndim - num_core - 1)
