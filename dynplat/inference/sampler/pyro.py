"""The no-U-turn sampler of Pyro on a flat vector, one chain after the other, each with its own seed.

Pyro's kernel reports divergences and a running mean of acceptance; the other statistics (energy, number of steps, tree
depth, the acceptance of one step) are read off the same run by counting gradients and undoing the mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro
from pyro.infer import MCMC, NUTS

from dynplat.arrays import to_numpy
from dynplat.inference.density import Objective
from dynplat.inference.fitting import Fit, seeds
from dynplat.inference.mode import Units
from dynplat.inference.sampler.plan import MIN_KEPT, Chains, Plan
from dynplat.inference.torch import TorchDensity

#: Steps between two words to the observers.
_CHUNK = 10


class _RecordingKernel(NUTS):
    """NUTS that remembers the energy at the start of each trajectory."""

    start_energy: float | None = None

    def _kinetic_energy(self, r_unscaled: Any) -> Any:
        kinetic = super()._kinetic_energy(r_unscaled)
        if self.start_energy is None:
            self.start_energy = float(kinetic) + float(self._potential_energy_last or 0.0)
        return kinetic


class _Recorder:
    """Collects the draws and statistics of one chain; `hook` is called after each step."""

    def __init__(self, fit: Fit, plan: Plan, chain: int) -> None:
        self._fit, self._plan, self._chain = fit, plan, chain
        self._mean_accept = 0.0
        self.gradients = 0
        self.draws: list[np.ndarray] = []
        self.rows: list[dict[str, float]] = []

    def hook(self, kernel: Any, samples: Any, stage: str, index: int) -> None:
        plan, warm = self._plan, stage.lower().startswith("warmup")
        if not warm:
            count = len(self.rows) + 1
            mean = kernel._mean_accept_prob
            self.rows.append(
                {
                    "lp": -float(kernel._potential_energy_last),
                    "energy": float(kernel.start_energy),
                    "diverging": bool(kernel._divergences and kernel._divergences[-1] == count - 1),
                    "acceptance_rate": count * mean - (count - 1) * self._mean_accept,
                    "n_steps": self.gradients,
                    "tree_depth": int(np.ceil(np.log2(self.gradients + 1))),
                    "step_size": float(kernel.step_size),
                }
            )
            self._mean_accept = mean
            self.draws.append(to_numpy(samples["z"]).astype(np.float64))
        self.gradients, kernel.start_energy = 0, None
        per_chain = plan.num_warmup + plan.num_samples
        done = index + 1 + (0 if warm else plan.num_warmup)
        if done % _CHUNK == 0 or done == per_chain:
            self._fit.watch.step(
                self._chain * per_chain + done,
                plan.num_chains * per_chain,
                {
                    "chain": self._chain,
                    "warmup": warm,
                    "divergences": len(kernel._divergences),
                    "step_size": float(kernel.step_size),
                },
            )


def sample(fit: Fit, plan: Plan, units: Units, starts: np.ndarray, seed: int) -> Chains:
    """Run the chains from `starts` (chain, size); see `dynplat.inference.nuts.run`."""
    density = fit.density
    assert isinstance(density, TorchDensity)
    origin, unit = density.to_array(units.origin), density.to_array(units.unit)
    chains: list[_Recorder] = []
    interrupted = False
    for chain, chain_seed in enumerate(seeds(seed, plan.num_chains)):
        recorder = _Recorder(fit, plan, chain)

        def potential(z: dict[str, Any], recorder: _Recorder = recorder) -> Any:
            recorder.gradients += 1
            return -density.objective(origin + unit * z["z"], Objective.UNCONSTRAINED)

        kernel = _RecordingKernel(
            potential_fn=potential,
            target_accept_prob=plan.target_accept,
            max_tree_depth=plan.max_tree_depth,
            full_mass=plan.dense_mass,
        )
        runner = MCMC(
            kernel,
            num_samples=plan.num_samples,
            warmup_steps=plan.num_warmup,
            initial_params={"z": density.to_array(starts[chain])},
            num_chains=1,
            disable_progbar=True,
            hook_fn=recorder.hook,
        )
        pyro.set_rng_seed(chain_seed)
        try:
            with pyro.validation_enabled(False):
                runner.run()
        except KeyboardInterrupt:
            enough = len(recorder.draws) >= MIN_KEPT
            if not plan.keep_interrupted or not (chains or enough):
                raise
            interrupted = True
            if not chains:
                chains.append(recorder)
            break
        chains.append(recorder)
    stats = {
        name: np.array([[row[name] for row in recorder.rows] for recorder in chains]) for name in chains[0].rows[0]
    }
    return Chains(np.stack([np.stack(recorder.draws) for recorder in chains]), stats, interrupted)
