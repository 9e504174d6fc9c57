"""Running a model's process once more: one question to all parameter draws, in chunks bounded by memory.

The framework enters here and leaves here: what comes back is NumPy. Under JAX one program is compiled and used for all
chunks; times, values and mask are its constants, so that a process sees concrete gaps. A process that cannot be traced
runs uncompiled. What is not finite is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dynplat.arrays import Array, Observations, framework, random_source, to_numpy
from dynplat.errors import CapabilityError, InferenceError

if TYPE_CHECKING:
    from dynplat.model import AbstractModel, Context
    from dynplat.process.base import AbstractPredictive

#: Rows (observed and asked, over series and parameter draws) that one call of a process may hold. A filter with a dozen
#: states keeps some tens of kilobytes per row, so a call stays around a gigabyte.
ROWS_PER_CALL = 50_000

#: Frameworks that a language's arrays belong to.
FRAMEWORKS = {"numpyro": "jax", "pyro": "torch"}
#: Draws from which the marginals of a law without closed forms are read, where no draws were asked for.
_DRAWS_FOR_MARGINALS = 200


class Engine(NamedTuple):
    """Where and how the process runs.

    Attributes:
        framework: `jax`, `torch` or `numpy`.
        device: A device of the framework.
        dtype: `float64` or `float32`.
        seed: Seed of the draws.
    """

    framework: str
    device: str = "cpu"
    dtype: str = "float64"
    seed: int = 0


class Question(NamedTuple):
    """What is asked, about which series; host arrays, series first.

    Attributes:
        observations: What is known, or None for a simulation.
        times: Query times, (series, query), non-decreasing.
        inputs: Known inputs at the query times, (series, query, input), or None.
        of: `observation`, `signal` or `state`.
        num_draws: Joint draws over all parameter draws; with 0 only a law whose marginals are not known in closed form
            is drawn from.
        values: Values whose log density is wanted, (series, query, channel), NaN = not asked; or None.
    """

    observations: Observations | None
    times: np.ndarray
    inputs: np.ndarray | None
    of: str
    num_draws: int
    values: np.ndarray | None = None


class Answer(NamedTuple):
    """What came back; the channel axis is the state axis for `of="state"`.

    Attributes:
        mean: Means given each parameter draw, (component, series, query, channel), or None.
        sd: Standard deviations given each parameter draw, or None.
        is_gaussian: Whether mean and sd determine the marginals given the parameters.
        draws: Joint draws, (sample, series, query, channel), or None.
        log_density: Log density of the question's values given each parameter draw, or None.
    """

    mean: np.ndarray | None
    sd: np.ndarray | None
    is_gaussian: bool
    draws: np.ndarray | None
    log_density: np.ndarray | None


def ask(
    model: AbstractModel,
    context: Context,
    sites: Mapping[str, np.ndarray],
    local: Mapping[str, bool],
    question: Question,
    engine: Engine,
) -> Answer:
    """Ask the process of every parameter draw.

    Args:
        model: The model.
        context: Its context, of the series asked about.
        sites: Host arrays, (draw, series or 1, core dimensions).
        local: Which sites have a value per series.
        question: The question.
        engine: Where it runs.
    """
    num_series, num_queries = question.times.shape
    num_rows = num_queries + (0 if question.observations is None else question.observations.times.shape[1])
    count = next((len(values) for values in sites.values()), 1)
    blocks = list(_blocks(num_series, max(1, ROWS_PER_CALL // max(num_rows, 1))))
    width = max(1, min(count, ROWS_PER_CALL // max(num_rows * len(range(num_series)[blocks[0]]), 1)))
    starts = range(0, count, width)
    # Joint draws are spread evenly over the parameter draws: every component gets the same number, or one or none.
    wanted = question.num_draws or _DRAWS_FOR_MARGINALS
    each = -(-wanted // count)
    answers = []
    with framework(engine.framework, dtype=engine.dtype, device=engine.device) as to_array:
        for number, block in enumerate(blocks):
            part = _series_block(question, block)
            static = {name: values[block] for name, values in context.static.items()}
            inner = replace(context, num_series=len(range(num_series)[block]), static=static)
            call = _caller(model, inner, part, each, to_array, engine.framework)
            chunks = []
            for index, start in enumerate(starts):
                stop = min(start + width, count)
                # The last chunk repeats its last draw, so that one compiled program serves all chunks.
                chosen = np.minimum(np.arange(start, start + width), count - 1)
                taken = {
                    name: to_array(values[chosen][:, block] if local[name] else values[chosen])
                    for name, values in sites.items()
                }
                # 31 bits: without its x64 switch JAX takes a seed as a signed 32-bit integer.
                seed = np.random.SeedSequence((engine.seed, number, index)).generate_state(1, np.uint32)[0] >> 1
                result = call(taken, int(seed))
                chunks.append({name: values[..., : stop - start, :, :, :] for name, values in result.items()})
            answers.append({name: np.concatenate([chunk[name] for chunk in chunks], axis=-4) for name in chunks[0]})
            is_gaussian = call.is_gaussian
    joined = {name: np.concatenate([answer[name] for answer in answers], axis=-3) for name in answers[0]}
    draws = joined.get("draws")
    if draws is not None:
        # (each, component, ...) with the component running fastest, then the first `wanted` of them.
        flat = draws.reshape(-1, *draws.shape[2:])
        draws = flat[:wanted] if each > 1 else flat[components_of_draws(count, wanted)]
    variance = joined.get("variance")
    sd = None if variance is None else np.sqrt(np.maximum(variance, 0.0))
    return Answer(joined.get("mean"), sd, is_gaussian, draws, joined.get("log_density"))


def components_of_draws(count: int, wanted: int) -> np.ndarray:
    """Index of the parameter draw behind each of `wanted` joint draws, (sample,), with `count` parameter draws."""
    if wanted > count:
        return np.arange(wanted) % count
    return (np.arange(wanted) * count) // max(wanted, 1)


def _blocks(count: int, width: int) -> Iterator[slice]:
    for start in range(0, count, width):
        yield slice(start, min(start + width, count))
    if count == 0:
        yield slice(0, 0)


def _series_block(question: Question, block: slice) -> Question:
    def cut(values: Any) -> Any:
        return None if values is None else values[block]

    known = question.observations
    return question._replace(
        observations=None if known is None else Observations(*(cut(leaf) for leaf in known)),
        times=question.times[block],
        inputs=cut(question.inputs),
        values=cut(question.values),
    )


class _caller:
    """One question to a chunk of parameter draws, compiled under JAX."""

    def __init__(
        self,
        model: AbstractModel,
        context: Context,
        question: Question,
        each: int,
        to_array: Callable[[Any], Array],
        name: str,
    ) -> None:
        self.is_gaussian = False
        self._model, self._context, self._question, self._each = model, context, question, each
        self._to_array, self._name = to_array, name
        self._compiled: Any = None

    def __call__(self, sites: dict[str, Array], seed: int) -> dict[str, np.ndarray]:
        if self._name == "jax":
            result = self._call_jax(sites, seed)
        elif self._name == "torch":
            import torch

            with torch.no_grad():
                result = self._run(sites, seed)
        else:
            result = self._run(sites, seed)
        return self._full(self._checked(result), sites)

    def _call_jax(self, sites: dict[str, Array], seed: int) -> dict[str, Array]:
        import jax

        untraceable = (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError)
        if self._compiled is None:
            self._compiled = jax.jit(self._run)
        try:
            result = self._compiled(sites, seed)
        except untraceable:
            self._compiled = self._run
            return self._run(sites, seed)
        if all(bool(jax.numpy.isfinite(result[name]).all()) for name in result if name != "log_density"):
            return result
        # A compiled program cannot raise: run it once more as it stands, so that the process can name its reason.
        return self._run(sites, seed)

    def _checked(self, result: Mapping[str, Array]) -> dict[str, np.ndarray]:
        host = {name: to_numpy(values) for name, values in result.items()}
        for name, values in host.items():
            count = int((~np.isfinite(values)).sum())
            if count and name != "log_density":
                raise InferenceError(
                    f"{self._model.entry.id} gave {count} of {values.size} values of `{name}` that are not finite. "
                    "Check the draws of the parameters with `summary()`, ask for times nearer to the data, or compute "
                    "in float64."
                )
        return host

    def _run(self, sites: dict[str, Array], seed: Any) -> dict[str, Array]:
        question = self._question
        like = next(iter(sites.values()), None)
        like = self._to_array(np.empty(0)) if like is None else like
        random = random_source(seed, like)
        process = self._model.process(sites, self._context)
        if question.observations is None:
            drawn = process.sample(question.times, random=random, inputs=question.inputs)
            values = drawn.states if question.of == "state" else drawn.values
            if values is None:
                raise CapabilityError(f"{self._model.entry.id} draws no states. Ask for `of='observation'`.")
            return {"draws": values[None]}
        law = process.condition(question.observations).at(question.times, inputs=question.inputs)
        result: dict[str, Array] = {}
        self.is_gaussian = law.family == "gaussian"
        moments = _moments(law, question.of, self.is_gaussian)
        if moments is not None:
            result["mean"], result["variance"] = moments
        if question.num_draws or not self.is_gaussian:
            result["draws"] = law.draws(self._each, random=random, of=question.of)
        if question.values is not None and not self.is_gaussian:
            filled = np.where(np.isnan(question.values), 0.0, question.values)
            result["log_density"] = law.log_density(self._to_array(filled))
        return result

    def _full(self, result: dict[str, np.ndarray], sites: Mapping[str, Array]) -> dict[str, np.ndarray]:
        """Give every array its parameter and series axes in full: a law without parameters has no draw axis."""
        count = next((values.shape[0] for values in sites.values()), 1)
        rows = self._question.times.shape
        full = {}
        for name, values in result.items():
            lead = 1 if name == "draws" else 0
            values = np.expand_dims(values, lead) if values.ndim == lead + 3 else values
            full[name] = np.broadcast_to(values, (*values.shape[:lead], count, *rows, values.shape[-1]))
        return full


def _moments(law: AbstractPredictive, of: str, is_gaussian: bool) -> tuple[Array, Array] | None:
    """Means and variances; a law that is not Gaussian may have none in closed form."""
    if is_gaussian:
        return law.mean(of), law.variance(of)
    try:
        return law.mean(of), law.variance(of)
    except CapabilityError:
        return None
