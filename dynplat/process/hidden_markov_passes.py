"""Filter, smoother and paths of hidden Markov chains, as pure functions of arrays.

log_initial (..., K); log_transition (..., T or 1, K, K), (old, new), whose row t leads into row t; log_density
(..., T, K). Leading axes broadcast. Each pass has a generic form on the array API, in logarithms, for any framework,
device and derivative; and a compiled one for arrays on the CPU. Paths are followed from row to row whatever the driver.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

from dynplat import scan
from dynplat.arrays import (
    Array,
    array_namespace,
    asarray_like,
    compiled,
    concrete,
    is_torch_array,
    take_rows,
)
from dynplat.process.chain_layout import time_first, time_last
from dynplat.process.emissions import draw_index, index_type
from dynplat.scan import choose_driver, fold, prefix, tree
from dynplat.scan.drivers import runs_triton_by_series
from dynplat.scan.kernels.calling import call_kernel, grouped
from dynplat.semigroup.log_matrix import (
    LogStep,
    act_max,
    log_element,
    log_matmul,
    log_sum_exp,
    max_matmul,
    predict_log,
    update_log,
)


class Chain(NamedTuple):
    """A hidden Markov chain and the log densities of what was observed (see the module)."""

    log_initial: Array
    log_transition: Array
    log_density: Array


class Laws(NamedTuple):
    """What a filter knows, in logarithms.

    Attributes:
        predicted: log p(x_t | y_<t), (..., time, K).
        filtered: log p(x_t | y_<=t), (..., time, K); -inf from the first impossible row on.
        log_prob: log p(y_t | y_<t), (..., time).
    """

    predicted: Array
    filtered: Array
    log_prob: Array


def lead_shape(chain: Chain) -> tuple[int, ...]:
    """Leading axes of all arrays, broadcast."""
    return tuple(int(size) for size in np.broadcast_shapes(*_leads(chain)))


def _leads(chain: Chain) -> list[tuple[int, ...]]:
    return [tuple(a.shape[:-core]) for a, core in zip(chain, (1, 3, 2), strict=True)]


# Which form runs.


def runs_compiled(driver: str, chain: Chain) -> bool:
    """Whether the compiled likelihood serves; an empty batch has nothing to compile for."""
    return scan.runs_compiled(driver, chain.log_density) and 0 not in lead_shape(chain)


def runs_on_host(driver: str, chain: Chain) -> bool:
    """Whether a compiled pass without derivatives serves: the arrays hold numbers and nobody will differentiate.

    Laws and paths that are traced or differentiated have no kernel: there `compiled` runs as `auto` among the others.
    """
    if not runs_compiled(driver, chain) or any(concrete(array) is None for array in chain):
        return False
    if not is_torch_array(chain.log_density) or not sys.modules["torch"].is_grad_enabled():
        return True
    return not any(array.requires_grad for array in chain)


def _grouped(chain: Chain, lead: tuple[int, ...]) -> Chain:
    return Chain(*grouped(chain, (1, 3, 2), lead)[1])


def _on_host(chain: Chain, lead: tuple[int, ...]) -> list[np.ndarray]:
    # numba compiles anew for arrays that may not be written to, as JAX's are.
    return [np.require(concrete(array), requirements=("C", "W")) for array in _grouped(chain, lead)]


# The likelihood.


def log_prob_steps(chain: Chain, driver: str) -> Array:
    """Terms log p(y_t | y_<t), (..., time)."""
    if _runs_triton(driver, chain):
        return _triton_log_prob(chain)
    if not runs_compiled(driver, chain):
        return compiled(_generic_log_prob, chain.log_density, "driver")(chain, driver=driver)
    return compiled(_compiled_log_prob, chain.log_density)(chain)


def _runs_triton(driver: str, chain: Chain) -> bool:
    K = int(chain.log_initial.shape[-1])
    return runs_triton_by_series(driver, chain.log_density, "hidden Markov", (K,), _leads(chain))


def _triton_log_prob(chain: Chain) -> Array:
    from dynplat.scan.kernels import hidden_markov_triton

    lead = lead_shape(chain)
    steps = hidden_markov_triton.log_prob_steps(*_grouped(chain, lead), twin=_twin)
    return steps.reshape((*lead, steps.shape[-1]))


def _generic_log_prob(chain: Chain, *, driver: str) -> Array:
    return run_filter(chain, driver=driver).log_prob


def _compiled_log_prob(chain: Chain) -> Array:
    from dynplat.scan.kernels.hidden_markov import HIDDEN_MARKOV

    lead = lead_shape(chain)
    (steps,), _ = call_kernel(HIDDEN_MARKOV, _twin, _grouped(chain, lead))
    return array_namespace(steps).reshape(steps, (*lead, steps.shape[-1]))


def total_log_prob(chain: Chain, driver: str) -> Array | None:
    """Log-likelihoods of whole series, (...), where the compiled likelihood serves: it needs no terms of rows."""
    if _runs_triton(driver, chain) or not runs_compiled(driver, chain):
        return None
    return compiled(_compiled_total, chain.log_density)(chain)


def _compiled_total(chain: Chain) -> Array:
    from dynplat.scan.kernels.hidden_markov import HIDDEN_MARKOV_TOTAL

    lead = lead_shape(chain)
    (total,), _ = call_kernel(HIDDEN_MARKOV_TOTAL, _twin_of_total, _grouped(chain, lead))
    return array_namespace(total).reshape(total, lead)


def _twin_of_total(log_initial: Array, log_transition: Array, log_density: Array) -> tuple[Array]:
    """The same log-likelihoods by a function that can be differentiated again."""
    (steps,) = _twin(log_initial, log_transition, log_density)
    return (array_namespace(steps).sum(steps, axis=-1),)


def _twin(log_initial: Array, log_transition: Array, log_density: Array) -> tuple[Array]:
    """The same terms by a function that can be differentiated again."""
    return (run_filter(Chain(log_initial, log_transition, log_density), driver="auto").log_prob,)


# Filter and smoother, generic.


def run_filter(chain: Chain, *, driver: str) -> Laws:
    """Filter, by `fold`, or by products of log-matrices."""
    start, steps = _laid_out(chain)
    size = tree.length(steps)
    filtered, log_prob = update_log(start, steps.density[0])
    first = tree.add_time((start, filtered, log_prob))
    if size == 1:
        return Laws(*_time_last(first))
    rest = tree.rows(steps, 1, size)
    if choose_driver(driver, start, size) == "sequential":
        _, later = fold(_act_filter, filtered, rest)
    else:
        before = filtered[None]
        if size > 2:
            between = log_element(tree.rows(steps, 1, size - 1))
            before = _walk(filtered, tree.stretch(between, size - 2), with_start=True)
        predicted = predict_log(before, rest.transition)
        later = (predicted, *update_log(predicted, rest.density))
    return Laws(*_time_last(tree.concat(first, later)))


def run_smoother(chain: Chain, laws: Laws, *, driver: str) -> Array:
    r"""Posterior laws log p(x_t | y), (..., time, K), by the chain that runs backwards.

    .. math::
        p(x_t = i \mid x_{t+1} = j, y) = a_{ti} A_{t+1,ij} / p_{t+1,j}
    """
    if laws.filtered.shape[-2] == 1:
        return laws.filtered
    backward = _backward_chain(chain, laws)  # (time - 1, ..., new, old)
    last = laws.filtered[..., -1, :]
    xp = array_namespace(last)
    last = xp.broadcast_to(last, tuple(backward.shape[1:-1]))
    size = int(backward.shape[0])
    if choose_driver(driver, last, size + 1) == "sequential":
        _, smoothed = fold(_act_backward, last, (backward,), reverse=True)
    else:
        smoothed = xp.flip(_walk(last, xp.flip(backward, axis=0), with_start=False), axis=0)
    return time_last(xp.concat([smoothed, last[None]], axis=0), 1)


def run_pairs(chain: Chain, laws: Laws, smoothed: Array) -> Array:
    """Posterior laws log p(x_t = i, x_{t+1} = j | y), (..., time - 1, K, K)."""
    xp = array_namespace(smoothed)
    turned = time_last(_backward_chain(chain, laws), 2)
    return xp.matrix_transpose(turned + smoothed[..., 1:, :, None])


def _backward_chain(chain: Chain, laws: Laws) -> Array:
    """Logarithms of p(x_t = i | x_{t+1} = j, y), (time - 1, ..., j, i); -inf where x_{t+1} = j cannot be."""
    xp = array_namespace(laws.filtered)
    A = chain.log_transition
    A = A if A.shape[-3] == 1 else A[..., 1:, :, :]
    after = laws.predicted[..., 1:, None, :]
    possible = after > -xp.inf
    log_law = laws.filtered[..., :-1, :, None] + A - xp.where(possible, after, 0.0)
    log_law = xp.where(possible, log_law, -xp.inf)
    return time_first(xp.matrix_transpose(log_law), 2, log_law.ndim - 3)


def _walk(start: Array, matrices: Array, *, with_start: bool) -> Array:
    """Laws of a chain after each of its log-matrices (time, ..., K, K), normalised: a product for each row."""
    xp = array_namespace(start)
    first = xp.broadcast_to(start[..., None, :], (*start.shape, start.shape[-1]))[None]
    products = prefix(log_matmul, tree.concat(first, matrices), driver="balanced")[..., 0, :]
    total = log_sum_exp(products, axis=-1)[..., None]
    products = products - xp.where(total == -xp.inf, 0.0, total)
    return products if with_start else products[1:]


def _laid_out(chain: Chain) -> tuple[Array, LogStep]:
    """The law of the first state, and raw steps with time first, all with as many leading axes."""
    lead = lead_shape(chain)
    K = chain.log_initial.shape[-1]
    start = array_namespace(chain.log_initial).broadcast_to(chain.log_initial, (*lead, K))
    return start, LogStep(time_first(chain.log_transition, 2, len(lead)), time_first(chain.log_density, 1, len(lead)))


def _time_last(record: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    predicted, filtered, log_prob = record
    return time_last(predicted, 1), time_last(filtered, 1), time_last(log_prob, 0)


def _act_filter(state: Array, step: LogStep) -> tuple[Array, tuple[Array, Array, Array]]:
    predicted = predict_log(state, step.transition)
    state, log_prob = update_log(predicted, step.density)
    return state, (predicted, state, log_prob)


def _act_backward(state: Array, step: tuple[Array]) -> tuple[Array, Array]:
    state = predict_log(state, step[0])
    return state, state


# Paths, generic.


def run_best_path(chain: Chain, *, driver: str) -> tuple[Array, Array]:
    """Most likely path (..., time) and its log p(path, observations), (...)."""
    start, steps = _laid_out(chain)
    xp = array_namespace(start)
    size = tree.length(steps)
    score = start + steps.density[0]
    if size == 1:
        last = _argmax(score)
        return last[..., None], xp.max(score, axis=-1)
    rest = tree.rows(steps, 1, size)
    if choose_driver(driver, start, size) == "sequential":
        score, (_, came_from) = fold(act_max, score, rest)
    else:
        first = xp.broadcast_to(score[..., None, :], (*score.shape, score.shape[-1]))[None]
        elements = tree.stretch(log_element(rest), size - 1)
        scores = prefix(max_matmul, tree.concat(first, elements), driver="balanced")[..., 0, :]
        score = scores[-1]
        _, (_, came_from) = act_max(scores[:-1], rest)
    last = _argmax(score)
    came_from = xp.astype(came_from, last.dtype)
    _, path = fold(_follow, last, (came_from,), reverse=True)
    return time_last(xp.concat([path, last[None]], axis=0), 0), xp.max(score, axis=-1)


def _argmax(score: Array) -> Array:
    xp = array_namespace(score)
    return xp.astype(xp.argmax(score, axis=-1), index_type(score))


def _follow(state: Array, step: tuple[Array]) -> tuple[Array, Array]:
    state = take_rows(step[0], state[..., None], num_core=0)[..., 0]
    return state, state


def run_draws(chain: Chain, laws: Laws, uniform: Array) -> Array:
    """Draw paths given the observations from uniform numbers (draw, ..., time): (draw, ..., time)."""
    xp = array_namespace(uniform)
    state = draw_index(xp.exp(laws.filtered[..., -1, :]), uniform[..., -1])
    if uniform.shape[-1] == 1:
        return state[..., None]
    backward = _backward_chain(chain, laws)
    numbers = time_first(uniform[..., :-1], 0, uniform.ndim - 1)
    _, path = fold(_draw_before, state, (backward, numbers), reverse=True)
    return time_last(xp.concat([path, state[None]], axis=0), 0)


def _draw_before(state: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
    backward, uniform = step
    log_law = take_rows(backward, state[..., None], num_core=1)[..., 0, :]
    state = draw_index(array_namespace(log_law).exp(log_law), uniform)
    return state, state


# Passes on the host.


class HostFilter(NamedTuple):
    """What the compiled filter gave for the groups of a chain."""

    inputs: list[np.ndarray]
    outputs: tuple[np.ndarray, ...]


def filter_on_host(chain: Chain) -> HostFilter:
    """Run the compiled filter and keep all of it."""
    from dynplat.scan.kernels.hidden_markov import HIDDEN_MARKOV

    inputs = _on_host(chain, lead_shape(chain))
    return HostFilter(inputs, HIDDEN_MARKOV.run(inputs, keep=True))


def laws_on_host(chain: Chain, run: HostFilter) -> Laws:
    """What a filter knows, from its compiled form."""
    from dynplat.scan.kernels.hidden_markov_forward import LOGARITHMIC, OUTCOME

    log_initial, log_transition, _ = run.inputs
    log_prob, filtered, weights, _, status = run.outputs
    in_logs = (status[:, OUTCOME] == LOGARITHMIC)[:, None, None]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        A = np.exp(log_transition if log_transition.shape[1] == 1 else log_transition[:, 1:])
        moved = filtered[:, :-1, None, :] @ A
        start = np.broadcast_to(log_initial[:, None, :], (len(filtered), 1, filtered.shape[-1]))
        predicted = np.concatenate([start, np.log(moved[:, :, 0, :])], axis=1)
        predicted = np.where(in_logs, weights, predicted)
        filtered = np.where(in_logs, filtered, np.log(filtered))
    return Laws(*(_spread(array, chain) for array in (predicted, filtered, log_prob)))


def smooth_on_host(chain: Chain, run: HostFilter, *, pairs: bool) -> tuple[Array, Array | None]:
    """Posterior laws of states (..., time, K), and of pairs (..., time - 1, K, K): the adjoint of the likelihood."""
    from dynplat.scan.kernels.hidden_markov import HIDDEN_MARKOV
    from dynplat.scan.kernels.kernel import KINDS, in_parts

    log_prob, filtered = run.outputs[:2]
    groups, rows, K = filtered.shape
    laws = np.empty_like(filtered)
    wants_pairs = pairs and rows > 1
    joint = np.empty((groups, rows, K, K) if wants_pairs else (0, 0, 0, 0), filtered.dtype)
    nothing = np.empty((0, 0), filtered.dtype)
    wanted = np.array([[False, wants_pairs, True]], dtype=KINDS["flag"])
    arrays = (*run.inputs, *run.outputs, np.ones_like(log_prob), wanted, nothing, joint, laws)
    in_parts(HIDDEN_MARKOV.backward, groups, arrays, together=HIDDEN_MARKOV.together)
    if not pairs:
        return _spread(laws, chain), None
    joint = joint[:, 1:] if rows > 1 else np.empty((groups, 0, K, K), filtered.dtype)
    return _spread(laws, chain), _spread(joint, chain)


def best_path_on_host(chain: Chain) -> tuple[Array, Array]:
    """Most likely path and its log-probability (see `run_best_path`)."""
    from dynplat.scan.kernels.hidden_markov_paths import best_paths
    from dynplat.scan.kernels.kernel import in_parts, num_groups

    inputs = _on_host(chain, lead_shape(chain))
    groups = num_groups(inputs)
    score, paths = np.empty(groups, inputs[2].dtype), np.empty((groups, inputs[2].shape[1]), np.int64)
    in_parts(best_paths, groups, (*inputs, score, paths))
    return _spread(paths, chain), _spread(score, chain)


def draws_on_host(chain: Chain, run: HostFilter, uniform: Array) -> Array:
    """Paths given the observations (see `run_draws`)."""
    from dynplat.scan.kernels.hidden_markov_paths import draw_paths
    from dynplat.scan.kernels.kernel import in_parts

    log_prob, filtered, weights, _, status = run.outputs
    groups, rows = log_prob.shape
    numbers = concrete(uniform)
    assert numbers is not None
    numbers = np.require(np.moveaxis(numbers.reshape(-1, groups, rows), 0, 2), requirements=("C", "W"))
    paths = np.empty(numbers.shape, np.int64)
    in_parts(draw_paths, groups, (run.inputs[1], filtered, weights, status, numbers, paths))
    paths = np.ascontiguousarray(np.moveaxis(paths, 2, 0)).reshape(tuple(uniform.shape))
    return _as_index(paths, chain)


def _spread(array: np.ndarray, chain: Chain) -> Array:
    """Give an array of groups the leading axes of its chain and bring it to the chain's framework."""
    array = array.reshape((*lead_shape(chain), *array.shape[1:]))
    return _as_index(array, chain) if array.dtype.kind == "i" else asarray_like(array, chain.log_density)


def _as_index(array: np.ndarray, chain: Chain) -> Array:
    like = chain.log_density
    narrow = "float32" in str(like.dtype)
    return asarray_like(array.astype(np.int32) if narrow else array, like)
