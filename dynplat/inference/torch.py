"""The log density of a model under Pyro: eager, differentiated by torch's autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyro
import pyro.util
import torch

from dynplat.arrays import Array, to_numpy
from dynplat.errors import NoDensityError
from dynplat.inference.density import AbstractDensity, Evaluated, Objective
from dynplat.inference.dialect import AbstractDialect, Point
from dynplat.inference.pyro import PyroLanguage


class TorchDensity(AbstractDensity):
    """The log density of a model under Pyro. See `AbstractDensity`."""

    def dialect(self, point: Point | None = None) -> PyroLanguage:
        """A fresh run of the language."""
        return PyroLanguage(self.context.num_series, self.to_array, point)

    def objective(self, vector: Array, objective: Objective) -> Array:
        """The objective at a vector (size,); NaN, as in compiled code, where the process has no density."""
        try:
            return super().objective(vector, objective)
        except NoDensityError:
            return vector.sum() * float("nan")

    def value_and_gradient(self, vector: np.ndarray, objective: Objective) -> tuple[float, np.ndarray]:
        """The objective at a vector (size,) and its gradient (size,)."""
        leaf = self.to_array(vector).clone().requires_grad_(True)
        value = self.objective(leaf, objective)
        (gradient,) = torch.autograd.grad(value, leaf)
        return float(value.detach()), to_numpy(gradient).astype(np.float64)

    @torch.no_grad()
    def evaluate(self, vectors: np.ndarray) -> Evaluated:
        """All sites, the log prior and the log Jacobian at vectors (draw, size)."""
        points = [Point(self.layout.split(vector), unconstrained=True) for vector in self.to_array(vectors)]
        runs = [self.run_prior(point) for point in points]
        return Evaluated(
            _stacked(run.sites for run in runs),
            np.array([float(run.log_prior) for run in runs]),
            np.array([float(run.log_jacobian) for run in runs]),
        )

    @torch.no_grad()
    def log_joint(self, values: Mapping[str, np.ndarray]) -> float:
        """Log prior plus log likelihood at values of the sites on their natural scale."""
        point = Point({name: self.to_array(value) for name, value in values.items()}, unconstrained=False)
        dialect = self.run_prior(point)
        return float(dialect.log_prior + self.log_likelihood(dialect))

    @torch.no_grad()
    def complete(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All sites (draw, series or 1, core) from values (draw, ...) of those that are not deterministic."""
        arrays = {name: self.to_array(values[name]) for name in self.layout.shapes}

        def one(index: int) -> dict[str, Array]:
            point = Point({name: value[index] for name, value in arrays.items()}, unconstrained=False)
            return self.run_prior(point).sites

        return _stacked(one(index) for index in range(len(next(iter(arrays.values())))))

    @torch.no_grad()
    def prior_vectors(self, num_draws: int, seed: int) -> np.ndarray:
        """Draws of the prior as vectors (draw, size)."""

        def one() -> dict[str, Array]:
            dialect = self._emitted()
            return {name: self._unconstrain(dialect, name) for name in self.layout.shapes}

        with seeded(seed, self.device):
            return self.layout.join(_stacked(one() for _ in range(num_draws)))

    @torch.no_grad()
    def prior_sites(
        self, num_draws: int, seed: int, given: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Draws of all sites (draw, series or 1, core) from the prior, those in `given` (draw, ...) held fixed."""
        fixed = {name: self.to_array(value) for name, value in (given or {}).items()}

        def one(index: int) -> dict[str, Array]:
            return self._emitted({name: value[index] for name, value in fixed.items()}).sites

        with seeded(seed, self.device):
            return _stacked(one(index) for index in range(num_draws))

    @property
    def device(self) -> torch.device:
        """The device of the fit."""
        return self.to_array(0.0).device

    @torch.no_grad()
    def _structure(self, seed: int) -> tuple[AbstractDialect, dict[str, tuple[int, ...]]]:
        with seeded(seed, self.device):
            dialect = self._emitted(validate=True)
        return dialect, {name: tuple(self._unconstrain(dialect, name).shape) for name in dialect.supports}

    def _emitted(self, given: Mapping[str, Array] | None = None, *, validate: bool = False) -> PyroLanguage:
        dialect = self.dialect()
        with (
            pyro.validation_enabled(validate),
            pyro.get_param_store().scope(),
            pyro.poutine.block(),
            pyro.poutine.condition(data=dict(given or {})),
        ):
            self.model.prior(dialect, self.context)
        return dialect

    def _unconstrain(self, dialect: PyroLanguage, name: str) -> Array:
        value = dialect.sites[name]
        value = value if dialect.infos[name].local else value[0]
        return dialect.bijection(dialect.supports[name]).inv(value)

    def run_prior(self, point: Point) -> AbstractDialect:
        """Run the prior at a point."""
        # A value may leave its support by rounding; the density must then say so with its value, not with an exception.
        with pyro.validation_enabled(False):
            return super().run_prior(point)


@contextmanager
def seeded(seed: int, device: Any = None) -> Iterator[None]:
    """Run with torch's, Python's and NumPy's generators seeded, and put their states back."""
    devices = [device] if device is not None and torch.device(device).type == "cuda" else []
    state = pyro.util.get_rng_state()
    with torch.random.fork_rng(devices=devices):
        pyro.set_rng_seed(seed)
        try:
            yield
        finally:
            pyro.util.set_rng_state(state)


@contextmanager
def isolated(seed: int, dtype: str, device: str) -> Iterator[Callable[[], Any]]:
    """Run with an own parameter store, default dtype and random state, all put back at the end.

    Yields:
        A function that returns the parameter store.
    """
    before = torch.get_default_dtype()
    with seeded(seed, device), pyro.get_param_store().scope():
        torch.set_default_dtype(getattr(torch, dtype))
        try:
            yield pyro.get_param_store
        finally:
            torch.set_default_dtype(before)


def _stacked(runs: Any) -> dict[str, np.ndarray]:
    columns: dict[str, list[np.ndarray]] = {}
    for run in runs:
        for name, value in run.items():
            columns.setdefault(name, []).append(to_numpy(value))
    return {name: np.stack(values) for name, values in columns.items()}
