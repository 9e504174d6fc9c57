"""A target is replaced whole or left as it was."""

import errno
import os
import stat

import numpy as np
import pytest

from dynplat.data import Trajectories, read, read_table, write
from dynplat.errors import StorageError

SUFFIXES = [".csv", ".csv.gz", ".parquet", ".nc", ".zarr"]
OLD = Trajectories.from_arrays([0.0, 1.0], [1.0, 2.0])
NEW = Trajectories.from_arrays([0.0, 1.0, 2.0], [1.0, np.nan, 5.0])


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def break_writing(monkeypatch, suffix):
    """Let the disk be full while the format writes, after something was written."""
    if suffix.startswith(".csv"):

        def write_bytes(path, raw):
            path.write_bytes(raw[:5])
            no_space()

        monkeypatch.setattr("dynplat.data.delimited.write_bytes", write_bytes)
    elif suffix == ".parquet":
        import pyarrow.parquet as pq

        def write_table(table, path):
            path.write_bytes(b"PAR1")
            no_space()

        monkeypatch.setattr(pq, "write_table", write_table)
    else:
        import xarray as xr

        def partial(dataset, path, **options):
            target = path / "part" if path.is_dir() else path
            target.write_bytes(b"part")
            no_space()

        monkeypatch.setattr(xr.Dataset, "to_netcdf", partial)
        monkeypatch.setattr(xr.Dataset, "to_zarr", partial)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_full_disk_leaves_the_old_target_and_nothing_else(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"data{suffix}"
    write(OLD, path)
    with monkeypatch.context() as patch:
        break_writing(patch, suffix)
        with pytest.raises(StorageError, match=r"No space left on device. It is left as it was\."):
            write(NEW, path)
        with pytest.raises(StorageError, match=r"No space left on device. Nothing was written\."):
            write(NEW, tmp_path / f"fresh{suffix}")
    assert os.listdir(tmp_path) == [path.name]
    assert read(path).equals(OLD)
    write(NEW, path)
    assert read(path).equals(NEW)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_failing_replacement_leaves_the_old_target(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"data{suffix}"
    write(OLD, path)
    real = os.rename

    def rename(source, target):
        # The second of the two renames of a directory fails; undoing the first must work.
        if str(target) == str(path) and str(source).endswith(".tmp") and not (path / "old").exists():
            monkeypatch.setattr(os, "rename", real)
            no_space()
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", no_space)
        patch.setattr(os, "rename", rename)
        with pytest.raises(StorageError, match="It is left as it was"):
            write(NEW, path)
    assert read(path).equals(OLD)
    assert os.listdir(tmp_path) == [path.name]


def test_failing_table_leaves_the_old_target(tmp_path, monkeypatch):
    source, path = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("t,x\n0,1\n1,\n")
    path.write_text("precious")
    with monkeypatch.context() as patch:
        break_writing(patch, ".csv")
        with pytest.raises(StorageError, match=r"out.csv: could not be written"):
            read_table(source).write(path, values=np.ones((1, 2, 1)))
    assert path.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["in.csv", "out.csv"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_missing_directory_is_named(suffix, tmp_path):
    with pytest.raises(StorageError, match=r"the directory .*nowhere is not there. Create it first"):
        write(NEW, tmp_path / "nowhere" / f"data{suffix}")


def test_file_and_directory_do_not_replace_each_other(tmp_path):
    (tmp_path / "data.csv").mkdir()
    (tmp_path / "data.zarr").write_text("precious")
    with pytest.raises(StorageError, match="this is a directory"):
        write(NEW, tmp_path / "data.csv")
    with pytest.raises(StorageError, match="this is a file"):
        write(NEW, tmp_path / "data.zarr")
    assert (tmp_path / "data.zarr").read_text() == "precious"


def test_link_is_followed_and_permissions_are_kept(tmp_path):
    real, link = tmp_path / "real.csv", tmp_path / "link.csv"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write(NEW, link)
    assert link.is_symlink()
    assert read(real).equals(NEW)
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_new_file_has_the_permissions_of_the_user(tmp_path):
    mask = os.umask(0o027)
    try:
        write(NEW, tmp_path / "data.csv")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "data.csv").stat().st_mode) == 0o640
