"""States that never move, and independent dynamics side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat.errors import ArgumentError
from dynplat.process.discretise import Transition
from dynplat.process.dynamics.base import AbstractLinearDynamics, block_diagonal, common_like, real_like


@dataclass(frozen=True, eq=False)
class Constant(AbstractLinearDynamics):
    """States that never move: regression coefficients, static offsets. What is unknown about them is in their start.

    Every law of such a state is stationary; with `mean` and `sd` it is told which, so that a sum with stationary
    components has a stationary law too, and can be asked about any time.

    Args:
        num_states: Number of states n.
        mean: Mean of the stationary law, (..., series or 1, n), or None for none.
        sd: Standard deviations of its independent states, (..., series or 1, n), or None for none.
    """

    num_states: int = 1
    mean: Any = None
    sd: Any = None

    @property
    def state_dim(self) -> int:
        """Number of states."""
        return self.num_states

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Mean and standard deviations, where given."""
        return () if self.mean is None else (self.mean, self.sd)

    @property
    def readout(self) -> np.ndarray:
        """All states."""
        return np.ones(self.num_states)

    def step(self, gaps: Array) -> Transition:
        """The identity without noise."""
        xp = array_namespace(gaps)
        eye = asarray_like(np.eye(self.num_states), gaps)
        zero = xp.zeros_like(gaps)[..., None, None] * eye
        return Transition(zero + eye, zero)

    def stationary(self) -> tuple[Array, Array] | None:
        """The law given, or None."""
        if self.mean is None:
            return None
        like = common_like(self.mean, self.sd)
        sd = real_like(self.sd, like)
        return real_like(self.mean, like), sd[..., :, None] ** 2 * asarray_like(np.eye(self.num_states), like)


class Stack(AbstractLinearDynamics):
    """Independent dynamics side by side: block-diagonal; the scalar signals add.

    Args:
        *components: The dynamics, in the order of their states.
    """

    def __init__(self, *components: AbstractLinearDynamics) -> None:
        if not components:
            raise ArgumentError("`Stack` needs at least one component.")
        for component in components:
            if not isinstance(component, AbstractLinearDynamics):
                raise ArgumentError(f"`Stack` takes linear dynamics; got {type(component).__name__}.")
        self.components = components
        self.state_dim = sum(component.state_dim for component in components)
        self.num_inputs = max(component.num_inputs for component in components)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """All parameters of all components."""
        return tuple(value for component in self.components for value in component.parameters)

    @property
    def readout(self) -> np.ndarray:
        """The readouts of the components, one after the other."""
        return np.concatenate([component.readout for component in self.components])

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Leading shape of all parameters of all components."""
        return np.broadcast_shapes(*(component.batch_shape for component in self.components))

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where the states of each component lie."""
        ends = np.cumsum([component.state_dim for component in self.components])
        return tuple(
            slice(int(end) - component.state_dim, int(end))
            for end, component in zip(ends, self.components, strict=True)
        )

    def step(self, gaps: Array) -> Transition:
        """Discretise each component on its own."""
        steps = [component.step(gaps) for component in self.components]
        xp = array_namespace(gaps)
        G = None
        if any(step.G is not None for step in steps):
            G = block_diagonal([xp.zeros_like(step.F) if step.G is None else step.G for step in steps])
        return Transition(block_diagonal([step.F for step in steps]), block_diagonal([step.Q for step in steps]), G)

    def drift(self, inputs: Array | None, like: Array) -> Array | None:
        """The drifts of the components, one after the other."""
        xp = array_namespace(like)
        drifts = [component.drift(inputs, like) for component in self.components]
        given = [drift for drift in drifts if drift is not None]
        if not given:
            return None
        lead = np.broadcast_shapes(*(drift.shape[:-1] for drift in given))
        zero = asarray_like(0.0, like)
        parts = [
            xp.broadcast_to(zero if drift is None else drift, (*lead, component.state_dim))
            for drift, component in zip(drifts, self.components, strict=True)
        ]
        return xp.concat(parts, axis=-1)

    def stationary(self) -> tuple[Array, Array] | None:
        """The stationary laws side by side, or None when one component has none."""
        laws = [component.stationary() for component in self.components]
        return None if any(law is None for law in laws) else self.start(laws)

    def start(self, laws: Sequence[tuple[Any, Any] | None]) -> tuple[Array, Array]:
        """Put together the law of the state at the first row from one law for each component.

        Args:
            laws: For each component its mean (..., n) and covariance (..., n, n), or None for its stationary law.

        Returns:
            Mean (..., n) and covariance (..., n, n) of the whole state.

        Raises:
            ArgumentError: A component without a stationary law is given None.
        """
        if len(laws) != len(self.components):
            raise ArgumentError(
                f"`laws` must hold one law for each of {len(self.components)} components; got {len(laws)}."
            )
        filled = []
        for index, (component, law) in enumerate(zip(self.components, laws, strict=True)):
            law = component.stationary() if law is None else law
            if law is None:
                raise ArgumentError(
                    f"component {index} ({type(component).__name__}) has no stationary law: give `laws[{index}]`, its "
                    "mean and covariance at the first row."
                )
            filled.append(law)
        like = common_like(*self.parameters, *(part for law in filled for part in law))
        xp = array_namespace(like)
        means = [real_like(mean, like) for mean, _ in filled]
        covs = [real_like(cov, like) for _, cov in filled]
        lead = np.broadcast_shapes(*(mean.shape[:-1] for mean in means), *(cov.shape[:-2] for cov in covs))
        mean = xp.concat([xp.broadcast_to(mean, (*lead, mean.shape[-1])) for mean in means], axis=-1)
        return mean, block_diagonal(covs)
