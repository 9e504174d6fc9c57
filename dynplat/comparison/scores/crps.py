r"""The continuous ranked probability score.

.. math:: \operatorname{CRPS}(F, y) = \int (F(x) - 1\{x \ge y\})^2 \, dx
          = \operatorname{E}|X - y| - \tfrac12 \operatorname{E}|X - X'| ,

with independent :math:`X, X' \sim F` (Gneiting and Raftery 2007, eqs. 20-21, doi:10.1198/016214506000001437). It is in
the unit of the data, and the absolute error when the law is a point.

For a mixture of K normal laws of equal weight both terms are finite sums of (Grimit et al. 2006,
doi:10.1256/qj.05.235)

.. math:: A(m, s) = \operatorname{E}|m + sZ| = 2 s\,\varphi(m/s) + m\,(2\Phi(m/s) - 1) ,

the second one over all K² pairs. As :math:`\tfrac12 \operatorname{E}|X - X'| = \int F(1 - F)\,dx` and a mixture of
normals is analytic, the trapezoidal rule with step h gives that integral with an error of order
:math:`\exp(-(\pi s_{\min}/h)^2)`: at :math:`h = s_{\min}/2` below rounding, in K times some forty evaluations. The
cheaper of the two forms is used cell by cell; they agree to rounding.

From draws alone, the fair estimator is used, whose expectation is the score of the law drawn from, whatever their
number (Ferro 2014, doi:10.1002/qj.2270):

.. math:: \frac1M \sum_i |x_i - y| - \frac{1}{2 M (M-1)} \sum_{i,j} |x_i - x_j| .
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from dynplat.comparison.scores.cells import Contributions, at_cells, held_out
from dynplat.errors import ArgumentError, CapabilityError

if TYPE_CHECKING:
    from dynplat.posterior import Prediction

#: Numbers that one block of work may hold at once: a few arrays of this size stay in a processor's cache.
_BLOCK = 100_000
#: Cost of one pair of components, in evaluations of a distribution function.
_PAIR = 4.0
#: Standard deviations beyond which a normal tail is below the last digit of F(1 - F).
_REACH = 9.0
#: Step of the trapezoidal rule in the smallest standard deviation; its error is of order exp(-39) = 7e-18.
_STEP = 0.5


def crps(prediction: Prediction, truth: Any, hidden: Any) -> Contributions:
    r"""CRPS of every held-out cell, in the unit of the data; smaller is better.

    Exact where the prediction holds the components of Gaussian mixtures, the fair estimator from its draws elsewhere;
    `method` of the result says which.

    Args:
        prediction: Prediction about the rows of the data.
        truth: `Trajectories`, or an array (series, time, channel).
        hidden: True = held out, (series, time, channel).

    Raises:
        CapabilityError: The prediction holds neither components nor at least two draws.
        ArgumentError: A shape is wrong.
    """
    truth, hidden = held_out(prediction, truth, hidden)
    dataset, values = prediction.dataset, truth[hidden]
    if "component_mean" in dataset:
        mean, sd = at_cells(dataset["component_mean"], hidden), at_cells(dataset["component_sd"], hidden)
        count = mean.shape[0]
        method = "exact, Gaussian" if count == 1 else f"exact, mixture of {count} Gaussians"
        return Contributions(crps_mixture(mean, sd, values), method=method)
    if dataset.sizes.get("sample", 0) >= 2:
        draws = at_cells(dataset["draws"], hidden)
        return Contributions(crps_draws(draws, values), method=f"fair estimator from {draws.shape[0]} draws")
    raise CapabilityError(
        "the CRPS needs the components of a Gaussian mixture or at least two draws; the prediction holds neither. "
        "Predict with `num_draws` of a few hundred."
    )


def crps_gaussian(mean: np.ndarray, sd: np.ndarray, values: np.ndarray) -> np.ndarray:
    r"""CRPS of normal laws, :math:`s\,[z(2\Phi(z) - 1) + 2\varphi(z) - 1/\sqrt\pi]` with :math:`z = (y - m)/s`."""
    return _absolute_moment(values - mean, sd) - np.asarray(sd) / np.sqrt(np.pi)


def crps_mixture(mean: np.ndarray, sd: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Exact CRPS of mixtures of normal laws of equal weight.

    Args:
        mean: Means, (component, n).
        sd: Standard deviations, (component, n); zero is a point mass.
        values: What was observed, (n,).

    Returns:
        The scores, (n,).
    """
    count, num_cells = mean.shape
    if count == 1:
        return crps_gaussian(mean[0], sd[0], values)
    scores = np.empty(num_cells)
    for block in _blocks(num_cells, count):
        scores[block] = _absolute_moment(values[block] - mean[:, block], sd[:, block]).mean(axis=0)
    return scores - half_mean_difference(mean, sd)


def crps_draws(draws: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Fair estimate of the CRPS from draws (sample, n) and values (n,); sorting makes the double sum a single one.

    Raises:
        ArgumentError: There are fewer than two draws.
    """
    num_draws = draws.shape[0]
    if num_draws < 2:
        raise ArgumentError(f"`draws` must hold at least two draws for a fair estimate; got {num_draws}.")
    ordered = np.sort(draws, axis=0)
    weights = (2.0 * np.arange(1, num_draws + 1) - num_draws - 1.0) / (num_draws * (num_draws - 1.0))
    spread = np.tensordot(weights, ordered - ordered[:1], axes=1)
    return np.abs(draws - values).mean(axis=0) - spread


def half_mean_difference(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Half of E|X - X'| for mixtures (component, n), giving (n,), by the cheaper of two exact forms."""
    low, high = (mean - _REACH * sd).min(axis=0), (mean + _REACH * sd).max(axis=0)
    smallest = sd.min(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        nodes = np.ceil((high - low) / (_STEP * smallest))
    # NaN (a prediction that wasn't made) and infinity (a point mass) go to the pairwise form.
    by_integral = nodes < _PAIR * mean.shape[0] / 2
    result = np.empty(mean.shape[1])
    cells = np.flatnonzero(by_integral)
    # Cells of like numbers of nodes are integrated together.
    cells = cells[np.argsort(nodes[cells], kind="stable")]
    for block in _blocks(cells.size, mean.shape[0]):
        chosen = cells[block]
        result[chosen] = _by_integral(mean[:, chosen], sd[:, chosen], low[chosen], high[chosen], int(nodes[chosen[-1]]))
    cells = np.flatnonzero(~by_integral)
    for block in _blocks(cells.size, mean.shape[0]):
        result[cells[block]] = _by_pairs(mean[:, cells[block]], sd[:, cells[block]])
    return result


def _by_integral(mean: np.ndarray, sd: np.ndarray, low: np.ndarray, high: np.ndarray, nodes: int) -> np.ndarray:
    step = (high - low) / nodes
    total = np.zeros(mean.shape[1])
    # F(1 - F) vanishes at both ends, so the trapezoidal rule is the plain sum.
    z, stride, law = (low - mean) / sd, step / sd, np.empty_like(mean)
    for _ in range(1, nodes):
        z += stride
        share = ndtr(z, out=law).mean(axis=0)
        total += share * (1.0 - share)
    return total * step


def _by_pairs(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    count = mean.shape[0]
    total = 0.5 * _absolute_moment(np.zeros_like(mean), np.sqrt(2.0) * sd).sum(axis=0)
    for first in range(count - 1):
        rest = slice(first + 1, None)
        total += _absolute_moment(mean[first] - mean[rest], np.hypot(sd[first], sd[rest])).sum(axis=0)
    return total / count**2


def _absolute_moment(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """E|m + sZ| of a standard normal Z; |m| where s = 0."""
    mean, sd = np.asarray(mean, dtype=np.float64), np.asarray(sd, dtype=np.float64)
    z = np.where(sd > 0, mean / np.where(sd > 0, sd, 1.0), 0.0)
    smooth = 2.0 * sd * np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi) + mean * (2.0 * ndtr(z) - 1.0)
    return np.where(sd == 0, np.abs(mean), np.where(np.isnan(sd), np.nan, smooth))


def _blocks(num_cells: int, numbers_per_cell: int) -> list[slice]:
    width = max(1, _BLOCK // max(numbers_per_cell, 1))
    return [slice(start, start + width) for start in range(0, num_cells, width)]
