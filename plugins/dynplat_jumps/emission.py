"""What a state of a jump process shows: its own label, a label that may be wrong, or a set in which it lies."""

from __future__ import annotations

import math
from copy import copy
from typing import Any

import numpy as np

from dynplat.arrays import Array, Observations, Random, array_namespace, asarray_like, concrete
from dynplat.errors import ArgumentError, CapabilityError
from dynplat.process.emissions import AbstractEmission, CategoricalEmission


class StateEmission(AbstractEmission):
    """Labels first, ..., first + K - 1 of states, in one channel, right or with errors.

    Args:
        log_probs: Log-probability of each label in each state, (..., series or 1, K, K), (state, label).
        first: Label of the first state.
        exact: Whether the label is the state itself, so that it can stand for a signal.
        sets: Further labels, each with the states in which it says that the chain is. Such a label is an event and not
            a value: it says no more than that, is never drawn, and is not counted among the probabilities.
        strict: Whether a label out of range is an error; else it has probability 0.
        first_known: Whether the label of a series' first row is right in any case.

    Raises:
        ArgumentError: The shape does not fit, or the probabilities of a state do not sum to one.
    """

    num_channels = 1

    def __init__(
        self,
        log_probs: Array,
        *,
        first: int = 0,
        exact: bool = False,
        sets: tuple[tuple[int, tuple[int, ...]], ...] = (),
        strict: bool = True,
        first_known: bool = False,
    ) -> None:
        self._codes = CategoricalEmission(log_probs[..., :, None, :])
        self.first, self.exact, self.sets, self.strict = first, exact, sets, strict
        self.first_known = first_known
        #: Which rows these are, where they are not all.
        self._taken: Array | None = None
        self.num_states = self._codes.num_states
        self.batch_shape = self._codes.batch_shape
        last = first + self.num_states - 1
        for label, _ in sets:
            if first <= label <= last:
                raise ArgumentError(f"`sets` gives the label {label} of a state, {first}, ..., {last}, to a set.")

    @classmethod
    def of_states(cls, num_states: int, like: Array, **options: object) -> StateEmission:
        """Labels that are the states themselves, in the framework, dtype and device of `like`."""
        eye = np.where(np.eye(num_states, dtype=bool), 0.0, -np.inf)
        return cls(asarray_like(eye[None], like), exact=True, **options)  # type: ignore[arg-type]

    @property
    def like(self) -> Array:
        """An array whose namespace, dtype and device are those of the parameters."""
        return self._codes.like

    def log_density(self, observations: Observations, *, driver: str = "auto") -> Array:
        """Log-probability of each row's label in each state, (..., time, K), 0 where nothing was seen.

        Raises:
            ArgumentError: An observed label is no state's and no set's.
        """
        values, mask = concrete(observations.values), concrete(observations.mask)
        if self.strict and values is not None and mask is not None:
            known = np.isin(values, [self.first + k for k in range(self.num_states)] + [s for s, _ in self.sets])
            bad = mask & ~known
            if bad.any():
                where: Any = tuple(int(i) for i in np.argwhere(bad)[0])
                found = np.broadcast_to(values, bad.shape)[where]
                raise ArgumentError(
                    f"`values` must hold the labels {self.first}, ..., {self.first + self.num_states - 1} of states; "
                    f"found {found:g} at series {where[-3] if len(where) > 2 else 0}, row {where[-2]}. Mask the cell, "
                    "or give `num_states` or `first_state`."
                )
        return super().log_density(observations, driver=driver)

    def cell_log_density(self, values: Array) -> Array:
        """Log-probability of each cell of values (..., time, 1) in each state, (..., time, K, 1)."""
        found = self._codes.cell_log_density(values - self.first)
        xp = array_namespace(found)
        if self.first_known:
            labels = asarray_like(np.arange(self.num_states, dtype=float)[:, None] + self.first, found)
            right = xp.where(values[..., None, :] == labels, 0.0, -xp.inf)
            found = xp.where(self._known(int(values.shape[-2]))[..., None, None], right, found)
        for label, states in self.sets:
            inside = np.where(np.isin(np.arange(self.num_states), states), 0.0, -np.inf)[:, None]
            found = xp.where((values == label)[..., None, :], asarray_like(inside, found), found)
        return found

    def sample(self, states: Array, random: Random) -> Array:
        """Draw labels given states (..., time), (..., time, 1)."""
        drawn = self._codes.sample(states, random) + self.first
        if not self.first_known:
            return drawn
        xp = array_namespace(drawn)
        right = xp.astype(states, drawn.dtype)[..., None] + self.first
        return xp.where(self._known(int(states.shape[-1]))[..., None], right, drawn)

    def at(self, rows: Array) -> StateEmission:
        """The law of rows (..., query) out of all rows."""
        if not self.first_known:
            return self
        taken = copy(self)
        taken._taken = rows
        return taken

    def _known(self, num_rows: int) -> Array:
        """Which rows show their state in any case, (..., row)."""
        if self._taken is not None:
            return self._taken == 0
        return asarray_like(np.arange(num_rows) == 0, self.like)

    def signal(self, states: Array) -> Array:
        """Labels of the states themselves, (..., time, 1)."""
        if not self.exact:
            raise CapabilityError(
                "labels that may be wrong have no signal: ask for `of='state'` or `of='observation'`."
            )
        like = self.like
        return array_namespace(like).astype(states, like.dtype)[..., None] + self.first


class CountEmission(StateEmission):
    """Counts first, ..., first + K - 1 that are the states themselves; they have means and variances."""

    def mean(self) -> Array:
        """The counts, (K, 1)."""
        return asarray_like(np.arange(self.first, self.first + self.num_states, dtype=float)[:, None], self.like)

    def variance(self) -> Array:
        """No spread within a state, (K, 1)."""
        return 0.0 * self.mean()


def misclassification(logits: Array, links: tuple[tuple[int, int], ...], num_states: int) -> Array:
    r"""Log-probabilities of labels (..., K, K) from the log odds of errors against the right label.

    .. math:: e_{ij} = \frac{\exp l_{ij}}{1 + \sum_k \exp l_{ik}}

    Args:
        logits: Log odds l of the errors, (..., error).
        links: The errors that can be made, (state, label).
        num_states: Number of states, K.
    """
    xp = array_namespace(logits)
    basis = np.zeros((len(links), num_states, num_states))
    possible = np.eye(num_states, dtype=bool)
    for index, link in enumerate(links):
        basis[(index, *link)] = 1.0
        possible[link] = True
    table = logits @ asarray_like(basis.reshape(len(links), -1), logits)
    table = xp.reshape(table, (*logits.shape[:-1], num_states, num_states))
    table = xp.where(asarray_like(possible, logits), table, -math.inf)
    top = xp.max(table, axis=-1, keepdims=True)
    return table - top - xp.log(xp.sum(xp.exp(table - top), axis=-1, keepdims=True))
