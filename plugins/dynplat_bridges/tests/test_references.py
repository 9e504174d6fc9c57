"""References: exact transitions, drifts that agree with them, texts, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynplat.errors import ArgumentError, DataError
from dynplat.model import Context
from dynplat_bridges.references import Brownian, DriftingBrownian, LinearSDE, OrnsteinUhlenbeck, reference_from

CONTEXT = Context(1, ("x", "y"), values={"location": np.array([1.0, 2.0]), "scale": np.array([0.5, 3.0]), "span": 4.0})


def test_brownian_transition():
    F, c, Q = Brownian().transition(np.array([0.0, 0.7]), {}, np.array([0.5, 2.0]))
    np.testing.assert_array_equal(F, np.broadcast_to(np.eye(2), (2, 2, 2)))
    np.testing.assert_array_equal(c, np.zeros((2, 2)))
    np.testing.assert_allclose(Q[1], np.diag([0.25, 4.0]) * 0.7, rtol=1e-14)
    np.testing.assert_array_equal(Q[0], np.zeros((2, 2)))


def test_ornstein_uhlenbeck_transition_has_its_closed_form():
    rate, centre, sigma, h = np.array([0.3, 2.0]), np.array([1.0, -1.0]), np.array([0.4, 1.0]), 1.7
    F, c, Q = OrnsteinUhlenbeck().transition(np.array([h]), {"rate": rate, "centre": centre}, sigma)
    decay = np.exp(-rate * h)
    np.testing.assert_allclose(F[0], np.diag(decay), rtol=1e-13)
    np.testing.assert_allclose(c[0], (1 - decay) * centre, rtol=1e-13)
    np.testing.assert_allclose(Q[0], np.diag(sigma**2 * (1 - decay**2) / (2 * rate)), rtol=1e-13)


@pytest.mark.parametrize(
    "reference", [Brownian(), DriftingBrownian(), OrnsteinUhlenbeck(), LinearSDE()], ids=lambda r: type(r).__name__
)
def test_drift_is_the_slope_of_the_transition_with_leading_axes_in_torch(reference):
    rng = np.random.default_rng(0)
    parameters = {
        name: torch.tensor(rng.uniform(0.1, 1.0, (3, 1, *shape))) for name, shape in reference.parameters(2).items()
    }
    sigma = torch.tensor(rng.uniform(0.1, 1.0, (3, 1, 2)))
    x = torch.tensor(rng.normal(size=(3, 1, 5, 2)))
    h = 1e-6
    F, c, Q = reference.transition(np.array([h]), parameters, sigma)
    assert F.shape == (3, 1, 1, 2, 2)
    slope = (x @ F[..., 0, :, :].mT + c[..., 0, None, :] - x) / h
    np.testing.assert_allclose(reference.drift(x, 0.0, parameters), slope, atol=1e-5)
    np.testing.assert_allclose(Q[..., 0, :, :], torch.diag_embed(sigma**2) * h, rtol=1e-5, atol=1e-11)


def test_fixed_options_are_the_start_and_not_free():
    reference = reference_from("ornstein-uhlenbeck:rate=0.5", diffusion=(0.1, 0.2))
    assert reference == OrnsteinUhlenbeck(rate=0.5, diffusion=(0.1, 0.2))
    assert reference.free(2) == ("centre",)
    start = reference.start(CONTEXT)
    np.testing.assert_array_equal(start["rate"], [0.5, 0.5])
    np.testing.assert_array_equal(start["centre"], [1.0, 2.0])
    np.testing.assert_array_equal(reference.start_diffusion(CONTEXT), [0.1, 0.2])
    np.testing.assert_array_equal(Brownian().start_diffusion(CONTEXT), [0.25, 1.5])


def test_matrices_in_a_text():
    reference = reference_from("linear-sde:A=-1,0.5;0,-2:b=0,1")
    assert reference == LinearSDE(A=((-1.0, 0.5), (0.0, -2.0)), b=(0.0, 1.0))
    assert reference.free(2) == ()


@pytest.mark.parametrize("diffusion", [0.0, -1.0, (0.1, 0.0), float("nan")])
def test_diffusion_must_be_positive(diffusion):
    with pytest.raises(ArgumentError, match="`diffusion` of Brownian must be positive"):
        Brownian(diffusion=diffusion)


def test_what_is_refused():
    with pytest.raises(ArgumentError, match="`rate` of OrnsteinUhlenbeck must be positive"):
        OrnsteinUhlenbeck(rate=-1.0)
    with pytest.raises(ArgumentError, match=r"must name one of brownian, .*got 'wiener'"):
        reference_from("wiener")
    with pytest.raises(ArgumentError, match="has the options rate, centre; got 'speed=1'"):
        reference_from("ornstein-uhlenbeck:speed=1")
    with pytest.raises(ArgumentError, match="one for each of 2 channels"):
        Brownian(diffusion=(1.0, 2.0, 3.0)).check_channels(("x", "y"))
    with pytest.raises(ArgumentError, match=r"must be \(2, 2\)"):
        LinearSDE(A=((1.0,),)).start(CONTEXT)


def test_a_reference_of_other_channels_is_refused():
    class Planar(Brownian):
        num_channels = 3

    with pytest.raises(DataError, match=r"has 3 channels; the data have 2 \(x, y\)"):
        Planar().check_channels(("x", "y"))
