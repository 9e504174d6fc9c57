"""Every way to run every registered cell gives the numbers of `loop`: values, last states, gradients."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from dynplat.arrays import framework
from dynplat_deepssm.cells import CELLS
from dynplat_deepssm.executors import MODES, Rows, flatten, run, step, supports
from dynplat_deepssm.tests.conftest import EXAMPLES, as_arrays, assert_close, complex_aware, host

CASES = [(name, mode) for name, cell in EXAMPLES.items() for mode in sorted(cell.modes | {"auto"})]


def sequence(cell, length, seed=0, lead=(2,)) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((*lead, length, cell.num_inputs))
    dt = rng.uniform(0.0, 2.0, (*lead, length)) if cell.takes_gaps else None
    return u, dt, rng.random((*lead, length)) < 0.8


def cut(array, *where):
    return None if array is None else array[(slice(None), slice(*where))]


def test_every_registered_cell_has_an_example():
    assert set(CELLS.values()) == {type(cell) for cell in EXAMPLES.values()}
    assert {mode for cell in EXAMPLES.values() for mode in cell.modes} == set(MODES)


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_modes_agree_with_loop_across_a_cut(name, mode):
    cell = EXAMPLES[name]
    weights = cell.init(0)
    u, gaps, mask = sequence(cell, 150)
    for dt in [None] if mode == "convolution" or gaps is None else [None, gaps]:
        for here in (None, mask):
            wanted = run(cell, weights, u, dt, mask=here, mode="loop")
            for kind in ("numpy", "torch"):
                with framework(kind) as make:
                    make = complex_aware(make)
                    own = as_arrays(weights, make)
                    given = [None if a is None else make(a) for a in (u, dt, here)]
                    whole = run(cell, own, given[0], given[1], mask=given[2], mode=mode)
                    assert_close(host(whole), wanted, 1e-12)
                    ys, state = [], None
                    # One row, fewer rows than a state is long, and more than a block.
                    for start, stop in ((0, 1), (1, 4), (4, 77), (77, 150)):
                        part = [cut(a, start, stop) for a in given]
                        y, state = run(cell, own, part[0], part[1], mask=part[2], mode=mode, state=state)
                        ys.append(host(y))
                    assert_close((np.concatenate(ys, axis=-2), host(state)), wanted, 1e-12)


@pytest.mark.parametrize("name", EXAMPLES)
def test_steps_are_rows(name):
    cell = EXAMPLES[name]
    weights = cell.init(1)
    u, dt, _ = sequence(cell, 6)
    y, last = run(cell, weights, u, dt)
    state = cell.initial(weights, u)
    for k in range(6):
        row, state = step(cell, weights, state, u[:, k], None if dt is None else dt[:, k])
        assert_close(row, y[:, k])
    assert_close(state, last)
    assert run(cell, weights, u, dt, keep_state=False)[1] is None
    assert {"loop", "step"} <= supports(cell)


def loss_and_gradients_in_torch(cell, weights, u, dt, mask, mode, probe):
    with framework("torch") as make:
        own = {name: make(value).requires_grad_() for name, value in weights.items()}
        inputs = make(u).requires_grad_()
        y, state = run(cell, own, inputs, None if dt is None else make(dt), mask=make(mask), mode=mode)
        loss = (y * make(probe)).sum() + (state * state.conj()).real.sum()
        found = torch.autograd.grad(loss, [*own.values(), inputs])
        return dict(zip([*own, "u"], (host(g) for g in found), strict=True))


@pytest.mark.parametrize("name", EXAMPLES)
def test_gradients_of_all_modes_and_of_jax_are_those_of_loop_in_torch(name):
    cell = EXAMPLES[name]
    weights = cell.init(2)
    weights = {key: value for key, value in weights.items() if key != "loading"}
    u, gaps, mask = sequence(cell, 9, seed=3)
    probe = np.random.default_rng(4).standard_normal((2, 9, cell.num_outputs))
    for mode in sorted(cell.modes):
        for dt in [None] if mode == "convolution" or gaps is None else [None, gaps]:
            wanted = loss_and_gradients_in_torch(cell, weights, u, dt, mask, "loop", probe)
            assert_close(loss_and_gradients_in_torch(cell, weights, u, dt, mask, mode, probe), wanted)
            assert np.abs(wanted["u"]).max() > 1e-6
    wanted = loss_and_gradients_in_torch(cell, weights, u, gaps, mask, "loop", probe)
    values = run(cell, weights, u, gaps, mask=mask, mode="loop")
    with framework("jax") as make:

        def loss(own, inputs):
            y, state = cell.apply(own, inputs, Rows(None if gaps is None else make(gaps), make(mask)))
            return jnp.sum(y * make(probe)) + jnp.sum(jnp.real(state * jnp.conj(state))), (y, state)

        grad = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
        (_, found), (own, inputs) = grad(as_arrays(weights, make), make(u))
        assert_close(host(found), values)
        assert_close(host(own) | {"u": host(inputs)}, wanted)


@pytest.mark.parametrize("name", EXAMPLES)
def test_weights_of_draws_broadcast(name):
    cell = EXAMPLES[name]
    draws = [cell.init(seed) for seed in (5, 6, 7)]
    stacked = {key: np.stack([draw[key] for draw in draws])[:, None] for key in draws[0]}
    u, gaps, mask = sequence(cell, 11)
    for mode in sorted(cell.modes):
        dt = None if mode == "convolution" else gaps
        found = run(cell, stacked, u, dt, mask=mask, mode=mode)
        each = [run(cell, draw, u, dt, mask=mask, mode=mode) for draw in draws]
        for part in (0, 1):
            wanted = np.stack([one[part] for one in each])
            np.testing.assert_allclose(np.broadcast_to(found[part], wanted.shape), wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", EXAMPLES)
def test_holes_do_not_depend_on_filler_and_padding_keeps_the_state(name):
    cell = EXAMPLES[name]
    weights = cell.init(8)
    u, dt, mask = sequence(cell, 12)
    other = np.where(mask[..., None], u, 1e6)
    for mode in sorted(cell.modes):
        gaps = None if mode == "convolution" else dt
        assert_close(
            run(cell, weights, other, gaps, mask=mask, mode=mode), run(cell, weights, u, gaps, mask=mask, mode=mode)
        )
    if not cell.takes_gaps:
        return
    padded = np.concatenate([u, np.full((2, 3, cell.num_inputs), 7.0)], axis=1)
    gaps = np.concatenate([dt, np.zeros((2, 3))], axis=1)
    y, state = run(cell, weights, padded, gaps, mask=np.concatenate([mask, np.zeros((2, 3), bool)], axis=1))
    short, wanted = run(cell, weights, u, dt, mask=mask)
    # The input of the row before, which `foh` remembers, is that of the padding; the coefficients stay.
    kept = cell.num_states if name == "hippo foh" else None
    assert_close((y[:, :12], state[..., :kept]), (short, wanted[..., :kept]))


@pytest.mark.parametrize("name", EXAMPLES)
def test_seeds_and_real_weights(name):
    cell = EXAMPLES[name]
    one, same, other = cell.init(3), cell.init(3), cell.init(np.random.SeedSequence(4))
    assert all(value.dtype == np.float64 for _, value in flatten(one))
    for key in one:
        np.testing.assert_array_equal(one[key], same[key])
    assert not one or type(cell).__name__ == "HiPPO" or any(np.any(one[key] != other[key]) for key in one)
    hash(cell)


def test_float32_stays_float32():
    for name in ("s4d", "s5", "lru", "mamba", "mamba2", "delta signed decays", "companion", "taps", "hippo"):
        cell = EXAMPLES[name]
        u, dt, _ = sequence(cell, 40)
        wanted, _ = run(cell, cell.init(0), u, dt, mode="loop")
        with framework("torch", dtype="float32") as make:
            y, _ = run(cell, as_arrays(cell.init(0), make), make(u), None if dt is None else make(dt))
        assert y.dtype == torch.float32
        assert_close(host(y), wanted, 2e-5)


@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_leaves_the_device(name):
    """Tensors without numbers: an array made on the host could not meet them, and a number could not be read."""
    cell = EXAMPLES[name]
    u, gaps, mask = (None if a is None else torch.as_tensor(a).to("meta") for a in sequence(cell, 70))
    weights = {key: torch.as_tensor(value).to("meta") for key, value in cell.init(0).items()}
    for mode in sorted(cell.modes):
        y, state = run(cell, weights, u, None if mode == "convolution" else gaps, mask=mask, mode=mode)
        assert y.device.type == state.device.type == "meta"
        assert tuple(y.shape) == (2, 70, cell.num_outputs)
