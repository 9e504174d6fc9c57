r"""Compiled log densities of rows of independent normal channels in each of K states, with their adjoint.

.. math::
    \ell_{tk} = \sum_{c\ \text{seen}} -\tfrac12 z_{tkc}^2 - \log \sigma_{kc} - \tfrac12 \log 2\pi, \qquad
    z_{tkc} = (y_{tc} - \mu_{kc}) / \sigma_{kc}

Arrays: values (G, T, C); seen, uint8 (G, T, C); means and scales (G, K, C). Axis 0 is the group, of length 1 where all
groups share an array. A cell that is not seen adds exactly 0, whatever stands in it.

The adjoint needs no more than three sums over time for each state and channel, of the cotangent d times 1, z and z^2:
the gradient of a mean is sum(d z) / sigma, that of a scale (sum(d z^2) - sum(d)) / sigma. Automatic differentiation
forms arrays as large as the densities instead. Numbers are float64 inside whatever their dtype outside.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dynplat.scan.kernels.compiling import compiled
from dynplat.scan.kernels.kernel import Kernel, Shape, Spec
from dynplat.scan.kernels.small import of

_HALF_LOG_2_PI = 0.9189385332046727


#: Rows that are worked on at once: sums run along time, so that they fill vector registers whatever K and C are.
_ROWS = 64


@compiled
def forward(values, seen, means, scales, log_density):
    """Put the log densities (G, T, K) of all rows into `log_density`."""
    G, T, K = log_density.shape
    C = values.shape[2]
    y, weight = np.empty(_ROWS), np.empty(_ROWS)
    block = np.empty((K, _ROWS))
    for g in range(G):
        gv, gs, gm, gd = of(g, values.shape[0]), of(g, seen.shape[0]), of(g, means.shape[0]), of(g, scales.shape[0])
        for start in range(0, T, _ROWS):
            rows = min(_ROWS, T - start)
            block[:] = 0.0
            for c in range(C):
                _load(values[gv], seen[gs], start, rows, c, y, weight)
                for k in range(K):
                    mean, inverse = np.float64(means[gm, k, c]), 1.0 / np.float64(scales[gd, k, c])
                    top = np.log(inverse) - _HALF_LOG_2_PI
                    for b in range(_ROWS):
                        z = (y[b] - mean) * inverse
                        block[k, b] += top - 0.5 * z * z if weight[b] > 0 else 0.0
            for b in range(rows):
                for k in range(K):
                    log_density[g, start + b, k] = block[k, b]


@compiled
def _load(values, seen, start, rows, channel, y, weight):
    """Put a block of a channel into `y`, and 1 for each of its cells that is seen and 0 for others into `weight`."""
    for b in range(rows):
        weight[b] = 1.0 if seen[start + b, channel] != 0 else 0.0
        y[b] = values[start + b, channel]
    for b in range(rows, _ROWS):
        weight[b] = 0.0
        y[b] = 0.0


@compiled
def backward(values, seen, means, scales, log_density, cotangent, wanted, d_values, d_means, d_scales):
    """Add up the gradients of all groups (see `Kernel`)."""
    G, T, K = log_density.shape
    C = values.shape[2]
    d_values[:], d_means[:], d_scales[:] = 0.0, 0.0, 0.0
    want_values, want_means, want_scales = wanted[0, 0] != 0, wanted[0, 1] != 0, wanted[0, 2] != 0
    y, weight, d_y = np.empty(_ROWS), np.empty(_ROWS), np.empty(_ROWS)
    block = np.zeros((K, _ROWS))
    for g in range(G):
        gv, gs, gm, gd = of(g, values.shape[0]), of(g, seen.shape[0]), of(g, means.shape[0]), of(g, scales.shape[0])
        for start in range(0, T, _ROWS):
            rows = min(_ROWS, T - start)
            for b in range(rows):
                for k in range(K):
                    block[k, b] = cotangent[g, start + b, k]
            for c in range(C):
                _load(values[gv], seen[gs], start, rows, c, y, weight)
                d_y[:] = 0.0
                for k in range(K):
                    mean, inverse = np.float64(means[gm, k, c]), 1.0 / np.float64(scales[gd, k, c])
                    zeroth, first, second = 0.0, 0.0, 0.0
                    for b in range(_ROWS):
                        d = block[k, b] if weight[b] > 0 else 0.0
                        z = (y[b] - mean) * inverse if weight[b] > 0 else 0.0
                        zeroth += d
                        first += d * z
                        second += d * z * z
                        d_y[b] -= d * z * inverse
                    if want_means:
                        d_means[gm, k, c] += first * inverse
                    if want_scales:
                        d_scales[gd, k, c] += (second - zeroth) * inverse
                if want_values:
                    for b in range(rows):
                        d_values[gv, start + b, c] += d_y[b]


def _shapes(inputs: Sequence[Shape], keep: bool) -> tuple[Shape, ...]:
    groups = max(shape[0] for shape in inputs)
    return ((groups, inputs[0][1], inputs[2][1]),)


NORMAL = Kernel(
    name="normal",
    inputs=(
        Spec("values", 3, differentiable=True),
        Spec("seen", 3, "flag"),
        Spec("means", 3, differentiable=True),
        Spec("scales", 3, differentiable=True),
    ),
    outputs=(Spec("log_density", 3),),
    num_values=1,
    shapes=_shapes,
    forward=forward,
    backward=backward,
)
