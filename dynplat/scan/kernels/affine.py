r"""Compiled affine recurrences, diagonal and dense, real and complex, and their adjoints.

.. math::
    x_t = A_t x_{t-1} + b_t, \qquad t = 0, \dots, T - 1, \qquad x_{-1} \text{ given};

with `settings` REVERSE time runs the other way, from x_T. Arrays: multipliers (G, T or 1, n), the diagonals, or
(G, T or 1, n, n); offsets (G, T or 1, n); initial (G, n), the state before the first row; states (G, T, n). Axis 0 is
the group, of length 1 where all groups share an array, so that a layer's constants are read once and never repeated.

**Adjoint.** With cotangents g_t of the states,

.. math::
    \lambda_t = g_t + A_{t+1}^\top \lambda_{t+1}, \quad \bar b_t = \lambda_t, \quad
    \bar A_t = \lambda_t x_{t-1}^\top, \quad \bar x_{-1} = A_0^\top \lambda_0 .

This is JAX's convention for complex numbers too. In torch's (`settings` CONJUGATE) A_t and x_{t-1} are conjugated.
Gradients of what rows or groups share are sums that are taken on the way: nothing of the size of the states is kept but
the states.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from numba import njit

from dynplat.scan.kernels import affine_dense as dense
from dynplat.scan.kernels import affine_diagonal as diagonal
from dynplat.scan.kernels.compiling import handler
from dynplat.scan.kernels.frame import answers_metadata, arguments, results
from dynplat.scan.kernels.kernel import Kernel, Shape, Spec
from dynplat.scan.kernels.tasks import (
    HAS_POOL,
    claim,
    finish,
    frame_of,
    is_job,
    job_at,
    leave,
    num_threads,
    own_address,
    parts_of,
)

diagonal_forward, diagonal_backward = diagonal.forward, diagonal.backward
dense_forward, dense_backward = dense.forward, dense.backward


#: Numbers in the states of a call below which help costs more than it brings.
_SMALL = 200_000


@njit(nogil=True)
def _num_parts(frame, states):
    """Parts of a call: some of the groups each."""
    return min(states.shape[0], num_threads(frame)) if states.size >= _SMALL else 1


@njit(nogil=True)
def _is_apart(states, gradient, wanted):
    """Whether each group has a gradient of its own, or nobody wants it."""
    return wanted == 0 or gradient.shape[0] == states.shape[0]


@njit(nogil=True)
def _own(array, groups, share):
    """The groups of one part of several; all of what groups share."""
    part, parts = share
    if array.shape[0] != groups:
        return array[0:]
    return array[groups * part // parts : groups * (part + 1) // parts]


@lru_cache(maxsize=4)
def _diagonal_handlers(number: Any) -> tuple[Any, Any]:
    forward_reads, forward_writes = DIAGONAL.forward_types(number)
    backward_reads, backward_writes = DIAGONAL.backward_types(number)

    def call_forward(address: int) -> int:
        if not is_job(address) and answers_metadata(address):
            return 0
        parts = 1
        if HAS_POOL and not is_job(address):
            (states,) = results(address, forward_writes)
            parts = _num_parts(address, states)
        job = job_at(address, own_address(), parts)  # pyright: ignore[reportCallIssue]
        part = claim(job)
        while part >= 0:
            a, b, initial, settings, lanes = arguments(frame_of(job), forward_reads)
            (states,) = results(frame_of(job), forward_writes)
            G, share = states.shape[0], (part, parts_of(job))
            diagonal_forward(
                _own(a, G, share), _own(b, G, share), _own(initial, G, share), settings, lanes, _own(states, G, share)
            )
            finish(job)
            part = claim(job)
        leave(job, address)
        return 0

    def call_backward(address: int) -> int:
        if not is_job(address) and answers_metadata(address):
            return 0
        parts = 1
        if HAS_POOL and not is_job(address):
            read = arguments(address, backward_reads)
            states, wanted = read[5], read[7]
            # A sum over groups is one part's work.
            d_a, d_b, d_initial = results(address, backward_writes)
            if _is_apart(states, d_a, wanted[0, 0]) and _is_apart(states, d_b, wanted[0, 1]):
                if _is_apart(states, d_initial, wanted[0, 2]):
                    parts = _num_parts(address, states)
        job = job_at(address, own_address(), parts)  # pyright: ignore[reportCallIssue]
        part = claim(job)
        while part >= 0:
            a, b, initial, settings, lanes, states, seen, wanted = arguments(frame_of(job), backward_reads)
            d_a, d_b, d_initial = results(frame_of(job), backward_writes)
            G, share = states.shape[0], (part, parts_of(job))
            diagonal_backward(
                _own(a, G, share), _own(b, G, share), _own(initial, G, share), settings, lanes,
                _own(states, G, share), _own(seen, G, share), wanted,
                _own(d_a, G, share), _own(d_b, G, share), _own(d_initial, G, share),
            )  # fmt: skip
            finish(job)
            part = claim(job)
        leave(job, address)
        return 0

    name = f"{DIAGONAL.name} {number}"
    return handler(call_forward, name), handler(call_backward, name)


def _shapes(inputs: Sequence[Shape], keep: bool) -> tuple[Shape, ...]:
    multipliers, offsets = inputs[:2]
    groups = max(shape[0] for shape in inputs)
    return ((groups, max(multipliers[1], offsets[1]), offsets[2]),)


DIAGONAL = Kernel(
    name="affine_diagonal",
    inputs=(
        Spec("multipliers", 3, "number", differentiable=True),
        Spec("offsets", 3, "number", differentiable=True),
        Spec("initial", 2, "number", differentiable=True),
        Spec("settings", 2, "flag"),
        Spec("lanes", 2, "count"),
    ),
    outputs=(Spec("states", 3, "number"),),
    num_values=1,
    shapes=_shapes,
    forward=diagonal_forward,
    backward=diagonal_backward,
    handlers=_diagonal_handlers,
    lanes=4,
)

DENSE = Kernel(
    name="affine_dense",
    inputs=(
        Spec("multipliers", 4, "number", differentiable=True),
        Spec("offsets", 3, "number", differentiable=True),
        Spec("initial", 2, "number", differentiable=True),
        Spec("settings", 2, "flag"),
    ),
    outputs=(Spec("states", 3, "number"),),
    num_values=1,
    shapes=_shapes,
    forward=dense_forward,
    backward=dense_backward,
)
