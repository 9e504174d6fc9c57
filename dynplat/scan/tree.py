"""Records of arrays that share a leading time axis: map over their arrays, slice them, put them together.

A record is an array, None, or a (named) tuple of records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dynplat.arrays import Array, array_namespace


def leaves(record: Any) -> Iterator[Array]:
    """Yield the arrays of a record."""
    if isinstance(record, tuple):
        for part in record:
            yield from leaves(part)
    elif record is not None:
        yield record


def map_arrays(function: Callable[..., Any], first: Any, *others: Any) -> Any:
    """Apply a function to the arrays that stand at the same place of several records."""
    if first is None:
        return None
    if isinstance(first, tuple):
        parts = [map_arrays(function, *group) for group in zip(first, *others, strict=True)]
        return _like(first, parts)
    return function(first, *others)


def length(record: Any) -> int:
    """Length of the time axis: the longest leading axis (an axis of length 1 belongs to what does not change)."""
    return max((array.shape[0] for array in leaves(record)), default=0)


def stretch(record: Any, size: int) -> Any:
    """Repeat what does not change in time, so that every array has `size` rows."""

    def full(array: Array) -> Array:
        if array.shape[0] == size:
            return array
        return array_namespace(array).broadcast_to(array, (size, *array.shape[1:]))

    return map_arrays(full, record)


def rows(record: Any, start: int | None, stop: int | None, step: int | None = None) -> Any:
    """Slice the time axis of every array that changes in time; what does not change (length 1) stays."""
    if length(record) == 1:
        return map_arrays(lambda a: a[start:stop:step], record)
    return map_arrays(lambda a: a if a.shape[0] == 1 else a[start:stop:step], record)


def row(record: Any, index: int) -> Any:
    """Take one row, without its time axis."""
    return map_arrays(lambda a: a[0] if a.shape[0] == 1 else a[index], record)


def concat(*records: Any) -> Any:
    """Put records one after the other in time; arrays broadcast to common trailing shapes."""

    def join(*parts: Array) -> Array:
        xp = array_namespace(*parts)
        shape = xp.broadcast_shapes(*(tuple(p.shape[1:]) for p in parts))
        return xp.concat([xp.broadcast_to(p, (p.shape[0], *shape)) for p in parts], axis=0)

    return map_arrays(join, *records)


def stack(records: list[Any]) -> Any:
    """Stack rows into a record with a time axis."""
    first = records[0]
    if first is None:
        return None
    if isinstance(first, tuple):
        return _like(first, [stack(list(parts)) for parts in zip(*records, strict=True)])
    return array_namespace(first).stack(records, axis=0)


def add_time(record: Any) -> Any:
    """Give a single row a time axis of length 1."""
    return map_arrays(lambda a: a[None, ...], record)


def _like(first: tuple[Any, ...], parts: list[Any]) -> Any:
    make = getattr(first, "_make", None)
    return make(parts) if make is not None else tuple(parts)
