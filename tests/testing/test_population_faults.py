"""Models of snapshots deliberately made wrong: each is caught by the check that names it; the correct twin passes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from dynplat.arrays import to_numpy
from dynplat.data import Snapshots
from dynplat.errors import ArgumentError, CapabilityError
from dynplat.model import AbstractModel
from dynplat.process import AbstractPredictive, AbstractProcess
from dynplat.process.base import AbstractConditional
from dynplat.records import Capabilities, ModelEntry
from dynplat.testing import check_model, list_checks

CLAIMS = Capabilities(
    observations=("snapshots",),
    prior=False,
    likelihood=False,
    simulate=False,
    gradients=False,
    missing_values=False,
    languages=(),
)


class Lines(AbstractPredictive):
    """Particles go straight from one of a snapshot to any of the next, and on with the last mean velocity."""

    forecasts = True

    def __init__(self, times: Any, known: np.ndarray, populations: list[np.ndarray], velocity: np.ndarray) -> None:
        self.times, self.known, self.populations, self.velocity = to_numpy(times)[0], known, populations, velocity

    def pick(self, position: int, count: int, random: Any) -> np.ndarray:
        """Particles of one snapshot."""
        size = len(self.populations[position])
        return self.populations[position][(to_numpy(random.uniform((count,))) * size).astype(int)]

    def paths(self, count: int, random: Any) -> np.ndarray:
        """Paths, (draw, query, channel)."""
        knots = np.stack([self.pick(k, count, random) for k in range(len(self.known))], axis=1)
        return self.between(knots, self.times)

    def between(self, knots: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Places at times on the way through the knots, (draw, query, channel)."""
        k = np.clip(np.searchsorted(self.known, times, side="right") - 1, 0, len(self.known) - 2)
        share = ((times - self.known[k]) / np.diff(self.known)[k])[:, None]
        way = (1 - share) * knots[:, k] + share * knots[:, k + 1]
        ahead = np.maximum(times - self.known[-1], 0.0)[:, None]
        return np.where(ahead > 0, knots[:, -1:] + self.velocity * ahead, way)

    def draws(self, num_draws: int, *, random: Any, of: str = "observation") -> Any:
        """Particles with their paths."""
        if not self.forecasts and (self.times > self.known[-1]).any():
            raise CapabilityError("no forecast.")
        return self.paths(num_draws, random)[:, None]


class Shifted(Lines):
    """The population of the snapshot before, one late."""

    def between(self, knots: np.ndarray, times: np.ndarray) -> np.ndarray:
        return super().between(np.concatenate([knots[:, :1], knots[:, :-1]], axis=1), times)


class Narrow(Lines):
    """Every particle at the mean of its snapshot, or half as far from it."""

    def pick(self, position: int, count: int, random: Any) -> np.ndarray:
        centre = self.populations[position].mean(axis=0)
        return centre + 0.5 * (super().pick(position, count, random) - centre)


class Mixed(Lines):
    """Each channel is drawn by itself."""

    def pick(self, position: int, count: int, random: Any) -> np.ndarray:
        return np.stack([super(Mixed, self).pick(position, count, random)[:, c] for c in range(2)], axis=1)


class ByRow(Lines):
    """The particle of a row is followed to the same row, or near it, of the next snapshot."""

    def paths(self, count: int, random: Any) -> np.ndarray:
        place = to_numpy(random.uniform((count,)))
        knots = [population[(place * len(population)).astype(int)] for population in self.populations]
        return self.between(np.stack(knots, axis=1), self.times)


class Anew(Lines):
    """Every time has particles of its own."""

    def paths(self, count: int, random: Any) -> np.ndarray:
        return np.concatenate([type(self).__mro__[1].paths(self.alone(t), count, random) for t in self.times], axis=1)

    def alone(self, time: float) -> Lines:
        """The law at one time."""
        return Lines(np.array([[time]]), self.known, self.populations, self.velocity)


class Crowd(Lines):
    """Particles go the farther apart the more times are asked about."""

    def paths(self, count: int, random: Any) -> np.ndarray:
        path = super().paths(count, random)
        centre = path.mean(axis=0)
        return centre + (path - centre) * (0.5 + 0.5 * len(self.times))


class Clock(Lines):
    """The way ahead is one per unit of time, whatever the unit."""

    def between(self, knots: np.ndarray, times: np.ndarray) -> np.ndarray:
        self.velocity = np.ones_like(self.velocity) * 3.0
        return super().between(knots, times)


class Silent(Lines):
    """Refuses the future."""

    forecasts = False


class NotFinite(Lines):
    """The future is not a number."""

    def between(self, knots: np.ndarray, times: np.ndarray) -> np.ndarray:
        return np.where((times > self.known[-1])[:, None], np.nan, super().between(knots, times))


class Unseeded(Lines):
    """Draws of numbers that no seed determines."""

    def pick(self, position: int, count: int, random: Any) -> np.ndarray:
        return np.random.default_rng().permutation(np.resize(self.populations[position], (count, 2)))


class Conditional(AbstractConditional):
    """Populations taken apart, to be asked about times."""

    def __init__(self, observations: Any, velocity: np.ndarray, law: type[Lines]) -> None:
        times, values = to_numpy(observations.times)[0], to_numpy(observations.values)[0]
        self.known, first = np.unique(times, return_index=True)
        self.populations, self.velocity, self.law = np.split(values, first[1:]), velocity, law

    def at(self, times: Any, *, inputs: Any = None) -> Lines:
        if (to_numpy(times) < self.known[0]).any():
            raise ArgumentError("before the first snapshot.")
        return self.law(times, self.known, self.populations, self.velocity)


class Process(AbstractProcess):
    """A law that is one by snapshots."""

    def __init__(self, velocity: Any, law: type[Lines]) -> None:
        self.velocity, self.law = to_numpy(velocity).reshape(-1), law

    def condition(self, observations: Any) -> Conditional:
        return Conditional(observations, self.velocity, self.law)


@dataclass(frozen=True)
class Straight(AbstractModel):
    """Straight ways between snapshots."""

    entry: ClassVar[ModelEntry] = ModelEntry("toy/straight", "Straight ways", capabilities=CLAIMS)
    law: ClassVar[type[Lines]] = Lines

    def solve(self, observations: Any, context: Any, *, seed: int) -> dict[str, Any]:
        """The mean velocity over the last gap."""
        times, values = observations.times[0], observations.values[0]
        known = np.unique(times)
        means = [values[times == time].mean(axis=0) for time in known[-2:]]
        return {"velocity": (means[1] - means[0])[None] / (known[-1] - known[-2])}

    def process(self, sites: Any, context: Any) -> Process:
        return Process(sites["velocity"], self.law)


@dataclass(frozen=True)
class Forgetful(Straight):
    """Keeps where the data end in itself, where no file finds it."""

    seen: ClassVar[dict[int, float]] = {}

    def prepare(self, data: Any) -> Any:
        self.seen[id(self)] = 1.0
        return super().prepare(data)

    def process(self, sites: Any, context: Any) -> Process:
        return Process(sites["velocity"] * self.seen.get(id(self), 5.0), self.law)


def wrong(law: type[Lines], **claims: Any) -> AbstractModel:
    """The model with another law, or other claims."""

    @dataclass(frozen=True)
    class Wrong(Straight):
        entry: ClassVar[ModelEntry] = ModelEntry(
            "toy/wrong", "Wrong", capabilities=dataclasses.replace(CLAIMS, **claims)
        )

    Wrong.law = law
    return Wrong()


FAULTS: dict[str, tuple[AbstractModel, str, str]] = {
    "a snapshot late": (wrong(Shifted), "population-at-a-snapshot-is-the-snapshot", "through every snapshot"),
    "half as wide": (wrong(Narrow), "population-at-a-snapshot-is-the-snapshot", "through every snapshot"),
    "channels apart": (wrong(Mixed), "population-at-a-snapshot-is-the-snapshot", "the correlation"),
    "rows are followed": (wrong(ByRow), "order-of-particles-is-free", "Rows of one time are a set"),
    "a law of the query set": (wrong(Crowd), "populations-agree-between-queries", "declare `coherent=False`"),
    "populations drawn anew": (wrong(Anew), "draws-are-paths", "each time is drawn anew"),
    "a forecast refused": (wrong(Silent), "forecast-is-given-or-refused", "the law refuses a time after the data"),
    "a forecast not declared": (
        wrong(Lines, forecast=False),
        "forecast-is-given-or-refused",
        "yet the law answers about",
    ),
    "a forecast of nothing": (wrong(NotFinite), "forecast-is-given-or-refused", "not finite"),
    "a clock of its own": (wrong(Clock), "population-has-no-clock-of-its-own", "does not scale with the unit of time"),
    "no seed": (wrong(Unseeded), "draws-obey-the-seed", "the seed is ignored"),
    "a fit that is not kept": (Forgetful(), "saving", "stand in its options, its context or its sites"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_caught_by_the_check_that_names_it(name):
    model, check, message = FAULTS[name]
    results = [one.result() for one in list_checks(model) if one.name == check]
    assert [result.status for result in results] == ["failed"], results
    assert message in results[0].message


@pytest.mark.parametrize("seed", range(3))
def test_correct_twin_passes_every_check(seed):
    report = check_model(Straight(), seed=seed)
    assert report.passed, str(report)
    ran = {result.check for result in report.results if result.status == "passed"}
    assert {check for _, check, _ in FAULTS.values()} <= ran


def test_a_law_that_is_silent_about_the_future_and_says_so_passes():
    report = check_model(wrong(Silent, forecast=False))
    assert report.passed, str(report)


@pytest.mark.parametrize("name", ["baselines/persistence", "baselines/ot-midpoint"])
def test_baselines_conform(name):
    import dynplat as dp

    report = check_model(dp.load_model(name))
    assert report.passed, str(report)


def test_own_snapshots_are_worked_on():
    rng = np.random.default_rng(5)
    data = Snapshots.from_arrays([0.0, 3.0, 4.0, 8.0], [rng.normal(size=(80, 3)) + 2 * k for k in range(4)])
    report = check_model(Straight(), data=data)
    assert report.passed, str(report)
    subject = list_checks(Straight(), data=data)[0].subject
    assert subject.data is data


def test_models_of_trajectories_meet_no_check_of_populations():
    import dynplat as dp
    from dynplat.testing.kit import CHECKS, POPULATION_CHECKS

    listed = [check.function for check in list_checks(dp.load_model("filtering/local-level"))]
    assert listed == list(CHECKS)
    assert [check.function for check in list_checks(Straight())] == list(POPULATION_CHECKS)

    @dataclass(frozen=True)
    class Both(Straight):
        entry: ClassVar[ModelEntry] = ModelEntry(
            "toy/both",
            "Both kinds",
            capabilities=dataclasses.replace(CLAIMS, observations=("trajectories", "snapshots")),
        )

    both = list_checks(Both())
    assert [check.function for check in both] == [*CHECKS, *POPULATION_CHECKS]
    assert len({id(check.subject) for check in both}) == 2
