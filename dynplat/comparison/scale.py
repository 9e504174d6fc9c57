"""One unit for several channels: each channel in its own standard deviation, so that none decides a pooled figure.

An average of squared errors over a pressure in hPa and a concentration in 1e-6 mol is the pressure's alone. Where a
task hides cells of several channels, predictions and truth are therefore divided by a constant per channel before they
are scored. Proper scores stay proper, coverage does not move, and a log score moves by the same constant for every
model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from dynplat.data import Snapshots
from dynplat.model import rows_of
from dynplat.posterior import Prediction

if TYPE_CHECKING:
    from dynplat.comparison.tasks import AbstractTask

#: A spread below this share of the largest value is rounding: such a channel is constant.
_ROUNDING = 1e-10
#: Variables in the unit of the channel.
_IN_UNIT = ("mean", "sd", "draws", "component_mean", "component_sd", "log_density_values")


def channel_scales(task: AbstractTask) -> np.ndarray:
    """Standard deviation of all observed values of each channel, (channel,).

    All of them, hidden or not, so that every seed and every hold-out of one data set has the same unit; it is known to
    the comparison and never to a model. A constant channel has no spread: its largest absolute value stands in, or 1.
    """
    data = rows_of(task.data)
    values, mask = data.values, data.mask
    scales = np.ones(values.shape[2])
    for channel in range(values.shape[2]):
        seen = values[:, :, channel][mask[:, :, channel]]
        largest = float(np.max(np.abs(seen), initial=0.0))
        if not largest:
            continue
        # In units of the largest one, so that squares neither overflow nor vanish.
        spread = float(np.std(seen / largest))
        scales[channel] = largest * (spread if spread > _ROUNDING else 1.0)
    return scales


def hides_several_channels(hidden: np.ndarray) -> bool:
    """Whether cells of more than one channel are held out, (series, time, channel)."""
    return int(hidden.any(axis=(0, 1)).sum()) > 1


def rescaled_populations(truth: Snapshots, scales: np.ndarray) -> Snapshots:
    """The same populations with each channel divided by its scale, (channel,), at the same numbers of time."""
    populations = [population / scales for population in truth.populations]
    return Snapshots.from_arrays(truth.times, populations, channels=truth.channels)


def rescaled(prediction: Prediction, scales: np.ndarray) -> Prediction:
    r"""The law of :math:`y / s` for a prediction of :math:`y`, with one s per channel.

    Densities follow: :math:`\log p(y/s) = \log p(y) + \log s`.
    """
    divisor = xr.DataArray(scales, dims="channel")
    dataset = prediction.dataset
    changed = {name: (dataset[name] / divisor).transpose(*dataset[name].dims) for name in _IN_UNIT if name in dataset}
    if "log_density" in dataset:
        changed["log_density"] = (dataset["log_density"] + np.log(divisor)).transpose(*dataset["log_density"].dims)
    return Prediction(dataset.assign(changed))
