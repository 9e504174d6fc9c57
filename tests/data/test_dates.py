"""Dates written as text: one meaning, or refused."""

import numpy as np
import pytest

from dynplat.data.dates import parse_dates


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2004-03-10", "2004-03-10"),
        ("2004-03", "2004-03-01"),
        ("2004/3/9", "2004-03-09"),
        ("2004.03.10 18:00", "2004-03-10T18:00"),
        ("2004-03-10T18:00:05.123456789", "2004-03-10T18:00:05.123456789"),
        ("2004-03-10 18:00:05,25", "2004-03-10T18:00:05.25"),
        ("2004-03-10 6:05 PM", "2004-03-10T18:05"),
        ("2004-03-10 12:05 am", "2004-03-10T00:05"),
        ("10 Mar 2004", "2004-03-10"),
        ("10-March-2004 07:30", "2004-03-10T07:30"),
        ("Sept. 9, 2004", "2004-09-09"),
        ("31/12/2004", "2004-12-31"),
        ("12/31/2004 23:59:59", "2004-12-31T23:59:59"),
        ("31.12.2004", "2004-12-31"),
        ("03/03/2004", "2004-03-03"),
        ("1500-06-01", "1500-06-01"),
    ],
)
def test_date_with_one_meaning_is_read(text, expected):
    found = parse_dates([text])
    assert found.labels is not None, found.problem
    assert found.labels[0] == np.datetime64(expected)
    assert found.zone == ""


@pytest.mark.parametrize("text", ["tomorrow", "2004-3-10 18", "10/03/04", "20040310", "10 Mrz 2004", "now", "2004-W11"])
def test_text_that_is_no_date_is_refused_by_index(text):
    found = parse_dates(["2004-03-10", text])
    assert found.labels is None
    assert found.index == 1
    assert repr(text) in found.problem
    assert "date_format" in found.hint


@pytest.mark.parametrize("text", ["2004-02-30", "2004-13-01", "2004-03-10 25:00", "2004-03-10 23:60"])
def test_day_or_hour_that_does_not_exist_is_refused(text):
    found = parse_dates(["2004-03-10", text])
    assert found.labels is None
    assert found.index == 1
    assert "does not exist" in found.problem


def test_day_and_month_are_told_apart_by_another_row():
    found = parse_dates(["03/04/2004", "25/04/2004"])
    assert found.labels is not None
    assert found.labels.astype("datetime64[D]").astype(str).tolist() == ["2004-04-03", "2004-04-25"]
    found = parse_dates(["03/04/2004", "04/25/2004"])
    assert found.labels is not None
    assert found.labels.astype("datetime64[D]").astype(str).tolist() == ["2004-03-04", "2004-04-25"]


def test_day_and_month_that_no_row_tells_apart_are_refused():
    found = parse_dates(["01/01/2004", "03/04/2004"])
    assert found.labels is None
    assert found.index == 1
    assert "'03/04/2004' can be read with the day first or with the month first" in found.problem
    assert "date_format='%d/%m/%Y'" in found.hint


def test_rows_that_need_both_orders_are_refused():
    found = parse_dates(["25/04/2004", "04/25/2004"])
    assert found.labels is None
    assert found.index == 1


def test_format_decides():
    found = parse_dates(["03/04/04"], "%d/%m/%y")
    assert found.labels is not None
    assert found.labels[0] == np.datetime64("2004-04-03")
    bad = parse_dates(["03/04/04", "3 April"], "%d/%m/%y")
    assert bad.labels is None
    assert bad.index == 1
    assert "'%d/%m/%y'" in bad.problem


def test_offset_is_kept_and_labels_are_universal():
    found = parse_dates(["2004-03-10T18:00+01:00", "2004-03-10T19:30+0100"])
    assert found.labels is not None
    assert found.zone == "+01:00"
    assert found.labels.astype("datetime64[m]").astype(str).tolist() == ["2004-03-10T17:00", "2004-03-10T18:30"]
    assert parse_dates(["2004-03-10T18:00-05:30"]).zone == "-05:30"
    assert parse_dates(["2004-03-10T18:00Z"]).zone == "UTC"
    assert parse_dates(["2004-03-10T18:00+01:00", "2004-07-10T18:00+02:00"]).zone == "UTC"


def test_offset_in_some_rows_only_is_refused():
    found = parse_dates(["2004-03-10T18:00", "2004-03-10T18:00Z"])
    assert found.labels is None
    assert found.index == 1
    assert "with an offset" in found.problem
