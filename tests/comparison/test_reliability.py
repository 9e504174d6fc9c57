import numpy as np
import pytest

from dynplat.comparison import Calibration, calibration, measure_calibration
from dynplat.errors import ArgumentError


@pytest.fixture
def checked(prediction_from):
    """Measure a standard normal law on one series of independent normal values of a given spread."""

    def check(num_cells, spread, seed=0, level=0.9):
        rng = np.random.default_rng(seed)
        truth = spread * rng.normal(size=(1, num_cells, 1))
        prediction = prediction_from(mean=np.zeros((1, *truth.shape)), sd=np.ones((1, *truth.shape)))
        return measure_calibration(prediction, truth, np.ones(truth.shape, dtype=bool), level)

    return check


def test_sentence_of_a_calibrated_law_gives_coverage_and_range(checked):
    found = checked(412, 1.0)
    assert found.verdict == "as expected"
    assert found.sentence == (
        f"Of 412 observed values hidden for a check, {100 * found.inside / 412:.1f} % fell inside their 90 % intervals "
        f"(expected {100 * found.lower:.1f}-{100 * found.upper:.1f} % by chance)."
    )
    assert found.lower < 0.9 < found.upper


def test_sentence_is_what_the_command_prints(prediction_from):
    truth, hidden = np.zeros((1, 50, 1)), np.ones((1, 50, 1), dtype=bool)
    prediction = prediction_from(mean=np.zeros((1, 1, 50, 1)), sd=np.ones((1, 1, 50, 1)))
    assert calibration(prediction, truth, hidden, 0.9).startswith("Of 50 observed values hidden for a check, 100.0 %")


def test_range_is_the_binomial_one_for_independent_cells():
    # The textbook range for 412 trials of probability 0.9 is 359..382 (central 95 %).
    found = Calibration(0.9, 412, 372, 412.0, 359 / 412, 382 / 412)
    assert found.verdict == "as expected"
    assert "90.3 % fell inside their 90 % intervals (expected 87.1-92.7 % by chance)." in found.sentence


@pytest.mark.parametrize(("spread", "verdict"), [(2.0, "too narrow"), (0.4, "too wide")])
def test_wrong_spread_is_named(checked, spread, verdict):
    found = checked(400, spread)
    assert found.verdict == verdict
    assert f"the intervals are {verdict} here" in found.sentence


def test_calibrated_laws_are_seldom_blamed(checked):
    # Nominal 5 % or less; 400 independent checks blame more than 9 % with probability below 3e-4.
    blamed = sum(checked(150, 1.0, seed=seed).verdict != "as expected" for seed in range(400))
    assert blamed <= 36


def test_dependent_cells_widen_the_range(prediction_from):
    # Whole runs of 20 rows fall inside or outside together.
    rng = np.random.default_rng(2)
    truth = np.repeat(rng.normal(size=40), 20).reshape(1, 800, 1)
    prediction = prediction_from(mean=np.zeros((1, *truth.shape)), sd=np.ones((1, *truth.shape)))
    found = measure_calibration(prediction, truth, np.ones(truth.shape, dtype=bool))
    assert found.effective < 200
    assert found.upper - found.lower > 0.08


def test_too_few_cells_are_said_to_be_too_few(checked):
    found = checked(7, 1.0)
    assert found.verdict == "too few"
    assert found.sentence == (
        f"Only 7 observed values could be hidden for a check ({found.inside} fell inside their 90 % intervals): "
        "too few to judge the intervals by."
    )
    assert checked(1, 1.0).sentence.startswith("Only 1 observed value could be hidden")


def test_nothing_hidden_is_said_to_be_nothing():
    hidden = np.zeros((1, 4, 1), dtype=bool)
    assert calibration(None, np.zeros(hidden.shape), hidden) == (
        "No observed value could be hidden for a check, so the intervals were not checked."
    )


def test_cell_without_interval_is_refused(prediction_from):
    mean = np.full((1, 1, 30, 1), np.nan)
    with pytest.raises(ArgumentError, match="no interval"):
        calibration(
            prediction_from(mean=mean, sd=np.ones_like(mean)), np.zeros((1, 30, 1)), np.ones((1, 30, 1), dtype=bool)
        )
    with pytest.raises(ArgumentError, match="`prediction` must be given"):
        calibration(None, np.zeros((1, 30, 1)), np.ones((1, 30, 1), dtype=bool))
