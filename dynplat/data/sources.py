"""What a path points to, opened as a table: the faults that all formats share, and the parts that rows need."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dynplat.data.assemble import Origin
from dynplat.data.delimited import Dialect, read_text_table
from dynplat.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

#: Suffix -> format.
FORMATS = {
    ".csv": "text",
    ".tsv": "text",
    ".csv.gz": "text",
    ".tsv.gz": "text",
    ".parquet": "parquet",
    ".nc": "netcdf",
    ".zarr": "zarr",
}


class OpenTable(NamedTuple):
    """A table with what is known about it.

    Attributes:
        frame: The cells: text as written, or typed columns.
        origin: How to name the source and count its rows in messages.
        decimal: Decimal mark of numbers written as text.
        unnamed: Columns that carry no name in the source.
        dialect: How a text table is written, or None.
        arrow: The Arrow table of a Parquet file, or None.
        meta: What dynplat wrote about the columns, or None.
    """

    frame: pd.DataFrame
    origin: Origin
    decimal: str = "."
    unnamed: tuple[str, ...] = ()
    dialect: Dialect | None = None
    arrow: Any = None
    meta: dict[str, Any] | None = None


def format_of(path: str | os.PathLike[str]) -> str:
    """Tell the format from the suffix.

    Raises:
        DataError: The suffix is not known.
    """
    name = Path(path).name.lower()
    for suffix, kind in FORMATS.items():
        if name.endswith(suffix):
            return kind
    suffix = Path(name).suffix
    raise DataError(
        f"files that end in {suffix!r} cannot be read or written."
        if suffix
        else "the name has no suffix that says its format.",
        hint=f"Known are {', '.join(FORMATS)}; save the table as one of them.",
        source=path,
    )


def check_readable(path: str | os.PathLike[str], kind: str) -> Path:
    """Check that a path can be read as its format says: it exists, is a file (a Zarr store a directory), is not empty.

    Raises:
        DataError: It cannot.
    """
    found = Path(path)
    if not found.exists():
        parent = found.parent
        hint = "Check the name." if parent.is_dir() else f"The directory {parent} is not there either."
        close = _close_names(found) if parent.is_dir() else ""
        raise DataError("there is no such file.", hint=f"{hint}{close}", source=path)
    if kind == "zarr":
        if not found.is_dir():
            raise DataError("a Zarr store is a directory; this is a file.", hint="Check the name.", source=path)
        return found
    if found.is_dir():
        raise DataError("this is a directory, and a file is expected.", hint="Name a file in it.", source=path)
    try:
        with open(found, "rb") as opened:
            first = opened.read(1)
    except OSError as error:
        raise DataError(f"the file cannot be opened: {error.strerror}.", source=path) from error
    if not first:
        raise DataError("the file is empty (0 bytes).", hint="Write or copy it again.", source=path)
    return found


def _close_names(path: Path) -> str:
    import difflib

    close = difflib.get_close_matches(path.name, sorted(os.listdir(path.parent))[:5000], n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def check_options(path: str | os.PathLike[str], kind: str, *, encoding: str = "utf-8", **given: Any) -> None:
    """Refuse arguments about text and its cells for a file that is none, where they would change nothing.

    Raises:
        DataError: One is given.
    """
    given["encoding"] = None if encoding == "utf-8" else encoding
    strange = [f"`{name}`" for name, value in given.items() if value is not None]
    if kind != "text" and strange:
        raise DataError(
            f"{', '.join(strange)} would say how cells of text are read, and this file is no text.",
            hint="Leave it out.",
            source=path,
        )


def open_table(
    path: str | os.PathLike[str], *, delimiter: str | None = None, decimal: str | None = None, encoding: str = "utf-8"
) -> OpenTable:
    """Open a text table or a Parquet file.

    Raises:
        DataError: The file cannot be read.
    """
    kind = format_of(path)
    check_options(path, kind, delimiter=delimiter, decimal=decimal, encoding=encoding)
    found = check_readable(path, kind)
    if kind == "text":
        if delimiter is None and ".tsv" in found.name.lower():
            delimiter = "\t"
        table = read_text_table(found, delimiter=delimiter, decimal=decimal, encoding=encoding)
        lines = table.lines
        number: Callable[[int], int] = lambda row: int(lines[row])  # noqa: E731
        return OpenTable(table.frame, Origin(path, number), table.dialect.decimal, table.unnamed, table.dialect)
    from dynplat.data.parquet import read_parquet

    return read_parquet(found)
