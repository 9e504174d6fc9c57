"""The conformance kit on the models of the family: each in the normal run, their options in the slow one."""

from __future__ import annotations

import pytest

import dynplat as dp
from dynplat.testing import check_model, parametrize_checks

SMALL = {"width": 4, "num_layers": 1, "num_states": 4}


@parametrize_checks(
    "deepssm/linear-gaussian", dp.load_model("deepssm/s5", **SMALL), dp.load_model("deepssm/imputer", **SMALL)
)
def test_conformance(check):
    check()


@pytest.mark.slow
@pytest.mark.parametrize("id", ["deepssm/lru", "deepssm/mamba", "deepssm/mamba2", "deepssm/deltanet"])
def test_other_cells_conform(id):
    report = check_model(dp.load_model(id, **SMALL))
    assert report.passed, str(report)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("id", "options"),
    [("deepssm/direct", {"patch": 4}), ("deepssm/spacetime", {})],
)
def test_direct_forecasts_conform(id, options):
    report = check_model(dp.load_model(id, lookback=8, horizon=3, width=4, depth=1, num_states=4, **options))
    assert report.passed, str(report)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["gaussian", "mixture", "negative-binomial"])
def test_other_heads_conform(head):
    report = check_model(dp.load_model("deepssm/s5", head=head, **SMALL), seed=1)
    assert report.passed, str(report)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"cell": "lru", "head": "gaussian"}, {"cell": "mamba", "head": "mixture"}, {"head": "negative-binomial"}],
)
def test_imputer_with_options_conforms(options):
    report = check_model(dp.load_model("deepssm/imputer", **options, **SMALL), seed=1)
    assert report.passed, str(report)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"num_modes": 1, "num_noises": 3}, {"num_modes": 7, "num_noises": 1, "seed": 2}], ids=str
)
def test_linear_gaussian_with_options_conforms(options):
    report = check_model(dp.load_model("deepssm/linear-gaussian", **options), seed=1)
    assert report.passed, str(report)
