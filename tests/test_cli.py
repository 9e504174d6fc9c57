"""The commands as their users run them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from functools import partial

import numpy as np
import pandas as pd
import pytest

from dynplat import api, cli
from dynplat.jobs.question import Source

QUICK = ["--model", "filtering/local-level", "--inference-option", "restarts=0"]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command line in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["dynplat", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.fixture
def stations(tmp_path):
    """Two stations, unsorted rows, dates, two channels with holes, a column of text, one row without a date."""
    rng = np.random.default_rng(3)
    rows = []
    for station, length in (("north", 40), ("south", 25)):
        days = np.sort(rng.choice(60, size=length, replace=False))
        level = 10 + np.cumsum(rng.normal(scale=0.5, size=length))
        for day, value in zip(days, level, strict=True):
            rows.append(
                {
                    "when": str(np.datetime64("2021-03-01") + day),
                    "station": station,
                    "temp": "" if rng.uniform() < 0.2 else f"{value:.1f}",
                    "wind": "" if rng.uniform() < 0.4 else f"{5 + rng.normal():.2f}",
                    "note": "ok, really",
                }
            )
    rows.append({"when": "", "station": "north", "temp": "", "wind": "1.00", "note": "no date"})
    order = rng.permutation(len(rows))
    path = tmp_path / "stations.csv"
    pd.DataFrame([rows[i] for i in order]).to_csv(path, index=False)
    return path


def test_impute_keeps_the_table_and_fills_its_holes(stations, tmp_path, monkeypatch, capsys):
    out, plot = tmp_path / "out.csv", tmp_path / "out.png"
    code = run(
        monkeypatch, "impute", stations, "--time", "when", "--id", "station", "--out", out, "--plot", plot, *QUICK
    )
    printed = capsys.readouterr()
    assert code == 0
    before = pd.read_csv(stations, dtype=str, keep_default_na=False)
    after = pd.read_csv(out, dtype=str, keep_default_na=False)
    added = [f"{name}.{what}" for name in ("temp", "wind") for what in ("sd", "lower", "upper", "imputed")]
    assert list(after.columns) == [*before.columns, *added]
    assert len(after) == len(before)
    for column in ("when", "station", "note"):
        assert (after[column] == before[column]).all()
    dated = before["when"] != ""
    for name in ("temp", "wind"):
        hole = before[name] == ""
        assert (after[name][~hole] == before[name][~hole]).all()  # the very text that came in
        assert (after[name][hole & dated] != "").all()
        assert (after[name][hole & ~dated] == "").all()
        assert ((after[f"{name}.imputed"] == "true") == (hole & dated)).all()
        filled = after[hole & dated]
        mean, sd = filled[name].astype(float), filled[f"{name}.sd"].astype(float)
        lower, upper = filled[f"{name}.lower"].astype(float), filled[f"{name}.upper"].astype(float)
        assert (sd > 0).all()
        np.testing.assert_allclose(upper - mean, 1.6448536 * sd, rtol=5e-3)
        np.testing.assert_allclose(mean - lower, 1.6448536 * sd, rtol=5e-3)
        assert (after[f"{name}.sd"][~hole] == "").all()
    number = int(before.index[~dated][0]) + 2
    assert f"row {number}" in printed.err
    assert "fell inside their 90 % intervals" in printed.out
    assert plot.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_file_is_read_as_the_options_say(tmp_path, monkeypatch):
    source, out = tmp_path / "odd.csv", tmp_path / "out.csv"
    rows = [
        f"{day:02d}/{month:02d}/2020:{'' if day == 5 else f'{day + month},5'}"
        for month in (1, 2)
        for day in range(1, 13)
    ]
    source.write_bytes("\n".join(["Tag:Größe", *rows, ""]).encode("latin-1"))
    how = ["--date-format", "%m/%d/%Y", "--encoding", "latin-1", "--delimiter", ":", "--decimal", ","]
    assert run(monkeypatch, "impute", source, "--time", "Tag", *how, "--out", out, *QUICK) == 0
    after = pd.read_csv(out, sep=":", encoding="latin-1", decimal=",")
    assert after["Größe"].notna().all()
    assert after["Größe"][0] == 2.5
    table = Source(str(source), "Tag", None, None, *how[1::2]).load()
    assert table.trajectories.labels[0, 2] == np.datetime64("2020-02-01")  # the month stands first
    ahead = tmp_path / "ahead.csv"
    for command in (["fit"], ["forecast", "--out", ahead], ["compare", "--models", "filtering/local-level"]):
        model = QUICK[2:] if command[0] == "compare" else QUICK
        assert run(monkeypatch, *command, source, "--time", "Tag", *how, *model) == 0
    plain = {field.name: None for field in fields(Source)[1:]} | {"source": "x.csv"}
    for text in ("tab", r"\t"):
        assert cli._source(**{**plain, "delimiter": text}).delimiter == "\t"


@pytest.fixture
def marked(tmp_path):
    """A column in which -999 stands for a missing value, next to one with true zeros, and rows named by a letter."""
    rng = np.random.default_rng(8)
    table = pd.DataFrame({"t": np.arange(40.0), "flow": rng.normal(size=40).cumsum().round(2)})
    table["rain"] = np.maximum(rng.normal(size=40), 0).round(2)
    table.loc[[3, 4, 20], "flow"] = -999
    table["id"] = np.where(table.index < 20, "x", "y")
    path = tmp_path / "marked.csv"
    table.to_csv(path, index=False)
    return path


def test_marks_of_missing_values_are_pointed_out_and_can_be_declared(marked, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.csv"
    assert run(monkeypatch, "impute", marked, "--out", out, *QUICK) == 0
    notes = [note for note in capsys.readouterr().err.splitlines() if "--missing" in note]
    assert len(notes) == 1  # the zeros of the rain lie among its other values
    assert "column 'flow': the value -999 stands there 3 times" in notes[0]
    assert notes[0].endswith("say `--missing -999`.")
    assert run(monkeypatch, "impute", marked, "--missing", "-999,-99", "--out", out, *QUICK) == 0
    printed = capsys.readouterr()
    assert "--missing" not in printed.err
    assert printed.out.startswith("Filled 3 values in ")
    after = pd.read_csv(out)
    assert after.index[after["flow.imputed"]].tolist() == [3, 4, 20]
    assert after["flow"].between(-30, 30).all()
    assert run(monkeypatch, "fit", marked, "--missing", "none", *QUICK) == 2
    assert "`--missing` takes numbers" in capsys.readouterr().err


def test_an_id_that_is_not_used_is_pointed_out(marked, monkeypatch, capsys):
    arguments = ["fit", marked, "--missing", "-999", *QUICK]
    assert run(monkeypatch, *arguments) == 0
    (note,) = (line for line in capsys.readouterr().err.splitlines() if "--id" in line)
    assert (
        note
        == "note: column 'id' (x, y) was not used, and all rows are one series. If it names the series, say `--id id`."
    )
    assert run(monkeypatch, *arguments, "--id", "id") == 0
    assert "--id" not in capsys.readouterr().err


def test_one_value_is_no_values(tmp_path, monkeypatch, capsys):
    source = tmp_path / "one.csv"
    values = np.random.default_rng(5).normal(size=30).cumsum()
    values[4] = np.nan
    pd.DataFrame({"t": np.arange(30.0), "a": values}).to_csv(source, index=False)
    titles = []
    monkeypatch.setattr("dynplat.plots.save_figure", lambda figure, path: titles.append(figure.get_suptitle()))
    drawn = ["--out", tmp_path / "out.csv", "--plot", tmp_path / "out.png"]
    assert run(monkeypatch, "impute", source, *drawn, *QUICK) == 0
    assert capsys.readouterr().out.startswith("Filled 1 value in ")
    assert titles == ["one.csv: 1 value filled by filtering/local-level"]
    assert run(monkeypatch, "forecast", source, "--horizon", "1", "--out", tmp_path / "out.csv", *QUICK) == 0
    assert capsys.readouterr().out.startswith("Wrote 1 forecast row to ")


def test_impute_says_what_it_could_not_fill(tmp_path, monkeypatch, capsys):
    source, out = tmp_path / "part.csv", tmp_path / "out.csv"
    rng = np.random.default_rng(0)
    values = rng.normal(size=30)
    pd.DataFrame(
        {"t": np.arange(30.0), "full": np.where(np.arange(30) % 7 == 3, np.nan, values), "empty": np.nan}
    ).to_csv(source, index=False)
    code = run(monkeypatch, "impute", source, "--columns", "full,empty", "--out", out, *QUICK)
    printed = capsys.readouterr()
    assert code == 0
    assert "'empty': nothing observed" in printed.err
    after = pd.read_csv(out)
    assert after["full"].notna().all()
    assert after["empty"].isna().all()
    assert not after["empty.imputed"].any()


def test_a_series_with_a_single_value_is_filled_and_reported(tmp_path, monkeypatch, capsys):
    source, out = tmp_path / "lonely.csv", tmp_path / "out.csv"
    rng = np.random.default_rng(1)
    long = pd.DataFrame({"t": np.arange(30.0), "id": "long", "a": rng.normal(size=30)})
    long.loc[4:9, "a"] = np.nan
    lonely = pd.DataFrame({"t": [0.0, 1.0, 2.0], "id": "lonely", "a": [np.nan, 1.5, np.nan]})
    pd.concat([long, lonely]).to_csv(source, index=False)
    code = run(monkeypatch, "impute", source, "--id", "id", "--out", out, *QUICK)
    assert code == 0
    assert "lonely: a single observed value" in capsys.readouterr().err
    assert pd.read_csv(out)["a"].notna().all()


@pytest.fixture
def doubtful(tmp_path):
    """One series and columns whose intervals mean little: constant, of a few values, with one huge value."""
    rng = np.random.default_rng(4)
    table = pd.DataFrame({"t": np.arange(40.0), "fine": rng.normal(size=40).cumsum()})
    table["still"] = 7.5
    table["few"] = np.where(np.isin(np.arange(40), (3, 20, 21)), rng.normal(size=40), np.nan)
    table["spike"] = rng.normal(size=40)
    table["tail"] = np.where(np.arange(40) < 12, rng.standard_t(3, size=40), np.nan)
    table.loc[5:8, ["fine", "still", "spike"]] = np.nan
    table.loc[30, "spike"] = 1e4
    path = tmp_path / "doubtful.csv"
    table.to_csv(path, index=False)
    return path


def test_columns_whose_intervals_mean_little_are_named(doubtful, tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, "impute", doubtful, "--out", tmp_path / "out.csv", *QUICK) == 0
    notes = capsys.readouterr().err.splitlines()
    assert all(note.startswith("note: ") for note in notes)
    (still,) = (note for note in notes if "'still'" in note)
    assert "all 36 observed values of channel 'still' are 7.5" in still
    (few,) = (note for note in notes if "'few'" in note)
    assert "only 3 observed values" in few
    (spike,) = (note for note in notes if "'spike'" in note)
    assert "10000 at t 30.0 makes up 100 % of the variance" in spike
    assert not any("'fine'" in note or "'tail'" in note for note in notes)


@pytest.mark.parametrize("columns", ["still", "fine,still"])
def test_a_constant_column_gets_one_note(doubtful, tmp_path, monkeypatch, capsys, columns):
    how = ["--columns", columns, "--model", "filtering/structural", "--inference-option", "restarts=0"]
    assert run(monkeypatch, "fit", doubtful, "--save", tmp_path / "fit.nc", *how) == 0
    (note,) = capsys.readouterr().err.splitlines()
    assert "all 36 observed values of channel 'still' are 7.5" in note
    assert "there is none" in note
    assert "max_steps" not in note


def test_what_an_inference_warns_of_is_told_once(doubtful, tmp_path, monkeypatch, capsys):
    arguments = ["--columns", "still", "--inference-option", "max_steps=1", *QUICK]
    assert run(monkeypatch, "impute", doubtful, "--out", tmp_path / "out.csv", *arguments) == 0
    err = capsys.readouterr().err
    assert err.count("stopped before a maximum") == 1
    assert "Warning" not in err  # no line of code, no class name


def test_an_unobserved_series_is_filled_and_reported(tmp_path, monkeypatch, capsys):
    source, out = tmp_path / "silent.csv", tmp_path / "out.csv"
    rng = np.random.default_rng(5)
    seen = pd.DataFrame({"t": np.arange(30.0), "id": "seen", "a": rng.normal(size=30)})
    silent = pd.DataFrame({"t": [0.0, 1.0], "id": "silent", "a": np.nan})
    pd.concat([seen, silent]).to_csv(source, index=False)
    assert run(monkeypatch, "impute", source, "--id", "id", "--out", out, *QUICK) == 0
    assert "silent: nothing observed" in capsys.readouterr().err
    assert pd.read_csv(out)["a"].notna().all()


def test_forecast_continues_each_series(stations, tmp_path, monkeypatch, capsys):
    out, plot = tmp_path / "ahead.csv", tmp_path / "ahead.png"
    arguments = ["--time", "when", "--id", "station", "--columns", "temp", "--horizon", "5"]
    code = run(monkeypatch, "forecast", stations, *arguments, "--out", out, "--plot", plot, *QUICK)
    assert code == 0
    assert "Wrote 10 forecast rows" in capsys.readouterr().out
    table = pd.read_csv(out)
    assert len(table) == 10
    assert list(table.columns) == ["station", "when", "channel", "mean", "sd", "lower_90", "upper_90"]
    assert table["when"].str.fullmatch(r"2021-\d\d-\d\d").all()
    seen = pd.read_csv(stations)
    for station, rows in table.groupby("station"):
        assert pd.to_datetime(rows["when"]).min() > pd.to_datetime(seen["when"][seen["station"] == station]).max()
        assert (np.diff(rows["sd"]) > 0).all()


def test_forecast_writes_times_and_numbers_as_its_source_does(tmp_path, monkeypatch, capsys):
    source, out = tmp_path / "excel.csv", tmp_path / "ahead.csv"
    rows = [f"{1990 + year};{5 + (year % 4) / 4:.2f};".replace(".", ",") for year in range(30)]
    source.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(["year;a;b", *rows, ""]).encode())
    assert run(monkeypatch, "forecast", source, "--horizon", "2", "--out", out, *QUICK) == 0
    printed = capsys.readouterr()
    assert "Wrote 2 forecast rows" in printed.out  # none for a column in which nothing was observed
    assert "'b': nothing observed" in printed.err
    text = out.read_bytes()
    assert text.startswith(b"\xef\xbb\xbfyear;channel;mean;sd;lower_90;upper_90\r\n")
    table = pd.read_csv(out, sep=";", decimal=",", encoding="utf-8-sig", dtype={"year": str})
    assert table["year"].tolist() == ["2020", "2021"]
    assert table["mean"].between(5, 6).all()
    assert all(len(cell.split(",")[-1]) <= 5 for cell in text.decode().splitlines()[1].split(";")[2:])


def test_forecast_writes_dates_in_their_time_zone(tmp_path, monkeypatch):
    source, out = tmp_path / "zoned.csv", tmp_path / "ahead.csv"
    hours = pd.date_range("2024-03-01 20:00", periods=30, freq="h", tz="Asia/Tokyo")
    pd.DataFrame({"when": hours, "a": np.random.default_rng(0).normal(size=30)}).to_csv(source, index=False)
    assert run(monkeypatch, "forecast", source, "--horizon", "2", "--out", out, *QUICK) == 0
    assert pd.read_csv(out)["when"].tolist() == ["2024-03-03 02:00:00+09:00", "2024-03-03 03:00:00+09:00"]


def test_forecast_writes_dates_and_decimals_as_its_source_does(tmp_path, monkeypatch):
    source, out = tmp_path / "own.csv", tmp_path / "ahead.csv"
    days = pd.date_range("2024-01-30", periods=30, freq="D")
    values = np.random.default_rng(0).normal(size=30)
    pd.DataFrame({"Tag": days.strftime("%d.%m.%Y"), "Ort": "007", "a": values}).to_csv(source, index=False)
    assert run(monkeypatch, "forecast", source, "--id", "Ort", "--horizon", "3", "--out", out, *QUICK) == 0
    table = pd.read_csv(out, dtype=str)
    assert table["Tag"].tolist() == ["29.02.2024", "01.03.2024", "02.03.2024"]
    assert table["Ort"].tolist() == ["007"] * 3
    pd.DataFrame({"s": np.round(np.arange(30) / 10, 1), "a": values}).to_csv(source, index=False)
    assert run(monkeypatch, "forecast", source, "--time", "s", "--horizon", "3", "--out", out, *QUICK) == 0
    assert pd.read_csv(out, dtype=str)["s"].tolist() == ["3.0", "3.1", "3.2"]


def test_forecast_keeps_the_types_of_a_typed_source(tmp_path, monkeypatch):
    source, out = tmp_path / "typed.parquet", tmp_path / "ahead.parquet"
    hours = pd.date_range("2024-03-01", periods=30, freq="h")
    values = np.random.default_rng(0).normal(size=60)
    pd.DataFrame({"when": hours.repeat(2), "id": [3, 12] * 30, "a": values}).to_parquet(source, index=False)
    arguments = ["--id", "id", "--horizon", "1", *QUICK]
    assert run(monkeypatch, "forecast", source, "--out", out, *arguments) == 0
    table = pd.read_parquet(out)
    assert table["id"].tolist() == [3, 12]
    assert table["when"].tolist() == [pd.Timestamp("2024-03-02 06:00")] * 2
    assert run(monkeypatch, "forecast", source, "--out", tmp_path / "ahead.csv", *arguments) == 0
    assert pd.read_csv(tmp_path / "ahead.csv", dtype=str)["when"].tolist() == ["2024-03-02T06:00:00"] * 2


def test_forecast_refuses_a_source_whose_columns_bear_its_own_names(tmp_path, monkeypatch, capsys):
    source, out = tmp_path / "taken.csv", tmp_path / "ahead.csv"
    pd.DataFrame({"t": range(9), "sd": "x", "a": range(9)}).to_csv(source, index=False)
    monkeypatch.setattr("dynplat.api.fit", lambda *_, **__: pytest.fail("the fit must not start"))
    assert run(monkeypatch, "forecast", source, "--id", "sd", "--out", out, *QUICK) == 2
    assert "`--id` is the column 'sd'" in capsys.readouterr().err
    assert not out.exists()


def test_fit_prints_json(monkeypatch, capsys, tmp_path):
    saved = tmp_path / "fit.nc"
    code = run(
        monkeypatch, "fit", "nile", "--model", "filtering/local-level", "--inference", "mle", "--save", saved, "--json"
    )
    assert code == 0
    record = json.loads(capsys.readouterr().out)
    assert {"log_likelihood", "parameters", "seconds"} <= set(record)
    parameters = record["parameters"]
    # With a start as wide as three standard deviations of the data, the maximum lies near the textbook's.
    assert parameters["noise_sd"]["estimate"] ** 2 == pytest.approx(15098.5, rel=0.05)
    assert parameters["local_level.level_sd"]["estimate"] ** 2 == pytest.approx(1469.2, rel=0.15)
    assert all(figures["standard_error"] > 0 for figures in parameters.values())
    import dynplat as dp

    loaded = dp.load_posterior(saved)
    assert loaded.log_likelihood == pytest.approx(record["log_likelihood"], rel=1e-12)


@pytest.mark.parametrize("language", ["numpyro", "pyro"])
def test_fit_names_parameters_by_channel_and_series(language, stations, monkeypatch, capsys):
    arguments = ["fit", stations, "--time", "when", "--id", "station", *QUICK, "--inference-option", "max_steps=2"]
    monkeypatch.setattr("dynplat.api.fit", partial(api.fit, language=language))
    channels = [f"local_level.level_sd[{name}]" for name in ("temp", "wind")]
    assert run(monkeypatch, *arguments) == 0
    printed = capsys.readouterr().out  # a table in which square brackets are no markup
    assert all(name in printed for name in channels)
    assert run(monkeypatch, *arguments, "--json") == 0
    assert list(json.loads(capsys.readouterr().out)["parameters"])[:2] == channels
    assert run(monkeypatch, *arguments, "--option", "per_series=true", "--json") == 0
    assert list(json.loads(capsys.readouterr().out)["parameters"])[3] == "local_level.level_sd[south, wind]"


def test_compare_prints_records(monkeypatch, capsys, tmp_path):
    arguments = [
        "compare",
        "nile",
        "--task",
        "imputation",
        "--fraction",
        "0.3",
        "--models",
        "filtering/local-level,filtering/matern12",
        "--seed",
        "0",
        "--inference-option",
        "restarts=0",
        "--store",
        tmp_path / "store",
        "--json",
    ]
    assert run(monkeypatch, *arguments) == 0
    first = capsys.readouterr().out
    records = json.loads(first)
    assert {"model", "task", "dataset", "seed", "score", "value", "stderr"} <= set(records[0])
    assert {record["model"] for record in records} == {"filtering/local-level", "filtering/matern12"}
    crps = {record["model"]: record for record in records if record["score"] == "crps"}
    assert 60 < crps["filtering/local-level"]["value"] < 110
    monkeypatch.setattr("dynplat.api.fit", lambda *_, **__: pytest.fail("finished work must not be done again"))
    assert run(monkeypatch, *arguments) == 0
    assert capsys.readouterr().out == first


def test_compare_splits_figures_by_channel_and_series(stations, monkeypatch, capsys, tmp_path):
    arguments = ["compare", stations, "--time", "when", "--id", "station", "--models", "filtering/local-level"]
    arguments += ["--scores", "rmse,mae,energy-score", "--inference-option", "restarts=0", "--store", tmp_path / "s"]
    assert run(monkeypatch, *arguments, "--by", "channel", "--json") == 0
    records = json.loads(capsys.readouterr().out)
    mae = {record["channel"]: record for record in records if record["score"] == "mae"}
    assert list(mae) == [None, "temp", "wind"]
    assert mae["temp"]["n"] + mae["wind"]["n"] == mae[None]["n"]
    parts = (mae["temp"]["n"] * mae["temp"]["value"] + mae["wind"]["n"] * mae["wind"]["value"]) / mae[None]["n"]
    assert parts == pytest.approx(mae[None]["value"], rel=1e-12)
    assert mae["wind"]["id"] == "filtering/local-level"
    assert [record["channel"] for record in records if record["score"] == "energy-score"] == [None]

    assert run(monkeypatch, *arguments, "--by", "channel") == 0
    printed = capsys.readouterr().out
    below = printed[printed.index("best of its column") :].splitlines()
    assert [line.split()[:2] for line in below[2:5]] == [
        ["channel", "model"],
        ["temp", "filtering/local-level"],
        ["wind", "filtering/local-level"],
    ]
    assert below[2].split()[2:] == ["rmse", "mae"]
    assert f"{mae['wind']['value']:.2g}"[:4] in below[4]
    assert "energy-score: one figure for all channels" in printed

    assert run(monkeypatch, *arguments, "--by", "series") == 0
    assert {"north", "south"} <= set(capsys.readouterr().out.split())
    assert run(monkeypatch, *arguments, "--by", "colour") == 2
    assert "`--by` must be 'channel' or 'series'" in capsys.readouterr().err
    assert run(monkeypatch, *arguments, "--by", "channel", "--out", tmp_path / "table.md") == 2
    assert ".json" in capsys.readouterr().err


def test_compare_takes_options_of_each_model_and_one_model_twice(monkeypatch, capsys, tmp_path):
    arguments = ["compare", "nile", "--scores", "rmse", "--inference-option", "restarts=0", "--seed", "0"]
    arguments += ["--models", "own=filtering/local-level,filtering/sum,smooth=filtering/sum", "--store", tmp_path / "s"]
    arguments += ["--option", 'smooth:components=["matern52", "mean"]', "--option", "per_series=false"]
    arguments += ["--option", "own:per_series=true"]
    assert run(monkeypatch, *arguments, "--json", "--out", tmp_path / "table.json") == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "table.json").read_text() == printed
    records = {record["model"]: record for record in json.loads(printed)}
    assert list(records) == ["own", "filtering/sum", "smooth"]
    assert [record["id"] for record in records.values()] == ["filtering/local-level", "filtering/sum", "filtering/sum"]
    assert [record["options"]["per_series"] for record in records.values()] == [True, False, False]
    assert records["smooth"]["options"]["components"] == ["matern52", "mean"]
    assert records["filtering/sum"]["options"]["components"] == ["local-level"]
    # The sum of a local level alone is the local level, and the one series has its own parameters either way.
    assert records["filtering/sum"]["value"] == pytest.approx(records["own"]["value"], rel=1e-9)
    assert records["smooth"]["value"] != pytest.approx(records["own"]["value"], rel=1e-3)
    monkeypatch.setattr("dynplat.api.fit", lambda *_, **__: pytest.fail("finished work must not be done again"))
    assert run(monkeypatch, *arguments) == 0
    table = capsys.readouterr().out
    assert "smooth: filtering/sum, per_series=False, components=('matern52', 'mean')" in table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "filtering/sum,filtering/sum"], "names 'filtering/sum' twice"),
        (["--models", "a=filtering/sum,=filtering/sum"], "LABEL=ID"),
        (["--models", "a=filtering/sum", "--option", "b:per_series=true"], "is for 'b'; `--models` has a"),
        (["--models", "a=filtering/sum", "--option", "a:colour=red"], "colour"),
        (["--models", "a=filtering/sum", "--option", "a:per_series"], "NAME=VALUE"),
        (["--models", ","], "expected names"),
    ],
    ids=["twice", "no label", "unknown label", "unknown option", "no value", "none"],
)
def test_compare_refuses_models_and_options_that_do_not_fit(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr("dynplat.api.fit", lambda *_, **__: pytest.fail("the fit must not start"))
    assert run(monkeypatch, "compare", "nile", *arguments) == 2
    assert message in capsys.readouterr().err


def test_listings_and_descriptions(monkeypatch, capsys):
    for command, expected in (
        ("models", "filtering/structural"),
        ("datasets", "mauna-loa-co2"),
        ("scores", "crps"),
        ("inferences", "nuts"),
        ("plugins", "filtering"),
    ):
        assert run(monkeypatch, command) == 0
        assert expected in capsys.readouterr().out
        assert run(monkeypatch, command, "--json") == 0
        listed = json.loads(capsys.readouterr().out)
        assert any(expected in (item.get("id"), item.get("name")) for item in listed)
    assert run(monkeypatch, "describe", "filtering/structural") == 0
    described = capsys.readouterr().out
    assert "periods" in described
    (reference,) = (line for line in described.splitlines() if "Harvey" in line)
    assert reference.endswith("https://doi.org/10.1017/CBO9781107049994")
    assert run(monkeypatch, "describe", "filtering/structural", "--json") == 0
    assert json.loads(capsys.readouterr().out)["capabilities"]["irregular_times"] is True


def test_python_m_equals_the_command():
    code = (
        "import sys; sys.argv = ['dynplat', '--help']; import runpy; runpy.run_module('dynplat', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "impute" in done.stdout
