r"""Autocorrelations of an observable, and the spectral density from them by filtered Fourier sums.

Needs no dictionary, only the values of the observable along trajectories:

.. math::

    c_n = \langle\mathcal{K}^n g, g\rangle, \qquad
    \rho_J(\theta) = \frac{1}{2\pi} \sum_{|n| \le J} \varphi(n/J)\, c_n e^{-i n\theta}, \qquad c_{-n} = \overline{c_n} .

The filter :math:`\varphi` decides the order of convergence where the density is smooth: cutting the sum off without one
gives values that need not converge, and negative ones. An eigenvalue :math:`e^{i\theta_0}` gives a peak at
:math:`+\theta_0`.

Colbrook and Townsend (2024), doi:10.1002/cpa.22125, section 4.1; filters of Gottlieb and Shu (1997),
doi:10.1137/S0036144596301390.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dynplat.errors import ArgumentError, DataError


def _fejer(x: np.ndarray) -> np.ndarray:
    return 1.0 - x


def _cosine(x: np.ndarray) -> np.ndarray:
    return (1.0 + np.cos(np.pi * x)) / 2.0


def _fourth(x: np.ndarray) -> np.ndarray:
    return 1.0 - x**4 * (35.0 - 84.0 * x + 70.0 * x**2 - 20.0 * x**3)


def _sharp_cosine(x: np.ndarray) -> np.ndarray:
    c = _cosine(x)
    return c**4 * (35.0 - 84.0 * c + 70.0 * c**2 - 20.0 * c**3)


def _bump(x: np.ndarray) -> np.ndarray:
    # The constant makes the filter 1/2 at x = 1/2.
    inner = np.clip(x, 1e-3, 1.0 - 1e-3)
    value = np.exp(-2.0 / (1.0 - inner) * np.exp(-0.109550455106347 / inner**4))
    return np.where(x <= 1e-3, 1.0, np.where(x >= 1.0 - 1e-3, 0.0, value))


#: Filters by name. Their orders, the number of derivatives that vanish at 0, are 1, 2, 4, 8 and infinity.
FILTERS = {"fejer": _fejer, "cosine": _cosine, "vand4": _fourth, "sharp-cosine": _sharp_cosine, "bump": _bump}


@dataclass(frozen=True, eq=False)
class Autocorrelations:
    r"""Autocorrelations of an observable, with what their estimate is worth.

    Attributes:
        values: (J + 1,), :math:`c_n`, n = 0, ..., J.
        batches: (B, J + 1), those of equal parts of the data, whose mean `values` is; or None where the points are a
            quadrature's and not a sample.
    """

    values: np.ndarray
    batches: np.ndarray | None = None

    @property
    def errors(self) -> np.ndarray | None:
        """Standard errors (J + 1,) by batch means, or None."""
        return None if self.batches is None else _standard_error(self.batches)


def trajectory_autocorrelations(values: Any, num_lags: int, *, num_batches: int = 10) -> Autocorrelations:
    """Time averages along one ergodic trajectory.

    The mean is not taken off: it is the part of the spectral measure at angle 0.

    Args:
        values: (T,), the observable at successive steps.
        num_lags: J.
        num_batches: Successive parts of the trajectory whose averages are compared for the standard errors. Each should
            be longer than the observable remembers.

    Raises:
        DataError: The trajectory is too short for the lags.
    """
    g = np.asarray(values)
    if g.ndim != 1 or not np.isfinite(g).all():
        raise ArgumentError(f"`values` must be finite numbers (T,), of one trajectory; got shape {g.shape}.")
    if num_lags < 1 or num_batches < 2:
        raise ArgumentError(f"`num_lags` must be at least 1 and `num_batches` 2; got {num_lags} and {num_batches}.")
    length = (len(g) - num_lags) // num_batches
    if length < 1:
        raise DataError(
            f"{len(g)} values are too few for {num_lags} lags in {num_batches} parts.",
            hint="Take fewer lags or parts, or a longer trajectory.",
        )
    starts = [len(g) - num_lags - length * (num_batches - b) for b in range(num_batches)]
    batches = np.stack([_lagged(g[s : s + length], g[s : s + length + num_lags]) for s in starts])
    return Autocorrelations(batches.mean(axis=0), batches)


def ensemble_autocorrelations(values: Any, weights: Any = None, *, num_batches: int = 10) -> Autocorrelations:
    """Averages over many starts.

    Args:
        values: (M, J + 1), the observable at steps 0, ..., J from each start.
        weights: (M,), relative weights of a quadrature; None takes the starts for independent draws, which gives
            standard errors.
        num_batches: Parts of the starts whose averages are compared for the standard errors.
    """
    g = np.asarray(values)
    if g.ndim != 2 or not np.isfinite(g).all():
        raise ArgumentError(f"`values` must be finite numbers (M, J + 1), a row for each start; got shape {g.shape}.")
    products = g * g[:, :1].conj()
    if weights is not None:
        w = np.asarray(weights, dtype=np.float64)
        if w.shape != (len(g),) or (w < 0).any() or not w.sum() > 0:
            raise ArgumentError(f"`weights` must hold {len(g)} numbers, not negative and not all zero.")
        return Autocorrelations(w / w.sum() @ products)
    if not 2 <= num_batches <= len(g):
        raise ArgumentError(f"`num_batches` must be between 2 and the number of starts, {len(g)}; got {num_batches}.")
    length = len(g) // num_batches
    batches = products[: length * num_batches].reshape(num_batches, length, -1).mean(axis=1)
    return Autocorrelations(batches.mean(axis=0), batches)


@dataclass(frozen=True, eq=False)
class SpectralDensity:
    r"""A filtered spectral density, and two measures of its error.

    Attributes:
        angles: (...), in radians.
        density: (...), :math:`\rho_J(\theta)`.
        changes: (...), how much it changed from J/2 lags to J: the size of what filtering still blurs.
        errors: (...), standard errors that are due to the sample, or None where it is exact.
        filter: Name of the filter.
    """

    angles: np.ndarray
    density: np.ndarray
    changes: np.ndarray
    errors: np.ndarray | None
    filter: str


def spectral_density(autocorrelations: Autocorrelations | Any, angles: Any, *, filter: str = "bump") -> SpectralDensity:
    """Density of an observable's spectral measure by a filtered Fourier sum.

    Args:
        autocorrelations: `Autocorrelations`, or exact ones (J + 1,) as an array.
        angles: (...), where the density is wanted.
        filter: `fejer` (order 1, never negative), `cosine` (2), `vand4` (4), `sharp-cosine` (8) or `bump` (all orders).
    """
    if filter not in FILTERS:
        raise ArgumentError(f"`filter` must be one of {', '.join(FILTERS)}; got {filter!r}.")
    if not isinstance(autocorrelations, Autocorrelations):
        autocorrelations = Autocorrelations(np.asarray(autocorrelations))
    c, batches = autocorrelations.values, autocorrelations.batches
    if c.ndim != 1 or len(c) < 3:
        raise ArgumentError(f"autocorrelations of at least 2 lags are needed, (J + 1,); got shape {c.shape}.")
    theta = np.asarray(angles, dtype=np.float64)
    lags = np.arange(len(c))
    waves = np.exp(-1j * lags * theta[..., None]) / np.pi
    waves[..., 0] /= 2.0

    def filtered(moments: np.ndarray, count: int) -> np.ndarray:
        factor = FILTERS[filter](np.minimum(lags / count, 1.0))
        return (waves * factor @ moments).real

    J = len(c) - 1
    density = filtered(c, J)
    errors = None if batches is None else _standard_error(np.stack([filtered(part, J) for part in batches]))
    return SpectralDensity(theta, density, np.abs(density - filtered(c, J // 2)), errors, filter)


def _lagged(early: np.ndarray, late: np.ndarray) -> np.ndarray:
    """Means over m of late[m + n] conj(early[m]), by FFT."""
    size = len(late)
    product = np.fft.fft(late) * np.fft.fft(early, size).conj()
    return np.fft.ifft(product)[: size - len(early) + 1] / len(early)


def _standard_error(batches: np.ndarray) -> np.ndarray:
    spread = np.sqrt((np.abs(batches - batches.mean(axis=0)) ** 2).sum(axis=0) / (len(batches) - 1))
    return spread / np.sqrt(len(batches))
