"""What needs torch: the fit of references that are networks."""

from __future__ import annotations

import numpy as np
import torch

from dynplat_bridges.estimate import Increments
from dynplat_bridges.references.base import AbstractReference

#: Steps of a fit, increments of a step, learning rate at the start (it falls to 0 along a half cosine), weight decay.
_STEPS, _BATCH, _RATE, _DECAY = 400, 1024, 2e-2, 1e-4


def fit_by_adam(
    reference: AbstractReference,
    parameters: dict[str, np.ndarray],
    names: tuple[str, ...],
    data: Increments,
    diffusion: np.ndarray,
) -> dict[str, np.ndarray]:
    """Minimise the mean square of the increments' residuals over batches, from the given parameters.

    Returns:
        All parameters; those given where the likelihood of all increments did not rise.
    """
    states, rates = torch.tensor(data.states), torch.tensor(data.rates)
    times = torch.tensor(data.times)
    weights = torch.tensor(np.sqrt(data.gaps)[:, None] / diffusion)
    current = {name: torch.tensor(value) for name, value in parameters.items()}
    trained = [current[name].requires_grad_() for name in names]
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(trained, lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _STEPS)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        drift = reference.drift(states[rows], times[rows], current)
        return torch.mean(((rates[rows] - drift) * weights[rows]) ** 2)

    everything = torch.arange(len(states))
    with torch.no_grad():
        before = float(loss(everything))
    for _ in range(_STEPS):
        rows = torch.randint(len(states), (min(_BATCH, len(states)),), generator=generator)
        optimiser.zero_grad()
        value = loss(rows)
        value.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        after = float(loss(everything))
    if not after < before:
        return parameters
    return {name: value.detach().numpy().copy() for name, value in current.items()}
