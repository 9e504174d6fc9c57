r"""Log-matrices: the semigroup whose products are likelihoods of hidden Markov chains, and its max-plus twin.

A step of a chain with K states is a matrix of log potentials,

.. math::
    L_{ij} = \log p(x = j \mid x^- = i) + \log p(y \mid x = j),

row = old state, column = new state. Summing out the state between two steps is a product of matrices taken in logs
(`log_matmul`); maximising over it instead gives the best path (`max_matmul`). Both are associative, with one identity.
A product of all steps, applied to the law of the first row, holds log p(y, x_T = j).

Logarithms of 0 are ordinary numbers here: a sum of nothing is -inf, its gradient is 0 and nothing becomes NaN. The
products compare every term with the largest one of its own sum, so that no term is lost that a sum could show.

Source: Rabiner (1989), A tutorial on hidden Markov models, Proceedings of the IEEE 77, 257-286; as a scan: Hassan,
Särkkä and García-Fernández (2021), Temporal parallelization of inference in hidden Markov models, IEEE Transactions on
Signal Processing 69, 4875-4887, doi:10.1109/TSP.2021.3103338.
"""

from __future__ import annotations

from typing import NamedTuple

from dynplat.arrays import Array, array_namespace, eye_like, stop_gradient


class LogStep(NamedTuple):
    """A raw step of a hidden Markov chain.

    Attributes:
        transition: log p(x = j | x^- = i), (..., K, K), (old, new).
        density: log p(y | x = j), (..., K).
    """

    transition: Array
    density: Array


def log_sum_exp(values: Array, axis: int) -> Array:
    """Return log sum exp along an axis; a sum of zeros is -inf, with gradient 0."""
    xp = array_namespace(values)
    largest = stop_gradient(xp.max(values, axis=axis, keepdims=True))
    largest = xp.where(largest == -xp.inf, 0.0, largest)
    total = xp.sum(xp.exp(values - largest), axis=axis)
    nothing = total == 0
    largest = xp.squeeze(largest, axis=axis)
    return xp.where(nothing, -xp.inf, xp.log(xp.where(nothing, 1.0, total)) + largest)


def log_matmul(first: Array, second: Array) -> Array:
    """Product of log-matrices (..., K, K), the earlier one first: log sum_k exp(first_ik + second_kj)."""
    return log_sum_exp(first[..., :, :, None] + second[..., None, :, :], axis=-2)


def max_matmul(first: Array, second: Array) -> Array:
    """Max-plus product of log-matrices (..., K, K), the earlier one first: max_k first_ik + second_kj."""
    products = first[..., :, :, None] + second[..., None, :, :]
    return array_namespace(products).max(products, axis=-2)


def log_identity(num_states: int, like: Array) -> Array:
    """Return the neutral log-matrix (K, K): 0 on the diagonal, -inf elsewhere."""
    eye = eye_like(num_states, like)
    xp = array_namespace(like)
    return xp.where(eye > 0, 0.0 * eye, -xp.inf)


def log_element(step: LogStep) -> Array:
    """Return the log-matrix of a raw step."""
    return step.transition + step.density[..., None, :]


def predict_log(state: Array, transition: Array) -> Array:
    """Push a log-vector (..., K) through a transition (..., K, K)."""
    return log_sum_exp(state[..., :, None] + transition, axis=-2)


def update_log(predicted: Array, density: Array) -> tuple[Array, Array]:
    """Let a predicted law (..., K) meet log densities (..., K).

    Returns:
        The filtered law in logs, and log p(y | past), (...). Where the observation is impossible both are -inf.
    """
    joint = predicted + density
    log_prob = log_sum_exp(joint, axis=-1)
    xp = array_namespace(joint)
    return joint - xp.where(log_prob == -xp.inf, 0.0, log_prob)[..., None], log_prob


def act_log(state: Array, step: LogStep) -> tuple[Array, Array]:
    """Let a filtered law in logs (..., K) meet a raw step; return the new law and log p(y | past)."""
    return update_log(predict_log(state, step.transition), step.density)


def act_max(score: Array, step: LogStep) -> tuple[Array, tuple[Array, Array]]:
    """Let the scores of the best paths to each state (..., K) meet a raw step.

    Returns:
        The new scores; and, to be kept, these scores and the state each of them comes from, (..., K).
    """
    xp = array_namespace(score)
    arrivals = score[..., :, None] + step.transition
    score = xp.max(arrivals, axis=-2) + step.density
    return score, (score, xp.argmax(arrivals, axis=-2))
