"""What one model scored on one task: contributions per held-out cell, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from dynplat.comparison.scores.cells import Contributions, unit_positions
from dynplat.comparison.storage import decode_array, decode_mask, encode_array, encode_mask
from dynplat.errors import ArgumentError, StorageError

#: Stands in `failures` for the whole model, in place of a score's id.
WHOLE = ""
#: Channels whose scales are named in a sentence.
_SHOWN = 6


@dataclass(frozen=True, eq=False)
class Result:
    """One model on one task.

    Args:
        model: Name under which the model is compared, usually its id.
        task: Name of the task: `imputation`, `forecast`.
        dataset: Name of the data.
        seed: Seed of the task.
        question: The task in words; results of one question are comparable cell by cell.
        hidden: True = held out, (series, time, channel).
        series: Names of the series.
        channels: Names of the channels.
        contributions: By score id, one number per held-out cell, row or series.
        failures: Reasons by score id; under an empty string the reason why the whole model has no scores.
        provenance: What is known about the fit: numbers, strings, lists, mappings.
        scales: What values were divided by before they were scored, one number per channel; None where they were
            scored in the unit of the data.
    """

    model: str
    task: str
    dataset: str
    seed: int
    question: str
    hidden: np.ndarray
    series: tuple[str, ...]
    channels: tuple[str, ...]
    contributions: Mapping[str, Contributions] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    scales: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Freeze the mappings; refuse contributions that do not match the held-out cells."""
        if self.hidden.shape[0] != len(self.series) or self.hidden.shape[2] != len(self.channels):
            raise ArgumentError(
                f"`hidden` must be (series, time, channel) with {len(self.series)} series and {len(self.channels)} "
                f"channels; got {self.hidden.shape}."
            )
        if self.scales is not None and len(self.scales) != len(self.channels):
            raise ArgumentError(f"`scales` must hold {len(self.channels)} numbers, one per channel; got {self.scales}.")
        for name, given in self.contributions.items():
            wanted = unit_positions(self.hidden, given.per)[0].shape
            if given.values.shape != wanted:
                raise ArgumentError(
                    f"`contributions[{name!r}]` must have shape {wanted}, one number per held-out {given.per}; "
                    f"got {given.values.shape}."
                )
        for name in ("contributions", "failures", "provenance"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def group(self) -> tuple[str, str, int, str]:
        """What must agree for two results to be compared: dataset, task, seed and the question in words."""
        return (self.dataset, self.task, self.seed, self.question)

    @property
    def unit(self) -> str:
        """Unit of the figures that have one: `data`, or `channel sd`."""
        return "data" if self.scales is None else "channel sd"

    @property
    def unit_sentence(self) -> str:
        """One sentence on the unit of the figures; an empty text where it is that of the data."""
        if self.scales is None:
            return ""
        asked = np.flatnonzero(self.hidden.any(axis=(0, 1)))
        shown = [f"{self.channels[index]} {self.scales[index]:.3g}" for index in asked]
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        return f"values in units of each channel's standard deviation ({', '.join(shown[:_SHOWN])}{more})"

    def reason(self, score: str) -> str:
        """Why there is no figure for a score; an empty string where there is one."""
        if score in self.contributions:
            return ""
        return self.failures.get(score) or self.failures.get(WHOLE) or "not computed"

    def to_dict(self) -> dict[str, Any]:
        """Turn the result into what JSON can hold, exactly."""
        return {
            "model": self.model,
            "task": self.task,
            "dataset": self.dataset,
            "seed": self.seed,
            "question": self.question,
            "series": list(self.series),
            "channels": list(self.channels),
            "hidden": encode_mask(self.hidden),
            "contributions": {
                name: {"per": given.per, "method": given.method, "values": encode_array(given.values)}
                for name, given in self.contributions.items()
            },
            "failures": dict(self.failures),
            "provenance": dict(self.provenance),
            "scales": None if self.scales is None else list(self.scales),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Result:
        """Undo `to_dict`.

        Raises:
            StorageError: The stored form is damaged.
        """
        try:
            contributions = {
                name: Contributions(decode_array(given["values"]), given["per"], given["method"])
                for name, given in stored["contributions"].items()
            }
            return cls(
                model=stored["model"],
                task=stored["task"],
                dataset=stored["dataset"],
                seed=int(stored["seed"]),
                question=stored["question"],
                hidden=decode_mask(stored["hidden"]),
                series=tuple(stored["series"]),
                channels=tuple(stored["channels"]),
                contributions=contributions,
                failures=stored["failures"],
                provenance=stored["provenance"],
                scales=None if stored["scales"] is None else tuple(float(scale) for scale in stored["scales"]),
            )
        except (ArgumentError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise StorageError(f"a stored result is damaged ({type(error).__name__}: {error}).") from error
