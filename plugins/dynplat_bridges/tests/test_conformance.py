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
    [  # numbers with a unit of time, a rate or a diffusion, are not among them: the kit changes that unit
        ("gaussian", {"reference": "ornstein-uhlenbeck"}),
        ("gaussian", {"reference": "brownian"}),
        ("static", {"reference": "brownian"}),
        ("multimarginal", {"reference": "drifting-brownian"}),
        ("multimarginal", {"reference": "ornstein-uhlenbeck"}),
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
