r"""Equal-weight mixtures of normal laws, cell by cell.

Integrating a Gaussian predictive law over K draws of the parameters gives, at every cell,

.. math:: F(x) = \frac{1}{K} \sum_k \Phi\!\left(\frac{x - m_k}{s_k}\right).

Quantiles invert this exactly (to rounding): Newton's method, safeguarded by bisection. The quantile of a mixture lies
between the smallest and the largest quantile of its components, which gives the first bracket. A component with
:math:`s_k = 0` is a point mass; its quantile is the generalised inverse :math:`\inf\{x : F(x) \ge p\}`.

Arrays are NumPy, components first.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp, ndtr, ndtri

from dynplat.errors import NoDensityError

#: Numbers that one block of cells may hold at once: about 30 MB per temporary array.
_BLOCK = 4_000_000
#: Newton doubles its digits and bisection gains one bit: no bracket of doubles needs more steps than this.
_MAX_STEPS = 200


def mixture_moments(mean: np.ndarray, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the mixture, by the law of total variance."""
    return mean.mean(axis=0), np.sqrt((sd**2).mean(axis=0) + mean.var(axis=0))


def mixture_cdf(mean: np.ndarray, sd: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Distribution function of the mixture at `values`, of the shape of one component."""
    return _by_blocks(_cdf, mean, sd, values)


def mixture_log_density(mean: np.ndarray, sd: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Log density of the mixture at `values`, of the shape of one component; NaN values give NaN.

    Raises:
        NoDensityError: A component has standard deviation zero at a cell whose value is asked about.
    """
    singular = ((sd == 0).any(axis=0)) & ~np.isnan(values)
    if singular.any():
        cell = tuple(int(index) for index in np.argwhere(singular)[0])
        raise NoDensityError(
            f"{int(singular.sum())} cells have standard deviation zero, so the law has no density there (first at "
            f"index {cell}). Ask for the density of `observation`, or leave these cells out by making their value NaN."
        )
    return _by_blocks(_log_density, mean, sd, values)


def mixture_quantile(mean: np.ndarray, sd: np.ndarray, p: float) -> np.ndarray:
    """The p-quantile of every cell's mixture, for 0 < p < 1."""
    return _by_blocks(_quantile, mean, sd, np.full(mean.shape[1:], p))


def _by_blocks(function, mean: np.ndarray, sd: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Apply `function` to blocks of cells small enough that its temporaries stay small."""
    count = mean.shape[0]
    mean, sd = mean.reshape(count, -1), sd.reshape(count, -1)
    flat = np.broadcast_to(values, values.shape).reshape(-1)
    result = np.empty(flat.shape)
    width = max(1, _BLOCK // max(count, 1))
    for start in range(0, flat.size, width):
        block = slice(start, start + width)
        result[block] = function(mean[:, block], sd[:, block], flat[block])
    return result.reshape(values.shape)


def _standardise(mean: np.ndarray, sd: np.ndarray, values: np.ndarray) -> np.ndarray:
    # A point mass jumps from 0 to 1 at its place, and includes it.
    spread = np.where(sd > 0, sd, 1.0)
    return np.where(sd > 0, (values - mean) / spread, np.where(values >= mean, np.inf, -np.inf))


def _cdf(mean: np.ndarray, sd: np.ndarray, values: np.ndarray) -> np.ndarray:
    missing = np.isnan(values) | np.isnan(mean).any(axis=0) | np.isnan(sd).any(axis=0)
    return np.where(missing, np.nan, ndtr(_standardise(mean, sd, values)).mean(axis=0))


def _log_density(mean: np.ndarray, sd: np.ndarray, values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = -0.5 * ((values - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)
    result = np.full(values.shape, np.nan)
    known = ~np.isnan(terms).any(axis=0)
    result[known] = logsumexp(terms[:, known], axis=0) - np.log(mean.shape[0])
    return result


def _quantile(mean: np.ndarray, sd: np.ndarray, p: np.ndarray) -> np.ndarray:
    ends = mean + sd * ndtri(p)
    low, high = ends.min(axis=0), ends.max(axis=0)
    result = np.where(np.isnan(ends).any(axis=0), np.nan, low)
    # What is left to do: cells whose bracket is wider than rounding. Cells leave as they converge.
    open_cells = np.flatnonzero(high > low)
    mean, sd, p, low, high = (a[..., open_cells] for a in (mean, sd, p, low, high))
    x = 0.5 * (low + high)
    last_step = high - low
    for _ in range(_MAX_STEPS):
        if open_cells.size == 0:
            break
        z = _standardise(mean, sd, x)
        excess = ndtr(z).mean(axis=0) - p
        high = np.where(excess >= 0, x, high)
        low = np.where(excess < 0, x, low)
        slope = np.where(sd > 0, np.exp(-0.5 * z**2) / np.where(sd > 0, sd, 1.0), 0.0).mean(axis=0) / np.sqrt(2 * np.pi)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            newton = x - excess / slope
        middle = low + 0.5 * (high - low)
        # Newton's point is taken inside the bracket only, and only while the steps halve; otherwise the middle is.
        sound = (newton > low) & (newton < high) & (np.abs(newton - x) <= 0.5 * last_step)
        step_to = np.where(sound, newton, middle)
        last_step = np.abs(step_to - x)
        # Done: the bracket holds no further number, or the step moves less than the spread's last digits.
        tolerance = 4 * np.finfo(float).eps * np.maximum(np.abs(x), sd.max(axis=0))
        small = (last_step <= tolerance) & (np.abs(excess) < 1e-9 * np.minimum(p, 1.0 - p))
        done = small | (high - low <= tolerance) | (middle <= low) | (middle >= high)
        # The bracket's upper end satisfies F >= p, which is what the generalised inverse asks for at a point mass.
        settled = np.where(small, step_to, high)
        result[open_cells[done]] = settled[done]
        keep = ~done
        open_cells = open_cells[keep]
        mean, sd, p, low, high = (a[..., keep] for a in (mean, sd, p, low, high))
        x, last_step = step_to[keep], last_step[keep]
    result[open_cells] = high
    return result
