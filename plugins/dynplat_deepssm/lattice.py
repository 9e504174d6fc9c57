"""Rows on a lattice of equal steps, on which layers that count rows stand; a row that is absent is one not seen."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynplat.arrays import Array, Observations, array_namespace, asarray_like, concrete, take_rows
from dynplat.errors import ArgumentError, CapabilityError

#: Largest deviation of a time from a whole number of steps, in steps.
_OFF = 1e-3


class Lattice(NamedTuple):
    """Where rows stand.

    Attributes:
        start: Time of place 0 of each series, (..., series).
        places: Place of each row, (..., series, time); rows of padding have that of the last row.
        rows: Row that stands at each place, (..., series, place), -1 where none does.
        last: Last place of each series, (..., series).
    """

    start: np.ndarray
    places: np.ndarray
    rows: np.ndarray
    last: np.ndarray


def lattice_of(times: Array, step: float) -> Lattice:
    """Place the rows of `times` (..., series, time) on steps from each series' first row.

    Raises:
        ArgumentError: A row is off the lattice, or two rows stand at one place.
        CapabilityError: Times are only traced, so that places are not known.
    """
    host = _known(times)
    start = host[..., 0]
    places = places_of(host, start, step)
    # Padding repeats the last time; two rows of data at one time would be lost without a word.
    moved = np.concatenate([np.ones_like(places[..., :1], dtype=bool), np.diff(places, axis=-1) > 0], axis=-1)
    inside = np.flip(np.logical_or.accumulate(np.flip(moved, axis=-1), axis=-1), axis=-1)
    if (inside & ~moved).any():
        *lead, row = (int(i) for i in np.argwhere(inside & ~moved)[0])
        raise ArgumentError(
            f"`times` must increase from row to row; rows {row - 1} and {row}{_series(lead)} both stand at "
            f"{host[(*lead, row)]:g}. Join them, or use a model that takes equal times."
        )
    last = places.max(axis=-1)
    # A spare last place takes the rows of padding.
    rows = np.full((*last.shape, int(last.max()) + 2), -1)
    index = np.broadcast_to(np.arange(host.shape[-1]), places.shape)
    np.put_along_axis(rows, np.where(moved, places, rows.shape[-1] - 1), index, axis=-1)
    return Lattice(start, places, rows[..., :-1], last)


def places_of(times: Array, start: np.ndarray, step: float) -> np.ndarray:
    """Places (..., series, time) of times on the lattice that begins at `start` (..., series).

    Raises:
        ArgumentError: A time is off the lattice.
        CapabilityError: Times are only traced.
    """
    host = _known(times)
    exact = (host - start[..., None]) / step
    whole = np.round(exact)
    rounding = 8 * np.finfo(float).eps * np.abs(host) / step
    off = np.abs(exact - whole) > _OFF + rounding
    if off.any():
        *lead, row = (int(i) for i in np.argwhere(off)[0])
        raise ArgumentError(
            f"`times` must be whole steps of {step:g} from the first row; row {row}{_series(lead)} is "
            f"{exact[(*lead, row)]:.6g} steps after it. Resample the data, or use a model that takes irregular times."
        )
    return whole.astype(np.int64)


def _series(lead: list[int]) -> str:
    return f" of series {lead[-1]}" if lead else ""


def on_lattice(observations: Observations, lattice: Lattice) -> tuple[Array, Array]:
    """Values and mask at the places, (..., series, place, channel); not seen where there is no row."""
    values = observations.values
    like = values if not isinstance(values, np.ndarray) else np.asarray(values)
    rows = asarray_like(np.maximum(lattice.rows, 0), like)
    there = asarray_like(lattice.rows >= 0, like)
    mask = asarray_like(np.asarray(observations.mask), like) if isinstance(observations.mask, np.ndarray) else None
    mask = observations.mask if mask is None else mask
    return take_rows(values, rows, num_core=1), take_rows(mask, rows, num_core=1) & there[..., None]


def off_lattice(steps: Array, lattice: Lattice, like: Any) -> Array:
    """Numbers at places (..., series, place) back to rows (..., series, time); 0 for rows of padding."""
    xp = array_namespace(steps)
    found = take_rows(steps[..., None], asarray_like(lattice.places, like), num_core=1)[..., 0]
    own = np.take_along_axis(lattice.rows, lattice.places, axis=-1) == np.arange(lattice.places.shape[-1])
    return xp.where(asarray_like(own, like), found, xp.zeros_like(found))


def _known(times: Array) -> np.ndarray:
    host = concrete(times)
    if host is None:
        raise CapabilityError(
            "a law that counts rows needs times that are known before it is compiled; pass them as constants, not as "
            "arguments of the compiled function."
        )
    return np.asarray(host, dtype=np.float64)
