"""Dates written like those of a column."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat.data.date_style import find_style, write_dates_like
from dynplat.data.dates import parse_dates

#: name -> (texts of a column, further dates in UTC, how they are written, or None for no style)
CASES = {
    "minutes": (["2024-03-01 01:57", "2024-03-02 03:57"], ["2024-03-03T00:01"], ["2024-03-03 00:01"]),
    "seconds are needed": (
        ["2024-03-01 01:57", "2024-03-02 03:57"],
        ["2024-03-03", "2024-03-03T00:00:30"],
        ["2024-03-03 00:00:00", "2024-03-03 00:00:30"],
    ),
    "day first": (["31.12.2023", "01.01.2024"], ["2024-02-03"], ["03.02.2024"]),
    "day first, no zeros": (["31.12.2023", "1.1.2024"], ["2024-02-03"], ["3.2.2024"]),
    "month first": (["12/31/2023", "1/1/2024"], ["2024-02-03"], ["2/3/2024"]),
    "a time of day is needed": (["2023-12-31"], ["2024-02-03T12:00"], ["2024-02-03 12:00"]),
    "halves of the day": (
        ["12/31/2023 1:05 PM", "1/1/2024 11:05 AM"],
        ["2024-01-02", "2024-01-02T13:07"],
        ["1/2/2024 12:00 AM", "1/2/2024 1:07 PM"],
    ),
    "months": (["2024-01", "2024-02"], ["2024-03-01"], ["2024-03"]),
    "a day is needed": (["2024-01", "2024-02"], ["2024-03-02"], ["2024-03-02"]),
    "short names": (["10 Mar 2004", "3 Apr 2004"], ["2004-09-02"], ["2 Sep 2004"]),
    "full names": (["March 10, 2004", "May 1, 2004"], ["2004-09-02"], ["September 2, 2004"]),
    "capitals": (["10-MAR-2004", "03-APR-2004"], ["2004-09-02"], ["02-SEP-2004"]),
    "offset": (["2024-01-01T10:00:00+09:00"], ["2024-01-01T02:00"], ["2024-01-01T11:00:00+09:00"]),
    "zulu": (["2024-01-01T00:00:00Z"], ["2024-03-02T03:04:05"], ["2024-03-02T03:04:05Z"]),
    "fraction": (
        ["2024-01-01 00:00:00,25", "2024-01-01 00:00:01,50"],
        ["2024-01-01T00:00:01.75"],
        ["2024-01-01 00:00:01,75"],
    ),
    "a finer fraction": (["2024-01-01 00:00:00.2"], ["2024-01-01T00:00:01.7504"], ["2024-01-01 00:00:01.750400"]),
    "fractions of three digits": (
        ["2024-01-01 00:00:00.250", "2024-01-01 00:00:01.500"],
        ["2024-01-01T00:00:01.75", "2024-01-01T00:00:02"],
        ["2024-01-01 00:00:01.750", "2024-01-01 00:00:02.000"],
    ),
    "before pandas": (["1500-01-01", "1501-01-01"], ["1502-01-01"], ["1502-01-01"]),
    "two offsets": (["2024-01-01T00:00:00+01:00", "2024-06-01T00:00:00+02:00"], ["2024-06-02"], None),
    "two styles": (["2024-01-01 00:00", "2024-01-02"], ["2024-01-03"], None),
    "the end of time": (["9999-12-30", "9999-12-31"], ["9999-12-31"], None),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_further_dates_are_written_like_the_column(case):
    texts, further, expected = CASES[case]
    labels = parse_dates(texts).labels
    assert write_dates_like(texts, labels, np.array(further, dtype=labels.dtype)) == expected


def test_a_style_writes_its_own_column_again():
    for texts, _, expected in CASES.values():
        labels = parse_dates(texts).labels
        style = find_style(texts, labels) if labels.astype("M8[D]").max() < np.datetime64("9999-01-01") else None
        if style is not None:
            assert list(style.write(labels)) == texts
        assert style is not None or expected is None


def test_no_dates_have_no_style():
    assert (
        write_dates_like([], np.array([], dtype="datetime64[ns]"), np.array(["2024-01-01"], "datetime64[ns]")) is None
    )
