import numpy as np
import pytest

from dynplat.comparison.dependence import MANY_SERIES, standard_error
from dynplat.comparison.estimates import difference, estimate, influences
from dynplat.comparison.scores import Contributions


def autoregression(rng, num_paths, num_rows, correlation):
    noise = rng.normal(size=(num_paths, num_rows))
    noise[:, 0] /= np.sqrt(1 - correlation**2)
    for row in range(1, num_rows):
        noise[:, row] += correlation * noise[:, row - 1]
    return noise


def errors_of_means(paths, held):
    """Standard errors of the mean over held-out rows, each path as one series by itself."""
    rows = np.flatnonzero(held)
    series = np.zeros(rows.size, dtype=int)
    return np.array([standard_error(path[rows] - path[rows].mean(), series, rows).value for path in paths])


def test_independent_rows_give_the_textbook_standard_error():
    values = np.random.default_rng(0).normal(size=5)
    found = standard_error(values - values.mean(), np.arange(5), np.zeros(5, dtype=int))
    # One row in each of five series.
    assert found.method == "rows as independent"
    assert found.value == pytest.approx(values.std(ddof=1) / np.sqrt(5), rel=1e-12)


@pytest.mark.parametrize(("correlation", "tolerance"), [(0.0, 0.03), (0.5, 0.08), (0.8, 0.12)])
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_standard_error_of_one_series_is_the_spread_of_its_mean(correlation, tolerance, share):
    # The spread is exact; 600 paths know the mean to 1 % (one sd), the rest is the bias of the window.
    rng = np.random.default_rng(1)
    paths = autoregression(rng, 600, 800, correlation)
    held = rng.random(800) < share
    places = np.flatnonzero(held)
    covariance = correlation ** np.abs(places[:, None] - places) / (1 - correlation**2)
    spread = np.sqrt(covariance.sum()) / places.size
    found = np.sqrt(np.mean(errors_of_means(paths, held) ** 2))
    assert found == pytest.approx(spread, rel=tolerance)


def test_independence_would_have_been_wrong_by_a_factor():
    # The same paths by the textbook formula: the reason for all this.
    rng = np.random.default_rng(1)
    paths = autoregression(rng, 600, 800, 0.8)
    naive = paths.std(axis=1).mean() / np.sqrt(800)
    assert paths.mean(axis=1).std() > 2.5 * naive


def test_channels_of_a_row_are_added_before_anything_else():
    # Two channels that are copies know no more than one.
    rng = np.random.default_rng(2)
    values = rng.normal(size=300)
    rows, series = np.arange(300), np.zeros(300, dtype=int)
    one = standard_error(values - values.mean(), series, rows)
    two = standard_error(np.repeat(values - values.mean(), 2), np.repeat(series, 2), np.repeat(rows, 2))
    assert two.value == pytest.approx(one.value, rel=1e-12)


def test_many_series_are_clusters():
    rng = np.random.default_rng(3)
    num, rows = MANY_SERIES + 5, 4
    values = np.repeat(rng.normal(size=num), rows)
    series, row = np.repeat(np.arange(num), rows), np.tile(np.arange(rows), num)
    found = standard_error(values - values.mean(), series, row)
    # Rows of one series are copies: the standard error is that of one value per series.
    assert found.value == pytest.approx(values[::rows].std(ddof=1) / np.sqrt(num), rel=1e-12)
    assert found.method == f"clustered by series (n = {num})"


def test_clusters_of_unequal_size_give_the_spread_of_the_mean():
    # 2000 repetitions: the spread is known to 1.6 % (one sd); 8 % is five of them.
    rng = np.random.default_rng(4)
    sizes = rng.integers(1, 12, size=60)
    series = np.repeat(np.arange(60), sizes)
    row = np.concatenate([np.arange(size) for size in sizes])
    effects = rng.normal(size=(2000, 60))[:, series] + rng.normal(size=(2000, series.size))
    found = [standard_error(values - values.mean(), series, row).value for values in effects]
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(effects.mean(axis=1).std(), rel=0.08)


def test_few_series_are_put_together_from_their_autocovariances():
    rng = np.random.default_rng(5)
    paths = autoregression(rng, 500 * 4, 300, 0.6).reshape(500, 4, 300)
    series, rows = np.repeat(np.arange(4), 300), np.tile(np.arange(300), 4)
    found = [standard_error(path.ravel() - path.mean(), series, rows).value for path in paths]
    # The spread is known to 3 % (one sd) from 500 repetitions.
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(paths.mean(axis=(1, 2)).std(), rel=0.12)


@pytest.mark.parametrize("num_rows", [1, 2, 3])
def test_a_handful_of_rows_is_ordinary_input(num_rows):
    values = np.arange(num_rows, dtype=float)
    found = standard_error(values - values.mean(), np.zeros(num_rows, dtype=int), np.arange(num_rows))
    assert np.isnan(found.value) == (num_rows == 1)
    assert np.isnan(found.value) or found.value >= 0


def test_a_single_row_has_no_standard_error():
    found = standard_error(np.array([0.5, -0.5]), np.zeros(2, dtype=int), np.zeros(2, dtype=int))
    assert np.isnan(found.value)
    assert "single row" in found.method


def test_an_infinite_contribution_leaves_the_standard_error_undefined():
    values = np.array([1.0, np.inf, 2.0])
    found = estimate(Contributions(values), np.ones((1, 3, 1), dtype=bool), "mean")
    assert found.value == np.inf
    assert np.isnan(found.stderr)


def test_equal_contributions_have_no_error():
    found = estimate(Contributions(np.full(30, 0.1)), np.ones((1, 30, 1), dtype=bool), "mean")
    assert found.value == pytest.approx(0.1)
    assert found.stderr == pytest.approx(0.0, abs=1e-12)


def test_order_of_the_series_does_not_matter():
    rng = np.random.default_rng(6)
    values = rng.normal(size=(5, 40))
    hidden = np.ones((5, 40, 1), dtype=bool)
    found = estimate(Contributions(values.ravel()), hidden, "mean")
    again = estimate(Contributions(values[::-1].ravel()), hidden, "mean")
    assert again.stderr == pytest.approx(found.stderr, rel=1e-12)


def test_root_mean_takes_its_standard_error_by_the_delta_method():
    rng = np.random.default_rng(7)
    given, hidden = Contributions(rng.chisquare(1, size=400) * 4), np.ones((1, 400, 1), dtype=bool)
    mean, root = estimate(given, hidden, "mean"), estimate(given, hidden, "root-mean")
    assert root.value == pytest.approx(np.sqrt(mean.value))
    assert root.stderr == pytest.approx(mean.stderr / (2 * root.value), rel=1e-12)


def test_root_mean_standard_error_is_the_spread_of_the_rmse():
    # 2000 repetitions: the spread is known to 1.6 % (one sd).
    rng = np.random.default_rng(8)
    squares = rng.normal(size=(2000, 300)) ** 2
    hidden = np.ones((1, 300, 1), dtype=bool)
    found = [estimate(Contributions(values), hidden, "root-mean").stderr for values in squares]
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(np.sqrt(squares.mean(axis=1)).std(), rel=0.08)


@pytest.mark.parametrize("how", ["mean", "root-mean"])
def test_difference_of_a_score_with_itself_is_zero_and_certain(how):
    given = Contributions(np.random.default_rng(9).chisquare(1, size=50))
    found = difference(given, given, np.ones((1, 50, 1), dtype=bool), how)
    assert (found.value, found.stderr) == (0.0, 0.0)


@pytest.mark.parametrize("how", ["mean", "root-mean"])
def test_paired_difference_is_as_sure_as_its_spread_says(how):
    # Two scores that share what is hard: 2000 repetitions, the spread known to 1.6 % (one sd).
    rng = np.random.default_rng(10)
    hidden = np.ones((1, 200, 1), dtype=bool)
    shared = rng.chisquare(2, size=(2000, 200))
    first, second = shared + 0.1 * rng.random((2000, 200)), shared + 0.1 * rng.random((2000, 200))
    found = [difference(Contributions(a), Contributions(b), hidden, how) for a, b in zip(first, second, strict=True)]
    spread = np.std([pair.value for pair in found])
    assert np.sqrt(np.mean([pair.stderr**2 for pair in found])) == pytest.approx(spread, rel=0.08)
    alone = estimate(Contributions(first[0]), hidden, how).stderr
    assert found[0].stderr < 0.1 * alone


def test_influences_are_derivatives_of_the_figure():
    values = np.random.default_rng(11).chisquare(3, size=20)
    step = 1e-6
    nudged = values.copy()
    nudged[4] += step
    slope = (np.sqrt(nudged.mean()) - np.sqrt(values.mean())) / step
    # d sqrt(mean)/d d_i is 1 / (2 n root); the influence is that times n (d_i - mean).
    expected = slope * 20 * (values[4] - values.mean())
    assert influences(values, "root-mean")[4] == pytest.approx(expected, rel=1e-5)
