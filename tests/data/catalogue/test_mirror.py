"""The real files of a mirror directory against the registry."""

from __future__ import annotations

import pytest

from dynplat.data.catalogue import ENTRIES
from dynplat.data.catalogue import registry as files
from dynplat.data.catalogue.fetch import RemoteFile, digest_of, fetch

REMOTE = [item for item in vars(files).values() if isinstance(item, RemoteFile)] + list(files.FLASHING_RATCHET.values())
# The others take seconds each; their loaders are tested on their own.
SMALL = [entry for entry in ENTRIES if entry.id not in ("physionet-2012", "ushcn", "flashing-ratchet")]


@pytest.mark.parametrize("file", REMOTE, ids=lambda file: file.path)
def test_mirror_holds_the_registered_bytes(mirror, file):
    path = fetch(file)
    assert mirror in path.parents
    assert digest_of(path) == (file.mirror_sha256 or file.sha256)


@pytest.mark.parametrize("entry", SMALL, ids=lambda entry: entry.id)
def test_data_sets_survive_their_xarray_form(mirror, entry):
    from dynplat.data import Snapshots, Trajectories

    data = entry.load()()
    kind = Snapshots if entry.kind == "snapshots" else Trajectories
    assert kind.from_xarray(data.to_xarray()).equals(data)
