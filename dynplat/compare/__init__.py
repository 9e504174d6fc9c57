"""Tasks, scores and comparisons: the same held-out questions for every model.

The names load on first use, so that the records of the scores can be read without NumPy.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynplat.compare.comparison import Comparison
    from dynplat.compare.reliability import Calibration, calibration, measure_calibration
    from dynplat.compare.result import Result
    from dynplat.compare.run import compare
    from dynplat.compare.score import Score, default_scores, interval_scores
    from dynplat.compare.scores.cells import Contributions
    from dynplat.compare.study import Study, StudyEvent, run_study
    from dynplat.compare.tasks import AbstractTask, Forecast, Imputation

_PUBLIC = {
    "AbstractTask": "dynplat.compare.tasks",
    "Calibration": "dynplat.compare.reliability",
    "Comparison": "dynplat.compare.comparison",
    "Contributions": "dynplat.compare.scores.cells",
    "Forecast": "dynplat.compare.tasks",
    "Imputation": "dynplat.compare.tasks",
    "Result": "dynplat.compare.result",
    "Score": "dynplat.compare.score",
    "Study": "dynplat.compare.study",
    "StudyEvent": "dynplat.compare.study",
    "calibration": "dynplat.compare.reliability",
    "compare": "dynplat.compare.run",
    "default_scores": "dynplat.compare.score",
    "interval_scores": "dynplat.compare.score",
    "measure_calibration": "dynplat.compare.reliability",
    "run_study": "dynplat.compare.study",
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
        raise AttributeError(f"module 'dynplat.compare' has no attribute {name!r}") from None
    return getattr(importlib.import_module(module), name)


class _Room(ModuleType):
    """This package, callable: once imported it stands in the place of the function `dynplat.compare`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do what `dynplat.compare(...)` says, whether or not this package has been imported before."""
        # By name: rooms do not import the edge.
        return importlib.import_module("dynplat.api").compare(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
