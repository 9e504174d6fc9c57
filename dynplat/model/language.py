"""What a prior may say, whatever the language that runs it: the argument `pp` of `AbstractModel.prior`.

A prior is written once; the same program runs under Pyro (torch) and NumPyro (JAX) with the same site names. The two
implementations live in `dynplat.inference`; this module is the interface that a model's author relies on.

Shapes. A site outside `pp.plate("series")` has one value for all series; a site inside has one per series. `pp.sites`
holds every site in the form that processes take: (..., series or 1, core dimensions), where the core dimensions are the
event dimensions of the site's distribution. A plate with another name repeats a site along a core dimension.

Names. A statement may name the core dimensions of its site with `dims`: all of them in order, those of plates first,
None for one that has no name. `channel` and `input` are dimensions of the data; summaries then label the site's entries
by the names of channels or inputs. Any other name is the author's own and has one size throughout the prior; the model
says what its entries are called in `AbstractModel.coords`. Names change labels only, never a number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynplat.arrays import Array
from dynplat.errors import ArgumentError

#: Dimensions that stand in front of a site's core, or that no site has.
TAKEN_DIMS = ("chain", "draw", "sample", "series", "time")

#: Dimensions whose entries the data name.
DATA_DIMS = ("channel", "input")

Dims = str | Sequence[str | None]


@dataclass(frozen=True)
class SiteInfo:
    """Static facts about a site.

    Args:
        name: Name.
        kind: `sample`, `param` or `deterministic`.
        core_shape: Shape of one value.
        local: True when the site has one value per series.
        dims: Names of the core dimensions, None for one without; empty when the prior names none.
    """

    name: str
    kind: str
    core_shape: tuple[int, ...]
    local: bool
    dims: tuple[str | None, ...] = ()


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
    def sample(self, name: str, distribution: Any, *, dims: Dims = ()) -> Array:
        """Emit a random site and return its value in the language's own shape; `dims` names its core dimensions."""

    @abstractmethod
    def param(
        self, name: str, initial: Any, *, constraint: Any = None, event_dim: int | None = None, dims: Dims = ()
    ) -> Array:
        """Emit a point-estimated site (no prior) with its initial value; all its dimensions are core by default."""

    @abstractmethod
    def deterministic(self, name: str, value: Array, *, event_dim: int = 0, dims: Dims = ()) -> Array:
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


def check_dims(infos: Mapping[str, SiteInfo], sizes: Mapping[str, int]) -> None:
    """Refuse names of core dimensions that do not fit the sites, each other, or the data.

    Args:
        infos: Facts of the sites.
        sizes: Sizes of the dimensions that the data have: `channel` and `input`.

    Raises:
        ArgumentError: A site has another number of dimensions than names, a name is taken, or has two sizes.
    """
    known = {name: (size, "the data") for name, size in sizes.items()}
    for info in infos.values():
        if not info.dims:
            continue
        if len(info.dims) != len(info.core_shape):
            raise ArgumentError(
                f"`dims` of site {info.name!r} must name its core dimensions, of sizes {info.core_shape}, those of "
                f"plates first; got {info.dims}. None leaves one without a name."
            )
        for name, size in zip(info.dims, info.core_shape, strict=True):
            if name is None:
                continue
            if name in TAKEN_DIMS or name in infos or not name or "/" in name or info.dims.count(name) > 1:
                raise ArgumentError(
                    f"`dims` of site {info.name!r} must be different names, without '/', that no site bears and other "
                    f"than {', '.join(TAKEN_DIMS)} (one value per series is a site inside `pp.plate('series')`); "
                    f"got {info.dims}."
                )
            before, owner = known.setdefault(name, (size, f"site {info.name!r}"))
            if size != before:
                raise ArgumentError(
                    f"`dims` of site {info.name!r}: the dimension {name!r} has size {size} here and {before} in "
                    f"{owner}. Give it another name, or None."
                )


def check_coords(coords: Mapping[str, Sequence[Any]], infos: Mapping[str, SiteInfo]) -> dict[str, list[Any]]:
    """Refuse labels that do not fit the dimensions of the sites, and return those of dimensions that sites have.

    Labels of a dimension that no site has are left out: a model may name more than its options use.

    Args:
        coords: Labels of the entries along the author's own dimensions, by dimension (`AbstractModel.coords`).
        infos: Facts of the sites.

    Raises:
        ArgumentError: A dimension is one of the data or taken, or its labels are too many or too few for a site, not
            all different, or neither texts nor finite numbers.
    """
    checked: dict[str, list[Any]] = {}
    for dim, labels in coords.items():
        if dim in TAKEN_DIMS or dim in DATA_DIMS:
            raise ArgumentError(
                f"`coords` labels the dimension {dim!r}, whose labels come from the data and the draws: leave it out."
            )
        bearers = [info for info in infos.values() if dim in info.dims]
        if not bearers:
            continue
        known = [label.item() if isinstance(label, np.generic) else label for label in labels]
        for info in bearers:
            size = info.core_shape[info.dims.index(dim)]
            if len(known) != size or isinstance(labels, str):
                raise ArgumentError(
                    f"`coords` must give {size} labels along the dimension {dim!r} of site {info.name!r}; got "
                    f"{labels if isinstance(labels, str) else known!r}."
                )
        texts = all(isinstance(label, str) for label in known)
        numbers = all(type(label) in (int, float) and np.isfinite(label) for label in known)
        if not (texts or numbers) or len(set(known)) < len(known):
            raise ArgumentError(
                f"`coords` must give different labels along the dimension {dim!r} of site {bearers[0].name!r}, all "
                f"texts or all finite numbers; got {known!r}."
            )
        checked[dim] = known
    return checked
