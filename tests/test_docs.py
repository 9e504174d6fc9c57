"""The pages that must agree with the code: the list of public names, the commands that continuous integration runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dynplat
from dynplat.inference import ENTRIES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_api_page_names_exactly_the_public_names():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:auto\w+:: |`)dynplat\.(\w+)(?=\s|`)", page))
    rooms = {"arrays", "comparison", "errors", "inference", "model", "posterior", "process", "scan"}
    assert named - rooms == set(dynplat.__all__)


@pytest.mark.parametrize(
    ("command", "pattern"),
    [
        (
            "dynplat impute mauna-loa-co2 --out filled.csv --plot filled.png",
            r"dynplat impute mauna-loa-co2 --out .* --plot",
        ),
        (
            "pip install -c constraints.txt -e '.[dev]' && pytest -n auto --dist loadfile",
            r"--constraint constraints.txt -e '\.\[dev\]'",
        ),
        (
            "pip install -c constraints.txt -e '.[dev]' && pytest -n auto --dist loadfile",
            r"(?m)^pytest -n auto --dist loadfile$",
        ),
    ],
)
def test_continuous_integration_runs_the_commands_of_the_readme(command, pattern):
    assert command in README
    assert re.search(pattern, (ROOT / ".ci" / "run").read_text(encoding="utf-8"))


def test_readme_lists_every_bundled_model():
    listed = set(re.findall(r"`((?:filtering|jumps)/[\w-]+)`", README))
    bundled = {entry.id for entry in dynplat.list_models() if entry.id.startswith(("filtering/", "jumps/"))}
    assert bundled <= listed


def test_inference_page_lists_every_method_of_the_core():
    page = (ROOT / "docs" / "inference.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(?m)^\| `([\w-]+)` \|", page)) == {entry.id for entry in ENTRIES}


@pytest.mark.parametrize(
    "page", sorted(p for p in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]), ids=lambda p: p.name
)
def test_relative_links_lead_to_files(page):
    text = re.sub(r"(?s)```.*?```", "", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
