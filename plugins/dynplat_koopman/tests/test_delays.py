"""Delay vectors: what they hold, and where they are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, DataError
from dynplat_koopman.delays import delay_vectors, embed
from dynplat_koopman.dictionaries import Monomials
from dynplat_koopman.edmd import fit_edmd
from dynplat_koopman.pairs import pairs_from


def test_vectors_hold_the_newest_row_first():
    values = np.arange(12.0).reshape(6, 2)
    found = delay_vectors(values, 2)
    np.testing.assert_array_equal(
        found, [[4, 5, 2, 3, 0, 1], [6, 7, 4, 5, 2, 3], [8, 9, 6, 7, 4, 5], [10, 11, 8, 9, 6, 7]]
    )
    np.testing.assert_array_equal(delay_vectors(values, 1, spacing=3), [[6, 7, 0, 1], [8, 9, 2, 3], [10, 11, 4, 5]])
    batch = np.stack([values, values + 100])
    np.testing.assert_array_equal(delay_vectors(batch, 2)[0], found)
    np.testing.assert_array_equal(delay_vectors(torch.tensor(batch), 2).numpy(), delay_vectors(batch, 2))


def test_embedded_trajectories():
    data = Trajectories.from_arrays(
        [np.arange(5.0), 10.0 + np.arange(4.0)],
        [np.arange(10.0).reshape(5, 2), 50 + np.arange(8.0).reshape(4, 2)],
        inputs=[np.arange(5.0)[:, None], 20 + np.arange(4.0)[:, None]],
        static={"depth": [1.0, 2.0]},
        series=["a", "b"],
        channels=["u", "v"],
        units={"v": "m"},
    )
    found = embed(data, 2)
    assert found.channels == ("u", "v", "u(t-1)", "v(t-1)", "u(t-2)", "v(t-2)")
    assert found.units == {"v": "m", "v(t-1)": "m", "v(t-2)": "m"}
    assert found.series == ("a", "b")
    np.testing.assert_array_equal(found.lengths, [3, 2])
    np.testing.assert_array_equal(found.values[0], delay_vectors(data.values[0], 2))
    np.testing.assert_array_equal(found.values[1, :2], delay_vectors(data.values[1, :4], 2))
    np.testing.assert_array_equal(found.times[0], [2, 3, 4])
    np.testing.assert_array_equal(found.inputs[0, :, 0], [2, 3, 4])
    np.testing.assert_array_equal(found.static["depth"], [1.0, 2.0])
    assert embed(data, 0).equals(data)


def test_dates_stay_dates():
    dates = np.arange("2024-01-01", "2024-01-07", dtype="datetime64[D]")
    found = embed(Trajectories.from_arrays(dates, np.arange(6.0)), 2)
    assert list(found.labels[0].astype("datetime64[D]")) == list(dates[2:])


def test_delays_do_not_cross_gaps():
    data = Trajectories.from_arrays(np.array([0.0, 1, 2, 5, 6, 7]), np.arange(6.0))
    with pytest.raises(DataError, match="has a gap of 3 steps after time 2"):
        embed(data, 1)
    found = embed(data, 1, gaps="skip")
    np.testing.assert_array_equal(found.values[0], [[1, 0], [2, 1], [4, 3], [5, 4]])
    np.testing.assert_array_equal(found.times[0], [1, 2, 6, 7])
    # Spaced delays count steps, not rows.
    np.testing.assert_array_equal(embed(data, 1, spacing=3, gaps="skip").values[0], [[3, 2]])
    values = np.arange(6.0)
    values[2] = np.nan
    holed = Trajectories.from_arrays(np.arange(6.0), values)
    with pytest.raises(DataError, match="has no value of 'value' at time 2"):
        embed(holed, 1)
    np.testing.assert_array_equal(embed(holed, 1, gaps="skip").values[0], [[1, 0], [4, 3], [5, 4]])


def test_a_sine_wave_is_linear_in_two_delays():
    times = 0.3 * np.arange(200)
    data = embed(Trajectories.from_arrays(times, np.sin(times)), 1)
    operator = fit_edmd(pairs_from(data), Monomials(2, 1))
    values = np.linalg.eigvals(operator.matrix)
    expected = np.array([1.0, np.exp(0.3j), np.exp(-0.3j)])
    assert np.abs(values[:, None] - expected).min(axis=1).max() < 1e-12


def test_refusals():
    data = Trajectories.from_arrays([np.arange(6.0), np.arange(2.0)], [np.arange(6.0), np.arange(2.0)])
    with pytest.raises(DataError, match=r"series '1' has 2 complete rows, and a delay vector reaches over 4.*'skip'"):
        embed(data, 3)
    assert embed(data, 3, gaps="skip").series == ("0",)
    with pytest.raises(DataError, match="no row has complete rows at all of 8 delays before it"):
        embed(data, 8, gaps="skip")
    with pytest.raises(ArgumentError, match="`num_delays` must be at least 0; got -1"):
        embed(data, -1)
    with pytest.raises(ArgumentError, match="`spacing` must be at least 1; got 0"):
        embed(data, 1, spacing=0)
    with pytest.raises(ArgumentError, match="`values` must have more than 6 rows for these delays; got 6"):
        delay_vectors(np.zeros((6, 1)), 6)
