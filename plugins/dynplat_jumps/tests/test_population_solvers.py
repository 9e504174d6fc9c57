"""EM and the Gibbs sampler of birth and death, and the maximum under Gamma priors, by other ways."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize
from scipy.linalg import expm

import dynplat as dp
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError
from dynplat.model import observations_from
from dynplat_jumps import solvers
from dynplat_jumps.em import fit_rates
from dynplat_jumps.recorded import laws_of
from dynplat_jumps.tests.conftest import Grid

COUNTS = np.array([[1, 2, 2, 0, 1], [3, 3, 2, 4, 3], [0, 0, 1, 1, 3]])
GROWING = np.array([[1, 2, 2, 5, 6], [3, 3, 6, 4, 3], [0, 0, 1, 1, 4], [4, 6, 5, 1, 1]])
CAPACITY = 6
#: Gaps of two lengths.
GAPS = np.array([0.5, 0.5, 1.2, 1.2])


def populations(counts=COUNTS):
    times = np.tile(np.r_[0.0, np.cumsum(GAPS)], (len(counts), 1))
    return Trajectories.from_arrays(times, counts[..., None].astype(float), channels=["n"])


def dense_log_likelihood(birth, death, immigration, counts=COUNTS):
    """Log-likelihood by dense exponentials; rates broadcast."""
    birth, death, immigration = np.broadcast_arrays(birth, death, immigration)
    Q = np.zeros((*birth.shape, CAPACITY + 1, CAPACITY + 1))
    for n in range(CAPACITY):
        Q[..., n, n + 1] = birth * n + immigration
        Q[..., n + 1, n] = death * (n + 1)
    Q -= np.eye(CAPACITY + 1) * Q.sum(-1, keepdims=True)
    total = len(counts) * -np.log(CAPACITY + 1.0)
    for gap in np.unique(GAPS):
        P = expm(Q * gap)
        for row in np.flatnonzero(gap == GAPS):
            for old, new in zip(counts[:, row], counts[:, row + 1], strict=True):
                total = total + np.log(np.maximum(P[..., old, new], 1e-300))
    return total


@pytest.mark.parametrize("immigration", [True, False])
def test_em_of_populations_ends_at_the_maximum(immigration):
    counts = GROWING if immigration else np.array([[1, 2, 2, 0, 0], [3, 3, 2, 4, 3], [2, 1, 1, 3, 3]])
    model = dp.load_model("jumps/birth-death", capacity=CAPACITY, immigration=immigration, solver="em")
    fit = dp.fit(model, populations(counts), "solve")
    names = ("birth", "death", "immigration")[: 2 + immigration]
    found = np.array([float(np.asarray(fit.sites(np.asarray)[name]).ravel()[0]) for name in names])

    def minus(logs):
        return -float(dense_log_likelihood(*np.exp(logs), *([] if immigration else [0.0]), counts=counts))

    search = optimize.minimize(
        minus, np.zeros(len(names)), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10}
    )
    assert fit.provenance["extra"]["log_likelihood"] == pytest.approx(-search.fun, abs=1e-5)
    np.testing.assert_allclose(found, np.exp(search.x), rtol=5e-3)
    assert (found > 0.05).all()


def test_rates_of_populations_have_the_moments_of_the_exact_posterior():
    options = {"capacity": CAPACITY, "rate_shape": 1.5}
    model = dp.load_model("jumps/birth-death", **options, solver="rao-teh", solver_draws=25_000)
    data = populations()
    context = model.prepare(data)
    found = model.solve(observations_from(data), context, seed=0)
    inverse = 1.5 / float(context["rate"])

    def log_density(*logs):
        prior = sum(1.5 * x - inverse * np.exp(x) for x in logs)
        return prior + dense_log_likelihood(*(np.exp(x) for x in logs))

    # Of births there may be almost none: a long tail to the left, in which the rates themselves hardly differ.
    grid = Grid([np.linspace(-7.5, 2.0, 26), np.linspace(-4.0, 2.5, 20), np.linspace(-5.0, 2.5, 24)], log_density)
    for name, logs in zip(("birth", "death", "immigration"), grid.values, strict=True):
        grid.check(found[name], np.exp(logs))


def test_the_prior_of_populations_is_read_off_the_model():
    data = populations()
    model = dp.load_model("jumps/birth-death", rate_shape=2.5)
    context = model.prepare(data)
    laws = laws_of(model, context)
    assert {law.family for law in laws.values()} == {"Gamma"}
    for law in laws.values():
        shape, rate = law.parameters
        assert shape == 2.5
        assert shape / rate == pytest.approx(context["rate"])
    # A prior of another family is not taken for a Gamma law.
    other = dp.load_model("jumps/birth-death", rate_shape=2.5, solver="rao-teh")
    laws["birth"] = laws["birth"]._replace(family="LogNormal")
    with pytest.raises(ArgumentError, match="step for 'birth' knows the Gamma prior; the model's is LogNormal"):
        solvers.blocks_of(other, context, observations_from(data), laws)
    laws = laws_of(model, context)
    laws["drift"] = laws["birth"]
    with pytest.raises(ArgumentError, match="has no step for \\['drift'\\]: use 'mle' or 'nuts'"):
        solvers.blocks_of(other, context, observations_from(data), laws)


def test_a_stationary_population_is_refused():
    with pytest.raises(ArgumentError, match=r"leave out.*`initial='stationary'`.*'mle'"):
        dp.load_model("jumps/birth-death", initial="stationary", solver="em")


@pytest.mark.parametrize("breaks", [(), (1.3,)])
def test_em_under_gamma_priors_ends_at_the_mode_of_the_rates_themselves(breaks):
    rng = np.random.default_rng(8)
    times = np.cumsum(rng.exponential(0.6, (4, 6)), axis=1)
    states = rng.integers(0, 3, (4, 6))
    data = Trajectories.from_arrays(times, states[..., None].astype(float), channels=["state"])
    model = dp.load_model("jumps/panel", num_states=3, first_state=0, breaks=breaks)
    context, observations = model.prepare(data), observations_from(data)
    pieces = len(breaks) + 1
    lead = (pieces,) if breaks else ()
    structure = model.structure_of(context)
    shape, rate = rng.uniform(1.2, 3.0, (3, 3)), rng.uniform(0.2, 2.0, (3, 3))
    start = np.asarray(structure.generator(np.ones((*lead, 6))))

    def build(q):
        return model._chain(q, context)

    def run(shape):
        return fit_rates(build, start, observations, shape=shape, rate=rate, tolerance=1e-13)

    old, new = np.asarray(structure.links).T

    def minus(logs, more):
        rates = np.exp(logs).reshape(*lead, 6)
        likelihood = float(build(structure.generator(rates)[None]).log_prob(observations).sum())
        return -likelihood - ((shape[old, new] - 1.0 + more) * np.log(rates) - rate[old, new] * rates).sum()

    for more in (0.0, 1.0):  # the density of the rates, and that of their logarithms, which a shape more by 1 gives
        found, trace = run(shape + more)
        search = optimize.minimize(minus, np.zeros(6 * pieces), args=(more,), method="BFGS", options={"gtol": 1e-7})
        np.testing.assert_allclose(found[..., old, new].ravel(), np.exp(search.x), rtol=1e-4)
        assert trace[-1] == pytest.approx(-search.fun, abs=1e-7)
