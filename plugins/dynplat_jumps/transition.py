"""Transition probabilities exp(Q h) of a Markov jump process over many gaps: compiled on a CPU, generic elsewhere."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from dynplat.arrays import (
    Array,
    array_namespace,
    asarray_like,
    common_type,
    concrete,
    eye_like,
    is_jax_array,
    stop_gradient,
)
from dynplat.errors import ArgumentError
from dynplat.scan import check_driver, runs_compiled
from dynplat.scan.kernels.calling import call_kernel, grouped
from dynplat.scan.kernels.kernel import available_threads

#: Squarings of generic code where the numbers are only traced; a gap that needs more gives NaN.
_TRACED_SQUARINGS = 48
#: Gaps that a thread is given at least.
_GAPS_PER_THREAD = 500
#: Steps of generic code (see `kernels.transition.longest_step`).
_STEP = 1.0
#: Squarings beyond which rows are brought back to a sum of one (see `kernels.transition`).
_EXACT_SQUARINGS = 20


def transition_probabilities(generator: Array, gaps: Array, *, driver: str = "auto") -> Array:
    """Transition probabilities over gaps, each keeping its relative accuracy.

    Args:
        generator: Rates (..., K, K), rows summing to 0, (old, new).
        gaps: Lengths of time, (..., gap), at least 0; leading axes broadcast with those of the generator.
        driver: `auto`, `compiled`, or a driver of generic code.

    Returns:
        (..., gap, K, K), (old, new).

    Raises:
        ArgumentError: A gap is negative, or shapes do not fit.
    """
    return _call(generator, gaps, driver, logarithms=False)


def log_transition_probabilities(generator: Array, gaps: Array, *, driver: str = "auto") -> Array:
    """Logarithms of transition probabilities over gaps, -inf of 0 (see `transition_probabilities`)."""
    return _call(generator, gaps, driver, logarithms=True)


def logarithm(probabilities: Array) -> Array:
    """Logarithms, -inf of 0, with gradient 0 there."""
    xp = array_namespace(probabilities)
    positive = probabilities > 0
    found = xp.where(positive, xp.log(xp.where(positive, probabilities, 1.0)), -xp.inf)
    return xp.where(probabilities != probabilities, probabilities, found)


def _call(generator: Array, gaps: Array, driver: str, *, logarithms: bool) -> Array:
    generator, gaps = common_type(generator, gaps)
    if generator.ndim < 2 or generator.shape[-1] != generator.shape[-2]:
        raise ArgumentError(f"`generator` must have shape (..., K, K); got {tuple(generator.shape)}.")
    numbers = concrete(gaps)
    if numbers is not None and not (numbers >= 0).all():
        raise ArgumentError(
            f"`gaps` must be lengths of time of at least 0; got {numbers[~(numbers >= 0)][0]:g}. Sort the times first."
        )
    if not runs_compiled(check_driver(driver), generator) or 0 in (*generator.shape, *gaps.shape):
        found = _generic(generator, gaps)
        return logarithm(found) if logarithms else found
    from dynplat_jumps.kernels.transition import LOG_TRANSITION, TRANSITION

    lead, arrays = grouped((generator, gaps), (2, 1))
    kernel, twin = (LOG_TRANSITION, _log_twin) if logarithms else (TRANSITION, _twin)
    size, parts = int(gaps.shape[-1]), 1
    if not is_jax_array(generator) and prod(lead) == 1:
        # Threads share out groups: parts of one long row of gaps are groups too.
        parts = max(1, min(available_threads(), size // _GAPS_PER_THREAD))
    if parts > 1:
        arrays[1] = _in_parts(arrays[1], parts)
    ((found,), _) = call_kernel(kernel, twin, arrays)
    if parts > 1:
        found = array_namespace(found).reshape(found, (1, -1, *tuple(found.shape[2:])))[:, :size]
    xp = array_namespace(generator)
    return xp.reshape(found, (*lead, *tuple(found.shape[1:])))


def _in_parts(gaps: Array, parts: int) -> Array:
    """(1, gap) to (part, gap); the last part is filled up with gaps of 0."""
    xp = array_namespace(gaps)
    missing = -gaps.shape[1] % parts
    if missing:
        gaps = xp.concat([gaps, xp.zeros_like(gaps[:, :missing])], axis=1)
    return xp.reshape(gaps, (parts, -1))


def _twin(generator: Array, gaps: Array) -> tuple[Array]:
    """The kernel's values by a function that can be differentiated again."""
    return (_generic(generator, gaps),)


def _log_twin(generator: Array, gaps: Array) -> tuple[Array]:
    return (logarithm(_generic(generator, gaps)),)


def _generic(generator: Array, gaps: Array) -> Array:
    """The same series and squarings on the array API, for any framework, device and derivative."""
    xp = array_namespace(generator)
    K = int(generator.shape[-1])
    eye = eye_like(K, generator)
    exits = stop_gradient(xp.max(xp.abs(xp.linalg.diagonal(generator)), axis=-1))
    omega = xp.where(exits > 0, exits, xp.ones_like(exits))
    B = eye + generator / omega[..., None, None]
    length = omega[..., None] * gaps
    count = _squarings(length)
    known = isinstance(count, np.ndarray)
    halved = length * (asarray_like(0.5**count, length) if known else xp.exp2(-count))
    terms = _num_terms(_STEP, K - 1)
    # Horner's rule; the powers are not kept.
    x = halved[..., None, None]
    total = eye + xp.zeros_like(B[..., None, :, :] * x)
    for k in range(terms, 0, -1):
        total = eye + (x / k) * (B[..., None, :, :] @ total)
    total = xp.exp(-x) * total
    most = int(count.max(initial=0)) if known else _TRACED_SQUARINGS
    active = asarray_like(count, total) if known else count
    for done in range(most):
        squared = total @ total
        if done >= _EXACT_SQUARINGS:
            squared = squared / stop_gradient(xp.sum(squared, axis=-1, keepdims=True))
        total = xp.where((active > done)[..., None, None], squared, total)
    if not known:
        total = xp.where((active > most)[..., None, None], xp.nan, total)
    return total


def _squarings(length: Array) -> Any:
    """Number of squarings of each gap, on the host where the numbers are known."""
    known = concrete(length)
    if known is not None:
        with np.errstate(divide="ignore"):
            wanted = np.maximum(np.ceil(np.log2(np.asarray(known, np.float64) / _STEP)), 0.0)
        # No halving helps a length that is infinite or no number: the answer is NaN.
        return np.where(np.isfinite(wanted), wanted, 0.0)
    xp = array_namespace(length)
    length = stop_gradient(length)
    wanted = xp.ceil(xp.log2(xp.where(length > _STEP, length, _STEP) / _STEP))
    return xp.where(wanted > 0, wanted, xp.zeros_like(wanted))


@lru_cache(maxsize=64)
def _num_terms(x: float, far: int) -> int:
    k, first, last = 0, 1.0, 1.0
    while first > 1e-17 or last > 1e-17 or k < far:
        k += 1
        first *= x / k
        last *= x / k if k > far else 1.0
    return k
