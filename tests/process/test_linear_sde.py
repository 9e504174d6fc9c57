import numpy as np
import pytest

from dynplat.arrays import Observations, framework, random_source, to_numpy
from dynplat.errors import ArgumentError, NoDensityError
from dynplat.process.dynamics import Constant, Dense, Harmonic, IntegratedWiener, Matern, OrnsteinUhlenbeck, Stack
from dynplat.process.gaps import gaps_between, grid_transitions
from dynplat.process.linear_sde import LinearSDE
from dynplat.testing.linear_sde import dense_condition, dense_law, dense_log_prob, observe

FRAMEWORKS = ("numpy", "torch", "jax")


def some_frameworks(seed):
    """JAX compiles every shape anew, which takes seconds: a few of the random systems show it."""
    return FRAMEWORKS if seed % 12 == 0 else FRAMEWORKS[:2]


def ask(name, question, **options):
    """Answers of `question(array)` in a framework, as NumPy; under JAX as one compiled program, as fits run it."""
    with framework(name, **options) as array:
        if name != "jax":
            return tuple(to_numpy(part) for part in question(array))
        import jax

        return tuple(to_numpy(part) for part in jax.jit(lambda: question(array))())


# The small verification system: everything below was computed from the dense joint Gaussian.
SMALL = {
    "A": [[-0.1, 1.0], [-1.0, -0.1]],
    "L": np.diag([0.3, 0.5]),
    "H": [[1.0, 0.0]],
    "R": [[0.04]],
    "m0": [0.5, -0.2],
    "P0": np.diag([1.0, 0.5]),
}
SMALL_TIMES = np.array([0, 0.3, 0.7, 1.6, 1.65, 3, 5.5])
SMALL_VALUES = np.array([0.9, 0.5, 0.1, -0.8, -0.7, -0.6, 0.4])[:, None]


def small(array=np.asarray, **changes):
    p = {name: array(np.asarray(value)) for name, value in {**SMALL, **changes}.items()}
    return LinearSDE(Dense(p["A"], p["L"]), p["H"], p["R"], p["m0"], p["P0"])


def seen(times, values, mask=None, inputs=None):
    mask = np.ones(np.shape(values), dtype=bool) if mask is None else mask
    times = np.asarray(times, dtype=float) if isinstance(times, list) else times
    return Observations(times, np.asarray(values, dtype=float), mask, inputs)


class System:
    """A random system with irregular times (one tie), missing cells, and its dense law at the times of a grid."""

    def __init__(self, seed, stable=False):
        rng = np.random.default_rng(seed)
        self.n, self.p = int(rng.integers(1, 5)), int(rng.integers(1, 4))
        num = int(rng.integers(1, 9))
        self.A = rng.normal(size=(self.n, self.n)) - (3.0 if stable else 1.5) * np.eye(self.n)
        self.L = rng.normal(size=(self.n, max(1, self.n - 1)))  # singular noise
        self.b = rng.normal(size=self.n)
        self.B = rng.normal(size=(self.n, 2))
        self.H = rng.normal(size=(self.p, self.n))
        root = rng.normal(size=(self.p, self.p))
        self.R = root @ root.T + 0.1 * np.eye(self.p)
        self.D = rng.normal(size=(self.p, 2))
        self.d = rng.normal(size=self.p)
        self.m0, root = rng.normal(size=self.n), rng.normal(size=(self.n, self.n))
        self.P0 = root @ root.T
        self.times = np.cumsum(rng.choice([0.0, 1e-4, 0.3, 0.7, 2.0], size=num)) + 5.0
        self.values = rng.normal(size=(num, self.p))
        self.mask = rng.random((num, self.p)) < 0.7
        self.inputs = rng.normal(size=(num, 2))

    def process(self, array, **options):
        parts = {name: array(getattr(self, name)) for name in ("A", "L", "b", "B", "H", "R", "m0", "P0", "d", "D")}
        dynamics = Dense(parts["A"], parts["L"], parts["b"], parts["B"])
        names = ("H", "R", "m0", "P0", "d")
        return LinearSDE(dynamics, *(parts[name] for name in names), D=parts["D"], **options)

    def observations(self):
        return Observations(self.times, self.values, self.mask, self.inputs)

    def law(self, times=None, inputs=None):
        times, inputs = (self.times, self.inputs) if times is None else (times, inputs)
        return dense_law(self.A, self.L @ self.L.T, times, self.m0, self.P0, self.b + inputs @ self.B.T)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_verification_system_to_every_printed_digit(name):

    def question(array):
        process = small(array)
        observations = seen(SMALL_TIMES, SMALL_VALUES)
        law = process.condition(observations).at(np.array([0.0, 1.6, 5.5]))
        filtered = process.chain(SMALL_TIMES).filter(observations)
        return (
            process.log_prob(observations),
            law.mean("state"),
            law.covariance("state"),
            filtered.means[-1, :],
            filtered.covs[-1, :, :],
        )

    log_prob, means, covs, final_mean, final_cov = ask(name, question)
    assert f"{float(log_prob):.12f}" == "-2.454207072193"
    half = 0.5e-8 * (1 + 1e-6)
    np.testing.assert_allclose(final_mean, [0.42060708, -0.04382559], rtol=0, atol=half)
    np.testing.assert_allclose(final_cov, [[0.03644552, -0.00146682], [-0.00146682, 0.41237544]], rtol=0, atol=half)
    np.testing.assert_allclose(
        means, [[0.8348918, -0.65985805], [-0.72267433, -0.63392502], [0.42060708, -0.04382559]], rtol=0, atol=half
    )
    expected = [
        [[0.02655131, -0.01799395], [-0.01799395, 0.15936213]],
        [[0.01906127, 0.0017868], [0.0017868, 0.11576037]],
        [[0.03644552, -0.00146682], [-0.00146682, 0.41237544]],
    ]
    np.testing.assert_allclose(covs, expected, rtol=0, atol=half)


@pytest.mark.parametrize("seed", range(12))
def test_log_prob_equals_dense_joint_gaussian(seed):
    system = System(seed)
    law = observe(system.law(), system.H, system.R, system.d + system.inputs @ system.D.T)
    expected = dense_log_prob(law, system.values, system.mask)
    # The dense twin itself is known no better than its rounding times the condition of the joint covariance.
    size = system.values.size
    tolerance = 1e-9 + 1e-15 * np.linalg.cond(law.cov.reshape(size, size))
    assert tolerance < 1e-7
    for name in some_frameworks(seed):
        for share in (True,) if name == "jax" else (True, False):
            (steps,) = ask(
                name, lambda a, s=share: [system.process(a, share_gaps=s).log_prob_steps(system.observations())]
            )
            np.testing.assert_allclose(steps.sum(), expected, rtol=tolerance, atol=tolerance)
            assert (steps[~system.mask.any(axis=-1)] == 0.0).all()


@pytest.mark.parametrize("seed", range(12, 20))
def test_answers_at_any_times_equal_dense_conditional(seed):
    system = System(seed)
    rng = np.random.default_rng(seed)
    first, last = system.times[[0, -1]]
    query = np.sort(
        np.concatenate([rng.uniform(first, last + 3.0, size=4), system.times[:2], [last + 1.0, last + 1.0]])
    )
    union = np.unique(np.concatenate([system.times, query]))
    # Rows of the union: every observed row, then the times at which nothing was observed.
    extra = np.setdiff1d(union, system.times)
    times = np.concatenate([system.times, extra])
    order = np.argsort(times, kind="stable")
    source = np.concatenate([np.arange(len(system.times)), np.full(len(extra), -1)])[order]
    held = np.maximum.accumulate(source)
    values = np.where(source[:, None] >= 0, system.values[source], 0.0)
    mask = (source[:, None] >= 0) & system.mask[source]
    d = system.d + system.inputs[held] @ system.D.T
    posterior = dense_condition(system.law(times[order], system.inputs[held]), system.H, system.R, d, values, mask)
    at = np.searchsorted(times[order], query, side="right") - 1
    mean, cov = posterior.mean[at], posterior.cov[at, :, at]
    signal = mean @ system.H.T + d[at]
    spread = system.H @ cov @ system.H.T + system.R

    def question(array):
        law = system.process(array).condition(system.observations()).at(query)
        return law.mean("state"), law.covariance("state"), law.mean("signal"), law.covariance()

    for name in some_frameworks(seed):
        for got, expected in zip(ask(name, question), (mean, cov, signal, spread), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-8 * (1.0 + np.abs(expected).max()))


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_stationary_process_answers_before_the_first_row(name):
    system = System(3, stable=True)
    dynamics = Dense(system.A, system.L)
    m, P = dynamics.stationary()
    query = np.array([1.0, 4.9, system.times[0], system.times[-1] + 0.5])
    times = np.concatenate([query[:2], system.times, query[3:]])
    law = dense_law(system.A, system.L @ system.L.T, times, m, P)
    pad = np.zeros((2, system.p))
    values = np.concatenate([pad, system.values, pad[:1]])
    mask = np.concatenate([pad > 0, system.mask, pad[:1] > 0])
    posterior = dense_condition(law, system.H, system.R, system.d, values, mask)
    at = [0, 1, 2, len(times) - 1]

    def question(array):
        dynamics = Dense(array(system.A), array(system.L))
        process = LinearSDE(dynamics, array(system.H), array(system.R), d=array(system.d))
        law = process.condition(seen(system.times, system.values, system.mask)).at(query)
        return law.mean("state"), law.covariance("state")

    mean, cov = ask(name, question)
    np.testing.assert_allclose(mean, posterior.mean[at], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(cov, posterior.cov[at, :, at], rtol=1e-9, atol=1e-9)


def test_process_that_is_not_stationary_refuses_earlier_times():
    conditional = small().condition(seen(SMALL_TIMES[None] + 2.0, SMALL_VALUES[None]))
    with pytest.raises(ArgumentError, match=r"`times` contains 1.5, before the first row of series 0 at 2.0"):
        conditional.at(np.array([[1.5, 3.0]]))


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_draws_have_the_joint_covariance_of_the_law(name):
    # False-alarm probability: 4000 draws, about 60 entries within 6 standard errors each: below 2e-7.
    num = 4000
    query = np.array([0.0, 0.5, 0.5, 2.0, 6.0])
    times = np.union1d(SMALL_TIMES, query)
    law = dense_law(np.array(SMALL["A"]), SMALL["L"] @ SMALL["L"].T, times, np.array(SMALL["m0"]), SMALL["P0"])
    keep = np.isin(times, SMALL_TIMES)
    values = np.zeros((len(times), 1))
    values[keep] = SMALL_VALUES
    posterior = dense_condition(law, np.array(SMALL["H"]), np.array(SMALL["R"]), np.zeros(1), values, keep[:, None])
    at = np.searchsorted(times, query)
    mean = posterior.mean[at].reshape(-1)
    cov = posterior.cov[at][:, :, at].reshape(len(mean), len(mean))

    def question(array):
        law = small(array).condition(seen(SMALL_TIMES, SMALL_VALUES)).at(query)
        states = law.draws(num, random=random_source(0, array(0.0)), of="state")
        noisy = [law.draws(num, random=random_source(1, array(0.0))) for _ in range(2)]
        return states, *noisy

    draws, noisy, again = ask(name, question)
    np.testing.assert_array_equal(noisy, again)
    np.testing.assert_array_equal(draws[:, 1], draws[:, 2])  # one trajectory has one state at one time
    flat = draws.reshape(num, -1)
    error = np.sqrt(np.diag(cov) / num)
    assert (np.abs(flat.mean(0) - mean) < 6 * error).all()
    spread = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / num)
    assert (np.abs(np.cov(flat.T) - cov) < 6 * spread).all()
    variance = cov[0::2, 0::2].diagonal() + SMALL["R"][0][0]
    assert (np.abs(noisy[..., 0].var(0) - variance) < 6 * variance * np.sqrt(2 / num)).all()


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_samples_have_the_covariance_of_the_law(name):
    # False-alarm probability: 4000 draws, 12 entries within 6 standard errors each: below 1e-7.
    num, times = 4000, np.array([[0.0, 0.5, 3.0]])
    law = dense_law(np.array(SMALL["A"]), SMALL["L"] @ SMALL["L"].T, times[0], np.array(SMALL["m0"]), SMALL["P0"])
    law = observe(law, np.array(SMALL["H"]), np.array(SMALL["R"]), np.zeros(1))

    def question(array):
        process = small(array, m0=np.broadcast_to(SMALL["m0"], (num, 1, 2)))
        return process.sample(times, random=random_source(0, array(0.0)))

    values, states = ask(name, question)
    assert values.shape == (num, 1, 3, 1)
    assert states.shape == (num, 1, 3, 2)
    cov = law.cov.reshape(3, 3)
    flat = values.reshape(num, 3)
    assert (np.abs(flat.mean(0) - law.mean[:, 0]) < 6 * np.sqrt(np.diag(cov) / num)).all()
    spread = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / num)
    assert (np.abs(np.cov(flat.T) - cov) < 6 * spread).all()


@pytest.mark.parametrize("name", FRAMEWORKS[:2])
def test_unobserved_rows_and_queries_change_nothing(name):
    more = np.sort(np.concatenate([SMALL_TIMES, [0.1, 1.0, 1.0, 4.0, 70.0]]))
    keep = np.isin(more, SMALL_TIMES)
    values = np.full((len(more), 1), 99.0)
    values[keep] = SMALL_VALUES

    def question(array):
        process = small(array)
        conditional = process.condition(seen(SMALL_TIMES, SMALL_VALUES))
        alone, crowd = conditional.at(np.array([2.0])), conditional.at(np.array([0.2, 0.9, 2.0, 2.0, 2.7, 9.0]))
        return (
            process.log_prob_steps(seen(SMALL_TIMES, SMALL_VALUES)),
            process.log_prob_steps(seen(more, values, keep[:, None])),
            *(law.mean(of) for law in (alone, crowd) for of in ("state", "observation")),
            *(law.covariance(of) for law in (alone, crowd) for of in ("state", "observation")),
        )

    plain, split, *answers = ask(name, question)
    np.testing.assert_allclose(split[keep], plain, rtol=1e-12, atol=1e-12)
    assert (split[~keep] == 0.0).all()
    for one, several in ((0, 2), (1, 3), (4, 6), (5, 7)):
        for row in (2, 3):
            np.testing.assert_allclose(answers[several][row], answers[one][0], rtol=1e-11, atol=1e-12)


def test_the_unit_of_time_does_not_matter():
    for scale in (86400.0, 1e-9):
        dynamics = Dense(np.array(SMALL["A"]) / scale, SMALL["L"] / np.sqrt(scale))
        process = LinearSDE(dynamics, *(np.array(SMALL[name]) for name in ("H", "R", "m0", "P0")))
        got = process.log_prob(seen(SMALL_TIMES * scale, SMALL_VALUES))
        np.testing.assert_allclose(got, -2.454207072193, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_padding_and_batches_equal_one_by_one(name):
    rng = np.random.default_rng(0)
    lengths, T = [7, 4, 1], 7
    times = np.cumsum(rng.exponential(size=(3, T)), axis=-1)
    values, mask = rng.normal(size=(3, T, 2)), rng.random((3, T, 2)) < 0.8
    for i, length in enumerate(lengths):
        times[i, length:] = times[i, length - 1]
        values[i, length:], mask[i, length:] = 7.0, False
    sd = rng.uniform(0.5, 2.0, size=(4, 1))  # a posterior's draws of a global parameter
    scale = rng.uniform(0.5, 2.0, size=(4, 3))  # and of a local one
    H = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    query = np.array([[0.1, 2.0, 9.0], [0.0, 0.0, 3.0], [5.0, 5.0, 5.0]]) + times[:, :1]
    observations = Observations(times, values, mask)

    def build(array, sd, scale):
        dynamics = Stack(Matern(1.5, array(sd), array(scale)), OrnsteinUhlenbeck(1.0, array(sd)))
        return LinearSDE(dynamics, array(H), array(0.3 * np.eye(2)))

    def answers(process, observations, query):
        law = process.condition(observations).at(query)
        return process.log_prob_steps(observations), law.mean(), law.variance()

    for local in (
        (scale,) if name == "jax" else (scale, scale[:, :1])
    ):  # a global scale keeps one copy of every transition
        steps, means, variances = ask(name, lambda a, local=local: answers(build(a, sd, local), observations, query))
        assert steps.shape == (4, 3, T)
        assert means.shape == variances.shape == (4, 3, 3, 2)
        for k, i in ((0, 0), (1, 1), (3, 2)):
            length = lengths[i]
            one = build(np.asarray, sd[k, 0], local[k, i % local.shape[1]])
            own = answers(one, Observations(times[i, :length], values[i, :length], mask[i, :length]), query[i])
            for got, expected in zip((steps[k, i, :length], means[k, i], variances[k, i]), own, strict=True):
                np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10)
            assert (steps[k, i, length:] == 0.0).all()


def test_evenly_spaced_rows_share_one_transition():
    dynamics = Stack(IntegratedWiener(1, 0.1), Harmonic(365.25, 0.2, 2))
    times = 7.0 * np.arange(30) + np.zeros((3, 1))
    gaps = gaps_between(times)
    shared = grid_transitions(dynamics, gaps, None, np.empty(0))
    assert shared.F.shape == (1, 6, 6)
    direct = grid_transitions(dynamics, gaps, None, np.empty(0), share=False)
    np.testing.assert_array_equal(np.broadcast_to(shared.F, direct.F.shape), direct.F)
    # Irregular rows that all series share are kept once, and those of each series only where they differ.
    times = np.cumsum(np.array([1.0, 7.0, 7.0, 1.0, 3.0])) + np.zeros((3, 1))
    assert grid_transitions(dynamics, gaps_between(times), None, np.empty(0)).F.shape == (1, 5, 6, 6)
    times = times + np.arange(5) * np.array([[0.0], [1.0], [2.0]])
    gaps = gaps_between(times)
    shared = grid_transitions(dynamics, gaps, None, np.empty(0))
    direct = grid_transitions(dynamics, gaps, None, np.empty(0), share=False)
    for one, other in zip(shared[:2], direct[:2], strict=True):
        np.testing.assert_array_equal(one, other)


def test_gradients_equal_finite_differences():
    import jax
    import torch

    rng = np.random.default_rng(0)
    parts = [
        rng.normal(size=(3, 3)) - 2 * np.eye(3),
        rng.normal(size=(3, 2)),
        rng.normal(size=(2, 3)),
        rng.normal(size=(2, 2)),
    ]
    times = np.array([0.0, 0.3, 0.3, 1.0, 1.3, 4.0])
    observations = seen(times, rng.normal(size=(6, 2)), rng.random((6, 2)) < 0.8)

    def value(A, L, H, root, array=np.asarray):
        process = LinearSDE(
            Dense(A, L), H, root @ root.T + 0.1 * array(np.eye(2)), array(np.zeros(3)), array(np.eye(3))
        )
        return process.log_prob(observations)

    expected = []
    for k, part in enumerate(parts):
        gradient = np.zeros_like(part)
        for index in np.ndindex(part.shape):
            f = []
            for shift in (-2, -1, 1, 2):
                moved = [other.copy() for other in parts]
                moved[k][index] += 1e-3 * shift
                f.append(float(value(*moved)))
            gradient[index] = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * 1e-3)
        expected.append(gradient)
    leaves = [torch.tensor(part, requires_grad=True) for part in parts]
    value(*leaves, array=torch.as_tensor).backward()
    with framework("jax") as array:
        compiled = jax.jit(jax.grad(lambda *p: value(*p, array=array), argnums=(0, 1, 2, 3)))
        traced = compiled(*(array(part) for part in parts))
    for leaf, other, exact in zip(leaves, traced, expected, strict=True):
        np.testing.assert_allclose(leaf.grad.numpy(), exact, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(other, leaf.grad.numpy(), rtol=1e-8, atol=1e-9)


def test_program_compiled_over_parameters_and_times_equals_numpy():
    import jax

    query = np.array([0.0, 0.1, 1.6, 8.0])

    def answer(A, times, query, array):
        process = LinearSDE(Dense(A, array(SMALL["L"])), *(array(np.asarray(SMALL[k])) for k in ("H", "R", "m0", "P0")))
        law = process.condition(seen(times, SMALL_VALUES)).at(query)
        return process.log_prob_steps(seen(times, SMALL_VALUES)), law.mean(), law.covariance("state")

    A = np.array(SMALL["A"])
    expected = answer(A, SMALL_TIMES, query, np.asarray)
    with framework("jax") as array:
        compiled = jax.jit(lambda A, times, query: answer(A, times, query, array))
        traced = compiled(array(A), array(SMALL_TIMES), array(query))
        for one, other in zip(traced, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)
        early = compiled(array(A), array(SMALL_TIMES), array(query - 1.0))
        assert np.isnan(np.asarray(early[1])).all()  # a refusal cannot be raised while tracing


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_float32_is_safe_far_from_the_origin_of_time(name):
    # In float32 the offset alone would swallow all gaps.
    times, rng = np.arange(50.0) / 8 + 1.7e9, np.random.default_rng(0)
    values = rng.normal(size=(50, 1))
    exact = LinearSDE(Matern(2.5, 1.0, 3.0), np.eye(3)[:1], np.array([[0.25]]))
    expected = exact.log_prob(seen(times, values))

    def question(array):
        process = LinearSDE(Matern(2.5, array(1.0), array(3.0)), array(np.eye(3)[:1]), array([[0.25]]))
        return process.log_prob(seen(times, values)), process.condition(seen(times, values)).at(times[:3] + 0.01).mean()

    log_prob, mean = ask(name, question, dtype="float32")
    assert log_prob.dtype == mean.dtype == np.float32
    np.testing.assert_allclose(log_prob, expected, rtol=1e-4)
    exact_mean = exact.condition(seen(times, values)).at(times[:3] + 0.01).mean()
    np.testing.assert_allclose(mean, exact_mean, rtol=1e-3, atol=1e-3)


def test_inputs_are_held_until_the_next_row_or_query():
    dynamics = Dense(np.array([[0.0]]), np.array([[0.0]]), B=np.array([[1.0]]))
    process = LinearSDE(dynamics, np.eye(1), 0.01 * np.eye(1), np.zeros(1), np.zeros((1, 1)), D=np.array([[10.0]]))
    observations = Observations(
        np.array([0.0, 1.0, 2.0]), np.zeros((3, 1)), np.zeros((3, 1), dtype=bool), np.array([[1.0], [0.0], [2.0]])
    )
    conditional = process.condition(observations)
    law = conditional.at(np.array([0.5, 1.0, 1.5, 2.5, 3.0]))
    np.testing.assert_allclose(law.mean("state")[:, 0], [0.5, 1.0, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(law.mean()[:, 0], [10.5, 1.0, 1.0, 22.0, 23.0])
    asked = np.array([[4.0], [77.0], [0.0], [6.0], [0.0]])
    law = conditional.at(np.array([0.5, 1.0, 1.5, 2.5, 3.0]), inputs=asked)
    np.testing.assert_allclose(law.mean("state")[:, 0], [0.5, 2.5, 2.5, 3.5, 6.5])
    np.testing.assert_allclose(law.mean()[:, 0], [40.5, 2.5, 2.5, 63.5, 6.5])
    with pytest.raises(ArgumentError, match="the process reads inputs"):
        process.log_prob(seen([0.0], [[1.0]]))
    with pytest.raises(ArgumentError, match="the observations have none"):
        process.condition(seen([0.0], [[1.0]])).at(np.array([1.0]))


def test_states_that_never_move_are_regression_coefficients():
    # y = offset + noise with offset ~ N(0, 4): the posterior of a mean in closed form.
    process = LinearSDE(Constant(1), np.eye(1), np.eye(1), np.zeros(1), 4 * np.eye(1))
    values = np.array([[1.0], [2.0], [4.0]])
    law = process.condition(seen([0.0, 1.0, 5.0], values)).at(np.array([0.0, 9.0]))
    np.testing.assert_allclose(law.mean("state")[:, 0], 7.0 / (3.0 + 0.25))
    np.testing.assert_allclose(law.variance("state")[:, 0], 1 / 3.25)
    np.testing.assert_allclose(law.variance()[:, 0], 1 + 1 / 3.25)


def test_observations_without_rows_leave_the_prior():
    process = small()
    empty = Observations(np.zeros(0), np.zeros((0, 1)), np.zeros((0, 1), dtype=bool))
    law = process.condition(empty).at(np.array([3.0, 4.0]))
    prior = dense_law(np.array(SMALL["A"]), SMALL["L"] ** 2, np.array([3.0, 4.0]), np.array(SMALL["m0"]), SMALL["P0"])
    np.testing.assert_allclose(law.mean("state"), prior.mean, rtol=1e-12)
    np.testing.assert_allclose(law.covariance("state")[1], prior.cov[1, :, 1], rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearSDE(IntegratedWiener(0, 1.0), np.eye(1), np.eye(1)), "IntegratedWiener has no stationary law"),
        (lambda: LinearSDE(Constant(1), np.eye(1), np.eye(1), m0=np.zeros(1)), "`m0` and `P0` must be given together"),
        (
            lambda: LinearSDE(Constant(1), np.eye(1), np.eye(1), np.zeros(1), np.eye(1), stationary=True),
            "`stationary=True` leaves no room",
        ),
        (
            lambda: small().log_prob(seen([[0.0, 2.0, 1.0]], np.zeros((1, 3, 1)))),
            r"`times` must not decrease within a series; row 2 of series 0 has 1.0 after 2.0",
        ),
        (
            lambda: small().condition(seen([0.0], [[1.0]])).at(np.array([2.0, 1.0])),
            "`times` must not decrease within a series; row 1 has 1.0 after 2.0",
        ),
        (lambda: small().log_prob(seen([0.0], [[1.0, 2.0]])), "`values` must have shape"),
    ],
)
def test_impossible_requests_are_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_a_law_without_density_is_refused_by_name():
    with pytest.raises(NoDensityError, match=r"row 1 \(time 0\)"):
        small(R=[[0.0]]).log_prob(seen([0.0, 0.0], [[1.0], [2.0]]))


def test_gaps_that_differ_by_rounding_are_equal_and_others_are_not():
    even = np.arange(1000) * 0.1
    assert len(np.unique(np.diff(even))) > 1
    np.testing.assert_allclose(np.unique(gaps_between(even)), [0.1], rtol=1e-14)
    times = np.cumsum(np.random.default_rng(0).exponential(size=1000))
    np.testing.assert_array_equal(gaps_between(times)[1:], np.diff(times))
    np.testing.assert_array_equal(gaps_between(np.array([0.0, 1e-20, 1.0, 1.0])), [1e-20, 1e-20, 1.0, 0.0])
