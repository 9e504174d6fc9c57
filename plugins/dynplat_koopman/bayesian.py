r"""`koopman/bayesian`: a lifted linear-Gaussian process with a posterior over its operator.

With the functions that are not constant as targets, :math:`\psi(y) = \psi(x) K + u B + e`, :math:`e \sim N(0, \Sigma)`,
is a regression whose conjugate prior is matrix-normal inverse-Wishart,

.. math:: \Sigma \sim IW(\nu_0, \Psi_0), \qquad
    (K, B) \mid \Sigma \sim MN\bigl((I, 0),\; V_0,\; \Sigma\bigr),

with :math:`\nu_0 = n + 2` for n targets and :math:`\Psi_0` diagonal, so that the prior mean of :math:`\Sigma` is the
mean square by which each function moves in a step, and :math:`V_0` diagonal with the inverse mean squares of the
functions: functions stay as they are, and this is worth one snapshot pair. Its posterior is drawn from in closed form.

The prior is also a program. It draws a lower triangle C and a matrix Z (Bartlett's decomposition),

.. math:: C_{ii}^2 \sim \chi^2_{\nu_0 - i}\; (i = 0, 1, \dots), \quad C_{ij}, Z_{ij} \sim N(0, 1), \qquad
    M = \Psi_0^{-1/2} C, \quad \Sigma = (M M^\top)^{-1}, \quad (K, B) = (I, 0) + V_0^{1/2} Z M^{-1} .

The likelihood of the process is that of the channels; where the dictionary is 1 and the channels, it is the regression
above, and both ways lead to one posterior. For a larger dictionary the closed form counts the residuals of all
functions as data, as least squares does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.arrays import Array, Observations, array_namespace, asarray_like, eye_like, solve_triangular
from dynplat.errors import ArgumentError
from dynplat.model import AbstractLanguage, Context, Sites
from dynplat.process import AbstractProcess, LinearSDE
from dynplat_koopman import entries
from dynplat_koopman.edmd import joint_moments
from dynplat_koopman.lifting import readout_and_start
from dynplat_koopman.models import AbstractLifted
from dynplat_koopman.moments import Moments, gather_moments
from dynplat_koopman.power import PowerDynamics
from dynplat_koopman.process import Lifted

if TYPE_CHECKING:
    from dynplat.data import Trajectories


@dataclass(frozen=True)
class BayesianEDMD(AbstractLifted):
    """A lifted linear-Gaussian process whose operator and noise are uncertain (see the module for the prior).

    Sites: `operator` K (N, N), `noise_cov` (N, N) and `input_matrix` (input, N), made of `operator_raw` Z,
    `precision_diagonal` (the squares of the diagonal of C) and `precision_coupling` (what is below it, row by row).

    Args:
        num_draws: Draws that `solve` gives.
        prior_pairs: How many snapshot pairs the prior of the operator is worth.
    """

    entry = entries.BAYESIAN
    num_draws: int = 200
    prior_pairs: float = 1.0

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        super().__post_init__()
        if self.num_draws < 1:
            raise ArgumentError(f"`num_draws` must be at least 1; got {self.num_draws}.")
        if not (np.isfinite(self.prior_pairs) and self.prior_pairs > 0):
            raise ArgumentError(f"`prior_pairs` must be positive; got {self.prior_pairs}.")

    def prepare(self, data: Trajectories) -> Context:
        """As for every lifted model; add the scales of the prior, the start and the readout."""
        context = super().prepare(data)
        dictionary, pairs = self.dictionary_of(context), self._pairs_of(data, context)
        moments = gather_moments(pairs, dictionary)
        gram, cross = joint_moments(moments)
        N = dictionary.num_functions
        size = np.sqrt(np.diagonal(gram))
        moved = np.diagonal(moments.target) - 2.0 * np.diagonal(cross[:N]) + np.diagonal(moments.gram)
        free = self._free(context)
        # A function that did not move, but for rounding, gets the scale of one that hardly moves.
        move = np.sqrt(np.maximum(moved, 1e-12 * size[:N] ** 2))[free]
        return context.with_values(
            function_size=np.where(size > 0, size, 1.0),
            function_move=np.where(move > 0, move, 1.0),
            **readout_and_start(pairs, moments, dictionary, context["scale"]),
        )

    def coords(self, context: Context) -> Mapping[str, Sequence[Any]]:
        """Names of the functions."""
        names = self.dictionary_of(context).names
        return {"function": names, "image": names}

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit `precision_diagonal`, `precision_coupling` and `operator_raw`, and what they make."""
        n = len(self._free(context))
        rows = len(context["function_size"])
        freedom = n + 2.0
        shape = 0.5 * (freedom - np.arange(n))
        pp.sample("precision_diagonal", pp.dist.Gamma(shape, np.full(n, 0.5)).to_event(1))
        if n > 1:
            pairs = n * (n - 1) // 2
            pp.sample("precision_coupling", pp.dist.Normal(np.zeros(pairs), np.ones(pairs)).to_event(1))
        pp.sample("operator_raw", pp.dist.Normal(np.zeros((rows, n)), np.ones((rows, n))).to_event(2))
        K, B, factor = self._regression(pp.sites, context)
        pp.deterministic("operator", K[..., 0, :, :], event_dim=2, dims=("function", "image"))
        cov = factor @ pp.xp.swapaxes(factor, -1, -2)
        pp.deterministic("noise_cov", cov[..., 0, :, :], event_dim=2, dims=("function", "image"))
        if B is not None:
            pp.deterministic("input_matrix", B[..., 0, :, :], event_dim=2, dims=("input", "image"))

    def process(self, sites: Sites, context: Context) -> AbstractProcess:
        """Build the lifted process."""
        K, B, factor = self._regression(sites, context)
        xp = array_namespace(K)
        linear = LinearSDE(
            PowerDynamics(
                xp.matrix_transpose(K),
                factor @ xp.matrix_transpose(factor),
                float(context["step"]),
                B=None if B is None else xp.matrix_transpose(B),
            ),
            H=context.array("readout", K)[None],
            R=_squared(context.array("readout_factor", K))[None],
            m0=context.array("start_mean", K)[None],
            P0=_squared(context.array("start_factor", K))[None],
        )
        if self.state == "filtered":
            return linear
        return Lifted(linear, self.dictionary_of(context), anchor=context["location"])

    def solve(self, observations: Observations, context: Context, *, seed: int) -> Sites:
        """Draw operators and noise from their posterior in closed form."""
        moments = gather_moments(self._pairs(observations, context), self.dictionary_of(context))
        return self._draw(moments, context, np.random.default_rng(seed))

    def _draw(self, moments: Moments, context: Context, rng: np.random.Generator) -> dict[str, np.ndarray]:
        free, size, move = self._free(context), context["function_size"], context["function_move"]
        N, n, rows, count = moments.num_functions, len(free), len(size), moments.count
        gram, cross = joint_moments(moments)
        gram, cross = count * gram / np.outer(size, size), count * cross[:, free] / size[:, None]
        target = count * moments.target[np.ix_(free, free)]
        # In units in which every function has mean square 1.
        start = np.eye(rows, N)[:, free] * size[:, None]
        precision = gram + self.prior_pairs * np.eye(rows)
        mean = np.linalg.solve(precision, self.prior_pairs * start + cross)
        fitted = mean.T @ cross
        away = mean - start
        spread = np.diag(move**2) + self.prior_pairs * away.T @ away + target - fitted - fitted.T + mean.T @ gram @ mean
        spread = 0.5 * (spread + spread.T)
        inverse = np.linalg.inv(np.linalg.cholesky(spread / np.outer(move, move)))
        root = np.linalg.cholesky(inverse.T @ inverse)
        freedom = n + 2.0 + count
        draws = self.num_draws
        triangle = np.tril(rng.standard_normal((draws, n, n)), -1)
        triangle[:, np.arange(n), np.arange(n)] = np.sqrt(rng.chisquare(freedom - np.arange(n), (draws, n)))
        # C of the prior's decomposition: the factor of the precision of functions in units of their move.
        C = root @ triangle
        M = C / move[:, None]
        noise = rng.standard_normal((draws, rows, n))
        lower = np.linalg.cholesky(precision)
        # mean + precision^{-1/2} Z M^{-1}, back to the prior's Z = prior_pairs^{1/2} (K - start) M.
        raw = np.sqrt(self.prior_pairs) * ((mean - start) @ M + np.linalg.solve(lower.T, noise))
        below = np.tril_indices(n, -1)
        found = {"precision_diagonal": np.diagonal(C, axis1=-2, axis2=-1) ** 2, "operator_raw": raw}
        return found if n == 1 else found | {"precision_coupling": C[:, below[0], below[1]]}

    def _regression(self, sites: Sites, context: Context) -> tuple[Array, Array | None, Array]:
        """K (..., N, N), B (..., k, N) or None, and a root (..., N, n) of the covariance of the noise."""
        raw = sites["operator_raw"]
        xp = array_namespace(raw)
        free, N = self._free(context), self.dictionary_of(context).num_functions
        n = len(free)
        C = xp.sqrt(sites["precision_diagonal"])[..., None] * eye_like(n, raw)
        if n > 1:
            C = C + _strictly_lower(sites["precision_coupling"], n)
        M = C / context.array("function_move", raw)[:, None]
        moved = xp.matrix_transpose(solve_triangular(M, xp.matrix_transpose(raw), transpose=True))
        change = moved / (self.prior_pairs**0.5 * context.array("function_size", raw)[:, None])
        root = solve_triangular(M, xp.broadcast_to(eye_like(n, raw), tuple(M.shape)), transpose=True)
        # Targets that are free among all functions.
        place = asarray_like(np.eye(N)[free], raw)
        stay = asarray_like(np.eye(N), raw)
        everything = change @ place
        K = stay + everything[..., :N, :]
        B = everything[..., N:, :] if everything.shape[-2] > N else None
        return K, B, xp.matrix_transpose(place) @ root

    def _free(self, context: Context) -> np.ndarray:
        """The functions that are no constant."""
        dictionary = self.dictionary_of(context)
        constant = dictionary.constant
        everything = np.arange(dictionary.num_functions)
        if constant is None or np.count_nonzero(constant) != 1:
            return everything
        return np.delete(everything, np.flatnonzero(constant))


def _squared(factor: Array) -> Array:
    return factor @ array_namespace(factor).matrix_transpose(factor)


def _strictly_lower(entries_: Array, n: int) -> Array:
    """Put (..., n (n - 1) / 2) numbers below the diagonal of an n x n matrix, row by row."""
    rows, columns = np.tril_indices(n, -1)
    basis = np.zeros((rows.size, n * n))
    basis[np.arange(rows.size), rows * n + columns] = 1.0
    flat = entries_ @ asarray_like(basis, entries_)
    return array_namespace(flat).reshape(flat, (*flat.shape[:-1], n, n))
