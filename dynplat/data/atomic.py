"""Writing so that a target is replaced whole or left as it was."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dynplat.errors import StorageError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path in the target's directory to write a file to; put it in the target's place when all went well.

    The temporary file is on the same file system, flushed to disk and moved in one step (`os.replace`). A link is
    followed, and the permissions of an existing target are kept.

    Raises:
        StorageError: The directory is not there, the target is a directory, or writing failed; the target is then as
            it was, and nothing partial is left.
    """
    target = _checked_target(path)
    if target.is_dir():
        raise StorageError(f"{path}: this is a directory, and a file is to be written. Name a file in it.")
    temporary = _beside(target)
    try:
        # Created first, and never over something that is there.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise _failure(path, target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a directory beside the target to fill; put it in the target's place when all went well.

    A directory cannot be replaced in one step everywhere: the old one is renamed away, the new one takes its name, and
    only then the old one is removed; if the second step fails, the first is undone.

    Raises:
        StorageError: The parent is not there, the target is a file, or writing failed; the target is then as it was.
    """
    target = _checked_target(path)
    if target.exists() and not target.is_dir():
        raise StorageError(f"{path}: this is a file, and a directory is to be written. Name another path.")
    temporary, old = _beside(target), _beside(target)
    try:
        temporary.mkdir()
        yield temporary
        if target.exists():
            os.rename(target, old)
            try:
                os.rename(temporary, target)
            except OSError:
                os.rename(old, target)
                raise
        else:
            os.rename(temporary, target)
    except OSError as error:
        raise _failure(path, target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _checked_target(path: str | os.PathLike[str]) -> Path:
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise StorageError(f"{path}: the directory {target.parent} is not there. Create it first.")
    return target


def _beside(target: Path) -> Path:
    return target.parent / f".{target.name}.{secrets.token_hex(6)}.tmp"


def _failure(path: object, target: Path, error: OSError) -> StorageError:
    state = "It is left as it was." if target.exists() else "Nothing was written."
    return StorageError(f"{path}: could not be written: {error.strerror or error}. {state}")
