r"""The mode of a density: L-BFGS from several starts, a Newton step or two, and the curvature there.

The search runs in prior units :math:`z = (u - m) / s`, with m the medians and s the (quartile-based) standard
deviations of draws of the prior on the unconstrained scale, so that a level of 300 ppm and a variance of 1e-4 look
alike. The Hessian is taken from central differences of exact gradients: 2d gradients are cheaper than compiling second
derivatives of a scan, and a likelihood with its own adjoint need not be differentiable twice. Newton steps with it
bring the mode to rounding error, so that it does not depend on where the search stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize

from dynplat.errors import ArgumentError
from dynplat.inference.density import AbstractDensity, Objective
from dynplat.inference.fitting import Fit, seeds

#: Draws of the prior from which the start and the units are taken.
NUM_PRIOR_DRAWS = 101

#: Starts (draws of the prior) that are tried when the density is not finite at the medians.
MAX_ATTEMPTS = 20

#: Dimension beyond which no Hessian is computed: it costs 2d gradients and d x d numbers.
MAX_HESSIAN = 300

#: Curvature, per squared prior unit, below which a direction counts as flat: a standard error of 300 prior units.
FLAT = 1e-5

#: Newton decrement (expected gain in log density) below which the search has converged, by dtype.
CONVERGED = {"float64": 1e-6, "float32": 1e-2}


class Units(NamedTuple):
    """Origin and unit of the search, from draws of the prior.

    Attributes:
        origin: Medians (size,) of the unconstrained sites.
        unit: Standard deviations (size,), from quartiles; 1 where the draws do not move.
        draws: The draws (draw, size), finite ones only.
    """

    origin: np.ndarray
    unit: np.ndarray
    draws: np.ndarray

    def vector(self, z: np.ndarray) -> np.ndarray:
        """Unconstrained vectors of positions in prior units."""
        return self.origin + self.unit * z


class Curvature(NamedTuple):
    """Eigenvectors of the negative Hessian in prior units.

    Attributes:
        values: Eigenvalues (size,), ascending.
        vectors: Eigenvectors (size, size), in columns.
        flat: True for directions without usable curvature (size,).
    """

    values: np.ndarray
    vectors: np.ndarray
    flat: np.ndarray

    def solve(self, gradient: np.ndarray) -> np.ndarray:
        """Newton step of a gradient, in the directions that are not flat."""
        keep = ~self.flat
        vectors = self.vectors[:, keep]
        return vectors @ ((vectors.T @ gradient) / self.values[keep])


@dataclass
class Mode:
    """A mode of a density.

    Args:
        vector: Where it lies, unconstrained (size,).
        value: The objective there.
        units: Origin and unit of the search.
        curvature: Curvature there, or None where it was not asked for or is too large.
        converged: Whether the search ended at a maximum.
        decrement: Expected further gain in log density of a Newton step.
        steps: Iterations of L-BFGS, over all starts.
        starts: The objective reached from each start.
        message: Why the best search stopped.
    """

    vector: np.ndarray
    value: float
    units: Units
    curvature: Curvature | None
    converged: bool
    decrement: float
    steps: int
    starts: list[float]
    message: str


@dataclass
class _Target:
    """The negative objective in prior units, safe for a line search."""

    density: AbstractDensity
    objective: Objective
    units: Units
    best_z: np.ndarray | None = None
    best: float = np.inf
    evaluations: int = field(default=0)

    def __call__(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = self.raw(z)
        if np.isfinite(value) and np.all(np.isfinite(gradient)):
            if value < self.best:
                self.best, self.best_z = value, z.copy()
            return value, gradient
        # Outside the domain: a bowl around the best point so far sends the line search back.
        away = z - (self.best_z if self.best_z is not None else 0.0)
        return self.best + 100.0 + float(away @ away), 2.0 * away

    def raw(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        self.evaluations += 1
        value, gradient = self.density.value_and_gradient(self.units.vector(z), self.objective)
        return -value, -gradient * self.units.unit


def find_mode(fit: Fit, objective: Objective, *, restarts: int, max_steps: int, curvature: bool = True) -> Mode:
    """Find the mode of a density.

    Args:
        fit: The fit; its density and seed are used, its observers are told.
        objective: What is maximised.
        restarts: Further starts, at draws of the prior; the best end counts.
        max_steps: Iterations of L-BFGS per start.
        curvature: Whether the Hessian (and with it the polish and the test of convergence) is wanted.

    Raises:
        InferenceError: The density is not finite at any start.
        NoDensityError: The process has no density there.
        ArgumentError: `restarts` or `max_steps` is out of range.
    """
    for name, value, least in (("restarts", restarts, 0), ("max_steps", max_steps, 1)):
        if value < least:
            raise ArgumentError(f"`{name}` must be at least {least}; got {value}.")
    density = fit.density
    assert density is not None
    units = prior_units(density, fit.seed)
    total = max_steps * (1 + restarts)
    told = [0]

    def tell(target: _Target) -> Callable[[np.ndarray], None]:
        def step(z: np.ndarray) -> None:
            told[0] += 1
            fit.watch.step(told[0], total, {"log_density": -target.best})

        return step

    attempts = [np.zeros(density.layout.size), *((units.draws - units.origin) / units.unit)]
    begins = _finite_starts(fit, objective, units, attempts, 1 + restarts)
    tolerances = {"float64": (1e-13, 1e-7), "float32": (1e-7, 1e-3)}
    ftol, gtol = tolerances[fit.dtype]
    ends: list[tuple[float, np.ndarray, Any]] = []
    for begin in begins:
        target = _Target(density, objective, units)
        found = minimize(
            target,
            begin,
            jac=True,
            method="L-BFGS-B",
            callback=tell(target),
            options={"maxiter": max_steps, "maxfun": 20 * max_steps, "maxcor": 20, "ftol": ftol, "gtol": gtol},
        )
        assert target.best_z is not None
        ends.append((target.best, target.best_z, found))
    value, z, found = min(ends, key=lambda end: end[0])
    target = _Target(density, objective, units)
    shape, decrement = None, np.nan
    if curvature and density.layout.size <= MAX_HESSIAN:
        z, value, shape, decrement = _polish(target, z, value, fit.dtype)
        converged = bool(decrement <= CONVERGED[fit.dtype] and (shape.values > -FLAT).all())
    else:
        converged = bool(found.status == 0 or found.message.startswith("ABNORMAL"))
    return Mode(
        vector=units.vector(z),
        value=-value,
        units=units,
        curvature=shape,
        converged=converged,
        decrement=float(decrement),
        steps=told[0],
        starts=[-end[0] for end in ends],
        message=str(found.message),
    )


def prior_units(density: AbstractDensity, seed: int, num_draws: int = NUM_PRIOR_DRAWS) -> Units:
    """Origin and unit of the search from draws of the prior, made with `seed`."""
    draws = density.prior_vectors(num_draws, seeds(seed, 1)[0])
    draws = np.where(np.isfinite(draws), draws, np.nan)
    finite = draws[np.isfinite(draws).all(axis=1)]
    seen = np.isfinite(draws).any(axis=0)
    draws[:, ~seen] = 0.0
    low, origin, high = np.nanquantile(draws.astype(np.float64), (0.25, 0.5, 0.75), axis=0)
    unit = (high - low) / 1.349  # quartiles of a normal law lie 1.349 standard deviations apart
    unit = np.where(np.isfinite(unit) & (unit > 0), unit, 1.0)
    return Units(origin, unit, finite.astype(np.float64))


def _finite_starts(
    fit: Fit, objective: Objective, units: Units, attempts: list[np.ndarray], wanted: int
) -> list[np.ndarray]:
    density = fit.density
    assert density is not None
    found: list[np.ndarray] = []
    for attempt in attempts[: MAX_ATTEMPTS + wanted]:
        value, gradient = density.value_and_gradient(units.vector(attempt), objective)
        if np.isfinite(value) and np.all(np.isfinite(gradient)):
            found.append(attempt)
        if len(found) == wanted:
            return found
    if not found:
        raise density.explain(
            units.vector(attempts[0]),
            f"at the prior's medians and at {len(attempts[1 : MAX_ATTEMPTS + wanted])} draws of it",
        )
    fit.notes.append(f"only {len(found)} of {wanted} starts have a finite density.")
    return found


def _polish(target: _Target, z: np.ndarray, value: float, dtype: str) -> tuple[np.ndarray, float, Curvature, float]:
    """Newton steps from the end of the search; the curvature and the Newton decrement at the last point."""
    _, gradient = target.raw(z)
    shape = _curvature(target, z, dtype)
    rounding = 4 * np.finfo(dtype).eps * max(1.0, abs(value))
    for _ in range(5):
        step = -shape.solve(gradient)
        new_value, new_gradient = target.raw(z + step)
        if not np.isfinite(new_value) or not np.isfinite(new_gradient).all() or new_value > value + rounding:
            break
        moved = float(np.linalg.norm(step))
        z, value, gradient = z + step, new_value, new_gradient
        if moved > 1e-3:
            shape = _curvature(target, z, dtype)
        if moved < 1e-9:
            break
    decrement = 0.5 * float(gradient @ shape.solve(gradient))
    return z, value, shape, decrement


def _curvature(target: _Target, z: np.ndarray, dtype: str) -> Curvature:
    step = np.finfo(dtype).eps ** (1 / 3)
    hessian = np.empty((z.size, z.size))
    for index in range(z.size):
        shift = np.zeros_like(z)
        shift[index] = step * max(1.0, abs(z[index]))
        forward, backward = target.raw(z + shift)[1], target.raw(z - shift)[1]
        hessian[index] = (forward - backward) / (2 * shift[index])
    hessian = 0.5 * (hessian + hessian.T)
    if not np.isfinite(hessian).all():
        # The mode touches the edge of the domain: nothing is known about its surroundings.
        return Curvature(np.zeros(z.size), np.eye(z.size), np.ones(z.size, dtype=bool))
    values, vectors = np.linalg.eigh(hessian)
    return Curvature(values, vectors, values <= FLAT)
