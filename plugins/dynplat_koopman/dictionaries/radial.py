r"""Radial basis functions around centres chosen from data.

:math:`\psi_n(x) = \varphi(s_n)` with :math:`s_n = |x - c_n|^2 / w_n^2`:

| kernel | :math:`\varphi(s)` | differentiable |
|---|---|---|
| `gaussian` | :math:`e^{-s/2}` | everywhere |
| `inverse-quadratic` | :math:`1 / (1 + s)` | everywhere |
| `inverse-multiquadric` | :math:`1 / \sqrt{1 + s}` | everywhere |
| `exponential` | :math:`e^{-\sqrt s}` | not at the centres |
| `thin-plate` | :math:`s \log \sqrt s` | once at the centres |
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat.errors import ArgumentError, CapabilityError
from dynplat_koopman.dictionaries.base import AbstractDictionary, Derivatives

Kernel = Literal["gaussian", "inverse-quadratic", "inverse-multiquadric", "exponential", "thin-plate"]


class _Profile(NamedTuple):
    """A smooth kernel as a function of t = -s/2, which one matrix product gives, with its derivatives in s."""

    value: Callable[[Array], Array]
    slopes: Callable[[Array, Array], tuple[Array, Array]]


def _gaussian(t: Array) -> Array:
    # A fresh array in NumPy: the exponential may take its place.
    return np.exp(t, out=t) if isinstance(t, np.ndarray) else array_namespace(t).exp(t)


_SMOOTH = {
    "gaussian": _Profile(_gaussian, lambda t, value: (-0.5 * value, 0.25 * value)),
    "inverse-quadratic": _Profile(lambda t: 1.0 / (1.0 - 2.0 * t), lambda t, value: (-(value**2), 2.0 * value**3)),
    "inverse-multiquadric": _Profile(
        lambda t: 1.0 / array_namespace(t).sqrt(1.0 - 2.0 * t), lambda t, value: (-0.5 * value**3, 0.75 * value**5)
    ),
}


@dataclass(frozen=True, eq=False)
class RadialBasis(AbstractDictionary):
    """Radial basis functions (see the module).

    Args:
        centres: Centres c, (N, d).
        widths: Widths w, (N,), or one for all.
        kernel: Name of the kernel.

    Raises:
        ArgumentError: Shapes do not fit, a width is not positive, or the kernel is unknown.
    """

    centres: np.ndarray
    widths: np.ndarray | float
    kernel: Kernel = "gaussian"

    def __post_init__(self) -> None:
        """Check and freeze centres and widths."""
        centres = np.array(self.centres, dtype=np.float64)
        if centres.ndim != 2 or not centres.size or not np.isfinite(centres).all():
            raise ArgumentError(f"`centres` must be finite numbers (N, d); got shape {centres.shape}.")
        if np.shape(self.widths) not in ((), (len(centres),)):
            raise ArgumentError(f"`widths` must be one number or {len(centres)}; got shape {np.shape(self.widths)}.")
        widths = np.array(np.broadcast_to(np.asarray(self.widths, dtype=np.float64), (len(centres),)))
        if not (np.isfinite(widths).all() and (widths > 0).all()):
            raise ArgumentError(f"`widths` must be positive; got {self.widths}.")
        if self.kernel not in get_args(Kernel):
            raise ArgumentError(f"`kernel` must be one of {', '.join(get_args(Kernel))}; got {self.kernel!r}.")
        for name, array in (("centres", centres), ("widths", widths)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def num_variables(self) -> int:
        """Number of variables, d."""
        return self.centres.shape[1]

    @property
    def num_functions(self) -> int:
        """Number of functions, N."""
        return len(self.centres)

    @property
    def names(self) -> tuple[str, ...]:
        """Texts such as `gaussian 12`."""
        return tuple(f"{self.kernel} {n}" for n in range(self.num_functions))

    @cached_property
    def _quadratic(self) -> tuple[np.ndarray, np.ndarray]:
        """Middle m of the centres, and what (|x - m|^2, x - m, 1) is multiplied by to give -|x - c|^2 / (2 w^2)."""
        widths = np.asarray(self.widths)
        middle = self.centres.mean(axis=0)
        moved = (self.centres - middle) / widths[:, None]
        rows = [-0.5 / widths[None] ** 2, (moved / widths[:, None]).T, -0.5 * (moved**2).sum(axis=1)[None]]
        return middle, np.concatenate(rows)

    def _evaluate(self, x: Array) -> Array:
        if self.kernel in _SMOOTH:
            return _SMOOTH[self.kernel].value(self._exponent(x))
        xp = array_namespace(x)
        squares = xp.sum(self._differences(x) ** 2, axis=-1)
        # Where a state is a centre the square root has no slope: automatic differentiation is kept away from it.
        is_apart = squares > 0
        apart = xp.where(is_apart, squares, 1.0)
        if self.kernel == "exponential":
            return xp.where(is_apart, xp.exp(-xp.sqrt(apart)), 1.0)
        return xp.where(is_apart, 0.5 * squares * xp.log(apart), 0.0)

    def _exponent(self, x: Array) -> Array:
        """-s/2, (..., N), by one matrix product."""
        xp = array_namespace(x)
        middle, quadratic = self._quadratic
        x = x - asarray_like(middle, x)
        columns = xp.concat([xp.sum(x * x, axis=-1, keepdims=True), x, xp.ones_like(x[..., :1])], axis=-1)
        quadratic = asarray_like(quadratic, x)
        if isinstance(x, np.ndarray) and x.ndim == 2:
            # Values of one function side by side: products of such matrices are a tenth faster.
            return (quadratic.T @ columns.T).T
        return columns @ quadratic

    def _differences(self, x: Array) -> Array:
        """(x - c) / w, (..., N, d)."""
        widths = asarray_like(np.asarray(self.widths)[:, None], x)
        return (x[..., None, :] - asarray_like(self.centres, x)) / widths

    def _differentiate(self, x: Array) -> Derivatives:
        if self.kernel not in _SMOOTH:
            raise CapabilityError(
                f"the kernel {self.kernel!r} has no second derivatives at its centres; choose "
                f"{' or '.join(map(repr, _SMOOTH))}."
            )
        profile = _SMOOTH[self.kernel]
        t = self._exponent(x)
        first, second = profile.slopes(t, profile.value(t))
        widths = asarray_like(np.asarray(self.widths), x)
        difference = self._differences(x) / widths[:, None]
        gradient = 2.0 * first[..., None] * difference
        outer = difference[..., :, None] * difference[..., None, :]
        unit = asarray_like(np.eye(self.num_variables), x)
        hessian = 4.0 * second[..., None, None] * outer + (2.0 * first / widths**2)[..., None, None] * unit
        return Derivatives(gradient, hessian)


def radial_basis_from(
    data: np.ndarray,
    num_centres: int,
    *,
    seed: int,
    kernel: Kernel = "gaussian",
    method: Literal["kmeans", "farthest"] = "kmeans",
    width: float | None = None,
    spread: float = 1.0,
) -> RadialBasis:
    """Choose centres and one width from data.

    Args:
        data: States, (M, d); variables should be of one scale (`Scaled`).
        num_centres: Number of centres, N.
        seed: Seed of the choice.
        kernel: Name of the kernel.
        method: `kmeans`, centres of clusters (k-means++ and Lloyd's iteration), dense where the data are; `farthest`,
            states each as far from those before as there is, an even cover of where the data have been.
        width: The width; by default `spread` times the median distance from a centre to the d-th nearest other one.
        spread: Factor of the default width.

    Raises:
        ArgumentError: There are fewer different states than centres, or a value is out of range.
    """
    centres = choose_centres(data, num_centres, seed=seed, method=method)
    if width is None:
        if not (np.isfinite(spread) and spread > 0):
            raise ArgumentError(f"`spread` must be positive; got {spread}.")
        width = spread * _typical_distance(centres)
    return RadialBasis(centres, width, kernel)


def choose_centres(
    data: np.ndarray, num_centres: int, *, seed: int, method: Literal["kmeans", "farthest"] = "kmeans"
) -> np.ndarray:
    """Choose centres (N, d) from states (M, d); `radial_basis_from` says how.

    Raises:
        ArgumentError: There are fewer different states than centres, or the method is unknown.
    """
    data = np.asarray(data, dtype=np.float64)
    if data.ndim != 2 or not np.isfinite(data).all():
        raise ArgumentError(f"`data` must be finite states (M, d); got shape {data.shape}.")
    different = len(np.unique(data, axis=0))
    if not 1 <= num_centres <= different:
        raise ArgumentError(
            f"`num_centres` must be in 1, ..., {different}, the number of different states; got {num_centres}."
        )
    if method not in ("kmeans", "farthest"):
        raise ArgumentError(f"`method` must be 'kmeans' or 'farthest'; got {method!r}.")
    rng = np.random.default_rng(seed)
    centres = _spread_out(data, num_centres, rng, greedy=method == "farthest")
    if method == "farthest":
        return centres
    from scipy.cluster.vq import kmeans2

    with warnings.catch_warnings():
        # A cluster that loses all its states keeps its centre.
        warnings.filterwarnings("ignore", message="One of the clusters is empty")
        return kmeans2(data, centres, iter=20, minit="matrix")[0]


def _spread_out(data: np.ndarray, count: int, rng: np.random.Generator, *, greedy: bool) -> np.ndarray:
    """Different states: each the farthest from those before it, or drawn by its squared distance (k-means++)."""
    chosen = np.empty(count, dtype=np.int64)
    chosen[0] = rng.integers(len(data))
    distance = ((data - data[chosen[0]]) ** 2).sum(axis=1)
    for n in range(1, count):
        if greedy:
            chosen[n] = np.argmax(distance)
        else:
            total = np.cumsum(distance)
            chosen[n] = np.searchsorted(total, total[-1] * rng.random(), side="right")
        np.minimum(distance, ((data - data[chosen[n]]) ** 2).sum(axis=1), out=distance)
    return data[chosen]


def _typical_distance(centres: np.ndarray) -> float:
    from scipy.spatial import KDTree

    count, d = centres.shape
    if count == 1:
        return 1.0
    nearest = min(d, count - 1)
    distance, _ = KDTree(centres).query(centres, k=nearest + 1)
    return float(np.median(distance[:, nearest]))
