"""Snapshots: populations without identity between times."""

import numpy as np
import pytest

from dynplat.data import Snapshots
from dynplat.errors import ArgumentError, DataError


def cohort():
    return Snapshots.from_arrays(
        [2.0, 0.0, 5.0],
        [np.full((3, 2), 2.0), np.arange(8.0).reshape(4, 2), np.full((1, 2), 5.0)],
        channels=["x", "y"],
        units={"x": "mm"},
        time_unit="h",
    )


def test_populations_are_sorted_by_time_and_not_padded():
    data = cohort()
    assert data.times.tolist() == [0.0, 2.0, 5.0]
    assert data.counts.tolist() == [4, 3, 1]
    assert [block.shape for block in data.populations] == [(4, 2), (3, 2), (1, 2)]
    assert (data.populations[0] == np.arange(8.0).reshape(4, 2)).all()
    assert data.dataset.sizes["particle"] == 8
    assert (data.channels, data.units, data.time_unit, data.num_times) == (("x", "y"), {"x": "mm"}, "h", 3)
    with pytest.raises(ValueError, match="read-only"):
        data.populations[0][0, 0] = 1.0


def test_hidden_times_are_gone_and_selected_ones_stay():
    data = cohort()
    train, held = data.hide_times([1]), data.select_times([1])
    assert train.times.tolist() == [0.0, 5.0]
    assert not (train.dataset["values"].values == 2.0).all(axis=1).any()
    assert held.times.tolist() == [2.0]
    assert (held.populations[0] == 2.0).all()
    assert data.hide_times(-1).times.tolist() == [0.0, 2.0]
    with pytest.raises(ArgumentError, match="would hide all 3"):
        data.hide_times([0, 1, 2])
    with pytest.raises(ArgumentError, match="positions among 3 snapshots; got 3"):
        data.hide_times(3)


def test_long_table_holds_one_row_per_particle():
    frame = cohort().to_long()
    assert frame["time"].tolist() == [0.0] * 4 + [2.0] * 3 + [5.0]
    again = Snapshots.from_long(frame, time="time", columns=["x", "y"], units={"x": "mm"}, time_unit="h")
    assert again.equals(cohort())


def test_dates_are_kept():
    data = Snapshots.from_arrays(["2020-01-03", "2020-01-01"], [np.ones(2), np.zeros(3)])
    assert data.is_datetime
    assert data.times.tolist() == [0.0, 2.0]
    assert data.channels == ("value",)
    assert data.to_labels(data.times).tolist() == data.labels.tolist()
    assert data.from_labels(["2020-01-02"]).tolist() == [1.0]


def test_fingerprint_sees_particles_and_names():
    data = cohort()
    assert data.fingerprint() == cohort().fingerprint()
    assert data.fingerprint() != data.hide_times(0).fingerprint()
    assert not data.equals(object())
    assert repr(data).startswith("<Snapshots: 3 times, 8 particles, 2 channels>")


@pytest.mark.parametrize(
    ("times", "populations", "message"),
    [
        ([0.0, 1.0], [np.ones((2, 2))], r"one time per population \(1\); got shape \(2,\)"),
        ([0.0, 0.0], [np.ones((2, 2))] * 2, "the time 0.0 stands twice"),
        ([0.0, 1.0], [np.ones((2, 2)), np.ones((2, 3))], r"same number of channels; got \[2, 3\]"),
        ([0.0], [np.array([[1.0, np.nan]])], "row 0, column 'value1': the value is nan"),
        ([np.nan], [np.ones(2)], "a time is missing"),
        ([0.0], [np.ones((1, 1, 1))], r"`populations\[0\]` must be \(particle, channel\)"),
    ],
)
def test_from_arrays_names_what_is_wrong(times, populations, message):
    with pytest.raises(DataError, match=message):
        Snapshots.from_arrays(times, populations)


def test_empty_cell_of_a_particle_is_refused():
    import pandas as pd

    frame = pd.DataFrame({"time": [0, 0], "x": ["1", ""]})
    with pytest.raises(DataError, match=r"row 1, column 'x'.*must be known in every channel"):
        Snapshots.from_long(frame, time="time", columns=["x"])
