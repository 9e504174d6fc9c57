"""Companion systems are autoregressions, and their Fourier form is the plain recurrence."""

import numpy as np
import pytest

from dynplat_deepssm import companion
from dynplat_deepssm.cells import Companion
from dynplat_deepssm.executors import closed_loop, run
from dynplat_deepssm.fourier import convolve, correlate, last_of_powers, reciprocal, sum_of_powers
from dynplat_deepssm.tests.conftest import assert_close

PHI = np.array([0.6, -0.3, 0.2, 0.1, -0.2, 0.15])


def shift(phi, closed=False):
    """Weights of a system whose state is the last inputs."""
    n = len(phi)
    readout = np.stack([phi, phi])[None] if closed else phi[None, None]
    return {"column": np.zeros((1, n)), "write": np.eye(n)[:1], "readout": readout}


def test_shift_system_is_an_autoregression():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(400)
    series = np.zeros(406)
    for k in range(400):
        series[k + 6] = PHI @ series[k + 5 : k - 1 if k else None : -1][:6] + noise[k]
    series = series[6:]
    cell = Companion(1, 6)
    for mode in ("loop", "scan", "convolution"):
        y, state = run(cell, shift(PHI), series[:, None], mode=mode)
        # The output after row k is the forecast of row k + 1.
        np.testing.assert_allclose(series[1:] - y[:-1, 0], noise[1:], atol=1e-13)
        ahead = closed_loop(cell, shift(PHI), state, y[-1], 19)
        past = list(series)
        for _ in range(20):
            past.append(PHI @ np.array(past[:-7:-1]))
        np.testing.assert_allclose(np.r_[y[-1], ahead[:, 0]], past[400:], atol=1e-13)


def test_closed_loop_is_the_closed_matrix():
    """A + b K' runs on; c reads out. Both with one b."""
    cell = Companion(2, 5, closed=True)
    weights = cell.init(0)
    past = np.random.default_rng(1).standard_normal((3, 12, 2))
    y, state = run(cell, weights, past)
    weights_of = cell.elements(weights, past)
    found = closed_loop(cell, weights, state, y[:, -1, 2:], 7)
    for channel in range(2):
        A = companion.matrix(weights_of.column[0, channel])
        b = weights["write"][channel]
        c, K = weights["readout"][channel]
        closed = A + np.outer(b, K)
        x = state[:, channel]
        for step in range(7):
            x = x @ closed.T
            np.testing.assert_allclose(found[:, step, channel], x @ c, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("num_states", [8, 32, 128])
def test_a_closed_loop_starts_near_the_edge_of_stability(num_states):
    """In single precision two hundred steps would overflow where a mode grows by more than half a step."""
    cell = Companion(40, num_states, closed=True)
    weights = cell.init(0)
    radii = []
    for column, b, (_, K) in zip(weights["column"], weights["write"], weights["readout"], strict=True):
        A = companion.matrix(column / max(1.0, np.abs(column).sum()))
        radii.append(np.abs(np.linalg.eigvals(A + np.outer(b, K))).max())
    assert max(radii) < 1.4
    assert 0.85 < np.median(radii) < 1.05


def test_fourier_form_is_the_krylov_sequence():
    """The kernel c A^l b of a system of order 64 over 336 rows, by products with A."""
    cell = Companion(3, 64)
    weights = cell.init(0)
    impulse = np.zeros((336, 3))
    impulse[0] = 1.0
    kernel, last = run(cell, weights, impulse, mode="convolution")
    column = cell.elements(weights, impulse).column[0]
    assert np.abs(column).sum(axis=-1) == pytest.approx(1.0, abs=1e-14)
    for channel in range(3):
        A = companion.matrix(column[channel])
        assert np.abs(np.linalg.eigvals(A)).max() < 1.0
        x, naive = weights["write"][channel], []
        for _ in range(336):
            naive.append(weights["readout"][channel, 0] @ x)
            x = A @ x
        assert_close(kernel[:, channel], np.array(naive), 1e-13)
    wanted = run(cell, weights, impulse, mode="loop")
    assert_close((kernel, last), wanted, 1e-13)


def test_short_and_unnormalised_columns():
    """Columns of small norm are left as they are; sequences shorter than the order keep what has not left the state."""
    cell = Companion(2, 6)
    weights = cell.init(3)
    weights["column"] *= 0.01
    np.testing.assert_array_equal(cell.elements(weights, np.zeros((1, 2))).column[0], weights["column"])
    state = np.random.default_rng(4).standard_normal((2, 6))
    for length in (1, 2, 5, 6, 7):
        u = np.random.default_rng(length).standard_normal((length, 2))
        found = run(cell, weights, u, state=state, mode="convolution")
        assert_close(found, run(cell, weights, u, state=state, mode="loop"), 1e-12)


def test_power_series_and_sums_of_powers():
    rng = np.random.default_rng(5)
    p = np.r_[1.0, rng.uniform(-0.2, 0.2, 6)]
    inverse = reciprocal(p, 37)
    np.testing.assert_allclose(np.convolve(p, inverse)[:37], np.eye(37)[0], atol=1e-13)
    left, right = rng.standard_normal((2, 9))
    np.testing.assert_allclose(correlate(left, right), [left[m:] @ right[: 9 - m] for m in range(9)], atol=1e-13)
    np.testing.assert_allclose(convolve(left, right), np.convolve(left, right)[:9], atol=1e-13)
    base = 0.9 * np.exp(1j * rng.uniform(0, 3, 4))
    base[0] = 0.0
    weight = rng.standard_normal(4) + 1j * rng.standard_normal(4)
    for length in (1, 2, 10, 17):
        table = base[:, None] ** np.arange(length)
        np.testing.assert_allclose(sum_of_powers(weight, base, length), (weight @ table).real, atol=1e-13)
        u = rng.standard_normal((3, length))
        np.testing.assert_allclose(last_of_powers(base, u), u @ table[:, ::-1].T, atol=1e-13)
