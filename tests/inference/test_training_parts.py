"""What a training reads, at which rate it learns, and the file in which it rests."""

import math
import os

import numpy as np
import pytest

from dynplat.arrays import Observations
from dynplat.errors import ArgumentError, StorageError
from dynplat.inference.train import run
from dynplat.inference.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from dynplat.inference.training.items import batches, num_observed, padding, split_rows, take, windows

LENGTHS = np.array([17, 5, 30, 1])


def observed_rows(lengths=LENGTHS):
    """One observed cell in every row but a few."""
    inside = np.arange(max(lengths)) < np.asarray(lengths)[:, None]
    inside[0, 3] = inside[2, 10:14] = False
    return inside.astype(int)


def rows_that_count(items):
    return [(s, row) for s, a, b in zip(items.series, items.begin, items.stop, strict=True) for row in range(a, b)]


def everything(observed):
    return split_rows(observed, LENGTHS, 0.0, "auto", local=False, seed=0).training


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("window", "warm_up"), [(1, 0), (4, 3), (7, 100), (1000, 5)])
def test_windows_count_every_observed_row_once_and_read_those_before(seed, window, warm_up):
    observed = observed_rows()
    items = windows(everything(observed), observed, window, warm_up, np.random.default_rng(seed))
    rows = rows_that_count(items)
    assert len(rows) == len(set(rows))
    wanted = {(int(s), int(row)) for s, row in np.argwhere(observed)}
    # A window with nothing observed is left out; one with something is whole.
    assert wanted <= {(int(s), int(row)) for s, row in rows}
    assert num_observed(items, observed) == observed.sum()
    assert (items.stop - items.begin <= window).all()
    np.testing.assert_array_equal(items.begin - items.first, np.minimum(items.begin, warm_up))


def test_cuts_move_from_epoch_to_epoch_and_stand_still_without_a_generator():
    observed = observed_rows()
    begins = {tuple(windows(everything(observed), observed, 6, 0, np.random.default_rng(s)).begin) for s in range(30)}
    assert len(begins) > 10
    still = windows(everything(observed), observed, 6, 2)
    np.testing.assert_array_equal(still.begin[still.series == 2], [0, 6, 12, 18, 24])


def test_batches_hold_every_item_once_are_even_and_depend_on_the_generator_alone():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 200, size=101)
    observed = observed_rows(lengths)
    items = split_rows(observed, lengths, 0.0, "auto", local=False, seed=0).training
    one, two, other = (batches(items, 8, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert sorted(np.concatenate(one)) == list(range(101))
    assert {len(index) for index in one} <= {7, 8}
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
    assert not all(len(a) == len(b) and (a == b).all() for a, b in zip(one, other, strict=True))


def test_ragged_items_are_batched_with_little_padding():
    rng = np.random.default_rng(0)
    lengths = np.exp(rng.normal(4, 1, size=400)).astype(int) + 1
    observed = np.ones((400, lengths.max()), dtype=int)
    items = split_rows(observed, lengths, 0.0, "auto", local=False, seed=0).training
    at_random = np.array_split(rng.permutation(400), 50)
    assert padding(items, at_random) > 0.5
    assert padding(items, batches(items, 8, rng)) < 0.25


def test_items_of_like_length_meet_others_in_each_epoch():
    lengths = np.array([40, 41, 42, 43, 100, 101, 102, 103])
    items = split_rows(observed_rows(lengths), lengths, 0.0, "auto", local=False, seed=0).training
    cuts = [batches(items, 2, np.random.default_rng(seed)) for seed in range(30)]
    met = {frozenset(items.series[index]) for cut in cuts for index in cut}
    assert met == {frozenset({a, b}) for half in (range(4), range(4, 8)) for a in half for b in half if a < b}


def test_padding_is_the_share_of_rows_that_no_item_has():
    observed = observed_rows()
    items = everything(observed)
    assert padding(items, [np.arange(4)]) == pytest.approx(1 - (17 + 5 + 30 + 1) / (4 * 30))


def test_taken_rows_are_those_of_the_data_and_what_is_beyond_is_unobserved():
    rng = np.random.default_rng(0)
    observed = observed_rows()
    shape = (4, 30)
    observations = Observations(
        times=np.broadcast_to(np.arange(30.0), shape) + 100 * np.arange(4)[:, None],
        values=rng.normal(size=(*shape, 1)),
        mask=(observed > 0)[..., None],
        inputs=rng.normal(size=(*shape, 2)),
        marks=rng.integers(1, 5, size=shape),
    )
    items = windows(everything(observed), observed, 6, 2)
    batch = take(observations, items)
    for index in range(items.size):
        rows = slice(items.first[index], items.stop[index])
        length = rows.stop - rows.start
        for name in ("times", "values", "mask", "inputs", "marks"):
            got, wanted = getattr(batch.observations, name)[index], getattr(observations, name)[items.series[index]]
            np.testing.assert_array_equal(got[:length], wanted[rows])
        assert not batch.observations.mask[index, length:].any()
        marks = batch.observations.marks
        assert marks is not None
        assert (marks[index, length:] == 0).all()
        assert (batch.observations.times[index, length:] == batch.observations.times[index, length - 1]).all()
        np.testing.assert_array_equal(
            np.flatnonzero(batch.counts[index]) + items.first[index], np.arange(items.begin[index], items.stop[index])
        )
    assert not batch.whole
    assert take(observations, everything(observed)).whole


def test_series_are_held_back_where_there_are_enough_and_else_the_last_rows():
    lengths = np.full(20, 10)
    observed = np.ones((20, 10), dtype=int)
    by_series = split_rows(observed, lengths, 0.1, "auto", local=False, seed=3)
    assert (by_series.kind, by_series.training.size, by_series.validation.size) == ("series", 18, 2)
    assert not set(by_series.training.series) & set(by_series.validation.series)
    again = split_rows(observed, lengths, 0.1, "auto", local=False, seed=3)
    np.testing.assert_array_equal(again.validation.series, by_series.validation.series)
    for options in ({"share": 0.04, "local": False}, {"share": 0.1, "local": True}):
        by_time = split_rows(observed, lengths, options["share"], "auto", local=options["local"], seed=3)
        assert by_time.kind == "time"
        assert (by_time.training.stop == 9).all()
        assert (by_time.validation.begin == 9).all()
        assert (by_time.validation.first == 0).all()
        assert (by_time.validation.stop == 10).all()


def test_splits_that_leave_nothing_are_refused_by_name():
    observed, lengths = np.ones((1, 10), dtype=int), np.array([10])
    with pytest.raises(ArgumentError, match=r"series leaves no observed value to validate with.*`validation=0`"):
        split_rows(observed, lengths, 0.5, "series", local=False, seed=0)
    late = observed.copy()
    late[:, 7:] = 0
    with pytest.raises(ArgumentError, match="leaves no observed value to validate with"):
        split_rows(late, lengths, 0.3, "time", local=False, seed=0)
    with pytest.raises(ArgumentError, match=r"`split` must be 'time' here.*plate"):
        split_rows(np.ones((3, 10), dtype=int), np.full(3, 10), 0.4, "series", local=True, seed=0)


def test_rate_rises_in_proportion_and_falls_as_half_a_cosine(plan):
    given = plan(learning_rate=0.4, final_rate=0.1, ramp=0.2, num_steps=100)
    rates = [given.rate(given.progress(step, 0, 0, 1)) for step in range(100)]
    np.testing.assert_allclose(rates[:20], 0.4 * (np.arange(20) + 0.5) / 20, rtol=1e-12)
    share = (np.arange(20, 100) + 0.5 - 20) / 80
    np.testing.assert_allclose(rates[20:], 0.04 + 0.36 * (1 + np.cos(math.pi * share)) / 2, rtol=1e-12)
    assert given.rate(1.0) == pytest.approx(0.04)


def test_progress_by_epochs_is_even_within_each_and_ends_at_one(plan):
    given = plan(num_epochs=4)
    assert given.progress(0, 0, 0, 10) == pytest.approx(0.0125)
    assert given.progress(99, 3, 4, 5) == pytest.approx(1 - 0.5 / 20)
    assert given.total(7, 0, 7, 10) == 40


REFUSED = {
    "batch_size": (0, "at least 1"),
    "num_epochs": (0, "at least 1"),
    "num_steps": (-3, "at least 1"),
    "window": (0, "at least 1"),
    "patience": (0, "at least 1"),
    "learning_rate": (0.0, "positive"),
    "clip": (float("nan"), "positive"),
    "validation": (1.0, "below 1"),
    "ramp": (-0.1, "from 0"),
    "weight_decay": (-1.0, "from 0"),
    "final_rate": (1.5, "at most 1"),
    "warm_up": (-1, "0 or more"),
    "split": ("rows", "one of"),
    "precision": ("half", "one of"),
    "start": ("zero", "one of"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_options_out_of_range_are_refused_by_name(name, models, noise):
    value, words = REFUSED[name]
    with pytest.raises(ArgumentError, match=rf"`{name}` must .*{words}"):
        run(models["conjugate"], noise, seed=0, **{name: value})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_epochs": 3, "num_steps": 3}, r"`num_epochs` \(3\) and `num_steps` \(3\)"),
        ({"warm_up": 3}, "give `window`"),
        ({"resume": True}, "`resume` needs `checkpoint`"),
        ({"checkpoint_every": 5}, "`checkpoint_every` needs `checkpoint`"),
        ({"precision": "bf16"}, "needs `dtype='float32'`"),
        ({"language": "numpyro"}, "`language` of inference 'train' must be 'pyro'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, words, models, noise):
    with pytest.raises(ArgumentError, match=words):
        run(models["conjugate"], noise, seed=0, **options)


@pytest.fixture
def checkpoint():
    rng = np.random.default_rng(0)
    arrays = {"weight/a": rng.normal(size=(3, 2)), "step/a": np.array(4.0, dtype=np.float32), "kept/a": np.zeros(0)}
    return Checkpoint({"model": "x/y", "seed": 0, "sites": {"a": [3, 2]}}, {"epoch": 3, "best": 0.1 + 0.2}, arrays)


def test_checkpoints_come_back_bit_for_bit(checkpoint, tmp_path):
    path = tmp_path / "run.safetensors"
    write_checkpoint(path, checkpoint)
    again = read_checkpoint(path, checkpoint.identity)
    assert again.state == checkpoint.state
    for name, value in checkpoint.arrays.items():
        assert again.arrays[name].dtype == value.dtype
        assert again.arrays[name].shape == value.shape
        assert again.arrays[name].tobytes() == value.tobytes()


def test_checkpoint_of_another_training_is_refused_with_what_differs(checkpoint, tmp_path):
    path = tmp_path / "run.safetensors"
    write_checkpoint(path, checkpoint)
    with pytest.raises(ArgumentError, match="seed: 0 there, 1 here; window: null there, 5 here"):
        read_checkpoint(path, {**checkpoint.identity, "seed": 1, "window": 5})


@pytest.mark.parametrize("damage", ["cut", "bit", "text", "absent"])
def test_damaged_checkpoints_are_refused_by_name(checkpoint, tmp_path, damage):
    path = tmp_path / "run.safetensors"
    write_checkpoint(path, checkpoint)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[:-8])
    elif damage == "bit":
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "text":
        path.write_text("no tensors")
    else:
        path.unlink()
    with pytest.raises(StorageError, match=r"run\.safetensors"):
        read_checkpoint(path, checkpoint.identity)


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_checkpoint_before(checkpoint, tmp_path, monkeypatch, step):
    path = tmp_path / "run.safetensors"
    write_checkpoint(path, checkpoint)
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    if step == "write":
        monkeypatch.setattr("pathlib.Path.write_bytes", full)
    else:
        monkeypatch.setattr(os, step, full)
    with pytest.raises(StorageError, match="No space left on device"):
        write_checkpoint(path, checkpoint._replace(state={"epoch": 4}))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
