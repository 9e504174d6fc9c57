"""Filter, smoother and posterior draws of linear-Gaussian chains, as pure functions of arrays.

Inside, time is the first axis and data stand in columns: column 0 is the data, each further column is a direction of a
flat start. Arrays keep the leading axes they came with, so that whatever does not depend on an axis (the covariances,
when the holes do not differ between series) is computed once along it.
"""

from __future__ import annotations

from typing import NamedTuple

from dynplat.arrays import (
    Array,
    array_namespace,
    cholesky_semidefinite,
    concrete,
    epsilon,
    eye_like,
    is_jax_array,
    stop_gradient,
    symmetrise,
)
from dynplat.scan import choose_driver, fold, prefix, suffix, tree
from dynplat.semigroup import (
    DiffuseState,
    GaussianState,
    Innovation,
    SmoothingElement,
    Step,
    act,
    act_diffuse,
    act_smoothing,
    combine,
    combine_smoothing,
    filtering_element,
    final_element,
    flat_state,
    initial_state,
    noise_factor,
    predict,
    project_missing,
    smoothing_element,
    starting_element,
    update,
)


class Parameters(NamedTuple):
    """Arrays of a chain in the layout of `LinearGaussian`, of one dtype."""

    F: Array
    Q: Array
    H: Array
    R: Array
    m0: Array
    P0: Array
    c: Array | None = None
    d: Array | None = None
    B: Array | None = None
    D: Array | None = None
    diffuse: Array | None = None


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


class SmootherRun(NamedTuple):
    """Smoothed moments, (..., time, n), (..., time, n, n), (..., time - 1, n, n), and what draws need, time first.

    Attributes:
        means: E[x_t | y].
        covs: Cov[x_t | y].
        cross_covs: Cov[x_t, x_{t+1} | y].
        elements: Smoothing elements.
        factors: Factors of their covariances.
        start_mean: E[delta | y] of a flat start, (..., q), or None.
        start_cov: Cov[delta | y], (..., q, q), or None.
        improper: Series whose flat start is not determined by the data, (...), or None.
    """

    means: Array
    covs: Array
    cross_covs: Array
    elements: SmoothingElement
    factors: Array
    start_mean: Array | None
    start_cov: Array | None
    improper: Array | None


def observation_offset(parameters: Parameters, inputs: Array | None) -> Array | None:
    """Return d + D u, (..., time or 1, p), or None where there is neither."""
    offset = parameters.d
    if parameters.D is not None and inputs is not None:
        effect = (parameters.D @ inputs[..., None])[..., 0]
        offset = effect if offset is None else offset + effect
    return offset


def transition_offset(parameters: Parameters, inputs: Array | None) -> Array | None:
    """Return c_t + B_t u_{t-1}, (..., time or 1, n), or None where there is neither; the first row is not used."""
    offset = parameters.c
    if parameters.B is not None and inputs is not None:
        xp = array_namespace(inputs)
        held = xp.concat([inputs[..., :1, :], inputs[..., :-1, :]], axis=-2)
        effect = (parameters.B @ held[..., None])[..., 0]
        offset = effect if offset is None else offset + effect
    return offset


def raw_steps(
    parameters: Parameters, values: Array, mask: Array | None, inputs: Array | None
) -> tuple[GaussianState, Step]:
    """Lay a chain and its data out for a scan.

    Args:
        parameters: The chain.
        values: (..., time, p).
        mask: True = observed, broadcasts with `values`; None = everything is observed.
        inputs: (..., time, k) or None.

    Returns:
        The state before the first observation and the raw steps, time first, with as many leading axes everywhere.
    """
    F, Q, H, R, m0, P0 = parameters[:6]
    # Only the symmetric part counts, so that gradients are symmetric whatever the driver.
    Q, R, P0 = symmetrise(Q), symmetrise(R), symmetrise(P0)
    xp = array_namespace(F, values)
    offset, drift = observation_offset(parameters, inputs), transition_offset(parameters, inputs)
    residual = values if offset is None else values - offset
    if mask is None:
        num_observed = 0.0 * stop_gradient(H[..., 0, 0]) + float(H.shape[-2])
    else:
        H, R, residual, num_observed = project_missing(H, R, residual, mask)
    mean = m0[..., None]
    c = (0.0 * F[..., 0] if drift is None else drift)[..., None]
    y = residual[..., None]
    if parameters.diffuse is not None:
        A = parameters.diffuse
        P0 = P0 + A @ xp.matrix_transpose(A)
        mean = _with_columns(mean, A)
        c = _with_columns(c, xp.zeros_like(c) + xp.zeros_like(A[..., :1, :][..., None, :, :]))
        y = _with_columns(y, xp.zeros_like(y) + xp.zeros_like(A[..., :1, :][..., None, :, :]))
    num_lead = max(
        [a.ndim - 3 for a in (F, Q, H, R, c, y)] + [num_observed.ndim - 1, mean.ndim - 2, P0.ndim - 2],
    )
    F, c, Q, H, R, y = (_time_first(a, 2, num_lead) for a in (F, c, Q, H, R, y))
    step = Step(F, c, Q, H, R, y, _time_first(num_observed, 0, num_lead))
    cov_lead = xp.broadcast_shapes(
        tuple(P0.shape[:-2]), *(tuple(a.shape[1:-2]) for a in (step.F, step.Q, step.H, step.R))
    )
    mean_lead = xp.broadcast_shapes(cov_lead, tuple(mean.shape[:-2]), *(tuple(a.shape[1:-2]) for a in (step.c, step.y)))
    cov_lead = (1,) * (num_lead - len(cov_lead)) + tuple(cov_lead)
    state = initial_state(
        xp.broadcast_to(mean, (*mean_lead, *mean.shape[-2:])), xp.broadcast_to(P0, (*cov_lead, *P0.shape[-2:]))
    )
    return state, step


def run_likelihood(
    parameters: Parameters, values: Array, mask: Array | None, inputs: Array | None, *, driver: str
) -> Likelihood:
    """Log density of each row."""
    state, steps = raw_steps(parameters, values, mask, inputs)
    innovations, _ = _forward(state, steps, driver, moments=False)
    likelihood, _ = _likelihood(innovations, parameters.diffuse is not None)
    return likelihood


def run_filter(
    parameters: Parameters, values: Array, mask: Array | None, inputs: Array | None, *, driver: str
) -> FilterRun:
    """Log density and moments of each row."""
    state, steps = raw_steps(parameters, values, mask, inputs)
    innovations, (predicted, filtered) = _forward(state, steps, driver, moments=True)
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
    return _time_last(mean, 1), _time_last(cov, 2)


def run_smoother(run: FilterRun, *, driver: str) -> SmootherRun:
    """Smoothed moments from a filter pass."""
    size = tree.length(run.filtered)
    xp = array_namespace(run.filtered.cov)
    last = final_element(tree.row(run.filtered, size - 1))
    elements = tree.add_time(last)
    if size > 1:
        before = smoothing_element(tree.rows(run.filtered, 0, size - 1), tree.rows(run.steps, 1, size))
        elements = tree.concat(before, elements)
    g, L = _backward(elements, driver)
    means, covs = g[..., 0], L
    cross = elements.E[: size - 1] @ L[1:]
    start_mean = start_cov = improper = None
    if run.start is not None:
        final = tree.row(run.start, size - 1)
        improper = final.remaining > 0.5
        start_mean = xp.where(improper[..., None], xp.nan, final.mean)
        start_cov = final.cov
        G = g[..., 1:]
        means = means + (G @ start_mean[..., None])[..., 0]
        spread = start_cov @ xp.matrix_transpose(G)
        covs = covs + G @ spread
        cross = cross + G[: size - 1] @ spread[1:]
    factors = noise_factor(elements, run.filtered)
    return SmootherRun(
        _time_last(means, 1),
        _time_last(covs, 2),
        _time_last(cross, 2),
        elements,
        factors,
        start_mean,
        start_cov,
        improper,
    )


def run_draws(smoother: SmootherRun, noise: Array, start_noise: Array | None, *, driver: str) -> Array:
    """Joint draws of the states given the data, by backward sampling.

    Args:
        smoother: A smoother pass.
        noise: Standard normal numbers, (draws, ..., time, n).
        start_noise: Standard normal numbers for a flat start, (draws, ..., q), or None.
        driver: Name of the driver.

    Returns:
        (draws, ..., time, n).
    """
    elements = smoother.elements
    xp = array_namespace(noise)
    z = xp.moveaxis(xp.moveaxis(noise, -2, 0), 1, -1)
    g = elements.g[..., :1] + smoother.factors @ z
    if smoother.start_mean is not None and start_noise is not None:
        cov = smoother.start_cov
        floor = 4.0 * epsilon(cov) * xp.linalg.diagonal(stop_gradient(cov))
        delta = smoother.start_mean[..., None] + cholesky_semidefinite(cov, floor) @ xp.moveaxis(start_noise, 0, -1)
        g = g + elements.g[..., 1:] @ delta
    path, _ = _backward(SmoothingElement(elements.E, g, None), driver)
    return xp.moveaxis(xp.moveaxis(path, -1, 0), 1, -2)


def run_simulation(parameters: Parameters, noise: Array, inputs: Array | None, *, driver: str) -> Array:
    """Draws of the states before any data: `noise` is standard normal, (..., time, n), and so is the result."""
    xp = array_namespace(noise)
    F, Q = parameters.F, parameters.Q
    drift = transition_offset(parameters, inputs)
    num_lead = max(noise.ndim - 2, F.ndim - 3)
    first = parameters.m0 + (_factor(parameters.P0) @ noise[..., 0, :, None])[..., 0]
    shocks = (_factor(Q) @ noise[..., None])[..., 0]
    if drift is not None:
        shocks = shocks + drift
    lead = xp.broadcast_shapes(tuple(first.shape[:-1]), tuple(shocks.shape[:-2]), tuple(F.shape[:-3]))
    first = xp.broadcast_to(first, (*lead, first.shape[-1]))
    shocks = xp.broadcast_to(shocks, (*lead, *shocks.shape[-2:]))
    num_lead = len(lead)
    size = noise.shape[-2]
    elements = SmoothingElement(_time_first(F, 2, num_lead), _time_first(shocks, 1, num_lead)[..., None], None)
    state = SmoothingElement(xp.zeros_like(F[..., 0, :, :]), first[..., None], None)
    path = first[None, ..., None]
    if size > 1:
        elements = tree.rows(elements, 1, size)
        if choose_driver(driver, noise, size) == "balanced":
            start = tree.add_time(SmoothingElement(0.0 * elements.E[0], state.g, None))
            full = tree.concat(start, tree.stretch(elements, size - 1))
            path = prefix(_compose, full, driver="balanced").g
        else:
            state = SmoothingElement(elements.E[0], state.g, None)
            _, (later, _) = fold(_act_smoothing, state, elements)
            path = xp.concat([path, later], axis=0)
    return _time_last(path[..., 0], 1)


def _forward(state: GaussianState, steps: Step, driver: str, *, moments: bool) -> tuple[Innovation, tuple]:
    """Filter all rows; the first has no transition."""
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


def growth_limit(like: Array) -> float:
    """Largest amplification of rounding at which a tree's result still counts as that of the sequential driver.

    It bounds the `growth` of filtering elements, and the part of an innovation covariance that may be rounding.
    """
    return epsilon(like) ** (-1.0 / 3.0)


def _likelihood(innovations: Innovation, diffuse: bool) -> tuple[Likelihood, DiffuseState | None]:
    log_prob, start = innovations.log_prob[..., 0], None
    if diffuse:
        first = tree.row(innovations, 0)
        _, (log_prob, start) = fold(act_diffuse, flat_state(first), innovations)
    return Likelihood(_time_last(log_prob, 0), _time_last(innovations.singular, 1)), start


def _backward(elements: SmoothingElement, driver: str) -> tuple[Array, Array]:
    """Laws (g, L) of every state given the data, from smoothing elements."""
    size = tree.length(elements)
    if size == 1:
        return elements.g, elements.L  # type: ignore[return-value]
    if choose_driver(driver, elements.g, size) == "balanced":
        product = suffix(combine_smoothing, elements, driver="balanced")
        return product.g, product.L
    last = tree.row(elements, size - 1)
    _, (g, L) = fold(_act_smoothing, last, tree.rows(elements, 0, size - 1), reverse=True)
    xp = array_namespace(g)
    g = xp.concat([g, last.g[None, ...]], axis=0)
    return g, L if L is None else xp.concat([L, last.L[None, ...]], axis=0)


def _act_likelihood(state: GaussianState, step: Step) -> tuple[GaussianState, tuple]:
    state, innovation = act(state, step)
    return state, (innovation, ())


def _act_moments(state: GaussianState, step: Step) -> tuple[GaussianState, tuple]:
    predicted = predict(state, step)
    state, innovation = update(predicted, step)
    return state, (innovation, (predicted, state))


def _act_smoothing(state: SmoothingElement, element: SmoothingElement) -> tuple[SmoothingElement, tuple]:
    state = act_smoothing(state, element)
    return state, (state.g, state.L)


def _compose(first: SmoothingElement, second: SmoothingElement) -> SmoothingElement:
    """Affine maps forwards in time: `second` is applied to the result of `first`."""
    return combine_smoothing(second, first)


def _factor(cov: Array) -> Array:
    xp = array_namespace(cov)
    return cholesky_semidefinite(cov, 4.0 * cov.shape[-1] * epsilon(cov) * xp.linalg.diagonal(stop_gradient(cov)))


def _with_columns(first: Array, others: Array) -> Array:
    xp = array_namespace(first, others)
    lead = xp.broadcast_shapes(tuple(first.shape[:-1]), tuple(others.shape[:-1]))
    return xp.concat(
        [xp.broadcast_to(part, (*lead, part.shape[-1])) for part in (first, others)],
        axis=-1,
    )


def _time_first(array: Array, num_core: int, num_lead: int) -> Array:
    """(..., time, core) -> (time, leading axes padded to `num_lead`, core)."""
    xp = array_namespace(array)
    missing = num_lead - (array.ndim - num_core - 1)
    array = xp.reshape(array, (1,) * missing + tuple(array.shape))
    return xp.moveaxis(array, num_lead, 0)


def _time_last(array: Array, num_core: int) -> Array:
    """(time, ..., core) -> (..., time, core)."""
    return array_namespace(array).moveaxis(array, 0, array.ndim - num_core - 1)


def start_before(start: DiffuseState) -> DiffuseState:
    """Law of a flat start before each row, from its law after each row."""
    q = start.mean.shape[-1]
    xp = array_namespace(start.mean)
    zero = tree.map_arrays(lambda a: xp.zeros_like(a[:1]), start)
    first = DiffuseState(zero.mean, zero.cov, zero.flat + eye_like(q, start.mean), zero.remaining + float(q))
    return tree.concat(first, tree.map_arrays(lambda a: a[:-1], start))
