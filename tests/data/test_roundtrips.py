"""What is written is what is read: every format, ragged, irregular, masked, dated."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynplat.data import Snapshots, Trajectories, read, write

NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=6
)  # any printable text, slashes, quotes and commas included
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
# Dates since 1970, odd in their last digit, and far enough apart for float days over a century to tell them apart.
NANOSECONDS = st.integers(-(2**46), 2**46).map(lambda count: count * 2**15 + 7)
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def clocks(draw):
    """No dates; or dates to the nanosecond or the second, in a unit, perhaps in a zone."""
    if draw(st.booleans()):
        return None
    return draw(
        st.sampled_from([("D", ""), ("h", ""), ("s", ""), ("D", "UTC"), ("D", "Europe/Berlin"), ("D", "+05:30")])
    )


@st.composite
def trajectories(draw, plain=False):
    lengths = draw(st.lists(st.integers(0 if not plain else 1, 4), min_size=1, max_size=3))
    lengths[0] = max(lengths[0], 1)
    num_channels, num_inputs = draw(st.integers(1, 2)), draw(st.integers(0, 2))
    clock = draw(clocks())
    times, values, inputs, marks = [], [], [], []
    for length in lengths:
        if clock is None:
            times.append(np.array(draw(st.lists(NUMBERS, min_size=length, max_size=length, unique=True))))
        else:
            start = draw(st.integers(-(2**61), 2**61))
            gaps = draw(st.lists(st.integers(10**5, 2**50), min_size=length, max_size=length))
            labels = (start + np.cumsum(np.array(gaps, dtype=np.int64))).astype("M8[ns]")
            times.append(_in_zone(labels, clock[1]))
        cells = draw(st.lists(st.none() | NUMBERS, min_size=length * num_channels, max_size=length * num_channels))
        block = np.array([np.nan if cell is None else cell for cell in cells])
        values.append(block.reshape(length, num_channels))
        block = draw(st.lists(NUMBERS, min_size=length * num_inputs, max_size=length * num_inputs))
        inputs.append(np.array(block).reshape(length, num_inputs))
        marks.append(np.array(draw(st.lists(st.integers(-9, 9), min_size=length, max_size=length)), dtype=np.int64))
    if not any(np.isfinite(block).any() for block in values):
        values[0][0, 0] = 1.0  # a file in which nothing is observed is refused
    names = draw(st.lists(NAMES, min_size=6, max_size=6, unique=True))
    size = len(lengths)
    static = {
        names[4]: draw(st.lists(NUMBERS, min_size=size, max_size=size)),
        names[5]: draw(st.lists(NAMES, min_size=size, max_size=size)),
        "whole": draw(st.lists(st.integers(-(2**53), 2**53), min_size=size, max_size=size)),
        "flag": draw(st.lists(st.booleans(), min_size=size, max_size=size)),
    }
    return Trajectories.from_arrays(
        times,
        values,
        inputs=inputs if num_inputs else None,
        marks=marks if draw(st.booleans()) else None,
        static=static if draw(st.booleans()) else None,
        series=draw(st.lists(NAMES, min_size=size, max_size=size, unique=True)),
        channels=names[:num_channels],
        input_names=names[2 : 2 + num_inputs],
        units={names[0]: draw(NAMES)},
        time_unit="" if clock is None else clock[0],
    )


def _in_zone(labels, zone):
    if not zone:
        return labels
    import pandas as pd

    return pd.DatetimeIndex(labels).tz_localize("UTC").tz_convert(zone)


def _has_clash(data):
    names = [data.time_name, "series", "marks", *data.channels, *data.input_names, *data.static]
    return len(set(names)) < len(names)


def assert_same(found, data):
    assert found.channels == data.channels
    assert found.series == data.series
    assert found.units == data.units
    assert found.time_unit == data.time_unit
    assert found.time_origin == data.time_origin
    assert found.time_zone == data.time_zone
    np.testing.assert_array_equal(found.labels, data.labels)
    np.testing.assert_array_equal(found.values, data.values)
    np.testing.assert_array_equal(found.mask, data.mask)
    assert {name: array.dtype.kind for name, array in found.static.items()} == {
        name: array.dtype.kind for name, array in data.static.items()
    }
    assert found.equals(data)


@QUICK
@given(data=trajectories())
def test_netcdf_keeps_everything(data, tmp_path):
    write(data, tmp_path / "data.nc")
    assert_same(read(tmp_path / "data.nc"), data)


@settings(QUICK, max_examples=10)
@given(data=trajectories())
def test_zarr_keeps_everything(data, tmp_path):
    write(data, tmp_path / "data.zarr")
    assert_same(read(tmp_path / "data.zarr"), data)


@QUICK
@given(data=trajectories().filter(lambda data: not _has_clash(data)))
def test_parquet_keeps_everything(data, tmp_path):
    write(data, tmp_path / "data.parquet")
    assert_same(read(tmp_path / "data.parquet"), data)


@QUICK
@given(data=trajectories())
def test_xarray_keeps_everything(data):
    assert_same(Trajectories.from_xarray(data.to_xarray()), data)


@QUICK
@given(data=trajectories(plain=True).filter(lambda data: not _has_clash(data)))
def test_long_table_keeps_rows(data):
    frame = data.to_long()
    found = Trajectories.from_long(
        frame,
        time="time",
        id="series",
        columns=data.channels,
        inputs=data.input_names,
        static=tuple(data.static),
        marks="marks" if data.marks is not None else None,
        units=data.units,
        time_unit=data.time_unit,
        time_origin=data.time_origin,
    )
    np.testing.assert_array_equal(found.labels, data.labels)
    np.testing.assert_array_equal(found.values, data.values)
    np.testing.assert_array_equal(found.mask, data.mask)
    assert found.series == data.series
    assert found.time_zone == data.time_zone


@st.composite
def for_text(draw):
    """Trajectories without the names that text cannot tell from blanks or marks of missing values."""
    lengths = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    dated = draw(st.booleans())
    times, values = [], []
    for length in lengths:
        if dated:
            counts = draw(st.lists(NANOSECONDS, min_size=length, max_size=length, unique=True))
            times.append(np.sort(np.array(counts, dtype=np.int64)).astype("M8[ns]"))
        else:
            times.append(np.sort(draw(st.lists(NUMBERS, min_size=length, max_size=length, unique=True))))
        cells = draw(st.lists(st.none() | NUMBERS, min_size=2 * length, max_size=2 * length))
        values.append(np.array([np.nan if cell is None else cell for cell in cells]).reshape(length, 2))
    values[0][0, 0] = 1.0
    alphabet = st.text(st.characters(codec="utf-8", categories=("L", "P", "S")), min_size=1, max_size=6)
    channels = draw(st.lists(alphabet.map(lambda name: "c" + name), min_size=2, max_size=2, unique=True))
    series = draw(st.lists(alphabet, min_size=len(lengths), max_size=len(lengths), unique=True))
    return Trajectories.from_arrays(times, values, series=series, channels=channels)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz"])
@QUICK
@given(data=for_text())
def test_text_keeps_what_text_can_say(suffix, data, tmp_path):
    path = tmp_path / f"data{suffix}"
    write(data, path)
    found = read(path, time="time", id="series", columns=data.channels)
    np.testing.assert_array_equal(found.labels, data.labels)
    np.testing.assert_array_equal(found.values, data.values)
    np.testing.assert_array_equal(found.mask, data.mask)
    assert (found.series, found.channels) == (data.series, data.channels)
    assert found.equals(data)


def test_text_keeps_time_zone_as_offset(tmp_path):
    import pandas as pd

    stamps = pd.date_range("2021-06-01", periods=3, freq="h", tz="Europe/Berlin")
    data = Trajectories.from_arrays(stamps, [1.0, 2.0, 3.0])
    write(data, tmp_path / "data.csv")
    found = read(tmp_path / "data.csv")
    assert found.time_zone == "+02:00"
    assert (found.labels == data.labels).all()


def test_names_of_columns_come_back(tmp_path):
    path = tmp_path / "readings.csv"
    path.write_text("station,when,level\nA,2020-01-01,1\nB,2020-01-01,2\n")
    data = read(path, id="station")
    for suffix in (".nc", ".zarr", ".parquet"):
        write(data, tmp_path / f"copy{suffix}")
        copy = read(tmp_path / f"copy{suffix}")
        assert (copy.time_name, copy.series_name) == ("when", "station")
    write(copy, tmp_path / "copy.csv")
    assert (tmp_path / "copy.csv").read_text() == path.read_text()


def test_blank_names_are_names_in_typed_tables(tmp_path):
    data = Trajectories.from_arrays([[0.0], [0.0]], [[1.0], [2.0]], series=[" ", "NA"], static={"s": ["", " "]})
    write(data, tmp_path / "data.parquet")
    assert_same(read(tmp_path / "data.parquet"), data)


def test_single_series_without_an_id_stays_without_one(tmp_path):
    data = Trajectories.from_arrays([0.0, 1.0], [1.0, np.nan], channels=["x"])
    for suffix in (".csv", ".parquet", ".nc"):
        write(data, tmp_path / f"data{suffix}")
        assert read(tmp_path / f"data{suffix}").equals(data)
    assert (tmp_path / "data.csv").read_text() == "time,x\n0,1\n1,\n"


def test_writing_twice_gives_the_same_bytes(tmp_path):
    data = Trajectories.from_arrays([0.0, 1.0], [1.0, np.nan])
    for suffix in (".csv", ".csv.gz", ".parquet"):
        write(data, tmp_path / f"one{suffix}")
        write(data, tmp_path / f"two{suffix}")
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_other_tools_open_the_files(tmp_path):
    import pandas as pd
    import xarray as xr

    labels = np.array(["2020-01-01", "2020-01-03"], dtype="M8[ns]")
    data = Trajectories.from_arrays(labels, [1.5, np.nan], channels=["x"])
    for suffix in (".nc", ".zarr", ".parquet"):
        write(data, tmp_path / f"data{suffix}")
    frame = pd.read_parquet(tmp_path / "data.parquet")
    assert frame["time"].tolist() == [pd.Timestamp("2020-01-01"), pd.Timestamp("2020-01-03")]
    assert frame["x"].isna().tolist() == [False, True]
    with xr.open_dataset(tmp_path / "data.nc", engine="h5netcdf") as opened:
        assert (opened["labels"].values[0] == labels).all()
        assert np.isnan(opened["values"].values[0, 1, 0])
    with xr.open_zarr(tmp_path / "data.zarr", chunks=None) as opened:
        assert (opened["labels"].values[0] == labels).all()


def test_wide_table_keeps_cells():
    data = Trajectories.from_arrays(
        [[0.0, 1.0, 2.5], [1.0, 4.0]], [[1.0, 2.0, np.nan], [5.0, 6.0]], series=["a", "b"], channels=["x"]
    )
    wide = data.to_wide()
    assert wide.index.tolist() == [0.0, 1.0, 2.5, 4.0]
    assert wide.columns.tolist() == ["a", "b"]
    found = Trajectories.from_wide(wide, channel="x")
    assert found.lengths.tolist() == [4, 4]
    assert found.to_wide().equals(wide)
    assert Trajectories.from_wide(wide.reset_index(), time="time", channel="x").equals(found)


def test_wide_table_joins_rows_of_equal_time():
    data = Trajectories.from_arrays([0.0, 0.0, 1.0], [[1.0, np.nan], [np.nan, 2.0], [3.0, 4.0]], channels=["x", "y"])
    assert data.to_wide("y")["0"].tolist() == [2.0, 4.0]


def test_foreign_dataset_becomes_channels():
    import xarray as xr

    dataset = xr.Dataset(
        {
            "level": (("station", "time"), np.arange(6.0).reshape(2, 3), {"units": "m"}),
            "rain": ("time", [0.0, np.nan, 2.0]),
            "name": ("station", ["x", "y"]),
        },
        coords={"station": ["a", "b"], "time": np.array(["2020-01-03", "2020-01-01", "2020-01-02"], dtype="M8[ns]")},
    )
    data = Trajectories.from_xarray(dataset, id="station")
    assert data.channels == ("level", "rain")
    assert data.series == ("a", "b")
    assert data.units == {"level": "m"}
    assert data.values[1, :, 0].tolist() == [4.0, 5.0, 3.0]
    assert data.mask[0, :, 1].tolist() == [False, True, True]
    array = xr.DataArray(np.ones((4, 2)), dims=("time", "mode"), coords={"time": np.arange(4.0), "mode": ["u", "v"]})
    assert Trajectories.from_xarray(array).channels == ("u", "v")


@st.composite
def snapshots(draw):
    count, width = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    dated = draw(st.booleans())
    if dated:
        times = draw(st.lists(NANOSECONDS, min_size=count, max_size=count, unique=True))
        times = np.array(times, dtype=np.int64).astype("M8[ns]")
    else:
        times = np.array(draw(st.lists(NUMBERS, min_size=count, max_size=count, unique=True)))
    sizes = draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    sizes[0] = max(sizes[0], 1)
    blocks = [draw(st.lists(NUMBERS, min_size=n * width, max_size=n * width)) for n in sizes]
    names = draw(st.lists(NAMES, min_size=width, max_size=width, unique=True).filter(lambda given: "time" not in given))
    return Snapshots.from_arrays(
        times,
        [np.array(block).reshape(n, width) for n, block in zip(sizes, blocks, strict=True)],
        channels=names,
        units={names[0]: "m"},
        time_unit="h" if dated else "fs",
    )


@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".parquet"])
@settings(QUICK, max_examples=10)
@given(data=snapshots())
def test_snapshots_keep_everything(suffix, data, tmp_path):
    write(data, tmp_path / f"data{suffix}")
    found = read(tmp_path / f"data{suffix}")
    assert isinstance(found, Snapshots)
    assert (found.labels == data.labels).all()
    assert found.counts.tolist() == data.counts.tolist()
    assert found.units == data.units
    assert found.equals(data)
    assert Snapshots.from_xarray(data.to_xarray()).equals(data)


def test_snapshots_in_text_are_read_as_such(tmp_path):
    data = Snapshots.from_arrays([0.0, 2.0], [np.arange(6.0).reshape(3, 2), np.ones((1, 2))], channels=["x", "y"])
    write(data, tmp_path / "data.csv")
    assert read(tmp_path / "data.csv", kind="snapshots").equals(data)
    assert (tmp_path / "data.csv").read_text().splitlines()[0] == "time,x,y"
