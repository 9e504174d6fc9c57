import importlib
import subprocess
import sys

import pytest

import dynplat.comparison
from dynplat.comparison.entries import ENTRIES, MORE_ENTRIES
from dynplat.errors import ArgumentError
from dynplat.records import ScoreEntry


def test_records_are_read_without_any_numerical_library():
    code = (
        "import sys, dynplat.comparison.entries;"
        "print(sorted({'numpy', 'scipy', 'xarray', 'pandas', 'torch', 'jax'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_public_names_load():
    for name in dynplat.comparison.__all__:
        assert getattr(dynplat.comparison, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dynplat.comparison.nothing


def test_room_does_not_hide_the_function():
    import dynplat.api

    importlib.import_module("dynplat.comparison")
    assert dynplat.compare is dynplat.api.compare


@pytest.mark.parametrize("entry", [*ENTRIES, *MORE_ENTRIES], ids=lambda entry: entry.id)
def test_every_proper_score_names_its_source(entry):
    assert callable(entry.load())
    assert not entry.proper or entry.references


def test_record_refuses_an_order_that_is_none():
    with pytest.raises(ArgumentError, match="`orientation` of 'odd' must be one of"):
        ScoreEntry("odd", "Odd", orientation="bigger")
    with pytest.raises(ArgumentError, match="`target` of 'odd' must be a number exactly when"):
        ScoreEntry("odd", "Odd", orientation="target")
    with pytest.raises(ArgumentError, match="`aggregate` of 'odd' must be one of"):
        ScoreEntry("odd", "Odd", aggregate="median")
