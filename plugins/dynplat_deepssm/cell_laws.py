r"""The law of a cell given all others, by one network from each side (`deepssm/imputer`).

.. math::
    p(y_{tc} \mid \text{all other observed cells}, u) = p(y_{tc} \mid \theta_{tc}), \qquad
    \theta_{tc} = \mathrm{mix}\big(e^{\Lambda (t - t_j)} B x_j,\ e^{\Lambda' (t_k - t)} B' z_k,\ n_{tc},\
    y_{t, -c},\ u_t\big),

with :math:`x_j` what a network from the left makes of the rows up to j, the last one before t, and :math:`z_k` what one
from the right makes of the rows from k on, the first one after t. Both are discretised over the gaps between observed
rows, and go on to the time t as diagonal systems, exactly. :math:`n_{tc}` is the nearest observed value of the channel
on either side and how far it is, :math:`y_{t,-c}` what was observed at t in other channels. The head's location is
relative to the linear interpolation of the channel, with which a fit begins, in units of its steps from one
observed value to the next. Networks read levels, and the steps to a row from the last one on their side.

What was observed in a cell enters none of these, so that one pass gives the law of every cell, observed or not, given
all the others. These laws are learned one by one, and no joint law need have them: there is no likelihood, and each
cell is drawn by itself. A row in which nothing was observed is as if it were not there, and what is asked about does
not change the answers.

Sources: Besag (1975), Statistical analysis of non-lattice data, The Statistician 24, for the likelihood of such laws;
Che et al. (2018), Recurrent neural networks for multivariate time series with missing values, Scientific Reports 8, and
Cao et al. (2018), BRITS, arXiv:1805.10572, for what networks from both sides read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dynplat.arrays import Array, Observations, Random, array_namespace, asarray_like, concrete, to_numpy
from dynplat.errors import ArgumentError, CapabilityError
from dynplat.process import AbstractConditional, AbstractPredictive, AbstractProcess
from dynplat_deepssm.autoregressive import Scales
from dynplat_deepssm.executors import run
from dynplat_deepssm.heads import AbstractHead
from dynplat_deepssm.hiding import hidden_cells
from dynplat_deepssm.layer import AbstractLayer, Parameters
from dynplat_deepssm.neighbours import Neighbours, neighbours
from dynplat_deepssm.rows import along_time
from dynplat_deepssm.special import gelu, log_uniform

#: Numbers of the nearest values of a channel: of each side how far its value is from the middle, the step to it
#: from the one behind it, whether there is one and its gap; and the middle.
NUM_NEAR = 9
#: Rates and frequencies of the carried states at the start, for a typical gap of 1.
_RATES, _FASTEST = (0.02, 2.0), 1.5


@dataclass(frozen=True)
class Mix:
    """Shapes of what turns the two sides into the law of a cell, and its weights at the start.

    Args:
        width: Channels of the networks and of the hidden layer.
        num_states: Carried numbers of each side, in pairs that decay and turn.
        num_channels: Channels of the data.
        num_inputs: Known inputs.
        num_parameters: Numbers of the head for a cell.
    """

    width: int
    num_states: int
    num_channels: int
    num_inputs: int
    num_parameters: int

    def init(self, seed: Any) -> dict[str, np.ndarray]:
        """Draw the weights; `out` and `direct` are 0, so that all numbers of the head are."""
        rng = np.random.default_rng(seed)
        W, N, C = self.width, self.num_states, self.num_channels

        def matrix(rows: int, columns: int, fan_in: int | None = None) -> np.ndarray:
            bound = 1.0 / np.sqrt(fan_in or rows)
            return rng.uniform(-bound, bound, (rows, columns))

        weights = {}
        for side in ("left", "right"):
            weights[f"{side}.into"] = matrix(W, 2 * N)
            weights[f"{side}.log_rate"] = np.log(log_uniform(rng, *_RATES, N))
            weights[f"{side}.frequency"] = rng.uniform(0.0, _FASTEST, N)
        reads = 4 * N + 4 + self.num_inputs
        return weights | {
            "sides": matrix(reads, W),
            "near": matrix(NUM_NEAR, W),
            "others": matrix(2 * C, W),
            "channel": rng.standard_normal((C, W)) * 0.1,
            "hidden": matrix(W, W),
            "hidden_bias": np.zeros(W),
            "out": np.zeros((W, self.num_parameters)),
            "out_bias": np.zeros((C, self.num_parameters)),
            "direct": np.zeros((NUM_NEAR + 2 * C, self.num_parameters)),
        }


class _Seen(NamedTuple):
    """Observations as the networks read them.

    Attributes:
        values: Values, finite where there is none.
        standard: In units of the channel, 0 where there is none.
        mask: Which are there.
        steps: From the last observed value of the channel on each side, in units of its steps, 0 where there is none.
        inputs: Known inputs in standard units, or None.
    """

    values: Array
    standard: Array
    mask: Array
    steps: list[Array]
    inputs: Array | None


class CellLaws(AbstractProcess):
    """Laws of cells given all others (see the module).

    Args:
        network: A causal layer from three numbers of each channel, two of the row and the inputs to
            `mix.width` outputs, of both sides.
        mix: Shapes of what joins them.
        head: The law of a value.
        weights: `left` and `right`, weights of the networks, and `mix`, (..., series or 1, *shape).
        scales: Units.
        step: Spread of the steps of each channel from one observed value to the next, (channel,); a host array.
    """

    def __init__(
        self,
        network: AbstractLayer,
        mix: Mix,
        head: AbstractHead,
        weights: Parameters,
        scales: Scales,
        step: np.ndarray,
    ) -> None:
        self.network, self.mix, self.head, self.weights, self.scales = network, mix, head, weights, scales
        self.like = weights["mix"]["near"]
        self.step, self._finer = (asarray_like(array, self.like) for array in (step, scales.scale / step))
        self.location, self.scale, self._input_location, self._input_scale = (
            asarray_like(array, self.like)
            for array in (scales.location, scales.scale, scales.input_location, scales.input_scale)
        )

    def composite_steps(self, observations: Observations, *, random: Random | None = None) -> Array:
        r"""Terms :math:`\sum_c \log p(y_{tc} \mid \text{others})`, (..., series, time).

        Without `random` the others are all other observed cells. With it some are hidden (`dynplat_deepssm.hiding`),
        and every observed cell, hidden or not, is judged given those that are not.
        """
        times, mask = _host(observations)
        visible = mask
        if random is not None:
            # Leading axes of the observations share what is hidden.
            seen = np.asarray(mask.reshape(-1, *mask.shape[-3:]).any(axis=0))
            shape = (mask.shape[-3], mask.shape[-2] + 1, mask.shape[-1] + 2)
            visible = mask & ~hidden_cells(seen, to_numpy(random.uniform(shape)))
        laws, values = self._laws(observations, times, visible, times, observations.inputs)
        xp = array_namespace(values)
        cells = self.head.log_density(laws, values)
        seen = asarray_like(mask, self.like)
        return xp.sum(xp.where(seen, cells, xp.zeros_like(cells)), axis=-1)

    def condition(self, observations: Observations) -> CellConditional:
        """Return the laws given `observations`."""
        return CellConditional(self, observations)

    def laws(self, observations: Observations, queries: np.ndarray, inputs: Array | None) -> Any:
        """Parameters of the head for all cells at the query times, (..., series, query, channel)."""
        times, mask = _host(observations)
        return self._laws(observations, times, mask, queries, inputs)[0]

    def _laws(
        self,
        observations: Observations,
        times: np.ndarray,
        visible: np.ndarray,
        queries: np.ndarray,
        asked: Array | None,
    ) -> tuple[Any, Array]:
        """Parameters of the head, and the values of the rows with a finite one where nothing was observed."""
        lead = np.broadcast_shapes(times.shape[:-1], visible.shape[:-2], queries.shape[:-1])
        found = _by_series(times, visible, queries, lead)
        xp = array_namespace(self.like)
        mask = asarray_like(visible, self.like)
        known = asarray_like(observations.mask, self.like)
        values = xp.where(known, asarray_like(observations.values, self.like), self.location)
        standard = self.head.features(values, self.location, self.scale)
        standard = xp.where(mask, standard, xp.zeros_like(standard))
        own = found if queries is times else _by_series(times, visible, times, lead)
        seen = _Seen(values, standard, mask, self._steps(own, standard, mask), self._inputs(observations.inputs))
        sides = [self._side(side, found, seen) for side in (0, 1)]
        near, middle = self._near(found, seen)
        raw = self._mixed(found, sides, near, self._others(found, seen), self._inputs(asked))
        return self.head.parameters(raw, middle, self.step), values

    def _steps(self, own: Neighbours, standard: Array, mask: Array) -> list[Array]:
        """Steps to each observed cell from its neighbours."""
        xp = array_namespace(standard)
        there = asarray_like(own.cells >= 0, self.like)
        taken = _cells(standard, np.maximum(own.cells, 0))
        steps = xp.where(there & mask, self._finer * (standard - taken), xp.zeros_like(taken))
        return [steps[0], steps[1]]

    def _side(self, side: int, found: Neighbours, seen: _Seen) -> Array:
        """What a network makes of the rows on one side of the query times, carried there, (..., series, query, 2 N)."""
        xp = array_namespace(self.like)
        order, present, gaps = found.order, found.present, found.gaps
        if side:
            order, present = order[..., ::-1], present[..., ::-1]
            gaps = np.concatenate([np.zeros_like(gaps[..., :1]), gaps[..., :0:-1]], axis=-1)
            gaps = np.where(present, gaps, 0.0)
        first = present & (np.cumsum(present, axis=-1) == 1)
        # What a row writes counts over the gap that it closes; the first one of a side closes a typical gap.
        gaps = np.where(first, 1.0, gaps / self.scales.gap)
        # torch takes no arrays that run backwards.
        order, present = order.copy(), present.copy()
        rows = [along_time(part, order) for part in (seen.standard, seen.steps[side])]
        rows += [xp.astype(along_time(seen.mask, order), self.like.dtype)]
        rows += [asarray_like(np.stack([np.log1p(gaps), first * 1.0], axis=-1), self.like)]
        rows += [] if seen.inputs is None else [along_time(seen.inputs, order)]
        lead = np.broadcast_shapes(tuple(self.like.shape[:-2]), *(tuple(row.shape[:-2]) for row in rows))
        u = xp.concat([xp.broadcast_to(row, (*lead, *row.shape[-2:])) for row in rows], axis=-1)
        name = ("left", "right")[side]
        y, _ = run(
            self.network,
            self.weights[name],
            u,
            asarray_like(gaps, self.like),
            mask=asarray_like(present, self.like),
            keep_state=False,
        )
        place = found.rows[side]
        there = asarray_like((place >= 0)[..., None] * 1.0, self.like)
        at = y.shape[-2] - 1 - place if side else place
        y = along_time(y, np.where(place >= 0, at, 0)) * there
        mix = self.weights["mix"]
        pairs = y @ mix[f"{name}.into"]
        h = asarray_like(found.row_gaps[side][..., None] / self.scales.gap, self.like)
        decay = xp.exp(-xp.exp(mix[f"{name}.log_rate"])[..., None, :] * h)
        angle = mix[f"{name}.frequency"][..., None, :] * h
        real, imaginary = pairs[..., : self.mix.num_states], pairs[..., self.mix.num_states :]
        cosine, sine = decay * xp.cos(angle), decay * xp.sin(angle)
        return xp.concat([real * cosine - imaginary * sine, real * sine + imaginary * cosine], axis=-1)

    def _near(self, found: Neighbours, seen: _Seen) -> tuple[Array, Array]:
        """Numbers of the nearest values of each cell's channel (..., query, channel, number), and their middle."""
        xp = array_namespace(self.like)
        there = found.cells >= 0
        gaps = found.cell_gaps / self.scales.gap
        total = gaps.sum(axis=0)
        # Interpolation where both sides are there, the nearer value where one is, the channel's mean where none is.
        share = np.where(there.all(axis=0), gaps[::-1] / np.where(total > 0, total, 1.0), there * 1.0)
        share = asarray_like(share, self.like)
        rest = asarray_like(1.0 * ~there.any(axis=0), self.like)
        taken = [_cells(array, np.maximum(found.cells, 0)) for array in (seen.standard, seen.values)]
        seen_there = asarray_like(there, self.like)
        standard, values = (xp.where(seen_there, array, xp.zeros_like(array)) for array in taken)
        middle = xp.sum(share * values, axis=0) + rest * self.location
        flags = asarray_like(there * 1.0, self.like)
        distance = asarray_like(np.log1p(gaps), self.like)
        center = xp.sum(share * standard, axis=0)
        shape = tuple(center.shape)
        away = self._finer * flags * (standard - center)
        farther = [_cells(seen.steps[k], np.maximum(found.cells[k : k + 1], 0))[0] * flags[k] for k in (0, 1)]
        parts = [*(array[k] for array in (away, farther, flags, distance) for k in (0, 1)), center]
        return xp.stack([xp.broadcast_to(part, shape) for part in parts], axis=-1), middle

    def _others(self, found: Neighbours, seen: _Seen) -> Array:
        """What was observed at the query times in other channels, (..., query, channel, 2 x channel)."""
        xp = array_namespace(self.like)
        C = self.mix.num_channels
        both = xp.concat([seen.standard, xp.astype(seen.mask, self.like.dtype)], axis=-1)
        shape = (*np.broadcast_shapes(both.shape[:-2], found.same.shape[:-2]), found.same.shape[-2], 2 * C)
        row = asarray_like(np.zeros(shape), self.like)
        for k in range(found.same.shape[-1]):
            place = found.same[..., k]
            taken = along_time(both, np.maximum(place, 0))
            taken = xp.where(asarray_like((place >= 0)[..., None], self.like), taken, xp.zeros_like(taken))
            # Rows at one time hold different cells, so that the later ones fill what the first leaves open.
            filled = xp.concat([row[..., C:], row[..., C:]], axis=-1) > 0
            row = xp.where(filled, row, taken)
        # A product with 0, not a difference: nothing of a cell's own value is left, not even rounding.
        apart = asarray_like(np.tile(1.0 - np.eye(C), (1, 2)), self.like)
        return row[..., None, :] * apart

    def _mixed(self, found: Neighbours, sides: list[Array], near: Array, others: Array, inputs: Array | None) -> Array:
        """Numbers of the head, (..., series, query, channel, number)."""
        xp = array_namespace(self.like)
        mix = self.weights["mix"]
        there = np.moveaxis(found.rows >= 0, 0, -1) * 1.0
        distance = np.log1p(np.moveaxis(found.row_gaps, 0, -1) / self.scales.gap)
        parts = [*sides, asarray_like(np.concatenate([there, distance], axis=-1), self.like)]
        parts += [] if inputs is None else [inputs]
        lead = np.broadcast_shapes(*(tuple(part.shape[:-1]) for part in parts))
        u = xp.concat([xp.broadcast_to(part, (*lead, part.shape[-1])) for part in parts], axis=-1)
        row = (u @ mix["sides"])[..., None, :]
        cell = near @ mix["near"][..., None, :, :] + others @ mix["others"][..., None, :, :]
        h = gelu(row + cell + mix["channel"][..., None, :, :])
        h = h + gelu(h @ mix["hidden"][..., None, :, :] + mix["hidden_bias"][..., None, None, :])
        shape = (*np.broadcast_shapes(tuple(near.shape[:-1]), tuple(others.shape[:-1])), -1)
        straight = [xp.broadcast_to(part, (*shape[:-1], part.shape[-1])) for part in (near, others)]
        direct = xp.concat(straight, axis=-1) @ mix["direct"][..., None, :, :]
        return h @ mix["out"][..., None, :, :] + mix["out_bias"][..., None, :, :] + direct

    def _inputs(self, inputs: Array | None) -> Array | None:
        """Known inputs in standard units; None where the process reads none."""
        count = len(self.scales.input_location)
        if not count:
            return None
        if inputs is None:
            raise ArgumentError(f"the process reads {count} inputs: give `inputs`, (..., series, time, input).")
        return (asarray_like(inputs, self.like) - self._input_location) / self._input_scale


class CellConditional(AbstractConditional):
    """Laws of cells given observations, to be asked about any times.

    Args:
        process: The process.
        observations: The observations.
    """

    def __init__(self, process: CellLaws, observations: Observations) -> None:
        self.process, self.observations = process, observations

    def at(self, times: Array, *, inputs: Array | None = None) -> CellPredictive:
        """Return the laws of the cells at `times`, (..., series, query).

        Args:
            times: Query times. What was observed in a cell does not count in its own law.
            inputs: Inputs at the query times, (..., series, query, input); by default those of the last row go on.
        """
        queries = concrete(times)
        if queries is None:
            raise CapabilityError("`times` must be numbers: they decide which rows lie before and after.")
        queries = np.asarray(queries, dtype=np.float64)
        known = self.observations.inputs
        if inputs is None and known is not None:
            # What was put in goes on until the next row.
            rows = _held_rows(_host(self.observations)[0], queries)
            inputs = along_time(asarray_like(known, self.process.like), rows)
        return CellPredictive(self.process, self.process.laws(self.observations, queries, inputs))


class CellPredictive(AbstractPredictive):
    """The law of each cell by itself; draws of different cells are independent.

    Args:
        process: The process.
        law: Parameters of the head, (..., series, query, channel).
    """

    family = "draws"

    def __init__(self, process: CellLaws, law: Any) -> None:
        self.process, self.law = process, law

    def mean(self, of: str = "observation") -> Array:
        """Marginal means."""
        _check(of)
        return self.process.head.mean(self.law)

    def variance(self, of: str = "observation") -> Array:
        """Marginal variances: 0 for the signal, which is the mean."""
        _check(of)
        variance = self.process.head.variance(self.law)
        return variance if of == "observation" else array_namespace(variance).zeros_like(variance)

    def log_density(self, values: Array) -> Array:
        """Marginal log density of each cell of `values`, (..., series, query, channel)."""
        return self.process.head.log_density(self.law, asarray_like(values, self.process.like))

    def draws(self, num_draws: int, *, random: Random, of: str = "observation") -> Array:
        """Draws of each cell by itself, (num_draws, ..., series, query, channel)."""
        _check(of)
        mean = self.process.head.mean(self.law)
        xp = array_namespace(mean)
        if of == "signal":
            return xp.broadcast_to(mean, (num_draws, *mean.shape))
        shape = tuple(mean.shape)
        wide = type(self.law)(
            *(xp.broadcast_to(part, (num_draws, *_full(tuple(part.shape), shape))) for part in self.law)
        )
        return self.process.head.sample(wide, random)


def _full(shape: tuple[int, ...], cells: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a parameter with all axes of the cells in front of its own."""
    return (*cells, *shape[len(cells) :])


def _check(of: str) -> None:
    if of not in ("observation", "signal"):
        raise CapabilityError(f"laws of cells have no states to be asked about; `of` is 'observation'; got {of!r}.")


def _host(observations: Observations) -> tuple[np.ndarray, np.ndarray]:
    """Times and mask as host arrays.

    Raises:
        CapabilityError: They are only being traced.
        ArgumentError: Times decrease.
    """
    times, mask = concrete(observations.times), concrete(observations.mask)
    if times is None or mask is None:
        raise CapabilityError(
            "`times` and `mask` must be numbers: they decide which rows lie before and after a cell. Keep them out of "
            "what is compiled or mapped."
        )
    times = np.asarray(times, dtype=np.float64)
    if (np.diff(times, axis=-1) < 0).any():
        raise ArgumentError("`times` must not decrease along a series: sort its rows.")
    return times, mask


def _held_rows(times: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Last row at or before each query time, (..., series, query); the first where there is none."""
    lead = np.broadcast_shapes(times.shape[:-1], queries.shape[:-1])
    rows = np.broadcast_to(times, (*lead, times.shape[-1])).reshape(-1, times.shape[-1])
    asked = np.broadcast_to(queries, (*lead, queries.shape[-1])).reshape(-1, queries.shape[-1])
    found = [np.searchsorted(*pair, side="right") - 1 for pair in zip(rows, asked, strict=True)]
    return np.maximum(np.reshape(found, (*lead, queries.shape[-1])).astype(int), 0)


def _by_series(times: np.ndarray, mask: np.ndarray, queries: np.ndarray, lead: tuple[int, ...]) -> Neighbours:
    """Neighbours with any leading axes: those of `lead`, series last."""
    flat = [
        np.broadcast_to(array, (*lead, *array.shape[-core:])).reshape(-1, *array.shape[-core:])
        for array, core in ((times, 1), (mask, 2), (queries, 1))
    ]
    found = neighbours(*flat)
    ahead = {"rows": 1, "row_gaps": 1, "cells": 1, "cell_gaps": 1}
    return Neighbours(
        *(
            part.reshape(*part.shape[: ahead.get(name, 0)], *lead, *part.shape[ahead.get(name, 0) + 1 :])
            for name, part in zip(Neighbours._fields, found, strict=True)
        )
    )


def _cells(values: Array, rows: np.ndarray) -> Array:
    """Values (..., series, time, channel) at rows (side, ..., series, query, channel), each channel at its own rows."""
    xp = array_namespace(values)
    lead = np.broadcast_shapes(tuple(values.shape[:-2]), rows.shape[:-2])
    values = xp.broadcast_to(values, (*lead, *values.shape[-2:]))
    index = asarray_like(np.broadcast_to(rows, (*lead, *rows.shape[-2:])), values)
    return xp.take_along_axis(values, index, axis=-2)
