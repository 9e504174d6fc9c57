"""Regression of drifts by a small network, for populations of many channels or shapes that few kernels meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynplat.errors import ArgumentError
from dynplat_bridges.drifts.base import AbstractRegression, Coordinates, FittedDrift, check_shapes, spread_of
from dynplat_bridges.drifts.ridge import linear_part


@dataclass(frozen=True)
class NeuralRegression(AbstractRegression):
    """A linear regression at each time, and a network of what it leaves over.

    The network takes the state in coordinates that move with the population and the time as a part of the interval. It
    is trained by Adam on batches of increments, each in units of its noise.

    Args:
        hidden: Widths of the layers.
        num_steps: Steps of the training.
        batch: Increments of a step.
        learning_rate: Learning rate at the start; it falls to 0 along half a cosine.
    """

    hidden: tuple[int, ...] = (64, 64)
    num_steps: int = 300
    batch: int = 1024
    learning_rate: float = 5e-3

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        if not self.hidden or min(self.hidden) < 1:
            raise ArgumentError(f"`hidden` must be one or more widths of at least 1; got {self.hidden!r}.")
        for name in ("num_steps", "batch"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"`{name}` must be at least 1; got {getattr(self, name)}.")
        if not self.learning_rate > 0:
            raise ArgumentError(f"`learning_rate` must be positive; got {self.learning_rate}.")

    def fit(
        self, states: np.ndarray, targets: np.ndarray, grid: np.ndarray, noise: np.ndarray, *, seed: int
    ) -> FittedDrift:
        """Fit both parts (see the class)."""
        from dynplat_bridges.torch import train_network

        check_shapes(states, targets, grid, noise)
        coordinates = Coordinates.of(states)
        z = coordinates.all(states)
        coefficients = linear_part(z, targets)
        left = targets - coefficients[:, 0] - np.einsum("nti,tij->ntj", z, coefficients[:, 1:])
        s = (np.asarray(grid) - grid[0]) / (float(np.ptp(grid)) or 1.0)
        when = np.broadcast_to(s[None, :, None], (*z.shape[:2], 1))
        scale = np.sqrt(noise)
        network = train_network(
            np.concatenate([z, when], axis=-1).reshape(-1, z.shape[2] + 1),
            (left / scale).reshape(-1, z.shape[2]),
            hidden=self.hidden,
            num_steps=self.num_steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            seed=seed,
        )

        def rest(place: int, inner: np.ndarray) -> np.ndarray:
            time = np.full((len(inner), 1), s[place])
            return scale[place] * network(np.concatenate([inner, time], axis=-1))

        for place in range(len(grid)):
            left[:, place] -= rest(place, z[:, place])

        def drift(place: int, x: np.ndarray) -> np.ndarray:
            inner = coordinates(place, x)
            return coefficients[place, 0] + inner @ coefficients[place, 1:] + rest(place, inner)

        return FittedDrift(drift, spread_of(left, z.shape[2] + 1))
