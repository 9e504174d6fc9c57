"""Noise of diagonal systems: exact in time, and the law of a stationary Gaussian process."""

import numpy as np
import pytest
from scipy.linalg import expm, solve_continuous_lyapunov
from scipy.stats import multivariate_normal

from dynplat.arrays import Observations, array_namespace, framework, to_numpy
from dynplat.errors import CapabilityError
from dynplat.process import LinearGaussian
from dynplat_deepssm.cells import S5
from dynplat_deepssm.gaussian import real_noise, real_readout, real_stationary, real_transition
from dynplat_deepssm.special import complex_of
from dynplat_deepssm.tests.conftest import as_arrays

CELL = S5(1, 2, 6, num_noises=2, step_range=(0.1, 1.0))


def real_system(weights):
    """The real generator of (Re x, Im x), and its loading."""
    rates, loading = CELL.rates(weights), complex_of(weights["loading"])
    A = np.block([[np.diag(rates.real), -np.diag(rates.imag)], [np.diag(rates.imag), np.diag(rates.real)]])
    return A, np.concatenate([loading.real, loading.imag])


def test_noise_is_that_of_the_real_system():
    """Against Van Loan's exponential and SciPy's Lyapunov equation."""
    weights = CELL.init(0)
    A, b = real_system(weights)
    P = solve_continuous_lyapunov(A, -b @ b.T)
    mean, prior = CELL.prior(weights)
    np.testing.assert_allclose(prior, P, atol=1e-13)
    np.testing.assert_array_equal(mean, np.zeros(6))
    gaps = np.array([0.0, 1e-6, 0.3, 40.0])
    for h, Q in zip(gaps, CELL.noise(weights, gaps), strict=True):
        block = expm(np.block([[A, b @ b.T], [np.zeros((6, 6)), -A.T]]) * min(h, 1.0))
        if h <= 1.0:
            np.testing.assert_allclose(Q, block[:6, 6:] @ block[:6, :6].T, rtol=1e-9, atol=1e-14)
        np.testing.assert_allclose(Q + expm(A * h) @ P @ expm(A * h).T, P, atol=1e-12)


def test_noise_of_two_gaps_is_that_of_their_sum():
    weights = CELL.init(1)
    one, two, both = CELL.noise(weights, np.array([0.4, 1.1, 1.5]))
    F = real_transition(np.exp(CELL.rates(weights) * 1.1))
    np.testing.assert_allclose(F @ one @ F.T + two, both, atol=1e-15)


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_kalman_likelihood_is_the_dense_gaussian_process(name):
    """40 irregular times: the law of y has covariance C e^{A tau} P C'."""
    rng = np.random.default_rng(2)
    weights = CELL.init(2)
    times = np.sort(rng.uniform(0.0, 20.0, 40))
    A, b = real_system(weights)
    P = solve_continuous_lyapunov(A, -b @ b.T)
    H = real_readout(weights["readout"])
    C = complex_of(weights["readout"]).T
    np.testing.assert_allclose(H, 2.0 * np.concatenate([C.real, -C.imag], axis=-1))
    covariance = np.empty((40, 2, 40, 2))
    for i in range(40):
        for j in range(i + 1):
            block = H @ expm(A * (times[i] - times[j])) @ P @ H.T
            covariance[i, :, j], covariance[j, :, i] = block, block.T
    covariance = covariance.reshape(80, 80) + 0.1 * np.eye(80)
    y = rng.multivariate_normal(np.zeros(80), covariance)
    wanted = multivariate_normal.logpdf(y, mean=np.zeros(80), cov=covariance)  # pyright: ignore[reportArgumentType]
    gaps = np.diff(times, prepend=times[0])
    with framework(name) as make:
        own = as_arrays(weights, make)
        rates = CELL.rates(own)
        F = real_transition(array_namespace(rates).exp(rates * make(gaps)[:, None]))
        m0, P0 = CELL.prior(own)
        Q, R = CELL.noise(own, make(gaps)), make(0.1 * np.eye(2)[None])
        chain = LinearGaussian(F, Q, real_readout(own["readout"])[None], R, m0, P0)
        seen = Observations(make(times)[None], make(y.reshape(1, 40, 2)), make(np.ones((1, 40, 2), bool)))
        found = to_numpy(chain.log_prob(seen))
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_stationary_law_broadcasts_over_draws():
    draws = [CELL.init(seed) for seed in (3, 4)]
    rates = np.stack([CELL.rates(draw) for draw in draws])[:, None]
    loading = np.stack([complex_of(draw["loading"]) for draw in draws])[:, None]
    gaps = np.array([[0.1, 0.2, 0.7]])
    found, law = real_noise(rates, loading, gaps), real_stationary(rates, loading)
    assert found.shape == (2, 1, 3, 6, 6)
    for k, draw in enumerate(draws):
        np.testing.assert_allclose(found[k, 0], CELL.noise(draw, gaps[0]), atol=1e-14)
        np.testing.assert_allclose(law[k, 0], CELL.prior(draw)[1], atol=1e-14)


def test_without_noises_there_is_no_law():
    with pytest.raises(CapabilityError, match="S5 has no noise for `noise` and `prior`; make it with `num_noises`"):
        S5(1, 1, 4).prior(S5(1, 1, 4).init(0))
