"""Tasks: which cells are held out, and what a model is asked about them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dynplat.comparison.future import late_cells, predict_rows, without_rows
from dynplat.data.holdouts import Holdout, hide_blocks, hide_rows, hide_values
from dynplat.data.snapshots import Snapshots
from dynplat.data.trajectories import Trajectories
from dynplat.errors import ArgumentError
from dynplat.model import AbstractModel, check_request
from dynplat.posterior import Prediction, impute

if TYPE_CHECKING:
    from dynplat.posterior import Posterior

PATTERNS = ("values", "blocks", "rows")
#: Draws per prediction: scores that read draws are fair at any number; quantiles of draws get steadier with more.
NUM_DRAWS = 400
#: Blocks without a given length take one of so many parts of a series of median length.
_PARTS = 20


class AbstractTask(ABC):
    """Data with some cells held out, and the question that is asked about them.

    Attributes:
        name: `imputation`, `forecast`, `snapshot-interpolation` or `snapshot-forecast`.
        kind: Kind of the data: `trajectories` or `snapshots`.
        needs: Capabilities that a model must claim.
        data: The data before anything was hidden.
        seed: Seed of the hold-out.
        dataset: Name of the data in records.
    """

    name: ClassVar[str]
    kind: ClassVar[str] = "trajectories"
    needs: ClassVar[tuple[str, ...]]
    data: Any
    seed: int
    dataset: str

    @property
    @abstractmethod
    def train(self) -> Any:
        """The data that a model may see."""

    @property
    @abstractmethod
    def truth(self) -> Any:
        """What is held out, and nothing else."""

    @property
    @abstractmethod
    def hidden(self) -> np.ndarray:
        """True = held out, (series, time, channel)."""

    @property
    def num_draws(self) -> int:
        """Joint draws per prediction where nobody says another number."""
        return NUM_DRAWS

    @abstractmethod
    def describe(self) -> str:
        """Say in words what is held out."""

    @abstractmethod
    def predict(self, posterior: Posterior, *, num_draws: int = 400, seed: int = 0) -> Prediction:
        """Ask a posterior about the held-out cells.

        Args:
            posterior: A model fitted to `train`.
            num_draws: Joint draws.
            seed: Seed of the draws.

        Returns:
            A prediction about the rows of the data, (series, time, channel), where what was not asked may be NaN; of
            snapshots, about the times of those held out.

        Raises:
            CapabilityError: The model does not offer the answer.
            ArgumentError: The posterior was fitted to data in which the held-out cells were visible.
        """

    def check(self, model: AbstractModel) -> None:
        """Refuse a model that does not claim what the task needs.

        Raises:
            CapabilityError: A capability is missing, or the model does not take such data.
        """
        check_request(model, self.train, self.needs, purpose=f"task {self.name!r}")

    def _check_posterior(self, posterior: Posterior) -> None:
        # A fit that has seen what it is asked about would win every comparison.
        if posterior.data is not self.train and posterior.data.fingerprint() == self.data.fingerprint():
            raise ArgumentError(
                f"{posterior.model.entry.id} was fitted to the data with nothing held out; fit it to `task.train`."
            )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.describe()}>"


class AbstractCellTask(AbstractTask):
    """Trajectories with some cells held out."""

    data: Trajectories

    @property
    @abstractmethod
    def holdout(self) -> Holdout:
        """What is trained on, what is true, and which cells are hidden."""

    @property
    def train(self) -> Trajectories:
        """The data that a model may see."""
        return self.holdout.train

    @property
    def truth(self) -> Trajectories:
        """The held-out cells, and nothing else, on the rows of the data."""
        return self.holdout.truth

    @property
    def hidden(self) -> np.ndarray:
        """True = held out, (series, time, channel)."""
        return self.holdout.hidden

    def _asked(self) -> np.ndarray:
        return np.where(self.hidden, self.truth.values, np.nan)

    def _check_data(self) -> None:
        if not isinstance(self.data, Trajectories):
            advice = " Ask `SnapshotInterpolation` or `SnapshotForecast`." if isinstance(self.data, Snapshots) else ""
            raise ArgumentError(
                f"`data` of task {self.name!r} must be Trajectories; got {type(self.data).__name__}.{advice}"
            )


@dataclass(frozen=True, eq=False, repr=False)
class Imputation(AbstractCellTask):
    """Observed cells are hidden inside the data; a model says what stood there, given everything else.

    Args:
        data: The data.
        fraction: Share of the observed cells (for `rows`, of the observed time points) that is hidden.
        pattern: `values` hides single cells, `blocks` stretches of one channel, `rows` all channels of a time point.
        length: Rows of a block; by default a twentieth of the median length of the series, and at least 2.
        seed: Seed of the choice.
        dataset: Name of the data in records.

    Raises:
        ArgumentError: An argument is out of range, or nothing could be hidden.
    """

    data: Trajectories
    _: KW_ONLY
    fraction: float = 0.3
    pattern: str = "values"
    length: int | None = None
    seed: int = 0
    dataset: str = "data"

    name: ClassVar[str] = "imputation"
    needs: ClassVar[tuple[str, ...]] = ("condition",)

    def __post_init__(self) -> None:
        """Check the arguments and hide the cells."""
        self._check_data()
        if self.pattern not in PATTERNS:
            raise ArgumentError(f"`pattern` must be one of {PATTERNS}; got {self.pattern!r}.")
        if self.pattern == "blocks" and self.length is None:
            median = float(np.median(self.data.lengths)) if self.data.num_series else 0.0
            object.__setattr__(self, "length", max(2, round(median / _PARTS)))
        elif self.pattern != "blocks" and self.length is not None:
            raise ArgumentError(f"`length` belongs to the pattern 'blocks'; the pattern is {self.pattern!r}.")
        _ = self.holdout

    @cached_property
    def holdout(self) -> Holdout:
        """What is trained on, what is true, and which cells are hidden."""
        if self.pattern == "rows":
            return hide_rows(self.data, self.fraction, self.seed)
        if self.length is not None:
            return hide_blocks(self.data, self.fraction, self.length, self.seed)
        return hide_values(self.data, self.fraction, self.seed)

    def describe(self) -> str:
        """Say in words what is held out."""
        how = {"values": "one by one", "blocks": f"in blocks of {self.length} rows", "rows": "by whole rows"}
        return (
            f"imputation of {int(self.hidden.sum())} of {int(self.data.mask.sum())} observed values, hidden "
            f"{how[self.pattern]} (fraction {self.fraction:g}, seed {self.seed})"
        )

    def predict(self, posterior: Posterior, *, num_draws: int = 400, seed: int = 0) -> Prediction:
        """Ask about all rows, given what was not hidden; see `AbstractTask.predict`."""
        self._check_posterior(posterior)
        return impute(posterior, num_draws=num_draws, seed=seed, values=self._asked(), data=self.train)


@dataclass(frozen=True, eq=False, repr=False)
class Forecast(AbstractCellTask):
    """The end of every series is cut off; a model says what came next.

    A series that is too short for anything to stay is left whole and not asked about. Known inputs of the rows that
    were cut off are given to the model.

    Args:
        data: The data.
        horizon: Number of observed time points (times at which something was observed) at the end of each series.
        fraction: Share of the observed time points of each series, instead of `horizon`.
        seed: Kept in records; the split itself leaves nothing to chance.
        dataset: Name of the data in records.

    Raises:
        ArgumentError: Not exactly one of `horizon` and `fraction` is given, or no series is long enough.
    """

    data: Trajectories
    _: KW_ONLY
    horizon: int | None = None
    fraction: float | None = None
    seed: int = 0
    dataset: str = "data"

    name: ClassVar[str] = "forecast"
    needs: ClassVar[tuple[str, ...]] = ("forecast",)

    def __post_init__(self) -> None:
        """Check the arguments and cut the series."""
        self._check_data()
        if (self.horizon is None) == (self.fraction is None):
            raise ArgumentError(
                "exactly one of `horizon` (time points) and `fraction` (share of them) must be given; "
                f"got {self.horizon!r} and {self.fraction!r}."
            )
        _ = self.holdout

    @cached_property
    def holdout(self) -> Holdout:
        """What is trained on (without the rows that were cut off), what is true, and which cells are hidden."""
        late = late_cells(self.data, self.horizon, self.fraction)
        hidden = late[:, :, None] & self.data.mask
        hidden.setflags(write=False)
        return Holdout(without_rows(self.data, late), self.data.hide(~hidden), hidden)

    def describe(self) -> str:
        """Say in words what is held out."""
        if self.horizon is not None:
            what = "the last time point" if self.horizon == 1 else f"the last {self.horizon} time points"
        else:
            what = f"the last {100 * (self.fraction or 0.0):g} % of the time points"
        asked = int(self.hidden.any(axis=(1, 2)).sum())
        of = "" if asked == self.data.num_series == 1 else f" of {asked} of {self.data.num_series} series"
        return f"forecast of {what}{of}: {int(self.hidden.sum())} of {int(self.data.mask.sum())} observed values"

    def predict(self, posterior: Posterior, *, num_draws: int = 400, seed: int = 0) -> Prediction:
        """Ask about the rows that were cut off; all others stay NaN. See `AbstractTask.predict`."""
        self._check_posterior(posterior)
        rows = late_cells(self.data, self.horizon, self.fraction)
        return predict_rows(posterior, self.data, rows, self.train, self._asked(), num_draws=num_draws, seed=seed)
