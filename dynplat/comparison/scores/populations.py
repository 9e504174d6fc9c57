r"""Distances between a predicted population and the one observed, one number per held-out snapshot.

A population score is a function `(prediction, truth, hidden) -> contributions` as any other. The prediction is about
the times of the held-out snapshots and its draws are particles :math:`x_1, \dots, x_n`; the truth is `Snapshots` of the
held-out populations :math:`y_1, \dots, y_m`; `hidden` (1, snapshot, channel) marks them among all snapshots.
Particles of either side have equal weights; norms are Euclidean over all channels, as they are: with different units
the largest scale decides, unless the comparison is asked to `standardise`.

- `w1` is :math:`W_1 = \min_\pi \sum \pi_{ij} \lVert x_i - y_j \rVert` and `w2` is
  :math:`W_2 = (\min_\pi \sum \pi_{ij} \lVert x_i - y_j \rVert^2)^{1/2}`, over all plans :math:`\pi` that move one
  population to the other, solved exactly (`dynplat.comparison.transport`). What papers call EMD is now the one, now the
  other, now its square: the id always says which.
- `sliced-w2` is the root of the mean of :math:`W_2^2` of both populations projected on a line, over lines in all
  directions: the direction itself in one channel, otherwise 500 directions from a fixed seed.
- `energy-distance` is :math:`2 E\lVert X - Y \rVert - E\lVert X - X' \rVert - E\lVert Y - Y' \rVert`.
- `mmd` is :math:`E k(X, X') + E k(Y, Y') - 2 E k(X, Y)` with :math:`k(x, y) = \exp(-\lVert x - y \rVert^2 / 2 h^2)`, h
  being the median distance between two particles of the truth, so that all models are scored by one kernel. It is the
  squared discrepancy.

The last two are estimated without bias: a particle is never compared with itself, so that the expectation is the
distance of the two laws whatever the numbers of particles, and an estimate may be slightly negative. As functions of
the predicted law they are proper. The Wasserstein distances of samples are not: they grow with the sampling error of
both sides, even for a perfect model, so compare them at equal numbers of particles only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.comparison.scores.cells import Contributions
from dynplat.comparison.transport import line_costs, transport_cost
from dynplat.errors import ArgumentError, CapabilityError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynplat.data import Snapshots
    from dynplat.posterior import Prediction

#: Directions of the sliced distance, and the seed that they are drawn with.
NUM_DIRECTIONS = 500
_DIRECTIONS_SEED = 0
#: Pairs of particles whose distances one block of work may hold.
_BLOCK = 4_000_000


def w2(prediction: Prediction, truth: Any, hidden: Any) -> Contributions:
    r"""2-Wasserstein distance :math:`(\min_\pi \sum \pi_{ij} \lVert x_i - y_j \rVert^2)^{1/2}` of each snapshot.

    Args:
        prediction: Prediction about the times of the held-out snapshots; its draws are particles.
        truth: The held-out `Snapshots`.
        hidden: True = held out, (1, snapshot, channel), among all snapshots.

    Raises:
        CapabilityError: The prediction holds no draws.
        ArgumentError: It is about other times or channels, or a population is empty.
    """
    return _each(prediction, truth, lambda x, y: np.sqrt(_transport(x, y, 2)), "exact")


def w1(prediction: Prediction, truth: Any, hidden: Any) -> Contributions:
    r"""1-Wasserstein distance :math:`\min_\pi \sum \pi_{ij} \lVert x_i - y_j \rVert` of each snapshot; as `w2`."""
    return _each(prediction, truth, lambda x, y: _transport(x, y, 1), "exact")


def sliced_w2(prediction: Prediction, truth: Any, hidden: Any) -> Contributions:
    """Root mean square of the 2-Wasserstein distances along lines in all directions; arguments as for `w2`."""
    directions = sphere(len(truth.channels))
    how = "exact" if len(directions) == 1 else f"{len(directions)} directions"
    return _each(prediction, truth, lambda x, y: np.sqrt(line_costs(x @ directions.T, y @ directions.T).mean()), how)


def energy_distance(prediction: Prediction, truth: Any, hidden: Any) -> Contributions:
    """Energy distance of each snapshot, estimated without bias; arguments as for `w2`."""
    return _each(prediction, truth, _energy, "unbiased", least=2)


def mmd(prediction: Prediction, truth: Any, hidden: Any) -> Contributions:
    """Squared maximum mean discrepancy of each snapshot, estimated without bias; arguments as for `w2`."""
    return _each(prediction, truth, _mmd, "unbiased", least=2)


def check_populations(prediction: Prediction, truth: Snapshots) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pair the predicted particles with those observed, (n, channel) and (m, channel) for each snapshot.

    Raises:
        CapabilityError: The prediction holds no draws.
        ArgumentError: It is about other times or channels, a draw is not finite, or a population is empty.
    """
    dataset = prediction.dataset
    if not dataset.sizes.get("sample", 0):
        raise CapabilityError("scores of populations read draws, which are particles; the prediction holds none.")
    shape = tuple(dataset.sizes.get(name, 1) for name in ("series", "time", "channel"))
    wanted = (1, truth.num_times, len(truth.channels))
    if shape != wanted or not np.allclose(dataset["times"].values[0], truth.times, rtol=1e-12, atol=0.0):
        raise ArgumentError(
            f"`prediction` must be about the {truth.num_times} times of the held-out snapshots, (series, time, "
            f"channel) = {wanted}; got {shape} at {dataset['times'].values[0][:4].tolist()}. Ask for it with "
            "`task.predict(posterior)`."
        )
    draws = np.asarray(dataset["draws"].values, dtype=np.float64)[:, 0]
    pairs = []
    for index, population in enumerate(truth.populations):
        if not len(population):
            raise ArgumentError(f"the held-out population at {truth.labels[index]} is empty. Leave it out.")
        if not np.isfinite(draws[:, index]).all():
            raise ArgumentError(f"the prediction has no particles (NaN) at {truth.labels[index]}.")
        pairs.append((draws[:, index], population))
    return pairs


def sphere(num_channels: int) -> np.ndarray:
    """Directions of the sliced distance, (direction, channel), of length 1 and the same at every call."""
    if num_channels == 1:
        return np.ones((1, 1))
    normal = np.random.default_rng(_DIRECTIONS_SEED).standard_normal((NUM_DIRECTIONS, num_channels))
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


def _each(
    prediction: Prediction,
    truth: Snapshots,
    distance: Callable[[np.ndarray, np.ndarray], Any],
    how: str,
    *,
    least: int = 1,
) -> Contributions:
    pairs = check_populations(prediction, truth)
    smallest = min(min(len(x), len(y)) for x, y in pairs)
    if smallest < least:
        raise CapabilityError(f"an estimate without bias needs {least} particles on either side; got {smallest}.")
    counts = sorted({len(y) for _, y in pairs})
    against = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    values = np.array([float(distance(x, y)) for x, y in pairs])
    return Contributions(values, "row", f"{how}, {len(pairs[0][0])} particles against {against}")


def _transport(x: np.ndarray, y: np.ndarray, power: int) -> float:
    """Smallest mean cost of moving one population to the other, the cost being a power of the distance."""
    if x.shape[1] == 1:
        return float(line_costs(x, y, power)[0])
    return transport_cost(_distances(x, y, "sqeuclidean" if power == 2 else "euclidean"))


def _energy(x: np.ndarray, y: np.ndarray) -> float:
    def same(distance: np.ndarray) -> np.ndarray:
        return distance

    return 2.0 * _mean_over_pairs(x, y, same) - _mean_within(x, same) - _mean_within(y, same)


def _mmd(x: np.ndarray, y: np.ndarray) -> float:
    from scipy.spatial.distance import pdist

    distances = pdist(y)
    width = float(np.median(distances))
    # Particles that mostly coincide leave no median; those that do not all coincide still have a scale.
    width = width or float(distances.mean()) or 1.0

    def kernel(distance: np.ndarray) -> np.ndarray:
        return np.exp(-0.5 * (distance / width) ** 2)

    return _mean_within(x, kernel) + _mean_within(y, kernel) - 2.0 * _mean_over_pairs(x, y, kernel)


def _mean_over_pairs(x: np.ndarray, y: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> float:
    """Mean of a function of the distance over all pairs of a particle of x and one of y."""
    width = max(1, _BLOCK // len(y))
    blocks = (_distances(x[start : start + width], y, "euclidean") for start in range(0, len(x), width))
    return sum(float(function(block).sum()) for block in blocks) / (len(x) * len(y))


def _mean_within(x: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> float:
    """Mean of a function of the distance over all pairs of two different particles."""
    n = len(x)
    itself = float(function(np.zeros(1))[0])
    return (_mean_over_pairs(x, x, function) * n - itself) / (n - 1)


def _distances(x: np.ndarray, y: np.ndarray, metric: Any) -> np.ndarray:
    from scipy.spatial.distance import cdist

    return cdist(x, y, metric)
