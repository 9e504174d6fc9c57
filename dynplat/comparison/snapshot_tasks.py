"""Tasks on snapshots: which populations are held out, and what a model is asked about them.

Scores are distances of populations (`dynplat.comparison.scores.populations`), one number per held-out snapshot. Those
of samples depend on the numbers of particles, so that every model is asked for the same number.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dynplat.comparison.tasks import AbstractTask
from dynplat.data.snapshots import Snapshots
from dynplat.errors import ArgumentError
from dynplat.posterior import Prediction, predict

if TYPE_CHECKING:
    from dynplat.posterior import Posterior

#: Positions that a description names one by one.
_SHOWN = 12


class AbstractSnapshotTask(AbstractTask):
    """Snapshots with some populations held out whole."""

    kind: ClassVar[str] = "snapshots"
    data: Snapshots

    @property
    @abstractmethod
    def held_out(self) -> tuple[int, ...]:
        """Positions of the snapshots that are held out, increasing."""

    @cached_property
    def train(self) -> Snapshots:
        """The snapshots that a model may see."""
        return self.data.hide_times(self.held_out)

    @cached_property
    def truth(self) -> Snapshots:
        """The held-out snapshots, and nothing else."""
        return self.data.select_times(self.held_out)

    @cached_property
    def hidden(self) -> np.ndarray:
        """True = held out, (1, snapshot, channel), among all snapshots."""
        hidden = np.zeros((1, self.data.num_times, len(self.data.channels)), dtype=bool)
        hidden[:, list(self.held_out)] = True
        hidden.setflags(write=False)
        return hidden

    @property
    def num_draws(self) -> int:
        """Particles of a predicted population: as many as the largest held-out one has."""
        return int(self.truth.counts.max())

    def predict(self, posterior: Posterior, *, num_draws: int | None = None, seed: int = 0) -> Prediction:
        """Ask about the times of the held-out snapshots, given the others; see `AbstractTask.predict`."""
        self._check_posterior(posterior)
        wanted = self.num_draws if num_draws is None else num_draws
        return predict(posterior, self.truth.times, num_draws=wanted, seed=seed, data=self.train)

    def _which(self) -> str:
        found = [str(position) for position in self.held_out]
        names = found if len(found) <= _SHOWN else [*found[:3], "...", found[-1]]
        return f"{'position' if len(found) == 1 else 'positions'} {', '.join(names)}"

    def _check_data(self) -> None:
        if not isinstance(self.data, Snapshots):
            raise ArgumentError(f"`data` of task {self.name!r} must be Snapshots; got {type(self.data).__name__}.")
        if self.data.num_times < 2:
            raise ArgumentError(f"`data` of task {self.name!r} must hold at least two snapshots; got one or none.")

    def _check_held_out(self) -> None:
        empty = [position for position in self.held_out if not self.data.counts[position]]
        if empty:
            raise ArgumentError(f"the snapshot at position {empty[0]} is empty: nothing can be asked about it.")


@dataclass(frozen=True, eq=False, repr=False)
class SnapshotInterpolation(AbstractSnapshotTask):
    """Some snapshots between others are held out; a model says what the populations were there.

    Args:
        data: All snapshots. Where the held-out ones come in a file of their own, `train.join(held_out)` puts both
            together, and `positions` say which they are.
        positions: Positions of the snapshots that are held out, counted from 0 in the order of time; negative ones from
            the end. By default every second one: 1, 3, 5, ..., the last snapshot excluded.
        seed: Seed of fits and predictions; the split itself leaves nothing to chance.
        dataset: Name of the data in records.

    Raises:
        ArgumentError: A position is not there, or has no snapshot left before or after it.
    """

    data: Snapshots
    _: KW_ONLY
    positions: Iterable[int] | None = None
    seed: int = 0
    dataset: str = "data"

    name: ClassVar[str] = "snapshot-interpolation"
    needs: ClassVar[tuple[str, ...]] = ("condition",)

    def __post_init__(self) -> None:
        """Check the arguments."""
        self._check_data()
        last = self.data.num_times - 1
        given = range(1, last, 2) if self.positions is None else self.positions
        chosen = [given] if isinstance(given, int | np.integer) else list(given)
        for position in chosen:
            if isinstance(position, bool) or not isinstance(position, int | np.integer):
                raise ArgumentError(f"`positions` must be whole numbers; got {position!r}.")
            if not -last - 1 <= position <= last:
                raise ArgumentError(f"`positions` must be among {last + 1} snapshots, from 0; got {position}.")
        found = tuple(sorted({int(position) % (last + 1) for position in chosen}))
        if not found or found[0] == 0 or found[-1] == last:
            raise ArgumentError(
                f"`positions` must name snapshots that lie between others, of 1 to {last - 1}; got "
                f"{list(found) or 'none'}. Use `SnapshotForecast` for the last ones."
            )
        object.__setattr__(self, "positions", found)
        self._check_held_out()

    @property
    def held_out(self) -> tuple[int, ...]:
        """Positions of the snapshots that are held out, increasing."""
        return tuple(self.positions or ())

    def describe(self) -> str:
        """Say in words what is held out."""
        return f"interpolation of {len(self.held_out)} of {self.data.num_times} snapshots ({self._which()})"


@dataclass(frozen=True, eq=False, repr=False)
class SnapshotForecast(AbstractSnapshotTask):
    """The last snapshots are cut off; a model says what the populations were there.

    Args:
        data: All snapshots.
        horizon: How many of the last ones are held out.
        seed: Seed of fits and predictions; the split itself leaves nothing to chance.
        dataset: Name of the data in records.

    Raises:
        ArgumentError: The horizon is not a positive number, or leaves no snapshot.
    """

    data: Snapshots
    _: KW_ONLY
    horizon: int = 1
    seed: int = 0
    dataset: str = "data"

    name: ClassVar[str] = "snapshot-forecast"
    needs: ClassVar[tuple[str, ...]] = ("forecast",)

    def __post_init__(self) -> None:
        """Check the arguments."""
        self._check_data()
        horizon, count = self.horizon, self.data.num_times
        if isinstance(horizon, bool) or not isinstance(horizon, int | np.integer) or not 1 <= horizon < count:
            raise ArgumentError(
                f"`horizon` must be a whole number of snapshots, from 1 to {count - 1} so that one stays; "
                f"got {horizon!r}."
            )
        self._check_held_out()

    @property
    def held_out(self) -> tuple[int, ...]:
        """Positions of the snapshots that are held out, increasing."""
        return tuple(range(self.data.num_times - int(self.horizon), self.data.num_times))

    def describe(self) -> str:
        """Say in words what is held out."""
        what = "the last snapshot" if self.horizon == 1 else f"the last {self.horizon} snapshots"
        return f"forecast of {what} of {self.data.num_times}"
