"""Lifting every m-th complete row: densities of segments against dense Gaussians, and against the chain of all rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from dynplat.arrays import Observations, array_namespace, framework, random_source, to_numpy
from dynplat.errors import ArgumentError
from dynplat.process import LinearSDE
from dynplat_koopman import segments
from dynplat_koopman.modes import Modes
from dynplat_koopman.process import Lifted

EVERY = 3
RATE, FREQUENCY, NOISE = np.array([0.2, 0.9]), np.array([0.15]), np.array([0.3, 0.5])
SLIP = np.array([[0.3, 0.1, 0.0], [0.1, 0.2, -0.1], [0.0, -0.1, 0.4]])
PARAMETERS = {
    "C": np.array([[1.0, 0.2, -0.4], [0.3, -1.1, 0.6]]),
    "R": np.diag([0.04, 0.09]),
    "m0": np.array([0.1, -0.2, 0.3]),
    "P0": np.diag([1.0, 2.0, 0.5]),
    "d": np.array([0.5, -0.3]),
}


def lift(y):
    """Three functions of two variables."""
    xp = array_namespace(y)
    return xp.stack([y[..., 0], y[..., 1] + 0.3 * y[..., 0] ** 2, xp.tanh(y[..., 0] - y[..., 1])], axis=-1)


def noise_scale(psi):
    """A scale of the noise that depends on the row."""
    return 1.0 + psi[..., 0] ** 2


def lifted(to_array=np.asarray, *, scaled=False, lead=(), every=EVERY, slips=False):
    """The process, with leading axes."""
    own = {name: to_array(np.broadcast_to(value, (*lead, *value.shape))) for name, value in PARAMETERS.items()}
    modes = Modes(*(to_array(np.broadcast_to(part, (*lead, *part.shape))) for part in (RATE, FREQUENCY, NOISE)))
    linear = LinearSDE(modes, own["C"], own["R"], own["m0"], own["P0"], own["d"])
    slip = to_array(np.broadcast_to(SLIP, (*lead, 3, 3))) if slips else None
    return Lifted(linear, lift, noise_scale=noise_scale if scaled else None, lift_every=every, lift_noise=slip)


def observations(*, holes=0.0, regular=False, seed=0, size=17):
    """Two series, the second one shorter; with `holes` the first row is not complete either."""
    rng = np.random.default_rng(seed)
    gaps = np.full((2, size), 0.5) if regular else rng.uniform(0.1, 1.5, (2, size))
    mask = rng.uniform(size=(2, size, 2)) >= holes
    mask[1, size - 4 :] = False
    times = np.cumsum(gaps, axis=-1)
    times[1, size - 4 :] = times[1, size - 5]
    if holes:
        mask[0, 0, 1] = False
        mask[0, 5:7] = False
    return Observations(times, rng.normal(size=(2, size, 2)), mask)


def dense_steps(data, series, *, scaled=False, slips=False):
    """Log densities of the segments of one series, by the joint Gaussian of their observed cells: {last row: sum}."""
    p, times = PARAMETERS, data.times[series]
    complete = np.flatnonzero(data.mask[series].all(axis=-1))
    rows = np.flatnonzero(data.mask[series].any(axis=-1))
    starts = list(complete[::EVERY])
    bounds = [(-1, starts[0] if starts else rows[-1]), *zip(starts, [*starts[1:], rows[-1]], strict=True)]
    found = {}
    for start, stop in bounds:
        inside = [int(row) for row in rows if start < row <= stop]
        if not inside:
            continue
        scale = noise_scale(lift(data.values[series, start])) if scaled and start >= 0 else 1.0
        grid = [start, *range(start + 1, stop + 1)] if start >= 0 else list(range(stop + 1))
        mean = [lift(data.values[series, start]) if start >= 0 else p["m0"]]
        cov = [[(SLIP if slips else np.zeros((3, 3))) if start >= 0 else p["P0"]]]
        for j in range(1, len(grid)):
            F, Q, _ = Modes(RATE, FREQUENCY, NOISE).step(np.array([times[grid[j]] - times[grid[j - 1]]]))
            mean.append(F[0] @ mean[-1])
            cov.append([F[0] @ block for block in cov[-1]])
            cov[-1].append(F[0] @ cov[j - 1][j - 1] @ F[0].T + scale * Q[0])
        cells = [(grid.index(row), c) for row in inside for c in range(2) if data.mask[series, row, c]]
        C, R = p["C"], p["R"]
        mu = np.array([C[c] @ mean[j] + p["d"][c] for j, c in cells])
        S = np.empty((len(cells), len(cells)))
        for a, (i, c) in enumerate(cells):
            for b, (j, e) in enumerate(cells):
                block = cov[i][j] if i >= j else cov[j][i].T
                S[a, b] = C[c] @ block @ C[e] + (R[c, e] if i == j else 0.0)
        y = np.array([data.values[series, grid[j], c] for j, c in cells])
        law: Any = multivariate_normal
        found[stop] = law.logpdf(y, mu, S)
    return found


@pytest.mark.parametrize(("scaled", "slips"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("holes", [0.0, 0.3])
@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_densities_are_those_of_the_joint_gaussian_of_each_segment(name, holes, scaled, slips):
    data = observations(holes=holes)
    with framework(name) as to_array:
        given = data._replace(values=to_array(data.values), mask=to_array(data.mask))
        steps = to_numpy(lifted(to_array, scaled=scaled, slips=slips).log_prob_steps(given))
        many = to_numpy(lifted(to_array, scaled=scaled, slips=slips, lead=(2, 1)).log_prob_steps(given))
    assert steps.shape == (2, 17)
    np.testing.assert_allclose(many, np.broadcast_to(steps, (2, 2, 17)), rtol=1e-10)
    for series in range(2):
        first = 0
        for stop, expected in dense_steps(data, series, scaled=scaled, slips=slips).items():
            np.testing.assert_allclose(steps[series, first : stop + 1].sum(), expected, rtol=1e-9)
            first = stop + 1
        assert not steps[series, first:].any()


@pytest.mark.parametrize(("scaled", "slips"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("holes", [0.0, 0.3])
@pytest.mark.parametrize("regular", [False, True])
def test_side_by_side_is_the_chain_of_all_rows(regular, holes, scaled, slips, monkeypatch):
    data = observations(holes=holes, regular=regular, seed=3)
    process = lifted(scaled=scaled, slips=slips)
    found = process.log_prob_steps(data)
    monkeypatch.setattr(segments, "cut", lambda lifts: None)
    np.testing.assert_allclose(found, process.log_prob_steps(data), rtol=1e-10, atol=1e-12)
    assert (found[~data.mask.any(axis=-1)] == 0).all()


def test_segments_are_where_lifted_rows_say():
    lifts = np.zeros((2, 8), bool)
    lifts[0, [1, 3, 6]] = lifts[1, [0, 4]] = True
    cut = segments.cut(lifts)
    assert cut is not None
    assert cut.lifted.tolist() == [[1, 3, 6], [0, 4, 7]]
    assert cut.rows[0, 0, :2].tolist() == [2, 3]
    assert cut.inside.sum(axis=-1).tolist() == [[2, 3, 1], [4, 3, 0]]
    assert cut.head.tolist() == [2, 1]
    for series in range(2):
        for row in range(int(cut.head[series]), 8):
            segment, place = divmod(int(cut.index[series, row]), cut.rows.shape[-1])
            assert cut.rows[series, segment, place] == row
            assert cut.inside[series, segment, place]
    assert segments.cut(np.zeros((1, 5), bool)) is None
    long = np.zeros((1, 100), bool)
    long[0, [*range(20), 60]] = True  # one long segment among short ones would be mostly filling
    assert segments.cut(long) is None


@pytest.mark.parametrize("every", [1, EVERY])
@pytest.mark.parametrize("slips", [False, True])
@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_rows_given_those_before_have_the_density_that_conditioning_says(holes, slips, every):
    data = observations(holes=holes, seed=5)
    process = lifted(scaled=True, slips=slips, every=every)
    steps = process.log_prob_steps(data)
    for row in range(1, 17):
        before = Observations(*(None if leaf is None else leaf[:, :row] for leaf in data))
        law = process.condition(before).at(data.times[:, row : row + 1])
        mean, cov = law.mean()[:, 0], law.covariance()[:, 0]
        for series in range(2):
            seen = data.mask[series, row]
            if not seen.any():
                continue
            expected = multivariate_normal(mean[series][seen], cov[series][np.ix_(seen, seen)]).logpdf(
                data.values[series, row][seen]
            )
            np.testing.assert_allclose(steps[series, row], expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("slips", [False, True])
def test_simulation_lifts_every_third_row(slips):
    """The mean log density of draws is minus the entropy: sums over segments of those of their Gaussians."""
    times = np.cumsum(np.full((1, 8), 0.5), axis=-1)
    process = lifted(lead=(4000, 1), slips=slips)
    draw = process.sample(times, random=random_source(0, np.zeros(1)))
    mask = np.ones(draw.values.shape, bool)
    steps = process.log_prob_steps(Observations(times, draw.values, mask))[:, 0]
    plain = lifted(every=1, lead=(4000, 1)).log_prob_steps(Observations(times, draw.values, mask))[:, 0]
    # Row 0 starts, rows 1-3 follow row 0, rows 4-6 row 3, row 7 row 6: covariances do not depend on the values.
    one = Observations(times, draw.values[0], mask[0])
    entropy = 0.0
    for row in range(8):
        before = Observations(*(None if leaf is None else leaf[:, :row] for leaf in one))
        law = lifted(slips=slips).condition(before).at(times[:, row : row + 1])
        entropy += 0.5 * np.linalg.slogdet(2 * np.pi * np.e * law.covariance()[0, 0])[1]
    total = steps.sum(axis=-1)
    assert abs(total.mean() + entropy) < 5 * total.std() / np.sqrt(4000)
    assert plain.sum(axis=-1).mean() < total.mean() - 10 * total.std() / np.sqrt(4000)


def test_a_state_that_is_not_known_hears_of_the_rows_after_it():
    """States at a lifted row and at the rows behind it, against the joint Gaussian."""
    data = observations(size=6, seed=2)
    data = Observations(*(None if leaf is None else leaf[:1, :3] for leaf in data))
    process, p = lifted(slips=True), PARAMETERS
    law = process.condition(data).at(data.times)
    step = Modes(RATE, FREQUENCY, NOISE).step(np.diff(data.times[0]))
    mean, cov = [lift(data.values[0, 0])], np.zeros((9, 9))
    cov[:3, :3] = SLIP
    for j in (1, 2):
        F, rows = step.F[j - 1], slice(3 * j, 3 * j + 3)
        mean.append(F @ mean[-1])
        cov[rows, : 3 * j] = F @ cov[3 * j - 3 : 3 * j, : 3 * j]
        cov[: 3 * j, rows] = cov[rows, : 3 * j].T
        cov[rows, rows] = F @ cov[3 * j - 3 : 3 * j, 3 * j - 3 : 3 * j] @ F.T + step.Q[j - 1]
    H = np.kron(np.eye(3)[1:], p["C"])
    S = H @ cov @ H.T + np.kron(np.eye(2), p["R"])
    gain = cov @ H.T @ np.linalg.inv(S)
    left = (data.values[0, 1:] - p["d"]).reshape(-1) - H @ np.concatenate(mean)
    expected, spread = np.concatenate(mean) + gain @ left, cov - gain @ H @ cov
    np.testing.assert_allclose(law.mean(of="state")[0].reshape(-1), expected, rtol=1e-8)
    found = law.covariance(of="state")[0]
    for j in range(3):
        np.testing.assert_allclose(found[j], spread[3 * j : 3 * j + 3, 3 * j : 3 * j + 3], rtol=1e-7, atol=1e-9)


def test_every_zeroth_row_is_refused():
    with pytest.raises(ArgumentError, match="`lift_every` of Lifted must be at least 1; got 0"):
        lifted(every=0)
