"""Options of components: read off a model's fields or a function's signature, and checked by name and type."""

from __future__ import annotations

import dataclasses
import inspect
import numbers
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dynplat.errors import ArgumentError
from dynplat.host.unknown import close_names

_ABSENT = object()


@dataclass(frozen=True)
class Option:
    """One option of a component.

    Args:
        name: Name.
        hint: Its type annotation, or `Any`.
        default: Its default value; see `required`.
    """

    name: str
    hint: Any = Any
    default: Any = _ABSENT

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is _ABSENT

    @property
    def type(self) -> str:
        """Its type as one would write it."""
        if self.hint is Any:
            return "any value"
        if isinstance(self.hint, type) and not typing.get_args(self.hint):
            return self.hint.__name__
        return str(self.hint).replace("typing.", "").replace("NoneType", "None")

    def __str__(self) -> str:
        return f"{self.name}: {self.type}" + ("" if self.required else f" = {self.default!r}")


def model_options(model: type) -> tuple[Option, ...]:
    """Return the options of a model class: the fields of the dataclass that its constructor takes."""
    if not dataclasses.is_dataclass(model):
        return ()
    hints = _hints(model)
    options = []
    for field in dataclasses.fields(model):
        if not field.init:
            continue
        default = _ABSENT if field.default is dataclasses.MISSING else field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        options.append(Option(field.name, hints.get(field.name, Any), default))
    return tuple(options)


def function_options(function: Callable[..., Any], *, without: Sequence[str] = ()) -> tuple[Option, ...]:
    """Return the options of a function: its named parameters, except those of the names in `without`."""
    hints = _hints(function)
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return tuple(
        Option(name, hints.get(name, Any), _ABSENT if p.default is inspect.Parameter.empty else p.default)
        for name, p in inspect.signature(function).parameters.items()
        if p.kind in named and name not in without
    )


def check_options(owner: str, options: Sequence[Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """Check given options by name and type, and bring their values to the declared types.

    A list becomes a tuple and a whole number a float where the type says so; NumPy scalars become numbers of Python.

    Args:
        owner: Id of the component, for the message.
        options: The legal options.
        given: The given ones.

    Returns:
        The given options, ready to be passed on.

    Raises:
        ArgumentError: An option is unknown, required and absent, or of another type.
    """
    legal = {option.name: option for option in options}
    listing = f"Its options: {', '.join(map(str, options))}." if options else "It has no options."
    for name in given:
        if name not in legal:
            close = close_names(name, list(legal))
            hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise ArgumentError(f"{owner!r} has no option {name!r}.{hint} {listing}")
    absent = [option.name for option in options if option.required and option.name not in given]
    if absent:
        raise ArgumentError(f"{owner!r} cannot do without the option {' and '.join(map(repr, absent))}. {listing}")
    checked = {}
    for name, value in given.items():
        checked[name] = _fit(value, legal[name].hint)
        if checked[name] is _ABSENT:
            raise ArgumentError(
                f"option `{name}` of {owner!r} must be {legal[name].type}; "
                f"got {value!r:.200} ({type(value).__name__}). {listing}"
            )
    return checked


def _fit(value: Any, hint: Any) -> Any:
    """Return `value` as the type `hint` has it, or `_ABSENT` when it is no such value."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return value
    if origin is typing.Annotated:
        return _fit(value, arguments[0])
    if origin in (typing.Union, types.UnionType):
        # A value that already is of one of the types stays itself: 1 is an int for `float | int`.
        fitted = [fit for fit in (_fit(value, member) for member in arguments) if fit is not _ABSENT]
        exact = [fit for fit in fitted if type(fit) is type(value)]
        return (exact or fitted or [_ABSENT])[0]
    if origin is typing.Literal:
        return next((word for word in arguments if type(word) is type(value) and word == value), _ABSENT)
    if hint is tuple or origin is tuple:
        return _fit_tuple(value, arguments)
    if hint in (None, type(None)):
        return None if value is None else _ABSENT
    return _fit_scalar(value, hint if origin is None else origin)


def _fit_tuple(value: Any, members: tuple[Any, ...]) -> Any:
    if not isinstance(value, tuple | list):
        return _ABSENT
    if not members:
        return tuple(value)
    if members[-1] is Ellipsis:
        members = (members[0],) * len(value)
    if len(members) != len(value):
        return _ABSENT
    fitted = tuple(_fit(item, member) for item, member in zip(value, members, strict=True))
    return _ABSENT if any(item is _ABSENT for item in fitted) else fitted


def _fit_scalar(value: Any, kind: Any) -> Any:
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        value = value.item()
    if kind is float:
        return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else _ABSENT
    if kind is int:
        return int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else _ABSENT
    # Callables, mappings and other types that options seldom have: as far as `isinstance` can tell.
    return value if not isinstance(kind, type) or isinstance(value, kind) else _ABSENT


def _hints(owner: Any) -> dict[str, Any]:
    """Types by name; one that can't be read (it exists for type checkers only) leaves the others readable."""
    found = {}
    for part in reversed(owner.__mro__) if isinstance(owner, type) else (owner,):
        module = sys.modules.get(part.__module__)
        for name, annotation in inspect.get_annotations(part).items():
            alone = types.SimpleNamespace(__annotations__={name: annotation})
            try:
                found |= typing.get_type_hints(alone, vars(module) if module else {})
            except Exception:
                found.pop(name, None)
    return found
