"""Stochastic variational inference under NumPyro, in compiled chunks of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import numpyro
from numpyro.infer import SVI, Predictive, Trace_ELBO, autoguide, init_to_value

from dynplat.inference.density import describe_sites
from dynplat.inference.fitting import Fit
from dynplat.inference.joint import joint_program
from dynplat.inference.variational.plan import Fitted, Plan, failure

#: Steps between two words to the observers.
_CHUNK = 100


def fit_guide(fit: Fit, plan: Plan, start: dict[str, np.ndarray], seed: int) -> Fitted:
    """Fit the guide of `plan`; see `dynplat.inference.svi.run`."""
    density = fit.density
    assert density is not None
    program = joint_program(fit.model, fit.context, fit.observations, density.dialect)
    guide = _guide(fit, plan, {name: density.to_array(value) for name, value in start.items()})
    decay = plan.final_rate ** (1.0 / plan.num_steps)
    optimiser = numpyro.optim.Adam(lambda step: plan.learning_rate * decay**step)
    svi = SVI(program, guide, optimiser, Trace_ELBO(num_particles=plan.num_particles))
    key, draw_key = jax.random.split(jax.random.key(seed))

    @jax.jit
    def advance(state: Any, count: Any) -> tuple[Any, Any]:
        def body(index: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            state, losses = carry
            state, loss = svi.update(state)
            return state, losses.at[index].set(loss)

        return jax.lax.fori_loop(0, count, body, (state, jax.numpy.zeros(_CHUNK)))

    state = svi.init(key)
    losses: list[np.ndarray] = []
    interrupted = False
    done = 0
    while done < plan.num_steps:
        count = min(_CHUNK, plan.num_steps - done)
        try:
            ahead, chunk = advance(state, count)
            chunk = np.asarray(chunk, dtype=np.float64)[:count]
            if not np.isfinite(chunk).all():
                good = int(np.argmin(np.isfinite(chunk)))
                # The same keys again, up to the last step that was still sound.
                params = svi.get_params(advance(state, good)[0])
                raise failure(fit.model.entry.id, done + good + 1, plan, _describe(guide, params))
            state = ahead
            losses.append(chunk)
            done += count
            fit.watch.step(done, plan.num_steps, {"elbo": -float(chunk.mean())})
        except KeyboardInterrupt:
            if not plan.keep_interrupted or done == 0:
                raise
            interrupted = True
            break
    params = svi.get_params(state)
    draws = _draw(guide, params, draw_key, plan.num_draws)
    values = {}
    for name in density.layout.shapes:
        if name in draws:
            values[name] = np.asarray(draws[name])
        else:
            value = np.asarray(params[name])
            values[name] = np.broadcast_to(value, (plan.num_draws, *value.shape))
    return Fitted(values, -np.concatenate(losses), interrupted)


def _guide(fit: Fit, plan: Plan, start: dict[str, Any]) -> Callable[..., Any]:
    density = fit.density
    assert density is not None
    if not any(density.infos[name].kind == "sample" for name in density.layout.shapes):
        return lambda: None
    if plan.guide == "model":

        def own() -> None:
            fit.model.guide(density.dialect(), fit.context, fit.observations)

        return own

    def program() -> None:
        # A Gaussian guide looks at the sites only; the likelihood would cost a compilation, or a pass, for nothing.
        fit.model.prior(density.dialect(), fit.context)

    options: dict[str, Any] = {"init_loc_fn": init_to_value(values=start), "init_scale": plan.init_scale}
    if plan.guide == "low-rank":
        return autoguide.AutoLowRankMultivariateNormal(program, rank=plan.rank, **options)
    kind = autoguide.AutoNormal if plan.guide == "normal" else autoguide.AutoMultivariateNormal
    return kind(program, **options)


def _draw(guide: Any, params: Any, key: Any, num_draws: int) -> dict[str, Any]:
    if isinstance(guide, autoguide.AutoGuide):
        return guide.sample_posterior(key, params, sample_shape=(num_draws,))
    return Predictive(guide, params=params, num_samples=num_draws)(key)


def _describe(guide: Any, params: Any) -> str:
    if isinstance(guide, autoguide.AutoGuide):
        return describe_sites({name: np.asarray(value) for name, value in guide.median(params).items()})
    return describe_sites({name: np.asarray(value) for name, value in params.items()})
