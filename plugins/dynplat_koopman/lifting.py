r"""From trajectories to a lifted linear process: operator, noise, start and readout, estimated on the host.

The operator K of extended dynamic mode decomposition says :math:`\psi(y) = \psi(x) K + e`. The covariance of e over the
data is the noise of one step; it follows from the moments alone. Residuals of a deterministic system are no noise: they
depend on the state and follow one another, so that forecasts by them are far too sure where the data are thin. The
noise is therefore scaled to forecasts of blocks of h steps that were held out,

.. math:: \operatorname{Cov}(e \mid x) = e^{a}\, D(x)^{b}\, \Sigma ,

where D(x) says how far from the training data the forecast from x goes: the squared distance of the channels forecast
at h/3, 2h/3 and h steps, each in units of its scale, from the nearest of some training rows, averaged. The numbers a
and b >= 0 are those of maximum likelihood for errors that are normal with these variances.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dynplat.arrays import Array, Observations, array_namespace
from dynplat.data import Trajectories
from dynplat.errors import DataError
from dynplat_koopman.delays import embed
from dynplat_koopman.dictionaries.base import AbstractDictionary
from dynplat_koopman.edmd import Operator, fit_edmd
from dynplat_koopman.gram import inverse_root
from dynplat_koopman.moments import Moments, gather_moments
from dynplat_koopman.pairs import Pairs, pairs_from
from dynplat_koopman.power import SAME_STEP

#: At most so many blocks are held out, and fewer than so many say nothing.
_MOST_BLOCKS, _FEWEST_BLOCKS = 60, 5
#: Standard deviation of an observation beside its state, in parts of the channel's scale, where the dictionary holds
#: the state: far below any forecast's, so that a law keeps a density where the state is known.
READOUT_FLOOR = 1e-6
#: Training rows from which distances are taken, and what is added to their squares, in units of the channels' scales.
_MOST_ROWS = 500
_NEAREST = 1e-8
#: Largest power of the distance with which the noise grows.
_STEEPEST = 4.0
#: Distance from training rows within which rows are lifted, in parts of that of nearly all of them from their nearest.
_REACH = 2.0
#: Rows whose functions are evaluated at once.
_BLOCK_ROWS = 20_000


@dataclass(frozen=True)
class Recipe:
    """How an operator is fitted.

    Args:
        ridge: Penalty of the regression (see `fit_edmd`).
        rank: Number of directions kept, or None.
        tolerance: Directions dropped, in parts of the largest eigenvalue of the Gram matrix, or None.
        shape: `free`, `contraction` or `isometry` (see `reshaped`).
        held_out_steps: Number of steps of the forecasts to which the noise is scaled; 0 for none.
        local_noise: Whether the scale depends on the state.
        shown: How many variables are those of a row; None for all. Errors of the others, its delays, say nothing.
    """

    ridge: float = 0.0
    rank: int | None = None
    tolerance: float | None = None
    shape: str = "free"
    held_out_steps: int = 0
    local_noise: bool = True
    shown: int | None = None

    def fit(self, source: Pairs | Moments, dictionary: AbstractDictionary) -> Operator:
        """Fit the operator."""
        operator = fit_edmd(source, dictionary, ridge=self.ridge, rank=self.rank, tolerance=self.tolerance)
        return reshaped(_with_constant(operator, dictionary), self.shape)


def reshaped(operator: Operator, shape: str) -> Operator:
    r"""The nearest operator of a shape, in the mean square over the data, to one that was fitted.

    In a basis that is orthonormal under the data the operator is a matrix with singular values s. `contraction` makes
    them min(s, 1): the nearest operator that enlarges no function's mean square, whose eigenvalues lie in the closed
    unit disc. `isometry` makes them 1: the operator of measure-preserving EDMD (Colbrook 2023).

    Where the dictionary has the constant function, it stays as it is, and deviations from the mean are reshaped: what
    comes out does not depend on where a channel has its zero. The mean of a function that moves may then move on under
    `contraction`; an isometry keeps it.
    """
    if shape == "free":
        return operator
    basis, gram, compressed = operator.basis, operator.moments.gram, operator.compressed
    place = _place_of_constant(operator.dictionary)
    inner = slice(0, None)
    if place is not None:
        # A rotation of the basis that brings the constant to the front. What is left of it is orthogonal to it.
        front = basis.conj().T @ gram[:, place]
        turn = np.linalg.qr(np.column_stack([front, np.eye(len(front))]))[0]
        basis, compressed = basis @ turn, turn.conj().T @ compressed @ turn
        inner = slice(1, None)
    left, size, right = np.linalg.svd(compressed[inner, inner])
    size = np.minimum(size, 1.0) if shape == "contraction" else np.ones_like(size)
    compressed = compressed.copy()
    compressed[inner, inner] = (left * size) @ right
    if place is not None and shape == "isometry":
        compressed[:1, inner] = 0.0
    found = replace(operator, matrix=basis @ compressed @ basis.conj().T @ gram)
    return found if place is None else _keep(found, place)


def _place_of_constant(dictionary: AbstractDictionary | None) -> int | None:
    """The number of the constant function, where the dictionary has it by itself."""
    if dictionary is None or dictionary.constant is None or np.count_nonzero(dictionary.constant) != 1:
        return None
    return int(np.flatnonzero(dictionary.constant)[0])


def _keep(operator: Operator, place: int) -> Operator:
    """The operator with a function that stays as it is and on which inputs do not act."""
    matrix, inputs = operator.matrix.copy(), operator.input_matrix
    matrix[:, place] = np.eye(len(matrix))[place]
    if inputs is not None:
        inputs = inputs.copy()
        inputs[:, place] = 0.0
    return replace(operator, matrix=matrix, input_matrix=inputs)


def _with_constant(operator: Operator, dictionary: AbstractDictionary) -> Operator:
    """The operator that leaves the constant function exactly as it is, where the dictionary has it by itself.

    Least squares finds this up to rounding; a state that wanders by a rounding is no constant to a smoother.
    """
    place = _place_of_constant(dictionary)
    if place is None:
        return operator
    if np.abs(operator.matrix[:, place] - np.eye(len(operator.matrix))[place]).max() > 1e-8:
        return operator  # a penalty, or too few directions: not even the constant is kept
    return _keep(operator, place)


def trajectories_of(observations: Observations, channels: tuple[str, ...]) -> Trajectories:
    """Trajectories of observations, without padding."""
    times, values, mask, inputs = observations[:4]
    lengths = [int(np.flatnonzero(rows)[-1]) + 1 if rows.any() else 0 for rows in mask.any(axis=-1)]
    rows = [slice(0, length) for length in lengths]
    return Trajectories.from_arrays(
        [times[s, row] for s, row in enumerate(rows)],
        [np.where(mask[s, row], values[s, row], np.nan) for s, row in enumerate(rows)],
        inputs=None if inputs is None else [inputs[s, row] for s, row in enumerate(rows)],
        channels=channels,
    )


def commonest_step(data: Trajectories) -> float:
    """The commonest gap between rows, gaps within a thousandth of each other being one.

    Raises:
        DataError: No series has two rows.
    """
    gaps = np.sort(_gaps(data)[2])
    if not gaps.size:
        raise DataError("no series has two rows at different times, so that there is no step.")
    ends = np.searchsorted(gaps, gaps * (1.0 + SAME_STEP), side="right")
    best = int(np.argmax(ends - np.arange(gaps.size)))
    # Exact differences of rounded times scatter; their mean is the step.
    return float(gaps[best : ends[best]].mean())


def check_grid(data: Trajectories, step: float) -> None:
    """Refuse rows that are no whole number of steps apart.

    Raises:
        DataError: Naming the first such gap.
    """
    series, rows, gaps = _gaps(data)
    number = gaps / step
    slack = 4.0 * np.finfo(float).eps * np.abs(data.times).max(initial=0.0) / step
    bad = np.abs(number - np.round(number)) > SAME_STEP + slack
    if bad.any():
        at = int(np.argmax(bad))
        s, row = int(series[at]), int(rows[at])
        raise DataError(
            f"steps are unequal: series {data.series[s]!r} has a gap of {gaps[at]:g} after time "
            f"{data.times[s, row]:g}, which is {number[at]:.4g} steps of {step:g}.",
            hint="Resample the data to equal steps, or give the right `step`; `koopman/edmd` with "
            "`continuous=True` takes any gaps.",
        )


def _gaps(data: Trajectories) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Series, row before, and length of each positive gap between neighbouring rows."""
    gaps = np.diff(data.times, axis=1)
    is_gap = (gaps > 0) & data.rows[:, 1:]
    series, rows = np.nonzero(is_gap)
    return series, rows, gaps[is_gap]


def complete_pairs(data: Trajectories, step: float, num_delays: int = 0) -> Pairs:
    """Pairs of complete rows one step apart, or of their delay vectors; none crosses a hole.

    Raises:
        DataError: There is none.
    """
    if num_delays:
        data = embed(data, num_delays, step=step, gaps="skip", tolerance=SAME_STEP)
    return pairs_from(data, step=step, gaps="skip", tolerance=SAME_STEP)


def lifted_sites(pairs: Pairs, dictionary: AbstractDictionary, scale: np.ndarray, recipe: Recipe) -> dict[str, Any]:
    """Estimate all that a lifted process is made of.

    Args:
        pairs: Snapshot pairs.
        dictionary: The functions.
        scale: Scale of each channel, (d,).
        recipe: How.

    Returns:
        Arrays by the name of their site (see `EDMD`).
    """
    moments = gather_moments(pairs, dictionary)
    operator = recipe.fit(moments, dictionary)
    known = readout_and_start(pairs, operator, dictionary, scale)
    noise = step_covariance(operator)
    radius = float(np.abs(np.linalg.eigvals(operator.matrix)).max())
    level = np.zeros(2)
    if recipe.held_out_steps:
        squares, distances = held_out_squares(pairs, moments, dictionary, scale, recipe)
        level = noise_level(squares, distances, local=recipe.local_noise)
        warn_of_few_blocks(len(squares), recipe.held_out_steps)
    sites = {
        "operator": operator.matrix,
        "noise_factor": symmetric_root(noise),
        "noise_level": level,
        **known,
        "spectral_radius": np.array(radius),
    }
    if operator.input_matrix is not None:
        sites["input_matrix"] = operator.input_matrix
    return sites


def readout_and_start(
    pairs: Pairs, source: Operator | Moments, dictionary: AbstractDictionary, scale: np.ndarray
) -> dict[str, np.ndarray]:
    """Readout C and a root of its remainder's covariance; mean and a root of the covariance of psi over the data."""
    if isinstance(source, Moments):
        basis = inverse_root(source.gram, dictionary.names, tolerance=1e-12)
        source = Operator(np.eye(dictionary.num_functions), source, basis, dictionary=dictionary)
    floor = np.diag(scale * READOUT_FLOOR) ** 2
    mean, spread = _law(pairs, dictionary)
    return {
        "readout": source.readout,
        "readout_factor": symmetric_root(source.readout_covariance + floor),
        "start_mean": mean,
        "start_factor": symmetric_root(spread),
    }


def step_covariance(operator: Operator) -> np.ndarray:
    """Covariance of psi(y) - psi(x) K - u B, corrected for the number of coefficients of each target."""
    count = operator.moments.count
    used = operator.rank + operator.moments.num_inputs
    cov = operator.residual_covariance * (count / max(count - used, 1))
    # What is left of a function that stays as it is can only be rounding.
    still = (operator.matrix == np.eye(len(cov))).all(axis=0)
    cov[still], cov[:, still] = 0.0, 0.0
    return cov


def symmetric_root(cov: np.ndarray) -> np.ndarray:
    """The symmetric positive semi-definite root of a covariance, whose negative eigenvalues are rounding."""
    unit = np.sqrt(np.maximum(np.diagonal(cov), 0.0))
    unit = np.where(unit > 0, unit, 1.0)
    values, vectors = np.linalg.eigh(cov / np.outer(unit, unit))
    # Not symmetric after the units are put back, but a root all the same.
    return unit[:, None] * (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def _law(pairs: Pairs, dictionary: AbstractDictionary) -> tuple[np.ndarray, np.ndarray]:
    """Mean (N,) and covariance (N, N) of the functions over the first states of the pairs."""
    starts = range(0, len(pairs), _BLOCK_ROWS)
    weights = np.ones(len(pairs)) if pairs.weights is None else pairs.weights
    weights = weights / weights.sum()
    mean = sum(weights[i : i + _BLOCK_ROWS] @ dictionary(pairs.first[i : i + _BLOCK_ROWS]) for i in starts)
    spread = np.zeros((dictionary.num_functions,) * 2)
    for i in starts:
        away = dictionary(pairs.first[i : i + _BLOCK_ROWS]) - mean
        spread += (weights[i : i + _BLOCK_ROWS, None] * away).T @ away
    # A function that does not vary, but for rounding: its rounding is no scale to measure distances by.
    still = np.diagonal(spread) <= (1e-12 * np.abs(mean)) ** 2
    spread[still], spread[:, still] = 0.0, 0.0
    return np.asarray(mean), spread


def reference_rows(pairs: Pairs) -> np.ndarray:
    """Numbers of the pairs whose first states stand for the training data, at most `_MOST_ROWS`, evenly chosen."""
    return np.unique(np.round(np.linspace(0, len(pairs) - 1, min(len(pairs), _MOST_ROWS))).astype(int))


def reach_of(rows: np.ndarray) -> float:
    """How far from the nearest of some training rows (M, d) a row may be that the data say something about."""
    if len(rows) < 2:
        return 0.0
    from scipy.spatial import KDTree

    nearest = KDTree(rows).query(rows, k=2)[0][:, 1]
    return _REACH * float(np.quantile(nearest, 0.99)) + np.sqrt(_NEAREST)


def looks_ahead(steps: int) -> tuple[int, ...]:
    """The steps at which the distance of a forecast from the training data is taken."""
    return tuple(sorted({max(1, round(steps * part / 3)) for part in (1, 2, 3)}))


def distance_from(ahead: list[Array], rows: Array) -> Array:
    """Squared distance of points (..., d) from the nearest of some rows (M, d), averaged over a list of points."""
    xp = array_namespace(rows)
    total, size = 0.0, xp.sum(rows * rows, axis=-1)
    for points in ahead:
        squares = xp.sum(points * points, axis=-1)[..., None] + size - 2.0 * points @ xp.matrix_transpose(rows)
        nearest = xp.min(squares, axis=-1)
        total = total + xp.where(nearest > 0, nearest, xp.zeros_like(nearest))
    return total / len(ahead) + _NEAREST


def held_out_squares(
    pairs: Pairs, moments: Moments, dictionary: AbstractDictionary, scale: np.ndarray, recipe: Recipe
) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors of forecasts of blocks that were left out of the fit, over the variances forecast.

    Args:
        pairs: The pairs.
        moments: Their moments.
        dictionary: The functions.
        scale: Scale of each channel, (d,).
        recipe: How operators are fitted.

    Returns:
        Mean over steps and channels in each block, (block,), and the distance D of its forecast from the data that are
        left.
    """
    size = recipe.held_out_steps
    reference = reference_rows(pairs)
    squares, distances = [], []
    for block in blocks_of(pairs, size):
        part = _of_block(pairs, block)
        operator = recipe.fit(_without(moments, gather_moments(part, dictionary)), dictionary)
        noise, readout, K = step_covariance(operator), operator.readout, operator.matrix
        z = np.asarray(dictionary(part.first[0]))
        # The state of the last pair's end is that of the next pair's start.
        left = pairs.first[reference[(reference <= block.start) | (reference > block.stop)]] / scale
        reach = [readout @ (z @ np.linalg.matrix_power(K, k)) / scale for k in looks_ahead(size)]
        distances.append(float(distance_from(reach, left)))
        ends = {end: k for k, end in enumerate(_steps_of(pairs, block))}
        P, ratios = np.zeros_like(noise), []
        for step in range(size):
            z, P = z @ K, K.T @ P @ K + noise
            if part.inputs is not None and operator.input_matrix is not None:
                z = z + part.inputs[step] @ operator.input_matrix
            if step not in ends:
                continue
            variance = np.einsum("ci,ij,cj->c", readout, P, readout) + np.diagonal(operator.readout_covariance)
            ratio = (part.second[ends[step]] - readout @ z) ** 2
            ratio = ratio / (np.maximum(variance, 0.0) + (READOUT_FLOOR * scale) ** 2)
            ratios.append(ratio[: recipe.shown])
        squares.append(np.mean(ratios))
    return np.array(squares), np.array(distances)


def _of_block(pairs: Pairs, block: slice) -> Pairs:
    return Pairs(
        pairs.first[block],
        pairs.second[block],
        weights=None if pairs.weights is None else pairs.weights[block],
        step=pairs.step,
        inputs=None if pairs.inputs is None else pairs.inputs[block],
    )


def noise_level(squares: np.ndarray, distances: np.ndarray, *, local: bool) -> np.ndarray:
    """The scale (a, b) of maximum likelihood: squares are about exp(a) distance^b, b at least 0.

    A normal error with variance v has -2 log density = log v + square / v: summed over blocks, this is convex in
    (a, b), and Newton's method finds its minimum. The power is at most `_STEEPEST`, above which distances that hardly
    differ would stand for anything.
    """
    if len(squares) < _FEWEST_BLOCKS:
        return np.zeros(2)
    a = np.log(max(squares.mean(), np.finfo(float).tiny))
    if not local:
        return np.array([a, 0.0])
    design = np.stack([np.ones_like(distances), np.log(distances)], axis=1)
    if np.ptp(design[:, 1]) < 1e-6:
        return np.array([a, 0.0])
    level = np.array([a, 0.0])
    for _ in range(100):
        ratio = squares * np.exp(-design @ level)
        gradient = design.T @ (1.0 - ratio)
        hessian = (design * ratio[:, None]).T @ design
        move = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        move *= min(1.0, 2.0 / max(np.abs(design @ move).max(), 1e-300))
        level = level - move
        if np.abs(move).max() < 1e-10:
            break
    slope = float(np.clip(level[1], 0.0, _STEEPEST))
    if slope == level[1]:
        return level
    # The minimum of a convex function over an interval that does not hold it is at an end.
    return np.array([np.log(max((squares * np.exp(-slope * design[:, 1])).mean(), np.finfo(float).tiny)), slope])


def blocks_of(pairs: Pairs, size: int) -> list[slice]:
    """Blocks of pairs that lie within `size` steps from the first one on, evenly chosen; no two of them overlap.

    Where steps have numbers, pairs in between may lack, because values are missing there, if one of the last third is
    not among them. Inputs are known for pairs alone: with inputs, and where steps have no numbers, no pair lacks.
    """
    series = np.zeros(len(pairs)) if pairs.series is None else np.asarray(pairs.series)
    if pairs.begins is None or pairs.inputs is not None:
        linked = (pairs.second[:-1] == pairs.first[1:]).all(axis=1) & (series[:-1] == series[1:])
        # Runs of linked pairs, and the number of each pair in its run.
        starts = np.flatnonzero(np.r_[True, ~linked])
        run = np.cumsum(np.r_[True, ~linked]) - 1
        begins, least = np.arange(len(pairs)) - starts[run], size
    else:
        run, begins, least = series, np.asarray(pairs.begins), 1
    blocks, i = [], 0
    while i < len(pairs):
        stop = i + 1
        while stop < len(pairs) and run[stop] == run[i] and begins[stop] < begins[i] + size:
            stop += 1
        if stop - i >= least and begins[stop - 1] - begins[i] >= size - max(size // 3, 1):
            blocks.append(slice(i, stop))
        i = stop
    if len(blocks) > _MOST_BLOCKS:
        blocks = [blocks[k] for k in np.round(np.linspace(0, len(blocks) - 1, _MOST_BLOCKS)).astype(int)]
    return blocks


def _steps_of(pairs: Pairs, block: slice) -> np.ndarray:
    """How many steps after the first pair each pair of a block begins."""
    if pairs.begins is None or pairs.inputs is not None:
        return np.arange(block.stop - block.start)
    begins = np.asarray(pairs.begins)[block]
    return begins - begins[0]


def _without(moments: Moments, part: Moments) -> Moments:
    """Moments of the pairs that are not in a part of them."""
    weight = moments.weight - part.weight

    def less(name: str) -> Any:
        whole, taken = getattr(moments, name), getattr(part, name)
        return None if whole is None else (moments.weight * whole - part.weight * taken) / weight

    names = ("gram", "cross", "target", "state", "state_gram", "input_gram", "input_cross", "input_target")
    averages: Mapping[str, Any] = {name: less(name) for name in names}
    return Moments(weight=weight, count=moments.count - part.count, step=moments.step, **averages)


def warn_of_few_blocks(count: int, size: int) -> None:
    """Warn where too few forecasts could be held out to scale the noise."""
    if count < _FEWEST_BLOCKS:
        warnings.warn(
            f"the noise is not scaled to held-out forecasts: the data hold {count} blocks of {size} steps and "
            f"{_FEWEST_BLOCKS} are needed. Bands of forecasts may be too narrow. Give longer series, or a smaller "
            "`held_out_steps` (0 for none).",
            stacklevel=4,
        )


def warn_of_growth(radius: float, step: float) -> None:
    """Warn where forecasts may double within a thousand steps."""
    if radius > 2.0**1e-3:
        warnings.warn(
            f"the operator's spectral radius is {radius:.6g}: forecasts grow by up to this factor in each step of "
            f"{step:g}, without bound. `stable=True` takes the nearest operator that does not.",
            stacklevel=3,
        )
