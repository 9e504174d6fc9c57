"""Checks of models that give laws of values given others, and no joint law that these would have to be of."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynplat.arrays import Observations, random_source, to_numpy
from dynplat.testing.moments import FALSE_ALARM, NUM_DRAWS
from dynplat.testing.prediction import draws_of
from dynplat.testing.quadrature import integrate
from dynplat.testing.report import CheckFailed, CheckSkipped, compare_arrays
from dynplat.testing.subject import NUM_POINTS, Subject, given, hide, hide_all, map_leaves

#: Largest error of the log of an integral.
_TOLERANCE = 1e-4
#: Levels at which draws are compared with the integral of the density.
_LEVELS = (0.2, 0.5, 0.8)


def check_composite_terms_are_densities(subject: Subject) -> None:
    """The composite term of a value, given the others, integrates (or sums) to one: it never reads its own value."""
    subject.need("composite")
    complete = hide(subject.complete, ..., slice(1, None))
    for point in range(NUM_POINTS):
        for row in (0, 2):
            log_total = _integral(subject, complete, row, point)
            if not abs(log_total) < _TOLERANCE:
                raise CheckFailed(
                    f"exp(composite_steps) integrates to {np.exp(log_total):.6g} over the value of row {row}; expected "
                    "1. The law of a value given others is not normalised, or it has read the value itself."
                )


def check_composite_counts_what_is_observed(subject: Subject) -> None:
    """Composite terms obey their seed; what is behind a mask, padding and other series never enter them."""
    subject.need("composite")
    observations = subject.observations
    base, drawn = _steps(subject, observations), _steps(subject, observations, seed=1)
    if not (_steps(subject, hide_all(observations)) == 0).all():
        raise CheckFailed("data with nothing observed contribute to composite_steps; expected exactly 0.")
    if not np.array_equal(drawn, _steps(subject, observations, seed=1)):
        raise CheckFailed("composite_steps with one seed of `random` differ: take chance from `random` only.")
    loud = observations._replace(values=np.where(observations.mask, observations.values, 1e5))
    for name, seed, expected in (("", None, base), (" with `random`", 1, drawn)):
        if not np.isfinite(expected).all():
            raise CheckFailed(f"composite_steps{name} are not finite.")
        if not np.array_equal(expected, _steps(subject, loud, seed=seed)):
            raise CheckFailed(f"composite_steps{name} change with values behind the mask: the mask is ignored.")
    padded = map_leaves(observations, lambda leaf: np.concatenate([leaf, leaf[:, -1:]], axis=1))
    compare_arrays(
        "composite_steps after a row of padding was added",
        _steps(subject, hide(padded, ..., -1, slice(None)))[..., :-1],
        base,
        rtol=1e-9,
        atol=1e-9,
        cause="Padding is counted: rows with mask False and the last time repeated must not count.",
    )
    compare_arrays(
        "composite_steps of the first series alone",
        _steps(subject, map_leaves(observations, lambda leaf: leaf[:1]), first=True),
        base[:1],
        rtol=1e-9,
        atol=1e-9,
        cause="Series mix: given its parameters a series must not read the others.",
    )


def check_law_of_a_cell_has_its_density(subject: Subject) -> None:
    """`log_density` of a law by draws integrates to one, and draws follow it (false alarms below 1e-6)."""
    _need_laws_of_cells(subject)
    from scipy import stats

    observations = subject.observations
    times = 0.5 * (observations.times[..., :1] + observations.times[..., 1:2])
    if not subject.claims.irregular_times:
        times = observations.times[..., 1:2]
    drawn = draws_of(subject, observations, times, subject.seed + 61, NUM_DRAWS)[:, 0, 0, 0]

    def log_density(grid: np.ndarray, most: float = np.inf) -> np.ndarray:
        shape = (*times.shape, observations.values.shape[-1])
        values = np.broadcast_to(grid[:, None, None, None], (grid.size, *shape))
        found = subject.ask(observations, times, {"density": lambda law: law.log_density(_like(values, subject))})
        return np.where(grid <= most, found["density"][:, 0, 0, 0], -np.inf)

    log_total = integrate(log_density, subject.claims.values, drawn).log_total
    if not abs(log_total) < _TOLERANCE:
        raise CheckFailed(f"exp(log_density) of a cell integrates to {np.exp(log_total):.6g}; expected 1.")
    early, late = drawn[: NUM_DRAWS // 2], drawn[NUM_DRAWS // 2 :]
    for most in np.quantile(early, _LEVELS, method="inverted_cdf"):
        below = integrate(lambda grid, most=most: log_density(grid, most), subject.claims.values, drawn).log_total
        count = int((late <= most).sum())
        if stats.binomtest(count, late.size, min(float(np.exp(below)), 1.0)).pvalue < FALSE_ALARM / len(_LEVELS):
            raise CheckFailed(
                f"{count} of {late.size} draws of a cell are at most {most:.5g}, where its `log_density` gives the "
                f"probability {np.exp(below):.4g}: `draws` and `log_density` are not of one law."
            )


def check_law_of_a_cell_follows_the_data(subject: Subject) -> None:
    """A law by draws inside the data follows observed values, and nothing behind a mask or in padding."""
    _need_laws_of_cells(subject)
    observations = subject.observations
    # Rows that are there say nothing of their own values, so that the filler may be asked about.
    times = observations.times

    def density(which: Observations) -> np.ndarray:
        values = np.where(observations.mask, observations.values, np.median(observations.values[observations.mask]))
        found = subject.ask(which, times, {"density": lambda law: law.log_density(_like(values, subject))})
        return found["density"]

    base = density(observations)
    loud = observations._replace(values=np.where(observations.mask, observations.values, 1e5))
    if not np.array_equal(base, density(loud)):
        raise CheckFailed("the law of a cell changes with values behind the mask: the mask is ignored by `condition`.")
    other = observations._replace(values=np.where(observations.mask, observations.values + 1.0, 0.0))
    if np.array_equal(base, density(other)):
        raise CheckFailed("the law of a cell is the same with other observed values: `condition` ignores them.")
    padded = map_leaves(observations, lambda leaf: np.concatenate([leaf, leaf[:, -1:]], axis=1))
    compare_arrays(
        "the law of a cell after a row of padding was added",
        density(hide(padded, ..., -1, slice(None))),
        base,
        rtol=1e-9,
        atol=1e-9,
        cause="Padding is counted by `condition`: rows with mask False must not count.",
    )


def _need_laws_of_cells(subject: Subject) -> None:
    subject.need("condition")
    if subject.claims.coherent:
        raise CheckSkipped("the laws are marginals of one law, which other checks ask about")
    if subject.family == "gaussian":
        raise CheckSkipped("the marginals are Gaussian: other checks ask about their moments")


def _steps(
    subject: Subject, observations: Observations, *, seed: int | None = None, point: int = 0, first: bool = False
) -> np.ndarray:
    """Composite terms, (..., series, time), of all series or of the first alone."""
    chosen = slice(0, 1) if first else slice(None)
    with subject.arrays() as to_array:
        random = None if seed is None else random_source(seed, to_array(0.0))
        process = subject.process(to_array, subject.sites_of(chosen, point), subject.context_of(chosen))
        return to_numpy(process.composite_steps(given(observations, to_array), random=random))


def _integral(subject: Subject, complete: Observations, row: int, point: int) -> float:
    """Log of the integral of a term of the first series over its value."""
    one = map_leaves(complete, lambda leaf: leaf[:1])

    def log_density(grid: np.ndarray) -> np.ndarray:
        values = np.repeat(one.values[None], grid.size, axis=0)
        values[:, 0, row, 0] = grid
        many = map_leaves(one, lambda leaf: np.broadcast_to(leaf, (grid.size, *leaf.shape)))._replace(values=values)
        return _steps(subject, many, point=point, first=True)[:, 0, row]

    seen = subject.complete.values[..., 0][subject.complete.mask[..., 0]]
    return integrate(log_density, subject.claims.values, seen).log_total


def _like(values: np.ndarray, subject: Subject) -> Any:
    with subject.arrays() as to_array:
        return to_array(values)
