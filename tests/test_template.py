"""The template: a copy is installed from a folder outside the repository and works as a plugin, unedited."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dynplat.host.scaffold import new_plugin


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with the copy and, beside it, a folder into which the copy is installed."""
    folder = tmp_path_factory.mktemp("elsewhere")
    project = new_plugin("pendulums", folder)
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
    pip = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "site"), str(project)]
    subprocess.run(pip, check=True, capture_output=True)
    return folder


def run(place: Path, *words: str, code: int = 0) -> str:
    """Run `python -m` with the copy installed and return what it prints."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DYNPLAT_PLUGINS", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=place,
        check=False,
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(place / "site")},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_installed_copy_is_listed(place):
    plugins = {plugin["name"]: plugin for plugin in json.loads(run(place, "dynplat", "plugins", "--json"))}
    assert plugins["pendulums"]["state"] == "active"
    assert plugins["pendulums"]["distribution"].replace("_", "-") == "dynplat-pendulums"
    models = {model["id"]: model for model in json.loads(run(place, "dynplat", "models", "--json"))}
    assert models["pendulums/random-walk"]["summary"] == "Random walk seen with noise"
    assert "filtering/local-level" in models


def test_installed_copy_conforms_as_a_plugin(place):
    report = json.loads(run(place, "dynplat", "check", "pendulums", "--json"))
    assert report["passed"]
    checks = {(result["component"], result["check"]): result["status"] for result in report["results"]}
    assert checks["pendulums", "plugin-is-light"] == "passed"
    assert checks["pendulums/random-walk", "density-integrates-to-one"] == "passed"


def test_installed_copy_passes_its_own_tests(place):
    printed = run(place, "pytest", "-q", "-p", "no:cacheprovider", "dynplat-pendulums")
    assert " passed" in printed.splitlines()[-1]
    assert "failed" not in printed


def test_installed_copy_fits_and_imputes_a_file(place):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"hour": np.arange(40) * 0.5, "level": 5.0 + np.cumsum(rng.normal(0.0, 0.3, 40))})
    hidden = np.arange(40) % 4 == 2
    complete = table["level"].copy()
    table.loc[hidden, "level"] = np.nan
    table.to_csv(place / "levels.csv", index=False)
    fit = json.loads(
        run(place, "dynplat", "fit", "levels.csv", "--time", "hour", "--model", "pendulums/random-walk", "--json")
    )
    # The walk was made with a standard deviation of 0.3 per half hour, 0.42 per square root of an hour.
    walk_sd = fit["parameters"]["walk_sd"]
    estimate = walk_sd["estimate"] if isinstance(walk_sd, dict) else walk_sd
    assert 0.2 < estimate < 0.9
    arguments = ["impute", "levels.csv", "--time", "hour", "--model", "pendulums/random-walk", "--out", "filled.csv"]
    assert "Filled 10 values" in run(place, "dynplat", *arguments)
    filled = pd.read_csv(place / "filled.csv")
    assert filled["level.imputed"].tolist() == hidden.tolist()
    assert (filled["level"] - complete)[~hidden].abs().max() < 1e-9
    assert ((filled["level"] - complete)[hidden].abs() < 4 * filled["level.sd"][hidden]).all()
