"""The two languages: one prior, the same sites, the same density."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import numpy as np
import numpyro
import pyro
import pytest
import torch
from numpyro.infer.util import log_density

from dynplat.errors import ArgumentError, CapabilityError, ConflictError, UnknownNameError
from dynplat.inference import joint_program, log_joint, sample_prior
from dynplat.inference.dialect import Point
from dynplat.inference.distributions import CONSTRAINTS, SIGNATURES
from dynplat.inference.fitting import density_for, runtime
from dynplat.inference.numpyro import NumpyroLanguage
from dynplat.inference.pyro import PyroLanguage
from dynplat.model import check_dims, observations_from

LANGUAGES = {"numpyro": NumpyroLanguage, "pyro": PyroLanguage}
DRAWS = 3


@pytest.fixture(params=list(LANGUAGES))
def language(request):
    return request.param


@pytest.fixture
def emit(language):
    """Run statements once under the language and return the run (under NumPyro, without computing values)."""

    def run(statements, num_series=4, dtype="float64", point=None):
        with runtime(language, seed=0, dtype=dtype, device="cpu") as to_array:
            pp = LANGUAGES[language](num_series, to_array, point)
            if language == "numpyro" and point is None:
                with numpyro.handlers.seed(rng_seed=0):
                    jax.eval_shape(lambda: (statements(pp), None)[1])
            else:
                statements(pp)
            return pp

    return run


@pytest.fixture(scope="module")
def hierarchy_draws(models, panel):
    model = models["hierarchy"]
    return sample_prior(model, model.prepare(panel), num_draws=DRAWS, seed=5, language="pyro")


def test_sites_have_canonical_form(models, panel, language):
    model = models["hierarchy"]
    with runtime(language, seed=0, dtype="float64", device="cpu") as to_array:
        density = density_for(language)(model, model.prepare(panel), observations_from(panel), to_array)
        infos, sites = density.infos, density.sites(np.linspace(-1, 1, 3)[:, None] * np.ones(density.layout.size))
    shapes = {
        "level.mean": ((3, 1, 2), "sample", (2,), False),
        "level.spread": ((3, 1), "sample", (), False),
        "level.offset": ((3, 4, 2), "sample", (2,), True),
        "noise": ((3, 1, 2), "sample", (2,), False),
        "share": ((3, 4), "sample", (), True),
        "weights": ((3, 4, 3), "sample", (3,), True),
        "top": ((3, 4, 3), "deterministic", (3,), True),
        "total": ((3, 1), "deterministic", (), False),
        "corr": ((3, 1, 3, 3), "sample", (3, 3), False),
    }
    found = {
        name: (value.shape, infos[name].kind, infos[name].core_shape, infos[name].local)
        for name, value in sites.items()
    }
    assert found == shapes
    assert list(found) == list(shapes)


def test_joint_densities_of_both_languages_agree(models, panel, hierarchy_draws):
    model = models["hierarchy"]
    context, observations = model.prepare(panel), observations_from(panel)
    sites, infos = hierarchy_draws
    for draw in range(DRAWS):
        values = {name: value[draw] for name, value in sites.items() if infos[name].kind == "sample"}
        one, other = (log_joint(model, context, observations, values, name) for name in LANGUAGES)
        assert np.isfinite(one)
        assert one == pytest.approx(other, rel=1e-9)


def test_log_joint_equals_the_languages_own_trace(models, panel, hierarchy_draws, language):
    model = models["hierarchy"]
    context, observations = model.prepare(panel), observations_from(panel)
    sites, infos = hierarchy_draws
    values = {
        name: value[0] if infos[name].local else value[0, 0]
        for name, value in sites.items()
        if infos[name].kind == "sample"
    }
    mine = log_joint(model, context, observations, values, language)
    with runtime(language, seed=0, dtype="float64", device="cpu") as to_array:
        program = joint_program(model, context, observations, lambda: LANGUAGES[language](4, to_array))
        arrays = {name: to_array(value) for name, value in values.items()}
        if language == "numpyro":
            traces = []

            @jax.jit
            def traced(values):
                value, trace = log_density(program, (), {}, values)
                traces.append({name: site["cond_indep_stack"] for name, site in trace.items() if "fn" in site})
                return value

            theirs = traced(arrays)
            frames = {name: stack for name, stack in traces[0].items() if name in arrays or name == "log_likelihood"}
        else:
            trace = pyro.poutine.trace(pyro.poutine.condition(program, data=arrays)).get_trace()
            theirs = trace.log_prob_sum()
            frames = {name: trace.nodes[name]["cond_indep_stack"] for name in [*arrays, "log_likelihood"]}
        assert mine == pytest.approx(float(theirs), rel=1e-12)
    local = {name for name, stack in frames.items() if [(f.name, f.dim, f.size) for f in stack] == [("series", -1, 4)]}
    assert local == {"level.offset", "share", "weights", "log_likelihood"}


def test_unconstrained_density_adds_the_jacobian(models, panel, language):
    """The density of u is that of theta times |d theta / du|, checked with the determinant by finite differences."""
    model = models["autoregression"]
    with runtime(language, seed=0, dtype="float64", device="cpu") as to_array:
        density = density_for(language)(model, model.prepare(panel), observations_from(panel), to_array)
        vector = np.array([0.3, -0.7, 1.1])
        log_jacobian = density.evaluate(vector[None]).log_jacobian[0]
        shifted = density.sites(np.concatenate([vector + 1e-6 * np.eye(3), vector - 1e-6 * np.eye(3)]))
        slopes = [(value[index, 0] - value[index + 3, 0]) / 2e-6 for index, value in enumerate(shifted.values())]
        assert log_jacobian == pytest.approx(np.log(np.prod(np.abs(slopes))), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "arguments", "value"),
    [
        ("AsymmetricLaplace", {"loc": 0.2, "scale": 1.5, "asymmetry": 0.7}, 0.4),
        ("Beta", {"concentration1": 2, "concentration0": 3}, 0.3),
        ("Categorical", {"probs": [0.2, 0.5, 0.3]}, 1),
        ("Cauchy", {}, 1.3),
        ("Chi2", {"df": 3}, 2.0),
        ("Delta", {"v": 1.0, "log_density": 0.5}, 1.0),
        ("Dirichlet", {"concentration": [1, 2, 3]}, [0.2, 0.3, 0.5]),
        ("Exponential", {"rate": 2}, 0.4),
        ("Gamma", {"concentration": 2, "rate": 3}, 0.4),
        ("Gumbel", {"loc": 1}, 0.4),
        ("HalfCauchy", {"scale": 2}, 0.4),
        ("HalfNormal", {"scale": 2}, 0.4),
        ("InverseGamma", {"concentration": 3, "rate": 2}, 0.4),
        ("Kumaraswamy", {"concentration1": 2, "concentration0": 3}, 0.4),
        ("LKJ", {"dim": 2, "concentration": 2}, [[1.0, 0.3], [0.3, 1.0]]),
        ("LKJCholesky", {"dimension": 2, "concentration": 2}, [[1.0, 0.0], [0.6, 0.8]]),
        ("Laplace", {"scale": 2}, 0.4),
        ("LogNormal", {"loc": 1, "scale": 2}, 0.4),
        ("Logistic", {"loc": 1}, 0.4),
        (
            "LowRankMultivariateNormal",
            {"loc": [0, 1], "cov_factor": [[1.0], [0.5]], "cov_diag": [1, 2]},
            [0.4, 0.1],
        ),
        ("MultivariateNormal", {"loc": [0, 1], "covariance_matrix": [[2, 0.5], [0.5, 1]]}, [0.4, 0.1]),
        ("MultivariateNormal", {"loc": [0, 1], "scale_tril": [[2, 0], [0.5, 1]]}, [0.4, 0.1]),
        ("MultivariateStudentT", {"df": 4, "loc": [0, 1], "scale_tril": [[2, 0], [0.5, 1]]}, [0.4, 0.1]),
        ("Normal", {"loc": 1, "scale": 2}, 0.4),
        ("Pareto", {"scale": 1, "alpha": 3}, 1.4),
        ("SoftLaplace", {"loc": 1}, 0.4),
        ("StudentT", {"df": 4, "loc": 1, "scale": 2}, 0.4),
        ("Uniform", {"low": -1, "high": 2}, 0.4),
        ("Weibull", {"scale": 1, "concentration": 2}, 0.4),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_distributions_agree_between_languages(name, arguments, value):
    log_probs = []
    for language, kind in LANGUAGES.items():
        with runtime(language, seed=0, dtype="float64", device="cpu") as to_array:
            law = getattr(kind(1, to_array).dist, name)(**arguments)
            log_prob = law.log_prob(to_array(np.asarray(value)))
            assert str(log_prob.dtype).endswith("float64")
            log_probs.append(float(log_prob))
    assert log_probs[0] == pytest.approx(log_probs[1], rel=1e-9)


def test_mixtures_agree_between_languages():
    log_probs = []
    for language, kind in LANGUAGES.items():
        with runtime(language, seed=0, dtype="float64", device="cpu") as to_array:
            dist = kind(1, to_array).dist
            law = dist.MixtureSameFamily(dist.Categorical(probs=[0.3, 0.7]), dist.Normal([-1.0, 2.0], 0.5))
            log_probs.append(float(law.log_prob(to_array(np.asarray(0.3)))))
    assert log_probs[0] == pytest.approx(log_probs[1], rel=1e-9)


def test_every_distribution_and_constraint_exists_in_both_languages():
    for language, kind in LANGUAGES.items():
        with runtime(language, seed=0, dtype="float64", device="cpu") as to_array:
            dist = kind(1, to_array).dist
            assert all(callable(getattr(dist, name)) for name in SIGNATURES)
            for name in CONSTRAINTS:
                transform = kind(1, to_array).bijection(getattr(dist.constraints, name))
                shape = (3,) if name in ("corr_cholesky", "simplex", "ordered_vector", "real_vector") else ()
                value = transform(to_array(np.full(shape, 0.3)))
                assert np.isfinite(np.asarray(value)).all()


def test_bounds_of_constraints_are_kept(language, emit):
    def statements(pp):
        c = pp.dist.constraints
        pp.param("a", 2.5, constraint=c.interval(2, 3))
        pp.param("b", -1.5, constraint=c.less_than(upper_bound=-1.0))
        pp.param("c", 7.0, constraint=c.greater_than(6.0))

    vector = np.array([30.0, 30.0, -30.0])
    with runtime(language, seed=0, dtype="float64", device="cpu") as to_array:
        point = Point({name: to_array(np.asarray(u)) for name, u in zip("abc", vector, strict=True)}, True)
    pp = emit(statements, point=point)
    assert 2 < float(pp.sites["a"][0]) <= 3
    assert float(pp.sites["b"][0]) < -1
    assert float(pp.sites["c"][0]) == pytest.approx(6, abs=1e-9)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_numbers_take_the_dtype_of_the_fit(emit, dtype):
    pp = emit(lambda pp: pp.sample("scale", pp.dist.HalfNormal(1)), dtype=dtype)
    assert str(pp.sites["scale"].dtype).endswith(dtype)


def test_unknown_distribution_lists_the_common_ones(emit):
    with pytest.raises(UnknownNameError, match=r"no distribution 'TruncatedNormal'.*HalfNormal.*Weibull"):
        emit(lambda pp: pp.dist.TruncatedNormal(0.0, 1.0))


def test_unknown_constraint_lists_the_common_ones(emit):
    with pytest.raises(UnknownNameError, match=r"no constraint 'circular'.*positive"):
        emit(lambda pp: pp.dist.constraints.circular)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (lambda d: d.Normal(0.0, 1.0, 2.0), r"`Normal` takes loc, scale; got 3 positional"),
        (lambda d: d.Gamma(rate=1.0), r"`Gamma` needs `concentration`"),
        (lambda d: d.Normal(mean=0.0), r"`Normal` has no argument `mean`; .* loc, scale"),
        (lambda d: d.Normal(0.0, loc=1.0), r"`Normal` got its argument `loc` twice"),
        (lambda d: d.HalfNormal([1.0, -1.0]), r"`scale` of `HalfNormal` must be positive; got \[1.0, -1.0\]"),
        (lambda d: d.Normal(float("nan")), r"`loc` of `Normal` must not be NaN"),
        (lambda d: d.Uniform(1.0, 0.0), r"`low` of `Uniform` must be below `high`; got 1.0 and 0.0"),
    ],
    ids=["too-many", "missing", "unknown", "twice", "negative", "nan", "empty"],
)
def test_wrong_arguments_of_distributions_are_named(emit, statement, message):
    with pytest.raises(ArgumentError, match=message):
        emit(lambda pp: statement(pp.dist))


def _twice(pp):
    pp.sample("a", pp.dist.Normal(0.0, 1.0))
    pp.deterministic("a", 1.0)


def _nested_series(pp):
    with pp.plate("series"), pp.plate("series"):
        pass


def _nested_core(pp):
    with pp.plate("lag", 2), pp.plate("lag", 3):
        pass


def _wrong_series(pp):
    with pp.plate("series", 3):
        pass


def _clash(pp):
    with pp.plate("series"), pp.plate("lag", 3):
        pp.sample("a", pp.dist.Normal(np.zeros(4), 1.0))


@pytest.mark.parametrize(
    ("statements", "error", "message"),
    [
        (_twice, ConflictError, r"'a' is emitted twice"),
        (
            lambda pp: pp.sample("a", pp.dist.Normal(np.zeros(3), 1.0)),
            ArgumentError,
            r"'a' has batch shape \(3,\).*to_event",
        ),
        (lambda pp: pp.deterministic("a", np.zeros(3)), ArgumentError, r"'a' has batch shape \(3,\).*event_dim"),
        (_clash, ArgumentError, r"'a' has batch shape \(4,\), and the plates around it give \(4, 3\)"),
        (lambda pp: pp.sample("a", pp.dist.Categorical(probs=[0.5, 0.5])), CapabilityError, r"'a' is discrete"),
        (lambda pp: pp.param("a", [1.0], event_dim=2), ArgumentError, r"`event_dim` of site 'a'.*0 and 1.*got 2"),
        (_nested_series, ArgumentError, r"'series' stands inside itself"),
        (_nested_core, ArgumentError, r"'lag' stands inside itself"),
        (_wrong_series, ArgumentError, r"`size` of the plate 'series' is 4.*got 3"),
        (lambda pp: pp.plate("lag").__enter__(), ArgumentError, r"`size` of the plate 'lag' must be a positive"),
        (lambda pp: pp.sample("a/b", pp.dist.Normal()), ArgumentError, r"`name` of a site .* without '/'"),
    ],
    ids=["twice", "batch", "event-dim", "clash", "discrete", "param-dim", "series", "core", "size", "no-size", "name"],
)
def test_wrong_statements_are_refused(emit, statements, error, message):
    with pytest.raises(error, match=message):
        emit(statements)


def test_the_likelihood_name_is_reserved(models, noise):
    @dataclass(frozen=True)
    class Rude(type(models["conjugate"])):
        def prior(self, pp, context):
            super().prior(pp, context)
            pp.factor("log_likelihood", 0.0)

    model = Rude()
    context, observations = model.prepare(noise), observations_from(noise)
    with runtime("pyro", seed=0, dtype="float64", device="cpu") as to_array:
        program = pyro.poutine.trace(joint_program(model, context, observations, lambda: PyroLanguage(1, to_array)))
        with pytest.raises(ConflictError, match="platform's own term"):
            program.get_trace()


def test_nested_plates_stand_in_the_order_of_nesting(emit):
    def statements(pp):
        with pp.plate("outer", 2), pp.plate("series"), pp.plate("inner", 3):
            pp.sample("a", pp.dist.Normal(np.zeros((2, 3)), 1.0))
            pp.sample("b", pp.dist.Normal(np.zeros(5), 1.0).to_event(1))
            pp.param("c", np.ones(2), event_dim=1)
            pp.deterministic("d", pp.array(1.0))

    pp = emit(statements)
    assert {name: value.shape for name, value in pp.sites.items()} == {
        "a": (4, 2, 3),
        "b": (4, 2, 3, 5),
        "c": (4, 2, 3, 2),
        "d": (4, 2, 3),
    }
    assert {info.core_shape for info in pp.infos.values()} == {(2, 3), (2, 3, 5), (2, 3, 2)}


def test_params_outside_plates_are_core_by_default(emit):
    pp = emit(lambda pp: pp.param("a", np.ones((2, 5))))
    assert pp.sites["a"].shape == (1, 2, 5)
    assert pp.infos["a"].kind == "param"


def test_core_dimensions_bear_the_names_that_statements_give(emit):
    def statements(pp):
        pp.sample("a", pp.dist.Normal(np.zeros(2), 1.0).to_event(1), dims="channel")
        pp.param("b", np.ones((2, 3)), dims=("channel", None))
        pp.sample("plain", pp.dist.Normal(np.zeros(2), 1.0).to_event(1))
        with pp.plate("series"), pp.plate("lag", 3):
            pp.deterministic("c", pp.array(np.zeros((4, 3, 2))), event_dim=1, dims=["lag", "channel"])

    infos = emit(statements).infos
    assert {name: info.dims for name, info in infos.items()} == {
        "a": ("channel",),
        "b": ("channel", None),
        "plain": (),
        "c": ("lag", "channel"),
    }
    check_dims(infos, {"channel": 2})


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        (("channel",), r"`dims` of site 'b' must name its core dimensions, of sizes \(2, 3\)"),
        (("input", None), r"dimension 'input' has size 2 here and 7 in the data"),
        (("state", "state"), "must be different names"),
        (("a", None), "that no site bears"),
        (("series", None), r"inside `pp.plate\('series'\)`"),
        (("state", "lag"), "dimension 'state' has size 2 here and 5 in site 'a'"),
    ],
    ids=["number", "data", "twice", "site", "series", "sizes"],
)
def test_names_of_dimensions_that_do_not_fit_are_refused(emit, dims, message):
    def statements(pp):
        pp.sample("a", pp.dist.Normal(np.zeros(5), 1.0).to_event(1), dims="state")
        pp.param("b", np.ones((2, 3)), dims=dims)

    with pytest.raises(ArgumentError, match=message):
        check_dims(emit(statements).infos, {"channel": 2, "input": 7})


def test_names_of_dimensions_are_checked_before_the_fit(models, panel, language):
    @dataclass(frozen=True)
    class Misnamed(type(models["panel"])):
        def prior(self, pp, context):
            super().prior(pp, context)
            pp.deterministic("three", pp.array(np.zeros(3)), event_dim=1, dims="channel")

    model = Misnamed()
    with (
        runtime(language, seed=0, dtype="float64", device="cpu") as to_array,
        pytest.raises(ArgumentError, match="'channel' has size 3 here and"),
    ):
        density_for(language)(model, model.prepare(panel), observations_from(panel), to_array)


def test_factors_count_once_per_element(emit, language):
    def statements(pp):
        pp.factor("a", 1.0)
        with pp.plate("series"):
            pp.factor("b", 10.0)
            with pp.plate("lag", 3):
                pp.factor("c", 100.0)

    pp = emit(statements, point=Point({}, True))
    assert float(pp.log_prior) == 1 + 4 * 10 + 4 * 3 * 100


def test_arrays_of_integers_stay_integers(emit):
    found = {}
    emit(lambda pp: found.update(index=pp.array(np.array([1, 2])), number=pp.array(3)))
    assert "int" in str(found["index"].dtype)
    assert "float64" in str(found["number"].dtype)


def test_torch_modules_become_weights_without_being_changed():
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    before = {name: weight.clone() for name, weight in network.named_parameters()}
    inputs = np.array([[0.5, -1.0]])
    with runtime("pyro", seed=0, dtype="float64", device="cpu") as to_array:
        pp = PyroLanguage(1, to_array)
        same = pp.module("net", network)(to_array(inputs))
        weights = {name: to_array(np.zeros(info.core_shape)) for name, info in pp.infos.items()}
        zero = PyroLanguage(1, to_array, Point(weights, True)).module("net", network)(to_array(inputs))
    assert list(pp.infos) == ["net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"]
    assert {info.kind for info in pp.infos.values()} == {"param"}
    expected = network(torch.as_tensor(inputs, dtype=torch.float32))
    assert same.dtype == torch.float64
    assert float(same.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert float(zero) == 0
    assert all(torch.equal(before[name], weight) for name, weight in network.named_parameters())


@jax.tree_util.register_dataclass
@dataclass
class _Affine:
    weight: jax.Array
    bias: jax.Array

    def __call__(self, x):
        return x @ self.weight + self.bias


def test_callable_pytrees_become_weights():
    with runtime("numpyro", seed=0, dtype="float64", device="cpu") as to_array:
        network = _Affine(to_array(np.ones((2, 3))), to_array(np.arange(3.0)))
        weights = {"net.weight": to_array(np.full((2, 3), 2.0)), "net.bias": to_array(np.zeros(3))}
        pp = NumpyroLanguage(1, to_array, Point(weights, True))
        value = pp.module("net", network)(to_array(np.array([1.0, 10.0])))
        assert np.asarray(value).tolist() == [22.0, 22.0, 22.0]
    assert pp.infos["net.weight"].core_shape == (2, 3)


@pytest.mark.parametrize("network", [torch.nn.Tanh(), lambda x: x, "text"], ids=["weightless", "function", "text"])
def test_what_is_no_network_is_refused(emit, network):
    with pytest.raises(ArgumentError, match=r"`network` of `pp.module\('net', \.\.\.\)`"):
        emit(lambda pp: pp.module("net", network))


def test_sample_prior_holds_given_sites_fixed(models, panel, language):
    """New series take their parameters from the given global ones: ten times the spread is ten times the offsets."""
    model = models["panel"]
    context = replace(model.prepare(panel), num_series=50)
    spread = np.array([0.5, 5.0])
    sites, _ = sample_prior(model, context, num_draws=2, seed=1, given={"spread": spread}, language=language)
    assert sites["spread"][:, 0].tolist() == spread.tolist()
    assert sites["offset"].shape == (2, 50)
    # The ratio of two standard deviations of 50 normals is outside (1/2, 2) times 10 with probability 2e-6.
    assert 5 < sites["offset"][1].std() / sites["offset"][0].std() < 20


def test_sample_prior_follows_the_prior(models, panel, language):
    """Quartiles of 400 draws: off by more than 0.25 standard deviations with probability below 1e-4."""
    model = models["autoregression"]
    sites, _ = sample_prior(model, model.prepare(panel), num_draws=400, seed=2, language=language)
    low, mid, high = np.quantile(sites["slope"], (0.25, 0.5, 0.75))
    assert np.allclose([low, mid, high], [-0.5, 0, 0.5], atol=0.15)
    assert np.quantile(sites["scale"], 0.5) == pytest.approx(2 * 0.6745, abs=0.3)


def test_sample_prior_is_determined_by_its_seed(models, panel, language):
    model = models["panel"]
    draws = [
        sample_prior(model, model.prepare(panel), num_draws=2, seed=seed, language=language)[0] for seed in (3, 3, 4)
    ]
    assert all(np.array_equal(draws[0][name], draws[1][name]) for name in draws[0])
    assert not np.array_equal(draws[0]["offset"], draws[2]["offset"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_draws": 0}, "`num_draws` must be at least 1"),
        ({"given": {"nothing": [1.0]}}, "`given` names 'nothing'"),
        ({"given": {"slope": [1.0, 2.0, 3.0]}}, r"`given\['slope'\]` must have shape \(2,\)"),
    ],
    ids=["draws", "unknown", "shape"],
)
def test_sample_prior_refuses_what_does_not_fit(models, panel, options, message):
    model = models["autoregression"]
    with pytest.raises(ArgumentError, match=message):
        sample_prior(model, model.prepare(panel), **{"num_draws": 2, "seed": 0, "language": "pyro", **options})


def test_labels_of_dimensions_are_checked_before_the_fit(models, panel, language):
    @dataclass(frozen=True)
    class Mislabelled(type(models["panel"])):
        def prior(self, pp, context):
            super().prior(pp, context)
            pp.deterministic("three", pp.array(np.zeros(3)), event_dim=1, dims="lag")

        def coords(self, context):
            return {"lag": ["a", "b"]}

    model = Mislabelled()
    with (
        runtime(language, seed=0, dtype="float64", device="cpu") as to_array,
        pytest.raises(ArgumentError, match="must give 3 labels along the dimension 'lag' of site 'three'"),
    ):
        density_for(language)(model, model.prepare(panel), observations_from(panel), to_array)
