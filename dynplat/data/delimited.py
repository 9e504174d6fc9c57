"""Text tables (CSV and its relatives) with every cell kept as it is written.

The parser is Python's `csv`; what is added is certainty: which delimiter, which line of the file a row stands on, and
an error for everything that has no one meaning.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dynplat.data.atomic import replacing
from dynplat.data.dates import looks_like_date
from dynplat.data.numbers import find_decimal_mark, is_missing, parse_numbers
from dynplat.errors import DataError, StorageError

if TYPE_CHECKING:
    import pandas as pd

_DELIMITERS = (",", ";", "\t", "|")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SAMPLE = 200
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Dialect:
    """How a text table is written, so that it can be written again the same way.

    Args:
        delimiter: Character between cells.
        decimal: Decimal mark of numbers.
        newline: End of a line.
        encoding: Encoding; `utf-8-sig` where the file begins with a byte-order mark.
        header: Names of the columns as they stand in the file.
    """

    delimiter: str = ","
    decimal: str = "."
    newline: str = "\n"
    encoding: str = "utf-8"
    header: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextTable:
    """A text table.

    Args:
        frame: Cells as text, exactly as written (quotes removed).
        lines: Line of the file on which each row begins, counted from 1.
        dialect: How the file is written.
        unnamed: Columns without a name in the file; in `frame` they are called `column N`.
    """

    frame: pd.DataFrame
    lines: np.ndarray
    dialect: Dialect
    unnamed: tuple[str, ...]


def read_text_table(path: Path, *, delimiter: str | None, decimal: str | None, encoding: str) -> TextTable:
    """Read a text table.

    Args:
        path: File; `.gz` is decompressed.
        delimiter: Character between cells, or None to find it among comma, semicolon, tab and bar.
        decimal: Decimal mark, or None to find it.
        encoding: Encoding of the text.

    Raises:
        DataError: The file is empty or no text in this encoding, a row has more or fewer cells than the header, a name
            stands twice, the first line holds no names, or an argument is none of those that it can be.
    """
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '\r\n"'):
        raise DataError(f"`delimiter` must be one character, such as ';'; got {delimiter!r}.", source=path)
    if decimal not in (None, ".", ","):
        raise DataError(f"`decimal` must be '.' or ','; got {decimal!r}.", source=path)
    text, encoding = _decode(path, encoding)
    if not text.strip():
        raise DataError("the file is empty.", hint="Expected a line of column names and then rows.", source=path, row=1)
    delimiter = delimiter or _find_delimiter(text)
    newline = "\r\n" if "\r\n" in text[:100_000] else "\n"
    header, rows, lines = _parse(text, delimiter, path)
    names, unnamed = _name_columns(header, path)
    _check_header(header, rows, path)
    columns = [[row[index] for row in rows] for index in range(len(names))]
    decimal = decimal or find_decimal_mark(columns, delimiter, path)
    import pandas as pd

    frame = pd.DataFrame(
        {name: np.array(cells, dtype=object) for name, cells in zip(names, columns, strict=True)},
        index=pd.RangeIndex(len(rows)),
        dtype=object,
    )
    dialect = Dialect(delimiter, decimal, newline, encoding, tuple(header))
    return TextTable(frame, np.array(lines, dtype=np.int64), dialect, unnamed)


def _decode(path: Path, encoding: str) -> tuple[str, str]:
    raw = path.read_bytes()
    if path.suffix.lower() == ".gz":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"the file ends in .gz and is not a whole gzip file ({error}).", hint="Copy it again.", source=path
            ) from error
    if raw.startswith(codecs.BOM_UTF8) and encoding.lower().replace("-", "") == "utf8":
        encoding = "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        hint = "Say how the text is encoded, for example encoding='latin-1' or 'cp1252', or save it as UTF-8."
        if raw.startswith(_UTF16):
            hint = "It begins like UTF-16: say encoding='utf-16', or save it as UTF-8."
        raise DataError(
            f"the byte 0x{raw[error.start]:02x} is not text in {encoding}.",
            hint=hint,
            source=path,
            row=raw[: error.start].count(b"\n") + 1,
        ) from error
    except LookupError:
        raise DataError(f"`encoding` {encoding!r} is not known.", hint="Use 'utf-8' or 'latin-1'.") from None
    if "\x00" in text:
        line = text[: text.index("\x00")].count("\n") + 1
        raise DataError("a zero byte was found: this is no text file.", hint="Check its format.", source=path, row=line)
    return text, encoding


def _find_delimiter(text: str) -> str:
    """Choose the delimiter that splits the header, and most of the first rows into as many cells as the header."""
    sample = "".join(text.splitlines(keepends=True)[:_SAMPLE])
    best, best_score = ",", (0.0, 0)
    for delimiter in _DELIMITERS:
        counts = [len(row) for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if row]
        if not counts or counts[0] < 2:
            continue
        agreeing = sum(count == counts[0] for count in counts) / len(counts)
        if (agreeing, counts[0]) > best_score:
            best, best_score = delimiter, (agreeing, counts[0])
    return best


def _parse(text: str, delimiter: str, path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    begins = 1
    try:
        for row in reader:
            line, begins = begins, reader.line_num + 1
            if not row or (len(row) == 1 and not row[0].strip() and len(header) != 1):
                continue  # an empty line is no row
            if not header:
                header = row
                continue
            if len(row) != len(header):
                raise DataError(
                    f"the row has {len(row)} cells, and the header has {len(header)} (separated by "
                    f"{_NAMES.get(delimiter, repr(delimiter))}).",
                    hint="Put cells that contain the separator in double quotes, and give every row as many cells as "
                    "the header; or name the separator with `delimiter`.",
                    source=path,
                    row=line,
                )
            rows.append(row)
            lines.append(line)
    except csv.Error as error:
        raise DataError(
            f"the line cannot be split into cells: {error}.",
            hint="Check the double quotes of this row; every quoted cell must end with one.",
            source=path,
            row=begins,
        ) from error
    return header, rows, lines


def _name_columns(header: Sequence[str], path: Path) -> tuple[list[str], tuple[str, ...]]:
    names = [name.strip() for name in header]
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if name and name in seen:
            raise DataError(
                f"two columns carry this name (columns {seen[name] + 1} and {index + 1} of the table).",
                hint="Rename one of them.",
                source=path,
                row=1,
                column=name,
            )
        seen[name] = index
    full = [name or f"column {index + 1}" for index, name in enumerate(names)]
    return full, tuple(name for name, given in zip(full, names, strict=True) if not given)


def _check_header(header: Sequence[str], rows: Sequence[Sequence[str]], path: Path) -> None:
    said = [cell for cell in header if cell.strip()]
    numbers = parse_numbers(said)
    bad = set(numbers.bad)
    if said and all(index not in bad or looks_like_date(cell) for index, cell in enumerate(said)):
        raise DataError(
            f"the first line holds numbers or dates ({', '.join(said[:4])}), not names of columns.",
            hint="Add a first line with a name for each column.",
            source=path,
            row=1,
        )
    if not rows:
        raise DataError(
            "the file has a line of column names and no rows.", hint="Add the observations.", source=path, row=1
        )


def write_text_table(path: str | os.PathLike[str], columns: dict[str, Sequence[str]], dialect: Dialect) -> None:
    """Write columns of text as a table, atomically; `.gz` is compressed, with no time stamp inside.

    Args:
        path: Target.
        columns: Column name -> cells; the first of them are those of the dialect's header, where it has one.
        dialect: How to write.

    Raises:
        StorageError: The file could not be written.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=dialect.delimiter, lineterminator=dialect.newline)
    writer.writerow([*dialect.header, *list(columns)[len(dialect.header) :]])
    writer.writerows(zip(*columns.values(), strict=True))
    try:
        raw = buffer.getvalue().encode(dialect.encoding)
    except UnicodeEncodeError as error:
        raise StorageError(
            f"{path}: {error.object[error.start]!r} cannot be written in {dialect.encoding}. Save the source as UTF-8."
        ) from error
    if str(path).lower().endswith(".gz"):
        raw = gzip.compress(raw, mtime=0)
    with replacing(path) as temporary:
        write_bytes(temporary, raw)


def write_bytes(path: Path, raw: bytes) -> None:
    """Write bytes to a path (the one place to make a full disk in tests)."""
    path.write_bytes(raw)


def format_number(value: float, decimal: str = ".") -> str:
    """Write a number as the shortest text that reads back the same; NaN is an empty cell."""
    if np.isnan(value):
        return ""
    text = repr(float(value))
    text = text[:-2] if text.endswith(".0") else text
    return text if decimal == "." else text.replace(".", decimal)


def format_column(values: np.ndarray, decimal: str = ".") -> list[str]:
    """Write an array as cells: numbers as `format_number` does, booleans as true and false, missing as empty."""
    kind = values.dtype.kind
    if kind == "b":
        return ["true" if value else "false" for value in values]
    if kind == "f":
        return [format_number(value, decimal) for value in values]
    if kind in "iu":
        return [str(value) for value in values]
    return ["" if is_missing(value) and not isinstance(value, str) else str(value) for value in values]
