"""Trajectories: shapes, order, holes, names."""

import numpy as np
import pytest

from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, DataError, UnknownNameError


def ragged(**options):
    times = [np.array([0.0, 1.0, 2.5]), np.array([0.5, 4.0, 4.5, 7.0, 9.0]), np.array([3.0])]
    values = [np.arange(6.0).reshape(3, 2), np.arange(10.0).reshape(5, 2), np.array([[np.nan, 7.0]])]
    given = {
        "static": {"sex": ["m", "f", "m"], "age": [61, 47, 70]},
        "series": ["a", "b", "c"],
        "channels": ["x", "y"],
        "units": {"x": "ppm"},
        "time_unit": "h",
        "inputs": [np.full((3, 1), 0.5), np.arange(5.0), np.array([2.0])],
        "input_names": ["dose"],
        "marks": [np.array([1, 2, 3]), np.arange(5), np.array([9])],
    }
    return Trajectories.from_arrays(times, values, **{**given, **options})


def test_padding_repeats_times_and_is_masked():
    data = ragged()
    assert data.times.shape == (3, 5)
    assert data.lengths.tolist() == [3, 5, 1]
    assert data.times[0].tolist() == [0.0, 1.0, 2.5, 2.5, 2.5]
    assert data.times[2].tolist() == [3.0] * 5
    assert not data.mask[0, 3:].any()
    assert (data.values[~data.mask] == 0.0).all()
    assert np.isfinite(data.values).all()
    assert data.inputs.shape == (3, 5, 1)
    assert np.isfinite(data.inputs).all()
    assert data.marks.tolist()[2] == [9, 0, 0, 0, 0]


def test_attributes_have_declared_types():
    data = ragged()
    assert (data.values.dtype, data.times.dtype, data.mask.dtype) == (np.float64, np.float64, np.bool_)
    assert data.series == ("a", "b", "c")
    assert data.channels == ("x", "y")
    assert data.input_names == ("dose",)
    assert data.units == {"x": "ppm"}
    assert data.time_unit == "h"
    assert data.time_origin is None
    assert not data.is_datetime
    assert data.num_series == 3
    assert data.static["sex"].tolist() == ["m", "f", "m"]
    assert data.static["age"].dtype.kind == "i"
    assert set(data.dataset.sizes) == {"series", "time", "channel", "input"}


def test_arrays_are_read_only():
    data = ragged()
    for array in (data.values, data.times, data.mask, data.lengths, data.inputs, data.marks, data.static["age"]):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(ValueError, match="read-only"):
        data.dataset["values"].values[...] = 0
    with pytest.raises(AttributeError):
        data.dataset = None


@pytest.mark.parametrize(
    ("times", "values", "shape"),
    [
        (np.arange(4.0), np.arange(4.0), (1, 4, 1)),
        (np.arange(4.0), np.ones((4, 2)), (1, 4, 2)),
        ([0, 1, 2, 3], [1, 2, 3, 4], (1, 4, 1)),
        (np.arange(4.0), np.ones((3, 4, 2)), (3, 4, 2)),
        (np.zeros((3, 4)) + np.arange(4), np.ones((3, 4)), (3, 4, 1)),
        (np.zeros((3, 4)) + np.arange(4), np.ones((3, 4, 2)), (3, 4, 2)),
        ([np.arange(2.0), np.arange(4.0)], [np.ones(2), np.ones(4)], (2, 4, 1)),
        ([np.arange(2.0), np.arange(4.0)], [np.ones((2, 3)), np.ones((4, 3))], (2, 4, 3)),
        (np.arange(4.0), [np.ones((4, 2)), np.zeros((4, 2))], (2, 4, 2)),
        (np.zeros((0, 0)), np.zeros((0, 0, 2)), (0, 0, 2)),
        ([np.arange(2.0), np.zeros(0)], [np.ones(2), np.zeros(0)], (2, 2, 1)),
    ],
    ids=str,
)
def test_from_arrays_accepts_every_documented_shape(times, values, shape):
    assert Trajectories.from_arrays(times, values).values.shape == shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"times": np.arange(3.0), "values": np.ones(4)}, r"`values` of series 0 must be .* with 3 rows"),
        ({"times": np.arange(3.0), "values": np.ones((2, 3))}, r"several series of one channel|Several series"),
        ({"times": np.ones((2, 2, 2)), "values": np.ones(4)}, r"`times` must be .*got 3 dimensions"),
        ({"times": np.arange(3.0), "values": np.ones((2, 3, 1)), "series": ["a"]}, "`series` must be a list of 2"),
        ({"times": np.arange(3.0), "values": np.ones((3, 2)), "channels": ["a", "a"]}, "`channels` must be distinct"),
        ({"times": [0.0, np.nan], "values": [1.0, 2.0]}, "row 1.*the time is missing or infinite"),
        ({"times": [0.0, 1.0], "values": [1.0, np.inf]}, "row 1, column 'value': an infinite value"),
        (
            {"times": [0.0, 0.0], "values": [1.0, 2.0]},
            r"column 'value': observed more than once at time 0.0: rows 0, 1",
        ),
        ({"times": [0.0], "values": [np.nan], "mask": [True]}, "`mask` says observed"),
        ({"times": [0.0, 1.0], "values": [1.0, 2.0], "inputs": [[1.0], [np.nan]]}, "row 1, column 'input0'.*inputs"),
        ({"times": [0.0, 1.0], "values": [1.0, 2.0], "marks": [0.5, 1]}, "`marks` must be integers"),
        ({"times": [0.0], "values": [1.0], "units": {"z": "m"}}, "`units` names 'z'.*Channels: value"),
        ({"times": [0.0], "values": [1.0], "static": {"age": [1, 2]}}, r"`static\['age'\]` must hold one"),
        ({"times": np.zeros((2, 3)), "values": np.ones((2, 3)), "lengths": [1, 4]}, "`lengths` must hold"),
        ({"times": [0.0], "values": ["a"]}, "`values` must be numbers"),
        ({"times": ["soon"], "values": [1.0]}, "'soon' is not a date"),
        ({"times": [0.0], "values": [1.0], "time_origin": "2020-01-01", "time_unit": "month"}, "`time_unit`"),
    ],
    ids=lambda given: "" if isinstance(given, dict) else given[:30],
)
def test_from_arrays_names_what_is_wrong(arguments, message):
    with pytest.raises((DataError, ArgumentError), match=message):
        Trajectories.from_arrays(**arguments)


def test_rows_are_sorted_stably_within_each_series():
    data = Trajectories.from_arrays(
        [[3.0, 1.0, 2.0], [1.0, 0.0, 1.0]],
        [[[3.0, 0.0], [1.0, 0.0], [2.0, 0.0]], [[np.nan, 1.0], [5.0, 5.0], [1.0, np.nan]]],
    )
    assert data.times.tolist() == [[1.0, 2.0, 3.0], [0.0, 1.0, 1.0]]
    assert data.values[0, :, 0].tolist() == [1.0, 2.0, 3.0]
    assert data.mask[1].tolist() == [[True, True], [False, True], [True, False]]


def test_equal_times_are_kept_as_rows_unless_a_channel_is_observed_twice():
    data = Trajectories.from_arrays([0.0, 1.0, 1.0], [[1.0, 2.0], [3.0, np.nan], [np.nan, 4.0]])
    assert data.lengths.tolist() == [3]
    with pytest.raises(DataError, match=r"column 'value1': observed more than once at time 1.0.*rows 1, 2 hold 2, 4"):
        Trajectories.from_arrays([0.0, 1.0, 1.0], [[1.0, 2.0], [3.0, 2.0], [np.nan, 4.0]])


def test_mask_erases_numbers():
    data = Trajectories.from_arrays([0.0, 1.0], [1.0, 99.0], mask=[True, False])
    assert data.values.ravel().tolist() == [1.0, 0.0]
    assert np.isnan(data.dataset["values"].values.ravel()[1])


def test_hide_erases_the_numbers_everywhere():
    secret = 123456.789
    data = Trajectories.from_arrays([0.0, 1.0, 2.0], [1.0, secret, 3.0])
    hidden = data.hide(np.array([False, True, False]).reshape(1, 3, 1))
    assert hidden.mask.ravel().tolist() == [True, False, True]
    assert not (hidden.values == secret).any()
    assert all(not np.any(np.asarray(v.values == secret)) for v in hidden.dataset.variables.values())
    assert data.mask.all()  # the original is as it was
    with pytest.raises(ArgumentError, match=r"`hidden_mask` must be boolean of shape \(1, 3, 1\)"):
        data.hide(np.zeros((1, 3), dtype=bool))


def test_select_keeps_order_and_cuts_padding():
    data = ragged()
    chosen = data.select(series=["c", "a"], channels="y")
    assert chosen.series == ("c", "a")
    assert chosen.times.shape == (2, 3)
    assert chosen.channels == ("y",)
    assert chosen.static["age"].tolist() == [70, 61]
    assert chosen.values[1, :, 0].tolist() == [1.0, 3.0, 5.0]
    assert chosen.units == {}
    with pytest.raises(UnknownNameError, match=r"`series` names 'z'.*There are: 'a', 'b', 'c'"):
        data.select(series="z")


def test_extend_appends_unobserved_rows():
    data = ragged()
    longer = data.extend([[3.0, 4.0], [10.0], []], inputs=[[1.0, 2.0], [3.0], np.zeros((0, 1))])
    assert longer.lengths.tolist() == [5, 6, 1]
    assert longer.times[0, :5].tolist() == [0.0, 1.0, 2.5, 3.0, 4.0]
    assert longer.mask.sum() == data.mask.sum()
    assert longer.inputs[0, 3:5, 0].tolist() == [1.0, 2.0]
    assert longer.static["sex"].tolist() == data.static["sex"].tolist()
    assert longer.time_unit == "h"


def test_extend_shared_times_and_dates():
    data = Trajectories.from_arrays(np.array(["2020-01-01T06", "2020-01-03"], dtype="M8[s]"), np.ones((2, 2, 1)))
    longer = data.extend(["2020-01-05", "2020-01-09"])
    assert longer.times[1].tolist() == [0.25, 2.0, 4.0, 8.0]
    assert str(longer.labels[0, -1]) == "2020-01-09T00:00:00.000000000"
    same = data.extend([4.0, 8.0])
    assert same.equals(longer)


@pytest.mark.parametrize(
    ("times", "inputs", "message"),
    [
        ([5.0], [[1.0]], "series 'b' ends at 9.0 and `times` begins at 5.0"),
        ([[20.0]], [[[1.0]]], r"one array per series \(3\); got 1"),
        ([20.0], None, "`inputs` must be given .*have dose"),
        (["2020-01-01"], [[1.0]], "dates were given for data whose times are plain numbers"),
    ],
)
def test_extend_refuses(times, inputs, message):
    with pytest.raises(DataError, match=message):
        ragged().extend(times, inputs=inputs)


def test_dates_count_days_from_the_midnight_before_the_first():
    data = Trajectories.from_arrays(np.array(["2020-01-02T06", "2020-01-01T12"], dtype="M8[h]"), [2.0, 1.0])
    assert data.is_datetime
    assert data.time_unit == "D"
    assert data.time_origin == np.datetime64("2020-01-01")
    assert data.times.tolist() == [[0.5, 1.25]]
    assert data.to_labels([0.5, 3.0]).astype("M8[h]").astype(str).tolist() == ["2020-01-01T12", "2020-01-04T00"]
    assert data.from_labels(["2020-01-04"]).tolist() == [3.0]
    assert data.from_labels(np.datetime64("2020-01-04")).tolist() == 3.0


def test_labels_of_rows_are_exact_to_the_nanosecond_over_centuries():
    rng = np.random.default_rng(0)
    counts = np.sort(rng.integers(-(2**62), 2**62, size=500))
    labels = counts.astype("datetime64[ns]")
    data = Trajectories.from_arrays(labels, np.ones(500))
    assert (data.labels[0] == labels).all()
    assert (data.to_labels(data.times)[0] == labels).all()
    assert (data.from_labels(labels) == data.times[0]).all()


def test_dates_that_floats_cannot_tell_apart_are_refused():
    labels = np.datetime64("2020-01-01", "ns") + np.array([0, 1])
    assert Trajectories.from_arrays(labels, [1.0, 2.0]).times[0, 1] > 0.0
    with pytest.raises(DataError, match=r"2020-01-01 and 2020-01-01T00:00:00\.000000001 .*Give a `time_origin` near"):
        Trajectories.from_arrays(labels, [1.0, 2.0], time_origin="1900-01-01")
    data = Trajectories.from_arrays(labels, [[1.0, np.nan], [np.nan, 2.0]], time_origin="1900-01-01")
    assert (data.labels[0] == labels).all()  # in different channels they are rows of one time


def test_numbers_with_an_origin_are_dates_in_their_unit():
    data = Trajectories.from_arrays([0.0, 36.0], [1.0, 2.0], time_unit="h", time_origin="2020-01-01")
    assert data.labels[0].astype("M8[h]").astype(str).tolist() == ["2020-01-01T00", "2020-01-02T12"]
    assert data.times.tolist() == [[0.0, 36.0]]


def test_time_zone_is_kept():
    import pandas as pd

    stamps = pd.date_range("2021-03-27", periods=3, tz="Europe/Berlin")
    data = Trajectories.from_arrays(stamps, [1.0, 2.0, 3.0])
    assert data.time_zone == "Europe/Berlin"
    assert np.diff(data.times[0]) == pytest.approx(
        [1.0, 23 / 24], rel=1e-14
    )  # the day when clocks go forward has 23 hours
    assert (data.to_long()["time"] == stamps).all()
    with pytest.raises(DataError, match=r"the data's times are in Europe/Berlin.*no time zone"):
        data.from_labels(["2021-03-28"])


def test_fingerprint_ignores_padding_and_filler_only():
    data = ragged()
    times, values = np.full((3, 9), 99.0), np.full((3, 9, 2), 55.0)
    inputs, marks = np.full((3, 9, 1), 5.0), np.full((3, 9), 4)
    for index, length in enumerate(data.lengths):
        times[index, :length] = data.times[index, :length]
        values[index, :length] = np.where(data.mask, data.values, np.nan)[index, :length]
        inputs[index, :length], marks[index, :length] = data.inputs[index, :length], data.marks[index, :length]
    same = Trajectories.from_arrays(
        times,
        values,
        lengths=data.lengths,
        inputs=inputs,
        marks=marks,
        static=data.static,
        series=data.series,
        channels=data.channels,
        input_names=data.input_names,
        units=data.units,
        time_unit="h",
    )
    assert same.times.shape == (3, 5)
    assert same.fingerprint() == data.fingerprint()
    assert same.equals(data)
    assert len(data.fingerprint()) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"units": {"x": "ppb"}},
        {"channels": ["x", "z"]},
        {"series": ["a", "b", "d"]},
        {"time_unit": "D"},
        {"time_origin": "2020-01-01"},
        {"static": {"sex": ["m", "f", "f"], "age": [61, 47, 70]}},
        {"marks": [np.array([1, 2, 4]), np.arange(5), np.array([9])]},
        {"marks": None},
        {"inputs": [np.full((3, 1), 0.5), np.arange(5.0), np.array([2.5])]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_fingerprint_sees_every_change(change):
    assert ragged(**change).fingerprint() != ragged().fingerprint()


def test_fingerprint_sees_values_times_and_mask():
    def of(times, values):
        return Trajectories.from_arrays(times, values).fingerprint()

    base = of([0.0, 1.0], [1.0, 0.0])
    assert base != of([0.0, 2.0], [1.0, 0.0])
    assert base != of([0.0, 1.0], [1.0, np.nan])
    assert base != of([0.0, 1.0], [1.0, 1e-300])
    assert base == of([-0.0, 1.0], [1.0, -0.0])


def test_fingerprint_is_the_same_on_every_machine():
    data = Trajectories.from_arrays([0.0, 1.0], [1.0, np.nan], channels=["x"], units={"x": "m"})
    assert data.fingerprint() == FINGERPRINT


FINGERPRINT = "313ad0131e892139fe686d956c87afb3b7cdd32591fad2503c997467d96792a3"


def test_repr_says_what_is_inside():
    data = ragged()
    assert repr(data).startswith("<Trajectories: 3 series, 9 rows, 17 of 18 cells observed>")
    assert "channel" in data._repr_html_()


def test_dataset_of_another_kind_is_refused():
    import xarray as xr

    with pytest.raises(DataError, match="layout of trajectories is expected"):
        Trajectories(xr.Dataset())


def test_added_variables_do_not_reach_the_object():
    data = ragged()
    given = data.dataset.copy(deep=False)
    again = Trajectories(given)
    given["other"] = ("series", [1, 2, 3])
    assert "other" not in again.dataset
