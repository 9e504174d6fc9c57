"""Summaries, context and observations: what a prior may take from the training cells."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat.data import Snapshots, Trajectories
from dynplat.errors import UnknownNameError
from dynplat.model import AbstractModel, Context, observations_from, summarise


def _made(values, times=None, **options) -> Trajectories:
    values = np.asarray(values, dtype=float)
    return Trajectories.from_arrays(np.arange(float(len(values))) if times is None else times, values, **options)


def _ragged() -> Trajectories:
    times = [np.array([0.0, 1.0, 3.0, 7.0]), np.array([100.0, 102.0])]
    values = [
        np.array([[1.0, np.nan], [np.nan, 5.0], [4.0, np.nan], [2.0, 9.0]]),
        np.array([[50.0, np.nan], [53.0, np.nan]]),
    ]
    return Trajectories.from_arrays(times, values, channels=["x", "y"], static={"age": [61, 47]}, time_unit="h")


def test_location_and_scale_are_those_of_the_observed_cells():
    context = summarise(_ragged())
    x = np.array([1.0, 4.0, 2.0, 50.0, 53.0])
    np.testing.assert_allclose(context["location"], [x.mean(), 7.0], rtol=1e-14)
    np.testing.assert_allclose(context["scale"], [x.std(), 2.0], rtol=1e-14)


def test_steps_never_lead_from_one_series_to_the_next():
    # Steps of x: 3 and -2 (over its hole) in the first series, 3 in the second; 48 between them is no step.
    context = summarise(_ragged())
    np.testing.assert_allclose(context["step_scale"], [np.sqrt((9 + 4 + 9) / 3), 4.0], rtol=1e-14)


def test_times_are_summarised_without_the_padding():
    context = summarise(_ragged())
    assert context["start"] == 0.0
    assert context["span"] == 102.0
    assert context["gap"] == 2.0  # the median of 1, 2, 4 and 2; padding would add gaps of 0
    assert context["num_rows"] == 4


def test_rows_at_one_time_are_no_gap():
    data = _made([[1.0, np.nan], [np.nan, 2.0], [3.0, 4.0], [5.0, 6.0]], times=[0.0, 0.0, 5.0, 10.0])
    assert summarise(data)["gap"] == 5.0


def test_names_units_and_static_covariates_are_kept():
    context = summarise(_ragged())
    assert context.channels == ("x", "y")
    assert context.num_series == 2
    assert context.time_unit == "h"
    assert context.static["age"].tolist() == [61, 47]


@pytest.mark.parametrize("filler", [0.0, 1e300, -7.0])
def test_masked_cells_are_not_looked_at(filler):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 2))
    mask = rng.uniform(size=values.shape) < 0.6
    given = Trajectories.from_arrays(np.arange(30.0), np.where(mask, values, filler), mask=mask)
    erased = _made(np.where(mask, values, np.nan))
    for name, expected in summarise(erased).values.items():
        np.testing.assert_array_equal(summarise(given)[name], expected)


@pytest.mark.parametrize(("factor", "offset"), [(1e9, 0.0), (1e-9, 0.0), (1.0, 1e6), (1e-3, 1e9)])
def test_scales_follow_the_unit_of_the_values(factor, offset):
    values = np.random.default_rng(1).normal(size=(50, 1)).cumsum(axis=0)
    plain, moved = summarise(_made(values)), summarise(_made(offset + factor * values))
    # Next to an offset of 1e9 a value keeps about 1e-7 of absolute precision, 1e-4 of a scale of 1e-3.
    rtol = 1e-12 if offset == 0 else 1e-3
    np.testing.assert_allclose(moved["scale"], factor * plain["scale"], rtol=rtol)
    np.testing.assert_allclose(moved["step_scale"], factor * plain["step_scale"], rtol=rtol)
    np.testing.assert_allclose(moved["location"], offset + factor * plain["location"], rtol=1e-12)


@pytest.mark.parametrize("value", [7.3, 0.1, -1e-9, 1e6 + 0.1, 0.0])
def test_a_constant_channel_has_its_own_size_as_scale(value):
    # The mean of equal numbers is not exactly that number: rounding must not be taken for a scale.
    context = summarise(_made(np.full((41, 1), value)))
    expected = abs(value) if value else 1.0
    np.testing.assert_allclose(context["location"], [value], rtol=1e-14)
    np.testing.assert_allclose(context["scale"], [expected], rtol=1e-14)
    np.testing.assert_allclose(context["step_scale"], [expected], rtol=1e-14)


@pytest.mark.parametrize(
    ("column", "location", "scale"),
    [([np.nan, np.nan, np.nan], 0.0, 1.0), ([np.nan, -4.0, np.nan], -4.0, 4.0), ([0.0, np.nan, np.nan], 0.0, 1.0)],
    ids=["nothing observed", "one value", "one zero"],
)
def test_a_channel_without_a_spread_leaves_the_others_alone(column, location, scale):
    other = np.array([1.0, 2.0, 6.0])
    context = summarise(_made(np.column_stack([column, other])))
    np.testing.assert_array_equal(context["location"], [location, 3.0])
    np.testing.assert_allclose(context["scale"], [scale, other.std()], rtol=1e-14)
    np.testing.assert_allclose(context["step_scale"], [scale, np.sqrt((1 + 16) / 2)], rtol=1e-14)


def test_constant_series_at_different_levels_keep_a_step_scale():
    context = summarise(Trajectories.from_arrays(np.arange(3.0), [[[1.0]] * 3, [[5.0]] * 3]))
    np.testing.assert_allclose(context["scale"], [2.0])
    np.testing.assert_allclose(context["step_scale"], [2.0])


@pytest.mark.parametrize("num_rows", [0, 1])
def test_data_without_a_span_have_proper_constants(num_rows):
    context = summarise(_made(np.ones((num_rows, 1)), times=np.full(num_rows, 1.7e9)))
    assert context["span"] == 1.0
    assert context["gap"] == 1.0
    assert context["start"] == (1.7e9 if num_rows else 0.0)
    assert context["num_rows"] == num_rows
    assert (context["scale"] > 0).all()


def test_snapshots_are_pooled():
    rng = np.random.default_rng(2)
    populations = [rng.normal(size=(n, 2)) * [1.0, 1e4] for n in (5, 8, 3)]
    context = summarise(Snapshots.from_arrays([0.0, 1.0, 4.0], populations))
    pooled = np.concatenate(populations)
    np.testing.assert_allclose(context["location"], pooled.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(context["scale"], pooled.std(axis=0), rtol=1e-12)
    assert (context["start"], context["span"], context["gap"], context["num_rows"]) == (0.0, 4.0, 2.0, 3)
    assert context.num_series == 1


def test_a_model_prepares_with_the_summaries():
    class Plain(AbstractModel):
        pass

    assert (
        dict(Plain().prepare(_made(np.ones((3, 1)))).values).keys() == summarise(_made(np.ones((3, 1)))).values.keys()
    )


# ------------------------------------------------------------------------------------------------------- context


def test_a_context_is_frozen():
    given = {"period": 7.0}
    context = Context(1, ("x",), values=given)
    given["period"] = 8.0
    assert context["period"] == 7.0
    with pytest.raises(TypeError):
        context.values["period"] = 9.0  # pyright: ignore[reportIndexIssue]
    with pytest.raises(AttributeError):
        context.num_series = 2  # pyright: ignore[reportAttributeAccessIssue]


def test_with_values_adds_to_a_copy():
    context = Context(1, ("x",), values={"a": 1, "b": 2})
    extended = context.with_values(b=3, c=4)
    assert dict(extended.values) == {"a": 1, "b": 3, "c": 4}
    assert dict(context.values) == {"a": 1, "b": 2}
    assert extended.channels == ("x",)


def test_an_unknown_constant_is_refused_with_those_there_are():
    with pytest.raises(UnknownNameError, match=r"no constant 'perod'; it has \['gap', 'period'\].*`prepare`"):
        Context(1, ("x",), values={"period": 7.0, "gap": 1.0})["perod"]


def test_array_follows_the_array_it_meets():
    import torch

    context = Context(1, ("x",), values={"scale": np.array([2.0, 3.0])})
    for like in (np.zeros(1, dtype=np.float32), torch.zeros(1, dtype=torch.float32)):
        array = context.array("scale", like)
        assert type(array) is type(like)
        assert array.dtype == like.dtype
        assert array.tolist() == [2.0, 3.0]


# -------------------------------------------------------------------------------------------------- observations


def test_observations_have_finite_filler_and_the_mask_of_the_data():
    data = _ragged()
    observations = observations_from(data)
    assert observations.values.shape == observations.mask.shape == (2, 4, 2)
    assert observations.mask.dtype == bool
    assert (observations.values[~observations.mask] == 0).all()
    np.testing.assert_array_equal(observations.mask, data.mask)
    np.testing.assert_array_equal(observations.values[data.mask], data.values[data.mask])
    assert observations.times[1].tolist() == [100.0, 102.0, 102.0, 102.0]
    assert observations.inputs is None
    assert observations.marks is None


def test_inputs_and_marks_travel_with_the_observations():
    data = Trajectories.from_arrays(
        np.arange(3.0), np.ones((3, 1)), inputs=[[0.0], [1.0], [2.0]], input_names=["dose"], marks=[0, 1, 2]
    )
    observations = observations_from(data)
    assert observations.inputs is not None
    assert observations.marks is not None
    assert np.ravel(observations.inputs).tolist() == [0.0, 1.0, 2.0]
    assert np.ravel(observations.marks).tolist() == [0, 1, 2]
