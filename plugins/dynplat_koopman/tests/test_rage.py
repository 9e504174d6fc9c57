"""Running averages: closed forms of pure, mixed and continuous spectra, and the law's two limits."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat.errors import ArgumentError, DataError
from dynplat_koopman.rage import running_averages, trajectory_running_averages
from dynplat_koopman.tests.systems import CAT_MAP, cat_map_orbits, fourier, lorenz

OMEGA = 2.0 * np.pi * (np.sqrt(5.0) - 1.0) / 2.0


def delays(values, count, points, gap=1):
    return np.stack([values[gap * j : gap * j + points] for j in range(count)], axis=1)


def test_rotation_has_the_closed_form():
    # g = cos x and P_1 on g itself: <K^l g, g>^2 / |g|^4 = cos(l omega)^2, whose average over J steps is
    # 1/2 + sin(J omega) cos((J - 1) omega) / (2 J sin omega); with the sine as second function nothing is lost.
    x = 2 * np.pi * np.arange(64) / 64
    values = np.cos(x[:, None] + OMEGA * np.arange(500))
    found = running_averages(np.stack([np.cos(x), np.sin(x)], axis=1), values, [1, 2])
    J = np.arange(1, 501)
    expected = 0.5 + np.sin(J * OMEGA) * np.cos((J - 1) * OMEGA) / (2 * J * np.sin(OMEGA))
    np.testing.assert_allclose(found.averages[0], expected, atol=1e-12)
    np.testing.assert_allclose(found.averages[1], 1.0, atol=1e-12)
    assert found.changes[0] < 0.01
    np.testing.assert_allclose(found.noise, [1 / 64, 2 / 64])


def test_cat_map_has_the_closed_form():
    # Only three lags of g itself are not 0: the average is (c_0^2 + |c_1|^2 + |c_2|^2) / (J c_0^2), and goes to 0. With
    # the functions g, Kg the second term of each lag is that of Gram and Schmidt.
    orbits = cat_map_orbits(5)
    found = running_averages(orbits[:, :2], orbits[:, :5], [1, 2])
    c = np.r_[CAT_MAP, np.zeros(3)]
    expected = np.cumsum(np.abs(c[:5]) ** 2) / np.arange(1, 6) / c[0].real ** 2
    np.testing.assert_allclose(found.averages[0], expected, atol=1e-12)
    gram = np.array([[c[0], c[1]], [c[1].conj(), c[0]]])
    shares = []
    for lag in range(5):
        inner = np.array([c[lag], c[abs(lag - 1)] if lag else c[1].conj()])
        shares.append((inner.conj() @ np.linalg.solve(gram, inner)).real / c[0].real)
    np.testing.assert_allclose(found.averages[1], np.cumsum(shares) / np.arange(1, 6), atol=1e-12)


def test_half_of_a_mixed_system_is_point_spectrum():
    # An irrational rotation beside the cat map: of g + cos(theta) the rotation's half stays.
    orbits = cat_map_orbits(5, grid=64)
    theta = 2 * np.pi * np.arange(8) / 8
    points, steps = len(orbits), np.arange(6)
    turning = np.sqrt(2 * 0.65625) * np.cos(theta[:, None] + OMEGA * steps)
    g = (orbits[None] + turning[:, None]).reshape(-1, 6)
    psi = np.concatenate([np.repeat(fourier(theta, 1), points, axis=0), np.tile(orbits[:, :1], (8, 1))], axis=1)
    found = running_averages(psi, g, [3, 4])
    # The rotation's functions hold exactly one half at every step; the fourth function holds the cat map's part, whose
    # average over J steps falls like 1/J.
    np.testing.assert_allclose(found.averages[0], 0.5, atol=1e-12)
    c = np.abs(np.r_[CAT_MAP, np.zeros(3)]) ** 2
    np.testing.assert_allclose(found.averages[1], 0.5 + np.cumsum(c) / np.arange(1, 7) / (2 * c[0]), atol=1e-12)


def test_periodic_quasi_periodic_and_mixing_trajectories_tell_themselves_apart():
    # The qualitative law: a periodic and a quasi-periodic signal stay in finitely many functions, a mixing one leaves
    # them, down to what n functions hold of noise.
    steps = np.arange(4000)
    periodic = np.cos(0.3 * steps) + 0.4 * np.sin(0.9 * steps)
    torus = np.cos(0.3 * steps) + np.cos(0.3 * np.sqrt(2) * steps) + 0.5 * np.cos(0.3 * (1 + np.sqrt(2)) * steps)
    chaotic = lorenz(4000, step=0.1)[:, 0]
    shares = {}
    for name, g, sizes in (("periodic", periodic, [1, 4]), ("torus", torus, [1, 4, 6]), ("mixing", chaotic, [1, 4, 6])):
        g = g - g.mean()
        found = trajectory_running_averages(delays(g, sizes[-1], 1900, gap=2), g, 1900, sizes)
        shares[name] = found
        assert (found.changes < 0.02).all()
        assert (np.diff(found.shares) >= -1e-12).all()
    assert shares["periodic"].shares[0] < 0.8
    assert shares["periodic"].shares[1] > 0.999
    assert shares["torus"].shares[1] < 0.99
    assert shares["torus"].shares[2] > 0.999
    assert shares["mixing"].shares[2] < 0.05
    # At the start there is no difference: everything of g is in the first function.
    assert all(found.averages[0, 0] > 0.999 for found in shares.values())


def test_trajectories_equal_plain_loops():
    rng = np.random.default_rng(0)
    g = rng.normal(size=140) + 1j * rng.normal(size=140)
    psi = rng.normal(size=(50, 3))
    found = trajectory_running_averages(psi, g, 60, [1, 3])
    windows = np.stack([g[l : l + 50] for l in range(60)], axis=1)
    np.testing.assert_allclose(found.averages, running_averages(psi, windows, [1, 3]).averages, atol=1e-12)
    for row, n in enumerate((1, 3)):
        P = psi[:, :n] @ np.linalg.pinv(psi[:, :n])
        shares = np.linalg.norm(P @ windows, axis=0) ** 2 / np.linalg.norm(windows, axis=0) ** 2
        np.testing.assert_allclose(found.averages[row], np.cumsum(shares) / np.arange(1, 61), atol=1e-12)


def test_weights_are_those_of_the_inner_product():
    rng = np.random.default_rng(1)
    psi, g, w = rng.normal(size=(30, 2)), rng.normal(size=(30, 4)), rng.integers(1, 4, size=30)
    repeated = running_averages(np.repeat(psi, w, axis=0), np.repeat(g, w, axis=0))
    np.testing.assert_allclose(running_averages(psi, g, weights=w).averages, repeated.averages, atol=1e-13)


def test_what_cannot_be_is_refused():
    rng = np.random.default_rng(2)
    psi, g = rng.normal(size=(30, 3)), rng.normal(size=40)
    with pytest.raises(DataError, match="20 steps from 30 points need 49 values; got 40"):
        trajectory_running_averages(psi, g, 20)
    with pytest.raises(DataError, match="3 functions hold everything at 3 points"):
        trajectory_running_averages(psi[:3], g, 2)
    with pytest.raises(DataError, match="function 2 depends on those before it"):
        trajectory_running_averages(np.c_[psi[:, :2], psi[:, 0] - psi[:, 1]], g, 5)
    with pytest.raises(
        ArgumentError, match=r"`dimensions` must be between 1 and the number of functions, 3; got \[4\]"
    ):
        trajectory_running_averages(psi, g, 5, [4])
    with pytest.raises(ArgumentError, match="a row for each of the 30 starts; got 29"):
        running_averages(psi, np.ones((29, 4)))
    with pytest.raises(DataError, match="0 at all points, 1 steps after"):
        running_averages(psi, np.c_[np.ones(30), np.zeros(30)])
