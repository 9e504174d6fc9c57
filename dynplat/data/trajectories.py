"""Trajectories: series observed at their own times, in several channels, with holes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.data import layout
from dynplat.data.assemble import Origin, Rows, assemble
from dynplat.data.clock import Clock
from dynplat.data.moments import Moments
from dynplat.data.ragged import gather_rows, split_times
from dynplat.errors import ArgumentError, DataError, UnknownNameError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@dataclass(frozen=True, eq=False, repr=False)
class Trajectories:
    """Observations of one or more series at their own times.

    Make one with `from_arrays`, `from_long`, `from_wide`, `from_xarray` or `dynplat.read`. Every array is read-only;
    methods return new objects. Rows are sorted by time inside each series; shorter series are padded at the end with
    `mask` False, the last time repeated and finite filler.

    Dates: `times` are floats in `time_unit` (days by default) since `time_origin`; `labels` holds the dates of the rows
    themselves, to the nanosecond. With a `time_zone`, labels are in UTC and tables show them in the zone.

    Args:
        dataset: An xarray Dataset in the layout of this class, as `to_xarray` returns: dimensions `series`, `time`,
            `channel`, `input`; `values` with NaN where nothing was observed.
    """

    dataset: xr.Dataset

    def __post_init__(self) -> None:
        """Take a shallow copy, so that variables added to the given Dataset do not reach this object."""
        layout.check_layout(self.dataset, "trajectories")
        object.__setattr__(self, "dataset", self.dataset.copy(deep=False))

    # Construction

    @classmethod
    def from_arrays(
        cls,
        times: Any,
        values: Any,
        *,
        mask: Any = None,
        inputs: Any = None,
        marks: Any = None,
        static: Mapping[str, Any] | None = None,
        series: Sequence[str] | None = None,
        channels: Sequence[str] | None = None,
        input_names: Sequence[str] | None = None,
        units: Mapping[str, str] | None = None,
        time_unit: str = "",
        time_origin: Any = None,
        lengths: Any = None,
    ) -> Trajectories:
        """Build from arrays.

        Args:
            times: Numbers or dates: (time,) shared by all series, (series, time), or a list with one array per series.
            values: (time,) or (time, channel) for one series; (series, time) with times per series, for one channel;
                (series, time, channel); or a list with one array per series. NaN = missing.
            mask: True = observed, shaped like `values`; by default what is not NaN. Other values are erased.
            inputs: Known inputs, (time, input) shared, (series, time, input), or a list; finite. The input of a row
                holds from it until the next row.
            marks: Integer code of each row, (time,), (series, time) or a list.
            static: Name -> one value per series.
            series: Names of the series; by default `0`, `1`, ...
            channels: Names of the channels; by default `value`, or `value0`, `value1`, ... for several.
            input_names: Names of the inputs; by default `input0`, `input1`, ...
            units: Channel -> unit.
            time_unit: Unit of times; for dates (or with `time_origin`) one of W, D, h, min, s, ms, us, ns (default D).
            time_origin: Date of time 0; by default, for dates, the midnight before the first. Numbers with an origin
                are dates, and kept to the nanosecond.
            lengths: Number of real rows of each series, for padded arrays.

        Raises:
            DataError: Shapes do not fit, a time is missing, a value is infinite, or one channel is observed twice at
                one time of a series.
        """
        moments, extents = split_times(times, lengths, values)
        counts = extents.lengths
        num_series = len(counts)
        block = gather_rows("values", values, extents, trailing=True)
        if mask is not None:
            seen = gather_rows("mask", mask, extents, trailing=True).astype(bool)
            if seen.shape != block.shape:
                raise DataError(
                    f"`mask` must have the shape of `values`; got {seen.shape} rows and channels for {block.shape}."
                )
            if np.isnan(block[seen]).any():
                raise DataError(
                    "`mask` says observed (True) where `values` is NaN.", hint="Set the mask to False there."
                )
            block = np.where(seen, block, np.nan)
        rows_inputs = None
        if inputs is not None:
            rows_inputs = gather_rows("inputs", inputs, extents, trailing=True, spread=True)
        rows_marks = None
        if marks is not None:
            given = gather_rows("marks", marks, extents, trailing=False, spread=True)[:, 0]
            rows_marks = given.astype(np.int64)
            if not np.array_equal(rows_marks, given):
                raise DataError("`marks` must be integers, one per row.")
        within = np.concatenate([np.arange(count) for count in counts] or [counts])
        return cls._from_rows(
            np.repeat(np.arange(num_series), counts),
            moments,
            block,
            inputs=rows_inputs,
            marks=rows_marks,
            static=static,
            series=layout.check_names("series", series, num_series, [str(index) for index in range(num_series)]),
            channels=channels,
            input_names=input_names,
            units=units,
            time_unit=time_unit,
            time_origin=time_origin,
            series_name="series" if series is not None or num_series != 1 else "",
            origin=Origin("arrays", lambda row: int(within[row])),
        )[0]

    @classmethod
    def _from_rows(
        cls,
        codes: np.ndarray,
        moments: Moments,
        values: np.ndarray,
        *,
        series: Sequence[str],
        inputs: np.ndarray | None = None,
        marks: np.ndarray | None = None,
        static: Mapping[str, Any] | None = None,
        channels: Sequence[str] | None = None,
        input_names: Sequence[str] | None = None,
        units: Mapping[str, str] | None = None,
        time_unit: str = "",
        time_origin: Any = None,
        time_zone: str = "",
        time_name: str = "time",
        series_name: str = "series",
        origin: Origin | None = None,
    ) -> tuple[Trajectories, np.ndarray]:
        """Build from rows in any order; return the object and the place (series, time) of each row."""
        origin = origin or Origin("arrays")
        num_channels = values.shape[1]
        channels = layout.check_names("channels", channels, num_channels, _default_channels(num_channels))
        series = layout.check_names("series", series, len(series), ())
        num_inputs = 0 if inputs is None else inputs.shape[1]
        defaults = [f"input{index}" for index in range(num_inputs)]
        names = layout.check_names("input_names", input_names, num_inputs, defaults)
        clock, numbers, labels = layout.make_clock(moments, time_unit, time_origin, time_zone)
        bad = ~np.isfinite(numbers)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            of_series = f" of series {series[int(codes[row])]!r}" if len(series) > 1 else ""
            raise DataError(
                f"the time{of_series} is missing or infinite.",
                hint="Leave the row out, or pass `lengths` where rows are padding.",
                source=origin.source,
                row=origin.number(row),
                column=origin.time,
            )
        if inputs is not None and not np.isfinite(inputs).all():
            row, column = (int(index) for index in np.argwhere(~np.isfinite(inputs))[0])
            raise DataError(
                f"the input is {inputs[row, column]}; inputs must be known at every row.",
                hint="Fill it, or make the column a channel, whose holes are allowed.",
                source=origin.source,
                row=origin.number(row),
                column=names[column],
            )
        padded = assemble(Rows(codes, numbers, labels, values, inputs, marks), series, channels, origin)
        dataset = layout.make_dataset(
            padded,
            series=series,
            channels=channels,
            input_names=names,
            units=layout.check_units(units, channels),
            static=layout.check_static(static, len(series)),
            clock=clock,
            time_name=time_name,
            series_name=series_name,
        )
        return cls(dataset), padded.placement

    @classmethod
    def from_long(
        cls,
        frame: pd.DataFrame,
        *,
        time: str,
        id: str | None = None,
        columns: Sequence[str] | None = None,
        inputs: Sequence[str] = (),
        static: Sequence[str] = (),
        units: Mapping[str, str] | None = None,
        source: object = None,
        marks: str | None = None,
        time_unit: str = "",
        time_origin: Any = None,
        date_format: str | None = None,
    ) -> Trajectories:
        """Build from a table with one row per series and time.

        Args:
            frame: The table. Columns of text are read as `dynplat.read` reads them.
            time: Column of times: numbers, dates or texts.
            id: Column that tells series apart; without it all rows are one series. Series keep the order of their first
                rows; their names are the ids as text.
            columns: Columns that become channels; by default every column of numbers that is not named elsewhere.
            inputs: Columns of known inputs.
            static: Columns that are constant within each series.
            units: Channel -> unit.
            source: What to call the table in messages.
            marks: Column of integer codes.
            time_unit: As in `from_arrays`.
            time_origin: As in `from_arrays`.
            date_format: A `strptime` format for dates that can be read in more than one way.

        Raises:
            DataError: A column is missing or cannot be read, or cells conflict; rows are counted from 0, as `.iloc`.
        """
        from dynplat.data.long import from_long

        return from_long(
            frame,
            time=time,
            id=id,
            columns=columns,
            inputs=inputs,
            static=static,
            units=units,
            source=source,
            marks=marks,
            time_unit=time_unit,
            time_origin=time_origin,
            date_format=date_format,
        ).data

    @classmethod
    def from_wide(
        cls,
        frame: pd.DataFrame,
        *,
        time: str | None = None,
        columns: Sequence[str] | None = None,
        channel: str = "value",
        unit: str = "",
        source: object = None,
        time_unit: str = "",
        time_origin: Any = None,
        date_format: str | None = None,
    ) -> Trajectories:
        """Build from a table with one column per series of one channel; every series has every row of the table.

        Args:
            frame: The table.
            time: Column of times; by default the index.
            columns: Columns that become series; by default all others.
            channel: Name of the channel.
            unit: Unit of the channel.
            source: What to call the table in messages.
            time_unit: As in `from_arrays`.
            time_origin: As in `from_arrays`.
            date_format: A `strptime` format for dates that can be read in more than one way.

        Raises:
            DataError: A column is missing or cannot be read.
        """
        from dynplat.data.wide import from_wide

        return from_wide(
            frame,
            time=time,
            columns=columns,
            channel=channel,
            unit=unit,
            source=source,
            time_unit=time_unit,
            time_origin=time_origin,
            date_format=date_format,
        )

    @classmethod
    def from_xarray(
        cls,
        data: xr.Dataset | xr.DataArray,
        *,
        time: str = "time",
        id: str | None = None,
        columns: Sequence[str] | None = None,
        source: object = None,
    ) -> Trajectories:
        """Build from what `to_xarray` returned, or from any Dataset or DataArray with a dimension of time.

        Args:
            data: The object. Variables over (time), (id, time) and at most one more dimension become channels.
            time: Name of the dimension of time, with a coordinate of its own.
            id: Name of the dimension along which series lie; by default `series` where there is one.
            columns: Variables that become channels; by default every numeric one with the dimension of time.
            source: What to call the object in messages.

        Raises:
            DataError: The dimension is not there, or a variable cannot be read.
        """
        from dynplat.data.arrays_xarray import from_xarray

        return from_xarray(data, time=time, id=id, columns=columns, source=source)

    # What is inside

    @cached_property
    def mask(self) -> np.ndarray:
        """True = observed, (series, time, channel)."""
        return layout.frozen(~np.isnan(self._raw))

    @cached_property
    def values(self) -> np.ndarray:
        """Values, (series, time, channel), float64; 0.0 where nothing was observed."""
        return layout.frozen(np.where(self.mask, self._raw, 0.0))

    @property
    def _raw(self) -> np.ndarray:
        return self.dataset["values"].values

    @property
    def times(self) -> np.ndarray:
        """Times, (series, time), float64, non-decreasing; the last one repeated in the padding."""
        return self.dataset["times"].values

    @property
    def labels(self) -> np.ndarray:
        """Times as people know them: datetime64 for dates (in UTC where `time_zone` is set), else `times`."""
        return self.dataset["labels"].values if self.is_datetime else self.times

    @property
    def lengths(self) -> np.ndarray:
        """Number of rows of each series, (series,), int64."""
        return self.dataset["lengths"].values

    @property
    def inputs(self) -> np.ndarray | None:
        """Known inputs, (series, time, input), or None."""
        return self.dataset["inputs"].values if "inputs" in self.dataset else None

    @property
    def marks(self) -> np.ndarray | None:
        """Integer code of each row, (series, time), 0 in the padding, or None."""
        return self.dataset["marks"].values if "marks" in self.dataset else None

    @cached_property
    def static(self) -> dict[str, np.ndarray]:
        """Static covariates: name -> (series,)."""
        return layout.static_of(self.dataset)

    @cached_property
    def series(self) -> tuple[str, ...]:
        """Names of the series."""
        return layout.names_of(self.dataset, "series")

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return layout.names_of(self.dataset, "channel")

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs; empty without inputs."""
        return layout.names_of(self.dataset, "input")

    @cached_property
    def units(self) -> dict[str, str]:
        """Channel -> unit; channels without one are left out."""
        given = zip(self.channels, (str(unit) for unit in self.dataset["units"].values), strict=True)
        return {channel: unit for channel, unit in given if unit}

    @cached_property
    def clock(self) -> Clock:
        """How floats and labels of time belong together."""
        return layout.clock_of(self.dataset)

    @property
    def time_unit(self) -> str:
        """Unit of `times`; `D` for dates unless another was chosen; empty if unknown."""
        return self.clock.unit

    @property
    def time_origin(self) -> np.datetime64 | None:
        """Date of time 0, or None for times that are plain numbers."""
        return self.clock.origin

    @property
    def time_zone(self) -> str:
        """Time zone in which tables show the dates, or empty."""
        return self.clock.zone

    @property
    def time_name(self) -> str:
        """Name of the column of times in tables."""
        return self.dataset.attrs["time_name"]

    @property
    def series_name(self) -> str:
        """Name of the column that tells series apart in tables; empty for a single series without one."""
        return self.dataset.attrs["series_name"]

    @property
    def num_series(self) -> int:
        """Number of series."""
        return self.dataset.sizes["series"]

    @property
    def is_datetime(self) -> bool:
        """Whether times are dates."""
        return self.clock.origin is not None

    @cached_property
    def rows(self) -> np.ndarray:
        """True where (series, time) is a row, False in the padding."""
        return layout.frozen(np.arange(self.dataset.sizes["time"]) < self.lengths[:, None])

    # New objects

    def hide(self, hidden_mask: Any) -> Trajectories:
        """Return a copy in which the cells that `hidden_mask` (series, time, channel) marks are unobserved.

        Their numbers are erased, not only masked: no later step can look at them.
        """
        hidden = np.asarray(hidden_mask)
        if hidden.dtype != bool or hidden.shape != self._raw.shape:
            raise ArgumentError(
                f"`hidden_mask` must be boolean of shape {self._raw.shape}; got {hidden.dtype} of shape {hidden.shape}."
            )
        values = layout.frozen(np.where(hidden, np.nan, self._raw))
        return Trajectories(self.dataset.assign(values=(("series", "time", "channel"), values)))

    def select(
        self, series: str | Iterable[str] | None = None, channels: str | Iterable[str] | None = None
    ) -> Trajectories:
        """Return the named series and channels, in the order named; padding is cut to the longest that stays.

        Raises:
            UnknownNameError: A name is not there.
        """
        dataset = self.dataset
        if series is not None:
            dataset = dataset.isel(series=_positions("series", series, self.series))
            longest = int(dataset["lengths"].values.max(initial=0))
            dataset = dataset.isel(time=slice(0, longest))
        if channels is not None:
            dataset = dataset.isel(channel=_positions("channels", channels, self.channels))
        return Trajectories(layout.freeze(dataset))

    def extend(self, times: Any, *, inputs: Any = None) -> Trajectories:
        """Append unobserved rows at later times.

        Args:
            times: Floats or dates: (time,) for all series, (series, time), or a list with one array per series.
            inputs: Known inputs at these times, required exactly when the data have inputs; shaped as in `from_arrays`.

        Raises:
            DataError: A time is not after the last row of its series, or inputs are missing.
        """
        from dynplat.data.extend import extend

        return extend(self, times, inputs)

    def to_labels(self, float_times: Any) -> np.ndarray:
        """Turn float times into dates (datetime64, in UTC where `time_zone` is set); plain numbers stay floats.

        Times of rows give exactly the dates of these rows; other times the roundest date that has this float.
        """
        numbers = np.asarray(float_times, dtype=np.float64)
        if not self.is_datetime:
            return numbers
        labels = self.clock.labels(numbers)
        known_numbers, known_labels = self._known_times
        if known_numbers.size:
            place = np.minimum(np.searchsorted(known_numbers, numbers), known_numbers.size - 1)
            labels = np.where(known_numbers[place] == numbers, known_labels[place], labels)
        return labels

    @cached_property
    def _known_times(self) -> tuple[np.ndarray, np.ndarray]:
        numbers, first = np.unique(self.times[self.rows], return_index=True)
        return numbers, self.labels[self.rows][first]

    def from_labels(self, labels: Any) -> np.ndarray:
        """Turn dates (or texts of dates) into float times, the inverse of `to_labels`; floats stay floats.

        Raises:
            DataError: Dates for data whose times are plain numbers, or a time zone on one side only.
        """
        return layout.numbers_on(self.clock, labels)

    # Comparing, showing, converting

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) over the content; the same whatever the padding, the filler or the file format."""
        from dynplat.data.fingerprint import fingerprint_trajectories

        return fingerprint_trajectories(self)

    def equals(self, other: object) -> bool:
        """Return True if `other` holds the same content: the same fingerprint."""
        return isinstance(other, Trajectories) and self.fingerprint() == other.fingerprint()

    def to_xarray(self) -> xr.Dataset:
        """Return a Dataset of its own (deep copy), with NaN where nothing was observed."""
        return self.dataset.copy(deep=True)

    def to_long(self, *, time: str | None = None, id: str | None = None) -> pd.DataFrame:
        """Return a table with one row per series and time: ids, times, channels, inputs, marks, static covariates.

        Args:
            time: Name of the column of times; by default `time_name`.
            id: Name of the column of ids; by default `series_name`; a single series without one has no such column.

        Raises:
            DataError: Two of these columns would carry the same name.
        """
        from dynplat.data.long import to_long

        return to_long(self, time=time, id=id)

    def to_wide(self, channel: str | None = None) -> pd.DataFrame:
        """Return a table of one channel: one row per time (its index), one column per series.

        Raises:
            ArgumentError: There are several channels and `channel` is not given.
        """
        from dynplat.data.wide import to_wide

        return to_wide(self, channel)

    def __repr__(self) -> str:
        return self._headline() + "\n" + repr(self.dataset)

    def _repr_html_(self) -> str:
        return f"<div>{self._headline()}</div>{self.dataset._repr_html_()}"

    def _headline(self) -> str:
        num_rows = int(self.lengths.sum())
        seen = f"{int(self.mask.sum())} of {num_rows * len(self.channels)} cells observed"
        return f"<Trajectories: {self.num_series} series, {num_rows} rows, {seen}>"


def _default_channels(count: int) -> list[str]:
    return ["value"] if count == 1 else [f"value{index}" for index in range(count)]


def _positions(argument: str, given: str | Iterable[str], known: tuple[str, ...]) -> list[int]:
    names = [given] if isinstance(given, str) else list(given)
    for name in names:
        if name not in known:
            shown = ", ".join(repr(other) for other in known[:20]) + (", ..." if len(known) > 20 else "")
            raise UnknownNameError(f"`{argument}` names {name!r}, which is not there. There are: {shown}.")
    return [known.index(name) for name in names]
