"""The conformance kit on the bridges: each in the normal run, their options in the slow one."""

from __future__ import annotations

import pytest

import dynplat as dp
from dynplat.testing import check_model, check_plugin, parametrize_checks
from dynplat_bridges.entries import ENTRIES
from dynplat_bridges.tests.conftest import reverting_populations


@parametrize_checks("bridges")
def test_conformance(check):
    check()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gaussian", {"reference": "ornstein-uhlenbeck:rate=0.8"}),
        ("gaussian", {"reference": "brownian", "diffusion": 0.5}),
        ("static", {"reference": "ornstein-uhlenbeck:rate=0.8:centre=3,-1"}),
        ("static", {"diffusion": 0.3}),
        ("multimarginal", {"reference": "drifting-brownian"}),
        ("multimarginal", {"diffusion": (0.5, 1.0)}),
    ],
    ids=str,
)
def test_model_with_options_conforms(name, options):
    report = check_model(dp.load_model(f"bridges/{name}", **options), data=reverting_populations(count=60))
    assert report.passed, str(report)


@pytest.mark.slow
def test_plugin_conforms():
    report = check_plugin("bridges")
    assert report.passed, str(report)
    assert {result.component for result in report.results} == {"bridges", *(entry.id for entry in ENTRIES)}
