"""What all loops share: requests, observers, interruptions, and nothing left behind."""

from __future__ import annotations

import random
import warnings

import jax
import numpy as np
import pyro
import pytest
import torch

from dynplat.data import Trajectories
from dynplat.errors import CapabilityError, DataError, InferenceError, PluginError
from dynplat.inference import ENTRIES, InferenceWarning, laplace, map, mle, nuts, solve, svi

SHORT = {
    mle: {"restarts": 0},
    map: {"restarts": 0},
    laplace: {"restarts": 0, "num_draws": 50},
    svi: {"num_steps": 120, "num_draws": 10},
    nuts: {"num_warmup": 30, "num_samples": 40, "num_chains": 2},
}
LOOPS = pytest.mark.parametrize("method", list(SHORT), ids=lambda module: module.__name__.rpartition(".")[2])


class Recorder:
    """Remembers what it is told; may interrupt at a step."""

    def __init__(self, interrupt_at=None):
        self.told = []
        self.interrupt_at = interrupt_at

    def started(self, model, data, method):
        self.told.append(("started", method))

    def step(self, step, total, info):
        self.told.append(("step", step, total, dict(info)))
        if self.interrupt_at is not None and step >= self.interrupt_at:
            raise KeyboardInterrupt

    def ended(self, posterior, error):
        self.told.append(("ended", posterior, error))


def run(method, model, data, language, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)  # these runs are too short to be good
        return method.run(model, data, seed=0, language=language, **{**SHORT[method], **options})


@pytest.mark.parametrize(
    ("method", "language"),
    [(mle, "pyro"), (svi, "pyro"), (nuts, "pyro"), (mle, "numpyro")],
    ids=lambda value: value if isinstance(value, str) else value.__name__.rpartition(".")[2],
)
def test_a_fit_leaves_no_trace_in_the_frameworks(models, noise, method, language):
    pyro.get_param_store().clear()
    pyro.param("mine", torch.ones(2))
    torch.manual_seed(11), np.random.seed(12), random.seed(13)
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    run(method, models["conjugate"], noise, language)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]
    assert list(pyro.get_param_store().keys()) == ["mine"]
    assert torch.get_default_dtype() == torch.float32
    assert not jax.config.jax_enable_x64
    assert jax.numpy.ones(1).dtype == "float32"
    pyro.get_param_store().clear()


def test_a_failed_fit_leaves_no_trace_either(models, noise):
    for language in ("numpyro", "pyro"):
        with pytest.raises(ArithmeticError):
            map.run(models["singular"], noise, seed=0, language=language)
    assert torch.get_default_dtype() == torch.float32
    assert not jax.config.jax_enable_x64


@LOOPS
def test_observers_hear_start_steps_and_end(models, noise, method):
    recorder = Recorder()
    posterior = run(method, models["conjugate"], noise, "pyro", observers=[recorder])
    assert recorder.told[0] == ("started", method.__name__.rpartition(".")[2])
    assert recorder.told[-1] == ("ended", posterior, None)
    steps = [told[1] for told in recorder.told[1:-1]]
    assert steps == sorted(set(steps))
    assert all(told[1] <= told[2] for told in recorder.told[1:-1])
    if method in (svi, nuts):
        assert recorder.told[-2][1] == recorder.told[-2][2]


def test_observers_hear_of_a_failure(models, noise):
    recorder = Recorder()
    with pytest.raises(ArithmeticError) as error:
        map.run(models["singular"], noise, seed=0, language="pyro", observers=[recorder])
    assert recorder.told[-1] == ("ended", None, error.value)


@LOOPS
def test_an_interruption_is_raised_and_told(models, noise, method):
    recorder = Recorder(interrupt_at=1)
    with pytest.raises(KeyboardInterrupt):
        run(method, models["conjugate"], noise, "pyro", observers=[recorder])
    what, posterior, error = recorder.told[-1]
    assert (what, posterior, type(error)) == ("ended", None, KeyboardInterrupt)


@pytest.mark.parametrize("language", ["numpyro", "pyro"])
def test_an_interrupted_sampler_keeps_the_same_draws_when_asked(models, noise, language):
    """The draws until then are those of the whole run: one seed, one set of chains."""
    options = {"num_warmup": 30, "num_samples": 170, "num_chains": 1 if language == "pyro" else 2}
    whole = run(nuts, models["conjugate"], noise, language, **options).tree["posterior"]["loc"].values
    recorder = Recorder(interrupt_at=90)
    part = run(nuts, models["conjugate"], noise, language, observers=[recorder], keep_interrupted=True, **options)
    assert "nuts: interrupted; " in part.provenance["extra"]["notes"][0]
    draws = part.tree["posterior"]["loc"].values
    assert 20 <= draws.shape[1] < 170
    assert np.array_equal(draws, whole[:, : draws.shape[1]])


@pytest.mark.parametrize("language", ["numpyro", "pyro"])
def test_an_interrupted_variational_fit_keeps_the_same_steps_when_asked(models, noise, language):
    """Until then the bound is that of the whole run: one seed, one sequence of steps."""
    options = {"num_steps": 200, "learning_rate": 0.1}
    whole = run(svi, models["conjugate"], noise, language, **options)
    recorder = Recorder(interrupt_at=100)
    part = run(svi, models["conjugate"], noise, language, observers=[recorder], keep_interrupted=True, **options)
    facts = part.provenance["extra"]
    assert facts["notes"][0].startswith("svi: interrupted after 100 of 200 steps")
    assert facts["elbo"] == whole.provenance["extra"]["elbo"][:100]


def test_requests_beyond_the_capabilities_are_refused_before_anything_runs(build, noise):
    recorder = Recorder()
    model = build(None, lambda s: None, prior=False, languages=("pyro",))
    with pytest.raises(CapabilityError, match=r"inference 'nuts' needs a prior, which test/made does not offer"):
        nuts.run(model, noise, seed=0, observers=[recorder])
    with pytest.raises(CapabilityError, match=r"`language` for test/made must be 'pyro'; got 'numpyro'"):
        mle.run(model, noise, seed=0, language="numpyro", observers=[recorder])
    assert recorder.told == []


def test_a_prior_without_sites_is_refused(build, noise):
    model = build(lambda pp: pp.deterministic("a", 1.0), lambda s: None)
    with pytest.raises(CapabilityError, match="emits no site"):
        mle.run(model, noise, seed=0, language="pyro")


def test_records_name_functions_that_exist():
    assert [entry.id for entry in ENTRIES] == ["mle", "map", "laplace", "svi", "nuts", "train", "solve"]
    assert all(callable(entry.load()) for entry in ENTRIES)


def _ols(observations, seed):
    seen = observations.values[observations.mask]
    rng = np.random.default_rng(seed)
    return {"loc": rng.normal(seen.mean(), 1 / np.sqrt(seen.size), size=500)}


def test_solve_returns_the_models_own_draws(build, noise):
    def write(pp):
        loc = pp.sample("loc", pp.dist.Normal(0.0, 10.0))
        pp.deterministic("double", 2 * loc)

    model = build(write, lambda s: (s["loc"][..., None], 0.0 * s["loc"][..., None] + 1.0), solve=_ols)
    first, second = (solve.run(model, noise, seed=4, language="pyro") for _ in range(2))
    draws = first.tree["posterior"]
    expected = _ols(_observations(noise), 4)["loc"]
    assert np.array_equal(draws["loc"].values, expected[None])
    assert np.array_equal(draws["double"].values, 2 * expected[None])
    assert np.array_equal(draws["loc"], second.tree["posterior"]["loc"])
    terms = first.tree["log_likelihood"]
    seen = noise.values[noise.mask]
    total = -0.5 * ((seen - expected[0]) ** 2 + np.log(2 * np.pi)).sum()
    assert float(next(iter(terms.data_vars.values())).values[0, 0].sum()) == pytest.approx(total, rel=1e-12)


def test_solve_needs_no_prior(build, noise):
    law = lambda s: (s["loc"][..., None], 0.0 * s["loc"][..., None] + 1.0)  # noqa: E731
    posterior = solve.run(build(None, law, solve=_ols, prior=False), noise, seed=0)
    assert posterior.tree["posterior"]["loc"].shape == (1, 500)


@pytest.mark.parametrize(
    ("solution", "error", "message"),
    [
        (None, CapabilityError, "has no solver of its own"),
        ({"loc": np.ones((3, 2))}, PluginError, r"site 'loc' as \(draws, \), the shape .* got \(3, 2\)"),
        ({"loc": np.array([1.0, np.nan])}, InferenceError, "not finite for site 'loc'"),
        ({"loc": np.ones(3), "other": np.ones(2)}, PluginError, "one number of draws in front"),
    ],
    ids=["none", "shape", "nan", "draws"],
)
def test_solutions_that_do_not_fit_are_refused(build, noise, solution, error, message):
    def write(pp):
        pp.sample("loc", pp.dist.Normal(0.0, 10.0))

    law = lambda s: (s["loc"][..., None], 0.0 * s["loc"][..., None] + 1.0)  # noqa: E731
    with pytest.raises(error, match=message):
        solve.run(build(write, law, solve=lambda observations, seed: solution), noise, seed=0, language="pyro")


def test_a_model_without_a_solver_is_refused(models, noise):
    with pytest.raises(CapabilityError, match="test/conjugate has no solver of its own"):
        solve.run(models["conjugate"], noise, seed=0)


def _observations(data):
    from dynplat.model import observations_from

    return observations_from(data)


@pytest.mark.parametrize(("size", "names"), [(1e308, "1e\\+308"), (-1e200, "-1e\\+200"), (1e-160, "1e-160")])
def test_sizes_whose_squares_are_no_numbers_are_refused(models, size, names):
    values = np.zeros((1, 20, 1))
    values[0, 7] = size
    data = Trajectories.from_arrays(np.arange(20.0), values, channels=["flow"])
    with pytest.raises(DataError, match=rf"column 'flow': the largest value is {names} .*time 7.*squares.*unit"):
        mle.run(models["location-scale"], data, seed=0)
    # Large as it is, it can be read, shown and written; only a model cannot compute with it.
    assert data.values[0, 7, 0] == size
