"""Checks of what `condition(...).at(...)` answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynplat.arrays import Observations, random_source
from dynplat.testing.moments import (
    NUM_DRAWS,
    NUM_SIMULATIONS,
    compare_correlation,
    compare_frequencies,
    compare_moments,
)
from dynplat.testing.report import CheckFailed, compare_arrays
from dynplat.testing.subject import PopulationSubject, Subject, hide, hide_all

_MOMENTS = {"mean": lambda law: law.mean(), "variance": lambda law: law.variance()}
_STATE_MOMENTS = {"mean": lambda law: law.mean("state"), "variance": lambda law: law.variance("state")}
#: Draws of which not all may be equal.
_SEVERAL = 20


def check_data_narrow_the_law(subject: Subject) -> None:
    """Observing values never widens the signal's law at their rows, and draws its mean towards them (Gaussian laws)."""
    subject.need("condition", "coherent")
    subject.need_gaussian()
    observations = subject.observations
    questions = {"mean": lambda law: law.mean("signal"), "variance": lambda law: law.variance("signal")}
    before = subject.ask(hide_all(observations), observations.times, questions)
    after = subject.ask(observations, observations.times, questions)
    if (after["variance"] > before["variance"] * (1 + 1e-8) + 1e-10).any():
        raise CheckFailed("some variances given the data exceed those given nothing: conditioning is wrong.")
    if np.allclose(after["mean"], before["mean"], rtol=1e-12, atol=0):
        raise CheckFailed("the means given the data equal those given nothing: `condition` ignores the observations.")
    # One channel, so that what others say about it does not count; the response to its own value is a gain.
    seen, row, push = hide(observations, ..., slice(1, None)), 0, 1.0
    pushed = seen.values.copy()
    pushed[..., row, 0] += push
    means = [
        subject.ask(which, observations.times, {"mean": lambda law: law.mean("signal")})["mean"]
        for which in (seen, seen._replace(values=pushed))
    ]
    gain = (means[1] - means[0])[..., row, 0] / push
    live = seen.mask[..., row, 0]
    if ((gain < -1e-9) | (gain > 1 + 1e-9))[live].any():
        raise CheckFailed(
            f"raising an observed value by 1 moves the signal's mean at its row by {gain[live].max():.4g}; expected "
            "between 0 and 1: `condition` counts the value wrongly, or for another row."
        )


def check_marginals_agree_between_queries(subject: Subject) -> None:
    """Asking about more times does not change the answers about the others (Gaussian laws; states of all)."""
    subject.need("condition", "coherent")
    moments = _MOMENTS
    if subject.family != "gaussian":
        subject.need("states")
        moments = _STATE_MOMENTS
    times = _queries(subject)
    all_of_them = subject.ask(subject.observations, times, moments)
    some = subject.ask(subject.observations, times[..., ::2], moments)
    for name in moments:
        compare_arrays(
            f"{name} at every second query time, asked alone",
            some[name],
            all_of_them[name][..., ::2, :],
            rtol=1e-7,
            atol=1e-9,
            cause="Laws for different query sets must be marginals of one law; otherwise declare `coherent=False`.",
        )


def check_density_has_the_moments(subject: Subject) -> None:
    """`log_density` of a Gaussian law is that of the means and variances it states, and the signal is no wider."""
    subject.need("condition")
    subject.need_gaussian()
    observations, times = subject.observations, _queries(subject)
    value = float(np.median(observations.values[observations.mask])) if observations.mask.any() else 0.0

    def density(law: Any) -> Any:
        return law.log_density(0.0 * law.mean() + value)

    answers = subject.ask(
        observations, times, {**_MOMENTS, "density": density, "signal": lambda law: law.variance("signal")}
    )
    mean, variance = answers["mean"], answers["variance"]
    compare_arrays(
        "`log_density` against the normal density of `mean` and `variance`",
        answers["density"],
        -0.5 * ((value - mean) ** 2 / variance + np.log(2 * np.pi * variance)),
        rtol=1e-8,
        atol=1e-8,
        cause="The law's density and its moments are not of one law.",
    )
    if (answers["signal"] > variance * (1 + 1e-9)).any():
        raise CheckFailed("the variance of the signal exceeds that of the observation, which adds noise to it.")


def check_draws_obey_the_seed(subject: Subject) -> None:
    """Draws given the data are the same for one seed and others for another."""
    subject.need_one("condition", "forecast")
    times = _queries(subject)
    # Laws of few values may give equal draws by chance.
    first, again, other = (draws_of(subject, subject.observations, times, seed, _SEVERAL) for seed in (1, 1, 2))
    if not np.array_equal(first, again):
        raise CheckFailed("two sets of draws with one seed differ: the seed is ignored by `draws`.")
    if np.array_equal(first, other):
        raise CheckFailed("draws with different seeds are equal: the seed is ignored by `draws`.")
    if (first == first[0]).all():
        raise CheckFailed("several draws of one call are equal: `draws` must draw each of them anew.")


def check_draws_have_their_moments(subject: Subject) -> None:
    """Draws given the data have the means and variances that the law states (false-alarm probability below 1e-6)."""
    subject.need("condition")
    times = _queries(subject)
    if subject.family != "gaussian":
        subject.need("states")
        stated = subject.ask(subject.observations, times, _STATE_MOMENTS)
        drawn = draws_of(subject, subject.observations, times, subject.seed + 31, NUM_DRAWS, "state")
        compare_frequencies("draws of the state given the data", drawn, stated["mean"], "`draws` and `mean` disagree.")
        return
    for of in ("observation", "signal", *(("state",) if subject.claims.states else ())):
        stated = subject.ask(
            subject.observations,
            times,
            {"mean": lambda law, of=of: law.mean(of), "variance": lambda law, of=of: law.variance(of)},
        )
        drawn = draws_of(subject, subject.observations, times, subject.seed + 31, NUM_DRAWS, of)
        compare_moments(
            f"draws of the {of} given the data",
            drawn,
            stated["mean"],
            stated["variance"],
            "`draws` and the moments of the law disagree.",
        )


def check_draws_move_together(subject: Subject) -> None:
    """Draws at two times have the correlation that conditioning implies (Gaussian laws; false alarms below 1e-6).

    Observing the first of two jointly Gaussian numbers moves the mean of the second by their covariance over the
    variance of the first: so the covariance follows from `condition` alone.
    """
    subject.need("condition", "coherent")
    subject.need_gaussian()
    complete, rows = subject.complete, (2, 3)
    times = complete.times
    cases = {"draws given the data": hide(complete, ..., rows, slice(None))}
    if subject.claims.simulate:
        cases["simulated values"] = hide_all(complete)
    for name, known in cases.items():
        before = subject.ask(known, times, _MOMENTS)
        push = np.sqrt(before["variance"][:, rows[0], 0])
        mask, values = known.mask.copy(), known.values.copy()
        mask[:, rows[0], 0] = True
        values[:, rows[0], 0] = before["mean"][:, rows[0], 0] + push
        after = subject.ask(known._replace(mask=mask, values=values), times, _MOMENTS)
        moved = (after["mean"] - before["mean"])[:, rows[1], 0]
        if name == "simulated values":
            drawn = subject.simulated(NUM_SIMULATIONS)
        else:
            drawn = draws_of(subject, known, times, subject.seed + 41, NUM_DRAWS)
        for series in range(complete.times.shape[0]):
            variances = before["variance"][series, rows, 0]
            compare_correlation(
                f"{name} at rows {rows[0]} and {rows[1]} of series {series}",
                drawn[:, series, rows[0], 0],
                drawn[:, series, rows[1], 0],
                float(moved[series] / push[series] * variances[0]),
                (float(variances[0]), float(variances[1])),
                "Joint draws must carry the dependence between times."
                if name != "simulated values"
                else "`sample` and `condition` are not of one law.",
            )


def check_forecast_forgets_the_mask(subject: Subject) -> None:
    """A masked last row counts as absent: the forecast is that of the shorter series, whatever the mask hides."""
    subject.need("condition", "forecast", "missing_values", "coherent")
    subject.need_gaussian()
    observations = subject.observations
    masked = hide(observations, ..., -1, slice(None))
    step = np.array([0.5, 1.0, 3.0]) if subject.claims.irregular_times else subject.step * np.array([1.0, 2.0, 4.0])
    ahead = observations.times[..., -1:] + step
    base = subject.ask(masked, ahead, _MOMENTS)
    loud = masked._replace(values=np.where(masked.mask, masked.values, 1e5))
    if not np.array_equal(base["mean"], subject.ask(loud, ahead, _MOMENTS)["mean"]):
        raise CheckFailed("the forecast changes with values behind the mask: the mask is ignored by `condition`.")
    if observations.inputs is not None:
        return
    shorter = Observations(*(None if leaf is None else leaf[:, :-1] for leaf in masked))
    without = subject.ask(shorter, ahead, _MOMENTS)
    for name in _MOMENTS:
        compare_arrays(
            f"{name} of the forecast after a masked last row",
            base[name],
            without[name],
            rtol=1e-7,
            atol=1e-9,
            cause="A row with nothing observed must count as absent: `condition` counts it.",
        )


def check_states_can_be_asked(subject: Subject) -> None:
    """Means and variances of the states are there, of one shape, and finite."""
    subject.need("condition", "states")
    questions = {"mean": lambda law: law.mean("state"), "variance": lambda law: law.variance("state")}
    if subject.family != "gaussian":
        questions = {"draws": lambda law: law.draws(2, random=_random(subject, 1), of="state")}
    answers = subject.ask(subject.observations, _queries(subject), questions)
    for name, value in answers.items():
        if not np.isfinite(value).all():
            raise CheckFailed(f"the {name} of the states given the data is not finite everywhere.")
    if "variance" in answers and (answers["variance"] < -1e-9).any():
        raise CheckFailed("variances of the states are negative.")
    if len({value.shape for value in answers.values()}) > 1:
        raise CheckFailed(f"mean {answers['mean'].shape} and variance {answers['variance'].shape} of states differ.")


def _random(subject: Subject, seed: int) -> Any:
    with subject.arrays() as to_array:
        return random_source(seed, to_array(0.0))


def draws_of(
    subject: Subject, observations: Observations, times: np.ndarray, seed: int, count: int, of: str = "observation"
) -> np.ndarray:
    """Joint draws of the law at `times` given the observations, (draw, series, query, channel)."""
    random = _random(subject, seed)
    return subject.ask(observations, times, {"draws": lambda law: law.draws(count, random=random, of=of)})["draws"]


def later(subject: Subject) -> np.ndarray:
    """Times after the rows, (series, query)."""
    steps = np.array([0.7, 2.0]) if subject.claims.irregular_times else subject.step * np.array([1.0, 2.0])
    return subject.observations.times[..., -1:] + steps


def _queries(subject: Subject) -> np.ndarray:
    """Times between the rows and, where the model forecasts, after them; (series, query).

    For a model that takes equal steps only, all times of the grid.
    """
    if isinstance(subject, PopulationSubject):
        return subject.queries
    times = subject.observations.times
    if not subject.claims.condition:
        return later(subject)
    if not subject.claims.irregular_times:
        if not subject.claims.missing_values:
            return times
        count = round(float(np.ptp(times, axis=-1).max()) / subject.step) + (3 if subject.claims.forecast else 1)
        return times[..., :1] + subject.step * np.arange(count)
    inside = 0.5 * (times[..., 1:] + times[..., :-1])
    if not subject.claims.forecast:
        return inside
    return np.concatenate([inside, times[..., -1:] + np.array([0.7, 2.0])], axis=-1)
