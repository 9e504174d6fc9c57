"""What a training reads: which rows it learns from, which it is judged by, and batches of both.

An item is a stretch of one series: rows from `first` are read, those from `begin` on count. A whole series is an item;
so is a window of a long one, whose rows before `begin` only condition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dynplat.arrays import Observations
from dynplat.errors import ArgumentError

#: Batches among which items of similar lengths are sought: a batch of all the shortest would be no random sample.
_POOL = 32

#: Ratio of lengths within which items are of similar length, and share batches in random order.
_SIMILAR = 1.25


@dataclass(frozen=True)
class Items:
    """Stretches of series, each field an array (item,) of integers.

    Args:
        series: Which series.
        first: First row that is read.
        begin: First row that counts.
        stop: Row after the last.
    """

    series: np.ndarray
    first: np.ndarray
    begin: np.ndarray
    stop: np.ndarray

    def pick(self, index: np.ndarray) -> Items:
        """Some of the items."""
        return Items(self.series[index], self.first[index], self.begin[index], self.stop[index])

    def rows(self, shape: tuple[int, int]) -> np.ndarray:
        """Rows that count, True in an array (series, time)."""
        found = np.zeros(shape, dtype=bool)
        for series, begin, stop in zip(self.series, self.begin, self.stop, strict=True):
            found[series, begin:stop] = True
        return found

    @property
    def size(self) -> int:
        """Number of items."""
        return len(self.series)

    @property
    def lengths(self) -> np.ndarray:
        """Rows read, (item,)."""
        return self.stop - self.first


class Split(NamedTuple):
    """Rows to learn from and rows to be judged by.

    Attributes:
        training: One item per series that has some, from its first row.
        validation: One item per series that has some; rows before `begin` condition.
        kind: `series`, `time`, or `none` where nothing is held back.
    """

    training: Items
    validation: Items
    kind: str


class Batch(NamedTuple):
    """What a process sees of a few items.

    Attributes:
        observations: Host arrays, (item, row, ...), shorter items padded at the end.
        counts: Rows that count, (item, row).
        whole: Whether all rows count.
        items: The items.
    """

    observations: Observations
    counts: np.ndarray
    whole: bool
    items: Items


def split_rows(observed: np.ndarray, lengths: np.ndarray, share: float, kind: str, *, local: bool, seed: int) -> Split:
    """Hold a share of the series, or the last rows of each, back for validation.

    `auto` holds back series where `share` comes to one at least and none has parameters of its own, else rows.

    Args:
        observed: Number of observed cells of each row, (series, time).
        lengths: Rows of each series, (series,).
        share: Share to be held back, below 1; 0 holds nothing back.
        kind: `auto`, `series` or `time`.
        local: Whether series have parameters of their own.
        seed: Decides which series.

    Raises:
        ArgumentError: Nothing observed would be left on one of the sides, or series with parameters of their own would
            be held back.
    """
    num_series = len(lengths)
    everything = _items(np.arange(num_series), np.zeros_like(lengths), lengths)
    if share == 0:
        return Split(_with_observations(everything, observed), everything.pick(np.arange(0)), "none")
    if kind == "series" and local:
        raise ArgumentError(
            "`split` must be 'time' here: the model has parameters of each series (`pp.plate('series')`), and those of "
            "a series that is held back would learn nothing."
        )
    if kind == "auto":
        kind = "series" if not local and share * num_series >= 1 else "time"
    if kind == "series":
        held = np.zeros(num_series, dtype=bool)
        count = min(max(1, round(share * num_series)), num_series - 1)
        held[np.random.default_rng(seed).permutation(num_series)[:count]] = True
        training, validation = everything.pick(~held), everything.pick(held)
    else:
        cut = lengths - np.minimum(np.ceil(share * lengths).astype(lengths.dtype), lengths)
        training = _items(np.arange(num_series), np.zeros_like(cut), cut)
        validation = Items(np.arange(num_series), np.zeros_like(cut), cut, lengths)
    training, validation = (_with_observations(items, observed) for items in (training, validation))
    for name, items in (("train on", training), ("validate with", validation)):
        if not items.size:
            raise ArgumentError(
                f"`validation` = {share:g} of the {'series' if kind == 'series' else 'rows of each series'} leaves no "
                f"observed value to {name}. Give another share, or `validation=0` for none."
            )
    return Split(training, validation, kind)


def windows(
    items: Items, observed: np.ndarray, window: int, warm_up: int, rng: np.random.Generator | None = None
) -> Items:
    """Cut items into windows: every row that counts does so in exactly one; windows with nothing observed are left out.

    Args:
        items: What is cut.
        observed: Number of observed cells of each row, (series, time).
        window: Rows that count in a window; the first and the last of an item may be shorter.
        warm_up: Rows before those, where there are any, that are read and do not count.
        rng: Where the cuts lie; without it the first window begins where its item does.
    """
    parts = []
    for series, begin, stop in zip(items.series, items.begin, items.stop, strict=True):
        offset = window if rng is None else int(rng.integers(1, window + 1))
        inner = np.arange(begin + offset, stop, window)
        begins, stops = np.r_[begin, inner], np.r_[inner, stop]
        parts.append((np.full(len(begins), series), np.maximum(begins - warm_up, 0), begins, stops))
    return _with_observations(Items(*(np.concatenate(fields) for fields in zip(*parts, strict=True))), observed)


def batches(items: Items, size: int, rng: np.random.Generator | None = None) -> list[np.ndarray]:
    """Cut items into batches of nearly equal size, items of similar lengths together, in random order.

    Args:
        items: The items.
        size: Largest number of items in a batch.
        rng: Shuffles; without it batches are in order of length.

    Returns:
        Positions of the items of each batch.
    """
    order = np.arange(items.size) if rng is None else rng.permutation(items.size)
    pool = items.size if rng is None else size * _POOL
    pools = (order[start : start + pool] for start in range(0, items.size, pool))
    similar = np.floor(np.log(items.lengths) / np.log(_SIMILAR))
    order = np.concatenate([part[np.argsort(-similar[part], kind="stable")] for part in pools])
    cut = np.array_split(order, -(-items.size // size))
    return cut if rng is None else [cut[index] for index in rng.permutation(len(cut))]


def padding(items: Items, cut: list[np.ndarray]) -> float:
    """Share of the rows of all batches that are padding."""
    rows = sum(int(items.lengths[index].max()) * len(index) for index in cut)
    return 1.0 - int(items.lengths.sum()) / rows


def take(observations: Observations, items: Items) -> Batch:
    """Read items out of host arrays; shorter ones are padded with their last row, unobserved."""
    lengths = items.lengths
    at = np.arange(int(lengths.max(initial=1)))
    inside = at < lengths[:, None]
    rows = np.minimum(items.first[:, None] + at, items.stop[:, None] - 1)
    index = (items.series[:, None], rows)
    marks = observations.marks
    counts = inside & (at >= (items.begin - items.first)[:, None])
    return Batch(
        Observations(
            times=observations.times[index],
            values=observations.values[index],
            mask=observations.mask[index] & inside[..., None],
            inputs=None if observations.inputs is None else observations.inputs[index],
            marks=None if marks is None else np.where(inside, marks[index], 0),
        ),
        counts,
        bool((items.begin == items.first).all()),
        items,
    )


def num_observed(items: Items, observed: np.ndarray) -> int:
    """Number of observed cells in the rows that count."""
    return int(_observed_in(items, observed).sum())


def _items(series: np.ndarray, begin: np.ndarray, stop: np.ndarray) -> Items:
    return Items(series, begin, begin, stop)


def _observed_in(items: Items, observed: np.ndarray) -> np.ndarray:
    before = np.concatenate([np.zeros_like(observed[:, :1]), np.cumsum(observed, axis=1)], axis=1)
    return before[items.series, items.stop] - before[items.series, items.begin]


def _with_observations(items: Items, observed: np.ndarray) -> Items:
    return items.pick(_observed_in(items, observed) > 0)
