"""What the host tells about plugins and components: plain records that listings, errors and tests share."""

from __future__ import annotations

from dataclasses import dataclass

from dynplat.records import Entry

#: States of a plugin.
#: `active`: its components can be used. `blocked`: `DYNPLAT_PLUGINS` leaves it out; it was not imported.
#: `broken`: it cannot be imported, or breaks the contract. `incompatible`: written for another version of the contract.
#: `not-found`: `DYNPLAT_PLUGINS` names it, and nothing of that name is installed.
PLUGIN_STATES = ("active", "blocked", "broken", "incompatible", "not-found")

#: States of a component. `missing-extra`: a package it needs is not installed. `conflict`: two providers claim its id.
COMPONENT_STATES = ("available", "missing-extra", "conflict")


@dataclass(frozen=True)
class Provider:
    """Where components come from.

    Args:
        distribution: Name of the installed distribution.
        version: Its version.
        name: Name of the entry point; empty for components of the core.
        module: Module that the entry point names.
    """

    distribution: str
    version: str
    name: str
    module: str

    def __str__(self) -> str:
        if not self.name:
            return f"{self.distribution} {self.version} itself"
        if not self.distribution:
            return f"plugin {self.name!r}"
        return f"plugin {self.name!r} of {self.distribution} {self.version}"


@dataclass(frozen=True)
class PluginReport:
    """What became of one plugin.

    Args:
        name: Name of its entry point: what `DYNPLAT_PLUGINS` selects by.
        distribution: Name of the installed distribution that brings it.
        version: Version of that distribution.
        module: Module that the entry point names.
        state: One of `PLUGIN_STATES`.
        reason: Why it is not active; empty when it is.
        hooks: Names of the hooks that it implements.
        components: Ids of the components that it provides.
        notes: What stands in the way of single components of an active plugin: conflicts and missing packages.
    """

    name: str
    distribution: str
    version: str
    module: str
    state: str
    reason: str = ""
    hooks: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Component:
    """A record with what the host knows about it.

    Args:
        kind: `model`, `dataset`, `inference` or `score`.
        entry: The record.
        provider: Where it comes from.
        state: One of `COMPONENT_STATES`.
        reason: Why it cannot be used, and what to do; empty when it can.
    """

    kind: str
    entry: Entry
    provider: Provider
    state: str = "available"
    reason: str = ""

    @property
    def id(self) -> str:
        """Name by which users ask for the component."""
        return self.entry.id
