"""The host: which plugins there are, what they provide, and who answers to a name.

A host is an ordinary object, made by `Host.discover` and never changed; tests make their own. The edge of the platform
uses the one of `default_host`. Below the edge nobody asks a host anything: objects travel, not names.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Sequence
from functools import cache
from types import ModuleType

import pluggy

import dynplat
from dynplat.errors import ConflictError, PluginError
from dynplat.host.extras import how_to_install, missing_modules
from dynplat.host.faults import PluginFault
from dynplat.host.hookspecs import KINDS
from dynplat.host.observers import PluginObserver
from dynplat.host.plugin import Plugin, collect, load_plugin, register
from dynplat.host.report import Component, PluginReport, Provider
from dynplat.host.sources import GROUP, find_providers
from dynplat.host.unknown import WORDS, check_kind, unknown_name
from dynplat.observer import GuardedObservers
from dynplat.records import Entry

#: Environment variable that selects plugins by the name of their entry point, separated by commas; empty selects none.
SELECTION = "DYNPLAT_PLUGINS"

#: Module with the core's own components. Like a plugin's it is known by its name, for it imports the rooms above.
CORE = "dynplat.components"


class Host:
    """What is installed, and what came of it.

    Args:
        plugins: Plugins after loading.
        core: Module with hook implementations that no selection can switch off and whose failure is raised, or None.
    """

    def __init__(self, plugins: Sequence[Plugin] = (), core: ModuleType | None = None) -> None:
        self._plugins = tuple(plugins)
        self._core: pluggy.PluginManager | None = None
        self._core_provider = Provider("dynplat", dynplat.__version__, "", core.__name__ if core else "")
        if core is not None:
            try:
                self._core = register(core)
            except PluginFault as fault:
                raise _core_fault(str(fault)) from fault
        self._known: dict[str, tuple[Component, ...]] = {}

    @classmethod
    def discover(
        cls,
        *,
        path: Sequence[str] | None = None,
        selected: Iterable[str] | None = None,
        core: str | None = CORE,
    ) -> Host:
        """Load the installed plugins.

        Args:
            path: Directories to search for distributions, like `sys.path`, which is the default.
            selected: Names of the entry points to load. The default is the environment variable `DYNPLAT_PLUGINS`:
                names separated by commas, nothing for no plugin, and all plugins where the variable is not set.
            core: Module with the core's own components, or None for a host without them.
        """
        selector = SELECTION if selected is None else "`selected`"
        if selected is None and SELECTION in os.environ:
            selected = [name.strip() for name in os.environ[SELECTION].split(",") if name.strip()]
        wanted = None if selected is None else dict.fromkeys(selected)
        plugins, names = [], []
        for provider, fault in find_providers(path):
            names.append(provider.name)
            if wanted is not None and provider.name not in wanted:
                plugins.append(Plugin(provider, "blocked", f"{selector} leaves it out"))
            elif fault:
                plugins.append(Plugin(provider, "broken", fault))
            else:
                plugins.append(load_plugin(provider))
        installed = ", ".join(dict.fromkeys(names)) or "none"
        plugins += [
            Plugin(
                Provider("", "", name, ""),
                "not-found",
                f"{selector} names it, and no installed distribution has an entry point of that name in the group "
                f"{GROUP!r}; installed: {installed}",
            )
            for name in wanted or ()
            if name not in names
        ]
        return cls(plugins, importlib.import_module(core) if core else None)

    def reports(self) -> list[PluginReport]:
        """Say of each plugin what became of it. The core is no plugin and has no report."""
        return [
            PluginReport(
                name=plugin.provider.name,
                distribution=plugin.provider.distribution,
                version=plugin.provider.version,
                module=plugin.provider.module,
                state=plugin.state,
                reason=plugin.reason,
                hooks=plugin.hooks,
                components=tuple(entry.id for entries in plugin.entries.values() for entry in entries),
                notes=tuple(
                    f"{component.id}: {component.reason}"
                    for kind, entries in plugin.entries.items()
                    if entries
                    for component in self.components(kind)
                    if component.provider == plugin.provider and component.reason
                ),
            )
            for plugin in self._plugins
        ]

    def components(self, kind: str) -> list[Component]:
        """List the components of one kind by id; an id that two providers claim stands there twice.

        Raises:
            ArgumentError: `kind` is none of `model`, `dataset`, `inference`, `score`.
            PluginError: The core's own components cannot be read: a damaged installation.
        """
        check_kind(kind)
        if kind not in self._known:
            provided = [(entry, self._core_provider) for entry in self._core_entries(kind)]
            provided += [(entry, p.provider) for p in self._plugins for entry in p.entries.get(kind, ())]
            self._known[kind] = tuple(_component(kind, entry, provider, provided) for entry, provider in provided)
        return sorted(self._known[kind], key=lambda component: component.id)

    def find(self, kind: str, id: str) -> Component:
        """Return the component that bears a name; it may still lack a package.

        Raises:
            UnknownNameError: Nobody provides it. The message has the names that are close, and every plugin that is
                not active with the reason, for it may have been meant.
            ConflictError: Two providers claim it. The message names both.
            ArgumentError: `kind` is none of `model`, `dataset`, `inference`, `score`.
        """
        components = self.components(kind)
        found = [component for component in components if component.id == id]
        if not found:
            raise unknown_name(kind, id, components, self._others(kind, id), self.reports())
        if len(found) > 1:
            raise ConflictError(f"the {WORDS[kind]} {id!r} cannot be used: {found[0].reason}.")
        return found[0]

    def kinds_of(self, id: str) -> list[str]:
        """Return the kinds in which somebody bears a name; at least one.

        Raises:
            UnknownNameError: There is none.
        """
        kinds = self._others(None, id)
        if not kinds:
            components = [component for kind in KINDS for component in self.components(kind)]
            raise unknown_name(None, id, components, [], self.reports())
        return kinds

    def observer(self) -> GuardedObservers:
        """Return all plugins that watch fits as one observer that never raises; see `dynplat.observer`."""
        return GuardedObservers(
            [
                PluginObserver(plugin.provider, plugin.manager)
                for plugin in self._plugins
                if plugin.manager is not None and any(name.startswith("dynplat_fit_") for name in plugin.hooks)
            ]
        )

    def _core_entries(self, kind: str) -> tuple[Entry, ...]:
        # Asked kind by kind, when a kind is first wanted: the records of data sets lie in a room that imports xarray,
        # and listing models shall not.
        if self._core is None:
            return ()
        try:
            return collect(self._core, kind)
        except PluginFault as fault:
            raise _core_fault(str(fault)) from fault.__cause__

    def _others(self, kind: str | None, id: str) -> list[str]:
        # Ids of models have a slash and others have none, so most kinds need not be asked (nor their rooms imported).
        possible = [other for other in KINDS if other != kind and ("/" in id) == (other == "model")]
        return [other for other in possible if any(component.id == id for component in self.components(other))]


@cache
def default_host() -> Host:
    """Return the host that the edge uses, made from what is installed on first use; `cache_clear` forgets it."""
    return Host.discover()


def _component(kind: str, entry: Entry, provider: Provider, provided: list[tuple[Entry, Provider]]) -> Component:
    claims = [str(other) for candidate, other in provided if candidate.id == entry.id]
    if len(claims) > 1:
        reason = (
            f"{' and '.join(claims)} {'both' if len(claims) == 2 else 'all'} provide it; "
            f"uninstall all but one, or select plugins with {SELECTION}"
        )
        return Component(kind, entry, provider, "conflict", reason)
    missing = missing_modules(entry)
    if missing:
        return Component(kind, entry, provider, "missing-extra", how_to_install(entry, provider, missing))
    return Component(kind, entry, provider)


def _core_fault(reason: str) -> PluginError:
    return PluginError(f"dynplat's own components cannot be read: {reason}. Reinstall dynplat; if it stays, report it.")
