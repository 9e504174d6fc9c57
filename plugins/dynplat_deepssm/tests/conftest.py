"""What tests of the family share."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynplat.arrays import to_numpy
from dynplat_deepssm.cells import LRU, S4D, S5, Companion, DeltaNet, HiPPO, Mamba, Mamba2, Taps
from dynplat_deepssm.executors import flatten, unflatten

#: One or more of every registered cell, small.
EXAMPLES = {
    "hippo": HiPPO(2, 6, step=0.1),
    "hippo foh": HiPPO(2, 6, step=0.1, discretisation="foh"),
    "hippo legt bilinear": HiPPO(2, 6, basis="legt", step=0.05, discretisation="bilinear"),
    "hippo fout backward": HiPPO(1, 6, basis="fout", step=0.05, discretisation="backward"),
    "s4d": S4D(3, 8),
    "s4d lin bilinear": S4D(3, 8, start="lin", discretisation="bilinear"),
    "s4d inv softmax": S4D(3, 8, start="inv", softmax_length=40),
    "s4d real": S4D(3, 4, start="real"),
    "s4d perturbed": S4D(2, 6, start="perturbed"),
    "s5": S5(3, 2, 8, num_blocks=2),
    "s5 noisy": S5(3, 2, 4, num_noises=2),
    "s5 perturbed": S5(2, 2, 8, start="perturbed"),
    "lru": LRU(3, 2, 5, least=0.5),
    "mamba": Mamba(3, 4),
    "mamba signed": Mamba(18, 2, eigenvalues="signed", step_range=(0.1, 1.0)),
    "mamba2": Mamba2(2, 3, 4),
    "mamba2 signed": Mamba2(2, 3, 4, eigenvalues="signed"),
    "delta": DeltaNet(2, 3, 4),
    "delta signed decays": DeltaNet(2, 3, 4, eigenvalues="signed", decays=True),
    "companion": Companion(3, 5),
    "companion closed": Companion(3, 5, closed=True),
    "taps": Taps(3, 4),
}

FRAMEWORKS = ("numpy", "torch", "jax")


def complex_aware(make):
    """A maker of arrays that keeps imaginary parts."""
    return lambda value: (
        make(value.real.copy()) + 1j * make(value.imag.copy()) if np.iscomplexobj(value) else make(value)
    )


def as_arrays(parameters, make):
    """Weights in a framework."""
    return unflatten({name: make(value) for name, value in flatten(parameters)})


def host(value) -> Any:
    """NumPy arrays of a state of any nesting."""
    if value is None:
        return None
    if isinstance(value, tuple):
        return tuple(host(part) for part in value)
    if isinstance(value, dict):
        return {name: host(part) for name, part in value.items()}
    return to_numpy(value)


def assert_close(found, wanted, tolerance=1e-9):
    """Compare arrays, or states of any nesting, on the scale of the largest number."""
    if isinstance(wanted, tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_close(one, other, tolerance)
        return
    if isinstance(wanted, dict):
        assert set(found) == set(wanted)
        for name in wanted:
            assert_close(found[name], wanted[name], tolerance)
        return
    if wanted is None:
        assert found is None
        return
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    scale = max(np.abs(wanted).max(initial=0.0), 1e-3)
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * scale)
