from __future__ import annotations

import numpy as np
import pytest

from dynplat.data.catalogue import airquality
from dynplat.errors import DataError

HEAD = ",".join(["Date", "Time", *airquality.UNITS]) + ",,\n"


def row(date: str, value: str = "1") -> str:
    return f"{date},18:00:00," + ",".join([value, *["2"] * 12]) + ",,\n"


def test_dates_are_month_day_year_and_fillers_are_dropped(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(HEAD + row("3/10/2004") + row("12/31/2004", "-200") + "," * 16 + "\n" + "," * 16 + "\n")
    data = airquality.read_air_quality(path)
    assert [str(label)[:13] for label in data.labels[0]] == ["2004-03-10T18", "2004-12-31T18"]
    assert data.mask[0, :, 0].tolist() == [True, False]
    assert data.mask[0, :, 1:].all()


def test_other_columns_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("Date,Time,CO\n3/10/2004,18:00:00,1\n")
    with pytest.raises(DataError, match=r"row 1: the columns Date, Time, CO\(GT\).* are expected; got Date, Time, CO"):
        airquality.read_air_quality(path)


@pytest.fixture(scope="module")
def data(mirror):
    return airquality.load_italian_air_quality()


def test_real_table_has_9357_hours_without_the_empty_rows(data):
    assert data.mask.shape == (1, 9357, 13)
    assert data.labels[0, 0] == np.datetime64("2004-03-10T18")
    assert data.labels[0, -1] == np.datetime64("2005-04-04T14")
    np.testing.assert_allclose(np.diff(data.times[0]) * 24, 1.0, rtol=1e-9)


def test_real_table_missing_shares(data):
    missing = dict(zip(data.channels, (~data.mask[0]).sum(axis=0).tolist(), strict=True))
    assert missing["CO(GT)"] == 1683
    assert missing["NOx(GT)"] == 1639
    assert missing["NO2(GT)"] == 1642
    assert missing["NMHC(GT)"] == 9357 - 914
    assert {missing[name] for name in data.channels if "GT" not in name} == {366}
    assert data.values[data.mask].min() > -200


def test_real_table_sensors_drop_out_together(data):
    array = [index for index, name in enumerate(data.channels) if "GT" not in name]
    silent = ~data.mask[0][:, array]
    assert silent.all(axis=1).sum() == silent.any(axis=1).sum() == 366
    assert (~data.mask[0]).all(axis=1).sum() == 31
    assert data.units["T"] == "degC"
