"""Questions to a fitted model: predict, impute, forecast, simulate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.posterior.posterior import Posterior
from dynplat.posterior.prediction import Prediction

if TYPE_CHECKING:
    from dynplat.data import Trajectories
    from dynplat.model import AbstractModel, Context


def predict(
    posterior: Posterior,
    times: Any,
    *,
    series: Sequence[Any] | None = None,
    inputs: Any = None,
    of: str = "observation",
    num_draws: int = 200,
    max_components: int = 200,
    seed: int = 0,
    framework: str | None = None,
    device: str = "cpu",
    values: Any = None,
    data: Trajectories | None = None,
) -> Prediction:
    """Ask about any times, given the data that the model was fitted to (or `data`)."""
    raise NotImplementedError


def impute(
    posterior: Posterior,
    *,
    of: str = "observation",
    num_draws: int = 200,
    max_components: int = 200,
    seed: int = 0,
    framework: str | None = None,
    device: str = "cpu",
    values: Any = None,
    data: Trajectories | None = None,
) -> Prediction:
    """Ask about the rows of the data: the value that would have been observed at each, given all observed values."""
    raise NotImplementedError


def forecast(
    posterior: Posterior,
    *,
    horizon: int | None = None,
    times: Any = None,
    inputs: Any = None,
    of: str = "observation",
    num_draws: int = 200,
    max_components: int = 200,
    seed: int = 0,
    framework: str | None = None,
    device: str = "cpu",
    values: Any = None,
    data: Trajectories | None = None,
) -> Prediction:
    """Ask about times after the data: `horizon` further rows per series, or `times`."""
    raise NotImplementedError


def simulate(
    posterior: Posterior,
    times: Any,
    *,
    inputs: Any = None,
    num_draws: int = 200,
    seed: int = 0,
    framework: str | None = None,
    device: str = "cpu",
) -> Prediction:
    """Draw new trajectories from the posterior predictive law (unconditional on the data but through the parameters)."""
    raise NotImplementedError


def simulate_sites(
    model: AbstractModel,
    context: Context,
    sites: Mapping[str, np.ndarray],
    times: Any,
    *,
    inputs: Any = None,
    seed: int = 0,
    framework: str | None = None,
    device: str = "cpu",
) -> Prediction:
    """Draw new trajectories given draws of the sites, (draw, series or 1, core dimensions), such as prior draws."""
    raise NotImplementedError
