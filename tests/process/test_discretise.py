import mpmath
import numpy as np
import pytest
import scipy.linalg

from dynplat.arrays import framework, to_numpy
from dynplat.errors import ArgumentError, NoDensityError
from dynplat.process.discretise import discretise
from dynplat.scan import forced_driver
from dynplat.testing.linear_sde import _by_block_exponential, _by_eigenvectors, dense_discretise

FRAMEWORKS = ("numpy", "torch", "jax")
STIFF = [(0.01, 1.0, 60.0), (1.0, 50.0, 1.0), (1e-3, 1e3, 1e3)]


def van_loan(A, W, h):
    n = len(A)
    block = scipy.linalg.expm(np.block([[A, W], [np.zeros((n, n)), -A.T]]) * h)
    return block[:n, n:] @ block[:n, :n].T


def scaled_error(Q, exact):
    """Largest error of an entry in units of the standard deviations that it couples."""
    sd = np.sqrt(np.diag(exact))
    return np.abs((Q - exact) / np.outer(sd, sd)).max()


def stiff_system(slow, fast, mix):
    """Rates `slow` and `fast` on the diagonal, coupled one way, or hidden behind a change of basis."""
    if mix == "triangular":
        return np.array([[-slow, slow], [0.0, -fast]])
    S = np.array([[1.0, 0.3], [0.7, 1.0]])
    return S @ np.diag([-slow, -fast]) @ np.linalg.inv(S)


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("mix", ["triangular", "full"])
@pytest.mark.parametrize(("slow", "fast", "gap"), STIFF)
def test_stiff_system_over_long_gap_equals_exact(slow, fast, gap, mix, name):
    A, W = stiff_system(slow, fast, mix), np.array([[1.0, 0.2], [0.2, 0.5]])
    F, Q, G = dense_discretise(A, W, gap)
    with framework(name) as array:
        got = [to_numpy(part)[0] for part in discretise(array(A), array(W), array(np.array([gap])))]
    # Rounding A's entries, of the size of the fast rate, moves the slow rate by eps * fast: no method can know better.
    cond = 1.0 if mix == "triangular" else 1.0 + np.finfo(float).eps * fast * gap / 1e-13
    assert scaled_error(got[1], Q) < 1e-12 * cond
    assert np.abs(got[0] - F).max() < 1e-12 * cond
    assert np.abs(got[2] - G).max() < 1e-12 * cond * np.abs(G).max()


@pytest.mark.parametrize(("slow", "fast", "gap"), STIFF[:2])
def test_block_exponential_fails_where_doubling_does_not(slow, fast, gap):
    # Dense coupling: for a triangular one e^(-A^T h) keeps its zeros and the failure is partly hidden.
    A, W = stiff_system(slow, fast, "full"), np.eye(2)
    exact = dense_discretise(A, W, gap)[1]
    assert scaled_error(van_loan(A, W, gap), exact) > 1.0
    assert scaled_error(discretise(A, W, np.array([gap])).Q[0], exact) < 1e-12


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_random_systems_equal_exact_for_all_gaps(n, name):
    rng = np.random.default_rng(n)
    A = rng.normal(size=(n, n)) - 0.5 * np.sqrt(n) * np.eye(n)
    L = rng.normal(size=(n, max(1, n // 2)))  # rank deficient
    gaps = np.array([1e-9, 1e-3, 0.4, 3.0])
    with framework(name) as array:
        got = discretise(array(A), array(L @ L.T), array(gaps))
    for index, gap in enumerate(gaps):
        F, Q, G = dense_discretise(A, L @ L.T, gap)
        scale = 1e-13 * max(1.0, np.linalg.norm(A) * gap)
        assert scaled_error(to_numpy(got.Q)[index], Q) < scale
        np.testing.assert_allclose(to_numpy(got.F)[index], F, rtol=0, atol=scale * np.abs(F).max())
        np.testing.assert_allclose(to_numpy(got.G)[index], G, rtol=0, atol=scale * np.abs(G).max())


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_gap_of_zero_is_exactly_nothing(name):
    rng = np.random.default_rng(0)
    with framework(name) as array:
        F, Q, G = discretise(array(rng.normal(size=(3, 3))), array(np.eye(3)), array(np.array([0.0, 1.0, 0.0])))
    for row in (0, 2):
        assert (to_numpy(F)[row] == np.eye(3)).all()
        assert (to_numpy(Q)[row] == 0).all()
        assert (to_numpy(G)[row] == 0).all()


def test_short_gaps_keep_relative_accuracy():
    # Integrated Wiener process with a weak restoring force: entries of order h^3/3, h^2/2, h, down to 1e-36.
    A, W = np.array([[0.0, 1.0], [-0.3, -0.2]]), np.diag([0.0, 2.0])
    for gap in (1e-12, 1e-6, 1e-3):
        F, Q, _ = dense_discretise(A, W, gap)
        got = discretise(A, W, np.array([gap]))
        np.testing.assert_allclose(got.Q[0], Q, rtol=1e-13)
        np.testing.assert_allclose(got.F[0] - np.eye(2), F - np.eye(2), rtol=0, atol=1e-16)
    np.testing.assert_allclose(discretise(A, W, np.array([1e-12])).Q[0, 0, 0], 2 * 1e-36 / 3, rtol=1e-12)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_splitting_a_gap_changes_nothing(name):
    rng = np.random.default_rng(3)
    free = rng.normal(size=(4, 4)) - 2 * np.eye(4)
    for A in (free, stiff_system(0.01, 1.0, "triangular"), np.array([[0.0, 9.0], [-9.0, 0.0]])):
        W = np.eye(len(A))
        for h in (1e-6, 0.7, 60.0):
            parts = np.array([h, 0.37 * h, h - 0.37 * h])
            with framework(name) as array:
                F, Q, G = (to_numpy(part) for part in discretise(array(A), array(W), array(parts)))
            # A rotation by an angle of size ||A|| h is only known to eps * ||A|| h.
            tolerance = 1e-12 * max(1.0, np.linalg.norm(A) * h / 100)
            np.testing.assert_allclose(F[2] @ F[1], F[0], rtol=0, atol=tolerance)
            assert scaled_error(F[2] @ Q[1] @ F[2].T + Q[2], Q[0]) < tolerance
            np.testing.assert_allclose(F[2] @ G[1] + G[2], G[0], rtol=0, atol=tolerance * np.abs(G[0]).max())


def test_units_of_states_and_time_do_not_matter():
    rng = np.random.default_rng(4)
    A, W, gaps = rng.normal(size=(3, 3)) - 2 * np.eye(3), np.eye(3), np.array([1e-3, 5.0])
    plain = discretise(A, W, gaps)
    D = np.diag([2.0**30, 1.0, 2.0**-40])
    moved = discretise(D @ A @ np.linalg.inv(D), D @ W @ D, gaps)
    np.testing.assert_allclose(np.linalg.inv(D) @ moved.Q @ np.linalg.inv(D), plain.Q, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(np.linalg.inv(D) @ moved.F @ D, plain.F, rtol=1e-11, atol=1e-14)
    slower = discretise(A / 86400, W / 86400, gaps * 86400)
    np.testing.assert_allclose(slower.Q, plain.Q, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_batches_of_systems_and_gaps_equal_one_by_one(name):
    rng = np.random.default_rng(5)
    A = rng.normal(size=(2, 3, 1, 2, 2)) * np.array([1e-3, 1.0, 40.0]).reshape(1, 3, 1, 1, 1) - 2 * np.eye(2)
    W = np.eye(2) * np.array([1.0, 4.0]).reshape(2, 1, 1, 1, 1)
    gaps = np.array([[0.0, 1e-8, 3.0, 200.0], [1.0, 0.5, 0.0, 7.0]])  # very different numbers of doublings
    A[..., 0, 1] = 0.0
    A[..., 0, 0] = -np.abs(A[..., 0, 0])
    A[..., 1, 1] = -np.abs(A[..., 1, 1])
    with framework(name) as array:
        batched = discretise(array(A), array(W), array(gaps))
        assert batched.F.shape == (2, 3, 2, 4, 2, 2)
        for i, j, k, t in np.ndindex(2, 3, 2, 4):
            one = discretise(array(A[i, j, 0]), array(W[i, 0, 0]), array(gaps[k, t : t + 1]))
            for got, expected in zip(batched, one, strict=True):
                np.testing.assert_allclose(
                    to_numpy(got)[i, j, k, t],
                    to_numpy(expected)[0],
                    rtol=1e-11,
                    atol=1e-13 * float(abs(expected).max()),
                )


def test_jit_equals_eager_and_reports_what_it_cannot_reach():
    import jax

    rng = np.random.default_rng(6)
    A, W, gaps = rng.normal(size=(2, 1, 3, 3)) - 3 * np.eye(3), np.eye(3), np.array([0.0, 1e-6, 1.0, 300.0])
    with framework("jax") as array:
        A, W, gaps = array(A), array(W), array(gaps)
        eager, traced = discretise(A, W, gaps), jax.jit(discretise)(A, W, gaps)
        for one, other in zip(eager, traced, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
        with forced_driver("sequential"):  # the kernel has no such limit
            short = jax.jit(lambda A: discretise(A, W, gaps, max_doublings=6))(A)
        assert np.isnan(np.asarray(short.Q[..., 3, :, :])).all()
        np.testing.assert_allclose(short.Q[..., :3, :, :], eager.Q[..., :3, :, :], rtol=1e-12, atol=1e-14)


def numerical_gradient(function, values, step):
    out = np.zeros_like(values)
    for index in np.ndindex(values.shape):
        moved = [values.copy() for _ in range(4)]
        for copy, shift in zip(moved, (-2, -1, 1, 2), strict=True):
            copy[index] += shift * step
        f = [function(copy) for copy in moved]
        out[index] = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * step)
    return out


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_gradient_equals_finite_difference(name):
    import jax
    import torch

    rng = np.random.default_rng(7)
    A, L, gaps = rng.normal(size=(3, 3)) - 2 * np.eye(3), rng.normal(size=(3, 2)), np.array([0.0, 0.01, 1.3, 40.0])
    weights = [rng.normal(size=(4, 3, 3)) for _ in range(3)]

    def value(A, L, gaps, array=np.asarray):
        parts = discretise(A, L @ L.T, gaps)
        return sum((array(weight) * part).sum() for weight, part in zip(weights, parts, strict=True))

    expected = [
        numerical_gradient(lambda a: value(a, L, gaps), A, 1e-3),
        numerical_gradient(lambda noise: value(A, noise, gaps), L, 1e-3),
    ]
    if name == "torch":
        leaves = [torch.tensor(part, requires_grad=True) for part in (A, L, gaps)]
        value(*leaves, array=torch.as_tensor).backward()
        got = [leaf.grad.numpy() for leaf in leaves]
    else:
        with framework("jax") as array:
            gradient = jax.jit(jax.grad(lambda *a: value(*a, array=array), argnums=(0, 1, 2)))
            got = [np.asarray(part) for part in gradient(array(A), array(L), array(gaps))]
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(got[1], expected[1], rtol=1e-7, atol=1e-8)
    # By the gap the derivatives are known: dF = A F, dG = F, dQ = F W F^T.
    F = discretise(A, L @ L.T, gaps).F
    derivatives = (A @ F, F @ (L @ L.T) @ np.swapaxes(F, -1, -2), F)
    by_gap = sum((weight * part).sum(axis=(1, 2)) for weight, part in zip(weights, derivatives, strict=True))
    np.testing.assert_allclose(got[2], by_gap, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_float32_is_as_good_as_its_rounding(name):
    A, W = stiff_system(0.01, 1.0, "triangular"), np.eye(2)
    for gap in (1e-4, 60.0):
        exact = dense_discretise(A.astype(np.float32), W, np.float32(gap))
        with framework(name, dtype="float32") as array:
            got = discretise(array(A), array(W), array(np.array([gap])))
            assert str(got.Q.dtype).endswith("float32")
        assert scaled_error(to_numpy(got.Q)[0].astype(float), exact[1]) < 2e-6
        assert np.abs(to_numpy(got.F)[0] - exact[0]).max() < 2e-6


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_growth_beyond_the_floating_range_is_reported(name):
    with framework(name) as array:
        A, W = array(np.array([[2.0, 0.0], [0.0, -1.0]])), array(np.eye(2))
        assert np.isfinite(to_numpy(discretise(A, W, array(np.array([100.0]))).Q)).all()
        with pytest.raises(NoDensityError, match=r"growth rate is 2 .* longest gap is 1000"):
            discretise(A, W, array(np.array([1.0, 1000.0])))


@pytest.mark.parametrize("bad", [-1.0, np.nan])
def test_gaps_that_are_no_lengths_are_refused(bad):
    with pytest.raises(ArgumentError, match="`gaps` must be lengths of time"):
        discretise(np.eye(2), np.eye(2), np.array([1.0, bad]))


@pytest.mark.parametrize("gap", [0.3, 20.0])
def test_both_forms_of_the_twin_agree(gap):
    A, W = np.array([[-1.0, 0.3], [-2.0, -4.0]]), np.diag([0.0, 1.0])
    with mpmath.workdps(150):
        one = _by_block_exponential(mpmath.matrix(A.tolist()), mpmath.matrix(W.tolist()), mpmath.mpf(gap))
        other = _by_eigenvectors(mpmath.matrix(A.tolist()), mpmath.matrix(W.tolist()), mpmath.mpf(gap))
        for left, right in zip(one, other, strict=True):
            assert mpmath.norm(left - right) < mpmath.mpf(10) ** -40 * mpmath.norm(left)
