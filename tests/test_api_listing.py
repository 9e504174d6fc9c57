"""The edge in Python: listing, loading and describing by name."""

from __future__ import annotations

import importlib
import json
import sys

import pytest

import dynplat as dp
import dynplat.api
from dynplat.errors import ArgumentError, ConflictError, MissingExtraError, PluginError, UnknownNameError
from dynplat.host import Host
from dynplat.records import Capabilities, DatasetEntry, InferenceEntry, ModelEntry, ScoreEntry

PLUGIN = """
from dynplat.host import hookimpl
from dynplat.records import *

requires_api = 1
ENTRY = ModelEntry(
    "made/model", "A model", "made_things:Model",
    capabilities=Capabilities(states=True, languages=("pyro",)),
    references=(Reference("Kalman (1960)", doi="10.1115/1.3662552"),),
)
NEEDY = ModelEntry("made/needy", "A model", "made_things:Needy", requires=("nobody_has_this",), extra="full")

@hookimpl
def dynplat_models():
    return [NEEDY, ENTRY]

@hookimpl
def dynplat_datasets():
    return [DatasetEntry("shared", "A data set", "made_things:data", licence="CC0", offline=True)]

@hookimpl
def dynplat_inferences():
    return [InferenceEntry("guess", "Guesswork", "made_things:guess", needs=("prior",))]

@hookimpl
def dynplat_scores():
    return [ScoreEntry("shared", "A score", "made_things:score", needs=("density",))]
"""

THINGS = """
from dataclasses import dataclass
from dynplat.model import AbstractModel
from made_plugin import ENTRY

@dataclass(frozen=True)
class Model(AbstractModel):
    entry = ENTRY
    size: int
    periods: tuple[float, ...] = (7.0,)
    kernel: str | None = None

def data(year: int = 2000):
    return year

def guess(model, data, *, seed, observers=(), language=None, num_steps: int = 10):
    return "guessed"

def score(prediction, truth, hidden):
    return 0.0
"""


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host whose only plugin lies in a folder of the test; the edge uses it."""
    info = tmp_path / "made-3.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made\nVersion: 3.1\n")
    (info / "entry_points.txt").write_text("[dynplat.plugins]\nmade = made_plugin\n")
    (tmp_path / "made_plugin.py").write_text(PLUGIN)
    (tmp_path / "made_things.py").write_text(THINGS)
    monkeypatch.delenv("DYNPLAT_PLUGINS", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    made = Host.discover(path=[str(tmp_path)], core=None)
    monkeypatch.setattr(dynplat.api, "default_host", lambda: made)
    yield made
    for name in ("made_plugin", "made_things"):
        sys.modules.pop(name, None)


def test_lists_are_records_by_id(host):
    assert [entry.id for entry in dp.list_models()] == ["made/model", "made/needy"]
    for entries, record in (
        (dp.list_models(), ModelEntry),
        (dp.list_datasets(), DatasetEntry),
        (dp.list_inferences(), InferenceEntry),
        (dp.list_scores(), ScoreEntry),
    ):
        assert entries
        assert all(type(entry) is record for entry in entries)
    assert [report.name for report in dp.list_plugins()] == ["made"]
    assert "made_things" not in sys.modules


def test_components_carry_provider_and_state(host):
    model, needy = dynplat.api.list_components("model")
    assert (model.state, model.reason, str(model.provider)) == ("available", "", "plugin 'made' of made 3.1")
    assert (needy.state, needy.reason) == (
        "missing-extra",
        "it needs 'nobody_has_this'; install with: pip install 'made[full]'",
    )
    with pytest.raises(ArgumentError, match="`kind` must be one of"):
        dynplat.api.list_components("models")


def test_load_model_builds_it_with_options(host):
    model = dp.load_model("made/model", size=3, periods=[1, 2])
    assert model.options == {"size": 3, "periods": (1.0, 2.0), "kernel": None}
    assert model.entry == dp.list_models()[0]


def test_load_model_refuses_what_it_cannot_build(host):
    with pytest.raises(ArgumentError, match="cannot do without the option 'size'"):
        dp.load_model("made/model")
    with pytest.raises(ArgumentError, match=r"has no option 'sizes'\. Did you mean 'size'\? Its options: size: int, "):
        dp.load_model("made/model", sizes=3)
    with pytest.raises(UnknownNameError, match="no model is called 'made/modle'. Did you mean 'made/model'"):  # noqa: RUF043
        dp.load_model("made/modle")
    with pytest.raises(MissingExtraError, match=r"pip install 'made\[full\]'"):
        dp.load_model("made/needy")


def test_load_score_and_inference_give_what_their_rooms_take(host):
    score = dynplat.api.load_score("shared")
    assert score.entry.id == "shared"
    assert score.function(None, None, None) == 0.0
    assert dynplat.api.load_inference("guess")(None, None, seed=0) == "guessed"
    with pytest.raises(UnknownNameError, match="no inference is called 'gues'"):
        dynplat.api.load_inference("gues")


def test_load_dataset_checks_what_the_loader_returns(host):
    with pytest.raises(PluginError, match="loader returned an object of type int instead of Trajectories or Snapshots"):
        dp.load_dataset("shared")


def test_load_dataset_loads_from_the_catalogue():
    pytest.importorskip("statsmodels")
    data = dp.load_dataset("nile")
    assert isinstance(data, dp.Trajectories)


def test_describe_says_all_of_a_model(host):
    described = dp.describe("made/model")
    assert json.loads(json.dumps(described)) == described
    capabilities = described.pop("capabilities")
    assert capabilities["languages"] == ["pyro"]
    assert capabilities["states"] is True
    assert set(capabilities) == set(Capabilities.__dataclass_fields__)
    assert described == {
        "id": "made/model",
        "kind": "model",
        "summary": "A model",
        "state": "available",
        "reason": "",
        "options": {
            "size": {"type": "int", "required": True},
            "periods": {"type": "tuple[float, ...]", "required": False, "default": [7.0]},
            "kernel": {"type": "str | None", "required": False, "default": None},
        },
        "details": {},
        "references": [{"text": "Kalman (1960)", "doi": "10.1115/1.3662552", "url": ""}],
        "requires": [],
        "extra": "",
        "provider": {"distribution": "made", "version": "3.1", "plugin": "made", "module": "made_plugin"},
        "location": "made_things:Model",
    }


def test_describe_of_what_cannot_be_loaded_says_why(host):
    described = dp.describe("made/needy")
    assert (described["state"], described["options"]) == ("missing-extra", None)
    assert "pip install 'made[full]'" in described["reason"]


def test_describe_asks_for_the_kind_where_two_have_the_name(host):
    with pytest.raises(ArgumentError, match="'shared' is the name of a dataset and of a score; say which with `kind`"):
        dp.describe("shared")
    score = dp.describe("shared", kind="score")
    assert score["details"]["needs"] == ["density"]
    assert (score["capabilities"], score["options"]) == (None, {})
    dataset = dp.describe("shared", kind="dataset")
    assert dataset["details"] == {"kind": "trajectories", "licence": "CC0", "offline": True}
    assert dataset["options"] == {"year": {"type": "int", "required": False, "default": 2000}}


def test_describe_of_an_inference_has_its_own_options(host):
    assert dp.describe("guess")["options"] == {"num_steps": {"type": "int", "required": False, "default": 10}}


def test_describe_of_an_unknown_name_names_what_is_close(host):
    with pytest.raises(UnknownNameError, match="no component is called 'gess'. Did you mean 'guess'"):  # noqa: RUF043
        dp.describe("gess")


def test_describe_of_a_conflict_names_both(host, tmp_path, monkeypatch):
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dynplat.plugins]\nother = made_plugin\n")
    both = Host.discover(path=[str(tmp_path)], core=None)
    monkeypatch.setattr(dynplat.api, "default_host", lambda: both)
    with pytest.raises(
        ConflictError, match=r"plugin 'made' of made 3\.1 and plugin 'other' of other 1\.0 both provide it"
    ):
        dp.describe("made/model")
    assert [entry.id for entry in dp.list_models()].count("made/model") == 2


def test_default_host_has_the_core(monkeypatch):
    ids = {entry.id for entry in [*dp.list_scores(), *dp.list_inferences(), *dp.list_datasets()]}
    assert {"rmse", "crps", "map", "nuts", "nile"} <= ids


def test_every_listed_component_of_the_core_can_be_described():
    for kind in ("score", "inference", "dataset"):
        for component in dynplat.api.list_components(kind):
            described = dp.describe(component.id, kind=kind)
            assert described["reason"] == "", described
            assert described["options"] is not None


def test_options_of_every_inference_and_dataset_have_types():
    for kind in ("inference", "dataset"):
        for component in dynplat.api.list_components(kind):
            for name, option in dp.describe(component.entry.id, kind=kind)["options"].items():
                assert option["type"] != "any value", (component.entry.id, name)
