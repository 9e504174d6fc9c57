"""From a name to an object: loading, options, missing packages, and who is to blame."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from dynplat.errors import ArgumentError, DataError, MissingExtraError, PluginError
from dynplat.host.build import build_function, build_model, load_object, options_of
from dynplat.host.options import check_options, function_options, model_options

MODELS = """
from dataclasses import dataclass
from dynplat.errors import CapabilityError
from dynplat.model import AbstractModel
from fake_plugin import ENTRY

@dataclass(frozen=True)
class Model(AbstractModel):
    entry = ENTRY
    periods: tuple[float, ...] = (1.0, 7.0)
    order: int = 2
    damping: float | None = None
    kernel: str = "matern"

    def __post_init__(self):
        if self.order < 1:
            raise ValueError("`order` must be at least 1")
        if self.kernel == "refused":
            raise CapabilityError("no such kernel")
        if self.kernel == "bug":
            {}["gone"]

@dataclass(frozen=True)
class Needy(AbstractModel):
    entry = ENTRY
    size: int

class Plain(AbstractModel):
    entry = ENTRY

class Stranger:
    entry = ENTRY

class Mute(AbstractModel):
    pass

def function():
    pass

number = 7
"""


def install(site, attribute="Model", arguments="", source=MODELS):
    site.plugin(
        f"""
        ENTRY = ModelEntry("fake/model", "A model", "fake_models:{attribute}", {arguments})

        @hookimpl
        def dynplat_models():
            return [ENTRY]
        """
    )
    site.module("fake_models", source)
    return site.host().find("model", "fake/model")


def test_model_is_built_with_its_options(site):
    component = install(site)
    model = build_model(component, {"periods": [24, 168.0], "order": np.int64(3), "damping": 1})
    assert model.options == {"periods": (24.0, 168.0), "order": 3, "damping": 1.0, "kernel": "matern"}
    assert [type(value) for value in (*model.periods, model.order, model.damping)] == [float, float, int, float]
    assert model.entry is component.entry
    assert build_model(component, {}).options["periods"] == (1.0, 7.0)


def test_model_without_fields_has_no_options(site):
    component = install(site, "Plain")
    assert build_model(component, {}).options == {}
    with pytest.raises(ArgumentError, match=r"'fake/model' has no option 'order'. It has no options."):
        build_model(component, {"order": 1})


def test_unknown_option_names_the_legal_ones(site):
    with pytest.raises(ArgumentError) as caught:
        build_model(install(site), {"period": 3.0})
    assert str(caught.value) == (
        "'fake/model' has no option 'period'. Did you mean 'periods'? Its options: "
        "periods: tuple[float, ...] = (1.0, 7.0), order: int = 2, damping: float | None = None, kernel: str = 'matern'."
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": "two"}, "option `order` of 'fake/model' must be int; got 'two' (str)"),
        ({"order": 2.5}, "option `order` of 'fake/model' must be int; got 2.5 (float)"),
        ({"order": True}, "option `order` of 'fake/model' must be int; got True (bool)"),
        ({"damping": "x"}, "option `damping` of 'fake/model' must be float | None; got 'x' (str)"),
        ({"periods": 7.0}, "option `periods` of 'fake/model' must be tuple[float, ...]; got 7.0 (float)"),
        ({"periods": (1.0, None)}, "option `periods` of 'fake/model' must be tuple[float, ...]; got (1.0, None)"),
        ({"kernel": None}, "option `kernel` of 'fake/model' must be str; got None (NoneType)"),
        ({"order": 0}, "'fake/model' does not take order=0: `order` must be at least 1"),
    ],
)
def test_option_of_another_type_or_range_is_refused(site, options, words):
    with pytest.raises(ArgumentError) as caught:
        build_model(install(site), options)
    assert words in str(caught.value)


def test_required_option_is_asked_for(site):
    component = install(site, "Needy")
    with pytest.raises(ArgumentError, match=r"cannot do without the option 'size'. Its options: size: int\."):
        build_model(component, {})
    assert build_model(component, {"size": 3}).options == {"size": 3}


def test_refusals_of_the_model_pass_unchanged(site):
    from dynplat.errors import CapabilityError

    with pytest.raises(CapabilityError, match="no such kernel"):
        build_model(install(site), {"kernel": "refused"})


def test_fault_in_the_constructor_is_the_plugins(site):
    with pytest.raises(
        PluginError, match=r"raised KeyError: 'gone'. This is a fault of plugin 'fake' of fake-dist 1.0"
    ):
        build_model(install(site), {"kernel": "bug"})


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ("Stranger", "no subclass of AbstractModel"),
        ("number", "'fake_models:number' is 7 and no subclass of AbstractModel"),
        ("Absent", "'fake_models' has no 'Absent'"),
        ("Mute", "has no `entry`"),
    ],
)
def test_location_that_holds_no_such_model_is_the_plugins_fault(site, attribute, words):
    with pytest.raises(PluginError) as caught:
        build_model(install(site, attribute), {})
    assert words in str(caught.value)
    assert "fault of plugin 'fake' of fake-dist 1.0" in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("ModelEntry('fake/other', 'A model', 'm:C')", "carries the record of 'fake/other'"),
        (
            "ModelEntry('fake/model', 'A model', 'fake_models:Model', capabilities=Capabilities(gradients=False))",
            "differs from the record that the hook returns in capabilities",
        ),
    ],
)
def test_class_with_another_record_is_the_plugins_fault(site, entry, words):
    source = MODELS.replace("    entry = ENTRY\n    periods", f"    entry = {entry}\n    periods")
    component = install(site, source="from dynplat.records import *\n" + source)
    with pytest.raises(PluginError, match=words):
        build_model(component, {})


@pytest.mark.parametrize("source", ["import nothing_of_that_name", "raise SystemExit(1)", "1 / 0", "x = ("])
def test_component_that_cannot_be_imported_is_the_plugins_fault(site, source):
    component = install(site, source=source)
    with pytest.raises(
        PluginError, match=r"importing 'fake_models' failed: .* fault of plugin 'fake' of fake-dist 1.0"
    ):
        load_object(component)


def test_missing_package_leaves_the_plugin_active_and_names_the_command(site):
    site.plugin(
        """
        @hookimpl
        def dynplat_models():
            return [
                ModelEntry("fake/a", "A model", "fake_models:A", requires=("nobody_has_this", "json"), extra="fancy"),
                ModelEntry("fake/b", "A model", "fake_models:B"),
                ModelEntry("fake/c", "A model", "fake_models:C", requires=("nobody_has_this",)),
            ]
        """
    )
    host = site.host()
    assert [component.state for component in host.components("model")] == [
        "missing-extra",
        "available",
        "missing-extra",
    ]
    (report,) = host.reports()
    assert report.state == "active"
    assert report.components == ("fake/a", "fake/b", "fake/c")
    assert report.notes == (
        "fake/a: it needs 'nobody_has_this'; install with: pip install 'fake-dist[fancy]'",
        "fake/c: it needs 'nobody_has_this'; install the packages that provide these modules",
    )
    with pytest.raises(MissingExtraError, match=r"'fake/a' cannot be used.*pip install 'fake-dist\[fancy\]'"):
        build_model(host.find("model", "fake/a"), {})


def test_installed_requirement_is_available_and_not_imported_by_listing(site):
    site.module("heavy_package", "raise RuntimeError('imported')")
    component = install(site, arguments="requires=('heavy_package',), extra='heavy'")
    assert component.state == "available"
    assert "heavy_package" not in sys.modules


def test_missing_submodule_is_found_when_the_component_is_loaded(site):
    component = install(site, arguments="requires=('json.nothing_here',), extra='heavy'")
    assert component.state == "available"
    with pytest.raises(MissingExtraError, match=r"json.nothing_here.*pip install 'fake-dist\[heavy\]'"):
        load_object(component)


def functions(site, hook, record, attribute, source):
    site.plugin(f"@hookimpl\ndef {hook}():\n    return [{record}('thing', 'A thing', 'fake_things:{attribute}')]\n")
    site.module("fake_things", source)
    return site.host()


def test_score_must_be_callable(site):
    host = functions(site, "dynplat_scores", "ScoreEntry", "score", "def score(prediction, truth, mask): return 1\n")
    assert build_function(host.find("score", "thing"))(None, None, None) == 1
    host = functions(site_again(site), "dynplat_scores", "ScoreEntry", "score", "score = 3\n")
    with pytest.raises(PluginError, match="'fake_things:score' is of type int and no function"):
        build_function(host.find("score", "thing"))


def site_again(site):
    """Empty the site, so that the same names can be installed once more."""
    import shutil

    for path in site.folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in ("fake_plugin", "fake_things"):
        sys.modules.pop(name, None)
    return site


def test_inference_options_leave_out_the_common_arguments(site):
    source = "def run(model, data, *, seed, observers=(), language=None, steps: int = 500, rate: float): pass\n"
    host = functions(site, "dynplat_inferences", "InferenceEntry", "run", source)
    assert list(map(str, options_of(host.find("inference", "thing")))) == ["steps: int = 500", "rate: float"]


DATA = """
from dynplat.errors import DataError
def load(year: int = 2000):
    if year == 1: raise DataError("no such year", source="tides.csv", row=3)
    if year == 2: raise ValueError("`year` must be later")
    if year == 3: raise KeyError("gone")
    return year
"""


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, PluginError, "its loader returned an object of type int instead of Trajectories or Snapshots"),
        ({"year": 1}, DataError, r"tides.csv, row 3: no such year"),
        ({"year": 2}, ArgumentError, "'thing' does not take year=2: `year` must be later"),
        ({"year": 3}, PluginError, "raised KeyError: 'gone'. This is a fault of plugin 'fake' of fake-dist 1.0"),
        ({"yaer": 3}, ArgumentError, "Did you mean 'year'"),
        ({"year": "3"}, ArgumentError, "option `year` of 'thing' must be int"),
    ],
)
def test_dataset_faults_name_who_is_to_blame(site, stub_data, options, error, words):
    from dynplat.host.build import build_dataset

    host = functions(site, "dynplat_datasets", "DatasetEntry", "load", DATA)
    with pytest.raises(error, match=words):
        build_dataset(host.find("dataset", "thing"), options)


def test_dataset_is_loaded_with_its_options(site, stub_data):
    from dynplat.host.build import build_dataset

    source = "def load(year: int = 2000):\n    from dynplat.data import Trajectories\n    return Trajectories(year)\n"
    host = functions(site, "dynplat_datasets", "DatasetEntry", "load", source)
    assert build_dataset(host.find("dataset", "thing"), {"year": 1999}).year == 1999


@pytest.fixture
def stub_data(monkeypatch):
    """The two data types as bare classes: what matters here is only who made the object."""
    import dynplat.data

    class Trajectories:
        def __init__(self, year):
            self.year = year

    monkeypatch.setattr(dynplat.data, "Trajectories", Trajectories, raising=False)
    monkeypatch.setattr(dynplat.data, "Snapshots", type("Snapshots", (), {}), raising=False)


@dataclass(frozen=True)
class Typed:
    whole: int = 1
    either: int | str = 1
    word: Literal["a", "b"] = "a"
    pair: tuple[int, str] = (1, "a")
    nested: tuple[tuple[float, ...], ...] = ()
    anything: Any = None
    flag: bool = False
    noted: Annotated[float, "metres"] = 1.0
    bare: tuple = ()
    made: tuple[int, ...] = field(default_factory=lambda: (1, 2))
    hidden: int = field(default=0, init=False)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("either", "x", "x"),
        ("either", 3, 3),
        ("word", "b", "b"),
        ("pair", [2, "b"], (2, "b")),
        ("nested", [[1], [2, 3]], ((1.0,), (2.0, 3.0))),
        ("anything", types, types),
        ("flag", True, True),
        ("flag", np.bool_(True), True),
        ("noted", np.float32(0.5), 0.5),
        ("bare", [1, "x"], (1, "x")),
        ("made", (), ()),
    ],
)
def test_value_of_a_type_is_brought_to_it(name, value, expected):
    checked = check_options("x", model_options(Typed), {name: value})[name]
    assert checked == expected
    assert type(checked) is type(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("either", 1.5),
        ("word", "c"),
        ("pair", (1, "a", 2)),
        ("pair", ("a", 1)),
        ("nested", (1.0,)),
        ("flag", 1),
        ("noted", "1.0"),
        ("made", "12"),
        ("hidden", 1),
    ],
)
def test_value_of_another_type_is_refused(name, value):
    with pytest.raises(ArgumentError, match=name):
        check_options("x", model_options(Typed), {name: value})


def test_annotations_that_cannot_be_read_leave_names_checked():
    def load(size: NoSuchType = 3): ...  # noqa: F821

    options = function_options(load)
    assert check_options("x", options, {"size": "anything"}) == {"size": "anything"}
    with pytest.raises(ArgumentError, match=r"has no option 'sise'. Did you mean 'size'"):
        check_options("x", options, {"sise": 1})


def test_an_annotation_that_cannot_be_read_leaves_the_types_of_others_checked():
    def load(data: NoSuchType, size: int = 3): ...  # noqa: F821

    options = function_options(load, without=("data",))
    assert check_options("x", options, {"size": 4}) == {"size": 4}
    with pytest.raises(ArgumentError, match="`size` of 'x' must be int; got 'many'"):
        check_options("x", options, {"size": "many"})
