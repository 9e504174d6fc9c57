"""Derived quantities and paths: printed tables, exact moments, refusals."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.linalg import expm

import dynplat as dp
from dynplat.arrays import Observations
from dynplat.errors import ArgumentError
from dynplat.marks import ENTERED, MOVED, OBSERVED, STAYED
from dynplat.model import observations_from
from dynplat.process import GaussianEmission
from dynplat_jumps import derived, paths
from dynplat_jumps.process import MarkovJump
from dynplat_jumps.tests.conftest import make_ratchet, random_generator


@pytest.mark.parametrize(
    ("V", "law", "entropy"),
    [
        (0.0, [1 / 6] * 6, 0.0),
        (1.0, [0.30119, 0.13654, 0.06227, 0.2003, 0.15914, 0.14057], 0.179194),
        (2.0, [0.39641, 0.08428, 0.01931, 0.2241, 0.14607, 0.12983], 0.565647),
        (3.0, [0.44744, 0.04633, 0.00623, 0.23686, 0.13658, 0.12656], 0.992735),
    ],
)
def test_ratchet_tables(V, law, entropy):
    Q = make_ratchet(V)
    np.testing.assert_allclose(derived.stationary(Q), law, atol=5.1e-6)
    np.testing.assert_allclose(derived.entropy_production(Q), entropy, atol=5.1e-7)
    np.testing.assert_allclose(derived.time_scales(Q)[0], 0.5, rtol=1e-9)


def test_ratchet_passages(ratchet):
    table = [
        [0, 2.05353, 2.96527, 1.33075, 2.38315, 2.72665],
        [0.97145, 0, 2.76934, 1.69594, 1.94266, 2.70495],
        [0.78991, 1.66333, 0, 1.6277, 2.29945, 2.39827],
        [1.44034, 2.4426, 3.17497, 0, 1.68111, 1.86061],
        [1.6832, 1.92921, 3.12598, 1.33944, 0, 1.85519],
        [1.63782, 2.34505, 2.43365, 1.32238, 1.66019, 0],
    ]
    np.testing.assert_allclose(derived.mean_first_passage(ratchet), table, atol=5.1e-6)
    np.testing.assert_allclose(
        derived.probabilities(ratchet, [0.3])[0, 0],
        [0.62262, 0.1022, 0.04958, 0.15585, 0.03791, 0.03183],
        atol=5.1e-6,
    )
    np.testing.assert_allclose(
        1.0 / derived.time_scales(ratchet), [2.0, 2.86005, 3.56429, 4.87723, 6.2951], atol=5.1e-6
    )


def test_heart_transplant_tables(mirror):
    data = dp.load_dataset("heart-transplant")
    model = dp.load_model("jumps/panel", structure="1-2,1-4,2-1,2-3,2-4,3-2,3-4")
    fit = dp.fit(model, data, "mle", restarts=0, errors=False)
    Q = derived.generators(fit)[0, 0]
    # The published search stopped where -2 log L is 4e-6 higher.
    np.testing.assert_allclose(
        derived.probabilities(Q, [10.0])[0, 0], [0.30940656, 0.09750021, 0.08787255, 0.5052207], atol=3e-5
    )
    np.testing.assert_allclose(derived.sojourn(Q)[:3], [5.8696, 1.6449, 2.2878], atol=2e-3)
    np.testing.assert_allclose(derived.total_stay(Q)[0, :3], [8.816, 2.230, 1.748], atol=2e-3)
    assert derived.total_stay(Q)[0, 3] == np.inf
    assert derived.sojourn(Q)[3] == np.inf
    assert (derived.mean_first_passage(Q)[:3, :3][~np.eye(3, dtype=bool)] == np.inf).all()
    np.testing.assert_allclose(derived.stationary(Q), [0, 0, 0, 1])


def test_intervals_cover_their_draws(mirror):
    data = dp.load_dataset("heart-transplant")
    model = dp.load_model("jumps/panel", structure="1-2,1-4,2-1,2-3,2-4,3-2,3-4")
    with warnings.catch_warnings():
        # The rate from 2 to 4 is hardly known, and its posterior is not Gaussian; msm's intervals are of this kind.
        warnings.simplefilter("ignore", dp.InferenceWarning)
        fit = dp.fit(model, data, "laplace", num_draws=400, resample=False)
    middle, low, high = derived.interval(derived.probabilities(derived.generators(fit)[:, 0], [10.0]))
    # msm's normal simulation gives about .27 to .35 for P_11(10).
    assert low[0, 0, 0] < 0.309 < high[0, 0, 0]
    assert 0.02 < high[0, 0, 0] - low[0, 0, 0] < 0.12
    np.testing.assert_allclose(middle[0].sum(-1), 1.0, atol=0.02)
    with pytest.raises(ArgumentError, match="needs draws"):
        derived.interval(middle[:1])


def test_intervals_from_maximum_likelihood(mirror):
    """The published intervals of msm, and the delta method with derivatives by automatic differentiation."""
    data = dp.load_dataset("heart-transplant")
    model = dp.load_model("jumps/panel", structure="1-2,1-4,2-1,2-3,2-4,3-2,3-4")
    fit = dp.fit(model, data, "mle", restarts=0)
    drawn = dp.draw_asymptotic(fit, 20_000, seed=0)
    Q = derived.generators(drawn)[:, 0]
    _, low, high = derived.interval(Q)
    assert (low[0, 1], high[0, 1]) == pytest.approx((0.11135, 0.14684), abs=1e-3)

    # Derivatives of the likelihood and of what is derived, by logarithms of the rates.
    observations = observations_from(data)
    links = torch.tensor(np.asarray(fit.context["links"]))
    log_rates = torch.tensor(np.log(fit.tree["posterior"]["rate"].values[0, 0]))

    def generator(z):
        off = torch.zeros(4, 4, dtype=z.dtype).index_put((links[:, 0], links[:, 1]), torch.exp(z))
        return off - torch.diag(off.sum(1))

    def slope(z):
        z = z.detach().requires_grad_(True)
        return torch.autograd.grad(model._chain(generator(z)[None], fit.context).log_prob(observations).sum(), z)[0]

    h = 1e-5 * torch.eye(7, dtype=torch.float64)
    information = -torch.stack([(slope(log_rates + one) - slope(log_rates - one)) / 2e-5 for one in h])
    covariance = torch.linalg.inv(0.5 * (information + information.T))
    law = fit.tree["asymptotic"]
    np.testing.assert_allclose(law["covariance"], covariance, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(law["parameter"][:2], ["rate[1-2]", "rate[1-4]"])

    def quantities(z):
        Q = generator(z)
        absorbed = torch.linalg.inv(-Q[:3, :3])
        return torch.cat([torch.linalg.matrix_exp(10.0 * Q)[:3].ravel(), -1.0 / Q.diagonal()[:3], absorbed.ravel()])

    J = torch.func.jacrev(quantities)(log_rates)
    delta = torch.sqrt(torch.diagonal(J @ covariance @ J.T)).numpy()

    def of_generators(Q):
        stay = derived.total_stay(Q)[:, :3, :3].reshape(len(Q), -1)
        return np.concatenate(
            [derived.probabilities(Q, [10.0])[:, 0, :3].reshape(len(Q), -1), derived.sojourn(Q)[:, :3], stay], 1
        )

    # Near the estimate the draws are the delta method; as far as they go they also bend, most where 2-4 counts.
    z = drawn.tree["unconstrained_posterior"]["rate"].values[0]
    near = of_generators(np.stack([generator(one).numpy() for one in log_rates + 0.02 * (torch.tensor(z) - log_rates)]))
    np.testing.assert_allclose(near.std(0) / 0.02, delta, rtol=0.03)
    middle, low, high = derived.interval(of_generators(Q))
    np.testing.assert_allclose(middle, quantities(log_rates), rtol=0.05)
    np.testing.assert_allclose(high - low, 2 * 1.959964 * delta, rtol=0.15)


def test_limits_of_derived_quantities():
    rng = np.random.default_rng(0)
    Q = random_generator(rng, 4, (2, 3))
    law = derived.stationary(Q)
    np.testing.assert_allclose((law[..., None, :] @ Q)[..., 0, :], 0.0, atol=1e-14)
    exchange = rng.gamma(1.0, size=(4, 4))
    pi = rng.dirichlet(np.ones(4))
    reversible = (exchange + exchange.T) * pi
    reversible -= np.diag(reversible.sum(1))
    np.testing.assert_allclose(derived.entropy_production(reversible), 0.0, atol=1e-14)
    one_way = np.array([[-1.0, 1.0, 0.0], [0.0, -1.0, 1.0], [1.0, 0.0, -1.0]])
    assert derived.entropy_production(one_way) == np.inf
    span = np.linspace(0.0, 2.0, 4001)
    P = derived.probabilities(Q[0, 0], span)
    np.testing.assert_allclose(derived.total_stay(Q[0, 0], until=2.0), np.trapezoid(P, span, axis=0), rtol=5e-6)
    with pytest.raises(ArgumentError, match="several closed classes"):
        derived.stationary(np.zeros((2, 2)))


def test_a_matrix_without_a_generator_is_refused():
    Q = random_generator(np.random.default_rng(1), 3)
    np.testing.assert_allclose(derived.generator_from_probabilities(expm(0.4 * Q), 0.4), Q, rtol=1e-10)
    with pytest.raises(ArgumentError, match="real eigenvalues must be positive"):
        derived.generator_from_probabilities([[0.1, 0.9], [0.8, 0.2]], 1.0)
    with pytest.raises(ArgumentError, match=r"rate from state 0 to 2 would be -"):
        derived.generator_from_probabilities([[0.9, 0.1, 0.0], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]], 1.0)
    with pytest.raises(ArgumentError, match="rows sum to one"):
        derived.generator_from_probabilities([[0.9, 0.2], [0.1, 0.9]], 1.0)


def test_bridge_moments_as_printed(ratchet):
    P, stays, jumps = paths.bridge_moments(ratchet, 0, 4, 0.3)
    assert pytest.approx(0.0379140, abs=5.1e-8) == P
    np.testing.assert_allclose(stays, [0.102059, 0.034571, 0.003580, 0.059041, 0.094639, 0.006109], atol=5.1e-7)
    expected = {(0, 1): 0.342860, (0, 3): 0.626486, (3, 4): 0.573317, (1, 4): 0.368415}
    for link, value in expected.items():
        assert jumps[link] == pytest.approx(value, abs=5.1e-7)


def test_bridges_have_their_moments(ratchet):
    count = 4000
    _, stays, jumps = paths.bridge_moments(ratchet, 0, 4, 0.3)
    drawn = [paths.bridge_path(ratchet, 0, 4, 0.3, seed=seed) for seed in range(count)]
    assert all(path.states[0] == 0 and path.states[-1] == 4 for path in drawn)
    for found, expected in (
        (np.stack([path.stays(6) for path in drawn]), stays),
        (np.stack([path.jumps(6) for path in drawn]), jumps),
    ):
        error = found.std(axis=0) / np.sqrt(count)
        assert (np.abs(found.mean(axis=0) - expected) <= 5.0 * error + 1e-12).all()


def test_simulated_paths_have_the_chain_s_law(ratchet):
    count = 4000
    drawn = [paths.simulate_path(ratchet, 0, 1.0, seed=seed) for seed in range(count)]
    shares = np.bincount([int(path.at(0.3)) for path in drawn], minlength=6) / count
    assert (np.abs(shares - expm(0.3 * ratchet)[0]) < 5 * np.sqrt(0.25 / count)).all()
    stays = np.stack([path.stays(6) for path in drawn])
    error = stays.std(axis=0) / np.sqrt(count)
    assert (np.abs(stays.mean(axis=0) - derived.total_stay(ratchet, until=1.0)[0]) < 5 * error).all()
    absorbed = paths.simulate_path(np.array([[-1.0, 1.0], [0.0, 0.0]]), 1, 5.0, seed=0)
    assert absorbed.states.tolist() == [1]
    with pytest.raises(ArgumentError, match="no path leads from state 1 to 0"):
        paths.bridge_path(np.array([[-1.0, 1.0], [0.0, 0.0]]), 1, 0, 1.0, seed=0)


def test_paths_given_observations_obey_marks_and_have_the_gradient_s_moments():
    rng = np.random.default_rng(2)
    Q = torch.tensor(random_generator(rng, 3)).requires_grad_(True)
    initial = torch.log(torch.tensor([[0.2, 0.5, 0.3]]).double())
    means = torch.tensor([[[-1.0], [0.0], [1.0]]]).double()
    emission = GaussianEmission(means, torch.ones(1, 3, 1).double())
    times = np.array([[0.0, 0.7, 1.5, 2.0, 3.0]])
    marks = np.array([[OBSERVED, ENTERED, MOVED, OBSERVED, STAYED]])
    observations = Observations(times, rng.normal(size=(1, 5, 1)), np.ones((1, 5, 1), bool), None, marks)
    log_prob = MarkovJump(Q[None], initial, emission).log_prob(observations).sum()
    (slope,) = torch.autograd.grad(log_prob, Q)
    # Fisher's identity: with all entries of Q free the gradient holds expected times, and jumps over rates.
    expected_stays, expected_jumps = torch.diagonal(slope).numpy(), (slope * Q).detach().numpy()
    process = MarkovJump(Q.detach()[None], initial, emission)
    drawn = [draw[0] for draw in paths.draw_paths(process, observations, 3000, seed=0)]
    assert all(0.7 in path.times and 1.5 in path.times for path in drawn)
    assert all(not ((path.times > 0.7) & (path.times < 1.5)).any() and path.times[-1] <= 2.0 for path in drawn)
    stays = np.stack([path.stays(3) for path in drawn])
    jumps = np.stack([path.jumps(3) for path in drawn])
    np.fill_diagonal(expected_jumps, 0.0)
    for found, expected in ((stays, expected_stays), (jumps, expected_jumps)):
        error = found.std(axis=0) / np.sqrt(len(found))
        assert (np.abs(found.mean(axis=0) - expected) <= 5.0 * error + 1e-9).all()
