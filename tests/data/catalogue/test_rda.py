"""The reader of R data files, against files written here by the format's own rules."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct

import numpy as np
import pytest

from dynplat.data.catalogue.rda import read_tables
from dynplat.data.catalogue.transplant import build, read_cav
from dynplat.errors import DataError


def word(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}i", *numbers)


def text(value: str | None) -> bytes:
    return word(9, -1) if value is None else word(9 | 0x40000, len(value)) + value.encode()


class Writer:
    """R's serialisation, with references to symbols that were written before."""

    def __init__(self) -> None:
        self.symbols: list[str] = []

    def symbol(self, name: str) -> bytes:
        if name in self.symbols:
            return word(((self.symbols.index(name) + 1) << 8) | 255)
        self.symbols.append(name)
        return word(1) + text(name)

    def pairs(self, items: dict) -> bytes:
        # Items are written in order, so that references point back.
        return b"".join(word(2 | 0x400) + self.symbol(name) + write() for name, write in items.items()) + word(254)

    def strings(self, values) -> bytes:
        return word(16, len(values)) + b"".join(text(value) for value in values)

    def reals(self, values) -> bytes:
        return word(14, len(values)) + struct.pack(f">{len(values)}d", *values)

    def integers(self, values) -> bytes:
        return word(13, len(values)) + word(*values)

    def factor(self, codes, levels) -> bytes:
        head = word(13 | 0x300, len(codes)) + word(*codes)
        return head + self.pairs({"levels": lambda: self.strings(levels), "class": lambda: self.strings(["factor"])})

    def frame(self, columns: dict) -> bytes:
        head = word(19 | 0x300, len(columns)) + b"".join(write() for write in columns.values())
        length = 3
        return head + self.pairs(
            {
                "names": lambda: self.strings(list(columns)),
                "row.names": lambda: self.integers([-(2**31), -length]),
                "class": lambda: self.strings(["data.frame"]),
            }
        )


def example(version: int = 2) -> bytes:
    w = Writer()
    head = b"RDX%d\nX\n" % version + word(version, 0x40400, 0x20300)
    if version == 3:
        head += word(5) + b"UTF-8"
    return head + w.pairs(
        {
            "first": lambda: w.frame(
                {
                    "t": lambda: w.reals([0.0, 0.25, 1e-300]),
                    "n": lambda: w.integers([1, -(2**31), -7]),
                    "f": lambda: w.factor([2, -(2**31), 1], ["low", "high"]),
                    "s": lambda: w.strings(["a", None, "c"]),
                }
            ),
            "scalar": lambda: w.reals([1.0]),
            "second": lambda: w.frame({"t": lambda: w.reals([1.0, 2.0, 3.0])}),
        }
    )


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_tables_are_read_whatever_the_version_and_compression(tmp_path, pack, version):
    path = tmp_path / "a.rda"
    path.write_bytes(pack(example(version)))
    tables = read_tables(path)
    assert list(tables) == ["first", "second"]
    first = tables["first"]
    assert first["t"].tolist() == [0.0, 0.25, 1e-300]
    np.testing.assert_array_equal(first["n"], [1.0, np.nan, -7.0])
    assert first["f"].tolist() == ["high", None, "low"]
    assert first["s"].tolist() == ["a", None, "c"]
    assert tables["second"]["t"].tolist() == [1.0, 2.0, 3.0]


def test_code_is_refused(tmp_path):
    path = tmp_path / "a.rda"
    w = Writer()
    # Type 3 is a closure: a function with its body.
    path.write_bytes(b"RDX2\nX\n" + word(2, 0, 0) + w.pairs({"f": lambda: word(3, 0)}))
    with pytest.raises(DataError, match="an object of R type 3 is no part of a table"):
        read_tables(path)


@pytest.mark.parametrize("content", [b"", b"RDX2\nA\n2", b"PK\x03\x04"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "a.rda"
    path.write_bytes(content)
    with pytest.raises(DataError, match="an R data file in binary"):
        read_tables(path)


def test_cut_file_is_refused(tmp_path):
    path = tmp_path / "a.rda"
    path.write_bytes(example()[:-30])
    with pytest.raises(DataError, match="ends in the middle of an object"):
        read_tables(path)


def test_heart_transplant_table_is_read_from_either_form(tmp_path):
    w = Writer()
    columns = {
        "PTNUM": [7.0, 7.0, 9.0],
        "age": [50.0, 51.0, 40.0],
        "years": [0.0, 1.0, 0.0],
        "dage": [20.0, 20.0, 30.0],
        "sex": [0.0, 0.0, 1.0],
        "cumrej": [0.0, 2.0, 0.0],
        "state": [1.0, 4.0, 1.0],
    }
    cells = {name: (lambda values=values: w.reals(values)) for name, values in columns.items()}
    cells["pdiag"] = lambda: w.factor([1, 1, -(2**31)], ["IHD"])
    (tmp_path / "a.rda").write_bytes(
        gzip.compress(b"RDX2\nX\n" + word(2, 0, 0) + w.pairs({"cav": lambda: w.frame(cells)}))
    )
    rows = zip(*columns.values(), ["IHD", "IHD", ""], strict=True)
    table = "\n".join(",".join(str(cell) for cell in row) for row in [(*columns, "pdiag"), *rows])
    (tmp_path / "cav.csv").write_text(table + "\n")
    one, other = (build(read_cav(tmp_path / name), rejections=True) for name in ("a.rda", "cav.csv"))
    assert one.equals(other)
    assert one.static["pdiag"].tolist() == ["IHD", ""]
    assert one.marks[0].tolist() == [0, 1]
