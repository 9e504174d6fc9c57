r"""Fitting a linear reference: the one from which the snapshots are the least surprise.

By Sanov's theorem, particles of the reference R with parameters :math:`\theta` show the populations :math:`\mu_k` with
a probability that falls like :math:`e^{-N D(\theta)}`, with the divergence of the bridge from its reference

.. math::
    D(\theta) = \min_P \mathrm{KL}(P \,\|\, R_\theta) = \sum_k \Bigl( I_k - E \log p_\theta(X_{k+1} \mid X_k) \Bigr)
    + \text{const}, \qquad P: X_k \sim \mu_k,

where :math:`I_k` is the mutual information of the coupled neighbours. The fit takes the least :math:`D`. At the minimum
over couplings the gradient is that of the expected log transition alone, with the coupling held, so that two moments of
each coupling are all it needs (iterative reference refinement goes to the same place, one coupling and one regression
at a time).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dynplat.errors import InferenceError, NoDensityError
from dynplat_bridges.gaussian import Gaussian, couple_gaussians, cross_covariance, step_of
from dynplat_bridges.pinned import LinearLaw
from dynplat_bridges.references.base import AbstractLinearReference, LinearTransition

if TYPE_CHECKING:
    from dynplat.model import Context

#: Bounds of log sigma around what crosses the data once in their span.
_LEAST, _MOST = math.log(1e-4), math.log(1e3)
_MOST_STEPS = 200


class Coupled(NamedTuple):
    """What a fit needs to know of two coupled neighbours (X, Y); host arrays.

    Attributes:
        mean: Means of X and Y, (2 channel,).
        cov: Covariance of (X, Y), (2 channel, 2 channel).
        information: Mutual information of X and Y.
    """

    mean: np.ndarray
    cov: np.ndarray
    information: float


class FittedReference(NamedTuple):
    """A fitted reference.

    Attributes:
        law: The reference with its numbers, host arrays.
        divergence: The divergence of the bridge from it, without its constant, per particle.
        trace: That of every step of the fit, which never grows.
    """

    law: LinearLaw
    divergence: float
    trace: tuple[float, ...]


def fit_reference(
    reference: AbstractLinearReference,
    context: Context,
    gaps: np.ndarray,
    couple: Callable[[LinearLaw], Sequence[Coupled]],
) -> FittedReference:
    """Fit what the options of a reference leave free: parameters of its drift, and its diffusion.

    Args:
        reference: The reference.
        context: Known constants of the data.
        gaps: Times between neighbouring snapshots, (gap,).
        couple: The coupled neighbours of the bridge with a given reference.

    Raises:
        InferenceError: The divergence is not finite at the start of the fit.
    """
    from scipy.optimize import minimize

    flat = _Flat(reference, context)
    trace: list[float] = []
    size = len(gaps) * len(context.channels)
    seen: dict[bytes, float] = {}

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        try:
            law = flat.law(point)
            held = couple(law)
            value, slope = _expected(flat, point, gaps, held)
        except NoDensityError:  # a growing drift that the line search tried: turn back
            return 1e10, np.zeros_like(point)
        value += sum(one.information for one in held)
        seen[point.tobytes()] = value
        # By the number of what is fitted to, so that the first step of the search is of the size of the units.
        return value / size, slope / size

    start = flat.start
    value = size * objective(start)[0]
    if not np.isfinite(value) or start.tobytes() not in seen:
        raise InferenceError(
            f"the divergence of the bridge from {type(reference).__name__} is not finite where the fit starts. Give "
            "its parameters, or take another reference."
        )
    trace.append(value)
    if len(start):
        found = minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=flat.bounds,
            callback=lambda point: trace.append(seen[np.asarray(point).tobytes()]),
            options={"maxiter": _MOST_STEPS, "ftol": 1e-11, "gtol": 1e-6},
        )
        start, value = found.x, seen[found.x.tobytes()]
    return FittedReference(flat.law(start), value, tuple(trace))


def gaussian_coupler(populations: Sequence[Gaussian], gaps: np.ndarray) -> Callable[[LinearLaw], list[Coupled]]:
    """What couples Gaussian populations, for `fit_reference`."""

    def couple(law: LinearLaw) -> list[Coupled]:
        steps, coupled = law.transition(gaps), []
        for k, (first, second) in enumerate(pairwise(populations)):
            coupling = couple_gaussians(first, second, step_of(steps, k))
            cross = cross_covariance(first, second, coupling)
            S0, S1 = first.factor @ first.factor.T, second.factor @ second.factor.T
            cov = np.block([[S0, cross], [cross.T, S1]])
            coupled.append(Coupled(np.concatenate([first.mean, second.mean]), cov, float(coupling.information)))
        return coupled

    return couple


class _Flat:
    """The free numbers of a reference as one vector: logarithms of positive ones, others in their units."""

    def __init__(self, reference: AbstractLinearReference, context: Context) -> None:
        d = len(context.channels)
        self.reference, self.fixed = reference, reference.start(context)
        self.sigma, self.units = reference.start_diffusion(context), reference.units(context)
        self.free, self.shapes = reference.free(d), reference.parameters(d)
        self.fits_diffusion = reference.diffusion is None
        parts, self.bounds = [], []
        for name in self.free:
            value = self.fixed[name]
            is_log = name in reference.positive
            parts.append((np.zeros_like(value) if is_log else value / self.units[name]).ravel())
            self.bounds += [(-20.0, 20.0) if is_log else (None, None)] * value.size
        if self.fits_diffusion:
            parts.append(np.zeros(d))
            self.bounds += [(_LEAST, _MOST)] * d
        self.start = np.concatenate(parts) if parts else np.zeros(0)

    def numbers(self, point: Any, exp: Callable[[Any], Any], array: Callable[[Any], Any]) -> tuple[dict[str, Any], Any]:
        """Parameters and diffusion at a point, a vector of any framework."""
        values: dict[str, Any] = {name: array(value) for name, value in self.fixed.items()}
        at = 0
        for name in self.free:
            size = int(np.prod(self.shapes[name]))
            part = point[at : at + size].reshape(self.shapes[name])
            is_log = name in self.reference.positive
            values[name] = exp(part) * values[name] if is_log else part * array(self.units[name])
            at += size
        sigma = array(self.sigma)
        return values, sigma * exp(point[at:]) if self.fits_diffusion else sigma

    def law(self, point: np.ndarray) -> LinearLaw:
        values, sigma = self.numbers(point, np.exp, np.asarray)
        return LinearLaw(self.reference, values, sigma)


def _expected(flat: _Flat, point: np.ndarray, gaps: np.ndarray, held: Sequence[Coupled]) -> tuple[float, np.ndarray]:
    """Minus the expected log transitions over held couplings, summed over gaps, and its gradient."""
    import torch

    free = torch.tensor(point, dtype=torch.float64, requires_grad=True)
    values, sigma = flat.numbers(free, torch.exp, lambda value: torch.as_tensor(np.asarray(value, dtype=np.float64)))
    steps = LinearLaw(flat.reference, values, sigma).transition(gaps)
    means = torch.as_tensor(np.stack([one.mean for one in held]))
    covs = torch.as_tensor(np.stack([one.cov for one in held]))
    total = minus_expected_log(steps, means, covs).sum()
    if len(point):
        total.backward()
    return float(total.detach()), np.zeros_like(point) if free.grad is None else free.grad.numpy().copy()


def minus_expected_log(steps: LinearTransition, means: Any, covs: Any) -> Any:
    """-E log N(Y; F X + c, Q), (gap,), from moments of (X, Y): torch tensors (gap, 2 channel, ...)."""
    import torch

    d = steps.F.shape[-1]
    away = torch.cat([-steps.F, torch.eye(d, dtype=steps.F.dtype).expand_as(steps.F)], dim=-1)
    mean = (away @ means[..., None])[..., 0] - steps.c
    square = away @ covs @ away.mT + mean[..., :, None] * mean[..., None, :]
    L = torch.linalg.cholesky(steps.Q)
    distance = torch.cholesky_solve(square, L).diagonal(dim1=-2, dim2=-1).sum(-1)
    return 0.5 * (distance + d * math.log(2.0 * math.pi)) + L.diagonal(dim1=-2, dim2=-1).log().sum(-1)
