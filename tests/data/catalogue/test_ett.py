from __future__ import annotations

import numpy as np
import pytest

from dynplat.data.catalogue import ett
from dynplat.errors import ArgumentError


@pytest.fixture(scope="module")
def data(mirror):
    return ett.load_etth1()


def test_table_is_hourly_and_complete(data):
    assert data.mask.shape == (1, 17_420, 7)
    assert data.mask.all()
    assert data.channels == ett.CHANNELS
    assert data.labels[0, 0] == np.datetime64("2016-07-01T00")
    assert data.labels[0, -1] == np.datetime64("2018-06-26T19")
    np.testing.assert_allclose(np.diff(data.times[0]) * 24, 1.0, rtol=1e-8)


def test_numbers_are_those_of_float32_written_as_more(data):
    # Every number is within a few units of the last place of a float32, which holds seven digits.
    np.testing.assert_allclose(data.values.astype(np.float32).astype(np.float64), data.values, rtol=6e-8, atol=1e-9)
    assert data.values.dtype == np.float64


def test_splits_are_12_4_4_months_by_index(data, mirror):
    parts = [ett.load_etth1(split=name) for name in ("train", "validation", "test")]
    assert [part.mask.shape[1] for part in parts] == [8640, 2880, 2880]
    joined = np.concatenate([part.values[0] for part in parts])
    np.testing.assert_array_equal(joined, data.values[0, :14_400])
    assert parts[1].labels[0, 0] == data.labels[0, 8640]
    with pytest.raises(ArgumentError, match="'validation', 'test'; got 'val'"):
        ett.load_etth1(split="val")


def test_frozen_stretches_are_kept_and_found(data):
    frozen = ett.frozen_hours(data)
    assert frozen.sum() == 330
    edges = np.flatnonzero(np.diff(np.concatenate(([0], frozen.astype(int), [0]))))
    # A run of 23 repeats is a day that stands still.
    assert (edges[1::2] - edges[::2]).max() == 23
    low = data.values[0, :, ett.CHANNELS.index("LUFL")]
    changes = np.flatnonzero(np.diff(low) != 0)
    assert np.diff(changes).max() == 141
