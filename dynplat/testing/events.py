"""Checks of models that are told when something happened, not only what was the case at some time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dynplat.arrays import Observations
from dynplat.errors import ArgumentError
from dynplat.marks import ENTERED, MOVED, OBSERVED, STAYED
from dynplat.testing.report import CheckFailed, CheckSkipped, compare_arrays
from dynplat.testing.subject import NUM_POINTS, Subject

#: Points of the Gauss-Legendre rule in each of so many pieces of a stretch of time, to begin with.
_POINTS, _PIECES = 24, 4
#: A piece is halved, so many times at most, until its halves do not change its integral by more than this: rates may
#: jump at times that the kit does not know.
_FINE, _HALVINGS = 1e-9, 40
_TOLERANCE = 1e-6
#: Values beyond the largest seen that an event may lead to.
_BEYOND = 2


def check_events_exhaust_the_law(subject: Subject) -> None:
    """A first event before a time, or none until then: the densities of marked rows and their alternative sum to one.

    The densities of a first move (mark `MOVED`) at time t to each value are integrated over t, and the probability of
    no change (`STAYED`) is added.
    """
    start, values, horizon = _grounds(subject)
    for point in range(NUM_POINTS):
        moved = 0.0
        for value in values:

            def move(times: np.ndarray, point: int = point, value: float = value) -> np.ndarray:
                return np.exp(_path(subject, point, start, (times, MOVED, value)))

            moved += _integral(move, horizon)
        stayed = float(np.exp(_path(subject, point, start, (np.array([horizon]), STAYED, start)))[0])
        if not abs(moved + stayed - 1.0) < _TOLERANCE:
            raise CheckFailed(
                f"from {start:g} the probabilities of a first move before {horizon:.4g} ({moved:.8g}) and of none "
                f"({stayed:.8g}) sum to {moved + stayed:.8g}; expected 1. Look at the factors of the marks `MOVED` and "
                "`STAYED` (`dynplat.marks`)."
            )


def check_events_agree_with_looks(subject: Subject) -> None:
    """The chance to be seen in a state is that of having entered it last at some time, or of never having left it.

    Densities of entering (mark `ENTERED`) at time t and staying from then on (`STAYED`) are integrated over t.
    """
    start, values, horizon = _grounds(subject)
    end = np.array([horizon])
    for point in range(NUM_POINTS):
        looked = [np.exp(_path(subject, point, start, (end, OBSERVED, value)))[0] for value in values]
        found = []
        for value in values:

            def last(times: np.ndarray, point: int = point, value: float = value) -> np.ndarray:
                stayed = (np.full_like(times, horizon), STAYED, value)
                return np.exp(_path(subject, point, start, (times, ENTERED, value), stayed))

            found.append(_integral(last, horizon))
            if value == start:
                found[-1] += float(np.exp(_path(subject, point, start, (end, STAYED, value)))[0])
        compare_arrays(
            f"probabilities of being seen in {values} after {horizon:.4g}, from last entries",
            np.array(found),
            np.array(looked),
            rtol=1e-6,
            atol=_TOLERANCE,
            cause="The factors of the marks `ENTERED` and `OBSERVED` are not of one law.",
        )


def _grounds(subject: Subject) -> tuple[float, list[float], float]:
    """Where to start, values that may follow, and for how long."""
    subject.need("likelihood")
    if "events" not in subject.claims.observations:
        raise CheckSkipped("not declared: events")
    if len(subject.data.channels) > 1:
        raise CheckSkipped("events of several channels have no common reading")
    observations = subject.complete
    start = float(observations.values[0, 0, 0])
    largest = int(observations.values[observations.mask].max())
    horizon = float(observations.times[0, 1] - observations.times[0, 0])
    values = []
    for value in range(largest + _BEYOND + 1):
        try:
            _path(subject, 0, start, (np.array([horizon]), OBSERVED, float(value)))
        except ArgumentError:  # no value of this law
            continue
        values.append(float(value))
    if not values:
        raise CheckFailed(f"no value out of 0, ..., {largest + _BEYOND} may follow {start:g}: the process refuses all.")
    return start, values, horizon


def _integral(function: Callable[[np.ndarray], np.ndarray], end: float) -> float:
    """Integral over (0, end) of a function of times that may jump here and there."""
    x, w = np.polynomial.legendre.leggauss(_POINTS)

    def of_pieces(edges: np.ndarray) -> np.ndarray:
        half = 0.5 * np.diff(edges, axis=-1)
        values = function((edges[:, :1] + half * (x + 1.0)).ravel())
        return half[:, 0] * (values.reshape(len(edges), _POINTS) @ w)

    grid = np.linspace(0.0, end, _PIECES + 1)
    pieces = np.stack([grid[:-1], grid[1:]], axis=-1)
    whole, total = of_pieces(pieces), 0.0
    for _ in range(_HALVINGS):
        middle = pieces.mean(axis=-1, keepdims=True)
        halves = np.concatenate([pieces[:, :1], middle, middle, pieces[:, 1:]], axis=-1).reshape(-1, 2)
        fine = of_pieces(halves)
        is_coarse = np.abs(fine.reshape(-1, 2).sum(axis=-1) - whole) > _FINE
        total += float(fine.reshape(-1, 2)[~is_coarse].sum())
        pieces, whole = halves[np.repeat(is_coarse, 2)], fine[np.repeat(is_coarse, 2)]
        if not len(pieces):
            break
    return total + float(whole.sum())


def _path(subject: Subject, point: int, start: float, *rows: tuple[np.ndarray, int, float]) -> np.ndarray:
    """Log density of marked rows (time, mark, value) given the start at time 0, one for each of the times.

    Known inputs are held.
    """
    count = len(rows[0][0])
    times = np.stack([np.zeros(count), *(row[0] for row in rows)], axis=-1)[:, None, :]
    values = np.array([start, *(row[2] for row in rows)])[:, None]
    marks = np.array([OBSERVED, *(row[1] for row in rows)])
    shape = (count, 1, len(marks))
    # What the first series was given at its first row goes on.
    given = subject.complete.inputs
    many = Observations(
        times,
        np.broadcast_to(values, (*shape, 1)).copy(),
        np.ones((*shape, 1), dtype=bool),
        None if given is None else np.broadcast_to(given[0, 0], (*shape, given.shape[-1])).copy(),
        np.broadcast_to(marks, shape).copy(),
    )
    one = slice(0, 1)
    steps = subject.steps(many, subject.sites_of(one, point), subject.context_of(one))
    return steps[..., 1:].sum(axis=-1).reshape(count)
