from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from dynplat import marks
from dynplat.data.catalogue import ENTRIES
from dynplat.data.catalogue import registry as files
from dynplat.data.catalogue.fetch import RemoteFile

DOCUMENT = Path(__file__).parents[3] / "docs" / "datasets.md"
OFFLINE = ("mauna-loa-co2", "nile", "sunspots", "el-nino", "us-macro")
REMOTE = (
    "physionet-2012",
    "ushcn",
    "italian-air-quality",
    "etth1",
    "mocap-35",
    "mocap-09",
    "heart-transplant",
    "psoriatic-arthritis",
    "ebmt",
    "cylinder-wake",
    "flashing-ratchet",
    "turbofan-fd001",
    "lotka-volterra-snapshots",
    "repressilator-snapshots",
    "gulf-of-mexico-snapshots",
)


def registered(module: ModuleType = files) -> list[RemoteFile]:
    """The remote files that are names of a module, or values of a dictionary that is one."""
    found: list[RemoteFile] = []
    for item in vars(module).values():
        found += [item] if isinstance(item, RemoteFile) else []
        found += list(item.values()) if isinstance(item, dict) and isinstance(item.get(0), RemoteFile) else []
    return found


def test_entries_are_the_catalogue():
    assert tuple(entry.id for entry in ENTRIES) == OFFLINE + REMOTE
    assert tuple(entry.id for entry in ENTRIES if entry.offline) == OFFLINE


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_entry_names_licence_citation_and_a_loader_without_required_arguments(entry):
    assert entry.licence
    assert entry.kind == ("snapshots" if entry.id.endswith("-snapshots") else "trajectories")
    assert entry.references
    assert all(reference.text and (reference.doi or reference.url) for reference in entry.references)
    for parameter in inspect.signature(entry.load()).parameters.values():
        assert parameter.default is not parameter.empty


def test_reading_entries_imports_no_loader():
    code = (
        "import sys; import dynplat.data.catalogue;"
        "heavy = {'pandas', 'xarray', 'numpy', 'statsmodels', 'pooch', 'torch', 'jax'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_a_loader_imports_neither_statsmodels_nor_a_framework():
    modules = ",".join(sorted({entry.location.partition(":")[0] for entry in ENTRIES}))
    code = (
        f"import sys; import {modules};"
        "heavy = {'statsmodels', 'pooch', 'torch', 'jax', 'matplotlib'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_registry_pins_every_file():
    remote = registered()
    assert len(remote) == 22
    for file in remote:
        assert file.url.startswith("https://")
        for digest in (file.sha256, file.mirror_sha256):
            assert digest == "" or (len(digest) == 64 and set(digest) <= set("0123456789abcdef"))
        assert bool(file.mirror_path) == bool(file.mirror_sha256)
        assert file.verified == bool(file.sha256)
    assert [file.path for file in remote if not file.verified] == ["physionet2012/set-a.tar.gz"]


def test_document_has_one_section_per_entry_in_order():
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    headings = [line[3:].strip().strip("`") for line in lines if line.startswith("## ")]
    assert [heading for heading in headings if heading in OFFLINE + REMOTE] == [entry.id for entry in ENTRIES]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_document_states_licence_citation_and_options(entry):
    sections = DOCUMENT.read_text(encoding="utf-8").split("\n## ")
    section = next(part for part in sections if part.splitlines()[0].strip().strip("`") == entry.id)
    flat = " ".join(section.split())
    assert entry.summary in flat
    assert f"Licence: {entry.licence}." in flat
    for reference in entry.references:
        assert reference.text in flat
        assert (reference.doi or reference.url) in flat
    for option in inspect.signature(entry.load()).parameters:
        assert f"`{option}" in flat
    if entry.offline:
        assert "Loads with no network." in flat
    else:
        assert any(file.url in flat for file in registered(importlib.import_module(entry.location.partition(":")[0])))
        # A section names no address that is not registered.
        for address in flat.split("Fetched from: ")[1].split(" Licence: ")[0].split("<")[1:]:
            assert address.split(">")[0] in [file.url for file in registered()]


def test_document_names_every_remote_file():
    text = DOCUMENT.read_text(encoding="utf-8")
    for file in registered():
        assert f"<{file.url}>" in text
        assert f"`{file.path}`" in text
        assert f"`{file.mirror_path or file.path}`" in text


def test_document_states_the_marks():
    text = DOCUMENT.read_text(encoding="utf-8")
    for code, meaning in marks.MEANINGS.items():
        name = next(name for name, value in vars(marks).items() if name.isupper() and value == code)
        assert f"| {code} | `{name}` | {meaning} |" in text
