"""The contract of emissions, and what their laws share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import Any

import numpy as np

from dynplat.arrays import Array, Observations, Random, array_namespace, asarray_like, concrete, eye_like, take_rows
from dynplat.errors import ArgumentError, CapabilityError

#: A law's probabilities must sum to one to this.
NORMALISED = 1e-3


class AbstractEmission(ABC):
    """Law of one row's observation given the state. Subclasses are final.

    A law of one's own needs `like`, `cell_log_density` and `sample`, and sets `num_states`, `num_channels` and
    `batch_shape`; one whose parameters change with time also sets `num_steps` and `parameter_cores`.
    """

    #: Number of states K.
    num_states: int
    #: Number of channels.
    num_channels: int
    #: Leading shape of the parameters, (..., series or 1).
    batch_shape: tuple[int, ...]
    #: Number of rows of time-varying parameters; 0 where they do not change with time.
    num_steps: int = 0
    #: Names of the parameters and how many core dimensions each has after K.
    parameter_cores: tuple[tuple[str, int], ...] = ()

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

    def log_density(self, observations: Observations, *, driver: str = "auto") -> Array:
        """Log density of each row's observed cells in each state, (..., time, K).

        Args:
            observations: Values and mask; of times nothing is read.
            driver: The driver of the chain, as for `dynplat.process.HiddenMarkov`.
        """
        values, mask = self._seen(observations)
        cells = self.cell_log_density(values)
        xp = array_namespace(cells)
        return xp.sum(xp.where(mask[..., None, :], cells, 0.0), axis=-1)

    def mean(self) -> Array:
        """Mean of each channel in each state, (..., K, channel), or (..., T, K, channel) where it changes with time."""
        raise CapabilityError(f"{type(self).__name__} has no mean: its values are labels. Ask for densities or draws.")

    def variance(self) -> Array:
        """Variance of each channel in each state, shaped as `mean`."""
        raise CapabilityError(
            f"{type(self).__name__} has no variance: its values are labels. Ask for densities or draws."
        )

    def covariance(self) -> Array:
        """Covariance of the channels in each state, (..., [T,] K, channel, channel)."""
        variance = self.variance()
        return variance[..., None] * eye_like(self.num_channels, variance)

    def signal(self, states: Array) -> Array:
        """Means of the emissions of states (..., time), (..., time, channel)."""
        return self._given(self.mean(), states)

    def at(self, rows: Array) -> AbstractEmission:
        """The law of rows (..., query) out of all rows: where parameters change with time those of these rows."""
        if self.num_steps <= 1:
            return self
        taken = copy(self)
        for name, core in self.parameter_cores:
            parameter = getattr(self, name)
            if parameter.shape[-core - 2] == 1:
                parameter = self._whole_time(parameter, core)
            setattr(taken, name, take_rows(parameter, rows, num_core=core + 1))
        taken.num_steps = int(rows.shape[-1])
        taken.batch_shape, _ = taken._leading()
        return taken

    def _whole_time(self, parameter: Array, core: int) -> Array:
        shape = list(parameter.shape)
        shape[-core - 2] = self.num_steps
        return array_namespace(parameter).broadcast_to(parameter, tuple(shape))

    def _seen(self, observations: Observations) -> tuple[Array, Array]:
        """Values, 0 where nothing was seen, and mask."""
        values, mask = self._converted(observations)
        # What stands in a missing cell must not reach a gradient.
        return array_namespace(values).where(mask, values, 0.0 * self.like.reshape(-1)[0]), mask

    def _converted(self, observations: Observations) -> tuple[Array, Array]:
        """Values and mask as arrays like the parameters."""
        like = self.like
        values = asarray_like(observations.values, like)
        values = values if values.dtype == like.dtype else array_namespace(like).astype(values, like.dtype)
        return values, asarray_like(observations.mask, like)

    # What laws with named parameters share.

    def _settle(self, time_varying: bool) -> None:
        """Read sizes off the parameters, whose names and core dimensions `parameter_cores` gives.

        The first core dimension is the channel.

        Raises:
            ArgumentError: A parameter has too few axes, or shapes do not broadcast.
        """
        shapes = {name: tuple(getattr(self, name).shape) for name, _ in self.parameter_cores}
        axes = "(..., series or 1, T, K" if time_varying else "(..., series or 1, K"
        for name, core in self.parameter_cores:
            if len(shapes[name]) < 1 + core + time_varying:
                more = ", ..." if core > 1 else ""
                raise ArgumentError(
                    f"`{name}` must have shape {axes}, channel{more}) here; got {shapes[name]}. "
                    "Give `time_varying=True` where, and only where, parameters have a time axis."
                )
        self.num_steps = 1 if time_varying else 0
        try:
            self.batch_shape, (rows, self.num_states, self.num_channels) = self._leading()
        except ValueError:
            raise ArgumentError(f"parameters must have the same K and channels and broadcast; got {shapes}.") from None
        self.num_steps = rows if time_varying else 0

    def _leading(self) -> tuple[tuple[int, ...], tuple[int, int, int]]:
        """Leading shape; number of rows, states and channels of all parameters, broadcast."""
        heads = []
        for name, core in self.parameter_cores:
            shape = tuple(getattr(self, name).shape)
            head = shape[: len(shape) - core + 1]
            heads.append(head if self.num_steps else (*head[:-2], 1, *head[-2:]))
        *lead, rows, states, channels = np.broadcast_shapes(*heads)
        return tuple(int(size) for size in lead), (int(rows), int(states), int(channels))

    def _rows(self, parameter: Array, core: int = 1) -> Array:
        """A parameter with a time axis, of length 1 where it does not change."""
        return parameter if self.num_steps else array_namespace(parameter).expand_dims(parameter, axis=-core - 2)

    def _given(self, parameter: Array, states: Array, core: int = 1) -> Array:
        """The parameter of each row's state, (..., time, core dimensions), for states (..., time)."""
        if not self.num_steps:
            return take_rows(parameter, states, num_core=core)
        return take_rows(parameter, states[..., None], num_core=core)[(..., 0, *(slice(None),) * core)]

    def _whole(self, array: Array, core: int = 1) -> Array:
        """A parameter stretched over states and channels (and rows) along which others change and it does not."""
        shape = [*array.shape]
        shape[-core - 1], shape[-core] = self.num_states, self.num_channels
        return array_namespace(array).broadcast_to(array, tuple(shape))


def check_positive(name: str, values: Array, *, zero: bool = False) -> None:
    """Refuse numbers that are not positive (or, with `zero`, negative ones); pass what is only being traced.

    Raises:
        ArgumentError: Naming the place.
    """
    numbers = concrete(values)
    if numbers is None:
        return
    good = numbers >= 0 if zero else numbers > 0
    if not good.all():
        where = tuple(int(i) for i in np.argwhere(~good)[0])
        kind = "not be negative" if zero else "be positive"
        raise ArgumentError(f"`{name}` must {kind}; {name}[{where}] is {numbers[where]:g}.")


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


def check_counts(name: str, observations: Observations, below: float, advice: str) -> None:
    """Refuse observed values that are not whole numbers in [0, below); pass what is only being traced.

    Raises:
        ArgumentError: Naming the cell.
    """
    values, mask = concrete(observations.values), concrete(observations.mask)
    if values is None or mask is None:
        return
    bad = mask & ~((values >= 0) & (values < below) & (values == np.floor(values)))
    if bad.any():
        *_, row, channel = where = tuple(int(i) for i in np.argwhere(bad)[0])
        found = np.broadcast_to(values, bad.shape)[where]
        raise ArgumentError(
            f"`values` must hold {name} in observed cells; found {found:g} at row {row}, channel {channel}. {advice}"
        )
