"""Unobserved rows after the last one: the times that a forecast is asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.data import layout
from dynplat.data.clock import show_label
from dynplat.data.moments import Moments
from dynplat.data.ragged import Extents, gather_rows, is_per_series
from dynplat.errors import DataError

if TYPE_CHECKING:
    from dynplat.data.trajectories import Trajectories


def extend(data: Trajectories, times: Any, inputs: Any) -> Trajectories:
    """Append rows; `Trajectories.extend` says what the arguments are."""
    new, shared = _new_times(data, times)
    counts = np.array([len(part) for part in new], dtype=np.int64)
    for index, (part, length) in enumerate(zip(new, data.lengths, strict=True)):
        if len(part) and not np.isfinite(part).all():
            raise DataError(f"`times` of series {data.series[index]!r} must be finite; got {part}.")
        if length and len(part) and part.min() <= data.times[index, length - 1]:
            last = data.labels[index, length - 1]
            shown = data.to_labels(np.array([part.min()]))[0]
            raise DataError(
                f"`times` must lie after the last row of each series; series {data.series[index]!r} ends at "
                f"{show_label(last)} and `times` begins at {show_label(shown)}.",
                hint="Give later times, or a list with one array per series.",
            )
    if (inputs is None) != (data.inputs is None):
        raise DataError(
            f"`inputs` must be given for the new times exactly when the data have inputs; the data have "
            f"{', '.join(data.input_names) or 'none'}."
        )
    rows = layout.flatten(data.dataset)
    joined = np.concatenate(new) if new else np.zeros(0)
    moments = rows.times if rows.labels is None else rows.labels
    extra = joined if rows.labels is None else data.to_labels(joined).astype(rows.labels.dtype)
    size = len(joined)
    block = None
    if rows.inputs is not None:
        fresh = gather_rows("inputs", inputs, Extents(counts, counts, shared), trailing=True, spread=True)
        block = np.concatenate([rows.inputs, fresh])
    return layout.rebuild(
        data,
        codes=np.concatenate([rows.codes, np.repeat(np.arange(data.num_series), counts)]),
        moments=Moments(np.concatenate([moments, extra])),
        values=np.concatenate([rows.values, np.full((size, len(data.channels)), np.nan)]),
        inputs=block,
        marks=None if rows.marks is None else np.concatenate([rows.marks, np.zeros(size, dtype=np.int64)]),
    )


def _new_times(data: Trajectories, times: Any) -> tuple[list[np.ndarray], bool]:
    if is_per_series(times) or np.ndim(times) == 2:
        parts = [np.atleast_1d(data.from_labels(part)) for part in times]
        if len(parts) != data.num_series:
            raise DataError(f"`times` must hold one array per series ({data.num_series}); got {len(parts)}.")
        return parts, False
    shared = np.atleast_1d(data.from_labels(times))
    return [shared] * data.num_series, True
