r"""The selective scan of Mamba: outputs of diagonal systems whose step, gain and readout change from row to row.

.. math::
    x_t = e^{\Delta_t A} x_{t-1} + \Delta_t u_t B_t, \qquad y_t = \langle C_t, x_t \rangle + D u_t

for each channel, with A for each of its states, and B_t and C_t common to the channels. The compiled driver reads
steps, B, C and inputs, and writes outputs: arrays of the size of the states, (..., time, channel, state), exist neither
in the forward pass nor in the backward pass, which computes states again from those before every 32nd row. Generic
drivers form them (`dynplat.scan.affine`).

Source: Gu and Dao (2023), Mamba, arXiv:2312.00752.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like, common_type, is_jax_array
from dynplat.errors import ArgumentError
from dynplat.scan.affine import scan_diagonal
from dynplat.scan.drivers import check_driver, runs_compiled, runs_triton
from dynplat.scan.kernels.calling import call_kernel, grouped
from dynplat.scan.kernels.kernel import available_threads

__all__ = ["scan_selective"]

#: Core axes of the arguments.
_CORES = {"steps": 2, "rates": 2, "write": 2, "query": 2, "inputs": 2, "skip": 1, "initial": 2}
#: Fewest channels that are worth a thread.
_NARROW = 32
#: Most states that a program on a GPU can hold; a guess.
_MOST_STATES = 128


def scan_selective(
    steps: Array,
    rates: Array,
    write: Array,
    query: Array,
    inputs: Array,
    skip: Array | None = None,
    initial: Array | None = None,
    *,
    signed: bool = False,
    driver: str = "auto",
) -> tuple[Array, Array]:
    """Outputs of all rows of a selective state space, and its last state.

    Args:
        steps: Delta, (..., time, channel).
        rates: A, (..., channel, state).
        write: B, (..., time, state).
        query: C, (..., time, state).
        inputs: u, (..., time, channel).
        skip: D, (..., channel); zeros by default.
        initial: The state before the first row, (..., channel, state); zeros by default.
        signed: Whether multipliers are 2 exp(Delta A) - 1, in (-1, 1) for negative rates.
        driver: `auto`, `compiled`, `sequential` or `balanced` (see `dynplat.scan`).

    Returns:
        Outputs (..., time, channel) and the last state (..., channel, state).

    Raises:
        ArgumentError: Shapes that do not go together, or arrays of two frameworks.
        CapabilityError: `compiled` was asked for where no kernel can run.
    """
    driver = check_driver(driver)
    given = common_type(steps, rates, write, query, inputs, skip, initial)
    lead, (n, N) = _sizes(dict(zip(_CORES, given, strict=True)))
    *arrays, skip, initial = given
    skip = asarray_like(np.zeros(n), arrays[0]) if skip is None else skip
    initial = asarray_like(np.zeros((n, N)), arrays[0]) if initial is None else initial
    arrays += [skip, initial]
    if 0 not in (*lead, n, N) and runs_triton(driver, arrays[0]) and N <= _MOST_STATES:
        return _on_gpu(arrays, lead, signed=signed)
    if 0 not in (*lead, n, N) and runs_compiled(driver, arrays[0]):
        return _compiled(arrays, lead, signed=signed)
    return _generic(*arrays, signed=signed, driver=driver)


def _sizes(given: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Check all shapes; the leading axes, broadcast, and the numbers of channels and states."""
    shapes = {name: tuple(int(k) for k in array.shape) for name, array in given.items() if array is not None}
    T, n = shapes["steps"][-2:] if len(shapes["steps"]) > 1 else (0, 0)
    N = shapes["rates"][-1] if shapes["rates"] else 0
    wanted = {"steps": (T, n), "rates": (n, N), "write": (T, N), "query": (T, N), "inputs": (T, n), "skip": (n,)}
    wanted["initial"] = (n, N)
    words = {"steps": "time, channel", "rates": "channel, state", "write": "time, state", "query": "time, state"}
    words |= {"inputs": "time, channel", "skip": "channel", "initial": "channel, state"}
    for name, shape in shapes.items():
        core = _CORES[name]
        if len(shape) < core or shape[len(shape) - core :] != wanted[name]:
            raise ArgumentError(
                f"`{name}` must have shape (..., {words[name]}), which ends with {wanted[name]} where `steps` has "
                f"shape {shapes['steps']} and `rates` {shapes['rates']}; got {shape}."
            )
    if T == 0:
        raise ArgumentError(
            f"`steps` must have at least one row; got shape {shapes['steps']}. Leave out sequences that are empty."
        )
    leads = {name: shape[: len(shape) - _CORES[name]] for name, shape in shapes.items()}
    try:
        return tuple(int(k) for k in np.broadcast_shapes(*leads.values())), (n, N)
    except ValueError:
        listed = ", ".join(f"{lead} of `{name}`" for name, lead in leads.items())
        raise ArgumentError(
            f"leading axes must broadcast; got {listed}. Give an axis along which an array does not change length 1."
        ) from None


def _generic(
    steps: Array, rates: Array, write: Array, query: Array, inputs: Array, skip: Array, initial: Array,
    *, signed: bool, driver: str,
) -> tuple[Array, Array]:  # fmt: skip
    """The same by arrays of the size of the states, on any framework, device and derivative."""
    xp = array_namespace(steps)
    multipliers = xp.exp(steps[..., None] * rates[..., None, :, :])
    multipliers = 2.0 * multipliers - 1.0 if signed else multipliers
    offsets = (steps * inputs)[..., None] * write[..., None, :]
    core = tuple(rates.shape[-2:])
    multipliers, offsets, initial = (
        xp.reshape(array, (*array.shape[:-2], core[0] * core[1])) for array in (multipliers, offsets, initial)
    )
    states = scan_diagonal(multipliers, offsets, initial, driver=driver)
    states = xp.reshape(states, (*states.shape[:-1], *core))
    outputs = (states @ query[..., None])[..., 0] + skip[..., None, :] * inputs
    return outputs, states[..., -1, :, :]


def _on_gpu(arrays: list[Array], lead: tuple[int, ...], *, signed: bool) -> tuple[Array, Array]:
    from dynplat.scan.kernels import selective_triton

    _, grouped_arrays = grouped(arrays, tuple(_CORES.values()), lead)
    outputs, last = selective_triton.scan(grouped_arrays, signed=signed, twin=_TWINS[signed])
    return outputs.reshape((*lead, *outputs.shape[1:])), last.reshape((*lead, *last.shape[1:]))


def _compiled(arrays: list[Array], lead: tuple[int, ...], *, signed: bool) -> tuple[Array, Array]:
    from dynplat.scan.kernels.selective import SELECTIVE

    _, grouped_arrays = grouped(arrays, tuple(_CORES.values()), lead)
    n = int(arrays[0].shape[-1])
    # Threads share out groups: where there are too few, parts of the channels are groups too. XLA's call is one part.
    parts = 1 if is_jax_array(arrays[0]) else _parts(prod(lead), n)
    if parts > 1:
        grouped_arrays = _apart(grouped_arrays, prod(lead), parts)
    settings = asarray_like(np.array([[signed]], dtype=np.uint8), grouped_arrays[0])
    (outputs, last), _ = call_kernel(SELECTIVE, _TWINS[signed], [*grouped_arrays, settings])
    xp = array_namespace(outputs)
    if parts > 1:
        T, own = (int(size) for size in outputs.shape[1:])
        outputs = xp.permute_dims(xp.reshape(outputs, (prod(lead), parts, T, own)), (0, 2, 1, 3))
    core = tuple(int(size) for size in arrays[1].shape[-2:])
    return xp.reshape(outputs, (*lead, -1, n)), xp.reshape(last, (*lead, *core))


def _parts(groups: int, channels: int) -> int:
    """Equal parts of the channels that make as many groups as there are threads, if there are fewer."""
    most = min(available_threads() // groups, channels // _NARROW)
    return next((parts for parts in range(most, 1, -1) if channels % parts == 0), 1)


def _apart(arrays: list[Array], groups: int, parts: int) -> list[Array]:
    """Let parts of the channels, which stand in one or two of the axes, join the groups."""
    xp = array_namespace(arrays[0])
    found = []
    for name, array in zip(_CORES, arrays, strict=True):
        group, *core = (int(size) for size in array.shape)
        if name in ("steps", "inputs"):
            array = xp.permute_dims(xp.reshape(array, (group, core[0], parts, -1)), (0, 2, 1, 3))
        elif name in ("write", "query"):
            array = array[:, None]
        else:
            array = xp.reshape(array, (group, parts, -1, *core[1:]))
        array = xp.broadcast_to(array, (groups, parts, *array.shape[2:]))
        found.append(xp.reshape(array, (groups * parts, *array.shape[2:])))
    return found


def _twin(*arrays: Array) -> tuple[Array, Array]:
    return _generic(*arrays[:7], signed=False, driver="sequential")


def _signed_twin(*arrays: Array) -> tuple[Array, Array]:
    return _generic(*arrays[:7], signed=True, driver="sequential")


#: Functions of a module, so that what was compiled for one is found again.
_TWINS = {False: _twin, True: _signed_twin}
