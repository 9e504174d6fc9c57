"""Which rows of trajectories are paired, with which weights, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, DataError
from dynplat_koopman.pairs import Pairs, pairs_from


def two_series(**kwargs):
    times = [np.arange(5) * 0.1, 2.0 + np.arange(4) * 0.1]
    values = [np.arange(10.0).reshape(5, 2), 100.0 + np.arange(8.0).reshape(4, 2)]
    return Trajectories.from_arrays(times, values, **kwargs)


def test_rows_one_step_apart_of_one_series():
    pairs = pairs_from(two_series())
    np.testing.assert_array_equal(pairs.first[:, 0], [0, 2, 4, 6, 100, 102, 104])
    np.testing.assert_array_equal(pairs.second[:, 0], [2, 4, 6, 8, 102, 104, 106])
    np.testing.assert_array_equal(pairs.series, [0, 0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(pairs.weights, np.ones(7))
    assert pairs.step == pytest.approx(0.1)
    assert len(pairs) == 7
    lagged = pairs_from(two_series(), lag=3)
    np.testing.assert_array_equal(lagged.first[:, 0], [0, 2, 100])
    np.testing.assert_array_equal(lagged.second[:, 0], [6, 8, 106])
    assert lagged.step == pytest.approx(0.3)
    assert lagged.lag == 3


def test_gaps_are_refused_or_skipped():
    times, values = np.array([0.0, 1, 2, 5, 6, 7, 8]), np.arange(7.0)
    data = Trajectories.from_arrays(times, values, series=["buoy"])
    with pytest.raises(DataError, match=r"series 'buoy' has a gap of 3 steps after time 2: .* cross it.*gaps='skip'"):
        pairs_from(data)
    pairs = pairs_from(data, gaps="skip")
    np.testing.assert_array_equal(pairs.first[:, 0], [0, 1, 3, 4, 5])
    np.testing.assert_array_equal(pairs.second[:, 0], [1, 2, 4, 5, 6])
    # Steps are counted on the grid: three steps lead over the gap, and to no row that is not there.
    over = pairs_from(data, gaps="skip", lag=3)
    np.testing.assert_array_equal(over.first[:, 0], [2, 3])
    np.testing.assert_array_equal(over.second[:, 0], [3, 6])


def test_missing_values_are_refused_or_skipped():
    values = np.arange(12.0).reshape(6, 2)
    values[2, 1] = np.nan
    data = Trajectories.from_arrays(np.arange(6.0), values, channels=["east", "north"])
    with pytest.raises(DataError, match=r"series '0' has no value of 'north' at time 2 .*0 more rows.*gaps='skip'"):
        pairs_from(data)
    pairs = pairs_from(data, gaps="skip")
    np.testing.assert_array_equal(pairs.first[:, 0], [0, 6, 8])
    np.testing.assert_array_equal(pairs_from(data, gaps="skip", lag=2).first[:, 0], [2, 6])


def test_unequal_steps_are_refused():
    data = Trajectories.from_arrays(np.array([0.0, 1, 2.5, 3.5, 4.5]), np.arange(5.0))
    match = r"steps are unequal: series '0' has a gap of 1\.5 after time 1, .* no multiple of the step 1; .*generator"
    with pytest.raises(DataError, match=match):
        pairs_from(data)
    with pytest.raises(DataError, match="steps are unequal"):
        pairs_from(data, gaps="skip")
    chosen = pairs_from(data, gaps="skip", step=1.0)
    np.testing.assert_array_equal(chosen.first[:, 0], [0, 2, 3])
    # Rounded clocks are equal to within what is asked.
    rounded = Trajectories.from_arrays(np.array([0.0, 0.33, 0.67, 1.0]), np.arange(4.0))
    with pytest.raises(DataError, match="steps are unequal"):
        pairs_from(rounded)
    assert len(pairs_from(rounded, step=1 / 3, tolerance=0.05)) == 3


def test_trapezoidal_weights_count_ends_of_runs_half():
    data = Trajectories.from_arrays(np.array([0.0, 1, 2, 3, 6, 7, 8]), np.arange(7.0))
    pairs = pairs_from(data, gaps="skip", weights="trapezoid")
    np.testing.assert_array_equal(pairs.weights, [0.5, 1, 0.5, 0.5, 0.5])
    own = pairs_from(two_series(), weights=np.arange(7.0))
    np.testing.assert_array_equal(own.weights, np.arange(7.0))


def test_inputs_are_those_of_the_first_row():
    data = two_series(inputs=[np.arange(5.0)[:, None], 10.0 + np.arange(4.0)[:, None]])
    pairs = pairs_from(data)
    assert pairs.inputs is not None
    np.testing.assert_array_equal(pairs.inputs[:, 0], [0, 1, 2, 3, 10, 11, 12])
    assert pairs.num_inputs == 1
    with pytest.raises(ArgumentError, match=r"`lag` must be 1 for data with inputs.*got 2"):
        pairs_from(data, lag=2)


def test_refusals():
    data = two_series()
    with pytest.raises(DataError, match=r"no two complete rows of a series are 7 steps of 0\.1 apart"):
        pairs_from(data, lag=7)
    with pytest.raises(DataError, match="no series has two complete rows"):
        pairs_from(Trajectories.from_arrays([[0.0], [1.0]], [[1.0], [2.0]]))
    with pytest.raises(ArgumentError, match="`gaps` must be 'refuse' or 'skip'; got 'fill'"):
        pairs_from(data, gaps="fill")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match="`lag` must be at least 1; got 0"):
        pairs_from(data, lag=0)
    with pytest.raises(ArgumentError, match="`step` must be positive; got -1"):
        pairs_from(data, step=-1)
    with pytest.raises(ArgumentError, match=r"`weights` must be 'uniform', 'trapezoid'.*got 'simpson'"):
        pairs_from(data, weights="simpson")  # pyright: ignore[reportArgumentType]
    x = np.zeros((3, 2))
    with pytest.raises(DataError, match=r"`first` is complex, and states must be real.*two real variables"):
        Pairs(x + 1j, x)
    with pytest.raises(ArgumentError, match=r"`second` must have the shape of `first`, \(3, 2\); got \(2, 2\)"):
        Pairs(x, x[:2])
    with pytest.raises(DataError, match="there is no snapshot pair"):
        Pairs(x[:0], x[:0])
    with pytest.raises(DataError, match="`second` has a number that is not finite, in row 1"):
        Pairs(x, np.array([[0.0, 0], [np.nan, 0], [0, 0]]))
    with pytest.raises(ArgumentError, match="`weights` must be finite, not negative and not all zero"):
        Pairs(x, x, weights=np.array([1.0, -1, 1]))
    with pytest.raises(ArgumentError, match="`weights` must be 3 real numbers"):
        Pairs(x, x, weights=np.ones(2))
    with pytest.raises(ArgumentError, match=r"`first` must be real numbers \(M, d\); got float64 of shape \(3,\)"):
        Pairs(x[:, 0], x[:, 0])
    with pytest.raises(ArgumentError, match="`inputs` must have one row per pair, 3; got 2"):
        Pairs(x, x, inputs=np.zeros((2, 1)))
    with pytest.raises(ArgumentError, match="`series` must be 3 numbers"):
        Pairs(x, x, series=np.zeros(2))
