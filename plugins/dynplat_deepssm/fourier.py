"""Convolutions in time and what replaces them where a state enters or leaves: Fourier transforms and power tables."""

from __future__ import annotations

from math import isqrt

from scipy.fft import next_fast_len

from dynplat.arrays import Array, array_namespace
from dynplat_deepssm.special import powers


def convolve(kernel: Array, u: Array, length: int | None = None) -> Array:
    """First `length` rows of the product of two real power series along the last axis; those of u by default."""
    xp = array_namespace(kernel, u)
    length = int(u.shape[-1]) if length is None else length
    kernel, u = kernel[..., :length], u[..., :length]
    size = next_fast_len(int(kernel.shape[-1]) + int(u.shape[-1]) - 1, real=True)
    product = xp.fft.irfft(xp.fft.rfft(kernel, n=size) * xp.fft.rfft(u, n=size), n=size)
    return product[..., :length]


def correlate(left: Array, right: Array) -> Array:
    """Numbers sum_i left_i right_{i-m}, m = 0, ..., n - 1, of real sequences (..., n)."""
    xp = array_namespace(left, right)
    return xp.flip(convolve(xp.flip(left, axis=-1), right), axis=-1)


def reciprocal(series: Array, length: int) -> Array:
    """First `length` coefficients of 1 / p(z) for a real power series p, (..., n), with p(0) = 1.

    Newton's iteration g <- g (2 - p g) doubles the number of coefficients that are right.
    Source: Kung (1974), On computing reciprocals of power series, Numerische Mathematik 22.
    """
    xp = array_namespace(series)
    found = xp.ones_like(series[..., :1])
    while found.shape[-1] < length:
        size = min(2 * int(found.shape[-1]), length)
        rest = convolve(series, resize(found, size), size)
        correction = convolve(found, rest, size)[..., int(found.shape[-1]) :]
        found = xp.concat([found, -correction], axis=-1)
    return found


def sum_of_powers(coefficients: Array, base: Array, length: int) -> Array:
    """Re sum_n c_n a_n^l for l = 0, ..., length - 1, from c and a (..., n): (..., length).

    With l = r i + j, a^l = (a^r)^i a^j: two tables of about sqrt(length) powers and one product of matrices, in place
    of a table of n x length.
    """
    xp = array_namespace(coefficients, base)
    fine, coarse, _ = _tables(base, length)
    product = xp.matrix_transpose(coefficients[..., None] * coarse) @ fine
    product = xp.real(product) if xp.isdtype(product.dtype, "complex floating") else product
    return xp.reshape(product, (*product.shape[:-2], -1))[..., :length]


def last_of_powers(base: Array, u: Array) -> Array:
    """Sums sum_k a_n^(T-1-k) u_k over rows u (..., T) for a (..., n): (..., n), by the tables of `sum_of_powers`."""
    xp = array_namespace(base, u)
    length = int(u.shape[-1])
    fine, coarse, stride = _tables(base, length)
    back = resize(xp.flip(u, axis=-1), int(coarse.shape[-1]) * stride)
    back = xp.reshape(back, (*back.shape[:-1], -1, stride))
    inner = xp.astype(back, base.dtype) @ xp.matrix_transpose(fine)
    return xp.sum(xp.matrix_transpose(inner) * coarse, axis=-1)


def _tables(base: Array, length: int) -> tuple[Array, Array, int]:
    """Powers 0, ..., r - 1 of a, and powers 0, r, 2 r, ... of a, so that their products are all powers below length."""
    stride = isqrt(max(length - 1, 0)) + 1
    fine = powers(base, stride + 1)
    return fine[..., :stride], powers(fine[..., stride], -(-length // stride)), stride


def resize(series: Array, length: int) -> Array:
    """The first `length` entries of a series (..., n), filled up with zeros."""
    xp = array_namespace(series)
    missing = length - int(series.shape[-1])
    if missing <= 0:
        return series[..., :length]
    filler = xp.broadcast_to(xp.zeros_like(series[..., :1]), (*series.shape[:-1], missing))
    return xp.concat([series, filler], axis=-1)
