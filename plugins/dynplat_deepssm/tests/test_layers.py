"""Blocks, mixers, directions, patches and networks: against their equations, in pieces, and in both frameworks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from dynplat.arrays import framework
from dynplat.errors import ArgumentError
from dynplat_deepssm.blocks import Bidirectional, Block, Patched
from dynplat_deepssm.cells import LRU, S4D, S5, DeltaNet, Mamba, Mamba2, Taps
from dynplat_deepssm.executors import closed_loop, flatten, run, step, supports, unflatten
from dynplat_deepssm.jax import JaxLayer
from dynplat_deepssm.maps import Linear, Norm
from dynplat_deepssm.mixer import Mixer
from dynplat_deepssm.network import Network
from dynplat_deepssm.tests.conftest import as_arrays, assert_close, host
from dynplat_deepssm.torch import TorchLayer

MAMBA2, DELTA = Mamba2(2, 3, 4), DeltaNet(2, 3, 4, eigenvalues="signed", decays=True)
MIXERS = {
    "mamba": Mixer(4, Mamba(8, 3), convolved=8, gate="silu"),
    "mamba2": Mixer(4, MAMBA2, convolved=MAMBA2.num_inputs - 2, gate="normed"),
    "delta": Mixer(4, DELTA, convolved=DELTA.num_inputs - 2, gate="norm"),
    "plain": Mixer(4, S5(3, 2, 8)),
}
#: One layer of every kind, causal, and taking gaps.
NETWORK = Network(
    (
        Linear(2, 4),
        Block(S4D(4, 8)),
        Block(MIXERS["mamba"], gate="none", norm="rms"),
        Block(MIXERS["mamba2"], gate="none", place="after"),
        Block(MIXERS["delta"], gate="half-glu", norm="none"),
        Block(LRU(4, 4, 6)),
        Norm(4),
        Linear(4, 2, bias=False),
    )
)
#: Fewer, for compilers.
SMALL = Network((Linear(2, 4), Block(S4D(4, 8)), Block(MIXERS["mamba"], gate="none", norm="rms"), Linear(4, 2)))


def sequence(layer, length=20, seed=0):
    rng = np.random.default_rng(seed)
    u, dt = rng.standard_normal((3, length, layer.num_inputs)), rng.uniform(0.0, 2.0, (3, length))
    return u, dt, rng.random((3, length)) < 0.8


def silu(x):
    return x / (1.0 + np.exp(-x))


def gelu(x):
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


def rms(x, scale):
    return scale * x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-5)


@pytest.mark.parametrize("name", MIXERS)
def test_mixer_is_its_parts(name):
    mixer = MIXERS[name]
    weights = mixer.init(0)
    u, dt, mask = sequence(mixer)
    mapped = u @ weights["into"]["weight"]
    x, z = mapped[..., : mixer.cell.num_inputs], mapped[..., mixer.cell.num_inputs :]
    if mixer.convolved:
        near = np.where(mask[..., None], x[..., : mixer.convolved], 0.0)
        past = np.concatenate([np.zeros((3, 3, mixer.convolved)), near], axis=1)
        near = sum(weights["taps"]["taps"][j] * past[:, 3 - j : 23 - j] for j in range(4)) + weights["taps"]["bias"]
        x = np.concatenate([silu(near), x[..., mixer.convolved :]], axis=-1)
    y, _ = run(mixer.cell, weights["cell"], x, dt, mask=mask, mode="loop")
    y = y * silu(z) if name in ("mamba", "mamba2") else y
    y = rms(y, weights["norm"]["scale"]) if name in ("mamba2", "delta") else y
    for mode in sorted(mixer.modes):
        assert_close(run(mixer, weights, u, dt, mask=mask, mode=mode)[0], y @ weights["out"]["weight"])


@pytest.mark.parametrize("gate", ["none", "glu", "half-glu"])
@pytest.mark.parametrize(("norm", "place"), [("layer", "before"), ("rms", "after"), ("none", "before")])
def test_block_is_its_parts(gate, norm, place):
    block = Block(LRU(3, 3, 4), gate, norm, place)
    weights = block.init(0)
    if norm != "none":
        weights["norm"]["scale"] = np.array([0.5, 1.0, 2.0])
    u, dt, mask = sequence(block)

    def normed(x):
        if norm == "none":
            return x
        if norm == "rms":
            return rms(x, weights["norm"]["scale"])
        return rms(x - x.mean(axis=-1, keepdims=True), weights["norm"]["scale"]) + weights["norm"]["shift"]

    y, _ = run(block.layer, weights["layer"], normed(u) if place == "before" else u, dt, mask=mask, mode="loop")
    if gate != "none":
        mapped = gelu(y) @ weights["gate"]["weight"] + weights["gate"]["bias"]
        y = y / (1.0 + np.exp(-mapped)) if gate == "half-glu" else mapped[..., :3] / (1.0 + np.exp(-mapped[..., 3:]))
    y = u + y
    assert_close(run(block, weights, u, dt, mask=mask)[0], normed(y) if place == "after" else y)


def test_both_directions():
    """What the backward layer sees: the sequence turned round, with the gaps between the same rows, padding and all."""
    layer = Bidirectional(S5(2, 2, 4), LRU(2, 2, 3))
    weights = layer.init(0)
    u, dt, mask = sequence(layer)
    y, state = run(layer, weights, u, dt)
    there, _ = run(layer.forward, weights["ahead"], u, dt)
    back, _ = run(layer.backward, weights["back"], u[:, ::-1], np.concatenate([dt[:, :1], dt[:, :0:-1]], axis=1))
    assert_close(y, there + back[:, ::-1])
    assert state is None
    mask[:, -2:] = [[True, True], [False, True], [True, False]]
    y, _ = run(layer, weights, u, dt, mask=mask)
    padded, gaps, here = (np.concatenate([a, a[:, :4] * 0], axis=1) for a in (u, dt, mask))
    padded[:, 20:] = 9.0
    assert_close(run(layer, weights, padded, gaps, mask=here)[0][:, :20], y)
    assert supports(layer) == {"loop", "scan"}


def test_patches():
    layer = Patched(S5(8, 8, 6), 4)
    weights = layer.init(0)
    u, dt, _ = sequence(layer)
    mask = np.ones((3, 20), bool)
    mask[:, 4:8], mask[:, 9] = False, False
    inner = np.where(mask[..., None], u, 0.0).reshape(3, 5, 8)
    wanted, last = run(layer.layer, weights["layer"], inner, dt.reshape(3, 5, 4).sum(-1), mask=np.arange(5) != 1)
    y, state = run(layer, weights, u, dt, mask=mask)
    assert_close((y, state), (wanted.reshape(3, 20, 2), last))
    first, carried = run(layer, weights, u[:, :8], dt[:, :8], mask=mask[:, :8])
    second, _ = run(layer, weights, u[:, 8:], dt[:, 8:], mask=mask[:, 8:], state=carried)
    assert_close(np.concatenate([first, second], axis=1), y)
    with pytest.raises(ArgumentError, match="a sequence of 3 rows is shorter than one patch of 4 rows; put rows with"):
        run(layer, weights, u[:, :3])
    with pytest.raises(ArgumentError, match="a sequence of 6 rows is no whole number of patches of 4 rows"):
        run(layer, weights, u[:, :6])


def test_network_in_pieces_by_steps_and_in_a_closed_loop():
    weights = NETWORK.init(0)
    u, dt, mask = sequence(NETWORK)
    y, state = run(NETWORK, weights, u, dt, mask=mask, mode="loop")
    assert_close(run(NETWORK, weights, u, dt, mask=mask), (y, state))
    first, carried = run(NETWORK, weights, u[:, :7], dt[:, :7], mask=mask[:, :7])
    second, last = run(NETWORK, weights, u[:, 7:], dt[:, 7:], mask=mask[:, 7:], state=carried)
    assert_close((np.concatenate([first, second], axis=1), last), (y, state))
    assert supports(NETWORK) == {"loop", "step", "closed_loop"}
    ahead = np.random.default_rng(1).uniform(0.1, 1.0, (3, 5))
    for gaps in (None, ahead):
        found = closed_loop(NETWORK, weights, state, u[:, -1], 5, gaps)
        now, own = u[:, -1], state
        for k in range(5):
            now, own = step(NETWORK, weights, own, now, None if gaps is None else gaps[:, k])
            assert_close(found[:, k], now)


def test_frameworks_agree_on_networks_and_their_gradients():
    weights = SMALL.init(0)
    u, dt, mask = sequence(SMALL, length=9)
    wanted = run(SMALL, weights, u, dt, mask=mask)
    module = TorchLayer(SMALL, seed=0, dtype=torch.float64)
    with framework("torch") as make:
        given = make(u), make(dt), make(mask)
        y, state = module(given[0], given[1], mask=given[2])
        (y**2).sum().backward()
        slopes = {name: host(parameter.grad) for name, parameter in module.named_parameters()}
        ahead = closed_loop(SMALL, module.nested(), state, given[0][:, -1], 4, given[1][:, :4])
        assert_close(host((y, state)), wanted)
    assert set(slopes) == {name for name, _ in flatten(weights)}
    # What Pyro does: the module runs with weights from outside.
    outside = {name: torch.zeros_like(value) for name, value in module.named_parameters()}
    zero, _ = torch.func.functional_call(module, outside, (given[0],))
    assert not zero.any()
    with framework("jax") as make:
        layer = JaxLayer(SMALL, seed=0, dtype=jnp.float64)
        arrays = make(u), make(dt), make(mask)

        @jax.jit
        def value(layer, u, dt, mask):
            found = layer(u, dt, mask=mask)
            return jnp.sum(found[0] ** 2), found

        (_, found), slope = jax.jit(jax.value_and_grad(value, has_aux=True))(layer, *arrays)
        assert_close(host(found), wanted)
        again = closed_loop(SMALL, layer.parameters, found[1], arrays[0][:, -1], 4, arrays[1][:, :4])
        assert_close(host(again), host(ahead))
        flat, _ = jax.tree_util.tree_flatten_with_path(slope)
        names = {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in flat}
    assert_close(names, slopes)


def test_names_of_weights_come_back():
    weights = NETWORK.init(0)
    assert_close(unflatten(dict(flatten(weights))), weights)
    assert dict(flatten(weights))["2.layer.cell.log_rate"].shape == (8, 3)
    sites = {"net." + name: value for name, value in flatten(weights)} | {"noise_sd": np.ones(1)}
    assert_close(unflatten(sites, "net."), weights)


def test_default_weights_are_float32():
    assert {p.dtype for p in TorchLayer(Block(LRU(2, 2, 3)), seed=1).parameters()} == {torch.float32}
    assert {leaf.dtype for leaf in jax.tree.leaves(JaxLayer(Block(LRU(2, 2, 3)), seed=1))} == {np.dtype("float32")}


def test_layers_that_do_not_fit():
    with pytest.raises(ArgumentError, match=r"layer 0 \(Linear\) gives 3 outputs, and layer 1 \(Taps\) takes 2 inputs"):
        Network((Linear(2, 3), Taps(2)))
    with pytest.raises(ArgumentError, match="`layers` must hold at least one layer; got none"):
        Network(())
    with pytest.raises(ArgumentError, match="`layer` of a residual block must have as many outputs as inputs; Linear"):
        Block(Linear(2, 3))
    with pytest.raises(ArgumentError, match="`convolved` must be a number of the cell's 3 inputs; got 4"):
        Mixer(4, S5(3, 2, 8), convolved=4)
    with pytest.raises(ArgumentError, match=r"same inputs and outputs; got \(2, 2\) and \(2, 3\)"):
        Bidirectional(Linear(2, 2), Linear(2, 3))
    with pytest.raises(ArgumentError, match="`layer` must have multiples of `size` inputs and outputs; Linear has 6"):
        Patched(Linear(6, 4), 3)
    for wrapper in (TorchLayer, JaxLayer):
        with pytest.raises(
            ArgumentError, match="DeltaNet has no weights to fit; call `run` with an empty dict instead"
        ):
            wrapper(DeltaNet(1, 2, 2), seed=0)


def test_draws_of_weights_pass_through_networks():
    draws = [NETWORK.init(seed) for seed in (0, 1)]
    stacked = unflatten({name: np.stack([dict(flatten(draw))[name] for draw in draws])[:, None]
                         for name, _ in flatten(draws[0])})  # fmt: skip
    u, dt, mask = sequence(NETWORK)
    found, _ = run(NETWORK, stacked, u, dt, mask=mask)
    assert_close(found, np.stack([run(NETWORK, draw, u, dt, mask=mask)[0] for draw in draws]))
    with framework("torch") as make:
        again, _ = run(NETWORK, as_arrays(stacked, make), make(u), make(dt), mask=make(mask))
    assert_close(host(again), found)
