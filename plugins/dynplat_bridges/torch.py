"""What needs torch: the fit of references that are networks, and networks that are regressed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

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


def train_network(
    inputs: np.ndarray,
    outputs: np.ndarray,
    *,
    hidden: Sequence[int],
    num_steps: int,
    batch: int,
    learning_rate: float,
    seed: int,
) -> Callable[[np.ndarray], np.ndarray]:
    """Train a network of hyperbolic tangents on mean squares, (row, input) to (row, output); it starts from zero."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [inputs.shape[1], *hidden, outputs.shape[1]]
    weights = [
        (torch.randn(old, new, generator=generator, dtype=torch.float64) / old**0.5) for old, new in pairwise(sizes)
    ]
    weights[-1] = 0.0 * weights[-1]
    biases = [torch.zeros(new, dtype=torch.float64) for new in sizes[1:]]
    x, y = torch.tensor(inputs), torch.tensor(outputs)

    def evaluate(rows: torch.Tensor) -> torch.Tensor:
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            rows = torch.tanh(rows @ weight + bias)
        return rows @ weights[-1] + biases[-1]

    trained = [value.requires_grad_() for value in (*weights, *biases)]
    optimiser = torch.optim.Adam(trained, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, num_steps)
    for _ in range(num_steps):
        rows = torch.randint(len(x), (min(batch, len(x)),), generator=generator)
        optimiser.zero_grad()
        torch.mean((evaluate(x[rows]) - y[rows]) ** 2).backward()
        optimiser.step()
        schedule.step()

    def network(points: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return evaluate(torch.tensor(points)).numpy()

    return network
