import jax
import numpy as np
import pytest
from scipy import special

from dynplat.arrays import framework, to_numpy
from dynplat.errors import ArgumentError
from dynplat.process.dynamics import (
    Constant,
    DampedOscillator,
    Dense,
    Harmonic,
    IntegratedWiener,
    Matern,
    OrnsteinUhlenbeck,
    QuasiPeriodic,
    Stack,
)
from dynplat.process.dynamics.series import lower_gamma, periodic_weights
from dynplat.testing.linear_sde import dense_discretise

FRAMEWORKS = ("numpy", "torch", "jax")
GAPS = np.array([0.0, 1e-10, 1e-5, 1e-2, 0.3, 1.0, 4.0, 25.0, 300.0])


def oscillator(damping, omega):
    return np.array([[-damping, -omega], [omega, -damping]])


def blocks(*matrices):
    import scipy.linalg

    return scipy.linalg.block_diag(*matrices)


def matern_matrices(smoothness, sd, length_scale):
    n = round(smoothness + 0.5)
    lam = np.sqrt(2 * smoothness) / length_scale
    A = np.eye(n, k=1)
    A[-1] = [-special.comb(n, k) * lam ** (n - k) for k in range(n)]
    q = sd**2 * {1: 2.0, 2: 4.0, 3: 16 / 3}[n] * lam ** (2 * n - 1)
    return A, np.diag([0.0] * (n - 1) + [q])


# (dynamics, A, W): every closed form beside the matrices of the same law.
CLOSED = {
    "brownian": (IntegratedWiener(0, 1.3), np.zeros((1, 1)), np.array([[1.69]])),
    "integrated": (IntegratedWiener(3, 0.7), np.eye(4, k=1), np.diag([0, 0, 0, 0.49])),
    "local-linear-trend": (IntegratedWiener(1, 0.2, level_sd=0.9), np.eye(2, k=1), np.diag([0.81, 0.04])),
    "ornstein-uhlenbeck": (OrnsteinUhlenbeck(0.4, 1.5), np.array([[-0.4]]), np.array([[2 * 0.4 * 2.25]])),
    "matern12": (Matern(0.5, 1.2, 0.7), *matern_matrices(0.5, 1.2, 0.7)),
    "matern32": (Matern(1.5, 1.2, 0.7), *matern_matrices(1.5, 1.2, 0.7)),
    "matern52": (Matern(2.5, 1.2, 0.7), *matern_matrices(2.5, 1.2, 0.7)),
    "matern52-slow": (Matern(2.5, 1.2, 40.0), *matern_matrices(2.5, 1.2, 40.0)),
    "oscillator": (DampedOscillator(0.3, 0.1, 1.1), oscillator(0.1, 0.6 * np.pi), 0.2 * 1.21 * np.eye(2)),
    "harmonic": (
        Harmonic(12, 0.3, num_harmonics=2),
        blocks(oscillator(0, np.pi / 6), oscillator(0, np.pi / 3)),
        0.09 * np.eye(4),
    ),
    "constant": (Constant(2), np.zeros((2, 2)), np.zeros((2, 2))),
    "stack": (
        Stack(IntegratedWiener(1, 0.2), OrnsteinUhlenbeck(0.4, 1.5), Constant(1)),
        blocks(np.eye(2, k=1), -0.4, 0.0),
        np.diag([0.0, 0.04, 1.8, 0.0]),
    ),
}


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("case", CLOSED)
def test_closed_form_equals_dense(case, name):
    dynamics, A, W = CLOSED[case]
    with framework(name) as array:
        closed = [to_numpy(part) for part in dynamics.transition(array(GAPS)) if part is not None]
        dense = [
            to_numpy(part) for part in Dense(array(A), array(np.sqrt(W))).transition(array(GAPS)) if part is not None
        ]
    for index, gap in enumerate(GAPS):
        scale = max(1.0, np.linalg.norm(A) * gap / 10)  # a phase is known to eps * frequency * gap
        np.testing.assert_allclose(closed[0][index], dense[0][index], rtol=1e-12 * scale, atol=1e-12 * scale)
        sd = np.sqrt(np.diag(dense[1][index]))
        bound = 1e-12 * scale * np.outer(sd, sd)
        assert (np.abs(closed[1][index] - dense[1][index]) <= bound).all(), gap
        np.testing.assert_array_equal(closed[1][index], closed[1][index].T)


@pytest.mark.parametrize("case", [case for case in CLOSED if case not in ("constant",)])
def test_short_gaps_keep_every_digit(case):
    dynamics, A, W = CLOSED[case]
    for gap in (1e-9, 1e-4, 0.1):
        Q = dense_discretise(A, W, gap)[1]
        got = dynamics.transition(np.array([gap]))[2][0]
        np.testing.assert_allclose(got, Q, rtol=2e-13, atol=1e-40 * Q.max())


@pytest.mark.parametrize("smoothness", [0.5, 1.5, 2.5])
def test_matern_covariance_equals_kernel(smoothness):
    sd, length_scale = 1.4, 2.3
    tau = np.array([1e-6, 0.1, 1.0, 5.0, 30.0])
    u = np.sqrt(2 * smoothness) * tau / length_scale
    kernel = sd**2 * 2 ** (1 - smoothness) / special.gamma(smoothness) * u**smoothness * special.kv(smoothness, u)
    dynamics = Matern(smoothness, sd, length_scale)
    P = dynamics.stationary()[1]
    H = dynamics.readout
    np.testing.assert_allclose(np.einsum("i,tij,jk,k->t", H, dynamics.transition(tau)[0], P, H), kernel, rtol=1e-9)


def test_quasi_periodic_covariance_equals_kernel():
    period, length_scale, sd, decay = 7.0, 0.8, 1.3, 50.0
    tau = np.linspace(0, 30, 41)
    kernel = sd**2 * np.exp(-2 * np.sin(np.pi * tau / period) ** 2 / length_scale**2 - tau / decay)
    errors = []
    for terms in (2, 4, 8, 16):
        dynamics = QuasiPeriodic(period, length_scale, sd, decay, num_terms=terms)
        P, H = dynamics.stationary()[1], dynamics.readout
        got = np.einsum("i,tij,jk,k->t", H, dynamics.transition(tau)[0], P, H)
        np.testing.assert_allclose(got[0], sd**2, rtol=1e-14)  # the variance does not depend on the number of terms
        errors.append(np.abs(got - kernel).max())
    assert errors[0] > errors[1] > errors[2] > errors[3]
    assert errors[3] < 1e-13


def test_oscillator_covariance_equals_kernel():
    dynamics, tau = DampedOscillator(0.21, 0.3, 1.7), np.array([0.0, 0.4, 2.0, 9.0])
    F, P = dynamics.transition(tau)[0], dynamics.stationary()[1]
    expected = 1.7**2 * np.exp(-0.3 * tau) * np.cos(2 * np.pi * 0.21 * tau)
    np.testing.assert_allclose((F @ P)[:, 0, 0], expected, rtol=1e-12)


@pytest.mark.parametrize(
    "dynamics",
    [
        OrnsteinUhlenbeck(0.4, 1.5),
        Matern(1.5, 1.2, 0.7),
        Matern(2.5, 1.2, 0.7),
        DampedOscillator(0.3, 0.1, 1.1),
        QuasiPeriodic(3.0, 0.9, 1.0, 20.0),
        Stack(Matern(2.5, 1.2, 0.7), QuasiPeriodic(3.0, 0.9, 1.0, 20.0)),
        Dense(np.array([[-0.1, 1.0], [-1.0, -0.1]]), np.diag([0.3, 0.5]), b=np.array([1.0, -2.0])),
    ],
    ids=lambda dynamics: type(dynamics).__name__,
)
def test_stationary_law_is_kept_by_every_transition(dynamics):
    m, P = dynamics.stationary()
    F, c, Q = dynamics.transition(np.array([1e-6, 0.3, 2.0, 100.0]))
    np.testing.assert_allclose(F @ P @ np.swapaxes(F, -1, -2) + Q, np.broadcast_to(P, F.shape), rtol=0, atol=1e-12)
    np.testing.assert_allclose(F @ m + (0 if c is None else c), np.broadcast_to(m, F.shape[:-1]), rtol=0, atol=1e-12)
    np.testing.assert_allclose(Q[-1], P, rtol=0, atol=1e-2 * P.max())


def test_dense_stationary_law_solves_lyapunov_even_when_stiff():
    A = np.array([[-1e-3, 2.0], [0.0, -1e3]])
    L = np.array([[0.1], [3.0]])
    P = Dense(A, L).stationary()[1]
    residual = A @ P + P @ A.T + L @ L.T
    assert np.abs(residual).max() < 1e-12 * np.abs(L @ L.T).max()


@pytest.mark.parametrize(
    "dynamics",
    [
        IntegratedWiener(1, 1.0),
        Harmonic(12.0, 0.1),
        Constant(2),
        Stack(OrnsteinUhlenbeck(0.4, 1.5), Constant(1)),
        Dense(np.array([[0.1]]), np.eye(1)),
        Dense(np.array([[0.0, 1.0], [-1.0, 0.0]]), np.eye(2)),
    ],
    ids=lambda dynamics: type(dynamics).__name__,
)
def test_laws_without_a_stationary_one_say_so(dynamics):
    assert dynamics.stationary() is None


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_parameters_broadcast_over_leading_axes(name):
    sd = np.linspace(0.5, 2.0, 6).reshape(2, 3)  # (draw, series)
    scale = np.array([[0.7], [3.0]])
    gaps = np.array([[0.1, 0.5], [1.0, 2.0], [0.0, 9.0]])  # (series, gap)
    with framework(name) as array:
        for make in (
            lambda s, l: Stack(Matern(2.5, s, l), IntegratedWiener(1, s), Harmonic(l, s, 2), Constant(1)),
            lambda s, l: Stack(QuasiPeriodic(l, 0.8, s, 30), DampedOscillator(l, l, s), OrnsteinUhlenbeck(l, s)),
        ):
            if name == "jax":
                F, _, Q = jax.jit(lambda make=make: make(array(sd), array(scale)).transition(gaps))()
            else:
                F, _, Q = make(array(sd), array(scale)).transition(gaps)
            n = F.shape[-1]
            assert F.shape == Q.shape == (2, 3, 2, n, n)
            for i, j in np.ndindex(2, 3):
                one = make(float(sd[i, j]), float(scale[i, 0])).transition(gaps[j])
                np.testing.assert_allclose(to_numpy(F)[i, j], one[0], rtol=1e-12, atol=1e-14)
                np.testing.assert_allclose(to_numpy(Q)[i, j], one[2], rtol=1e-12, atol=1e-14)


def test_held_inputs_and_constant_drift_enter_through_the_integral():
    rng = np.random.default_rng(0)
    A, L, b, B = rng.normal(size=(3, 3)), np.eye(3), rng.normal(size=3), rng.normal(size=(3, 2))
    gaps, inputs = np.array([0.0, 0.3, 1.1]), rng.normal(size=(3, 2))
    _, c, _ = Dense(A, L, b, B).transition(gaps, inputs)
    for t, gap in enumerate(gaps):
        np.testing.assert_allclose(c[t], dense_discretise(A, L, gap)[2] @ (b + B @ inputs[t]), rtol=1e-12, atol=1e-14)
    F, c, _ = Stack(OrnsteinUhlenbeck(1.0, 1.0), Dense(A, L, b, B)).transition(gaps, inputs)
    assert F.shape == (3, 4, 4)
    np.testing.assert_array_equal(c[:, 0], 0.0)
    np.testing.assert_allclose(c[:, 1:], Dense(A, L, b, B).transition(gaps, inputs)[1])


@pytest.mark.parametrize("case", ["matern32", "matern52", "quasi-periodic", "oscillator", "trend"])
def test_gradients_equal_finite_differences_and_torch_equals_jax(case):
    import torch

    make = {
        "matern32": lambda p: Matern(1.5, p[0], p[1]),
        "matern52": lambda p: Matern(2.5, p[0], p[1]),
        "quasi-periodic": lambda p: QuasiPeriodic(p[0], p[1], p[2], p[3], num_terms=3),
        "oscillator": lambda p: DampedOscillator(p[0], p[1], p[2]),
        "trend": lambda p: IntegratedWiener(1, p[0], p[1]),
    }[case]
    gaps = np.array([0.0, 1e-4, 0.5, 1.3, 8.0])
    p = np.array([1.2, 0.8, 1.5, 3.0])
    rng = np.random.default_rng(1)
    n = make(p).state_dim
    weights = rng.normal(size=(2, 5, n, n))

    def value(p, array):
        F, _, Q = make(p).transition(array(gaps))
        return (array(weights[0]) * F).sum() + (array(weights[1]) * Q).sum()

    expected = []
    for k in range(4):
        shift = 1e-4 * np.eye(4)[k]
        f = [value(p + s * shift, np.asarray) for s in (-2, -1, 1, 2)]
        expected.append((f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * 1e-4))
    leaf = torch.tensor(p, requires_grad=True)
    value(leaf, torch.as_tensor).backward()
    np.testing.assert_allclose(leaf.grad.numpy(), expected, rtol=1e-7, atol=1e-7)
    with framework("jax") as array:
        gradient = jax.jit(jax.grad(lambda p: value(p, array)))(array(p))
    np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=1e-10, atol=1e-11)


def test_float32_closed_forms_are_as_good_as_their_rounding():
    with framework("torch", dtype="float32") as array:
        for dynamics, double in (
            (Matern(2.5, array(1.2), array(0.7)), Matern(2.5, 1.2, 0.7)),
            (QuasiPeriodic(array(7.0), array(0.8), array(1.0), array(50.0)), QuasiPeriodic(7.0, 0.8, 1.0, 50.0)),
        ):
            for single, exact in zip(dynamics.transition(GAPS), double.transition(GAPS), strict=True):
                if single is not None:
                    assert str(single.dtype) == "torch.float32"
                    scale = np.abs(exact).max(axis=(-1, -2), keepdims=True)
                    assert (np.abs(to_numpy(single) - exact) <= 3e-4 * scale + 1e-30).all()  # up to 257 turns


def test_start_joins_given_and_stationary_laws():
    stack = Stack(IntegratedWiener(1, 0.1), Matern(1.5, 2.0, 3.0))
    m, P = stack.start([(np.array([5.0, 0.0]), np.diag([4.0, 1.0])), None])
    np.testing.assert_allclose(m, [5.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(np.diag(P), [4.0, 1.0, 4.0, 4.0 / 3.0])
    with pytest.raises(ArgumentError, match=r"component 0 \(IntegratedWiener\) has no stationary law"):
        stack.start([None, None])
    with pytest.raises(ArgumentError, match="one law for each of 2 components; got 1"):
        stack.start([None])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Matern(2.0, 1.0, 1.0), r"`smoothness` of Matern must be one of \(0.5, 1.5, 2.5\); got 2.0"),
        (lambda: IntegratedWiener(-1, 1.0), "`order` of IntegratedWiener must be an integer of at least 0; got -1"),
        (lambda: Harmonic(12.0, 1.0, 0), "`num_harmonics` of Harmonic must be an integer of at least 1; got 0"),
        (lambda: QuasiPeriodic(1.0, 1.0, 1.0, 1.0, num_terms=0), "`num_terms` of QuasiPeriodic"),
        (lambda: Dense(np.zeros((2, 3)), np.eye(2)), r"`A` of Dense must have core shape"),
        (lambda: Dense(np.eye(2), np.eye(3)), r"`L` of Dense must have core shape \(2, any\)"),
        (lambda: Dense(np.eye(2), np.eye(2), b=np.zeros(3)), r"`b` of Dense must have core shape \(2\)"),
        (lambda: Stack(), "`Stack` needs at least one component"),
        (lambda: Stack(3.0), "`Stack` takes linear dynamics; got float"),
    ],
)
def test_impossible_options_are_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize("order", [1, 3, 5])
def test_lower_gamma_equals_scipy(order):
    u = np.concatenate([np.logspace(-12, 3, 200), [2.5, np.nextafter(2.5, 0)]])
    expected = special.gammainc(order, u)
    np.testing.assert_allclose(lower_gamma(order, u), expected, rtol=5e-14)
    assert lower_gamma(order, np.zeros(1)) == 0.0


@pytest.mark.parametrize("length_scale", [0.05, 0.3, 1.0, 10.0])
def test_periodic_weights_equal_bessel_functions(length_scale):
    order = np.arange(9)
    expected = special.ive(order, length_scale**-2) * np.where(order > 0, 2, 1)
    got = periodic_weights(np.float64(length_scale), 8)
    np.testing.assert_allclose(got, expected / expected.sum(), rtol=1e-12, atol=1e-15)
    assert (got >= 0).all()
