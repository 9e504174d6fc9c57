"""Checks of linear-Gaussian chains: shapes on the way in, densities on the way out."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.arrays import Array, asarray_like, concrete
from dynplat.errors import ArgumentError, NoDensityError

if TYPE_CHECKING:
    from dynplat.process.chain_layout import Parameters
    from dynplat.process.linear_gaussian import LinearGaussian

#: Core dimensions of each parameter in letters, and whether it carries a time axis.
_CORE = {
    "F": ("nn", True),
    "Q": ("nn", True),
    "H": ("pn", True),
    "R": ("pp", True),
    "m0": ("n", False),
    "P0": ("nn", False),
    "c": ("n", True),
    "d": ("p", True),
    "B": ("nk", True),
    "D": ("pk", True),
    "diffuse": ("nq", False),
}


def check_parameters(parameters: Parameters) -> tuple[tuple[int, ...], int]:
    """Check shapes; return the leading shape of all parameters and their number of rows (1 = time-invariant)."""
    sizes: dict[str, int] = {}
    leads: dict[str, tuple[int, ...]] = {}
    steps, named = 1, ""
    for name, array in zip(parameters._fields, parameters, strict=True):
        if array is None:
            continue
        letters, timed = _CORE[name]
        shape = tuple(int(s) for s in array.shape)
        wanted = "(..., series or 1, " + ("T or 1, " if timed else "") + ", ".join(letters) + ")"
        if len(shape) < len(letters) + timed:
            hint = " Without a time axis use `LinearGaussian.time_invariant`." if timed else ""
            raise ArgumentError(f"`{name}` must have shape {wanted}; got {shape}.{hint}")
        for letter, size in zip(letters, shape[len(shape) - len(letters) :], strict=True):
            if sizes.setdefault(letter, size) != size:
                raise ArgumentError(
                    f"`{name}` must have shape {wanted} with {letter} = {sizes[letter]}, as the parameters before it; "
                    f"got {shape}."
                )
        lead = shape[: len(shape) - len(letters)]
        if timed:
            lead, rows = lead[:-1], lead[-1]
            if rows != 1 and steps not in (1, rows):
                raise ArgumentError(f"`{name}` has a time axis of length {rows}, but `{named}` has {steps}.")
            if rows != 1:
                steps, named = rows, name
        leads[name] = lead
    try:
        batch = np.broadcast_shapes(*leads.values())
    except ValueError:
        raise ArgumentError(f"leading axes of the parameters do not broadcast: {leads}.") from None
    return tuple(batch), steps


def check_observations(chain: LinearGaussian, shape: tuple[int, ...], inputs: Array | None) -> None:
    """Check the shape of values, (..., time, p), and of inputs against a chain."""
    if len(shape) < 2 or shape[-1] != chain.num_channels:
        raise ArgumentError(
            f"`values` must have shape (..., series, time, {chain.num_channels}): `H` has {chain.num_channels} rows; "
            f"got {shape}."
        )
    size = shape[-2]
    if size == 0:
        raise ArgumentError("`values` has no rows: a chain needs at least one.")
    if chain.num_steps not in (1, size):
        raise ArgumentError(f"`values` has {size} rows, but the chain's parameters have {chain.num_steps}.")
    try:
        np.broadcast_shapes(shape[:-2], chain.batch_shape)
    except ValueError:
        raise ArgumentError(
            f"leading axes of `values` {shape[:-2]} do not broadcast with those of the parameters {chain.batch_shape}."
        ) from None
    effect = chain.parameters.B if chain.parameters.B is not None else chain.parameters.D
    if effect is None:
        return
    if inputs is None:
        raise ArgumentError("the chain has input matrices (`B`, `D`): give `inputs` (..., series, time, input).")
    if inputs.ndim < 2 or inputs.shape[-1] != effect.shape[-1] or inputs.shape[-2] != size:
        raise ArgumentError(
            f"`inputs` must have shape (..., series, {size}, {effect.shape[-1]}); got {tuple(inputs.shape)}."
        )


def shared_mask(mask: Any, values: Array) -> Array | None:
    """Return the mask without repetition: None where everything is observed, one copy along equal leading axes.

    A mask that is known is returned as NumPy, so that it stays known inside a trace; one that is traced stays as it is.
    """
    if "bool" not in str(mask.dtype):
        raise ArgumentError(f"`mask` must be boolean (True = observed); got dtype {mask.dtype}.")
    if tuple(mask.shape[-2:]) != tuple(values.shape[-2:]):
        raise ArgumentError(f"`mask` must have the shape of `values`, {tuple(values.shape)}; got {tuple(mask.shape)}.")
    numbers = concrete(mask)
    if numbers is None:
        return asarray_like(mask, values)
    if numbers.all():
        return None
    for axis in range(numbers.ndim - 2):
        first = numbers.take([0], axis=axis)
        if numbers.shape[axis] > 1 and (numbers == first).all():
            numbers = first
    return numbers


def shared_rows(mask: Array | None) -> tuple[Array | None, Array | None]:
    """One pattern of holes for series that differ only in where they end, and the rows that each lasts.

    Args:
        mask: (..., time, channel), as `shared_mask` returns it.

    Returns:
        The pattern, (time, channel), None where it has no holes, and the numbers of rows (...); or `mask` and None
        where the holes differ otherwise, or are only being traced.
    """
    numbers = None if mask is None or mask.ndim < 3 else concrete(mask)
    if numbers is None:
        return mask, None
    pattern, lengths = _rows_of(np.ascontiguousarray(numbers).tobytes(), numbers.shape)
    return (mask, None) if lengths is None else (pattern, lengths)


@lru_cache(maxsize=8)  # an optimiser asks for the same holes again and again
def _rows_of(content: bytes, shape: tuple[int, ...]) -> tuple[np.ndarray | None, np.ndarray | None]:
    size, channels = shape[-2:]
    series = np.frombuffer(content, dtype=bool).reshape(-1, size, channels)
    rows = np.asarray(series.any(axis=-1))
    lengths = np.where(rows.any(axis=-1), size - np.argmax(rows[:, ::-1], axis=-1), 0).astype(np.int32)
    longest = int(lengths.argmax())
    inside = np.less(np.arange(size)[None], lengths[:, None])
    pattern = series[longest] | ~inside[longest, :, None]
    if not (series == (pattern & inside[..., None])).all():
        return None, None
    return (None if pattern.all() else pattern), lengths.reshape(shape[:-2])


def check_density(singular: Array, times: Any, dtype: Any) -> None:
    """Raise if a row's innovation covariance, (..., time, p), is singular; pass what is only being traced.

    Raises:
        NoDensityError: Naming series, row and channel.
    """
    numbers = concrete(singular)
    if numbers is None or not numbers.any():
        return
    numbers_type = str(dtype).rpartition(".")[2]
    *lead, row, channel = map(int, np.argwhere(numbers)[0])
    where = f"series {lead[-1]}, row {row}" if lead else f"row {row}"
    known = concrete(times) if times is not None else None
    if known is not None and known.ndim >= 1:
        pick = tuple(min(i, size - 1) for i, size in zip(lead[-(known.ndim - 1) :], known.shape, strict=False))
        if len(pick) == known.ndim - 1:
            where += f" (time {known[(*pick, min(row, known.shape[-1] - 1))]:g})"
    if lead[:-1]:
        where += f", leading index {tuple(lead[:-1])}"
    raise NoDensityError(
        f"the law has no density at {where}: given what came before, channel {channel} is known exactly (its "
        f"innovation covariance is singular to rounding in {numbers_type}). Give that channel observation noise in "
        "`R`, or mask one of the observations that determine each other."
    )


def check_resolved(improper: Array | None) -> None:
    """Raise if the data of a series leave a direction of a diffuse start undetermined.

    Raises:
        NoDensityError: Naming the series.
    """
    numbers = None if improper is None else concrete(improper)
    if numbers is None or not numbers.any():
        return
    index = tuple(int(i) for i in np.argwhere(np.atleast_1d(numbers))[0])
    raise NoDensityError(
        f"the observations of series {index[-1]} do not determine every direction of the `diffuse` start, so the "
        "states have no proper law given them. Observe more cells, or give the start a covariance `P0` instead."
    )
