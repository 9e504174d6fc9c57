"""Requests that a model cannot serve are refused before anything runs, and the refusal names what would work."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from dynplat.data import Snapshots, Trajectories
from dynplat.errors import CapabilityError
from dynplat.model import AbstractModel, check_request
from dynplat.records import Capabilities, ModelEntry


def _model(**claims) -> AbstractModel:
    class Model(AbstractModel):
        entry: ClassVar[ModelEntry] = ModelEntry("toy/narrow", "A model", capabilities=Capabilities(**claims))

    return Model()


def _data(values=((1.0, 2.0), (3.0, np.nan), (4.0, 5.0)), times=(0.0, 1.0, 2.0), **options) -> Trajectories:
    return Trajectories.from_arrays(np.asarray(times), np.asarray(values, dtype=float), **options)


def _snapshots() -> Snapshots:
    return Snapshots.from_arrays([0.0, 1.0], [np.zeros((2, 1)), np.ones((3, 1))])


def test_a_model_that_claims_everything_takes_everything():
    model = _model(inputs=True, states=True, observations=("trajectories", "snapshots"))
    check_request(model, None)
    check_request(
        model,
        _data(times=(0.0, 0.1, 7.0), inputs=[[1.0], [2.0], [3.0]]),
        ("prior", "likelihood", "condition", "forecast", "states", "inputs"),
        language="pyro",
        device="cuda:1",
    )
    check_request(model, _snapshots())


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ("prior", "a prior"),
        ("likelihood", "a likelihood"),
        ("simulate", "simulation"),
        ("condition", "answers inside the data (imputation)"),
        ("forecast", "answers after the data (forecasting)"),
        ("states", "latent states"),
        ("coherent", "coherent laws"),
        ("gradients", "a likelihood that can be differentiated"),
        ("new_series", "series that it was not fitted to"),
    ],
)
def test_a_capability_that_is_not_claimed_is_refused_with_what_is(lacking, words):
    model = _model(**{lacking: False})
    with pytest.raises(CapabilityError) as refusal:
        check_request(model, None, ("simulate", "condition", lacking), purpose="inference 'nuts'")
    message = str(refusal.value)
    wanted, _, offered = message.partition("It offers: ")
    assert wanted.startswith("inference 'nuts' needs ")
    assert "toy/narrow does not offer" in wanted
    assert words in wanted
    names, _, advice = offered.partition(". ")
    assert words not in names.split(", ")
    assert "missing values" in names.split(", ")
    assert "`dynplat models`" in advice


def test_all_that_lacks_is_named_at_once():
    with pytest.raises(CapabilityError, match="needs a prior and a likelihood, which"):
        check_request(_model(prior=False, likelihood=False), None, ("prior", "likelihood"))


@pytest.mark.parametrize(
    ("claims", "wish", "message"),
    [
        ({"languages": ("pyro",)}, {"language": "numpyro"}, r"`language` for toy/narrow must be 'pyro'; got 'numpyro'"),
        ({}, {"language": "stan"}, r"must be 'numpyro' or 'pyro'; got 'stan'"),
        ({"languages": ()}, {"language": "pyro"}, r"must be none: it has no prior program"),
        (
            {"devices": ("cpu",)},
            {"device": "cuda:0"},
            r"`device` for toy/narrow must be one of \('cpu',\); got 'cuda:0'",
        ),
    ],
)
def test_language_and_device_are_refused_with_the_legal_ones(claims, wish, message):
    with pytest.raises(CapabilityError, match=message):
        check_request(_model(**claims), None, **wish)


@pytest.mark.parametrize(
    ("claims", "data", "message"),
    [
        ({"multichannel": False}, _data(), r"takes one channel, and the data have 2 \(value0, value1\): select one"),
        ({}, _data(inputs=[[1.0], [2.0], [3.0]]), "takes no inputs, and the data carry some: leave them out"),
        ({"missing_values": False}, _data(), "takes no missing values, and the data have holes"),
        ({"irregular_times": False}, _data(times=(0.0, 1.0, 5.5)), "takes equal steps, .*: resample the data or pick"),
        ({"observations": ("snapshots",)}, _data(), "takes snapshots; this request came with trajectories"),
        (
            {"values": ("positive",)},
            _data(((1.0,), (-2.5,), (3.0,))),
            r"takes positive values.*such as -2\.5 in channel '.*' of series '.*', time 1",
        ),
        ({"values": ("count",)}, _data(((1.0,), (2.0,), (3.5,))), r"takes count values.*such as 3\.5"),
        ({"values": ("categorical",)}, _data(((1.0,), (2.0,), (-1.0,))), r"takes categorical values.*such as -1"),
    ],
)
def test_data_that_a_model_cannot_take_are_refused(claims, data, message):
    with pytest.raises(CapabilityError, match=rf"^toy/narrow {message}"):
        check_request(_model(**claims), data)


def test_snapshots_are_refused_by_a_model_of_trajectories():
    with pytest.raises(CapabilityError, match="takes trajectories; task 'forecast' came with snapshots"):
        check_request(_model(), _snapshots(), purpose="task 'forecast'")


def test_every_problem_of_the_data_is_named_at_once():
    with pytest.raises(CapabilityError) as refusal:
        check_request(_model(multichannel=False, missing_values=False), _data())
    assert "takes one channel" in str(refusal.value)
    assert "it takes no missing values" in str(refusal.value)


def test_padding_is_neither_a_hole_nor_an_unequal_step():
    ragged = Trajectories.from_arrays([np.arange(4.0), 10.0 + np.arange(2.0)], [np.ones((4, 1)), np.ones((2, 1))])
    check_request(_model(missing_values=False, irregular_times=False), ragged)


def test_rows_may_be_absent_from_a_grid_where_values_may_be_missing():
    gappy = _data(np.ones((4, 1)), 0.1 * np.array([3.0, 4.0, 7.0, 12.0]))
    check_request(_model(irregular_times=False), gappy)
    with pytest.raises(CapabilityError, match="equal steps"):
        check_request(_model(irregular_times=False, missing_values=False), gappy)


@pytest.mark.parametrize(
    ("start", "step"), [(0.0, 0.1), (100.0, 1 / 24), (0.0, 1e9), (0.0, 1e-9), (1.7e9, 0.1)], ids=str
)
def test_equal_steps_are_told_up_to_rounding(start, step):
    model, times = _model(irregular_times=False), start + step * np.arange(50)
    check_request(model, _data(np.ones((50, 1)), times))
    times[30] += 0.01 * step
    with pytest.raises(CapabilityError, match="equal steps"):
        check_request(model, _data(np.ones((50, 1)), times))


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        (("positive",), ((1.0,), (np.nan,), (0.001,))),
        (("count",), ((0.0,), (np.nan,), (12.0,))),
        (("categorical",), ((0.0,), (1.0,), (1.0,))),
        (("positive", "count"), ((0.0,), (1.0,), (2.0,))),
        (("positive",), ((np.nan,), (np.nan,), (np.nan,))),
        (("real",), ((-1.5,), (0.0,), (np.nan,))),
    ],
    ids=str,
)
def test_values_of_a_claimed_type_pass(values, cells):
    check_request(_model(values=values), _data(cells))


def test_the_default_inference_follows_what_a_model_has_unless_it_says_otherwise():
    assert _model().default_inference == "map"
    assert _model(prior=False).default_inference == "solve"
    assert _model(likelihood=False).default_inference == "solve"

    class Own(AbstractModel):
        entry: ClassVar[ModelEntry] = _model().entry

        @property
        def default_inference(self) -> str:
            return "svi"

    assert Own().default_inference == "svi"
