"""The joint law of a linear-Gaussian trajectory at query rows, from its state moments and a way to draw states."""

from __future__ import annotations

import math
from collections.abc import Callable

from dynplat.arrays import (
    Array,
    Random,
    array_namespace,
    asarray_like,
    cholesky_semidefinite,
    concrete,
    epsilon,
    stop_gradient,
    symmetrise,
)
from dynplat.errors import ArgumentError, NoDensityError
from dynplat.process.base import AbstractPredictive

_OF = ("observation", "signal", "state")


class GaussianPredictive(AbstractPredictive):
    """Gaussian law of states x, signals H x + d and observations H x + d + N(0, R) at query rows.

    Args:
        means: State means, (..., series, query, n).
        covs: State covariances, (..., series, query, n, n).
        H: Observation matrices, (..., series or 1, query or 1, p, n).
        d: Observation offsets, (..., series or 1, query or 1, p), or None for 0.
        R: Observation noise covariances, (..., series or 1, query or 1, p, p).
        draw_states: Function `(num_draws, random)` that returns joint state draws (num_draws, ..., series, query, n).
    """

    family = "gaussian"

    def __init__(
        self,
        means: Array,
        covs: Array,
        H: Array,
        d: Array | None,
        R: Array,
        draw_states: Callable[[int, Random], Array],
    ) -> None:
        self.means = means
        self.covs = covs
        self.H = H
        self.d = d
        self.R = R
        self._draw_states = draw_states

    def mean(self, of: str = "observation") -> Array:
        """Marginal means, (..., series, query, channel or state)."""
        return self.means if _checked(of) == "state" else self._signal(self.means)

    def covariance(self, of: str = "observation") -> Array:
        """Covariances of one query row, (..., series, query, channel or state, channel or state)."""
        if _checked(of) == "state":
            return self.covs
        xp = array_namespace(self.covs)
        signal = symmetrise(self.H @ self.covs @ xp.matrix_transpose(self.H))
        return signal + self.R if of == "observation" else signal

    def variance(self, of: str = "observation") -> Array:
        """Marginal variances, (..., series, query, channel or state), never negative."""
        xp = array_namespace(self.covs)
        variance = xp.linalg.diagonal(self.covariance(of))
        # A variance that is exactly 0 may come out as minus a rounding.
        return xp.where(variance < 0, 0.0, variance)

    def log_density(self, values: Array) -> Array:
        """Marginal log density of each cell of `values`, (..., series, query, channel).

        Raises:
            NoDensityError: A cell has variance 0.
        """
        xp = array_namespace(self.means)
        variance = self.variance("observation")
        numbers = concrete(variance)
        if numbers is not None and (numbers <= 0).any():
            *lead, query, channel = map(int, next(zip(*(numbers <= 0).nonzero(), strict=True)))
            raise NoDensityError(
                f"the observation at query {query}, channel {channel}{_where(lead)} has variance 0: it is known "
                "exactly and has no density. Give that channel observation noise, or ask for `mean` and `draws`."
            )
        residual = asarray_like(values, self.means) - self.mean("observation")
        variance = xp.where(variance > 0, variance, xp.nan)
        return -0.5 * (residual * residual / variance + xp.log(variance) + math.log(2.0 * math.pi))

    def draws(self, num_draws: int, *, random: Random, of: str = "observation") -> Array:
        """Joint draws over all query rows, (num_draws, ..., series, query, channel or state)."""
        states = self._draw_states(num_draws, random)
        if _checked(of) == "state":
            return states
        signal = self._signal(states)
        if of == "signal":
            return signal
        return signal + draw_noise(self.R, tuple(signal.shape), random)

    def _signal(self, states: Array) -> Array:
        signal = (self.H @ states[..., None])[..., 0]
        return signal if self.d is None else signal + self.d


def draw_noise(cov: Array, shape: tuple[int, ...], random: Random) -> Array:
    """Draw N(0, cov) of the given shape, whose last axis is that of `cov`; `cov` may be singular."""
    xp = array_namespace(cov)
    floor = 4.0 * cov.shape[-1] * epsilon(cov) * xp.linalg.diagonal(stop_gradient(cov))
    return (cholesky_semidefinite(cov, floor) @ random.normal(shape)[..., None])[..., 0]


def _checked(of: str) -> str:
    if of not in _OF:
        raise ArgumentError(f"`of` must be one of {_OF}; got {of!r}.")
    return of


def _where(lead: list[int]) -> str:
    if not lead:
        return ""
    return f", series {lead[-1]}" + (f" (leading index {tuple(lead[:-1])})" if lead[:-1] else "")
