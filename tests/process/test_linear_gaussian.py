"""The linear-Gaussian chain against its dense twin, other libraries, and itself under other drivers and frameworks."""

import numpy as np
import pytest

from dynplat.arrays import Observations, framework, random_source, to_numpy
from dynplat.errors import ArgumentError, NoDensityError
from dynplat.process import LinearGaussian
from dynplat.testing.generators import random_linear_gaussian, stack_linear_gaussian
from dynplat.testing.references import dense_linear_gaussian

FRAMEWORKS = ("numpy", "torch", "jax")
NUM_SYSTEMS = 500

#: Relative error allowed where the twin's smallest pivot, as a part of its cell's variance, is above `WELL_POSED`;
#: below it the allowance grows with the inverse of the pivot, by which rounding is amplified.
TOLERANCE, WELL_POSED = 1e-9, 1e-6

#: A pivot below this is rounding of the parameters themselves: the law has no density in float64.
SINGULAR = 1e-15


def allowance(pivot):
    return TOLERANCE * max(1.0, WELL_POSED / pivot)


def convert(parameters, observations, make):
    parameters = {name: make(value) for name, value in parameters.items()}
    return parameters, Observations(*(None if part is None else make(part) for part in observations))


def observations_of(system):
    return Observations(system.times, system.values, system.mask, system.inputs)


@pytest.fixture(scope="module")
def systems():
    """500 random chains, each with its dense twin, or None where the twin finds no density."""
    rng = np.random.default_rng(0)
    out = []
    for _ in range(NUM_SYSTEMS):
        system = random_linear_gaussian(rng)
        try:
            twin = dense_linear_gaussian(
                **system.parameters, values=system.values, mask=system.mask, inputs=system.inputs
            )
            twin = twin if twin.smallest_pivot > SINGULAR else None
        except ArgumentError:
            twin = None
        out.append((system, twin))
    return out


def test_systems_cover_what_they_should(systems):
    drawn = [system for system, _ in systems]
    assert {s.parameters["F"].shape[-1] for s in drawn} == set(range(1, 9))
    assert {s.values.shape[1] for s in drawn} == {1, 2, 3, 4}
    assert min(s.values.shape[0] for s in drawn) == 1
    assert max(s.values.shape[0] for s in drawn) == 40
    regular = [s for s, twin in systems if twin is not None]
    assert sum((np.linalg.matrix_rank(s.parameters["Q"][-1]) < s.parameters["F"].shape[-1]) for s in regular) > 50
    assert sum((np.diagonal(s.parameters["R"][0]) == 0).any() for s in regular) > 15
    assert sum(not s.mask.all() for s in regular) > 80
    assert sum((np.diff(s.times) == 0).any() for s in regular) > 80
    assert sum(twin is None for _, twin in systems) > 10


@pytest.mark.parametrize("driver", ["sequential", "balanced", "compiled"])
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_log_prob_equals_the_dense_gaussian_or_is_refused(systems, name, driver):
    with framework(name) as make:
        for system, twin in systems[::4] if driver == "sequential" and name == "torch" else systems:
            parameters, observations = convert(system.parameters, observations_of(system), make)
            chain = LinearGaussian(**parameters, driver=driver)
            if twin is None:
                with pytest.raises(NoDensityError, match="no density at row"):
                    chain.log_prob(observations)
                continue
            steps = to_numpy(chain.log_prob_steps(observations))
            limit = allowance(twin.smallest_pivot)
            assert abs(steps.sum() - twin.log_prob) <= limit * max(1.0, abs(twin.log_prob))
            np.testing.assert_allclose(
                steps, twin.log_prob_steps, atol=limit * max(1.0, abs(twin.log_prob)), rtol=limit
            )
            assert (steps[~system.mask.any(axis=-1)] == 0.0).all()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_log_prob_of_all_systems_in_one_padded_batch(systems, name):
    """Padding in states, channels and rows changes nothing; one shape is one compilation under JAX."""
    regular = [(system, twin) for system, twin in systems if twin is not None]
    parameters, observations = stack_linear_gaussian(
        [system for system, _ in regular], num_states=8, num_channels=4, num_steps=40
    )
    with framework(name) as make:
        parameters, observations = convert(parameters, observations, make)
        values = to_numpy(LinearGaussian(**parameters).log_prob(observations))
    for value, (_, twin) in zip(values, regular, strict=True):
        assert abs(value - twin.log_prob) <= allowance(twin.smallest_pivot) * max(1.0, abs(twin.log_prob))


def test_no_density_is_named_and_is_nan_inside_a_trace(systems):
    import jax

    singular = [system for system, twin in systems if twin is None]
    regular = [system for system, twin in systems if twin is not None]
    parameters, observations = stack_linear_gaussian(
        [regular[0], *singular[:8]], num_states=8, num_channels=4, num_steps=40
    )
    with framework("numpy"), pytest.raises(NoDensityError, match=r"series 1, row \d+ \(time"):
        LinearGaussian(**parameters).log_prob(observations)
    with framework("jax") as make:
        parameters, observations = convert(parameters, observations, make)
        values = jax.jit(lambda p: LinearGaussian(**p).log_prob(observations))(parameters)
        assert np.isfinite(values[0])
        assert np.isnan(values[1:]).all()
        with pytest.raises(NoDensityError, match=r"series 1, row"):
            LinearGaussian(**parameters).log_prob(observations)


@pytest.mark.parametrize(("name", "driver"), [("numpy", "sequential"), ("torch", "balanced"), ("numpy", "compiled")])
def test_filter_and_smoother_equal_the_dense_gaussian(systems, name, driver):
    with framework(name) as make:
        for system, twin in systems[::3]:
            if twin is None or twin.smallest_pivot < WELL_POSED or system.values.shape[0] > 25:
                continue
            parameters, observations = convert(system.parameters, observations_of(system), make)
            chain = LinearGaussian(**parameters, driver=driver)
            smoothed, filtered = chain.smooth(observations), chain.filter(observations)
            scale = max(1.0, np.abs(twin.means).max()), max(1.0, np.abs(twin.covs).max())
            np.testing.assert_allclose(to_numpy(smoothed.means), twin.means, atol=1e-9 * scale[0])
            np.testing.assert_allclose(to_numpy(smoothed.covs), twin.covs, atol=1e-9 * scale[1])
            for t in range(system.values.shape[0] - 1):
                np.testing.assert_allclose(
                    to_numpy(smoothed.cross_covs)[t], twin.joint_cov[t, :, t + 1], atol=1e-9 * scale[1]
                )
            np.testing.assert_allclose(to_numpy(filtered.means)[-1], twin.means[-1], atol=1e-9 * scale[0])
            np.testing.assert_allclose(to_numpy(filtered.covs)[-1], twin.covs[-1], atol=1e-9 * scale[1])


def test_drivers_and_frameworks_agree_on_a_batch(systems):
    regular = [system for system, twin in systems if twin is not None and twin.smallest_pivot > 1e-4][:12]
    parameters, observations = stack_linear_gaussian(regular, num_states=8, num_channels=4, num_steps=40)
    results = {}
    for name, driver in (("numpy", "sequential"), ("torch", "balanced"), ("jax", "sequential")):
        with framework(name) as make:
            p, o = convert(parameters, observations, make)
            smoothed = LinearGaussian(**p, driver=driver).smooth(o)
            results[name] = [to_numpy(part) for part in smoothed]
    for name in ("torch", "jax"):
        for got, wanted in zip(results[name], results["numpy"], strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_coordinate_without_variance_stays_without_under_the_balanced_driver(name):
    """A constant beside others: what a tree's elimination leaves of its variance is no ground for a regression."""
    rng = np.random.default_rng(0)
    n, T = 6, 150
    F = np.zeros((n, n))
    F[0, 0] = 1.0
    F[1:, 1:] = 0.9 * np.linalg.qr(rng.normal(size=(n - 1, n - 1)))[0]
    F[1:, 0] = rng.normal(size=n - 1)
    factor = rng.normal(size=(n - 1, n - 1)) * np.array([1e-2, 1e-1, 1.0, 1.0, 1.0])
    Q, P0 = np.zeros((n, n)), np.zeros((n, n))
    Q[1:, 1:], P0[1:, 1:] = 0.1 * factor @ factor.T, np.eye(n - 1)
    H = np.eye(n)[1:3]
    values, mask = rng.normal(size=(2, T, 2)), rng.uniform(size=(2, T, 2)) > 0.2
    with framework(name) as make:
        arguments = [make(a) for a in (F, Q, H, np.zeros((2, 2)), np.eye(n)[0], P0)]
        observations = Observations(make(np.arange(float(T))), make(values), make(mask))
        one, two = (
            [to_numpy(part) for part in LinearGaussian.time_invariant(*arguments, driver=driver).smooth(observations)]
            for driver in ("sequential", "balanced")
        )
    assert not one[1][..., 0, :].any()
    for got, wanted in zip(two, one, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())


def test_balanced_falls_back_inside_a_trace_where_elements_do_not_exist():
    """A deterministic state seen exactly and then with noise: no element, but a density."""
    import jax

    F, H = np.array([[0.9]]), np.array([[1.0], [1.0]])
    values, mask = np.ones((6, 2)), np.ones((6, 2), dtype=bool)
    mask[1:, 0] = False
    R = np.diag([0.0, 1.0])
    with framework("jax") as make:
        arguments = [make(a) for a in (F, 0 * F, H, R, np.zeros(1), np.eye(1))]
        observations = Observations(make(np.arange(6.0)), make(values), make(mask))

        def value(driver):
            return jax.jit(
                lambda F: LinearGaussian.time_invariant(F, *arguments[1:], driver=driver).log_prob(observations)
            )

        one, two = (float(value(driver)(arguments[0])) for driver in ("sequential", "balanced"))
    twin = dense_linear_gaussian(
        F[None], 0 * F[None], H[None], R[None], np.zeros(1), np.eye(1), values=values, mask=mask
    )
    assert one == two
    assert abs(one - twin.log_prob) < 1e-12


def test_masked_cells_and_padded_rows_contribute_exactly_nothing():
    system = random_linear_gaussian(np.random.default_rng(5), num_states=3, num_channels=2, num_steps=12, missing=0.4)
    observations = observations_of(system)
    for driver in ("sequential", "balanced"):
        chain = LinearGaussian(**system.parameters, driver=driver)
        steps = chain.log_prob_steps(observations)
        other = np.where(system.mask, system.values, np.nan)
        np.testing.assert_array_equal(chain.log_prob_steps(observations._replace(values=other)), steps)
    invariant = random_linear_gaussian(
        np.random.default_rng(6), num_states=2, num_channels=2, num_steps=5, time_varying=False, with_inputs=False
    )
    chain = LinearGaussian(**{k: v[:1] if k in "FQHRcd" else v for k, v in invariant.parameters.items()})
    padded = Observations(
        np.append(invariant.times, invariant.times[-1:]),
        np.concatenate([invariant.values, [[7.0, 7.0]]]),
        np.concatenate([invariant.mask, [[False, False]]]),
    )
    long, short = chain.log_prob_steps(padded), chain.log_prob_steps(observations_of(invariant))
    np.testing.assert_array_equal(long[:-1], short)
    assert long[-1] == 0.0


def test_a_channel_never_observed_is_no_channel():
    system = random_linear_gaussian(
        np.random.default_rng(7), num_states=3, num_channels=2, num_steps=9, exact_channels=False, missing=0.0
    )
    mask = system.mask.copy()
    mask[:, 0] = False
    both = LinearGaussian(**system.parameters).log_prob(observations_of(system)._replace(mask=mask))
    p = dict(system.parameters)
    p.update(H=p["H"][..., 1:, :], R=p["R"][..., 1:, 1:], d=p["d"][..., 1:])
    if "D" in p:
        p["D"] = p["D"][..., 1:, :]
    one = LinearGaussian(**p).log_prob(
        Observations(system.times, system.values[:, 1:], system.mask[:, 1:], system.inputs)
    )
    np.testing.assert_allclose(both, one, rtol=1e-13)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_edge_shapes_are_ordinary_inputs(name):
    with framework(name) as make:
        arguments = [make(a) for a in (0.5 * np.eye(2), np.eye(2), np.ones((1, 2)), np.eye(1), np.zeros(2), np.eye(2))]
        chain = LinearGaussian.time_invariant(*arguments)
        one = Observations(make(np.zeros(1)), make(np.ones((1, 1))), make(np.ones((1, 1), dtype=bool)))
        expected = -0.5 * (np.log(2 * np.pi * 3.0) + 1.0 / 3.0)
        np.testing.assert_allclose(to_numpy(chain.log_prob(one)), expected, rtol=1e-14)
        assert chain.smooth(one).cross_covs.shape == (0, 2, 2)
        empty = Observations(make(np.zeros((0, 3))), make(np.ones((0, 3, 1))), make(np.ones((0, 3, 1), dtype=bool)))
        assert chain.log_prob(empty).shape == (0,)
        blind = Observations(make(np.zeros(4)), make(np.ones((4, 1))), make(np.zeros((4, 1), dtype=bool)))
        assert (to_numpy(chain.log_prob_steps(blind)) == 0.0).all()
        assert (to_numpy(chain.smooth(blind).means) == 0.0).all()
        draws = chain.draw_states(blind, 3, random_source(0, make(np.zeros(1))))
        assert draws.shape == (3, 4, 2)


def test_leading_axes_of_parameters_and_series_broadcast():
    """Draws of parameters in front, series behind; each entry equals its own call."""
    rng = np.random.default_rng(8)
    q = rng.uniform(0.5, 2.0, (4, 1, 1, 1, 1))
    y, mask = rng.standard_normal((3, 6, 1)), rng.random((3, 6, 1)) > 0.3
    eye, times = np.eye(1), np.arange(6.0)
    chain = LinearGaussian(0.9 * eye[None], q, eye[None], eye[None], np.zeros(1), eye)
    assert chain.batch_shape == (4, 1)
    values = chain.log_prob(Observations(times, y, mask))
    means = chain.smooth(Observations(times, y, mask)).means
    assert values.shape == (4, 3)
    assert means.shape == (4, 3, 6, 1)
    for i in range(4):
        for s in range(3):
            alone = LinearGaussian(0.9 * eye[None], q[i, 0], eye[None], eye[None], np.zeros(1), eye)
            one = Observations(times, y[s], mask[s])
            np.testing.assert_allclose(values[i, s], alone.log_prob(one), rtol=1e-13)
            np.testing.assert_allclose(means[i, s], alone.smooth(one).means, rtol=1e-12, atol=1e-13)


def test_covariances_are_computed_once_for_series_with_one_pattern_of_holes():
    eye = np.eye(1)
    chain = LinearGaussian.time_invariant(eye, eye, eye, eye, np.zeros(1), eye)
    mask = np.ones((5, 4, 1), dtype=bool)
    mask[:, 2] = False
    run = chain.posterior(Observations(np.arange(4.0), np.random.default_rng(0).normal(size=(5, 4, 1)), mask)).filtered
    assert run.filtered.mean.shape == (4, 5, 1, 1)
    assert run.filtered.cov.shape == (4, 1, 1, 1)


@pytest.mark.parametrize("driver", ["sequential", "balanced", "compiled"])
def test_single_precision_does_not_drift(driver):
    """A slowly damped oscillator, 2000 rows, 30 % missing: float32 within 1e-4 of float64."""
    rng = np.random.default_rng(9)
    F = 0.999 * np.array([[np.cos(0.1), np.sin(0.1)], [-np.sin(0.1), np.cos(0.1)]])
    arguments = (F, 0.01 * np.eye(2), np.array([[1.0, 0.0]]), 0.04 * np.eye(1), np.zeros(2), np.eye(2))
    chain = LinearGaussian.time_invariant(*arguments, driver=driver)
    times = np.arange(2000.0)
    values = chain.sample(times, random=random_source(1, times)).values
    observations = Observations(times, values, rng.random((2000, 1)) > 0.3)
    exact = chain.log_prob(observations)
    single = LinearGaussian.time_invariant(*(a.astype(np.float32) for a in arguments), driver=driver)
    rough = single.log_prob(observations._replace(values=values.astype(np.float32)))
    assert rough.dtype == np.float32
    assert abs(rough - exact) < 1e-4 * abs(exact)


def test_plumbing_runs_without_numbers_on_the_meta_device():
    import torch

    def meta(*shape):
        return torch.empty(shape, device="meta", dtype=torch.float32)

    for driver in ("sequential", "balanced"):
        chain = LinearGaussian(
            meta(7, 1, 1, 3, 3), meta(1, 3, 3), meta(20, 2, 3), meta(1, 2, 2), meta(3), meta(3, 3), driver=driver
        )
        mask = torch.empty((5, 20, 2), device="meta", dtype=torch.bool)
        observations = Observations(meta(5, 20), meta(5, 20, 2), mask)
        steps = chain.log_prob_steps(observations)
        assert (steps.shape, steps.device.type, steps.dtype) == ((7, 5, 20), "meta", torch.float32)
        assert chain.smooth(observations).covs.shape == (7, 5, 20, 3, 3)


@pytest.mark.parametrize("driver", ["sequential", "balanced"])
def test_transforms_of_torch_pass_through(driver):
    """`torch.func`: gradients by transform equal those of the tape, and vmap equals a loop."""
    import torch

    with framework("torch") as make:
        eye, y = make(np.eye(2)), make(np.random.default_rng(1).standard_normal((4, 6, 2)))
        times, mask = make(np.arange(6.0)), make(np.ones((6, 2), dtype=bool))

        def log_prob(F, values):
            chain = LinearGaussian.time_invariant(F, eye, eye, eye, eye[0], eye, driver=driver)
            return chain.log_prob(Observations(times, values, mask))

        F = (0.5 * eye).requires_grad_()
        (tape,) = torch.autograd.grad(log_prob(F, y[0]), F)
        np.testing.assert_allclose(torch.func.grad(log_prob)(F.detach(), y[0]), tape, rtol=1e-12)
        many = torch.func.vmap(log_prob, in_dims=(None, 0))(F.detach(), y)
        loop = torch.stack([log_prob(F.detach(), row) for row in y])
        np.testing.assert_allclose(many, loop, rtol=1e-12)


BAD = [
    ({"F": np.eye(2)}, r"`F` must have shape \(..., series or 1, T or 1, n, n\); got \(2, 2\). Without a time axis"),
    ({"Q": np.eye(3)[None]}, r"`Q` must have shape .* with n = 2"),
    ({"R": np.eye(2)[None]}, r"`R` must have shape .* with p = 1"),
    ({"m0": np.zeros((3, 2)), "P0": np.zeros((4, 2, 2))}, "do not broadcast"),
    ({"Q": np.zeros((3, 2, 2)), "H": np.zeros((4, 1, 2))}, "`H` has a time axis of length 4, but `Q` has 3"),
    ({"driver": "fast"}, "`driver` must be one of"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=lambda x: str(x)[:20])
def test_wrong_parameters_are_refused(change, message):
    arguments = {
        "F": np.eye(2)[None],
        "Q": np.eye(2)[None],
        "H": np.ones((1, 1, 2)),
        "R": np.eye(1)[None],
        "m0": np.zeros(2),
        "P0": np.eye(2),
    }
    with pytest.raises(ArgumentError, match=message):
        LinearGaussian(**{**arguments, **change})


@pytest.mark.parametrize(
    ("values", "mask", "inputs", "message"),
    [
        (np.ones((3, 2)), None, None, r"`values` must have shape \(..., series, time, 1\)"),
        (np.ones((0, 1)), None, None, "no rows"),
        (np.ones((3, 1)), np.ones((2, 1), dtype=bool), None, "`mask` must have the shape"),
        (np.ones((3, 1)), np.ones((3, 1)), None, "`mask` must be boolean"),
        (np.ones((3, 1)), None, None, "give `inputs`"),
        (np.ones((3, 1)), None, np.ones((2, 1)), r"`inputs` must have shape \(..., series, 3, 1\)"),
    ],
)
def test_wrong_observations_are_refused(values, mask, inputs, message):
    eye = np.eye(1)
    B = eye if "inputs" in message else None
    chain = LinearGaussian.time_invariant(eye, eye, eye, eye, np.zeros(1), eye, B=B)
    mask = np.ones(values.shape, dtype=bool) if mask is None else mask
    with pytest.raises(ArgumentError, match=message):
        chain.log_prob(Observations(np.arange(float(len(values))), values, mask, inputs))
