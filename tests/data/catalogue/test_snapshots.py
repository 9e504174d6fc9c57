"""Snapshots of the catalogue: sizes, times and the parts."""

from __future__ import annotations

import numpy as np
import pytest

import dynplat as dp
from dynplat.errors import ArgumentError

NAMES = {
    "lotka-volterra-snapshots": (("prey", "predator"), 1.0),
    "repressilator-snapshots": (("gene1", "gene2", "gene3"), 1.0),
    "gulf-of-mexico-snapshots": (("x", "y"), 0.8),
}


@pytest.mark.parametrize("name", NAMES)
def test_parts_make_up_the_whole(mirror, name):
    channels, step = NAMES[name]
    data, train, held = (dp.load_dataset(name, part=part) for part in ("all", "train", "held-out"))
    assert data.channels == channels
    assert data.counts.tolist() == [200] * 20
    assert train.times.tolist() == np.round(step * np.arange(11), 4).tolist()
    assert held.times.tolist() == np.round(step * (np.arange(9) + 0.5), 4).tolist()
    assert data.equals(train.join(held))
    assert dp.load_dataset(name).equals(data)


def test_an_unknown_part_is_refused():
    with pytest.raises(ArgumentError, match="`part` must be one of 'all', 'train', 'held-out'; got 'test'"):
        dp.load_dataset("repressilator-snapshots", part="test")
