"""`bridges/sbirr`: the bridge of a reference that is refined on the snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from dynplat.arrays import Array, Observations, Random, asarray_like, random_source, to_numpy
from dynplat.errors import ArgumentError, InferenceError
from dynplat.model import AbstractModel, Context, Populations, Sites, summarise
from dynplat.process import AbstractConditional, AbstractPredictive, AbstractProcess
from dynplat_bridges import entries
from dynplat_bridges.chains import AbstractChain, LinearisedChain
from dynplat_bridges.drifts import KernelRidge
from dynplat_bridges.ipf import IPF
from dynplat_bridges.pinned import Route, route
from dynplat_bridges.populations import check_snapshots, checked_populations
from dynplat_bridges.references import AbstractReference, reference_from
from dynplat_bridges.sbirr import Transport, refine
from dynplat_bridges.simulate import simulate

if TYPE_CHECKING:
    from dynplat.data import Snapshots

#: Sites that tell of the fit and are no parameters of the law.
_LOGS = ("divergence", "path_log_likelihood")
#: Largest error of a coupling's sums that is passed over.
_WORST = 0.01


@dataclass(frozen=True)
class SBIRR(AbstractModel):
    r"""The bridge through all snapshots over a reference whose parameters are refined by turns of bridge and fit.

    Sites are the parameters of the reference, its `diffusion` (channel,), and the log of the fit: the `divergence` of
    the bridge from the reference before the first turn and after each, (iteration + 1,), and the `path_log_likelihood`
    of the refitted paths, (iteration,); the last entry is repeated where turns ended early.

    Between snapshots the law is that of the bridge, after the last one that of the fitted reference, which paths go on
    with from where they are.

    Args:
        reference: The reference in a text, such as `lotka-volterra`, `repressilator:decay=1`, `vortex:current=free`,
            `gradient-field` or `linear-sde` (see `dynplat_bridges.references.text`).
        diffusion: Noise of the reference per square root of time, a positive number or one per channel; by default
            one factor of what crosses the data once in their span is fitted.
        transport: How neighbouring snapshots are joined. `linearised`: the reference is linearised along the path of
            each particle, and particles are coupled; paths pass through the particles. `regression`: iterative
            proportional fitting with regression drifts, for a known diffusion; paths pass near.
        num_iterations: Most turns of bridge and fit.
        num_steps: Steps between neighbouring snapshots.
        num_paths: Paths of a turn; by default as many as the largest snapshot has particles.
        ipf_iterations: Pairs of turns of iterative proportional fitting.
        num_inducing: Inducing points of the regressions.
    """

    entry = entries.SBIRR
    reference: str = "linear-sde"
    diffusion: float | tuple[float, ...] | None = None
    transport: Literal["linearised", "regression"] = "linearised"
    num_iterations: int = 20
    num_steps: int = 50
    num_paths: int | None = None
    ipf_iterations: int = 10
    num_inducing: int = 50

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        self.reference_process()
        if self.transport not in ("linearised", "regression"):
            raise ArgumentError(f"`transport` must be 'linearised' or 'regression'; got {self.transport!r}.")
        for name in ("num_iterations", "num_steps", "num_paths"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ArgumentError(f"`{name}` must be at least 1; got {value}.")
        if self.transport == "regression" and self.diffusion is None:
            raise ArgumentError(
                "`diffusion` must be given with `transport='regression'`: simulated paths have the diffusion they were "
                "simulated with, and say nothing of it. Give a number, or take 'linearised'."
            )
        self.joined()

    def reference_process(self) -> AbstractReference:
        """The reference that the options name; a model of one's own overrides this."""
        return reference_from(self.reference, diffusion=self.diffusion)

    def joined(self) -> Transport:
        """How neighbouring snapshots are joined."""
        if self.transport == "linearised":
            return Transport(self.num_steps)
        return Transport(self.num_steps, IPF(self.ipf_iterations, KernelRidge(self.num_inducing)))

    def prepare(self, data: Snapshots) -> Context:
        """Summarise the snapshots.

        Raises:
            DataError: There are fewer than two snapshots, one is empty, or the reference has other channels.
        """
        check_snapshots(data)
        reference, context = self.reference_process(), summarise(data)
        reference.check_channels(context.channels)
        reference.start(context)  # options of another number of channels are refused here
        return context

    def solve(self, observations: Observations, context: Context, *, seed: int) -> Sites:
        """Refine the reference.

        Returns:
            Parameters of the drift, `diffusion` and the log, one draw of each.
        """
        reference = self.reference_process()
        found = refine(
            checked_populations(observations),
            reference,
            reference.start(context),
            reference.start_diffusion(context),
            seed=seed,
            num_iterations=self.num_iterations,
            num_paths=self.num_paths,
            transport=self.joined(),
        )
        logs = {"path_log_likelihood": found.log_likelihood[:, 1]}
        if self.transport == "linearised":
            logs["divergence"] = found.divergence
        missing = self.num_iterations - len(found.log_likelihood)
        logs = {name: np.pad(values, (0, missing), mode="edge") for name, values in logs.items()}
        sites = {**found.parameters, "diffusion": found.diffusion, **logs}
        return {name: np.asarray(value)[None] for name, value in sites.items()}

    def process(self, sites: Sites, context: Context) -> RefinedReference:
        """Build the reference, to be conditioned on snapshots."""
        parameters = {name: value for name, value in sites.items() if name not in (*_LOGS, "diffusion")}
        return RefinedReference(self.reference_process(), parameters, sites["diffusion"], self.joined())


class RefinedReference(AbstractProcess):
    """A reference with its numbers.

    Args:
        reference: The reference.
        parameters: All parameters of its drift, (..., 1, core dimensions).
        diffusion: sigma, (..., 1, channel).
        transport: How neighbouring snapshots are joined.
    """

    def __init__(
        self, reference: AbstractReference, parameters: Mapping[str, Array], diffusion: Array, transport: Transport
    ) -> None:
        self.reference, self.parameters, self.diffusion = reference, parameters, diffusion
        self.transport = transport

    def condition(self, observations: Observations) -> RefinedBridge:
        """Return the bridge through the snapshots, rows of one series.

        Raises:
            DataError: The observations are no snapshots, or fewer than two.
        """
        return RefinedBridge(self, checked_populations(observations))


class RefinedBridge(AbstractConditional):
    """A bridge through snapshots, to be asked about any times from the first on.

    Args:
        law: The reference.
        populations: The snapshots.
    """

    def __init__(self, law: RefinedReference, populations: Populations) -> None:
        self.law, self.populations = law, populations

    def at(self, times: Array, *, inputs: Array | None = None) -> BridgePaths:
        """Return the law of a particle at `times`, (1, query): draws are whole paths.

        Raises:
            ArgumentError: Times decrease, or lie before the first snapshot.
        """
        return BridgePaths(self.law, self.populations, route(times, self.populations.times))


class BridgePaths(AbstractPredictive):
    """Whole paths of a bridge at query times.

    Args:
        law: The reference.
        populations: The snapshots.
        way: The queries.
    """

    def __init__(self, law: RefinedReference, populations: Populations, way: Route) -> None:
        self.law, self.populations, self.way = law, populations, way

    def draws(self, num_draws: int, *, random: Random, of: str = "observation") -> Array:
        """Draw paths, (num_draws, ..., 1, query, channel); a particle is seen as it is, whatever `of`.

        Raises:
            InferenceError: Two snapshots cannot be coupled over the reference.
        """
        like = random.uniform((1,))
        # One number of the framework's source seeds what runs in NumPy.
        seed = int(float(to_numpy(like)[0]) * 2**31)
        sigma = to_numpy(self.law.diffusion).astype(np.float64)
        lead = sigma.shape[:-1]
        flat = {
            name: to_numpy(value).astype(np.float64).reshape(-1, *to_numpy(value).shape[len(lead) :])
            for name, value in self.law.parameters.items()
        }
        drawn = []
        for index, noise in enumerate(sigma.reshape(-1, sigma.shape[-1])):
            parameters = {name: value[index] for name, value in flat.items()}
            drawn.append(self._paths(num_draws, parameters, noise, seed + index))
        found = np.stack(drawn, axis=1)
        return asarray_like(found.reshape(num_draws, *lead, *found.shape[2:]), like)

    def _paths(self, count: int, parameters: Mapping[str, np.ndarray], sigma: np.ndarray, seed: int) -> np.ndarray:
        """Paths of one set of parameters, (path, query, channel)."""
        reference, times, queries = self.law.reference, self.populations.times, self.way.times

        def drift(x: Array, t: float) -> Array:
            return reference.drift(x, t, parameters)

        chain = self.law.transport.chain(self.populations, drift, sigma, seed=seed, queries=queries)
        check_coupled(chain)
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2,)))
        # Whichever snapshot a path starts from, its law is the same; near the queries fewer random steps lie between.
        middle = int(np.median(self.way.before)) if len(queries) else 0
        paths = chain.draw(count, middle, rng)
        within = queries <= times[-1]
        inner = paths[:, np.searchsorted(chain.grid, queries[within])]
        if within.all():
            return inner
        step = (times[-1] - times[-2]) / self.law.transport.num_steps
        ahead = np.concatenate([times[-1:], queries[~within]])
        random = random_source(int(rng.integers(2**31)), paths)
        onward = simulate(drift, paths[:, -1], ahead, sigma, step=step, random=random)
        return np.concatenate([inner, onward[:, 1:]], axis=1)


def check_coupled(chain: AbstractChain) -> None:
    """Refuse a chain whose couplings did not converge.

    Raises:
        InferenceError: The sums of a coupling are off by more than a hundredth.
    """
    if isinstance(chain, LinearisedChain) and chain.error > _WORST:
        raise InferenceError(
            f"two snapshots were not coupled within the iterations allowed: the sums of the coupling are off by "
            f"{chain.error:.2g} in all. The diffusion is too small for how far the reference misses the snapshots: "
            "give a larger one, or another reference."
        )
