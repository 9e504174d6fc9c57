r"""`deepssm/direct` and `deepssm/spacetime`: networks that give the law of the next `horizon` rows at once.

The location of a block is a linear forecast of the window plus what the network adds, its scale the error of the linear
forecast times what the network multiplies:

.. math::
    m = \ell + (x - \ell)(W + \Delta) + s_0\, f(w), \qquad \log s = \log s_0 + g(w) ,

for each channel by itself with weights that all channels share; W is the ridge regression of `dynplat_deepssm.ridge`
and :math:`s_0` its errors, for each channel and step. At the start of a fit :math:`\Delta = f = g = 0`: a fit that
stops at once is the ridge. Networks see the window with its level taken off and divided by its own standard deviation,
and the logarithm of that.

- `Direct`: the window in patches, as rows of residual blocks of any cell; the last row's output gives all steps.
- `SpaceTime`: the window row by row through companion systems; then a companion system runs on in a closed loop, one
  step after the other (Zhang et al. 2023, arXiv:2303.09489).

A linear map with the mean taken off is what Li et al. (2023), arXiv:2305.10721, and Zeng et al. (2023) showed to match
large networks on the usual data sets; it is the part of the model that such data need.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np

from dynplat.arrays import Array, array_namespace
from dynplat.errors import ArgumentError, DataError
from dynplat.model import AbstractLanguage, AbstractModel, Context, Sites, summarise
from dynplat_deepssm import entries
from dynplat_deepssm.blocks import Block
from dynplat_deepssm.cells import LRU, S5, Companion, Mamba
from dynplat_deepssm.executors import closed_loop, run, unflatten
from dynplat_deepssm.lattice import lattice_of
from dynplat_deepssm.layer import AbstractLayer, Parameters
from dynplat_deepssm.maps import Linear, Norm
from dynplat_deepssm.mixer import Mixer
from dynplat_deepssm.network import Network
from dynplat_deepssm.ridge import fit_linear
from dynplat_deepssm.special import gelu
from dynplat_deepssm.windows import Standard, WindowLaw

if TYPE_CHECKING:
    from dynplat.data import Trajectories

#: Added to the standard deviation of a window, in units of the channel: windows may be constant.
_SMALL = 1e-2


class LinearPart(NamedTuple):
    """The linear forecast of a fit: its weights (lookback, horizon), and logs of its errors (channel, horizon)."""

    weight: Array
    log_sd: Array


@dataclass(frozen=True)
class AbstractDirect(AbstractModel):
    """What direct forecasters share: windows, the linear forecast, the Student-t law (see the module).

    Sites `net.*` are the network's weights, `skip` is Delta (lookback, horizon), `out.weight` and `out.bias` map the
    network's outputs to f and g; `log_freedom` gives nu = 2 + exp(log_freedom). All are point estimates.
    """

    lookback: int = 96
    horizon: int = 24
    width: int = 32
    depth: int = 2
    num_states: int = 32
    seed: int = 0

    alternatives: ClassVar[Mapping[str, str]] = {
        "irregular_times": "resample the data, or use 'deepssm/s5', which takes any gaps"
    }

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        for name in ("lookback", "horizon", "width", "depth", "num_states"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"`{name}` must be at least 1; got {getattr(self, name)}.")
        if self.seed < 0:
            raise ArgumentError(f"`seed` must be at least 0; got {self.seed}.")

    @property
    @abstractmethod
    def network(self) -> AbstractLayer:
        """The network."""

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """Numbers for each window (or step) that `out.weight` maps."""

    @abstractmethod
    def read(self, weights: Parameters, x: Array, seen: Array, spread: Array) -> Array:
        """Outputs of the network, (..., window, step or 1, number).

        Args:
            weights: Its weights.
            x: Windows in units of their spread, (..., window, lookback).
            seen: What is seen of them.
            spread: Their standard deviations, (..., window, 1).
        """

    @property
    @abstractmethod
    def steps_of_read(self) -> int:
        """Steps that one row of `read` stands for."""

    def prepare(self, data: Trajectories) -> Context:
        """Summarise the training cells and fit the linear forecast.

        Raises:
            DataError: No series is longer than `lookback`.
        """
        context = summarise(data)
        longest = int(np.max(data.lengths, initial=0))
        if longest <= self.lookback:
            raise DataError(
                f"the longest series has {longest} rows, and `lookback` is {self.lookback}: nothing could be forecast "
                "from a whole window.",
                hint=f"Build the model with `lookback` below {max(longest, 1)}, or bring longer series.",
            )
        gaps = np.diff(data.times, axis=1)
        step = float(gaps[gaps > 0].min())
        series = []
        for s, length in enumerate(data.lengths):
            lattice = lattice_of(data.times[s : s + 1, :length], step)
            rows = lattice.rows[0]
            seen = data.mask[s, np.maximum(rows, 0)] & (rows >= 0)[:, None]
            values = (data.values[s, np.maximum(rows, 0)] - context["location"]) / context["scale"]
            series.append((np.where(seen, values, 0.0), seen))
        linear = fit_linear(series, self.lookback, self.horizon)
        return context.with_values(step=step, linear=linear.weight, linear_sd=np.maximum(linear.sd, 1e-3))

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit the weights."""
        if pp.name == "pyro":
            from dynplat_deepssm.torch import TorchLayer as Layer
        else:
            from dynplat_deepssm.jax import JaxLayer as Layer
        pp.module("net", Layer(self.network, seed=self.seed))
        pp.param("skip", np.zeros((self.lookback, self.horizon)))
        pp.param("out.weight", np.zeros((self.num_outputs, 2 * self.steps_of_read)))
        pp.param("out.bias", np.zeros(2 * self.steps_of_read))
        pp.param("log_freedom", np.array(np.log(5.0)))

    def process(self, sites: Sites, context: Context) -> WindowLaw:
        """Build the law."""
        like = sites["skip"]
        xp = array_namespace(like)
        lead = tuple(like.shape[:-3])
        # All windows are rows of one matrix: the weights' axis for the series, of length 1, is theirs. A single draw
        # needs no axis of its own, and large products need none that is broadcast.
        single = all(size == 1 for size in lead)
        own = (0,) * len(lead) if single else (slice(None),) * len(lead)
        freedom = 2.0 + xp.exp(sites["log_freedom"])
        sites = {name: site[(*own, 0) if single else own] for name, site in sites.items()}
        skip = sites["skip"] if single else sites["skip"][..., 0, :, :]
        forecast = LinearPart(context.array("linear", like) + skip, xp.log(context.array("linear_sd", like)))
        return WindowLaw(
            partial(self._outlook, sites, forecast, len(lead) if single else 0),
            lookback=self.lookback,
            horizon=self.horizon,
            step=float(context["step"]),
            standard=Standard(context.array("location", like), context.array("scale", like)),
            freedom=freedom,
        )

    def _outlook(self, sites: Sites, linear: LinearPart, num_lead: int, x: Array, seen: Array) -> tuple[Array, Array]:
        """Locations and log scales (see `dynplat_deepssm.windows.Outlook`), with at least `num_lead` axes in front."""
        xp = array_namespace(x)
        lead, rows = tuple(x.shape[:-3]), tuple(x.shape[-3:-1])
        x, seen = (xp.reshape(part, (*lead, rows[0] * rows[1], self.lookback)) for part in (x, seen))
        count = xp.sum(xp.astype(seen, x.dtype), axis=-1, keepdims=True)
        count = xp.where(count > 0, count, xp.ones_like(count))
        level = xp.sum(xp.where(seen, x, xp.zeros_like(x)), axis=-1, keepdims=True) / count
        x = xp.where(seen, x - level, xp.zeros_like(x))
        spread = xp.sqrt(xp.sum(x * x, axis=-1, keepdims=True) / count + _SMALL**2)
        read = gelu(self.read(unflatten(sites, "net."), x / spread, seen, spread))
        mapped = read @ sites["out.weight"] + sites["out.bias"][..., None, :]
        # One row of the network for all steps, or one for each.
        pair = (2, self.horizon) if self.steps_of_read == self.horizon else (self.horizon, 2)
        mapped = xp.reshape(mapped, (*mapped.shape[:-2], *pair))
        mapped = mapped if pair[0] == 2 else xp.matrix_transpose(mapped)
        base = level + x @ linear.weight
        base, shift, factor = (
            xp.reshape(part, (*part.shape[:-2], *rows, self.horizon))
            for part in (base, mapped[..., 0, :], mapped[..., 1, :])
        )
        lack = (None,) * (num_lead - len(lead))
        return (base + xp.exp(linear.log_sd) * shift)[lack], (linear.log_sd + factor)[lack]


@dataclass(frozen=True)
class Direct(AbstractDirect):
    """Direct forecasts from patches of the window, by residual blocks of a cell.

    Args:
        lookback: Rows that are read.
        horizon: Rows that are forecast at once.
        width: Width of the network.
        depth: Number of blocks.
        num_states: States of the cell (of each channel, for `mamba`).
        seed: Seed of the weights.
        patch: Rows of a patch; `lookback` is a multiple of it.
        cell: `s5`, `lru` or `mamba`.
    """

    entry = entries.DIRECT
    patch: int = 16
    cell: Literal["s5", "lru", "mamba"] = "s5"

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        super().__post_init__()
        if self.patch < 1 or self.lookback % self.patch:
            raise ArgumentError(
                f"`lookback` must be whole patches; got {self.lookback} rows, and `patch` is {self.patch}."
            )
        if self.cell not in ("s5", "lru", "mamba"):
            raise ArgumentError(f"`cell` must be 's5', 'lru' or 'mamba'; got {self.cell!r}.")

    @property
    def network(self) -> AbstractLayer:
        """Patches (values, what is seen, and the spread of the window) through residual blocks."""
        blocks = [Block(self._layer(), gate="glu") for _ in range(self.depth)]
        return Network((Linear(2 * self.patch + 1, self.width), *blocks, Norm(self.width)))

    @property
    def num_outputs(self) -> int:
        """Numbers for each window."""
        return self.width

    @property
    def steps_of_read(self) -> int:
        """The last row of the network stands for all steps."""
        return self.horizon

    def read(self, weights: Parameters, x: Array, seen: Array, spread: Array) -> Array:
        """The network's output of the last patch."""
        xp = array_namespace(x)
        shape = (*x.shape[:-1], self.lookback // self.patch, self.patch)
        level = xp.broadcast_to(xp.log(spread)[..., None], (*shape[:-1], 1))
        u = xp.concat([xp.reshape(x, shape), xp.astype(xp.reshape(seen, shape), x.dtype), level], axis=-1)
        return run(self.network, weights, u, keep_state=False)[0][..., -1:, :]

    def _layer(self) -> AbstractLayer:
        if self.cell == "s5":
            return S5(self.width, self.width, self.num_states)
        if self.cell == "lru":
            return LRU(self.width, self.width, self.num_states)
        return Mixer(
            self.width, Mamba(2 * self.width, num_states=self.num_states), convolved=2 * self.width, gate="silu"
        )


@dataclass(frozen=True)
class SpaceTime(AbstractDirect):
    """Forecasts by companion systems: an encoder of the window, and a decoder that runs on in a closed loop.

    Args:
        lookback: Rows that are read.
        horizon: Rows that are forecast at once.
        width: Number of companion systems side by side.
        depth: Number of blocks of the encoder.
        num_states: Order of each companion system.
        seed: Seed of the weights.
    """

    entry = entries.SPACETIME

    @property
    def network(self) -> AbstractLayer:
        """The encoder and the decoder; outputs of the decoder are its readout and its next input."""
        blocks = [Block(Companion(self.width, self.num_states), gate="glu") for _ in range(self.depth)]
        return Network((Linear(3, self.width), *blocks, Norm(self.width), self._decoder))

    @property
    def num_outputs(self) -> int:
        """Numbers for each step."""
        return self.width

    @property
    def steps_of_read(self) -> int:
        """Every row of the decoder stands for one step."""
        return 1

    def read(self, weights: Parameters, x: Array, seen: Array, spread: Array) -> Array:
        """The decoder's readouts of the next steps."""
        xp = array_namespace(x)
        level = xp.broadcast_to(xp.log(spread), x.shape)
        u = xp.stack([x, xp.astype(seen, x.dtype), level], axis=-1)
        y, state = run(self.network, weights, u)
        decoder, last = self._decoder, str(len(self.network.layers) - 1)  # type: ignore[attr-defined]
        first, into = decoder.feedback(weights[last], y[..., -1, :])
        if self.horizon == 1:
            return first[..., None, :]
        later = closed_loop(decoder, weights[last], state[-1], into, self.horizon - 1)
        return xp.concat([first[..., None, :], later], axis=-2)

    @property
    def _decoder(self) -> Companion:
        return Companion(self.width, self.num_states, closed=True)
