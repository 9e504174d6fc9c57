"""Slice sampling of many numbers side by side: steps that leave any density as it is, whatever its scale.

Source: Neal (2003), Slice sampling, doi:10.1214/aos/1056562461 (stepping out and shrinkage).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dynplat.errors import InferenceError

#: Steps out, and shrinkages, after which a density is taken for none.
_MOST = 10_000


def slice_draw(
    log_density: Callable[[np.ndarray], np.ndarray],
    values: np.ndarray,
    width: np.ndarray | float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw each number anew by one step of slice sampling.

    Args:
        log_density: Log density of each number, up to a constant, as a function of all of them; they are independent.
        values: The numbers.
        width: Width of the first interval.
        rng: Source of random numbers.

    Raises:
        InferenceError: The density at `values` is not finite, or has no end.
    """
    values = np.asarray(values, dtype=np.float64)
    height = log_density(values) - rng.exponential(size=values.shape)
    if not np.isfinite(height).all():
        raise InferenceError("slice sampling: the density of a parameter is not finite at its present value.")
    width = np.broadcast_to(np.asarray(width, dtype=np.float64), values.shape)
    low = values - width * rng.random(values.shape)
    high = low + width
    for bound, sign in ((low, -1.0), (high, 1.0)):
        for _ in range(_MOST):
            inside = log_density(bound) > height
            if not inside.any():
                break
            bound += np.where(inside, sign * width, 0.0)
        else:
            raise InferenceError("slice sampling: the density of a parameter has no end; give it a proper prior.")
    found = values.copy()
    left = np.ones(values.shape, dtype=bool)
    for _ in range(_MOST):
        tried = low + (high - low) * rng.random(values.shape)
        good = left & (log_density(tried) > height)
        found = np.where(good, tried, found)
        left &= ~good
        if not left.any():
            return found
        low = np.where(left & (tried < values), tried, low)
        high = np.where(left & (tried >= values), tried, high)
    raise InferenceError("slice sampling: the density of a parameter is not continuous at its present value.")
