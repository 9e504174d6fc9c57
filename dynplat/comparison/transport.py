r"""Optimal transport between two populations of particles, exactly.

The Kantorovich problem of two equally weighted populations :math:`x_1, \dots, x_n` and :math:`y_1, \dots, y_m` with
costs :math:`c_{ij}` is

.. math:: \min_{\pi \ge 0} \sum_{ij} \pi_{ij} c_{ij}, \qquad \sum_j \pi_{ij} = 1/n, \quad \sum_i \pi_{ij} = 1/m .

It is a linear programme. Populations of one size have a permutation among its solutions (Birkhoff), which the
assignment algorithm finds; others are solved by the network simplex of `POT <https://pythonot.github.io>`_. On a line
the solution is known: quantiles go to quantiles.
"""

from __future__ import annotations

import numpy as np

from dynplat.errors import InferenceError

#: Pivots after which the network simplex gives up; thousands of particles take a few millions.
_MAX_PIVOTS = 100_000_000


def transport_plan(cost: np.ndarray) -> np.ndarray:
    """An optimal plan between equally weighted particles.

    Args:
        cost: Costs, (n, m).

    Returns:
        The plan, (n, m): rows add up to 1/n and columns to 1/m.

    Raises:
        InferenceError: The solver gave up.
    """
    n, m = cost.shape
    if n == m:
        plan = np.zeros((n, m))
        plan[np.arange(n), matching(cost)] = 1.0 / n
        return plan
    import ot

    plan, log = ot.emd([], [], cost, numItermax=_MAX_PIVOTS, log=True)
    if log["warning"] is not None:
        raise InferenceError(f"optimal transport between {n} and {m} particles was not solved: {log['warning']}")
    return plan


def transport_cost(cost: np.ndarray) -> float:
    """Smallest mean cost of moving one population to another, with costs (n, m)."""
    n, m = cost.shape
    if n == m:
        return float(cost[np.arange(n), matching(cost)].mean())
    return float(np.sum(transport_plan(cost) * cost))


def matching(cost: np.ndarray) -> np.ndarray:
    """Partner of each particle in an optimal assignment of two populations of one size, (n,), with costs (n, n)."""
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(cost)[1]


def line_costs(first: np.ndarray, second: np.ndarray, power: int = 2) -> np.ndarray:
    """Smallest mean of a power (at least 1) of the distance on lines, (line,), of populations (n, line), (m, line)."""
    n, m = len(first), len(second)
    first, second = np.sort(first, axis=0), np.sort(second, axis=0)
    if n == m:
        return np.mean(np.abs(first - second) ** power, axis=0)
    # Both quantile functions are constant between these levels, which are counted in units of 1 / (n m).
    levels = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    width = np.diff(levels) / (n * m)
    return width @ np.abs(first[levels[:-1] // m] - second[levels[:-1] // n]) ** power
