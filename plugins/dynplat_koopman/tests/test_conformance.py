"""The conformance kit on the lifted models: each in the normal run, their options in the slow one."""

from __future__ import annotations

import numpy as np
import pytest

import dynplat as dp
from dynplat.data import Trajectories
from dynplat.testing import check_model, check_plugin, parametrize_checks
from dynplat_koopman.entries import ENTRIES


def _duffing(length=160, seed=0, step=0.2):
    """Two series of a damped Duffing oscillator with a little noise, on a grid with absent rows and holes."""
    rng = np.random.default_rng(seed)
    times, values = [], []
    for count in (length, length // 2):
        x, v = rng.uniform(-1.5, 1.5, 2)
        rows = []
        for _ in range(count):
            rows.append((x, v))
            for _ in range(20):
                x, v = x + 0.01 * v, v + 0.01 * (x - x**3 - 0.4 * v)
            v += 0.05 * rng.normal()
        keep = rng.uniform(size=count) > 0.05
        block = np.array(rows) + 1e-3 * rng.normal(size=(count, 2))
        block[rng.uniform(size=block.shape) < 0.03] = np.nan
        times.append(step * np.flatnonzero(keep))
        values.append(block[keep])
    return Trajectories.from_arrays(times, values, channels=("x", "v"), series=("long", "short"))


@parametrize_checks("koopman")
def test_conformance(check):
    check()


@pytest.mark.slow
@parametrize_checks(dp.load_model("koopman/edmd", dictionary="monomials:degree=3", tolerance=1e-10), data=_duffing(60))
def test_conformance_with_a_nonlinear_dictionary(check):
    check()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("edmd", {"stable": True, "dictionary": "monomials:degree=1"}),
        ("edmd", {"measure_preserving": True, "held_out_steps": 0}),
        ("edmd", {"dictionary": "monomials:degree=1+rbf:centres=8", "rank": 6, "tolerance": None}),
        ("edmd", {"state": "filtered", "dictionary": "monomials:degree=2"}),
        ("edmd", {"delays": 1, "dictionary": "monomials:degree=2"}),
        ("edmd", {"stable": True}),
        ("bayesian", {"state": "filtered"}),
        ("bayesian", {"dictionary": "monomials:degree=2", "num_draws": 5}),
    ],
    ids=str,
)
def test_model_with_options_conforms(name, options):
    report = check_model(dp.load_model(f"koopman/{name}", **options), data=_duffing())
    assert report.passed, str(report)


@pytest.mark.slow
def test_the_posterior_of_the_operator_is_calibrated():
    report = check_model(dp.load_model("koopman/bayesian", dictionary="monomials:degree=1"), slow=True)
    assert report.passed, str(report)


@pytest.mark.slow
def test_plugin_conforms():
    report = check_plugin("koopman")
    assert report.passed, str(report)
    assert {result.component for result in report.results} == {"koopman", *(entry.id for entry in ENTRIES)}
