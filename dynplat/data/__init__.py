"""Trajectories and Snapshots, their readers and writers, hold-outs and the catalogue of public data sets.

The names below load on first use, so that importing this package imports neither pandas nor xarray.
"""

from __future__ import annotations

import importlib
from typing import Any

#: Public name -> module that holds it.
_PUBLIC = {
    "Holdout": "dynplat.data.holdouts",
    "Snapshots": "dynplat.data.snapshots",
    "Table": "dynplat.data.tables",
    "Trajectories": "dynplat.data.trajectories",
    "hide_blocks": "dynplat.data.holdouts",
    "hide_future": "dynplat.data.holdouts",
    "hide_rows": "dynplat.data.holdouts",
    "hide_series": "dynplat.data.holdouts",
    "hide_values": "dynplat.data.holdouts",
    "read": "dynplat.data.files",
    "read_table": "dynplat.data.tables",
    "write": "dynplat.data.files",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    try:
        module = _PUBLIC[name]
    except KeyError:
        raise AttributeError(f"module 'dynplat.data' has no attribute {name!r}") from None
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return __all__
