"""Fake distributions on disk: real metadata, real entry points, real modules, in a folder that only the test sees."""

from __future__ import annotations

import importlib
import sys
import textwrap
from pathlib import Path

import pytest

from dynplat.host import Host


class Site:
    """A folder of installed distributions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def module(self, name: str, source: str) -> None:
        """Write a module."""
        (self.folder / f"{name}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        importlib.invalidate_caches()

    def distribution(self, name: str, points: dict[str, str] | str, version: str = "1.0") -> None:
        """Write the metadata of a distribution with entry points."""
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        if isinstance(points, dict):
            points = "\n".join(["[dynplat.plugins]", *(f"{key} = {value}" for key, value in points.items())])
        (info / "entry_points.txt").write_text(f"{points}\n")
        (info / "RECORD").write_text("")

    def plugin(self, source: str, name: str = "fake", header: str | None = None, version: str = "1.0") -> None:
        """Install a plugin: distribution `<name>-dist`, entry point `<name>`, module `<name>_plugin`."""
        if header is None:
            header = "from dynplat.host import hookimpl\nfrom dynplat.records import *\nrequires_api = 1\n"
        self.module(f"{name}_plugin", header + textwrap.dedent(source))
        self.distribution(f"{name}-dist", {name: f"{name}_plugin"}, version)

    def models(self, *ids: str, name: str = "fake", arguments: str = "") -> None:
        """Install a plugin that provides models of these ids."""
        records = ", ".join(f"ModelEntry({id!r}, 'A model', 'fake_models:Model', {arguments})" for id in ids)
        self.plugin(f"@hookimpl\ndef dynplat_models():\n    return [{records}]\n", name)

    def host(self, **options) -> Host:
        """Discover what is installed in this folder alone."""
        return Host.discover(path=[str(self.folder)], **{"core": None, **options})


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An empty folder of distributions, on the import path for the length of the test."""
    monkeypatch.delenv("DYNPLAT_PLUGINS", raising=False)
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield Site(folder)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
