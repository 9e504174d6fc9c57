r"""Affine maps: the semigroup whose products are the states of linear recurrences.

A step of a linear recurrence is the map

.. math::
    x_t = A_t x_{t-1} + b_t ,

and two maps, one after the other, are a map of the same form: `combine` is associative. *Diagonal* maps multiply
entry by entry, A = diag(a), as deep state-space layers do; *dense* ones have matrices. Numbers are real or complex.

The product of many maps holds the product of their multipliers, which `act` never forms: where that overflows, a
product may be infinite or NaN though all states are finite.

Source: Blelloch (1990), Prefix sums and their applications, section 1.4; for deep layers Smith, Warrington and
Linderman (2023), Simplified state space layers for sequence modeling, arXiv:2208.04933, appendix H.
"""

from __future__ import annotations

from typing import NamedTuple

from dynplat.arrays import Array, array_namespace, eye_like


class DiagonalMap(NamedTuple):
    """x -> a x + b, entry by entry.

    Attributes:
        multiplier: a, (..., n).
        offset: b, (..., n).
    """

    multiplier: Array
    offset: Array


class DenseMap(NamedTuple):
    """x -> A x + b.

    Attributes:
        multiplier: A, (..., n, n), (new, old).
        offset: b, (..., n).
    """

    multiplier: Array
    offset: Array


def combine_diagonal(first: DiagonalMap, second: DiagonalMap) -> DiagonalMap:
    """Apply `first`, then `second`: x -> a_2 a_1 x + (a_2 b_1 + b_2)."""
    return DiagonalMap(second.multiplier * first.multiplier, act_diagonal(first.offset, second))


def combine_dense(first: DenseMap, second: DenseMap) -> DenseMap:
    """Apply `first`, then `second`: x -> A_2 A_1 x + (A_2 b_1 + b_2)."""
    return DenseMap(second.multiplier @ first.multiplier, act_dense(first.offset, second))


def act_diagonal(state: Array, step: DiagonalMap) -> Array:
    """Return a x + b for states (..., n)."""
    return step.multiplier * state + step.offset


def act_dense(state: Array, step: DenseMap) -> Array:
    """Return A x + b for states (..., n)."""
    return (step.multiplier @ state[..., None])[..., 0] + step.offset


def diagonal_identity(like: DiagonalMap) -> DiagonalMap:
    """Return the map that changes nothing, with the shapes, dtype and device of `like`."""
    xp = array_namespace(like.multiplier)
    return DiagonalMap(xp.ones_like(like.multiplier), xp.zeros_like(like.offset))


def dense_identity(like: DenseMap) -> DenseMap:
    """Return the map that changes nothing, with the shapes, dtype and device of `like`."""
    xp = array_namespace(like.multiplier)
    eye = eye_like(like.multiplier.shape[-1], like.multiplier)
    return DenseMap(xp.zeros_like(like.multiplier) + eye, xp.zeros_like(like.offset))
