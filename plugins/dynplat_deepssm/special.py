"""Numbers that layers of every framework need: complex weights, activations, powers."""

from __future__ import annotations

import sys
from math import pi, sqrt

import numpy as np

from dynplat.arrays import Array, array_namespace, is_jax_array, is_torch_array


def complex_of(pairs: Array) -> Array:
    """Complex numbers from real ones (..., 2): weights are real, so that every framework and language takes them."""
    if is_torch_array(pairs):
        return sys.modules["torch"].view_as_complex(pairs.contiguous())
    return complex_from(pairs[..., 0], pairs[..., 1])


def complex_from(real: Array, imaginary: Array) -> Array:
    """Complex numbers from their parts, without a product with i where the framework can do without."""
    if is_torch_array(real):
        return sys.modules["torch"].complex(real, imaginary)
    if is_jax_array(real):
        return sys.modules["jax"].lax.complex(real, imaginary)
    return real + 1j * imaginary


def pairs_of(values: Array) -> Array:
    """Real numbers (..., 2) from complex ones."""
    if is_torch_array(values):
        return sys.modules["torch"].view_as_real(values.resolve_conj())
    xp = array_namespace(values)
    return xp.stack([xp.real(values), xp.imag(values)], axis=-1)


def linear(u: Array, weight: Array, bias: Array | None = None) -> Array:
    """Return u W + b for rows u (..., time, input), W (..., input, output), b (..., output)."""
    mapped = u @ weight
    return mapped if bias is None else mapped + bias[..., None, :]


def softplus(x: Array) -> Array:
    """Return log(1 + e^x), for any size of x."""
    if is_torch_array(x):  # one function, and one for its derivative; e^-40 is beyond the digits of x
        return sys.modules["torch"].nn.functional.softplus(x, threshold=40.0)
    xp = array_namespace(x)
    return xp.logaddexp(x, xp.zeros_like(x))


def softplus_inverse(y: np.ndarray) -> np.ndarray:
    """Return the x with softplus(x) = y > 0."""
    return y + np.log(-np.expm1(-y))


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + e^-x) in a form whose derivative is finite for any size of x."""
    return 0.5 * (1.0 + array_namespace(x).tanh(0.5 * x))


def silu(x: Array) -> Array:
    """Return x sigmoid(x)."""
    if is_torch_array(x):
        return sys.modules["torch"].nn.functional.silu(x)
    return x * sigmoid(x)


def gelu(x: Array) -> Array:
    """Return Hendrycks and Gimpel's approximation of x Phi(x), with tanh (arXiv:1606.08415)."""
    return 0.5 * x * (1.0 + array_namespace(x).tanh(sqrt(2.0 / pi) * (x + 0.044715 * x * x * x)))


def expm1(z: Array) -> Array:
    """Return e^z - 1 with all digits near z = 0, for real and complex z."""
    xp = array_namespace(z)
    if not xp.isdtype(z.dtype, "complex floating"):
        return xp.expm1(z)
    half = 0.5 * xp.imag(z)
    sine, less = xp.sin(half), xp.expm1(xp.real(z))
    # e^x cos y - 1 = (e^x - 1) - e^x (1 - cos y), without cancellation, and sin y from half the angle too.
    twice = 2.0 * (less + 1.0) * sine
    return complex_from(less - twice * sine, twice * xp.cos(half))


def powers(base: Array, count: int) -> Array:
    """Powers 0, ..., count - 1 along a new last axis, by doubling: products only, so that 0 is an ordinary base."""
    xp = array_namespace(base)
    table, factor = xp.ones_like(base)[..., None], base
    while table.shape[-1] < count:
        table = xp.concat([table, table * factor[..., None]], axis=-1)
        factor = factor * factor
    return table[..., :count]


def log_uniform(rng: np.random.Generator, low: float, high: float, size: int | tuple[int, ...]) -> np.ndarray:
    """Draws whose logarithms are uniform between those of `low` and `high`."""
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def power(base: Array, exponent: int) -> Array:
    """Return base^exponent for a whole exponent of at least 0, by squaring."""
    found, factor = array_namespace(base).ones_like(base), base
    while exponent:
        if exponent & 1:
            found = found * factor
        exponent >>= 1
        factor = factor * factor if exponent else factor
    return found
