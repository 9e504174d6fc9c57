from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dynplat.data.catalogue.fetch import MIRROR_VARIABLE, RemoteFile, fetch
from dynplat.errors import DataError

CONTENT = b"0.0 1.0\n0.1 2.0\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
REPACKED = b"t,y\n0.0,1.0\n0.1,2.0\n"
PLAIN = RemoteFile("https://example.org/v1/a.dat", DIGEST, "folder/a.dat")
CONVERTED = RemoteFile(
    "https://example.org/v1/a.dat", DIGEST, "folder/a.dat", "folder/a.csv", hashlib.sha256(REPACKED).hexdigest()
)


@pytest.fixture
def directory(tmp_path, monkeypatch) -> Path:
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv(MIRROR_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    """Let pooch keep its own logic, and let every connection fail."""
    import pooch
    import requests

    def refuse(*_, **__):
        raise requests.exceptions.ConnectionError("no route to host")

    monkeypatch.setattr(requests, "get", refuse)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Let pooch download from a dictionary of addresses; return it and the list of what was asked for."""
    import pooch

    served: dict[str, bytes] = {}
    asked: list[str] = []

    def download(url, output_file, pooch):
        asked.append(url)
        Path(output_file).write_bytes(served[url])

    monkeypatch.setattr("pooch.core.choose_downloader", lambda *_, **__: download)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    return served, asked


def test_mirror_file_is_used_in_place(directory, no_network):
    (directory / "folder/a.dat").write_bytes(CONTENT)
    assert fetch(PLAIN) == directory / "folder/a.dat"


def test_mirror_form_comes_before_the_source_form_and_either_will_do(directory, no_network):
    (directory / "folder/a.dat").write_bytes(CONTENT)
    assert fetch(CONVERTED).name == "a.dat"
    (directory / "folder/a.csv").write_bytes(REPACKED)
    assert fetch(CONVERTED).name == "a.csv"


def test_one_place_takes_the_source_bytes_or_the_mirror_bytes(directory, no_network):
    crlf, lf = b"a\r\nb\r\n", b"a\nb\n"
    digests = [hashlib.sha256(text).hexdigest() for text in (crlf, lf)]
    both = RemoteFile("https://example.org/b.csv", digests[0], "folder/b.csv", "folder/b.csv", digests[1])
    for text in (crlf, lf):
        (directory / "folder/b.csv").write_bytes(text)
        assert fetch(both).read_bytes() == text
    (directory / "folder/b.csv").write_bytes(b"a\rb\r")
    with pytest.raises(DataError, match=f"{digests[1]} or {digests[0]}"):
        fetch(both)


def test_damaged_mirror_file_is_refused_with_both_digests_and_advice(directory, no_network):
    (directory / "folder/a.dat").write_bytes(CONTENT + b"x")
    found = hashlib.sha256(CONTENT + b"x").hexdigest()
    with pytest.raises(DataError) as caught:
        fetch(PLAIN)
    message = str(caught.value)
    assert str(directory / "folder/a.dat") in message
    assert f"should be {DIGEST}" in message
    assert f"it is {found}" in message
    assert PLAIN.url in message
    assert MIRROR_VARIABLE in message


def test_file_in_neither_place_says_where_to_put_it(directory, no_network):
    with pytest.raises(DataError) as caught:
        fetch(CONVERTED)
    message = str(caught.value)
    for part in (CONVERTED.url, "folder/a.csv or folder/a.dat", "no route to host", DIGEST, MIRROR_VARIABLE):
        assert part in message
    assert "DIRECTORY/folder/a.dat" in message


def test_without_mirror_and_network_says_how_to_set_one(monkeypatch, no_network):
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    with pytest.raises(DataError, match="set the environment variable DYNPLAT_DATA"):
        fetch(PLAIN)


def test_mirror_that_is_no_directory_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(MIRROR_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="which is not a directory"):
        fetch(PLAIN)


def test_download_is_checked_kept_and_not_repeated(source):
    served, asked = source
    served[PLAIN.url] = CONTENT
    first = fetch(PLAIN)
    assert first.read_bytes() == CONTENT
    assert fetch(PLAIN) == first
    assert asked == [PLAIN.url]


def test_download_with_another_digest_is_refused_and_not_kept(source, tmp_path):
    served, _ = source
    served[PLAIN.url] = b"changed"
    with pytest.raises(DataError) as caught:
        fetch(PLAIN)
    assert DIGEST in str(caught.value)
    assert hashlib.sha256(b"changed").hexdigest() in str(caught.value)
    assert not list(tmp_path.rglob("a.dat"))


def test_cached_file_that_was_damaged_is_downloaded_again(source):
    served, asked = source
    served[PLAIN.url] = CONTENT
    fetch(PLAIN).write_bytes(b"rotten")
    assert fetch(PLAIN).read_bytes() == CONTENT
    assert len(asked) == 2


def test_file_missing_in_the_mirror_is_downloaded(source, tmp_path, monkeypatch):
    served, _ = source
    served[PLAIN.url] = CONTENT
    monkeypatch.setenv(MIRROR_VARIABLE, str(tmp_path))
    assert fetch(PLAIN).read_bytes() == CONTENT
