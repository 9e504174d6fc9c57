"""What a check works on: a model, data that it accepts, and parameters drawn from its prior."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.arrays import Array, Observations, framework, random_source, to_numpy
from dynplat.model import AbstractModel, Context, SiteInfo, check_request, observations_from
from dynplat.testing.report import CheckFailed, CheckSkipped

if TYPE_CHECKING:
    from dynplat.data import Trajectories

#: How many parameter draws the deterministic checks look at.
NUM_POINTS = 3


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

    @property
    def claims(self) -> Any:
        """The model's capabilities."""
        return self.model.capabilities

    def need(self, *capabilities: str) -> None:
        """Skip the check unless the model claims all of `capabilities`."""
        for name in capabilities:
            if not getattr(self.claims, name):
                raise CheckSkipped(f"not declared: {name}")

    @cached_property
    def language(self) -> str | None:
        """The language in which the process is asked: torch's where there is a choice, as it needs no compilation."""
        languages = self.claims.languages
        return "pyro" if "pyro" in languages else languages[0] if languages else None

    @cached_property
    def framework(self) -> str:
        """Framework of `language`; NumPy for a model without one."""
        return {"pyro": "torch", "numpyro": "jax", None: "numpy"}[self.language]

    @cached_property
    def data(self) -> Trajectories:
        """Two short series of different lengths with holes, as far as the model accepts them."""
        if "trajectories" not in self.claims.observations:
            raise CheckSkipped(f"this check speaks of trajectories; the model takes {self.claims.observations}")
        data = self._given if self._given is not None else made_data(self.claims, self.seed)
        check_request(self.model, data, purpose="the conformance kit")
        return data

    @cached_property
    def context(self) -> Context:
        """The model's context for the data."""
        return self.model.prepare(self.data)

    @cached_property
    def observations(self) -> Observations:
        """The data as a process sees them, the values replaced by a draw of the process where it can simulate."""
        observations = observations_from(self.data)
        if not self.claims.simulate:
            return observations
        with self.arrays() as to_array:
            process = self.process(to_array, point=0)
            random = random_source(self.seed + 11, to_array(0.0))
            inputs = None if observations.inputs is None else to_array(observations.inputs)
            drawn = to_numpy(process.sample(to_array(observations.times), random=random, inputs=inputs).values)
        drawn = drawn.reshape(observations.values.shape)
        return observations._replace(values=np.where(observations.mask, drawn, 0.0))

    @cached_property
    def points(self) -> tuple[list[dict[str, np.ndarray]], dict[str, SiteInfo]]:
        """Parameter draws from the prior, in canonical form (series or 1, core), and facts about the sites."""
        from dynplat.inference.prior import sample_prior

        if not self.claims.prior or self.language is None:
            draws = self.model.solve(observations_from(self.data), self.context, seed=self.seed)
            if draws is None:
                raise CheckSkipped("the model has neither a prior nor a solver, so there are no parameters to try")
            names = {name: np.asarray(value) for name, value in draws.items()}
            infos = {name: SiteInfo(name, "sample", value.shape[1:], False) for name, value in names.items()}
            count = min(NUM_POINTS, min(len(value) for value in names.values()))
            return [{name: value[i][None] for name, value in names.items()} for i in range(count)], infos
        drawn, infos = sample_prior(
            self.model, self.context, num_draws=NUM_POINTS, seed=self.seed, language=self.language
        )
        return [{name: value[i] for name, value in drawn.items()} for i in range(NUM_POINTS)], infos

    @contextmanager
    def arrays(self, dtype: str = "float64") -> Iterator[Callable[[Any], Array]]:
        """Open the framework of this subject."""
        with framework(self.framework, dtype=dtype) as to_array:
            yield to_array

    def sites(self, to_array: Callable[[Any], Array], point: int = 0) -> dict[str, Array]:
        """Return one prior draw as arrays of the framework."""
        draws = self.points[0]
        return {name: to_array(value) for name, value in draws[point % len(draws)].items()}

    def process(
        self, to_array: Callable[[Any], Array], point: int = 0, context: Context | None = None, **replaced: Array
    ) -> Any:
        """Build the process at one prior draw."""
        return self.model.process({**self.sites(to_array, point), **replaced}, context or self.context)

    def steps(self, observations: Observations, point: int = 0, context: Context | None = None) -> np.ndarray:
        """Return `log_prob_steps`, (series, time), at one prior draw."""
        with self.arrays() as to_array:
            process = self.process(to_array, point, context)
            return to_numpy(process.log_prob_steps(given(observations, to_array)))

    def log_prob(self, observations: Observations, point: int = 0, context: Context | None = None) -> np.ndarray:
        """Return `log_prob`, (series,), at one prior draw."""
        with self.arrays() as to_array:
            process = self.process(to_array, point, context)
            return np.atleast_1d(to_numpy(process.log_prob(given(observations, to_array))))

    def ask(
        self, observations: Observations, times: np.ndarray, questions: Mapping[str, Any], point: int = 0
    ) -> dict[str, np.ndarray]:
        """Condition on observations, ask at `times`, and return named answers of the predictive as NumPy."""
        with self.arrays() as to_array:
            process = self.process(to_array, point)
            law = process.condition(given(observations, to_array)).at(to_array(times))
            return {name: to_numpy(question(law)) for name, question in questions.items()}


def given(observations: Observations, to_array: Callable[[Any], Array]) -> Observations:
    """Bring values, mask and inputs into the framework; times stay host constants, as the platform passes them."""
    return observations._replace(
        values=to_array(observations.values),
        mask=to_array(observations.mask),
        inputs=None if observations.inputs is None else to_array(observations.inputs),
    )


def for_series(subject: Subject, num_series: int) -> Context:
    """Return the context for another number of series."""
    return replace(subject.context, num_series=num_series)


def made_data(claims: Any, seed: int) -> Trajectories:
    """Make small data of the declared kind: two ragged series, irregular times, holes, two channels, inputs."""
    from dynplat.data import Trajectories

    rng = np.random.default_rng(seed)
    lengths = (9, 6)
    channels = 2 if claims.multichannel else 1
    times, values, inputs = [], [], []
    for length in lengths:
        gaps = rng.uniform(0.3, 2.0, length) if claims.irregular_times else np.ones(length)
        times.append(np.cumsum(gaps))
        if "real" in claims.values:
            block = 5.0 + 2.0 * np.sin(times[-1])[:, None] + rng.normal(size=(length, channels))
        elif "positive" in claims.values:
            block = np.exp(rng.normal(size=(length, channels)))
        else:
            block = rng.integers(0, 3, size=(length, channels)).astype(float)
        if claims.missing_values:
            holes = rng.uniform(size=block.shape) < 0.25
            holes[0] = False
            block = np.where(holes, np.nan, block)
        values.append(block)
        inputs.append(rng.normal(size=(length, 1)))
    return Trajectories.from_arrays(
        times,
        values,
        inputs=inputs if claims.inputs else None,
        input_names=("push",) if claims.inputs else None,
        series=("first", "second"),
        channels=tuple("ab"[:channels]),
    )


def compare_arrays(
    name: str, got: np.ndarray, expected: np.ndarray, *, rtol: float, atol: float = 0.0, cause: str
) -> None:
    """Fail unless two arrays agree, telling the largest difference and the likely cause."""
    got, expected = np.asarray(got, dtype=float), np.asarray(expected, dtype=float)
    if got.shape != expected.shape:
        raise CheckFailed(f"{name}: expected shape {expected.shape}, got {got.shape}. {cause}")
    if not np.isfinite(got).all():
        raise CheckFailed(f"{name}: {np.sum(~np.isfinite(got))} of {got.size} numbers are not finite. {cause}")
    excess = np.abs(got - expected) - (atol + rtol * np.abs(expected))
    if got.size and excess.max() > 0:
        worst = np.unravel_index(int(np.argmax(excess)), got.shape)
        raise CheckFailed(
            f"{name}: expected {expected[worst]:.10g}, got {got[worst]:.10g} at index {tuple(map(int, worst))} "
            f"(difference {abs(got[worst] - expected[worst]):.3g}). {cause}"
        )
