"""The conformance kit tells forecasts of a lifted law that are not those of its likelihood."""

from __future__ import annotations

import numpy as np
import pytest

import dynplat as dp
from dynplat.testing import list_checks
from dynplat_koopman.conditional import LiftedConditional


def _blind(monkeypatch):
    """Forecasts forget the data."""
    at = LiftedConditional.at

    def faulty(self, times, *, inputs=None):
        seen = self.observations
        self.observations = seen._replace(mask=np.zeros_like(seen.mask))
        try:
            return at(self, times, inputs=inputs)
        finally:
            self.observations = seen

    monkeypatch.setattr(LiftedConditional, "at", faulty)


def _with_chain(monkeypatch, change):
    chain = LiftedConditional._chain
    monkeypatch.setattr(LiftedConditional, "_chain", lambda self, F, Q, *rest: chain(self, *change(F, Q), *rest))


FAULTS = {
    "blind": _blind,
    "noise of another law": lambda patch: _with_chain(patch, lambda F, Q: (F, 25.0 * Q)),
    "a step too many": lambda patch: _with_chain(patch, lambda F, Q: (F @ F, Q)),
}


def _result(name):
    (check,) = (check for check in list_checks(dp.load_model("koopman/edmd")) if check.name == name)
    return check.result()


def test_right_forecasts_pass():
    for name in ("forecast-is-the-next-term", "forecast-follows-the-data"):
        assert _result(name).status == "passed"


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_forecasts_are_named(fault, monkeypatch):
    FAULTS[fault](monkeypatch)
    result = _result("forecast-is-the-next-term")
    assert result.status == "failed"
    assert "`log_prob_steps` and the forecast are not of one law" in result.message
