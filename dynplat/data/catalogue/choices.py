"""Checking of a loader's options that take one word out of a few."""

from __future__ import annotations

from collections.abc import Iterable

from dynplat.errors import ArgumentError


def check_choice(name: str, value: object, legal: Iterable[object]) -> None:
    """Refuse a value of the option `name` that is none of `legal`.

    Raises:
        ArgumentError: The value is not legal; the message lists those that are.
    """
    known = tuple(legal)
    if value not in known:
        raise ArgumentError(f"`{name}` must be one of {', '.join(map(repr, known))}; got {value!r}.")
