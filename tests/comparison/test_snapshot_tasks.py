"""Tasks on snapshots, the baselines that models are compared with, and the published table that they reproduce."""

from __future__ import annotations

import os

import numpy as np
import pytest

import dynplat as dp
from dynplat.comparison import Comparison, SnapshotForecast, SnapshotInterpolation, Study, run_study
from dynplat.comparison.baselines.ot_midpoint import OtMidpoint
from dynplat.comparison.baselines.persistence import Persistence
from dynplat.comparison.baselines.populations import deal
from dynplat.data import Snapshots, Trajectories
from dynplat.errors import ArgumentError, CapabilityError
from dynplat.posterior import predict

BASELINES = ("baselines/persistence", "baselines/ot-midpoint")


def made(sizes=(30, 30, 30, 30, 30), times=None, seed=0) -> Snapshots:
    """A cloud that drifts to the right by one per unit of time."""
    rng = np.random.default_rng(seed)
    times = np.arange(float(len(sizes))) if times is None else np.asarray(times, dtype=float)
    populations = [rng.normal(size=(n, 2)) * 0.1 + [t, 0.0] for n, t in zip(sizes, times, strict=True)]
    return Snapshots.from_arrays(times, populations, channels=["x", "y"])


def test_interpolation_holds_out_every_second_snapshot():
    data = made()
    task = SnapshotInterpolation(data, dataset="cloud")
    assert task.held_out == (1, 3)
    assert task.train.times.tolist() == [0.0, 2.0, 4.0]
    assert task.truth.times.tolist() == [1.0, 3.0]
    assert task.hidden.shape == (1, 5, 2)
    assert np.flatnonzero(task.hidden.all(axis=2)[0]).tolist() == [1, 3]
    assert task.describe() == "interpolation of 2 of 5 snapshots (positions 1, 3)"
    assert SnapshotInterpolation(data, positions=[-2]).held_out == (3,)
    assert SnapshotInterpolation(data, positions=2).describe() == "interpolation of 1 of 5 snapshots (position 2)"
    # Held-out snapshots of a file of their own.
    assert task.train.join(task.truth).equals(data)


def test_forecast_cuts_off_the_last_snapshots():
    task = SnapshotForecast(made(), horizon=2)
    assert task.held_out == (3, 4)
    assert task.describe() == "forecast of the last 2 snapshots of 5"
    assert SnapshotForecast(made()).describe() == "forecast of the last snapshot of 5"


def test_every_model_is_asked_for_as_many_particles_as_were_seen():
    task = SnapshotInterpolation(made(sizes=(10, 25, 10, 40, 10)))
    assert task.num_draws == 40
    prediction = task.predict(dp.fit(Persistence(), task.train))
    assert prediction.draws.shape == (40, 1, 2, 2)
    assert task.predict(dp.fit(Persistence(), task.train), num_draws=7).draws.shape[0] == 7


def test_a_cloud_that_moves_is_half_way_at_the_middle():
    comparison = dp.compare(SnapshotInterpolation(made()), BASELINES, scores=["w2", "w1"])
    found = {(r["model"], r["score"]): r["value"] for r in comparison.records}
    assert found["baselines/persistence", "w1"] == pytest.approx(1.0, abs=0.05)
    assert found["baselines/ot-midpoint", "w2"] < 0.1
    assert {record["unit"] for record in comparison.records} == {"data"}
    assert comparison.best("w2")[comparison.results[0].group] == ("baselines/ot-midpoint",)
    by_position = comparison.contributions("w2")
    assert by_position["row"].tolist() == [1, 3]
    assert by_position["series"].tolist() == ["population", "population"]


def test_default_scores_are_those_of_populations():
    comparison = dp.compare(SnapshotForecast(made()), ["baselines/persistence"])
    assert comparison.scores == ("w2", "w1", "sliced-w2", "energy-distance", "mmd")
    assert all(record["value"] is not None for record in comparison.records)


def test_channels_are_scored_in_their_own_units_unless_asked():
    task = SnapshotForecast(made())
    plain, scaled = (
        dp.compare(task, ["baselines/persistence"], scores=["w2"], standardise=flag) for flag in (None, True)
    )
    sd = np.concatenate(task.data.populations).std(axis=0)
    assert scaled.records[0]["unit"] == "channel sd"
    assert scaled.records[0]["value"] == pytest.approx(
        plain.records[0]["value"] / sd[0], rel=0.2
    )  # nearly all of the way is along the first channel
    assert scaled.results[0].scales == pytest.approx(tuple(sd))


def test_a_study_over_both_kinds_is_stored_and_taken_up_again(tmp_path):
    ran = []

    def fit(model, data, *, seed):
        ran.append(model.entry.id)
        return dp.fit(model, data, seed=seed)

    study = Study(
        tasks=[SnapshotInterpolation(made(), dataset="cloud"), SnapshotForecast(made(), dataset="cloud")],
        models={"stay": Persistence(), "go": OtMidpoint()},
        store=tmp_path,
    )
    first = run_study(study, fit)
    assert ran == ["baselines/persistence", "baselines/ot-midpoint", "baselines/persistence"]
    again = run_study(study, fit)
    assert len(ran) == 3
    assert again.records == first.records
    assert "does not offer" in {f["model"]: f["reason"] for f in first.failures}["go"]
    first.save(tmp_path / "table.json")
    assert Comparison.load(tmp_path / "table.json").records == first.records


REFUSED = {
    "trajectories": (
        lambda d: SnapshotInterpolation(Trajectories.from_arrays([0.0, 1.0], [1.0, 2.0])),
        "must be Snapshots; got Trajectories",
    ),
    "one snapshot": (lambda d: SnapshotForecast(d.select_times(0)), "at least two snapshots"),
    "the first": (lambda d: SnapshotInterpolation(d, positions=[0, 1]), r"lie between others, of 1 to 3; got \[0, 1\]"),
    "the last": (lambda d: SnapshotInterpolation(d, positions=[-1]), "Use `SnapshotForecast` for the last ones"),
    "none": (lambda d: SnapshotInterpolation(d, positions=[]), "got none"),
    "no position": (lambda d: SnapshotInterpolation(d, positions=[1.5]), "must be whole numbers; got 1.5"),
    "beyond": (lambda d: SnapshotInterpolation(d, positions=[7]), "among 5 snapshots, from 0; got 7"),
    "horizon of nothing": (lambda d: SnapshotForecast(d, horizon=0), "from 1 to 4 so that one stays; got 0"),
    "horizon of all": (lambda d: SnapshotForecast(d, horizon=5), "from 1 to 4 so that one stays; got 5"),
    "an empty one": (
        lambda d: SnapshotInterpolation(d.join(Snapshots.from_arrays([0.5], [np.zeros((0, 2))], channels=["x", "y"]))),
        "position 1 is empty",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_task_names_what_does_not_fit(case):
    make, message = REFUSED[case]
    with pytest.raises(ArgumentError, match=message):
        make(made())


def test_a_model_that_has_seen_the_answer_is_refused():
    task = SnapshotInterpolation(made())
    with pytest.raises(ArgumentError, match="fitted to the data with nothing held out"):
        task.predict(dp.fit(Persistence(), task.data))
    comparison = dp.compare(task, ["filtering/local-level"], scores=["w2"])
    assert "takes trajectories; task 'snapshot-interpolation' came with snapshots" in comparison.failures[0]["reason"]


@pytest.mark.parametrize("model", [Persistence(), OtMidpoint()])
def test_baselines_are_the_snapshot_at_its_time_whatever_the_order(model):
    data = made(sizes=(12, 12, 12))
    fit = dp.fit(model, data)
    at = predict(fit, [1.0, 0.0], num_draws=12, seed=4).draws.values[:, 0]
    assert np.array_equal(np.sort(at[:, 0], axis=0), np.sort(data.populations[1], axis=0))
    assert np.array_equal(np.sort(at[:, 1], axis=0), np.sort(data.populations[0], axis=0))
    with pytest.raises(ArgumentError, match="before the first snapshot at 0"):
        predict(fit, [-1.0])


def test_persistence_keeps_what_was_seen_last():
    data = made(sizes=(5, 8))
    fit = dp.fit(Persistence(), data)
    later = dp.forecast(fit, times=[9.0, 10.0], num_draws=16, seed=1).draws.values[:, 0]
    assert np.array_equal(later[:, 0], later[:, 1])
    # Each of the eight particles twice.
    assert np.array_equal(np.sort(later[:, 0, 0]), np.sort(np.repeat(data.populations[1][:, 0], 2)))


def test_transport_goes_straight_ways_and_keeps_to_its_partner():
    start = np.array([[0.0], [10.0]])
    data = Snapshots.from_arrays([0.0, 4.0, 6.0], [start, start[::-1] + 1.0, start + 3.0], channels=["x"])
    times = [0.0, 1.0, 2.0, 4.0, 5.0, 6.0]
    middle = predict(dp.fit(OtMidpoint(), data), times, num_draws=2).draws.values[:, 0, :, 0]
    way = predict(dp.fit(OtMidpoint(place="time"), data), times, num_draws=2).draws.values[:, 0, :, 0]
    low = middle[np.argmin(middle[:, 0])]
    assert low.tolist() == [0.0, 0.5, 0.5, 1.0, 2.0, 3.0]
    assert way[np.argmin(way[:, 0])].tolist() == [0.0, 0.25, 0.5, 1.0, 2.0, 3.0]
    with pytest.raises(CapabilityError, match="forecasting"):
        predict(dp.fit(OtMidpoint(), data), [7.0])
    with pytest.raises(ArgumentError, match="`place` must be one of"):
        OtMidpoint(place="end")


def test_transport_between_populations_of_two_sizes_reaches_all_of_both():
    data = Snapshots.from_arrays([0.0, 1.0], [np.array([0.0, 9.0]), np.array([1.0, 2.0, 10.0])])
    drawn = predict(dp.fit(OtMidpoint(), data), [0.0, 0.5, 1.0], num_draws=3000, seed=2).draws.values[:, 0, :, 0]
    ends, counts = np.unique(drawn[:, 2], return_counts=True)
    assert ends.tolist() == [1.0, 2.0, 10.0]
    assert np.abs(counts / 3000 - 1 / 3).max() < 5 * np.sqrt(2 / 9 / 3000)
    # 2 is reached from 0 and from 9: half of each third.
    assert np.allclose(drawn[:, 1], 0.5 * (drawn[:, 0] + drawn[:, 2]))


def test_particles_are_dealt_evenly():
    from dynplat.arrays import random_source

    dealt = deal(4, 10, random_source(0, np.zeros(1)))
    assert sorted(np.bincount(dealt, minlength=4).tolist()) == [2, 2, 3, 3]
    assert sorted(dealt[:4].tolist()) == [0, 1, 2, 3]


#: W2 of Berlinghieri et al. (2025, arXiv:2505.16082): mean and sd over the nine held-out times, and the forecast.
PUBLISHED = {
    "lotka-volterra-snapshots": {
        "baselines/persistence": (".722", ".366", "2.510"),
        "baselines/ot-midpoint": (".131", ".092", None),
    },
    "repressilator-snapshots": {
        "baselines/persistence": ("1.496", ".358", "3.576"),
        "baselines/ot-midpoint": (".598", ".252", None),
    },
    "gulf-of-mexico-snapshots": {
        "baselines/persistence": (".277", ".064", ".206"),
        "baselines/ot-midpoint": (".056", ".020", None),
    },
}
PER_TIME = {
    "baselines/persistence": "1.393 .688 .405 .301 .304 .503 .816 1.179 .913",
    "baselines/ot-midpoint": ".234 .129 .069 .051 .064 .083 .111 .087 .345",
}


def shown(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures_of_the_baselines_are_reproduced_to_the_printed_digit(name):
    if not os.environ.get("DYNPLAT_DATA"):
        pytest.skip("DYNPLAT_DATA is not set: it names the directory with the catalogue's real files")
    task = SnapshotInterpolation(dp.load_dataset(name), dataset=name)
    comparison = dp.compare(task, BASELINES, scores=["w2"])
    ahead = SnapshotForecast(dp.load_dataset(name, part="train"), dataset=name)
    forecast = dp.compare(ahead, BASELINES[:1], scores=["w2"])
    table = comparison.contributions("w2")
    assert len(table) == 9
    for model, (mean, sd, last) in PUBLISHED[name].items():
        assert shown(table[model].mean()) == mean
        assert shown(table[model].std(ddof=0)) == sd
        assert last is None or shown(forecast.records[0]["value"]) == last
        if name.startswith("lotka"):
            assert " ".join(shown(value) for value in table[model]) == PER_TIME[model]
