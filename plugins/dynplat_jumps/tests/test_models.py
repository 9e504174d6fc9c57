"""Published fits, and the refusals that a user of the family's data meets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

import dynplat as dp
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, DataError
from dynplat.marks import ENTERED, MOVED, OBSERVED, STAYED
from dynplat.model import observations_from
from dynplat_jumps.tests.conftest import MISREAD

#: Links of the bidirectional model of the heart-transplant data in the manual of msm.
CAV = "1-2,1-4,2-1,2-3,2-4,3-2,3-4"


def minus_two_log_likelihood(posterior):
    assert posterior.provenance["extra"]["converged"]
    return -2.0 * posterior.provenance["extra"]["log_likelihood"]


def test_heart_transplants_as_published(mirror):
    data = dp.load_dataset("heart-transplant")
    fit = dp.fit(dp.load_model("jumps/panel", structure=CAV), data, "mle", restarts=0)
    assert minus_two_log_likelihood(fit) == pytest.approx(3968.798, abs=5e-4)
    table = fit.summary()
    rates = [0.12787, 0.04250, 0.22512, 0.34261, 0.04021, 0.13062, 0.30648]
    np.testing.assert_allclose(table["mean"], rates, atol=1.2e-4)
    # The manual's interval of the first rate, (0.11135, 0.14684), is that of its logarithm.
    half = np.log(0.14684 / 0.11135) / (2 * 1.959964)
    assert table["sd"].iloc[0] / table["mean"].iloc[0] == pytest.approx(half, rel=2e-3)


def test_heart_transplants_with_misread_angiograms(mirror):
    data = dp.load_dataset("heart-transplant")
    model = dp.load_model("jumps/hidden", **MISREAD)
    fit = dp.fit(model, data, "mle", restarts=0)
    assert minus_two_log_likelihood(fit) <= 3933.745
    found = fit.summary()["mean"].to_numpy()
    np.testing.assert_allclose(found[:5], [0.08963, 0.04136, 0.25864, 0.03331, 0.30758], atol=2e-4)
    odds = np.exp(found[5:])
    errors = [odds[0] / (1 + odds[0]), *(odds[1:3] / (1 + odds[1] + odds[2])), odds[3] / (1 + odds[3])]
    np.testing.assert_allclose(errors, [0.02690, 0.17491, 0.06318, 0.11510], atol=2e-4)


def test_heart_transplants_with_errors_by_sex(mirror):
    data = dp.load_dataset("heart-transplant")
    model = dp.load_model("jumps/hidden", **MISREAD, error_covariates=("sex",))
    fit = dp.fit(model, data, "mle", restarts=0, errors=False)
    assert list(fit.summary().index)[-4:] == [f"error_effect[sex, {error}]" for error in ("1-2", "2-1", "2-3", "3-2")]
    # Printed without decimals. No woman's label seems to be mistaken so: the first effect falls without end.
    assert -2.0 * fit.log_likelihood == pytest.approx(3924.0, abs=0.5)


def test_heart_transplants_by_sex(mirror):
    data = dp.load_dataset("heart-transplant")
    fit = dp.fit(
        dp.load_model("jumps/panel", structure=CAV, covariates=("sex",)), data, "mle", restarts=0, errors=False
    )
    assert -2.0 * fit.provenance["extra"]["log_likelihood"] == pytest.approx(3954.777, abs=2e-3)


def test_bone_marrow_transplants_have_closed_forms(mirror):
    data = dp.load_dataset("ebmt")
    fit = dp.fit(dp.load_model("jumps/multistate"), data, "mle", restarts=0)
    # With exact times a rate is a number of events by a time at risk.
    events, stays = np.zeros((6, 6)), np.zeros(6)
    for series, length in enumerate(data.lengths):
        state = data.values[series, :length, 0].astype(int) - 1
        np.add.at(stays, state[:-1], np.diff(data.times[series, :length]))
        moved = data.marks[series, 1:length] == MOVED
        np.add.at(events, (state[:-1][moved], state[1:][moved]), 1)
    links = np.argwhere(events > 0)
    np.testing.assert_array_equal(events[tuple(links.T)], [785, 907, 95, 160, 227, 112, 39, 433, 56, 197, 107, 137])
    np.testing.assert_allclose(fit.summary()["mean"], events[tuple(links.T)] / stays[links[:, 0]], rtol=2e-3)


def chain(states, times=None, marks=None, **options):
    times = [np.arange(len(s), dtype=float) for s in states] if times is None else times
    return Trajectories.from_arrays(
        times,
        [np.array(s, float) for s in states],
        marks=marks,
        series=[f"p{i}" for i in range(len(states))],
        **options,
    )


def test_impossible_rows_are_named():
    data = chain([[1, 2, 3], [1, 3, 2]])
    with pytest.raises(DataError, match=r"series 'p1' at time 2 is in state 2 .*after 3 at 1, which is never left"):
        dp.load_model("jumps/panel", structure="progressive").prepare(data)
    data = chain([[1, 3]], marks=[[OBSERVED, MOVED]])
    with pytest.raises(DataError, match=r"series 'p0' at time 1 is in state 3.*from which no rates lead there"):
        dp.load_model("jumps/panel", structure="progressive", num_states=3).prepare(data)
    data = chain([[1, 1]], marks=[[OBSERVED, ENTERED]])
    with pytest.raises(DataError, match="is in state 1"):
        dp.load_model("jumps/panel", structure="1-2", num_states=2).prepare(data)
    data = chain([[1, 2]], marks=[[OBSERVED, STAYED]])
    with pytest.raises(DataError, match="is in state 2"):
        dp.load_model("jumps/panel").prepare(data)


def test_bad_data_are_refused():
    panel = dp.load_model("jumps/panel")
    with pytest.raises(DataError, match="whole number"):
        panel.prepare(chain([[1, 1.5]]))
    with pytest.raises(DataError, match=r"series 'p0', row 1 must be one of 1, \.\.\., 2; got 5"):
        dp.load_model("jumps/panel", num_states=2, first_state=1).prepare(chain([[1, 5]]))
    with pytest.raises(DataError, match="every series starts in a state that is never left"):
        dp.load_model("jumps/panel", structure="1-2").prepare(chain([[2, 2], [2, 2]]))
    with pytest.raises(DataError, match=r"must be a code out of .*got 9"):
        panel.prepare(chain([[1, 2]], marks=[[0, 9]]))
    with pytest.raises(DataError, match="`covariates` names 'age'"):
        dp.load_model("jumps/panel", covariates=("age",)).prepare(chain([[1, 2]]))
    with pytest.raises(DataError, match="`error_covariates` names 'age'"):
        dp.load_model("jumps/hidden", emission="misclassification", error_covariates=("age",)).prepare(chain([[1, 2]]))
    with pytest.raises(DataError, match="finite number for each series"):
        dp.load_model("jumps/panel", covariates=("sex",)).prepare(chain([[1, 2]], static={"sex": ["f"]}))
    with pytest.raises(DataError, match="no move between states"):
        dp.load_model("jumps/multistate").prepare(chain([[1, 1]]))


def test_bad_options_are_refused():
    for options, message in (
        ({"structure": "ring"}, "`structure` must be"),
        ({"structure": "1-7"}, "names the link '1-7'"),
        ({"structure": "banded:width=0"}, "`width`"),
        ({"structure": "1-2,1-3,2-1,2-3", "initial": "stationary"}, "every state leads to every other"),
    ):
        with pytest.raises(ArgumentError, match=message):
            dp.load_model("jumps/panel", **options).prepare(chain([[1, 2, 3]]))
    for options, message in (
        ({"initial": "guess"}, "`initial` must be one of"),
        ({"breaks": (2.0, 1.0)}, "`breaks` must be finite and increase"),
        ({"breaks": (1.0,), "initial": "stationary"}, "no stationary law"),
        ({"sets": ("9",)}, "`sets` must be texts"),
    ):
        with pytest.raises(ArgumentError, match=message):
            dp.load_model("jumps/panel", **options)
    with pytest.raises(ArgumentError, match="`error_covariates` speak of labels that are wrong"):
        dp.load_model("jumps/hidden", error_covariates=("sex",))
    with pytest.raises(ArgumentError, match="`emission` must be one of"):
        dp.load_model("jumps/hidden", emission="beta")
    with pytest.raises(ArgumentError, match="`errors` must be"):
        dp.load_model("jumps/hidden", emission="misclassification", errors="1to2").prepare(chain([[1, 2]]))


def test_a_fit_answers_the_common_questions():
    rng = np.random.default_rng(0)
    data = chain([rng.integers(1, 4, 30).tolist() for _ in range(4)])
    fit = dp.fit(dp.load_model("jumps/panel"), data, "map", seed=0, restarts=0)
    states = dp.predict(fit, np.array([0.5, 40.0]), of="state").dataset["mean"].values
    np.testing.assert_allclose(states.sum(-1), 1.0, rtol=1e-9)
    assert dp.forecast(fit, 3).dataset["draws"].values.min() >= 1
    task = dp.Imputation(data, fraction=0.2, seed=0)
    table = dp.compare(task, {"jumps/panel": dp.fit(dp.load_model("jumps/panel"), task.train, "map", restarts=0)})
    assert "jumps/panel" in str(table)


def test_tables_name_links_states_and_pieces_as_the_data_do(tmp_path):
    rng = np.random.default_rng(0)
    data = chain([rng.integers(5, 8, 30).tolist() for _ in range(4)], static={"age": [0.0, 1.0, 2.0, 1.0]})
    options = {"first_state": 5, "structure": "birth-death", "breaks": (10.0, 20.5), "covariates": ("age",)}
    fit = dp.fit(dp.load_model("jumps/panel", **options, initial="free"), data, "map", restarts=0)
    rows = list(fit.summary().index)
    assert rows[:4] == ["rate[until 10, 5-6]", "rate[until 10, 6-5]", "rate[until 10, 6-7]", "rate[until 10, 7-6]"]
    assert rows[4] == "rate[10 to 20.5, 5-6]"
    assert rows[11] == "rate[from 20.5, 7-6]"
    assert rows[12] == "effect[age, 5-6]"
    assert rows[-3:] == ["initial[5]", "initial[6]", "initial[7]"]
    assert list(dp.predict(fit, [40.0], of="state").dataset["channel"].values) == ["5", "6", "7"]
    fit.save(tmp_path / "fit.nc")
    again = dp.load_posterior(tmp_path / "fit.nc")
    assert list(again.summary().index) == rows
    assert float(again.tree["posterior"]["rate"].sel(piece="from 20.5", link="7-6").squeeze()) > 0


def test_tables_name_errors_pairs_and_codes():
    def labels(data, **options):
        model = dp.load_model("jumps/hidden", **options)
        return model.coords(model.prepare(data))

    found = labels(chain([[3, 4, 5, 4]]), emission="misclassification", first_state=3, structure="reversible")
    assert found["error"] == ["3-4", "4-3", "4-5", "5-4"]
    assert found["pair"] == ["3-4", "3-5", "4-5"]
    found = labels(chain([[0, 1, 2, 1]]), emission="categorical", num_states=2)
    assert (found["state"], found["code"]) == (["1", "2"], ["0", "1", "2"])


def test_psoriatic_arthritis_as_published(mirror):
    """The fit of msm's own tests: progression, with effects that transitions share, given the first state."""
    data = dp.load_dataset("psoriatic-arthritis")
    known = np.flatnonzero(np.isfinite(data.static["ollwsdrt"]))
    data = data.select(series=[data.series[index] for index in known])
    model = dp.load_model(
        "jumps/panel", structure="progressive", covariates=("ollwsdrt", "hieffusn"), initial="uniform", num_states=4
    )
    context, observations = model.prepare(data), observations_from(data)
    start = data.num_series * np.log(4.0)

    def loss(theta):
        z = torch.tensor(theta, requires_grad=True)
        effect = torch.stack([z[[3, 3, 4]], z[5].expand(3)])
        sites = {"rate": torch.exp(z[:3])[None], "effect": effect[None]}
        value = -2.0 * (model.process(sites, context).log_prob(observations).sum() + start)
        (slope,) = torch.autograd.grad(value, z)
        return value.item(), slope.numpy()

    found = minimize(loss, np.log([0.1, 0.1, 0.1, 1.0, 1.0, 1.0]), jac=True, method="BFGS")
    assert found.fun == pytest.approx(1114.89946121717, abs=1e-4)


def test_new_series_may_start_where_no_training_series_did():
    def law(starts, **options):
        rows = [[start, start + 1 if start < 4 else start] for start in starts]
        model = dp.load_model("jumps/panel", structure="progressive", num_states=4, first_state=1, **options)
        return model, model.prepare(chain(rows))

    model, context = law([1, 1, 1, 2])
    # Half a series more in each state but the last, which is never left and in which none starts.
    np.testing.assert_allclose(context["initial"], [3.5 / 5.5, 1.5 / 5.5, 0.5 / 5.5, 0.0], rtol=1e-15)
    sites = {"rate": torch.ones(1, 3).double()}
    process = model.process(sites, context)
    held_out = process.log_prob(observations_from(chain([[3, 4]])))
    np.testing.assert_allclose(held_out, np.log(0.5 / 5.5 * -np.expm1(-1.0)), rtol=1e-12)
    assert law([1, 4])[1]["initial"].tolist() == pytest.approx([1.5 / 4.0, 0.5 / 4.0, 0.5 / 4.0, 1.5 / 4.0])
    # All alike by design; one series alone says nothing of a design.
    assert law([2, 2])[1]["initial"].tolist() == [0.0, 1.0, 0.0, 0.0]
    assert law([2])[1]["initial"].tolist() == pytest.approx([0.2, 0.6, 0.2, 0.0])


def test_the_start_is_a_constant_of_the_likelihood(mirror):
    data = dp.load_dataset("psoriatic-arthritis")
    sites = {"rate": torch.tensor([[0.1, 0.2, 0.3]]).double()}
    totals = []
    for initial in ("empirical", "uniform"):
        model = dp.load_model("jumps/panel", structure="progressive", initial=initial)
        totals.append(float(model.process(sites, model.prepare(data)).log_prob(observations_from(data)).sum()))
    counts = np.array([212, 76, 17])
    constant = (counts * np.log((counts + 0.5) / 306.5)).sum() - 305 * np.log(0.25)
    assert totals[0] - totals[1] == pytest.approx(constant, rel=1e-9)
