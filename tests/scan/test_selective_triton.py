"""The selective scan in Triton: the generic form's values and gradients in the interpreter, and code for GPUs."""

import pytest

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

INTERPRETED = """
import numpy as np
import torch

from dynplat.scan import selective
from dynplat.scan.kernels import selective_triton

# What would run for tensors on a GPU runs here on the CPU, through the public function.
selective.runs_triton = lambda driver, like: driver == "auto"
scan, calls = selective_triton.scan, []
selective_triton.scan = lambda *arrays, **options: calls.append(1) or scan(*arrays, **options)


def compare(rows, channels, states, lead, share, signed, second=False):
    rng = np.random.default_rng([rows, channels, states])
    own = () if share else lead
    arrays = [
        rng.exponential(0.5, (*own, rows, channels)),
        -rng.exponential(1.0, (channels, states)),
        rng.standard_normal((*own, rows, states)),
        rng.standard_normal((*own, rows, states)),
        rng.standard_normal((*lead, rows, channels)),
        rng.standard_normal(channels),
        rng.standard_normal((*own, channels, states)),
    ]
    seen = [rng.standard_normal((*lead, rows, channels)), rng.standard_normal((*lead, channels, states))]
    found = {}
    for driver in ("auto", "sequential"):
        leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
        values = selective.scan_selective(*leaves, signed=signed, driver=driver)
        gradients = torch.autograd.grad(values, leaves, [torch.tensor(a) for a in seen], create_graph=second)
        found[driver] = [*values, *gradients]
        if second:
            total = sum((g**2).sum() for g in gradients)
            found[driver] += torch.autograd.grad(total, leaves)
    for a, b in zip(found["auto"], found["sequential"], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


# Tiles have 16 rows and 64 numbers in a row: they end before, at and after the arrays do.
compare(1, 1, 1, (), False, False)
compare(16, 4, 16, (2,), True, True)
compare(35, 5, 16, (2,), False, False)
compare(17, 3, 70, (), False, True)
compare(4, 2, 3, (2,), False, True, second=True)

# float32 stays float32, and without gradients nothing is kept.
steps, inputs = torch.rand((2, 2, 9, 3))
given = [steps, -torch.rand((3, 2)), *torch.rand((2, 2, 9, 2)), inputs]
outputs, last = selective.scan_selective(*given)
assert outputs.dtype == last.dtype == torch.float32
assert not outputs.requires_grad
wanted, _ = selective.scan_selective(*given, driver="sequential")
torch.testing.assert_close(outputs, wanted)
# More states than a program holds go another way.
selective.scan_selective(steps, -torch.rand((3, 200)), *torch.rand((2, 2, 9, 200)), inputs)
assert len(calls) == 6
print("equal")
"""

COMPILED = """
from dynplat.scan.kernels import selective_triton

for signed, states in ((False, 16), (True, 16), (False, 128)):
    tile = selective_triton._tile(1024, 128, states)
    assert gpu_code(selective_triton._forward, "fp32", SIGNED=signed, KEEP=True, **tile)["cubin"]
    assert gpu_code(selective_triton._backward, "fp32", SIGNED=signed, **tile)["cubin"]
print("compiled")
"""


def test_interpreted_values_and_gradients_equal_the_generic_form(output_of):
    assert output_of(INTERPRETED, TRITON_INTERPRET="1") == "equal\n"


def test_code_for_a_gpu_is_made(output_with_gpu_code):
    assert output_with_gpu_code(COMPILED) == "compiled\n"
