"""A comparison: what several models scored on the same held-out cells, as figures, tables and plain arrays."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.comparison import table as tables
from dynplat.comparison.estimates import Estimate, difference, estimate
from dynplat.comparison.rendering import LATEX, MARKDOWN, TEXT, best_of, render
from dynplat.comparison.result import Result
from dynplat.comparison.scores.cells import unit_positions
from dynplat.comparison.storage import read_json, write_json, write_text
from dynplat.errors import ArgumentError, StorageError, UnknownNameError
from dynplat.records import ScoreEntry

if TYPE_CHECKING:
    import pandas as pd

_FORMAT = "dynplat comparison"
_VERSION = 2
#: Entry fields that a comparison keeps: what is needed to aggregate, rank and explain.
_ENTRY_FIELDS = ("id", "summary", "location", "orientation", "proper", "needs", "aggregate", "target", "kind")


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Results of models on tasks. Results of one task are about the same held-out cells.

    Figures carry standard errors that respect dependence within a series (`dynplat.comparison.dependence` says how).
    Where cells of several channels are held out, figures are in units of each channel's standard deviation unless
    `standardise=False` was asked for (`dynplat.comparison.scale` says why); `Result.scales` has the numbers.

    Args:
        results: One per model and task.
        entries: Records of the scores, in the order of the table.

    Raises:
        ArgumentError: A model appears twice on one task, or results of one task are about different cells
            or in different units.
    """

    results: tuple[Result, ...]
    entries: tuple[ScoreEntry, ...]

    def __post_init__(self) -> None:
        """Check that the results can be compared."""
        object.__setattr__(self, "results", tuple(self.results))
        object.__setattr__(self, "entries", tuple(self.entries))
        if len({entry.id for entry in self.entries}) < len(self.entries):
            raise ArgumentError(f"`entries` must have different ids; got {[entry.id for entry in self.entries]}.")
        for group, members in self._groups.items():
            names = [member.model for member in members]
            if len(set(names)) < len(names):
                raise ArgumentError(f"a model appears twice among the results of {group[3]!r}: {names}.")
            for member in members[1:]:
                if not np.array_equal(member.hidden, members[0].hidden):
                    raise ArgumentError(
                        f"{members[0].model!r} and {member.model!r} were scored on different held-out cells of "
                        f"{group[3]!r}, so they cannot be compared. Predict both for the same task."
                    )
                if member.scales != members[0].scales:
                    raise ArgumentError(
                        f"{members[0].model!r} and {member.model!r} were scored on {group[3]!r} in different units, so "
                        "they cannot be compared. Score both with the same `standardise`."
                    )

    # Figures

    @cached_property
    def estimates(self) -> Mapping[tuple[int, str], Estimate]:
        """Figures by index of the result and score id; absent where a model has none."""
        found = {}
        for index, result in enumerate(self.results):
            for entry in self.entries:
                if entry.id in result.contributions:
                    given = result.contributions[entry.id]
                    found[index, entry.id] = estimate(given, result.hidden, entry.aggregate)
        return found

    @property
    def records(self) -> list[dict[str, Any]]:
        """One record per result and score: `model, task, dataset, seed, score, value, stderr, n, unit`.

        `unit` is `data`, or `channel sd` where channels were scored in units of their standard deviations. `value` and
        `stderr` are None where there is no figure (`failures` says why), `stderr` also where it is undefined.
        """
        records = []
        for index, result in enumerate(self.results):
            for entry in self.entries:
                found = self.estimates.get((index, entry.id))
                records.append(
                    {
                        "model": result.model,
                        "task": result.task,
                        "dataset": result.dataset,
                        "seed": result.seed,
                        "score": entry.id,
                        "value": None if found is None else found.value,
                        "stderr": None if found is None or math.isnan(found.stderr) else found.stderr,
                        "n": 0 if found is None else found.n,
                        "unit": result.unit,
                    }
                )
        return records

    @property
    def failures(self) -> list[dict[str, Any]]:
        """One record per model and score without a figure: `model, task, dataset, seed, score, reason`.

        `score` is an empty string where the model as a whole was refused or failed.
        """
        return [
            {
                "model": result.model,
                "task": result.task,
                "dataset": result.dataset,
                "seed": result.seed,
                "score": score,
                "reason": reason,
            }
            for result in self.results
            for score, reason in result.failures.items()
        ]

    def methods(self) -> pd.DataFrame:
        """How each figure and its standard error were computed: exact or from draws, clustered or over time."""
        import pandas as pd

        lines = [
            {
                "model": self.results[index].model,
                "dataset": self.results[index].dataset,
                "seed": self.results[index].seed,
                "score": score,
                "per": self.results[index].contributions[score].per,
                "value": self.results[index].contributions[score].method,
                "stderr": found.method,
            }
            for (index, score), found in self.estimates.items()
        ]
        return pd.DataFrame(lines, columns=["model", "dataset", "seed", "score", "per", "value", "stderr"])

    def differences(self, score: str, *, reference: str | None = None) -> pd.DataFrame:
        """Paired differences of a score between models on the same cells, with standard errors.

        What is hard for both models cancels, so that a difference is often far surer than the two figures.

        Args:
            score: Id of the score.
            reference: Model that all others are compared with; None for every pair.

        Returns:
            Columns `dataset, task, seed, score, model, reference, difference, stderr, n`: the score of `model` minus
            that of `reference`; negative favours `model` where smaller is better.

        Raises:
            UnknownNameError: The score or the reference is not part of the comparison.
        """
        import pandas as pd

        entry = self._entry(score)
        if reference is not None and reference not in self.models:
            raise UnknownNameError(f"`reference` must be one of {', '.join(self.models)}; got {reference!r}.")
        lines = []
        for members in self._groups.values():
            scored = [member for member in members if score in member.contributions]
            for first, second in _pairs(scored, reference):
                ours, theirs = first.contributions[score], second.contributions[score]
                if ours.per != theirs.per:
                    continue
                found = difference(ours, theirs, first.hidden, entry.aggregate)
                lines.append(
                    {
                        "dataset": first.dataset,
                        "task": first.task,
                        "seed": first.seed,
                        "score": score,
                        "model": first.model,
                        "reference": second.model,
                        "difference": found.value,
                        "stderr": found.stderr,
                        "n": found.n,
                    }
                )
        columns = ["dataset", "task", "seed", "score", "model", "reference", "difference", "stderr", "n"]
        return pd.DataFrame(lines, columns=columns)

    def by(self, dimension: str, score: str) -> pd.DataFrame:
        """Figures of one score for each channel or series by itself.

        Args:
            dimension: `channel` or `series`.
            score: Id of the score; for `channel` one with a contribution per cell.

        Returns:
            Columns `dataset, task, seed, model, <dimension>, value, stderr, n`.

        Raises:
            UnknownNameError: The score is not part of the comparison.
            ArgumentError: The dimension is neither, or the score has no contributions per cell.
        """
        import pandas as pd

        entry = self._entry(score)
        if dimension not in ("channel", "series"):
            raise ArgumentError(f"`dimension` must be 'channel' or 'series'; got {dimension!r}.")
        lines = []
        for result in self.results:
            if score not in result.contributions:
                continue
            given = result.contributions[score]
            if dimension == "series":
                place, names = unit_positions(result.hidden, given.per)[0], result.series
            elif given.per == "cell":
                place, names = np.nonzero(result.hidden)[2], result.channels
            else:
                raise ArgumentError(f"{score!r} has one contribution per {given.per}: it cannot be split by channel.")
            for index in np.unique(place):
                found = estimate(given, result.hidden, entry.aggregate, chosen=place == index)
                lines.append(
                    {
                        "dataset": result.dataset,
                        "task": result.task,
                        "seed": result.seed,
                        "model": result.model,
                        dimension: names[index],
                        "value": found.value,
                        "stderr": found.stderr,
                        "n": found.n,
                    }
                )
        columns = ["dataset", "task", "seed", "model", dimension, "value", "stderr", "n"]
        return pd.DataFrame(lines, columns=columns)

    def contributions(self, score: str) -> pd.DataFrame:
        """Contributions of one score: one line per held-out cell (row, series), one column per model.

        Columns before the models': `dataset, task, seed, series`, then `row` (counted from 0 within the series) and
        `channel` as far as the score's contributions have them.
        """
        import pandas as pd

        self._entry(score)
        parts = []
        for members in self._groups.values():
            scored = [member for member in members if score in member.contributions]
            if not scored:
                continue
            first = scored[0]
            per = first.contributions[score].per
            series, row = unit_positions(first.hidden, per)
            columns: dict[str, Any] = {
                "dataset": first.dataset,
                "task": first.task,
                "seed": first.seed,
                "series": np.array(first.series, dtype=object)[series],
            }
            if per != "series":
                columns["row"] = row
            if per == "cell":
                columns["channel"] = np.array(first.channels, dtype=object)[np.nonzero(first.hidden)[2]]
            columns |= {m.model: m.contributions[score].values for m in scored if m.contributions[score].per == per}
            parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, in order of appearance."""
        return tuple(dict.fromkeys(result.model for result in self.results))

    @property
    def scores(self) -> tuple[str, ...]:
        """Ids of the scores, in the order of the table."""
        return tuple(entry.id for entry in self.entries)

    def best(self, score: str) -> dict[tuple[str, str, int, str], tuple[str, ...]]:
        """Models with the best figure, by dataset, task, seed and question; where no figure is better, none."""
        found = best_of(self.results, self.estimates, self._entry(score))
        return {group: tuple(self.results[index].model for index in indices) for group, indices in found.items()}

    # Tables

    def table(self) -> pd.DataFrame:
        """Models (rows) by scores (columns) as text `value ± standard error`; `*` marks the best of a column.

        With several data sets, tasks or seeds the index names them too. A model without figures has its reason in a
        last column `note`.
        """
        import pandas as pd

        header, rows, num_labels = render(self, TEXT)
        frame = pd.DataFrame([line[num_labels:] for line in rows], columns=header[num_labels:])
        names = header[:num_labels]
        if num_labels == 1:
            frame.index = pd.Index([line[0] for line in rows], name=names[0])
        else:
            frame.index = pd.MultiIndex.from_tuples([tuple(line[:num_labels]) for line in rows], names=names)
        return frame

    def to_markdown(self) -> str:
        """The table in Markdown, the best of each column in bold."""
        header, rows, num_labels = render(self, MARKDOWN)
        return tables.markdown_table(header, rows, num_left=num_labels)

    def to_latex(self) -> str:
        """The table as a LaTeX `tabular` (package booktabs), the best of each column in bold."""
        header, rows, num_labels = render(self, LATEX)
        return tables.latex_table(header, rows, num_left=num_labels)

    def to_frame(self) -> pd.DataFrame:
        """The records as a DataFrame, one line per result and score."""
        import pandas as pd

        columns = ["model", "task", "dataset", "seed", "score", "value", "stderr", "n", "unit"]
        return pd.DataFrame(self.records, columns=columns)

    def to_csv(self) -> str:
        """The records as CSV."""
        return self.to_frame().to_csv(index=False)

    def to_json(self) -> str:
        """The records as JSON; an infinite figure becomes the text `Infinity`."""
        return json.dumps([plain(record) for record in self.records], indent=1, allow_nan=False)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the records (`.csv`, `.json`) or the table (`.md`, `.tex`); an old file is replaced in one step.

        Raises:
            ArgumentError: The path ends otherwise.
            StorageError: The file cannot be written.
        """
        writers = {".csv": self.to_csv, ".json": self.to_json, ".md": self.to_markdown, ".tex": self.to_latex}
        suffix = Path(path).suffix.lower()
        if suffix not in writers:
            raise ArgumentError(f"`path` must end in {', '.join(writers)}; got {str(path)!r}.")
        write_text(path, writers[suffix]().rstrip("\n") + "\n")

    # Storage

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything, contributions included, to a JSON file; an old one is replaced in one step.

        Raises:
            StorageError: The file cannot be written.
        """
        entries = [{name: getattr(entry, name) for name in _ENTRY_FIELDS} for entry in self.entries]
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "scores": json.loads(json.dumps(entries)),
            "records": [plain(record) for record in self.records],
            "results": [result.to_dict() for result in self.results],
        }
        write_json(path, content)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Comparison:
        """Read a comparison back.

        Raises:
            StorageError: The file is missing, damaged, of another kind or of another version.
        """
        content = read_json(path, _FORMAT, _VERSION)
        try:
            entries = tuple(ScoreEntry(**{**entry, "needs": tuple(entry["needs"])}) for entry in content["scores"])
            return cls(tuple(Result.from_dict(stored) for stored in content["results"]), entries)
        except (ArgumentError, KeyError, TypeError) as error:
            raise StorageError(f"{path}: the comparison is damaged ({type(error).__name__}: {error}).") from error

    def merge(self, other: Comparison) -> Comparison:
        """Put two comparisons together; scores that only one has are left empty for the other's models."""
        known = set(self.scores)
        return Comparison(
            self.results + other.results,
            self.entries + tuple(entry for entry in other.entries if entry.id not in known),
        )

    def __repr__(self) -> str:
        if not self.results:
            return "<Comparison of no models>"
        parts = []
        for (dataset, _, _, question), members in self._groups.items():
            header, rows, num_labels = render(Comparison(members, self.entries), TEXT, labels=("model",))
            text = f"{dataset}: {question}\n\n{tables.text_table(header, rows, num_left=num_labels)}"
            parts.append(f"{text}\n\n{unit}" if (unit := members[0].unit_sentence) else text)
        return "\n\n".join(parts) + "\n\n± standard error; * best of its column"

    # Inside

    @cached_property
    def _groups(self) -> dict[tuple[str, str, int, str], tuple[Result, ...]]:
        groups: dict[tuple[str, str, int, str], tuple[Result, ...]] = {}
        for result in self.results:
            groups[result.group] = (*groups.get(result.group, ()), result)
        return groups

    def _entry(self, score: str) -> ScoreEntry:
        for entry in self.entries:
            if entry.id == score:
                return entry
        raise UnknownNameError(f"`score` must be one of {', '.join(self.scores)}; got {score!r}.")


def _pairs(members: Sequence[Result], reference: str | None) -> Iterator[tuple[Result, Result]]:
    if reference is None:
        for index, first in enumerate(members):
            for second in members[index + 1 :]:
                yield first, second
        return
    for second in members:
        if second.model == reference:
            yield from ((first, second) for first in members if first.model != reference)


def plain(record: dict[str, Any]) -> dict[str, Any]:
    """JSON has no word for infinity: spell it as JavaScript and pandas read it."""
    return {
        name: ("Infinity" if value > 0 else "-Infinity") if isinstance(value, float) and math.isinf(value) else value
        for name, value in record.items()
    }
