from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest

from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, StorageError, UnknownNameError
from dynplat.model import Context
from dynplat.posterior import Posterior, impute
from dynplat.posterior.codec import decode, encode


@pytest.fixture
def resolve(conjugate):
    return lambda id, options: {"toy/level": conjugate.Level, "toy/blind": conjugate.Blind}[id](**options)


def rich_values() -> dict:
    return {
        "matrix": np.arange(6.0).reshape(2, 3),
        "scalar_array": np.array(2.5),
        "empty": np.zeros((0, 3)),
        "flags": np.array([True, False]),
        "small": np.array([1, -2], dtype=np.int8),
        "single": np.float32([0.1, np.nan, -0.0]),
        "complex": np.array([1 + 2j]),
        "words": np.array(["a", "längst"]),
        "objects": np.array(["a", "bc"], dtype=object),
        "dates": np.array(["2020-01-01T00:00:00.000000001", "NaT"], "M8[ns]"),
        "big_endian": np.arange(3, dtype=">i4"),
        "number": 0.1 + 0.2,
        "infinite": float("-inf"),
        "count": 2**70,
        "flag": True,
        "nothing": None,
        "name": "tide",
        "periods": (365.25, 7, ("a", (1.5,))),
        "listed": [1, (2,), [3]],
        "nested": {"deep": {"x": np.eye(2), "t": ()}},
        "numpy_scalar": np.float32(0.1),
        "numpy_date": np.datetime64("2020-02-02", "D"),
    }


def assert_same(one, other) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tolist() == other.tolist() if one.dtype == object else one.tobytes() == other.tobytes()
    else:
        assert one == other or (one != one and other != other)


def test_codec_gives_back_equal_values_of_equal_types() -> None:
    arrays: dict = {}
    coded = json.loads(json.dumps(encode(rich_values(), arrays)))
    assert_same(decode(coded, arrays), rich_values())


@pytest.mark.parametrize("value", [object(), {1: 2}, np.array([object()]), {"a": [lambda: 0]}])
def test_codec_refuses_what_has_no_exact_form(value) -> None:
    with pytest.raises(ArgumentError, match=r"`context.*(cannot be saved|names that are strings)"):
        encode(value, {}, "context")


def test_damaged_structure_is_a_storage_error() -> None:
    for damaged in ({"$array": {"name": "a7"}}, {"$map": 3}, {"$what": 1}, {"a": 1, "b": 2}, {"$scalar": {}}):
        with pytest.raises(StorageError, match="damaged"):
            decode(damaged, {})
    with pytest.raises(StorageError, match="damaged"):
        decode({"$array": {"name": "a0", "dtype": "|O", "shape": [1]}}, {"a0": np.zeros(8, np.uint8)})


@pytest.mark.parametrize("data", ["ragged", "single"])
def test_posterior_round_trip_is_exact(fit, data, request, conjugate, resolve, tmp_path) -> None:
    trajectories = request.getfixturevalue(data)
    model = conjugate.Level(tau=0.1 + 0.2, hierarchical=True, note=("a", "b"))
    posterior = fit(trajectories, model=model, local=True, extra={"standard_errors": {"mu": np.ones(2)}})
    context = posterior.context.with_values(**rich_values())
    posterior = Posterior(posterior.tree, model, context, trajectories)
    posterior.save(tmp_path / "fit.nc")
    again = Posterior.load(tmp_path / "fit.nc", resolve)
    assert again.model == model
    assert type(again.model.note) is tuple
    assert isinstance(again.context, Context)
    for name in ("num_series", "channels", "inputs", "time_unit"):
        assert getattr(again.context, name) == getattr(context, name)
    assert_same(dict(again.context.values), dict(context.values))
    assert_same(dict(again.context.static), dict(context.static))
    assert again.data.fingerprint() == trajectories.fingerprint()
    assert again.data.dataset.identical(trajectories.dataset)
    assert not again.data.times.flags.writeable
    assert again.provenance == posterior.provenance
    for name, group in posterior.tree.children.items():
        assert again.tree[name].to_dataset().identical(group.to_dataset()), name
    for one, other in zip(posterior.sites(np.asarray).values(), again.sites(np.asarray).values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_groups_and_attributes_that_somebody_added_stay(fit, single, resolve, tmp_path) -> None:
    import xarray

    posterior = fit(single)
    posterior.tree["notes/inner"] = xarray.DataTree(xarray.Dataset({"x": ("n", [1.0, 2.0])}))
    posterior.tree.attrs["author"] = "somebody"
    posterior.save(tmp_path / "fit.nc")
    again = Posterior.load(tmp_path / "fit.nc", resolve)
    assert again.tree["notes/inner"]["x"].values.tolist() == [1.0, 2.0]
    assert again.tree.attrs.keys() == {"author", "provenance"}
    posterior.tree["notes/bad"] = xarray.DataTree(xarray.Dataset({"x": ("n", np.array([object(), 1], dtype=object))}))
    with pytest.raises(StorageError, match="cannot be written as NetCDF"):
        posterior.save(tmp_path / "bad.nc")
    assert os.listdir(tmp_path) == ["fit.nc"]


def test_second_round_trip_changes_nothing(fit, ragged, resolve, tmp_path) -> None:
    fit(ragged).save(tmp_path / "one.nc")
    again = Posterior.load(tmp_path / "one.nc", resolve)
    again.save(tmp_path / "one.nc")
    third = Posterior.load(tmp_path / "one.nc", resolve)
    assert third.tree.identical(again.tree)


def test_data_with_inputs_marks_and_a_zone_come_back(fit, resolve, tmp_path) -> None:
    import pandas as pd

    frame = pd.DataFrame(
        {
            "when": pd.date_range("2020-03-28T00:30:00.000000001", periods=4, freq="7h", tz="Europe/Berlin"),
            "who": ["a", "a", "b", "b"],
            "y": [1.0, np.nan, 3.0, 4.0],
            "u": [0.0, 1.0, 2.0, 3.0],
            "code": [0, 1, 0, 2],
            "group": ["x", "x", "y", "y"],
        }
    )
    data = Trajectories.from_long(
        frame, time="when", id="who", columns=["y"], inputs=["u"], marks="code", static=["group"], units={"y": "m"}
    )
    fit(data).save(tmp_path / "fit.nc")
    again = Posterior.load(tmp_path / "fit.nc", resolve).data
    assert again.equals(data)
    assert again.dataset.identical(data.dataset)
    assert again.to_long().equals(data.to_long())


def test_other_process_predicts_identically(fit, ragged, tmp_path) -> None:
    posterior = fit(ragged, local=True)
    posterior.save(tmp_path / "fit.nc")
    here = impute(posterior, num_draws=20, framework="torch", seed=5)
    script = textwrap.dedent(
        """
        import sys
        sys.path.insert(0, sys.argv[1])
        import conjugate
        from dynplat.posterior import Posterior, impute
        posterior = Posterior.load(sys.argv[2], lambda id, options: conjugate.Level(**options))
        impute(posterior, num_draws=20, framework="torch", seed=5).save(sys.argv[3])
        """
    )
    arguments = [str(Path(__file__).parent), str(tmp_path / "fit.nc"), str(tmp_path / "there.nc")]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, cwd=tmp_path)
    from dynplat.posterior import Prediction

    assert Prediction.load(tmp_path / "there.nc").dataset.identical(here.dataset)


def test_any_tool_reads_the_file(fit, ragged, tmp_path) -> None:
    import xarray

    posterior = fit(ragged)
    posterior.save(tmp_path / "fit.nc")
    with xarray.open_datatree(tmp_path / "fit.nc", engine="h5netcdf") as tree:
        np.testing.assert_array_equal(tree["posterior"]["mu"], posterior.tree["posterior"]["mu"])


def test_error_of_resolve_passes_through(fit, single, tmp_path) -> None:
    fit(single).save(tmp_path / "fit.nc")

    def missing(id, options):
        raise UnknownNameError(f"no model {id!r}; its plugin is not installed")

    with pytest.raises(UnknownNameError, match="no model 'toy/level'"):
        Posterior.load(tmp_path / "fit.nc", missing)


def test_loading_asks_for_nothing_but_id_and_options(fit, single, tmp_path) -> None:
    fit(single).save(tmp_path / "fit.nc")
    asked = []

    def remember(id, options):
        asked.append((id, options))
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        Posterior.load(tmp_path / "fit.nc", remember)
    assert asked == [("toy/level", {"tau": 2.0, "hierarchical": False, "note": (), "gaussian": True})]


def tamper_draw(file) -> None:
    file["posterior/mu"][0, 0, 0] += 1e-9


def tamper_context(file) -> None:
    text = file["context"].attrs["structure"]
    file["context"].attrs["structure"] = text.replace('"num_series": 1', '"num_series": 2')


def tamper_data(file) -> None:
    name = next(name for name in file["data"] if file["data"][name].size == 7 and not name.endswith("_index"))
    file["data"][name][3] += 1


def tamper_options(file) -> None:
    file.attrs["model"] = file.attrs["model"].replace("2.0", "3.0")


def drop_group(file) -> None:
    del file["context"]


def drop_structure(file) -> None:
    del file["data"].attrs["structure"]


def break_json(file) -> None:
    file.attrs["model"] = "{"


def age(file) -> None:
    file.attrs["dynplat_format_version"] = np.int64(7)


def estrange(file) -> None:
    del file.attrs["dynplat_format"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (tamper_draw, "does not agree with its checksum"),
        (tamper_context, "does not agree with its checksum"),
        (tamper_data, "does not agree with its checksum"),
        (tamper_options, "does not agree with its checksum"),
        (drop_group, "lacks context"),
        (drop_structure, "has no structure"),
        (break_json, "Expecting property name"),
        (age, "version 7 of the format; this dynplat reads version 1"),
        (estrange, "a NetCDF file of another origin, not a dynplat posterior"),
    ],
)
def test_tampered_file_is_refused(fit, single, resolve, tmp_path, change, message) -> None:
    path = tmp_path / "fit.nc"
    fit(single).save(path)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(StorageError, match=message) as caught:
        Posterior.load(path, resolve)
    assert "fit.nc" in str(caught.value)


@pytest.mark.parametrize("length", [0, 10, 3000, -200])
def test_cut_file_is_refused(fit, single, resolve, tmp_path, length) -> None:
    fit(single).save(tmp_path / "fit.nc")
    whole = (tmp_path / "fit.nc").read_bytes()
    (tmp_path / "cut.nc").write_bytes(whole[:length])
    with pytest.raises(StorageError, match=r"cut\.nc.*again"):
        Posterior.load(tmp_path / "cut.nc", resolve)


def test_failed_save_leaves_the_old_file(fit, single, resolve, tmp_path) -> None:
    path = tmp_path / "fit.nc"
    posterior = fit(single)
    posterior.save(path)
    before = path.read_bytes()
    broken = Posterior(posterior.tree, posterior.model, posterior.context.with_values(bad=object()), single)
    with pytest.raises(ArgumentError, match=r"context\['values'\]\['bad'\].*cannot be saved"):
        broken.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["fit.nc"]


def test_folder_that_is_not_there_is_named(fit, single, tmp_path) -> None:
    with pytest.raises(StorageError, match=r"nowhere.fit\.nc: cannot be written"):
        fit(single).save(tmp_path / "nowhere" / "fit.nc")
