"""The conformance kit on `koopman/deep`."""

from __future__ import annotations

import pytest

import dynplat as dp
from dynplat.testing import check_model, parametrize_checks


@pytest.mark.slow
@parametrize_checks(dp.load_model("koopman/deep", num_states=3, hidden=(4,), lift_every=3))
def test_conformance(check):
    check()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"hidden": (5, 4), "num_states": 1, "lift_every": 1}], ids=str)
@pytest.mark.parametrize("seed", [1, 2])
def test_model_with_options_conforms(options, seed):
    report = check_model(dp.load_model("koopman/deep", **options), seed=seed)
    assert report.passed, str(report)
