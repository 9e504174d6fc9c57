"""A comparison as a table of text: models by scores, the best of each column marked, reasons in a last column."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dynplat.comparison import table as tables
from dynplat.comparison.result import Result
from dynplat.records import ScoreEntry

if TYPE_CHECKING:
    from dynplat.comparison.comparison import Comparison
    from dynplat.comparison.estimates import Estimate


class Dialect(NamedTuple):
    """How one kind of text writes a name, a figure and the best figure of a column.

    Attributes:
        name: As `dynplat.comparison.table.format_estimate` calls it.
        name_text: Writes a name.
        figure: Writes a figure.
        best: Writes the best figure of a column.
    """

    name: str
    name_text: Callable[[str], str] = str
    figure: Callable[[str], str] = str
    best: Callable[[str], str] = "{} *".format


TEXT = Dialect("text")
MARKDOWN = Dialect("markdown", best="**{}**".format)
LATEX = Dialect("latex", tables.latex_text, "${}$".format, r"$\mathbf{{{}}}$".format)


class Rendered(NamedTuple):
    """A table of text.

    Attributes:
        header: Names of the columns.
        rows: One per result.
        num_labels: Number of columns that say which result it is.
    """

    header: list[str]
    rows: list[list[str]]
    num_labels: int


def render(comparison: Comparison, dialect: Dialect, labels: Sequence[str] | None = None) -> Rendered:
    """Write every figure; a column `note` holds reasons where a figure is missing.

    Args:
        comparison: The comparison.
        dialect: How to write.
        labels: Attributes of the results that tell rows apart; by default the model and whatever else varies.
    """
    labels = distinguishing(comparison.results) if labels is None else labels
    results, entries, estimates = comparison.results, comparison.entries, comparison.estimates
    winners = {
        (index, entry.id)
        for entry in entries
        for indices in best_of(results, estimates, entry).values()
        for index in indices
    }
    notes = [_note(result, entries) for result in results]
    rows = []
    for index, result in enumerate(results):
        line = [dialect.name_text(str(getattr(result, label))) for label in labels]
        for entry in entries:
            found = estimates.get((index, entry.id))
            if found is None or math.isnan(found.value):
                line.append(tables.ABSENT)
                continue
            text = tables.format_estimate(found.value, found.stderr, dialect=dialect.name)
            line.append(dialect.best(text) if (index, entry.id) in winners else dialect.figure(text))
        if any(notes):
            line.append(dialect.name_text(notes[index]))
        rows.append(line)
    header = [
        dialect.name_text(name) for name in (*labels, *(e.id for e in entries), *(["note"] if any(notes) else []))
    ]
    return Rendered(header, rows, len(labels))


def best_of(
    results: Sequence[Result], estimates: Mapping[tuple[int, str], Estimate], entry: ScoreEntry
) -> dict[tuple[str, str, int, str], tuple[int, ...]]:
    """Indices of the best results of a score, by group; absent where no figure is better than another."""
    losses: dict[tuple[str, str, int, str], dict[int, float]] = {}
    for index, result in enumerate(results):
        found = estimates.get((index, entry.id))
        loss = math.nan if found is None else _loss(found.value, entry)
        if not math.isnan(loss):
            losses.setdefault(result.group, {})[index] = loss
    return {
        group: tuple(index for index, loss in given.items() if loss == min(given.values()))
        for group, given in losses.items()
        if len(set(given.values())) > 1
    }


def distinguishing(results: Sequence[Result]) -> tuple[str, ...]:
    """Attributes that tell results apart: the model last, and before it whatever else varies."""
    groups = {result.group for result in results}
    labels = [name for place, name in enumerate(("dataset", "task", "seed")) if len({g[place] for g in groups}) > 1]
    if len(groups) > len({group[:3] for group in groups}):
        labels.append("question")
    return (*labels, "model")


def _loss(value: float, entry: ScoreEntry) -> float:
    if entry.orientation == "smaller":
        return value
    if entry.orientation == "larger":
        return -value
    if entry.target is not None:
        return abs(value - entry.target)
    return math.nan


def _note(result: Result, entries: Sequence[ScoreEntry]) -> str:
    reasons: dict[str, list[str]] = {}
    for entry in entries:
        if reason := result.reason(entry.id):
            reasons.setdefault(reason, []).append(entry.id)
    if len(reasons) == 1 and not result.contributions:
        return next(iter(reasons))
    return "; ".join(f"{', '.join(ids)}: {reason}" for reason, ids in reasons.items())
