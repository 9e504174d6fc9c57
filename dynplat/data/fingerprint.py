"""SHA-256 over the content of data: the same whatever the padding, the filler, the file format or the machine."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dynplat.data.snapshots import Snapshots
    from dynplat.data.trajectories import Trajectories


def fingerprint_trajectories(data: Trajectories) -> str:
    """Digest names, units, the clock, and every row of every series; names of columns of time and ids are left out."""
    digest = hashlib.sha256()
    static = {name: array.tolist() for name, array in sorted(data.static.items())}
    _text(
        digest,
        {
            "kind": "trajectories",
            "series": data.series,
            "channels": data.channels,
            "inputs": data.input_names,
            "units": data.units,
            "clock": (data.time_unit, str(data.time_origin or ""), data.time_zone),
            "static": static,
            "marks": data.marks is not None,
            "lengths": data.lengths.tolist(),
        },
    )
    for index, length in enumerate(data.lengths):
        rows = (index, slice(0, int(length)))
        _numbers(digest, data.times[rows])
        if data.is_datetime:
            _integers(digest, data.labels[rows].astype(np.int64))
        _integers(digest, data.mask[rows])
        _numbers(digest, data.values[rows])
        if data.inputs is not None:
            _numbers(digest, data.inputs[rows])
        if data.marks is not None:
            _integers(digest, data.marks[rows])
    return digest.hexdigest()


def fingerprint_snapshots(data: Snapshots) -> str:
    """Digest names, units, the clock, and every particle of every population."""
    digest = hashlib.sha256()
    _text(
        digest,
        {
            "kind": "snapshots",
            "channels": data.channels,
            "units": data.units,
            "clock": (data.time_unit, str(data.time_origin or ""), data.time_zone),
            "counts": data.counts.tolist(),
        },
    )
    _numbers(digest, data.times)
    if data.is_datetime:
        _integers(digest, data.labels.astype(np.int64))
    for population in data.populations:
        _numbers(digest, population)
    return digest.hexdigest()


def _text(digest: Any, content: dict[str, Any]) -> None:
    digest.update(json.dumps(content, sort_keys=True, ensure_ascii=True).encode())


def _numbers(digest: Any, array: np.ndarray) -> None:
    # Adding 0.0 makes -0.0 and 0.0, which are equal, equal in bytes.
    digest.update(np.ascontiguousarray(array + 0.0, dtype="<f8").tobytes())


def _integers(digest: Any, array: np.ndarray) -> None:
    digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
