from __future__ import annotations

import importlib
import json
import textwrap
from dataclasses import dataclass

import numpy as np
import pytest

from dynplat.arrays import asarray_like
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, UnknownNameError
from dynplat.host import Host
from dynplat.model import AbstractModel
from dynplat.process import LinearSDE
from dynplat.process.dynamics import IntegratedWiener
from dynplat.records import Capabilities, ModelEntry
from dynplat.scan import check_driver, forced_driver
from dynplat.testing import CheckResult, Report, check_model, check_plugin, list_checks, parametrize_checks
from dynplat.testing.kit import CHECKS, SLOW_CHECKS, name_of

CLAIMS = Capabilities(states=True, multichannel=False, languages=("pyro",))


@dataclass(frozen=True)
class Walk(AbstractModel):
    """A random walk whose prior speaks of a fixed unit of time: one check fails."""

    entry = ModelEntry("kit/walk", "Random walk on a clock of its own", capabilities=CLAIMS)

    def prior(self, pp, context):
        pp.sample("walk_sd", pp.dist.HalfNormal(1.0))

    def process(self, sites, context):
        sd = sites["walk_sd"]
        H, P0 = asarray_like([[1.0]], sd), asarray_like([[9.0]], sd)
        return LinearSDE(IntegratedWiener(0, sd), H, asarray_like([[0.25]], sd), asarray_like([5.0], sd), P0)


REASON = "The walk is given per hour."


def test_report_tells_faults_and_counts():
    report = check_model(Walk())
    assert [fault.check for fault in report.faults] == ["unit-of-time-is-free"]
    assert not report.passed
    lines = str(report).splitlines()
    assert lines[0] == "kit/walk"
    assert "  failed   unit-of-time-is-free" in lines
    assert lines[-1].startswith("kit/walk does not conform: ")
    figures = json.loads(json.dumps(report.to_dict()))
    assert figures["passed"] is False
    assert {"component", "check", "status", "message", "seconds"} == set(figures["results"][0])


def test_expected_failure_is_no_fault():
    report = check_model(Walk(), expected_failures={"unit-of-time-is-free": REASON})
    assert report.passed
    (expected,) = (result for result in report.results if result.status == "expected")
    assert expected.message.startswith(REASON)
    assert str(report).endswith("1 expected.")


def test_expected_failure_that_passes_is_a_fault():
    checks = {c.name: c for c in list_checks(Walk(), expected_failures={"record": "No reason."})}
    result = checks["record"].result()
    assert result.status == "failed"
    assert "expected to fail (No reason.), and passes" in result.message


def test_unknown_expected_failure_is_refused():
    with pytest.raises(ArgumentError, match="`expected_failures` names 'nothing', which is no check"):
        list_checks(Walk(), expected_failures={"nothing": "x"})


def test_report_of_skips_alone_does_not_pass():
    assert not Report("x", (CheckResult("x", "record", "skipped"),)).passed


def test_given_data_are_used():
    rng = np.random.default_rng(0)
    times = [np.arange(8.0), np.arange(7.0)]
    data = Trajectories.from_arrays(times, [rng.normal(size=len(t)) for t in times])
    (check,) = (c for c in list_checks(Walk(), data=data) if c.name == "saving")
    assert check.subject.data is data
    assert check.result().status == "passed"


def test_slow_checks_come_last_and_only_on_request():
    names = [check.name for check in list_checks(Walk(), slow=True)]
    assert names == [name_of(function) for function in (*CHECKS, *SLOW_CHECKS)]
    assert [check.name for check in list_checks(Walk())] == names[: len(CHECKS)]
    assert len(set(names)) == len(names)


@parametrize_checks(Walk(), expected_failures={"unit-of-time-is-free": REASON})
def test_conformance_under_pytest(check):
    check()


def test_parametrisation_names_model_and_check_and_marks_expected_failures():
    mark = parametrize_checks(Walk(), expected_failures={"unit-of-time-is-free": REASON})
    params = {param.id: param for param in mark.args[1]}
    assert "kit/walk-record" in params
    (xfail,) = params["kit/walk-unit-of-time-is-free"].marks
    assert (xfail.name, xfail.kwargs) == ("xfail", {"reason": REASON, "strict": True})
    assert not params["kit/walk-record"].marks


def test_parametrised_check_that_does_not_apply_is_skipped():
    mark = parametrize_checks(Walk())
    (solver,) = (param for param in mark.args[1] if param.id == "kit/walk-solver")
    with pytest.raises(pytest.skip.Exception, match="no solver of its own"):
        solver.values[0]()


def test_forced_driver_stands_in_for_auto_alone():
    with forced_driver("balanced") as forced:
        assert check_driver("sequential") == "sequential"
        assert not forced.asked
        assert check_driver("auto") == "balanced"
        assert forced.asked
    assert check_driver("auto") == "auto"


PLUGIN = """
from dynplat.host import hookimpl
{imports}
requires_api = 1

@hookimpl
def dynplat_{hook}():
    return []
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Function that installs a plugin of one module in a folder of its own, and returns a host that sees it alone."""
    monkeypatch.delenv("DYNPLAT_PLUGINS", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name: str, **parts: str) -> Host:
        source = textwrap.dedent(PLUGIN).format(**{"imports": "", "hook": "models", **parts})
        (tmp_path / f"{name}_kit_plugin.py").write_text(source)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[dynplat.plugins]\n{name} = {name}_kit_plugin\n")
        importlib.invalidate_caches()
        return Host.discover(path=[str(tmp_path)], core=None)

    return make


def test_light_plugin_passes(install):
    report = check_plugin("light", host=install("light"))
    assert [(r.check, r.status) for r in report.results] == [
        ("plugin-is-active", "passed"),
        ("plugin-is-light", "passed"),
    ]


def test_heavy_plugin_is_named(install):
    (fault,) = check_plugin("heavy", host=install("heavy", imports="import pandas")).faults
    assert fault.check == "plugin-is-light"
    assert "importing heavy_kit_plugin imports pandas" in fault.message


def test_broken_plugin_is_named(install):
    (fault,) = check_plugin("broken", host=install("broken", hook="modles")).faults
    assert fault.check == "plugin-is-active"
    assert "the plugin is broken" in fault.message


def test_unknown_plugin_is_refused(install):
    with pytest.raises(UnknownNameError, match="no plugin 'other' is installed"):
        check_plugin("other", host=install("present"))
