r"""`koopman/deep`: a lifted linear process that learns its dictionary, a network, together with its eigenvalues.

.. math::
    z \mid y \sim N(\phi(y), S), \qquad \phi(y) = W\,(\tilde y, h(\tilde y)) + w, \qquad
    z(t + h) = e^{\Lambda h} z(t) + \text{noise}, \qquad y = C z + d + N(0, \mathrm{diag}(r^2)),

with the standardised state, a network h of hyperbolic tangents, and a block-diagonal :math:`\Lambda` of decays and
rotations (`dynplat_koopman.modes`): each state of z is an eigenfunction of the generator, or the real or imaginary part
of one, and the constant function is one exactly, through w and d. Nothing grows, whatever the parameters are, and any
gap has its transition. S, diagonal with one number for each mode (`lift_sd`), is how far a row that is lifted misses
its state: the noise of the row goes into it, and what the network has not learned. The row itself then says what it
says through C, so that the state given both stands nearer in what is seen. All weights are sites with normal
priors, so that whatever fits a posterior (SVI first) gives uncertainty of the dictionary too.

Sources: Lusch, Kutz and Brunton (2018), for eigenfunctions that a network learns together with their eigenvalues; Li et
al. (2017), for the state beside the network's outputs. Both train on losses; here the loss is a likelihood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like, eye_like, symmetrise
from dynplat.errors import ArgumentError
from dynplat.model import AbstractLanguage, AbstractModel, Context, Sites, summarise
from dynplat.process import LinearSDE
from dynplat_koopman import entries
from dynplat_koopman.dictionaries.tanh import TanhNetwork, random_layers, tanh_features
from dynplat_koopman.modes import Modes, diagonal, eigenvalues
from dynplat_koopman.process import Lifted
from dynplat_koopman.starts import choose_modes

if TYPE_CHECKING:
    from dynplat.data import Trajectories


@dataclass(frozen=True)
class Deep(AbstractModel):
    r"""A lifted linear process whose dictionary is a network that is learned.

    Priors. A network of `hidden` = (k,) with weights W drawn from N(0, 1/fan-in) and biases from N(0, 1), as `seed`
    determines, is a dictionary of random features. It gives an operator (EDMD), from which modes are chosen
    (`dynplat_koopman.starts`). The prior is centred there: the weights are those plus `spread` / sqrt(fan-in) times the
    sites `weight_1`, `weight_2`, ... and, for the coefficients of the eigenfunctions, `weight_out`; biases those plus
    `spread` times `bias_1`, ..., `bias_out`; the loading C is that of least squares plus half a channel's standard
    deviation s times `loading`. These sites are N(0, 1): deviations in units of the prior. `rate` and `frequency` are
    log-normal with log-sd 1 and 0.3, `mean` d is N(., s^2), `process_sd` q, `lift_sd` and `noise_sd` r are log-normal
    with log-sd 1 around the one-step errors of the modes, half of them, and what they leave over of the state.
    Eigenfunctions have mean square 1 over the data at the centre, and a series starts from z ~ N(0, I).

    Sites `eigenvalue_real` and `eigenvalue_imag` are those of the generator, per unit of time, one for each state.

    Args:
        num_states: Number of states n, beside the constant.
        hidden: Widths of the network's layers.
        lift_every: Every how many complete rows of a series the state is lifted anew, that is, how many rows ahead the
            likelihood looks.
        spread: Prior standard deviation of a weight times the square root of its fan-in.
        seed: Seed of the random weights that the prior is centred at.
    """

    entry = entries.DEEP
    num_states: int = 8
    hidden: tuple[int, ...] = (32,)
    lift_every: int = 10
    spread: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        for name in ("num_states", "lift_every"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"`{name}` must be at least 1; got {getattr(self, name)}.")
        if not self.hidden or min(self.hidden) < 1:
            raise ArgumentError(f"`hidden` must be one or more widths of at least 1; got {self.hidden!r}.")
        if not (np.isfinite(self.spread) and self.spread > 0):
            raise ArgumentError(f"`spread` must be positive; got {self.spread}.")
        if self.seed < 0:
            raise ArgumentError(f"`seed` must be at least 0; got {self.seed}.")

    def prepare(self, data: Trajectories) -> Context:
        """Summarise the training cells; draw the random weights and choose the modes that the prior is centred at."""
        context = summarise(data)
        rng = np.random.default_rng(self.seed)
        weights, biases = random_layers(len(context.channels), self.hidden, rng)
        dictionary = TanhNetwork(context["location"], context["scale"], weights, biases)
        start = choose_modes(
            data,
            dictionary,
            step=float(context["gap"]),
            span=float(context["span"]),
            num_states=self.num_states,
            ahead=self.lift_every,
        )
        layers = {f"weight_{i}": weight for i, weight in enumerate(weights, 1)}
        layers |= {f"bias_{i}": bias for i, bias in enumerate(biases, 1)}
        return context.with_values(
            **layers,
            weight_out=start.coefficients[:, 1:],
            bias_out=start.coefficients[:, 0],
            rate=start.rate,
            frequency=start.frequency,
            loading=start.loading,
            mean=start.mean,
            process_sd=start.process_sd,
            lift_sd=start.lift_sd,
            noise_sd=start.noise_sd,
        )

    def coords(self, context: Context) -> dict[str, list[str]]:
        """Name modes and states: `pair1`, `decay1`, and the parts of a pair `pair1.re`, `pair1.im`."""
        pairs = [f"pair{i + 1}" for i in range(len(context["frequency"]))]
        decays = [f"decay{i + 1}" for i in range(len(context["rate"]) - len(pairs))]
        states = [f"{pair}.{part}" for pair in pairs for part in ("re", "im")] + decays
        return {"mode": pairs + decays, "pair": pairs, "state": states}

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit the network, the modes, what is seen of them, and two kinds of noise (see the class)."""
        scale = context["scale"]

        def deviation(name: str, dims: tuple[str | None, ...]) -> None:
            shape = context[name].shape
            pp.sample(name, pp.dist.Normal(np.zeros(shape), np.ones(shape)).to_event(len(shape)), dims=dims)

        def log_normal(name: str, sd: float, dim: str) -> None:
            center = np.log(context[name])
            pp.sample(name, pp.dist.LogNormal(center, np.full(center.shape, sd)).to_event(1), dims=dim)

        for layer in range(1, len(self.hidden) + 1):
            deviation(f"weight_{layer}", (None, None))
            deviation(f"bias_{layer}", (None,))
        deviation("weight_out", ("state", None))
        deviation("bias_out", ("state",))
        log_normal("rate", 1.0, "mode")
        if len(context["frequency"]):
            log_normal("frequency", 0.3, "pair")
        deviation("loading", ("channel", "state"))
        pp.sample("mean", pp.dist.Normal(context["mean"], scale).to_event(1), dims="channel")
        log_normal("process_sd", 1.0, "mode")
        log_normal("lift_sd", 1.0, "mode")
        log_normal("noise_sd", 1.0, "channel")
        rate, frequency = _rate_and_frequency({name: value[0] for name, value in pp.sites.items()})
        real, imag = eigenvalues(rate, frequency)
        pp.deterministic("eigenvalue_real", real, event_dim=1, dims="state")
        pp.deterministic("eigenvalue_imag", imag, event_dim=1, dims="state")

    def weights_of(self, context: Context) -> list[str]:
        """Names of the sites of the network and of the eigenfunctions' coefficients."""
        return [name for name in context.values if name.startswith(("weight_", "bias_"))]

    def weights(self, sites: Sites, context: Context) -> dict[str, Array]:
        """Weights and biases of the network, and coefficients of the eigenfunctions, by the names of their sites."""
        found = {}
        for name in self.weights_of(context):
            center = asarray_like(context[name], sites[name])
            fan_in = context[name].shape[1] if center.ndim == 2 else 1
            found[name] = center + self.spread / np.sqrt(fan_in) * sites[name]
        return found

    def eigenfunctions(self, sites: Sites, context: Context) -> Callable[[Array], Array]:
        """The function phi, from rows (..., time, channel) to (..., time, n)."""
        weights, like = self.weights(sites, context), sites["rate"]
        location, scale = (asarray_like(context[name], like) for name in ("location", "scale"))
        layers = [[weights[f"{name}_{i + 1}"] for i in range(len(self.hidden))] for name in ("weight", "bias")]
        weight = array_namespace(like).matrix_transpose(weights["weight_out"])
        bias = weights["bias_out"][..., None, :]
        return lambda values: tanh_features((values - location) / scale, *layers) @ weight + bias

    def process(self, sites: Sites, context: Context) -> Lifted:
        """Build the lifted process."""
        rate, frequency = _rate_and_frequency(sites)
        xp = array_namespace(rate)
        scale = asarray_like(context["scale"], rate)
        loading = asarray_like(context["loading"], rate) + 0.5 * scale[:, None] * sites["loading"]
        identity = eye_like(loading.shape[-1], rate)
        noise_sd = sites["noise_sd"]
        linear = LinearSDE(
            Modes(rate, frequency, sites["process_sd"]),
            H=loading,
            R=noise_sd[..., :, None] ** 2 * eye_like(noise_sd.shape[-1], rate),
            m0=xp.zeros_like(loading[..., 0, :]),
            P0=identity + 0.0 * loading[..., :1, :],
            d=sites["mean"],
        )
        eigenfunctions = self.eigenfunctions(sites, context)
        # z ~ N(phi(y), S) and y = C z + d + r: the state given both, with one gain for all rows.
        S, H, d = diagonal(sites["lift_sd"] ** 2, frequency.shape[-1]), loading, sites["mean"]
        seen = H @ S
        gain = xp.matrix_transpose(xp.linalg.solve(seen @ xp.matrix_transpose(H) + linear.R, seen))
        kept = identity - gain @ H
        slip = symmetrise(kept @ S @ xp.matrix_transpose(kept) + gain @ linear.R @ xp.matrix_transpose(gain))
        out, back = xp.matrix_transpose(H), xp.matrix_transpose(gain)

        def lift(values: Array) -> Array:
            """States expected at rows, (..., time, n)."""
            z = eigenfunctions(values)
            return z + (values - d[..., None, :] - z @ out) @ back

        return Lifted(linear, lift, anchor=context["location"], lift_every=self.lift_every, lift_noise=slip)


def _rate_and_frequency(sites: Sites) -> tuple[Array, Array]:
    """Rates, and frequencies of the pairs: an empty array where there are none."""
    rate = sites["rate"]
    return rate, sites.get("frequency", rate[..., :0])
