"""What inference `solve` does for the models of the family: EM for maximum likelihood, or the Gibbs sampler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from dynplat.arrays import Observations
from dynplat.errors import ArgumentError, InferenceError
from dynplat.model import Context, Sites
from dynplat_jumps import em, gibbs, parts
from dynplat_jumps.blocks import AbstractBlock, InitialBlock, PopulationBlock, RatesBlock, Values
from dynplat_jumps.emission_blocks import Bell, CodesBlock, CountsBlock, ErrorsBlock, NormalBlock, StudentBlock
from dynplat_jumps.process import MarkovJump
from dynplat_jumps.recorded import Law, laws_of

SOLVERS = (None, "em", "rao-teh")
#: Starts of EM of hidden chains, whose likelihood has several maxima: the centre of the prior, and draws of it.
_STARTS = 3
#: Laws over a first state that are no parameter of the rates.
_APART = ("empirical", "free", "uniform", "first")
#: Sites of normal values and the priors that their steps know.
_VALUES = (("location", "Normal"), ("noise_scale", "LogNormal"))


class Solvable(Protocol):
    """Options of a model that solvers serve."""

    @property
    def initial(self) -> str:
        """Law of the state at the first row."""
        ...

    @property
    def rate_shape(self) -> float | None:
        """Shape of Gamma priors of rates."""
        ...

    @property
    def solver(self) -> str | None:
        """The solver."""
        ...

    @property
    def solver_draws(self) -> int:
        """Draws of the Gibbs sampler."""
        ...

    @property
    def solver_thin(self) -> int:
        """Sweeps from one draw to the next."""
        ...


def check_solver(model: Solvable, structure: str = "free", effects: tuple[str, ...] = ()) -> None:
    """Refuse options of solvers that are out of range, or that a solver cannot serve.

    Args:
        model: The model, with its options.
        structure: Its structure.
        effects: What acts on its rates.

    Raises:
        ArgumentError: Naming the option and what serves it.
    """
    if model.rate_shape is not None and not (np.isfinite(model.rate_shape) and model.rate_shape > 0):
        raise ArgumentError(f"`rate_shape` must be positive; got {model.rate_shape}.")
    if model.rate_shape is not None and structure == "reversible":
        raise ArgumentError("`rate_shape` speaks of free rates: choose another `structure`, or leave it out.")
    parts.check_count("solver_draws", model.solver_draws, 1)
    parts.check_count("solver_thin", model.solver_thin, 1)
    if model.solver not in SOLVERS:
        raise ArgumentError(f"`solver` must be None, 'em' or 'rao-teh'; got {model.solver!r}.")
    if model.solver is None:
        return
    if structure == "reversible" or effects or model.initial not in _APART:
        other = "'mle'" if model.solver == "em" else "'nuts'"
        raise ArgumentError(
            f"`solver={model.solver!r}` takes free rates without covariates or inputs, and a start that rates do not "
            "move: leave out `structure='reversible'`, `covariates`, `inputs`, `error_covariates` and "
            f"`initial='stationary'`, or leave out `solver` and use {other}."
        )
    if model.solver == "rao-teh" and model.rate_shape is None:
        raise ArgumentError("`solver='rao-teh'` needs conjugate priors: give `rate_shape`, such as 1.")


def solve(model: Any, observations: Observations, context: Context, *, seed: int) -> Sites | None:
    """Draws of all sites of a model, (draw, core dimensions): one draw, the maximum, for EM; None without a solver.

    Raises:
        InferenceError: EM finds no maximum from any start, or the observations are impossible.
    """
    if model.solver is None:
        return None
    laws = laws_of(model, context)
    blocks = blocks_of(model, context, observations, laws)
    rng = np.random.default_rng([seed, 7])
    start = {name: law.centre(rng) for name, law in laws.items()}

    def build(values: Values) -> MarkovJump:
        return model.process({name: np.asarray(value)[None] for name, value in values.items()}, context)

    hidden = any(not isinstance(block, (RatesBlock, InitialBlock, PopulationBlock)) for block in blocks)
    if model.solver == "em":
        starts = [start, *({n: law.draw(rng) for n, law in laws.items()} for _ in range(_STARTS - 1) if hidden)]
        return {name: value[None] for name, value in _best(blocks, build, starts, observations).items()}
    return gibbs.sample(
        blocks,
        build,
        start,
        observations,
        num_draws=model.solver_draws,
        warmup=max(model.solver_draws * model.solver_thin // 4, 50),
        thin=model.solver_thin,
        seed=seed,
        fixed_emission=not hidden,
    )


def _best(blocks: list[AbstractBlock], build: Any, starts: Sequence[Values], observations: Observations) -> Values:
    """The best of the maxima to which starts lead."""
    best, failure = None, None
    for start in starts:
        try:
            values, trace = em.maximise(blocks, build, start, observations)
        except InferenceError as error:
            failure = failure or error
            continue
        if best is None or trace[-1] > best[1]:
            best = values, trace[-1]
    if best is None:
        assert failure is not None
        raise failure
    return best[0]


def blocks_of(model: Any, context: Context, observations: Observations, laws: dict[str, Law]) -> list[AbstractBlock]:
    """The blocks of a model's parameters, with the priors that the model gives them.

    EM maximises the likelihood alone: its M-steps read no priors.
    """
    bayes = model.solver == "rao-teh"
    blocks: list[AbstractBlock] = []
    if "rate" in laws:
        links, size = np.asarray(context["links"]).reshape(-1, 2), np.shape(laws["rate"].parameters[0])
        pieces = size[0] if len(size) > 1 else 1
        places = [(piece, old, new) for piece in range(pieces) for old, new in links]
        shape, rate = (p.ravel() for p in _parameters(laws, "rate", "Gamma")) if bayes else (1.0, 0.0)
        blocks.append(RatesBlock(np.array(places, dtype=np.int64), size, shape=shape, rate=rate))
    if "birth" in laws:
        gammas = {name: _parameters(laws, name, "Gamma") for name in laws} if bayes else {}
        blocks.append(PopulationBlock(int(context["capacity"]), "immigration" in laws, gammas))
    if "initial" in laws:
        blocks.append(InitialBlock(*_parameters(laws, "initial", "Dirichlet")))
    if "location" in laws:
        location, scale = (Bell(*_parameters(laws, *site)) for site in _VALUES)
        if "degrees" in laws:
            degrees = Bell(*_parameters(laws, "degrees", "LogNormal"))
            blocks.append(StudentBlock(observations, location, scale, context["scale"], degrees))
        else:
            blocks.append(NormalBlock(observations, location, scale, context["scale"]))
    if "count_rate" in laws:
        blocks.append(CountsBlock(observations, Bell(*_parameters(laws, "count_rate", "LogNormal"))))
    if "code_probability" in laws:
        blocks.append(CodesBlock(observations, *_parameters(laws, "code_probability", "Dirichlet")))
    if "error_logit" in laws:
        mask = np.array(observations.mask)
        if model.first_known:
            mask[..., 0, :] = False
        errors, first = np.asarray(context["errors"]), int(context["first_state"])
        logit = Bell(*_parameters(laws, "error_logit", "Normal"))
        blocks.append(ErrorsBlock(observations._replace(mask=mask), errors, first, logit))
    left = set(laws) - {name for block in blocks for name in block.coordinates}
    if left:
        raise ArgumentError(f"`solver={model.solver!r}` has no step for {sorted(left)}: use 'mle' or 'nuts'.")
    return blocks


def _parameters(laws: dict[str, Law], name: str, family: str) -> tuple[np.ndarray, ...]:
    """Parameters of a site's prior, which must be of the family that its step knows."""
    law = laws[name]
    if law.family != family:
        raise ArgumentError(f"the solver's step for {name!r} knows the {family} prior; the model's is {law.family}.")
    return law.parameters
