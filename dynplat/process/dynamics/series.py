"""The two special functions that closed-form discretisations need, for every framework and with exact gradients."""

from __future__ import annotations

from math import factorial

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like

#: Where the series of `lower_gamma` hands over to the closed form: there neither loses more than one digit.
_SWITCH = 2.5
_TERMS = 26
#: Intervals of the trapezoidal rule of `periodic_weights`.
_NODES = 128


def lower_gamma(order: int, u: Array) -> Array:
    r"""Regularised lower incomplete gamma function of a small positive integer order, for u >= 0.

    .. math:: P(a, u) = 1 - e^{-u} \sum_{k<a} u^k / k! = e^{-u} \sum_{k \ge a} u^k / k!

    The second form keeps full relative accuracy as u goes to 0, where P ~ u^a / a!.
    """
    xp = array_namespace(u)
    switch = xp.full_like(u, _SWITCH)
    small = xp.where(u < switch, u, switch)  # each branch sees only arguments at which it and its gradient are finite
    large = xp.where(u < switch, switch, u)
    tail = xp.ones_like(u)
    for k in range(_TERMS, 0, -1):
        tail = 1.0 + small / (order + k) * tail
    series = xp.exp(-small) * small**order / factorial(order) * tail
    head = xp.ones_like(u)
    for k in range(order - 1, 0, -1):
        head = 1.0 + large / k * head
    return xp.where(u < switch, series, 1.0 - xp.exp(-large) * head)


def poisson_weight(order: int, u: Array) -> Array:
    r"""The term :math:`e^{-u} u^k / k!`, by which neighbouring orders of `lower_gamma` differ."""
    return array_namespace(u).exp(-u) * u**order / factorial(order)


def periodic_weights(length_scale: Array, num: int) -> Array:
    r"""Fourier weights w_0, ..., w_num of :math:`\exp(-2 \sin^2(\theta/2) / \ell^2)` in cosines, scaled to sum to 1.

    They are :math:`w_j \propto (2 - \delta_{j0}) I_j(z)`, :math:`z = \ell^{-2}`, with the modified Bessel functions of
    the first kind, computed as :math:`\int_0^\pi e^{z (\cos\theta - 1)} \cos j\theta\,d\theta` by the trapezoidal rule,
    which for a periodic integrand is exact to rounding here for length scales above 0.04. Weights that rounding makes
    negative are 0.

    Returns:
        Weights, (..., num + 1).
    """
    xp = array_namespace(length_scale)
    theta = np.linspace(0.0, np.pi, _NODES + 1)
    waves = np.cos(np.arange(num + 1) * theta[:, None]) * np.where(np.arange(num + 1) > 0, 2.0, 1.0)
    waves[[0, -1]] /= 2.0
    bend = -2.0 * np.sin(theta / 2.0) ** 2  # cos(theta) - 1 without cancellation
    heights = xp.exp(asarray_like(bend, length_scale) / length_scale[..., None] ** 2)
    weights = heights @ asarray_like(waves / _NODES, length_scale)
    weights = xp.where(weights > 0, weights, xp.zeros_like(weights))
    return weights / xp.sum(weights, axis=-1, keepdims=True)
