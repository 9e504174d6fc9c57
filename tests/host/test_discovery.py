"""What becomes of a plugin: each state, from fake distributions on disk."""

from __future__ import annotations

import sys

import pytest

from dynplat.errors import ArgumentError, ConflictError, PluginError, UnknownNameError
from dynplat.host import Host, PluginReport
from dynplat.records import API_VERSION

GOOD = "@hookimpl\ndef dynplat_models():\n    return [ModelEntry('good/one', 'A model', 'good_models:One')]\n"


def only(host: Host) -> PluginReport:
    (report,) = host.reports()
    return report


def test_active_plugin_is_reported_with_all_that_it_brings(site):
    site.plugin(
        """
        @hookimpl
        def dynplat_models():
            yield ModelEntry("fake/a", "A model", "fake_models:A")
            yield ModelEntry("fake/b", "Another model", "fake_models:B")

        @hookimpl
        def dynplat_scores():
            return (ScoreEntry("fake-score", "A score", "fake_scores:score"),)

        @hookimpl
        def dynplat_fit_step(step):
            pass
        """,
        version="2.5",
    )
    assert only(site.host()) == PluginReport(
        name="fake",
        distribution="fake-dist",
        version="2.5",
        module="fake_plugin",
        state="active",
        reason="",
        hooks=("dynplat_models", "dynplat_scores", "dynplat_fit_step"),
        components=("fake/a", "fake/b", "fake-score"),
        notes=(),
    )
    assert [component.id for component in site.host().components("model")] == ["fake/a", "fake/b"]
    assert "fake_models" not in sys.modules


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "import a_package_that_nobody_has",
            ["ModuleNotFoundError", "a_package_that_nobody_has", "fake_plugin.py, line"],
        ),
        ("def broken(:", ["SyntaxError", "fake_plugin.py"]),
        ("import sys; sys.exit(3)", ["SystemExit: 3"]),
        ("class Strange(BaseException): pass\nraise Strange('boo')", ["Strange: boo"]),
        ("class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute", ["Mute"]),
        ("1 / 0", ["ZeroDivisionError"]),
    ],
    ids=["import-error", "syntax-error", "system-exit", "base-exception", "unprintable", "exception"],
)
def test_plugin_that_cannot_be_imported_costs_only_itself(site, source, words):
    site.plugin(source)
    site.plugin(GOOD, name="good")
    broken, good = site.host().reports()
    assert (broken.name, broken.state, good.name, good.state) == ("fake", "broken", "good", "active")
    assert broken.reason.startswith("importing 'fake_plugin' failed: ")
    assert "\n" not in broken.reason
    for word in words:
        assert word in broken.reason
    assert (broken.distribution, broken.version) == ("fake-dist", "1.0")
    assert site.host().find("model", "good/one").id == "good/one"


def test_keyboard_interrupt_in_a_plugin_belongs_to_the_user(site):
    site.plugin("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        site.host()


def test_module_that_is_absent_is_broken(site):
    site.distribution("fake-dist", {"fake": "fake_plugin"})
    assert "No module named 'fake_plugin'" in only(site.host()).reason


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("@hookimpl\ndef dynplat_models(colour): return []", ["PluginValidationError", "dynplat_models", "colour"]),
        ("@hookimpl\ndef dynplat_modles(): return []", ["'dynplat_modles'", "did you mean 'dynplat_models'?"]),
        ("@hookimpl\ndef dynplat_quux(): return []", ["unknown hook 'dynplat_quux'", "dynplat_fit_ended"]),
        ("def dynplat_models(): return []", ["dynplat_models must be marked with `@hookimpl`"]),
        ("x = 1", ["implements no hook"]),
        ("@hookimpl\ndef dynplat_models(): raise KeyError('gone')", ["hook dynplat_models failed: KeyError: 'gone'"]),
        ("@hookimpl\ndef dynplat_scores(): raise SystemExit", ["hook dynplat_scores failed: SystemExit"]),
        ("@hookimpl\ndef dynplat_models():\n    yield 1 / 0", ["hook dynplat_models failed: ZeroDivisionError"]),
        ("@hookimpl\ndef dynplat_models(): pass", ["dynplat_models returned None instead of a list of ModelEntry"]),
        (
            "@hookimpl\ndef dynplat_models(): return 7",
            ["returned an object of type int instead of a list of ModelEntry"],
        ),
        (
            "@hookimpl\ndef dynplat_models(): return ModelEntry('a/b', 's', 'm:C')",
            ["returned an object of type ModelEntry instead"],
        ),
        ("@hookimpl\ndef dynplat_models(): return ['a/b']", ["must return a list of ModelEntry", "'a/b'"]),
        (
            "@hookimpl\ndef dynplat_models(): return [ScoreEntry('rmse', 'A score', 'm:score')]",
            ["must return a list of ModelEntry", "ScoreEntry(id='rmse'"],
        ),
        (
            "@hookimpl\ndef dynplat_models(): return [ModelEntry('Bad Id', 's', 'm:C')]",
            ["`id` of a ModelEntry must be", "fake_plugin.py, line 5)"],
        ),
        ("@hookimpl\ndef dynplat_models(): return [ModelEntry('a/b', 's')]", ["the record 'a/b' has no `location`"]),
        (
            "@hookimpl\ndef dynplat_models(): return [ModelEntry('a/b', 's', 'm:C', requires='torch')]",
            ["tuple of module names as `requires`", "'torch'"],
        ),
        (
            "@hookimpl\ndef dynplat_models(): return [ModelEntry('a/b', 's', 'm:C', references=('Me',))]",
            ["tuple of `Reference` as `references`"],
        ),
        (
            "@hookimpl\ndef dynplat_models(): return [ModelEntry('a/b', 's', 'm:C', capabilities={})]",
            ["a `Capabilities` as `capabilities`"],
        ),
        (
            "@hookimpl\ndef dynplat_inferences(): return [InferenceEntry('em', 's', 'm:f', needs=('magic',))]",
            ["capabilities out of ['coherent',", "('magic',)"],
        ),
        (
            "@hookimpl\ndef dynplat_models(): return 2 * [ModelEntry('a/b', 's', 'm:C')]",
            ["returned two records with the id 'a/b'"],
        ),
    ],
)
def test_plugin_that_breaks_the_contract_costs_only_itself(site, source, words):
    site.plugin(source)
    site.plugin(GOOD, name="good")
    broken, good = site.host().reports()
    assert (broken.name, broken.state, good.state) == ("fake", "broken", "active")
    assert broken.components == ()
    for word in words:
        assert word in broken.reason


def test_optional_hook_of_another_version_is_accepted(site):
    site.plugin(GOOD + "@hookimpl(optionalhook=True)\ndef dynplat_future(): pass\n")
    assert only(site.host()).state == "active"


@pytest.mark.parametrize(("offset", "who"), [(1, "upgrade dynplat"), (-1, "upgrade the plugin")])
def test_other_api_version_is_incompatible_and_names_both(site, offset, who):
    site.plugin(f"requires_api = {API_VERSION + offset}\n{GOOD}")
    report = only(site.host())
    assert report.state == "incompatible"
    assert f"version {API_VERSION + offset} of the contract" in report.reason
    assert f"offers version {API_VERSION}" in report.reason
    assert who in report.reason
    assert site.host().components("model") == []


def test_api_version_must_be_stated(site):
    header = "from dynplat.host import hookimpl\nfrom dynplat.records import *\n"
    site.plugin(GOOD, header=header)
    report = only(site.host())
    assert report.state == "broken"
    assert f"add the line `requires_api = {API_VERSION}`" in report.reason


@pytest.mark.parametrize("stated", ["'1'", "True", "1.0"])
def test_api_version_must_be_an_integer(site, stated):
    site.plugin(f"requires_api = {stated}\n{GOOD}")
    report = only(site.host())
    assert report.state == "broken"
    assert "must be an integer" in report.reason


@pytest.mark.parametrize("value", ["fake_plugin:plugin", "not a module"])
def test_entry_point_must_name_a_module(site, value):
    site.module("fake_plugin", "plugin = object()")
    site.distribution("fake-dist", {"fake": value})
    report = only(site.host())
    assert report.state == "broken"
    assert "must name a module" in report.reason
    assert value in report.reason


def test_damaged_entry_points_cost_only_their_distribution(site):
    site.distribution("fake-dist", "[dynplat.plugins]\nno equals sign here")
    site.plugin(GOOD, name="good")
    states = {report.distribution: report.state for report in site.host().reports()}
    assert states == {"fake-dist": "broken", "good-dist": "active"}


def test_distribution_without_metadata_still_works(site):
    site.plugin(GOOD)
    (site.folder / "fake_dist-1.0.dist-info" / "METADATA").unlink()
    report = only(site.host())
    assert (report.state, report.distribution, report.version) == ("active", "unknown", "unknown")


def test_second_copy_of_a_distribution_is_ignored(site, tmp_path):
    site.plugin(GOOD)
    second = tmp_path / "second"
    (second / "fake_dist-0.9.dist-info").mkdir(parents=True)
    (second / "fake_dist-0.9.dist-info" / "METADATA").write_text("Name: Fake_Dist\nVersion: 0.9\n")
    (second / "fake_dist-0.9.dist-info" / "entry_points.txt").write_text("[dynplat.plugins]\nfake = fake_plugin\n")
    host = Host.discover(path=[str(site.folder), str(second)], core=None)
    assert [report.version for report in host.reports()] == ["1.0"]


def test_default_search_path_finds_what_is_installed(site):
    site.plugin(GOOD)
    assert "fake" in [report.name for report in Host.discover(core=None).reports()]


@pytest.mark.parametrize(
    ("selection", "active"),
    [(None, ["one", "two"]), ("", []), (" ", []), ("two", ["two"]), ("two, one", ["one", "two"]), (",one,", ["one"])],
)
def test_selection_blocks_all_others_unimported(site, monkeypatch, selection, active):
    for name in ("one", "two"):
        site.models(f"{name}/model", name=name)
    if selection is not None:
        monkeypatch.setenv("DYNPLAT_PLUGINS", selection)
    reports = {report.name: report for report in site.host().reports()}
    assert [name for name, report in reports.items() if report.state == "active"] == active
    for name in ("one", "two"):
        if name not in active:
            assert reports[name].state == "blocked"
            assert reports[name].reason == "DYNPLAT_PLUGINS leaves it out"
            assert f"{name}_plugin" not in sys.modules


def test_selected_name_that_does_not_exist_is_reported(site, monkeypatch):
    site.plugin(GOOD, name="good")
    monkeypatch.setenv("DYNPLAT_PLUGINS", "good,absent")
    good, absent = site.host().reports()
    assert good.state == "active"
    assert (absent.name, absent.state) == ("absent", "not-found")
    assert "installed: good" in absent.reason


def test_two_providers_of_one_id_are_a_conflict_naming_both(site):
    site.models("fake/model", "fake/mine", name="one")
    site.models("fake/model", name="two")
    host = site.host()
    with pytest.raises(ConflictError) as caught:
        host.find("model", "fake/model")
    for who in ("plugin 'one' of one-dist 1.0", "plugin 'two' of two-dist 1.0"):
        assert who in str(caught.value)
    listed = host.components("model")
    assert [(component.id, component.state) for component in listed] == [
        ("fake/mine", "available"),
        ("fake/model", "conflict"),
        ("fake/model", "conflict"),
    ]
    assert {component.provider.name for component in listed[1:]} == {"one", "two"}
    for report in host.reports():
        assert report.state == "active"
        assert any("fake/model: " in note and "one-dist" in note and "two-dist" in note for note in report.notes)
    assert host.find("model", "fake/mine").provider.name == "one"


def test_selection_resolves_a_conflict(site):
    site.models("fake/model", name="one")
    site.models("fake/model", name="two")
    assert site.host(selected=["two"]).find("model", "fake/model").provider.name == "two"


def test_same_id_in_two_kinds_is_no_conflict(site):
    site.plugin(
        """
        @hookimpl
        def dynplat_scores():
            return [ScoreEntry("nile", "A score", "m:f")]

        @hookimpl
        def dynplat_datasets():
            return [DatasetEntry("nile", "A data set", "m:g")]
        """
    )
    assert [site.host().find(kind, "nile").kind for kind in ("score", "dataset")] == ["score", "dataset"]
    assert site.host().kinds_of("nile") == ["dataset", "score"]


def core(site, source: str) -> Host:
    site.module("fake_core", "from dynplat.host import hookimpl\nfrom dynplat.records import *\n" + source)
    return site.host(core="fake_core")


CORE_SCORES = "@hookimpl\ndef dynplat_scores(): return [ScoreEntry('rmse', 'A score', 'm:f')]\n"


def test_core_components_come_with_every_selection(site, monkeypatch):
    monkeypatch.setenv("DYNPLAT_PLUGINS", "")
    host = core(site, CORE_SCORES)
    assert [component.id for component in host.components("score")] == ["rmse"]
    assert str(host.find("score", "rmse").provider).startswith("dynplat ")
    assert host.reports() == []


def test_plugin_cannot_take_an_id_of_the_core(site):
    site.plugin("@hookimpl\ndef dynplat_scores(): return [ScoreEntry('rmse', 'Mine', 'fake:f')]\n")
    with pytest.raises(ConflictError, match=r"dynplat \S+ itself and plugin 'fake' of fake-dist 1.0 both provide it"):
        core(site, CORE_SCORES).find("score", "rmse")


def test_core_is_asked_for_one_kind_at_a_time(site):
    source = CORE_SCORES + "@hookimpl\ndef dynplat_datasets():\n    raise ImportError('heavy')\n"
    host = core(site, source)
    assert len(host.components("score")) == 1
    with pytest.raises(PluginError, match="dynplat's own components cannot be read: hook dynplat_datasets failed"):
        host.components("dataset")


def test_unknown_id_names_what_is_close(site):
    site.models("filtering/matern32", "filtering/matern52", "filtering/local-level")
    with pytest.raises(UnknownNameError) as caught:
        site.host().find("model", "filtering/matern53")
    text = str(caught.value)
    assert "no model is called 'filtering/matern53'" in text
    assert "Did you mean 'filtering/matern52' or 'filtering/matern32'" in text
    assert "Known: filtering/local-level, " in text
    assert "not active" not in text


def test_unknown_id_without_its_family_finds_the_model(site):
    site.models("filtering/local-level")
    with pytest.raises(UnknownNameError, match="Did you mean 'filtering/local-level'"):
        site.host().find("model", "local-levle")


def test_unknown_id_names_every_plugin_that_is_not_active(site):
    site.plugin("1 / 0", name="one")
    site.plugin("requires_api = 99", name="two")
    site.models("three/model", name="three")
    host = site.host(selected=["one", "two", "four"])
    with pytest.raises(UnknownNameError) as caught:
        host.find("model", "three/model")
    text = str(caught.value)
    assert "plugin 'one' of one-dist 1.0 is broken (importing 'one_plugin' failed: ZeroDivisionError" in text
    assert "plugin 'two' of two-dist 1.0 is incompatible (it is written for version 99" in text
    assert "plugin 'three' of three-dist 1.0 is blocked" in text
    assert "plugin 'four' is not-found" in text


def test_unknown_id_of_another_kind_says_so(site):
    site.plugin("@hookimpl\ndef dynplat_scores(): return [ScoreEntry('crps', 'A score', 'm:f')]\n")
    with pytest.raises(UnknownNameError, match="There is a score of that name"):
        site.host().find("dataset", "crps")


def test_many_ids_are_not_all_spelled_out(site):
    site.models(*(f"fake/model-{i}" for i in range(40)))
    with pytest.raises(UnknownNameError, match="There are 40: list them with `dynplat models`") as caught:
        site.host().find("model", "zzz/qqq")
    assert len(str(caught.value)) < 200


def test_unknown_kind_is_refused(site):
    with pytest.raises(ArgumentError, match="`kind` must be one of 'model', 'dataset'"):
        site.host().components("plugin")


def test_no_bundled_plugin_is_named_in_the_core():
    from pathlib import Path

    import dynplat

    root = Path(dynplat.__file__).parent
    files = [path for path in root.rglob("*.py") if path.relative_to(root).parts[:2] != ("host", "template")]
    assert len(files) > 20
    assert not [path for path in files if "dynplat_filtering" in path.read_text(encoding="utf-8")]
