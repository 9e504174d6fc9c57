"""The likelihood of hidden Markov jump processes with a transition for each row that no other row shares."""

from __future__ import annotations

from dynplat.arrays import Array, array_namespace
from dynplat.process.hidden_markov_passes import Chain, run_filter
from dynplat.scan.kernels.calling import call_kernel, grouped
from dynplat_jumps.transition import log_transition_probabilities


def compiled_log_prob_steps(generator: Array, gaps: Array, log_initial: Array, log_density: Array) -> Array:
    r"""Terms :math:`\log p(y_t \mid y_{<t})`, (..., time), by a kernel that never holds all transitions.

    Args:
        generator: Rates (..., K, K), rows summing to 0, (old, new).
        gaps: Gap before each row, (..., time), at least 0; the first is not used.
        log_initial: Log-probabilities of the state at the first row, (..., K).
        log_density: Log densities of what each row shows, (..., time, K).
    """
    from dynplat_jumps.kernels.likelihood import LIKELIHOOD

    lead, arrays = grouped((generator, gaps, log_initial, log_density), (2, 1, 1, 2))
    ((steps,), _) = call_kernel(LIKELIHOOD, _twin, arrays)
    return array_namespace(steps).reshape(steps, (*lead, steps.shape[-1]))


def _twin(generator: Array, gaps: Array, log_initial: Array, log_density: Array) -> tuple[Array]:
    """The same terms by a function that can be differentiated again."""
    log_transition = log_transition_probabilities(generator, gaps, driver="sequential")
    return (run_filter(Chain(log_initial, log_transition, log_density), driver="auto").log_prob,)
