import json
import os

import numpy as np
import pytest

from dynplat.comparison import Study, run_study
from dynplat.comparison.entries import ENTRIES
from dynplat.comparison.score import Score
from dynplat.errors import ArgumentError, InferenceError, StorageError

SCORES = [Score.from_entry(entry) for entry in ENTRIES if entry.id in ("rmse", "crps")]


@pytest.fixture
def counted(fakes):
    """A fit that counts its calls and guesses."""

    class Fit:
        calls = 0

        def __call__(self, model, data, *, seed):
            self.calls += 1
            return fakes.Guess(model, shift=model.size)

    return Fit()


@pytest.fixture
def study(array_task, fakes, tmp_path):
    other = fakes.ArrayTask(array_task.truth.values, np.roll(array_task.hidden, 1, axis=1), seed=1)
    models = {"three": fakes.FakeModel(size=3), "four": fakes.FakeModel(size=4)}
    return Study([array_task, other], models, inference="map", scores=SCORES, num_draws=20, store=tmp_path / "store")


class Events(list):
    def __call__(self, event):
        self.append((event.kind, event.model, event.task.seed))


def test_rerun_skips_what_is_finished_and_gives_the_same(study, counted):
    first = run_study(study, counted)
    assert counted.calls == 4
    events = Events()
    second = run_study(study, counted, observers=[events])
    assert counted.calls == 4
    assert second.to_json() == first.to_json()
    assert repr(second) == repr(first)
    assert events == [("skipped", name, seed) for seed in (0, 1) for name in ("three", "four")]


def test_interrupted_study_goes_on_where_it_stopped(study, counted, fakes):
    def interrupted(model, data, *, seed):
        if counted.calls == 3:
            raise KeyboardInterrupt
        return counted(model, data, seed=seed)

    with pytest.raises(KeyboardInterrupt):
        run_study(study, interrupted)
    assert len(list(study.store.iterdir())) == 3
    whole = run_study(study, counted)
    assert counted.calls == 4
    assert len(whole.results) == 4


def test_stored_result_is_json_with_records_and_provenance(study, counted):
    run_study(study, counted)
    path = sorted(study.store.iterdir())[0]
    assert path.name.startswith("waves.imputation.fake-model.0.")
    content = json.loads(path.read_text())
    assert [record["score"] for record in content["records"]] == ["rmse", "crps"]
    assert content["result"]["provenance"] == {"model": "fake/model", "options": {}, "seed": 3}
    assert content["inference"] == "map"


@pytest.mark.parametrize("damage", ["cut short", "altered", "empty"])
def test_damaged_entry_is_computed_again_with_a_notice(study, counted, damage, caplog):
    first = run_study(study, counted)
    path = sorted(study.store.iterdir())[0]
    text = path.read_text()
    path.write_text({"cut short": text[:-200], "altered": text.replace("waves", "waves2"), "empty": ""}[damage])
    events = Events()
    again = run_study(study, counted, observers=[events])
    assert counted.calls == 5
    # Which of the two models the first file belongs to depends on a hash.
    assert [event[0] for event in events].count("damaged") == 1
    assert ("damaged", "three", 0) in events or ("damaged", "four", 0) in events
    assert "It is computed again." in caplog.text
    assert again.to_json() == first.to_json()
    assert path.read_text() != ""
    run_study(study, counted)
    assert counted.calls == 5


CHANGES = {
    "model option": lambda s, f: {"models": {"three": f.FakeModel(size=5)}},
    "model": lambda s, f: {"models": {"three": f.FakeModel("fake/other")}},
    "inference": lambda s, f: {"inference": "nuts"},
    "inference option": lambda s, f: {"options": {"num_steps": 7}},
    "draws": lambda s, f: {"num_draws": 21},
    "seed of the fits": lambda s, f: {"seed": 5},
    "data": lambda s, f: {"tasks": [f.ArrayTask(s.tasks[0].truth.values + 1e-9, s.tasks[0].hidden)]},
    "held-out cells": lambda s, f: {"tasks": [f.ArrayTask(s.tasks[0].truth.values, ~s.tasks[0].hidden)]},
    "seed": lambda s, f: {"tasks": [f.ArrayTask(s.tasks[0].truth.values, s.tasks[0].hidden, seed=2)]},
    "name of the data": lambda s, f: {"tasks": [f.ArrayTask(s.tasks[0].truth.values, s.tasks[0].hidden, dataset="x")]},
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_decides_the_numbers_decides_the_fingerprint(study, fakes, change):
    given = {"tasks": study.tasks[:1], "models": {"three": study.models["three"]}, "num_draws": 20, "scores": SCORES}
    one = Study(**given)
    two = Study(**(given | CHANGES[change](study, fakes)))
    first = one.fingerprint(one.tasks[0], one.models["three"])
    assert two.fingerprint(two.tasks[0], two.models["three"]) != first
    assert one.fingerprint(one.tasks[0], one.models["three"]) == first


def test_plugin_version_decides_the_fingerprint(study, monkeypatch):
    task, model = study.tasks[0], study.models["three"]
    first = study.fingerprint(task, model)
    monkeypatch.setattr("dynplat.comparison.study.plugin_of", lambda model: {"name": "fake", "version": "2"})
    assert study.fingerprint(task, model) != first


def test_each_model_is_filed_under_its_own_inference(study, counted, fakes):
    models = {"one": fakes.FakeModel(), "two": fakes.FakeModel("fake/solved", default_inference="solve")}
    mixed = Study(study.tasks[:1], models, scores=SCORES, num_draws=20, store=study.store)
    run_study(mixed, counted)
    contents = [json.loads(path.read_text()) for path in study.store.iterdir()]
    assert {c["result"]["provenance"]["model"]: c["inference"] for c in contents} == {
        "fake/model": "map",
        "fake/solved": "solve",
    }
    named = Study(study.tasks[:1], models, inference="map", scores=SCORES, num_draws=20, store=study.store)
    run_study(named, counted)
    # The first model's result serves; the second was fitted by another inference.
    assert counted.calls == 3


def test_new_name_for_a_model_costs_no_fit(study, counted):
    first = run_study(study, counted)
    models = {f"model {name}": model for name, model in study.models.items()}
    renamed = run_study(Study(study.tasks, models, scores=SCORES, num_draws=20, store=study.store), counted)
    assert counted.calls == 4
    assert renamed.models == ("model three", "model four")
    assert [r["value"] for r in renamed.records] == [r["value"] for r in first.records]


def test_fewer_scores_cost_no_fit(study, counted):
    run_study(study, counted)
    wider = Study(study.tasks, study.models, scores=SCORES[:1], num_draws=20, store=study.store)
    assert run_study(wider, counted).scores == ("rmse",)
    assert counted.calls == 4


def test_further_score_is_computed_where_the_store_lacks_it(study, counted):
    run_study(Study(study.tasks, study.models, scores=SCORES[:1], num_draws=20, store=study.store), counted)
    assert counted.calls == 4
    whole = run_study(study, counted)
    assert counted.calls == 8
    assert len(whole.estimates) == 8


def test_failures_are_rows_and_are_tried_again(study, counted, fakes):
    def failing(model, data, *, seed):
        if model.size == 4:
            raise InferenceError("the loss is NaN.")
        return counted(model, data, seed=seed)

    events = Events()
    comparison = run_study(study, failing, observers=[events])
    assert [failure["model"] for failure in comparison.failures] == ["four", "four"]
    assert comparison.failures[0]["reason"] == "the loss is NaN."
    assert ("failed", "four", 0) in events
    run_study(study, counted)
    assert counted.calls == 4


def test_model_that_could_not_be_made_and_model_that_is_refused_are_rows(study, counted, fakes):
    models = {
        "three": fakes.FakeModel(),
        "absent": ImportError("install dynplat[neural]."),
        "unable": fakes.FakeModel("fake/unable", condition=False),
    }
    comparison = run_study(Study(study.tasks[:1], models, scores=SCORES, num_draws=20), counted)
    reasons = {failure["model"]: failure["reason"] for failure in comparison.failures}
    assert reasons == {
        "absent": "ImportError: install dynplat[neural].",
        "unable": "fake/unable does not offer answers inside the data.",
    }
    assert counted.calls == 1


def test_failing_observer_never_stops_a_study(study, counted, caplog):
    def broken(event):
        raise RuntimeError("no terminal")

    events = Events()
    run_study(study, counted, observers=[broken, events])
    assert len(events) == 8
    assert caplog.text.count("an observer of the study failed") == 1


def test_unwritable_store_is_refused_by_name(study, counted, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StorageError, match=r"file/store: cannot be made"):
        run_study(Study(study.tasks, study.models, scores=SCORES, num_draws=20, store=blocked / "store"), counted)
    assert counted.calls == 0


def test_no_partial_files_are_left(study, counted, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="No space left"):
        run_study(study, counted)
    assert list(study.store.iterdir()) == []


def test_study_of_nothing_and_unstorable_options_are_refused(study, fakes):
    for name in ("tasks", "models", "scores"):
        with pytest.raises(ArgumentError, match=f"`{name}` must not be empty"):
            Study(**({"tasks": study.tasks, "models": study.models, "scores": SCORES} | {name: {}}))
    odd = Study(study.tasks, {"odd": fakes.FakeModel(size=object())}, scores=SCORES)
    with pytest.raises(ArgumentError, match="options of fake/model"):
        odd.fingerprint(odd.tasks[0], odd.models["odd"])


def test_fits_and_predictions_take_the_seed_of_the_study_or_of_the_task(study, fakes):
    seeds = []

    class Noted(fakes.Guess):
        def answer(self, task, num_draws, seed):
            seeds.append(("prediction", seed))
            return super().answer(task, num_draws, seed)

    def fit(model, data, *, seed):
        seeds.append(("fit", seed))
        return Noted(model)

    run_study(Study(study.tasks, {"m": study.models["three"]}, scores=SCORES, num_draws=20), fit)
    assert seeds == [("fit", 0), ("prediction", 0), ("fit", 1), ("prediction", 1)]
    seeds.clear()
    run_study(Study(study.tasks[1:], {"m": study.models["three"]}, scores=SCORES, num_draws=20, seed=9), fit)
    assert seeds == [("fit", 9), ("prediction", 9)]
