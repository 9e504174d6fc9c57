"""Layers as networks of a model: `pp.module` takes their wrappers, and `process` runs them with the sites."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter

import dynplat as dp
from dynplat.arrays import Observations, array_namespace, asarray_like, framework
from dynplat.data import Trajectories
from dynplat.model import AbstractModel
from dynplat.process import AbstractProcess
from dynplat.records import Capabilities, ModelEntry
from dynplat_deepssm.blocks import Block
from dynplat_deepssm.cells import LRU
from dynplat_deepssm.executors import flatten, run, unflatten
from dynplat_deepssm.maps import Linear
from dynplat_deepssm.network import Network

NETWORK = Network((Linear(1, 2), Block(LRU(2, 2, 2)), Linear(2, 1)))


class OneStepAhead(AbstractProcess):
    """Every value is normal around what the network makes of those before it."""

    def __init__(self, weights, sd):
        self.weights, self.sd = weights, sd

    def log_prob_steps(self, observations):
        xp = array_namespace(self.sd)
        values = asarray_like(observations.values, self.sd)
        past = xp.concat([xp.zeros_like(values[..., :1, :]), values[..., :-1, :]], axis=-2)
        mean, _ = run(NETWORK, self.weights, past, keep_state=False)
        z = (values - mean)[..., 0] / self.sd[..., None]
        return -0.5 * z * z - xp.log(self.sd)[..., None] - 0.5 * np.log(2.0 * np.pi)


@dataclass(frozen=True)
class Toy(AbstractModel):
    entry = ModelEntry("toy/one-step", "One step ahead", "nowhere:Toy", capabilities=Capabilities(condition=False))

    def prior(self, pp, context):
        if pp.name == "pyro":
            from dynplat_deepssm.torch import TorchLayer as Layer
        else:
            from dynplat_deepssm.jax import JaxLayer as Layer
        pp.module("net", Layer(NETWORK, seed=3))
        pp.sample("sd", pp.dist.HalfNormal(1.0))

    def process(self, sites, context):
        return OneStepAhead(unflatten(sites, "net."), sites["sd"])


#: An autoregression of order 1.
SERIES: Any = lfilter([0.3], [1.0, -0.8], np.random.default_rng(0).standard_normal(80))


@pytest.mark.filterwarnings("ignore::dynplat.inference.InferenceWarning")
@pytest.mark.parametrize("language", ["pyro", "numpyro"])
def test_networks_are_fitted_in_both_languages(language):
    data = Trajectories.from_arrays(np.arange(80.0), SERIES[:, None])
    fit = dp.fit(Toy(), data, "mle", language=language, restarts=0, max_steps=60)
    with framework("numpy") as make:
        sites = {name: value[0] for name, value in fit.sites(make).items()}
    assert set(sites) == {"sd"} | {"net." + name for name, _ in flatten(NETWORK.init(3))}
    values = SERIES[None, :, None]
    process = OneStepAhead(unflatten(sites, "net."), sites["sd"])
    found = process.log_prob_steps(Observations(None, values, np.ones(values.shape, bool)))
    assert fit.log_likelihood == pytest.approx(found.sum(), rel=1e-9)
    # An autoregression of order 1 is within reach of the network.
    past = np.r_[0.0, SERIES[:-1]]
    variance = np.mean((SERIES - (SERIES @ past) / (past @ past) * past) ** 2)
    assert fit.log_likelihood > -40.0 * (np.log(2.0 * np.pi * variance) + 1.0) - 3.0
