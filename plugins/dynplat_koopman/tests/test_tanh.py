"""The network of hyperbolic tangents: frameworks, derivatives, the state inside it."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat.errors import ArgumentError
from dynplat_koopman.dictionaries.tanh import TanhNetwork, random_layers, tanh_features
from dynplat_koopman.tests.conftest import check_dictionary


@pytest.mark.parametrize("widths", [(5,), (4, 3)])
def test_functions_and_derivatives(widths):
    rng = np.random.default_rng(0)
    network = TanhNetwork(np.array([1.0, -2.0]), np.array([0.5, 3.0]), *random_layers(2, widths, rng))
    x = rng.normal(size=(3, 4, 2))
    check_dictionary(network, x)
    hidden = (x - network.location) / network.scale
    expected = [np.ones((3, 4, 1)), hidden]
    for weight, bias in zip(network.weights, network.biases, strict=True):
        hidden = np.tanh(np.einsum("ij,...j->...i", weight, hidden) + bias)
    np.testing.assert_allclose(network(x), np.concatenate([*expected, hidden], axis=-1), rtol=1e-14)
    assert network.names[:4] == ("1", "x0", "x1", "tanh 0")


def test_features_broadcast_over_draws_and_series():
    rng = np.random.default_rng(1)
    weights, biases = random_layers(2, (3,), rng)
    many = [np.stack([part, 2 * part])[:, None] for part in (weights[0], biases[0])]
    x = rng.normal(size=(4, 6, 2))
    found = tanh_features(x, [many[0]], [many[1]])
    assert found.shape == (2, 4, 6, 5)
    np.testing.assert_allclose(found[1, 2, 3], tanh_features(x[2, 3:4], [2 * weights[0]], [2 * biases[0]])[0])


def test_layers_that_do_not_follow_on_each_other_are_refused():
    weights, biases = random_layers(2, (3, 4), np.random.default_rng(0))
    with pytest.raises(ArgumentError, match=r"layers of \[3, 4\] after 1 variables; got \[\(3, 2\), \(4, 3\)\]"):
        TanhNetwork(np.zeros(1), np.ones(1), weights, biases)
