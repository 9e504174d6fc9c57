"""A user's table: read, filled, given back."""

import numpy as np
import pytest

from dynplat.data import Trajectories, read_table, write
from dynplat.errors import ArgumentError, DataError

MESSY = (
    'id;"when";x ;note;y;\r\n'
    'b;2020-01-03;1,50;"a;b";;\r\n'
    "a;2020-01-02;NA;;007;\r\n"
    ";2020-01-02;9;no id;;\r\n"
    "b;;8;no time;;\r\n"
    "a;2020-01-01;2,0; q ;1e2;\r\n"
)


def messy(tmp_path):
    path = tmp_path / "messy.csv"
    path.write_bytes(MESSY.encode())
    return read_table(path, id="id")


def test_rows_know_their_place(tmp_path):
    table = messy(tmp_path)
    assert table.columns == ("x", "y")
    assert (table.time, table.id, table.num_rows) == ("when", "id", 5)
    assert table.row.tolist() == [[0, 0], [1, 1], [-1, -1], [-1, -1], [1, 0]]
    assert table.notes == [(4, "its id ('id') is empty"), (5, "its time ('when') is empty")]
    assert table.trajectories.series == ("b", "a")
    for row, (series, time) in enumerate(table.row):
        if series >= 0:
            shown = table.trajectories.labels[series, time].astype("M8[D]").astype(str)
            assert table.frame["when"][row] == shown


def test_text_is_kept_as_written(tmp_path):
    table = messy(tmp_path)
    assert table.frame["x"].tolist() == ["1,50", "NA", "9", "8", "2,0"]
    assert table.frame["y"].tolist() == ["", "007", "", "", "1e2"]
    assert table.frame["note"].tolist() == ["a;b", "", "no id", "no time", " q "]


def test_holes_are_empty_cells_of_rows_with_a_place(tmp_path):
    assert messy(tmp_path).holes.tolist() == [[False, True], [True, False], [False, False], [False, False], [False] * 2]


def test_filled_changes_holes_only(tmp_path):
    table = messy(tmp_path)
    values = np.arange(8.0).reshape(2, 2, 2) + 0.25
    filled = table.filled(values)
    assert filled["x"].tolist() == ["1,50", "6,25", "9", "8", "2,0"]
    assert filled["y"].tolist() == ["1,25", "007", "", "", "1e2"]
    assert table.frame["x"][1] == "NA"  # the table itself is as it was
    assert table.filled(values, columns=["y"])["x"].tolist() == table.frame["x"].tolist()
    assert table.filled(np.full((2, 2, 2), np.nan)).equals(table.frame)


def test_written_table_is_the_original_with_holes_filled_and_columns_added(tmp_path):
    table = messy(tmp_path)
    sd = np.array([[1.0, 9.0], [0.5, np.nan]])
    table.write(
        tmp_path / "out.csv",
        {"x.sd": sd, "x.imputed": table.holes[:, 0], "n": np.arange(5)},
        values=np.full((2, 2, 2), 3.125),
    )
    assert (tmp_path / "out.csv").read_bytes().decode() == (
        "id;when;x ;note;y;;x.sd;x.imputed;n\r\n"
        'b;2020-01-03;1,50;"a;b";3,125;;1;false;0\r\n'
        "a;2020-01-02;3,125;;007;;;true;1\r\n"
        ";2020-01-02;9;no id;;;;false;2\r\n"
        "b;;8;no time;;;;false;3\r\n"
        "a;2020-01-01;2,0; q ;1e2;;0,5;false;4\r\n"
    )


def test_unfilled_table_comes_back_byte_for_byte(tmp_path):
    content = "\ufefft,x,note\r\n0,1.500,\r\n1,,é\r\n"
    path = tmp_path / "plain.csv"
    path.write_bytes(content.encode())
    read_table(path).write(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == content.encode()
    latin = tmp_path / "latin.csv"
    latin.write_bytes(content[1:].encode("latin-1"))
    read_table(latin, encoding="latin-1").write(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == latin.read_bytes()


def test_suffix_decides_how_cells_are_separated(tmp_path):
    path = tmp_path / "in.tsv"
    path.write_text("t\tx\n0\t1,5\n1\t\n")
    table = read_table(path)
    table.write(tmp_path / "out.csv", values=np.full((1, 2, 1), 0.5))
    assert (tmp_path / "out.csv").read_text() == "t;x\n0;1,5\n1;0,5\n"
    table.write(tmp_path / "out.tsv")
    assert (tmp_path / "out.tsv").read_text() == path.read_text()
    import gzip

    table.write(tmp_path / "out.tsv.gz")
    assert gzip.decompress((tmp_path / "out.tsv.gz").read_bytes()).decode() == path.read_text()


def test_parquet_keeps_types_of_untouched_columns(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.table(
        {
            "when": pa.array([1, 2, None], pa.timestamp("us", tz="UTC")),
            "x": pa.array([1, None, 3], pa.int64()),
            "code": pa.array([None, 2**60 + 1, 5], pa.int64()),
            "flag": pa.array([True, None, False]),
        }
    )
    pq.write_table(arrow, tmp_path / "in.parquet")
    table = read_table(tmp_path / "in.parquet", columns=["x"])
    assert table.notes == [(2, "its time ('when') is empty")]
    table.write(tmp_path / "out.parquet", {"x.sd": np.array([[0.0, 0.5]])}, values=np.full((1, 2, 1), 7.5))
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.column_names == ["when", "x", "code", "flag", "x.sd"]
    assert out["x"].to_pylist() == [1.0, 7.5, 3.0]
    assert out["x.sd"].to_pylist() == [0.0, 0.5, None]
    for name in ("when", "code", "flag"):
        assert out[name].equals(arrow[name])


def test_text_written_as_parquet_has_numbers_in_its_channels(tmp_path):
    import pandas as pd

    table = messy(tmp_path)
    table.write(tmp_path / "out.parquet", values=np.full((2, 2, 2), 3.5))
    frame = pd.read_parquet(tmp_path / "out.parquet")
    assert frame["x"].tolist() == [1.5, 3.5, 9.0, 8.0, 2.0]
    assert frame["when"].tolist() == table.frame["when"].tolist()


def test_parquet_written_as_text_shows_dates_and_blanks(tmp_path):
    import pandas as pd

    frame = pd.DataFrame(
        {"when": pd.to_datetime(["2020-01-01", None, "2020-01-03"]), "x": [1.5, 2.0, np.nan], "s": ["a", None, "c"]}
    )
    frame.to_parquet(tmp_path / "in.parquet")
    table = read_table(tmp_path / "in.parquet")
    table.write(tmp_path / "out.csv", values=np.full((1, 2, 1), 9.0))
    assert (tmp_path / "out.csv").read_text() == "when,x,s\n2020-01-01,1.5,a\n,2,\n2020-01-03,9,c\n"


def test_table_of_a_frame_of_trajectories_and_of_stores(tmp_path):
    import pandas as pd

    data = Trajectories.from_arrays(
        [np.arange(3.0), np.arange(2.0)], [[1.0, np.nan, 3.0], [np.nan, 5.0]], series=["a", "b"], channels=["x"]
    )
    write(data, tmp_path / "data.nc")
    write(data, tmp_path / "data.parquet")
    frame = data.to_long()
    tables = [
        read_table(data),
        read_table(tmp_path / "data.nc"),
        read_table(tmp_path / "data.parquet"),
        read_table(frame, id="series"),
    ]
    for number, table in enumerate(tables):
        assert table.trajectories.equals(data)
        assert table.row.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1]]
        table.write(tmp_path / f"{number}.csv", {"x.imputed": table.holes[:, 0]}, values=np.full((2, 3, 1), 4.0))
        assert (tmp_path / f"{number}.csv").read_text() == (
            "series,time,x,x.imputed\na,0,1,false\na,1,4,true\na,2,3,false\nb,0,4,true\nb,1,5,false\n"
        )
        assert table.filled(np.full((2, 3, 1), 4.0))["x"].tolist() == [1.0, 4.0, 3.0, 4.0, 5.0]
    assert isinstance(tables[0].frame, pd.DataFrame)


def test_spread_brings_arrays_to_rows(tmp_path):
    table = messy(tmp_path)
    numbers = table.spread(np.arange(4).reshape(2, 2))
    assert str(numbers.tolist()) == "[0.0, 3.0, nan, nan, 2.0]"
    assert table.spread(np.ones((2, 2, 2), dtype=bool), blank=False).tolist()[2] == [False, False]
    with pytest.raises(ArgumentError, match=r"must begin with the dimensions \(2, 2\)"):
        table.spread(np.zeros((5, 2)))


@pytest.mark.parametrize(
    ("extra", "options", "message"),
    [
        ({"note": np.zeros(5)}, {}, "a column 'note' already"),
        ({"new": np.zeros(4)}, {}, r"one entry per row \(5\) or the shape \(2, 2\).*got \(4,\)"),
        ({}, {"values": np.zeros((2, 2))}, r"`values` must have the shape \(2, 2, 2\)"),
        ({}, {"values": np.zeros((2, 2, 2)), "columns": ["note"]}, "names 'note'; the channels are x, y"),
    ],
)
def test_write_refuses_what_does_not_fit(extra, options, message, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        messy(tmp_path).write(tmp_path / "out.csv", extra, **options)
    assert not (tmp_path / "out.csv").exists()


def test_table_is_not_written_as_a_store(tmp_path):
    with pytest.raises(DataError, match="a table is written as text or Parquet"):
        messy(tmp_path).write(tmp_path / "out.nc")


def test_declared_marks_are_missing_in_channels_only(tmp_path):
    from dynplat.data import read, write

    path = tmp_path / "marked.csv"
    path.write_text("t,a,b\n-999,1,-99.0\n0,-999,2\n1,3,-999.00\n")
    table, data = read_table(path, missing=(-999, -99)), read(path, missing=(-999, -99))
    for found in (table.trajectories, data):
        assert found.times[0, 0] == -999
        assert found.mask[0].tolist() == [[True, False], [False, True], [True, False]]
    # What is not filled stands as it was written.
    assert list(table.filled(np.full((1, 3, 2), np.nan))["b"]) == ["-99.0", "2", "-999.00"]
    assert list(table.filled(np.full((1, 3, 2), 7.0))["b"]) == ["7", "2", "7"]
    frame = tmp_path / "marked.parquet"
    data.to_long().fillna(-999.0).to_parquet(frame)
    assert read(frame, time="t", missing=[-999]).mask.sum() == 3
    write(data, tmp_path / "marked.nc")
    with pytest.raises(DataError, match="`missing` would say how cells"):
        read(tmp_path / "marked.nc", missing=[-999])
