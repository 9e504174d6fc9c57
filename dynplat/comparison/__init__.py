"""Tasks, scores and comparisons: the same held-out questions for every model.

The names load on first use, so that the records of the scores can be read without NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynplat.comparison.comparison import Comparison
    from dynplat.comparison.reliability import Calibration, calibration, measure_calibration
    from dynplat.comparison.result import Result
    from dynplat.comparison.run import compare
    from dynplat.comparison.score import Score, default_scores, interval_scores
    from dynplat.comparison.scores.cells import Contributions
    from dynplat.comparison.snapshot_tasks import SnapshotForecast, SnapshotInterpolation
    from dynplat.comparison.study import Study, StudyEvent, run_study
    from dynplat.comparison.tasks import AbstractTask, Forecast, Imputation

_PUBLIC = {
    "AbstractTask": "dynplat.comparison.tasks",
    "Calibration": "dynplat.comparison.reliability",
    "Comparison": "dynplat.comparison.comparison",
    "Contributions": "dynplat.comparison.scores.cells",
    "Forecast": "dynplat.comparison.tasks",
    "Imputation": "dynplat.comparison.tasks",
    "Result": "dynplat.comparison.result",
    "Score": "dynplat.comparison.score",
    "SnapshotForecast": "dynplat.comparison.snapshot_tasks",
    "SnapshotInterpolation": "dynplat.comparison.snapshot_tasks",
    "Study": "dynplat.comparison.study",
    "StudyEvent": "dynplat.comparison.study",
    "calibration": "dynplat.comparison.reliability",
    "compare": "dynplat.comparison.run",
    "default_scores": "dynplat.comparison.score",
    "interval_scores": "dynplat.comparison.score",
    "measure_calibration": "dynplat.comparison.reliability",
    "run_study": "dynplat.comparison.study",
}

__all__ = [
    "AbstractTask",
    "Calibration",
    "Comparison",
    "Contributions",
    "Forecast",
    "Imputation",
    "Result",
    "Score",
    "SnapshotForecast",
    "SnapshotInterpolation",
    "Study",
    "StudyEvent",
    "calibration",
    "compare",
    "default_scores",
    "interval_scores",
    "measure_calibration",
    "run_study",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    try:
        module = _PUBLIC[name]
    except KeyError:
        raise AttributeError(f"module 'dynplat.comparison' has no attribute {name!r}") from None
    return getattr(importlib.import_module(module), name)
