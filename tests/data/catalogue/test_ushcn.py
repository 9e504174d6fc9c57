from __future__ import annotations

import numpy as np
import pytest

from dynplat.data.catalogue import ushcn
from dynplat.errors import DataError

MISSING = "-9999   "


def line(element: str, days: dict[int, str], month: str = "02") -> str:
    fields = [days.get(day, MISSING) for day in range(1, 32)]
    return "370896" + "2013" + month + element + "".join(fields)


@pytest.fixture
def small(tmp_path, monkeypatch):
    path = tmp_path / "state.txt"
    path.write_text(
        "\n".join(
            [
                line("TMAX", {1: "   50  6", 2: "   32 I6", 28: "   14  6"}),
                line("PRCP", {1: "  100  6", 2: "    0T 6", 3: "    0P  "}),
                line("SNOW", {1: "   10  6"}),
                line("SNWD", {1: "    2  6"}),
            ]
        )
        + "\n"
    )
    monkeypatch.setattr(ushcn, "fetch", lambda _: path)
    return path


def column(data, element: str) -> dict[str, float]:
    channel = data.channels.index(element)
    seen = data.mask[0, :, channel]
    return {
        str(day)[:10]: value
        for day, value in zip(data.labels[0][seen], data.values[0, seen, channel].round(9).tolist(), strict=True)
    }


def test_units_become_metric_or_stay(small):
    metric = ushcn.load_ushcn()
    assert column(metric, "TMAX") == {"2013-02-01": 10.0, "2013-02-28": -10.0}
    assert column(metric, "PRCP")["2013-02-01"] == 25.4
    assert column(metric, "SNOW") == {"2013-02-01": 25.4}
    assert column(metric, "SNWD") == {"2013-02-01": 50.8}
    assert metric.units == {"PRCP": "mm", "SNOW": "mm", "SNWD": "mm", "TMAX": "degC", "TMIN": "degC"}
    native = ushcn.load_ushcn(units="native")
    assert column(native, "TMAX") == {"2013-02-01": 50.0, "2013-02-28": 14.0}
    assert [column(native, name)["2013-02-01"] for name in ("PRCP", "SNOW", "SNWD")] == [1.0, 1.0, 2.0]
    assert native.units["PRCP"] == "in"


def test_value_with_a_quality_flag_is_dropped(small):
    assert "2013-02-02" not in column(ushcn.load_ushcn(), "TMAX")


def test_trace_is_zero_or_missing(small):
    assert column(ushcn.load_ushcn(), "PRCP") == {"2013-02-01": 25.4, "2013-02-02": 0.0, "2013-02-03": 0.0}
    assert column(ushcn.load_ushcn(trace="missing"), "PRCP") == {"2013-02-01": 25.4, "2013-02-03": 0.0}
    assert column(ushcn.load_ushcn(presumed_zero="missing"), "PRCP") == {"2013-02-01": 25.4, "2013-02-02": 0.0}


def test_days_that_do_not_exist_are_dropped_and_refused_with_a_value(small):
    assert ushcn.read_days(small).date.max() == np.datetime64("2013-02-28")
    small.write_text(line("TMAX", {29: "   50  6"}) + "\n")
    with pytest.raises(DataError, match=r"row 1: 2013-02 has 28 days, and day 29 holds 50"):
        ushcn.read_days(small)


def test_short_line_and_unknown_element_are_refused(small):
    small.write_text(line("TMAX", {})[:-1] + "\n")
    with pytest.raises(DataError, match="row 1: a line of 264 characters is expected; got 263"):
        ushcn.read_days(small)
    small.write_text(line("WIND", {}) + "\n")
    with pytest.raises(DataError, match="row 1: a field cannot be read"):
        ushcn.read_days(small)


@pytest.fixture(scope="module")
def days(mirror):
    return ushcn.read_days(mirror / "ushcn/state37_RI.txt")


def test_real_file_counts_values_traces_and_quality_flags(days):
    counts = np.bincount(days.element, minlength=5).tolist()
    assert dict(zip(ushcn.ELEMENTS, counts, strict=True)) == {
        "PRCP": 81_196,
        "SNOW": 68_589,
        "SNWD": 64_709,
        "TMAX": 84_397,
        "TMIN": 84_393,
    }
    traces = days.measurement == "T"
    assert traces.sum() == 11_794
    assert (days.value[traces] == 0).all()
    assert not np.isin(days.element[traces], [3, 4]).any()
    assert (days.measurement == "P").sum() == 27_494
    assert (days.value[days.measurement == "P"] == 0).all()
    assert np.isin(days.quality, sorted(ushcn.BAD_QUALITY)).sum() == (days.quality != " ").sum() == 412


def test_real_file_loads_three_stations_without_flagged_values(mirror):
    data = ushcn.load_ushcn()
    assert data.series == ("370896", "374266", "376698")
    assert data.mask.sum() == 383_284 - 412
    assert data.labels[data.rows].min() == np.datetime64("1893-01-01")
    assert data.labels[data.rows].max() == np.datetime64("2014-12-31")
    temperatures = data.values[..., 3:][data.mask[..., 3:]]
    assert -40 < temperatures.min() < temperatures.max() < 45
