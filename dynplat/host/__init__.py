"""The plugin host: hook specifications, discovery, isolation and reporting of plugins."""

from dynplat.host.hookspecs import hookimpl
from dynplat.host.registry import Host, default_host
from dynplat.host.report import Component, PluginReport, Provider

__all__ = ["Component", "Host", "PluginReport", "Provider", "default_host", "hookimpl"]
