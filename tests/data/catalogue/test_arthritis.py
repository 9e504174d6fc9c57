from __future__ import annotations

import numpy as np
import pytest

from dynplat.data.catalogue import arthritis
from dynplat.errors import DataError


@pytest.fixture(scope="module")
def data(mirror):
    return arthritis.load_psoriatic_arthritis()


def test_patients_visits_and_states(data):
    assert data.num_series == 305
    assert data.lengths.sum() == data.mask.sum() == 806
    states, counts = np.unique(data.values[data.mask], return_counts=True)
    assert dict(zip(states.tolist(), counts.tolist(), strict=True)) == {1.0: 395, 2.0: 232, 3.0: 116, 4.0: 63}
    assert np.bincount(data.values[:, 0, 0].astype(int)).tolist() == [0, 212, 76, 17]
    assert data.times[0, :2].tolist() == [6.4606, 17.078]
    assert (data.time_unit, data.series[0], data.marks) == ("month", "1", None)


def test_joints_do_not_heal(data):
    for states, length in zip(data.values[..., 0], data.lengths, strict=True):
        assert (np.diff(states[:length]) >= 0).all()


def test_indicators_are_static_and_missing_ones_stay_missing(data):
    assert set(data.static["hieffusn"].tolist()) == {0, 1}
    missing = np.isnan(data.static["ollwsdrt"])
    assert missing.sum() == 34
    assert data.lengths[missing].sum() == 86
    assert set(data.static["ollwsdrt"][~missing].tolist()) == {0.0, 1.0}


def test_bad_tables_are_refused(tmp_path):
    path = tmp_path / "psor.csv"
    path.write_text("ptnum,months,state,hieffusn\n1,0,1,0\n")
    with pytest.raises(DataError, match="the columns ollwsdrt of the table `psor` are not there"):
        arthritis.read_psor(path)
    path.write_text("ptnum,months,state,hieffusn,ollwsdrt\n1,0,1,0,\n1,2,1,1,\n")
    with pytest.raises(DataError, match="`hieffusn` changes within patient 1"):
        arthritis.build(arthritis.read_psor(path))
