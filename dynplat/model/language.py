"""What a prior may say, whatever the language that runs it: the argument `pp` of `AbstractModel.prior`.

A prior is written once; the same program runs under Pyro (torch) and NumPyro (JAX) with the same site names. The two
implementations live in `dynplat.inference`; this module is the interface that a model's author relies on.

Shapes. A site outside `pp.plate("series")` has one value for all series; a site inside has one per series. `pp.sites`
holds every site in the form that processes take: (..., series or 1, core dimensions), where the core dimensions are the
event dimensions of the site's distribution. A plate with another name repeats a site along a core dimension.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from dynplat.arrays import Array


@dataclass(frozen=True)
class SiteInfo:
    """Static facts about a site.

    Args:
        name: Name.
        kind: `sample`, `param` or `deterministic`.
        core_shape: Shape of one value.
        local: True when the site has one value per series.
    """

    name: str
    kind: str
    core_shape: tuple[int, ...]
    local: bool


class AbstractLanguage(ABC):
    """A probabilistic programming language as a prior sees it.

    Attributes:
        name: `pyro` or `numpyro`.
        xp: The array namespace (torch or jax.numpy).
        dist: The language's distributions; numeric arguments become arrays of the fit's dtype and device.
        sites: Values of the sites emitted so far, (..., series or 1, core dimensions).
        infos: Static facts of the sites emitted so far.
    """

    name: str
    xp: Any
    dist: Any
    sites: dict[str, Array]
    infos: dict[str, SiteInfo]

    @abstractmethod
    def array(self, value: Any) -> Array:
        """Turn numbers or a NumPy array into an array of the fit's dtype and device."""

    @abstractmethod
    def sample(self, name: str, distribution: Any) -> Array:
        """Emit a random site and return its value in the language's own shape."""

    @abstractmethod
    def param(self, name: str, initial: Any, *, constraint: Any = None, event_dim: int | None = None) -> Array:
        """Emit a point-estimated site (no prior) with its initial value; all its dimensions are core by default."""

    @abstractmethod
    def deterministic(self, name: str, value: Array, *, event_dim: int = 0) -> Array:
        """Record a function of other sites under a name; the last `event_dim` dimensions are core."""

    @abstractmethod
    def factor(self, name: str, log_factor: Array) -> None:
        """Add a term to the log joint density."""

    @abstractmethod
    def plate(self, name: str, size: int | None = None) -> AbstractContextManager[None]:
        """Repeat sites independently: `series` along the series (size known), any other name along a core dimension."""

    @abstractmethod
    def module(self, name: str, network: Any) -> Any:
        """Register a neural network of the language's framework whose weights are point-estimated."""

    @abstractmethod
    def scope(self, prefix: str) -> AbstractContextManager[None]:
        """Prefix the names of the sites inside with `prefix` and a dot, so that components can be combined."""


Sites = Mapping[str, Array]
