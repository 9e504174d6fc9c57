"""Hold-outs: observed cells only, explicit seeds."""

import datetime
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynplat.data import (
    Trajectories,
    hide_blocks,
    hide_future,
    hide_rows,
    hide_series,
    hide_values,
)
from dynplat.errors import ArgumentError


def random_data(seed, num_series=4, num_channels=3):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 30, size=num_series)
    times = [np.cumsum(rng.exponential(size=length)) for length in lengths]
    values = [rng.normal(size=(length, num_channels)) for length in lengths]
    for block in values:
        block[rng.random(block.shape) < 0.3] = np.nan
    return Trajectories.from_arrays(times, values)


HOLDOUTS = {
    "values": lambda data, seed: hide_values(data, 0.3, seed),
    "blocks": lambda data, seed: hide_blocks(data, 0.2, 3, seed),
    "rows": lambda data, seed: hide_rows(data, 0.3, seed),
    "future": lambda data, seed: hide_future(data, fraction=0.3),
    "series": lambda data, seed: hide_series(data, 0.5, seed),
}


@pytest.mark.parametrize("kind", HOLDOUTS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_holdout_splits_the_observed_cells(kind, seed):
    data = random_data(seed)
    held = HOLDOUTS[kind](data, seed)
    assert (held.hidden & ~data.mask).sum() == 0
    assert (held.train.mask == (data.mask & ~held.hidden)).all()
    assert (held.truth.mask == held.hidden).all()
    assert (held.truth.values[held.hidden] == data.values[held.hidden]).all()
    assert (held.train.values[held.hidden] == 0.0).all()
    assert np.isnan(held.train.dataset["values"].values[held.hidden]).all()
    assert (held.train.times == data.times).all()
    assert 0 < held.hidden.sum() < data.mask.sum()
    again = HOLDOUTS[kind](data, seed)
    assert (again.hidden == held.hidden).all()


@pytest.mark.parametrize("kind", ["values", "blocks", "rows", "series"])
def test_seed_changes_the_choice(kind):
    data = random_data(0, num_series=8)
    masks = {HOLDOUTS[kind](data, seed).hidden.tobytes() for seed in range(8)}
    assert len(masks) > 1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), fraction=st.floats(0.05, 0.9))
def test_values_are_chosen_as_documented(seed, fraction):
    data = random_data(seed)
    observed = np.flatnonzero(data.mask)
    expected = np.random.default_rng(seed).choice(
        observed, size=math.ceil(fraction * len(observed) - 0.5), replace=False
    )
    assert set(np.flatnonzero(hide_values(data, fraction, seed).hidden)) == set(expected)


def test_values_of_co2_are_those_of_the_reference_protocol():
    import statsmodels.api as sm

    series = sm.datasets.co2.load_pandas().data["co2"]
    data = Trajectories.from_arrays(series.index, series.to_numpy(), channels=["co2"])
    assert data.lengths.tolist() == [2284]
    observed = np.flatnonzero(~np.isnan(series.to_numpy()))
    assert len(observed) == 2225
    expected = np.random.default_rng(0).choice(observed, size=667, replace=False)  # 667.5, halves down
    held = hide_values(data, 0.3, 0)
    assert set(np.flatnonzero(held.hidden[0, :, 0])) == set(expected)
    # Linear interpolation over these holes has the reference's root-mean-square error, 0.360 ppm.
    times, train = data.times[0], held.train.mask[0, :, 0]
    filled = np.interp(times, times[train], held.train.values[0, train, 0])
    error = (filled - data.values[0, :, 0])[held.hidden[0, :, 0]]
    assert np.sqrt(np.mean(error**2)) == pytest.approx(0.360, abs=5e-4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, 4))
def test_blocks_are_separate_stretches_of_one_series_and_channel(seed, length):
    data = random_data(seed)
    held = hide_blocks(data, 0.15, length, seed)
    assert held.hidden.sum() == math.ceil(0.15 * data.mask.sum() - 0.5)
    for series in range(data.num_series):
        for channel in range(3):
            rows = np.flatnonzero(held.hidden[series, :, channel])
            seen = held.train.mask[series, :, channel]
            # Between the first and the last hidden cell of a stretch no observation is left: a stretch is what stands
            # between two observed cells, and it is no longer than a block in rows that hold hidden cells.
            for stretch in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
                if stretch.size:
                    assert stretch[-1] - stretch[0] < length
                    assert not seen[stretch[0] : stretch[-1] + 1].any()


def test_blocks_of_a_full_series_have_their_length():
    data = Trajectories.from_arrays(np.arange(200.0), np.ones(200))
    hidden = hide_blocks(data, 0.3, 10, 5).hidden[0, :, 0]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], hidden, [0]])))
    assert (edges[1::2] - edges[::2]).tolist() == [10] * 6


def test_blocks_that_do_not_fit_are_refused():
    data = Trajectories.from_arrays(np.arange(10.0), np.ones(10))
    with pytest.raises(ArgumentError, match=r"blocks of 4 rows.*Use a smaller `fraction`"):
        hide_blocks(data, 0.9, 4, 0)
    with pytest.raises(ArgumentError, match="`length` must be a whole number"):
        hide_blocks(data, 0.5, 0, 0)


def test_rows_hide_all_channels_of_a_time_even_in_two_rows():
    times = np.repeat(np.arange(20.0), 2)
    values = np.full((40, 2), np.nan)
    values[::2, 0], values[1::2, 1] = 1.0, 2.0
    data = Trajectories.from_arrays(times, values)
    hidden = hide_rows(data, 0.25, 3).hidden[0].any(axis=1)
    assert (hidden[::2] == hidden[1::2]).all()
    assert hidden.sum() == 10


def test_future_by_horizon_fraction_and_date_agree():
    labels = np.datetime64("2020-01-01") + np.arange(10)
    data = Trajectories.from_arrays(labels, np.arange(10.0))
    expected = [False] * 7 + [True] * 3
    for options in (
        {"horizon": 3},
        {"horizon": datetime.timedelta(days=3)},
        {"horizon": np.timedelta64(72, "h")},
        {"fraction": 0.3},
        {"since": "2020-01-08"},
        {"since": np.datetime64("2020-01-08")},
        {"since": datetime.date(2020, 1, 8)},
        {"since": 7.0},
    ):
        assert hide_future(data, **options).hidden[0, :, 0].tolist() == expected, options


def test_future_is_counted_from_the_end_of_each_series():
    data = Trajectories.from_arrays([np.arange(4.0), np.arange(10.0)], [np.ones(4), [*np.ones(8), np.nan, np.nan]])
    hidden = hide_future(data, horizon=2).hidden[..., 0]
    assert [np.flatnonzero(row).tolist() for row in hidden] == [[2, 3], [6, 7]]
    hidden = hide_future(data, fraction=0.5).hidden[..., 0]
    assert [np.flatnonzero(row).tolist() for row in hidden] == [[2, 3], [4, 5, 6, 7]]
    hidden = hide_future(data, since=3).hidden[..., 0]
    assert [np.flatnonzero(row).tolist() for row in hidden] == [[3], [3, 4, 5, 6, 7]]


def test_future_leaves_series_that_would_be_hidden_whole():
    data = Trajectories.from_arrays([np.arange(2.0), np.arange(10.0)], [np.ones(2), np.ones(10)])
    assert hide_future(data, horizon=2).hidden.sum(axis=(1, 2)).tolist() == [0, 2]
    assert hide_future(data, fraction=0.9).hidden.sum(axis=(1, 2)).tolist() == [0, 9]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of `horizon`, `fraction` and `since`.*got none"),
        ({"horizon": 1, "since": 2}, "got horizon and since"),
        ({"horizon": -1}, "`horizon` must be a whole number of time points, at least 1"),
        ({"horizon": 2.0}, "`horizon` must be a whole number of time points.*give `since`"),
        ({"horizon": datetime.timedelta(days=1)}, "`horizon` must be a whole number of time points"),
        ({"horizon": 100}, "`horizon` 100 would hide no cell, or leave nothing.*from 0.0 to 9.0.*has 10 rows"),
        ({"since": 100}, "`since` 100 would hide no cell"),
        ({"since": -1}, "`since` -1 would hide every observed cell"),
        ({"fraction": 1.5}, "`fraction` must be a number between 0 and 1"),
    ],
)
def test_future_refuses(options, message):
    with pytest.raises(ArgumentError, match=message):
        hide_future(Trajectories.from_arrays(np.arange(10.0), np.ones(10)), **options)


def test_series_are_hidden_whole():
    data = random_data(1, num_series=10)
    held = hide_series(data, 0.3, 0)
    whole = (held.hidden == data.mask).all(axis=(1, 2))
    assert whole.sum() == 3
    assert (held.hidden[~whole] == 0).all()


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.2, "half", 1e-9])
def test_fraction_out_of_range_is_refused(fraction):
    data = random_data(2)
    for hide in (hide_values, hide_rows, hide_series):
        with pytest.raises(ArgumentError, match="`fraction`"):
            hide(data, fraction, 0)
