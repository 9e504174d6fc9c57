"""References from texts, so that a reference can be an option of a model."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

from dynplat.errors import ArgumentError
from dynplat_bridges.references.base import AbstractLinearReference, AbstractReference

#: Where the class of each reference is; it is imported when a text names it.
_PLACES: dict[str, str] = {
    "brownian": "dynplat_bridges.references.brownian:Brownian",
    "drifting-brownian": "dynplat_bridges.references.brownian:DriftingBrownian",
    "ornstein-uhlenbeck": "dynplat_bridges.references.linear:OrnsteinUhlenbeck",
    "linear-sde": "dynplat_bridges.references.linear:LinearSDE",
    "lotka-volterra": "dynplat_bridges.references.lotka_volterra:LotkaVolterra",
    "repressilator": "dynplat_bridges.references.repressilator:Repressilator",
    "vortex": "dynplat_bridges.references.vortex:Vortex",
    "gradient-field": "dynplat_bridges.references.gradient:GradientField",
}


def reference_from(text: str, *, diffusion: float | tuple[float, ...] | None = None) -> AbstractReference:
    """Build the reference that a text names: `brownian`, `ornstein-uhlenbeck:rate=0.5:centre=0,1`, `linear-sde`.

    Options follow after `:`; several numbers are separated by commas, and the rows of a matrix by `;`. `free` leaves a
    parameter to be fitted that the reference fixes otherwise, as in `vortex:current=free`.

    Args:
        text: The text.
        diffusion: Diffusion, a positive number or one per channel; None: to be fitted.

    Raises:
        ArgumentError: The text names no reference, or an option does not fit.
    """
    kind, *given = text.split(":")
    if kind not in _PLACES:
        raise ArgumentError(f"`reference` must name one of {', '.join(_PLACES)}; got {kind!r} in {text!r}.")
    module, _, name = _PLACES[kind].partition(":")
    found: type[AbstractReference] = getattr(importlib.import_module(module), name)
    legal = [field.name for field in dataclasses.fields(found) if field.name != "diffusion"]
    options: dict[str, Any] = {}
    for item in given:
        option, _, value = item.partition("=")
        if option not in legal or not value:
            raise ArgumentError(
                f"`reference` {kind!r} has the options {', '.join(legal) or '(none)'}; got {item!r} in {text!r}."
            )
        options[option] = _read(value, item, text)
    return found(diffusion=diffusion, **options)


def linear_reference_from(text: str, *, diffusion: float | tuple[float, ...] | None = None) -> AbstractLinearReference:
    """Build the reference with a linear drift that a text names (see `reference_from`).

    Raises:
        ArgumentError: The text names no reference, or one whose drift is not linear.
    """
    found = reference_from(text, diffusion=diffusion)
    if not isinstance(found, AbstractLinearReference):
        raise ArgumentError(
            f"`reference` must have a linear drift here: brownian, drifting-brownian, ornstein-uhlenbeck or "
            f"linear-sde; got {text!r}, which `bridges/sbirr` takes."
        )
    return found


def _read(value: str, item: str, text: str) -> Any:
    """A word, a number, a tuple of numbers, a tuple of rows, or None for `free`."""
    if value == "free":
        return None
    if ";" in value:
        return tuple(_row(row, item, text) for row in value.split(";"))
    if "," in value:
        return _row(value, item, text)
    try:
        return float(value)
    except ValueError:
        return value


def _row(value: str, item: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in value.split(","))
    except ValueError:
        raise ArgumentError(f"`reference` must give numbers separated by commas; got {item!r} in {text!r}.") from None
