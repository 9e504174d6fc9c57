"""Text tables as people write them."""

import pytest

from dynplat.data import read, read_table


def text(tmp_path, content, name="data.csv"):
    path = tmp_path / name
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_found(delimiter, tmp_path):
    rows = ["when,x,y", "2020-01-01,1.5,", "2020-01-02,,-2e3", "2020-01-03,.5,+4"]
    data = read(text(tmp_path, "\n".join(rows).replace(",", delimiter) + "\n"))
    assert data.channels == ("x", "y")
    assert data.values[0].tolist() == [[1.5, 0.0], [0.0, -2000.0], [0.5, 4.0]]


def test_decimal_commas_are_found(tmp_path):
    data = read(text(tmp_path, "Datum;Zeit;CO\n10/03/2004;x;2,6\n25/03/2004;y;-200\n26/03/2004;z;1,36e1\n"))
    assert data.time_name == "Datum"
    assert data.values.ravel().tolist() == [2.6, -200.0, 13.6]
    assert read(text(tmp_path, "time;x\n0;1,234\n")).values.item() == 1.234
    assert read(text(tmp_path, "time\tx\n0\t2,5\n1\t1,234\n")).values.ravel().tolist() == [2.5, 1.234]


def test_text_cells_with_the_separator_are_quoted(tmp_path):
    data = read(text(tmp_path, 'time,note,x\n0,"a, ""b""",1\n1,"c\nd",2\n'))
    assert data.values.ravel().tolist() == [1.0, 2.0]


@pytest.mark.parametrize("mark", ["", "NA", "NaN", "nan", "null", "NULL", "None", "-", "?", "n/a", "  ", " NA "])
def test_marks_of_missing_values_are_missing(mark, tmp_path):
    data = read(text(tmp_path, f"time,x\n0,1\n1,{mark}\n2,3\n"))
    assert data.mask.ravel().tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        ("x,Timestamp,y", "1,5,2", "Timestamp"),
        ("x,DS,y", "1,5,2", "DS"),
        ("x,t,T", "1,5,20", "t"),
        ("x,measured,y", "1,2020-01-01,2", "measured"),
        ("year,x", "1900,2", "year"),
        ("time,date,x", "12:00,2020-01-01,2", "date"),
        (",x", "2020-01-01,2", "column 1"),
    ],
)
def test_time_column_is_found(header, row, expected, tmp_path):
    assert read(text(tmp_path, f"{header}\n{row}\n")).time_name == expected


def test_unnamed_columns_are_no_channels(tmp_path):
    data = read(text(tmp_path, "time;x;;\n0;1;;\n1;2;;\n;;;\n"))
    assert data.channels == ("x",)
    assert data.lengths.tolist() == [2]
    assert read(text(tmp_path, ",time,x\n0,5,1\n1,6,2\n")).channels == ("x",)


def test_words_are_no_channels(tmp_path):
    data = read(text(tmp_path, "time,station,x,flag\n0,A,1,ok\n1,A,2,7\n"))
    assert data.channels == ("x",)


def test_byte_order_mark_and_line_ends_are_understood(tmp_path):
    data = read(text(tmp_path, "\ufefftime,x\r\n0,1\r\n1,2\r\n"))
    assert data.channels == ("x",)
    assert data.time_name == "time"


def test_ids_keep_their_zeros_and_their_order(tmp_path):
    data = read(text(tmp_path, "id,time,x\n007,0,1\nNA,0,2\n 12 ,0,3\n007,1,4\n"), id="id")
    assert data.series == ("007", "NA", "12")
    assert data.lengths.tolist() == [2, 1, 1]


def test_static_covariates_keep_their_kind(tmp_path):
    path = text(tmp_path, "id,time,x,age,code,sex,weight\na,0,1,50,007,m,1.5\nb,0,2,60,012,f,\na,1,3,50,007,m,1.5\n")
    data = read(path, id="id", columns=["x"], static=["age", "code", "sex", "weight"])
    assert data.static["age"].tolist() == [50, 60]
    assert data.static["code"].tolist() == ["007", "012"]
    assert data.static["sex"].tolist() == ["m", "f"]
    assert str(data.static["weight"].tolist()) == "[1.5, nan]"


def test_units_origin_and_unit_of_time_are_taken(tmp_path):
    path = text(tmp_path, "when,x\n2020-01-02,1\n2020-01-03,2\n")
    data = read(path, units={"x": "ppm"}, time_unit="h", time_origin="2020-01-01")
    assert data.times.tolist() == [[24.0, 48.0]]
    assert data.units == {"x": "ppm"}


def test_rows_with_different_channels_at_one_time_are_kept(tmp_path):
    data = read(text(tmp_path, "time,x,y\n0,1,\n0,,2\n"))
    assert data.lengths.tolist() == [2]
    assert data.mask[0].tolist() == [[True, False], [False, True]]


def test_suffix_in_capitals_is_known(tmp_path):
    assert read_table(text(tmp_path, "time,x\n0,1\n", "DATA.CSV")).num_rows == 1
