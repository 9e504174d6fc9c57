"""What a model says about query times: plain arrays that need no framework."""

from __future__ import annotations

from typing import Any, NamedTuple

import xarray as xr


class Interval(NamedTuple):
    """An interval per cell, (series, time, channel).

    Attributes:
        lower: Lower ends.
        upper: Upper ends.
    """

    lower: xr.DataArray
    upper: xr.DataArray


class Prediction:
    """The law of every cell at the query times, with joint draws.

    Variables of `dataset`: `mean` and `sd` (series, time, channel); `draws` (sample, series, time, channel), joint over
    all times of a series, parameter uncertainty integrated; `component_mean` and `component_sd` (component, series,
    time, channel) when the law given the parameters is Gaussian, one component of equal weight per parameter draw;
    `times` (series, time); `valid` (series, time), False where a shorter series is padded; `log_density` and
    `log_density_values` (series, time, channel) when values were given to `predict`.
    """

    dataset: xr.Dataset

    def quantile(self, p: Any) -> xr.DataArray:
        """Quantiles of the marginals, (series, time, channel), or (quantile, series, time, channel) for several p."""
        raise NotImplementedError

    def interval(self, level: float = 0.9) -> Interval:
        """Equal-tailed intervals."""
        raise NotImplementedError

    def cdf(self, values: Any) -> xr.DataArray:
        """Probability of a value no larger than `values`, (series, time, channel)."""
        raise NotImplementedError

    def log_density(self, values: Any) -> xr.DataArray:
        """Marginal log density of each cell at `values`, (series, time, channel)."""
        raise NotImplementedError
