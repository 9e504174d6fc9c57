"""Dynamics of modes against the general discretisation of linear SDEs, and against the core's oscillators."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat.arrays import framework, to_numpy
from dynplat.errors import ArgumentError
from dynplat.process.discretise import discretise
from dynplat.process.dynamics import DampedOscillator
from dynplat_koopman.modes import Modes, eigenvalues

RATE, FREQUENCY, NOISE = np.array([0.3, 0.0, 2.0, 1e-12]), np.array([0.5, 2.0]), np.array([0.7, 0.2, 1.5, 0.4])
GAPS = np.array([0.0, 1e-9, 0.1, 1.0, 3.7])


def drift(rate=RATE, frequency=FREQUENCY):
    """The generator's matrix, by hand: a 2 x 2 block for each pair, then the decays."""
    pairs = len(frequency)
    n = len(rate) + pairs
    A = np.zeros((n, n))
    for j in range(pairs):
        w = 2 * np.pi * frequency[j]
        A[2 * j : 2 * j + 2, 2 * j : 2 * j + 2] = [[-rate[j], -w], [w, -rate[j]]]
    for j in range(pairs, len(rate)):
        A[pairs + j, pairs + j] = -rate[j]
    return A


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_steps_are_those_of_the_general_discretisation(name):
    W = np.diag([0.7**2, 0.7**2, 0.2**2, 0.2**2, 1.5**2, 0.4**2])
    expected = discretise(drift(), W, GAPS)
    with framework(name) as to_array:
        modes = Modes(*(to_array(part[None, None]) for part in (RATE, FREQUENCY, NOISE)))
        F, Q, _ = modes.step(to_array(GAPS))
    assert F.shape == Q.shape == (1, 1, 5, 6, 6)
    np.testing.assert_allclose(to_numpy(F)[0, 0], expected.F, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(to_numpy(Q)[0, 0], expected.Q, rtol=1e-12, atol=1e-15)
    assert modes.batch_shape == (1, 1)


def test_a_pair_is_a_damped_oscillator():
    rate, frequency, noise = 0.4, 1.3, 0.9
    pair = Modes(np.array([rate]), np.array([frequency]), np.array([noise]))
    same = DampedOscillator(frequency=frequency, damping=rate, sd=noise / np.sqrt(2 * rate))
    for found, expected in zip(pair.step(GAPS)[:2], same.step(GAPS)[:2], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    for found, expected in zip(pair.stationary(), same.stationary(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-14)
    np.testing.assert_allclose(pair.readout, same.readout)


def test_eigenvalues_are_those_of_the_drift_and_stand_in_the_order_of_the_states():
    real, imaginary = eigenvalues(RATE, FREQUENCY)
    found = real + 1j * imaginary
    A = drift()
    np.testing.assert_allclose(np.sort_complex(found), np.sort_complex(np.linalg.eigvals(A)), atol=1e-12)
    # z_re + i z_im is multiplied by exp((-gamma + i omega) h).
    left = np.zeros(6, complex)
    left[2:4] = 1, 1j
    np.testing.assert_allclose(left @ A, found[2] * left)
    assert found[3] == found[2].conj()


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_gradients_are_finite_where_nothing_decays_and_over_no_gap(name):
    with framework(name) as to_array:
        gaps = to_array(GAPS)

        def total(rate):
            F, Q, _ = Modes(rate, to_array(FREQUENCY), to_array(NOISE)).step(gaps)
            return F.sum() + Q.sum()

        if name == "torch":
            rate = to_array(RATE).requires_grad_(True)
            total(rate).backward()
            gradient = rate.grad
        else:
            import jax

            gradient = jax.grad(total)(to_array(RATE))
        found = to_numpy(gradient)
    for j in (0, 2):
        step = 1e-6 * np.eye(4)[j]
        with framework("numpy"):
            up, down = (
                sum(part.sum() for part in Modes(RATE + s, FREQUENCY, NOISE).step(GAPS)[:2]) for s in (step, -step)
            )
        np.testing.assert_allclose(found[j], (up - down) / 2e-6, rtol=1e-6)
    # d/d gamma of q^2 (1 - e^{-2 gamma h}) / (2 gamma) at 0 is -q^2 h^2; that of e^{-gamma h} is -h, on two states.
    rotation = 2 * np.cos(2 * np.pi * 2.0 * GAPS)
    np.testing.assert_allclose(found[1], -(2 * 0.2**2 * GAPS**2).sum() - (rotation * GAPS).sum(), rtol=1e-6)
    np.testing.assert_allclose(found[3], -(0.4**2 * GAPS**2).sum() - GAPS.sum(), rtol=1e-6)


def test_numbers_of_modes_that_do_not_fit_are_refused():
    with pytest.raises(ArgumentError, match=r"one entry for each mode.*got 2, 3 and 1"):
        Modes(np.ones(2), np.ones(1), np.ones(3))
    with pytest.raises(ArgumentError, match="one for each pair; got 1, 1 and 2"):
        Modes(np.ones(1), np.ones(2), np.ones(1))
