"""Dictionaries from texts, and to arrays and back."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat.errors import ArgumentError, CapabilityError
from dynplat_koopman.dictionaries import (
    Fourier,
    FromFunctions,
    Hermite,
    Monomials,
    Product,
    RadialBasis,
    Scaled,
    Union,
    dictionary_from,
    from_arrays,
    to_arrays,
)

DATA = np.array([3.0, -1.0]) + np.array([2.0, 0.1]) * np.random.default_rng(0).normal(size=(300, 2))
TEXTS = (
    "monomials",
    "monomials:degree=3:min_degree=1:scaling=none",
    "hermite:degree=2:truncation=tensor",
    "legendre:degree=4",
    "fourier:order=2:period=1.5:complex=yes",
    "rbf:centres=20:kernel=inverse-quadratic:spread=2",
    "monomials:degree=1 + rbf:centres=10:width=0.5:method=farthest + fourier:order=1:truncation=total",
)


@pytest.mark.parametrize("text", TEXTS[:-1])
def test_arrays_keep_a_dictionary(text):
    dictionary = dictionary_from(text, DATA, seed=1)
    arrays = to_arrays(dictionary)
    for value in arrays.values():
        assert isinstance(value, str | int | float | np.ndarray)
    again = from_arrays(arrays)
    assert again.names == dictionary.names
    np.testing.assert_array_equal(again(DATA), dictionary(DATA))


def test_texts_name_dictionaries():
    cubic = dictionary_from(TEXTS[1], DATA, seed=0)
    assert isinstance(cubic, Monomials)
    assert (cubic.degree, cubic.min_degree) == (3, 1)
    standard = dictionary_from("hermite:degree=2", DATA, seed=0)
    assert isinstance(standard, Scaled)
    assert isinstance(standard.inner, Hermite)
    np.testing.assert_allclose(standard.location, DATA.mean(axis=0))
    np.testing.assert_allclose(standard.scale, DATA.std(axis=0))
    box = dictionary_from("legendre:degree=1:min_degree=1", DATA, seed=0)(DATA) / np.sqrt(3)
    np.testing.assert_allclose(box.min(axis=0), -1)
    np.testing.assert_allclose(box.max(axis=0), 1)
    waves = dictionary_from(TEXTS[4], DATA, seed=0)
    assert isinstance(waves, Fourier)
    assert waves.is_complex
    np.testing.assert_array_equal(waves.periods, [1.5, 1.5])
    radial = dictionary_from(TEXTS[5], DATA, seed=0)
    assert isinstance(radial, Scaled)
    assert isinstance(radial.inner, RadialBasis)
    assert radial.inner.kernel == "inverse-quadratic"
    assert radial.num_functions == 20
    other = dictionary_from(TEXTS[5], DATA, seed=1)
    assert not np.array_equal(other(DATA), radial(DATA))
    np.testing.assert_array_equal(dictionary_from(TEXTS[5], DATA, seed=0)(DATA), radial(DATA))


def test_sums_and_nested_dictionaries():
    with pytest.raises(ArgumentError, match="`parts` hold the constant function more than once"):
        dictionary_from(TEXTS[-1], DATA, seed=0)
    union = dictionary_from("monomials:degree=1 + rbf:centres=12", DATA, seed=0)
    assert isinstance(union, Union)
    assert union.num_functions == 15
    assert union.readout is not None
    np.testing.assert_allclose(union(DATA) @ union.readout.T, DATA)
    many = Union(tuple(RadialBasis(DATA[n : n + 1], 1.0) for n in range(12)))
    for dictionary in (union, many, Scaled(Product(Fourier(1, 1), Hermite(1, 2)), np.zeros(2), np.ones(2))):
        np.testing.assert_array_equal(from_arrays(to_arrays(dictionary))(DATA), dictionary(DATA))


def test_refusals():
    for text, match in (
        ("wavelets", r"`dictionary` must name one of monomials, hermite, .*; got 'wavelets' in 'wavelets'"),
        ("monomials:order=2", r"`dictionary` 'monomials' has the options degree=2, min_degree=0, .*; got 'order=2'"),
        ("monomials:degree", "got 'degree' in 'monomials:degree'"),
        ("rbf:centres=many", "`dictionary` needs a whole number; got 'centres=many'"),
        ("rbf:width=wide", "`dictionary` needs a number; got 'width=wide'"),
        ("fourier:complex=1", "`dictionary` needs yes or no; got 'complex=1'"),
        ("monomials:scaling=log", "`scaling` must be 'standard', 'box' or 'none'; got 'log'"),
        ("rbf:kernel=cubic", "`kernel` must be one of gaussian"),
    ):
        with pytest.raises(ArgumentError, match=match):
            dictionary_from(text, DATA, seed=0)
    with pytest.raises(ArgumentError, match="variable 1 does not vary in the data and cannot be scaled"):
        dictionary_from("monomials", np.c_[DATA[:, 0], np.full(300, 0.3)], seed=0)
    with pytest.raises(ArgumentError, match=r"`data` must be finite states \(M, d\); got shape \(300,\)"):
        dictionary_from("monomials", DATA[:, 0], seed=0)
    with pytest.raises(CapabilityError, match="a dictionary of FromFunctions cannot be kept as arrays"):
        to_arrays(FromFunctions((np.sin,), 1))
    with pytest.raises(ArgumentError, match=r"`arrays` must have a `kind`, one of monomials, .*; got None"):
        from_arrays({})
    with pytest.raises(ArgumentError, match="`arrays` of a dictionary of kind 'monomials' must have 'degree'"):
        from_arrays({"kind": "monomials", "num_variables": 2})
