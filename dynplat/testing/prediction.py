"""Checks of simulation and of what `condition(...).at(...)` answers."""

from __future__ import annotations

import numpy as np

from dynplat.arrays import Observations, random_source, to_numpy
from dynplat.testing.report import CheckFailed, CheckSkipped
from dynplat.testing.subject import NUM_POINTS, Subject, compare_arrays, given

#: Draws of the statistical checks, and the quantile of their family-wise false-alarm probability of 1e-6.
_NUM_DRAWS = 4000
_FALSE_ALARM = 1e-6


def check_simulation_obeys_the_seed(subject: Subject) -> None:
    """The same seed gives the same draw, another seed another one."""
    subject.need("simulate")
    first, again, other = (_simulate(subject, seed) for seed in (1, 1, 2))
    if not np.array_equal(first, again):
        raise CheckFailed("two draws with one seed differ: randomness must come from `random` alone.")
    if np.array_equal(first, other):
        raise CheckFailed("draws with different seeds are equal: the seed is ignored.")


def check_simulation_is_finite(subject: Subject) -> None:
    """Draws have the shape of the observations and no NaN, for each parameter draw."""
    subject.need("simulate")
    expected = subject.observations.values.shape
    for point in range(NUM_POINTS):
        values = _simulate(subject, 3, point)
        if values.shape[-3:] != expected:
            raise CheckFailed(
                f"`sample` gives values of shape {values.shape}; expected {expected} (series, time, channel)."
            )
        if not np.isfinite(values).all():
            raise CheckFailed("`sample` gives values that are not finite.")


def check_conditioning_on_nothing_is_the_prior(subject: Subject) -> None:
    """Given nothing, the law at the rows has the moments of simulated data (false-alarm probability below 1e-6)."""
    subject.need("simulate", "condition", "coherent")
    observations = subject.observations
    nothing = observations._replace(mask=np.zeros_like(observations.mask))
    answers = _moments(subject, nothing, observations.times)
    with subject.arrays() as to_array:
        draws = subject.points[0]
        many = {
            name: to_array(np.broadcast_to(value, (_NUM_DRAWS, *value.shape)).copy())
            for name, value in draws[0].items()
        }
        process = subject.model.process(many, subject.context)
        random = random_source(subject.seed + 21, to_array(0.0))
        inputs = None if observations.inputs is None else to_array(observations.inputs)
        simulated = to_numpy(process.sample(to_array(observations.times), random=random, inputs=inputs).values)
    _compare_moments(
        "simulated data",
        simulated.reshape(_NUM_DRAWS, *observations.values.shape),
        answers["mean"],
        answers["variance"],
        "`sample` and `condition` on nothing are not of one law.",
    )


def check_draws_have_their_moments(subject: Subject) -> None:
    """Joint draws given the data have the means and variances that the law states (false-alarm probability < 1e-6)."""
    subject.need("condition")
    observations = subject.observations
    times = _queries(subject)
    answers = _moments(subject, observations, times, draws=True)
    _compare_moments(
        "draws given the data", answers["draws"], answers["mean"], answers["variance"], "`draws` and `mean` disagree."
    )


def check_marginals_agree_between_queries(subject: Subject) -> None:
    """Asking about more times does not change the answers about the others."""
    subject.need("condition", "coherent")
    observations = subject.observations
    times = _queries(subject)
    all_of_them = _moments(subject, observations, times)
    some = _moments(subject, observations, times[..., ::2])
    for name in ("mean", "variance"):
        compare_arrays(
            f"{name} at every second query time, asked alone",
            some[name],
            all_of_them[name][..., ::2, :],
            rtol=1e-7,
            atol=1e-9,
            cause="Laws for different query sets must be marginals of one law; otherwise declare `coherent=False`.",
        )


def check_data_narrow_the_law(subject: Subject) -> None:
    """Observing the values never widens the signal's law at their rows (Gaussian laws), and it does move its mean."""
    subject.need("condition", "coherent")
    observations = subject.observations
    nothing = observations._replace(mask=np.zeros_like(observations.mask))
    before = _moments(subject, nothing, observations.times)
    if before["family"] != "gaussian":
        raise CheckSkipped("the law is not Gaussian, so that data may widen it")
    after = _moments(subject, observations, observations.times)
    if (after["variance"] > before["variance"] * (1 + 1e-8) + 1e-10).any():
        raise CheckFailed("some variances given the data exceed those given nothing: conditioning is wrong.")
    if np.allclose(after["mean"], before["mean"], rtol=1e-12, atol=0):
        raise CheckFailed("the means given the data equal those given nothing: the observations are ignored.")


def check_forecast_forgets_the_mask(subject: Subject) -> None:
    """A masked last row counts as absent: the forecast is that of the shorter series."""
    subject.need("condition", "forecast", "missing_values", "coherent")
    observations = subject.observations
    mask = observations.mask.copy()
    mask[..., -1, :] = False
    ahead = observations.times[..., -1:] + np.array([0.5, 1.0, 3.0])
    base = _moments(subject, observations._replace(mask=mask), ahead)
    loud = observations._replace(mask=mask, values=np.where(mask, observations.values, 1e5))
    other = _moments(subject, loud, ahead)
    if not np.array_equal(base["mean"], other["mean"]):
        raise CheckFailed("the forecast changes with values behind the mask: the mask is ignored in `condition`.")


def check_states_can_be_asked(subject: Subject) -> None:
    """Means and variances of the states are there, finite, with one more axis than the signal's shape needs."""
    subject.need("condition", "states")
    answers = subject.ask(
        subject.observations,
        _queries(subject),
        {"mean": lambda law: law.mean("state"), "variance": lambda law: law.variance("state")},
    )
    if not (np.isfinite(answers["mean"]).all() and (answers["variance"] >= -1e-9).all()):
        raise CheckFailed("means or variances of the states are not finite, or variances are negative.")


def _simulate(subject: Subject, seed: int, point: int = 0) -> np.ndarray:
    observations = subject.observations
    with subject.arrays() as to_array:
        process = subject.process(to_array, point)
        random = random_source(seed, to_array(0.0))
        inputs = None if observations.inputs is None else to_array(observations.inputs)
        return to_numpy(process.sample(to_array(observations.times), random=random, inputs=inputs).values)


def _queries(subject: Subject) -> np.ndarray:
    """Times between the rows and, where the model forecasts, after them; (series, query)."""
    times = subject.observations.times
    if not subject.claims.irregular_times:
        return times
    inside = 0.5 * (times[..., 1:] + times[..., :-1])
    if not subject.claims.forecast:
        return inside
    return np.concatenate([inside, times[..., -1:] + np.array([0.7, 2.0])], axis=-1)


def _moments(subject: Subject, observations: Observations, times: np.ndarray, *, draws: bool = False) -> dict:
    with subject.arrays() as to_array:
        process = subject.process(to_array)
        law = process.condition(given(observations, to_array)).at(to_array(times))
        drawn = None
        if draws or law.family != "gaussian":
            random = random_source(subject.seed + 31, to_array(0.0))
            drawn = to_numpy(law.draws(_NUM_DRAWS, random=random))
        if law.family == "gaussian":
            mean, variance = to_numpy(law.mean()), to_numpy(law.variance())
        else:
            mean, variance = drawn.mean(axis=0), drawn.var(axis=0)
        return {"mean": mean, "variance": variance, "draws": drawn, "family": law.family}


def _compare_moments(name: str, drawn: np.ndarray, mean: np.ndarray, variance: np.ndarray, cause: str) -> None:
    from scipy import stats

    count = drawn.shape[0]
    sd = np.sqrt(np.maximum(variance, 0.0))
    scale = np.maximum(sd, 1e-12 * np.maximum(1.0, np.abs(mean)))
    width = stats.norm.isf(0.5 * _FALSE_ALARM / (2 * max(mean.size, 1)))
    z = np.abs(drawn.mean(axis=0) - mean) / (scale / np.sqrt(count))
    if np.nanmax(z) > width or not np.isfinite(z).all():
        raise CheckFailed(f"the mean of {name} is {np.nanmax(z):.1f} standard errors from the mean stated. {cause}")
    # The variance of a sample variance follows from the fourth moment, which heavy tails make large.
    centred = drawn - drawn.mean(axis=0)
    spread = np.sqrt(np.maximum((centred**4).mean(axis=0) - (centred**2).mean(axis=0) ** 2, 0.0) / count)
    z = np.abs((centred**2).mean(axis=0) - sd**2) / np.maximum(spread, 1e-12 * scale**2)
    if np.nanmax(z) > 1.3 * width:
        raise CheckFailed(f"the variance of {name} is {np.nanmax(z):.1f} standard errors from that stated. {cause}")
