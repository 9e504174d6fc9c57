"""What every score shares: the held-out cells, and the contributions that a score gives for them.

A score is a function `(prediction, truth, hidden) -> contributions`. The prediction is about the rows of the data, the
truth is the data before anything was hidden, and `hidden` (series, time, channel) says which cells are scored. Held-out
cells are listed in C order: by series, then time, then channel, as `numpy.nonzero(hidden)` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from dynplat.errors import ArgumentError

if TYPE_CHECKING:
    from dynplat.posterior import Prediction

#: What one contribution is about: a cell, the hidden cells of one row, or all hidden cells of one series.
UNITS = ("cell", "row", "series")


class Contributions(NamedTuple):
    """One number per held-out cell, row or series; how they become one figure is the record's `aggregate`.

    Attributes:
        values: The numbers, (n,), in the order of the held-out cells (rows, series).
        per: `cell`, `row` or `series`.
        method: How they were computed where there is a choice, for the reader: exact, or estimated from draws.
    """

    values: np.ndarray
    per: str = "cell"
    method: str = ""


def unit_positions(hidden: np.ndarray, per: str) -> tuple[np.ndarray, np.ndarray]:
    """Series and row of each contribution, in order.

    Args:
        hidden: True = held out, (series, time, channel).
        per: `cell`, `row` or `series`.

    Returns:
        Series indices (n,) and row indices (n,); the row of a whole series is 0.

    Raises:
        ArgumentError: `per` is unknown.
    """
    if per == "cell":
        series, row, _ = np.nonzero(hidden)
    elif per == "row":
        series, row = np.nonzero(hidden.any(axis=2))
    elif per == "series":
        (series,) = np.nonzero(hidden.any(axis=(1, 2)))
        row = np.zeros_like(series)
    else:
        raise ArgumentError(f"`per` must be one of {UNITS}; got {per!r}.")
    return series, row


def held_out(prediction: Prediction | None, truth: Any, hidden: Any) -> tuple[np.ndarray, np.ndarray]:
    """Check that prediction, truth and mask belong together.

    Args:
        prediction: Prediction about the rows of the data; None leaves its shape unchecked.
        truth: `Trajectories`, or an array (series, time, channel).
        hidden: True = held out, (series, time, channel).

    Returns:
        The truth and the mask as arrays (series, time, channel).

    Raises:
        ArgumentError: Shapes differ, nothing is hidden, or a hidden value is not finite.
    """
    values = np.asarray(getattr(truth, "values", truth), dtype=np.float64)
    hidden = np.asarray(getattr(hidden, "values", hidden))
    if hidden.dtype != np.bool_ or hidden.ndim != 3:
        raise ArgumentError(
            "`hidden` must be a boolean array (series, time, channel), True = held out; "
            f"got {hidden.dtype} of shape {hidden.shape}."
        )
    if values.shape != hidden.shape:
        raise ArgumentError(f"`truth` must have the shape {hidden.shape} of `hidden`; got {values.shape}.")
    if prediction is not None:
        sizes = prediction.dataset.sizes
        shape = tuple(sizes.get(name, 1) for name in ("series", "time", "channel"))
        if shape != hidden.shape:
            raise ArgumentError(
                f"`prediction` must be about the rows of the data, {hidden.shape}; got {shape}. "
                "Ask for it with `task.predict(posterior)`."
            )
    if not hidden.any():
        raise ArgumentError("`hidden` is False everywhere: nothing is held out, so there is nothing to score.")
    wrong = hidden & ~np.isfinite(values)
    if wrong.any():
        where = tuple(int(index) for index in np.argwhere(wrong)[0])
        raise ArgumentError(
            f"`truth` must be finite wherever `hidden` is True; at (series, time, channel) {where} it is "
            f"{values[where]}."
        )
    return values, hidden


class CellLaw:
    """The law of the held-out cells alone; quantiles that several scores ask for are computed once.

    Args:
        prediction: Prediction about the rows of the data.
        hidden: True = held out, (series, time, channel).
    """

    def __init__(self, prediction: Prediction, hidden: np.ndarray) -> None:
        self.hidden = hidden
        dataset = prediction.dataset
        # All held-out cells as one series of one channel, without the rows and cells that nobody asks about.
        names = ("component_mean", "component_sd") if "component_mean" in dataset else ("draws",)
        arrays: dict[str, Any] = {
            name: at_cells(dataset[name], hidden)[..., None, :, None]
            for name in ("mean", "sd", *names)
            if name in dataset
        }
        count = int(hidden.sum())
        self._prediction = type(prediction).from_arrays(
            np.zeros((1, count)), np.ones((1, count), dtype=bool), coords={"series": ["0"], "channel": ["0"]}, **arrays
        )
        self._quantiles: dict[float, np.ndarray] = {}

    @property
    def method(self) -> str:
        """Where the quantiles come from."""
        if self._prediction.is_mixture:
            return "exact quantiles"
        return f"quantiles of {self._prediction.dataset.sizes['sample']} draws"

    def quantile(self, p: float) -> np.ndarray:
        """The p-quantile of every held-out cell, (n,)."""
        if p not in self._quantiles:
            self._quantiles[p] = np.asarray(self._prediction.quantile(p)).reshape(-1)
        return self._quantiles[p]


#: Laws already made, by prediction: predictions never change.
_LAWS: WeakKeyDictionary[Any, CellLaw] = WeakKeyDictionary()


def cell_law(prediction: Prediction, hidden: np.ndarray) -> CellLaw:
    """The law of the held-out cells of a prediction; the last one made for the prediction is kept with it."""
    known = _LAWS.get(prediction)
    if known is None or not np.array_equal(known.hidden, hidden):
        known = _LAWS[prediction] = CellLaw(prediction, hidden)
    return known


def at_cells(array: Any, hidden: np.ndarray) -> np.ndarray:
    """Pick the held-out cells of an array (..., series, time, channel), giving (..., n) in float64."""
    return np.asarray(getattr(array, "values", array), dtype=np.float64)[..., hidden]


def asked(truth: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Truth where it is asked about and NaN elsewhere, as `Prediction` takes values."""
    return np.where(hidden, truth, np.nan)
