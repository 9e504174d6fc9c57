import numpy as np
import pytest

from dynplat.posterior import Prediction


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
