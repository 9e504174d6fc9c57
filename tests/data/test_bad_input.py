"""Bad input: one clear message with file, row, column and what to do."""

import re

import numpy as np
import pandas as pd
import pytest

from dynplat.data import Snapshots, Trajectories, read, read_table
from dynplat.errors import DataError

BOTH = pytest.mark.parametrize("reader", [read, read_table], ids=["read", "read_table"])


def refused(reader, path, *pieces, row=None, column=None, **options):
    """Read, and check that the error names the file and says every piece."""
    with pytest.raises(DataError) as caught:
        reader(path, **options)
    message = str(caught.value)
    assert str(path) in message
    for piece in pieces:
        assert piece in message, message
    if row is not None:
        assert caught.value.row == row
        assert f"row {row}" in message
    if column is not None:
        assert caught.value.column == column
        assert repr(column) in message
    assert "Traceback" not in message
    return caught.value


def text(tmp_path, content, name="data.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@BOTH
def test_missing_file_is_named_with_a_close_one(reader, tmp_path):
    text(tmp_path, "time,x\n0,1\n", "readings.csv")
    refused(reader, tmp_path / "reading.csv", "there is no such file", "Did you mean 'readings.csv'?")
    refused(reader, tmp_path / "nowhere" / "x.csv", "The directory", "is not there either")


@BOTH
def test_directory_is_refused(reader, tmp_path):
    path = tmp_path / "folder.csv"
    path.mkdir()
    refused(reader, path, "this is a directory", "Name a file in it")


@BOTH
@pytest.mark.parametrize("name", ["data.xlsx", "data"])
def test_unknown_suffix_lists_the_known_ones(reader, name, tmp_path):
    refused(reader, text(tmp_path, "x", name), ".csv, .tsv, .csv.gz", ".parquet", ".nc", ".zarr")


@BOTH
@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz", "data.parquet", "data.nc"])
def test_empty_file_is_refused(reader, name, tmp_path):
    refused(reader, text(tmp_path, b"", name), "the file is empty (0 bytes)")


@BOTH
def test_blank_file_and_header_alone_are_refused(reader, tmp_path):
    refused(reader, text(tmp_path, "\n  \n"), "the file is empty", row=1)
    refused(reader, text(tmp_path, "time,x\n"), "no rows", row=1)


@BOTH
def test_missing_header_is_refused(reader, tmp_path):
    refused(reader, text(tmp_path, "2020-01-01,1.5\n2020-01-02,2\n"), "not names of columns", "Add a first line", row=1)


@BOTH
def test_no_time_column_lists_the_columns(reader, tmp_path):
    path = text(tmp_path, "station,level\nA,1\nA,2\n")
    refused(reader, path, "no column of times was found", "`time`", "'station', 'level'")


@BOTH
def test_several_time_columns_are_named(reader, tmp_path):
    path = text(tmp_path, "start,end,x\n2020-01-01,2020-02-01,1\n")
    refused(reader, path, "several columns could be the time: 'start' and 'end'", "Say which with `time`")


@BOTH
def test_column_that_is_not_there_lists_what_is(reader, tmp_path):
    path = text(tmp_path, "when,level\n2020-01-01,1\n")
    refused(reader, path, "`time` names a column that is not there", "The columns are: 'when', 'level'", time="whem",
            column="whem")  # fmt: skip
    refused(reader, path, "Did you mean 'level'?", columns=["levle"], column="levle")
    refused(reader, path, "`id` names a column", id="station", column="station")


@BOTH
def test_one_column_cannot_play_two_parts(reader, tmp_path):
    path = text(tmp_path, "when,level\n2020-01-01,1\n")
    refused(reader, path, "named by `time` and by `id`", time="when", id="when", column="when")
    refused(reader, path, "named by `time` and by `columns`", time="when", columns=["when"], column="when")
    refused(reader, path, "`columns` names the column twice", columns=["level", "level"], column="level")


@BOTH
def test_column_name_that_stands_twice_is_refused(reader, tmp_path):
    path = text(tmp_path, "time,x,y,x\n0,1,2,3\n")
    refused(reader, path, "two columns carry this name (columns 2 and 4", "Rename one", row=1, column="x")


@BOTH
def test_text_in_a_numeric_column_names_the_cell(reader, tmp_path):
    path = text(tmp_path, "time,x\n0,1\n1,2\n2,n.d.\n3,4\n")
    refused(reader, path, "the text 'n.d.' stands where a number is expected", "leave it empty", row=4, column="x")
    refused(reader, path, "'n.d.'", row=4, column="x", columns=["x"])


@BOTH
def test_text_column_asked_for_is_refused_at_its_first_cell(reader, tmp_path):
    path = text(tmp_path, "time,name\n0,\n1,a\n2,b\n")
    refused(reader, path, "the text 'a'", "(and 1 more in this column)", row=3, column="name", columns=["name"])


@BOTH
@pytest.mark.parametrize("cell", ["1_000", "0x10", "5%", "1.5.2", "1 000", "1,5"])
def test_cells_that_only_look_like_numbers_are_refused(reader, cell, tmp_path):
    path = text(tmp_path, f'time,x\n0,1\n1,"{cell}"\n2,3\n')
    refused(reader, path, repr(cell), row=3, column="x")


@BOTH
def test_rows_are_counted_as_an_editor_does(reader, tmp_path):
    # A quoted cell over two lines and a blank line stand before the fault.
    path = text(tmp_path, 'time,note,x\n0,"two\nlines",1\n\n1,,2\n2,,3\n3,,oops\n')
    refused(reader, path, "'oops'", row=7, column="x")


@BOTH
def test_unparsable_date_names_the_cell(reader, tmp_path):
    path = text(tmp_path, "when,x\n2020-01-01,1\n2020-01-02,2\nyesterday,3\n")
    refused(reader, path, "'yesterday' is not a date", "YYYY-MM-DD", "date_format", row=4, column="when")
    path = text(tmp_path, "when,x\n2020-01-01,1\n2020-02-30,2\n")
    refused(reader, path, "'2020-02-30' names a day or an hour that does not exist", row=3, column="when")


@BOTH
def test_text_among_numeric_times_names_the_cell(reader, tmp_path):
    path = text(tmp_path, "time,x\n0,1\n1,2\nlate,3\n4,4\n")
    refused(reader, path, "'late' is not a number, as most times of this column are", row=4, column="time")


@BOTH
def test_ambiguous_dates_are_refused_and_read_with_a_format(reader, tmp_path):
    path = text(tmp_path, "when,x\n01/02/2020,1\n03/04/2020,2\n")
    refused(reader, path, "day first or with the month first", "date_format='%d/%m/%Y'", row=2, column="when")
    assert reader(path, date_format="%m/%d/%Y") is not None


@BOTH
def test_compact_dates_are_refused_and_read_with_a_format(reader, tmp_path):
    path = text(tmp_path, "time,x\n,\n20200101,1\n20200201,2\n")
    refused(reader, path, "'20200101' can be read as a date or as a number", "%Y%m%d", row=3, column="time")
    found = read(path, date_format="%Y%m%d")
    assert np.diff(found.times[0]).tolist() == [31.0]
    assert read(path, date_format="number").times[0].tolist() == [20200101.0, 20200201.0]


@BOTH
def test_conflicting_cells_name_series_rows_time_and_channel(reader, tmp_path):
    path = text(tmp_path, "when,station,x,y\n2020-01-01,A,1,\n2020-01-01,A,,2\n2020-01-02,B,5,6\n2020-01-02,B,7,\n")
    refused(reader, path, "observed more than once at when 2020-01-02 in", "series 'B': rows 4, 5 hold 5, 7", row=5,
            column="x", id="station")  # fmt: skip


@BOTH
def test_conflict_without_an_id_names_the_column_that_tells_rows_apart(reader, tmp_path):
    path = text(tmp_path, "when,station,x\n2020-01-01,A,1\n2020-01-01,B,2\n2020-01-02,A,3\n2020-01-02,B,4\n")
    refused(reader, path, "rows 2, 3 hold 1, 2", "several series", "id='station'", row=3, column="x")


@BOTH
def test_date_and_time_of_day_in_two_columns_are_to_be_joined(reader, tmp_path):
    path = text(tmp_path, "Date,Time,x\n2020-01-01,18:00,1\n2020-01-01,19:00,2\n")
    refused(reader, path, "If the time of day stands in 'Time', join it with 'Date'", row=3, column="x")


@BOTH
@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999"])
def test_infinite_value_is_refused(reader, cell, tmp_path):
    path = text(tmp_path, f"time,x\n0,1\n1,{cell}\n2,3\n")
    refused(reader, path, "an infinite value", "leave the cell empty", row=3, column="x")


@BOTH
def test_infinite_time_is_refused(reader, tmp_path):
    refused(reader, text(tmp_path, "time,x\n0,1\ninf,2\n"), "missing or infinite", row=3, column="time")


@BOTH
def test_nothing_observed_is_refused(reader, tmp_path):
    path = text(tmp_path, "time,x,y\n0,,NA\n1,-,?\n")
    refused(reader, path, "nothing is observed", "every cell of 'x', 'y' is empty in all 2 rows")


@BOTH
def test_no_column_of_numbers_is_refused(reader, tmp_path):
    refused(reader, text(tmp_path, "time,name\n0,a\n1,b\n"), "no column of numbers", "`columns`", "'time', 'name'")


@BOTH
def test_rows_of_unequal_length_are_refused(reader, tmp_path):
    refused(reader, text(tmp_path, "time,x,y\n0,1,2\n1,2\n"), "the row has 2 cells, and the header has 3", row=3)
    refused(reader, text(tmp_path, "time,x\n0,1\n1,2,3\n"), "the row has 3 cells, and the header has 2", row=3)


@BOTH
def test_open_quote_is_refused(reader, tmp_path):
    refused(reader, text(tmp_path, 'time,x\n0,1\n1,"2\n'), "cannot be split into cells", "double quotes", row=3)


@BOTH
def test_undecodable_bytes_name_the_line_and_the_way_out(reader, tmp_path):
    path = text(tmp_path, "time,x,Gerät\n0,1,ü\n".encode("latin-1"))
    refused(reader, path, "is not text in utf-8", "encoding='latin-1'", row=1)
    assert reader(path, encoding="latin-1") is not None
    path = text(tmp_path, "time,x\n0,1\n".encode("utf-16"))
    refused(reader, path, "encoding='utf-16'", row=1)
    assert reader(path, encoding="utf-16") is not None


@BOTH
def test_binary_and_broken_files_are_refused(reader, tmp_path):
    refused(reader, text(tmp_path, b"time,x\n0,\x00\n"), "zero byte", row=2)
    refused(reader, text(tmp_path, b"\x1f\x8bnonsense", "data.csv.gz"), "not a whole gzip file")
    refused(reader, text(tmp_path, b"PAR1 nonsense", "data.parquet"), "no whole Parquet file")
    refused(reader, text(tmp_path, b"nonsense", "data.nc"), "does not begin as a NetCDF file")
    refused(reader, text(tmp_path, b"\x89HDF\r\n\x1a\nnonsense", "data.nc"), "no whole NetCDF file")
    refused(reader, text(tmp_path, b"x", "data.zarr"), "a Zarr store is a directory")
    (tmp_path / "empty.zarr").mkdir()
    refused(reader, tmp_path / "empty.zarr", "no Zarr store")


@BOTH
def test_netcdf_without_the_dimension_lists_what_is_there(reader, tmp_path):
    import xarray as xr

    path = tmp_path / "grid.nc"
    xr.Dataset({"h": (("lat", "lon"), np.ones((2, 3)))}).to_netcdf(path, engine="h5netcdf")
    refused(reader, path, "there is no dimension 'time'", "`time`", "'lat', 'lon'")
    xr.Dataset({"h": (("time",), np.ones(2))}).to_netcdf(path, engine="h5netcdf")
    refused(reader, path, "no coordinate", "assign_coords")


@BOTH
def test_parquet_with_text_among_numbers_counts_rows_from_zero(reader, tmp_path):
    import pandas as pd

    path = tmp_path / "data.parquet"
    pd.DataFrame({"time": [0, 1, 2], "x": ["1", "2", "bad"]}).to_parquet(path)
    refused(reader, path, "'bad'", row=2, column="x")
    pd.DataFrame({"time": [0, 1], "x": [1.0, np.inf]}).to_parquet(path)
    refused(reader, path, "infinite", row=1, column="x")


def test_parquet_with_a_column_name_twice_is_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "data.parquet"
    pq.write_table(pa.table([[0], [1], [2]], names=["time", "x", "x"]), path)
    refused(read, path, "two columns carry this name (columns 2 and 3", column="x")


def test_mixed_zones_are_refused(tmp_path):
    path = text(tmp_path, "when,x\n2020-01-01T00:00Z,1\n2020-01-02T00:00,2\n")
    refused(read, path, "one with an offset from UTC, one without", row=3, column="when")


def test_thousands_or_decimals_are_asked_for(tmp_path):
    path = text(tmp_path, "time\tx\n0\t1,234\n1\t2,500\n")
    refused(read, path, "'1,234' can be read as a decimal or as thousands", "decimal=','")
    assert read(path, decimal=",").values.ravel().tolist() == [1.234, 2.5]


def test_two_decimal_marks_are_refused(tmp_path):
    path = text(tmp_path, "time;x\n0;1,5\n1;2.5\n2;3,5\n")
    refused(read, path, "'2.5'", "use one mark in the whole file", row=3, column="x")


def test_row_with_values_and_no_time_is_refused_by_read(tmp_path):
    path = text(tmp_path, "when,x\n2020-01-01,1\n,2\n")
    refused(read, path, "the cell is empty, and the row holds values", row=3, column="when")


def test_missing_input_and_fractional_mark_are_refused(tmp_path):
    path = text(tmp_path, "time,x,u,m\n0,1,2,1\n1,2,,1.5\n")
    refused(read, path, "inputs must be known at every row", row=3, column="u", columns=["x"], inputs=["u"])
    refused(read, path, "a mark must be a whole number", row=3, column="m", columns=["x"], marks="m")


def test_static_covariate_that_varies_is_refused(tmp_path):
    path = text(tmp_path, "id,time,x,age\na,0,1,50\nb,0,1,60\na,1,2,51\n")
    refused(read, path, "constant within a series; series 'a' has '50' in row 2 and '51' here", row=4, column="age",
            id="id", static=["age"])  # fmt: skip


def test_kind_that_the_file_does_not_hold_is_refused(tmp_path):
    from dynplat.data import write

    write(Trajectories.from_arrays([0.0], [1.0]), tmp_path / "data.nc")
    refused(read, tmp_path / "data.nc", "the file holds trajectories", kind="snapshots")


def test_damaged_layout_is_refused(tmp_path):
    data = Trajectories.from_arrays([0.0, 1.0], [1.0, 2.0])
    with pytest.raises(DataError, match=r"'lengths'.*is missing"):
        Trajectories.from_xarray(data.to_xarray().drop_vars("lengths"))
    newer = data.to_xarray().assign_attrs(dynplat_layout=99)
    with pytest.raises(DataError, match="layout 99, newer than this dynplat knows"):
        Trajectories.from_xarray(newer)


def test_channel_without_an_observation_and_series_with_one_are_fine(tmp_path):
    path = text(tmp_path, "id,time,x,y\na,0,1,\na,1,2,\nb,0,,\nb,1,3,\n")
    data = read(path, id="id")
    assert data.channels == ("x", "y")
    assert data.mask.sum(axis=(0, 1)).tolist() == [3, 0]
    assert data.mask[1].sum() == 1


def test_errors_are_value_errors_with_their_parts(tmp_path):
    error = refused(read, text(tmp_path, "time,x\n0,1\n1,2\n2,x\n3,1\n"))
    assert isinstance(error, ValueError)
    assert re.match(r".*data\.csv, row 4, column 'x': the text 'x' stands .*\. Correct the cell", str(error))


def test_complex_numbers_are_refused():
    times = np.arange(4.0)
    turning = np.exp(1j * times)
    for make, name in (
        (lambda: Trajectories.from_arrays(times, turning[:, None]), "`values` is complex"),
        (lambda: Trajectories.from_arrays([times], [[complex(1, 1)] * 4]), "`values` is complex"),
        (lambda: Trajectories.from_arrays(times, times, inputs=turning), "`inputs` is complex"),
        (lambda: Snapshots.from_arrays([0.0, 1.0], [times, turning]), r"`populations\[1\]` is complex"),
        (lambda: Trajectories.from_wide(pd.DataFrame({"time": times, "z": turning})), "column 'z': complex numbers"),
    ):
        with pytest.raises(DataError, match=name + ".*its real and its imaginary part"):
            make()
