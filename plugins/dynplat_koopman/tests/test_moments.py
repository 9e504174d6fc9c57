"""Moments gathered in blocks against dense products."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat.errors import ArgumentError, DataError
from dynplat_koopman.dictionaries.base import AbstractDictionary
from dynplat_koopman.dictionaries.monomials import Monomials
from dynplat_koopman.moments import Moments, gather_moments, moments_from
from dynplat_koopman.pairs import Pairs

NAMES = ("gram", "cross", "target", "state", "state_gram", "input_gram", "input_cross", "input_target")


class Waves(AbstractDictionary):
    """Complex functions, and a count of the points that were evaluated."""

    num_variables, num_functions, names, is_complex = 2, 3, ("a", "b", "c"), True

    def __init__(self):
        self.points = 0

    def _evaluate(self, x):
        self.points += len(x)
        return np.exp(1j * x @ np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 2.0]]))


def runs(rng, lengths, lag=1):
    series = [rng.normal(size=(n, 2)) for n in lengths]
    first = np.concatenate([s[:-lag] for s in series])
    return first, np.concatenate([s[lag:] for s in series])


def dense(dictionary, pairs):
    w = pairs.weights / pairs.weights.sum()
    X, Y, W = dictionary(pairs.first), dictionary(pairs.second), np.diag(w)
    out = {"gram": X.conj().T @ W @ X, "cross": X.conj().T @ W @ Y, "target": Y.conj().T @ W @ Y}
    out |= {"state": X.conj().T @ W @ pairs.first, "state_gram": pairs.first.T @ W @ pairs.first}
    if pairs.inputs is not None:
        u = pairs.inputs
        out |= {"input_gram": u.T @ W @ u, "input_cross": X.conj().T @ W @ u, "input_target": u.T @ W @ Y}
    return out


@pytest.mark.parametrize("block_rows", [None, 1, 2, 7, 10_000])
@pytest.mark.parametrize("lengths", [(60,), (2,) * 20, (3, 30, 2, 9)])
@pytest.mark.parametrize("kind", ["even", "weighted", "inputs", "lag"])
def test_blocks_are_dense_products(block_rows, lengths, kind):
    rng = np.random.default_rng(0)
    lag = 2 if kind == "lag" else 1
    lengths = tuple(n + lag for n in lengths)
    first, second = runs(rng, lengths, lag)
    weights = rng.uniform(0, 2, len(first)) if kind == "weighted" else np.full(len(first), 3.0)
    inputs = rng.normal(size=(len(first), 2)) if kind == "inputs" else None
    pairs = Pairs(first, second, weights=weights, inputs=inputs, step=0.5, lag=lag)
    for dictionary in (Monomials(2, 3), Waves()):
        found = gather_moments(pairs, dictionary, block_rows=block_rows)
        for name, expected in dense(dictionary, pairs).items():
            np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-12, atol=1e-13, err_msg=name)
        assert found.weight == pytest.approx(weights.sum())
        assert found.count == len(pairs)
        assert found.step == 0.5
        np.testing.assert_array_equal(found.gram, found.gram.conj().T)
        np.testing.assert_array_equal(found.target, found.target.conj().T)


def test_a_state_of_a_trajectory_is_evaluated_once():
    first, second = runs(np.random.default_rng(1), (101,))
    waves = Waves()
    gather_moments(Pairs(first, second), waves, block_rows=100)
    assert waves.points == 101
    waves.points = 0
    gather_moments(Pairs(first, second), waves, block_rows=10)
    assert waves.points == 110
    waves.points = 0
    gather_moments(Pairs(first, second[::-1].copy()), waves, block_rows=100)
    assert waves.points == 200


@pytest.mark.parametrize("weighted", [False, True])
def test_pieces_are_the_whole(weighted):
    rng = np.random.default_rng(2)
    first, second = runs(rng, (50, 31))
    weights = rng.uniform(0.1, 2.0, len(first)) if weighted else None
    whole = gather_moments(Pairs(first, second, weights=weights), Monomials(2, 2))
    cuts = [slice(0, 13), slice(13, 60), slice(60, None)]
    pieces = [Pairs(first[c], second[c], weights=None if weights is None else weights[c]) for c in cuts]
    streamed = gather_moments(iter(pieces), Monomials(2, 2))
    a, b, c = (gather_moments(piece, Monomials(2, 2)) for piece in pieces)
    for other in (streamed, a + b + c, c + (b + a)):
        assert other.count == whole.count
        assert other.weight == pytest.approx(whole.weight, rel=1e-14)
        for name in NAMES[:5]:
            np.testing.assert_allclose(getattr(other, name), getattr(whole, name), rtol=1e-13, err_msg=name)


def test_from_given_values():
    rng = np.random.default_rng(3)
    x, y = (rng.normal(size=(20, 3)) + 1j * rng.normal(size=(20, 3)) for _ in range(2))
    w = rng.uniform(0, 1, 20)
    found = moments_from(x, y, w)
    np.testing.assert_allclose(found.cross, x.conj().T @ np.diag(w / w.sum()) @ y, rtol=1e-13)
    np.testing.assert_allclose(found.target, y.conj().T @ np.diag(w / w.sum()) @ y, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(moments_from(x, y).gram, x.conj().T @ x / 20, rtol=1e-13, atol=1e-15)
    assert found.weight == pytest.approx(w.sum())


def test_refusals():
    rng = np.random.default_rng(4)
    first, second = runs(rng, (20,))
    pairs = Pairs(first, second, step=1.0)
    one = gather_moments(pairs, Monomials(2, 1))
    with pytest.raises(DataError, match=r"pairs of unequal steps meet, 1 and 2: .*Fit an operator to each"):
        one + gather_moments(Pairs(first, second, step=2.0), Monomials(2, 1))
    with pytest.raises(ArgumentError, match=r"moments of different dictionaries.*`gram` has shape \(3, 3\).*\(6, 6\)"):
        one + gather_moments(pairs, Monomials(2, 2))
    with pytest.raises(ArgumentError, match="`input_gram` has shape"):
        one + gather_moments(Pairs(first, second, inputs=first), Monomials(2, 1))
    with pytest.raises(ArgumentError, match="`dictionary` is of 3 variables, and `pairs` have 2"):
        gather_moments(pairs, Monomials(3, 1))
    with pytest.raises(DataError, match="`pairs` is empty"):
        gather_moments(iter([]), Monomials(2, 1))
    with pytest.raises(ArgumentError, match="`block_rows` must be at least 1; got 0"):
        gather_moments(pairs, Monomials(2, 1), block_rows=0)
    with np.errstate(over="ignore"), pytest.raises(DataError, match=r"'x0\^2' is not finite at the state \[1\.e\+200"):
        gather_moments(Pairs(np.full((3, 2), 1e200), np.zeros((3, 2))), Monomials(2, 2))
    with pytest.raises(ArgumentError, match=r"`cross` must be square, of the shape of `gram`, \(2, 2\); got \(3, 3\)"):
        Moments(np.eye(2), np.eye(3), np.eye(2), 1.0, 5)
    with pytest.raises(ArgumentError, match="`weight` must be positive and `count` at least 1"):
        Moments(np.eye(2), np.eye(2), np.eye(2), 0.0, 5)
    with pytest.raises(ArgumentError, match="`features` and `targets` must both be"):
        moments_from(np.zeros((3, 2)), np.zeros((4, 2)))
    with pytest.raises(ArgumentError, match="`weights` must be 3 numbers"):
        moments_from(np.zeros((3, 2)), np.zeros((3, 2)), -np.ones(3))
