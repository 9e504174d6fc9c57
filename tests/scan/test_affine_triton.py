"""The recurrence in Triton: the sequential driver's values and gradients in the interpreter, and code for GPUs."""

import pytest

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

INTERPRETED = """
import numpy as np
import torch

import dynplat.scan.affine as affine
from dynplat.scan.kernels import affine_triton
from dynplat.testing.affine import random_affine

# What would run for tensors on a GPU runs here on the CPU, through the public function.
affine.runs_triton = lambda driver, like: driver == "auto"
scan, calls = affine_triton.scan, []
affine_triton.scan = lambda *arrays, **options: calls.append(1) or scan(*arrays, **options)


def compare(dtype, rows, channels, lead, moving, share, reverse, second=False):
    rng = np.random.default_rng([rows, channels, moving, share])
    arrays = random_affine(
        rng, size=channels, num_steps=rows, lead=lead, moving=moving, share=share, dtype=dtype, scale=0.5
    )
    if not moving:
        arrays = arrays._replace(multipliers=arrays.multipliers / np.abs(arrays.multipliers).max())
    else:
        # A constant offset, and an initial state that the batch shares.
        arrays = arrays._replace(offsets=arrays.offsets[..., :1, :], initial=arrays.initial[(0,) * len(lead)])
    found = {}
    for driver in ("auto", "sequential"):
        leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
        states = affine.scan_diagonal(*leaves, reverse=reverse, driver=driver)
        weights = torch.tensor(random_affine(rng_of(1), size=channels, num_steps=rows, lead=lead, dtype=dtype).offsets)
        gradients = torch.autograd.grad(states, leaves, weights, create_graph=second)
        found[driver] = [states, *gradients]
        if second:
            total = sum((g.abs() ** 2).sum() for g in gradients)
            found[driver] += torch.autograd.grad(total, leaves)
    for a, b in zip(found["auto"], found["sequential"], strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def rng_of(seed):
    return np.random.default_rng(seed)


for dtype in ("float64", "complex128"):
    # Tiles have 64 rows and 16 channels: they end before, at and after the array does.
    compare(dtype, 1, 1, (), True, False, False)
    compare(dtype, 64, 3, (2,), True, True, True)
    compare(dtype, 67, 2, (2,), False, True, False)
    compare(dtype, 130, 1, (), False, False, True)
    compare(dtype, 3, 17, (2, 2), True, False, False, second=True)

# Only what is wanted is computed; float32 stays float32.
multipliers = torch.full((1, 2), 0.5, requires_grad=True)
states = affine.scan_diagonal(multipliers, torch.ones((9, 2)))
(gradient,) = torch.autograd.grad(states[-1].sum(), multipliers)
assert gradient.dtype == torch.float32
# d/da of the sum of a^k for k < 9.
np.testing.assert_allclose(gradient, [[sum(k * 0.5 ** (k - 1) for k in range(1, 9))] * 2], rtol=1e-6)
assert not affine.scan_diagonal(multipliers.detach(), torch.ones((9, 2))).requires_grad
assert len(calls) == 12
print("equal")
"""

COMPILED = """
from dynplat.scan.kernels import affine_triton

tile = {"ROWS": affine_triton.TILE_ROWS, "CHANNELS": affine_triton.TILE_CHANNELS}
for pairs in (False, True):
    assert gpu_code(affine_triton._forward, "fp32", REVERSE=False, COMPLEX=pairs, **tile)["cubin"]
    for of_multipliers, of_offsets in ((1, 1), (2, 1), (0, 2)):
        asm = gpu_code(affine_triton._backward, "fp32", OF_MULTIPLIERS=of_multipliers, OF_OFFSETS=of_offsets,
                       REVERSE=True, COMPLEX=pairs, **tile)
        assert asm["cubin"]
print("compiled")
"""


def test_interpreted_values_and_gradients_equal_the_sequential_driver(output_of):
    assert output_of(INTERPRETED, TRITON_INTERPRET="1") == "equal\n"


def test_code_for_a_gpu_is_made(output_with_gpu_code):
    assert output_with_gpu_code(COMPILED) == "compiled\n"


def test_triton_is_chosen_on_a_gpu_alone(monkeypatch):
    import numpy as np
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from dynplat.scan import drivers

    with FakeTensorMode():
        on_gpu, half = torch.empty(3, device="cuda"), torch.empty(3, device="cuda", dtype=torch.float16)
    for driver, like, wanted in (
        ("auto", on_gpu, True),
        ("compiled", on_gpu, True),
        ("balanced", on_gpu, False),
        ("sequential", on_gpu, False),
        ("auto", half, False),
        ("auto", torch.empty(3), False),
        ("auto", torch.empty(3, device="meta"), False),
        ("auto", np.empty(3), False),
    ):
        assert drivers.runs_triton(driver, like) == wanted
    assert drivers.choose_driver("auto", on_gpu, 1000) == "balanced"
    monkeypatch.setattr(drivers, "_has_triton", lambda: False)
    assert not drivers.runs_triton("auto", on_gpu)
