import numpy as np
import pytest

from dynplat.comparison import Comparison, compare
from dynplat.comparison.entries import ENTRIES
from dynplat.comparison.scale import channel_scales
from dynplat.errors import ArgumentError

UNITS = np.array([1e9, 1e-6])
#: Scores whose figures have the unit of the data.
WITH_UNIT = ("rmse", "mae", "crps", "energy-score", "interval-score-90", "width-90")


class InUnits:
    """A posterior that says what another says, in other units."""

    def __init__(self, guess, units, prediction_from):
        self.model, self.provenance = guess.model, guess.provenance
        self.guess, self.units, self.prediction_from = guess, units, prediction_from

    def answer(self, task, num_draws, seed):
        given = self.guess.answer(task.plain, num_draws, seed)
        arrays = [given.dataset[name].values * self.units for name in ("draws", "component_mean", "component_sd")]
        return self.prediction_from(*arrays)


@pytest.fixture
def in_units(array_task, fakes):
    """The task of `array_task` with one channel in a huge and the other in a tiny unit."""
    task = fakes.ArrayTask(array_task.truth.values * UNITS, array_task.hidden)
    task.plain = array_task
    return task


def test_units_of_channels_do_not_move_a_figure(array_task, in_units, fakes, prediction_from):
    guesses = {"good": fakes.Guess(), "shifted": fakes.Guess(shift=2.0)}
    ours = compare(array_task, guesses, num_draws=40)
    theirs = compare(
        in_units, {name: InUnits(guess, UNITS, prediction_from) for name, guess in guesses.items()}, num_draws=40
    )
    for one, other in zip(ours.records, theirs.records, strict=True):
        assert other["value"] == pytest.approx(one["value"], rel=1e-9), one["score"]
        assert other["stderr"] == pytest.approx(one["stderr"], rel=1e-6), one["score"]
        assert one["unit"] == other["unit"] == "channel sd"


def test_pooled_figures_count_every_channel(in_units, fakes, prediction_from):
    class LostInTheSmall(InUnits):
        """Knows the channel of large numbers and nothing of the other."""

        def answer(self, task, num_draws, seed):
            units = UNITS * [1.0, 0.0]
            return self.prediction_from(
                *(
                    self.guess.answer(task.plain, num_draws, seed).dataset[name].values * units + [0.0, shift]
                    for name, shift in (("draws", 9e-6), ("component_mean", 9e-6), ("component_sd", 1e-6))
                )
            )

    fits = {
        "both": InUnits(fakes.Guess(shift=0.1), UNITS, prediction_from),
        "one": LostInTheSmall(fakes.Guess(), UNITS, prediction_from),
    }
    entries = [entry for entry in ENTRIES if entry.id in ("rmse", "crps", "energy-score")]
    pooled = compare(in_units, fits, entries, num_draws=40)
    in_data = compare(in_units, fits, entries, num_draws=40, standardise=False)
    for score in ("rmse", "crps", "energy-score"):
        assert set(pooled.best(score).values()) == {("both",)}
        # What the channel of large numbers would have said alone.
        assert set(in_data.best(score).values()) == {("one",)}
    assert {record["unit"] for record in in_data.records} == {"data"}


def test_figures_are_those_of_the_data_over_the_scales(in_units, fakes, prediction_from):
    fits = {"good": InUnits(fakes.Guess(), UNITS, prediction_from)}
    standardised = compare(in_units, fits, num_draws=40)
    in_data = compare(in_units, fits, num_draws=40, standardise=False)
    scales = channel_scales(in_units)
    for score in WITH_UNIT:
        if score != "energy-score":
            ours, theirs = standardised.by("channel", score), in_data.by("channel", score)
            np.testing.assert_allclose(ours["value"], theirs["value"] / scales, rtol=1e-9)
    ours, theirs = standardised.by("channel", "log-score"), in_data.by("channel", "log-score")
    np.testing.assert_allclose(ours["value"], theirs["value"] - np.log(scales), rtol=1e-9)
    assert standardised.by("channel", "coverage-90").equals(in_data.by("channel", "coverage-90"))


def test_densities_that_were_given_are_rescaled(array_task, fakes):
    # A prediction with densities at the held-out values only, and no components to compute others from.
    prediction = fakes.Guess().answer(array_task, 40, 0)
    asked = np.where(array_task.hidden, array_task.truth.values, np.nan)
    dataset = prediction.dataset.assign(
        log_density=prediction.log_density(asked), log_density_values=(("series", "time", "channel"), asked)
    )
    stored = type(prediction)(dataset.drop_vars(["component_mean", "component_sd"]))
    log_score = [entry for entry in ENTRIES if entry.id == "log-score"]
    both = compare(array_task, {"components": prediction, "stored": stored}, log_score)
    assert both.failures == []
    assert both.records[0]["value"] == pytest.approx(both.records[1]["value"], rel=1e-12)


def test_one_channel_keeps_the_unit_of_its_data(in_units, fakes, prediction_from):
    only = in_units.hidden.copy()
    only[:, :, 0] = False
    task = fakes.ArrayTask(in_units.truth.values, only)
    task.plain = in_units.plain
    found = compare(task, {"good": InUnits(fakes.Guess(), UNITS, prediction_from)}, num_draws=20)
    assert found.results[0].scales is None
    assert "standard deviation" not in repr(found)
    assert found.records[0]["value"] < 1e-5


def test_table_says_its_unit_and_saving_keeps_it(array_task, fakes, tmp_path):
    comparison = compare(array_task, {"good": fakes.Guess()}, num_draws=20)
    scales = comparison.results[0].scales
    sentence = f"values in units of each channel's standard deviation (c0 {scales[0]:.3g}, c1 {scales[1]:.3g})"
    assert sentence in repr(comparison).splitlines()
    comparison.save(tmp_path / "c.json")
    assert Comparison.load(tmp_path / "c.json").results[0].scales == scales
    with pytest.raises(ArgumentError, match="in different units"):
        comparison.merge(compare(array_task, {"other": fakes.Guess()}, num_draws=20, standardise=False))


def test_scales_are_spreads_and_stand_rounding_and_constants(fakes):
    rng = np.random.default_rng(0)
    rows = np.stack(
        [
            1e200 * rng.normal(size=50),
            np.full(50, -7.0),
            3.0 + 1e-14 * rng.normal(size=50),
            np.zeros(50),
            np.arange(50) % 2,
            np.full(50, np.nan),
        ],
        axis=-1,
    )[None]
    rows[0, :25, 4] = np.nan
    task = fakes.ArrayTask(rows, np.zeros(rows.shape, dtype=bool))
    scales = channel_scales(task)
    assert scales[0] == pytest.approx(1e200 * np.std(rows[0, :, 0] / 1e200))
    np.testing.assert_allclose(scales[1:], [7.0, 3.0, 1.0, np.nanstd(rows[0, :, 4]), 1.0], rtol=1e-12)
