"""The filter in Triton: the sequential driver's values and gradients in the interpreter, and code for GPUs."""

import pytest

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

INTERPRETED = """
import numpy as np
import torch

from dynplat.process import hidden_markov_passes as passes
from dynplat.process.hidden_markov_passes import Chain
from dynplat.scan import drivers
from dynplat.scan.kernels import hidden_markov_triton
from dynplat.testing.hidden_markov import random_hidden_markov

# What would run for tensors on a GPU runs here on the CPU, through the same functions.
drivers.runs_triton = lambda driver, like: driver == "auto"
drivers.FEWEST_SERIES = 1
run, calls = hidden_markov_triton.log_prob_steps, []
hidden_markov_triton.log_prob_steps = lambda *arrays, **options: calls.append(1) or run(*arrays, **options)


def compare(arrays, weights=None, second=False):
    rng = np.random.default_rng(1)
    found = {}
    for driver in ("auto", "sequential"):
        leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
        steps = passes.log_prob_steps(Chain(*leaves), driver)
        if weights is None:
            weights = torch.tensor(rng.standard_normal(tuple(steps.shape)))
        finite = torch.where(torch.isfinite(steps), steps, 0.0)
        gradients = torch.autograd.grad(
            finite, leaves, weights, create_graph=second, allow_unused=True, materialize_grads=True
        )
        found[driver] = [steps, *gradients]
        if second:
            total = sum((g**2).sum() for g in gradients)
            found[driver] += torch.autograd.grad(total, leaves)
    for a, b in zip(found["auto"], found["sequential"], strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
    return found["auto"][0]


for K, T, lead, moving, share in (
    (1, 1, (), False, False),
    (3, 9, (4,), False, True),
    (4, 7, (2, 3), False, False),
    (5, 6, (3,), True, True),
    (2, 8, (3,), True, False),
    (17, 3, (2,), False, True),
):
    rng = np.random.default_rng([K, T])
    arrays = random_hidden_markov(
        rng, num_states=K, num_steps=T, lead=lead, moving=moving, share_transition=share, zeros=0.3
    )
    compare(arrays, second=K == 3)
    if lead:
        # The same data under the parameters of several draws.
        compare(arrays._replace(log_density=arrays.log_density[(0,) * len(lead)]))

# Probabilities that no number holds: absorbing states, and observations that are impossible.
density = np.zeros((1, 1200, 2))
density[:, :400, 0], density[:, 400:, 1] = 1.0, 1.0
with np.errstate(divide="ignore"):
    steps = compare([np.log([[0.5, 0.5]]), np.log(np.eye(2))[None, None], density])
np.testing.assert_allclose(float(steps.sum()), 800.0 + np.log(0.5) + np.log1p(np.exp(-400.0)), rtol=1e-13)
arrays = random_hidden_markov(np.random.default_rng(1), num_states=3, num_steps=9, lead=(2,))
arrays.log_density[1, 4] = -np.inf
steps = compare(arrays)
assert torch.isfinite(steps[0]).all() and (steps[1, 4:] == -np.inf).all() and torch.isfinite(steps[1, :4]).all()
arrays.log_density[1, 4] = np.nan
steps = passes.log_prob_steps(Chain(*map(torch.tensor, arrays)), "auto")
assert torch.isnan(steps[1, 4:]).all() and torch.isfinite(steps[1, :4]).all()

# Only what is wanted is computed; float32 stays float32.
leaves = [torch.tensor(a, dtype=torch.float32) for a in random_hidden_markov(
    np.random.default_rng(2), num_states=3, num_steps=50, lead=(2,))]
leaves[2].requires_grad_()
steps = passes.log_prob_steps(Chain(*leaves), "auto")
(gradient,) = torch.autograd.grad(steps.sum(), leaves[2])
assert gradient.dtype == torch.float32
# Posterior laws of the states.
np.testing.assert_allclose(gradient.sum(dim=-1), 1.0, rtol=1e-5)
assert len(calls) == 15, len(calls)
print("equal")
"""

COMPILED = """
from dynplat.scan.kernels import hidden_markov_triton

for number, states in (("fp32", 4), ("fp64", 32)):
    assert gpu_code(hidden_markov_triton._forward, number, KEEP=True, STATES=states)["cubin"]
    for of_transition in (0, 1, 2):
        asm = gpu_code(hidden_markov_triton._backward, number, OF_TRANSITION=of_transition, OF_DENSITY=True,
                       STATES=states)
        assert asm["cubin"]
print("compiled")
"""


def test_interpreted_values_and_gradients_equal_the_sequential_driver(output_of):
    assert output_of(INTERPRETED, TRITON_INTERPRET="1") == "equal\n"


def test_code_for_a_gpu_is_made(output_with_gpu_code):
    assert output_with_gpu_code(COMPILED) == "compiled\n"


def test_it_is_chosen_on_a_gpu_for_many_series_of_few_states():
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from dynplat.process import hidden_markov_passes as passes

    def runs(driver, groups, states, device):
        with FakeTensorMode():
            arrays = [torch.empty(s, device=device) for s in ((states,), (1, states, states), (groups, 5, states))]
        return passes._runs_triton(driver, passes.Chain(*arrays))

    assert runs("auto", 64, 3, "cuda")
    assert runs("compiled", 64, 3, "cuda")
    assert not runs("balanced", 64, 3, "cuda")
    assert not runs("auto", 4, 3, "cuda")
    assert not runs("auto", 64, 50, "cuda")
    assert not runs("auto", 64, 3, "cpu")
