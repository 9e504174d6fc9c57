"""The joint law of a linear-Gaussian trajectory at query times, given its state moments and a way to draw states."""

from __future__ import annotations

from collections.abc import Callable

from dynplat.arrays import Array, Random
from dynplat.process.base import AbstractPredictive


class GaussianPredictive(AbstractPredictive):
    """Gaussian law of states x, signals H x + d and observations H x + d + N(0, R) at query rows.

    Args:
        means: State means, (..., series, query, n).
        covs: State covariances, (..., series, query, n, n).
        H: Observation matrices, (..., series or 1, query or 1, p, n).
        d: Observation offsets, (..., series or 1, query or 1, p).
        R: Observation noise covariances, (..., series or 1, query or 1, p, p).
        draw_states: Function `(num_draws, random)` that returns joint state draws (num_draws, ..., series, query, n).
    """

    family = "gaussian"

    def __init__(
        self, means: Array, covs: Array, H: Array, d: Array, R: Array, draw_states: Callable[[int, Random], Array]
    ) -> None: ...
