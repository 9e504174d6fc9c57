"""The model: a prior, which names what is uncertain, and a process, which says how the observations come about."""

from dataclasses import dataclass

from dynplat.arrays import asarray_like
from dynplat.model import AbstractModel
from dynplat.process import LinearSDE
from dynplat.process.dynamics import IntegratedWiener
from dynplat_template.plugin import RANDOM_WALK


@dataclass(frozen=True)
class RandomWalk(AbstractModel):
    """A Brownian level, dx = walk_sd dW, seen with Gaussian noise: y(t) = x(t) + N(0, noise_sd^2)."""

    entry = RANDOM_WALK

    def prior(self, pp, context):
        """Emit two standard deviations, on the scale of the training data."""
        scale = float(context["scale"][0])
        pp.sample("walk_sd", pp.dist.HalfNormal(scale / context["span"] ** 0.5))
        pp.sample("noise_sd", pp.dist.HalfNormal(scale))

    def process(self, sites, context):
        """Build the law of the observations; every site has the shape (..., series or 1)."""
        walk_sd, noise_sd = sites["walk_sd"], sites["noise_sd"]
        location, scale = float(context["location"][0]), float(context["scale"][0])
        return LinearSDE(
            IntegratedWiener(0, walk_sd),
            H=asarray_like([[1.0]], noise_sd),
            R=noise_sd[..., None, None] ** 2,
            m0=asarray_like([location], noise_sd),
            P0=asarray_like([[9.0 * scale**2]], noise_sd),
        )
