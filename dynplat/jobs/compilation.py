"""JAX's persistent compilation cache, switched on for the commands: what was compiled once is loaded the next time.

JAX compiles each program for the shapes and the constants in it, which takes seconds however short the series is. A
command that fits keeps these programs in a folder of the user, so that the same question asked again (with another
level, with a picture) does not wait. Programs hold constants, and among these are the times and values of the data: the
folder is its owner's alone, programs are deleted after a month, and no folder is used in which somebody else could put
a program, since what is in there is run.

A setting of JAX's own always goes first, and Python sessions are left alone: there the cache would be that of the whole
process. JAX itself takes care of processes that share a folder: an entry that cannot be read is compiled.
"""

from __future__ import annotations

import hashlib
import os
import platform
import stat
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dynplat.errors import StorageError

#: A folder, or `off` (or nothing) for no cache.
VARIABLE = "DYNPLAT_JAX_CACHE"
#: Settings of JAX with which its user has decided already.
_OWN = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")
#: Seconds of compilation from which on JAX keeps a program: by default 1, and what a fit compiles is many small ones.
_THRESHOLD = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
_MAX_AGE = 30 * 86_400  # seconds
_MAX_SIZE = 500_000_000  # bytes
_NOTES = r"Error (reading|writing) persistent compilation cache entry"


@contextmanager
def compilation_cache() -> Iterator[None]:
    """Let JAX, where it is first imported inside, keep what it compiles.

    Raises:
        StorageError: The folder that the environment variable names cannot be used.
    """
    folder = _folder()
    if folder is None:
        yield
        return
    given = {"JAX_COMPILATION_CACHE_DIR": str(folder)}
    if _THRESHOLD not in os.environ:
        given[_THRESHOLD] = "0"
    os.environ.update(given)
    try:
        with warnings.catch_warnings():
            # An entry cut short by another process costs a compilation, and concerns nobody.
            warnings.filterwarnings("ignore", _NOTES)
            yield
    finally:
        for name in given:
            os.environ.pop(name, None)


def _folder() -> Path | None:
    """The folder to use, made and swept; None for no cache."""
    # JAX reads its settings when it is imported; a process in which it is there already is not ours to change.
    if "jax" in sys.modules or any(name in os.environ for name in _OWN):
        return None
    named = os.environ.get(VARIABLE)
    if named is not None and named.strip().lower() in ("", "off"):
        return None
    if named is None:
        import pooch

        root = Path(pooch.os_cache("dynplat")) / "jax"
    else:
        root = Path(named).expanduser().absolute()
    try:
        folder = _own_folder(_own_folder(root) / _machine())
    except OSError as error:
        if named is None:
            return None
        raise StorageError(
            f"`{VARIABLE}` {named}: {error.strerror or error}. Name a folder that only you can write to, or `off`."
        ) from error
    _sweep(root)
    return folder


def _own_folder(folder: Path) -> Path:
    """Make a folder for its owner alone.

    Raises:
        OSError: It cannot be made or written to, or belongs to, or can be changed by, somebody else.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "posix":
        found = folder.stat()
        if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise OSError("somebody else can write to this folder, and JAX runs the programs in it")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise OSError("the folder cannot be written to")
    return folder


def _machine() -> str:
    """A name for the processor: a home folder may be shared by machines that cannot run each other's programs."""
    facts = [platform.system(), platform.machine(), platform.processor()]
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        facts += sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _sweep(root: Path) -> None:
    """Delete programs that are a month old, and the oldest ones where they take too much room."""
    entries = []
    for path in root.glob("*/*-cache"):
        with suppress(OSError):  # another process may have swept it
            found = path.stat()
            entries.append((found.st_mtime, found.st_size, path))
    left, now = sum(size for _, size, _ in entries), time.time()
    for written, size, path in sorted(entries):
        if now - written > _MAX_AGE or left > _MAX_SIZE:
            left -= size
            with suppress(OSError):
                path.unlink()
