"""Each hook is called with what it promises, and is documented with exactly that."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path

import pytest

from dynplat.host import hookspecs
from dynplat.host.plugin import HOOKS
from dynplat.observer import GuardedObservers

ROOT = Path(__file__).resolve().parents[2]
LOGGER = "dynplat"


def test_hook_dynplat_models(site):
    site.plugin("@hookimpl\ndef dynplat_models(): return [ModelEntry('fake/a', 'A model', 'm:A')]")
    assert site.host().find("model", "fake/a").entry.summary == "A model"


def test_hook_dynplat_datasets(site):
    site.plugin("@hookimpl\ndef dynplat_datasets(): return [DatasetEntry('tides', 'Tides', 'm:tides', licence='CC0')]")
    assert site.host().find("dataset", "tides").entry.licence == "CC0"


def test_hook_dynplat_inferences(site):
    site.plugin(
        "@hookimpl\ndef dynplat_inferences(): return [InferenceEntry('em', 'EM', 'm:em', needs=('likelihood',))]"
    )
    assert site.host().find("inference", "em").entry.needs == ("likelihood",)


def test_hook_dynplat_scores(site):
    site.plugin("@hookimpl\ndef dynplat_scores(): return [ScoreEntry('bias', 'Bias', 'm:bias', proper=False)]")
    assert site.host().find("score", "bias").entry.proper is False


WATCHER = """
calls = []

@hookimpl
def dynplat_fit_started(model, data, method):
    calls.append(("started", model, data, method))

@hookimpl
def dynplat_fit_step(step, total, info):
    calls.append(("step", step, total, info))

@hookimpl
def dynplat_fit_ended(posterior, error):
    calls.append(("ended", posterior, error))
"""


@pytest.fixture
def calls(site):
    """Calls that a watching plugin hears."""
    site.plugin(WATCHER)
    observer = site.host().observer()
    observer.started("model", "data", "map")
    observer.step(1, None, {"loss": 2.0})
    observer.ended(None, ValueError("no"))
    import fake_plugin

    return fake_plugin.calls


def test_hook_dynplat_fit_started(calls):
    assert calls[0] == ("started", "model", "data", "map")


def test_hook_dynplat_fit_step(calls):
    assert calls[1] == ("step", 1, None, {"loss": 2.0})


def test_hook_dynplat_fit_ended(calls):
    kind, posterior, error = calls[2]
    assert (kind, posterior, str(error)) == ("ended", None, "no")
    assert len(calls) == 3


def test_implementation_may_leave_out_arguments(site):
    site.plugin("calls = []\n@hookimpl\ndef dynplat_fit_step(info): calls.append(info)")
    site.host().observer().step(1, 2, {"loss": 0.5})
    import fake_plugin

    assert fake_plugin.calls == [{"loss": 0.5}]


@pytest.mark.parametrize("exception", ["ValueError('boom')", "SystemExit(1)"])
def test_failing_plugin_observer_is_reported_once_and_stops_nobody(site, caplog, exception):
    site.plugin(f"@hookimpl\ndef dynplat_fit_step(step): raise {exception}", name="bad")
    site.plugin("calls = []\n@hookimpl\ndef dynplat_fit_step(step): calls.append(step)", name="good")
    observer = site.host().observer()
    with caplog.at_level(logging.WARNING, logger=LOGGER):
        for step in range(1, 4):
            observer.step(step, 3, {})
        observer.ended(None, None)
    import good_plugin

    assert good_plugin.calls == [1, 2, 3]
    (record,) = caplog.records
    text = record.getMessage()
    assert "the fit goes on" in text
    assert "hook dynplat_fit_step of plugin 'bad' of bad-dist 1.0 failed" in text
    assert exception.partition("(")[0] in text


def test_failing_observer_still_hears_the_end(caplog):
    heard = []

    class Fragile:
        def started(self, model, data, method):
            raise RuntimeError("no disk")

        def step(self, step, total, info):
            heard.append(step)

        def ended(self, posterior, error):
            heard.append("ended")

    class Sparse:
        pass

    observers = GuardedObservers([Fragile(), Sparse()])
    observers.started(None, None, "map")
    observers.step(1, 1, {})
    observers.ended(None, None)
    assert heard == [1, "ended"]
    assert [("no disk" in r.getMessage(), "Sparse" in r.getMessage()) for r in caplog.records] == [
        (True, False),
        (False, True),
    ]


def test_keyboard_interrupt_in_an_observer_passes(site):
    site.plugin("@hookimpl\ndef dynplat_fit_step(step): raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        site.host().observer().step(1, 1, {})


def test_plugins_that_watch_nothing_are_not_observers(site, caplog):
    site.models("fake/model")
    assert site.host().observer()._observers == ()


@pytest.mark.parametrize("name", HOOKS)
def test_hooks_page_has_each_hook_with_its_arguments(name):
    arguments = ", ".join(inspect.signature(getattr(hookspecs, name)).parameters)
    assert f"`{name}({arguments})`" in (ROOT / "docs" / "plugins" / "hooks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", HOOKS)
def test_each_hook_has_a_test(name):
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert f"def test_hook_{name}(" in sources


def test_hooks_are_all_that_the_specification_defines():
    defined = [name for name, value in vars(hookspecs).items() if name.startswith("dynplat_") and callable(value)]
    assert list(HOOKS) == defined
    assert len(HOOKS) == 7
