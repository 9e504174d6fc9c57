"""Quadrature: states and weights whose averages are integrals, for maps that can be evaluated anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dynplat.errors import ArgumentError
from dynplat_koopman.dictionaries.orthogonal import Legendre
from dynplat_koopman.pairs import Pairs

#: Nodes of a tensor grid beyond which a rule is refused.
_MOST = 10_000_000


class Quadrature(NamedTuple):
    """A rule: the average of f over a law is about sum_m weights_m f(points_m).

    Attributes:
        points: States, (M, d).
        weights: Weights, (M,), which sum to 1.
    """

    points: np.ndarray
    weights: np.ndarray

    def pairs(self, map_of: Callable[[np.ndarray], np.ndarray], *, step: float | None = None) -> Pairs:
        """Snapshot pairs (x, map_of(x)) with these weights; `map_of` takes and gives (M, d)."""
        return Pairs(self.points, map_of(self.points), weights=self.weights, step=step)


def gauss_legendre(num_nodes: int, low: ArrayLike, high: ArrayLike) -> Quadrature:
    """Gauss-Legendre under the uniform law on a box: exact for degrees up to 2 num_nodes - 1 in each variable.

    Args:
        num_nodes: Nodes in each variable.
        low: Lower ends of the box, (d,).
        high: Upper ends, (d,).

    Raises:
        ArgumentError: The box is empty, or the grid too large.
    """
    bottom, top = _box(low, high)
    _check(num_nodes, bottom.size)
    nodes = np.polynomial.legendre.leggauss(num_nodes)[0]
    # Christoffel's numbers: a sum of squares keeps the digits that the closed form of the weights loses at the ends.
    weights = 1.0 / (Legendre(1, num_nodes - 1)(nodes[:, None]) ** 2).sum(axis=1)
    return _tensor([a + 0.5 * (nodes + 1) * (b - a) for a, b in zip(bottom, top, strict=True)], weights)


def gauss_hermite(num_nodes: int, mean: ArrayLike, sd: ArrayLike) -> Quadrature:
    """Gauss-Hermite under independent normal laws: exact for degrees up to 2 num_nodes - 1 in each variable.

    Args:
        num_nodes: Nodes in each variable.
        mean: Means, (d,).
        sd: Standard deviations, (d,).

    Raises:
        ArgumentError: A standard deviation is not positive, or the grid too large.
    """
    centre, scale = _vector(mean), _vector(sd)
    if centre.shape != scale.shape or centre.ndim != 1 or not (scale > 0).all():
        raise ArgumentError(f"`sd` must be positive, one for each of {centre.size} means; got {sd}.")
    _check(num_nodes, centre.size)
    nodes, weights = np.polynomial.hermite_e.hermegauss(num_nodes)
    return _tensor([m + s * nodes for m, s in zip(centre, scale, strict=True)], weights)


def periodic_trapezoid(num_nodes: int, periods: ArrayLike) -> Quadrature:
    """Trapezoidal rule of periodic variables, under the uniform law: exact for waves of orders below num_nodes.

    Args:
        num_nodes: Nodes in each variable.
        periods: Periods, (d,); a node is at 0.

    Raises:
        ArgumentError: A period is not positive, or the grid too large.
    """
    _, ends = _box(np.zeros(np.size(periods)), periods)
    _check(num_nodes, ends.size)
    return _tensor([end * np.arange(num_nodes) / num_nodes for end in ends], np.ones(num_nodes))


def monte_carlo(num_points: int, low: ArrayLike, high: ArrayLike, *, seed: int) -> Quadrature:
    """Independent points of the uniform law on a box: errors fall as 1 / sqrt(num_points), whatever the dimension.

    Args:
        num_points: Number of points, M.
        low: Lower ends of the box, (d,).
        high: Upper ends, (d,).
        seed: Seed of the points.

    Raises:
        ArgumentError: The box is empty, or there is no point.
    """
    bottom, top = _box(low, high)
    _check(num_points, 1)
    points = bottom + (top - bottom) * np.random.default_rng(seed).random((num_points, bottom.size))
    return Quadrature(points, np.full(num_points, 1.0 / num_points))


def _tensor(nodes: list[np.ndarray], weights: np.ndarray) -> Quadrature:
    """All combinations of the nodes of each variable, which share their weights."""
    points = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, len(nodes))
    total = np.ones(1)
    for _ in nodes:
        total = np.multiply.outer(total, weights / weights.sum()).reshape(-1)
    return Quadrature(points, total)


def _box(low: ArrayLike, high: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    bottom, top = _vector(low), _vector(high)
    is_box = bottom.shape == top.shape and bottom.ndim == 1
    if not is_box or not (np.isfinite(bottom) & np.isfinite(top) & (bottom < top)).all():
        raise ArgumentError(f"a box must have finite ends, each upper one above the lower; got {low} and {high}.")
    return bottom, top


def _vector(value: ArrayLike) -> np.ndarray:
    return np.atleast_1d(np.asarray(value, dtype=np.float64))


def _check(num_nodes: int, num_variables: int) -> None:
    if num_nodes < 1:
        raise ArgumentError(f"there must be at least 1 node; got {num_nodes}.")
    if num_nodes**num_variables > _MOST:
        raise ArgumentError(
            f"{num_nodes} nodes in each of {num_variables} variables are more than {_MOST:,} states; use `monte_carlo`."
        )
