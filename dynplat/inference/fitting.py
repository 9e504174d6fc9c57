"""What every loop does before and after its own work: checks, frameworks, observers, and the `Posterior` at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.arrays import Observations, framework
from dynplat.errors import ArgumentError, CapabilityError
from dynplat.inference.density import AbstractDensity, in_batches
from dynplat.inference.entries import ENTRIES
from dynplat.model import AbstractModel, Context, SiteInfo, check_request, observations_from
from dynplat.observer import GuardedObservers, Observer

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories
    from dynplat.posterior import Posterior

FRAMEWORKS = {"numpyro": "jax", "pyro": "torch"}

#: Draws x series x times beyond which the terms of the likelihood are not kept (a gigabyte in float64).
MAX_LIKELIHOOD_CELLS = 125_000_000


@dataclass
class Fit:
    """A fit under way.

    Args:
        method: Id of the inference.
        model: The model.
        data: The data.
        context: The model's context.
        observations: What the process sees.
        language: `numpyro`, `pyro`, or an empty string when no prior runs.
        seed: Seed of the fit.
        watch: The observers.
        device: Device of the arrays.
        dtype: `float64` or `float32`.
        density: The log density, or None when the method asks for none.
        options: Options of the method, kept with the result.
        notes: What the user should know, kept with the result.
    """

    method: str
    model: AbstractModel
    data: Any
    context: Context
    observations: Observations
    language: str
    seed: int
    watch: GuardedObservers
    device: str
    dtype: str
    options: Mapping[str, Any]
    density: AbstractDensity | None = None
    notes: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)
    posterior: Posterior | None = None

    def label(self, name: str, index: tuple[int, ...]) -> str:
        """Name one number of a site as `Posterior.summary` does: by the labels of its dimensions.

        Args:
            name: Name of the site.
            index: Where it stands in one draw, (series where the site is local, core).
        """
        assert self.density is not None
        info = self.density.infos[name]
        dims = ("series",) * info.local + (info.dims or (None,) * len(info.core_shape))
        known = {
            "series": getattr(self.data, "series", ()),
            "channel": self.context.channels,
            "input": self.context.inputs,
            **self.density.coords,
        }
        named = [known.get(dim or "", ()) for dim in dims]
        entries = [str(names[i]) if names else str(i) for names, i in zip(named, index, strict=True)]
        return f"{name}[{', '.join(entries)}]" if index else name

    def finish(
        self,
        sites: Mapping[str, np.ndarray],
        infos: Mapping[str, SiteInfo],
        *,
        num_chains: int = 1,
        sample_stats: Mapping[str, np.ndarray] | None = None,
        unconstrained: Mapping[str, np.ndarray] | None = None,
        log_likelihood: np.ndarray | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Posterior:
        """Build the posterior from sites (chain * draw, series or 1, core), chains laid end to end.

        Args:
            sites: Draws in the form that processes take.
            infos: Facts of the sites.
            num_chains: Number of chains.
            sample_stats: Statistics (chain, draw).
            unconstrained: Unconstrained sites (chain, draw, ...).
            log_likelihood: Terms (chain * draw, series, time), or None.
            extra: Further facts.
        """
        from dynplat.posterior import Posterior

        draws = {}
        for name, value in sites.items():
            value = value if infos[name].local else value[:, 0]
            draws[name] = value.reshape(num_chains, -1, *value.shape[1:])
        if log_likelihood is not None:
            log_likelihood = log_likelihood.reshape(num_chains, -1, *log_likelihood.shape[1:])
        facts = {
            "seconds": time.perf_counter() - self.began,
            "device": self.device,
            "dtype": self.dtype,
            "options": dict(self.options),
            "notes": list(self.notes),
            **(extra or {}),
        }
        self.posterior = Posterior.from_draws(
            self.model,
            self.context,
            self.data,
            draws,
            infos,
            method=self.method,
            language=self.language,
            seed=self.seed,
            sample_stats=sample_stats,
            log_likelihood=log_likelihood,
            unconstrained=unconstrained,
            extra=facts,
        )
        return self.posterior

    def likelihood_terms(self, sites: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Terms of the likelihood (draw, series, time) at sites; None with a note when they are too many to keep."""
        if not self.keeps_terms(len(next(iter(sites.values())))):
            return None
        if self.density is not None:
            return self.density.log_likelihood_steps(sites)

        def steps(sites: dict[str, np.ndarray]) -> np.ndarray:
            return np.asarray(self.model.process(sites, self.context).log_prob_steps(self.observations))

        return in_batches(steps, sites, self.observations)

    def keeps_terms(self, num_draws: int) -> bool:
        """Whether the terms of the likelihood of so many draws are few enough to be kept; a note says if not."""
        num_series, num_times = self.observations.mask.shape[:2]
        if num_draws * num_series * num_times > MAX_LIKELIHOOD_CELLS:
            self.notes.append(
                f"the terms of the likelihood ({num_draws} draws x {num_series} series x {num_times} times) are not "
                "kept: they would fill more than a gigabyte."
            )
            return False
        return True


@contextmanager
def opened(
    method: str,
    model: AbstractModel,
    data: Trajectories | Snapshots,
    *,
    seed: int,
    language: str | None,
    observers: Iterable[Observer],
    device: str,
    dtype: str,
    options: Mapping[str, Any],
    density: bool = True,
) -> Iterator[Fit]:
    """Check the request, enter the framework, tell the observers, and give a `Fit`.

    JAX's x64 switch, torch's default dtype, Pyro's parameter store and all random states are as before afterwards.

    Raises:
        ArgumentError: The seed is no non-negative integer, or `dtype` or `device` is unknown.
        CapabilityError: The model lacks what the method needs.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ArgumentError(f"`seed` must be an integer from 0 to 2**32 - 1; got {seed!r}.")
    check_request(model, data, needs_of(method), language=language, device=device, purpose=f"inference {method!r}")
    language = language or next(iter(model.capabilities.languages), "")
    if density and not language:
        check_request(model, None, (), language="numpyro", purpose=f"inference {method!r}")
    watch = GuardedObservers(observers)
    fit: Fit | None = None
    watch.started(model, data, method)
    error: BaseException | None = None
    try:
        with runtime(language, seed=int(seed), dtype=dtype, device=device) as to_array:
            # Before anything is computed from the values: they may be too large to compute with.
            observations = observations_from(data)  # pyright: ignore[reportArgumentType]
            context = model.prepare(data)
            fit = Fit(
                method=method,
                model=model,
                data=data,
                context=context,
                observations=observations,
                language=language,
                seed=int(seed),
                watch=watch,
                device=device,
                dtype=dtype,
                options=options,
            )
            if density:
                fit.density = density_for(language)(model, context, fit.observations, to_array, seed=int(seed))
            yield fit
    except BaseException as raised:
        error = raised
        raise
    finally:
        watch.ended(None if error is not None or fit is None else fit.posterior, error)


@contextmanager
def runtime(language: str, *, seed: int, dtype: str, device: str) -> Iterator[Callable[[Any], Any]]:
    """Enter a language's framework with nothing leaking out; yields the function that makes its arrays."""
    if language == "pyro":
        from dynplat.inference.torch import isolated

        guard: Any = isolated(seed, dtype, device)
    else:
        guard = nullcontext()
    with framework(FRAMEWORKS.get(language, "numpy"), dtype=dtype, device=device) as to_array, guard:
        yield to_array


def density_for(language: str) -> type[AbstractDensity]:
    """The log density's class of a language."""
    if language == "numpyro":
        from dynplat.inference.jax import JaxDensity

        return JaxDensity
    if language == "pyro":
        from dynplat.inference.torch import TorchDensity

        return TorchDensity
    raise ArgumentError(f"`language` must be 'numpyro' or 'pyro'; got {language!r}.")


def needs_of(method: str) -> tuple[str, ...]:
    """Capabilities that a method needs, as its record says."""
    return next(entry.needs for entry in ENTRIES if entry.id == method)


def seeds(seed: int, count: int) -> list[int]:
    """Independent seeds for the parts of a fit."""
    return [int(state) for state in np.random.SeedSequence(seed).generate_state(count)]


def refuse_point_estimates(density: AbstractDensity, method: str) -> None:
    """Refuse point-estimated sites where every site is drawn.

    Raises:
        CapabilityError: The prior has such sites.
    """
    names = [name for name in density.layout.shapes if density.infos[name].kind == "param"]
    if names:
        raise CapabilityError(
            f"inference {method!r} draws every site, and {density.model.entry.id} has point-estimated ones: "
            f"{', '.join(names[:6])}{', ...' if len(names) > 6 else ''}. Use 'svi' or 'map', or give them a prior."
        )
