r"""Find the periods of seasons in irregular, incomplete series.

The generalised Lomb-Scargle periodogram (Zechmeister and Kürster 2009, doi:10.1051/0004-6361:200811296) fits
:math:`a + b \cos\omega t + c \sin\omega t` at each frequency; its normalised power is the share of variance explained.
Powers of all series and channels are averaged with their numbers of observations as weights. A peak is accepted when it

- completes at least 2.5 cycles in the data (otherwise the trend explains it better),
- is significant against white noise (false-alarm probability below 1e-3 over all frequencies tried), and
- likewise against its own neighbourhood on both sides, so that red noise, whose power rises smoothly to low
  frequencies, has no season.

Periods are then refined, moved to a calendar period (day, week, month, year) or to a whole number of steps where the
data cannot tell the difference, and their harmonics removed before the next one is sought.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import lombscargle

from dynplat.data import Trajectories

#: Periods of the calendar in days: Gregorian year, its twelfth, a week, a day.
CALENDAR_DAYS = (365.2425, 30.436875, 7.0, 1.0)
_MIN_CYCLES = 2.5
_FALSE_ALARM = 1e-3
_MAX_FREQUENCIES = 20_000
_MAX_POINTS = 3_000
_MAX_COLUMNS = 6
#: Harmonics of a season that are not taken for another season.
_MAX_ORDER = 6


def find_periods(data: Trajectories, max_periods: int = 2) -> tuple[float, ...]:
    """Find up to `max_periods` seasonal periods, longest power first, in the unit of the data's times.

    Returns an empty tuple when nothing stands out. Only observed cells are looked at.
    """
    columns = _detrended_columns(data)
    if not columns:
        return ()
    span = max(float(np.ptp(t)) for t, _ in columns)
    gap = min(float(np.median(np.diff(np.unique(t)))) for t, _ in columns)
    if span < 4 * gap:
        return ()
    frequencies = _frequency_grid(span, gap)
    found: list[float] = []
    for _ in range(max_periods):
        power, weight = _mean_power(columns, frequencies)
        peak = _significant_peak(power, weight, frequencies, span, found)
        if peak is None:
            break
        period = _snap(1.0 / _refine(columns, peak, span), span, gap, data.time_unit)
        found.append(period)
        columns = [(t, _without_harmonics(t, y, period, gap)) for t, y in columns]
    return tuple(found)


def spectral_peaks(data: Trajectories, count: int) -> tuple[float, ...]:
    """Return the periods of the `count` highest local maxima of the mean periodogram, significant or not.

    Where there are fewer maxima, periods evenly spread on a logarithmic scale fill up: priors always have centres.
    """
    columns = _detrended_columns(data)
    rows = np.arange(data.times.shape[1]) < np.asarray(data.lengths)[:, None]
    span = max((float(np.ptp(t)) for t, _ in columns), default=float(np.ptp(data.times[rows])) if rows.any() else 1.0)
    span = span or 1.0
    gaps = [float(np.median(np.diff(np.unique(t)))) for t, _ in columns]
    gap = min(gaps, default=span / 10.0)
    frequencies = _frequency_grid(span, gap)
    power = _mean_power(columns, frequencies)[0] if columns else np.empty(0)
    inner = (
        np.flatnonzero((power[1:-1] > power[:-2]) & (power[1:-1] >= power[2:])) + 1
        if power.size > 2
        else np.empty(0, int)
    )
    best = inner[np.argsort(-power[inner])][:count]
    periods = [1.0 / _refine(columns, float(frequencies[i]), span) for i in best]
    spread = np.geomspace(span / 3.0, max(4.0 * gap, span / 100.0), count + 1)
    return tuple([*periods, *spread[: count - len(periods)]])


def num_harmonics(period: float, gap: float, at_most: int = 4) -> int:
    """Return how many harmonics of `period` data with median step `gap` can carry: at most one per two steps."""
    return int(np.clip(np.floor(period / (2.0 * gap) + 1e-9), 1, at_most))


def _detrended_columns(data: Trajectories) -> list[tuple[np.ndarray, np.ndarray]]:
    """Observed (times, values) of each series and channel, without a cubic trend, in units of their spread."""
    columns = []
    for s in range(data.num_series):
        for c in range(len(data.channels)):
            seen = data.mask[s, :, c]
            t, y = data.times[s, seen], data.values[s, seen, c]
            if t.size < 10 or np.ptp(t) == 0:
                continue
            if t.size > _MAX_POINTS:  # the newest stretch; a thinned series would alias fast seasons
                t, y = t[-_MAX_POINTS:], y[-_MAX_POINTS:]
            u = (t - t.mean()) / np.ptp(t)
            y = y - np.polynomial.Polynomial.fit(u, y, 3)(u)
            spread = y.std()
            if spread > 1e-12 * max(1.0, np.abs(data.values[s, seen, c]).max()):
                columns.append((t, y / spread))
    # The longest ones tell; a panel of hundreds would only cost time.
    return sorted(columns, key=lambda column: -column[0].size)[:_MAX_COLUMNS]


def _frequency_grid(span: float, gap: float) -> np.ndarray:
    low, high = _MIN_CYCLES / span, 0.5 / gap
    if high <= low:
        return np.empty(0)
    size = min(int(np.ceil((high - low) * span * 2)) + 1, _MAX_FREQUENCIES)
    return np.linspace(low, high, size)


def _mean_power(columns: list, frequencies: np.ndarray) -> tuple[np.ndarray, float]:
    total, weight = np.zeros(frequencies.size), 0.0
    if frequencies.size == 0:
        return total, weight
    for t, y in columns:
        power = lombscargle(t - t[0], y, 2 * np.pi * frequencies, normalize=True, floating_mean=True)
        total += t.size * np.clip(power, 0.0, 1.0)
        weight += t.size
    return total / weight, weight / len(columns)


def _significant_peak(
    power: np.ndarray, size: float, frequencies: np.ndarray, span: float, found: list[float]
) -> float | None:
    if power.size < 3 or size < 10:
        return None
    power = power.copy()
    for period in found:  # a season whose amplitude drifts leaves flanks beside its harmonics
        order = np.maximum(np.round(frequencies * period), 1)
        near = np.abs(frequencies - order / period) < np.maximum(6.0 / span, 0.05 * np.minimum(order, 4) / period)
        # A week in a year, or a day in a week, is a season of its own.
        power[near & (order <= _MAX_ORDER)] = 0.0
    independent = max(2.0 * span * (frequencies[-1] - frequencies[0]), 1.0)
    # Red noise: the power is compared with the median of its own neighbourhood. Around its local mean it is
    # exponential, so that it exceeds r medians with probability 2^-r.
    ratio = power / _local_median(power, frequencies, span)
    index = int(np.argmax(np.where(power > 0, ratio, 0.0)))
    if ratio[index] < np.log2(independent / _FALSE_ALARM):
        return None
    # White noise: the power is Beta(1, (n - 3) / 2) distributed at each of the independent frequencies.
    if power[index] < 1.0 - (_FALSE_ALARM / independent) ** (2.0 / (size - 3.0)):
        return None
    # A season that is strongest in its second or third harmonic: take the fundamental where it shows at all.
    for divisor in (4, 3, 2):
        near = np.abs(frequencies - frequencies[index] / divisor) < 0.75 / span
        if near.any() and ratio[near].max() > np.log2(divisor / _FALSE_ALARM):
            return float(frequencies[near][int(np.argmax(ratio[near]))])
    return float(frequencies[index])


def _local_median(power: np.ndarray, frequencies: np.ndarray, span: float) -> np.ndarray:
    """Median power of each frequency's neighbourhood without its own peak; infinite where there is too little of it."""
    medians = np.full(power.size, np.inf)
    spacing = frequencies[1] - frequencies[0]
    for i, frequency in enumerate(frequencies):
        width = max(15.0 / span, 0.35 * frequency)
        reach, hole = int(width / spacing), int(np.ceil(1.5 / span / spacing))
        left, right = power[max(i - reach, 0) : max(i - hole, 0)], power[i + hole + 1 : i + reach + 1]
        # Both sides are needed: on the slope of red noise one side alone is no background.
        if left.size >= 2 and right.size >= 2:
            medians[i] = max(np.median(left), np.median(right), 1e-12)
    return medians


def _refine(columns: list, peak: float, span: float) -> float:
    fine = np.linspace(peak - 0.5 / span, peak + 0.5 / span, 201)
    power, _ = _mean_power(columns, fine[fine > 0])
    return float(fine[fine > 0][int(np.argmax(power))])


def _snap(period: float, span: float, gap: float, time_unit: str) -> float:
    """Move to a period that people use where the data cannot tell the two apart: phase drifts by < 1/4 cycle."""
    tolerance = 0.25 * period / span
    candidates = list(CALENDAR_DAYS) if time_unit == "D" else []
    steps = period / gap
    if steps >= 2:
        candidates.append(round(steps) * gap)
    for candidate in candidates:
        if abs(period / candidate - 1.0) < tolerance:
            return float(candidate)
    return float(period)


def _without_harmonics(t: np.ndarray, y: np.ndarray, period: float, gap: float) -> np.ndarray:
    angles = 2 * np.pi * np.outer(t / period, np.arange(1, num_harmonics(period, gap) + 1))
    design = np.column_stack([np.ones_like(t), np.cos(angles), np.sin(angles)])
    if design.shape[1] >= t.size:
        return np.zeros_like(y)
    return y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
