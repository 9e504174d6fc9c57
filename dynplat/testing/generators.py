"""Random inputs for tests: one generator for each kind of object."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynplat.arrays import Observations


class RandomLinearGaussian(NamedTuple):
    """A random linear-Gaussian chain and one series drawn from it.

    Attributes:
        parameters: Keyword arguments of `dynplat.process.LinearGaussian` (NumPy), without leading axes.
        values: (T, p); cells that are not observed hold other numbers.
        mask: True = observed, (T, p).
        inputs: (T, k), or None.
        times: Irregular times, (T,), some of them equal.
    """

    parameters: dict[str, np.ndarray]
    values: np.ndarray
    mask: np.ndarray
    inputs: np.ndarray | None
    times: np.ndarray


def random_covariance(rng: np.random.Generator, size: int, rank: int) -> np.ndarray:
    """Draw a positive semi-definite matrix (size, size) of the given rank with entries of order 1."""
    factor = rng.standard_normal((size, rank))
    return factor @ factor.T / max(rank, 1)


def random_linear_gaussian(
    rng: np.random.Generator,
    *,
    num_states: int | None = None,
    num_channels: int | None = None,
    num_steps: int | None = None,
    time_varying: bool | None = None,
    singular_noise: bool | None = None,
    exact_channels: bool | None = None,
    missing: float | None = None,
    with_inputs: bool | None = None,
) -> RandomLinearGaussian:
    """Draw a chain and a series. Whatever is None is drawn too, so that every combination turns up.

    Args:
        rng: Source of randomness.
        num_states: n; 1 to 8.
        num_channels: p; 1 to 4.
        num_steps: T; 1 to 40.
        time_varying: Whether the parameters change with time: transitions over irregular gaps, with some gaps 0.
        singular_noise: Whether Q has a rank below n (down to 0).
        exact_channels: Whether one or more channels have no observation noise.
        missing: Probability that a cell is missing.
        with_inputs: Whether known inputs act on states and observations.
    """
    n = int(rng.integers(1, 9)) if num_states is None else num_states
    p = int(rng.integers(1, 5)) if num_channels is None else num_channels
    size = int(rng.integers(1, 41)) if num_steps is None else num_steps
    varying = bool(rng.random() < 0.5) if time_varying is None else time_varying
    singular = bool(rng.random() < 0.5) if singular_noise is None else singular_noise
    exact = bool(rng.random() < 0.3) if exact_channels is None else exact_channels
    missing = float(rng.choice([0.0, 0.3, 0.7])) if missing is None else missing
    driven = bool(rng.random() < 0.3) if with_inputs is None else with_inputs

    gaps = np.where(rng.random(size) < 0.15, 0.0, rng.exponential(1.0, size))
    times = np.cumsum(gaps)
    rows = size if varying else 1
    rank = int(rng.integers(0, n)) if singular else n
    root = random_covariance(rng, n, rank)
    # A damped rotation: skew part for oscillation, definite part for decay.
    square = rng.standard_normal((n, n))
    generator = 0.5 * (square - square.T) - 0.1 * random_covariance(rng, n, n) - 0.05 * np.eye(n)
    F = np.stack([_exponential(generator * (gaps[t] if varying else 0.7)) for t in range(rows)])
    Q = np.stack([root * (gaps[t] if varying else 0.7) for t in range(rows)])
    H = rng.standard_normal((rows if rng.random() < 0.5 else 1, p, n))
    noise = random_covariance(rng, p, p) + 0.1 * np.eye(p)
    if exact:
        silent = rng.random(p) < 0.5
        noise[silent] = 0.0
        noise[:, silent] = 0.0
    R = noise[None] * (rng.uniform(0.5, 2.0, size) if varying else np.ones(1))[:, None, None]
    parameters: dict[str, Any] = {
        "F": F,
        "Q": Q,
        "H": H,
        "R": R,
        "m0": rng.standard_normal(n),
        "P0": random_covariance(rng, n, n if rng.random() < 0.7 else max(n - 1, 0)) + 0.0,
        "c": rng.standard_normal((rows, n)),
        "d": rng.standard_normal((1, p)),
    }
    inputs = None
    if driven:
        inputs = rng.standard_normal((size, 2))
        parameters["B"] = rng.standard_normal((rows, n, 2))
        parameters["D"] = rng.standard_normal((1, p, 2))
    values = _draw(rng, parameters, inputs, size)
    mask = rng.random((size, p)) >= missing
    values = np.where(mask, values, 1e3)
    return RandomLinearGaussian(parameters, values, mask, inputs, times)


def _draw(rng: np.random.Generator, parameters: dict[str, np.ndarray], inputs: Any, size: int) -> np.ndarray:
    """Draw one series from a chain."""

    def at(name: str, t: int) -> np.ndarray:
        array = parameters[name]
        return array[0] if array.shape[0] == 1 else array[t]

    def noise(cov: np.ndarray) -> np.ndarray:
        values, vectors = np.linalg.eigh(cov)
        return vectors @ (np.sqrt(np.clip(values, 0.0, None)) * rng.standard_normal(len(values)))

    rows = []
    state = parameters["m0"] + noise(parameters["P0"])
    for t in range(size):
        if t:
            state = at("F", t) @ state + at("c", t) + noise(at("Q", t))
            if inputs is not None:
                state = state + at("B", t) @ inputs[t - 1]
        row = at("H", t) @ state + at("d", t) + noise(at("R", t))
        rows.append(row if inputs is None else row + at("D", t) @ inputs[t])
    return np.stack(rows)


def _exponential(matrix: np.ndarray) -> np.ndarray:
    from scipy.linalg import expm

    return expm(matrix)


def stack_linear_gaussian(
    systems: list[RandomLinearGaussian], *, num_states: int, num_channels: int, num_steps: int
) -> tuple[dict[str, np.ndarray], Observations]:
    """Put random chains of different sizes into one batch, one series each, by padding that must not matter.

    Further states are 0 for ever, further channels and rows are not observed.

    Args:
        systems: Chains, none larger than the sizes below.
        num_states: n of the batch.
        num_channels: p of the batch.
        num_steps: T of the batch.

    Returns:
        Keyword arguments of `dynplat.process.LinearGaussian` with a leading series axis, and observations (NumPy).
    """
    n, p, size = num_states, num_channels, num_steps
    count = len(systems)
    out = {
        "F": np.zeros((count, size, n, n)),
        "Q": np.zeros((count, size, n, n)),
        "H": np.zeros((count, size, p, n)),
        "R": np.zeros((count, size, p, p)) + np.eye(p),
        "m0": np.zeros((count, n)),
        "P0": np.zeros((count, n, n)),
        "c": np.zeros((count, size, n)),
        "d": np.zeros((count, size, p)),
        "B": np.zeros((count, size, n, 2)),
        "D": np.zeros((count, size, p, 2)),
    }
    values, mask = np.zeros((count, size, p)), np.zeros((count, size, p), dtype=bool)
    inputs, times = np.zeros((count, size, 2)), np.zeros((count, size))
    for i, system in enumerate(systems):
        rows = system.values.shape[0]
        for name, array in system.parameters.items():
            target = out[name][i]
            if name in ("m0", "P0"):
                target[tuple(slice(0, s) for s in array.shape)] = array
                continue
            core = tuple(slice(0, s) for s in array.shape[1:])
            target[(slice(0, rows), *core)] = array
        channels = system.values.shape[1]
        values[i, :rows, :channels] = system.values
        mask[i, :rows, :channels] = system.mask
        times[i, :rows], times[i, rows:] = system.times, system.times[-1]
        if system.inputs is not None:
            inputs[i, :rows] = system.inputs
    return out, Observations(times, values, mask, inputs)
