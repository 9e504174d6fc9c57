"""Cells against the recurrences that their papers print, written out in NumPy, and against laws of their own."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from dynplat_deepssm import initialisers
from dynplat_deepssm.cells import LRU, S4D, S5, DeltaNet, HiPPO, Mamba, Mamba2
from dynplat_deepssm.executors import run
from dynplat_deepssm.special import complex_of
from dynplat_deepssm.tests.conftest import EXAMPLES, assert_close

RNG = np.random.default_rng(0)


def softplus(x):
    return np.log1p(np.exp(x))


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def test_s4d_is_its_differential_equation():
    """Inputs constant over gaps of any length: the state is that of x' = A x + u, by an integrator of ODEs."""
    cell = S4D(2, 4, step_range=(0.3, 0.9))
    weights = cell.init(0)
    u, dt = RNG.standard_normal((5, 2)), RNG.uniform(0.1, 2.0, 5)
    y, _ = run(cell, weights, u, dt)
    A = -np.exp(weights["log_rate"]) + 1j * weights["frequency"]
    C, h = complex_of(weights["readout"]), np.exp(weights["log_step"])
    for channel in range(2):
        x = np.zeros(2, complex)
        for k in range(5):
            flow = solve_ivp(
                lambda t, x, k=k, c=channel: h[c] * (A[c] * x + u[k, c]), (0.0, dt[k]), x, rtol=1e-11, atol=1e-13
            )
            x = flow.y[:, -1]
            wanted = 2.0 * (C[channel] @ x).real + weights["skip"][channel] * u[k, channel]
            assert y[k, channel] == pytest.approx(wanted, abs=1e-8)


def test_dss_divides_by_the_sum_of_a_rows_powers():
    """Rows of DSS's kernel are softmaxes of lambda k, over A: Gupta, Gu and Berant (2022), proposition 1."""
    cell = EXAMPLES["s4d inv softmax"]
    weights = cell.init(1)
    impulse = np.zeros((40, 3))
    impulse[0] = 1.0
    kernel = run(cell, weights, impulse)[0] - weights["skip"] * impulse
    A = -np.exp(weights["log_rate"]) + 1j * weights["frequency"]
    z = np.exp((A * np.exp(weights["log_step"])[:, None])[..., None] * np.arange(40))
    softmax = z / z.sum(axis=-1, keepdims=True)
    wanted = 2.0 * np.einsum("hn,hnl->lh", complex_of(weights["readout"]) / A, softmax).real
    np.testing.assert_allclose(kernel, wanted, atol=1e-13)


def test_s4d_legs_answers_smooth_inputs_as_hippo_does():
    """u = e^{-t}: the largest difference shrinks with the size (kernels themselves do not converge)."""
    t, found = np.arange(1, 1001) * 0.005, []
    for size in (16, 64, 256):
        B = initialisers.hippo("legs", size).B
        eigen = initialisers.eigen(size)
        cell = S4D(1, size)
        weights = cell.init(0) | {"log_step": np.log([0.005]), "skip": np.zeros(1)}
        half = eigen.vectors[0] * (eigen.inverse @ B) / 2.0
        weights["readout"] = np.stack([half.real, half.imag], axis=-1)[None]
        y, _ = run(cell, weights, np.exp(-t)[:, None])
        x, _ = run(HiPPO(1, size, step=0.005), {}, np.exp(-t)[:, None], mode="scan")
        found.append(np.abs(y[:, 0] - x[:, 0]).max())
    assert found[0] < 0.03
    assert found[1] < found[0] / 3.0
    assert found[2] < found[1] / 3.0


def test_s5_is_dense():
    """The diagonal system is the block-diagonal HiPPO matrix in its eigenvectors."""
    cell = S5(3, 2, 8, num_blocks=2)
    weights = cell.init(0)
    u, dt = RNG.standard_normal((6, 3)), RNG.uniform(0.1, 2.0, 6)
    y, _ = run(cell, weights, u, dt)
    A, _, P = initialisers.hippo("legs", 4)
    rates = np.exp(-weights["log_step"]) * cell.rates(weights)
    np.testing.assert_allclose(np.sort_complex(rates), np.sort_complex(np.tile(initialisers.eigen(4).rates, 2)))
    assert np.linalg.eigvals(A + P @ P.T).real == pytest.approx(-0.5)
    # A real system of twice the size, all gaps by matrix exponentials.
    rates = cell.rates(weights)
    B, C = complex_of(weights["write"]).T, complex_of(weights["readout"]).T
    x = np.zeros(4, complex)
    for k in range(6):
        block = np.zeros((7, 7), complex)
        block[:4, :4], block[:4, 4:] = np.diag(rates), np.exp(weights["log_step"])[:, None] * B
        power = expm(block * dt[k])
        x = power[:4, :4] @ x + power[:4, 4:] @ u[k]
        np.testing.assert_allclose(y[k], 2.0 * (C @ x).real + u[k] @ weights["skip"], atol=1e-12)


def test_lru_keeps_the_variance_of_white_noise():
    modulus = np.exp(-np.exp(LRU(1, 1, 4096).init(0)["log_rate"]))
    assert np.mean(modulus**2) == pytest.approx((0.9**2 + 0.999**2) / 2.0, abs=0.003)
    cell = LRU(1, 1, 64, most=0.99)
    weights = cell.init(0)
    weights["write"] = np.zeros_like(weights["write"])
    weights["write"][..., 0] = 1.0
    rng = np.random.default_rng(1)
    assert cell.transition.scan is not None
    for dt in (None, rng.uniform(0.0, 3.0, 40_000)):
        elements = cell.elements(weights, rng.standard_normal((40_000, 1)), dt)
        seen, _ = cell.transition.scan(elements, np.zeros(64, complex))
        assert np.mean(np.abs(seen[1000:]) ** 2) == pytest.approx(1.0, abs=0.02)


def test_lru_gaps_compose():
    """Splitting a gap: multipliers multiply, and the variances of what is written add up."""
    cell, one = LRU(1, 1, 7), np.ones((1, 1))
    weights = cell.init(0)
    first, second, both = (cell.elements(weights, one, np.array([h])) for h in (0.3, 1.1, 1.4))
    np.testing.assert_allclose(first.multiplier * second.multiplier, both.multiplier, atol=1e-15)
    power = [np.abs(e.offset) ** 2 for e in (first, second, both)]
    np.testing.assert_allclose(np.abs(second.multiplier) ** 2 * power[0] + power[1], power[2], atol=1e-15)
    np.testing.assert_allclose(
        cell.elements(weights, one, np.ones(1)).offset, cell.elements(weights, one).offset, atol=1e-15
    )


@pytest.mark.parametrize("eigenvalues", ["positive", "signed"])
def test_mamba_is_algorithm_2(eigenvalues):
    cell = Mamba(18, 3, eigenvalues=eigenvalues)
    weights = cell.init(0)
    u, dt = RNG.standard_normal((7, 18)), RNG.uniform(0.1, 2.0, 7)
    y, _ = run(cell, weights, u, dt)
    assert weights["step_weight"].shape[0] == 2
    h = np.zeros((18, 3))
    for k in range(7):
        low, B, C = np.split(u[k] @ weights["select"], [2, 5])
        delta = softplus(low @ weights["step_weight"] + weights["step_bias"]) * dt[k]
        decay = np.exp(-delta[:, None] * np.exp(weights["log_rate"]))
        decay = 2.0 * decay - 1.0 if eigenvalues == "signed" else decay
        h = decay * h + (delta * u[k])[:, None] * B
        np.testing.assert_allclose(y[k], h @ C + u[k] * weights["skip"], atol=1e-13)


def test_mamba_starts_as_published():
    weights = Mamba(64, 16).init(0)
    np.testing.assert_allclose(np.exp(weights["log_rate"][5]), np.arange(1.0, 17.0))
    steps = softplus(weights["step_bias"])
    assert 1e-3 <= steps.min() < 2e-3
    assert 5e-2 < steps.max() <= 1e-1


@pytest.mark.parametrize("eigenvalues", ["positive", "signed"])
def test_mamba2_is_a_masked_product(eigenvalues):
    """Y = (L o C B') X for one head, L_ij the product of decays after j: the quadratic form of the paper."""
    cell = Mamba2(2, 3, 4, eigenvalues=eigenvalues, step_range=(0.1, 1.0))
    weights = cell.init(0)
    u, dt = RNG.standard_normal((150, cell.num_inputs)), RNG.uniform(0.1, 1.0, 150)
    X, B, C, d = np.split(u, [6, 10, 14], axis=-1)
    delta = softplus(d + weights["step_bias"]) * dt[:, None]
    decay = np.exp(-np.exp(weights["log_rate"]) * delta)
    decay = 2.0 * decay - 1.0 if eigenvalues == "signed" else decay
    assert (decay.min() < 0) == (eigenvalues == "signed")
    wanted = []
    for head in range(2):
        L = np.array([[np.prod(decay[j + 1 : i + 1, head]) if j <= i else 0.0 for j in range(150)] for i in range(150)])
        x = X[:, 3 * head : 3 * head + 3]
        wanted.append((L * (C @ B.T)) @ (delta[:, head, None] * x) + weights["skip"][head] * x)
    for mode in ("loop", "scan", "chunk"):
        assert_close(run(cell, weights, u, dt, mode=mode)[0], np.concatenate(wanted, axis=-1), 1e-12)


@pytest.mark.parametrize(("eigenvalues", "most"), [("positive", 1.0), ("signed", 2.0)])
def test_delta_rule_has_the_eigenvalues_that_it_says(eigenvalues, most):
    cell = DeltaNet(1, 2, 3, eigenvalues=eigenvalues)
    u = RNG.standard_normal((4, cell.num_inputs))
    elements = cell.elements({}, u)
    seen = []
    for k in range(4):
        key, beta = elements.key[k, 0], elements.strength[k, 0]
        assert np.linalg.norm(key) == pytest.approx(1.0, abs=1e-15)
        assert beta == pytest.approx(most * sigmoid(u[k, -1]), abs=1e-15)
        # The map of the state without what is written, column by column, with the driver that steps.
        F = np.empty((3, 3))
        for j in range(3):
            state = np.zeros((1, 3, 2))
            state[0, j, 0] = 1.0
            row = type(elements)(elements.decay[0], *(array[k] for array in elements[1:]))
            F[:, j] = cell.transition.act(state, row._replace(value=np.zeros((1, 2))))[0][0, :, 0]
        np.testing.assert_allclose(F, np.eye(3) - beta * np.outer(key, key), atol=1e-15)
        np.testing.assert_allclose(np.sort(np.linalg.eigvalsh(F)), np.sort([1.0, 1.0, 1.0 - beta]), atol=1e-14)
        seen.append(1.0 - beta)
    assert all(1.0 - most < value < 1.0 for value in seen)


def test_delta_rule_is_a_gradient_step_of_regression():
    cell = DeltaNet(1, 2, 3, decays=True)
    weights = cell.init(0)
    u, dt = RNG.standard_normal((70, cell.num_inputs)), RNG.uniform(0.0, 3.0, 70)
    q, k, v, b = np.split(u, [3, 6, 8], axis=-1)
    S, wanted = np.zeros((3, 2)), []
    for row in range(70):
        key, query = (a[row] / np.linalg.norm(a[row]) for a in (k, q))
        S = np.exp(-np.exp(weights["log_rate"][0]) * dt[row]) * S
        S = S - sigmoid(b[row]) * np.outer(key, S.T @ key - v[row])
        wanted.append(S.T @ query)
    for mode in ("loop", "chunk"):
        assert_close(run(cell, weights, u, dt, mode=mode)[0], np.array(wanted), 1e-12)


def test_signed_delta_rule_counts_parities_and_turns():
    """beta = 2 flips a sign, so that a product over 256 bits is their parity; two reflections are a rotation by 120."""
    bits = np.random.default_rng(2).integers(0, 2, 256)
    cell = DeltaNet(1, 1, 1, eigenvalues="signed")
    u = np.array([[1.0, 1.0, 0.0, 40.0 if bit else -800.0] for bit in bits])
    for mode in ("loop", "chunk"):
        y, _ = run(cell, {}, u, state=np.ones((1, 1, 1)), mode=mode)
        np.testing.assert_allclose(y[:, 0], (-1.0) ** np.cumsum(bits), atol=1e-13)
    turns = [np.array([1.0, 0.0]), np.array([np.cos(np.pi / 3), np.sin(np.pi / 3)])] * 1500
    cell = DeltaNet(1, 1, 2, eigenvalues="signed")
    u = np.array([np.r_[1.0, 0.0, key, 0.0, 40.0] for key in turns])
    y, last = run(cell, {}, u, state=np.array([[[1.0], [0.0]]]), mode="chunk")
    angle = 2.0 * np.pi / 3.0 * np.arange(1, 1501)
    np.testing.assert_allclose(y[1::2, 0], np.cos(angle), atol=1e-10)
    assert np.linalg.norm(last) == pytest.approx(1.0, abs=1e-10)


def test_signed_mamba_counts_parities_and_positive_ones_only_decay():
    """Steps near 0 keep the state, long ones multiply it by -1 (signed) or forget it (positive)."""
    bits = np.random.default_rng(3).integers(0, 2, 256)
    for eigenvalues in ("signed", "positive"):
        cell = Mamba(1, 1, eigenvalues=eigenvalues)
        weights = cell.init(0) | {"select": np.array([[1.0, 0.0, 1.0]]), "step_weight": np.array([[160.0]])}
        weights |= {"step_bias": np.array([-80.0]), "log_rate": np.zeros((1, 1)), "skip": np.zeros(1)}
        y, last = run(cell, weights, bits[:, None] + 1e-9, state=np.ones(1))
        assert last[0] == pytest.approx((-1.0) ** bits.sum() if eigenvalues == "signed" else 0.0, abs=1e-6)
        assert np.isfinite(y).all()
