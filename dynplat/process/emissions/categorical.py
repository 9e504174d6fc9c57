"""Codes."""

from __future__ import annotations

from typing import Any

from dynplat.arrays import Array, Observations, Random, array_namespace, common_type, take_rows
from dynplat.errors import ArgumentError
from dynplat.process.emissions.base import AbstractEmission, check_counts, check_normalised, draw_index, index_type


class CategoricalEmission(AbstractEmission):
    """Codes 0, 1, ..., C - 1.

    Args:
        log_probs: Log-probabilities of the codes, (..., series or 1, K, channel, C); -inf is a code that a state never
            emits.
        time_varying: Whether they have a time axis, (..., series or 1, T, K, channel, C).

    Raises:
        ArgumentError: The shape does not fit, or the probabilities of a state do not sum to one.
    """

    parameter_cores = (("log_probs", 2),)

    def __init__(self, log_probs: Array, *, time_varying: bool = False) -> None:
        (self.log_probs,) = common_type(log_probs)
        if self.log_probs.ndim < 3 + time_varying:
            axes = "T, K, channel, C" if time_varying else "K, channel, C"
            raise ArgumentError(
                f"`log_probs` must have shape (..., series or 1, {axes}); got {tuple(self.log_probs.shape)}."
            )
        check_normalised("log_probs", self.log_probs)
        self._settle(time_varying)
        self.num_codes = int(self.log_probs.shape[-1])

    @property
    def like(self) -> Array:
        """An array whose namespace, dtype and device are those of the parameters."""
        return self.log_probs

    def log_density(self, observations: Observations, *, driver: str = "auto") -> Array:
        """Log density of each row's observed cells in each state, (..., time, K) (see `AbstractEmission`).

        Raises:
            ArgumentError: An observed value is not a code.
        """
        check_counts(
            f"codes 0, ..., {self.num_codes - 1}",
            observations,
            self.num_codes,
            "Mask the cell or give `log_probs` more codes.",
        )
        return super().log_density(observations, driver=driver)

    def cell_log_density(self, values: Array) -> Array:
        """Log-probability of each cell of values (..., time, channel) in each state, (..., time, K, channel).

        A value that is no code has log-probability -inf.
        """
        xp = array_namespace(self.log_probs)
        inside = (values >= 0) & (values < self.num_codes) & (values == xp.floor(values))
        index = xp.astype(xp.where(inside, values, 0.0), index_type(values))
        if self.num_steps:
            table = _permuted(self.log_probs, (-2, -1, -3))  # (..., time, channel, C, K)
            found = take_rows(table, index[..., None], num_core=1)[..., 0, :]  # (..., time, channel, K)
            found = xp.where(inside[..., None], found, -xp.inf)
            return xp.matrix_transpose(found)
        table = _permuted(self.log_probs, (-2, -1, -3))  # (..., channel, C, K)
        found = take_rows(table, xp.matrix_transpose(index), num_core=1)  # (..., channel, time, K)
        found = xp.where(xp.matrix_transpose(inside)[..., None], found, -xp.inf)
        return _permuted(found, (-2, -1, -3))

    def sample(self, states: Array, random: Random) -> Array:
        """Draw codes given states (..., time), (..., time, channel)."""
        log_probs = self._given(self.log_probs, states, core=2)
        xp = array_namespace(log_probs)
        codes = draw_index(xp.exp(log_probs), random.uniform(tuple(log_probs.shape[:-1])))
        return xp.astype(codes, log_probs.dtype)


def _permuted(array: Array, last: tuple[int, int, int]) -> Array:
    """Permute the last three axes."""
    lead = array.ndim - 3
    axes: tuple[Any, ...] = (*range(lead), *(array.ndim + axis for axis in last))
    return array_namespace(array).permute_dims(array, axes)
