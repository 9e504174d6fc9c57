"""The wake of a cylinder: spectrum of the limit cycle, and forecasts of the transient that are held out.

The run is one trajectory of 3000 rows at steps of 0.1; it leaves the unstable steady flow, is at half its final
amplitude near t = 69 and on the limit cycle after t = 110. Protocol of the forecasts: origins t = 50, 53, ..., 68, each
forecast 30 steps ahead (half a shedding period) from the rows up to the origin; the model is fitted to the run without
the 30 rows that are forecast, so that no pair starts or ends in them.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import norm

import dynplat as dp
from dynplat.data import Trajectories
from dynplat_koopman.posterior import eigenpair_draws

AHEAD = 30
TRANSIENT = np.arange(50.0, 68.8, 3.0)
CYCLE = np.arange(150.0, 290.0, 30.0)
AFFINE = {"dictionary": "monomials:degree=1", "held_out_steps": AHEAD}
QUADRATIC = {"dictionary": "monomials:degree=2", "held_out_steps": AHEAD}


class Window(NamedTuple):
    """A forecast: truth, mean and sd, each (step, channel) in units of the channel's sd, and what persistence says."""

    truth: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    still: np.ndarray

    @property
    def crps(self) -> float:
        z = (self.truth - self.mean) / self.sd
        return float(np.mean(self.sd * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))))

    def coverage(self, level: float) -> float:
        return float(np.mean(np.abs(self.truth - self.mean) < norm.ppf(0.5 + level / 2) * self.sd))


@pytest.fixture(scope="module")
def wake():
    if not os.environ.get("DYNPLAT_DATA"):
        pytest.skip("DYNPLAT_DATA is not set: it names the directory with the catalogue's real files")
    return dp.load_dataset("cylinder-wake")


def _windows(wake, origins, **options):
    times, values = wake.times[0], wake.values[0]
    scale = values.std(axis=0)
    found = []
    for origin in origins:
        row = int(np.searchsorted(times, origin - 1e-9))
        ahead = slice(row + 1, row + 1 + AHEAD)
        train = Trajectories.from_arrays(
            np.delete(times, ahead), np.delete(values, ahead, axis=0), channels=wake.channels
        )
        past = Trajectories.from_arrays(times[: row + 1], values[: row + 1], channels=wake.channels)
        fit = dp.fit(dp.load_model("koopman/edmd", **options), train, "solve", seed=0)
        law = dp.predict(fit, times[ahead], data=past, num_draws=0, framework="numpy").dataset
        still = np.broadcast_to(values[row], (AHEAD, len(scale)))
        found.append(Window(*(part / scale for part in (values[ahead], law["mean"][0], law["sd"][0], still))))
    return found


def _mean(windows, figure):
    return float(np.mean([figure(window) for window in windows]))


def _error(windows):
    return np.sqrt(_mean(windows, lambda w: np.mean((w.truth - np.asarray(w.mean)) ** 2)))


def test_the_limit_cycle_sheds_at_its_frequency_and_harmonics(wake):
    late = wake.times[0] >= 150
    cycle = Trajectories.from_arrays(wake.times[0][late], wake.values[0][late], channels=wake.channels)
    fit = dp.fit(dp.load_model("koopman/edmd", dictionary="monomials:degree=2", tolerance=1e-9), cycle, "solve", seed=0)
    (pairs,) = eigenpair_draws(fit)
    trusted = pairs.accepted(0.01)
    frequencies = np.angle(trusted.values) / (2 * np.pi * 0.1)
    base = frequencies[np.abs(frequencies - 0.18).argmin()]
    assert base == pytest.approx(0.18, abs=0.01)
    for harmonic in range(1, 5):
        at = np.abs(frequencies - harmonic * base).argmin()
        assert frequencies[at] == pytest.approx(harmonic * base, rel=2e-3)
        assert abs(trusted.values[at]) == pytest.approx(1.0, abs=1e-3)
        assert trusted.residuals[at] < 0.01


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the operator's spectral radius")
def test_transient_forecasts_beat_persistence_and_affine_dmd_with_calibrated_bands(wake):
    affine, quadratic = (_windows(wake, TRANSIENT, **options) for options in (AFFINE, QUADRATIC))
    persistence = _mean(quadratic, lambda w: np.mean(np.abs(w.truth - w.still)))  # the CRPS of a point
    crps = [_mean(windows, lambda w: w.crps) for windows in (affine, quadratic)]
    assert crps[1] < 0.1 * crps[0] < 0.1 * persistence
    assert _error(quadratic) < 0.1 * _error(affine)
    # Windows are the independent units: the mean coverage is within two standard errors of the nominal one.
    coverage = np.array([window.coverage(0.9) for window in quadratic])
    assert abs(coverage.mean() - 0.9) < 2 * coverage.std(ddof=1) / np.sqrt(len(coverage))
    assert coverage.min() > 0.6
    # Without the scaling to held-out forecasts, bands of half the residual's width miss most of the truth.
    naive = _windows(wake, TRANSIENT, dictionary="monomials:degree=2", held_out_steps=0)
    assert _mean(naive, lambda w: w.coverage(0.9)) < 0.6


@pytest.mark.slow
def test_on_the_limit_cycle_affine_dmd_is_nearly_exact(wake):
    affine = _windows(wake, CYCLE, **AFFINE)
    assert _error(affine) < 0.04
    still = np.sqrt(_mean(affine, lambda w: np.mean((w.truth - w.still) ** 2)))
    assert still > 1.0
