"""One spelling of the distributions for both languages.

`pp.dist` is a `Distributions`: it knows the distributions that Pyro and NumPyro share, takes the same positional and
keyword arguments for both, turns numbers and NumPy arrays into arrays of the fit's dtype and device (so that
`HalfNormal(1.0)` is float64 in a float64 fit), and refuses any other name with the list of those that it has.

What differs between the two languages and is reconciled here: defaults (`Normal()` is standard in NumPyro and an error
in Pyro); the size of `LKJ` and `LKJCholesky` (`dim` in Pyro, `dimension` in NumPyro; both are taken); the first
argument of `MixtureSameFamily` (`mixture_distribution` and `mixing_distribution`; both are taken); integers, where
torch insists on floating point; and `validate_args`, which the platform sets.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from dynplat.arrays import Array
from dynplat.errors import ArgumentError, UnknownNameError

_REQUIRED = object()
_LOC_SCALE = {"loc": 0.0, "scale": 1.0}

#: Arguments of each distribution, in order, with their defaults.
SIGNATURES: dict[str, dict[str, Any]] = {
    "AsymmetricLaplace": {**_LOC_SCALE, "asymmetry": 1.0},
    "Beta": {"concentration1": _REQUIRED, "concentration0": _REQUIRED},
    "Categorical": {"probs": None, "logits": None},
    "Cauchy": _LOC_SCALE,
    "Chi2": {"df": _REQUIRED},
    "Delta": {"v": 0.0, "log_density": 0.0, "event_dim": 0},
    "Dirichlet": {"concentration": _REQUIRED},
    "Exponential": {"rate": 1.0},
    "Gamma": {"concentration": _REQUIRED, "rate": 1.0},
    "Gumbel": _LOC_SCALE,
    "HalfCauchy": {"scale": 1.0},
    "HalfNormal": {"scale": 1.0},
    "InverseGamma": {"concentration": _REQUIRED, "rate": 1.0},
    "Kumaraswamy": {"concentration1": _REQUIRED, "concentration0": _REQUIRED},
    "LKJ": {"dimension": _REQUIRED, "concentration": 1.0},
    "LKJCholesky": {"dimension": _REQUIRED, "concentration": 1.0},
    "Laplace": _LOC_SCALE,
    "LogNormal": _LOC_SCALE,
    "Logistic": _LOC_SCALE,
    "LowRankMultivariateNormal": {"loc": _REQUIRED, "cov_factor": _REQUIRED, "cov_diag": _REQUIRED},
    "MixtureSameFamily": {"mixing_distribution": _REQUIRED, "component_distribution": _REQUIRED},
    "MultivariateNormal": {"loc": _REQUIRED, "covariance_matrix": None, "precision_matrix": None, "scale_tril": None},
    "MultivariateStudentT": {"df": _REQUIRED, "loc": _REQUIRED, "scale_tril": _REQUIRED},
    "Normal": _LOC_SCALE,
    "Pareto": {"scale": _REQUIRED, "alpha": _REQUIRED},
    "SoftLaplace": _LOC_SCALE,
    "StudentT": {"df": _REQUIRED, **_LOC_SCALE},
    "Uniform": {"low": 0.0, "high": 1.0},
    "Weibull": {"scale": _REQUIRED, "concentration": _REQUIRED},
}

#: Constraints of point-estimated sites: names without arguments, and those with.
CONSTRAINTS = ("corr_cholesky", "nonnegative", "ordered_vector", "positive", "real", "real_vector", "simplex")
CONSTRAINTS += ("unit_interval",)
CONSTRAINTS_WITH_BOUNDS = {
    "greater_than": ("lower_bound",),
    "interval": ("lower_bound", "upper_bound"),
    "less_than": ("upper_bound",),
}

_ALIASES = {
    "LKJ": {"dim": "dimension"},
    "LKJCholesky": {"dim": "dimension"},
    "MixtureSameFamily": {"mixture_distribution": "mixing_distribution"},
}
_INTEGERS = ("dimension", "event_dim")

#: Arguments that must be positive; numbers are checked here, values of other sites are what their supports make them.
_POSITIVE = ("alpha", "asymmetry", "concentration", "concentration0", "concentration1", "cov_diag", "df", "rate")
_POSITIVE += ("scale",)

#: Spelling of an argument in a language where it is not the one of `SIGNATURES`.
SPELLINGS: dict[str, dict[str, dict[str, str]]] = {
    "numpyro": {},
    "pyro": {
        "LKJ": {"dimension": "dim"},
        "LKJCholesky": {"dimension": "dim"},
        "MixtureSameFamily": {"mixing_distribution": "mixture_distribution"},
    },
}


class Distributions:
    """The distributions of one language under the spelling that both share.

    Args:
        language: `pyro` or `numpyro`.
        module: The language's own distributions.
        to_array: Turns a NumPy array into one of the fit's framework, dtype and device.
    """

    def __init__(self, language: str, module: Any, to_array: Callable[[Any], Array]) -> None:
        self._language = language
        self._module = module
        self._to_array = to_array
        self.constraints = Constraints(module.constraints, to_array)

    def __dir__(self) -> list[str]:
        return [*SIGNATURES, "constraints"]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in SIGNATURES:
            raise UnknownNameError(
                f"`pp.dist` has no distribution {name!r}. Available in Pyro and NumPyro alike: {', '.join(SIGNATURES)}."
            )
        constructor = getattr(self._module, name)
        spellings = SPELLINGS[self._language].get(name, {})

        def construct(*args: Any, **kwargs: Any) -> Any:
            bound = _bind(name, args, kwargs)
            _check_numbers(name, bound)
            return constructor(
                **{
                    spellings.get(argument, argument): int(value)
                    if argument in _INTEGERS
                    else floating(value, self._to_array)
                    for argument, value in bound.items()
                    if value is not None
                }
            )

        construct.__name__ = construct.__qualname__ = name
        return construct


class Constraints:
    """The constraints that both languages share, for `pp.param(..., constraint=pp.dist.constraints.positive)`."""

    def __init__(self, module: Any, to_array: Callable[[Any], Array]) -> None:
        self._module = module
        self._to_array = to_array

    def __dir__(self) -> list[str]:
        return [*CONSTRAINTS, *CONSTRAINTS_WITH_BOUNDS]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in CONSTRAINTS:
            return getattr(self._module, name)
        if name not in CONSTRAINTS_WITH_BOUNDS:
            raise UnknownNameError(
                f"`pp.dist.constraints` has no constraint {name!r}. Available in Pyro and NumPyro alike: "
                f"{', '.join(sorted(dir(self)))}."
            )

        def construct(*args: Any, **kwargs: Any) -> Any:
            bound = _bind_to(name, dict.fromkeys(CONSTRAINTS_WITH_BOUNDS[name], _REQUIRED), args, kwargs)
            return getattr(self._module, name)(*(floating(bound, self._to_array) for bound in bound.values()))

        return construct


def floating(value: Any, to_array: Callable[[Any], Array]) -> Any:
    """Turn numbers, lists of them and NumPy arrays into arrays of the fit's dtype; leave everything else alone."""
    if _is_host(value):
        return to_array(np.asarray(value, dtype=np.float64))
    return value


def _is_host(value: Any) -> bool:
    return isinstance(value, (numbers.Real, np.generic, np.ndarray, list, tuple))


def _check_numbers(name: str, bound: dict[str, Any]) -> None:
    for argument, value in bound.items():
        if not _is_host(value) or argument in _INTEGERS:
            continue
        numbers_ = np.asarray(value, dtype=np.float64)
        if np.isnan(numbers_).any():
            raise ArgumentError(f"`{argument}` of `{name}` must not be NaN; got {value}.")
        if argument in _POSITIVE and not (numbers_ > 0).all():
            raise ArgumentError(f"`{argument}` of `{name}` must be positive; got {value}.")
    low, high = bound.get("low"), bound.get("high")
    if _is_host(low) and _is_host(high) and not (np.asarray(low) < np.asarray(high)).all():
        raise ArgumentError(f"`low` of `{name}` must be below `high`; got {low} and {high}.")


def _bind(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    aliases = _ALIASES.get(name, {})
    return _bind_to(name, SIGNATURES[name], args, {aliases.get(key, key): value for key, value in kwargs.items()})


def _bind_to(name: str, signature: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    names = list(signature)
    if len(args) > len(names):
        raise ArgumentError(f"`{name}` takes {', '.join(names)}; got {len(args)} positional arguments.")
    bound = dict(signature)
    given = dict(zip(names, args, strict=False))
    for key, value in kwargs.items():
        if key not in signature:
            raise ArgumentError(f"`{name}` has no argument `{key}`; in both languages it takes {', '.join(names)}.")
        if key in given:
            raise ArgumentError(f"`{name}` got its argument `{key}` twice.")
        given[key] = value
    bound.update(given)
    missing = [key for key, value in bound.items() if value is _REQUIRED]
    if missing:
        raise ArgumentError(f"`{name}` needs {' and '.join(f'`{key}`' for key in missing)}.")
    return bound
