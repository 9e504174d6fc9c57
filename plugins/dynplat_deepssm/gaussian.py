r"""Diagonal systems driven by white noise, as real linear-Gaussian chains.

With :math:`dx = \Lambda x\,dt + b\,dW` for complex x and real W, over a gap h

.. math::
    E[x x^*]_{ij} = (b b^*)_{ij} \frac{e^{(\lambda_i + \bar\lambda_j) h} - 1}{\lambda_i + \bar\lambda_j}, \qquad
    E[x x^\top]_{ij} = (b b^\top)_{ij} \frac{e^{(\lambda_i + \lambda_j) h} - 1}{\lambda_i + \lambda_j},

exact in h, and without the exponentials for the stationary law. A real state is (Re x, Im x), of twice the length;
its readout of 2 Re C x is 2 (Re C, -Im C). With these matrices `dynplat.process.LinearGaussian` has likelihoods,
smoother and draws: the law of y is the stationary Gaussian process with covariance C e^{A t} P C'.
"""

from __future__ import annotations

from collections.abc import Callable

from dynplat.arrays import Array, array_namespace, eye_like
from dynplat_deepssm.special import expm1


def real_transition(multiplier: Array) -> Array:
    """Matrices (..., 2 n, 2 n) that act on (Re x, Im x) as complex multipliers (..., n) do on x."""
    xp = array_namespace(multiplier)
    re, im = (_diagonal(part(multiplier)) for part in (xp.real, xp.imag))
    return _quarters(re, -im, im, re)


def real_noise(rates: Array, loading: Array, dt: Array) -> Array:
    """Covariances (..., time, 2 n, 2 n) that noise adds over gaps.

    Args:
        rates: Lambda, (..., n), with negative real parts.
        loading: b, (..., n, noise).
        dt: Gaps, (..., time).
    """
    gaps = dt[..., None, None]
    return _covariance(rates[..., None, :], loading[..., None, :, :], lambda total: expm1(total * gaps) / total)


def real_stationary(rates: Array, loading: Array) -> Array:
    """Covariances (..., 2 n, 2 n) of the stationary law (arguments as for `real_noise`)."""
    return _covariance(rates, loading, lambda total: -1.0 / total)


def real_readout(weight: Array) -> Array:
    """Matrices (..., output, 2 n) that read 2 Re C x from (Re x, Im x), from pairs (..., n, output, 2)."""
    xp = array_namespace(weight)
    return 2.0 * xp.matrix_transpose(xp.concat([weight[..., 0], -weight[..., 1]], axis=-2))


def _covariance(rates: Array, loading: Array, integral: Callable[[Array], Array]) -> Array:
    xp = array_namespace(rates)
    left = loading @ xp.matrix_transpose(xp.conj(loading))
    right = loading @ xp.matrix_transpose(loading)
    hermitian = left * integral(rates[..., :, None] + xp.conj(rates)[..., None, :])
    plain = right * integral(rates[..., :, None] + rates[..., None, :])
    both, apart = hermitian + plain, plain - hermitian
    return 0.5 * _quarters(xp.real(both), xp.imag(apart), xp.imag(both), -xp.real(apart))


def _quarters(a: Array, b: Array, c: Array, d: Array) -> Array:
    xp = array_namespace(a)
    return xp.concat([xp.concat([a, b], axis=-1), xp.concat([c, d], axis=-1)], axis=-2)


def _diagonal(values: Array) -> Array:
    return values[..., None] * eye_like(int(values.shape[-1]), values)
