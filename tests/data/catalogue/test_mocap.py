from __future__ import annotations

import numpy as np
import pytest

from dynplat.data.catalogue import mocap
from dynplat.errors import DataError

CASES = [
    (mocap.load_mocap_35, "mocap/mocap35.npz", (16, 3, 4), 300),
    (mocap.load_mocap_09, "mocap/mocap09.npz", (6, 2, 2), 120),
]


@pytest.mark.parametrize(("load", "place", "sizes", "frames"), CASES, ids=["35", "09"])
def test_splits_have_their_sizes_and_names(mirror, load, place, sizes, frames):
    data = load()
    assert data.mask.shape == (sum(sizes), frames, 50)
    assert data.mask.all()
    assert data.times[0].tolist() == list(range(frames))
    assert data.time_unit == "frame"
    for name, size in zip(mocap.SPLITS, sizes, strict=True):
        own = data.static["split"] == name
        assert own.sum() == size
        part = load(split=name)
        assert part.series == tuple(f"{name}-{index}" for index in range(size))
        np.testing.assert_array_equal(part.values, data.values[own])
        with np.load(mirror / place, allow_pickle=False) as archive:
            np.testing.assert_array_equal(part.values, archive[name])


@pytest.mark.parametrize("load", [case[0] for case in CASES], ids=["35", "09"])
def test_four_constant_channels_are_kept_or_dropped(mirror, load):
    data = load()
    spread = data.values.reshape(-1, 50).std(axis=0)
    assert tuple(np.flatnonzero(spread < 1e-12)) == mocap.CONSTANT
    assert spread[[index for index in range(50) if index not in mocap.CONSTANT]].min() > 1e-3
    less = load(drop_constant=True)
    assert len(less.channels) == 46
    assert "joint24" not in less.channels
    assert less.select(channels="joint49").values[0, 0, 0] == data.select(channels="joint49").values[0, 0, 0]


def test_pickled_objects_are_never_loaded(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez(path, **{name: np.array([{"a": 1}], dtype=object) for name in mocap.SPLITS})
    monkeypatch.setattr(mocap, "fetch", lambda _: path)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        mocap.load_mocap_35()


def test_other_arrays_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez(path, train=np.zeros((1, 2, 50)))
    monkeypatch.setattr(mocap, "fetch", lambda _: path)
    with pytest.raises(DataError, match="arrays train, validation, test are expected; got train"):
        mocap.load_mocap_35()
