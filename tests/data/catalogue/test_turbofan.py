from __future__ import annotations

import numpy as np
import pytest

from dynplat.data.catalogue import turbofan
from dynplat.errors import DataError


@pytest.fixture(scope="module", params=["train", "test"])
def part(request, mirror):
    return request.param, turbofan.load_turbofan_fd001(split=request.param, settings=True)


def test_rows_and_engines_are_the_original_ones(part):
    split, data = part
    assert data.num_series == 100
    assert data.lengths.sum() == {"train": 20_631, "test": 13_096}[split]
    assert (data.lengths.min(), data.lengths.max()) == {"train": (128, 362), "test": (31, 303)}[split]
    assert data.mask[data.rows].all()
    for times, length in zip(data.times, data.lengths, strict=True):
        np.testing.assert_array_equal(times[:length], np.arange(1, length + 1))


def test_constant_columns_are_kept_or_dropped(part, mirror):
    split, data = part
    cells = np.concatenate([data.inputs[data.rows], data.values[data.rows]], axis=1)
    names = [*turbofan.SETTINGS, *turbofan.SENSORS]
    constant = [name for name, column in zip(names, cells.T, strict=True) if (column == column[0]).all()]
    assert tuple(constant) == turbofan.CONSTANT
    # Counted from 1 over the whole table, as the columns are named in the literature.
    assert [names.index(name) + 3 for name in constant] == [5, 6, 10, 15, 21, 23, 24]
    less = turbofan.load_turbofan_fd001(split=split, settings=True, drop_constant=True)
    assert len(less.channels) == 15
    assert less.input_names == ("setting1", "setting2")


def test_remaining_lives(part):
    split, data = part
    if split == "train":
        assert (data.static["rul"] == 0).all()
    else:
        assert data.static["rul"][:4].tolist() == [112, 98, 69, 82]
        assert (data.static["rul"].min(), data.static["rul"].max()) == (7, 145)


def test_first_row_and_settings(mirror):
    data = turbofan.load_turbofan_fd001()
    assert data.inputs is None
    assert data.values[0, 0, [0, 1, -1]].tolist() == [518.67, 641.82, 23.4190]
    assert data.units["T24"] == "degR"


def test_trailing_blanks_and_edited_copies(tmp_path):
    path = tmp_path / "train.txt"
    rows = [" ".join([str(engine), str(cycle), *["1.5"] * 24]) + "  " for engine in range(1, 101) for cycle in (1, 2)]
    path.write_text("\n".join(rows) + "\n")
    assert turbofan.read_table(path, 200).shape == (200, 26)
    path.write_text("\n".join(rows[:-20]) + "\n")
    with pytest.raises(DataError, match=r"200 rows, 26 columns and 100 engines are expected; got \(180, 26, 90\)"):
        turbofan.read_table(path, 200)


def test_list_of_lives_with_an_empty_first_line_and_a_plus_sign(tmp_path):
    path = tmp_path / "RUL.txt"
    path.write_text("\n+112 \n" + "98 \n" * 99)
    assert turbofan.read_rul(path)[:2].tolist() == [112, 98]
    path.write_text("112\n98\n")
    with pytest.raises(DataError, match="100 remaining lives are expected; got 2"):
        turbofan.read_rul(path)
