"""From a component to the object behind it: imported on first use, built with options, held to what it declares.

Whatever goes wrong in foreign code is said of the plugin that it belongs to.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dynplat.errors import ArgumentError, DynplatError, MissingExtraError, PluginError
from dynplat.host.extras import how_to_install, missing_modules
from dynplat.host.faults import PluginFault, blaming
from dynplat.host.options import Option, check_options, function_options, model_options
from dynplat.host.report import Component

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories
    from dynplat.model import AbstractModel

#: Parameters of an inference that are not options of it.
_INFERENCE_ARGUMENTS = ("model", "data", "seed", "observers", "language")


def load_object(component: Component) -> Any:
    """Import the object that the component's record points at.

    Raises:
        MissingExtraError: A package that the record requires is not installed. The message has the command.
        PluginError: The object cannot be imported.
    """
    entry, provider = component.entry, component.provider
    missing = missing_modules(entry, thorough=True)
    if missing:
        raise MissingExtraError(f"{entry.id!r} cannot be used: {how_to_install(entry, provider, missing)}.")
    module, _, name = entry.location.partition(":")
    try:
        with blaming(f"importing {module!r} failed"):
            imported = importlib.import_module(module)
    except PluginFault as fault:
        raise _fault(component, str(fault)) from fault.__cause__
    try:
        return getattr(imported, name)
    except AttributeError:
        raise _fault(component, f"its record points at {entry.location!r}, and {module!r} has no {name!r}") from None


def build_model(component: Component, given: Mapping[str, Any]) -> AbstractModel:
    """Build a model with options, and check that it is the one that its record describes.

    Raises:
        ArgumentError: An option is unknown, absent, of another type, or refused by the model.
        MissingExtraError: A package that the model requires is not installed.
        PluginError: What the record points at is no such model.
    """
    kind = _model_class(component)
    checked = check_options(component.id, model_options(kind), given)
    return _call(component, kind, checked)


def build_dataset(component: Component, given: Mapping[str, Any]) -> Trajectories | Snapshots:
    """Load a data set with options.

    Raises:
        ArgumentError: An option is unknown, absent, of another type, or refused by the loader.
        MissingExtraError: A package that the data set requires is not installed.
        PluginError: The loader fails, or returns something else than a data set.
    """
    from dynplat.data import Snapshots, Trajectories

    loader = build_function(component)
    data = _call(component, loader, check_options(component.id, function_options(loader), given))
    if not isinstance(data, Trajectories | Snapshots):
        raise _fault(
            component,
            f"its loader returned an object of type {type(data).__name__} instead of Trajectories or Snapshots",
        )
    return data


def build_function(component: Component) -> Callable[..., Any]:
    """Import a component that is a function: a score or an inference.

    Raises:
        MissingExtraError: A package that it requires is not installed.
        PluginError: What the record points at is no function.
    """
    function = load_object(component)
    if not callable(function):
        raise _fault(component, f"{component.entry.location!r} is of type {type(function).__name__} and no function")
    return function


def options_of(component: Component) -> tuple[Option, ...]:
    """Return the options of a component; this imports it.

    Raises:
        MissingExtraError: A package that it requires is not installed.
        PluginError: It breaks its contract.
    """
    if component.kind == "model":
        return model_options(_model_class(component))
    if component.kind == "dataset":
        return function_options(build_function(component))
    if component.kind == "inference":
        return function_options(build_function(component), without=_INFERENCE_ARGUMENTS)
    return ()


def _model_class(component: Component) -> type[AbstractModel]:
    from dynplat.model import AbstractModel

    kind = load_object(component)
    location = component.entry.location
    if not (isinstance(kind, type) and issubclass(kind, AbstractModel)):
        raise _fault(component, f"{location!r} is {kind!r:.200} and no subclass of AbstractModel")
    declared = getattr(kind, "entry", None)
    if declared is None:
        raise _fault(component, f"the class {location!r} has no `entry`; give it its record")
    if declared.id != component.id:
        raise _fault(component, f"the class {location!r} carries the record of {declared.id!r}")
    if declared != component.entry:
        # What is listed must be what is checked before dispatch.
        differing = [
            field.name
            for field in dataclasses.fields(component.entry)
            if getattr(declared, field.name, None) != getattr(component.entry, field.name)
        ]
        raise _fault(
            component,
            f"the `entry` of the class {location!r} differs from the record that the hook returns in "
            f"{' and '.join(differing) or 'its type'}; use one object for both",
        )
    return kind


def _call(component: Component, function: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    try:
        return function(**options)
    except DynplatError:
        raise
    except ValueError as error:
        if not options:
            raise _fault(component, f"it cannot be made with its default options: {error}") from error
        shown = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise ArgumentError(f"{component.id!r} does not take {shown}: {error}") from error
    except Exception as error:
        raise _fault(component, f"{component.entry.location!r} raised {type(error).__name__}: {error}") from error


def _fault(component: Component, what: str) -> PluginError:
    return PluginError(f"{component.id!r} cannot be used: {what}. This is a fault of {component.provider}.")
