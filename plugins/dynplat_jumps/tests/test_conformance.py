"""The conformance kit on the jump processes."""

from __future__ import annotations

import numpy as np
import pytest

import dynplat as dp
from dynplat.marks import ENTERED, MOVED, OBSERVED, STAYED
from dynplat.testing import check_model, check_plugin, parametrize_checks
from dynplat.testing.kit import CHECKS
from dynplat.testing.report import CheckFailed
from dynplat.testing.subject import Subject
from dynplat_jumps import process
from dynplat_jumps.entries import ENTRIES


@parametrize_checks("jumps")
def test_conformance(check):
    check()


@pytest.mark.slow
@parametrize_checks(dp.load_model("jumps/hidden", emission="misclassification", first_known=True, initial="uniform"))
def test_conformance_of_misclassification(check):
    check()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("panel", {"structure": "reversible", "initial": "stationary"}),
        ("panel", {"structure": "birth-death", "initial": "free", "num_states": 4}),
        ("panel", {"breaks": (0.4,)}),
        ("panel", {"inputs": ("push",)}),
        ("hidden", {"inputs": ("push",), "num_states": 3}),
        ("panel", {"solver": "em"}),
        ("panel", {"solver": "rao-teh", "rate_shape": 1.5, "solver_draws": 20}),
        ("panel", {"solver": "rao-teh", "rate_shape": 1.5, "solver_draws": 20, "initial": "free"}),
        ("panel", {"solver": "em", "initial": "free"}),
        ("hidden", {"num_states": 3, "emission": "student-t"}),
        ("hidden", {"num_states": 3, "emission": "poisson", "structure": "reversible"}),
        ("hidden", {"num_states": 2, "emission": "categorical", "initial": "stationary"}),
        ("hidden", {"emission": "misclassification", "errors": "all"}),
        ("hidden", {"emission": "student-t", "solver": "rao-teh", "rate_shape": 1.0, "solver_draws": 20}),
        ("hidden", {"emission": "poisson", "solver": "em"}),
        ("birth-death", {"initial": "stationary"}),
        ("birth-death", {"solver": "rao-teh", "rate_shape": 1.0, "solver_draws": 20}),
        ("birth-death", {"solver": "em"}),
    ],
    ids=str,
)
def test_model_with_options_conforms(name, options):
    report = check_model(dp.load_model(f"jumps/{name}", **options))
    assert report.passed, str(report)


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_every_model_is_calibrated(entry):
    report = check_model(dp.load_model(entry.id), slow=True)
    assert report.passed, str(report)


@pytest.mark.slow
def test_plugin_conforms():
    report = check_plugin("jumps")
    assert report.passed, str(report)


@pytest.mark.parametrize(
    ("swap", "check"),
    [
        ({MOVED: ENTERED}, "events-exhaust-the-law"),  # a move may come after others
        ({MOVED: STAYED}, "events-exhaust-the-law"),  # no rate of the move
        ({ENTERED: OBSERVED}, "events-agree-with-looks"),  # a look is no entry
        ({STAYED: OBSERVED}, "events-agree-with-looks"),  # something may happen in between
    ],
    ids=str,
)
def test_wrong_marks_are_found(monkeypatch, swap, check):
    right = process.kinds_of

    def wrong(observations):
        marks = observations.marks
        if marks is not None:
            marks = np.vectorize(lambda mark: swap.get(mark, mark))(marks)
        return right(observations._replace(marks=marks))

    monkeypatch.setattr(process, "kinds_of", wrong)
    (one,) = [c for c in CHECKS if c.__name__ == f"check_{check.replace('-', '_')}"]
    with pytest.raises(CheckFailed):
        one(Subject(dp.load_model("jumps/panel")))
