r"""Autoregressive deep state-space processes: a network reads the past and names the law of the next row.

.. math::
    p(y_1, \dots, y_T) = \prod_k \prod_c p(y_{kc} \mid \theta_{kc}), \qquad
    \theta_k, x_k = \mathrm{network}(x_{k-1};\ \tilde y_{k-1}, m_{k-1}, \log(1 + h_k), s_k, u_k;\ h_k)

over the rows in which something was observed. The network reads the row before (values in standard units, 0 where they
are missing, and which of them are there), the gap h that the row closes, whether the row is the first (s), and the
known inputs of the row; its layers are discretised over the gap too, in units of the typical gap. Channels of a row are
independent given the rows before. All rows run in one parallel pass; draws run row after row on the state.

The law of a row does not depend on what follows, and a row in which nothing was observed is as if it were not there,
but a missing value is *not* integrated out of the rows after it: laws for different sets of rows are not marginals of
one law, and there is no law of a hole given both its sides.

Source: Salinas et al. (2020), DeepAR: probabilistic forecasting with autoregressive recurrent networks, International
Journal of Forecasting 36.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dynplat.arrays import Array, Observations, Random, array_namespace, asarray_like, concrete, random_source
from dynplat.errors import ArgumentError, CapabilityError
from dynplat.process import AbstractConditional, AbstractPredictive, AbstractProcess, Draw
from dynplat.semigroup.log_matrix import log_sum_exp
from dynplat_deepssm.executors import run, step
from dynplat_deepssm.heads import AbstractHead
from dynplat_deepssm.layer import AbstractLayer, Parameters
from dynplat_deepssm.rows import Packed, before, pack
from dynplat_deepssm.stacks import lead_of, widen

#: Paths over which the density of a row that is not the next one is averaged, and their seed.
NUM_PATHS, _SEED = 200, 0


@dataclass(frozen=True, eq=False)
class Scales:
    """Units in which a network reads rows; host arrays.

    Args:
        location: Centre of each channel, (channel,).
        scale: Spread of each channel, (channel,).
        gap: Typical gap.
        input_location: Centre of each known input, (input,).
        input_scale: Spread of each known input, (input,).
    """

    location: np.ndarray
    scale: np.ndarray
    gap: float
    input_location: np.ndarray
    input_scale: np.ndarray

    @property
    def num_features(self) -> int:
        """Numbers of a row that a network reads: values, which are there, gap, first row, inputs."""
        return 2 * len(self.location) + 2 + len(self.input_location)


class _Past(NamedTuple):
    """What a next row follows: the state, what the network reads of the last row, its time and whether there is one."""

    state: Any
    read: Array
    time: Array
    some: Array
    held: Array | None


class Autoregressive(AbstractProcess):
    """A process whose next row follows a head, given what a network makes of the rows before (see the module).

    Args:
        network: A causal layer from `scales.num_features` inputs to the numbers of the head for all channels.
        head: The law of a value.
        weights: Weights of the network, (..., series or 1, *shape).
        scales: Units.
    """

    def __init__(self, network: AbstractLayer, head: AbstractHead, weights: Parameters, scales: Scales) -> None:
        self.network, self.head, self.weights, self.scales = network, head, weights, scales
        self.like = weights["shortcut"]
        self.location, self.scale, self._input_location, self._input_scale = (
            asarray_like(array, self.like)
            for array in (scales.location, scales.scale, scales.input_location, scales.input_scale)
        )

    @property
    def num_channels(self) -> int:
        """Number of channels."""
        return len(self.scales.location)

    def log_prob_steps(self, observations: Observations) -> Array:
        r"""Terms :math:`\log p(y_t \mid y_{<t})`, (..., series, time); a row with nothing observed gives exactly 0.

        Raises:
            ArgumentError: Inputs are missing, or times decrease.
        """
        found = self._run(observations, keep_state=False)
        cells = self.head.log_density(self._law(found.raw), found.values)
        xp = array_namespace(cells)
        steps = xp.sum(xp.where(found.mask, cells, xp.zeros_like(cells)), axis=-1)
        return found.packed.back(steps)

    def sample(self, times: Array, *, random: Random, inputs: Array | None = None) -> Draw:
        """Draw trajectories at `times`, (..., series, time), one for each leading index of the weights."""
        gaps = self._gaps(times)
        lead = np.broadcast_shapes(lead_of(self.weights), tuple(gaps.shape[:-1]))
        rows = self._rollout(self._nothing(lead, times), times, inputs, random)
        return Draw(array_namespace(self.like).stack([values for _, values in rows], axis=-2))

    def condition(self, observations: Observations) -> AutoregressiveConditional:
        """Return the law given `observations`, to be asked about later times."""
        return AutoregressiveConditional(self, observations)

    def _run(self, observations: Observations, *, keep_state: bool) -> _Run:
        """Run the network over the rows that are there."""
        xp = array_namespace(self.like)
        packed = pack(observations)
        host = concrete(packed.gaps)
        if host is not None and (host < 0).any():
            raise ArgumentError("`times` must not decrease along a series: sort its rows.")
        mask = packed.take(asarray_like(observations.mask, self.like))
        values = packed.take(asarray_like(observations.values, self.like))
        values = xp.where(mask, values, self.location)
        read = self._read(values, mask)
        present = asarray_like(packed.present, self.like)
        gaps = asarray_like(packed.gaps, self.like) / self.scales.gap
        inputs = self._inputs(observations.inputs)
        first = present & ~before(present[..., None])[..., 0]
        u = self._features(before(read), gaps, first, None if inputs is None else packed.take(inputs))
        lead = np.broadcast_shapes(lead_of(self.weights), tuple(u.shape[:-2]))
        u = xp.broadcast_to(u, (*lead, *u.shape[-2:]))
        raw, state = run(self.network, self.weights, u, gaps, mask=present, keep_state=keep_state)
        return _Run(packed, values, mask, read, raw, state)

    def _law(self, raw: Array) -> Any:
        """Parameters of the head from outputs of the network."""
        return self.head.parameters(self.head.split(raw, self.num_channels), self.location, self.scale)

    def _read(self, values: Array, mask: Array) -> Array:
        """What the network reads of the values of a row: standard units, 0 where nothing is, and what is there."""
        xp = array_namespace(values)
        seen = self.head.features(values, self.location, self.scale)
        return xp.concat([xp.where(mask, seen, xp.zeros_like(seen)), xp.astype(mask, values.dtype)], axis=-1)

    def _features(self, read: Array, gaps: Array, first: Array, inputs: Array | None) -> Array:
        """All that the network reads in a row, (..., feature)."""
        xp = array_namespace(self.like)
        parts = [read, xp.log1p(gaps)[..., None], xp.astype(first, read.dtype)[..., None]]
        parts += [] if inputs is None else [inputs]
        lead = np.broadcast_shapes(*(tuple(part.shape[:-1]) for part in parts))
        return xp.concat([xp.broadcast_to(part, (*lead, part.shape[-1])) for part in parts], axis=-1)

    def _inputs(self, inputs: Array | None) -> Array | None:
        """Known inputs in standard units; None where the process reads none."""
        count = len(self.scales.input_location)
        if not count:
            return None
        if inputs is None:
            raise ArgumentError(f"the process reads {count} inputs: give `inputs`, (..., series, time, input).")
        return (asarray_like(inputs, self.like) - self._input_location) / self._input_scale

    def _gaps(self, times: Array) -> Array:
        """Gaps before each row in units, (..., time), in the precision of the times; 0 before the first."""
        host = concrete(times)
        if host is not None:
            times = np.asarray(host, dtype=np.float64)
            if (np.diff(times, axis=-1) < 0).any():
                raise ArgumentError("`times` must not decrease along a series: sort them.")
        xp = array_namespace(times)
        steps = xp.concat([xp.zeros_like(times[..., :1]), times[..., 1:] - times[..., :-1]], axis=-1)
        return asarray_like(steps / self.scales.gap, self.like)

    def _nothing(self, lead: tuple[int, ...], times: Array) -> _Past:
        """The past of a first row."""
        xp = array_namespace(self.like)
        zeros = xp.broadcast_to(self.like[(0,) * self.like.ndim], (*lead, self.scales.num_features)) * 0.0
        state = self.network.initial(self.weights, zeros[..., None, :])
        read = zeros[..., : 2 * self.num_channels]
        return _Past(state, read, times[..., 0], np.zeros(lead, bool), None)

    def _rollout(self, past: _Past, times: Array, inputs: Array | None, random: Random) -> Iterator[tuple[Any, Array]]:
        """Row after row: the parameters of its law given a path so far, and the values drawn from it."""
        xp = array_namespace(self.like)
        lead = tuple(past.read.shape[:-1])
        state, read = past.state, past.read
        gaps = self._gaps(_with_start(past, times))[..., 1:]
        rows = self._inputs(past.held if inputs is None else inputs)
        first = asarray_like(~past.some, self.like)
        seen = asarray_like(np.ones(1, bool), self.like)
        for k in range(int(times.shape[-1])):
            row = None if rows is None else rows[..., min(k, rows.shape[-2] - 1), :]
            u = self._features(read, gaps[..., k], first, row)
            u = xp.broadcast_to(u, (*lead, u.shape[-1]))
            raw, state = step(self.network, self.weights, state, u, xp.broadcast_to(gaps[..., k], lead))
            law = self._law(raw)
            values = self.head.sample(law, random)
            read, first = self._read(values, xp.broadcast_to(seen, tuple(values.shape))), first & ~first
            yield law, values


class _Run(NamedTuple):
    """A run over observed rows: those rows, values and mask, what was read, numbers of the head, the last state."""

    packed: Packed
    values: Array
    mask: Array
    read: Array
    raw: Array
    state: Any


def _with_start(past: _Past, times: Array) -> Array:
    """Times with that of the last row in front; a series without rows starts at the first time."""
    xp = array_namespace(times)
    start = past.time[..., None]
    if xp is np:
        start = np.where(past.some[..., None], start, times[..., :1])
    else:
        start = xp.where(asarray_like(past.some, times)[..., None], asarray_like(start, times), times[..., :1])
    lead = np.broadcast_shapes(tuple(start.shape[:-1]), tuple(times.shape[:-1]))
    parts = (xp.broadcast_to(part, (*lead, part.shape[-1])) for part in (start, times))
    return xp.concat(list(parts), axis=-1)


class AutoregressiveConditional(AbstractConditional):
    """An autoregressive process given observations, to be asked about times after them.

    Args:
        process: The process.
        observations: The observations.
    """

    def __init__(self, process: Autoregressive, observations: Observations) -> None:
        self.process = process
        found = process._run(observations, keep_state=True)
        present = found.packed.present
        xp = array_namespace(present)
        inputs = observations.inputs
        held = None if inputs is None else found.packed.take(asarray_like(inputs, process.like))[..., -1:, :]
        lead = tuple(found.raw.shape[:-2])
        read = array_namespace(found.read).broadcast_to(found.read[..., -1, :], (*lead, found.read.shape[-1]))
        self.past = _Past(found.state, read, found.packed.last, xp.any(present, axis=-1), held)

    def at(self, times: Array, *, inputs: Array | None = None) -> AutoregressivePredictive:
        """Return the joint law at `times`, (..., series or 1, query), none before the last observed row.

        Args:
            times: Query times, non-decreasing.
            inputs: Inputs at the query times, (..., series, query, input); by default the last observed row's go on.

        Raises:
            CapabilityError: A time lies before the last observed row of its series.
        """
        host, last, some = (concrete(value) for value in (times, self.past.time, self.past.some))
        if host is not None and last is not None and some is not None:
            early = (np.asarray(host, dtype=np.float64) < last[..., None]) & some[..., None]
            if early.any():
                place = tuple(int(i) for i in np.argwhere(early)[0])
                raise CapabilityError(
                    f"time {np.broadcast_to(host, early.shape)[place]:g} of series {place[-2]} lies before its last "
                    f"observed row, at {np.broadcast_to(last[..., None], early.shape)[place]:g}: an autoregressive "
                    "process has no law inside the data. Ask `deepssm/imputer` or another model that conditions."
                )
        return AutoregressivePredictive(self.process, self.past, times if host is None else host, inputs)


class AutoregressivePredictive(AbstractPredictive):
    """The law of rows after the data, by ancestral draws: each row is drawn given the rows drawn before it.

    Args:
        process: The process.
        past: What the first of them follows.
        times: Query times.
        inputs: Inputs there, or None.
    """

    family = "draws"

    def __init__(self, process: Autoregressive, past: _Past, times: Array, inputs: Array | None) -> None:
        self.process, self.past, self.times, self.inputs = process, past, times, inputs

    def draws(self, num_draws: int, *, random: Random, of: str = "observation") -> Array:
        """Joint draws over all query times, (num_draws, ..., series, query, channel).

        The `signal` of a row is the mean of its law given the rows drawn before it.
        """
        if of not in ("observation", "signal"):
            raise ArgumentError(f"`of` must be 'observation' or 'signal' for an autoregressive process; got {of!r}.")
        rows = self._rows(num_draws, random)
        taken = [values if of == "observation" else self.process.head.mean(law) for law, values in rows]
        return array_namespace(taken[0]).stack(taken, axis=-2)

    def log_density(self, values: Array) -> Array:
        """Marginal log density of each cell of `values`, (..., series, query, channel).

        That of the next row is exact. Those of later rows are averages over `NUM_PATHS` paths up to them, always the
        same ones, of the density given the path.
        """
        process = self.process
        values = asarray_like(values, process.like)
        size = int(self.times.shape[-1])
        paths = 1 if size == 1 else NUM_PATHS
        cells = [
            process.head.log_density(law, values[..., k, :])
            for k, (law, _) in enumerate(self._rows(paths, random_source(_SEED, process.like)))
        ]
        stacked = array_namespace(values).stack(cells, axis=-2)
        return log_sum_exp(stacked, axis=0) - math.log(paths)

    def _rows(self, count: int, random: Random) -> Iterator[tuple[Any, Array]]:
        past = self.past
        lead = tuple(past.read.shape[:-1])
        wide = (count, *np.broadcast_shapes(lead, tuple(self.times.shape[:-1])))
        read = array_namespace(past.read).broadcast_to(past.read, (*wide, past.read.shape[-1]))
        past = past._replace(state=widen(past.state, lead, wide), read=read)
        return self.process._rollout(past, self.times, self.inputs, random)
