r"""Ways to run a layer: one row, row after row, by a scan, a convolution, blocks of rows, and on its own outputs.

| mode | what it does | for |
|---|---|---|
| `loop` | row after row; nothing but the state is carried | every layer |
| `scan` | `dynplat.scan.affine`: compiled on a CPU, parallel on a GPU | transitions closed under products |
| `fused` | a kernel from inputs to outputs, which keeps no states; a scan where it cannot run | cells that have one |
| `chunk` | blocks of rows as products of matrices | scalar and Householder transitions |
| `convolution` | Fourier transforms, power tables or taps | cells that do not change in time, on equal gaps |
| `auto` | the first of a cell's own order that can run | every layer |

All of them give the same numbers up to rounding, and all of them can begin with a state and end with one, so that a
sequence may be run in pieces. `step` runs one row; `closed_loop` runs on, each output being the next input.

**Gaps.** dt_k is the time that row k closes, and row k's input holds over it. Without `dt` all gaps are 1. **Missing
rows** (`mask` False) write nothing: their input counts as 0 and the state goes on as F alone takes it. Series that are
shorter than others are padded at the end with `mask` False; nothing before the end depends on it, and with `dt` 0
there, as `dynplat.arrays.Observations` has it, the state stays where it was in every layer that takes gaps.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like, concrete
from dynplat.errors import ArgumentError, CapabilityError
from dynplat.scan import fold

if TYPE_CHECKING:
    from dynplat_deepssm.layer import AbstractCell, AbstractLayer, Parameters

MODES = ("loop", "scan", "fused", "chunk", "convolution")


class Rows(NamedTuple):
    """How rows are run.

    Attributes:
        dt: Gaps, (..., time), or None for gaps of 1.
        mask: True = the row is there, (..., time), or None where all are.
        mode: One of `MODES`, or `auto`.
        keep_state: Whether the last state is wanted.
    """

    dt: Array | None = None
    mask: Array | None = None
    mode: str = "auto"
    keep_state: bool = True


def supports(layer: AbstractLayer) -> frozenset[str]:
    """Modes that run a layer; with `step`, and `closed_loop` where outputs can be inputs."""
    if not layer.is_causal:
        return layer.modes
    closes = layer.num_outputs == layer.num_inputs or _has_feedback(layer)
    return layer.modes | {"step"} | ({"closed_loop"} if closes else set())


def run(
    layer: AbstractLayer,
    parameters: Parameters,
    u: Array,
    dt: Array | None = None,
    *,
    mask: Array | None = None,
    state: Any = None,
    mode: str = "auto",
    keep_state: bool = True,
) -> tuple[Array, Any]:
    """Run a layer over rows.

    Args:
        layer: The layer.
        parameters: Its weights, as `layer.init` makes them, in the framework of `u`.
        u: Inputs, (..., time, input).
        dt: Gaps, (..., time), non-negative; None for gaps of 1.
        mask: True = the row is there, (..., time); None where all are.
        state: What a run over the rows before gave; None for the layer's own start.
        mode: One of `MODES`, or `auto`.
        keep_state: Whether the last state is wanted; a convolution does without it.

    Returns:
        Outputs (..., time, output), and the last state (None without `keep_state`).

    Raises:
        ArgumentError: The mode is unknown, a shape does not fit, or a gap is negative.
        CapabilityError: The layer does not have this mode, or does not take gaps.
    """
    if mode not in (*MODES, "auto"):
        raise ArgumentError(f"`mode` must be one of {(*MODES, 'auto')}; got {mode!r}.")
    _check_mode(layer, mode)
    _check_rows(layer, u, dt, mask)
    y, state = layer.apply(parameters, u, Rows(dt, mask, mode, keep_state), state)
    return y, state if keep_state else None


def run_cell(cell: AbstractCell, parameters: Parameters, u: Array, rows: Rows, state: Any = None) -> tuple[Array, Any]:
    """Run one recurrence over rows."""
    dt, mask, mode, keep_state = rows
    if dt is not None and not cell.takes_gaps:
        raise CapabilityError(_no_gaps(cell))
    if mode == "auto":
        mode = _first_mode(cell, u, dt)
    _check_mode(cell, mode)
    if mask is not None:
        xp = array_namespace(u)
        u = xp.where(mask[..., None], u, xp.zeros_like(u))
    if mode == "convolution":
        if dt is not None:
            raise CapabilityError(
                f"`mode='convolution'` of {type(cell).__name__} needs equal gaps, and `dt` gives one for each row; "
                "use 'auto' or 'scan', or leave `dt` out."
            )
        return cell.respond(parameters, u, state, keep_state)
    state = cell.initial(parameters, u) if state is None else state
    if mode == "fused":
        return cell.fuse(parameters, u, state, dt)
    elements = cell.elements(parameters, u, dt)
    if mask is not None and not cell.is_time_invariant:
        elements = cell.transition.without(elements, mask)
    driver = getattr(cell.transition, mode)
    seen, state = driver(elements, state)
    return cell.read(parameters, seen, u), state


def step(
    layer: AbstractLayer, parameters: Parameters, state: Any, u: Array, dt: Array | None = None
) -> tuple[Array, Any]:
    """Run one row: u (..., input), dt (...) to the output (..., output) and the new state."""
    if not layer.is_causal:
        raise CapabilityError(f"{type(layer).__name__} cannot run one row at a time: it reads later rows. Use `run`.")
    dt = None if dt is None else dt[..., None]
    y, state = run(layer, parameters, u[..., None, :], dt, state=state, mode="loop")
    return y[..., 0, :], state


def closed_loop(
    layer: AbstractLayer, parameters: Parameters, state: Any, u: Array, num_steps: int, dt: Array | None = None
) -> Array:
    """Let a layer run on its own outputs.

    Args:
        layer: The layer.
        parameters: Its weights.
        state: The state before the first step, from `run` over the past.
        u: The input of the first step, (..., input); later ones are what `layer.feedback` makes of the outputs.
        num_steps: Number of steps, at least 1.
        dt: Gaps of the steps, (..., num_steps); None for gaps of 1.

    Returns:
        Outputs, (..., num_steps, output).

    Raises:
        ArgumentError: There is no step, the state is missing, or `dt` does not have a gap for each step.
        CapabilityError: Outputs of the layer are not its inputs, or it cannot run row after row.
    """
    if "closed_loop" not in supports(layer):
        reads = "" if layer.is_causal else ", and reads later rows"
        raise CapabilityError(
            f"{type(layer).__name__} cannot run in a closed loop: it takes {layer.num_inputs} inputs and gives "
            f"{layer.num_outputs} outputs{reads}. A causal layer with as many outputs as inputs can."
        )
    if num_steps < 1:
        raise ArgumentError(f"`num_steps` must be at least 1; got {num_steps}.")
    if state is None:
        raise ArgumentError("`state` of a closed loop must be what `run` gave for the past; got None.")
    if dt is not None and int(dt.shape[-1]) != num_steps:
        raise ArgumentError(f"`dt` must hold a gap for each of the {num_steps} steps; got shape {tuple(dt.shape)}.")
    _check_rows(layer, u[..., None, :], None if dt is None else dt[..., :1], None)
    xp = array_namespace(u)
    names, weights = zip(*flatten(parameters), strict=True) if parameters else ((), ())
    # The first step has the shapes of all later ones, which a compiled loop wants to know.
    first_dt = None if dt is None else dt[..., 0]
    y, state = step(layer, parameters, state, u, first_dt)
    y, u = layer.feedback(parameters, y)
    if num_steps == 1:
        return y[..., None, :]
    clock = asarray_like(np.zeros(num_steps - 1), u) if dt is None else xp.moveaxis(dt, -1, 0)[1:]
    rows = (clock, tuple(weight[None] for weight in weights))
    _, later = fold(_advance(layer, names, dt is not None), (state, u), rows)
    return xp.concat([y[..., None, :], xp.moveaxis(later, 0, later.ndim - 2)], axis=-2)


@lru_cache(maxsize=64)
def _advance(layer: AbstractLayer, names: tuple[str, ...], has_gaps: bool) -> Any:
    """The act of a closed loop; the same function each time it is asked for, so that its compiled form is found."""

    def act(carried: Any, row: Any) -> tuple[Any, Array]:
        state, u = carried
        clock, weights = row
        parameters = unflatten(dict(zip(names, weights, strict=True)))
        y, state = step(layer, parameters, state, u, clock if has_gaps else None)
        y, u = layer.feedback(parameters, y)
        return (state, u), y

    return act


def flatten(parameters: Parameters, prefix: str = "") -> list[tuple[str, Any]]:
    """Names with dots, and arrays, of nested weights."""
    found = []
    for name, value in parameters.items():
        if hasattr(value, "items"):
            found += flatten(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found


def unflatten(weights: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested weights from names with dots: from all those that begin with `prefix`, such as sites `net.` of a model."""
    root: dict[str, Any] = {}
    for name, value in weights.items():
        if not name.startswith(prefix):
            continue
        *path, last = name.removeprefix(prefix).split(".")
        inner = root
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return root


def _has_feedback(layer: AbstractLayer) -> bool:
    from dynplat_deepssm.layer import AbstractLayer

    return type(layer).feedback is not AbstractLayer.feedback


def _first_mode(cell: AbstractCell, u: Array, dt: Array | None) -> str:
    if u.shape[-2] == 1:
        return "loop"
    known = cell.modes
    return next(mode for mode in cell.order if mode in known and not (mode == "convolution" and dt is not None))


def _check_mode(layer: AbstractLayer, mode: str) -> None:
    if mode != "auto" and mode not in layer.modes:
        kind = getattr(getattr(layer, "transition", None), "kind", None)
        what = f"{type(layer).__name__}" + ("" if kind is None else f" (its transition is {kind})")
        raise CapabilityError(f"{what} cannot run by `mode={mode!r}`; use 'auto' or one of {sorted(layer.modes)}.")


def _check_rows(layer: AbstractLayer, u: Array, dt: Array | None, mask: Array | None) -> None:
    shape = tuple(u.shape)
    if len(shape) < 2 or shape[-1] != layer.num_inputs:
        raise ArgumentError(
            f"`u` of {type(layer).__name__} must have shape (..., time, {layer.num_inputs}); got {shape}."
        )
    if shape[-2] < 1:
        raise ArgumentError(f"`u` must have at least one row; got shape {shape}. Leave out sequences that are empty.")
    if dt is not None and not layer.takes_gaps:
        raise CapabilityError(_no_gaps(layer))
    for name, array in (("dt", dt), ("mask", mask)):
        if array is not None and int(array.shape[-1]) != shape[-2]:
            raise ArgumentError(
                f"`{name}` must have shape (..., time) with the {shape[-2]} rows of `u`; got {tuple(array.shape)}."
            )
    numbers = None if dt is None else concrete(dt)
    if numbers is not None and not np.all(numbers >= 0):
        raise ArgumentError(f"`dt` must be gaps of at least 0; the least is {numbers.min():g}. Sort the rows by time.")


def _no_gaps(layer: AbstractLayer) -> str:
    reason = getattr(layer, "no_gaps", "it counts rows and does not know time")
    return (
        f"{type(layer).__name__} cannot take `dt`: {reason}. Bring the data to equal gaps and mask the rows that are "
        "missing, or use a layer that is exact on any gaps, such as S5 or S4D with 'zoh'."
    )
