"""Snapshots: populations observed at a few times, with no identity between times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.data import layout
from dynplat.data.assemble import Origin
from dynplat.data.clock import Clock, show_label
from dynplat.data.moments import Moments, read_moments
from dynplat.data.ragged import to_float
from dynplat.errors import ArgumentError, DataError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@dataclass(frozen=True, eq=False, repr=False)
class Snapshots:
    """Populations of particles at increasing times; the particles of one time are not those of another.

    Make one with `from_arrays`, `from_long`, `from_xarray` or `dynplat.read`. Every array is read-only.

    Args:
        dataset: An xarray Dataset in the layout of this class, as `to_xarray` returns: `values` (particle, channel),
            the particles of one snapshot after those of another, and `counts` (snapshot) of how many belong to each
            (the contiguous ragged array of the CF conventions, so that nothing is padded).
    """

    dataset: xr.Dataset

    def __post_init__(self) -> None:
        """Take a shallow copy, so that variables added to the given Dataset do not reach this object."""
        layout.check_layout(self.dataset, "snapshots")
        object.__setattr__(self, "dataset", self.dataset.copy(deep=False))

    @classmethod
    def from_arrays(
        cls,
        times: Any,
        populations: Sequence[Any],
        *,
        channels: Sequence[str] | None = None,
        units: Mapping[str, str] | None = None,
        time_unit: str = "",
        time_origin: Any = None,
    ) -> Snapshots:
        """Build from one array per time.

        Args:
            times: Numbers or dates, (snapshot,), distinct; snapshots are sorted by them.
            populations: One array (particle, channel) per time, or (particle,) for one channel; finite. A population
                may be empty.
            channels: Names of the channels; by default `value`, or `value0`, `value1`, ... for several.
            units: Channel -> unit.
            time_unit: Unit of times; for dates (or with `time_origin`) one of W, D, h, min, s, ms, us, ns (default D).
            time_origin: Date of time 0; by default, for dates, the midnight before the first.

        Raises:
            DataError: Numbers of times and populations differ, a time stands twice or is missing, or a value is not
                finite.
        """
        moments = read_moments(times)
        blocks = [_block(index, population) for index, population in enumerate(populations)]
        if moments.array.shape != (len(blocks),):
            raise DataError(
                f"`times` must hold one time per population ({len(blocks)}); got shape {moments.array.shape}."
            )
        widths = {block.shape[1] for block in blocks if len(block)} or {block.shape[1] for block in blocks}
        if len(widths) > 1:
            raise DataError(f"`populations` must all have the same number of channels; got {sorted(widths)}.")
        width = widths.pop() if widths else 1
        values = np.concatenate([block.reshape(-1, width) for block in blocks] or [np.zeros((0, width))])
        codes = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
        return cls._from_particles(
            moments, codes, values, channels=channels, units=units, time_unit=time_unit, time_origin=time_origin
        )

    @classmethod
    def _from_particles(
        cls,
        moments: Moments,
        codes: np.ndarray,
        values: np.ndarray,
        *,
        channels: Sequence[str] | None,
        units: Mapping[str, str] | None = None,
        time_unit: str = "",
        time_origin: Any = None,
        time_zone: str = "",
        time_name: str = "time",
        origin: Origin | None = None,
    ) -> Snapshots:
        """Build from the times of snapshots and, for every particle, the index of its snapshot and its values."""
        import xarray as xr

        origin = origin or Origin("arrays")
        clock, numbers, labels = layout.make_clock(moments, time_unit, time_origin, time_zone)
        if not np.isfinite(numbers).all():
            raise DataError("a time is missing or infinite.", source=origin.source, column=origin.time)
        order = np.argsort(numbers, kind="stable")
        numbers, labels = numbers[order], None if labels is None else labels[order]
        twice = np.flatnonzero(np.diff(numbers) == 0)
        if twice.size:
            shown = numbers[twice[0]] if labels is None else labels[twice[0]]
            raise DataError(
                f"the time {show_label(shown)} stands twice; a population is observed once at a time.",
                hint="Join the particles of the two into one population.",
                source=origin.source,
            )
        num_channels = values.shape[1]
        default = ["value"] if num_channels == 1 else [f"value{index}" for index in range(num_channels)]
        names = layout.check_names("channels", channels, num_channels, default)
        bad = np.argwhere(~np.isfinite(values))
        if bad.size:
            row, channel = (int(index) for index in bad[0])
            raise DataError(
                f"the value is {values[row, channel]}; a particle must be known in every channel.",
                hint="Correct it, or leave the particle out.",
                source=origin.source,
                row=origin.number(row),
                column=names[channel],
            )
        ranks = np.empty(len(order), dtype=np.int64)
        ranks[order] = np.arange(len(order))
        sequence = np.argsort(ranks[codes], kind="stable") if len(codes) else np.zeros(0, dtype=np.int64)
        coords: dict[str, Any] = {
            "channel": np.array(names, dtype=object),
            "times": ("snapshot", numbers),
            "units": ("channel", np.array(layout.check_units(units, names), dtype=object)),
        }
        if labels is not None:
            coords["labels"] = ("snapshot", labels)
        counts = np.bincount(ranks[codes], minlength=len(order)).astype(np.int64)
        variables = {
            "values": (("particle", "channel"), values[sequence]),
            "counts": ("snapshot", counts, {"sample_dimension": "particle"}),
        }
        attrs = {
            "dynplat_kind": "snapshots",
            "dynplat_layout": layout.LAYOUT,
            "time_unit": clock.unit,
            "time_origin": "" if clock.origin is None else str(clock.origin),
            "time_zone": clock.zone,
            "time_name": time_name,
        }
        return cls(layout.freeze(xr.Dataset(variables, coords=coords, attrs=attrs)))

    @classmethod
    def from_long(
        cls,
        frame: pd.DataFrame,
        *,
        time: str,
        columns: Sequence[str] | None = None,
        units: Mapping[str, str] | None = None,
        source: object = None,
        time_unit: str = "",
        time_origin: Any = None,
        date_format: str | None = None,
    ) -> Snapshots:
        """Build from a table with one row per particle; rows with the same time form a population.

        Args:
            frame: The table. Columns of text are read as `dynplat.read` reads them.
            time: Column of times: numbers, dates or texts.
            columns: Columns that become channels; by default every column of numbers but the time.
            units: Channel -> unit.
            source: What to call the table in messages.
            time_unit: As in `from_arrays`.
            time_origin: As in `from_arrays`.
            date_format: A `strptime` format for dates that can be read in more than one way.

        Raises:
            DataError: A column is missing or cannot be read, or a cell is empty; rows are counted from 0, as `.iloc`.
        """
        return snapshots_from_long(
            frame,
            time=time,
            columns=columns,
            units=units,
            time_unit=time_unit,
            time_origin=time_origin,
            date_format=date_format,
            origin=Origin(source),
        )

    @classmethod
    def from_xarray(cls, data: xr.Dataset, *, source: object = None) -> Snapshots:
        """Build from what `to_xarray` returned; everything is checked again.

        Raises:
            DataError: The Dataset is not in the layout of snapshots.
        """
        try:
            layout.check_layout(data, "snapshots")
            clock = layout.clock_of(data)
            channels = layout.names_of(data, "channel")
            counts = np.asarray(data["counts"].values).astype(np.int64)
            values = np.asarray(data["values"].values, dtype=np.float64)
            if counts.sum() != len(values):
                raise DataError(f"`counts` add up to {counts.sum()} particles, and there are {len(values)}.")
            times = data["labels"].values if clock.origin is not None else data["times"].values
            return cls._from_particles(
                read_moments(times),
                np.repeat(np.arange(len(counts)), counts),
                values,
                channels=channels,
                units=dict(zip(channels, (str(unit) for unit in data["units"].values), strict=True)),
                time_unit=clock.unit,
                time_origin=clock.origin,
                time_zone=clock.zone,
                time_name=str(data.attrs["time_name"]),
            )
        except KeyError as error:
            raise DataError(
                f"the variable or attribute {error} of the layout of snapshots is missing.",
                hint="The file was changed after dynplat wrote it; write it again.",
                source=source,
            ) from error

    # What is inside

    @property
    def times(self) -> np.ndarray:
        """Times, (snapshot,), float64, increasing."""
        return self.dataset["times"].values

    @property
    def labels(self) -> np.ndarray:
        """Times as people know them: datetime64 for dates (in UTC where `time_zone` is set), else `times`."""
        return self.dataset["labels"].values if self.is_datetime else self.times

    @property
    def counts(self) -> np.ndarray:
        """Number of particles of each snapshot, (snapshot,), int64."""
        return self.dataset["counts"].values

    @cached_property
    def populations(self) -> tuple[np.ndarray, ...]:
        """One array (particle, channel) per time, float64."""
        return tuple(np.split(self.dataset["values"].values, np.cumsum(self.counts)[:-1])) if len(self.counts) else ()

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return layout.names_of(self.dataset, "channel")

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
    def num_times(self) -> int:
        """Number of snapshots."""
        return len(self.counts)

    @property
    def is_datetime(self) -> bool:
        """Whether times are dates."""
        return self.clock.origin is not None

    # New objects

    def hide_times(self, indices: int | Iterable[int]) -> Snapshots:
        """Return the snapshots without those at the given positions; negative positions count from the end.

        Raises:
            ArgumentError: A position is not there, or none would be left.
        """
        hidden = self._check_positions(indices)
        kept = [index for index in range(self.num_times) if index not in hidden]
        if not kept:
            raise ArgumentError(f"`indices` would hide all {self.num_times} snapshots; leave at least one.")
        return self.select_times(kept)

    def select_times(self, indices: int | Iterable[int]) -> Snapshots:
        """Return the snapshots at the given positions, the counterpart of `hide_times`.

        Raises:
            ArgumentError: A position is not there.
        """
        chosen = sorted(self._check_positions(indices))
        starts = np.concatenate(([0], np.cumsum(self.counts)))
        particles = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in chosen] or [np.zeros(0, np.int64)])
        return Snapshots(layout.freeze(self.dataset.isel(snapshot=chosen, particle=particles)))

    def join(self, other: Snapshots) -> Snapshots:
        """Return the populations of both, in the order of time; units and the clock are those of this object.

        Raises:
            DataError: A time stands in both.
            ArgumentError: The channels differ, or only one of the two has dates.
        """
        if other.channels != self.channels or other.is_datetime != self.is_datetime:
            raise ArgumentError(
                f"`other` must have the channels {self.channels} and {'dates' if self.is_datetime else 'plain times'}; "
                f"got {other.channels} and {'dates' if other.is_datetime else 'plain times'}."
            )
        joined = np.concatenate([self.labels, other.labels])
        return self._from_particles(
            read_moments(joined),
            np.repeat(np.arange(len(joined)), np.concatenate([self.counts, other.counts])),
            np.concatenate([self.dataset["values"].values, other.dataset["values"].values]),
            channels=self.channels,
            units=self.units,
            time_unit=self.time_unit,
            time_origin=self.time_origin,
            time_zone=self.time_zone,
            time_name=self.time_name,
        )

    def _check_positions(self, indices: int | Iterable[int]) -> set[int]:
        given = [indices] if isinstance(indices, int | np.integer) else list(indices)
        for index in given:
            if not -self.num_times <= index < self.num_times:
                raise ArgumentError(f"`indices` must be positions among {self.num_times} snapshots; got {index}.")
        return {int(index) % self.num_times for index in given}

    def to_labels(self, float_times: Any) -> np.ndarray:
        """Turn float times into dates (datetime64, in UTC where `time_zone` is set); plain numbers stay floats."""
        numbers = np.asarray(float_times, dtype=np.float64)
        if not self.is_datetime:
            return numbers
        labels = self.clock.labels(numbers)
        if self.num_times:
            place = np.minimum(np.searchsorted(self.times, numbers), self.num_times - 1)
            labels = np.where(self.times[place] == numbers, self.labels[place], labels)
        return labels

    def from_labels(self, labels: Any) -> np.ndarray:
        """Turn dates (or texts of dates) into float times, the inverse of `to_labels`; floats stay floats.

        Raises:
            DataError: Dates for data whose times are plain numbers, or a time zone on one side only.
        """
        return layout.numbers_on(self.clock, labels)

    # Comparing, showing, converting

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) over the content; the same whatever the file format."""
        from dynplat.data.fingerprint import fingerprint_snapshots

        return fingerprint_snapshots(self)

    def equals(self, other: object) -> bool:
        """Return True if `other` holds the same content: the same fingerprint."""
        return isinstance(other, Snapshots) and self.fingerprint() == other.fingerprint()

    def to_xarray(self) -> xr.Dataset:
        """Return a Dataset of its own (deep copy)."""
        return self.dataset.copy(deep=True)

    def to_long(self) -> pd.DataFrame:
        """Return a table with one row per particle: its time and its channels; empty populations leave no row.

        Raises:
            DataError: A channel has the name of the column of times.
        """
        import pandas as pd

        from dynplat.data.long import shown_labels

        if self.time_name in self.channels:
            raise DataError("a channel and the time would carry this name.", column=self.time_name)
        columns: dict[str, Any] = {self.time_name: shown_labels(np.repeat(self.labels, self.counts), self.time_zone)}
        columns |= {name: self.dataset["values"].values[:, index] for index, name in enumerate(self.channels)}
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        return self._headline() + "\n" + repr(self.dataset)

    def _repr_html_(self) -> str:
        return f"<div>{self._headline()}</div>{self.dataset._repr_html_()}"

    def _headline(self) -> str:
        return f"<Snapshots: {self.num_times} times, {int(self.counts.sum())} particles, {len(self.channels)} channels>"


def snapshots_from_long(
    frame: pd.DataFrame,
    *,
    time: str | None,
    columns: str | Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
    time_unit: str = "",
    time_origin: Any = None,
    time_zone: str = "",
    date_format: str | None = None,
    decimal: str = ".",
    unnamed: Sequence[str] = (),
    origin: Origin | None = None,
) -> Snapshots:
    """Build snapshots from a table; `Snapshots.from_long` says what the arguments are."""
    from dynplat.data.long import read_time_column
    from dynplat.data.numbers import number_column
    from dynplat.data.roles import find_roles

    origin = origin or Origin(None)
    roles = find_roles(frame, origin, time=time, id=None, columns=columns, decimal=decimal, unnamed=unnamed)
    moments = read_time_column(frame[roles.time], roles.time, origin, date_format, decimal)
    missing = np.isnat(moments.array) if moments.is_datetime else np.isnan(moments.array)
    if missing.any():
        raise DataError(
            "the time of a particle is missing.",
            hint="Fill the cell, or delete the row.",
            source=origin.source,
            row=origin.number(int(np.flatnonzero(missing)[0])),
            column=roles.time,
        )
    distinct, codes = np.unique(moments.array, return_inverse=True)
    return Snapshots._from_particles(
        moments._replace(array=distinct),
        codes,
        np.column_stack([number_column(frame[name], name, origin, decimal) for name in roles.columns]),
        channels=[str(name) for name in roles.columns],
        units=units,
        time_unit=time_unit,
        time_origin=time_origin,
        time_zone=time_zone,
        time_name=str(roles.time),
        origin=origin,
    )


def _block(index: int, population: Any) -> np.ndarray:
    block = to_float(f"populations[{index}]", population)
    block = block[:, None] if block.ndim == 1 else block
    if block.ndim != 2:
        raise DataError(f"`populations[{index}]` must be (particle, channel); got shape {block.shape}.")
    return block
