from __future__ import annotations

import numpy as np
import pytest

from dynplat.data.catalogue import bundled


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    monkeypatch.delenv("DYNPLAT_DATA", raising=False)


def run_lengths(flags: np.ndarray) -> list[int]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(int), [0]))))
    return (edges[1::2] - edges[::2]).tolist()


def test_co2_has_59_missing_weeks_in_22_gaps():
    data = bundled.load_mauna_loa_co2()
    assert data.mask.shape == (1, 2284, 1)
    missing = ~data.mask[0, :, 0]
    assert missing.sum() == 59
    assert len(run_lengths(missing)) == 22
    assert data.channels == ("co2",)
    assert data.units == {"co2": "ppm"}


def test_co2_weeks_keep_their_dates():
    data = bundled.load_mauna_loa_co2()
    assert data.labels[0, 0] == np.datetime64("1958-03-29")
    assert data.labels[0, -1] == np.datetime64("2001-12-29")
    assert data.time_unit == "D"
    assert np.unique(np.diff(data.times[0])).tolist() == [7.0]
    assert data.values[0, [0, -1], 0].tolist() == [316.1, 371.5]


@pytest.mark.parametrize(
    ("load", "length", "first", "last", "total"),
    [
        (bundled.load_nile, 100, 1871, 1970, 91935.0),
        (bundled.load_sunspots, 309, 1700, 2008, 15373.4),
    ],
)
def test_annual_series_count_years(load, length, first, last, total):
    data = load()
    assert data.mask.shape == (1, length, 1)
    assert data.mask.all()
    assert data.times[0].tolist() == list(range(first, last + 1))
    assert data.time_unit == "year"
    assert data.values.sum() == pytest.approx(total, rel=1e-12)


def test_el_nino_table_is_laid_end_to_end():
    data = bundled.load_el_nino()
    assert data.mask.shape == (1, 732, 1)
    assert data.mask.all()
    # January and February 1950, December 2010, and January 1951 right after December 1950.
    assert data.values[0, [0, 1, 11, 12, -1], 0].tolist() == [23.11, 24.20, 21.80, 24.19, 22.07]
    assert data.times[0, [0, 12, 24]].tolist() == [1950.0, 1951.0, 1952.0]
    np.testing.assert_allclose(np.diff(data.times[0]), 1 / 12, rtol=1e-11)


def test_us_macro_first_rates_of_change_are_missing():
    data = bundled.load_us_macro()
    assert data.mask.shape == (1, 203, 12)
    assert data.times[0, [0, 1, -1]].tolist() == [1959.0, 1959.25, 2009.5]
    assert np.argwhere(~data.mask[0]).tolist() == [[0, 10], [0, 11]]
    assert data.channels[10:] == ("infl", "realint")
    cpi = data.values[0, :, data.channels.index("cpi")]
    # The inflation that the source tabulates is 400 times the log change of its price index, to the printed digits.
    np.testing.assert_allclose(data.values[0, 1:, 10], 400 * np.diff(np.log(cpi)), atol=0.006)
    assert set(data.units) == set(data.channels)
