"""Likelihood and filter of linear-Gaussian chains, as pure functions of arrays (laid out as `chain_layout` says)."""

from __future__ import annotations

from typing import NamedTuple

from dynplat.arrays import Array, array_namespace, concrete, epsilon, eye_like, is_jax_array
from dynplat.process.chain_layout import Parameters, raw_steps, time_last
from dynplat.scan import choose_driver, fold, prefix, tree
from dynplat.semigroup import (
    DiffuseState,
    GaussianState,
    Innovation,
    Step,
    act,
    act_diffuse,
    combine,
    filtering_element,
    flat_state,
    initial_state,
    predict,
    starting_element,
    update,
)


class Likelihood(NamedTuple):
    """Log density of each row, (..., time), and the cells whose innovation is singular, (..., time, p)."""

    log_prob_steps: Array
    singular: Array


class FilterRun(NamedTuple):
    """All that a filter pass knows, time first.

    Attributes:
        likelihood: In the layout (..., time).
        steps: Raw steps.
        predicted: States before each observation.
        filtered: States after each observation.
        start: Law of a flat start after each row, or None.
    """

    likelihood: Likelihood
    steps: Step
    predicted: GaussianState
    filtered: GaussianState
    start: DiffuseState | None


def run_likelihood(
    parameters: Parameters, values: Array, mask: Array | None, inputs: Array | None, *, driver: str
) -> Likelihood:
    """Log density of each row."""
    state, steps = raw_steps(parameters, values, mask, inputs)
    innovations, _ = forward(state, steps, driver, moments=False)
    likelihood, _ = _likelihood(innovations, parameters.diffuse is not None)
    return likelihood


def run_filter(
    parameters: Parameters, values: Array, mask: Array | None, inputs: Array | None, *, driver: str
) -> FilterRun:
    """Log density and moments of each row."""
    state, steps = raw_steps(parameters, values, mask, inputs)
    innovations, (predicted, filtered) = forward(state, steps, driver, moments=True)
    likelihood, start = _likelihood(innovations, parameters.diffuse is not None)
    return FilterRun(likelihood, steps, predicted, filtered, start)


def filtered_moments(state: GaussianState, start: DiffuseState | None) -> tuple[Array, Array]:
    """Means (..., time, n) and covariances (..., time, n, n) of states.

    A coordinate that a flat start still leaves free has infinite variance; two such have an undefined (NaN) covariance.
    """
    mean, cov = state.mean[..., 0], state.cov
    if start is not None:
        G = state.mean[..., 1:]
        xp = array_namespace(G)
        transposed = xp.matrix_transpose(G)
        mean = mean + (G @ start.mean[..., None])[..., 0]
        cov = cov + G @ start.cov @ transposed
        flat = xp.linalg.diagonal(G @ start.flat @ transposed)
        reach = xp.sum(G * G, axis=-1)
        infinite = flat > (1e3 * epsilon(cov)) ** 2 * xp.where(reach > 1.0, reach, 1.0)
        hit = infinite[..., :, None] & infinite[..., None, :]
        diagonal = eye_like(cov.shape[-1], cov) > 0
        cov = xp.where(hit, xp.where(diagonal, xp.inf, xp.nan), cov)
    return time_last(mean, 1), time_last(cov, 2)


def start_before(start: DiffuseState) -> DiffuseState:
    """Law of a flat start before each row, from its law after each row."""
    q = start.mean.shape[-1]
    xp = array_namespace(start.mean)
    zero = tree.map_arrays(lambda a: xp.zeros_like(a[:1]), start)
    first = DiffuseState(zero.mean, zero.cov, zero.flat + eye_like(q, start.mean), zero.remaining + float(q))
    return tree.concat(first, tree.map_arrays(lambda a: a[:-1], start))


def growth_limit(like: Array) -> float:
    """Largest amplification of rounding at which a tree's result still counts as that of the sequential driver.

    It bounds the `growth` of filtering elements, and the part of an innovation covariance that may be rounding.
    """
    return epsilon(like) ** (-1.0 / 3.0)


def forward(state: GaussianState, steps: Step, driver: str, *, moments: bool) -> tuple[Innovation, tuple]:
    """Filter all rows by a generic driver; the first has no transition."""
    size = tree.length(steps)
    filtered, innovation = update(state, tree.row(steps, 0))
    first = (innovation, (state, filtered)) if moments else (innovation, ())
    first = tree.add_time(first)
    if size == 1:
        return first
    rest = tree.rows(steps, 1, size)

    def sequentially(_: object) -> tuple:
        _, kept = fold(_act_moments if moments else _act_likelihood, filtered, rest)
        return kept

    if choose_driver(driver, state.mean, size) == "sequential":
        later = sequentially(None)
    else:
        later, sound = _balanced(filtered, rest, moments=moments)
        numbers = concrete(sound)
        if numbers is not None:
            later = later if bool(numbers) else sequentially(None)
        elif is_jax_array(state.mean):
            from dynplat.scan.jax import choose

            kept = later
            later = choose(sound, lambda _: kept, sequentially, None)
        else:
            # Inside a transform of torch nobody can look at the numbers: take the driver that is always right.
            later = sequentially(None)
    return tree.concat(first, later)


def _balanced(filtered: GaussianState, steps: Step, *, moments: bool) -> tuple[tuple, Array]:
    """Filter rows 1, 2, ... by a tree of elements, and tell whether the tree was well conditioned.

    The tree gives the filtered moments of every row but the last; every row's observation is then met once more by the
    stabilised update, all rows at once, so that the likelihood is made of innovations and not of the large terms that
    cancel in the log normaliser of the elements.
    """
    xp = array_namespace(filtered.cov)
    size = tree.length(steps)
    start = tree.add_time(starting_element(filtered.mean, filtered.cov, None))
    before = start
    if size > 1:
        elements = filtering_element(tree.rows(steps, 0, size - 1), with_ell=False)
        elements = tree.concat(start, tree.stretch(elements, size - 1))
        before = prefix(combine, elements, driver="balanced")
    states = initial_state(before.b, before.C)
    kept = _act_moments(states, steps)[1] if moments else _act_likelihood(states, steps)[1]
    limit = growth_limit(before.C)
    sound = xp.all(before.growth <= limit) & xp.all(kept[0].slack <= epsilon(before.C) * limit)
    return kept, sound


def _likelihood(innovations: Innovation, diffuse: bool) -> tuple[Likelihood, DiffuseState | None]:
    log_prob, start = innovations.log_prob[..., 0], None
    if diffuse:
        first = tree.row(innovations, 0)
        _, (log_prob, start) = fold(act_diffuse, flat_state(first), innovations)
    return Likelihood(time_last(log_prob, 0), time_last(innovations.singular, 1)), start


def _act_likelihood(state: GaussianState, step: Step) -> tuple[GaussianState, tuple]:
    state, innovation = act(state, step)
    return state, (innovation, ())


def _act_moments(state: GaussianState, step: Step) -> tuple[GaussianState, tuple]:
    predicted = predict(state, step)
    state, innovation = update(predicted, step)
    return state, (innovation, (predicted, state))
