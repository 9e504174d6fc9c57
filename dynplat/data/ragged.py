"""Arguments of `from_arrays` (shared, padded or one array per series) to flat rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynplat.data.moments import Moments, read_moments
from dynplat.errors import DataError


class Extents(NamedTuple):
    """How many rows there are.

    Attributes:
        lengths: Number of real rows of each series.
        given: Number of rows of each series as given, padding included.
        shared: Whether times are shared by all series.
    """

    lengths: np.ndarray
    given: np.ndarray
    shared: bool


def is_per_series(argument: Any) -> bool:
    """Return True for a list (or tuple) with one array per series."""
    return isinstance(argument, list | tuple) and len(argument) > 0 and all(_ndim(item) > 0 for item in argument)


def _ndim(item: Any) -> int:
    return 0 if isinstance(item, str) else np.ndim(item)


def split_times(times: Any, lengths: Any, values: Any) -> tuple[Moments, Extents]:
    """Flatten times to one per row.

    Returns:
        The times of all rows, series after series; and how many rows there are.
    """
    if is_per_series(times):
        parts = [read_moments(part) for part in times]
        for index, part in enumerate(parts):
            if part.array.ndim != 1:
                raise DataError(f"`times` of series {index} must have one dimension; got shape {part.array.shape}.")
        given = np.array([len(part.array) for part in parts], dtype=np.int64)
        counts = given if lengths is None else _check_lengths(lengths, given)
        return _join(parts, counts), Extents(counts, given, shared=False)
    moments = read_moments(times)
    array = moments.array
    if array.ndim == 2:
        num_series, longest = array.shape
        given = np.full(num_series, longest, dtype=np.int64)
        counts = given if lengths is None else _check_lengths(lengths, given)
        real = np.arange(longest) < counts[:, None]
        return moments._replace(array=array[real]), Extents(counts, given, shared=False)
    if array.ndim != 1:
        raise DataError(
            f"`times` must be (time,), (series, time) or a list of arrays; got {array.ndim} dimensions, "
            f"shape {array.shape}."
        )
    num_series = _count_series(values)
    given = np.full(num_series, len(array), dtype=np.int64)
    counts = given if lengths is None else _check_lengths(lengths, given)
    rows = np.concatenate([array[:count] for count in counts] or [array[:0]])
    return moments._replace(array=rows), Extents(counts, given, shared=True)


def _count_series(values: Any) -> int:
    if is_per_series(values) and any(_ndim(item) == 2 for item in values):
        return len(values)
    return np.shape(values)[0] if _ndim(values) == 3 else 1


def _check_lengths(lengths: Any, given: np.ndarray) -> np.ndarray:
    counts = np.asarray(lengths)
    if counts.shape != given.shape or counts.dtype.kind not in "iu" or (counts < 0).any() or (counts > given).any():
        raise DataError(
            f"`lengths` must hold one whole number per series ({len(given)}), at most its number of rows; "
            f"got {lengths}."
        )
    return counts.astype(np.int64)


def _join(parts: list[Moments], counts: np.ndarray) -> Moments:
    used = [part for part, count in zip(parts, counts, strict=True) if count] or parts[:1]
    if len({part.is_datetime for part in used}) > 1:
        raise DataError("`times` of some series are dates and of others plain numbers.", hint="Use one of the two.")
    zones = {part.zone for part in used}
    if "" in zones and len(zones) > 1:
        raise DataError(
            "`times` of some series carry a time zone and of others none.", hint="Localise all of them, or none."
        )
    arrays = [part.array[:count] for part, count in zip(parts, counts, strict=True) if count]
    array = np.concatenate(arrays) if arrays else used[0].array[:0]
    return Moments(array, zones.pop() if len(zones) == 1 else "UTC", used[0].unit)


def gather_rows(name: str, argument: Any, extents: Extents, *, trailing: bool, spread: bool = False) -> np.ndarray:
    """Flatten an argument that has one entry per row, to (row, width).

    Args:
        name: Name of the argument, for messages.
        argument: A list with one array per series, or an array.
        extents: How many rows there are.
        trailing: Whether entries may have a width (values, inputs) or are single (marks).
        spread: Whether an argument without a dimension of series holds for all series when times are shared.
    """
    lengths, given, shared = extents
    num_series = len(lengths)
    width_word = "(time, width)" if trailing else "(time,)"
    if is_per_series(argument) and (not shared or any(_ndim(item) == (2 if trailing else 1) for item in argument)):
        if len(argument) != num_series:
            raise DataError(f"`{name}` must hold one array per series ({num_series}); got {len(argument)}.")
        parts = [to_float(name, part) for part in argument]
    else:
        array = to_float(name, argument)
        with_series = array.ndim == (3 if trailing else 2) or (not shared and array.ndim == 2)
        if with_series:
            if array.shape[0] != num_series:
                raise DataError(
                    f"`{name}` must have one entry per series ({num_series}) along its first dimension; "
                    f"got shape {array.shape}."
                )
            parts = list(array)
        elif num_series == 1 or (shared and spread):
            parts = [array] * num_series
        else:
            raise DataError(f"`{name}` must have a dimension of series first; got shape {array.shape}.")
    blocks = []
    for index, (part, length, padded) in enumerate(zip(parts, lengths, given, strict=True)):
        block = part[:, None] if part.ndim == 1 else part
        if block.ndim != 2 or len(block) not in (length, padded):
            raise DataError(
                f"`{name}` of series {index} must be {width_word} with {length} rows, one per time; "
                f"got shape {part.shape}.",
                hint="Several series of one channel on shared times are `values[..., None]`." if shared else "",
            )
        blocks.append(block[:length])
    widths = {block.shape[1] for block in blocks}
    if len(widths) > 1:
        raise DataError(f"`{name}` must have the same width in every series; got {sorted(widths)}.")
    return np.concatenate(blocks) if blocks else np.zeros((0, np.shape(argument)[-1] if trailing else 1))


def to_float(name: str, value: Any) -> np.ndarray:
    """Return real numbers as float64.

    Raises:
        DataError: They are complex, or no numbers of a regular shape.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if np.iscomplexobj(value):
        raise DataError(
            f"`{name}` is complex, and channels are real.",
            hint="Make a complex channel two: its real and its imaginary part.",
        )
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"`{name}` must be numbers of a regular shape; {error}.") from error
