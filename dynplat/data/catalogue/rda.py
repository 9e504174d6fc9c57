"""A reader for the tables in an R data file (`.rda`), as data: symbols, vectors and attributes, nothing is evaluated.

R Internals, section 1.8 "Serialization Formats" (https://cran.r-project.org/doc/manuals/r-release/R-ints.html): the
file is compressed; after a magic line and the XDR marker stand three version numbers and one item, a pair list of the
saved objects. Every item opens with an integer: its low byte is the type, bits 8-10 say whether it is an object, has
attributes and has a tag. All numbers are big-endian.

Only the types that data frames are made of are read; closures, promises, environments and compiled code are refused.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dynplat.errors import DataError

_OPENERS = {b"\x1f\x8b": gzip.decompress, b"BZ": bz2.decompress, b"\xfd7": lzma.decompress}
_SYMBOL, _LIST, _CHAR, _LOGICAL, _INTEGER, _REAL, _STRING, _VECTOR = 1, 2, 9, 10, 13, 14, 16, 19
_NIL, _REFERENCE = 254, 255
_MISSING_INTEGER = -(2**31)


class _Item(NamedTuple):
    value: Any
    attributes: dict[str, Any]


def read_tables(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Read every data frame of the file: name -> column -> array.

    Numbers and logicals become float64 with NaN for NA; factors and texts become objects, str or None for NA.

    Raises:
        DataError: The file is no R data file in XDR form, or holds something that no data frame is made of.
    """
    data = path.read_bytes()
    open_ = _OPENERS.get(data[:2])
    if open_ is not None:
        data = open_(data)
    if data[:5] not in (b"RDX2\n", b"RDX3\n") or data[5:7] != b"X\n":
        raise DataError("an R data file in binary (XDR) form is expected.", source=path)
    reader = _Reader(data, 7, path)
    version, _, _ = reader.integers(3)
    if version == 3:
        reader.take(int(reader.integers(1)[0]))
    objects = reader.item()
    tables = {}
    for name, item in (objects.value or {}).items():
        if item.attributes.get("class") == ["data.frame"]:
            tables[name] = {
                column: _to_array(cells) for column, cells in zip(item.attributes["names"], item.value, strict=True)
            }
    return tables


def _to_array(item: _Item) -> np.ndarray:
    levels = item.attributes.get("levels")
    if levels is not None:
        return np.array([None if np.isnan(code) else levels[int(code) - 1] for code in item.value], dtype=object)
    if isinstance(item.value, list):
        return np.array(item.value, dtype=object)
    return item.value


class _Reader:
    def __init__(self, data: bytes, position: int, path: Path) -> None:
        self.data, self.position, self.path = data, position, path
        self.symbols: list[str] = []

    def take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise DataError("the file ends in the middle of an object.", source=self.path)
        piece, self.position = self.data[self.position : end], end
        return piece

    def integers(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f">{count}i", self.take(4 * count))

    def item(self) -> _Item:
        flags = self.integers(1)[0]
        kind, has_attributes = flags & 0xFF, bool(flags & 0x200)
        if kind == _NIL:
            return _Item(None, {})
        if kind == _REFERENCE:
            index = flags >> 8 or self.integers(1)[0]
            return _Item(self.symbols[index - 1], {})
        if kind == _SYMBOL:
            name = self.item().value
            self.symbols.append(name)
            return _Item(name, {})
        if kind == _LIST:
            return self.pairs(flags)
        length = self.integers(1)[0]
        if kind == _CHAR:
            return _Item(None if length == -1 else self.take(length).decode("utf-8"), {})
        value: Any
        if kind in (_LOGICAL, _INTEGER):
            whole = np.frombuffer(self.take(4 * length), dtype=">i4").astype(np.float64)
            value = np.where(whole == _MISSING_INTEGER, np.nan, whole)
        elif kind == _REAL:
            value = np.frombuffer(self.take(8 * length), dtype=">f8").astype(np.float64)
        elif kind == _STRING:
            value = [self.item().value for _ in range(length)]
        elif kind == _VECTOR:
            value = [self.item() for _ in range(length)]
        else:
            raise DataError(f"an object of R type {kind} is no part of a table.", source=self.path)
        attributes = self.item().value if has_attributes else None
        return _Item(value, {name: cell.value for name, cell in (attributes or {}).items()})

    def pairs(self, flags: int) -> _Item:
        found: dict[str, _Item] = {}
        while flags & 0xFF == _LIST:
            if flags & 0x200:
                self.item()
            tag = self.item().value if flags & 0x400 else f"{len(found)}"
            found[tag] = self.item()
            flags = self.integers(1)[0]
        if flags & 0xFF != _NIL:
            raise DataError("a pair list does not end where it should.", source=self.path)
        return _Item(found, {})
