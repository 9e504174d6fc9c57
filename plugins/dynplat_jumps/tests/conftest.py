"""Data sets and chains of known numbers."""

from __future__ import annotations

import os

import numpy as np
import pytest


@pytest.fixture(scope="session")
def mirror():
    """Skip where the real files are not at hand."""
    if not os.environ.get("DYNPLAT_DATA"):
        pytest.skip("DYNPLAT_DATA is not set: it names the directory with the catalogue's real files")


@pytest.fixture
def ratchet():
    """The flashing ratchet's generator at V = 1: on 0-2, off 3-5."""
    return make_ratchet(1.0)


def make_ratchet(V):
    Q = np.zeros((6, 6))
    for i in range(3):
        for j in range(3):
            if i != j:
                Q[i, j] = np.exp(-V * (j - i) / 2.0)
                Q[3 + i, 3 + j] = 1.0
        Q[i, 3 + i] = Q[3 + i, i] = 1.0
    return Q - np.diag(Q.sum(1))


def random_generator(rng, K, lead=()):
    Q = rng.gamma(1.0, size=(*lead, K, K)) * (1.0 - np.eye(K))
    return Q - np.eye(K) * Q.sum(-1)[..., None]
