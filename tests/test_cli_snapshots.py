"""Populations on the command line."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import dynplat as dp
from dynplat import cli


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command line in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["dynplat", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.fixture
def cells(tmp_path):
    """Five populations that move to the right, as a table of particles."""
    rng = np.random.default_rng(0)
    data = dp.Snapshots.from_arrays(np.arange(5.0), [rng.normal(size=(9, 1)) + 10 * t for t in range(5)])
    dp.write(data, tmp_path / "cells.csv")
    return tmp_path / "cells.csv"


MODELS = ["--models", "stay=baselines/persistence,go=baselines/ot-midpoint", "--scores", "w2"]


def test_compare_takes_a_table_of_particles_and_keeps_what_is_done(cells, tmp_path, monkeypatch, capsys):
    arguments = ["compare", cells, "--task", "snapshot-interpolation", *MODELS, "--store", tmp_path / "store", "--json"]
    assert run(monkeypatch, *arguments) == 0
    first = capsys.readouterr().out
    found = {record["model"]: record for record in json.loads(first)}
    assert found["go"]["value"] < 1.5 < 9 < found["stay"]["value"] < 11
    assert found["go"]["options"] == {"place": "midpoint"}
    assert found["go"]["n"] == 2
    monkeypatch.setattr("dynplat.api.fit", lambda *_, **__: pytest.fail("finished work must not be done again"))
    assert run(monkeypatch, *arguments) == 0
    assert capsys.readouterr().out == first


def test_compare_says_what_is_held_out_and_who_cannot_say(cells, monkeypatch, capsys):
    assert run(monkeypatch, "compare", cells, "--task", "snapshot-interpolation", "--positions", "2", *MODELS) == 0
    assert "cells.csv: interpolation of 1 of 5 snapshots (position 2)" in capsys.readouterr().out
    assert run(monkeypatch, "compare", cells, "--task", "snapshot-forecast", "--horizon", "2", *MODELS) == 0
    printed = capsys.readouterr().out
    assert "forecast of the last 2 snapshots of 5" in printed
    assert "which baselines/ot-midpoint does not offer" in printed


REFUSED = {
    "unknown task": (["--task", "guess"], "`--task` must be one of imputation, forecast, snapshot-interpolation"),
    "positions of no use": (["--task", "snapshot-forecast", "--positions", "1"], "`--positions` belongs to the task"),
    "no positions": (["--task", "snapshot-interpolation", "--positions", "a,b"], "takes whole numbers separated by"),
    "the last": (["--task", "snapshot-interpolation", "--positions", "4"], "lie between others, of 1 to 3"),
    "series": (["--task", "snapshot-interpolation", "--id", "value"], "`--id` would speak of series"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case, cells, monkeypatch, capsys):
    arguments, message = REFUSED[case]
    assert run(monkeypatch, "compare", cells, *arguments, *MODELS) == 2
    assert message in capsys.readouterr().err


def test_a_data_set_of_the_other_kind_is_refused(monkeypatch, capsys):
    assert run(monkeypatch, "compare", "nile", "--task", "snapshot-forecast", *MODELS) == 2
    assert "'nile' holds Trajectories; this task takes snapshots" in capsys.readouterr().err
