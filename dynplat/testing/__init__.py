"""Dense references, data generators, and the conformance checks that any plugin can run."""

from __future__ import annotations

import importlib
from typing import Any

_PUBLIC = {
    "CheckFailed": "dynplat.testing.report",
    "CheckResult": "dynplat.testing.report",
    "CheckSkipped": "dynplat.testing.report",
    "Report": "dynplat.testing.report",
    "check_model": "dynplat.testing.kit",
    "check_plugin": "dynplat.testing.kit",
    "list_checks": "dynplat.testing.kit",
    "parametrize_checks": "dynplat.testing.kit",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dynplat.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
