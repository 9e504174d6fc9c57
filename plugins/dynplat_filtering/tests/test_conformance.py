"""The conformance kit on the filtering family: a model of each make in the normal run, all of them in the slow one."""

from __future__ import annotations

import pytest

import dynplat as dp
from dynplat.testing import check_model, check_plugin, parametrize_checks
from dynplat_filtering.entries import ENTRIES

GIVEN_PERIOD = "The period is given in the data's own unit of time."


@parametrize_checks(
    "filtering/local-level",  # channels independent, start from the data
    "filtering/linear-sde",  # channels together, start stationary
    dp.load_model("filtering/matern32", per_series=True),  # every series with its own parameters
)
def test_conformance(check):
    check()


@parametrize_checks(
    dp.load_model("filtering/structural", periods=(3.5,), harmonics=2),
    expected_failures={"unit-of-time-is-free": GIVEN_PERIOD},
)
def test_conformance_with_a_given_period(check):
    check()


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_model_conforms_and_is_calibrated(entry, seed):
    report = check_model(dp.load_model(entry.id), seed=seed, slow=True)
    assert report.passed, str(report)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("linear-sde", {"dimension": 1}),
        ("linear-sde", {"dimension": 4, "per_series": True}),
        ("structural", {"trend": "smooth-trend", "short_memory": False}),
        ("oscillators", {"count": 3}),
        ("sum", {"components": ("local-linear-trend", "matern12", "matern52", "oscillators:count=1")}),
        ("sum", {"components": ("matern32", "matern32"), "per_series": True}),
    ],
    ids=str,
)
def test_model_with_options_conforms(name, options):
    report = check_model(dp.load_model(f"filtering/{name}", **options))
    assert report.passed, str(report)


@pytest.mark.slow
def test_plugin_conforms():
    report = check_plugin("filtering")
    assert report.passed, str(report)
    assert {result.component for result in report.results} == {"filtering", *(entry.id for entry in ENTRIES)}
