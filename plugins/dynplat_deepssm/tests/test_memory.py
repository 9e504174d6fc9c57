"""What a forward pass keeps for the backward pass under torch."""

import numpy as np
import pytest
import torch

from dynplat_deepssm.cells import Mamba
from dynplat_deepssm.executors import run, supports


def numbers_kept(cell, mode, rows=256):
    """Numbers that the graph keeps, for each row, channel and state: saved tensors, and arrays of compiled kernels."""
    weights = {name: torch.tensor(value, requires_grad=True) for name, value in cell.init(0).items()}
    u = torch.tensor(np.random.default_rng(0).standard_normal((2, rows, cell.num_inputs)))
    saved = {}

    def pack(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y, _ = run(cell, weights, u, mode=mode)
    pending, seen, arrays = [y.grad_fn], set(), 0
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        arrays += sum(array.nbytes for array in getattr(node, "kept", ()))
        pending += [parent for parent, _ in node.next_functions]
    total = arrays + sum(storage.nbytes() for storage in saved.values())
    return total / 8 / (2 * rows * cell.num_channels * cell.num_states)


@pytest.mark.parametrize("eigenvalues", ["positive", "signed"])
def test_fused_mamba_keeps_a_tenth_of_what_a_scan_does(eigenvalues):
    cell = Mamba(64, 16, eigenvalues=eigenvalues)
    assert "fused" in supports(cell)
    found = numbers_kept(cell, "fused")
    # Inputs, steps, what they are made of and outputs, one number for 16 states each; and a state in 32.
    assert found < 0.5
    assert numbers_kept(cell, "auto") == found
    # Multipliers, offsets and states.
    assert numbers_kept(cell, "scan") > 3.0
