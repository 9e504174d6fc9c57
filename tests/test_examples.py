"""Every script of examples/ runs to its end with `--fast`, prints what it talks about, and says what it must say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))

#: What each script must print: the figures that its text talks about.
PRINTED = {
    "population_bridge": r"rotation [01]\.\d+ \(true 1\.0\)",
    "heart_transplants": r"rather than recoveries: -2 log L lower by -?\d+\.\d",
    "cylinder_wake": r"CRPS, affine over quadratic: \d+\.\d",
    "deep_forecasts": r"CRPS, network minus oscillators: -?\d+\.\d+ \+- \d+\.\d+",
    "compare_models": r"CRPS of smooth minus that of level: [+-]\d+\.\d+ \+- \d+\.\d+",
    "hierarchical_pyro": r"partial   root mean squared error of log rate \d\.\d+",
    "five_families": r"smallest energy score after: [a-z]+/[^,]+, \d\.\d+",
    "irregular_clinical": r"CRPS, joint minus each by itself: -?\d+\.\d+ \+- \d+\.\d+",
}


def test_every_example_is_known():
    assert {script.stem for script in SCRIPTS} == set(PRINTED)


@pytest.mark.examples
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_example_runs_and_prints_its_figures(script, tmp_path):
    done = subprocess.run(
        [sys.executable, str(script), "--fast"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(PRINTED[script.stem], done.stdout), done.stdout
    assert "nan" not in done.stdout.lower()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_example_says_what_a_reader_needs(script):
    text = script.read_text(encoding="utf-8")
    parts = ["**Question.**", "**Model", "**Data.**", "**What to expect.**", "## Key takeaways", "## Next steps"]
    places = [text.find(part) for part in parts]
    assert -1 not in places
    assert places == sorted(places)
    assert "--fast" in text
