"""Blocks that are shared out to threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import scipy.linalg  # noqa: F401  its library is loaded before limits are set
from threadpoolctl import ThreadpoolController, threadpool_limits

from dynplat.errors import DataError
from dynplat_koopman.dictionaries.monomials import Monomials
from dynplat_koopman.moments import gather_moments
from dynplat_koopman.pairs import Pairs
from dynplat_koopman.workers import for_size, share_out


def blas_threads():
    return {library["num_threads"] for library in ThreadpoolController().select(user_api="blas").info()}


@pytest.mark.parametrize(("threads", "shares"), [(1, [[0, 1, 2, 3, 4]]), (2, [[0, 2, 4], [1, 3]])])
def test_each_thread_gets_a_share_and_no_others_while_it_works(threads, shares):
    meet = threading.Barrier(threads, timeout=20)

    def run(blocks):
        meet.wait()  # all shares are worked on at once
        return list(blocks), blas_threads()

    with threadpool_limits(threads, user_api="blas"):
        assert share_out(range(5), run) == [(share, {1}) for share in shares]
        assert blas_threads() == {threads}
        assert share_out(range(1), list) == [[0]]
        with for_size(10):
            assert blas_threads() == {1}
        with for_size(10_000):
            assert blas_threads() == {threads}


@pytest.mark.parametrize("kind", ["even", "weighted", "inputs"])
def test_moments_do_not_depend_on_the_number_of_threads(kind):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(501, 2))
    weights = rng.uniform(size=500) if kind == "weighted" else None
    inputs = rng.normal(size=(500, 1)) if kind == "inputs" else None
    pairs = Pairs(rows[:-1], rows[1:], weights=weights, inputs=inputs)
    found = {}
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            found[threads] = gather_moments(pairs, Monomials(2, 3), block_rows=30)
            again = gather_moments(pairs, Monomials(2, 3), block_rows=30)
        np.testing.assert_array_equal(found[threads].cross, again.cross)
        for name in ("gram", "cross", "target", "state", "input_gram", "input_cross"):
            value, other = getattr(found[1], name), getattr(found[threads], name)
            if value is not None:
                np.testing.assert_allclose(other, value, rtol=1e-12, atol=1e-13)


def test_a_thread_says_what_is_wrong():
    states = np.linspace(1, 2, 100)[:, None]
    states[70] = 1e200
    with (
        threadpool_limits(2, user_api="blas"),
        pytest.raises(DataError, match=r"'x0\^2' is not finite at the state \[1\.e\+200\]"),
    ):
        gather_moments(Pairs(states, states), Monomials(1, 2), block_rows=10)
