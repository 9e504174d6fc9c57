"""Files that jobs write: refused before the fit where they cannot be written, and written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dynplat.errors import ArgumentError, StorageError

if TYPE_CHECKING:
    import pandas as pd

    from dynplat.data.delimited import Dialect

TABLES = (".csv", ".tsv", ".csv.gz", ".parquet")
PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Output:
    """What a job writes.

    Args:
        table: The table.
        plot: The picture, or None for none.
        level: Level of the intervals.
    """

    table: Path
    plot: Path | None = None
    level: float = 0.9

    def check(self) -> None:
        """Refuse a level that is no probability, and files that could not be written.

        Raises:
            ArgumentError: The level, or a suffix.
            StorageError: A folder.
        """
        check_level(self.level)
        check_target(self.table, TABLES, "--out")
        if self.plot is not None:
            check_target(self.plot, PICTURES, "--plot")


def check_level(level: float) -> None:
    """Refuse a level that is no probability."""
    if not 0 < level < 1:
        raise ArgumentError(f"`--level` must be between 0 and 1 (exclusive), such as 0.9; got {level:g}.")


def check_target(path: Path, suffixes: Iterable[str], option: str) -> None:
    """Refuse a file that could not be written, before hours are spent on what should go into it."""
    legal = tuple(suffixes)
    if not str(path).lower().endswith(legal):
        raise ArgumentError(f"`{option}` must end in {', '.join(legal)}; got {str(path)!r}.")
    folder = path.parent if str(path.parent) else Path()
    if not folder.is_dir():
        raise StorageError(f"`{option}` {path}: the folder {folder} does not exist. Make it first.")
    if path.is_dir():
        raise StorageError(f"`{option}` {path} is a folder. Name a file.")
    if not os.access(folder, os.W_OK):
        raise StorageError(f"`{option}` {path}: the folder {folder} cannot be written to. Choose another place.")


def write_frame(frame: pd.DataFrame, path: Path, dialect: Dialect) -> None:
    """Write a table whole or not at all: .csv, .tsv, .csv.gz or .parquet; text in the dialect of its source."""
    from dynplat.data.atomic import replacing

    name = path.name.lower()
    with replacing(path) as temporary:
        if name.endswith(".parquet"):
            frame.to_parquet(temporary, index=False)
        else:
            frame.to_csv(
                temporary,
                index=False,
                sep=dialect.delimiter,
                decimal=dialect.decimal,
                lineterminator=dialect.newline,
                encoding=dialect.encoding,
                # No time stamp inside: the same forecast is the same file.
                compression={"method": "gzip", "mtime": 0} if name.endswith(".gz") else None,
            )
