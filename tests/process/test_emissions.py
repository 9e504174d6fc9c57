"""Emissions against scipy.stats, row by row and cell by cell, in every framework."""

import numpy as np
import pytest
from scipy import stats

from dynplat.arrays import Observations, framework, random_source, to_numpy
from dynplat.errors import ArgumentError
from dynplat.process import (
    CategoricalEmission,
    GaussianEmission,
    HiddenMarkov,
    MultivariateGaussianEmission,
    PoissonEmission,
    StudentTEmission,
)
from dynplat.testing.hidden_markov import dense_hidden_markov, random_hidden_markov

FRAMEWORKS = ("numpy", "torch", "jax")
K, T, C, CODES = 3, 6, 2, 4


def positive_definite(rng, lead):
    root = rng.standard_normal((*lead, C, C))
    return root @ np.swapaxes(root, -1, -2) + 0.3 * np.eye(C)


#: How each is built from parameters with leading axes `lead`, and the law of one row in one state by scipy.
BUILD = {
    "gaussian": (
        GaussianEmission,
        lambda rng, lead: [rng.standard_normal((*lead, C)), 0.5 + rng.random((*lead, C))],
        lambda m, s: [stats.norm(m[c], s[c]) for c in range(C)],
    ),
    "student t": (
        StudentTEmission,
        lambda rng, lead: [
            2.5 + 4 * rng.random((*lead, C)),
            rng.standard_normal((*lead, C)),
            0.5 + rng.random((*lead, C)),
        ],
        lambda d, m, s: [stats.t(d[c], m[c], s[c]) for c in range(C)],
    ),
    "poisson": (
        PoissonEmission,
        lambda rng, lead: [rng.gamma(2.0, 2.0, (*lead, C))],
        lambda rate: [stats.poisson(rate[c]) for c in range(C)],
    ),
    "categorical": (
        CategoricalEmission,
        lambda rng, lead: [np.log(rng.dirichlet(np.ones(CODES), (*lead, C)))],
        lambda p: [stats.rv_discrete(values=(np.arange(CODES), np.exp(p[c]))) for c in range(C)],
    ),
    "multivariate gaussian": (
        MultivariateGaussianEmission,
        lambda rng, lead: [rng.standard_normal((*lead, C)), positive_definite(rng, lead)],
        lambda m, P: [stats.norm(m[c], np.sqrt(P[c, c])) for c in range(C)],
    ),
}
REAL = ("gaussian", "student t", "multivariate gaussian")


def values_for(kind, rng, lead=()):
    if kind in REAL:
        return rng.standard_normal((*lead, T, C))
    return rng.integers(0, CODES, (*lead, T, C)).astype(float)


def row_density(kind, parameters, values, mask):
    """Log density of the observed cells of a row, by scipy."""
    if kind == "multivariate gaussian":
        means, covs = parameters
        if not mask.any():
            return 0.0
        return stats.multivariate_normal(means[mask], covs[np.ix_(mask, mask)]).logpdf(values[mask])
    laws = BUILD[kind][2](*parameters)
    name = "logpdf" if kind in REAL else "logpmf"
    return sum(getattr(law, name)(values[c]) for c, law in enumerate(laws) if mask[c])


def example(kind, *, moving=False, lead=(), seed=0):
    rng = np.random.default_rng(seed)
    parameters = BUILD[kind][1](rng, (*lead, T, K) if moving else (*lead, K))
    mask = rng.random((*lead, T, C)) > 0.3
    mask[..., 2, :] = False
    mask[..., 3, :] = True
    return parameters, values_for(kind, rng, lead), mask


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
@pytest.mark.parametrize("kind", BUILD)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_rows_have_the_densities_of_scipy(name, kind, moving):
    for lead in ((), (2,)):
        parameters, values, mask = example(kind, moving=moving, lead=lead)
        wanted = np.empty((*lead, T, K))
        for where in np.ndindex(*wanted.shape):
            *head, row, state = where
            place = (*head, row, state) if moving else (*head, state)
            at = (*head, row)
            wanted[where] = row_density(kind, [p[place] for p in parameters], values[at], mask[at])
        with framework(name) as make:
            emission = BUILD[kind][0](*map(make, parameters), time_varying=moving)
            seen = Observations(make(np.arange(float(T))), make(np.where(mask, values, 7.0)), make(mask))
            for driver in ("auto", "sequential"):
                found = to_numpy(emission.log_density(seen, driver=driver))
                np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-13)
            assert (found[~mask.any(axis=-1)] == 0).all()
            assert emission.batch_shape == lead
            assert emission.num_steps == (T if moving else 0)


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
@pytest.mark.parametrize("kind", BUILD)
def test_cells_and_moments_are_those_of_scipy(kind, moving):
    parameters, values, _ = example(kind, moving=moving)
    emission = BUILD[kind][0](*parameters, time_varying=moving)
    cells = emission.cell_log_density(values)
    moments = kind != "categorical"
    for row, state, c in np.ndindex(T, K, C):
        place = (row, state) if moving else (state,)
        law = BUILD[kind][2](*(p[place] for p in parameters))[c]
        wanted = (law.logpdf if kind in REAL else law.logpmf)(values[row, c])
        np.testing.assert_allclose(cells[row, state, c], wanted, rtol=1e-11)
        if moments:
            np.testing.assert_allclose(emission.mean()[(*place, c)], law.mean(), rtol=1e-12)
            np.testing.assert_allclose(emission.variance()[(*place, c)], law.var(), rtol=1e-12)
            np.testing.assert_allclose(emission.covariance()[(*place, c, c)], law.var(), rtol=1e-12)
    if kind == "multivariate gaussian":
        np.testing.assert_allclose(emission.covariance(), parameters[1], rtol=1e-14)


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
@pytest.mark.parametrize("kind", BUILD)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_draws_have_the_law(name, kind, moving):
    count = 20_000
    parameters, _, _ = example(kind, moving=moving)
    states = np.arange(T) % K
    with framework(name) as make:
        emission = BUILD[kind][0](*map(make, parameters), time_varying=moving)
        repeated = make(np.broadcast_to(states, (count, T)))
        draws = to_numpy(emission.sample(repeated, random_source(0, emission.like)))
    assert draws.shape == (count, T, C)
    for row, c in np.ndindex(T, C):
        place = (row, states[row]) if moving else (states[row],)
        law = BUILD[kind][2](*(p[place] for p in parameters))[c]
        for level in (0.1, 0.5, 0.9):
            point = law.ppf(level)
            # Within 5 standard errors of the law's own probability.
            p = law.cdf(point)
            share = (draws[:, row, c] <= point).mean()
            assert abs(share - p) <= 5 * np.sqrt(p * (1 - p) / count) + 1e-12
    if kind == "multivariate gaussian":
        place = (0, 0) if moving else (0,)
        wanted = parameters[1][place]
        found = np.cov(draws[:, 0].T)
        spread = np.sqrt((wanted[0, 0] * wanted[1, 1] + wanted[0, 1] ** 2) / count)
        assert abs(found[0, 1] - wanted[0, 1]) < 5 * spread


@pytest.mark.parametrize("kind", BUILD)
def test_gradients_are_equal_in_both_frameworks_and_those_of_finite_differences(kind):
    parameters, values, mask = example(kind, seed=3)
    weights = np.random.default_rng(1).standard_normal((T, K))
    rows = np.arange(float(T))
    if kind == "categorical":  # a step off the simplex is no law
        parameters = [np.random.default_rng(4).standard_normal((K, C, CODES))]

    def total(xp, make, parts):
        if kind == "categorical":
            parts = [parts[0] - xp.log(xp.sum(xp.exp(parts[0]), axis=-1))[..., None]]
        emission = BUILD[kind][0](*parts)
        found = emission.log_density(Observations(rows, make(np.where(mask, values, np.nan)), make(mask)))
        return xp.sum(make(weights) * found)

    gradients = {}
    with framework("torch") as make:
        import torch
        from array_api_compat import torch as xp

        leaves = [make(p).requires_grad_() for p in parameters]
        gradients["torch"] = [g.numpy() for g in torch.autograd.grad(total(xp, make, leaves), leaves)]
    with framework("jax") as make:
        import jax

        leaves = [make(p) for p in parameters]
        places = tuple(range(len(leaves)))
        for wrapped in (lambda f: f, jax.jit):
            run = wrapped(jax.grad(lambda *parts: total(jax.numpy, make, parts), places))
            gradients[wrapped] = [np.asarray(g) for g in run(*leaves)]
    for other in list(gradients)[1:]:
        for one, two in zip(gradients["torch"], gradients[other], strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-12)
    step = 1e-6
    for which, gradient in enumerate(gradients["torch"]):
        for place in np.ndindex(*gradient.shape):
            ends = []
            for sign in (1, -1):
                moved = [p.copy() for p in parameters]
                moved[which][place] += sign * step
                ends.append(total(np, np.asarray, moved))
            np.testing.assert_allclose(gradient[place], (ends[0] - ends[1]) / (2 * step), rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
@pytest.mark.parametrize("kind", BUILD)
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_chains_with_any_emission_equal_the_sum_over_all_paths(name, kind, moving):
    parameters, values, mask = example(kind, moving=moving, seed=2)
    chain = random_hidden_markov(np.random.default_rng(0), num_states=K, num_steps=T)
    density = BUILD[kind][0](*parameters, time_varying=moving).log_density(Observations(np.arange(T), values, mask))
    dense = dense_hidden_markov(chain.log_initial, chain.log_transition, density)
    with framework(name) as make:
        emission = BUILD[kind][0](*map(make, parameters), time_varying=moving)
        process = HiddenMarkov(make(chain.log_initial), make(chain.log_transition), emission)
        seen = Observations(make(np.arange(float(T))), make(values), make(mask))
        np.testing.assert_allclose(float(process.log_prob(seen)), dense.log_prob, rtol=1e-12)
        law = process.condition(seen).at(make(np.array([4.0, 1.0])))
        np.testing.assert_allclose(to_numpy(law.mean("state")), dense.states[[4, 1]], rtol=1e-10, atol=1e-13)
        rows = BUILD[kind][0](*parameters, time_varying=moving)
        cells = rows.cell_log_density(values)[[4, 1]]
        wanted = np.log(np.einsum("qk,qkc->qc", dense.states[[4, 1]], np.exp(cells)))
        np.testing.assert_allclose(to_numpy(law.log_density(make(values[[4, 1]]))), wanted, rtol=1e-10)
        assert law.draws(3, random=random_source(0, process.like)).shape == (3, 2, C)
        if kind != "categorical":
            means = rows.mean()[[4, 1]] if moving else np.stack([rows.mean()] * 2)
            second = rows.covariance()[[4, 1]] if moving else np.stack([rows.covariance()] * 2)
            second = second + means[..., :, None] * means[..., None, :]
            mean = np.einsum("qk,qkc->qc", dense.states[[4, 1]], means)
            cov = np.einsum("qk,qkcd->qcd", dense.states[[4, 1]], second) - mean[..., :, None] * mean[..., None, :]
            np.testing.assert_allclose(to_numpy(law.mean()), mean, rtol=1e-10)
            np.testing.assert_allclose(to_numpy(law.covariance()), cov, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(
                to_numpy(law.variance()), np.diagonal(cov, axis1=-2, axis2=-1), rtol=1e-9, atol=1e-12
            )
            drawn = law.draws(3, random=random_source(0, process.like), of="signal")
            assert {tuple(d) for d in to_numpy(drawn)[:, 0]} <= {tuple(m) for m in means[0]}


def test_laws_that_move_cannot_be_extended_and_name_what_has_their_rows():
    parameters, values, mask = example("gaussian", moving=True)
    emission = GaussianEmission(*parameters, time_varying=True)
    chain = random_hidden_markov(np.random.default_rng(0), num_states=K, num_steps=T)
    process = HiddenMarkov(chain.log_initial, chain.log_transition, emission)
    seen = Observations(np.arange(float(T)), values, mask)
    with pytest.raises(ArgumentError, match="cannot be extended"):
        process.condition(seen).at(np.array([float(T)]))
    with pytest.raises(ArgumentError, match="`emission` has 6"):
        process.log_prob(Observations(*(part[:4] for part in seen[:3])))
    moving = random_hidden_markov(np.random.default_rng(0), num_states=K, num_steps=4, moving=True)
    with pytest.raises(ArgumentError, match="has 4 rows, but the parameters of `emission` have 6"):
        HiddenMarkov(chain.log_initial, moving.log_transition, emission)
    # Parameters with a time axis of length 1 do not move.
    once = GaussianEmission(*(p[:1] for p in parameters), time_varying=True)
    still = GaussianEmission(*(p[0] for p in parameters))
    laws = [HiddenMarkov(chain.log_initial, chain.log_transition, law).condition(seen) for law in (once, still)]
    np.testing.assert_allclose(*(law.at(np.array([2.0, T + 1.0])).variance() for law in laws), rtol=1e-12)


def test_edges_of_laws():
    poisson = PoissonEmission(np.array([[0.0], [2.0]]))
    cells = poisson.cell_log_density(np.array([[0.0], [3.0], [0.5], [-1.0]]))[..., 0]
    np.testing.assert_allclose(cells[0], [0.0, -2.0], rtol=1e-15)
    np.testing.assert_allclose(cells[1], [-np.inf, stats.poisson(2.0).logpmf(3)], rtol=1e-14)
    assert (cells[2:] == -np.inf).all()
    student = StudentTEmission(np.array([[0.8], [1.5], [3.0]]), np.ones((3, 1)), np.full((1, 1), 2.0))
    np.testing.assert_array_equal(student.mean()[:, 0], [np.nan, 1.0, 1.0])
    np.testing.assert_allclose(student.variance()[:, 0], [np.nan, np.inf, 12.0])
    with framework("torch") as make:
        import torch

        rates = make(np.array([[0.0], [2.0]])).requires_grad_()
        seen = Observations(make(np.arange(1.0)), make(np.zeros((1, 1))), make(np.ones((1, 1), dtype=bool)))
        (gradient,) = torch.autograd.grad(PoissonEmission(rates).log_density(seen).sum(), rates)
        np.testing.assert_array_equal(gradient.numpy(), [[-1.0], [-1.0]])


def test_what_does_not_fit_is_named():
    two = np.zeros((2, 2))
    with pytest.raises(ArgumentError, match=r"`means` must have shape .*T, K, channel"):
        GaussianEmission(two, two + 1.0, time_varying=True)
    with pytest.raises(ArgumentError, match="broadcast"):
        GaussianEmission(two, np.ones((3, 2)))
    with pytest.raises(ArgumentError, match=r"`rates` must not be negative; rates\[\(0, 1\)\] is -1"):
        PoissonEmission(np.array([[1.0, -1.0]]))
    with pytest.raises(ArgumentError, match="`degrees` must be positive"):
        StudentTEmission(two, two, two + 1.0)
    with pytest.raises(ArgumentError, match=r"`covs` must end in \(channel, channel\)"):
        MultivariateGaussianEmission(two, np.ones((2, 2, 3)))
    with pytest.raises(ArgumentError, match=r"covs\[\(1,\)\] is not"):
        MultivariateGaussianEmission(two, np.stack([np.eye(2), np.ones((2, 2))]))
    half = PoissonEmission(np.ones((1, 1)))
    seen = Observations(np.arange(2.0), np.array([[1.0], [0.5]]), np.ones((2, 1), dtype=bool))
    with pytest.raises(ArgumentError, match=r"counts 0, 1, \.\.\. .*found 0.5 at row 1, channel 0"):
        half.log_density(seen)
    assert half.log_density(seen._replace(mask=np.array([[True], [False]])))[1, 0] == 0


@pytest.mark.parametrize("kind", BUILD)
def test_distributions_of_both_languages_agree(kind):
    parameters, values, mask = example(kind)
    chain = random_hidden_markov(np.random.default_rng(0), num_states=K, num_steps=T)
    found = []
    with framework("torch") as make:
        from dynplat.process.pyro import HiddenMarkov as InPyro

        emission = BUILD[kind][0](*map(make, parameters))
        law = InPyro(make(chain.log_initial), make(chain.log_transition), emission, mask=make(mask))
        found.append(float(law.log_prob(make(values))))
        assert law.sample((4,)).shape == (4, T, C)
    with framework("jax") as make:
        import jax

        from dynplat.process.numpyro import HiddenMarkov as InNumPyro

        emission = BUILD[kind][0](*map(make, parameters))
        law = InNumPyro(make(chain.log_initial), make(chain.log_transition), emission, mask=make(mask))
        found.append(float(jax.jit(lambda law, y: law.log_prob(y))(law, make(values))))
        assert jax.jit(lambda law, key: law.sample(key, (4,)))(law, jax.random.key(0)).shape == (4, T, C)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)
