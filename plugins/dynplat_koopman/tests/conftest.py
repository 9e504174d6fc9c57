"""What tests of the family share."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import torch

from dynplat_koopman.dictionaries.base import AbstractDictionary


def check_dictionary(dictionary: AbstractDictionary, x: np.ndarray, *, tolerance: float = 1e-12) -> None:
    """Shapes, frameworks, transforms and derivatives of a dictionary at points x (..., d)."""
    values = dictionary(x)
    assert values.shape == (*x.shape[:-1], dictionary.num_functions)
    assert len(dictionary.names) == dictionary.num_functions
    assert len(set(dictionary.names)) == dictionary.num_functions
    assert np.iscomplexobj(values) == dictionary.is_complex
    _check_frameworks(dictionary, x, values, tolerance)
    _check_derivatives(dictionary, x, values)
    if dictionary.readout is not None:
        np.testing.assert_allclose(values @ dictionary.readout.T, x, rtol=1e-12, atol=1e-12)
    if dictionary.constant is not None:
        np.testing.assert_allclose(values @ dictionary.constant, np.ones(x.shape[:-1]), rtol=1e-14)


def _check_frameworks(dictionary, x, values, tolerance):
    size = np.abs(values).max()
    point = torch.tensor(x, requires_grad=True)
    in_torch = dictionary(point)
    assert in_torch.dtype == (torch.complex128 if dictionary.is_complex else torch.float64)
    np.testing.assert_allclose(in_torch.detach().numpy(), values, rtol=tolerance, atol=tolerance * size)
    single = dictionary(torch.tensor(x, dtype=torch.float32))
    assert single.dtype == (torch.complex64 if dictionary.is_complex else torch.float32)
    with jax.enable_x64(True):
        in_jax = jax.jit(dictionary)(jnp.asarray(x))
        np.testing.assert_allclose(in_jax, values, rtol=tolerance, atol=tolerance * size)
        gradient, hessian = jax.jit(dictionary.derivatives)(jnp.asarray(x))
        expected = dictionary.derivatives(x)
        for found, wanted in ((gradient, expected.gradient), (hessian, expected.hessian)):
            np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10 * np.abs(wanted).max())
        flat = jnp.asarray(x.reshape(-1, x.shape[-1]))
        part = (lambda v: v.real, lambda v: v.imag) if dictionary.is_complex else (lambda v: v,)
        for take in part:
            slopes = jax.jit(jax.vmap(jax.jacrev(lambda row, take=take: take(dictionary(row)))))(flat)
            wanted = take(expected.gradient).reshape(slopes.shape)
            np.testing.assert_allclose(slopes, wanted, rtol=1e-9, atol=1e-9 * (np.abs(wanted).max() + 1e-9))
    total = in_torch.real.sum() if dictionary.is_complex else in_torch.sum()
    (slope,) = torch.autograd.grad(total, point)
    np.testing.assert_allclose(
        slope, expected.gradient.real.sum(axis=-2), rtol=1e-9, atol=1e-9 * np.abs(expected.gradient).max()
    )


def _check_derivatives(dictionary, x, values):
    """Gradients against central differences of values, second derivatives against those of gradients."""
    gradient, hessian = dictionary.derivatives(x)
    assert gradient.shape == (*values.shape, x.shape[-1])
    assert hessian.shape == (*values.shape, x.shape[-1], x.shape[-1])
    np.testing.assert_allclose(hessian, np.swapaxes(hessian, -1, -2), rtol=1e-12, atol=1e-12 * np.abs(hessian).max())
    h = 1e-5
    for j in range(x.shape[-1]):
        step = h * (np.arange(x.shape[-1]) == j)
        slope = (dictionary(x + step) - dictionary(x - step)) / (2 * h)
        np.testing.assert_allclose(gradient[..., j], slope, rtol=1e-5, atol=1e-7 * np.abs(gradient).max())
        curve = (dictionary.derivatives(x + step).gradient - dictionary.derivatives(x - step).gradient) / (2 * h)
        np.testing.assert_allclose(hessian[..., j], curve, rtol=1e-5, atol=1e-7 * np.abs(hessian).max())
