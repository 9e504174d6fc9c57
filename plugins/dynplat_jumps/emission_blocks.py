"""Parameters of emissions as blocks (see `blocks`): given the states of rows, each state has its own few statistics."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from dynplat.arrays import Observations, log_gamma
from dynplat.errors import InferenceError
from dynplat_jumps.blocks import AbstractBlock, Coordinate, PathStatistics, Values
from dynplat_jumps.slices import slice_draw

#: Standard deviation of a state, relative to that of the data, below which a likelihood is taken to have no bound.
_COLLAPSED = 1e-7
#: Bounds of the degrees of freedom in EM; beyond, Student's law is the normal one.
_DEGREES = (0.05, 1e4)


class Bell(NamedTuple):
    """Normal priors of numbers, or of logarithms.

    Attributes:
        centre: Means.
        spread: Standard deviations, of the same shape.
    """

    centre: np.ndarray
    spread: np.ndarray

    def log_density(self, values: np.ndarray) -> np.ndarray:
        """Log density of each number, up to a constant."""
        return -0.5 * ((values - self.centre) / self.spread) ** 2


class Rows:
    """Rows of all series, one after another, with what was seen of them.

    Args:
        observations: The observations.
    """

    def __init__(self, observations: Observations) -> None:
        values, mask = np.asarray(observations.values), np.asarray(observations.mask)
        self.seen = np.broadcast_to(mask, values.shape).reshape(-1, values.shape[-1])
        #: Values (row, channel), 0 where nothing was seen.
        self.values = np.where(self.seen, values.reshape(-1, values.shape[-1]), 0.0).astype(np.float64)

    def weights(self, paths: PathStatistics) -> np.ndarray:
        """Probability of each state where a cell was seen, (row, K, channel)."""
        states = paths.states.reshape(-1, paths.states.shape[-1])
        return states[:, :, None] * self.seen[:, None, :]


class NormalBlock(AbstractBlock):
    """Centres and standard deviations of normal values.

    Given the states and the scales, centres are normal; the logarithms of scales are drawn by slice sampling given the
    centres. A channel of which a state has nothing, or one value, keeps what it had in EM.

    Args:
        observations: The observations.
        location: Prior of the centres, (K, channel).
        log_scale: Prior of the logarithms of scales, (K, channel).
        unit: Spread of the data, (channel,).
    """

    def __init__(self, observations: Observations, location: Bell, log_scale: Bell, unit: np.ndarray) -> None:
        self._rows, self._location, self._log_scale = Rows(observations), location, log_scale
        self._unit = np.asarray(unit, dtype=np.float64)
        self.coordinates: Mapping[str, Coordinate] = {
            "location": Coordinate("real", self._unit),
            "noise_scale": Coordinate("log"),
        }

    def maximise(self, values: Values, paths: PathStatistics) -> dict[str, np.ndarray]:
        """Means and standard deviations, weighted by the probabilities of states."""
        weights = self._rows.weights(paths)
        return self._weighted(values, weights, weights)

    def draw(self, values: Values, paths: PathStatistics, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw centres, then scales."""
        return self._drawn(values, self._rows.weights(paths), self._rows.weights(paths), rng)

    def _weighted(self, values: Values, weights: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Weighted means and root mean squares; `counts` are what squares are divided by."""
        total, number = weights.sum(axis=0), counts.sum(axis=0)
        seen = total > 0
        mean = (weights * self._rows.values[:, None]).sum(axis=0) / np.where(seen, total, 1.0)
        location = np.where(seen, mean, values["location"])
        away = self._rows.values[:, None] - location
        square = (weights * away**2).sum(axis=0) / np.where(number > 0, number, 1.0)
        scale = np.where(number > 0, np.sqrt(square), values["noise_scale"])
        small = scale < _COLLAPSED * self._unit
        if small.any():
            state, channel = (int(i) for i in np.argwhere(small)[0])
            raise InferenceError(
                f"EM: state {state + 1} shrinks onto a single value of channel {channel}, where the likelihood has no "
                "bound. Use fewer states, or a prior with 'map' or 'nuts'."
            )
        return {"location": location, "noise_scale": scale}

    def _drawn(
        self, values: Values, weights: np.ndarray, counts: np.ndarray, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Draws where the precision of a value is its weight over the square of the scale."""
        prior, scale = self._location, values["noise_scale"]
        precision = weights.sum(axis=0) / scale**2 + prior.spread**-2.0
        mean = (weights * self._rows.values[:, None]).sum(axis=0) / scale**2 + prior.centre / prior.spread**2
        location = mean / precision + rng.normal(size=precision.shape) / np.sqrt(precision)
        square = (weights * (self._rows.values[:, None] - location) ** 2).sum(axis=0)
        number = counts.sum(axis=0)

        def log_density(log_scale: np.ndarray) -> np.ndarray:
            return (
                -number * log_scale - 0.5 * square * np.exp(-2.0 * log_scale) + self._log_scale.log_density(log_scale)
            )

        drawn = slice_draw(log_density, np.log(scale), 2.0 / np.sqrt(1.0 + number), rng)
        return {"location": location, "noise_scale": np.exp(drawn)}


class StudentBlock(NormalBlock):
    r"""Centres and scales of heavy-tailed values, and their degrees of freedom.

    A value is normal with standard deviation :math:`\sigma / \sqrt{w}`, :math:`w \sim \mathrm{Gamma}(\nu/2, \nu/2)`.
    EM takes the expected w, and the degrees that maximise the expected likelihood without w (Liu and Rubin 1995, ML
    estimation of the t distribution using EM and its extensions, ECM and ECME, Statistica Sinica 5, 19-39). The Gibbs
    sampler draws the degrees without w, then w, then centres and scales.

    Args:
        observations: See `NormalBlock`.
        location: See `NormalBlock`.
        log_scale: See `NormalBlock`.
        unit: See `NormalBlock`.
        log_degrees: Prior of the logarithm of the degrees of freedom, ().
    """

    def __init__(
        self, observations: Observations, location: Bell, log_scale: Bell, unit: np.ndarray, log_degrees: Bell
    ) -> None:
        super().__init__(observations, location, log_scale, unit)
        self._log_degrees = log_degrees
        self.coordinates = {**self.coordinates, "degrees": Coordinate("log")}

    def maximise(self, values: Values, paths: PathStatistics) -> dict[str, np.ndarray]:
        """Centres and scales with the expected weights of values, then the degrees."""
        from scipy.optimize import minimize_scalar

        states, nu = self._rows.weights(paths), float(values["degrees"])
        found = self._weighted(values, states * (nu + 1.0) / (nu + self._squares(values)), states)
        squares = self._squares(found)
        least, most = np.log(_DEGREES)
        best = minimize_scalar(
            lambda log_nu: -_log_student(np.exp(log_nu), squares, states),
            bounds=(least, most),
            method="bounded",
            options={"xatol": 1e-8},
        )
        # The best of both, so that a step never loses.
        now = -_log_student(nu, squares, states)
        return {**found, "degrees": np.asarray(np.exp(best.x) if best.fun < now else nu)}

    def draw(self, values: Values, paths: PathStatistics, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw degrees, weights of values, centres and scales."""
        states, squares = self._rows.weights(paths), self._squares(values)
        inside = states > 0
        own, ones = squares[inside], np.ones(int(inside.sum()))

        def log_density(log_nu: np.ndarray) -> np.ndarray:
            return np.asarray(_log_student(np.exp(log_nu), own, ones) + self._log_degrees.log_density(log_nu))

        log_nu = slice_draw(log_density, np.log(values["degrees"]), 1.0, rng)
        nu = float(np.exp(log_nu))
        weights = np.zeros(states.shape)
        weights[inside] = rng.gamma(0.5 * (nu + 1.0), 2.0 / (nu + own))
        return {**self._drawn(values, weights, states, rng), "degrees": np.exp(log_nu)}

    def _squares(self, values: Values) -> np.ndarray:
        """Squares of standardised values, (row, K, channel)."""
        return ((self._rows.values[:, None] - values["location"]) / values["noise_scale"]) ** 2


def _log_student(nu: np.ndarray | float, squares: np.ndarray, weights: np.ndarray) -> float:
    """Weighted sum of Student's log densities of standardised values, without terms of their scales."""
    nu = np.asarray(nu, dtype=np.float64)
    top = log_gamma(0.5 * (nu + 1.0)) - log_gamma(0.5 * nu) - 0.5 * np.log(np.pi * nu)
    return float((weights * (top - 0.5 * (nu + 1.0) * np.log1p(squares / nu))).sum())


class CountsBlock(AbstractBlock):
    """Expected counts of Poisson values, (K, channel); their logarithms are drawn by slice sampling.

    Args:
        observations: The observations.
        log_rate: Prior of their logarithms.
    """

    def __init__(self, observations: Observations, log_rate: Bell) -> None:
        self._rows, self._log_rate = Rows(observations), log_rate
        self.coordinates = {"count_rate": Coordinate("log")}

    def maximise(self, values: Values, paths: PathStatistics) -> dict[str, np.ndarray]:
        """Weighted means."""
        number, total = self._statistics(paths)
        return {"count_rate": np.where(number > 0, total / np.where(number > 0, number, 1.0), values["count_rate"])}

    def draw(self, values: Values, paths: PathStatistics, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw the logarithms."""
        number, total = self._statistics(paths)

        def log_density(log_rate: np.ndarray) -> np.ndarray:
            return total * log_rate - number * np.exp(log_rate) + self._log_rate.log_density(log_rate)

        drawn = slice_draw(log_density, np.log(values["count_rate"]), 2.0 / np.sqrt(1.0 + total), rng)
        return {"count_rate": np.exp(drawn)}

    def _statistics(self, paths: PathStatistics) -> tuple[np.ndarray, np.ndarray]:
        weights = self._rows.weights(paths)
        return weights.sum(axis=0), (weights * self._rows.values[:, None]).sum(axis=0)


class CodesBlock(AbstractBlock):
    """Probabilities of codes, Dirichlet a priori, and given the states.

    Args:
        observations: The observations.
        concentration: Concentrations of the priors, (K, channel, code).
    """

    def __init__(self, observations: Observations, concentration: np.ndarray) -> None:
        self._rows, self._concentration = Rows(observations), np.asarray(concentration, dtype=np.float64)
        self.coordinates = {"code_probability": Coordinate("simplex")}

    def maximise(self, values: Values, paths: PathStatistics) -> dict[str, np.ndarray]:
        """Shares of expected codes."""
        counts = self._counts(paths)
        total = counts.sum(axis=-1, keepdims=True)
        shares = counts / np.where(total > 0, total, 1.0)
        return {"code_probability": np.where(total > 0, shares, values["code_probability"])}

    def draw(self, values: Values, paths: PathStatistics, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw the probabilities."""
        weights = rng.gamma(self._concentration + self._counts(paths))
        return {"code_probability": weights / weights.sum(axis=-1, keepdims=True)}

    def _counts(self, paths: PathStatistics) -> np.ndarray:
        weights = self._rows.weights(paths)
        codes = np.arange(self._concentration.shape[-1])
        return np.stack([(weights * (self._rows.values[:, None] == code)).sum(axis=0) for code in codes], axis=-1)


class ErrorsBlock(AbstractBlock):
    """Log odds of labels that are mistaken for others, against the right label.

    Args:
        observations: The observations; rows whose label is known to be right are left out of them.
        errors: The errors that can be made, (state, label).
        first: Label of the first state.
        logit: Prior of the log odds, (error,).
    """

    def __init__(self, observations: Observations, errors: np.ndarray, first: int, logit: Bell) -> None:
        self._rows, self._logit = Rows(observations), logit
        self._state, self._label = np.asarray(errors, dtype=np.int64).reshape(-1, 2).T
        self._first = first
        #: Log odds past which a probability of 0 or 1 is out of reach of any data.
        self._most = 40.0
        self.coordinates = {"error_logit": Coordinate("real")}

    def maximise(self, values: Values, paths: PathStatistics) -> dict[str, np.ndarray]:
        """Log odds of expected labels."""
        wrong, right, _ = self._counts(paths)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.log(wrong) - np.log(right)
        return {
            "error_logit": np.clip(np.where(np.isnan(found), values["error_logit"], found), -self._most, self._most)
        }

    def draw(self, values: Values, paths: PathStatistics, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw the log odds one after another."""
        wrong, _, total = self._counts(paths)
        logits = np.array(values["error_logit"], dtype=np.float64)
        for index, state in enumerate(self._state):
            others = (self._state == state) & (np.arange(len(logits)) != index)
            rest = 1.0 + np.exp(logits[others]).sum()
            prior = Bell(self._logit.centre[index], self._logit.spread[index])
            log_density = partial(_log_odds, wrong=wrong[index], total=total[index], rest=rest, prior=prior)
            logits[index] = slice_draw(log_density, logits[index], 1.0, rng)
        return {"error_logit": logits}

    def _counts(self, paths: PathStatistics) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers of each error, of right labels of its state, and of all labels of its state, (error,)."""
        K = paths.states.shape[-1]
        weights = self._rows.weights(paths)[..., 0]
        table = weights.T @ (self._rows.values[:, :1] - self._first == np.arange(K))
        return table[self._state, self._label], table[self._state, self._state], table.sum(axis=1)[self._state]


def _log_odds(logit: np.ndarray, *, wrong: float, total: float, rest: float, prior: Bell) -> np.ndarray:
    """Log density of the log odds of one error out of several, whose other odds sum to `rest`."""
    return wrong * logit - total * np.log(rest + np.exp(logit)) + prior.log_density(logit)
