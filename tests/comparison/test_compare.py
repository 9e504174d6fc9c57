import json
import logging

import numpy as np
import pytest

from dynplat.comparison import Comparison, Contributions, Score, compare, default_scores, interval_scores
from dynplat.comparison.entries import ENTRIES, MORE_ENTRIES
from dynplat.errors import ArgumentError, DynplatError, InferenceError, PluginError, UnknownNameError
from dynplat.records import ScoreEntry

IDS = ["rmse", "mae", "crps", "log-score", "energy-score", "interval-score-90", "coverage-90", "width-90"]
KEYS = ["model", "task", "dataset", "seed", "score", "value", "stderr", "n", "unit"]


@pytest.fixture
def comparison(array_task, fakes):
    fits = {"good": fakes.Guess(), "shifted": fakes.Guess(shift=3.0)}
    return compare(array_task, fits, num_draws=60, seed=1, standardise=False)


def test_records_carry_the_keys_of_the_command_line(comparison, array_task):
    assert [entry.id for entry in ENTRIES] == IDS
    assert [list(record) for record in comparison.records] == [KEYS] * 16
    assert [record["score"] for record in comparison.records[:8]] == IDS
    first = comparison.records[0]
    assert (first["model"], first["task"], first["dataset"], first["seed"]) == ("good", "imputation", "waves", 0)
    assert first["n"] == array_task.hidden.sum()
    assert comparison.records[4]["n"] == array_task.hidden.any(axis=2).sum()


def test_figures_equal_those_computed_by_hand(comparison, array_task, fakes):
    prediction = fakes.Guess(shift=3.0).answer(array_task, 60, 1)
    gap = (prediction.mean.values - array_task.truth.values)[array_task.hidden]
    by_id = {record["score"]: record["value"] for record in comparison.records if record["model"] == "shifted"}
    assert by_id["rmse"] == pytest.approx(np.sqrt(np.mean(gap**2)))
    assert by_id["mae"] == pytest.approx(np.mean(np.abs(gap)))
    assert by_id["log-score"] == pytest.approx(np.mean(0.5 * gap**2) + 0.5 * np.log(2 * np.pi))
    assert by_id["coverage-90"] == pytest.approx(np.mean(np.abs(gap) <= 1.6448536269514722))
    assert by_id["width-90"] == pytest.approx(2 * 1.6448536269514722)


def test_comparison_is_the_same_every_time(comparison, array_task, fakes):
    fits = {"good": fakes.Guess(), "shifted": fakes.Guess(shift=3.0)}
    again = compare(array_task, fits, num_draws=60, seed=1, standardise=False)
    assert again.to_json() == comparison.to_json()
    assert repr(again) == repr(comparison)


def test_prediction_made_elsewhere_takes_part(array_task, fakes):
    guess = fakes.Guess()
    ours = compare(array_task, {"a": guess}, num_draws=60, seed=1)
    theirs = compare(array_task, {"a": guess.answer(array_task, 60, 1)})
    assert ours.records == theirs.records


def test_differences_are_paired(comparison):
    found = comparison.differences("crps")
    values = comparison.contributions("crps")
    gap = values["good"] - values["shifted"]
    assert found.loc[0, ["model", "reference"]].tolist() == ["good", "shifted"]
    assert found.loc[0, "difference"] == pytest.approx(gap.mean())
    assert found.loc[0, "difference"] < 0
    turned = comparison.differences("crps", reference="good")
    assert turned.loc[0, "difference"] == -found.loc[0, "difference"]
    assert turned.loc[0, "stderr"] == pytest.approx(found.loc[0, "stderr"])


def test_contributions_name_their_cells(comparison, array_task):
    frame = comparison.contributions("crps")
    assert list(frame) == ["dataset", "task", "seed", "series", "row", "channel", "good", "shifted"]
    cells = np.argwhere(array_task.hidden)
    assert frame["series"].tolist() == [f"s{index}" for index in cells[:, 0]]
    assert frame["row"].tolist() == cells[:, 1].tolist()
    assert frame["channel"].tolist() == [f"c{index}" for index in cells[:, 2]]


def test_figures_by_channel_average_to_the_whole(comparison, array_task):
    parts = comparison.by("channel", "crps").query("model == 'good'")
    assert parts["channel"].tolist() == ["c0", "c1"]
    assert parts["n"].tolist() == array_task.hidden.sum(axis=(0, 1)).tolist()
    whole = next(r["value"] for r in comparison.records if r["score"] == "crps" and r["model"] == "good")
    assert np.average(parts["value"], weights=parts["n"]) == pytest.approx(whole)
    assert comparison.by("series", "energy-score")["series"].tolist() == ["s0", "s1", "s0", "s1"]
    with pytest.raises(ArgumentError, match="one contribution per row"):
        comparison.by("channel", "energy-score")
    with pytest.raises(ArgumentError, match="'channel' or 'series'"):
        comparison.by("time", "crps")


def test_table_marks_the_best_of_each_column(comparison):
    table = comparison.table()
    assert table.index.tolist() == ["good", "shifted"]
    assert list(table) == IDS
    assert [text.endswith("*") for text in table["crps"]] == [True, False]
    # Coverage is best at its level, and a width is best at nothing.
    assert [text.endswith("*") for text in table["coverage-90"]] == [True, False]
    assert not any(text.endswith("*") for text in table["width-90"])
    assert set(comparison.best("crps").values()) == {("good",)}
    assert comparison.best("width-90") == {}


def test_equal_figures_are_best_together_and_alone_not_at_all(array_task, fakes):
    guess = fakes.Guess()
    twice = compare(array_task, {"a": guess, "b": guess, "c": fakes.Guess(shift=3.0)}, num_draws=20)
    assert list(twice.best("crps").values()) == [("a", "b")]
    assert compare(array_task, {"a": guess, "b": guess}, num_draws=20).best("crps") == {}


def test_methods_say_what_is_exact(comparison, array_task, prediction_from):
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(40, *array_task.hidden.shape))
    drawn = compare(array_task, {"drawn": prediction_from(draws)}, standardise=False)
    said = comparison.merge(drawn).methods().set_index(["model", "score"])
    assert said.loc[("good", "crps"), "value"] == "exact, Gaussian"
    assert said.loc[("good", "coverage-90"), "value"] == "exact quantiles"
    assert said.loc[("drawn", "coverage-90"), "value"] == "quantiles of 40 draws"
    assert said.loc[("drawn", "energy-score"), "value"] == "fair estimator from 40 draws"
    assert said.loc[("good", "energy-score"), "per"] == "row"
    assert said.loc[("good", "rmse"), "stderr"].startswith("Newey-West over time, bandwidth")


def test_markdown_and_latex_hold_the_same_figures(comparison):
    lines = comparison.to_markdown().splitlines()
    assert lines[0].startswith("| model | rmse |")
    assert len(lines) == 4
    assert "**" in lines[2]
    latex = comparison.to_latex()
    assert latex.startswith(r"\begin{tabular}{lrrrrrrrr}")
    assert r"$\mathbf{" in latex
    assert latex.count(r"\\") == 3


def test_repr_reads_as_a_table(comparison):
    text = repr(comparison)
    assert text.startswith("waves: imputation of")
    assert "* best of its column" in text
    assert text.count("±") > 14


def test_model_without_the_capability_is_a_row_with_its_reason(array_task, fakes):
    unable = fakes.Guess(fakes.FakeModel("fake/forecaster", condition=False))
    comparison = compare(array_task, {"good": fakes.Guess(), "unable": unable}, num_draws=20)
    assert comparison.table().loc["unable", "note"] == "fake/forecaster does not offer answers inside the data."
    assert comparison.table().loc["unable", "crps"] == "-"
    assert comparison.failures == [
        {
            "model": "unable",
            "task": "imputation",
            "dataset": "waves",
            "seed": 0,
            "score": "",
            "reason": "fake/forecaster does not offer answers inside the data.",
        }
    ]
    record = next(r for r in comparison.records if r["model"] == "unable")
    assert (record["value"], record["stderr"], record["n"]) == (None, None, 0)
    assert json.loads(comparison.to_json())[8]["value"] is None


def test_fit_that_failed_is_a_row_with_its_reason(array_task, fakes):
    comparison = compare(array_task, {"good": fakes.Guess(), "lost": InferenceError("the loss is NaN.")}, num_draws=20)
    assert comparison.table().loc["lost", "note"] == "the loss is NaN."


def test_unexpected_failure_is_logged_with_its_trace(array_task, fakes, caplog):
    class Broken(fakes.Guess):
        def answer(self, task, num_draws, seed):
            raise ZeroDivisionError("by zero")

    with caplog.at_level(logging.WARNING):
        comparison = compare(array_task, {"broken": Broken()}, num_draws=20)
    assert comparison.failures[0]["reason"] == "ZeroDivisionError: by zero"
    assert caplog.records[0].exc_info is not None


def test_score_that_fails_leaves_the_others(array_task, fakes, prediction_from):
    rng = np.random.default_rng(0)
    drawn = prediction_from(rng.normal(size=(40, *array_task.hidden.shape)))
    comparison = compare(array_task, {"draws": drawn, "good": fakes.Guess()}, num_draws=40)
    table = comparison.table()
    assert table.loc["draws", "log-score"] == "-"
    assert table.loc["draws", "note"].startswith("log-score: the marginal densities")
    assert table.loc["draws", "crps"] != "-"
    assert len(comparison.differences("log-score")) == 0
    assert len(comparison.differences("crps")) == 1


def test_cell_without_a_prediction_is_named_and_not_averaged_away(array_task, prediction_from):
    shape = (1, *array_task.hidden.shape)
    mean = np.zeros(shape)
    series, row, channel = np.argwhere(array_task.hidden)[3]
    mean[0, series, row, channel] = np.nan
    comparison = compare(array_task, {"holes": prediction_from(mean=mean, sd=np.ones(shape))})
    reason = comparison.results[0].reason("rmse")
    assert reason == (
        f"no value at 1 of {array_task.hidden.sum()} held-out cells "
        f"(first: series 's{series}', row {row}, channel 'c{channel}'): the prediction is NaN there."
    )


def test_infinite_log_score_stays_infinite(array_task, prediction_from):
    shape = (1, *array_task.hidden.shape)
    far = prediction_from(mean=np.full(shape, 1e200), sd=np.ones(shape))
    comparison = compare(array_task, {"far": far}, [entry for entry in ENTRIES if entry.id == "log-score"])
    assert comparison.records[0]["value"] == np.inf
    assert comparison.records[0]["stderr"] is None
    assert json.loads(comparison.to_json())[0]["value"] == "Infinity"
    assert comparison.table().loc["far", "log-score"] == "inf"


def test_level_renames_the_interval_scores(array_task, fakes):
    comparison = compare(array_task, {"good": fakes.Guess()}, level=0.5, num_draws=20, standardise=False)
    assert comparison.scores[-3:] == ("interval-score-50", "coverage-50", "width-50")
    widths = next(r["value"] for r in comparison.records if r["score"] == "width-50")
    assert widths == pytest.approx(2 * 0.6744897501960817)
    assert interval_scores(0.975)[1].entry.id == "coverage-97.5"
    with pytest.raises(ArgumentError, match="no effect on the `scores` given"):
        compare(array_task, {"good": fakes.Guess()}, [ENTRIES[0]], level=0.5)


def test_score_of_a_plugin_takes_part_by_its_record(array_task, fakes):
    def surprise(prediction, truth, hidden):
        return np.abs(prediction.mean.values - truth)[hidden] > 1.0

    entry = ScoreEntry("surprise", "Share of errors beyond 1", orientation="smaller")
    comparison = compare(array_task, {"good": fakes.Guess()}, [Score(entry, surprise), MORE_ENTRIES[0]], num_draws=20)
    assert comparison.scores == ("surprise", "bias")
    assert comparison.records[0]["n"] == array_task.hidden.sum()


def test_score_with_a_wrong_number_of_contributions_is_blamed(array_task, fakes):
    entry = ScoreEntry("odd", "One number too few")
    score = Score(entry, lambda prediction, truth, hidden: np.zeros(hidden.sum() - 1))
    with pytest.raises(PluginError, match="'odd' must give one contribution per held-out cell"):
        score.contributions(fakes.Guess().answer(array_task, 5, 0), array_task.truth, array_task.hidden)
    comparison = compare(array_task, {"good": fakes.Guess()}, [score], num_draws=20)
    assert "'odd' must give one contribution" in comparison.failures[0]["reason"]


def test_results_about_different_cells_are_refused(array_task, fakes):
    first = compare(array_task, {"a": fakes.Guess()}, num_draws=20)
    moved = fakes.ArrayTask(array_task.truth.values, np.roll(array_task.hidden, 1, axis=1))
    other = compare(moved, {"b": fakes.Guess()}, num_draws=20)
    with pytest.raises(ArgumentError, match="different held-out cells"):
        first.merge(other)
    with pytest.raises(ArgumentError, match="appears twice"):
        first.merge(first)


def test_several_seeds_stand_in_one_table(array_task, fakes):
    rng = np.random.default_rng(5)
    second = fakes.ArrayTask(array_task.truth.values, rng.random(array_task.hidden.shape) < 0.2, seed=1)
    fits = {"good": fakes.Guess(), "shifted": fakes.Guess(shift=3.0)}
    merged = compare(array_task, fits, num_draws=20).merge(compare(second, fits, num_draws=20))
    assert merged.table().index.names == ["seed", "model"]
    assert merged.table().index.tolist() == [("0", "good"), ("0", "shifted"), ("1", "good"), ("1", "shifted")]
    assert merged.differences("crps")["seed"].tolist() == [0, 1]
    assert sorted(merged.best("crps")) == sorted({result.group for result in merged.results})


def test_unknown_names_list_the_known_ones(comparison):
    with pytest.raises(UnknownNameError, match="`score` must be one of rmse, mae"):
        comparison.differences("rsme")
    with pytest.raises(UnknownNameError, match="`reference` must be one of good, shifted"):
        comparison.differences("rmse", reference="bad")


def test_compare_refuses_what_it_cannot_score(array_task, fakes):
    with pytest.raises(ArgumentError, match="at least one model"):
        compare(array_task, {})
    with pytest.raises(ArgumentError, match="at least one score"):
        compare(array_task, {"good": fakes.Guess()}, [])
    with pytest.raises(ArgumentError, match=r"`Score\(record, function\)`; got a function"):
        compare(array_task, {"good": fakes.Guess()}, [lambda prediction, truth, hidden: 0.0])


def test_default_scores_are_the_registered_ones():
    assert [score.entry for score in default_scores()] == list(ENTRIES)
    for entry in (*ENTRIES, *MORE_ENTRIES):
        assert callable(entry.load())


def test_saved_comparison_comes_back_exactly(comparison, tmp_path):
    comparison.save(tmp_path / "comparison.json")
    back = Comparison.load(tmp_path / "comparison.json")
    assert back.records == comparison.records
    assert repr(back) == repr(comparison)
    for ours, theirs in zip(comparison.results, back.results, strict=True):
        np.testing.assert_array_equal(ours.hidden, theirs.hidden)
        assert dict(ours.provenance) == dict(theirs.provenance)
        for name, given in ours.contributions.items():
            np.testing.assert_array_equal(given.values, theirs.contributions[name].values)
            assert given[1:] == theirs.contributions[name][1:]


def test_saved_comparison_keeps_reasons_and_infinities(array_task, prediction_from, tmp_path):
    shape = (1, *array_task.hidden.shape)
    fits = {"far": prediction_from(mean=np.full(shape, 1e200), sd=np.ones(shape)), "lost": InferenceError("NaN.")}
    comparison = compare(array_task, fits)
    comparison.save(tmp_path / "c.json")
    back = Comparison.load(tmp_path / "c.json")
    assert back.failures == comparison.failures
    assert back.table().equals(comparison.table())


DAMAGES = {
    "cut short": (lambda text: text[: len(text) // 2], "not a whole JSON file"),
    "altered": (lambda text: text.replace('"seed": 0', '"seed": 1', 1), "does not match its SHA-256"),
    "another kind": (lambda text: json.dumps({"format": "something"}), "not a dynplat comparison"),
    "another version": (lambda text: text.replace('"version": 2', '"version": 99'), "version 99 of the format"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_refused_by_name(comparison, tmp_path, damage):
    path = tmp_path / "c.json"
    comparison.save(path)
    change, message = DAMAGES[damage]
    path.write_text(change(path.read_text()))
    with pytest.raises(DynplatError, match=message):
        Comparison.load(path)
    with pytest.raises(DynplatError, match=r"missing\.json"):
        Comparison.load(tmp_path / "missing.json")


def test_written_tables_end_as_their_names_say(comparison, tmp_path):
    for suffix, start in ((".csv", "model,task"), (".json", "["), (".md", "| model"), (".tex", r"\begin{tabular}")):
        path = tmp_path / f"table{suffix}"
        comparison.write(path)
        assert path.read_text().startswith(start)
    with pytest.raises(ArgumentError, match=r"must end in \.csv, \.json, \.md, \.tex"):
        comparison.write(tmp_path / "table.xlsx")
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".csv", ".json", ".md", ".tex"]


def test_contributions_of_a_result_are_checked(comparison):
    from dataclasses import replace

    with pytest.raises(ArgumentError, match=r"one number per held-out cell; got \(2,\)"):
        replace(comparison.results[0], contributions={"rmse": Contributions(np.zeros(2))})
