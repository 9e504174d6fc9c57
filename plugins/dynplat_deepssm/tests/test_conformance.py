"""The conformance kit on the models of the family: each in the normal run, their options in the slow one."""

from __future__ import annotations

import pytest

import dynplat as dp
from dynplat.testing import check_model, parametrize_checks


@parametrize_checks("deepssm")
def test_conformance(check):
    check()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"num_modes": 1, "num_noises": 3}, {"num_modes": 7, "num_noises": 1, "seed": 2}], ids=str
)
def test_linear_gaussian_with_options_conforms(options):
    report = check_model(dp.load_model("deepssm/linear-gaussian", **options), seed=1)
    assert report.passed, str(report)
