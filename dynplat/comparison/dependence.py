r"""Standard errors of averages over held-out cells, which are not independent.

Cells of one series share its path: an error at one time goes with an error at the next, and channels err together. An
average :math:`\bar d = n^{-1} \sum_i d_i` of contributions therefore has a variance that counts these covariances. With
:math:`e_i = d_i - \bar d` (or the influence of :math:`d_i` on a smooth function of the mean):

- **Many series** (20 or more with held-out cells): clustered by series,
  :math:`\widehat V = \frac{G}{G-1}\, n^{-2} \sum_g (\sum_{i \in g} e_i)^2`. Nothing is assumed within a series; series
  are taken as independent (Cameron and Miller 2015, doi:10.3368/jhr.50.2.317, on what "many" means).
- **Few series**: the cells of a row are added up, :math:`r_t`, and the autocovariances of :math:`r` over rows are added
  with Bartlett weights (Newey and West 1987, doi:10.2307/1913610),
  :math:`\widehat V = n^{-2} \sum_s \sum_{|l| \le L} (1 - \tfrac{|l|}{L+1}) \sum_t r_{st} r_{s,t+l}`, where t counts the
  rows in which something is held out (the equal-spacing estimator of Datta and Du 2012, which lets rows be absent). The
  bandwidth L is Andrews' (1991, doi:10.2307/2938229, sec. 6) for a first-order autoregression, and at least
  :math:`4 (T/100)^{2/9}`. As the mean is estimated, :math:`\widehat V` is too small by the factor
  :math:`1 - b + b^2/3`, with b the share of the rows that the window spans (Kiefer and Vogelsang 2005,
  doi:10.1017/S0266466605050565); it is divided by that.

One forecast origin is one draw of the future: contributions along a single forecast path share their past, and no
standard error from that path alone can know how much another origin would differ. Compare over several origins, or many
series, where that matters.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

#: Number of series from which clustering by series is trusted.
MANY_SERIES = 20
#: Autocorrelations nearer to 1 than this cannot be told apart from 1 in the series met here.
_LARGEST_CORRELATION = 0.97


class StandardError(NamedTuple):
    """A standard error and how it was computed.

    Attributes:
        value: The standard error; NaN where one unit, or an infinite contribution, leaves it undefined.
        method: For the reader, such as `clustered by series (n = 400)`.
    """

    value: float
    method: str


def standard_error(influence: np.ndarray, series: np.ndarray, row: np.ndarray) -> StandardError:
    """Standard error of the mean of contributions, respecting their dependence.

    Args:
        influence: Contributions less their mean, or influences on a function of it, (n,).
        series: Series of each contribution, (n,).
        row: Row of each contribution within its series, (n,).
    """
    if not np.isfinite(influence).all():
        return StandardError(float("nan"), "undefined: a contribution is infinite")
    # In units of the largest one, so that squares neither overflow nor vanish.
    unit = float(np.max(np.abs(influence), initial=0.0))
    if unit > 0.0:
        found = _standard_error(influence / unit, series, row)
        return found._replace(value=unit * found.value)
    return _standard_error(influence, series, row)


def _standard_error(influence: np.ndarray, series: np.ndarray, row: np.ndarray) -> StandardError:
    groups, group = np.unique(series, return_inverse=True)
    if len(groups) >= MANY_SERIES:
        sums = np.bincount(group, weights=influence)
        variance = len(groups) / (len(groups) - 1.0) * float(np.sum(sums**2))
        return StandardError(float(np.sqrt(variance)) / influence.size, f"clustered by series (n = {len(groups)})")
    return _over_rows(influence, group, row)


def _over_rows(influence: np.ndarray, group: np.ndarray, row: np.ndarray) -> StandardError:
    # Cells are added up by row, and the rows of a series are packed one after another: (series, held-out row).
    keys, member = np.unique(group * (row.max() + 1) + row, return_inverse=True)
    owner = keys // (row.max() + 1)
    counts = np.bincount(owner)
    place = np.arange(keys.size) - np.repeat(np.cumsum(counts) - counts, counts)
    sums = np.zeros((counts.size, counts.max()))
    sums[owner, place] = np.bincount(member, weights=influence)
    if keys.size < 2:
        return StandardError(float("nan"), "undefined: a single row is held out")
    bandwidth = _bandwidth(sums, counts)
    variance = float(np.sum(sums**2))
    for lag in range(1, bandwidth + 1):
        weight = 1.0 - lag / (bandwidth + 1.0)
        variance += 2.0 * weight * float(np.sum(sums[:, lag:] * sums[:, :-lag]))
    share = (bandwidth + 1.0) / keys.size
    variance /= 1.0 - share + (share**2 / 3.0 if bandwidth else 0.0)
    method = f"Newey-West over time, bandwidth {bandwidth} rows" if bandwidth else "rows as independent"
    return StandardError(float(np.sqrt(max(variance, 0.0))) / influence.size, method)


def _bandwidth(sums: np.ndarray, counts: np.ndarray) -> int:
    """Lag window: Andrews' plug-in for a first-order autoregression, and at least Newey and West's rule."""
    mean_length = float(counts.mean())
    rule = int(4.0 * (mean_length / 100.0) ** (2.0 / 9.0))
    products = float(np.sum(sums[:, 1:] * sums[:, :-1]))
    # Each series' first and last row meet one neighbour only, so that they count half.
    last = sums[np.arange(counts.size), counts - 1]
    squares = float(np.sum(sums**2) - 0.5 * np.sum(sums[:, 0] ** 2 + last**2))
    correlation = min(products / squares, _LARGEST_CORRELATION) if products > 0.0 and squares > 0.0 else 0.0
    strength = 4.0 * correlation**2 / ((1.0 - correlation) ** 2 * (1.0 + correlation) ** 2)
    window = max(rule, int(np.ceil(1.1447 * (strength * mean_length) ** (1.0 / 3.0))))
    # A window beyond half of the longest series has nothing left to average.
    return min(window, int(counts.max()) // 2)
