"""The log density of a model under NumPyro: compiled, differentiated and vectorised by JAX."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
import numpyro

from dynplat.arrays import Array
from dynplat.inference.density import AbstractDensity, Evaluated, Objective
from dynplat.inference.dialect import AbstractDialect, Point
from dynplat.inference.numpyro import NumpyroLanguage

#: Number of vectors from which on a prior is evaluated at all of them at once.
_MANY = 64


class JaxDensity(AbstractDensity):
    """The log density of a model under NumPyro. See `AbstractDensity`."""

    def dialect(self, point: Point | None = None) -> NumpyroLanguage:
        """A fresh run of the language."""
        return NumpyroLanguage(self.context.num_series, self.to_array, point)

    def value_and_gradient(self, vector: np.ndarray, objective: Objective) -> tuple[float, np.ndarray]:
        """The objective at a vector (size,) and its gradient (size,)."""
        value, gradient = self._gradients[objective](self.to_array(vector))
        return float(value), np.asarray(gradient, dtype=np.float64)

    def evaluate(self, vectors: np.ndarray) -> Evaluated:
        """All sites, the log prior and the log Jacobian at vectors (draw, size)."""
        arrays = self.to_array(vectors)
        if len(vectors) > _MANY:
            sites, log_prior, log_jacobian = self._prior_at_many(arrays)
        else:
            # One compiled form for any small number of vectors.
            runs = [self._prior_at_one(vector) for vector in arrays]
            sites = {name: np.stack([np.asarray(run[0][name]) for run in runs]) for name in self.infos}
            log_prior, log_jacobian = (np.array([float(run[index]) for run in runs]) for index in (1, 2))
        return Evaluated(
            self._host(sites), np.asarray(log_prior, dtype=np.float64), np.asarray(log_jacobian, dtype=np.float64)
        )

    def log_joint(self, values: Mapping[str, np.ndarray]) -> float:
        """Log prior plus log likelihood at values of the sites on their natural scale."""

        def joint(values: dict[str, Array]) -> Array:
            dialect = self.run_prior(Point(values, unconstrained=False))
            return dialect.log_prior + self.log_likelihood(dialect)

        return float(jax.jit(joint)({name: self.to_array(value) for name, value in values.items()}))

    def complete(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All sites (draw, series or 1, core) from values (draw, ...) of those that are not deterministic."""

        def one(values: dict[str, Array]) -> dict[str, Array]:
            return self.run_prior(Point(values, unconstrained=False)).sites

        arrays = {name: self.to_array(values[name]) for name in self.layout.shapes}
        return self._host(jax.jit(jax.vmap(one))(arrays))

    def prior_vectors(self, num_draws: int, seed: int) -> np.ndarray:
        """Draws of the prior as vectors (draw, size)."""

        def one(key: Array) -> dict[str, Array]:
            dialect = self._seeded(key)
            return {name: self._unconstrain(dialect, name) for name in self.layout.shapes}

        draws = jax.jit(jax.vmap(one))(self._keys(num_draws, seed))
        return self.layout.join({name: np.asarray(value) for name, value in draws.items()})

    def prior_sites(
        self, num_draws: int, seed: int, given: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Draws of all sites (draw, series or 1, core) from the prior, those in `given` (draw, ...) held fixed."""

        def one(key: Array, fixed: dict[str, Array]) -> dict[str, Array]:
            return self._seeded(key, fixed).sites

        fixed = {name: self.to_array(value) for name, value in (given or {}).items()}
        return self._host(jax.jit(jax.vmap(one))(self._keys(num_draws, seed), fixed))

    def _structure(self, seed: int) -> tuple[AbstractDialect, dict[str, tuple[int, ...]]]:
        runs = []

        def run(key: Array) -> dict[str, Array]:
            runs.append(self._seeded(key))
            return {name: self._unconstrain(runs[-1], name) for name in runs[-1].supports}

        # Abstract evaluation: a run op by op would compile every operation of every sampler.
        shapes = jax.eval_shape(run, jax.random.key(seed))
        return runs[-1], {name: tuple(shapes[name].shape) for name in runs[-1].supports}

    def _keys(self, num_draws: int, seed: int) -> Array:
        return jax.random.split(jax.random.key(seed), num_draws)

    def _seeded(self, key: Array, given: Mapping[str, Array] | None = None) -> NumpyroLanguage:
        dialect = self.dialect()
        fixed = numpyro.handlers.substitute(data=dict(given or {}))
        with numpyro.handlers.block(), numpyro.handlers.seed(rng_seed=key), fixed:
            self.model.prior(dialect, self.context)
        return dialect

    def _unconstrain(self, dialect: NumpyroLanguage, name: str) -> Array:
        value = dialect.sites[name]
        value = value if dialect.infos[name].local else value[0]
        return dialect.bijection(dialect.supports[name]).inv(value)

    @cached_property
    def _gradients(self) -> dict[Objective, Any]:
        return {o: jax.jit(jax.value_and_grad(partial(self.objective, objective=o))) for o in Objective}

    def _prior_at(self, vector: Array) -> tuple[dict[str, Array], Array, Array]:
        dialect = self.run_prior(Point(self.layout.split(vector), unconstrained=True))
        return dialect.sites, dialect.log_prior, dialect.log_jacobian

    @cached_property
    def _prior_at_one(self) -> Any:
        return jax.jit(self._prior_at)

    @cached_property
    def _prior_at_many(self) -> Any:
        return jax.jit(jax.vmap(self._prior_at))

    @cached_property
    def _compiled_steps(self) -> Any:
        def steps(sites: dict[str, Array]) -> Array:
            return self.model.process(sites, self.context).log_prob_steps(self._observed())

        return jax.jit(steps)

    def _steps(self, sites: dict[str, np.ndarray]) -> np.ndarray:
        return np.asarray(self._compiled_steps({name: self.to_array(value) for name, value in sites.items()}))

    def _host(self, sites: Mapping[str, Array]) -> dict[str, np.ndarray]:
        # JAX hands dictionaries back sorted; sites are told in the order of the prior.
        return {name: np.asarray(sites[name]) for name in self.infos}
