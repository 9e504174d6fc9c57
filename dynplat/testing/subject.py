"""What a check works on: a model, data that it accepts, and parameters drawn from its prior."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.arrays import Array, Observations, framework, random_source, to_numpy
from dynplat.errors import DataError
from dynplat.model import AbstractModel, Context, SiteInfo, check_request, observations_from
from dynplat.testing.made import made_data, made_snapshots
from dynplat.testing.report import CheckSkipped

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories

#: Lengths of the two made series: the shortest that the model takes are used.
_LENGTHS = ((9, 6), (40, 25), (160, 100))
#: How many parameter draws the deterministic checks look at.
NUM_POINTS = 3
FRAMEWORKS = {"pyro": "torch", "numpyro": "jax"}


def _ground(what: str) -> Callable[[Callable[[Any], Any]], Any]:
    """Make a cached property; when it fails, the first check that asks fails, and the others say why they stop."""

    def decorate(make: Callable[[Any], Any]) -> Any:
        @wraps(make)
        def once(self: Subject) -> Any:
            if what in self._broken:
                raise CheckSkipped(f"not run, because {what} fails: {self._broken[what]}")
            try:
                return make(self)
            except CheckSkipped:
                raise
            except Exception as error:
                self._broken[what] = f"{type(error).__name__}."
                raise

        return cached_property(once)

    return decorate


class Subject:
    """A model with small data of the kind that it declares, drawn from its own process where it can simulate.

    Args:
        model: The model.
        seed: Seed of the data, the parameters and every statistical check.
        data: Data to use instead of the made ones.
    """

    def __init__(self, model: AbstractModel, *, seed: int = 0, data: Trajectories | None = None) -> None:
        self.model = model
        self.seed = seed
        self._given = data
        #: What checks keep for each other, such as a compiled form.
        self.memory: dict[Any, Any] = {}
        self._broken: dict[str, str] = {}

    # What the model says.

    @property
    def claims(self) -> Any:
        """The model's capabilities."""
        return self.model.capabilities

    def need(self, *capabilities: str) -> None:
        """Skip the check unless the model claims all of `capabilities`."""
        for name in capabilities:
            if not getattr(self.claims, name):
                raise CheckSkipped(f"not declared: {name}")

    def need_one(self, *capabilities: str) -> None:
        """Skip the check unless the model claims one of `capabilities`."""
        if not any(getattr(self.claims, name) for name in capabilities):
            raise CheckSkipped(f"not declared: {' or '.join(capabilities)}")

    @property
    def language(self) -> str | None:
        """The language in which the process is asked: torch's where there is a choice, as it needs no compilation."""
        languages = self.claims.languages
        return "pyro" if "pyro" in languages else languages[0] if languages else None

    @property
    def framework(self) -> str:
        """Framework of `language`; NumPy for a model without one."""
        return FRAMEWORKS[self.language] if self.language else "numpy"

    # Data and parameters.

    @cached_property
    def data(self) -> Trajectories:
        """Two short series of different lengths with holes, as far as the model accepts them."""
        if "trajectories" not in self.claims.observations:
            raise CheckSkipped(f"this check speaks of trajectories; the model takes {self.claims.observations}")
        if self._given is not None:
            check_request(self.model, self._given, purpose="the conformance kit")
            return self._given
        for lengths in _LENGTHS:
            data = made_data(self.claims, self.seed, lengths)
            check_request(self.model, data, purpose="the conformance kit")
            try:
                self.model.prepare(data)
            except DataError:  # a model may need more rows than these; the last ones are handed over in any case
                continue
            except Exception:
                break  # whatever it is, the check that asks for the context reports it
            break
        return data

    @cached_property
    def step(self) -> float:
        """Step of the grid that the rows lie on, for a model that does not take irregular times."""
        gaps = np.diff(self.data.times, axis=1)
        return float(gaps[gaps > 0].min())

    @property
    def takes_gaps(self) -> bool:
        """Whether gaps between rows may differ: at irregular times, or on a grid from which rows may be absent."""
        return self.claims.irregular_times or self.claims.missing_values

    def between(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Times half-way between rows or, on a grid, one step after the earlier ones."""
        return 0.5 * (before + after) if self.claims.irregular_times else np.minimum(before + self.step, after)

    @_ground("`prepare`")
    def context(self) -> Context:
        """The model's context for the data."""
        return self.model.prepare(self.data)

    @_ground("the prior (or `solve`)")
    def points(self) -> tuple[list[dict[str, np.ndarray]], dict[str, SiteInfo]]:
        """Parameter draws from the prior, in canonical form (series or 1, core), and facts about the sites."""
        context = self.context
        if not self.claims.prior or self.language is None:
            draws = self.model.solve(observations_from(self.data), context, seed=self.seed)
            if draws is None:
                raise CheckSkipped("the model has neither a prior nor a solver, so there are no parameters to try")
            names = {name: np.asarray(value) for name, value in draws.items()}
            infos = {name: SiteInfo(name, "sample", value.shape[1:], False) for name, value in names.items()}
            count = min((NUM_POINTS, *(len(value) for value in names.values()))) if names else 1
            return [{name: value[i][None] for name, value in names.items()} for i in range(count)], infos
        from dynplat.inference.prior import sample_prior

        drawn, infos = sample_prior(self.model, context, num_draws=NUM_POINTS, seed=self.seed, language=self.language)
        return [{name: value[i] for name, value in drawn.items()} for i in range(NUM_POINTS)], infos

    @_ground("`process(...).sample`")
    def observations(self) -> Observations:
        """The data as a process sees them, the values replaced by a draw of the process where it can simulate."""
        observations = observations_from(self.data)
        if not self.claims.simulate:
            return observations
        drawn = self.simulate(self.seed + 11, observations=observations)
        return observations._replace(
            values=np.where(observations.mask, np.reshape(drawn, observations.values.shape), 0.0)
        )

    @cached_property
    def complete(self) -> Observations:
        """The observations with every real row observed, holes filled with a plausible value."""
        observations, data = self.observations, self.data
        live = (np.arange(data.times.shape[1]) < np.asarray(data.lengths)[:, None])[..., None]
        seen = observations.values[observations.mask]
        filler = float(np.median(seen)) if seen.size else 0.0
        values = np.where(observations.mask, observations.values, filler)
        return observations._replace(
            values=np.where(live, values, 0.0), mask=np.broadcast_to(live, values.shape).copy()
        )

    # The process.

    @contextmanager
    def arrays(self, dtype: str = "float64") -> Iterator[Callable[[Any], Array]]:
        """Open the framework of this subject."""
        with framework(self.framework, dtype=dtype) as to_array:
            yield to_array

    def sites(self, point: int = 0) -> dict[str, np.ndarray]:
        """Return one prior draw, NumPy arrays (series or 1, core)."""
        draws = self.points[0]
        return draws[point % len(draws)]

    def copies(self, count: int, point: int = 0, series: int | None = None) -> dict[str, np.ndarray]:
        """Return a prior draw with a leading axis of `count` copies, of all series or of one of them."""
        sites = self.sites(point) if series is None else self.sites_of(slice(series, series + 1), point)
        return {name: np.broadcast_to(value, (count, *value.shape)).copy() for name, value in sites.items()}

    def sites_of(self, series: Any, point: int = 0) -> dict[str, np.ndarray]:
        """Return one prior draw with the local sites of some series, in the order given."""
        infos = self.points[1]
        return {name: value[series] if infos[name].local else value for name, value in self.sites(point).items()}

    def context_of(self, series: Any) -> Context:
        """Return the context for some of the series, in the order given."""
        context = self.context
        return replace(
            context,
            num_series=len(np.arange(context.num_series)[series]),
            static={name: np.asarray(value)[series] for name, value in context.static.items()},
        )

    def process(
        self,
        to_array: Callable[[Any], Array],
        sites: int | Mapping[str, np.ndarray] = 0,
        context: Context | None = None,
    ) -> Any:
        """Build the process at a prior draw (its number) or at given sites."""
        values = self.sites(sites) if isinstance(sites, int) else sites
        return self.model.process({name: to_array(value) for name, value in values.items()}, context or self.context)

    def steps(
        self, observations: Observations, sites: int | Mapping[str, np.ndarray] = 0, context: Context | None = None
    ) -> np.ndarray:
        """Return `log_prob_steps`, (..., series, time)."""
        with self.arrays() as to_array:
            return to_numpy(self.process(to_array, sites, context).log_prob_steps(given(observations, to_array)))

    def terms_of(self, process: Any, observations: Observations) -> Array:
        """Return the terms of a process's likelihood, or of its composite one where it has no other."""
        if self.claims.likelihood:
            return process.log_prob_steps(observations)
        return process.composite_steps(observations)

    def terms(self, observations: Observations, sites: int | Mapping[str, np.ndarray] = 0) -> np.ndarray:
        """Return `terms_of` the process at given sites, (..., series, time)."""
        with self.arrays() as to_array:
            return to_numpy(self.terms_of(self.process(to_array, sites), given(observations, to_array)))

    def log_prob(
        self, observations: Observations, sites: int | Mapping[str, np.ndarray] = 0, context: Context | None = None
    ) -> np.ndarray:
        """Return `log_prob`, (..., series)."""
        with self.arrays() as to_array:
            return np.atleast_1d(
                to_numpy(self.process(to_array, sites, context).log_prob(given(observations, to_array)))
            )

    def simulate(
        self,
        seed: int,
        sites: int | Mapping[str, np.ndarray] = 0,
        observations: Observations | None = None,
        context: Context | None = None,
    ) -> np.ndarray:
        """Return the values of a draw at the rows of `observations`, (..., series, time, channel)."""
        where = self.observations if observations is None else observations
        with self.arrays() as to_array:
            process = self.process(to_array, sites, context)
            inputs = None if where.inputs is None else to_array(where.inputs)
            random = random_source(seed, to_array(0.0))
            return to_numpy(process.sample(to_array(where.times), random=random, inputs=inputs).values)

    def simulated(self, count: int, point: int = 0) -> np.ndarray:
        """Return `count` draws at one set of parameters, (draw, series, time, channel), made once."""
        key = "simulated", count, point
        if key not in self.memory:
            self.memory[key] = self.simulate(self.seed + 21 + point, self.copies(count, point))
        return self.memory[key]

    def ask(
        self,
        observations: Observations,
        times: np.ndarray,
        questions: Mapping[str, Callable[[Any], Array]],
        sites: int | Mapping[str, np.ndarray] = 0,
    ) -> dict[str, np.ndarray]:
        """Condition on observations, ask at `times`, and return named answers of the predictive as NumPy."""
        with self.arrays() as to_array:
            process = self.process(to_array, sites)
            law = process.condition(given(observations, to_array)).at(to_array(times))
            return {name: to_numpy(question(law)) for name, question in questions.items()}

    @cached_property
    def family(self) -> str:
        """Family of the marginals that `condition(...).at(...)` gives."""
        observations = self.observations
        with self.arrays() as to_array:
            law = self.process(to_array).condition(given(observations, to_array)).at(to_array(observations.times))
            return law.family

    def need_gaussian(self) -> None:
        """Skip the check unless marginals are Gaussian."""
        if self.family != "gaussian":
            raise CheckSkipped("the marginals are not Gaussian")


class PopulationSubject(Subject):
    """A model with small snapshots of the kind that it declares, and the parameters that its solver finds for them.

    A model without a solver has parameters from its prior.

    Args:
        model: The model.
        seed: Seed of the data, the parameters and every statistical check.
        data: Snapshots to use instead of the made ones.
    """

    def __init__(self, model: AbstractModel, *, seed: int = 0, data: Snapshots | None = None) -> None:
        super().__init__(model, seed=seed)
        self._snapshots = data

    @cached_property
    def data(self) -> Any:
        """Three populations that move, as far as the model accepts them."""
        data = made_snapshots(self.claims, self.seed) if self._snapshots is None else self._snapshots
        check_request(self.model, data, purpose="the conformance kit")
        return data

    @_ground("`solve` (or the prior)")
    def points(self) -> tuple[list[dict[str, np.ndarray]], dict[str, SiteInfo]]:
        """What the solver finds, or draws from the prior, in canonical form (1, core), and facts about the sites."""
        if self.has_solver:
            found = self.solved(self.data)
            return found, {name: SiteInfo(name, "sample", value.shape[1:], False) for name, value in found[0].items()}
        from dynplat.inference.prior import sample_prior

        context = self.context
        drawn, infos = sample_prior(self.model, context, num_draws=NUM_POINTS, seed=self.seed, language=self.language)
        return [{name: value[i] for name, value in drawn.items()} for i in range(NUM_POINTS)], infos

    @property
    def has_solver(self) -> bool:
        """Whether the model finds its parameters itself."""
        return type(self.model).solve is not AbstractModel.solve

    def solved(self, data: Snapshots) -> list[dict[str, np.ndarray]]:
        """Return one draw of what the solver finds for some snapshots, each site (1, core)."""
        draws = self.model.solve(observations_from(data), self.model.prepare(data), seed=self.seed) or {}
        return [{name: np.asarray(value)[:1] for name, value in draws.items()}]

    @cached_property
    def observations(self) -> Observations:
        """The particles as a process sees them: rows of one series."""
        return observations_from(self.data)

    @property
    def complete(self) -> Observations:
        """The same: every particle is known."""
        return self.observations

    @property
    def queries(self) -> np.ndarray:
        """Times inside every gap and, where the model forecasts, after the last snapshot; (1, query)."""
        times = self.data.times
        inside = 0.5 * (times[1:] + times[:-1])
        later = times[-1] + 0.5 * np.diff(times)[-1:] if self.claims.forecast else times[:0]
        return np.concatenate([inside, later])[None]

    def particles(
        self, times: np.ndarray, seed: int, count: int, data: Snapshots | None = None, sites: Any = None
    ) -> np.ndarray:
        """Return particles at times (query,), each with its path, (draw, query, channel).

        Args:
            times: The times.
            seed: Seed of the draws.
            count: Number of particles.
            data: Snapshots to condition on, with parameters found for them; by default the subject's own.
            sites: Parameters, by default those found for the data, or the first of `points`.
        """
        data = self.data if data is None else data
        context = self.context if data is self.data else self.model.prepare(data)
        if sites is None:
            sites = self.sites() if data is self.data or not self.has_solver else self.solved(data)[0]
        with self.arrays() as to_array:
            process = self.process(to_array, sites, context)
            law = process.condition(given(observations_from(data), to_array)).at(to_array(np.asarray(times)[None]))
            drawn = to_numpy(law.draws(count, random=random_source(seed, to_array(0.0))))
        # Parameters of one draw may or may not leave an axis.
        return drawn.reshape(count, len(times), drawn.shape[-1])


def given(observations: Observations, to_array: Callable[[Any], Array]) -> Observations:
    """Bring values, mask and inputs into the framework; times stay host constants, as the platform passes them."""
    return observations._replace(
        values=to_array(observations.values),
        mask=to_array(observations.mask),
        inputs=None if observations.inputs is None else to_array(observations.inputs),
    )


def map_leaves(observations: Observations, change: Callable[[np.ndarray], np.ndarray]) -> Observations:
    """Apply a function of arrays (series, ...) to every leaf that is there."""
    return Observations(*(None if leaf is None else change(leaf) for leaf in observations))


def hide(observations: Observations, *where: Any) -> Observations:
    """Return the observations with the cells at `where` (an index of the mask) not observed."""
    mask = observations.mask.copy()
    mask[where] = False
    return observations._replace(mask=mask)


def hide_all(observations: Observations) -> Observations:
    """Return the observations with nothing observed."""
    return observations._replace(mask=np.zeros_like(observations.mask))
