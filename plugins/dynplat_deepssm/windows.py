r"""The law of blocks of rows given the window before them: direct forecasts of several steps at once.

.. math::
    p(y) = \prod_{t < L} N(y_t; \mu, \sigma^2) \,
    \prod_k \prod_{h, c} t_\nu\big(y_{L + kH + h, c};\ m_{hc}(w_k),\ s_{hc}(w_k)\big),

with the window :math:`w_k` of the L rows before block k. Steps and channels of a block are independent given the
window; the first L rows, which nothing precedes, are independent normal with the mean and variance of the training
cells. Forecasts begin a block after the last row, so that they are the network's own answer up to H steps ahead and are
drawn block after block beyond. Where blocks begin depends on where a series begins, and so the laws of different sets
of rows are not marginals of one law.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import NamedTuple

import numpy as np

from dynplat.arrays import Array, Observations, Random, array_namespace, asarray_like, log_gamma, take_rows
from dynplat.errors import CapabilityError
from dynplat.process.base import AbstractConditional, AbstractPredictive, AbstractProcess
from dynplat_deepssm.lattice import Lattice, lattice_of, off_lattice, on_lattice, places_of


class Standard(NamedTuple):
    """Unit of the channels, (channel,): what networks see is (y - location) / scale."""

    location: Array
    scale: Array


#: Function of standardised windows (..., window, channel, lookback) and what is seen of them that gives the locations
#: and the logarithms of the scales of the next rows, each (..., window, channel, horizon).
Outlook = Callable[[Array, Array], tuple[Array, Array]]


class WindowLaw(AbstractProcess):
    """The law of blocks given windows (see the module).

    Args:
        outlook: The network.
        lookback: Rows L of a window.
        horizon: Rows H of a block.
        step: Time between neighbouring rows.
        standard: Unit of the channels.
        freedom: Degrees of freedom nu, above 2, (..., 1): with an axis for the series.
    """

    forecasts_by_row = False

    def __init__(
        self, outlook: Outlook, *, lookback: int, horizon: int, step: float, standard: Standard, freedom: Array
    ) -> None:
        self.outlook, self.lookback, self.horizon, self.step = outlook, lookback, horizon, step
        self.standard, self.freedom = standard, freedom

    def log_prob_steps(self, observations: Observations) -> Array:
        """Terms (..., series, time)."""
        lattice = lattice_of(observations.times, self.step)
        values, seen = self._standardised(observations, lattice)
        first, rest = self.lookback, int(values.shape[-2]) - self.lookback
        xp = array_namespace(values)
        head = -0.5 * (values[..., :first, :] ** 2 + np.log(2.0 * pi))
        if rest > 0:
            # Whole blocks: the last one goes on past the end, where nothing is seen.
            lack = -rest % self.horizon
            values, seen = _extend(values, lack), _extend(seen, lack)
            head = xp.concat([head + 0.0 * self.freedom[..., None, None], self._blocks(values, seen)], axis=-2)
        terms = xp.where(seen, head - xp.log(self.standard.scale), xp.zeros_like(head))
        steps = xp.sum(terms, axis=-1)[..., : lattice.rows.shape[-1]]
        return off_lattice(steps, lattice, steps)

    def condition(self, observations: Observations) -> WindowConditional:
        """Return the law given `observations`, to be asked about later times."""
        return WindowConditional(self, observations)

    def _blocks(self, values: Array, seen: Array) -> Array:
        """Log densities of the standardised values behind the first window, (..., series, place, channel)."""
        xp = array_namespace(values)
        num_blocks = (int(values.shape[-2]) - self.lookback) // self.horizon
        begin = self.horizon * np.arange(num_blocks)[:, None]
        past = _rows(values, begin + np.arange(self.lookback)), _rows(seen, begin + np.arange(self.lookback))
        ahead = _rows(values, begin + self.lookback + np.arange(self.horizon))
        lead = tuple(past[0].shape[:-4])
        flat = [xp.reshape(part, (*lead, -1, *part.shape[-2:])) for part in past]
        mean, log_sd = self.outlook(flat[0], flat[1])
        target = xp.reshape(ahead, (*lead, -1, *ahead.shape[-2:]))
        found = log_student((target - mean) / xp.exp(log_sd), self.freedom[..., None, None]) - log_sd
        found = xp.matrix_transpose(xp.reshape(found, (*found.shape[:-3], *ahead.shape[-4:])))
        return xp.reshape(found, (*found.shape[:-4], ahead.shape[-4], num_blocks * self.horizon, ahead.shape[-2]))

    def _standardised(self, observations: Observations, lattice: Lattice) -> tuple[Array, Array]:
        like = self.standard.scale
        known = observations._replace(values=asarray_like(observations.values, like))
        values, seen = on_lattice(known, lattice)
        xp = array_namespace(values)
        values = (values - self.standard.location) / self.standard.scale
        return xp.where(seen, values, xp.zeros_like(values)), seen


class WindowConditional(AbstractConditional):
    """The law of blocks given data: their last windows."""

    def __init__(self, law: WindowLaw, observations: Observations) -> None:
        self._law = law
        self._lattice = lattice_of(observations.times, law.step)
        values, seen = law._standardised(observations, self._lattice)
        # Rows in front, where nothing is seen, so that every series has a whole window behind its end.
        first = self._lattice.last[..., None] + 1 + np.arange(law.lookback) - law.lookback
        there = asarray_like(first >= 0, values)
        rows = np.maximum(first, 0)
        self.window = _rows_of_series(values, rows), _rows_of_series(seen, rows) & there[..., None, :]

    def at(self, times: Array, *, inputs: Array | None = None) -> WindowPredictive:
        """Return the law at `times` after the last row of each series.

        Raises:
            CapabilityError: A time is not after the last row.
            ArgumentError: A time is off the lattice.
        """
        ahead = places_of(times, self._lattice.start, self._law.step) - self._lattice.last[..., None]
        if (ahead < 1).any():
            raise CapabilityError(
                "a direct forecaster answers about times after the last row of a series only: it has no law of a hole "
                "given both its sides. Use a model that conditions, such as 'deepssm/linear-gaussian'."
            )
        return WindowPredictive(self._law, self.window, ahead)


class WindowPredictive(AbstractPredictive):
    """The law of rows after the data; closed forms up to the horizon, draws beyond."""

    family = "draws"

    def __init__(self, law: WindowLaw, window: tuple[Array, Array], ahead: np.ndarray) -> None:
        self._law, self._window, self._ahead = law, window, ahead

    def mean(self, of: str = "observation") -> Array:
        """Marginal means."""
        self._check(of)
        return self._marginals("closed-form means")[0]

    def variance(self, of: str = "observation") -> Array:
        """Marginal variances: 0 for the signal, the location given the window."""
        self._check(of)
        xp = array_namespace(self._window[0])
        mean, log_sd = self._marginals("closed-form variances")
        if of == "signal":
            return xp.zeros_like(mean)
        freedom = self._law.freedom[..., None, None]
        return xp.exp(2.0 * log_sd) * freedom / (freedom - 2.0)

    def log_density(self, values: Array) -> Array:
        """Marginal log density of each cell of `values`."""
        xp = array_namespace(self._window[0])
        mean, log_sd = self._marginals("marginal densities")
        return log_student((values - mean) / xp.exp(log_sd), self._law.freedom[..., None, None]) - log_sd

    def draws(self, num_draws: int, *, random: Random, of: str = "observation") -> Array:
        """Joint draws, block after block."""
        self._check(of)
        xp = array_namespace(self._window[0])
        # A draw for each parameter draw: the axes of parameters stand behind that of the draws.
        lead = np.broadcast_shapes(self._window[0].shape[:-3], self._law.freedom.shape[:-1])
        x, seen = (xp.broadcast_to(part, (num_draws, *lead, *part.shape[-3:])) for part in self._window)
        blocks = []
        for _ in range(-(-int(self._ahead.max(initial=1)) // self._law.horizon)):
            mean, log_sd = self._outlook(x, seen)
            drawn = mean + xp.exp(log_sd) * _student(mean, self._law.freedom[..., None, None], random)
            blocks.append(mean if of == "signal" else drawn)
            x = xp.concat([x, drawn], axis=-1)[..., -self._law.lookback :]
            seen = xp.concat([seen, xp.ones_like(drawn, dtype=seen.dtype)], axis=-1)[..., -self._law.lookback :]
        return self._in_units(self._asked(xp.concat(blocks, axis=-1)))

    def _outlook(self, x: Array, seen: Array) -> tuple[Array, Array]:
        return self._law.outlook(x, seen)

    def _marginals(self, what: str) -> tuple[Array, Array]:
        """Locations and log scales in the units of the data, (..., series, query, channel)."""
        if (self._ahead > self._law.horizon).any():
            raise CapabilityError(
                f"a direct forecaster has {what} up to `horizon`, {self._law.horizon} steps, ahead; asked was for "
                f"{int(self._ahead.max())}. Ask for draws, or fit it with a longer horizon."
            )
        xp = array_namespace(self._window[0])
        mean, log_sd = (self._asked(part) for part in self._outlook(*self._window))
        return self._in_units(mean), log_sd + xp.log(self._law.standard.scale)

    def _asked(self, blocks: Array) -> Array:
        """Steps asked about out of (..., series, channel, step), as (..., series, query, channel)."""
        xp = array_namespace(blocks)
        return _rows_of_series(xp.matrix_transpose(blocks), self._ahead - 1, transpose=False)

    def _in_units(self, values: Array) -> Array:
        return self._law.standard.location + self._law.standard.scale * values

    def _check(self, of: str) -> None:
        if of == "state":
            raise CapabilityError("a direct forecaster has no states to be asked about. Ask for `of='observation'`.")


def log_student(z: Array, freedom: Array) -> Array:
    """Log density of Student's t with `freedom` degrees of freedom at z."""
    xp = array_namespace(z, freedom)
    constant = log_gamma(0.5 * (freedom + 1.0)) - log_gamma(0.5 * freedom) - 0.5 * xp.log(freedom * pi)
    return constant - 0.5 * (freedom + 1.0) * xp.log1p(z * z / freedom)


def _student(like: Array, freedom: Array, random: Random) -> Array:
    """Draws of Student's t by Bailey's polar method (Mathematics of Computation 62, 1994), of the shape of `like`."""
    xp = array_namespace(like)
    u, v = random.uniform(like.shape), random.uniform(like.shape)
    # u is below 1 and may be 0: 1 - u is never 0, and u = 0 gives a draw of 0.
    radius = xp.expm1(-2.0 / freedom * xp.log1p(-u))
    return xp.sqrt(freedom * radius) * xp.cos(2.0 * pi * v)


def _extend(values: Array, count: int) -> Array:
    """Append rows of zeros (or False) to (..., place, channel)."""
    xp = array_namespace(values)
    row = xp.zeros_like(values[..., :1, :])
    return xp.concat([values, *[row] * count], axis=-2)


def _rows(values: Array, index: np.ndarray) -> Array:
    """Rows `index` (block, row) of values (..., place, channel), as (..., block, channel, row)."""
    xp = array_namespace(values)
    flat = xp.take(values, asarray_like(index.reshape(-1), values), axis=-2)
    shape = (*values.shape[:-2], *index.shape, values.shape[-1])
    return xp.matrix_transpose(xp.reshape(flat, shape))


def _rows_of_series(values: Array, index: np.ndarray, *, transpose: bool = True) -> Array:
    """Rows `index` (series, row) of values (..., series, place, channel), with time last where `transpose` says so."""
    xp = array_namespace(values)
    found = take_rows(values, asarray_like(index, values), num_core=1)
    return xp.matrix_transpose(found) if transpose else found
