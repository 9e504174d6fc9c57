r"""Regression of drifts: from increments of simulated paths to a function of state and time.

Paths :math:`x_0, \dots, x_S` on a common grid give targets :math:`(x_{k+1} - x_k) / (t_{k+1} - t_k)` at
:math:`(x_k, t_k)`, whose conditional expectation is the drift and whose noise has variance :math:`\sigma^2 / dt`. All
regressions here estimate the difference from a known drift (that of the reference) in coordinates that move with the
population: at each time of the grid the states are centred and whitened. A population that is narrow beside the way it
moves, which is the usual case, then looks the same all along.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dynplat.errors import ArgumentError

#: A drift on a grid: place in the grid and states (particle, channel) to rates of change of the same shape.
GridDrift = Callable[[int, np.ndarray], np.ndarray]

#: Smallest standard deviation of a direction of a population, as a part of the largest over all directions and times.
_NARROWEST = 1e-4


class FittedDrift(NamedTuple):
    """A drift that was learned.

    Attributes:
        drift: The drift.
        spread: Lower factors of the covariance of what targets leave over, (time, channel, channel).
    """

    drift: GridDrift
    spread: np.ndarray


class Coordinates(NamedTuple):
    """Coordinates that move with a population.

    Attributes:
        centres: Mean at each time, (time, channel).
        whiteners: Matrices W with z = W (x - centre) of covariance one, (time, channel, channel).
    """

    centres: np.ndarray
    whiteners: np.ndarray

    @classmethod
    def of(cls, states: np.ndarray) -> Coordinates:
        """Coordinates of paths (particle, time, channel); directions without spread get a narrow one."""
        centres = states.mean(axis=0)
        away = states - centres
        covariances = np.einsum("nti,ntj->tij", away, away) / len(states)
        values, vectors = np.linalg.eigh(covariances)
        floor = max(_NARROWEST**2 * float(values.max()), np.finfo(float).tiny)
        roots = 1.0 / np.sqrt(np.maximum(values, floor))
        return cls(centres, np.einsum("tik,tk,tjk->tij", vectors, roots, vectors))

    def __call__(self, place: int, states: np.ndarray) -> np.ndarray:
        """States (particle, channel) at one time of the grid in its coordinates."""
        return (states - self.centres[place]) @ self.whiteners[place]

    def all(self, states: np.ndarray) -> np.ndarray:
        """Paths (particle, time, channel) in the coordinates of their times."""
        return np.einsum("ntj,tij->nti", states - self.centres, self.whiteners)


@dataclass(frozen=True)
class AbstractRegression(ABC):
    """A way to fit drifts."""

    @abstractmethod
    def fit(
        self, states: np.ndarray, targets: np.ndarray, grid: np.ndarray, noise: np.ndarray, *, seed: int
    ) -> FittedDrift:
        """Fit the conditional expectation of targets given state and time.

        Args:
            states: Where, (particle, time, channel).
            targets: What, the shape of `states`: rates of change, less those of a known drift.
            grid: Times, (time,).
            noise: Variance of the noise of targets, (time, channel).
            seed: Seed of what is random in the fit.

        Raises:
            ArgumentError: Shapes do not fit together.
        """


def check_shapes(states: np.ndarray, targets: np.ndarray, grid: np.ndarray, noise: np.ndarray) -> None:
    """Raise `ArgumentError` unless paths, targets, times and noise belong together."""
    if states.ndim != 3 or targets.shape != states.shape or len(grid) != states.shape[1]:
        raise ArgumentError(
            "`states` and `targets` must be (particle, time, channel) with one time of `grid` for each row; got "
            f"{states.shape}, {targets.shape} and {np.shape(grid)}."
        )
    if noise.shape != states.shape[1:]:
        raise ArgumentError(f"`noise` must be (time, channel), {states.shape[1:]}; got {noise.shape}.")


def spread_of(left: np.ndarray, num_coefficients: int) -> np.ndarray:
    """Lower factors of the covariances of residuals (particle, time, channel), (time, channel, channel)."""
    degrees = max(len(left) - num_coefficients, 1)
    covariances = np.einsum("nti,ntj->tij", left, left) / degrees
    sizes = np.trace(covariances, axis1=1, axis2=2)[:, None, None]
    return np.linalg.cholesky(covariances + (1e-12 * sizes + np.finfo(float).tiny) * np.eye(left.shape[2]))
