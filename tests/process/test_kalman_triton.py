"""The Kalman filter in Triton: the sequential driver's values and gradients in the interpreter, and code for GPUs."""

import pytest

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

PRELUDE = """
import numpy as np
import torch

from dynplat.arrays import Observations
from dynplat.errors import NoDensityError
from dynplat.process import LinearGaussian, kalman
from dynplat.scan import drivers
from dynplat.scan.kernels import kalman_triton

# What would run for tensors on a GPU runs here on the CPU, through the public class.
drivers.runs_triton = lambda driver, like: driver == "auto"
drivers.FEWEST_SERIES = 1
run, calls = kalman_triton.log_prob_steps, []
kalman_triton.log_prob_steps = lambda *arrays, **options: calls.append(1) or run(*arrays, **options)


def covariance(rng, n, *lead):
    root = rng.standard_normal((*lead, n, n))
    return root @ np.swapaxes(root, -1, -2) / n + 0.1 * np.eye(n)


def chain_arrays(rng, n, p, own=(), rows=1):
    # Covariances that are not quite symmetric: only their symmetric part counts.
    Q = covariance(rng, n, *own, rows) + 0.01 * rng.standard_normal((n, n))
    return {
        "F": 0.6 * rng.standard_normal((*own, rows, n, n)) / np.sqrt(n), "Q": Q,
        "H": rng.standard_normal((rows, p, n)), "R": covariance(rng, p, *own, rows), "m0": rng.standard_normal(n),
        "P0": covariance(rng, n, *own), "c": rng.standard_normal((rows, n)), "d": rng.standard_normal((rows, p)),
    }


def data_of(values, mask, like=torch.float64):
    rows = values.shape[-2]
    return Observations(torch.arange(rows, dtype=like), torch.tensor(values, dtype=like), torch.tensor(mask))


def compare(arrays, values, mask, *, wanted=None, second=False, rtol=1e-9):
    found = {}
    for driver in ("auto", "sequential"):
        leaves = {name: torch.tensor(a, requires_grad=wanted is None or name in wanted) for name, a in arrays.items()}
        data = data_of(values, mask)
        data.values.requires_grad_(wanted is None or "y" in wanted)
        steps = LinearGaussian(**leaves, driver=driver).log_prob_steps(data)
        weights = torch.tensor(np.random.default_rng(1).standard_normal(tuple(steps.shape)))
        moving = [leaf for leaf in (*leaves.values(), data.values) if leaf.requires_grad]
        gradients = torch.autograd.grad(
            steps, moving, weights, create_graph=second, allow_unused=True, materialize_grads=True
        )
        found[driver] = [steps, *gradients]
        if second:
            found[driver] += torch.autograd.grad(sum((g**2).sum() for g in gradients), moving)
    for a, b in zip(found["auto"], found["sequential"], strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol * max(1.0, float(b.detach().abs().max())))
    return found["auto"]
"""

EQUAL = """
# What series share, own and lead; what moves; sizes that are powers of two and others.
for n, p, rows, own, lead, moving, holes in (
    (1, 1, 1, (), (3,), False, "none"),
    (1, 1, 7, (4,), (4,), False, "cells"),
    (3, 2, 6, (), (4,), False, "none"),
    (3, 2, 6, (2, 1), (2, 3), False, "cells"),
    (2, 3, 9, (), (3,), False, "ragged"),
    (4, 1, 6, (3,), (), True, "cells"),
    (3, 3, 6, (), (3,), True, "ragged"),
    (5, 2, 5, (), (2,), True, "cells"),
    (9, 5, 4, (2,), (2,), False, "ragged"),
    (16, 8, 2, (), (2,), False, "cells"),
):
    rng = np.random.default_rng([n, p, rows, moving])
    arrays = chain_arrays(rng, n, p, own, rows if moving else 1)
    values = rng.standard_normal((*lead, rows, p))
    mask = np.ones(values.shape, dtype=bool)
    if holes == "cells":
        mask = rng.random(values.shape) > 0.3
        mask[..., rows // 2, :] = False
    if holes == "ragged":  # one is whole, the first is empty
        mask[..., 1, 0] = False
        mask &= np.arange(rows)[:, None] < np.linspace(0, rows, lead[0]).astype(int)[:, None, None]
        # Whatever stands after the end of a series, it is not read.
        values = np.where(mask.any(axis=-1, keepdims=True), values, np.nan)
    steps, *gradients = compare(arrays, values, mask)
    empty = torch.tensor(~mask.any(axis=-1)).broadcast_to(steps.shape)
    assert (steps[empty] == 0.0).all()
    assert (gradients[-1][torch.tensor(~mask)] == 0.0).all()

# Only what is wanted is computed.
rng = np.random.default_rng(3)
arrays, values = chain_arrays(rng, 3, 2), rng.standard_normal((3, 5, 2))
mask = rng.random(values.shape) > 0.2
for wanted in (("y",), ("m0", "c"), ("R",), ("P0",), ("F",)):
    compare(arrays, values, mask, wanted=wanted)
fixed = {name: torch.tensor(a) for name, a in arrays.items()}
assert not LinearGaussian(**fixed).log_prob(data_of(values, mask)).requires_grad

# Second derivatives.
compare(arrays, values, mask, second=True)
assert len(calls) == 17, len(calls)
print("equal")
"""

DENSITIES = """
def refusal(arrays, data, **options):
    try:
        LinearGaussian(**arrays, **options).log_prob_steps(data)
    except NoDensityError as error:
        return str(error)
    return None


# A second look at what is known exactly has no density; which series and row, the sequential driver says.
for dtype in (torch.float64, torch.float32):
    noise = torch.ones((3, 1, 1, 1), dtype=dtype)
    noise[1] = 0.0
    arrays = {
        "F": torch.tensor([[[0.9, 1.0], [0.0, 0.9]]], dtype=dtype), "Q": torch.zeros((1, 2, 2), dtype=dtype),
        "H": torch.tensor([[[1.0, 0.3]]], dtype=dtype), "R": noise, "m0": torch.zeros(2, dtype=dtype),
        "P0": torch.eye(2, dtype=dtype),
    }
    data = data_of(np.zeros((3, 5, 1)), np.ones((3, 5, 1), dtype=bool), dtype)
    parameters = LinearGaussian(**arrays).parameters
    steps, singular = kalman.run_triton_likelihood(parameters, data.values, None, None)
    assert singular.tolist() == [0, 1, 0]
    assert steps.isnan().tolist() == [[False] * 5, [False, False, True, True, True], [False] * 5]
    assert "series 1, row 2" in refusal(arrays, data)
    assert refusal(arrays, data) == refusal(arrays, data, driver="sequential")
    # Rows after the end of a series do not count.
    mask = np.ones((3, 5, 1), dtype=bool)
    mask[1, 2:] = False
    assert refusal(arrays, data._replace(mask=torch.tensor(mask))) is None
    # A start so wide that its rounding reaches a hundredth of R is sound; where it reaches R it is not.
    arrays["R"] = torch.full((1, 1, 1), 0.1, dtype=dtype)
    for part, sound in ((0.005, True), (1.0, False)):
        arrays["P0"] = 0.1 * part / torch.finfo(dtype).eps * torch.eye(2, dtype=dtype)
        assert (refusal(arrays, data) is None) is sound
        assert refusal(arrays, data) == refusal(arrays, data, driver="sequential")

# Single precision with correlated noise and holes stays close to double precision.
rng = np.random.default_rng(4)
double = chain_arrays(rng, 4, 3)
values = rng.standard_normal((2, 40, 3))
mask = rng.random(values.shape) > 0.2
found = {}
for dtype in (torch.float32, torch.float64):
    leaves = {name: torch.tensor(a, dtype=dtype, requires_grad=True) for name, a in double.items()}
    steps = LinearGaussian(**leaves).log_prob_steps(data_of(values, mask, dtype))
    found[dtype] = [steps, *torch.autograd.grad(steps.sum(), list(leaves.values()))]
for single, exact in zip(found[torch.float32], found[torch.float64], strict=True):
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=1e-4, atol=1e-5 * float(exact.detach().abs().max()))
print("equal")
"""

COMPILED = """
from dynplat.scan.kernels import kalman_triton

NAMES = ("F", "Q", "H", "R", "P0", "C", "Y")
for number, states, channels, use, names in (
    ("fp32", 1, 1, 1, "C"), ("fp64", 4, 2, 2, NAMES), ("fp32", 4, 4, 1, NAMES), ("fp32", 16, 8, 1, NAMES)
):
    tile = kalman_triton._tile(states, channels)
    tile.pop("num_warps")
    assert gpu_code(kalman_triton._forward, number, EPS=1e-7, KEEP=True, SHARED=use == 1, **tile)["cubin"]
    uses = {"OF_" + name: use if name in names else 0 for name in NAMES}
    assert gpu_code(kalman_triton._backward, number, SHARED=use == 1, **uses, **tile)["cubin"]
print("compiled")
"""


def test_interpreted_values_and_gradients_equal_the_sequential_driver(output_of):
    assert output_of(PRELUDE + EQUAL, TRITON_INTERPRET="1") == "equal\n"


def test_a_row_without_density_is_found_as_the_sequential_driver_finds_it(output_of):
    assert output_of(PRELUDE + DENSITIES, TRITON_INTERPRET="1") == "equal\n"


def test_code_for_a_gpu_is_made(output_with_gpu_code):
    assert output_with_gpu_code(COMPILED) == "compiled\n"


def test_it_is_chosen_on_a_gpu_for_many_series_of_small_chains():
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from dynplat.process import LinearGaussian

    def runs(driver, series, n, p, device, **others):
        shapes = {"F": (1, n, n), "Q": (1, n, n), "H": (1, p, n), "R": (1, p, p), "m0": (n,), "P0": (n, n), **others}
        with FakeTensorMode():
            arrays = {name: torch.empty(shape, device=device) for name, shape in shapes.items()}
            values = torch.empty((series, 5, p), device=device)
        return LinearGaussian(**arrays, driver=driver)._runs_triton(values)

    assert runs("auto", 64, 4, 2, "cuda")
    assert runs("compiled", 64, 16, 8, "cuda")
    assert runs("auto", 1, 4, 2, "cuda", m0=(64, 1, 4))
    assert not runs("balanced", 64, 4, 2, "cuda")
    assert not runs("auto", 4, 4, 2, "cuda")
    assert not runs("auto", 64, 17, 2, "cuda")
    assert not runs("auto", 64, 4, 9, "cuda")
    assert not runs("auto", 64, 4, 2, "cuda", diffuse=(4, 1))
    assert not runs("auto", 64, 4, 2, "cpu")
