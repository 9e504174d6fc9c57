r"""From contributions to figures: averages, their standard errors, and paired differences.

A score is :math:`g(\bar d)` with :math:`g` the identity or the square root (RMSE). By the delta method each
contribution moves it by :math:`g'(\bar d)(d_i - \bar d)/n`; the standard error is that of these influences, with their
dependence (`dynplat.comparison.dependence`). The difference of two models has as influences the differences of theirs,
cell by cell, so that what is hard for both cancels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dynplat.comparison.dependence import standard_error
from dynplat.comparison.scores.cells import Contributions, unit_positions


class Estimate(NamedTuple):
    """A figure with its standard error.

    Attributes:
        value: The figure.
        stderr: Its standard error; NaN where it is undefined.
        n: Number of contributions.
        method: How the standard error was computed.
    """

    value: float
    stderr: float
    n: int
    method: str


def aggregate(values: np.ndarray, how: str) -> float:
    """One figure from contributions: their `mean`, or the root of it (`root-mean`)."""
    with np.errstate(invalid="ignore", over="ignore"):
        mean = float(np.mean(values))
    return float(np.sqrt(mean)) if how == "root-mean" else mean


def estimate(given: Contributions, hidden: np.ndarray, how: str, chosen: np.ndarray | None = None) -> Estimate:
    """Aggregate contributions and say how sure the figure is.

    Args:
        given: The contributions.
        hidden: True = held out, (series, time, channel).
        how: `mean` or `root-mean`.
        chosen: Which contributions to use, (n,), boolean; None for all.
    """
    series, row = unit_positions(hidden, given.per)
    values = given.values
    if chosen is not None:
        values, series, row = values[chosen], series[chosen], row[chosen]
    error = standard_error(influences(values, how), series, row)
    return Estimate(aggregate(values, how), error.value, values.size, error.method)


def difference(first: Contributions, second: Contributions, hidden: np.ndarray, how: str) -> Estimate:
    """Figure of `first` minus figure of `second`, with the standard error of the pairs."""
    series, row = unit_positions(hidden, first.per)
    error = standard_error(influences(first.values, how) - influences(second.values, how), series, row)
    value = aggregate(first.values, how) - aggregate(second.values, how)
    return Estimate(value, error.value, first.values.size, error.method)


def influences(values: np.ndarray, how: str) -> np.ndarray:
    """How far each contribution moves the figure, times their number."""
    with np.errstate(invalid="ignore", over="ignore"):
        centred = values - np.mean(values)
    if how != "root-mean":
        return centred
    root = aggregate(values, how)
    # A root mean of zero: every contribution is zero, and so is every influence.
    return centred / (2.0 * root) if root > 0 else centred
