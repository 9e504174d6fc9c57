"""A discrete chain given observations, asked at its rows and, where it does not change with time, at later steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynplat.arrays import Array, Observations, Random, array_namespace, asarray_like, take_rows
from dynplat.errors import ArgumentError
from dynplat.process.base import AbstractConditional
from dynplat.process.chain_layout import observation_offset
from dynplat.process.chain_rows import locate_rows
from dynplat.process.gaussian_predictive import GaussianPredictive
from dynplat.process.linear_gaussian import ChainPosterior, LinearGaussian


class ChainConditional(AbstractConditional):
    """A chain given observations.

    Query times must be times of the observations' rows. A time-invariant chain with evenly spaced rows can also be
    asked about later times on the same grid.

    Args:
        chain: The chain.
        observations: Observations at all its rows.
    """

    def __init__(self, chain: LinearGaussian, observations: Observations) -> None:
        self.chain = chain
        self.observations = observations
        self._posterior = chain.posterior(observations)

    def at(self, times: Array, *, inputs: Array | None = None) -> GaussianPredictive:
        """Return the joint law at `times`, (..., series or 1, query).

        Args:
            times: Query times.
            inputs: Known inputs at the query times, (..., series, query, input); needed for rows after the data where
                the chain has input matrices. Every step between the data and the last query must then be a query.

        Raises:
            ArgumentError: A time is not a row of the chain, or lies after the data of a chain that cannot be extended.
        """
        rows = locate_rows(self.observations.times, times, self.chain.num_steps)
        size = int(self.observations.times.shape[-1])
        extra = int(rows.max(initial=0)) + 1 - size
        posterior = self._posterior if extra <= 0 else self._extended(extra, rows, inputs)
        like = self.chain.parameters.F
        return posterior.at_rows(asarray_like(rows.astype(np.int64), like))

    def _extended(self, extra: int, rows: np.ndarray, inputs: Any) -> ChainPosterior:
        """The chain with further rows, in which nothing is observed."""
        _, values, mask, known_inputs, _ = self.observations
        like = self.chain.parameters.F
        values = asarray_like(values, like)
        xp = array_namespace(values)
        size = int(values.shape[-2])
        mask = asarray_like(mask, like)
        filler = 0.0 * xp.repeat(values[..., -1:, :], extra, axis=-2) if size else values
        filler = xp.where(xp.isfinite(filler), filler, 0.0)
        values = xp.concat([values, filler], axis=-2)
        unseen = xp.repeat(mask[..., -1:, :], extra, axis=-2)
        mask = xp.concat([mask, unseen & ~unseen], axis=-2)
        if known_inputs is not None:
            known_inputs = asarray_like(known_inputs, like)
        if self.chain.parameters.B is not None or self.chain.parameters.D is not None:
            known_inputs = _extended_inputs(known_inputs, inputs, rows, size, extra, like)
        longer = asarray_like(np.arange(size + extra, dtype=float), like)
        return self.chain.posterior(Observations(longer, values, mask, known_inputs, None))


def predictive_at_rows(posterior: ChainPosterior, rows: Array) -> GaussianPredictive:
    """The law of a chain's posterior at row numbers, (..., series or 1, query)."""
    parameters = posterior.chain.parameters
    smoothed = posterior.smoothed
    rows = asarray_like(rows, parameters.F)
    offset = observation_offset(parameters, posterior._call[3])

    def pick(array: Array | None, num_core: int) -> Array | None:
        if array is None or array.shape[-num_core - 1] == 1:
            return array
        return take_rows(array, rows, num_core=num_core)

    def draw_states(num_draws: int, random: Random) -> Array:
        return take_rows(posterior.draw_states(num_draws, random), rows, num_core=1)

    return GaussianPredictive(
        take_rows(smoothed.means, rows, num_core=1),
        take_rows(smoothed.covs, rows, num_core=2),
        pick(parameters.H, 2),
        pick(offset, 1),
        pick(parameters.R, 2),
        draw_states,
    )


def _extended_inputs(known: Array | None, later: Any, rows: np.ndarray, size: int, extra: int, like: Array) -> Array:
    """Inputs of the data followed by those of the queries after them."""
    if known is None or later is None:
        raise ArgumentError("the chain has input matrices: give `inputs` (..., series, query, input) with later times.")
    xp = array_namespace(like)
    later = asarray_like(later, like)
    rows = np.broadcast_to(rows, np.broadcast_shapes(rows.shape, tuple(later.shape[:-1])))
    slots = np.full((*rows.shape[:-1], extra), -1, dtype=np.int64)
    for index in np.ndindex(*rows.shape):
        if rows[index] >= size:
            slots[(*index[:-1], int(rows[index]) - size)] = index[-1]
    needed = rows.max(axis=-1, keepdims=True) - size
    if ((slots < 0) & (np.arange(extra) < needed)).any():
        raise ArgumentError("`inputs` are needed at every step between the data and the last query: query them all.")
    chosen = take_rows(later, asarray_like(np.maximum(slots, 0), like), num_core=1)
    lead = xp.broadcast_shapes(tuple(known.shape[:-2]), tuple(chosen.shape[:-2]))
    parts = [xp.broadcast_to(part, (*lead, *part.shape[-2:])) for part in (known, chosen)]
    return xp.concat(parts, axis=-2)
