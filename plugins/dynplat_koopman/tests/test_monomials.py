"""Monomials and standardised dictionaries."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynplat.errors import ArgumentError
from dynplat_koopman.dictionaries.combined import Scaled
from dynplat_koopman.dictionaries.monomials import Monomials
from dynplat_koopman.tests.conftest import check_dictionary


@pytest.mark.parametrize(("d", "degree", "least"), [(1, 6, 0), (2, 5, 0), (3, 4, 1), (4, 2, 2), (2, 1, 1), (3, 0, 0)])
def test_values_are_products_of_powers(d, degree, least):
    dictionary = Monomials(d, degree, least)
    x = np.random.default_rng(0).normal(size=(3, 4, d))
    expected = np.prod(x[..., None, :] ** dictionary.exponents, axis=-1)
    np.testing.assert_allclose(dictionary(x), expected, rtol=1e-13)
    totals = dictionary.exponents.sum(axis=1)
    assert totals.min() == least
    assert totals.max() == degree
    assert (np.diff(totals) >= 0).all()
    if degree:
        check_dictionary(dictionary, x)


def test_names_readout_and_constant():
    dictionary = Monomials(2, 2)
    assert dictionary.names == ("1", "x0", "x1", "x0^2", "x0 x1", "x1^2")
    np.testing.assert_array_equal(dictionary.readout, [[0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]])
    np.testing.assert_array_equal(dictionary.constant, [1, 0, 0, 0, 0, 0])
    without = Monomials(2, 3, min_degree=2)
    assert without.readout is None
    assert without.constant is None
    assert Monomials(2, 2, min_degree=1).names == dictionary.names[1:]


def test_standardised():
    rng = np.random.default_rng(1)
    x = 5.0 + 3.0 * rng.normal(size=(6, 2))
    scaled = Scaled(Monomials(2, 3), np.array([5.0, 4.0]), np.array([3.0, 0.5]))
    np.testing.assert_allclose(scaled(x), Monomials(2, 3)((x - [5.0, 4.0]) / [3.0, 0.5]))
    check_dictionary(scaled, x)
    # Without the constant the location cannot be read out; without a location it need not be.
    assert Scaled(Monomials(2, 3, 1), np.array([5.0, 4.0]), np.array([3.0, 0.5])).readout is None
    check_dictionary(Scaled(Monomials(2, 3, 1), np.array([0.0, 0.0]), np.array([3.0, 0.5])), x)


def test_second_derivatives_in_torch_autograd():
    dictionary = Scaled(Monomials(2, 3), np.array([1.0, 0.0]), np.array([2.0, 0.5]))
    x = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(dictionary, (x,))
    assert torch.autograd.gradgradcheck(dictionary, (x,))


def test_refusals():
    with pytest.raises(ArgumentError, match="`num_variables` must be at least 1; got 0"):
        Monomials(0, 2)
    with pytest.raises(ArgumentError, match=r"`degree` must be at least `min_degree`.*degree=1 and min_degree=2"):
        Monomials(2, 1, 2)
    with pytest.raises(ArgumentError, match=r"`x` must be points of 2 variables, \(\.\.\., 2\); got shape \(5, 3\)"):
        Monomials(2, 1)(np.zeros((5, 3)))
    with pytest.raises(ArgumentError, match=r"`x` must be real floating numbers; got complex128.*two real variables"):
        Monomials(2, 1)(np.zeros((5, 2), dtype=complex))
    with pytest.raises(ArgumentError, match="`x` must be real floating numbers; got int64"):
        Monomials(2, 1)(np.zeros((5, 2), dtype=np.int64))
    with pytest.raises(ArgumentError, match=r"`scale` must be positive.*do not vary"):
        Scaled(Monomials(2, 1), np.array([0.0, 0.0]), np.array([1.0, 0.0]))
    with pytest.raises(ArgumentError, match="`location` must be 2 finite numbers"):
        Scaled(Monomials(2, 1), np.array([0.0]), np.array([1.0, 1.0]))
