r"""A model's log density as a function of one vector, whatever the language.

All sites are laid end to end on their unconstrained scale, :math:`u \in R^d`. The three terms are

    log p(theta(u)),   log |d theta / d u|,   sum over series of log p(y | theta(u)),

and an `Objective` says which of them count: the likelihood alone, the density of the natural parameters, or the density
of :math:`u`. Subclasses supply gradients and vectorisation in their framework.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from dynplat.arrays import Array, Observations, to_numpy
from dynplat.errors import ArgumentError, CapabilityError, InferenceError, NoDensityError
from dynplat.inference.dialect import AbstractDialect, Point
from dynplat.model import AbstractModel, Context, SiteInfo, check_coords, check_dims

#: Cells (draws x series x times) whose log-likelihood terms are computed in one call.
_BATCH_CELLS = 2_000_000


class Objective(Enum):
    """What is maximised: which of the log likelihood, the log prior and the log Jacobian count."""

    LIKELIHOOD = (True, False, False)
    NATURAL = (True, True, False)
    UNCONSTRAINED = (True, True, True)

    @property
    def prior(self) -> bool:
        """Whether the prior counts."""
        return self.value[1]

    @property
    def jacobian(self) -> bool:
        """Whether the Jacobian counts."""
        return self.value[2]


class Layout(NamedTuple):
    """Where each site lies in the vector.

    Attributes:
        shapes: Unconstrained shape by site name, in the order of the prior.
        slices: Positions in the vector by site name.
        size: Length of the vector.
    """

    shapes: dict[str, tuple[int, ...]]
    slices: dict[str, slice]
    size: int

    def split(self, vector: Array) -> dict[str, Array]:
        """The unconstrained sites of a vector (size,)."""
        return {name: vector[self.slices[name]].reshape(shape) for name, shape in self.shapes.items()}

    def join(self, sites: Mapping[str, np.ndarray]) -> np.ndarray:
        """The vectors (..., size) of unconstrained sites (..., *shape)."""
        parts = [
            np.reshape(sites[name], (*np.shape(sites[name])[: np.ndim(sites[name]) - len(shape)], -1))
            for name, shape in self.shapes.items()
        ]
        return np.concatenate(parts, axis=-1)


class Evaluated(NamedTuple):
    """A prior at given points.

    Attributes:
        sites: All sites (draw, series or 1, core), deterministic ones included, in the order of the prior.
        log_prior: Log density of the natural parameters, (draw,).
        log_jacobian: Log determinant of the map from the unconstrained scale, (draw,).
    """

    sites: dict[str, np.ndarray]
    log_prior: np.ndarray
    log_jacobian: np.ndarray


class AbstractDensity(ABC):
    """The log density of one model for one data set, in one framework.

    Construct and use it inside `Runtime` (or, for its own framework, `dynplat.arrays.framework`).

    Args:
        model: The model.
        context: Its context.
        observations: Host arrays, or None when only the prior is asked for.
        to_array: Turns NumPy arrays into the framework's.
        seed: Determines the draw of the prior that shows the structure.

    Attributes:
        infos: Static facts of every site, deterministic ones included.
        coords: Labels along the model's own dimensions.
        layout: Where the random and point-estimated sites lie in the vector.

    Raises:
        ArgumentError: A distribution refuses its arguments, or names or labels of dimensions do not fit.
        CapabilityError: The prior has no sites.
    """

    def __init__(
        self,
        model: AbstractModel,
        context: Context,
        observations: Observations | None,
        to_array: Callable[[Any], Array],
        *,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.context = context
        self.observations = observations
        self.to_array = to_array
        try:
            dialect, shapes = self._structure(seed)
        except ValueError as error:
            if isinstance(error, ArgumentError):
                raise
            raise ArgumentError(f"the prior of {model.entry.id} cannot be drawn from: {error}") from error
        if not shapes:
            raise CapabilityError(f"the prior of {model.entry.id} emits no site: there is nothing to infer.")
        self.infos: dict[str, SiteInfo] = dialect.infos
        check_dims(self.infos, {"channel": len(context.channels), "input": len(context.inputs)})
        self.coords = check_coords(model.coords(context), self.infos)
        self.layout = _layout(shapes)

    # What a framework supplies.

    @abstractmethod
    def dialect(self, point: Point | None = None) -> AbstractDialect:
        """A fresh run of the language."""

    @abstractmethod
    def _structure(self, seed: int) -> tuple[AbstractDialect, dict[str, tuple[int, ...]]]:
        """Run the prior once; return the run (its values may be abstract) and the unconstrained shapes."""

    @abstractmethod
    def value_and_gradient(self, vector: np.ndarray, objective: Objective) -> tuple[float, np.ndarray]:
        """The objective at a vector (size,) and its gradient (size,)."""

    @abstractmethod
    def evaluate(self, vectors: np.ndarray) -> Evaluated:
        """All sites, the log prior and the log Jacobian at vectors (draw, size)."""

    @abstractmethod
    def log_joint(self, values: Mapping[str, np.ndarray]) -> float:
        """Log prior plus log likelihood at values of the sites on their natural scale."""

    @abstractmethod
    def complete(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All sites (draw, series or 1, core) from values (draw, ...) of those that are not deterministic."""

    @abstractmethod
    def prior_vectors(self, num_draws: int, seed: int) -> np.ndarray:
        """Draws of the prior as vectors (draw, size); point-estimated sites stand at their initial values."""

    @abstractmethod
    def prior_sites(
        self, num_draws: int, seed: int, given: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Draws of all sites (draw, series or 1, core) from the prior, those in `given` (draw, ...) held fixed."""

    def _steps(self, sites: dict[str, np.ndarray]) -> np.ndarray:
        process = self.model.process({name: self.to_array(value) for name, value in sites.items()}, self.context)
        return to_numpy(process.log_prob_steps(self._observed()))

    # What follows from it.

    def sites(self, vectors: np.ndarray) -> dict[str, np.ndarray]:
        """All sites (draw, series or 1, core) at vectors (draw, size)."""
        return self.evaluate(vectors).sites

    def run_prior(self, point: Point) -> AbstractDialect:
        """Run the prior at a point."""
        dialect = self.dialect(point)
        self.model.prior(dialect, self.context)
        return dialect

    def objective(self, vector: Array, objective: Objective) -> Array:
        """The objective at a vector (size,), an array of the framework: traceable, differentiable."""
        dialect = self.run_prior(Point(self.layout.split(vector), unconstrained=True))
        total = self.log_likelihood(dialect)
        if objective.prior:
            total = total + dialect.log_prior
        if objective.jacobian:
            total = total + dialect.log_jacobian
        return total

    def log_likelihood(self, dialect: AbstractDialect) -> Array:
        """Log likelihood at the sites of a run, summed over series."""
        return self.model.process(dialect.sites, self.context).log_prob(self._observed()).sum()

    def unconstrained(self, vectors: np.ndarray, num_chains: int) -> dict[str, np.ndarray]:
        """Unconstrained sites (chain, draw, ...) of vectors (chain * draw, size)."""
        return {
            name: vectors[:, self.layout.slices[name]].reshape(num_chains, -1, *shape)
            for name, shape in self.layout.shapes.items()
        }

    def log_likelihood_steps(self, sites: Mapping[str, np.ndarray]) -> np.ndarray:
        """Terms log p(y_t | y_<t), (draw, series, time), for sites (draw, series or 1, core), in batches."""
        return in_batches(self._steps, sites, self._observed())

    def explain(self, vector: np.ndarray, where: str) -> InferenceError:
        """Say why the density at a vector is no finite number: the process's own refusal, or the sites at fault.

        Returns:
            The error to raise.

        Raises:
            NoDensityError: The process, asked outside compiled code, refuses the law by name.
        """
        sites = self.sites(vector[None])
        shown = describe_sites({name: value[0] for name, value in sites.items()})
        try:
            steps = self._concrete_steps(sites)
        except NoDensityError as error:
            raise NoDensityError(f"{error} This happened {where}, at {shown}.") from error
        bad = np.argwhere(~np.isfinite(steps[0]))
        if len(bad):
            series, time = (int(i) for i in bad[0])
            more = f" and at {len(bad) - 1} more" if len(bad) > 1 else ""
            reason = f"the log likelihood is {steps[0, series, time]} at series {series}, row {time}{more}"
        else:
            reason = "the log prior, or the gradient, is not finite although the log likelihood is"
        return InferenceError(
            f"{self.model.entry.id}: no finite log density {where}: {reason}, at {shown}. "
            "Check the prior's support and the scale of the data, or give another seed."
        )

    def _concrete_steps(self, sites: dict[str, np.ndarray]) -> np.ndarray:
        """Terms of the likelihood with nothing compiled, so that a process can look at its numbers."""
        process = self.model.process(sites, self.context)
        return np.asarray(process.log_prob_steps(self._observed()))

    def _observed(self) -> Observations:
        if self.observations is None:
            raise ArgumentError("this density was built without observations.")
        return self.observations


def in_batches(
    steps: Callable[[dict[str, np.ndarray]], np.ndarray], sites: Mapping[str, np.ndarray], observations: Observations
) -> np.ndarray:
    """Terms of the likelihood (draw, series, time) at sites (draw, series or 1, core), a bounded number at a time."""
    num_draws = len(next(iter(sites.values())))
    num_series, num_times = observations.mask.shape[-3:-1]
    size = int(np.clip(_BATCH_CELLS // max(1, num_series * num_times), 1, num_draws))
    batches = []
    for start in range(0, num_draws, size):
        # Every batch has the same size (the last one is filled up), so that a compiled form serves them all.
        index = np.minimum(np.arange(start, start + size), num_draws - 1)
        batch = _steps_or_nan(steps, {name: value[index] for name, value in sites.items()}, (num_series, num_times))
        batches.append(np.broadcast_to(batch, (size, num_series, num_times))[: num_draws - start])
    return np.concatenate(batches)


def _steps_or_nan(
    steps: Callable[[dict[str, np.ndarray]], np.ndarray], sites: dict[str, np.ndarray], shape: tuple[int, int]
) -> np.ndarray:
    try:
        return steps(sites)
    except NoDensityError:
        num_draws = len(next(iter(sites.values())))
        if num_draws == 1:
            return np.full((1, *shape), np.nan)
        # One draw without a density must not hide the others.
        alone = ({name: value[index : index + 1] for name, value in sites.items()} for index in range(num_draws))
        return np.concatenate([np.broadcast_to(_steps_or_nan(steps, one, shape), (1, *shape)) for one in alone])


def describe_sites(sites: Mapping[str, np.ndarray], limit: int = 12) -> str:
    """Site values in a few words for a message."""
    shown = []
    for name, value in list(sites.items())[:limit]:
        flat = np.ravel(value)
        text = ", ".join(f"{x:.6g}" for x in flat[:4]) + (", ..." if flat.size > 4 else "")
        shown.append(f"{name} = {text if flat.size == 1 else f'[{text}]'}")
    return "; ".join(shown) + ("; ..." if len(sites) > limit else "")


def _layout(shapes: Mapping[str, tuple[int, ...]]) -> Layout:
    slices, start = {}, 0
    for name, shape in shapes.items():
        stop = start + int(np.prod(shape))
        slices[name] = slice(start, stop)
        start = stop
    return Layout(dict(shapes), slices, start)
