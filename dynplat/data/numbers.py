"""Numbers written as text, read strictly: a cell is a number, a known mark of a missing value, or a fault."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dynplat.data.assemble import Origin
from dynplat.errors import DataError

#: Texts that mean a missing value, in lower case.
MISSING = frozenset({"", "na", "nan", "null", "none", "-", "?", "n/a", "#n/a", "<na>"})

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$", re.ASCII)
_COMMA_NUMBER = re.compile(r"[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?$", re.ASCII)
_INFINITE = re.compile(r"[+-]?inf(inity)?$", re.IGNORECASE)
_WITH_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?$", re.ASCII)
_LIKE_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+$", re.ASCII)


class Numbers(NamedTuple):
    """What a column of texts holds.

    Attributes:
        values: float64; NaN for missing cells and for texts that are no numbers.
        missing: True where the cell is a mark of a missing value.
        bad: Indices of texts that are neither.
    """

    values: np.ndarray
    missing: np.ndarray
    bad: list[int]


def is_missing(text: Any) -> bool:
    """Return True if a cell (text or any other value) is missing."""
    if isinstance(text, str):
        return text.strip().lower() in MISSING
    return text is None or text != text or type(text).__name__ in ("NAType", "NaTType")


def parse_numbers(cells: Iterable[Any], decimal: str = ".") -> Numbers:
    """Read cells as numbers, with `.` or `,` as the decimal mark."""
    form = _NUMBER if decimal == "." else _COMMA_NUMBER
    cells = list(cells)
    values = np.full(len(cells), np.nan)
    missing = np.zeros(len(cells), dtype=bool)
    bad: list[int] = []
    for index, cell in enumerate(cells):
        if not isinstance(cell, str):
            if is_missing(cell):
                missing[index] = True
            else:
                try:
                    values[index] = float(cell)
                except (TypeError, ValueError):
                    bad.append(index)
            continue
        text = cell.strip()
        if form.match(text):
            values[index] = float(text if decimal == "." else text.replace(",", "."))
        elif text.lower() in MISSING:
            missing[index] = True
        elif _INFINITE.match(text):
            values[index] = float(text)
        else:
            bad.append(index)
    return Numbers(values, missing, bad)


def find_decimal_mark(columns: Iterable[Sequence[str]], delimiter: str, source: object) -> str:
    """Tell whether a text file writes its decimals with `.` or with `,`.

    A file separated by commas has decimal points. In any other, a number such as `2,5` shows a decimal comma; where
    every such number looks like `1,234`, a file separated by semicolons is taken to have decimal commas, and any
    other is refused, because thousands could be meant.

    Raises:
        DataError: Only numbers such as `1,234` are there, in a file separated by neither commas nor semicolons.
    """
    if delimiter == ",":
        return "."
    doubtful = ""
    for column in columns:
        for cell in column:
            text = cell.strip()
            if _WITH_COMMA.match(text):
                if delimiter == ";" or not _LIKE_THOUSANDS.match(text):
                    return ","
                doubtful = doubtful or text
    if doubtful:
        raise DataError(
            f"{doubtful!r} can be read as a decimal or as thousands.",
            hint="Say which mark separates decimals: decimal=',' or decimal='.' (and remove marks of thousands).",
            source=source,
        )
    return "."


def number_column(cells: Any, name: str, origin: Origin, decimal: str = ".") -> np.ndarray:
    """Read a column of a table as float64 with NaN for missing cells.

    Raises:
        DataError: A cell is text, or the column holds dates or complex numbers.
    """
    kind = getattr(getattr(cells, "dtype", None), "kind", "O")
    if kind in "biuf":
        return _plain(cells)
    if kind in "Mm":
        raise DataError(
            "dates were found where numbers are expected.",
            hint="Leave the column out, or turn it into numbers.",
            source=origin.source,
            column=name,
        )
    if kind == "c":
        raise DataError(
            "complex numbers were found, and channels are real.",
            hint="Make the column two: its real and its imaginary part.",
            source=origin.source,
            column=name,
        )
    numbers = parse_numbers(cells, decimal)
    if numbers.bad:
        raise text_error(list(cells), numbers.bad, name, origin, decimal)
    return numbers.values


def _plain(cells: Any) -> np.ndarray:
    if hasattr(cells, "to_numpy"):
        return cells.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(cells, dtype=np.float64)


def text_error(cells: Sequence[Any], bad: Sequence[int], name: str, origin: Origin, decimal: str) -> DataError:
    """Build the error for text in a column of numbers."""
    first = cells[bad[0]]
    more = f" (and {len(bad) - 1} more in this column)" if len(bad) > 1 else ""
    hint = "Correct the cell, or leave it empty if the value is missing; or leave the column out with `columns`."
    if isinstance(first, str):
        if decimal == "." and _WITH_COMMA.match(first.strip()):
            hint = "Write decimals with a point and thousands without a mark, or say decimal=','."
        elif decimal == "," and _NUMBER.match(first.strip()):
            hint = "This file writes decimals with a comma elsewhere: use one mark in the whole file."
    return DataError(
        f"the text {first!r} stands where a number is expected{more}.",
        hint=hint,
        source=origin.source,
        row=origin.number(bad[0]),
        column=name,
    )
