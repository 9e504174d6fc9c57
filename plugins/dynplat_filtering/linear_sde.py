r"""A free stable linear SDE that drives all channels together.

.. math:: dx = A x\,dt + L\,dW, \qquad y(t) = H x(t) + d + \varepsilon, \quad \varepsilon \sim N(0, \mathrm{diag}(r^2)).

Every stable, controllable linear SDE has coordinates in which its stationary covariance is the identity; there
:math:`A + A^\top = -L L^\top`, so :math:`A = K - \tfrac12 L L^\top` with K skew-symmetric (Lyapunov's equation). The
parameters are K, the lower-triangular L, the loadings H, the mean d and the noise r: free, always stable, started from
the stationary law N(0, I). States are identified up to a rotation; signals and predictions are not affected.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat.model import AbstractLanguage, AbstractModel, Context, Sites, summarise
from dynplat.process import LinearSDE
from dynplat.process.dynamics import Dense
from dynplat_filtering import entries
from dynplat_filtering.components import log_normal
from dynplat_filtering.models import check_positive

if TYPE_CHECKING:
    from dynplat.data import Trajectories


@dataclass(frozen=True)
class FreeLinearSDE(AbstractModel):
    """Free stable linear SDE of a chosen dimension, seen through loadings with independent noise.

    Priors: rates and rotations on the scale of 1/tau, where tau is the geometric mean of the median gap and the span
    over 4; loadings N(0, s^2 / dimension); mean N(location, s^2); noise log-normal around half the step scale.

    Args:
        dimension: Dimension of the state; by default the number of channels, at least 2 and at most 6.
        per_series: Whether each series has parameters of its own; otherwise all share one set.
    """

    entry = entries.LINEAR_SDE
    dimension: int | None = None
    per_series: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        check_positive("dimension", self.dimension)

    def prepare(self, data: Trajectories) -> Context:
        """Summarise the training cells; add `dimension` and the time scale `tau`."""
        context = summarise(data)
        tau = float(np.sqrt(context["gap"] * max(context["span"] / 4.0, context["gap"])))
        return context.with_values(
            dimension=self.dimension or int(np.clip(len(context.channels), 2, 6)),
            tau=tau,
        )

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit `rotation`, `rate`, `coupling`, `loading`, `mean` and `noise_sd`."""
        n, num_channels = context["dimension"], len(context.channels)
        scale = context["scale"]
        with pp.plate("series") if self.per_series else nullcontext():
            # Rates spread over two decades about 1/tau, so that fast and slow states start apart.
            rates = 2.0 / context["tau"] * np.geomspace(10.0, 0.1, n) if n > 1 else np.array([2.0 / context["tau"]])
            log_normal(pp, "diffusion_sd", np.sqrt(rates), 1.0, dims=("state",))
            if n > 1:
                pairs = n * (n - 1) // 2
                spread = np.full(pairs, 1.0 / context["tau"])
                pp.sample("rotation", pp.dist.Normal(np.zeros(pairs), spread).to_event(1), dims="pair")
                pp.sample("coupling", pp.dist.Normal(np.zeros(pairs), np.sqrt(spread)).to_event(1), dims="pair")
            spread = np.broadcast_to(scale[:, None] / np.sqrt(n), (num_channels, n)).copy()
            loading = pp.dist.Normal(np.zeros((num_channels, n)), spread).to_event(2)
            pp.sample("loading", loading, dims=("channel", "state"))
            pp.sample("mean", pp.dist.Normal(context["location"], scale).to_event(1), dims="channel")
            log_normal(pp, "noise_sd", 0.5 * context["step_scale"], 1.5)

    def coords(self, context: Context) -> dict[str, list[str]]:
        """Labels of pairs of states: row and column of a matrix below its diagonal."""
        return {"pair": [f"{row}-{column}" for row, column in zip(*_below(context["dimension"]), strict=True)]}

    def process(self, sites: Sites, context: Context) -> LinearSDE:
        """Build the SDE in the coordinates in which its stationary covariance is the identity."""
        noise_sd = sites["noise_sd"]
        xp = array_namespace(noise_sd)
        L = _diagonal(sites["diffusion_sd"])
        A = -0.5 * (L @ xp.matrix_transpose(L))
        if context["dimension"] > 1:
            L = L + _strictly_lower(sites["coupling"], context["dimension"])
            K = _strictly_lower(sites["rotation"], context["dimension"])
            A = K - xp.matrix_transpose(K) - 0.5 * (L @ xp.matrix_transpose(L))
        return LinearSDE(Dense(A, L), H=sites["loading"], R=_diagonal(noise_sd**2), d=sites["mean"])


def _diagonal(entries_: Array) -> Array:
    return entries_[..., :, None] * asarray_like(np.eye(entries_.shape[-1]), entries_)


def _below(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the entries below the diagonal of an n x n matrix, row by row."""
    return np.tril_indices(n, -1)


def _strictly_lower(entries_: Array, n: int) -> Array:
    """Put (..., n (n - 1) / 2) numbers below the diagonal of an n x n matrix, row by row."""
    rows, columns = _below(n)
    basis = np.zeros((rows.size, n, n))
    basis[np.arange(rows.size), rows, columns] = 1.0
    return (entries_[..., :, None, None] * asarray_like(basis, entries_)).sum(-3)
