"""Labels that a model gives to its own dimensions: in tables, plots and files, and what does not fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from dynplat.errors import ArgumentError
from dynplat.model import SiteInfo, check_coords, summarise
from dynplat.posterior import Posterior, predict

INFOS = {
    "mix": SiteInfo("mix", "sample", (2, 3), False, ("channel", "lag")),
    "phase": SiteInfo("phase", "sample", (2,), True, ("season",)),
}


@pytest.fixture
def labelled(conjugate, ragged):
    """Make a posterior of a model with two dimensions of its own, and its labels."""

    def make(**labels):
        @dataclass(frozen=True)
        class Labelled(conjugate.Level):
            def coords(self, context):
                return labels

        rng = np.random.default_rng(0)
        draws = {"mix": rng.normal(size=(2, 5, 2, 3)), "phase": rng.normal(size=(2, 5, 3, 2))}
        options = {"method": "nuts", "language": "pyro", "seed": 0, "unconstrained": {"phase": draws["phase"]}}
        return Posterior.from_draws(Labelled(), summarise(ragged), ragged, draws, INFOS, **options)

    return make


def test_tables_and_files_show_the_labels(labelled, tmp_path) -> None:
    posterior = labelled(lag=("day", "week", "year"), season=np.array([1.5, 3.0]), other=["unused"])
    rows = list(posterior.summary().index)
    assert rows[:3] == ["mix[heat, day]", "mix[heat, week]", "mix[heat, year]"]
    assert rows[6:8] == ["phase[north, 1.5]", "phase[north, 3.0]"]
    assert "other" not in posterior.tree["posterior"].coords
    posterior.save(tmp_path / "fit.nc")
    again = Posterior.load(tmp_path / "fit.nc", lambda _, options: posterior.model)
    assert list(again.summary().index) == rows
    for tree in (posterior.tree, again.tree):
        sites, free = tree["posterior"], tree["unconstrained_posterior"]
        np.testing.assert_array_equal(sites["lag"], ["day", "week", "year"])
        np.testing.assert_array_equal(free["season"], [1.5, 3.0])
        week = posterior.tree["posterior"]["mix"].values[..., 1]
        np.testing.assert_array_equal(sites["mix"].sel(lag="week"), week)


def test_plots_show_the_labels(labelled) -> None:
    import matplotlib

    matplotlib.use("agg")
    import arviz_plots
    import matplotlib.pyplot as plt

    posterior = labelled(lag=["day", "week", "year"])
    collection = arviz_plots.plot_dist(posterior.tree, var_names=["mix"], backend="matplotlib")
    titles = [axis.get_title() for axis in plt.gcf().axes]
    assert any("heat" in title and "week" in title for title in titles), titles
    assert collection.viz["plot"]["mix"].dims == ("channel", "lag")
    plt.close("all")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"lag": ["a", "b"]}, r"must give 3 labels along the dimension 'lag' of site 'mix'; got \['a', 'b'\]"),
        ({"lag": "abc"}, "must give 3 labels along the dimension 'lag' of site 'mix'; got 'abc'"),
        ({"season": [1, 1]}, r"different labels along the dimension 'season' of site 'phase'.*got \[1, 1\]"),
        ({"season": ["1", 1]}, "all texts or all finite numbers"),
        ({"season": [1.0, np.nan]}, "all texts or all finite numbers"),
        ({"channel": ["a", "b"]}, "'channel', whose labels come from the data"),
        ({"draw": ["a", "b"]}, "'draw', whose labels come from the data and the draws"),
    ],
    ids=["few", "text", "twice", "mixed", "nan", "data", "taken"],
)
def test_labels_that_do_not_fit_are_refused(labelled, labels, message) -> None:
    with pytest.raises(ArgumentError, match=message):
        labelled(**labels)


def test_every_site_along_a_dimension_is_checked() -> None:
    infos = {**INFOS, "late": SiteInfo("late", "sample", (4,), False, ("lag",))}
    with pytest.raises(ArgumentError, match="must give 4 labels along the dimension 'lag' of site 'late'"):
        check_coords({"lag": [1, 2, 3]}, infos)


def test_states_are_predicted_under_their_labels(fit, conjugate, single) -> None:
    def names(*labels):
        @dataclass(frozen=True)
        class Labelled(conjugate.Level):
            def coords(self, context):
                return {"state": labels}

        answer = predict(fit(single, model=Labelled()), [2.5], of="state", num_draws=4)
        return list(answer.dataset["channel"].values)

    assert names("asleep") == ["asleep"]
    # Labels of another number of states than the process has.
    assert names() == names("asleep", "awake") == ["state0"]
