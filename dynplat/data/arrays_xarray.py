"""Trajectories from xarray: their own layout, or any Dataset with a dimension of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.data import layout
from dynplat.data.moments import read_moments
from dynplat.data.roles import as_names
from dynplat.errors import DataError

if TYPE_CHECKING:
    import xarray as xr

    from dynplat.data.trajectories import Trajectories


def from_xarray(
    data: xr.Dataset | xr.DataArray,
    *,
    time: str,
    id: str | None,
    columns: str | Sequence[str] | None,
    source: object,
) -> Trajectories:
    """Build trajectories; `Trajectories.from_xarray` says what the arguments are."""
    import xarray as xr

    if isinstance(data, xr.DataArray):
        data = data.to_dataset(name=data.name if data.name is not None else "value")
    if not isinstance(data, xr.Dataset):
        raise DataError(f"an xarray Dataset or DataArray is expected; got {type(data).__name__}.", source=source)
    if data.attrs.get("dynplat_kind") == "trajectories":
        found = _from_layout(data, source)
        return found.select(channels=as_names(columns)) if columns is not None else found
    return _from_any(data, time, id, columns, source)


def _from_layout(dataset: xr.Dataset, source: object) -> Trajectories:
    try:
        layout.check_layout(dataset, "trajectories")
        return layout.rebuild(dataset)
    except KeyError as error:
        raise DataError(
            f"the variable or attribute {error} of the layout of trajectories is missing.",
            hint="The file was changed after dynplat wrote it; write it again.",
            source=source,
        ) from error
    except DataError as error:
        if error.source is not None or source is None:
            raise
        raise DataError(error.problem, hint=error.hint, source=source, row=error.row, column=error.column) from None


def _from_any(
    dataset: xr.Dataset, time: str, id: str | None, columns: str | Sequence[str] | None, source: object
) -> Trajectories:
    from dynplat.data.trajectories import Trajectories

    there = ", ".join(repr(str(name)) for name in dataset.sizes) or "none"
    if time not in dataset.sizes:
        raise DataError(
            f"there is no dimension {time!r} of time.",
            hint=f"Name the dimension with `time`. The dimensions are: {there}.",
            source=source,
        )
    if id is None and "series" in dataset.sizes:
        id = "series"
    if id is not None and id not in dataset.sizes:
        raise DataError(f"there is no dimension {id!r}.", hint=f"The dimensions are: {there}.", source=source)
    if time == id:
        raise DataError(f"`time` and `id` name the same dimension {time!r}.", hint="Name two.", source=source)
    if time not in dataset.coords:
        raise DataError(
            f"the dimension {time!r} has no coordinate, so its times are not known.",
            hint=f"Assign them: dataset.assign_coords({time}=...).",
            source=source,
        )
    blocks, channels, units = _channels(dataset, time, id, columns, source)
    series = [str(name) for name in dataset[id].values] if id is not None else None
    moments = read_moments(dataset[time].values)
    if not moments.is_datetime and np.isnan(moments.array).any():
        raise DataError("a time is missing.", source=source, column=time)
    attrs = dataset[time].attrs
    data = Trajectories.from_arrays(
        dataset[time].values,
        np.concatenate(blocks, axis=-1),
        series=series,
        channels=channels,
        units=units,
        time_unit="" if moments.is_datetime else str(attrs.get("units", "")),
    )
    renamed = data.dataset.assign_attrs(time_name=str(time), series_name=str(id or ""))
    return Trajectories(renamed)


def _channels(
    dataset: xr.Dataset, time: str, id: str | None, columns: str | Sequence[str] | None, source: object
) -> tuple[list[np.ndarray], list[str], dict[str, str]]:
    wanted = as_names(columns)
    for name in wanted:
        if name not in dataset.data_vars:
            listed = ", ".join(repr(str(other)) for other in dataset.data_vars)
            raise DataError(
                "`columns` names a variable that is not there.",
                hint=f"The variables are: {listed}.",
                source=source,
                column=name,
            )
    if not wanted:
        wanted = tuple(
            name
            for name, variable in dataset.data_vars.items()
            if time in variable.dims and variable.dtype.kind in "iuf" and len(set(variable.dims) - {time, id}) <= 1
        )
    if not wanted:
        raise DataError(f"no variable of numbers has the dimension {time!r}.", source=source)
    blocks: list[np.ndarray] = []
    channels: list[str] = []
    units: dict[str, str] = {}
    for name in wanted:
        variable = dataset[name]
        rest = [str(dim) for dim in variable.dims if dim not in (time, id)]
        if time not in variable.dims or len(rest) > 1 or variable.dtype.kind not in "iufb":
            raise DataError(
                f"the variable lies over {variable.dims} with type {variable.dtype}; expected numbers over ({time!r}), "
                f"{f'({id!r}, {time!r})' if id else 'a dimension of series'} and at most one dimension more.",
                hint="Leave it out with `columns`, or name the dimension of series with `id`.",
                source=source,
                column=name,
            )
        if id is not None and id not in variable.dims:
            variable = variable.expand_dims({id: dataset.sizes[id]})
        order = ([id] if id is not None else []) + [time, *rest]
        array = np.asarray(variable.transpose(*order).values, dtype=np.float64)
        array = array if id is not None else array[None]
        blocks.append(array if rest else array[..., None])
        labels = [str(label) for label in dataset[rest[0]].values] if rest else []
        names = [label if len(wanted) == 1 and rest[0] in dataset.coords else f"{name}.{label}" for label in labels]
        names = names or [str(name)]
        channels += names
        units |= {channel: str(variable.attrs["units"]) for channel in names if variable.attrs.get("units")}
    return blocks, channels, units


def is_layout(data: Any) -> bool:
    """Return True for a Dataset that dynplat wrote."""
    return "dynplat_kind" in getattr(data, "attrs", {})
