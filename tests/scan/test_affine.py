"""States of affine recurrences are the solution of one linear system, whatever the driver and framework."""

import re

import numpy as np
import pytest

from dynplat.arrays import framework, to_numpy
from dynplat.errors import ArgumentError, CapabilityError
from dynplat.scan import forced_driver
from dynplat.scan.affine import scan_dense, scan_diagonal
from dynplat.testing.affine import dense_affine_states, random_affine

FRAMEWORKS = ("numpy", "torch", "jax")
DRIVERS = ("sequential", "balanced", "compiled", "auto")
SCANS = {"diagonal": scan_diagonal, "dense": scan_dense}
DTYPES = ("float64", "complex128")


def of_framework(make, arrays):
    """Arrays of a framework; `make` alone would take imaginary parts away."""
    return [make(a) if a.dtype.kind != "c" else make(a.real.copy()) + 1j * make(a.imag.copy()) for a in arrays]


def twin_of(arrays, *, dense, reverse):
    """States of every leading index by the dense twin."""
    multipliers, offsets, initial = arrays
    core = 2 if dense else 1
    lead, (T, n) = offsets.shape[:-2], offsets.shape[-2:]
    multipliers = np.broadcast_to(multipliers, (*lead, T, *multipliers.shape[-core:]))
    states = np.empty((*lead, T, n), np.result_type(*arrays))
    for index in np.ndindex(*lead):
        states[index] = dense_affine_states(multipliers[index], offsets[index], initial[index], reverse=reverse)
    return states


@pytest.mark.parametrize("form", SCANS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_states_solve_the_system(name, dtype, form):
    dense = form == "dense"
    rng = np.random.default_rng(1)
    for T, n, lead in ((1, 1, ()), (2, 3, (5,)), (9, 2, (2, 3)), (17, 4, ())):
        for moving, share, reverse in ((True, False, False), (False, True, True), (True, True, False)):
            arrays = random_affine(
                rng, size=n, num_steps=T, lead=lead, dense=dense, moving=moving, share=share, dtype=dtype, zeros=0.2
            )
            wanted = twin_of(arrays, dense=dense, reverse=reverse)
            with framework(name) as make:
                own = of_framework(make, arrays)
                for driver in DRIVERS:
                    states = SCANS[form](*own, reverse=reverse, driver=driver)
                    assert type(states) is type(own[1])
                    assert states.dtype == own[1].dtype
                    np.testing.assert_allclose(to_numpy(states), wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("form", SCANS)
@pytest.mark.parametrize("driver", DRIVERS)
def test_leading_axes_broadcast_between_all_arguments(driver, form):
    rng = np.random.default_rng(2)
    core = (3, 3) if form == "dense" else (3,)
    multipliers, offsets = 0.5 * rng.standard_normal((4, 1, 6, *core)), rng.standard_normal((2, 1, 3))
    initial = rng.standard_normal((5, 1, 1, 3))
    states = SCANS[form](multipliers, offsets, initial, driver=driver)
    assert states.shape == (5, 4, 2, 6, 3)
    whole = (np.broadcast_to(multipliers, (5, 4, 2, 6, *core)), np.broadcast_to(offsets, (5, 4, 2, 6, 3)))
    wanted = twin_of((*whole, np.broadcast_to(initial[..., 0, :], (5, 1, 3))[:, :, None].repeat(4, 1).repeat(2, 2)),
                     dense=form == "dense", reverse=False)  # fmt: skip
    np.testing.assert_allclose(states, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("reverse", [False, True])
def test_initial_none_is_zero_and_one_multiplier_serves_all_channels(driver, reverse):
    rng = np.random.default_rng(3)
    decay, offsets = rng.uniform(0.5, 1.0, (2, 40, 1)), rng.standard_normal((2, 40, 3))
    states = scan_diagonal(decay, offsets, driver=driver, reverse=reverse)
    wanted = scan_diagonal(decay.repeat(3, axis=-1), offsets, np.zeros(3), driver="sequential", reverse=reverse)
    np.testing.assert_allclose(states, wanted, rtol=1e-12)
    first = -1 if reverse else 0
    np.testing.assert_array_equal(states[:, first], offsets[:, first])


@pytest.mark.parametrize("driver", DRIVERS)
def test_constant_multiplier_and_offset_give_the_geometric_series(driver):
    states = scan_diagonal(np.array([[0.5, 1.0]]), np.array([[1.0, 2.0]]), np.array([3.0, 0.0]), driver=driver)
    np.testing.assert_array_equal(states, [[2.5, 2.0]])
    rows = np.arange(1, 31)[:, None]
    states = scan_diagonal(np.full((30, 1), 0.5), np.array([[1.0]]), np.array([3.0]), driver=driver)
    np.testing.assert_allclose(states, 2.0 + 0.5**rows, rtol=1e-15)


@pytest.mark.parametrize("driver", DRIVERS)
def test_decay_that_underflows_forgets_and_harms_no_gradient(driver):
    import torch

    decay = torch.full((400, 2), 1e-3, dtype=torch.float64, requires_grad=True)
    offsets = torch.zeros((400, 2), dtype=torch.float64)
    offsets[0], offsets[399] = 1.0, 2.0
    states = scan_diagonal(decay, offsets, driver=driver)
    assert (states[200:399] == 0).all()
    assert (states[399] == 2.0).all()
    np.testing.assert_allclose(to_numpy(states[:90, 0]), 1e-3 ** np.arange(90), rtol=1e-12)
    (gradient,) = torch.autograd.grad(states.sum(), decay)
    assert torch.isfinite(gradient).all()
    np.testing.assert_allclose(gradient[1, 0], 1.0 / (1.0 - 1e-3), rtol=1e-12)


@pytest.mark.parametrize("driver", DRIVERS)
def test_growth_keeps_relative_accuracy(driver):
    states = scan_diagonal(np.full((700, 1), 2.0), np.zeros((700, 1)), np.ones(1), driver=driver)
    np.testing.assert_array_equal(states[:, 0], 2.0 ** np.arange(1, 701))


@pytest.mark.parametrize("driver", ["sequential", "compiled", "auto"])
def test_states_stay_finite_where_products_of_multipliers_overflow(driver):
    # Two multipliers in a row are too large to multiply with each other; a row that forgets follows them.
    multipliers, offsets = np.tile([[1e200], [1e200], [0.0]], (100, 1)), np.tile([[0.0], [0.0], [1e-300]], (100, 1))
    states = scan_diagonal(multipliers, offsets, np.array([1e-300]), driver=driver)
    np.testing.assert_allclose(states, np.tile([[1e-100], [1e100], [1e-300]], (100, 1)), rtol=1e-14)


def test_dtypes_join_and_frameworks_follow():
    import torch

    multipliers, offsets = np.full((1, 2), 0.5 + 0.5j), np.ones((3, 2))
    assert scan_diagonal(multipliers, offsets).dtype == np.complex128
    assert scan_diagonal([[0.5, 1]], [[1, 2], [3, 4]]).dtype == np.float64
    assert scan_diagonal(np.float32([[0.5]]), np.ones((3, 1), np.float32)).dtype == np.float32
    for dtype, wanted in ((torch.float32, torch.complex64), (torch.float64, torch.complex128)):
        states = scan_diagonal(multipliers, torch.ones((3, 2), dtype=dtype))
        assert states.dtype == wanted
        np.testing.assert_allclose(to_numpy(states), scan_diagonal(multipliers, offsets), rtol=1e-6)
    assert scan_diagonal(np.full((1, 2), 0.5), torch.ones((3, 2))).dtype == torch.float32
    half = scan_diagonal(torch.full((1, 2), 0.5, dtype=torch.bfloat16), torch.ones((30, 2), dtype=torch.bfloat16))
    assert half.dtype == torch.bfloat16
    np.testing.assert_allclose(half.float()[-1], 2.0, rtol=1e-2)


def test_gradient_of_a_real_argument_of_a_complex_recurrence_is_real():
    import torch

    rng = np.random.default_rng(4)
    multipliers = torch.tensor(random_affine(rng, size=2, num_steps=7, dtype="complex128").multipliers)
    found = []
    for driver in ("compiled", "sequential"):
        offsets = torch.tensor(np.ones((7, 2)), requires_grad=True)
        (gradient,) = torch.autograd.grad(scan_diagonal(multipliers, offsets, driver=driver).abs().sum(), offsets)
        assert gradient.dtype == torch.float64
        found.append(gradient.numpy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_views_and_lazy_conjugates_are_read_as_they_are():
    import torch

    rng = np.random.default_rng(5)
    multipliers, offsets, initial = (
        torch.tensor(a) for a in random_affine(rng, size=3, num_steps=8, lead=(4,), dtype="complex128")
    )
    turned = [multipliers.conj(), offsets.flip(0).mT.contiguous().mT, initial.conj()[..., None].mT[:, 0]]
    plain = [tensor.resolve_conj().clone(memory_format=torch.contiguous_format) for tensor in turned]
    torch.testing.assert_close(scan_diagonal(*turned), scan_diagonal(*plain), rtol=0, atol=0)
    strided = np.asfortranarray(offsets.numpy())
    strided.setflags(write=False)
    np.testing.assert_array_equal(
        scan_diagonal(multipliers.numpy(), strided), scan_diagonal(multipliers.numpy(), offsets.numpy())
    )


def test_values_that_are_overwritten_before_the_gradient_are_an_error():
    import torch

    multipliers = torch.full((1, 2), 0.5, dtype=torch.float64, requires_grad=True)
    states = scan_diagonal(multipliers, torch.ones((9, 2), dtype=torch.float64))
    states.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        states.sum().backward()


def test_empty_batches_have_empty_states():
    assert scan_diagonal(np.ones((0, 1, 2)), np.ones((5, 2))).shape == (0, 5, 2)
    assert scan_dense(np.ones((1, 2, 2)), np.ones((0, 5, 2))).shape == (0, 5, 2)


@pytest.mark.parametrize("form", SCANS)
def test_other_devices_run_the_balanced_driver(form):
    import torch

    core = (3, 3) if form == "dense" else (3,)
    multipliers = torch.ones((40, *core), device="meta")
    states = SCANS[form](multipliers, torch.ones((2, 40, 3), device="meta"))
    assert (states.device.type, tuple(states.shape)) == ("meta", (2, 40, 3))
    with pytest.raises(CapabilityError, match="kernels run on the CPU, and the tensors are on meta"):
        SCANS[form](multipliers, torch.ones((2, 40, 3), device="meta"), driver="compiled")
    with pytest.raises(ArgumentError, match=r"one device; got cpu and meta\. Move"):
        SCANS[form](multipliers, torch.ones((40, 3)))


def test_auto_follows_the_forced_driver_and_compiled_refuses_what_it_does_not_know():
    import torch

    half = torch.ones((3, 2), dtype=torch.float16)
    with pytest.raises(CapabilityError, match="float32, float64, complex64 and complex128, and the arrays are"):
        scan_diagonal(half, half, driver="compiled")
    with forced_driver("compiled") as forced, pytest.raises(CapabilityError):
        scan_diagonal(half, half)
    assert forced.asked


def test_torch_transforms_run_the_generic_drivers():
    import torch

    rng = np.random.default_rng(6)
    multipliers, offsets, initial = (torch.tensor(a) for a in random_affine(rng, size=2, num_steps=5, lead=(3,)))
    mapped = torch.func.vmap(lambda a, b, x: scan_diagonal(a, b, x))(multipliers, offsets, initial)
    torch.testing.assert_close(mapped, scan_diagonal(multipliers, offsets, initial))
    found = torch.func.grad(lambda b: scan_diagonal(multipliers, b, initial).square().sum())(offsets)
    leaf = offsets.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(scan_diagonal(multipliers, leaf, initial).square().sum(), leaf)
    torch.testing.assert_close(found, wanted)


DIAGONAL_REFUSALS = [
    (((3,), (4, 3), None), "`multipliers` must have shape (..., time or 1, channel or 1); got (3,)."),
    (((4, 3), (3,), None), "`offsets` must have shape (..., time or 1, channel); got (3,)."),
    (
        ((4, 2), (4, 3), None),
        "ends with (3,) where `offsets` has shape (4, 3); got (4, 2). For multipliers that are matri",
    ),
    (
        ((4, 3), (4, 3), (2,)),
        "`initial` must have shape (..., channel), which ends with (3,) where `offsets` has shape",
    ),
    (((4, 3), (4, 3), ()), "`initial` must have shape (..., channel); got (). Add the axes"),
    (((0, 3), (1, 3), None), "must have at least one row; got shapes (0, 3) and (1, 3)"),
    (((4, 3), (5, 3), None), "as many rows as each other, or 1 where nothing changes in time; got 4 and 5 rows"),
    (
        ((2, 4, 3), (3, 4, 3), None),
        "leading axes must broadcast; got (2,) of `multipliers`, (3,) of `offsets`. Give an",
    ),
    (((4, 3), (2, 4, 3), (5, 3)), "got () of `multipliers`, (2,) of `offsets`, (5,) of `initial`."),
]
DENSE_REFUSALS = [
    (((4, 3), (4, 3), None), "`multipliers` must have shape (..., time or 1, n, n); got (4, 3). Add the axes"),
    (
        ((1, 4, 3), (4, 3), None),
        "ends with (3, 3) where `offsets` has shape (4, 3); got (1, 4, 3). For multipliers entry",
    ),
    (((4, 2, 2), (4, 3), None), "ends with (3, 3) where `offsets` has shape (4, 3); got (4, 2, 2)."),
]


@pytest.mark.parametrize(
    ("form", "shapes", "message"),
    [("diagonal", *case) for case in DIAGONAL_REFUSALS] + [("dense", *case) for case in DENSE_REFUSALS],
    ids=str,
)
def test_wrong_shapes_are_refused(form, shapes, message):
    arrays = [None if shape is None else np.ones(shape) for shape in shapes]
    with pytest.raises(ArgumentError, match=re.escape(message)):
        SCANS[form](*arrays)


def test_wrong_driver_and_mixed_frameworks_are_refused():
    import jax.numpy as jnp
    import torch

    with pytest.raises(ArgumentError, match="`driver` must be one of"):
        scan_diagonal(np.ones((3, 1)), np.ones((3, 1)), driver="parallel")
    with pytest.raises(ArgumentError, match="arrays of two frameworks meet"):
        scan_diagonal(torch.ones((3, 1)), jnp.ones((3, 1)))
