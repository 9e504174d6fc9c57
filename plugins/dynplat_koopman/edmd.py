r"""Extended dynamic mode decomposition: the least-squares operator on the span of a dictionary.

.. math:: K = \arg\min_K \sum_m w_m |\psi(y_m) - \psi(x_m) K|^2 = G^+ A ,

so that the function :math:`\psi c` becomes :math:`\psi K c` after one step (Williams, Kevrekidis and Rowley 2015). With
inputs u, :math:`\psi(y) \approx \psi(x) K + u B` is fitted jointly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dynplat.errors import ArgumentError
from dynplat_koopman.dictionaries.base import AbstractDictionary
from dynplat_koopman.fitted import AbstractFitted, joint_moments, solve_moments
from dynplat_koopman.moments import Moments, gather_moments
from dynplat_koopman.pairs import Pairs
from dynplat_koopman.workers import for_size


@dataclass(frozen=True, eq=False)
class Operator(AbstractFitted):
    """The operator of one step: psi(y) ~ psi(x) K + u B.

    Args:
        matrix: K, (N, N).
        moments: Moments of the data.
        basis: Coefficients B (N, r) of functions psi B that are orthonormal under the data, B* G B = I.
        dictionary: The functions, or None where only moments were given.
        ridge: The penalty that the fit was made with.
        input_matrix: Effect of the inputs, (k, N), or None.
    """

    input_matrix: np.ndarray | None = None

    @property
    def step(self) -> float | None:
        """Time of one step, or None for a map."""
        return self.moments.step

    def predict(self, x: np.ndarray, *, steps: int = 1, inputs: np.ndarray | None = None) -> np.ndarray:
        """States expected after `steps` steps: functions are advanced by K and read out at the end.

        Args:
            x: States, (..., d).
            steps: Number of steps, at least 0.
            inputs: Inputs of each step, (..., steps, k), where the operator has any.

        Returns:
            States, (..., d).

        Raises:
            CapabilityError: The operator was fitted to moments without a dictionary.
            ArgumentError: There are inputs on one side only, or too few of them.
        """
        if steps < 0:
            raise ArgumentError(f"`steps` must be at least 0; got {steps}.")
        values = self._functions(x)
        inputs = self._check_inputs(inputs, steps)
        for now in range(steps):
            values = values @ self.matrix
            if inputs is not None and self.input_matrix is not None:
                values = values + inputs[..., now, :] @ self.input_matrix
        return np.real(values @ self.readout.T)

    def _check_inputs(self, inputs: np.ndarray | None, steps: int) -> np.ndarray | None:
        if (inputs is None) != (self.input_matrix is None):
            state = "has no inputs" if self.input_matrix is None else "was fitted with inputs, which must be given"
            raise ArgumentError(f"`inputs` do not fit the operator, which {state}.")
        if inputs is None or self.input_matrix is None:
            return None
        inputs = np.asarray(inputs, dtype=np.float64)
        if inputs.ndim < 2 or inputs.shape[-2:] != (steps, len(self.input_matrix)):
            raise ArgumentError(
                f"`inputs` must be (..., {steps}, {len(self.input_matrix)}), one row per step; got {inputs.shape}."
            )
        return inputs

    def _joint(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self.input_matrix is None:
            N = self.num_functions
            gram, cross = joint_moments(self.moments)
            return self.matrix, gram[:N, :N], cross[:N]
        return np.concatenate([self.matrix, self.input_matrix]), *joint_moments(self.moments)


def fit_edmd(
    source: Pairs | Moments | Iterable[Pairs],
    dictionary: AbstractDictionary | None = None,
    *,
    ridge: float = 0.0,
    rank: int | None = None,
    tolerance: float | None = None,
    block_rows: int | None = None,
) -> Operator:
    r"""Fit the operator of extended dynamic mode decomposition.

    Functions are brought to mean square 1 before the rank of their Gram matrix is decided: eigenvalues up to
    `tolerance` times the largest count as zero. A singular matrix is refused unless `rank`, `tolerance` or `ridge`
    says what to do with it.

    Args:
        source: Snapshot pairs, pieces of them, or their moments.
        dictionary: The functions; may be left out where moments are given.
        ridge: Penalty: :math:`K = (G + \text{ridge} I)^{-1} A` with the averages G and A.
        rank: Keep this many directions, those of the largest eigenvalues.
        tolerance: Keep directions above this fraction of the largest eigenvalue, and drop the others.
        block_rows: As in `gather_moments`.

    Raises:
        DataError: The dictionary is larger than the data, or its functions are dependent on them.
        ArgumentError: An argument is outside what it may be.
    """
    if isinstance(source, Moments):
        moments = source
    elif dictionary is None:
        raise ArgumentError("`dictionary` must be given with snapshot pairs.")
    else:
        moments = gather_moments(source, dictionary, block_rows=block_rows)
    with for_size(moments.num_functions):
        matrix, input_matrix, basis = solve_moments(moments, dictionary, ridge=ridge, rank=rank, tolerance=tolerance)
    return Operator(matrix, moments, basis, dictionary=dictionary, ridge=ridge, input_matrix=input_matrix)
