"""What the commands keep of what JAX compiled: where, when not, and that it never matters beyond time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from dynplat.errors import StorageError
from dynplat.jobs.compilation import VARIABLE, compilation_cache

DIRECTORY = "JAX_COMPILATION_CACHE_DIR"


@pytest.fixture
def fresh(monkeypatch):
    """A process in which JAX is not imported yet and nothing is set."""
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    for name in (VARIABLE, DIRECTORY, "JAX_ENABLE_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_named_folder_is_made_for_its_owner_and_the_environment_restored(fresh, tmp_path):
    fresh.setenv(VARIABLE, str(tmp_path / "kept"))
    before = dict(os.environ)
    with compilation_cache():
        folder = os.environ[DIRECTORY]
        assert os.path.dirname(folder) == str(tmp_path / "kept")
        assert os.path.isdir(folder)
        if os.name == "posix":
            assert os.stat(folder).st_mode & 0o077 == 0
            assert os.stat(tmp_path / "kept").st_mode & 0o077 == 0
    assert dict(os.environ) == before


def test_the_default_is_the_users_cache_folder(fresh, tmp_path):
    fresh.setattr("pooch.os_cache", lambda project: tmp_path / project)
    with compilation_cache():
        assert os.environ[DIRECTORY].startswith(str(tmp_path / "dynplat" / "jax"))


@pytest.mark.parametrize(
    ("name", "value"),
    [(VARIABLE, "off"), (VARIABLE, ""), (DIRECTORY, "mine"), ("JAX_ENABLE_COMPILATION_CACHE", "0")],
    ids=["off", "empty", "directory of the user", "switch of the user"],
)
def test_nothing_is_set_where_the_user_decided(fresh, tmp_path, name, value):
    fresh.setattr("pooch.os_cache", lambda project: tmp_path / project)
    fresh.setenv(name, value)
    before = dict(os.environ)
    with compilation_cache():
        assert dict(os.environ) == before
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_has_jax_is_left_alone(fresh, tmp_path):
    fresh.setitem(sys.modules, "jax", object())
    fresh.setenv(VARIABLE, str(tmp_path / "kept"))
    with compilation_cache():
        assert DIRECTORY not in os.environ
    assert not (tmp_path / "kept").exists()


def _a_file(place):
    place.write_text("in the way")


def _open_to_all(place):
    place.mkdir()
    place.chmod(0o777)


@pytest.mark.skipif(os.name != "posix", reason="modes of files are those of POSIX")
@pytest.mark.parametrize("make", [_a_file, _open_to_all], ids=["file", "open to all"])
def test_a_folder_that_is_not_ones_own_is_never_used(fresh, tmp_path, make):
    place = tmp_path / "dynplat" / "jax"
    place.parent.mkdir()
    make(place)
    fresh.setattr("pooch.os_cache", lambda project: tmp_path / project)
    with compilation_cache():
        assert DIRECTORY not in os.environ
    fresh.setenv(VARIABLE, str(place))
    with pytest.raises(StorageError, match=f"`{VARIABLE}` .*only you can write to"), compilation_cache():
        pass


def test_old_programs_and_the_oldest_of_many_are_deleted(fresh, tmp_path):
    fresh.setenv(VARIABLE, str(tmp_path))
    tmp_path.chmod(0o700)
    with compilation_cache():
        folder = os.environ[DIRECTORY]
    for name, days in (("ancient-cache", 31), ("old-cache", 3), ("new-cache", 1), ("notes.txt", 99)):
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.write(bytes(100))
        os.utime(path, (time.time() - days * 86_400,) * 2)
    with compilation_cache():
        assert sorted(os.listdir(folder)) == ["new-cache", "notes.txt", "old-cache"]
    fresh.setattr("dynplat.jobs.compilation._MAX_SIZE", 150)
    with compilation_cache():
        assert sorted(os.listdir(folder)) == ["new-cache", "notes.txt"]


def test_commands_at_once_and_a_damaged_program_change_no_result(tmp_path):
    command = [sys.executable, "-m", "dynplat", "fit", "nile", "--model", "filtering/local-level", "--json"]
    command += ["--inference-option", "restarts=0", "--inference-option", "max_steps=3"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")} | {VARIABLE: str(tmp_path / "kept")}

    def start():
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def figures(process):
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert "cache" not in err
        record = json.loads(out)
        return record["parameters"], record["log_likelihood"]

    together = [start(), start()]
    first, second = (figures(process) for process in together)
    programs = sorted((tmp_path / "kept").glob("*/*-cache"))
    assert programs
    times = [path.stat().st_mtime_ns for path in programs]
    for path in programs[::2]:
        path.write_bytes(path.read_bytes()[:-20])
    again = figures(start())
    assert first == second == again
    assert sorted((tmp_path / "kept").glob("*/*-cache")) == programs  # what was kept was found
    assert [path.stat().st_mtime_ns for path in programs[1::2]] == times[1::2]
