"""Systems whose spectra are known, as data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from scipy.integrate import solve_ivp
from scipy.linalg import toeplitz
from scipy.spatial.distance import cdist


@dataclass
class Galerkin:
    """The three matrices and nothing else."""

    gram: np.ndarray
    cross: np.ndarray
    target: np.ndarray


#: <K^n g, g> of the cat map and g = sin x + sin(2x + y)/2 + i sin(5x + 3y)/4, n = 0, 1, 2; the others are 0.
CAT_MAP = np.array([0.65625, 0.25 - 0.0625j, -0.125j])


def legendre_functions(x, count):
    """Legendre polynomials that are orthonormal on [-1, 0] with the uniform law."""
    return legendre.legvander(2.0 * x + 1.0, count - 1) * np.sqrt(2.0 * np.arange(count) + 1.0)


def gauss_map(count=40, nodes=100):
    """Values of Legendre polynomials before and after the Gauss map, and the weights of the nodes."""
    t, w = legendre.leggauss(nodes)
    x = (t - 1.0) / 2.0
    y = np.exp(-2.0 * x**2) - 1.0 - np.exp(-2.0)
    return legendre_functions(x, count), legendre_functions(y, count), w


def fourier(angles, modes):
    """Complex exponentials e^{ikx}, k = -modes, ..., modes."""
    return np.exp(1j * np.asarray(angles)[..., None] * np.arange(-modes, modes + 1))


def rotation(omega, modes=5, points=64):
    """Values of exponentials before and after a rotation of the circle by omega, on an equal grid."""
    x = 2.0 * np.pi * np.arange(points) / points
    return fourier(x, modes), fourier(x + omega, modes)


def moments_of(psi_x, psi_y, weights=None):
    """The three matrices, from their definition."""
    w = np.full(len(psi_x), 1.0) if weights is None else weights
    w = (w / w.sum())[:, None]
    return Galerkin(psi_x.conj().T @ (w * psi_x), psi_x.conj().T @ (w * psi_y), psi_y.conj().T @ (w * psi_y))


def cat_map_moments(count):
    """The matrices of the functions g, Kg, ..., K^{count - 1} g of the cat map."""
    c = np.concatenate([CAT_MAP, np.zeros(count)])
    # Entry (j, k) is <K^k g, K^j g>, whose lag is k - j.
    gram = toeplitz(c[:count].conj(), c[:count])
    cross = toeplitz(np.concatenate([[c[1], c[0]], c[1 : count - 1].conj()]), c[1 : count + 1])
    return Galerkin(gram, cross, gram)


def cat_map_density(angles):
    """The spectral density of g under the cat map, whose moments are the integrals of e^{in theta}."""
    waves = np.exp(-1j * np.asarray(angles)[..., None] * np.arange(3))
    return (CAT_MAP[0].real + 2.0 * np.real(waves[..., 1:] @ CAT_MAP[1:])) / (2.0 * np.pi)


def cat_map_orbits(steps, grid=256):
    """The observable g along exact orbits from all points of a lattice, (grid^2, steps + 1)."""
    x, y = (part.ravel() for part in np.meshgrid(np.arange(grid), np.arange(grid)))
    seen = []
    for _ in range(steps + 1):
        a, b = 2.0 * np.pi * x / grid, 2.0 * np.pi * y / grid
        seen.append(np.sin(a) + np.sin(2 * a + b) / 2 + 0.25j * np.sin(5 * a + 3 * b))
        x, y = (2 * x + y) % grid, (x + y) % grid
    return np.stack(seen, axis=1)


def duffing(seed, starts=300, steps=50, step=0.25):
    """Pairs of states of the undamped Duffing oscillator from starts in [-2, 2]^2."""
    rng = np.random.default_rng(seed)
    first = 4.0 * (rng.random((2, starts)) - 0.5)

    def slope(_, state):
        x, v = state.reshape(2, -1)
        return np.concatenate([v, x - x**3])

    times = step * np.arange(steps + 1)
    solution = solve_ivp(slope, times[[0, -1]], first.ravel(), "DOP853", times, rtol=1e-10, atol=1e-10)
    paths = solution.y.reshape(2, starts, steps + 1)
    return paths[:, :, :-1].reshape(2, -1).T, paths[:, :, 1:].reshape(2, -1).T


def exponentials(states, centres, width):
    """Radial functions exp(-r / width)."""
    return np.exp(-cdist(states, centres) / width)


def lorenz(count, step=0.05, start=(1.0, 2.0, 20.0)):
    """A trajectory (count, 3) on the attractor of the Lorenz equations."""

    def slope(_, state):
        x, y, z = state
        return [10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z]

    times = 20.0 + step * np.arange(count)
    return solve_ivp(slope, (0.0, times[-1]), start, "DOP853", times, rtol=1e-9, atol=1e-9).y.T
