from __future__ import annotations

import numpy as np
import pytest

from dynplat import marks
from dynplat.data.catalogue import ebmt
from dynplat.errors import DataError

HEAD = '"","id","from","to","trans","Tstart","Tstop","time","status","match","proph","year","agecl"\n'
COVARIATES = '"no gender mismatch","no","1995-1998","20-40"'


def table(*rows: tuple) -> str:
    lines = [
        f'"{number}",{",".join(str(cell) for cell in row[:5])},{row[5]},{row[5] - row[4]},{row[6]},{COVARIATES}\n'
        for number, row in enumerate(rows, start=1)
    ]
    return HEAD + "".join(lines)


def stay(patient: int, state: int, start: float, stop: float, to: int | None = None) -> list[tuple]:
    return [
        (patient, source, target, number, start, stop, int(target == to))
        for number, (source, target) in ebmt.TRANSITIONS.items()
        if source == state
    ]


def test_rows_at_risk_become_one_path_per_patient(tmp_path):
    path = tmp_path / "long.csv"
    rows = [*stay(1, 1, 0, 22, 2), *stay(1, 2, 22, 30.5, 4), *stay(1, 4, 30.5, 100), *stay(2, 1, 0, 5, 6)]
    for ending in ("\n", "\r\n"):
        path.write_bytes(table(*rows).replace("\n", ending).encode())
        data = ebmt.read_long(path)
        assert data.lengths.tolist() == [4, 2]
        assert data.times[0].tolist() == [0.0, 22.0, 30.5, 100.0]
        assert data.values[0, :, 0].tolist() == [1.0, 2.0, 4.0, 4.0]
        assert data.marks[0].tolist() == [marks.OBSERVED, marks.MOVED, marks.MOVED, marks.STAYED]
        assert data.values[1, :2, 0].tolist() == [1.0, 6.0]
        assert data.marks[1, :2].tolist() == [marks.OBSERVED, marks.MOVED]
        assert data.static["agecl"].tolist() == ["20-40", "20-40"]


def test_stays_that_do_not_follow_on_each_other_are_refused(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text(table(*stay(1, 1, 0, 22, 2), *stay(1, 2, 23, 30, 6)))
    with pytest.raises(DataError, match="do not follow on each other"):
        ebmt.read_long(path)


def test_unknown_transition_is_refused(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text(table((1, 1, 4, 2, 0, 22, 1)))
    with pytest.raises(DataError, match=r"an unknown transition .*\(2, 1, 4\)"):
        ebmt.read_long(path)


@pytest.fixture(scope="module")
def data(mirror):
    return ebmt.load_ebmt()


def test_event_counts_are_the_published_ones(data):
    counts = dict.fromkeys(ebmt.TRANSITIONS.values(), 0)
    moved = 0
    for states, codes, length in zip(data.values[..., 0].astype(int), data.marks, data.lengths, strict=True):
        for row in range(1, length):
            if codes[row] == marks.MOVED:
                counts[states[row - 1], states[row]] += 1
                moved += 1
    assert list(counts.values()) == [785, 907, 95, 160, 227, 112, 39, 433, 56, 197, 107, 137]
    assert moved == sum(counts.values())


def test_every_path_starts_at_transplant_and_ends_absorbed_or_censored(data):
    assert data.num_series == 2279
    assert (data.values[:, 0, 0] == 1).all()
    assert (data.times[:, 0] == 0).all()
    last = data.lengths - 1
    rows = np.arange(data.num_series)
    absorbed = np.isin(data.values[rows, last, 0], [5, 6])
    np.testing.assert_array_equal(data.marks[rows, last] == marks.STAYED, ~absorbed)
    assert absorbed.sum() == 95 + 160 + 112 + 39 + 56 + 197 + 107 + 137
    assert (data.marks == marks.STAYED).sum() == (~absorbed).sum()


def test_half_days_break_ties_and_one_patient_is_censored_at_once(data):
    parts = data.times[data.rows] % 1
    assert set(parts.tolist()) == {0.0, 0.5, 0.03}
    assert (parts == 0.5).sum() == 17
    assert (parts == 0.03).sum() == 1
    short = data.series.index("1804")
    assert data.times[short, :2].tolist() == [0.0, 0.03]
    assert data.marks[short, :2].tolist() == [marks.OBSERVED, marks.STAYED]


def test_paths_agree_with_the_wide_table(data, mirror):
    import pandas as pd

    wide = pd.read_csv(mirror / "ebmt/ebmt_wide.csv", index_col=0).set_index("id")
    for index in range(0, 2279, 7):
        row = wide.loc[int(data.series[index])]
        states = data.values[index, : data.lengths[index], 0].astype(int).tolist()
        times = data.times[index, : data.lengths[index]].tolist()
        entered = dict(zip(states[1:], times[1:], strict=True))
        if 5 in entered:
            assert (row["rel"], row["rel.s"]) == (entered[5], 1)
        if 6 in entered:
            assert (row["srv"], row["srv.s"]) == (entered[6], 1)
        if 4 in entered:
            assert row["recae.s"] == 1
            first = min(row["rec"], row["ae"])
            assert times[1] == first
