"""Polynomials, waves, radial bases, combinations, functions and networks: values, derivatives, frameworks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from numpy.polynomial import hermite_e, legendre
from scipy.spatial.distance import cdist
from scipy.special import gammaln

from dynplat.arrays import array_namespace
from dynplat.errors import ArgumentError, CapabilityError
from dynplat_koopman.dictionaries import (
    Fourier,
    FromFunctions,
    Hermite,
    Legendre,
    Monomials,
    Network,
    Product,
    RadialBasis,
    Scaled,
    Union,
    choose_centres,
    radial_basis_from,
)
from dynplat_koopman.tests.conftest import check_dictionary


def points(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape)


@pytest.mark.parametrize(
    ("d", "degree", "truncation", "least"),
    [(1, 8, "total", 0), (2, 4, "total", 0), (2, 2, "tensor", 1), (3, 2, "total", 1)],
)
@pytest.mark.parametrize("family", [Hermite, Legendre])
def test_polynomials(family, d, degree, truncation, least):
    dictionary = family(d, degree, truncation, least)
    x = points(3, 4, d)
    check_dictionary(dictionary, x)
    series = hermite_e.hermeval if family is Hermite else legendre.legval
    expected = np.ones((*x.shape[:-1], dictionary.num_functions))
    for n, degrees in enumerate(dictionary.degrees):
        for j, k in enumerate(degrees):
            size = np.exp(-0.5 * gammaln(k + 1)) if family is Hermite else np.sqrt(2 * k + 1)
            expected[..., n] *= size * series(x[..., j], np.eye(degree + 1)[k])
    np.testing.assert_allclose(dictionary(x), expected, rtol=1e-12, atol=1e-13)
    sums = dictionary.degrees.sum(axis=1)
    assert sums.min() == least
    assert dictionary.degrees.max() == degree
    assert sums.max() == (degree if truncation == "total" else d * degree)


def test_polynomials_are_orthonormal():
    for family, rule in ((Hermite, hermite_e.hermegauss), (Legendre, legendre.leggauss)):
        nodes, weights = rule(12)
        grid = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
        weight = np.outer(weights, weights).reshape(-1) / weights.sum() ** 2
        values = family(2, 5)(grid)
        np.testing.assert_allclose(values.T @ (weight[:, None] * values), np.eye(21), atol=1e-13)
    assert Hermite(2, 2).names == ("1", "He1(x0)", "He1(x1)", "He2(x0)", "He1(x0) He1(x1)", "He2(x1)")
    assert Legendre(1, 2).names == ("1", "P1(x0)", "P2(x0)")


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize(
    ("d", "order", "truncation"), [(1, 4, "tensor"), (2, 2, "tensor"), (2, 3, "total"), (3, 1, "tensor")]
)
def test_waves(is_complex, d, order, truncation):
    periods = np.array([2 * np.pi, 1.5, 3.0])[:d]
    dictionary = Fourier(d, order, periods, truncation, is_complex)
    check_dictionary(dictionary, 3 * points(3, 4, d))
    grid = np.stack(np.meshgrid(*(p * np.arange(16) / 16 for p in periods), indexing="ij"), axis=-1).reshape(-1, d)
    values = dictionary(grid)
    np.testing.assert_allclose(values.conj().T @ values / len(grid), np.eye(dictionary.num_functions), atol=1e-14)
    # Both span the same functions: the complex ones are combinations of the real ones.
    other = Fourier(d, order, periods, truncation, not is_complex)(grid)
    assert other.shape == values.shape
    left = other - values @ (values.conj().T @ other / len(grid))
    np.testing.assert_allclose(left, 0, atol=1e-13)


def test_orders_and_names_of_waves():
    assert Fourier(1, 2).names == ("1", "cos(x0)", "sin(x0)", "cos(2 x0)", "sin(2 x0)")
    assert Fourier(1, 1, is_complex=True).names == ("1", "exp i(x0)", "exp i(-x0)")
    names = Fourier(2, 1).names
    assert names[5:] == ("cos(x0 + x1)", "sin(x0 + x1)", "cos(x0 - x1)", "sin(x0 - x1)")
    # Far turns keep their digits.
    dictionary = Fourier(1, 50, 1.0, is_complex=True)
    np.testing.assert_allclose(dictionary(np.array([0.25 + 4096.0])), dictionary(np.array([0.25])), atol=1e-12)


@pytest.mark.parametrize("kernel", ["gaussian", "inverse-quadratic", "inverse-multiquadric"])
def test_smooth_radial_bases(kernel):
    centres, x = 5.0 + points(7, 3, seed=1), 5.0 + points(2, 6, 3)
    widths = np.linspace(0.5, 2.0, 7)
    dictionary = RadialBasis(centres, widths, kernel)
    squares = cdist(x.reshape(-1, 3), centres, "sqeuclidean").reshape(2, 6, 7) / widths**2
    profile = {
        "gaussian": np.exp(-squares / 2),
        "inverse-quadratic": 1 / (1 + squares),
        "inverse-multiquadric": 1 / np.sqrt(1 + squares),
    }
    np.testing.assert_allclose(dictionary(x), profile[kernel], rtol=1e-12)
    check_dictionary(dictionary, x)
    check_dictionary(RadialBasis(centres, 1.5, kernel), centres[:2])


@pytest.mark.parametrize("kernel", ["exponential", "thin-plate"])
def test_radial_bases_that_are_not_smooth(kernel):
    centres = points(5, 2, seed=1)
    x = np.concatenate([centres[:2], points(6, 2)])
    dictionary = RadialBasis(centres, 0.7, kernel)
    distance = cdist(x, centres) / 0.7
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = (
            np.exp(-distance) if kernel == "exponential" else np.where(distance > 0, distance**2 * np.log(distance), 0)
        )
    np.testing.assert_allclose(dictionary(x), expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dictionary(torch.tensor(x)), expected, rtol=1e-12, atol=1e-14)
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(dictionary)(jnp.asarray(x)), expected, rtol=1e-12, atol=1e-14)
        slope = jax.vmap(jax.jacrev(dictionary))(jnp.asarray(x))
    assert np.isfinite(slope).all()
    for j in range(2):
        step = 1e-6 * np.eye(2)[j]
        wanted = (dictionary(x[2:] + step) - dictionary(x[2:] - step)) / 2e-6
        np.testing.assert_allclose(slope[2:, :, j], wanted, rtol=1e-6, atol=1e-7)
    with pytest.raises(CapabilityError, match=f"the kernel '{kernel}' has no second derivatives.*choose 'gaussian'"):
        dictionary.derivatives(x)


def test_centres():
    rng = np.random.default_rng(2)
    blobs = np.concatenate([m + 0.05 * rng.normal(size=(200, 2)) for m in ([0, 0], [4, 0], [0, 4], [4, 4])])
    centres = choose_centres(blobs, 4, seed=1)
    order = np.lexsort(np.round(centres).T)
    np.testing.assert_allclose(centres[order], [[0, 0], [4, 0], [0, 4], [4, 4]], atol=0.05)
    far = choose_centres(blobs, 4, seed=1, method="farthest")
    assert cdist(far, far)[np.triu_indices(4, 1)].min() > 3.5
    for method in ("kmeans", "farthest"):
        again = choose_centres(blobs, 30, seed=3, method=method)
        np.testing.assert_array_equal(again, choose_centres(blobs, 30, seed=3, method=method))
        assert not np.array_equal(again, choose_centres(blobs, 30, seed=4, method=method))
        assert len(np.unique(again, axis=0)) == 30
    grid = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(radial_basis_from(grid, 25, seed=0, spread=1.5).widths, 1.5)
    np.testing.assert_array_equal(radial_basis_from(grid, 5, seed=0, width=0.3).widths, 0.3)


def test_union():
    union = Union((Monomials(2, 1), RadialBasis(points(4, 2), 1.0)))
    x = points(3, 5, 2)
    check_dictionary(union, x)
    np.testing.assert_array_equal(union(x)[..., :3], Monomials(2, 1)(x))
    assert union.num_functions == 7
    check_dictionary(Union((RadialBasis(points(4, 2), 1.0), Fourier(2, 1, is_complex=True))), x)
    # The location of a standardised part is read out by the constant of another.
    shifted = Scaled(Monomials(2, 1, 1), np.array([3.0, 4.0]), np.array([2.0, 1.0]))
    check_dictionary(Union((Fourier(2, 1), shifted)), x)
    assert Union((RadialBasis(points(4, 2), 1.0), shifted)).readout is None


def test_product():
    for first in (Fourier(1, 2), Fourier(1, 1, is_complex=True)):
        check_dictionary(Product(first, Hermite(2, 2)), points(3, 5, 3))
    both = Product(Hermite(1, 2), Legendre(1, 3))
    x = points(4, 2)
    check_dictionary(both, x)
    np.testing.assert_allclose(both(x)[:, 5], Hermite(1, 2)(x[:, :1])[:, 1] * Legendre(1, 3)(x[:, 1:])[:, 1])


def test_own_functions():
    def energy(x):
        return 0.5 * x[..., 1] ** 2 - array_namespace(x).cos(x[..., 0])

    dictionary = FromFunctions((energy, lambda x: x[..., 0] * x[..., 1]), 2)
    assert dictionary.names == ("energy", "function 1")
    x = points(3, 5, 2)
    np.testing.assert_allclose(dictionary(x)[..., 0], 0.5 * x[..., 1] ** 2 - np.cos(x[..., 0]))
    with pytest.raises(CapabilityError, match="NumPy cannot differentiate these functions; give `gradients` and `hess"):
        dictionary.derivatives(x)
    zero = np.zeros(x.shape[:-1])
    gradient = np.stack([np.sin(x[..., 0]), x[..., 1]], axis=-1)
    hessian = np.stack([np.stack([np.cos(x[..., 0]), zero], -1), np.stack([zero, zero + 1], -1)], -2)
    in_torch = dictionary.derivatives(torch.tensor(x))
    with jax.enable_x64(True):
        in_jax = jax.jit(dictionary.derivatives)(jnp.asarray(x))
    for found in (in_torch, in_jax):
        np.testing.assert_allclose(found.gradient[..., 0, :], gradient, atol=1e-14)
        np.testing.assert_allclose(found.hessian[..., 0, :, :], hessian, atol=1e-14)

    def own_gradient(x):
        xp = array_namespace(x)
        return xp.stack([xp.sin(x[..., 0]), x[..., 1]], axis=-1)

    def own_hessian(x):
        xp = array_namespace(x)
        one = xp.ones_like(x[..., 0])
        return xp.stack([xp.stack([xp.cos(x[..., 0]), 0 * one], axis=-1), xp.stack([0 * one, one], axis=-1)], axis=-2)

    check_dictionary(FromFunctions((energy,), 2, ("E",), (own_gradient,), (own_hessian,)), x)


@pytest.mark.parametrize("with_state", [True, False])
def test_network(with_state):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
    dictionary = Network(network, 2, 3, with_state)
    x = points(4, 5, 2)
    values = dictionary(x)
    assert isinstance(values, np.ndarray)
    in_torch = dictionary(torch.tensor(x))
    np.testing.assert_array_equal(values, in_torch.detach())
    np.testing.assert_array_equal(values[..., -3:], network(torch.tensor(x)).detach())
    assert torch.autograd.grad(in_torch.sum(), list(network.parameters()))[0].abs().sum() > 0
    assert len(dictionary.names) == dictionary.num_functions == (6 if with_state else 3)
    if dictionary.readout is not None:
        assert with_state
        np.testing.assert_allclose(values @ dictionary.readout.T, x)
        np.testing.assert_allclose(values @ dictionary.constant, 1)
    else:
        assert not with_state
        assert dictionary.constant is None
    gradient, hessian = dictionary.derivatives(x)
    for j in range(2):
        step = 1e-5 * np.eye(2)[j]
        np.testing.assert_allclose(gradient[..., j], (dictionary(x + step) - dictionary(x - step)) / 2e-5, atol=1e-9)
        slopes = (dictionary.derivatives(x + step).gradient - dictionary.derivatives(x - step).gradient) / 2e-5
        np.testing.assert_allclose(hessian[..., j], slopes, atol=1e-9)
    single = Network(network.float(), 2, 3)
    assert single(x).dtype == np.float64
    assert single(x.astype(np.float32)).dtype == np.float32
    with pytest.raises(CapabilityError, match="a network of torch cannot be evaluated at arrays of JAX"):
        dictionary(jnp.zeros((3, 2)))
    with pytest.raises(
        ArgumentError, match=r"`network` must give 4 outputs for points \(\.\.\., 2\); got shape \(5, 3\)"
    ):
        Network(network, 2, 4)(torch.zeros(5, 2))


def test_refusals():
    with pytest.raises(ArgumentError, match="`num_variables` must be at least 1; got 0"):
        Hermite(0, 2)
    with pytest.raises(ArgumentError, match="degrees must be at least 0; got degree=-1"):
        Legendre(1, -1)
    with pytest.raises(ArgumentError, match="`truncation` must be 'total' or 'tensor'; got 'cross'"):
        Hermite(1, 2, "cross")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match=r"`min_degree` leaves no function: degree=2.*min_degree=3"):
        Hermite(1, 2, min_degree=3)
    with pytest.raises(ArgumentError, match=r"10 degrees in each of 9 variables.*choose truncation='total'"):
        Hermite(9, 9, "tensor")
    with pytest.raises(ArgumentError, match="`order` must be at least 0; got -1"):
        Fourier(1, -1)
    with pytest.raises(ArgumentError, match="`periods` must be one number or 2, one per variable"):
        Fourier(2, 1, np.ones(3))
    with pytest.raises(ArgumentError, match="`periods` must be positive"):
        Fourier(2, 1, 0.0)
    with pytest.raises(ArgumentError, match=r"`centres` must be finite numbers \(N, d\); got shape \(3,\)"):
        RadialBasis(np.zeros(3), 1.0)
    with pytest.raises(ArgumentError, match=r"`widths` must be one number or 3; got shape \(2,\)"):
        RadialBasis(np.zeros((3, 1)), np.ones(2))
    with pytest.raises(ArgumentError, match="`widths` must be positive; got -1"):
        RadialBasis(np.zeros((3, 1)), -1.0)
    with pytest.raises(ArgumentError, match=r"`kernel` must be one of gaussian, .*; got 'cubic'"):
        RadialBasis(np.zeros((3, 1)), 1.0, "cubic")  # pyright: ignore[reportArgumentType]
    data = np.array([[0.0], [1.0], [1.0]])
    with pytest.raises(
        ArgumentError, match=r"`num_centres` must be in 1, \.\.\., 2, the number of different states; got 3"
    ):
        choose_centres(data, 3, seed=0)
    with pytest.raises(ArgumentError, match="`method` must be 'kmeans' or 'farthest'; got 'grid'"):
        choose_centres(data, 2, seed=0, method="grid")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match="`data` must be finite states"):
        choose_centres(data[:, 0], 2, seed=0)
    with pytest.raises(ArgumentError, match="`spread` must be positive; got 0"):
        radial_basis_from(data, 2, seed=0, spread=0.0)
    with pytest.raises(ArgumentError, match="`parts` must hold at least one dictionary"):
        Union(())
    with pytest.raises(ArgumentError, match=r"`parts` must be dictionaries of the same state; got \[1, 2\] variables"):
        Union((Hermite(1, 1), Hermite(2, 1)))
    with pytest.raises(ArgumentError, match="`parts` hold the constant function more than once"):
        Union((Hermite(1, 1), Legendre(1, 1)))
    with pytest.raises(ArgumentError, match="`functions` must hold at least one function"):
        FromFunctions((), 2)
    with pytest.raises(ArgumentError, match="`function_names` must have one entry for each of the 1 functions; got 2"):
        FromFunctions((np.sin,), 1, ("a", "b"))
    with pytest.raises(
        ArgumentError, match=r"the function 'sin' must give shape \(4,\) for points \(4, 1\); got \(4, 1\)"
    ):
        FromFunctions((np.sin,), 1)(np.zeros((4, 1)))
