from __future__ import annotations

import io
import tarfile
import zipfile
from collections import Counter

import numpy as np
import pytest

from dynplat.data.catalogue import physionet
from dynplat.errors import ArgumentError, DataError

TEXT = """Time,Parameter,Value
00:00,RecordID,7
00:00,Age,74
00:00,Age,68
00:00,Gender,-1
00:00,Height,-1
00:00,ICUType,3
00:00,Weight,-1
00:07,HR,60
00:07,HR,80
00:07,Urine,40
00:07,Urine,80
01:30,Weight,81.5
01:30,Weight,-1
02:00,,-1
47:59,Temp,-17.8
48:00,HR,90
"""
OUTCOMES = {7: {"SAPS-I": 6.0, "In-hospital_death": 0.0}}
CHANNELS = list(physionet.UNITS)


@pytest.fixture(scope="module")
def data(mirror):
    return physionet.load_physionet_2012()


def build(text: str = TEXT):
    return physionet.assemble([physionet.parse_stay(text, 7, source="7.txt")], OUTCOMES)


def cell(data, hour: float, channel: str) -> float:
    row = int(np.flatnonzero(np.isclose(data.times[0], hour))[0])
    assert data.mask[0, row, CHANNELS.index(channel)]
    return data.values[0, row, CHANNELS.index(channel)]


def test_minus_one_is_missing_for_height_weight_and_gender_only():
    data = build()
    for name in ("Height", "Weight", "Gender"):
        assert np.isnan(data.static[name][0])
    assert data.mask[0, :, CHANNELS.index("Weight")].sum() == 1
    assert cell(data, 47 + 59 / 60, "Temp") == -17.8


def test_time_is_hours_since_admission_up_to_48():
    data = build()
    np.testing.assert_allclose(data.times[0], [7 / 60, 1.5, 47 + 59 / 60, 48.0], rtol=1e-15)
    assert data.time_unit == "h"


@pytest.mark.parametrize("time", ["48:01", "12:60", "-1:00", "noon"])
def test_other_times_are_refused(time):
    with pytest.raises(DataError, match=r"7\.txt, row 3"):
        physionet.parse_stay(f"Time,Parameter,Value\n00:00,RecordID,7\n{time},HR,60\n", 7, source="7.txt")


def test_values_of_one_minute_are_averaged_and_urine_is_added():
    data = build()
    assert cell(data, 7 / 60, "HR") == 70.0
    assert cell(data, 7 / 60, "Urine") == 120.0


def test_static_codes_are_no_channels_and_later_weights_are():
    data = build()
    assert cell(data, 1.5, "Weight") == 81.5
    assert not {"Age", "Gender", "Height", "ICUType", "RecordID"} & set(data.channels)
    assert data.static["ICUType"].tolist() == [3.0]
    assert data.static["SAPS-I"].tolist() == [6.0]


def test_age_given_several_times_is_the_smallest_and_at_most_90():
    assert build().static["Age"].tolist() == [68.0]
    assert build(TEXT.replace("Age,74", "Age,200").replace("Age,68", "Age,200")).static["Age"].tolist() == [90.0]


def test_unknown_code_and_broken_row_are_refused_with_their_place():
    with pytest.raises(DataError, match=r"7\.txt, row 9, column 'Parameter': the code 'Pulse' is unknown"):
        build(TEXT.replace("00:07,HR,60", "00:07,Pulse,60"))
    with pytest.raises(DataError, match=r"7\.txt, row 9: a row `hh:mm,code,number` is expected; got '00:07,HR,high'"):
        build(TEXT.replace("00:07,HR,60", "00:07,HR,high"))


def test_official_archive_and_repacked_zip_give_the_same_stays(tmp_path):
    texts = {number: TEXT.replace("RecordID,7", f"RecordID,{number}") for number in (7, 9)}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number, text in texts.items():
            archive.writestr(f"set-a/{number}.txt", text)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        for name, text in [("set-a/readme.md", "no stay"), *((f"set-a/{n}.txt", t) for n, t in texts.items())]:
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    stays = [list(physionet.read_stays(tmp_path / name, [7, 9])) for name in ("a.zip", "a.tar.gz")]
    for one, other in zip(*stays, strict=True):
        assert one.record == other.record
        for mine, theirs in zip(one[1:], other[1:], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_archive_that_lacks_stays_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("set-a/7.txt", TEXT)
    with pytest.raises(DataError, match=r"holds 1 and lacks \[9\]"):
        list(physionet.read_stays(tmp_path / "a.zip", [7, 9]))
    with pytest.raises(DataError, match="4000 stays are expected"):
        list(physionet.read_stays(tmp_path / "a.zip", None))


def test_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"<html>gone</html>")
    with pytest.raises(DataError, match="no archive of text files"):
        list(physionet.read_stays(tmp_path / "a.tar.gz", [7]))


def test_all_stays_are_not_in_the_mirror(mirror):
    with pytest.raises(DataError, match="ask for `stays='first-1000'`"):
        physionet.load_physionet_2012(stays="all")
    with pytest.raises(ArgumentError, match="`stays` must be one of 'first-1000', 'all'; got 'some'"):
        physionet.load_physionet_2012(stays="some")


def test_counts_of_the_first_1000_stays(data):
    assert data.num_series == 1000
    assert data.series[0] == "132539"
    assert data.series[-1] == "135075"
    assert data.mask.shape[2] == 37
    # 437,152 rows less 4126 of RecordID, Age, Gender and Height, 1000 first weights and 1012 of the same minute.
    assert data.mask.sum() == 437_152 - 4126 - 1000 - 1012
    assert data.times.max() == 48.0
    assert data.mask[0, :, CHANNELS.index("HR")].sum() > 0


def test_merged_values_of_one_minute_are_those_counted(mirror, data):
    counts: Counter[str] = Counter()
    stays = physionet.read_stays(mirror / "physionet2012/set-a-first1000.zip", [int(name) for name in data.series])
    for stay in stays:
        pairs = stay.minutes * len(CHANNELS) + stay.codes
        _, first = np.unique(pairs, return_index=True)
        again = np.delete(np.arange(len(pairs)), first)
        counts.update(CHANNELS[code] for code in stay.codes[again])
    assert sum(counts.values()) == 1012
    assert counts.most_common(3) == [("MAP", 550), ("Urine", 373), ("Temp", 62)]


def test_statics_of_the_first_1000_stays(data):
    assert np.isnan(data.static["Height"]).sum() == 475
    assert np.isnan(data.static["Weight"]).sum() == 86
    assert np.isnan(data.static["ICUType"]).all()
    ages = data.static["Age"]
    assert (ages.min(), ages.max()) == (16.0, 90.0)
    # 132548 carries the ages 74, 68 and 73.
    assert ages[data.series.index("132548")] == 68.0
    assert set(data.static["In-hospital_death"].tolist()) == {0.0, 1.0}
    assert np.nanmin(data.static["Survival"]) >= 0.0
    assert np.isnan(data.static["Survival"]).any()
