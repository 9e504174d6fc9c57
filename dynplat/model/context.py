"""What is known and fixed when a model is fitted: scales, periods, covariates, computed from training cells only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from dynplat.arrays import Array, asarray_like
from dynplat.errors import UnknownNameError


@dataclass(frozen=True)
class Context:
    """Known and fixed quantities of one fit. Frozen, and saved with the fit.

    `values` stays as the training data left it; what belongs to the series at hand (`num_series`, `static`) is replaced
    when a fitted model is asked about other series.

    Args:
        num_series: Number of series.
        channels: Names of the channels.
        inputs: Names of the known inputs.
        time_unit: Unit of the float times (`D` for days when the data carried dates), or an empty string.
        values: Named constants: numbers, strings, tuples of those, or NumPy arrays.
        static: Static covariates, each an array (series,).
    """

    num_series: int
    channels: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    time_unit: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    static: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Freeze the mappings."""
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))
        object.__setattr__(self, "static", MappingProxyType(dict(self.static)))

    def __getitem__(self, name: str) -> Any:
        """Return the constant `name`."""
        try:
            return self.values[name]
        except KeyError:
            raise UnknownNameError(
                f"the context has no constant {name!r}; it has {sorted(self.values)}. "
                "Compute it in the model's `prepare`."
            ) from None

    def array(self, name: str, like: Array) -> Array:
        """Return the constant `name` as an array of the namespace, dtype and device of `like`."""
        return asarray_like(self[name], like)

    def with_values(self, **values: Any) -> Context:
        """Return a copy with further (or replaced) constants."""
        return replace(self, values={**self.values, **values})
