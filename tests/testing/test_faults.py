"""Models deliberately made wrong: each is caught by a check whose message names the fault; the correct twin passes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from math import log, pi
from typing import Any, ClassVar

import numpy as np
import pytest

from dynplat.arrays import array_namespace, asarray_like, random_source, stop_gradient
from dynplat.errors import CapabilityError
from dynplat.model import AbstractModel, summarise
from dynplat.process import AbstractPredictive, AbstractProcess, Draw, LinearSDE
from dynplat.process.base import AbstractConditional
from dynplat.process.dynamics import OrnsteinUhlenbeck
from dynplat.process.gaps import gaps_between
from dynplat.records import Capabilities, ModelEntry
from dynplat.scan import check_driver
from dynplat.testing import check_model, list_checks

ONE = Capabilities(states=True, multichannel=False, languages=("pyro",))
BOTH = dataclasses.replace(ONE, languages=("numpyro", "pyro"))


class Ornstein(AbstractProcess):
    """An Ornstein-Uhlenbeck process seen with noise: a scalar Kalman filter written out, with places for faults."""

    def __init__(self, rate: Any, sd: Any, noise_sd: Any, mean: Any) -> None:
        self.rate, self.sd, self.noise_sd, self.mean = rate, sd, noise_sd, mean

    def law(self, **other: Any) -> LinearSDE:
        """The same law from the platform's own parts, with some of its parameters changed."""
        own = {"rate": self.rate, "sd": self.sd, "noise_sd": self.noise_sd, "mean": self.mean, **other}
        H = asarray_like([[1.0]], self.sd)
        return LinearSDE(
            OrnsteinUhlenbeck(own["rate"], own["sd"]),
            H,
            own["noise_sd"][..., None, None] ** 2,
            d=own["mean"][..., None],
        )

    def gaps(self, times: Any) -> Any:
        """Gaps before each row."""
        return asarray_like(gaps_between(times), self.sd)

    def term(self, residual: Any, variance: Any) -> Any:
        """Log density of a residual."""
        return -0.5 * (residual**2 / variance + array_namespace(variance).log(variance) + log(2 * pi))

    def values(self, observations: Any) -> Any:
        """What was observed, (..., series, time)."""
        return asarray_like(observations.values, self.sd)[..., 0]

    def seen(self, observations: Any) -> Any:
        """Which rows count, (..., series, time)."""
        return asarray_like(observations.mask, self.sd)[..., 0]

    def log_prob_steps(self, observations: Any) -> Any:
        """Terms log p(y_t | y_<t)."""
        xp = array_namespace(self.sd)
        values, seen, gaps = self.values(observations), self.seen(observations), self.gaps(observations.times)
        state, variance, terms = self.mean, self.sd**2, []
        for t in range(values.shape[-1]):
            if t:
                decay = xp.exp(-self.rate * gaps[..., t])
                state = self.mean + decay * (state - self.mean)
                variance = self.sd**2 + decay**2 * (variance - self.sd**2)
            total = variance + self.noise_sd**2
            residual = xp.where(seen[..., t], values[..., t] - state, 0.0)
            terms.append(xp.where(seen[..., t], self.term(residual, total), 0.0))
            gain = xp.where(seen[..., t], variance / total, 0.0)
            state, variance = state + gain * residual, variance * (1.0 - gain)
        return xp.stack(xp.broadcast_arrays(*terms), axis=-1)

    def sample(self, times: Any, *, random: Any, inputs: Any = None) -> Draw:
        """Draw trajectories."""
        return self.law().sample(times, random=random)

    def condition(self, observations: Any) -> AbstractConditional:
        """The law given observations."""
        return self.law().condition(observations._replace(inputs=None))


@dataclass(frozen=True)
class Model(AbstractModel):
    """The correct model."""

    entry = ModelEntry("faulty/model", "Ornstein-Uhlenbeck process seen with noise", capabilities=ONE)
    kind: ClassVar[type[AbstractProcess]] = Ornstein
    count: int = 3

    def prior(self, pp, context):
        pp.sample("rate", pp.dist.LogNormal(-np.log(2.0 * context["gap"]), 0.5))
        pp.sample("sd", pp.dist.LogNormal(float(np.log(context["scale"][0])), 0.5))
        pp.sample("noise_sd", pp.dist.LogNormal(float(np.log(0.3 * context["scale"][0])), 0.5))

    def process(self, sites, context):
        mean = asarray_like(np.array([float(context["location"][0])]), sites["sd"])
        return self.kind(sites["rate"], sites["sd"], sites["noise_sd"], mean)


def model(kind: type[AbstractProcess] = Ornstein, claims: Capabilities = ONE, **members: Any) -> AbstractModel:
    """Build a model with another process, other capabilities or other members."""
    entry = ModelEntry("faulty/model", "Made wrong on purpose", capabilities=claims)
    faulty = type("Faulty", (Model,), {"kind": kind, "entry": entry, "__annotations__": {}, **members})
    return dataclass(frozen=True)(faulty)()


# Faults of the process.


class LogDeterminantForgotten(Ornstein):
    def term(self, residual, variance):
        return -0.5 * (residual**2 / variance + log(2 * pi))


class LogDeterminantHalved(Ornstein):
    def term(self, residual, variance):
        return -0.5 * (residual**2 / variance + 0.5 * array_namespace(variance).log(variance) + log(2 * pi))


class ConstantLost(Ornstein):
    def term(self, residual, variance):
        return -0.5 * (residual**2 / variance + array_namespace(variance).log(variance))


class TimeIgnored(Ornstein):
    """The transition is that of one unit of time, whatever the gap."""

    def gaps(self, times):
        return 0.0 * super().gaps(times) + 1.0

    def law(self, **other):
        law = super().law(**other)
        step = law.dynamics.step
        object.__setattr__(law.dynamics, "step", lambda gaps: step(0.0 * gaps + 1.0))
        return law


class TimeIgnoredInSample(Ornstein):
    def sample(self, times, *, random, inputs=None):
        xp = array_namespace(times)
        return super().sample(xp.cumulative_sum(xp.ones_like(times), axis=-1), random=random)


class Rows(AbstractConditional):
    """Answers at the row numbers of the times asked for."""

    def __init__(self, law: AbstractConditional, times: np.ndarray) -> None:
        self.law, self.times = law, times

    def at(self, times, *, inputs=None):
        asked = np.asarray(times)
        rows = np.stack([np.searchsorted(own, one, side="right") for own, one in zip(self.times, asked, strict=True)])
        return self.law.at(rows - 1.0 + 0.5 * ~np.isin(asked, self.times))


class TimeIgnoredInCondition(Ornstein):
    def condition(self, observations):
        times = np.asarray(observations.times)
        rows = np.broadcast_to(np.arange(times.shape[-1], dtype=float), times.shape)
        return Rows(self.law().condition(observations._replace(times=rows)), times)


class MaskIgnored(Ornstein):
    def seen(self, observations):
        return asarray_like(np.ones_like(np.asarray(observations.mask[..., 0], dtype=bool)), self.sd)


class MissingCountedAsZero(Ornstein):
    """A missing value moves the state as if 0 had been seen, and is not scored."""

    def values(self, observations):
        values = super().values(observations)
        return array_namespace(values).where(super().seen(observations), values, 0.0)

    def seen(self, observations):
        return asarray_like(np.ones_like(np.asarray(observations.mask[..., 0], dtype=bool)), self.sd)

    def log_prob_steps(self, observations):
        steps = super().log_prob_steps(observations)
        return array_namespace(steps).where(super().seen(observations), steps, 0.0)


class SeedIgnored(Ornstein):
    def sample(self, times, *, random, inputs=None):
        return super().sample(times, random=random_source(0, self.sd))


class NoiseShared(Ornstein):
    """All parameter draws on a leading axis get one and the same noise."""

    def sample(self, times, *, random, inputs=None):
        xp = array_namespace(self.sd)

        def normal(shape):
            return xp.broadcast_to(random.normal((*[1] * (len(shape) - 3), *shape[-3:])), shape)

        return super().sample(times, random=random._replace(normal=normal))


class SampleOfAnotherNoise(Ornstein):
    def sample(self, times, *, random, inputs=None):
        return self.law(noise_sd=3.0 * self.noise_sd).sample(times, random=random)


class SampleOfAnotherMemory(Ornstein):
    def sample(self, times, *, random, inputs=None):
        return self.law(rate=20.0 * self.rate).sample(times, random=random)


class NoiseOfConditionHalved(Ornstein):
    def condition(self, observations):
        return self.law(noise_sd=0.5 * self.noise_sd).condition(observations)


class SeriesMixed(Ornstein):
    def values(self, observations):
        values = super().values(observations)
        return values - 0.1 * values.mean(-2)[..., None, :]


class PaddingCounted(Ornstein):
    def log_prob_steps(self, observations):
        return (1.0 + 0.01 * observations.times.shape[-1]) * super().log_prob_steps(observations)


class FutureSeen(Ornstein):
    """The data are centred before they are scored."""

    def values(self, observations):
        values = super().values(observations)
        return values - 0.1 * values[..., -1:]


class SiteDetached(Ornstein):
    def __init__(self, rate, sd, noise_sd, mean):
        super().__init__(stop_gradient(rate), sd, noise_sd, mean)


class AllDetached(Ornstein):
    def log_prob_steps(self, observations):
        return stop_gradient(super().log_prob_steps(observations))


class FirstDrawOnly(Ornstein):
    def __init__(self, rate, sd, noise_sd, mean):
        super().__init__(rate.reshape(-1)[:1], sd, noise_sd, mean)


class Promoted(Ornstein):
    def __init__(self, rate, sd, noise_sd, mean):
        import torch

        super().__init__(rate, sd * torch.ones(1, dtype=torch.float64), noise_sd, mean)


class OneFrameworkOff(Ornstein):
    def log_prob_steps(self, observations):
        steps = super().log_prob_steps(observations)
        return steps if "torch" in type(steps).__module__ else 1.00001 * steps


class DriverMatters(Ornstein):
    def log_prob_steps(self, observations):
        return (1.001 if check_driver("auto") == "balanced" else 1.0) * super().log_prob_steps(observations)


class ChainWithoutItsDensity(Ornstein):
    """Says which chain it is, and has a likelihood that is off by a few parts in ten thousand."""

    def chain(self, times, inputs=None):
        return self.law().chain(times)

    def term(self, residual, variance):
        return super().term(residual, 1.0004 * variance)


class Predictive(AbstractPredictive):
    """A law whose answers are changed on the way."""

    family = "gaussian"

    def __init__(self, law: AbstractPredictive) -> None:
        self.law = law

    def mean(self, of="observation"):
        return self.law.mean(of)

    def variance(self, of="observation"):
        return self.law.variance(of)

    def log_density(self, values):
        return self.law.log_density(values)

    def draws(self, num_draws, *, random, of="observation"):
        return self.law.draws(num_draws, random=random, of=of)


class Answering(AbstractConditional):
    """A conditional that wraps its laws."""

    def __init__(self, law: AbstractConditional, wrap: Any) -> None:
        self.law, self.wrap = law, wrap

    def at(self, times, *, inputs=None):
        return self.wrap(self.law.at(times))


def answering(wrap: Any) -> type[Ornstein]:
    """An Ornstein-Uhlenbeck process whose predictions are wrapped."""

    def condition(self, observations):
        return Answering(Ornstein.condition(self, observations), wrap)

    return type("Answering", (Ornstein,), {"condition": condition})


class DrawsTooWide(Predictive):
    def draws(self, num_draws, *, random, of="observation"):
        mean = self.law.mean(of)
        return mean + 1.2 * (self.law.draws(num_draws, random=random, of=of) - mean)


class DrawsIndependent(Predictive):
    def draws(self, num_draws, *, random, of="observation"):
        mean, variance = self.law.mean(of), self.law.variance(of)
        return mean + variance**0.5 * random.normal((num_draws, *mean.shape))


class DrawsWithoutSeed(Predictive):
    def draws(self, num_draws, *, random, of="observation"):
        return self.law.draws(num_draws, random=random_source(0, self.law.mean()), of=of)


class WiderWithEveryQuery(Predictive):
    def variance(self, of="observation"):
        variance = self.law.variance(of)
        return variance * (1.0 + 0.01 * variance.shape[-2])


class DensityOfAnotherVariance(Predictive):
    def log_density(self, values):
        return self.law.log_density(values) + 0.01


class DataIgnored(Ornstein):
    def condition(self, observations):
        return super().condition(observations._replace(mask=np.zeros_like(np.asarray(observations.mask))))


class ForecastReadsTheMask(Ornstein):
    def condition(self, observations):
        mask = np.asarray(observations.mask).copy()
        mask[..., -1, :] = True
        return super().condition(observations._replace(mask=mask))


PROCESSES = [
    (LogDeterminantForgotten, "density-integrates-to-one", "the log-determinant is left out"),
    (LogDeterminantHalved, "density-integrates-to-one", r"the log-determinant is counted 0\.5 times"),
    (ConstantLost, "density-integrates-to-one", r"adds 0\.9189 \(\+1/2 log\(2 pi\)\) too much"),
    (TimeIgnored, "time-matters", "`log_prob` and `sample` .* and `condition` give the same .*: time is ignored"),
    (TimeIgnored, "splitting-a-gap-changes-nothing", "the transition ignores or miscounts time"),
    (TimeIgnoredInSample, "time-matters", r"`sample` \(with one seed\) give the same .*: time is ignored"),
    (TimeIgnoredInCondition, "time-matters", "^`condition` give the same .*: time is ignored"),
    (MaskIgnored, "masked-rows-contribute-zero", "expected exactly 0. The mask is ignored"),
    (MaskIgnored, "missing-is-marginal", "the mask is ignored"),
    (MissingCountedAsZero, "missing-is-marginal", "must be marginalised: the mask is ignored or miscounted"),
    (SeedIgnored, "simulation-obeys-the-seed", "different seeds are equal: the seed is ignored"),
    (NoiseShared, "simulation-obeys-the-seed", "share one noise"),
    (SampleOfAnotherNoise, "likelihood-fits-simulation", "`sample` and `log_prob` are not of one law"),
    (SampleOfAnotherNoise, "conditioning-on-nothing-is-the-prior", "variance of simulated data .* not of one law"),
    (SampleOfAnotherMemory, "draws-move-together", "simulated values at rows 2 and 3 .* not of one law"),
    (NoiseOfConditionHalved, "steps-are-conditional-densities", "`condition` are not of one law"),
    (SeriesMixed, "series-order-is-free", "Series mix"),
    (PaddingCounted, "padding-changes-nothing", "Padding is counted"),
    (FutureSeen, "steps-do-not-see-the-future", "must not read later rows"),
    (SiteDetached, "gradient", "gradient of log_prob in 'rate' under torch.*got 0 .*The gradient is cut"),
    (AllDetached, "gradient", "no gradient at all under torch"),
    (FirstDrawOnly, "parameters-broadcast", "must broadcast over leading axes"),
    (Promoted, "single-precision", "gave `log_prob` in float64: dtype must follow the parameters"),
    (DriverMatters, "drivers-agree", "driver 'balanced' against 'sequential'"),
    (ChainWithoutItsDensity, "dense-twin-agrees", "not the density of the chain"),
    (answering(DrawsTooWide), "draws-have-their-moments", "`draws` and the moments of the law disagree"),
    (answering(DrawsIndependent), "draws-move-together", "must carry the dependence between times"),
    (answering(DrawsWithoutSeed), "draws-obey-the-seed", "the seed is ignored by `draws`"),
    (answering(WiderWithEveryQuery), "marginals-agree-between-queries", "otherwise declare `coherent=False`"),
    (answering(DensityOfAnotherVariance), "density-has-the-moments", "density and its moments are not of one law"),
    (DataIgnored, "data-narrow-the-law", "ignores the observations"),
    (ForecastReadsTheMask, "forecast-forgets-the-mask", "the mask is ignored by `condition`"),
]


@pytest.mark.parametrize(
    ("kind", "check", "message"), PROCESSES, ids=[f"{kind.__name__}-{check}" for kind, check, _ in PROCESSES]
)
def test_faulty_process_is_named(kind, check, message):
    assert_matches(message, fault(model(kind), check))


@pytest.mark.parametrize("claims", [ONE, BOTH], ids=["pyro", "both languages"])
def test_correct_twin_passes(claims):
    report = check_model(model(claims=claims))
    assert report.passed, str(report)
    skipped = {result.check for result in report.results if result.status == "skipped"}
    expected = {"solver", "undeclared-is-refused", "inputs-act", "drivers-agree", "dense-twin-agrees"}
    expected |= {"events-exhaust-the-law", "events-agree-with-looks"}
    expected |= {"forecast-is-the-next-term", "forecast-follows-the-data"}
    expected |= {"composite-terms-are-densities", "composite-counts-what-is-observed"}
    expected |= {"law-of-a-cell-has-its-density", "law-of-a-cell-follows-the-data"}
    assert skipped <= expected | {"frameworks-agree", "languages-agree"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_correct_twin_passes_with_other_seeds(seed):
    report = check_model(model(), seed=seed)
    assert report.passed, str(report)


def test_law_without_memory_need_not_know_time():
    class White(Ornstein):
        def gaps(self, times):
            return 0.0 * super().gaps(times) + 1e9

        def law(self, **other):
            return super().law(**{"rate": 1e9 * self.rate, **other})

    found = {result.check: result for result in check_model(model(White)).results}
    assert found["time-matters"].status == "skipped"
    assert "does not depend on the order of the rows" in found["time-matters"].message


# Faults of the model.


def prior_of_fixed_rate(self, pp, context):
    pp.sample("rate", pp.dist.LogNormal(0.0, 0.5))
    pp.sample("sd", pp.dist.LogNormal(float(np.log(context["scale"][0])), 0.5))
    pp.sample("noise_sd", pp.dist.LogNormal(float(np.log(0.3 * context["scale"][0])), 0.5))


def prior_of_two_languages(self, pp, context):
    pp.sample("rate", pp.dist.LogNormal(-np.log(context["gap"]), 0.5 if pp.name == "pyro" else 0.51))
    pp.sample("sd", pp.dist.LogNormal(float(np.log(context["scale"][0])), 0.5))
    pp.sample("noise_sd", pp.dist.LogNormal(float(np.log(0.3 * context["scale"][0])), 0.5))


def prior_of_two_names(self, pp, context):
    Model.prior(self, pp, context)
    pp.deterministic("speed" if pp.name == "pyro" else "velocity", pp.array(1.0))


def prepare_peeking(self, data):
    context = summarise(data)
    return context.with_values(location=data.values.mean(axis=(0, 1)))


def prepare_on_itself(self, data):
    object.__setattr__(self, "location", float(data.values[data.mask].mean()))
    return summarise(data)


def process_of_itself(self, sites, context):
    mean = asarray_like(np.array([self.location]), sites["sd"])
    return self.kind(sites["rate"], sites["sd"], sites["noise_sd"], mean)


def prepare_failing(self, data):
    raise ZeroDivisionError("division by zero")


def solve_at_random(self, observations, context, *, seed):
    return {"rate": np.random.default_rng().lognormal(size=4)}


def test_prior_on_a_fixed_clock_is_named_and_nothing_else():
    (only,) = check_model(model(prior=prior_of_fixed_rate)).faults
    assert only.check == "unit-of-time-is-free"
    assert_matches("does not scale with the unit of time", only.message)


def test_languages_with_different_priors_are_named():
    found = fault(model(claims=BOTH, prior=prior_of_two_languages), "languages-agree")
    assert_matches("not the same program in both languages", found)


def test_languages_with_different_sites_are_named():
    assert_matches(
        "languages disagree on sites.*speed",
        fault(model(claims=BOTH, prior=prior_of_two_names), "prior-runs-in-each-language"),
    )


def test_frameworks_that_differ_are_named():
    assert_matches(
        "log_prob_steps under JAX against torch", fault(model(OneFrameworkOff, claims=BOTH), "frameworks-agree")
    )


def test_python_condition_on_a_site_is_named():
    class Branching(Ornstein):
        def term(self, residual, variance):
            return super().term(residual, variance) if (variance > 0).all() else None

    assert_matches("cannot be compiled by JAX", fault(model(Branching, claims=BOTH), "gradient"))


def test_peeking_context_is_named():
    assert_matches(
        "constant 'location' of the context depends on hidden cells",
        fault(model(prepare=prepare_peeking), "context-ignores-hidden-cells"),
    )


def test_knowledge_outside_the_context_is_named():
    assert_matches(
        "`prepare` changes the model",
        fault(model(prepare=prepare_on_itself, process=process_of_itself), "context-ignores-hidden-cells"),
    )
    assert_matches(
        "cannot predict: AttributeError.*All that a model knows",
        fault(model(prepare=prepare_on_itself, process=process_of_itself), "saving"),
    )


def test_context_that_changes_when_saved_is_named():
    def prepare(self, data):
        return summarise(data).with_values(knots={1.0, 2.0})

    assert_matches("constant 'knots'|cannot be saved", fault(model(prepare=prepare), "saving"))


def test_failing_prepare_is_told_once():
    report = check_model(model(prepare=prepare_failing))
    assert [fault.check for fault in report.faults] == ["context-ignores-hidden-cells"]
    assert_matches("ZeroDivisionError: division by zero", report.faults[0].message)
    reasons = {result.message for result in report.results if "not run" in result.message}
    assert reasons == {"not run, because `prepare` fails: ZeroDivisionError."}


def test_options_that_are_no_json_are_named():
    @dataclass(frozen=True)
    class Opaque(Model):
        knots: Any = frozenset({1})

    assert_matches("cannot be written as JSON.*frozenset", fault(Opaque(), "record"))


def test_options_that_come_back_changed_are_named():
    @dataclass(frozen=True)
    class Rounding(Model):
        width: float = 0.5

        def __post_init__(self):
            object.__setattr__(self, "width", self.width * 2)

    assert_matches("built again from its own options", fault(Rounding(), "record"))


def test_class_that_is_not_frozen_is_named():
    assert_matches(
        r"must be a frozen dataclass", fault(type("Loose", (Model,), {"__dataclass_params__": None})(), "record")
    )


def test_location_of_another_class_is_named():
    entry = ModelEntry("faulty/model", "Elsewhere", "dynplat.process:LinearSDE", capabilities=ONE)
    assert_matches("expected a subclass of AbstractModel", fault(model(entry=entry), "record"))


def test_solver_without_seed_is_named():
    assert_matches(
        "'rate' of `solve` differs between two runs with one seed", fault(model(solve=solve_at_random), "solver")
    )


def test_undeclared_answer_is_named():
    assert_matches(
        "does not claim 'simulate', yet the process answers",
        fault(model(claims=dataclasses.replace(ONE, simulate=False)), "undeclared-is-refused"),
    )


class LaterOnly(AbstractConditional):
    """Answers about times after the data only, with a fault on the way."""

    def __init__(self, process: Ornstein, observations: Any) -> None:
        self.law, self.last = process.law().condition(observations._replace(inputs=None)), observations.times[..., -1:]

    def at(self, times, *, inputs=None):
        if (np.asarray(times) <= np.asarray(self.last)).any():
            raise CapabilityError("only later times")
        return self.law.at(times)


class Forecasting(Ornstein):
    """A correct process that refuses questions inside the data."""

    def condition(self, observations):
        return LaterOnly(self, observations)


class ForecastOfAnotherNoise(Forecasting):
    def condition(self, observations):
        return LaterOnly(Ornstein(self.rate, self.sd, 2.0 * self.noise_sd, self.mean), observations)


class ForecastWithoutMask(Forecasting):
    def condition(self, observations):
        return LaterOnly(self, observations._replace(mask=np.ones_like(observations.mask)))


class ForecastOfNothing(Forecasting):
    def condition(self, observations):
        return LaterOnly(self, observations._replace(mask=np.zeros_like(observations.mask)))


LATER = dataclasses.replace(ONE, condition=False, states=False)


def test_process_that_only_forecasts_conforms():
    report = check_model(model(Forecasting, claims=LATER))
    assert report.passed, str(report)
    passed = {result.check for result in report.results if result.status == "passed"}
    assert {"forecast-is-the-next-term", "forecast-follows-the-data", "draws-obey-the-seed", "saving"} <= passed


@pytest.mark.parametrize(
    ("kind", "check", "message"),
    [
        (ForecastOfAnotherNoise, "forecast-is-the-next-term", "`log_prob_steps` and the forecast are not of one law"),
        (ForecastWithoutMask, "forecast-follows-the-data", "the forecast changes with values behind the mask"),
        (ForecastOfNothing, "forecast-follows-the-data", "`condition` ignores the observations"),
        (Ornstein, "undeclared-is-refused", "does not claim 'condition', yet the process answers"),
    ],
)
def test_faulty_forecast_is_named(kind, check, message):
    assert_matches(message, fault(model(kind, claims=LATER), check))


def test_ignored_inputs_are_named():
    assert_matches("the inputs are ignored", fault(model(claims=dataclasses.replace(ONE, inputs=True)), "inputs-act"))


@pytest.mark.slow
@pytest.mark.parametrize("claims", [ONE, BOTH], ids=["pyro", "numpyro"])
def test_calibration_passes_the_correct_twin(claims):
    result = check_model(model(claims=claims), slow=True).results[-1]
    assert (result.check, result.status) == ("calibration", "passed"), result.message


@pytest.mark.slow
@pytest.mark.parametrize("kind", [LogDeterminantHalved, SampleOfAnotherNoise, MissingCountedAsZero])
def test_calibration_names_laws_that_do_not_belong_together(kind):
    result = check_model(model(kind, claims=BOTH), slow=True).results[-1]
    assert result.status == "failed"
    assert_matches("do not belong together", result.message)


def fault(faulty: AbstractModel, name: str) -> str:
    """Run one check, which must fail, and return its message."""
    (check,) = (check for check in list_checks(faulty) if check.name == name)
    result = check.result()
    assert result.status == "failed", result
    return result.message


def assert_matches(pattern: str, message: str) -> None:
    import re

    assert re.search(pattern, message, re.DOTALL), message
