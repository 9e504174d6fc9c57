"""Bad input: one clear message, exit code 2, no traceback, nothing partial, an existing output as it was."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dynplat import cli

GOOD = "when,a,b\n2020-01-01,1.0,2.0\n2020-01-02,,3.0\n2020-01-04,2.5,\n"


def _csv(text: str, name: str = "bad.csv"):
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_text(text)
        return path

    return make


def _zero_byte_parquet(folder: Path) -> Path:
    path = folder / "bad.parquet"
    path.write_bytes(b"")
    return path


def _netcdf_without_time(folder: Path) -> Path:
    path = folder / "bad.nc"
    xr.Dataset({"a": ("place", np.arange(3.0))}).to_netcdf(path, engine="h5netcdf")
    return path


def _netcdf(folder: Path) -> Path:
    path = folder / "bad.nc"
    xr.Dataset({"a": ("time", np.arange(3.0))}, coords={"time": np.arange(3.0)}).to_netcdf(path, engine="h5netcdf")
    return path


def _parquet(folder: Path) -> Path:
    path = folder / "bad.parquet"
    pd.DataFrame({"t": [0.0, 1.0], "a": [1.0, 2.0]}).to_parquet(path)
    return path


def _undecodable(folder: Path) -> Path:
    path = folder / "bad.csv"
    path.write_bytes(b"when,a\n2020-01-01,\xff\xfe1\n")
    return path


#: name -> (maker, further arguments, what the message must say)
CASES = {
    "empty file": (_csv(""), [], ["bad.csv", "empty"]),
    "header only": (_csv("when,a\n"), [], ["bad.csv"]),
    "no time column": (_csv("a,b\n1,x\n2,y\n"), [], ["bad.csv", "time"]),
    "named time column is not there": (_csv(GOOD), ["--time", "date"], ["bad.csv", "'date'", "when"]),
    "text in a numeric column": (
        _csv("when,a\n2020-01-01,1\n2020-01-02,broken\n2020-01-03,2\n"),
        [],
        ["bad.csv", "row 3", "'a'", "broken"],
    ),
    "unparsable date": (
        _csv("when,a\n2020-01-01,1\nyesterday,2\n2020-01-03,2\n"),
        ["--time", "when"],
        ["bad.csv", "row 3", "'when'", "yesterday"],
    ),
    "duplicate times": (
        _csv("when,id,a\n2020-01-01,s,1\n2020-01-02,s,2\n2020-01-02,s,3\n"),
        ["--id", "id"],
        ["bad.csv", "row", "2020-01-02", "'a'"],
    ),
    "infinite value": (_csv("when,a\n2020-01-01,1\n2020-01-02,inf\n"), [], ["bad.csv", "row 3", "'a'", "inf"]),
    "nothing observed": (_csv("when,a\n2020-01-01,\n2020-01-02,\n"), ["--columns", "a"], ["bad.csv", "observed"]),
    "column name twice": (_csv("when,a,a\n2020-01-01,1,2\n"), [], ["bad.csv", "'a'"]),
    "zero-byte parquet": (_zero_byte_parquet, [], ["bad.parquet", "empty"]),
    "netcdf without the dimension": (_netcdf_without_time, [], ["bad.nc", "time"]),
    "undecodable bytes": (_undecodable, [], ["bad.csv"]),
    "ambiguous dates": (
        _csv("when,a\n01/02/2020,1\n03/04/2020,2\n"),
        ["--time", "when"],
        ["bad.csv", "row 2", "--date-format '%d/%m/%Y' or"],
    ),
    "compact dates": (
        _csv("when,a\n20200101,1\n20200102,2\n"),
        [],
        ["--date-format '%Y%m%d', or --date-format 'number'"],
    ),
    "not UTF-8": (_undecodable, [], ["--encoding 'latin-1'"]),
    "doubtful decimals": (
        _csv("when\ta\n2020-01-01\t1,234\n2020-01-02\t2,345\n"),
        [],
        ["--decimal ',' or --decimal '.'"],
    ),
    "uneven rows": (_csv(GOOD + "2020-01-05,1,2,3\n"), [], ["`--delimiter`"]),
    "long delimiter": (_csv(GOOD), ["--delimiter", ";;"], ["`--delimiter` must be one character"]),
    "strange decimal": (_csv(GOOD), ["--decimal", ";"], ["`--decimal` must be '.' or ','"]),
    "no time to find": (_csv("a,b\n1,2\n2,3\n"), [], ["Name it with `--time`"]),
    "text options for Parquet": (_parquet, ["--encoding", "latin-1"], ["bad.parquet", "`--encoding`", "text"]),
    "date format for NetCDF": (_netcdf, ["--date-format", "%Y"], ["bad.nc", "`--date-format`"]),
    "file options for a data set": (lambda folder: "nile", ["--decimal", ","], ["'nile'", "`--decimal`"]),
    "unknown column": (_csv(GOOD), ["--columns", "a,c"], ["bad.csv", "'c'", "a"]),
    "unknown id column": (_csv(GOOD), ["--id", "station"], ["bad.csv", "'station'"]),
    "unknown suffix": (_csv(GOOD, "bad.xyz"), [], ["bad.xyz"]),
    "a folder": (lambda folder: folder, [], ["folder"]),
    "unknown model": (_csv(GOOD), ["--model", "filtering/nothing"], ["filtering/nothing", "filtering/"]),
    "unknown option": (_csv(GOOD), ["--option", "colour=red"], ["colour", "periods"]),
    "unknown inference": (_csv(GOOD), ["--inference", "magic"], ["magic", "map"]),
    "impossible level": (_csv(GOOD), ["--level", "90"], ["level", "90"]),
}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command line in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["dynplat", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("existing", [False, True], ids=["new output", "existing output"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_input_is_refused_whole(case, existing, tmp_path, monkeypatch, capsys):
    make, arguments, expected = CASES[case]
    folder = tmp_path / "folder"
    folder.mkdir()
    source = make(folder)
    out, plot = tmp_path / "out.csv", tmp_path / "out.png"
    if existing:
        out.write_text("precious\n")
        plot.write_bytes(b"picture")
    before = sorted(p.name for p in tmp_path.iterdir())

    code = run(monkeypatch, "impute", source, "--out", out, "--plot", plot, *arguments)

    printed = capsys.readouterr()
    assert code == 2
    assert "Traceback" not in printed.err + printed.out
    assert printed.out == ""
    message = printed.err.strip()
    assert message.startswith("dynplat: ")
    assert "\n" not in message
    for word in expected:
        assert word in message
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    if existing:
        assert out.read_text() == "precious\n"
        assert plot.read_bytes() == b"picture"


def test_missing_file_is_named(tmp_path, monkeypatch, capsys):
    code = run(monkeypatch, "impute", tmp_path / "gone.csv", "--out", tmp_path / "out.csv")
    message = capsys.readouterr().err
    assert code == 2
    assert "gone.csv" in message
    assert "no such file" in message


def test_unknown_name_lists_near_ones(tmp_path, monkeypatch, capsys):
    code = run(monkeypatch, "impute", "mauna-loa-co", "--out", tmp_path / "out.csv")
    message = capsys.readouterr().err
    assert code == 2
    assert "mauna-loa-co2" in message


def test_output_that_cannot_be_written_is_refused_before_the_fit(tmp_path, monkeypatch, capsys):
    source = _csv(GOOD)(tmp_path)
    monkeypatch.setattr("dynplat.api.fit", lambda *_, **__: pytest.fail("the fit must not start"))
    for target in (tmp_path / "nowhere" / "out.csv", tmp_path / "out.doc", tmp_path):
        assert run(monkeypatch, "impute", source, "--out", target) == 2
        assert str(target) in capsys.readouterr().err


def test_full_disk_leaves_the_output_as_it_was(tmp_path, monkeypatch, capsys):
    source = tmp_path / "good.csv"
    rng = np.random.default_rng(0)
    pd.DataFrame({"t": np.arange(30.0), "a": np.where(rng.uniform(size=30) < 0.2, np.nan, rng.normal(size=30))}).to_csv(
        source, index=False
    )
    out = tmp_path / "out.csv"
    out.write_text("precious\n")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    code = run(monkeypatch, "impute", source, "--out", out, "--model", "filtering/local-level")
    message = capsys.readouterr().err
    assert code == 2
    assert "No space left" in message
    assert out.read_text() == "precious\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good.csv", "out.csv"]
