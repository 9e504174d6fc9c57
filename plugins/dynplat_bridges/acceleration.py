r"""Faster turns of a fixed-point iteration: squared extrapolation of parameters.

Where the snapshots say little of some direction of the parameters, turns creep along it by steps that shrink slowly.
From three values in a row, :math:`r = \theta_1 - \theta_0` and :math:`v = (\theta_2 - \theta_1) - r`,

.. math:: \theta' = \theta_0 - 2 a r + a^2 v, \qquad a = -\|r\| / \|v\| \le -1,

goes as far as a creep at a constant ratio would. Positive parameters are taken as logarithms, others in units of their
size. Nothing warrants that :math:`\theta'` is better: whoever uses it compares, and goes back.

Source: Varadhan and Roland (2008), Simple and globally convergent methods for accelerating the convergence of any EM
algorithm (scheme S3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

#: Longest extrapolation -a, and the least size of a parameter that is its own unit.
_LONGEST, _SMALLEST = 8.0, 1e-3


def extrapolate(
    turns: Sequence[Mapping[str, np.ndarray]], free: Sequence[str], positive: Sequence[str]
) -> dict[str, np.ndarray] | None:
    """Extrapolate from three turns.

    Args:
        turns: All parameters of three turns in a row.
        free: Names of those that move.
        positive: Names of those that stay positive.

    Returns:
        All parameters; None where turns do not creep, so that there is nothing to gain.
    """
    if not free:
        return None
    units = {name: np.maximum(np.abs(turns[2][name]), _SMALLEST) for name in free}
    points = [
        np.concatenate(
            [
                (np.log(np.maximum(turn[name], 1e-300)) if name in positive else turn[name] / units[name]).ravel()
                for name in free
            ]
        )
        for turn in turns
    ]
    r = points[1] - points[0]
    v = points[2] - points[1] - r
    size = float(np.linalg.norm(v))
    if not size > 0:
        return None
    a = -min(float(np.linalg.norm(r)) / size, _LONGEST)
    if a >= -1.0:
        return None
    point = points[0] - 2.0 * a * r + a * a * v
    found, place = dict(turns[2]), 0
    for name in free:
        shape = turns[2][name].shape
        part = point[place : place + turns[2][name].size].reshape(shape)
        found[name] = np.exp(part) if name in positive else part * units[name]
        place += turns[2][name].size
    return found if all(np.isfinite(value).all() for value in found.values()) else None
