"""Extrapolation of turns: a creep at a constant ratio ends where it would, and bounds hold."""

from __future__ import annotations

import numpy as np

from dynplat_bridges.acceleration import extrapolate


def _turns(values):
    return [{"a": np.array(a), "b": np.array(b)} for a, b in values]


def test_a_creep_at_one_ratio_is_taken_to_its_end():
    ends = np.array([2.0, -3.0])
    creep = [ends - 0.8**k * np.array([0.5, 1.0]) for k in range(3)]
    found = extrapolate(_turns(creep), ("a", "b"), ())
    assert found is not None
    np.testing.assert_allclose([found["a"], found["b"]], ends, rtol=1e-9)


def test_positive_parameters_stay_so_and_fixed_ones_where_they_are():
    values = [(1.0, 5.0), (0.2, 5.0), (0.05, 5.0)]
    found = extrapolate(_turns(values), ("a",), ("a",))
    assert found is not None
    assert 0 < found["a"] < 0.05
    assert found["b"] == 5.0


def test_nothing_is_gained_from_turns_that_swing_or_stand():
    assert extrapolate(_turns([(0.0, 0.0), (1.0, 1.0), (0.5, 0.5)]), ("a", "b"), ()) is None
    assert extrapolate(_turns([(1.0, 1.0)] * 3), ("a", "b"), ()) is None
    assert extrapolate(_turns([(1.0, 1.0)] * 3), (), ()) is None
