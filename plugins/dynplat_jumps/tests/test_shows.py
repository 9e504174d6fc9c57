"""Published data and numbers of the field that take minutes, or files that are not shipped."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import dynplat as dp
from dynplat.data import Trajectories
from dynplat.marks import MOVED
from dynplat_jumps import derived
from dynplat_jumps.tests.conftest import make_ratchet

#: Days at which the rates of the bone-marrow transplants change: dense where much happens.
BREAKS = (8.0, 12.0, 16.0, 20.0, 25.0, 30.0, 40.0, 60.0, 100.0, 200.0, 365.0, 730.0, 1500.0)


def rate_error(states, times):
    """RMSE of all 30 rates of a fit to ratchet paths (series, time)."""
    data = Trajectories.from_arrays(times, states[..., None].astype(float), channels=["state"])
    model = dp.load_model("jumps/panel", first_state=0, num_states=6)
    with warnings.catch_warnings():
        # Links that do not exist have rates whose logarithms go on falling, with nothing to be gained.
        warnings.simplefilter("ignore", dp.InferenceWarning)
        fit = dp.fit(model, data, "mle", restarts=0, errors=False, max_steps=60)
    off = ~np.eye(6, dtype=bool)
    return np.sqrt(np.mean((derived.generators(fit)[0, 0] - make_ratchet(1.0))[off] ** 2))


@pytest.mark.slow
def test_ratchet_from_300_paths(mirror):
    data = dp.load_dataset("flashing-ratchet", potential=1)
    states, times = data.values[..., 0], data.times[0]
    errors = []
    for draw in range(20):
        chosen = np.random.default_rng(draw).choice(len(states), 300, replace=False)
        errors.append(rate_error(states[chosen], times))
    # The exact maximum-likelihood estimate has .091 +- .023.
    assert np.mean(errors) <= 0.10, errors


@pytest.mark.slow
def test_ratchet_from_all_paths(mirror):
    data = dp.load_dataset("flashing-ratchet", potential=1)
    assert rate_error(data.values[..., 0], data.times[0]) <= 0.012


class Events:
    """What the bone-marrow data say, for the Aalen-Johansen estimator."""

    def __init__(self, data):
        rows = []
        for series, length in enumerate(data.lengths):
            state = data.values[series, :length, 0].astype(int) - 1
            time, mark = data.times[series, :length], data.marks[series, :length]
            rows += [
                (time[k - 1], time[k], state[k - 1], state[k] if mark[k] == MOVED else -1, series)
                for k in range(1, length)
            ]
        self.start, self.stop, self.old, self.new, self.series = (
            np.array(column) for column in zip(*rows, strict=True)
        )

    def curves(self, times, weights=None):
        """P(0, t) from the first state, (time, state), each series counted as often as its weight says."""
        weight = np.ones(len(self.start)) if weights is None else weights[self.series]
        moved = self.new >= 0
        when = np.unique(self.stop[moved])
        at_risk = np.stack(
            [
                np.interp(when, *_steps(self.start[own], weight[own]), left=0.0)
                - np.interp(when, *_steps(self.stop[own], weight[own]), left=0.0)
                for own in (self.old == state for state in range(6))
            ],
            axis=-1,
        )
        counts = np.zeros((len(when), 6, 6))
        np.add.at(counts, (np.searchsorted(when, self.stop[moved]), self.old[moved], self.new[moved]), weight[moved])
        with np.errstate(invalid="ignore", divide="ignore"):
            hazard = np.nan_to_num(counts / at_risk[:, :, None])
        law, found, k = np.eye(6)[0], [], 0
        for time in times:
            while k < len(when) and when[k] <= time:
                law = law + law @ hazard[k] - law * hazard[k].sum(axis=1)
                k += 1
            found.append(law)
        return np.array(found)


def _steps(times, weights):
    """Weight of what lies strictly before a time, as points of a step function."""
    if not len(times):
        return np.array([0.0]), np.array([0.0])
    values, place = np.unique(times, return_inverse=True)
    total = np.bincount(place, weights).cumsum()
    # A step just after each time.
    points = np.column_stack([values, np.nextafter(values, np.inf)]).ravel()
    return points, np.column_stack([np.r_[0.0, total[:-1]], total]).ravel()


def test_bone_marrow_curves_need_rates_that_change(mirror):
    data = dp.load_dataset("ebmt")
    times = np.array([15.0, 30.0, 100.0, 200.0, 365.0, 730.0, 1500.0, 3000.0])
    events = Events(data)
    curves = events.curves(times)
    assert curves[2, 0] == pytest.approx(0.21, abs=0.005)
    rng = np.random.default_rng(0)
    size = len(data.series)
    again = [events.curves(times, np.bincount(rng.integers(size, size=size), minlength=size) * 1.0) for _ in range(60)]
    error = np.std(again, axis=0)

    constant = dp.fit(dp.load_model("jumps/multistate"), data, "mle", restarts=0, errors=False)
    flat = derived.probabilities(derived.generators(constant)[0, 0], times)[:, 0]
    assert flat[2, 0] == pytest.approx(0.81, abs=0.005)

    pieces = dp.fit(dp.load_model("jumps/multistate", breaks=BREAKS), data, "mle", restarts=0, errors=False)
    assert pieces.log_likelihood - constant.log_likelihood > 5000
    # Rates of the pieces are events over time at risk, so that expected counts are those that were seen.
    generator = derived.generators(pieces)[0, 0]
    edges = [0.0, *BREAKS, np.inf]
    expected = np.zeros((6, 6))
    for Q, low, high in zip(generator, edges[:-1], edges[1:], strict=True):
        stay = np.minimum(events.stop, high) - np.maximum(events.start, low)
        expected += Q * np.bincount(events.old, np.maximum(stay, 0.0), minlength=6)[:, None]
    counts = [785, 907, 95, 160, 227, 112, 39, 433, 56, 197, 107, 137]
    links = np.asarray(pieces.context["links"])
    np.testing.assert_allclose(expected[tuple(links.T)], counts, rtol=1e-2)

    law, now, k = np.eye(6)[0], 0.0, 0
    for time, curve, width in zip(times, curves, error, strict=True):
        while True:
            until = min(time, edges[k + 1])
            law = law @ derived.probabilities(generator[k], [until - now])[0]
            now = until
            if until == time:
                break
            k += 1
        assert (np.abs(law - curve) <= 1.96 * width + 1e-3).all(), (time, law, curve, width)
