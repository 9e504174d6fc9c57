r"""Where the prior of `koopman/deep` is centred: modes of the operator that random features give.

A network whose weights were drawn at random is a dictionary already. The data, brought to equal steps by linear
interpolation for this purpose only, give it an operator (extended dynamic mode decomposition); from its eigenfunctions
those are chosen one after the other that explain the state now and m steps ahead best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynplat.errors import DataError
from dynplat_koopman.dictionaries.tanh import TanhNetwork
from dynplat_koopman.edmd import fit_edmd
from dynplat_koopman.pairs import Pairs

if TYPE_CHECKING:
    from dynplat.data import Trajectories

#: Directions of the random features whose share of the largest is below this are left out.
_TOLERANCE = 1e-4
#: Gaps longer than so many steps are not interpolated.
_LONGEST = 3.5
#: Eigenvalues are moved into [e^-_FASTEST, 1): a mode that is gone within a row says nothing.
_FASTEST = 3.0
#: No noise is taken to be below this part of the size of what it is added to.
_FLOOR = 1e-3


@dataclass(frozen=True)
class Start:
    """Modes, in the order of `Modes`.

    Attributes:
        rate: Decay per unit of time, (mode,).
        frequency: Cycles per unit of time of the pairs, (pair,).
        coefficients: Coefficients (n, N) of the eigenfunctions in the dictionary, of mean square 1 over the data.
        loading: What the modes add up to, (channel, n).
        mean: Offset, (channel,).
        process_sd: One-step error of each mode per square root of time, (mode,).
        lift_sd: Half the one-step error of each mode, (mode,).
        noise_sd: What the modes leave over of the state now, (channel,).
    """

    rate: np.ndarray
    frequency: np.ndarray
    coefficients: np.ndarray
    loading: np.ndarray
    mean: np.ndarray
    process_sd: np.ndarray
    lift_sd: np.ndarray
    noise_sd: np.ndarray


def choose_modes(
    data: Trajectories, dictionary: TanhNetwork, *, step: float, span: float, num_states: int, ahead: int
) -> Start:
    """Choose modes with `num_states` states.

    Args:
        data: Trajectories.
        dictionary: The network at its random weights.
        step: Step of the operator, a typical gap.
        span: Time that the data cover.
        num_states: Number of states.
        ahead: Steps ahead that the modes are judged by.
    """
    runs = _runs(data, step)
    slowest = 0.1 / span
    candidates = _candidates(runs, dictionary, step)
    psi, targets, powers = _targets(runs, dictionary, ahead)
    scale = dictionary.scale
    chosen: list[tuple[complex, np.ndarray]] = []
    columns = np.zeros((len(powers), 0))
    room = num_states
    while room:
        best, found, added = np.inf, None, columns
        for place, (value, vector) in enumerate(candidates):
            own = _columns(psi @ vector, value, powers)
            if own.shape[1] > room:
                continue
            trial = np.hstack([columns, own])
            left = _left_over(trial, targets)
            if left < best:
                best, found, added = left, place, trial
        if found is None:
            break
        chosen.append(candidates.pop(found))
        room -= added.shape[1] - columns.shape[1]
        columns = added
    pairs = [(value, vector) for value, vector in chosen if value.imag > 0]
    others = [(value, vector) for value, vector in chosen if value.imag == 0]
    # What the data do not fill: decays, spread over the times that the data can see, of functions that start at 0.
    empty = np.geomspace(1.0 / span, 1.0 / step, room + 2)[1:-1]
    values = np.array([value for value, _ in pairs + others])
    rate = np.clip(-np.log(np.maximum(np.abs(values), 1e-12)) / step, slowest, _FASTEST / step)
    rows = [part(v) for _, v in pairs for part in (np.real, np.imag)] + [np.real(v) for _, v in others]
    coefficients = np.array([*rows, *np.zeros((room, dictionary.num_functions))]).reshape(num_states, -1)
    parts = [_columns(psi @ vector, value, powers) for value, vector in pairs + others]
    design = np.hstack([np.ones((len(powers), 1)), *parts, np.zeros((len(powers), room))])
    fitted = np.zeros((1 + num_states, len(scale)))
    noise = np.zeros(len(scale))
    fitted[0] = dictionary.location
    if len(powers):
        fitted = np.linalg.lstsq(design, targets, rcond=1e-8)[0]
        noise = np.sqrt(np.mean((targets - design @ fitted)[powers == 0] ** 2, axis=0))
    errors = np.maximum(_one_step_errors(runs, dictionary, pairs + others), _FLOOR)
    return Start(
        rate=np.concatenate([rate, empty]),
        frequency=np.array([np.angle(value) / (2 * np.pi * step) for value, _ in pairs]),
        coefficients=coefficients,
        loading=fitted[1:].T,
        mean=fitted[0],
        process_sd=np.concatenate([errors / np.sqrt(step), np.full(room, 0.1 / np.sqrt(span))]),
        lift_sd=np.concatenate([0.5 * errors, np.full(room, 0.1)]),
        noise_sd=np.maximum(noise, _FLOOR * scale),
    )


def _runs(data: Trajectories, step: float) -> list[np.ndarray]:
    """Stretches of equal steps, each (row, channel), by linear interpolation over gaps that are not long."""
    runs = []
    for times, values, mask, length in zip(data.times, data.values, data.mask, data.lengths, strict=True):
        seen = mask[:length].any(axis=-1)
        times, values, mask = (part[:length][seen] for part in (times, values, mask))
        cuts = np.flatnonzero(np.diff(times) > _LONGEST * step) + 1
        for rows in np.split(np.arange(len(times)), cuts):
            if len(rows) < 2 or not mask[rows].any(axis=0).all() or times[rows[-1]] <= times[rows[0]]:
                continue
            count = int(np.floor((times[rows[-1]] - times[rows[0]]) / step * (1 + 1e-9)))
            grid = times[rows[0]] + step * np.arange(count + 1)
            runs.append(
                np.stack(
                    [
                        np.interp(grid, times[rows][mask[rows, j]], values[rows, j][mask[rows, j]])
                        for j in range(values.shape[1])
                    ],
                    axis=-1,
                )
            )
    return [run for run in runs if len(run) > 1]


def _candidates(runs: list[np.ndarray], dictionary: TanhNetwork, step: float) -> list[tuple[complex, np.ndarray]]:
    """Eigenvalues, on or above the real axis, and eigenfunctions of mean square 1, but for the constant one."""
    if not runs:
        return []
    first, second = (np.concatenate([run[part] for run in runs]) for part in (slice(None, -1), slice(1, None)))
    try:
        operator = fit_edmd(Pairs(first, second, step=step), dictionary, tolerance=_TOLERANCE)
    except DataError:
        return []
    values, vectors = np.linalg.eig(operator.compressed)
    constant = operator.basis.conj().T @ operator.moments.gram[:, 0]
    found = []
    for value, vector in zip(values.astype(complex), vectors.T.astype(complex), strict=True):
        is_constant = np.abs(constant.conj() @ vector) > 0.999 * np.linalg.norm(constant) * np.linalg.norm(vector)
        if value.imag < 0 or is_constant or not np.isfinite(value) or np.abs(value) < np.exp(-_FASTEST):
            continue
        if value.imag == 0 and value.real < 0:  # turns by half a cycle each step: no real mode in continuous time
            continue
        vector = operator.basis @ vector
        if value.imag == 0:  # a real eigenvalue has a real eigenfunction, whatever phase it was given
            vector = (vector * np.exp(-1j * np.angle(vector[np.argmax(np.abs(vector))]))).real + 0j
            size = np.sqrt(np.real(vector.conj() @ operator.moments.gram @ vector))
        else:
            size = np.sqrt(np.real(vector.conj() @ operator.moments.gram @ vector) / 2)
        if size > 0:
            found.append((complex(value / max(np.abs(value), 1.0)), vector / size))
    return found


def _targets(runs: list[np.ndarray], dictionary: TanhNetwork, ahead: int) -> tuple[np.ndarray, ...]:
    """Lifted rows, states that are to be explained by them, and how many steps later these are."""
    psi, targets, powers = [], [], []
    for run in runs:
        lifted = dictionary(run)
        for shift in dict.fromkeys((0, ahead)):
            if len(run) > shift:
                psi.append(lifted[: len(run) - shift])
                targets.append(run[shift:])
                powers.append(np.full(len(run) - shift, shift))
    if not psi:
        return np.zeros((0, dictionary.num_functions)), np.zeros((0, dictionary.num_variables)), np.zeros(0)
    return np.concatenate(psi), np.concatenate(targets), np.concatenate(powers)


def _columns(function: np.ndarray, value: complex, powers: np.ndarray) -> np.ndarray:
    moved = function * value**powers
    return np.stack([moved.real, moved.imag], axis=-1) if value.imag > 0 else moved.real[:, None]


def _left_over(columns: np.ndarray, targets: np.ndarray) -> float:
    design = np.hstack([np.ones((len(columns), 1)), columns])
    gram = design.T @ design
    gram += 1e-10 * np.trace(gram) * np.eye(len(gram)) / len(gram)
    left = targets - design @ np.linalg.solve(gram, design.T @ targets)
    size = targets.var(axis=0)
    return float((np.sum(left**2, axis=0) / np.where(size > 0, size, 1.0)).sum())


def _one_step_errors(
    runs: list[np.ndarray], dictionary: TanhNetwork, modes: list[tuple[complex, np.ndarray]]
) -> np.ndarray:
    errors = []
    for value, vector in modes:
        lifted = [dictionary(run) @ vector for run in runs]
        error = np.concatenate([one[1:] - value * one[:-1] for one in lifted])
        errors.append(np.sqrt(np.mean(np.abs(error) ** 2) / (2.0 if value.imag > 0 else 1.0)))
    return np.array(errors)
