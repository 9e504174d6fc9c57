"""Checks of the likelihood as a density: normalised, marginal where cells are missing, a product of conditionals."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynplat.arrays import Observations, asarray_like
from dynplat.testing.quadrature import Integral, integrate
from dynplat.testing.report import CheckFailed, compare_arrays
from dynplat.testing.subject import NUM_POINTS, Subject, hide, hide_all, map_leaves

#: Largest error of the log of an integral: far above that of the quadrature, far below that of a lost constant.
_TOLERANCE = 1e-4


def check_masked_rows_contribute_zero(subject: Subject) -> None:
    """A row with nothing observed contributes exactly 0, and so do data with nothing observed at all."""
    subject.need("likelihood", "missing_values")
    observations = subject.observations
    for name, hidden, rows in (
        ("a row with nothing observed", hide(observations, ..., 2, slice(None)), slice(2, 3)),
        ("data with nothing observed", hide_all(observations), slice(None)),
    ):
        steps = subject.steps(hidden)[..., rows]
        if not (steps == 0).all():
            worst = steps.flat[int(np.argmax(np.abs(np.nan_to_num(steps, nan=np.inf))))]
            raise CheckFailed(
                f"{name} contributes {worst:.6g} to log_prob_steps; expected exactly 0. The mask is ignored, or a "
                "constant is counted for cells that are not observed."
            )


def check_missing_is_marginal(subject: Subject) -> None:
    """Masking a cell integrates it out, and what stands behind a mask is never read."""
    subject.need("likelihood", "missing_values")
    observations = subject.observations
    base = subject.steps(observations)
    for filler in (1e6, -17.0):
        other = observations._replace(values=np.where(observations.mask, observations.values, filler))
        if not np.array_equal(subject.steps(other), base):
            raise CheckFailed(
                f"log_prob changes when the values behind the mask are replaced by {filler:g}: the mask is ignored, or "
                "masked numbers leak into the result."
            )
    if not subject.claims.coherent:
        return  # the rows after a missing one read it in another way than those after an observed one
    complete, row = subject.complete, 1
    hidden = subject.log_prob(hide(complete, ..., row, 0))
    for series in range(complete.values.shape[0]):
        if not complete.mask[series, row, 0]:
            continue
        total = _integral(subject, complete, series, row, 0, point=0).log_total
        if not abs(total - hidden[series]) < _TOLERANCE * max(1.0, abs(hidden[series])):
            raise CheckFailed(
                f"log_prob with row {row} of series {series} masked is {hidden[series]:.8g}; integrating that value "
                f"out gives {total:.8g}. A missing value must be marginalised: the mask is ignored or miscounted, or "
                "the density is not normalised."
            )


def check_density_integrates_to_one(subject: Subject) -> None:
    """The density of a value, given the rows before, integrates (or sums) to one, whatever the family."""
    subject.need("likelihood")
    last = subject.complete.mask.shape[-1] - 1
    found = []
    for point in range(NUM_POINTS):
        for row, channel in ((0, 0), (2, last)):
            now = hide(subject.complete, ..., slice(row + 1, None), slice(None))
            others = [c for c in range(last + 1) if c != channel]
            now = hide(now, ..., row, others)
            total = _integral(subject, now, 0, row, channel, point)
            if row:
                before = subject.log_prob(hide(now, ..., row, slice(None)), point)[0]
                total = total._replace(log_total=total.log_total - before)
            found.append((total, row, channel))
    worst, row, channel = max(found, key=lambda one: abs(np.nan_to_num(one[0].log_total, nan=np.inf)))
    if not abs(worst.log_total) < _TOLERANCE:
        raise CheckFailed(
            f"exp(log_prob) integrates to {np.exp(worst.log_total):.6g} over the value of row {row}, channel "
            f"{channel}, given the rows before; expected 1. {_diagnosis([one[0] for one in found])}"
        )


def check_steps_do_not_see_the_future(subject: Subject) -> None:
    """`log_prob_steps` of a row is the same with the later rows changed, or left out; a single row is enough."""
    subject.need("likelihood")
    observations = subject.observations
    base = subject.steps(observations)
    cut = 3
    later = np.arange(observations.times.shape[-1])[:, None] >= cut
    other = np.where(later & observations.mask, np.roll(observations.values, 1, axis=-2), observations.values)
    compare_arrays(
        f"log_prob_steps of the first {cut} rows after the values of later rows were changed",
        subject.steps(observations._replace(values=other))[..., :cut],
        base[..., :cut],
        rtol=1e-9,
        atol=1e-9,
        cause="The term of a row must be log p(y_t | y_<t): it must not read later rows.",
    )
    for rows in (1, cut):
        early = Observations(*(None if leaf is None else leaf[:, :rows] for leaf in observations))
        compare_arrays(
            f"log_prob_steps of the first {rows} row{'s' * (rows > 1)} alone",
            subject.steps(early),
            base[..., :rows],
            rtol=1e-9,
            atol=1e-9,
            cause="The term of a row must be log p(y_t | y_<t): it must not depend on how many rows follow.",
        )


def check_steps_are_conditional_densities(subject: Subject) -> None:
    """`log_prob_steps` at a row equals the density that `condition` on the rows before gives at that row."""
    subject.need("likelihood", "condition", "coherent")
    observations = hide(subject.complete, ..., slice(1, None))
    steps = subject.steps(observations)
    for row in range(1, min(5, observations.times.shape[-1])):
        value = observations.values[..., row : row + 1, :]
        answer = subject.ask(
            hide(observations, ..., slice(row, None), slice(None)),
            observations.times[..., row : row + 1],
            {"density": lambda law, v=value: law.log_density(_like(v, law, subject.framework))},
        )
        live = observations.mask[..., row, 0]
        compare_arrays(
            f"log p(y_{row} | earlier rows) from `condition(...).at(...)`",
            answer["density"][..., 0, 0][live],
            steps[..., row][live],
            rtol=1e-6,
            atol=1e-8,
            cause="`log_prob_steps` and `condition` are not of one law: one of them ignores time, noise or mask.",
        )


def _integral(
    subject: Subject, observations: Observations, series: int, row: int, channel: int, point: int
) -> Integral:
    """Integrate the density of one series over the value of a cell, the other cells as they are."""
    one = map_leaves(observations, lambda a: a[series : series + 1])
    context = subject.context_of(slice(series, series + 1))
    sites = subject.sites_of(slice(series, series + 1), point)

    def log_density(grid: np.ndarray) -> np.ndarray:
        values = np.repeat(one.values[None], grid.size, axis=0)
        values[:, 0, row, channel] = grid
        many = map_leaves(one, lambda a: np.broadcast_to(a, (grid.size, *a.shape)))._replace(values=values)
        return subject.log_prob(many, sites, context).reshape(grid.size)

    seen = subject.complete.values[..., channel][subject.complete.mask[..., channel]]
    return integrate(log_density, subject.claims.values, seen)


def _diagnosis(totals: list[Integral]) -> str:
    """Say what a wrong total means: how it grows with the density's spread tells a log-determinant from a constant.

    A density that leaves out a part k of its log-determinant integrates to spread^k; one that leaves out a constant
    integrates to the same number everywhere.
    """
    log_totals = np.array([total.log_total for total in totals])
    with np.errstate(all="ignore"):
        log_spreads = np.log([total.spread for total in totals])
    general = "The density is not normalised: look at its log-determinant and its constants."
    if not (np.isfinite(log_totals).all() and np.isfinite(log_spreads).all()):
        return general
    if np.ptp(log_totals) < 1e-3:
        constant = log_totals.mean()
        known = {"1/2 log(2 pi)": 0.5 * np.log(2 * np.pi), "log(2 pi)": np.log(2 * np.pi)}
        names = [name for name, value in known.items() if abs(abs(constant) - value) < 1e-3]
        what = f" ({'+' if constant > 0 else '-'}{names[0]})" if names else ""
        return f"The density is not normalised: every value adds {constant:.4g}{what} too much to log_prob, a constant."
    if np.ptp(log_spreads) < 0.1:
        return general
    slope, constant = np.polynomial.Polynomial.fit(log_spreads, log_totals, 1).convert().coef[::-1]
    if np.abs(log_totals - slope * log_spreads - constant).max() > 0.05 * np.ptp(log_totals):
        return general
    part = round(float(slope), 2)
    if abs(slope - part) > 0.02 or abs(part) < 0.05:
        return general
    kept = 1.0 - part
    return f"The totals grow as the spread of the density to the power {part:g}: the log-determinant is " + (
        "left out." if abs(kept) < 0.02 else f"counted {kept:g} times."
    )


def _like(value: np.ndarray, law: Any, name: str) -> Any:
    """Bring values to the framework of a law; one that has no means takes host arrays."""
    if name == "numpy" or law.family != "gaussian":
        return value
    return asarray_like(value, law.mean())
