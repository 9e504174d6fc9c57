from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dynplat.data import Trajectories
from dynplat.model import SiteInfo, summarise
from dynplat.posterior import Posterior


@pytest.fixture(scope="session")
def conjugate() -> ModuleType:
    """The conjugate model, from a file that a subprocess can import too."""
    path = Path(__file__).with_name("conjugate.py")
    spec = importlib.util.spec_from_file_location("conjugate", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["conjugate"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def ragged() -> Trajectories:
    """Three series of different lengths with dates, two channels, holes and a static covariate."""
    rng = np.random.default_rng(11)
    start = np.datetime64("2020-01-01", "ns")
    lengths = (9, 5, 1)
    days = [start + np.cumsum(rng.integers(1, 4, n)).astype("timedelta64[D]") for n in lengths]
    values = [rng.standard_normal((n, 2)) + 10 for n in lengths]
    values[0][2] = np.nan
    values[0][4, 1] = np.nan
    values[1][0, 0] = np.nan
    return Trajectories.from_arrays(
        days, values, series=["north", "south", "east"], channels=["heat", "flow"], static={"height": [3.0, 4.0, 5.5]}
    )


@pytest.fixture(scope="session")
def single() -> Trajectories:
    """One series with plain times, one channel and two holes."""
    values = np.array([1.0, 2.0, np.nan, 4.0, 3.5, np.nan, 2.5])
    return Trajectories.from_arrays(np.array([0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0]), values, time_unit="s")


@pytest.fixture(scope="session")
def fit(conjugate):
    """Make a posterior of the conjugate model from made-up draws."""

    def make(data, *, model=None, chains=2, draws=40, seed=0, language="", local=False, **options):
        model = conjugate.Level(hierarchical=local) if model is None else model
        rng = np.random.default_rng(seed)
        channels = len(data.channels)
        lead = (chains, draws)
        held = {
            "mu": rng.standard_normal((*lead, channels)) + 9,
            "sigma": rng.gamma(4.0, 0.25, (*lead, channels)) + 0.1,
        }
        infos = {name: SiteInfo(name, "sample", (channels,), False) for name in held}
        if local:
            held["tau"] = rng.gamma(4.0, 0.5, (*lead, data.num_series))
            infos["tau"] = SiteInfo("tau", "sample", (), True)
        options = {"method": "nuts", "language": language, "seed": 3, **options}
        return Posterior.from_draws(model, summarise(data), data, held, infos, **options)

    return make
