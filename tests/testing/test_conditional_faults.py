"""Models of laws of values given others: faults are named, and a correct one passes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dynplat.arrays import array_namespace, asarray_like
from dynplat.process import AbstractPredictive, AbstractProcess
from dynplat.process.base import AbstractConditional
from dynplat.records import Capabilities
from dynplat.testing import check_model
from tests.testing.test_faults import ONE, Ornstein, assert_matches, fault, model

ALONE: Capabilities = dataclasses.replace(
    ONE, likelihood=False, composite=True, simulate=False, forecast=False, coherent=False, joint=False, states=False
)


class Cell(AbstractPredictive):
    """Gaussian cells that answer by draws of each by itself, with places for faults."""

    family = "draws"
    spread, constant = 1.0, 0.0

    def __init__(self, law):
        self.law = law

    def mean(self, of="observation"):
        return self.law.mean()

    def variance(self, of="observation"):
        return self.law.variance()

    def log_density(self, values):
        return self.law.log_density(values) + self.constant

    def draws(self, num_draws, *, random, of="observation"):
        mean, sd = self.mean(), array_namespace(self.mean()).sqrt(self.variance())
        return mean + self.spread * sd * random.normal((num_draws, *mean.shape))


class WiderDraws(Cell):
    spread = 1.3


class DensityWithoutConstant(Cell):
    constant = 0.5 * np.log(2 * np.pi)


class CellConditional(AbstractConditional):
    """The smoother's marginals."""

    def __init__(self, process, observations):
        self.answer, self.law = process.answer, process.law().condition(observations._replace(inputs=None))

    def at(self, times, *, inputs=None):
        return self.answer(self.law.at(times))


class Alone(Ornstein):
    """Each value given all others, and no joint law."""

    answer: type[Cell] = Cell

    def log_prob_steps(self, observations):
        return AbstractProcess.log_prob_steps(self, observations)

    def sample(self, times, *, random, inputs=None):
        return AbstractProcess.sample(self, times, random=random)

    def condition(self, observations):
        return CellConditional(self, observations)

    def others(self, observations, row):
        """What the law of a row's value is given."""
        mask = np.array(observations.mask)
        mask[..., row, :] = False
        return observations._replace(mask=asarray_like(mask, self.sd))

    def composite_steps(self, observations, *, random=None):
        xp = array_namespace(self.sd)
        values, seen, terms = self.values(observations), self.seen(observations), []
        for row in range(values.shape[-1]):
            law = self.law().condition(self.others(observations, row)).at(observations.times[..., row : row + 1])
            term = law.log_density(values[..., row : row + 1, None])[..., 0, 0]
            terms.append(xp.where(seen[..., row], term, xp.zeros_like(term)))
        return xp.stack(terms, axis=-1)


class ReadsItself(Alone):
    def others(self, observations, row):
        return observations


class IgnoresTheMask(Alone):
    def others(self, observations, row):
        mask = np.ones_like(np.array(observations.mask))
        mask[..., row, :] = False
        return observations._replace(mask=asarray_like(mask, self.sd))


class DependsOnLuck(Alone):
    def composite_steps(self, observations, *, random=None):
        luck = 0.0 if random is None else np.random.default_rng().normal()
        return super().composite_steps(observations) * (1.0 + luck)


class AnswersNothing(Alone):
    def condition(self, observations):
        return super().condition(observations._replace(mask=np.zeros_like(np.array(observations.mask))))


class AnswersTheMask(Alone):
    def condition(self, observations):
        return super().condition(observations._replace(mask=np.ones_like(np.array(observations.mask))))


def answering(kind):
    """A process whose conditional answers by another predictive."""
    return type(kind.__name__, (Alone,), {"answer": kind})


def test_laws_of_values_given_others_conform():
    report = check_model(model(Alone, claims=ALONE))
    assert report.passed, str(report)
    passed = {result.check for result in report.results if result.status == "passed"}
    assert {"composite-terms-are-densities", "composite-counts-what-is-observed", "gradient", "saving"} <= passed
    assert {"law-of-a-cell-has-its-density", "law-of-a-cell-follows-the-data", "undeclared-is-refused"} <= passed


@pytest.mark.parametrize(
    ("kind", "check", "message"),
    [
        (ReadsItself, "composite-terms-are-densities", "or it has read the value itself"),
        (IgnoresTheMask, "composite-counts-what-is-observed", "change with values behind the mask"),
        (DependsOnLuck, "composite-counts-what-is-observed", "take chance from `random` only"),
        (answering(WiderDraws), "law-of-a-cell-has-its-density", "`draws` and `log_density` are not of one law"),
        (answering(DensityWithoutConstant), "law-of-a-cell-has-its-density", "of a cell integrates to 2.50"),
        (AnswersNothing, "law-of-a-cell-follows-the-data", "`condition` ignores them"),
        (AnswersTheMask, "law-of-a-cell-follows-the-data", "changes with values behind the mask"),
    ],
)
def test_faulty_laws_are_named(kind, check, message):
    assert_matches(message, fault(model(kind, claims=ALONE), check))
