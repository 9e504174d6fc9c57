import dataclasses
import types

import numpy as np
import pytest

from dynplat.data import Trajectories
from dynplat.errors import CapabilityError
from dynplat.posterior import Prediction
from dynplat.records import Capabilities, ModelEntry


def make_prediction(draws=None, mean=None, sd=None, *, valid=None):
    """A prediction from joint draws (sample, series, time, channel) and/or components (component, series, ...)."""
    shape = (draws if draws is not None else mean).shape[1:]
    times = np.broadcast_to(np.arange(shape[1], dtype=float), shape[:2])
    return Prediction.from_arrays(
        times,
        np.ones(shape[:2], dtype=bool) if valid is None else valid,
        coords={
            "series": [f"s{index}" for index in range(shape[0])],
            "channel": [f"c{index}" for index in range(shape[2])],
        },
        draws=draws,
        component_mean=mean,
        component_sd=sd,
    )


@pytest.fixture
def prediction_from():
    """Make a prediction out of arrays; see `make_prediction`."""
    return make_prediction


@pytest.fixture
def cells():
    """A truth (series 3, time 7, channel 2), a mask with rows of no, one and two held-out channels, and a generator."""
    rng = np.random.default_rng(20240307)
    truth = rng.normal(size=(3, 7, 2))
    hidden = rng.random(truth.shape) < 0.5
    hidden[0, 0], hidden[0, 1], hidden[0, 2] = (False, False), (True, False), (True, True)
    truth[~hidden] = np.nan
    return truth, hidden, rng


class ArrayTask:
    """A task out of arrays, whose posteriors are recipes for predictions."""

    name = "imputation"
    kind = "trajectories"
    num_draws = 400
    needs = ("condition",)

    def __init__(self, truth, hidden, *, dataset="waves", seed=0):
        self.data = Trajectories.from_arrays(
            np.arange(truth.shape[1], dtype=float),
            truth,
            series=[f"s{index}" for index in range(truth.shape[0])],
            channels=[f"c{index}" for index in range(truth.shape[2])],
        )
        self.truth, self.hidden, self.dataset, self.seed = self.data, hidden, dataset, seed
        self.train = self.data.hide(hidden)

    def describe(self):
        return f"imputation of {int(self.hidden.sum())} values, seed {self.seed}"

    def check(self, model):
        if not model.entry.capabilities.condition:
            raise CapabilityError(f"{model.entry.id} does not offer answers inside the data.")

    def predict(self, posterior, *, num_draws, seed):
        return posterior.answer(self, num_draws, seed)


class Guess:
    """A posterior whose law is the truth, shifted and spread, with noise of its own."""

    def __init__(self, model=None, *, shift=0.0, spread=1.0):
        self.model = model if model is not None else FakeModel()
        self.shift, self.spread = shift, spread
        self.provenance = {"model": self.model.entry.id, "options": {}, "seed": 3, "secret": object()}

    def answer(self, task, num_draws, seed):
        rng = np.random.default_rng(seed)
        centre = task.truth.values + rng.normal(size=task.hidden.shape) + self.shift
        draws = centre + self.spread * rng.normal(size=(num_draws, *centre.shape))
        return make_prediction(draws, centre[None], np.full((1, *centre.shape), self.spread))


@dataclasses.dataclass(frozen=True)
class FakeModel:
    """A model as a comparison sees it: a record and options."""

    id: str = "fake/model"
    size: int = 3
    condition: bool = True
    default_inference: str = "map"

    @property
    def entry(self):
        return ModelEntry(self.id, "A model for tests", capabilities=Capabilities(condition=self.condition))

    @property
    def options(self):
        return {"size": self.size}


@pytest.fixture
def array_task():
    """A task with 2 series of 30 rows in 2 channels, a third of the cells hidden."""
    rng = np.random.default_rng(11)
    truth = rng.normal(size=(2, 30, 2))
    return ArrayTask(truth, rng.random(truth.shape) < 1 / 3)


@pytest.fixture
def fakes():
    """The classes behind the fixtures: `ArrayTask`, `Guess`, `FakeModel`."""
    return types.SimpleNamespace(ArrayTask=ArrayTask, Guess=Guess, FakeModel=FakeModel)
