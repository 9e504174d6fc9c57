from __future__ import annotations

import numpy as np
import pytest

from dynplat import marks
from dynplat.data.catalogue import transplant
from dynplat.errors import DataError


@pytest.fixture(scope="module")
def data(mirror):
    return transplant.load_heart_transplant()


def test_patients_visits_and_states(data):
    assert data.num_series == 622
    assert data.lengths.sum() == 2846
    assert data.mask.sum() == 2846
    assert set(data.values[data.mask].tolist()) == {1.0, 2.0, 3.0, 4.0}
    assert data.series[0] == "100002"
    assert (data.times[:, 0] == 0).all()
    assert data.time_unit == "year"


def test_pairs_of_states_are_the_published_table(data):
    counts = np.zeros((3, 4), dtype=int)
    for states, length in zip(data.values[..., 0].astype(int), data.lengths, strict=True):
        np.add.at(counts, (states[: length - 1] - 1, states[1:length] - 1), 1)
    assert counts.tolist() == [[1367, 204, 44, 148], [46, 134, 54, 48], [4, 13, 107, 55]]


def test_deaths_and_only_deaths_are_exact(data):
    death = (data.values[..., 0] == 4) & data.mask[..., 0]
    assert death.sum() == 251
    np.testing.assert_array_equal(data.marks == marks.ENTERED, death)
    assert set(np.unique(data.marks)) == {marks.OBSERVED, marks.ENTERED}
    last = np.arange(data.mask.shape[1]) == data.lengths[:, None] - 1
    assert (last | ~death).all()


def test_statics_are_one_per_patient_and_missing_diagnosis_is_empty(data):
    assert set(data.static) == {"age", "dage", "sex", "pdiag"}
    assert set(data.static["pdiag"].tolist()) == {"IHD", "IDC", "CVCM", "Restr", "Other", "Hyper", ""}
    assert data.static["age"][0] == pytest.approx(52.4958904109589, rel=1e-14)
    assert set(data.static["sex"].tolist()) == {0, 1}


def test_rejections_are_an_input_on_request(data, mirror):
    assert data.inputs is None
    more = transplant.load_heart_transplant(rejections=True)
    assert more.input_names == ("cumrej",)
    assert more.inputs[0, :3, 0].tolist() == [0.0, 2.0, 2.0]


def test_table_without_a_column_is_refused(tmp_path):
    path = tmp_path / "cav.csv"
    path.write_text("PTNUM,age,years,dage,sex,pdiag,state\n1,50,0,20,0,IHD,1\n")
    with pytest.raises(DataError, match="the columns cumrej of the table `cav` are not there"):
        transplant.read_cav(path)
