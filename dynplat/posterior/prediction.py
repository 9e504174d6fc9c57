"""What a model says about query times: plain arrays that need no framework."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from dynplat.errors import ArgumentError, CapabilityError, StorageError
from dynplat.posterior.mixture import mixture_cdf, mixture_log_density, mixture_moments, mixture_quantile
from dynplat.posterior.netcdf import check_stamp, read_tree, write_atomically

if TYPE_CHECKING:
    import pandas as pd

_CELL = ("series", "time", "channel")
_FORMAT = "dynplat prediction"
_VERSION = 1


class Interval(NamedTuple):
    """An interval per cell, (series, time, channel).

    Attributes:
        lower: Lower ends.
        upper: Upper ends.
    """

    lower: xr.DataArray
    upper: xr.DataArray


@dataclass(frozen=True, eq=False)
class Prediction:
    """The law of every cell at the query times, with joint draws. Parameter uncertainty is integrated.

    Args:
        dataset: Variables, NaN wherever `valid` is False:

            - `mean`, `sd` (series, time, channel);
            - `draws` (sample, series, time, channel): joint over all times and channels of a series; the coordinates
              `chain` and `draw` (sample) name the draw of the posterior that each was made with;
            - `component_mean`, `component_sd` (component, series, time, channel), when the law given the parameters is
              Gaussian: the marginal is the mixture of these components with equal weights, one per parameter draw;
            - `times` (series, time): query times as numbers, in the unit of the data;
            - `valid` (series, time): False where a series has fewer queries than the longest;
            - `log_density` and `log_density_values` (series, time, channel), when values were given to `predict`.

            `attrs` say what the prediction is of (`of`: observation, signal or state), the model, the seed and the
            number of parameter draws.
    """

    dataset: xr.Dataset

    @classmethod
    def from_arrays(
        cls,
        times: np.ndarray,
        valid: np.ndarray,
        *,
        coords: dict[str, Any],
        mean: np.ndarray | None = None,
        sd: np.ndarray | None = None,
        draws: np.ndarray | None = None,
        component_mean: np.ndarray | None = None,
        component_sd: np.ndarray | None = None,
        log_density: np.ndarray | None = None,
        log_density_values: np.ndarray | None = None,
        attrs: dict[str, Any] | None = None,
    ) -> Prediction:
        """Build a prediction; mean and sd follow from the components, or else from the draws, where not given.

        Args:
            times: Query times, (series, time).
            valid: Which queries are meant, (series, time).
            coords: Coordinates of series, time and channel, and of the samples where there are draws.
            mean: Means, (series, time, channel).
            sd: Standard deviations, (series, time, channel).
            draws: Joint draws, (sample, series, time, channel).
            component_mean: Means of the mixture's components, (component, series, time, channel).
            component_sd: Their standard deviations.
            log_density: Log density of each cell at `log_density_values`.
            log_density_values: Values at which `log_density` was taken; NaN = not asked.
            attrs: Facts to keep: strings and numbers.
        """
        if component_mean is not None and component_sd is not None:
            mixed = mixture_moments(component_mean, component_sd)
            mean, sd = (mixed[0] if mean is None else mean), (mixed[1] if sd is None else sd)
        if draws is not None and draws.shape[0]:
            mean = draws.mean(axis=0) if mean is None else mean
            sd = draws.std(axis=0, ddof=1 if draws.shape[0] > 1 else 0) if sd is None else sd
        if mean is None or sd is None:
            raise ArgumentError("a prediction needs draws or components (or both its mean and its sd).")
        arrays = {
            "mean": (_CELL, mean),
            "sd": (_CELL, sd),
            "draws": (("sample", *_CELL), draws),
            "component_mean": (("component", *_CELL), component_mean),
            "component_sd": (("component", *_CELL), component_sd),
            "log_density": (_CELL, log_density),
            "log_density_values": (_CELL, log_density_values),
        }
        rows = valid[:, :, None]
        variables: dict[str, Any] = {
            name: (dims, np.where(rows, np.asarray(values, dtype=np.float64), np.nan))
            for name, (dims, values) in arrays.items()
            if values is not None
        }
        variables["times"] = (("series", "time"), np.asarray(times, dtype=np.float64))
        variables["valid"] = (("series", "time"), np.asarray(valid, dtype=bool))
        return cls(xr.Dataset(variables, coords=coords, attrs=dict(attrs or {})))

    @property
    def mean(self) -> xr.DataArray:
        """Means, (series, time, channel)."""
        return self.dataset["mean"]

    @property
    def sd(self) -> xr.DataArray:
        """Standard deviations, (series, time, channel)."""
        return self.dataset["sd"]

    @property
    def draws(self) -> xr.DataArray:
        """Joint draws, (sample, series, time, channel).

        Raises:
            CapabilityError: The prediction was made without draws.
        """
        if "draws" not in self.dataset:
            raise CapabilityError("the prediction holds no draws: it was made with `num_draws=0`. Ask for some.")
        return self.dataset["draws"]

    @property
    def valid(self) -> xr.DataArray:
        """Which queries are meant, (series, time)."""
        return self.dataset["valid"]

    @property
    def is_mixture(self) -> bool:
        """Whether the marginals are known in closed form, as mixtures of normal laws."""
        return "component_mean" in self.dataset

    def quantile(self, p: float | list[float] | np.ndarray) -> xr.DataArray:
        """Quantiles of the marginals: exact for a mixture of normal laws, otherwise of the draws.

        Args:
            p: A probability, or several; 0 < p < 1.

        Returns:
            (series, time, channel), or (quantile, series, time, channel) for several.

        Raises:
            ArgumentError: A probability is not between 0 and 1.
        """
        levels = np.asarray(p, dtype=np.float64)
        if levels.ndim > 1 or levels.size == 0 or not ((levels > 0) & (levels < 1)).all():
            raise ArgumentError(
                f"`p` must be a probability between 0 and 1 (exclusive), or several of them; got {p!r}."
            )
        flat = np.atleast_1d(levels)
        if self.is_mixture:
            found = np.stack([mixture_quantile(*self._components(), float(level)) for level in flat])
        else:
            found = np.quantile(self.draws.values, flat, axis=0)
        if levels.ndim == 0:
            return self._cells(found[0], "quantiles")
        return xr.DataArray(found, dims=("quantile", *_CELL), coords={**self.mean.coords, "quantile": flat})

    def interval(self, level: float = 0.9) -> Interval:
        """Equal-tailed intervals that hold each cell's value with probability `level`.

        Raises:
            ArgumentError: The level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ArgumentError(f"`level` must be between 0 and 1 (exclusive), such as 0.9; got {level!r}.")
        both = self.quantile([0.5 * (1 - level), 0.5 * (1 + level)])
        return Interval(both.isel(quantile=0, drop=True), both.isel(quantile=1, drop=True))

    def cdf(self, values: Any) -> xr.DataArray:
        """Probability of a value no larger than `values` (broadcast to (series, time, channel)), cell by cell."""
        values = self._values(values)
        if self.is_mixture:
            return self._cells(mixture_cdf(*self._components(), values), "cdf")
        below = (self.draws.values <= values).mean(axis=0)
        known = self.valid.values[:, :, None] & ~np.isnan(values)
        return self._cells(np.where(known, below, np.nan), "cdf")

    def log_density(self, values: Any) -> xr.DataArray:
        """Marginal log density of each cell at `values` (broadcast to (series, time, channel)); NaN values give NaN.

        Raises:
            CapabilityError: The marginals have no closed form, and `predict` was not given these values.
            NoDensityError: A cell has standard deviation zero.
        """
        values = self._values(values)
        if self.is_mixture:
            return self._cells(mixture_log_density(*self._components(), values), "log_density")
        if "log_density" not in self.dataset:
            raise CapabilityError(
                "the marginal densities of this prediction have no closed form. "
                "Give the values to `predict(..., values=...)`, or use a score that reads draws."
            )
        if not np.array_equal(values, self.dataset["log_density_values"].values, equal_nan=True):
            raise CapabilityError("log densities are known at the values that `predict` was given only; predict again.")
        return self.dataset["log_density"]

    def to_frame(self, levels: tuple[float, ...] = ()) -> pd.DataFrame:
        """Return a long table: one line per valid row and channel, with time, mean, sd and interval ends.

        Args:
            levels: Levels of equal-tailed intervals to add, as columns `lower_90` and `upper_90` for 0.9.
        """
        import pandas as pd

        series, time, channel = np.nonzero(np.broadcast_to(self.valid.values[:, :, None], self.mean.shape))
        if "date" in self.dataset.coords:
            label = self.dataset["date"].values[series, time]
        elif "time" in self.dataset.coords:
            label = self.dataset["time"].values[time]
        else:
            label = self.dataset["times"].values[series, time]
        columns = {
            "series": self.dataset["series"].values[series],
            "time": label,
            "channel": self.dataset["channel"].values[channel],
            "mean": self.mean.values[series, time, channel],
            "sd": self.sd.values[series, time, channel],
        }
        for level in levels:
            lower, upper = self.interval(level)
            names = interval_names(level)
            columns[names[0]] = lower.values[series, time, channel]
            columns[names[1]] = upper.values[series, time, channel]
        return pd.DataFrame(columns)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the prediction to a NetCDF file, replacing one that is there in one step.

        Raises:
            StorageError: The file cannot be written.
        """
        stamped = self.dataset.assign_attrs(dynplat_format=_FORMAT, dynplat_format_version=_VERSION)
        write_atomically(xr.DataTree(stamped), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Prediction:
        """Read a prediction back.

        Raises:
            StorageError: The file is missing, damaged, of another kind or of another version.
        """
        dataset = read_tree(path).to_dataset()
        check_stamp(dataset.attrs, path, _FORMAT, _VERSION, "dynplat.Prediction.save")
        missing = [name for name in ("mean", "sd", "times", "valid") if name not in dataset]
        if missing:
            raise StorageError(
                f"{path}: the prediction lacks {', '.join(missing)}: the file is damaged. Predict again."
            )
        dataset.attrs = {
            k: v for k, v in dataset.attrs.items() if k not in ("dynplat_format", "dynplat_format_version")
        }
        return cls(dataset)

    def _components(self) -> tuple[np.ndarray, np.ndarray]:
        return self.dataset["component_mean"].values, self.dataset["component_sd"].values

    def _cells(self, values: np.ndarray, name: str) -> xr.DataArray:
        return self.mean.copy(data=values).rename(name)

    def _values(self, values: Any) -> np.ndarray:
        values = np.asarray(values, dtype=np.float64)
        try:
            return np.broadcast_to(values, self.mean.shape)
        except ValueError:
            raise ArgumentError(
                f"`values` must broadcast to (series, time, channel) = {self.mean.shape}; got {values.shape}."
            ) from None


def interval_names(level: float) -> tuple[str, str]:
    """Names of the columns that hold the ends of an interval, `lower_90` and `upper_90` for 0.9."""
    return f"lower_{100 * level:g}", f"upper_{100 * level:g}"
