"""Optional packages: whether what a record `requires` is installed, and how to install it."""

from __future__ import annotations

import importlib.util

from dynplat.host.report import Provider
from dynplat.records import Entry


def missing_modules(entry: Entry, *, thorough: bool = False) -> list[str]:
    """Return the modules that `entry` requires and that are not installed.

    Args:
        entry: The record.
        thorough: Look for `a.b` inside `a`, which imports `a`. Without it only `a` is looked for, and nothing imported.
    """
    return [name for name in entry.requires if not _is_installed(name if thorough else name.partition(".")[0])]


def how_to_install(entry: Entry, provider: Provider, missing: list[str]) -> str:
    """Say what `entry` lacks and which command brings it."""
    lacking = " and ".join(repr(name) for name in missing)
    if entry.extra:
        return f"it needs {lacking}; install with: pip install '{provider.distribution}[{entry.extra}]'"
    return f"it needs {lacking}; install the packages that provide these modules"


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):  # the parent is missing, is no package, or has no specification
        return False
