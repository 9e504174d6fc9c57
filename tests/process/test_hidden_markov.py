"""Hidden Markov chains against sums over all paths, by every driver and in every framework."""

import numpy as np
import pytest

from dynplat.arrays import Observations, framework, random_source, to_numpy
from dynplat.errors import ArgumentError, CapabilityError, NoDensityError
from dynplat.process import CategoricalEmission, GaussianEmission, HiddenMarkov
from dynplat.process.emissions import AbstractEmission
from dynplat.testing.hidden_markov import dense_hidden_markov, random_hidden_markov

FRAMEWORKS = ("numpy", "torch", "jax")
DRIVERS = ("compiled", "sequential", "balanced")
#: (K, T)
SIZES = [(1, 1), (1, 4), (2, 1), (2, 2), (3, 5), (2, 8), (4, 5)]


def gaussian(make, rng, K, channels=2, lead=()):
    return GaussianEmission(
        make(rng.standard_normal((*lead, K, channels))), make(0.5 + rng.random((*lead, K, channels)))
    )


def observed(make, rng, T, channels=2, lead=(), missing=0.3):
    values, mask = rng.standard_normal((*lead, T, channels)), rng.random((*lead, T, channels)) > missing
    if T > 2:
        mask[..., 1, :] = False
    return Observations(make(np.arange(T, dtype=float)), make(values), make(mask))


def case(make, K, T, *, moving=False, driver="auto", seed=0, zeros=0.3):
    rng = np.random.default_rng([seed, K, T])
    chain = random_hidden_markov(rng, num_states=K, num_steps=T, moving=moving, zeros=zeros)
    process = HiddenMarkov(make(chain.log_initial), make(chain.log_transition), gaussian(make, rng, K), driver=driver)
    observations = observed(make, rng, T)
    density = to_numpy(process.emission.log_density(observations))
    return process, observations, dense_hidden_markov(chain.log_initial, chain.log_transition, density)


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_answer_equals_the_sum_over_all_paths(name, driver, moving):
    # JAX compiles once per size.
    for K, T in SIZES if name != "jax" else [(2, 1), (2, 2), (3, 5)]:
        with framework(name) as make:
            process, observations, dense = case(make, K, T, moving=moving, driver=driver)
            steps = to_numpy(process.log_prob_steps(observations))
            np.testing.assert_allclose(steps, dense.log_prob_steps, rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(float(process.log_prob(observations)), dense.log_prob, rtol=1e-12, atol=1e-13)
            filtered = process.filter(observations)
            np.testing.assert_allclose(to_numpy(filtered.filtered), dense.filtered, rtol=1e-10, atol=1e-13)
            np.testing.assert_allclose(to_numpy(filtered.log_prob_steps), steps, rtol=1e-12, atol=1e-14)
            smoothed = process.smooth(observations, pairs=True)
            np.testing.assert_allclose(to_numpy(smoothed.states), dense.states, rtol=1e-10, atol=1e-13)
            np.testing.assert_allclose(to_numpy(smoothed.pairs), dense.pairs, rtol=1e-10, atol=1e-13)
            best = process.most_likely_path(observations)
            np.testing.assert_allclose(float(best.log_prob), dense.best_log_prob, rtol=1e-12)
            np.testing.assert_array_equal(to_numpy(best.states), dense.best_path)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_predictions_are_the_filter_before_the_row(name):
    with framework(name) as make:
        process, observations, dense = case(make, 3, 5)
        A = np.exp(to_numpy(process.log_transition)[0])
        predicted = to_numpy(process.filter(observations).predicted)
        np.testing.assert_allclose(predicted[1:], dense.filtered[:-1] @ A, rtol=1e-10)
        np.testing.assert_allclose(predicted[0], np.exp(to_numpy(process.log_initial)), rtol=1e-12)


def test_statsmodels_gives_the_same_likelihood_and_smoother():
    from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(0, 1, 60), rng.normal(2, 0.5, 50), rng.normal(0, 1, 40)])
    peer = MarkovRegression(y, k_regimes=2, switching_variance=True)
    peer.initialize_known(np.array([0.3, 0.7]))
    # p[0 -> 0], p[1 -> 0], means, variances
    wanted = peer.smooth(np.array([0.95, 0.1, 0.1, 1.8, 1.1, 0.4]))
    # Its known law stands two transitions before the first row.
    A = np.array([[0.95, 0.05], [0.1, 0.9]])
    emission = GaussianEmission(np.array([[0.1], [1.8]]), np.sqrt([[1.1], [0.4]]))
    process = HiddenMarkov.time_invariant(np.log([0.3, 0.7] @ A @ A), np.log(A), emission)
    observations = Observations(np.arange(150.0), y[:, None], np.ones((150, 1), dtype=bool))
    np.testing.assert_allclose(process.log_prob(observations), wanted.llf, rtol=1e-12)
    np.testing.assert_allclose(process.log_prob_steps(observations), wanted.llf_obs, rtol=1e-9)
    smoothed = process.smooth(observations).states
    np.testing.assert_allclose(smoothed, wanted.smoothed_marginal_probabilities, rtol=1e-9)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_missing_cells_marginalise_and_rows_without_any_give_exactly_zero(name):
    with framework(name) as make:
        process, observations, _ = case(make, 3, 5)
        steps = to_numpy(process.log_prob_steps(observations))
        assert steps[1] == 0.0
        mask = to_numpy(observations.mask)
        spoiled = observations._replace(values=make(np.where(mask, to_numpy(observations.values), np.nan)))
        np.testing.assert_array_equal(to_numpy(process.log_prob_steps(spoiled)), steps)
        # A channel that nobody observes may as well not exist.
        seen = np.array([True, False])
        half = observations._replace(mask=make(np.broadcast_to(seen, mask.shape)))
        one = GaussianEmission(process.emission.means[:, :1], process.emission.scales[:, :1])
        narrow = HiddenMarkov(process.log_initial, process.log_transition, one)
        alone = Observations(half.times, half.values[:, :1], half.mask[:, :1])
        np.testing.assert_allclose(
            to_numpy(process.log_prob_steps(half)), to_numpy(narrow.log_prob_steps(alone)), rtol=1e-13
        )


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_ragged_batches_equal_their_series(name, driver):
    lengths, K, T = (7, 4, 1), 3, 7
    rng = np.random.default_rng(0)
    chain = random_hidden_markov(rng, num_states=K, num_steps=T, zeros=0.2)
    values = rng.standard_normal((3, T, 2))
    mask = np.arange(T)[:, None] < np.array(lengths)[:, None, None] + np.zeros((1, 1, 2))
    times = np.minimum(np.arange(T), np.array(lengths)[:, None] - 1.0)
    with framework(name) as make:
        emission = gaussian(make, rng, K)
        process = HiddenMarkov(make(chain.log_initial), make(chain.log_transition), emission, driver=driver)
        batch = Observations(make(times), make(values), make(mask))
        steps, smoothed = to_numpy(process.log_prob_steps(batch)), to_numpy(process.smooth(batch).states)
        assert (steps.shape, smoothed.shape) == ((3, T), (3, T, K))
        for series, size in enumerate(lengths):
            single = Observations(*(part[series][:size] for part in batch[:3]))
            np.testing.assert_allclose(
                steps[series, :size], to_numpy(process.log_prob_steps(single)), rtol=1e-11, atol=1e-13
            )
            assert (steps[series, size:] == 0).all()
            np.testing.assert_allclose(
                smoothed[series, :size], to_numpy(process.smooth(single).states), rtol=1e-10, atol=1e-13
            )


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_whole_likelihood_is_the_sum_of_its_terms_and_has_their_gradient(name):
    rng = np.random.default_rng(4)
    for K, T, lead in ((3, 150, (2,)), (3, 140, ()), (5, 30, (2, 4))):
        chain = random_hidden_markov(rng, num_states=K, num_steps=T)
        values, mask = rng.standard_normal((*lead, T, 2)), rng.random((*lead, T, 2)) > 0.3
        mask[..., 0] |= ~mask.any(axis=-1)  # something is observed in every row
        with framework(name) as make:
            observations = Observations(make(np.arange(T, dtype=float)), make(values), make(mask))
            emission = gaussian(make, rng, K)

            def whole(log_transition, driver, terms=False):
                process = HiddenMarkov(make(chain.log_initial), log_transition, emission, driver=driver)  # noqa: B023
                return (
                    process.log_prob_steps(observations).sum(-1)  # noqa: B023
                    if terms
                    else process.log_prob(observations)  # noqa: B023
                )

            A = make(chain.log_transition)
            found, wanted = to_numpy(whole(A, "auto")), to_numpy(whole(A, "sequential"))
            assert found.shape == wanted.shape == lead
            np.testing.assert_allclose(found, wanted, rtol=1e-12)
            np.testing.assert_allclose(found, to_numpy(whole(A, "auto", terms=True)), rtol=1e-13)
            if name == "jax":
                import jax

                one, two = (jax.grad(lambda A: whole(A, d).sum())(A) for d in ("auto", "sequential"))  # noqa: B023
            elif name == "torch":
                import torch

                A.requires_grad_()
                one, two = (torch.autograd.grad(whole(A, d).sum(), A)[0] for d in ("auto", "sequential"))
            else:
                continue
            np.testing.assert_allclose(to_numpy(one), to_numpy(two), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_parameters_broadcast_over_draws_and_series(name):
    rng = np.random.default_rng(1)
    chain = random_hidden_markov(rng, num_states=3, num_steps=6, lead=(4, 1))
    with framework(name) as make:
        emission = gaussian(make, rng, 3, lead=(4, 2))
        process = HiddenMarkov(make(chain.log_initial), make(chain.log_transition), emission)
        assert process.batch_shape == (4, 2)
        observations = observed(make, rng, 6, lead=(2,))
        steps = to_numpy(process.log_prob_steps(observations))
        assert steps.shape == (4, 2, 6)
        for draw, series in np.ndindex(4, 2):
            one = GaussianEmission(emission.means[draw, series], emission.scales[draw, series])
            single = HiddenMarkov(process.log_initial[draw, 0], process.log_transition[draw, 0], one)
            data = Observations(observations.times, observations.values[series], observations.mask[series])
            np.testing.assert_allclose(
                steps[draw, series], to_numpy(single.log_prob_steps(data)), rtol=1e-12, atol=1e-14
            )
        law = process.condition(observations).at(make(np.array([2.0, 8.0])))
        assert law.mean().shape == (4, 2, 2, 2)
        assert law.draws(5, random=random_source(0, process.like)).shape == (5, 4, 2, 2, 2)


def log_probs_of(name, driver):
    """Value and gradient with respect to logits, means and log scales, by a framework's autograd."""
    K, T = 3, 25
    rng = np.random.default_rng(3)
    raw = [rng.standard_normal(s) for s in ((K,), (K, K), (K, 2), (K, 2))]
    values, mask = rng.standard_normal((2, T, 2)), rng.random((2, T, 2)) > 0.2
    with framework(name) as make:
        observations = Observations(make(np.arange(float(T))), make(values), make(mask))
        if name == "torch":
            import torch

            def log_prob(initial, transition, means, scales):
                emission = GaussianEmission(means, scales.exp())
                process = HiddenMarkov.time_invariant(
                    initial.log_softmax(-1), transition.log_softmax(-1), emission, driver=driver
                )
                return process.log_prob(observations).sum()

            tensors = [make(a).requires_grad_() for a in raw]
            value = log_prob(*tensors)
            return value.item(), [g.numpy() for g in torch.autograd.grad(value, tensors)]
        import jax

        def log_prob(initial, transition, means, scales):
            emission = GaussianEmission(means, jax.numpy.exp(scales))
            process = HiddenMarkov.time_invariant(
                jax.nn.log_softmax(initial), jax.nn.log_softmax(transition), emission, driver=driver
            )
            return process.log_prob(observations).sum()

        value, gradients = jax.jit(jax.value_and_grad(log_prob, (0, 1, 2, 3)))(*(make(a) for a in raw))
        return float(value), [np.asarray(g) for g in gradients]


def test_gradients_are_those_of_every_driver_and_framework():
    value, gradients = log_probs_of("torch", "sequential")
    for name, driver in [("torch", "compiled"), ("torch", "balanced"), ("jax", "compiled"), ("jax", "sequential")]:
        other, found = log_probs_of(name, driver)
        np.testing.assert_allclose(other, value, rtol=1e-13)
        for a, b in zip(found, gradients, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_torch_transforms_and_jax_vmap_equal_a_loop():
    import jax
    import torch

    shifts = np.array([0.0, 0.5, -1.0])
    results = {}
    for name in ("torch", "jax"):
        with framework(name) as make:
            process, observations, _ = case(make, 3, 5, zeros=0.0)
            means, scales = process.emission.means, process.emission.scales

            def log_prob(shift, process=process, means=means, scales=scales, observations=observations):
                emission = GaussianEmission(means + shift, scales)
                return HiddenMarkov(process.log_initial, process.log_transition, emission).log_prob(observations)

            mapped = torch.func.vmap(log_prob) if name == "torch" else jax.jit(jax.vmap(log_prob))
            results[name] = to_numpy(mapped(make(shifts)))
            loop = [float(log_prob(make(np.array(s)))) for s in shifts]
            np.testing.assert_allclose(results[name], loop, rtol=1e-12)
    np.testing.assert_allclose(results["torch"], results["jax"], rtol=1e-12)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_impossible_observations_have_no_likelihood_and_no_law(name):
    with framework(name) as make:
        # The first state is absorbing and emits code 0 only.
        log_probs = np.array([[[0.0, -np.inf]], [[np.log(0.5)] * 2]])
        emission = CategoricalEmission(make(log_probs))
        with np.errstate(divide="ignore"):
            start, move = np.log([1.0, 0.0]), np.log([[1.0, 0.0], [0.5, 0.5]])
        for driver in DRIVERS:
            process = HiddenMarkov.time_invariant(make(start), make(move), emission, driver=driver)
            values = np.array([0.0, 0.0, 1.0, 0.0])[:, None]
            observations = Observations(make(np.arange(4.0)), make(values), make(np.ones((4, 1), dtype=bool)))
            steps = to_numpy(process.log_prob_steps(observations))
            np.testing.assert_array_equal(steps, [0.0, 0.0, -np.inf, -np.inf])
            for ask in (process.filter, process.smooth, process.most_likely_path):
                with pytest.raises(NoDensityError, match="row 2"):
                    ask(observations)
            with pytest.raises(NoDensityError, match="probability 0 at row 2"):
                process.condition(observations).at(make(np.array([1.0]))).mean()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_draws_have_the_laws_of_states_and_pairs(name):
    with framework(name) as make:
        for driver in ("auto", "sequential"):
            process, observations, dense = case(make, 3, 5, driver=driver)
            count = 20_000
            draws = to_numpy(process.draw_states(observations, count, random_source(1, process.like)))
            assert draws.shape == (count, 5)
            marks = draws[..., None] == np.arange(3)
            pairs = (marks[:, :-1, :, None] & marks[:, 1:, None, :]).mean(axis=0)
            # 5 standard errors of each of 60 frequencies: a false alarm in about 1 of 30,000 seeds.
            for found, wanted in ((marks.mean(axis=0), dense.states), (pairs, dense.pairs)):
                assert (np.abs(found - wanted) <= 5 * np.sqrt(wanted * (1 - wanted) / count) + 1e-12).all()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_samples_have_the_law_of_the_chain(name):
    count = 20_000
    with framework(name) as make:
        process, _, _ = case(make, 3, 4)
        draw = process.sample(make(np.zeros((count, 4))), random=random_source(2, process.like))
        states = to_numpy(draw.states)
        assert (states.sum(axis=-1) == 1).all()
        law = np.exp(to_numpy(process.log_initial))
        A = np.exp(to_numpy(process.log_transition)[0])
        for row in range(4):
            assert (np.abs(states[:, row].mean(axis=0) - law) <= 5 * np.sqrt(law * (1 - law) / count) + 1e-12).all()
            law = law @ A
        # No transition that the chain forbids.
        moves = np.einsum("nti,ntj->ij", states[:, :-1], states[:, 1:])
        assert (moves[A == 0] == 0).all()
        means, variances = to_numpy(process.emission.mean()), to_numpy(process.emission.variance())
        away = (to_numpy(draw.values) - states @ means) / np.sqrt(states @ variances)
        size = away.size
        assert abs(away.mean()) < 5 / np.sqrt(size)
        assert abs((away**2).mean() - 1.0) < 5 * np.sqrt(2 / size)
        again = process.sample(make(np.zeros((count, 4))), random=random_source(2, process.like))
        np.testing.assert_array_equal(to_numpy(again.values), to_numpy(draw.values))


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_predictive_laws_are_mixtures(name):
    with framework(name) as make:
        process, observations, dense = case(make, 3, 5)
        law = process.condition(observations).at(make(np.array([0.0, 3.0, 4.0, 6.0])))
        A = np.exp(to_numpy(process.log_transition)[0])
        states = np.concatenate([dense.states[[0, 3, 4]], [dense.filtered[-1] @ A @ A]])
        np.testing.assert_allclose(to_numpy(law.mean("state")), states, rtol=1e-10)
        np.testing.assert_allclose(to_numpy(law.probabilities), states, rtol=1e-10)
        means, variances = to_numpy(process.emission.mean()), to_numpy(process.emission.variance())
        mean = states @ means
        np.testing.assert_allclose(to_numpy(law.mean()), mean, rtol=1e-9)
        second = states @ (variances + means**2)
        np.testing.assert_allclose(to_numpy(law.variance()), second - mean**2, rtol=1e-9)
        covariance = np.einsum("qk,ki,kj->qij", states, means, means) - mean[:, :, None] * mean[:, None, :]
        np.testing.assert_allclose(to_numpy(law.covariance("signal")), covariance, rtol=1e-8, atol=1e-12)
        for of in ("observation", "signal", "state"):
            diagonal = np.diagonal(to_numpy(law.covariance(of)), axis1=-2, axis2=-1)
            np.testing.assert_allclose(diagonal, to_numpy(law.variance(of)), rtol=1e-10, atol=1e-14)
        values = np.random.default_rng(0).standard_normal((4, 2))
        density = np.exp(-0.5 * (values[:, None] - means) ** 2 / variances) / np.sqrt(2 * np.pi * variances)
        np.testing.assert_allclose(
            to_numpy(law.log_density(make(values))), np.log(np.einsum("qk,qkc->qc", states, density)), rtol=1e-10
        )
        count = 20_000
        draws = to_numpy(law.draws(count, random=random_source(0, process.like)))
        spread = np.sqrt(to_numpy(law.variance()) / count)
        assert (np.abs(draws.mean(axis=0) - mean) <= 5 * spread).all()


def test_conditioning_on_nothing_is_the_law_itself():
    process, observations, _ = case(lambda a: a, 3, 6)
    nothing = observations._replace(mask=np.zeros_like(observations.mask))
    law = np.exp(process.log_initial)
    states = process.condition(nothing).at(np.arange(9.0)).mean("state")
    for row in range(9):
        np.testing.assert_allclose(states[row], law, rtol=1e-12, atol=1e-15)
        law = law @ np.exp(process.log_transition[0])
    assert (process.log_prob_steps(nothing) == 0).all()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_categorical_channels_multiply(name):
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(4), size=(3, 2))
    codes = rng.integers(0, 4, size=(5, 2)).astype(float)
    with framework(name) as make:
        emission = CategoricalEmission(make(np.log(probs)))
        mask = np.ones((5, 2), dtype=bool)
        mask[2, 0] = False
        found = to_numpy(emission.log_density(Observations(make(np.arange(5.0)), make(codes), make(mask))))
        for row, state in np.ndindex(5, 3):
            cells = [np.log(probs[state, c, int(codes[row, c])]) for c in range(2) if mask[row, c]]
            np.testing.assert_allclose(found[row, state], sum(cells), rtol=1e-12)
        count = 20_000
        states = np.tile(np.arange(3), count)
        drawn = to_numpy(emission.sample(make(states), random_source(0, emission.like))).reshape(count, 3, 2)
        for code in range(4):
            share = (drawn == code).mean(axis=0)
            assert (np.abs(share - probs[..., code]) <= 5 * np.sqrt(probs[..., code] / count)).all()
        # Half a code, or one too many.
        cells = to_numpy(emission.cell_log_density(make(np.array([[0.5, 4.0], [-1.0, 3.0]]))))
        assert (cells[:, :, 0] == -np.inf).all()
        assert (cells[0, :, 1] == -np.inf).all()
        assert np.isfinite(cells[1, :, 1]).all()


def test_values_that_are_labels_have_no_mean():
    emission = CategoricalEmission(np.log(np.full((2, 1, 3), 1 / 3)))
    process = HiddenMarkov.time_invariant(np.log([0.5, 0.5]), np.log(np.full((2, 2), 0.5)), emission)
    data = Observations(np.arange(3.0), np.zeros((3, 1)), np.ones((3, 1), dtype=bool))
    law = process.condition(data).at(np.array([1.0]))
    np.testing.assert_allclose(law.log_density(np.array([[2.0]])), np.log(1 / 3), rtol=1e-13)
    with pytest.raises(CapabilityError, match="labels"):
        law.mean()
    with pytest.raises(ArgumentError, match=r"codes 0, \.\.\., 2 .* found 3 at row 1, channel 0"):
        process.log_prob(data._replace(values=np.array([[0.0], [3.0], [1.0]])))


HALF = np.log(np.full((2, 2), 0.5))
WRONG = {
    "no time axis": (dict(log_transition=HALF), "time_invariant"),
    "states": (dict(log_transition=np.log(np.full((1, 3, 3), 1 / 3))), "K = 2"),
    "probabilities": (dict(log_transition=np.full((1, 2, 2), 0.5)), "sum to one"),
    "initial": (dict(log_initial=np.log([0.5, 0.6])), "`log_initial`"),
    "emission": (dict(emission=GaussianEmission(np.zeros((3, 1)), np.ones((3, 1)))), "`emission` has 3 states"),
    "leads": (
        dict(log_transition=np.broadcast_to(HALF, (3, 1, 2, 2)), log_initial=np.log(np.full((2, 2), 0.5))),
        "do not broadcast",
    ),
    "driver": (dict(driver="fast"), "`driver`"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_parameters_are_named(wrong):
    changed, message = WRONG[wrong]
    right: dict = dict(
        log_initial=np.log([0.5, 0.5]),
        log_transition=HALF[None],
        emission=GaussianEmission(np.zeros((2, 1)), np.ones((2, 1))),
    )
    with pytest.raises(ArgumentError, match=message):
        HiddenMarkov(**{**right, **changed})


def test_wrong_observations_and_scales_are_named():
    process, observations, _ = case(lambda a: a, 2, 4, moving=True)
    with pytest.raises(ArgumentError, match="has 3 rows, but the chain's `log_transition` has 4"):
        process.log_prob(Observations(*(part[:3] for part in observations[:3])))
    with pytest.raises(ArgumentError, match=r"time, 2\).*got \(4, 1\)"):
        process.log_prob(observations._replace(values=observations.values[:, :1], mask=observations.mask[:, :1]))
    with pytest.raises(ArgumentError, match="boolean"):
        process.log_prob(observations._replace(mask=observations.mask * 1.0))
    with pytest.raises(ArgumentError, match="cannot be extended"):
        process.condition(observations).at(np.array([9.0]))
    with pytest.raises(ArgumentError, match="`inputs`"):
        process.condition(observations).at(np.array([1.0]), inputs=np.zeros((1, 1)))
    with pytest.raises(ArgumentError, match=r"scales\[\(1, 0\)\] is 0"):
        GaussianEmission(np.zeros((2, 1)), np.array([[1.0], [0.0]]))


def test_an_emission_of_ones_own_is_enough():
    class Exponential(AbstractEmission):
        """Positive values with a rate in each state."""

        def __init__(self, rates):
            self.rates, self.num_states, self.num_channels, self.batch_shape = rates, len(rates), 1, ()

        @property
        def like(self):
            return self.rates

        def cell_log_density(self, values):
            return np.log(self.rates)[:, None] - self.rates[:, None] * values[..., None, :]

        def sample(self, states, random):
            return -np.log1p(-random.uniform((*states.shape, 1))) / self.rates[states][..., None]

    process = HiddenMarkov.time_invariant(np.log([0.5, 0.5]), HALF, Exponential(np.array([1.0, 5.0])))
    draw = process.sample(np.arange(20.0), random=random_source(0, HALF))
    data = Observations(np.arange(20.0), draw.values, np.ones((20, 1), dtype=bool))
    y = draw.values[:, 0]
    # States are independent here: the likelihood is a product of mixtures.
    wanted = np.log(0.5 * np.exp(-y) + 2.5 * np.exp(-5 * y)).sum()
    np.testing.assert_allclose(process.log_prob(data), wanted, rtol=1e-12)
