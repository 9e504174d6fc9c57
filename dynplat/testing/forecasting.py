"""Checks of forecasts of models that have no coherent laws inside the data, which other checks compare."""

from __future__ import annotations

import numpy as np

from dynplat.arrays import Observations, to_numpy
from dynplat.testing.prediction import draws_of, later
from dynplat.testing.report import CheckFailed, CheckSkipped, compare_arrays
from dynplat.testing.subject import Subject, given, hide, map_leaves

#: Draws of which not all may be equal.
_SEVERAL = 20


def check_forecast_is_the_next_term(subject: Subject) -> None:
    """The law of the next row is that of `log_prob_steps`, for a model without coherent laws inside the data."""
    subject.need("forecast", "likelihood")
    _skip_coherent(subject, "its terms are compared with laws inside the data")
    with subject.arrays() as to_array:
        if not subject.process(to_array).forecasts_by_row:
            raise CheckSkipped("the process gives blocks of rows at once (`forecasts_by_row` is False)")
    complete = hide(subject.complete, ..., slice(1, None))
    steps = subject.steps(complete)
    for row in range(1, min(5, complete.times.shape[-1])):
        early = Observations(*(None if leaf is None else leaf[:, :row] for leaf in complete))
        now = Observations(*(None if leaf is None else leaf[:, row : row + 1] for leaf in complete))
        answer = _next(subject, early, now)
        live = now.mask[..., 0, 0]
        compare_arrays(
            f"log p(y_{row} | earlier rows) from `condition(...).at(...)`",
            answer[..., 0, 0][live],
            steps[..., row][live],
            rtol=1e-6,
            atol=1e-8,
            cause="`log_prob_steps` and the forecast are not of one law: one of them ignores time, inputs or mask.",
        )
        padded = map_leaves(early, lambda leaf: np.concatenate([leaf, leaf[:, -1:]], axis=1))
        compare_arrays(
            "the forecast after a row of padding was added",
            _next(subject, hide(padded, ..., -1, slice(None)), now),
            answer,
            rtol=1e-6,
            atol=1e-8,
            cause="Padding is counted by `condition`: rows with mask False must not count.",
        )


def check_forecast_follows_the_data(subject: Subject) -> None:
    """Draws of a forecast (one seed) follow observed values, and nothing that is behind a mask."""
    subject.need("forecast")
    _skip_coherent(subject, "other checks ask what its forecasts follow")
    observations, times = subject.observations, later(subject)

    def drawn(which: Observations) -> np.ndarray:
        return draws_of(subject, which, times, subject.seed + 51, _SEVERAL)

    base = drawn(observations)
    loud = observations._replace(values=np.where(observations.mask, observations.values, 1e5))
    if not np.array_equal(base, drawn(loud)):
        raise CheckFailed("the forecast changes with values behind the mask: the mask is ignored by `condition`.")
    other = observations._replace(values=np.where(observations.mask, observations.values + 1.0, 0.0))
    if np.array_equal(base, drawn(other)):
        raise CheckFailed("the forecast is the same with other observed values: `condition` ignores the observations.")


def _skip_coherent(subject: Subject, why: str) -> None:
    if subject.claims.condition and subject.claims.coherent:
        raise CheckSkipped(f"the model conditions coherently: {why}")


def _next(subject: Subject, early: Observations, now: Observations) -> np.ndarray:
    """Log density of the values of one row given earlier ones, (..., series, 1, channel)."""
    with subject.arrays() as to_array:
        law = subject.process(to_array).condition(given(early, to_array))
        inputs = None if now.inputs is None else to_array(now.inputs)
        return to_numpy(law.at(to_array(now.times), inputs=inputs).log_density(to_array(now.values)))
