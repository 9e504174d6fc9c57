import importlib
import subprocess
import sys

import pytest

import dynplat.compare
from dynplat.compare.entries import ENTRIES, MORE_ENTRIES
from dynplat.errors import ArgumentError
from dynplat.records import ScoreEntry


def test_records_are_read_without_any_numerical_library():
    code = (
        "import sys, dynplat.compare.entries;"
        "print(sorted({'numpy', 'scipy', 'xarray', 'pandas', 'torch', 'jax'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_public_names_load():
    for name in dynplat.compare.__all__:
        assert getattr(dynplat.compare, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dynplat.compare.nothing


def test_package_is_the_function_whose_name_it_bears(monkeypatch):
    # `dp.compare(...)` after `dp.Imputation(...)`: the import has put the package in the function's place.
    monkeypatch.setattr("dynplat.api.compare", lambda *args, **kwargs: (args, kwargs), raising=False)
    package = importlib.import_module("dynplat.compare")
    assert package("task", fits=1) == (("task",), {"fits": 1})


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
