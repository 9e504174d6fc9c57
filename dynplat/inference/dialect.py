r"""What the two languages share: names, scopes, plates, and the canonical form of sites.

A prior runs in one of two ways.

- *Emitting*: every statement becomes a statement of the language (`pyro.sample`, `numpyro.sample`, ...), to be
  interpreted by the language's effect handlers, guides and samplers.
- *At a point*: a `Point` supplies the value of each site, on its natural scale or on the unconstrained one, and the run
  only adds up the log density: `log_prior` :math:`= \sum \log p(\theta)` (with the terms of `pp.factor`) and
  `log_jacobian` :math:`= \log |d\theta / du|`. Supports may depend on other sites: each transform is built when its
  site is met.

Values carry no leading axes: what needs many draws maps the run over them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynplat.arrays import Array
from dynplat.errors import ArgumentError, CapabilityError, ConflictError
from dynplat.inference.distributions import Distributions, floating
from dynplat.model.language import AbstractLanguage, Dims, SiteInfo

SERIES = "series"


@dataclass(frozen=True)
class Point:
    """Values of the sites at which a program is evaluated.

    Args:
        values: Arrays of the language by site name.
        unconstrained: Whether they live on the unconstrained scale.
    """

    values: Mapping[str, Array]
    unconstrained: bool


class AbstractDialect(AbstractLanguage):
    """A language with the bookkeeping done; subclasses supply the statements.

    Args:
        num_series: Size of the plate `series`.
        to_array: Turns a NumPy array into one of the fit's framework, dtype and device.
        point: Where to evaluate; None emits.

    Attributes:
        supports: Constraint of each random or point-estimated site.
        log_prior: Sum of the log densities met so far, factors included (at a point only).
        log_jacobian: Sum of the log determinants of the transforms met so far (at a point only).
    """

    def __init__(self, num_series: int, to_array: Callable[[Any], Array], point: Point | None = None) -> None:
        self.sites: dict[str, Array] = {}
        self.infos: dict[str, SiteInfo] = {}
        self.supports: dict[str, Any] = {}
        self._num_series = num_series
        self._to_array = to_array
        self._point = point
        self._scopes: list[str] = []
        self._core_plates: list[tuple[str, int]] = []
        self._in_series = False
        self._factors: set[str] = set()
        self.log_prior: Array = self.array(0.0)
        self.log_jacobian: Array = self.array(0.0)
        self.dist = Distributions(self.name, self._distributions(), to_array)

    def array(self, value: Any) -> Array:
        """Turn a value into an array of the fit's dtype and device; arrays of integers or booleans keep their kind."""
        if isinstance(value, np.ndarray) and value.dtype.kind in "biu":
            return self._to_array(value)
        return floating(value, self._to_array)

    def sample(self, name: str, distribution: Any, *, dims: Dims = ()) -> Array:
        """Emit a random site; inside a plate the distribution is repeated along it."""
        name = self._claim(name)
        placed = self._place(name, distribution)
        if placed.support.is_discrete:
            raise CapabilityError(
                f"site {name!r} is discrete ({type(distribution).__name__}). Priors hold continuous sites only: "
                "sum a discrete variable out in the process."
            )
        self.supports[name] = placed.support
        value = self._emit_sample(name, placed) if self._point is None else self._evaluate(name, placed)
        self._record(name, "sample", value, tuple(placed.event_shape), self._in_series, dims)
        return value

    def param(
        self, name: str, initial: Any, *, constraint: Any = None, event_dim: int | None = None, dims: Dims = ()
    ) -> Array:
        """Emit a point-estimated site; the dimensions before the last `event_dim` must match the plates around it."""
        name = self._claim(name)
        initial = self.array(initial)
        core_dim = len(initial.shape) if event_dim is None else event_dim
        if not 0 <= core_dim <= len(initial.shape):
            raise ArgumentError(
                f"`event_dim` of site {name!r} must lie between 0 and {len(initial.shape)}, the number of dimensions "
                f"of its initial value; got {event_dim}."
            )
        split = len(initial.shape) - core_dim
        core = tuple(size for _, size in self._core_plates) + tuple(initial.shape[split:])
        whole = self._batch_shape() + tuple(initial.shape[split:])
        initial = self._broadcast(name, initial, tuple(initial.shape[:split]), whole)
        return self._point_estimate(name, initial, constraint, core, self._in_series, dims)

    def deterministic(self, name: str, value: Array, *, event_dim: int = 0, dims: Dims = ()) -> Array:
        """Record a function of other sites; inside plates its leading dimensions are theirs."""
        name = self._claim(name)
        value = self.array(value)
        if not 0 <= event_dim <= len(value.shape):
            raise ArgumentError(
                f"`event_dim` of site {name!r} must lie between 0 and {len(value.shape)}, the number of dimensions "
                f"of its value; got {event_dim}."
            )
        split = len(value.shape) - event_dim
        event = tuple(value.shape[split:])
        value = self._broadcast(name, value, tuple(value.shape[:split]), self._batch_shape() + event)
        core = tuple(size for _, size in self._core_plates) + event
        if self._point is None:
            self._emit_deterministic(name, value, len(core))
        self._record(name, "deterministic", value, core, self._in_series, dims)
        return value

    def factor(self, name: str, log_factor: Array) -> None:
        """Add a term to the log joint density; inside `series` it is one number per series."""
        name = self._claim(name)
        self._factors.add(name)
        log_factor = self.array(log_factor)
        shape = self._batch_shape()
        log_factor = self._broadcast(name, log_factor, tuple(log_factor.shape), shape)
        for _ in self._core_plates:
            log_factor = log_factor.sum(-1)
        if self._point is None:
            self._emit_factor(name, log_factor)
        else:
            self.log_prior = self.log_prior + log_factor.sum()

    @contextmanager
    def plate(self, name: str, size: int | None = None) -> Iterator[None]:
        """Repeat sites along the series, or along a core dimension; core dimensions stand in the order of nesting."""
        if name == SERIES:
            if size is not None and size != self._num_series:
                raise ArgumentError(
                    f"`size` of the plate 'series' is {self._num_series} (its data decide); got {size}."
                )
            if self._in_series:
                raise ArgumentError("the plate 'series' stands inside itself; leave the inner one out.")
            self._in_series = True
            try:
                with self._series_plate() if self._point is None else nullcontext():
                    yield
            finally:
                self._in_series = False
            return
        if size is None or size < 1:
            raise ArgumentError(f"`size` of the plate {name!r} must be a positive integer; got {size!r}.")
        if name in (other for other, _ in self._core_plates):
            raise ArgumentError(f"the plate {name!r} stands inside itself; give the inner one another name.")
        self._core_plates.append((name, int(size)))
        try:
            yield
        finally:
            self._core_plates.pop()

    @contextmanager
    def scope(self, prefix: str) -> Iterator[None]:
        """Prefix the names of the sites inside with `prefix` and a dot."""
        if not prefix or "/" in prefix:
            raise ArgumentError(f"`prefix` must be a name without '/'; got {prefix!r}.")
        self._scopes.append(prefix)
        try:
            yield
        finally:
            self._scopes.pop()

    def _claim(self, name: str) -> str:
        if not isinstance(name, str) or not name or "/" in name:
            raise ArgumentError(f"`name` of a site must be a text without '/'; got {name!r}.")
        name = ".".join([*self._scopes, name])
        if name in self.infos or name in self._factors:
            hint = (
                "This name is the platform's own term."
                if name == "log_likelihood"
                else "Rename one, or combine components inside `pp.scope(prefix)`."
            )
            raise ConflictError(f"the site {name!r} is emitted twice. {hint}")
        return name

    def _batch_shape(self) -> tuple[int, ...]:
        series = (self._num_series,) if self._in_series else ()
        return series + tuple(size for _, size in self._core_plates)

    def _place(self, name: str, distribution: Any) -> Any:
        target, batch = self._batch_shape(), tuple(distribution.batch_shape)
        if batch != target:
            _check_batch(name, batch, target)
            distribution = distribution.expand(target)
        return distribution.to_event(len(self._core_plates)) if self._core_plates else distribution

    def _broadcast(self, name: str, value: Array, batch: tuple[int, ...], whole: tuple[int, ...]) -> Array:
        _check_batch(name, batch, self._batch_shape())
        return self.xp.broadcast_to(value, whole)

    def _evaluate(self, name: str, distribution: Any) -> Array:
        value = self._value_at_point(name, distribution.support, tuple(distribution.shape()), jacobian=True)
        self.log_prior = self.log_prior + distribution.log_prob(value).sum()
        return value

    def _value_at_point(self, name: str, support: Any, shape: tuple[int, ...], *, jacobian: bool) -> Array:
        assert self._point is not None
        if name not in self._point.values:
            raise ArgumentError(f"`values` lacks the site {name!r}; it has {sorted(self._point.values)}.")
        raw = self._point.values[name]
        if not self._point.unconstrained:
            if int(np.prod(raw.shape)) != int(np.prod(shape)):
                raise ArgumentError(f"site {name!r} has shape {shape}; got a value of shape {tuple(raw.shape)}.")
            return raw.reshape(shape)
        transform = self.bijection(support)
        value = transform(raw)
        if jacobian:
            self.log_jacobian = self.log_jacobian + transform.log_abs_det_jacobian(raw, value).sum()
        return value

    def _point_estimate(
        self, name: str, initial: Array, constraint: Any, core: tuple[int, ...], local: bool, dims: Dims = ()
    ) -> Array:
        constraint = self.dist.constraints.real if constraint is None else constraint
        self.supports[name] = constraint
        if self._point is None:
            value = self._emit_param(name, initial, constraint, len(core))
        else:
            value = self._value_at_point(name, constraint, tuple(initial.shape), jacobian=False)
        self._record(name, "param", value, core, local, dims)
        return value

    def _record(self, name: str, kind: str, value: Array, core: tuple[int, ...], local: bool, dims: Dims) -> None:
        named = (dims,) if isinstance(dims, str) else tuple(dims)
        self.infos[name] = SiteInfo(name, kind, core, local, named)
        self.sites[name] = value if local else value[None, ...]

    @abstractmethod
    def _distributions(self) -> Any:
        """The language's module of distributions."""

    @abstractmethod
    def bijection(self, support: Any) -> Any:
        """The transform from unconstrained values onto `support`."""

    @abstractmethod
    def _emit_sample(self, name: str, distribution: Any) -> Array: ...

    @abstractmethod
    def _emit_param(self, name: str, initial: Array, constraint: Any, event_dim: int) -> Array: ...

    @abstractmethod
    def _emit_deterministic(self, name: str, value: Array, event_dim: int) -> None: ...

    @abstractmethod
    def _emit_factor(self, name: str, log_factor: Array) -> None: ...

    @abstractmethod
    def _series_plate(self) -> AbstractContextManager[Any]: ...


def _check_batch(name: str, batch: tuple[int, ...], target: tuple[int, ...]) -> None:
    try:
        fits = np.broadcast_shapes(batch, target) == target
    except ValueError:
        fits = False
    if not fits:
        around = f"the plates around it give {target}" if target else "no plate stands around it"
        raise ArgumentError(
            f"site {name!r} has batch shape {batch}, and {around}. Make dimensions of one value core dimensions with "
            "`.to_event(n)` (or `event_dim=n`), or repeat the site inside `pp.plate`; inside nested plates, arguments "
            "of the distribution broadcast against (series, *other plates)."
        )
