"""Rows on steps of equal length, and back."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat.arrays import Observations
from dynplat.errors import ArgumentError
from dynplat_deepssm.lattice import lattice_of, off_lattice, on_lattice, places_of

#: Row 2 of the first series is absent; the second series is shorter, and padded.
TIMES = np.array([[10.0, 10.5, 11.5, 12.0], [3.0, 3.5, 3.5, 3.5]])


def test_rows_stand_at_their_steps_and_come_back() -> None:
    lattice = lattice_of(TIMES, 0.5)
    np.testing.assert_array_equal(lattice.places, [[0, 1, 3, 4], [0, 1, 1, 1]])
    np.testing.assert_array_equal(lattice.rows, [[0, 1, -1, 2, 3], [0, 1, -1, -1, -1]])
    np.testing.assert_array_equal(lattice.last, [4, 1])
    values = np.arange(8.0).reshape(2, 4, 1) + 1.0
    mask = np.array([[True, True, False, True], [True, True, False, False]])[..., None]
    placed, seen = on_lattice(Observations(TIMES, values, mask), lattice)
    np.testing.assert_array_equal(seen[..., 0], [[True, True, False, False, True], [True, True, False, False, False]])
    np.testing.assert_array_equal(placed[seen], [1.0, 2.0, 4.0, 5.0, 6.0])
    back = off_lattice(np.where(seen, placed, 0.0)[..., 0], lattice, values)
    np.testing.assert_array_equal(back, [[1.0, 2.0, 0.0, 4.0], [5.0, 6.0, 0.0, 0.0]])
    np.testing.assert_array_equal(places_of(np.array([[13.0], [4.5]]), lattice.start, 0.5), [[6], [3]])


def test_times_off_the_steps_and_equal_times_are_refused_by_row() -> None:
    with pytest.raises(ArgumentError, match=r"row 1 of series 0 is 1\.4 steps after it"):
        lattice_of(np.array([[0.0, 0.7, 1.0]]), 0.5)
    with pytest.raises(ArgumentError, match="rows 0 and 1 of series 0 both stand at 0"):
        lattice_of(np.array([[0.0, 0.0, 0.5]]), 0.5)


def test_clocks_far_from_zero_are_on_the_lattice_up_to_their_rounding() -> None:
    start = 1.7e9
    lattice = lattice_of(start + 0.1 * np.arange(1_000)[None], 0.1)
    np.testing.assert_array_equal(lattice.places[0], np.arange(1_000))
