"""dynplat: probabilistic models of dynamical systems.

The public names below load on first use; `import dynplat` imports no numerical framework.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

#: Public name -> module that holds it.
_PUBLIC = {
    "AbstractModel": "dynplat.model",
    "Capabilities": "dynplat.records",
    "Context": "dynplat.model",
    "DatasetEntry": "dynplat.records",
    "DynplatError": "dynplat.errors",
    "Forecast": "dynplat.comparison",
    "Imputation": "dynplat.comparison",
    "InferenceEntry": "dynplat.records",
    "InferenceWarning": "dynplat.inference.diagnostics",
    "ModelEntry": "dynplat.records",
    "Posterior": "dynplat.posterior",
    "Prediction": "dynplat.posterior",
    "Reference": "dynplat.records",
    "ScoreEntry": "dynplat.records",
    "SnapshotForecast": "dynplat.comparison",
    "SnapshotInterpolation": "dynplat.comparison",
    "Snapshots": "dynplat.data",
    "Trajectories": "dynplat.data",
    "compare": "dynplat.api",
    "describe": "dynplat.api",
    "draw_asymptotic": "dynplat.inference.asymptotic",
    "fit": "dynplat.api",
    "forecast": "dynplat.api",
    "hookimpl": "dynplat.host",
    "impute": "dynplat.api",
    "list_datasets": "dynplat.api",
    "list_inferences": "dynplat.api",
    "list_models": "dynplat.api",
    "list_plugins": "dynplat.api",
    "list_scores": "dynplat.api",
    "load_dataset": "dynplat.api",
    "load_model": "dynplat.api",
    "load_posterior": "dynplat.api",
    "predict": "dynplat.api",
    "read": "dynplat.data",
    "simulate": "dynplat.api",
    "write": "dynplat.data",
}

__all__ = sorted([*_PUBLIC, "__version__"])


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    try:
        module = _PUBLIC[name]
    except KeyError:
        raise AttributeError(f"module 'dynplat' has no attribute {name!r}") from None
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return __all__
