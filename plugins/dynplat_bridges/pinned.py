r"""A linear reference between two known places, and whole paths through known places.

With :math:`x(t) \mid x(s) \sim N(F_1 x(s) + c_1, Q_1)` and :math:`x(e) \mid x(t) \sim N(F_2 x(t) + c_2, Q_2)`, a place
between two known ones is

.. math::
    x(t) \mid x(s), x(e) \sim N\bigl((I - K F_2)(F_1 x(s) + c_1) + K (x(e) - c_2),\ (I - K F_2) Q_1\bigr), \qquad
    K = Q_1 F_2^\top (F_2 Q_1 F_2^\top + Q_2)^{-1} .
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dynplat.arrays import Array, Random, array_namespace, asarray_like, solve, symmetrise, to_numpy
from dynplat.errors import ArgumentError
from dynplat.process.gaussian_predictive import draw_noise
from dynplat_bridges.references.base import AbstractLinearReference, LinearTransition


@dataclass(frozen=True, eq=False)
class LinearLaw:
    """A linear reference with its numbers.

    Args:
        reference: The reference.
        parameters: All parameters of its drift, (..., core dimensions).
        diffusion: Its diffusion, (..., channel).
    """

    reference: AbstractLinearReference
    parameters: Mapping[str, Array]
    diffusion: Array

    def transition(self, gaps: np.ndarray, pieces: np.ndarray | None = None) -> LinearTransition:
        """The transitions over gaps (gap,): arrays (..., gap, channel, channel)."""
        return self.reference.transition(gaps, self.parameters, self.diffusion)

    def piece(self, k: int) -> LinearLaw:
        """The reference after snapshot k: the same everywhere."""
        return self


@dataclass(frozen=True, eq=False)
class PiecewiseLaw:
    """Linear references that follow one another, each from a snapshot to the next; the last one goes on.

    Args:
        pieces: One reference for each pair of neighbours.
    """

    pieces: tuple[LinearLaw, ...]

    @property
    def diffusion(self) -> Array:
        """Diffusion of the first piece, (..., channel), which says in which framework a calculation runs."""
        return self.pieces[0].diffusion

    def piece(self, k: int) -> LinearLaw:
        """The reference after snapshot k."""
        return self.pieces[min(k, len(self.pieces) - 1)]

    def transition(self, gaps: np.ndarray, pieces: np.ndarray) -> LinearTransition:
        """The transitions over gaps (gap,), each after the snapshot of the given number."""
        xp = array_namespace(self.diffusion)
        if not len(gaps):
            return self.piece(0).transition(gaps)
        found = [self.piece(int(k)).transition(gaps[q : q + 1]) for q, k in enumerate(pieces)]
        F, c, Q = zip(*found, strict=True)
        return LinearTransition(xp.concat(F, axis=-3), xp.concat(c, axis=-2), xp.concat(Q, axis=-3))


class Pinned(NamedTuple):
    """The law x(t) | x(s), x(e) ~ N(A x(s) + B x(e) + g, P) at queries t.

    Attributes:
        A: Weights of the place before, (..., query, channel, channel).
        B: Weights of the place after, (..., query, channel, channel); zeros where there is none.
        g: Offsets, (..., query, channel).
        P: Covariances, (..., query, channel, channel).
    """

    A: Array
    B: Array
    g: Array
    P: Array


def pin(
    law: LinearLaw | PiecewiseLaw, starts: np.ndarray, times: np.ndarray, ends: np.ndarray, pieces: np.ndarray
) -> Pinned:
    """Pin a linear reference at two times around each query.

    Args:
        law: The reference.
        starts: Times of the known places before, (query,).
        times: Times of the queries, (query,), not before `starts`.
        ends: Times of the known places after, (query,), after `starts` and not before `times`; infinity: there is none.
        pieces: Number of the last snapshot not after each query, (query,).
    """
    xp = array_namespace(law.diffusion)
    is_open = ~np.isfinite(ends)
    F1, c1, Q1 = law.transition(times - starts, pieces)
    F2, c2, Q2 = law.transition(np.where(is_open, 1.0, ends - times), pieces)
    moved = F2 @ Q1
    total = symmetrise(moved @ xp.matrix_transpose(F2) + Q2)
    K = xp.matrix_transpose(solve(total, moved))
    keep = asarray_like(np.where(is_open, 0.0, 1.0), F1)
    K = K * keep[:, None, None]
    stay = asarray_like(np.eye(F1.shape[-1]), F1) - K @ F2
    P = stay @ Q1 @ xp.matrix_transpose(stay) + K @ Q2 @ xp.matrix_transpose(K)
    g = (stay @ c1[..., None] - K @ c2[..., None])[..., 0]
    return Pinned(stay @ F1, K, g, symmetrise(P))


@dataclass(frozen=True, eq=False)
class Route:
    """Query times among the times of snapshots.

    Args:
        times: Query times, (query,), non-decreasing.
        known: Times of the snapshots, (snapshot,), increasing.
        before: Number of the last snapshot not after each query, (query,).
        ends: Time of the next snapshot, (query,); infinity after the last one.
    """

    times: np.ndarray
    known: np.ndarray
    before: np.ndarray
    ends: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """Time of the last snapshot not after each query, (query,)."""
        return self.known[self.before]

    @property
    def is_inside(self) -> np.ndarray:
        """Whether a query has a snapshot after it, (query,)."""
        return np.isfinite(self.ends)

    @property
    def after(self) -> np.ndarray:
        """Number of the next snapshot, (query,); the last one where there is none."""
        return np.minimum(self.before + 1, len(self.known) - 1)

    @property
    def follows(self) -> np.ndarray:
        """Whether the query before lies in the same interval, (query,): a path goes on from there."""
        return np.concatenate([[False], self.before[1:] == self.before[:-1]]) if len(self.times) else np.zeros(0, bool)


def route(times: Array, known: np.ndarray) -> Route:
    """Place query times, (query,) or (..., 1, query), among the times of snapshots.

    Raises:
        ArgumentError: A query lies before the first snapshot, or queries decrease.
    """
    asked = to_numpy(times).astype(np.float64)
    if asked.ndim > 1:
        asked = asked.reshape(-1, asked.shape[-1])
        if len(asked) != 1:
            raise ArgumentError(f"`times` of one population must be (1, query); got shape {np.shape(times)}.")
        asked = asked[0]
    if (np.diff(asked) < 0).any():
        raise ArgumentError("`times` must not decrease along the query axis; sort them.")
    if asked.size and asked[0] < known[0]:
        raise ArgumentError(
            f"`times` must not lie before the first snapshot, at {known[0]:g}: the reference starts there; got "
            f"{asked[0]:g}."
        )
    before = np.searchsorted(known, asked, side="right") - 1
    return Route(asked, known, before, np.append(known[1:], np.inf)[before])


def draw_paths(law: LinearLaw | PiecewiseLaw, places: Array, way: Route, random: Random) -> Array:
    """Draw whole paths of the reference that pass given places at the snapshots.

    Args:
        law: The reference.
        places: Places at the snapshots, (draw, ..., snapshot, channel).
        way: The queries.
        random: Source of random numbers.

    Returns:
        Places at the queries, (draw, ..., query, channel).
    """
    xp = array_namespace(places)
    starts = np.where(way.follows, np.concatenate([[0.0], way.times[:-1]]), way.starts)
    A, B, g, P = pin(law, starts, way.times, way.ends, way.before)
    noise = draw_noise(P, (*places.shape[:-2], len(way.times), places.shape[-1]), random) + g
    drawn: list[Array] = []
    for q, (follows, before, after) in enumerate(zip(way.follows, way.before, way.after, strict=True)):
        x = drawn[-1] if follows else places[..., int(before), :]
        y = places[..., int(after), :]
        moved = A[..., q, :, :] @ x[..., None] + B[..., q, :, :] @ y[..., None]
        drawn.append(moved[..., 0] + noise[..., q, :])
    return xp.stack(drawn, axis=-2) if drawn else places[..., :0, :]
