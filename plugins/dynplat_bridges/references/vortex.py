"""A vortex in a plane, such as an eddy of the sea."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat_bridges.references.base import AbstractReference, per_channel

if TYPE_CHECKING:
    from dynplat.model import Context


@dataclass(frozen=True, kw_only=True)
class Vortex(AbstractReference):
    r"""A Lamb-Oseen vortex with centre c, circulation and core radius a, in a uniform current u.

    .. math::
        b(x) = u + \frac{\kappa}{r^2} \bigl(1 - e^{-r^2 / a^2}\bigr) \begin{pmatrix} -(x_2 - c_2) \\ x_1 - c_1
        \end{pmatrix}, \qquad r = \|x - c\| .

    Well outside the core the speed is :math:`\kappa / r`: data that are all there say nothing of the core.

    Args:
        centre: c, (2,); None: to be fitted.
        circulation: kappa, positive counter-clockwise, channels being to the right and up.
        radius: a.
        current: u, (2,); no current unless it is given, or None: to be fitted.
    """

    num_channels: ClassVar[int | None] = 2
    positive: ClassVar[tuple[str, ...]] = ("radius",)
    linear: ClassVar[tuple[str, ...]] = ("circulation", "current")

    centre: tuple[float, ...] | None = None
    circulation: float | None = None
    radius: float | None = None
    current: float | tuple[float, ...] | None = 0.0

    def parameters(self, num_channels: int) -> dict[str, tuple[int, ...]]:
        """Centre (2,), circulation, radius and current (2,)."""
        return {"centre": (2,), "circulation": (), "radius": (), "current": (2,)}

    def start(self, context: Context) -> dict[str, np.ndarray]:
        """A vortex at the mean of the data that does not turn yet, with a core as wide as half their spread."""
        radius = 0.5 * float(np.mean(context["scale"])) if self.radius is None else self.radius
        return {
            "centre": per_channel("centre", context["location"] if self.centre is None else self.centre, 2),
            "circulation": np.array(1e-5 if self.circulation is None else self.circulation),
            "radius": np.array(radius),
            "current": per_channel("current", 0.0 if self.current is None else self.current, 2),
        }

    def drift(self, x: Array, t: Array | float, parameters: Mapping[str, Array]) -> Array:
        """The velocity."""
        xp = array_namespace(x)
        centre, current = (asarray_like(parameters[name], x)[..., None, :] for name in ("centre", "current"))
        circulation, radius = (asarray_like(parameters[name], x)[..., None] for name in ("circulation", "radius"))
        away = x - centre
        square = xp.sum(away * away, axis=-1) / radius**2
        # (1 - exp(-s)) / s, which is 1 - s / 2 where s is so small that the quotient loses digits.
        safe = xp.where(square > 1e-6, square, xp.ones_like(square))
        core = xp.where(square > 1e-6, -xp.expm1(-safe) / safe, 1.0 - 0.5 * square)
        speed = circulation * core / radius**2
        return current + xp.stack([-speed * away[..., 1], speed * away[..., 0]], axis=-1)
