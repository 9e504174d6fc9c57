"""Which plugins are installed: the entry points of the group `dynplat.plugins`, read without importing anything."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator, Sequence

from dynplat.host.faults import explain
from dynplat.host.report import Provider

#: Entry-point group that plugins announce themselves in.
GROUP = "dynplat.plugins"

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def find_providers(path: Sequence[str] | None = None) -> Iterator[tuple[Provider, str]]:
    """Find the installed plugins.

    Args:
        path: Directories to search for distributions, like `sys.path`, which is the default.

    Yields:
        Each plugin, with an empty text, or what is wrong with its entry point. The order of one search path is always
        the same.
    """
    seen = set()
    distributions = (
        importlib.metadata.distributions() if path is None else importlib.metadata.distributions(path=list(path))
    )
    found = []
    for distribution in distributions:
        # Asked first, because reading the metadata of each installed distribution would take most of a second.
        if not _mentions_group(distribution):
            continue
        name, version = _name_and_version(distribution)
        # Of two copies on the search path the first one is the one that Python imports.
        canonical = re.sub(r"[-_.]+", "-", name).lower()
        if canonical not in seen:
            seen.add(canonical)
            found += _providers(distribution, name, version)
    yield from sorted(found, key=lambda item: (item[0].name, item[0].distribution))


def _providers(distribution: importlib.metadata.Distribution, name: str, version: str) -> list[tuple[Provider, str]]:
    try:
        points = list(distribution.entry_points.select(group=GROUP))
    except Exception as error:
        return [(Provider(name, version, name, ""), f"its entry points cannot be read: {explain(error)}")]
    found = []
    for point in points:
        fault = ""
        if not _MODULE.fullmatch(point.value.strip()):
            fault = (
                f"its entry point must name a module, such as '{point.name} = dynplat_{point.name}.plugin'; "
                f"it names {point.value!r}"
            )
        found.append((Provider(name, version, point.name, point.value.strip()), fault))
    return found


def _mentions_group(distribution: importlib.metadata.Distribution) -> bool:
    try:
        return GROUP in (distribution.read_text("entry_points.txt") or "")
    except (OSError, UnicodeDecodeError):
        return False


def _name_and_version(distribution: importlib.metadata.Distribution) -> tuple[str, str]:
    try:
        metadata = distribution.metadata
        return metadata["Name"] or "unknown", metadata["Version"] or "unknown"
    except Exception:  # metadata that is missing or damaged: the plugin may still work, so let it try
        return "unknown", "unknown"
