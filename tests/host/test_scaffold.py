"""A new plugin is a renamed copy of the template: all of it, or nothing."""

from __future__ import annotations

import os
import tomllib

import pytest

from dynplat.errors import ArgumentError, StorageError
from dynplat.host.scaffold import new_plugin, template_folder


@pytest.fixture
def template(tmp_path):
    """A small template with every kind of occurrence, a picture, and leftovers of a test run."""
    folder = tmp_path / "template"
    package = folder / "dynplat_template"
    (package / "__pycache__").mkdir(parents=True)
    (package / "__pycache__" / "plugin.pyc").write_bytes(b"dynplat_template")
    (folder / ".pytest_cache").mkdir()
    (package / "plugin.py").write_text(
        'ENTRY = ModelEntry("template/walk", "Ä", "dynplat_template.model:TemplateWalk")\n'
    )
    (package / "model.py").write_text("from dynplat_template.plugin import ENTRY\n\n\nclass TemplateWalk: ...\n")
    (package / "picture.png").write_bytes(b"\x89PNG\xff dynplat_template")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_dynplat_template.py").write_text('@parametrize_checks("template")\n')
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "dynplat-template"\ndescription = "Made from a template."\n\n'
        '[project.entry-points."dynplat.plugins"]\ntemplate = "dynplat_template.plugin"\n'
    )
    return folder


@pytest.fixture
def place(tmp_path):
    """An empty folder."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["my-family", "my_family"])
def test_copy_bears_the_new_name_everywhere(template, place, name):
    made = new_plugin(name, place, template=template)
    assert made == place / "dynplat-my-family"
    assert files(made) == [
        "dynplat_my_family/model.py",
        "dynplat_my_family/picture.png",
        "dynplat_my_family/plugin.py",
        "pyproject.toml",
        "tests/test_dynplat_my_family.py",
    ]
    package = made / "dynplat_my_family"
    assert (package / "plugin.py").read_text(encoding="utf-8") == (
        'ENTRY = ModelEntry("my-family/walk", "Ä", "dynplat_my_family.model:MyFamilyWalk")\n'
    )
    assert (package / "model.py").read_text() == (
        "from dynplat_my_family.plugin import ENTRY\n\n\nclass MyFamilyWalk: ...\n"
    )
    assert (package / "picture.png").read_bytes() == b"\x89PNG\xff dynplat_template"
    assert (made / "tests" / "test_dynplat_my_family.py").read_text() == '@parametrize_checks("my-family")\n'
    project = tomllib.loads((made / "pyproject.toml").read_text())
    assert project["project"]["name"] == "dynplat-my-family"
    assert project["project"]["description"] == "Made from a template."
    assert project["project"]["entry-points"]["dynplat.plugins"] == {"my-family": "dynplat_my_family.plugin"}


@pytest.mark.parametrize(
    "name", ["", "Big", "1st", "a b", "a--b", "-a", "a-", "../up", "é", "template", 3, "a/b", "a.b"]
)
def test_malformed_name_is_refused(template, place, name):
    with pytest.raises(ArgumentError, match="`name` of a plugin must be lower-case letters"):
        new_plugin(name, place, template=template)
    assert files(place) == []


@pytest.mark.parametrize("occupant", ["folder", "file"])
def test_existing_target_stays_as_it_was(template, place, occupant):
    target = place / "dynplat-mine"
    if occupant == "folder":
        target.mkdir()
    else:
        target.write_text("precious")
    with pytest.raises(StorageError, match=r"dynplat-mine' exists already"):
        new_plugin("mine", place, template=template)
    assert target.is_dir() or target.read_text() == "precious"
    assert len(list(place.iterdir())) == 1


def test_absent_directory_is_refused(template, tmp_path):
    with pytest.raises(ArgumentError, match="`directory` must be an existing folder"):
        new_plugin("mine", tmp_path / "absent", template=template)


def test_absent_template_is_refused(place):
    with pytest.raises(ArgumentError, match="`template` must be an existing folder"):
        new_plugin("mine", place, template=place / "absent")


def test_failure_leaves_nothing_behind(template, place, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.write_bytes", refuse)
    with pytest.raises(StorageError, match="cannot be written: disk full"):
        new_plugin("mine", place, template=template)
    assert list(place.iterdir()) == []


def test_copy_has_ordinary_permissions(template, place):
    plain = place / "plain"
    plain.mkdir()
    made = new_plugin("mine", place, template=template)
    assert made.stat().st_mode == plain.stat().st_mode
    assert os.access(made / "pyproject.toml", os.W_OK)


def test_shipped_template_leaves_no_placeholder(place):
    made = new_plugin("pendulums", place)
    assert (made / "dynplat_pendulums" / "plugin.py").is_file()
    for path in made.rglob("*"):
        assert "template" not in path.relative_to(made).as_posix()
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert "dynplat_template" not in text
            assert "template/" not in text
            if path.suffix == ".py":
                compile(text, str(path), "exec")
    points = tomllib.loads((made / "pyproject.toml").read_text())["project"]["entry-points"]["dynplat.plugins"]
    assert points == {"pendulums": "dynplat_pendulums.plugin"}


def test_shipped_template_is_found():
    assert (template_folder() / "pyproject.toml").is_file()
