from __future__ import annotations

import numpy as np
import pytest

import dynplat as dp
from dynplat.data import Trajectories
from dynplat_filtering.periods import CALENDAR_DAYS, find_periods, num_harmonics, spectral_peaks


def series(times, values, **options) -> Trajectories:
    return Trajectories.from_arrays(np.asarray(times, dtype=float), np.asarray(values, dtype=float), **options)


def thinned(data: Trajectories, share: float, seed: int = 0) -> Trajectories:
    keep = np.random.default_rng(seed).random(data.values.shape) < share
    return Trajectories.from_arrays(
        data.times, data.values, mask=data.mask & keep, lengths=data.lengths, time_unit=data.time_unit
    )


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_year_is_found_in_co2(share):
    assert find_periods(thinned(dp.load_dataset("mauna-loa-co2"), share)) == (CALENDAR_DAYS[0],)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_twelve_months_are_found_in_el_nino(share):
    data = thinned(dp.load_dataset("el-nino"), share)
    months = Trajectories.from_arrays(np.arange(data.times.size, dtype=float), data.values[0], mask=data.mask[0])
    assert find_periods(months) == (12.0,)
    assert find_periods(data) == pytest.approx((1.0,), rel=1e-9)  # its own unit is the year


def test_eleven_years_are_found_in_sunspots():
    assert find_periods(dp.load_dataset("sunspots")) == (11.0,)


def test_nothing_is_found_in_nile():
    assert find_periods(dp.load_dataset("nile")) == ()


@pytest.mark.parametrize("unit", ["h", "D"])
def test_day_is_found_though_its_second_harmonic_is_stronger(unit):
    hours = np.arange(24 * 40)
    angle = 2 * np.pi * hours / 24
    values = np.cos(angle) + 2.0 * np.cos(2 * angle + 1.0) + 0.5 * np.random.default_rng(0).normal(size=hours.size)
    times = hours if unit == "h" else hours / 24
    assert find_periods(series(times, values, time_unit=unit)) == ((24.0,) if unit == "h" else (1.0,))


def test_two_seasons_are_found_in_irregular_times():
    rng = np.random.default_rng(1)
    days = np.sort(rng.uniform(0, 2200, 1500))
    values = 2 * np.cos(2 * np.pi * days / 365.2425) + np.cos(2 * np.pi * days / 7 + 1) + 0.5 * rng.normal(size=1500)
    assert find_periods(series(days, values, time_unit="D")) == (365.2425, 7.0)


def test_day_is_found_beside_a_stronger_week():
    hours = np.arange(24.0 * 70)
    values = 2 * np.cos(2 * np.pi * hours / 168) + np.cos(2 * np.pi * hours / 24)
    values += 0.5 * np.random.default_rng(8).normal(size=hours.size)
    assert find_periods(series(hours, values)) == (168.0, 24.0)


def test_period_moves_to_the_calendar_only_where_the_data_cannot_tell():
    rng = np.random.default_rng(2)
    days = np.arange(700.0)
    for period, expected in ((7.003, 7.0), (7.3, None)):
        values = np.cos(2 * np.pi * days / period) + 0.1 * rng.normal(size=days.size)
        (found,) = find_periods(series(days, values, time_unit="D"))
        assert found == expected if expected else found == pytest.approx(period, rel=2e-3)


def test_calendar_means_nothing_to_plain_numbers():
    times = np.arange(0, 70, 0.13)
    values = np.cos(2 * np.pi * times / 6.98) + 0.1 * np.random.default_rng(3).normal(size=times.size)
    (found,) = find_periods(series(times, values))
    assert found != 7.0
    assert found == pytest.approx(6.98, rel=0.01)


def noise(kind: str, size: int, seed: int) -> np.ndarray:
    shocks = np.random.default_rng(seed).normal(size=size)
    if kind == "white":
        return shocks
    memory = {"red": 0.9, "walk": 1.0}[kind]
    values = np.empty(size)
    state = 0.0
    for i, shock in enumerate(shocks):
        values[i] = state = memory * state + shock
    return values


@pytest.mark.parametrize("kind", ["white", "red", "walk"])
@pytest.mark.parametrize("size", [60, 250])
def test_noise_has_a_season_in_at_most_two_of_a_hundred_series(kind, size):
    alarms = sum(bool(find_periods(series(np.arange(size), noise(kind, size, seed)))) for seed in range(100))
    assert alarms <= 2


@pytest.mark.parametrize("values", [np.zeros(50), np.arange(50.0) ** 3, np.full(50, np.nan), np.arange(3.0)], ids=str)
def test_series_without_anything_to_find_have_no_period(values):
    assert find_periods(series(np.arange(len(values)), values)) == ()


def test_season_of_fewer_than_three_cycles_is_left_to_the_trend():
    times = np.arange(120.0)
    assert find_periods(series(times, np.cos(2 * np.pi * times / 70))) == ()


def test_hidden_cells_are_not_looked_at():
    times = np.arange(300.0)
    wave = np.cos(2 * np.pi * times / 12) + 0.3 * np.random.default_rng(4).normal(size=300)
    shown = np.random.default_rng(5).random(300) < 0.6
    loud = np.where(shown, wave, 100 * np.cos(2 * np.pi * times / 7))
    assert find_periods(series(times, loud, mask=shown)) == (12.0,)


def test_peaks_are_the_strongest_periods():
    times = np.arange(400.0)
    values = 2 * np.cos(2 * np.pi * times / 31) + np.cos(2 * np.pi * times / 8.5)
    assert spectral_peaks(series(times, values), 2) == pytest.approx((31.0, 8.5), rel=0.01)


@pytest.mark.parametrize("size", [1, 2, 9, 12])
def test_peaks_are_always_as_many_as_asked_for(size):
    rng = np.random.default_rng(6)
    peaks = spectral_peaks(series(np.cumsum(rng.uniform(0.5, 2, size)), rng.normal(size=size)), 3)
    assert len(peaks) == 3
    assert all(np.isfinite(p) and p > 0 for p in peaks)


@pytest.mark.parametrize(("period", "gap", "expected"), [(12, 1, 4), (7, 1, 3), (4, 1, 2), (2, 1, 1), (365.25, 7, 4)])
def test_harmonics_are_those_that_the_step_carries(period, gap, expected):
    assert num_harmonics(period, gap) == expected
