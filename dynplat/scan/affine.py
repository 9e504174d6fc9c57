r"""States of affine recurrences, the layer under deep state-space models.

.. math::
    x_t = A_t x_{t-1} + b_t, \qquad t = 0, \dots, T - 1

`scan_diagonal` multiplies entry by entry (S4D, S5, LRU, Mamba and their kin), `scan_dense` with matrices. Numbers are
real or complex; NumPy, torch and JAX; every leading axis broadcasts. What does not change in time has a time axis of
length 1, and what is the same for the whole batch has leading axes of length 1 or none: the compiled drivers read it
once, and add its gradient up without an array of the size of the states.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like, is_jax_array, is_torch_array
from dynplat.errors import ArgumentError
from dynplat.scan import balanced, sequential, tree
from dynplat.scan.drivers import check_driver, choose_driver, runs_compiled, runs_triton
from dynplat.scan.kernels.calling import call_kernel, grouped
from dynplat.semigroup.affine import (
    DenseMap,
    DiagonalMap,
    act_dense,
    act_diagonal,
    combine_dense,
    combine_diagonal,
)

__all__ = ["scan_dense", "scan_diagonal"]


def scan_diagonal(
    multipliers: Array,
    offsets: Array,
    initial: Array | None = None,
    *,
    reverse: bool = False,
    driver: str = "auto",
) -> Array:
    """States of all rows of x_t = a_t x_{t-1} + b_t, entry by entry.

    Args:
        multipliers: a, (..., time or 1, channel or 1).
        offsets: b, (..., time or 1, channel).
        initial: The state before the first row, (..., channel); zeros by default.
        reverse: Whether time runs from the last row to the first: x_t = a_t x_{t+1} + b_t, from the state after the
            last row.
        driver: `auto`, `compiled`, `sequential` or `balanced` (see `dynplat.scan`). A balanced scan multiplies
            multipliers with each other: where their products overflow, it may give NaN for states that are finite.

    Returns:
        (..., time, channel), in the widest dtype of the arguments.

    Raises:
        ArgumentError: Shapes that do not go together, or arrays of two frameworks.
        CapabilityError: `compiled` was asked for where no kernel can run.
    """
    return _scan(_DIAGONAL, multipliers, offsets, initial, reverse=reverse, driver=driver)


def scan_dense(
    multipliers: Array,
    offsets: Array,
    initial: Array | None = None,
    *,
    reverse: bool = False,
    driver: str = "auto",
) -> Array:
    """States of all rows of x_t = A_t x_{t-1} + b_t.

    Args:
        multipliers: A, (..., time or 1, n, n), (new, old).
        offsets: b, (..., time or 1, n).
        initial: The state before the first row, (..., n); zeros by default.
        reverse: Whether time runs from the last row to the first, as for `scan_diagonal`.
        driver: As for `scan_diagonal`.

    Returns:
        (..., time, n), in the widest dtype of the arguments.

    Raises:
        ArgumentError: Shapes that do not go together, or arrays of two frameworks.
        CapabilityError: `compiled` was asked for where no kernel can run.
    """
    return _scan(_DENSE, multipliers, offsets, initial, reverse=reverse, driver=driver)


class _Form(NamedTuple):
    """What is different between diagonal and dense recurrences.

    Attributes:
        core: Number of axes of a multiplier.
        map: Record of a map.
        combine: Product of two maps.
        act: How a state meets a map.
        keep: `act` for `scan.fold`, which keeps every state.
    """

    core: int
    map: Any
    combine: Any
    act: Any
    keep: Any


def _keep_diagonal(state: Array, step: DiagonalMap) -> tuple[Array, Array]:
    state = act_diagonal(state, step)
    return state, state


def _keep_dense(state: Array, step: DenseMap) -> tuple[Array, Array]:
    state = act_dense(state, step)
    return state, state


_DIAGONAL = _Form(1, DiagonalMap, combine_diagonal, act_diagonal, _keep_diagonal)
_DENSE = _Form(2, DenseMap, combine_dense, act_dense, _keep_dense)


def _scan(form: _Form, multipliers: Any, offsets: Any, initial: Any, *, reverse: bool, driver: str) -> Array:
    driver = check_driver(driver)
    multipliers, offsets, initial = _same_type(multipliers, offsets, initial)
    lead = _lead_shape(form, multipliers, offsets, initial)
    xp = array_namespace(offsets)
    channels = int(offsets.shape[-1])
    if form.core == 1 and multipliers.shape[-1] != channels:
        multipliers = xp.broadcast_to(multipliers, (*multipliers.shape[:-1], channels))
    if initial is None:
        initial = asarray_like(np.zeros(channels), offsets)
    empty = 0 in (*lead, channels)
    if form is _DIAGONAL and not empty and runs_triton(driver, offsets):
        return _on_gpu(multipliers, offsets, initial, lead, reverse=reverse)
    if not empty and runs_compiled(driver, offsets, knows_complex=True):
        return _compiled(form, multipliers, offsets, initial, lead, reverse=reverse)
    return _generic(form, multipliers, offsets, initial, lead, reverse=reverse, driver=driver)


# What comes in.


def _same_type(*values: Any) -> tuple[Any, ...]:
    """Bring arrays to one framework, device and dtype: the widest one, real or complex; None stays None."""
    foreign = [value for value in values if is_torch_array(value) or is_jax_array(value)]
    hosts = [np.asarray(v) for v in values if v is not None and not (is_torch_array(v) or is_jax_array(v))]
    if not foreign:
        dtype = np.result_type(*hosts, np.float32)
        return tuple(None if value is None else np.asarray(value, dtype=dtype) for value in values)
    like = foreign[0]
    xp = array_namespace(like)
    for value in foreign:
        asarray_like(value, like)  # refuses arrays of two frameworks
    devices = sorted({str(value.device) for value in foreign if is_torch_array(value)})
    if len(devices) > 1:
        raise ArgumentError(f"all arrays must be on one device; got {' and '.join(devices)}. Move them to one first.")
    dtypes = [value.dtype for value in foreign if xp.isdtype(value.dtype, ("real floating", "complex floating"))]
    dtype = xp.result_type(*dtypes) if dtypes else xp.asarray(1.0).dtype
    if any(host.dtype.kind == "c" for host in hosts):
        dtype = xp.result_type(dtype, xp.complex64)
    like = like.new_empty(0, dtype=dtype) if is_torch_array(like) else xp.empty(0, dtype=dtype)
    found = []
    for value in values:
        if value is not None:
            value = asarray_like(value, like)
            value = value if value.dtype == dtype else xp.astype(value, dtype)
        found.append(value)
    return tuple(found)


def _lead_shape(form: _Form, multipliers: Array, offsets: Array, initial: Array | None) -> tuple[int, ...]:
    """Check all shapes and return the leading axes, broadcast."""
    dense = form is _DENSE
    expected = {
        "multipliers": "(..., time or 1, n, n)" if dense else "(..., time or 1, channel or 1)",
        "offsets": "(..., time or 1, n)" if dense else "(..., time or 1, channel)",
        "initial": "(..., n)" if dense else "(..., channel)",
    }
    num_core = {"multipliers": form.core + 1, "offsets": 2, "initial": 1}
    given = {"multipliers": multipliers, "offsets": offsets, "initial": initial}
    shapes = {name: tuple(int(n) for n in array.shape) for name, array in given.items() if array is not None}
    for name, shape in shapes.items():
        if len(shape) < num_core[name]:
            raise ArgumentError(
                f"`{name}` must have shape {expected[name]}; got {shape}. Add the axes that are missing."
            )
    of_multipliers, of_offsets = shapes["multipliers"], shapes["offsets"]
    n = of_offsets[-1]
    if of_multipliers[-form.core :] not in (((n, n),) if dense else ((n,), (1,))):
        raise ArgumentError(
            f"`multipliers` must have shape {expected['multipliers']}, which ends with {(n, n) if dense else (n,)} "
            f"where `offsets` has shape {of_offsets}; got {of_multipliers}. For multipliers "
            f"{'entry by entry use `scan_diagonal`' if dense else 'that are matrices use `scan_dense`'}."
        )
    if shapes.get("initial", (n,))[-1] != n:
        raise ArgumentError(
            f"`initial` must have shape {expected['initial']}, which ends with {(n,)} where `offsets` has shape "
            f"{of_offsets}; got {shapes['initial']}. It is one state, without a time axis."
        )
    times = of_multipliers[-num_core["multipliers"]], of_offsets[-2]
    if 0 in times:
        raise ArgumentError(
            f"`multipliers` and `offsets` must have at least one row; got shapes {of_multipliers} and {of_offsets}, "
            "with a time axis of length 0. Leave out sequences that are empty."
        )
    if times[0] != times[1] and 1 not in times:
        raise ArgumentError(
            f"`multipliers` and `offsets` must have as many rows as each other, or 1 where nothing changes in time; "
            f"got {times[0]} and {times[1]} rows, in shapes {of_multipliers} and {of_offsets}."
        )
    leads = {name: shape[: len(shape) - num_core[name]] for name, shape in shapes.items()}
    try:
        return tuple(int(size) for size in np.broadcast_shapes(*leads.values()))
    except ValueError:
        listed = ", ".join(f"{lead} of `{name}`" for name, lead in leads.items())
        raise ArgumentError(
            f"leading axes must broadcast; got {listed}. Give an axis along which an array does not change length 1."
        ) from None


# The generic drivers.


def _generic(
    form: _Form,
    multipliers: Array,
    offsets: Array,
    initial: Array,
    lead: tuple[int, ...],
    *,
    reverse: bool,
    driver: str,
) -> Array:
    xp = array_namespace(offsets)
    # States have all leading axes; multipliers keep their own, so that products of what is shared are formed once.
    offsets = xp.broadcast_to(offsets, (*lead, *offsets.shape[-2:]))
    initial = xp.broadcast_to(initial, (*lead, initial.shape[-1]))
    steps = form.map(_time_first(multipliers, form.core, len(lead)), _time_first(offsets, 1, len(lead)))
    size = tree.length(steps)
    if choose_driver(driver, offsets, size) == "sequential":
        _, states = sequential.fold(form.keep, initial, steps, reverse=reverse)
        return _time_last(states)
    steps = tree.stretch(steps, size)
    if reverse:
        steps = balanced.flip(steps)
    first = tree.rows(steps, 0, 1)
    first = form.map(first.multiplier, form.act(initial, first))
    if size > 1:
        first = tree.concat(first, tree.rows(steps, 1, size))
    states = balanced.prefix(form.combine, first).offset
    return _time_last(balanced.flip(states) if reverse else states)


def _time_first(array: Array, core: int, num_lead: int) -> Array:
    """Bring (..., time, core axes) to (time, all leading axes, core axes)."""
    xp = array_namespace(array)
    missing = num_lead + 1 + core - array.ndim
    array = xp.reshape(array, (1,) * missing + tuple(array.shape))
    return xp.permute_dims(array, (num_lead, *range(num_lead), *range(num_lead + 1, array.ndim)))


def _time_last(states: Array) -> Array:
    """Bring (time, all leading axes, n) to (..., time, n)."""
    last = states.ndim - 1
    return array_namespace(states).permute_dims(states, (*range(1, last), 0, last))


# The compiled drivers.


def _on_gpu(multipliers: Array, offsets: Array, initial: Array, lead: tuple[int, ...], *, reverse: bool) -> Array:
    from dynplat.scan.kernels import affine_triton

    _, arrays = grouped((multipliers, offsets, initial), (2, 2, 1), lead)
    states = affine_triton.scan(*arrays, reverse=reverse, twin=_TWINS[_DIAGONAL, reverse])
    return states.reshape((*lead, *states.shape[1:]))


def _compiled(
    form: _Form, multipliers: Array, offsets: Array, initial: Array, lead: tuple[int, ...], *, reverse: bool
) -> Array:
    from dynplat.scan.kernels.affine import DENSE, DIAGONAL

    kernel = DIAGONAL if form is _DIAGONAL else DENSE
    _, arrays = grouped((multipliers, offsets, initial), (form.core + 1, 2, 1), lead)
    settings: list[Array] = [np.array([[reverse, is_torch_array(offsets)]], dtype=np.uint8)]
    if kernel is DIAGONAL:
        settings.append(np.array([[0, offsets.shape[-1]]], dtype=np.int32))
    arrays += [asarray_like(setting, offsets) for setting in settings]
    (states,), _ = call_kernel(kernel, _TWINS[form, reverse], arrays)
    return array_namespace(offsets).reshape(states, (*lead, *states.shape[1:]))


def _twin(form: _Form, reverse: bool, multipliers: Array, offsets: Array, initial: Array, *_: Array) -> tuple[Array]:
    """The states of a kernel's groups by a function that can be differentiated again."""
    groups = max(array.shape[0] for array in (multipliers, offsets, initial))
    return (_generic(form, multipliers, offsets, initial, (groups,), reverse=reverse, driver="sequential"),)


#: Made once, so that what was compiled for one is found again.
_TWINS = {(form, reverse): partial(_twin, form, reverse) for form in (_DIAGONAL, _DENSE) for reverse in (False, True)}
