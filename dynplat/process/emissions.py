"""What the states of a hidden Markov chain emit: the law of a row's observation given the state.

Channels are independent given the state, so that a missing cell is simply left out and contributes exactly 0.
Parameters are (..., series or 1, K, core dimensions) and do not change with time.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from dynplat.arrays import Array, Observations, Random, array_namespace, asarray_like, common_type, concrete, take_rows
from dynplat.errors import ArgumentError, CapabilityError

#: A law's probabilities must sum to one to this.
NORMALISED = 1e-3


class AbstractEmission(ABC):
    """Law of one row's observation given the state. Subclasses are final."""

    #: Number of states K.
    num_states: int
    #: Number of channels.
    num_channels: int
    #: Leading shape of the parameters, (..., series or 1).
    batch_shape: tuple[int, ...]

    @property
    @abstractmethod
    def like(self) -> Array:
        """An array whose namespace, dtype and device are those of the parameters."""

    @abstractmethod
    def cell_log_density(self, values: Array) -> Array:
        """Log density of each cell of values (..., time, channel) in each state, (..., time, K, channel)."""

    @abstractmethod
    def sample(self, states: Array, random: Random) -> Array:
        """Draw observations given states (..., time), (..., time, channel)."""

    def log_density(self, observations: Observations) -> Array:
        """Log density of each row's observed cells in each state, (..., time, K)."""
        like = self.like
        xp = array_namespace(like)
        values = asarray_like(observations.values, like)
        values = values if values.dtype == like.dtype else xp.astype(values, like.dtype)
        mask = asarray_like(observations.mask, like)
        # What stands in a missing cell must not reach a gradient.
        values = xp.where(mask, values, 0.0 * like.reshape(-1)[0])
        cells = self.cell_log_density(values)
        return xp.sum(xp.where(mask[..., None, :], cells, 0.0), axis=-1)

    def mean(self) -> Array:
        """Mean of each channel in each state, (..., K, channel)."""
        raise CapabilityError(f"{type(self).__name__} has no mean: its values are labels. Ask for densities or draws.")

    def variance(self) -> Array:
        """Variance of each channel in each state, (..., K, channel)."""
        raise CapabilityError(
            f"{type(self).__name__} has no variance: its values are labels. Ask for densities or draws."
        )


class GaussianEmission(AbstractEmission):
    """Normal values.

    Args:
        means: Means, (..., series or 1, K, channel).
        scales: Standard deviations, positive, of a shape that broadcasts with that of `means`.

    Raises:
        ArgumentError: Shapes do not fit, or a scale is not positive.
    """

    def __init__(self, means: Array, scales: Array) -> None:
        self.means, self.scales = common_type(means, scales)
        shapes = tuple(self.means.shape), tuple(self.scales.shape)
        try:
            shape = np.broadcast_shapes(*shapes)
        except ValueError:
            shape = ()
        if len(shape) < 2 or min(len(s) for s in shapes) < 2:
            raise ArgumentError(
                "`means` and `scales` must have shape (..., series or 1, K, channel) and broadcast together; "
                f"got {shapes[0]} and {shapes[1]}."
            )
        numbers = concrete(self.scales)
        if numbers is not None and not (numbers > 0).all():
            where = tuple(int(i) for i in np.argwhere(~(numbers > 0))[0])
            raise ArgumentError(f"`scales` must be positive; scales[{where}] is {numbers[where]:g}.")
        *lead, self.num_states, self.num_channels = (int(s) for s in shape)
        self.batch_shape = tuple(lead)

    @property
    def like(self) -> Array:
        """An array whose namespace, dtype and device are those of the parameters."""
        return self.means

    def cell_log_density(self, values: Array) -> Array:
        """Log density of each cell of values (..., time, channel) in each state, (..., time, K, channel)."""
        xp = array_namespace(self.means)
        means, scales = self.means[..., None, :, :], self.scales[..., None, :, :]
        score = (values[..., None, :] - means) / scales
        return -0.5 * (score * score) - xp.log(scales) - 0.5 * math.log(2.0 * math.pi)

    def sample(self, states: Array, random: Random) -> Array:
        """Draw observations given states (..., time), (..., time, channel)."""
        means, scales = take_rows(self.mean(), states, num_core=1), take_rows(self._scales(), states, num_core=1)
        return means + scales * random.normal(tuple(means.shape))

    def mean(self) -> Array:
        """Mean of each channel in each state, (..., K, channel)."""
        return self._whole(self.means)

    def variance(self) -> Array:
        """Variance of each channel in each state, (..., K, channel)."""
        scales = self._scales()
        return scales * scales

    def _scales(self) -> Array:
        return self._whole(self.scales)

    def _whole(self, array: Array) -> Array:
        shape = (*array.shape[:-2], self.num_states, self.num_channels)
        return array_namespace(array).broadcast_to(array, shape)


class CategoricalEmission(AbstractEmission):
    """Codes 0, 1, ..., C - 1.

    Args:
        log_probs: Log-probabilities of the codes, (..., series or 1, K, channel, C); -inf is a code that a state never
            emits.

    Raises:
        ArgumentError: The shape does not fit, or the probabilities of a state do not sum to one.
    """

    def __init__(self, log_probs: Array) -> None:
        (self.log_probs,) = common_type(log_probs)
        if self.log_probs.ndim < 3:
            raise ArgumentError(
                f"`log_probs` must have shape (..., series or 1, K, channel, C); got {tuple(self.log_probs.shape)}."
            )
        check_normalised("log_probs", self.log_probs)
        *lead, self.num_states, self.num_channels, self.num_codes = (int(s) for s in self.log_probs.shape)
        self.batch_shape = tuple(lead)

    @property
    def like(self) -> Array:
        """An array whose namespace, dtype and device are those of the parameters."""
        return self.log_probs

    def log_density(self, observations: Observations) -> Array:
        """Log density of each row's observed cells in each state, (..., time, K).

        Raises:
            ArgumentError: An observed value is not a code.
        """
        values, mask = concrete(observations.values), concrete(observations.mask)
        if values is not None and mask is not None:
            bad = mask & ~((values >= 0) & (values < self.num_codes) & (values == np.floor(values)))
            if bad.any():
                *_, row, channel = where = tuple(int(i) for i in np.argwhere(bad)[0])
                found = np.broadcast_to(values, bad.shape)[where]
                raise ArgumentError(
                    f"`values` must hold codes 0, ..., {self.num_codes - 1} in observed cells; found {found:g} at row "
                    f"{row}, channel {channel}. Mask the cell or give `log_probs` more codes."
                )
        return super().log_density(observations)

    def cell_log_density(self, values: Array) -> Array:
        """Log-probability of each cell of values (..., time, channel) in each state, (..., time, K, channel).

        A value that is no code has log-probability -inf.
        """
        xp = array_namespace(self.log_probs)
        codes = xp.matrix_transpose(values)  # (..., channel, time)
        inside = (codes >= 0) & (codes < self.num_codes) & (codes == xp.floor(codes))
        index = xp.astype(xp.where(inside, codes, 0.0), index_type(values))
        table = _permuted(self.log_probs, (-2, -1, -3))  # (..., channel, C, K)
        found = take_rows(table, index, num_core=1)  # (..., channel, time, K)
        found = xp.where(inside[..., None], found, -xp.inf)
        return _permuted(found, (-2, -1, -3))

    def sample(self, states: Array, random: Random) -> Array:
        """Draw codes given states (..., time), (..., time, channel)."""
        log_probs = take_rows(self.log_probs, states, num_core=2)
        xp = array_namespace(log_probs)
        codes = draw_index(xp.exp(log_probs), random.uniform(tuple(log_probs.shape[:-1])))
        return xp.astype(codes, log_probs.dtype)


def draw_index(weights: Array, uniform: Array) -> Array:
    """Return the index along the last axis of weights (..., n) that uniform numbers (...) on [0, 1) pick."""
    xp = array_namespace(weights)
    total = xp.cumulative_sum(weights, axis=-1)
    passed = uniform[..., None] * total[..., -1:] >= total
    # Rounding must not pick a weight of 0 at the end.
    chosen = passed[..., :-1] & (total[..., :-1] < total[..., -1:])
    return xp.sum(xp.astype(chosen, index_type(weights)), axis=-1)


def index_type(like: Array) -> Any:
    """Integers for indices beside real numbers of the dtype of `like`: JAX has int64 only where it has float64."""
    xp = array_namespace(like)
    return xp.int32 if like.dtype == xp.float32 else xp.int64


def check_normalised(name: str, log_probs: Array, what: str = "log-probabilities") -> None:
    """Refuse log-probabilities that do not sum to one along the last axis; pass what is only being traced.

    Raises:
        ArgumentError: Naming the place.
    """
    numbers = concrete(log_probs)
    if numbers is None:
        return
    with np.errstate(over="ignore"):
        total = np.exp(numbers.astype(np.float64, copy=False)).sum(axis=-1)
    # NaN passes: it shows in the result.
    bad = np.abs(total - 1.0) > NORMALISED
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ArgumentError(
            f"`{name}` must hold {what} that sum to one along the last axis; at index {where} their exponentials sum "
            f"to {total[where]:.6g}. Take the logarithm of probabilities, or normalise with log-softmax."
        )


def _permuted(array: Array, last: tuple[int, int, int]) -> Array:
    """Permute the last three axes."""
    lead = array.ndim - 3
    axes: tuple[Any, ...] = (*range(lead), *(array.ndim + axis for axis in last))
    return array_namespace(array).permute_dims(array, axes)
