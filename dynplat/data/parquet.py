"""Parquet: the long table, with what a table cannot say (units, origin, parts of columns) as JSON in its metadata."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.data.assemble import Origin
from dynplat.data.atomic import replacing
from dynplat.data.layout import LAYOUT, rebuild
from dynplat.data.long import MARKS_NAME, from_long
from dynplat.data.moments import Moments, read_moments
from dynplat.data.roles import check_there
from dynplat.data.sources import OpenTable
from dynplat.errors import DataError

if TYPE_CHECKING:
    from dynplat.data.snapshots import Snapshots
    from dynplat.data.trajectories import Trajectories

_KEY = b"dynplat"
_INDEX = "__index_level_"


def read_parquet(path: Path) -> OpenTable:
    """Read a Parquet file as a table; rows are counted from 0.

    Raises:
        DataError: It is no Parquet file, or a name stands twice.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open(path, "rb") as opened:
            arrow = pq.ParquetFile(opened).read()
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"the file is no whole Parquet file ({str(error).splitlines()[0]}).",
            hint="Write or copy it again.",
            source=path,
        ) from error
    names = arrow.column_names
    for index, name in enumerate(names):
        if name in names[:index]:
            raise DataError(
                f"two columns carry this name (columns {names.index(name) + 1} and {index + 1} of the table).",
                hint="Rename one of them.",
                source=path,
                column=name,
            )
    stored = (arrow.schema.metadata or {}).get(_KEY)
    meta = None
    if stored is not None:
        meta = json.loads(stored)
        if meta.get("layout", 0) > LAYOUT:
            raise DataError(
                f"the file was written in layout {meta['layout']}, newer than this dynplat knows ({LAYOUT}).",
                hint="Update dynplat.",
                source=path,
            )
    unnamed = tuple(name for name in names if name.startswith(_INDEX))
    frame = arrow.to_pandas(ignore_metadata=True)
    return OpenTable(frame, Origin(path), unnamed=unnamed, arrow=arrow, meta=meta)


def write_parquet(data: Trajectories | Snapshots, path: str | os.PathLike[str]) -> None:
    """Write data as a long table with metadata, atomically."""
    import pyarrow as pa

    from dynplat.data.trajectories import Trajectories

    if isinstance(data, Trajectories):
        meta = _trajectories_meta(data)
        frame = data.to_long(id=meta["id"])
    else:
        meta, frame = _snapshots_meta(data), data.to_long()

    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    write_arrow(arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), _KEY: json.dumps(meta)}), path)


def write_arrow(arrow: Any, path: str | os.PathLike[str]) -> None:
    """Write an Arrow table as Parquet, atomically."""
    import pyarrow.parquet as pq

    with replacing(path) as temporary:
        pq.write_table(arrow, temporary)


def from_parquet(opened: OpenTable) -> Trajectories | Snapshots:
    """Build what `write_parquet` wrote.

    Raises:
        DataError: The table no longer fits its metadata.
    """
    assert opened.meta is not None
    return _read_trajectories(opened) if opened.meta["kind"] == "trajectories" else _read_snapshots(opened)


def _read_trajectories(opened: OpenTable) -> Trajectories:
    meta, frame = opened.meta or {}, opened.frame
    found = from_long(
        frame,
        time=meta["time"],
        id=meta["id"],
        columns=meta["columns"],
        inputs=meta["inputs"],
        marks=MARKS_NAME if meta["marks"] else None,
        units=meta["units"],
        time_unit=meta["time_unit"],
        time_origin=meta["time_origin"] or None,
        time_zone=meta["time_zone"],
        origin=opened.origin,
        series=meta["series"],
    )
    if not meta["static"]:
        return found.data
    firsts = dict(zip(found.placement[::-1, 0].tolist(), range(len(frame) - 1, -1, -1), strict=True))
    static = {}
    for name, dtype in meta["static"].items():
        check_there((name,), "static", frame, opened.origin.source)
        cells = frame[name].to_numpy()
        known = [
            cells[firsts[index]] if index in firsts else meta["static_of_empty"][series][name]
            for index, series in enumerate(found.data.series)
        ]
        static[name] = np.array(known, dtype=dtype)
    return rebuild(found.data, static=static)


def _read_snapshots(opened: OpenTable) -> Snapshots:
    from dynplat.data.snapshots import Snapshots, snapshots_from_long

    meta = opened.meta or {}
    found = snapshots_from_long(
        opened.frame,
        time=meta["time"],
        columns=meta["columns"],
        units=meta["units"],
        time_unit=meta["time_unit"],
        time_origin=meta["time_origin"] or None,
        time_zone=meta["time_zone"],
        origin=opened.origin,
    )
    if not meta["empty"]:
        return found
    empty = read_moments(np.array(meta["empty"])).array
    return Snapshots._from_particles(
        Moments(np.concatenate([found.labels, empty])),
        np.repeat(np.arange(found.num_times), found.counts),
        found.dataset["values"].values,
        channels=found.channels,
        units=found.units,
        time_unit=found.time_unit,
        time_origin=found.time_origin,
        time_zone=found.time_zone,
        time_name=found.time_name,
    )


def _trajectories_meta(data: Trajectories) -> dict[str, Any]:
    empty = np.flatnonzero(data.lengths == 0)
    named = data.num_series != 1 or bool(data.series_name) or empty.size > 0 or data.series != ("0",)
    return {
        "kind": "trajectories",
        "layout": LAYOUT,
        "time": data.time_name,
        "id": (data.series_name or "series") if named else None,
        "series": list(data.series),
        "columns": list(data.channels),
        "inputs": list(data.input_names),
        "static": {name: array.dtype.str for name, array in data.static.items()},
        # A series without rows has no row that could say these.
        "static_of_empty": {
            data.series[index]: {name: array[index].item() for name, array in data.static.items()} for index in empty
        },
        "marks": data.marks is not None,
        "units": data.units,
        **_clock_meta(data),
    }


def _snapshots_meta(data: Snapshots) -> dict[str, Any]:
    empty = data.labels[data.counts == 0]
    return {
        "kind": "snapshots",
        "layout": LAYOUT,
        "time": data.time_name,
        "columns": list(data.channels),
        "units": data.units,
        "empty": [str(label) for label in empty] if data.is_datetime else empty.tolist(),
        **_clock_meta(data),
    }


def _clock_meta(data: Trajectories | Snapshots) -> dict[str, Any]:
    origin = data.time_origin
    return {
        "time_unit": data.time_unit,
        "time_origin": "" if origin is None else str(origin),
        "time_zone": data.time_zone,
    }
