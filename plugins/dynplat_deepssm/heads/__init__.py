"""Laws of a value given what a network says of it."""

from __future__ import annotations

from dynplat.errors import ArgumentError
from dynplat_deepssm.heads.base import AbstractHead
from dynplat_deepssm.heads.counts import NegativeBinomialHead
from dynplat_deepssm.heads.mixture import MixtureHead
from dynplat_deepssm.heads.quantile import QuantileHead
from dynplat_deepssm.heads.real import GaussianHead, StudentTHead

__all__ = [
    "HEADS",
    "AbstractHead",
    "GaussianHead",
    "MixtureHead",
    "NegativeBinomialHead",
    "QuantileHead",
    "StudentTHead",
    "head_named",
]

#: Heads by name.
HEADS: dict[str, type[AbstractHead]] = {
    "gaussian": GaussianHead,
    "student-t": StudentTHead,
    "mixture": MixtureHead,
    "negative-binomial": NegativeBinomialHead,
    "quantile": QuantileHead,
}


def head_named(name: str, legal: tuple[str, ...]) -> AbstractHead:
    """Make the head of a name out of those that a model takes.

    Raises:
        ArgumentError: The model does not take it.
    """
    if name not in legal:
        raise ArgumentError(f"`head` must be one of {legal}; got {name!r}.")
    return HEADS[name]()
