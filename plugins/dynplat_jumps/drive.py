r"""Rates that known inputs move.

.. math:: q_{ij}(t) = q_{ij} \exp\Bigl(\sum_k \gamma_{kij} (u_k(t) - c_k)\Bigr), \qquad i \ne j

Inputs are held from a row until the next, so that rates are constant within each gap: the way into a row has the rates
of the inputs that were held before it, and so has a jump at exactly its time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat.errors import ArgumentError


class Drive(NamedTuple):
    """How inputs move the rates.

    Attributes:
        effect: Change gamma of the log of each rate per unit of each input, (..., series or 1, k, K, K); its diagonal
            is not read.
        columns: Which of the inputs of the observations they are, (k,).
        centre: Values c of the inputs at which the rates are those of the generator, (k,).
    """

    effect: Array
    columns: tuple[int, ...]
    centre: np.ndarray

    def held(self, inputs: Array | None) -> Array:
        """Inputs before each row in their distance from the centre, (..., time, k), from those at the rows.

        Raises:
            ArgumentError: They are missing, or not as many as the columns ask for.
        """
        if inputs is None:
            raise ArgumentError("the process reads inputs: give `inputs`, (..., series, time, input).")
        if inputs.shape[-1] <= max(self.columns):
            raise ArgumentError(
                f"the process reads the inputs {list(self.columns)}, counted from 0; got {inputs.shape[-1]}: "
                f"`inputs` has shape {tuple(inputs.shape)}."
            )
        xp = array_namespace(inputs)
        before = xp.concat([inputs[..., :1, :], inputs[..., :-1, :]], axis=-2)
        own = xp.stack([before[..., column] for column in self.columns], axis=-1)
        return own - asarray_like(self.centre, own)

    def move(self, generator: Array, held: Array) -> Array:
        """Generators (..., series, time, piece, K, K) of rates (..., series or 1, piece, K, K) under inputs `held`."""
        xp = array_namespace(generator)
        K = int(generator.shape[-1])
        effect = xp.reshape(self.effect, (*self.effect.shape[:-2], K * K))
        shift = asarray_like(held, generator) @ effect
        shift = xp.reshape(shift, (*shift.shape[:-1], 1, K, K))
        off = asarray_like(1.0 - np.eye(K), generator)
        rates = generator[..., None, :, :, :] * off * xp.exp(shift * off)
        return rates - asarray_like(np.eye(K), generator) * xp.sum(rates, axis=-1)[..., None]
