"""Parity of up to 40 bits: layers with negative eigenvalues learn it, layers with positive ones do not."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

from dynplat_deepssm.cells import Mamba
from dynplat_deepssm.maps import Linear, Norm
from dynplat_deepssm.network import Network
from dynplat_deepssm.torch import TorchLayer

LENGTH, WIDTH, STEPS, BATCH = 40, 32, 1000, 64


def train(eigenvalues: Literal["positive", "signed"], seed: int) -> tuple[TorchLayer, np.random.Generator]:
    """One Mamba layer, trained on the parity of every prefix of sequences that grow to 40 bits in 400 steps."""
    cell = Mamba(WIDTH, num_states=8, rank=4, eigenvalues=eigenvalues)
    network = Network((Linear(1, WIDTH), cell, Norm(WIDTH), Linear(WIDTH, 1)))
    layer, rng = TorchLayer(network, seed=seed), np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=STEPS)
    for step in range(STEPS):
        longest = max(2, int((LENGTH - 1) * min(1.0, step / 400)))
        bits, odd = draw(rng, BATCH, int(rng.integers(2, 2 + longest)))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(layer(2 * bits - 1)[0], odd)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return layer, rng


def draw(rng: np.random.Generator, count: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    bits = torch.tensor(rng.integers(0, 2, (count, length, 1)), dtype=torch.float32)
    return bits, torch.cumsum(bits, dim=1) % 2


def accuracy(eigenvalues: Literal["positive", "signed"], seed: int) -> float:
    """Share of 2,000 sequences of 40 bits whose parity is right."""
    layer, rng = train(eigenvalues, seed)
    bits, odd = draw(rng, 2_000, LENGTH)
    with torch.no_grad():
        said = layer(2 * bits - 1)[0]
    return float(((said > 0) == (odd > 0.5))[:, -1].float().mean())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_negative_eigenvalues_learn_parity_and_positive_ones_do_not(seed: int) -> None:
    assert accuracy("signed", seed) == 1.0
    assert 0.44 < accuracy("positive", seed) < 0.56
