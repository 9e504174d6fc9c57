"""Getting a file of the catalogue onto this machine: from a mirror directory, or from its public source.

A mirror directory is named by the environment variable `DYNPLAT_DATA`. A file found there is used, after its SHA-256
was checked; a file not found there is downloaded once with `pooch <https://www.fatiando.org/pooch>`_ into the user's
cache (`pooch.os_cache("dynplat")`). A file whose bytes are not the expected ones is never used.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from dynplat.errors import DataError

#: Environment variable that names the mirror directory.
MIRROR_VARIABLE = "DYNPLAT_DATA"


@dataclass(frozen=True)
class RemoteFile:
    """A file that the catalogue needs: its public source, and the form in which a mirror directory may hold it.

    Args:
        url: Public address, pinned to a version wherever the source has versions.
        sha256: SHA-256 of what `url` serves; empty where it could not be checked (`verified` is False then).
        path: Place of the source's file in the cache and in a mirror directory, `folder/name`.
        mirror_path: Place in a mirror directory of a repacked or converted form; empty where there is none.
        mirror_sha256: SHA-256 of that form.
        verified: Whether `sha256` was computed from the bytes that the source holds under `url`'s version.
    """

    url: str
    sha256: str
    path: str
    mirror_path: str = ""
    mirror_sha256: str = ""
    verified: bool = True

    def forms(self) -> dict[str, tuple[str, ...]]:
        """Places in a mirror directory, the mirror's own form first, and the SHA-256 that are right there."""
        forms: dict[str, tuple[str, ...]] = {}
        for path, digest in ((self.mirror_path, self.mirror_sha256), (self.path, self.sha256)):
            if path:
                forms[path] = (*forms.get(path, ()), digest)
        return forms


def fetch(remote: RemoteFile) -> Path:
    """Return the path of a file whose bytes have been checked, from the mirror directory or the public source.

    The suffix of the path tells which form it is where the mirror's differs from the source's.

    Raises:
        DataError: The mirror directory does not exist; a file's SHA-256 is not the expected one; or there is neither a
            copy nor a way to download one.
    """
    mirror = _mirror_directory()
    if mirror is not None:
        for place, digests in remote.forms().items():
            path = mirror / place
            if path.is_file():
                _check(path, digests, remote)
                return path
    return _download(remote, mirror)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mirror_directory() -> Path | None:
    named = os.environ.get(MIRROR_VARIABLE, "").strip()
    if not named:
        return None
    directory = Path(named).expanduser()
    if not directory.is_dir():
        raise DataError(
            f"the environment variable {MIRROR_VARIABLE} names {named!r}, which is not a directory.",
            hint="Let it name a directory with the catalogue's files, or unset it to download them.",
        )
    return directory


def _check(path: Path, digests: tuple[str, ...], remote: RemoteFile) -> None:
    if "" in digests:
        # The source's own archive, of which no digest is known: its reader checks what is inside.
        return
    found = digest_of(path)
    if found not in digests:
        raise DataError(
            f"its SHA-256 should be {' or '.join(digests)}, and it is {found}: the file is damaged or another version.",
            hint=f"Delete it and get it again from {remote.url}, or unset {MIRROR_VARIABLE} to download it.",
            source=path,
        )


def _download(remote: RemoteFile, mirror: Path | None) -> Path:
    import pooch

    folder, _, name = remote.path.rpartition("/")
    cache = Path(os.fspath(pooch.os_cache("dynplat")))
    try:
        path = pooch.retrieve(
            remote.url,
            known_hash=f"sha256:{remote.sha256}" if remote.sha256 else None,
            fname=name,
            path=cache / folder,
        )
    except ValueError as error:
        # pooch's message holds the file, the expected and the found digest; the download is already deleted.
        raise DataError(
            f"{error}",
            hint="Try again; if it stays so, the source has changed and this release of dynplat cannot read it.",
            source=remote.url,
        ) from error
    except OSError as error:
        raise DataError(_unreachable(remote, mirror, error), hint=_advice(remote), source=remote.url) from error
    return Path(path)


def _unreachable(remote: RemoteFile, mirror: Path | None, error: OSError) -> str:
    looked = "" if mirror is None else f" {mirror} holds no {' or '.join(remote.forms())}, and"
    text = str(error)
    # Connection errors nest: the last part is the cause, and what stands before it repeats the address.
    reason = text.rpartition(": ")[2].strip("\"')") if "Caused by" in text else text
    return f"the file is needed and not here:{looked} it could not be downloaded ({type(error).__name__}: {reason})."


def _advice(remote: RemoteFile) -> str:
    digest = f" (SHA-256 {remote.sha256})" if remote.sha256 else ""
    return (
        f"Without a network: download it elsewhere{digest}, put it at DIRECTORY/{remote.path} for a directory of your "
        f"choice, and set the environment variable {MIRROR_VARIABLE} to DIRECTORY."
    )
