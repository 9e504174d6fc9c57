"""Affine recurrences to test with: random ones, and a dense twin that solves for all states at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class RandomAffine(NamedTuple):
    """A random recurrence, in the layout of `dynplat.scan.affine`.

    Attributes:
        multipliers: (..., T or 1, n) or (..., T or 1, n, n).
        offsets: (..., T, n).
        initial: (..., n).
    """

    multipliers: np.ndarray
    offsets: np.ndarray
    initial: np.ndarray


def random_affine(
    rng: np.random.Generator,
    *,
    size: int,
    num_steps: int,
    lead: tuple[int, ...] = (),
    dense: bool = False,
    moving: bool = True,
    share: bool = False,
    dtype: str = "float64",
    scale: float = 0.7,
    zeros: float = 0.0,
) -> RandomAffine:
    """Draw a random recurrence.

    Args:
        rng: Source of random numbers.
        size: Number of channels.
        num_steps: Number of rows.
        lead: Leading axes.
        dense: Whether multipliers are matrices.
        moving: Whether multipliers change with time.
        share: Whether all leading indices share the multipliers.
        dtype: Real or complex dtype.
        scale: Root mean square of what a step multiplies the length of a state with.
        zeros: Part of the multipliers that are 0.
    """

    def numbers(shape: tuple[int, ...]) -> np.ndarray:
        found = rng.standard_normal(shape)
        if np.dtype(dtype).kind == "c":
            found = (found + 1j * rng.standard_normal(shape)) / np.sqrt(2.0)
        return found.astype(dtype)

    times = (() if share else lead) + (num_steps if moving else 1,)
    core = (size, size) if dense else (size,)
    multipliers = numbers((*times, *core)) * np.asarray(scale / (np.sqrt(size) if dense else 1.0)).astype(dtype)
    multipliers = np.where(rng.random(multipliers.shape) < zeros, np.zeros((), dtype), multipliers)
    return RandomAffine(multipliers, numbers((*lead, num_steps, size)), numbers((*lead, size)))


def dense_affine_states(
    multipliers: np.ndarray, offsets: np.ndarray, initial: np.ndarray, *, reverse: bool = False
) -> np.ndarray:
    """States (T, n) of one recurrence, as the solution of one linear system of T n equations.

    Its rows are x_t - A_t x_{t-1} = b_t, with A_0 x_{-1} on the right of the first (of the last with `reverse`).

    Args:
        multipliers: Matrices (T, n, n) or their diagonals (T, n).
        offsets: (T, n).
        initial: (n,).
        reverse: Whether time runs from the last row to the first.
    """
    if multipliers.ndim == 2:
        multipliers = np.eye(multipliers.shape[-1]) * multipliers[:, None, :]
    T, n = offsets.shape
    system = np.eye(T * n, dtype=np.result_type(multipliers, offsets, initial))
    right = offsets.astype(system.dtype).reshape(T * n)
    for t in range(T):
        before = t + 1 if reverse else t - 1
        here = slice(t * n, (t + 1) * n)
        if 0 <= before < T:
            system[here, before * n : (before + 1) * n] = -multipliers[t]
        else:
            right[here] += multipliers[t] @ initial
    return np.linalg.solve(system, right).reshape(T, n)
