"""Times as floats and as dates: neither may cost the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynplat.data.clock import NANOSECONDS, Clock, fit_resolution
from dynplat.errors import ArgumentError

ORIGIN = np.datetime64("1958-03-29T00:00:00.000000000")
CENTURY = 36_525 * 86_400


@settings(max_examples=200, deadline=None)
@given(
    seconds=st.lists(st.integers(-CENTURY, CENTURY), min_size=1, max_size=20),
    unit=st.sampled_from(["W", "D", "h", "min", "s"]),
)
def test_labels_of_whole_seconds_come_back_over_two_centuries(seconds, unit):
    clock = Clock(unit, ORIGIN)
    labels = ORIGIN + np.array(seconds).astype("timedelta64[s]")
    assert (clock.labels(clock.numbers(labels)) == labels).all()


@settings(max_examples=200, deadline=None)
@given(microseconds=st.integers(-50 * CENTURY * 10**4, 50 * CENTURY * 10**4), unit=st.sampled_from(["D", "h", "s"]))
def test_labels_of_microseconds_come_back_over_half_a_century(microseconds, unit):
    clock = Clock(unit, ORIGIN)
    labels = ORIGIN + np.array([microseconds]).astype("timedelta64[us]")
    assert (clock.labels(clock.numbers(labels)) == labels).all()


@settings(max_examples=200, deadline=None)
@given(first=st.integers(-(2**62), 2**62), gap=st.integers(0, 10**9), unit=st.sampled_from(sorted(NANOSECONDS)))
def test_numbers_never_run_against_labels(first, gap, unit):
    clock = Clock(unit, np.datetime64(0, "ns"))
    early, late = clock.numbers(np.array([first, first + gap]).astype("datetime64[ns]"))
    assert early <= late


@settings(max_examples=200, deadline=None)
@given(number=st.floats(-1e5, 1e5), unit=st.sampled_from(["D", "h", "s"]))
def test_numbers_come_back_to_the_resolution_of_labels(number, unit):
    clock = Clock(unit, ORIGIN)
    tick = 1 / NANOSECONDS[unit]
    back = clock.numbers(clock.labels(np.array([number])))[0]
    assert abs(back - number) <= max(tick, 2 * np.spacing(abs(number)))


def test_number_equals_days_since_origin():
    clock = Clock("D", ORIGIN)
    labels = np.array(["1958-03-29", "1958-03-30T12", "1958-03-22"], dtype="datetime64[ns]")
    assert clock.numbers(labels).tolist() == [0.0, 1.5, -7.0]


def test_labels_are_the_roundest_that_fit():
    clock = Clock("D", np.datetime64("2000-01-01", "ns"))
    third = clock.numbers(np.array(["2021-05-04T08:00:00.123"], dtype="datetime64[ns]"))
    assert str(clock.labels(third)[0]) == "2021-05-04T08:00:00.123000000"


def test_resolution_is_nanoseconds_inside_their_range_and_microseconds_outside():
    assert fit_resolution(np.array(["2020-01-01"], dtype="datetime64[D]")).dtype == "datetime64[ns]"
    assert fit_resolution(np.array(["1500-01-01", "NaT"], dtype="datetime64[s]")).dtype == "datetime64[us]"


def test_dates_before_1677_are_counted():
    labels = fit_resolution(np.array(["1066-10-14", "1966-10-14"], dtype="datetime64[D]"))
    clock = Clock.starting(labels)
    assert (clock.labels(clock.numbers(labels)) == labels).all()
    assert clock.numbers(labels)[1] == (labels[1] - labels[0]) / np.timedelta64(1, "D")


def test_unit_that_cannot_count_dates_is_refused():
    with pytest.raises(ArgumentError, match=r"`time_unit`.*one of W, D, h.*got 'fortnight'"):
        Clock("fortnight", ORIGIN)


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e30])
def test_numbers_without_a_date_are_refused(number):
    with pytest.raises(ArgumentError, match="`float_times`"):
        Clock("D", ORIGIN).labels(np.array([number]))
